// SPDX-License-Identifier: BSD-2-Clause
// config.c: the text form of the run configuration: a key, a space, a percent-encoded value per line.
// Portable: the host tests fuzz it.
#include "exec/config.h"

#include <string.h>

#include "core/log.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

// Decodes %XX in place. => false on a bad or NUL escape
static bool percent_decode(char *value)
{
    char *to = value;
    for (const char *from = value; *from;) {
        if (*from != '%') {
            *to++ = *from++;
            continue;
        }
        int high = hex_digit(from[1]), low = high < 0 ? -1 : hex_digit(from[2]);
        if (low < 0 || (high | low) == 0)
            return false;
        *to++ = (char)(high << 4 | low);
        from += 3;
    }
    *to = 0;
    return true;
}

static void append(char *list, size_t *len, u32 *count, const char *value)
{
    size_t n = strlen(value) + 1;
    memcpy(list + *len, value, n);
    *len += n;
    (*count)++;
}

static void set_key(struct run_config *c, const char *key, char *value)
{
    if (!strcmp(key, "program"))
        c->program = value;
    else if (!strcmp(key, "cwd"))
        c->cwd = value;
    else if (!strcmp(key, "hostname"))
        c->hostname = value;
    else if (!strcmp(key, "mount") && c->n_mounts < MAX_MOUNTS)
        c->mounts[c->n_mounts++] = value;
    else if (!strcmp(key, "arg"))
        append(c->args, &c->args_len, &c->argc, value);
    else if (!strcmp(key, "env"))
        append(c->env, &c->env_len, &c->envc, value);
    else
        log_warn("config: unknown key '%s' ignored", key);
}

const char *config_parse(char *text, size_t len, char *args, char *env, struct run_config *out,
                         u32 *line)
{
    char *end = text + len;
    memset(out, 0, sizeof *out);
    out->args = args;
    out->env = env;
    *line = 0;
    for (char *p = text, *next; p < end; p = next) {
        char *newline = memchr(p, '\n', end - p);
        next = newline ? newline + 1 : end;
        if (newline)
            *newline = 0;
        ++*line;
        char *value = strchr(p, ' ');
        if (!*p)
            continue;
        if (!value)
            return "a line without a value";
        *value++ = 0;
        if (*line == 1) {
            if (strcmp(p, "lethe-config") || strcmp(value, "1"))
                return "not a version 1 configuration";
            continue;
        }
        if (!percent_decode(value))
            return "bad percent escape";
        set_key(out, p, value);
    }
    if (!out->program)
        return "no program named";
    if (!out->argc)
        append(out->args, &out->args_len, &out->argc, out->program);
    return NULL;
}
