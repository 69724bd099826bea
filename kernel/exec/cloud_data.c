// SPDX-License-Identifier: BSD-2-Clause
// cloud_data.c: host name and user data from outside (cloud.h).
//
// User data are lines of NAME=VALUE, which go into the program's environment before what the image says (empty lines and those that begin
// with # are passed over), or the part of cloud-config that cloud_config.c knows. Data of another form (a shell script) are not used, and a
// line on the console says so. What comes is not believed: it is cut at its bounds, and names are checked.
#include <string.h>

#include "core/log.h"
#include "exec/cloud_internal.h"
#include "mm/page.h"
#include "task/thread.h"

#define HOST_NAME_MAX 63

ssize_t cloud_base64(char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    u32 bits = 0, n_bits = 0;
    size_t out = 0;
    for (const char *p = text; *p && *p != '='; p++) {
        const char *digit = strchr(digits, *p);
        if (*p == '\n' || *p == '\r' || *p == ' ')
            continue;
        if (!digit)
            return -EINVAL;
        bits = bits << 6 | (u32)(digit - digits);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            text[out++] = (char)(bits >> n_bits);
        }
    }
    text[out] = '\0';
    return (ssize_t)out;
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

void cloud_use_hostname(char *text)
{
    size_t n = 0;
    while (is_name(text[n]) || (n && text[n] == '-'))
        n++;
    bool ends = text[n] == '\0' || text[n] == '.' || text[n] == '\n' || text[n] == '\r';
    if (!n || n > HOST_NAME_MAX || !ends) {
        log_error("cloud: the host name is none");
        return;
    }
    text[n] = '\0';
    set_hostname(text);
}

size_t cloud_variable(const char *text)
{
    size_t n = 0;
    while (is_name(text[n]) || text[n] == '_')
        n++;
    return n;
}

// Makes strings, one behind the other, of lines, in place. => false: they are not NAME=VALUE
static bool lines_to_strings(char *text, struct cloud_env *env)
{
    char *to = text;
    env->strings = text;
    for (char *line = text, *next; *line; line = next) {
        size_t n = strcspn(line, "\n");
        next = line + n + (line[n] == '\n');
        if (n && line[n - 1] == '\r')
            n--;
        if (n == 0 || line[0] == '#')
            continue;
        size_t name = cloud_variable(line);
        if (name == 0 || line[name] != '=')
            return false;
        memmove(to, line, n);
        to[n] = '\0';
        to += n + 1;
        env->count++;
    }
    env->len = (size_t)(to - text);
    return true;
}

static bool overridden(const char *entry, const struct cloud_env *env)
{
    size_t name = strcspn(entry, "=") + 1;
    for (const char *p = env->strings; p < env->strings + env->len; p += strlen(p) + 1) {
        if (!strncmp(p, entry, name))
            return true;
    }
    return false;
}

static char *merge(struct run_config *c, const struct cloud_env *env)
{
    char *all = kmalloc(env->len + c->env_len + 1);
    if (!all)
        return NULL;
    memcpy(all, env->strings, env->len);
    size_t end = env->len;
    u32 count = env->count;
    for (const char *p = c->env; p < c->env + c->env_len; p += strlen(p) + 1) {
        if (overridden(p, env))
            continue;
        memcpy(all + end, p, strlen(p) + 1);
        end += strlen(p) + 1;
        count++;
    }
    c->env = all;
    c->env_len = end;
    c->envc = count;
    return all;
}

char *cloud_use_data(struct run_config *c, char *text)
{
    static const char mark[] = "#cloud-config";
    size_t n = strlen(text), n_mark = sizeof(mark) - 1;
    struct cloud_env env = {0};
    char *strings = NULL, *all = NULL;
    if (!strncmp(text, mark, n_mark) && strspn(text + n_mark, " \r\n")) {
        strings = env.strings = kmalloc(n + 1);
        if (strings)
            cloud_config_use(text, &env);
    } else if (!strncmp(text, "#!", 2) || !lines_to_strings(text, &env)) {
        log_error("cloud: the user data are not lines of NAME=VALUE and are not used");
        return NULL;
    }
    if (env.len)
        all = merge(c, &env);
    kfree(strings);
    return all;
}
