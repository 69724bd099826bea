// SPDX-License-Identifier: BSD-2-Clause
// cloud_config.c: the part of cloud-init's formats that a program without a system around it has a use for.
//
//   hostname: NAME                        a mapping in YAML, one key a line
//   environment:
//     NAME: VALUE                         Lethe's own key
//   write_files:
//   - path: /etc/app.conf                 permissions: '0600', append: true, encoding: b64 (or base64, text/plain)
//     content: |                          or a value in the line, plain or in quotes
//       text
//
// Other keys are named on the console and not used. Of YAML itself there is what cloud-init's own examples have of these: mappings, lists with
// "- ", plain and quoted values, literal blocks (| |- |+); no anchors, no {flow}, no folded blocks.
//
// C1 The text ends with a NUL, which is never passed. All that is decoded lies where its source lay, and is never longer.
#include <string.h>

#include "core/log.h"
#include "exec/cloud_internal.h"
#include "fs/vfs.h"

// ---- YAML

struct line {
    size_t indent;  // of the key; "- " before it counts
    bool item;      // "- " stood before it
    char *key, *value;
    char *at, *next;  // where the line and the one behind it begin
};

// In place, the quotes gone, escapes that C has.
static char *unquote(char *value)
{
    char quote = value[0], *to = value;
    if (quote != '"' && quote != '\'') {
        char *comment = strstr(value, " #");
        size_t n = comment ? (size_t)(comment - value) : strlen(value);
        while (n && (value[n - 1] == ' ' || value[n - 1] == '\r'))
            n--;
        value[n] = '\0';
        return value;
    }
    for (const char *p = value + 1; *p && (*p != quote || (quote == '\'' && p[1] == '\'')); p++) {
        bool escaped = quote == '"' && *p == '\\' && p[1];
        p += escaped || *p == quote;
        *to++ = escaped && *p == 'n' ? '\n' : escaped && *p == 't' ? '\t' : *p;
    }
    *to = '\0';
    return value;
}

// The next line that is neither empty nor a comment, cut into key and value. => false: there is none
static bool next_line(char *text, struct line *l)
{
    for (;; text = l->next) {
        if (!*text)
            return false;
        size_t n = strcspn(text, "\n"), blanks = strspn(text, " ");
        l->at = text;
        l->next = text + n + (text[n] == '\n');
        if (blanks < n && text[blanks] != '#' && text[blanks] != '\r')
            break;
    }
    l->indent = strspn(text, " ");
    l->item = !strncmp(text + l->indent, "- ", 2);
    if (l->item)
        l->indent += 1 + strspn(text + l->indent + 1, " ");
    return true;
}

// Ends the line and its key. => false: it has no key
static bool cut_line(struct line *l)
{
    char *key = l->at + l->indent, *end = key;
    if (l->next[-1] == '\n')
        l->next[-1] = '\0';
    while (*end && !(*end == ':' && (end[1] == ' ' || end[1] == '\0' || end[1] == '\r')))
        end++;
    if (!*end || end == key)
        return false;
    *end++ = '\0';
    l->key = key;
    l->value = end + strspn(end, " \r");
    return true;
}

// A literal block behind the line, moved together. => where what follows it begins
static char *take_block(const struct line *l, char **content, size_t *len)
{
    char *at = l->next, *to = at, keep = l->value[1];
    size_t indent = 0;
    *content = at;
    while (*at) {
        size_t n = strcspn(at, "\n"), blanks = strspn(at, " ");
        bool empty = blanks == n || (blanks + 1 == n && at[blanks] == '\r');
        if (!empty && !indent)
            indent = blanks;
        if (!empty && (blanks < indent || indent <= l->indent))
            break;
        size_t cut = MIN(blanks, indent), rest = n - cut + (at[n] == '\n');
        memmove(to, at + cut, rest);
        to += rest;
        at += cut + rest;
    }
    size_t n = (size_t)(to - *content), all = n;
    while (keep != '+' && n && (*content)[n - 1] == '\n')
        n--;
    *len = n + (keep != '-' && n && n < all);
    return at;
}

// ---- files

struct file_item {
    char *path, *content;
    size_t len;
    u32 mode;
    bool append, base64, wrong;
};

static void put_item(struct file_item *f)
{
    ssize_t n = (ssize_t)f->len;
    int err = f->wrong || !f->path ? -EINVAL : 0;
    if (!err && f->base64) {
        char *end = f->content + f->len, last = *end;
        *end = '\0';  // the bytes behind it are another line's
        n = cloud_base64(f->content);
        *end = last;
    }
    if (!err)
        err = n < 0 ? (int)n : vfs_put_file(f->path, f->content, (size_t)n, f->mode, f->append);
    if (err)
        log_error("cloud: the file %s is not written: error %d", f->path ? f->path : "without path",
                  -err);
}

static bool take_mode(const char *text, u32 *mode)
{
    *mode = 0;
    if (text[0] == '0' && text[1] == 'o')
        text += 2;
    for (; *text >= '0' && *text <= '7' && *mode < 010000; text++)
        *mode = *mode * 8 + (u32)(*text - '0');
    return *text == '\0' && *mode < 010000;
}

// A key of a file. => where what follows it begins
static char *take_key(struct file_item *f, struct line *l)
{
    bool block = l->value[0] == '|' && strspn(l->value + 1, "+- \r") == strlen(l->value + 1);
    char *next = l->next;
    if (!strcmp(l->key, "content") && block)
        return take_block(l, &f->content, &f->len);
    f->wrong |= l->value[0] && strchr("|>&*{[!", l->value[0]);
    char *value = unquote(l->value);
    if (!strcmp(l->key, "path"))
        f->path = value;
    else if (!strcmp(l->key, "content"))
        f->content = value, f->len = strlen(value);
    else if (!strcmp(l->key, "permissions"))
        f->wrong |= !take_mode(value, &f->mode);
    else if (!strcmp(l->key, "append"))
        f->append = !strcmp(value, "true");
    else if (!strcmp(l->key, "encoding") && (!strcmp(value, "b64") || !strcmp(value, "base64")))
        f->base64 = true;
    else if (!strcmp(l->key, "encoding"))
        f->wrong |= strcmp(value, "text/plain") != 0;
    else
        log_error("cloud: %s of a file is not used", l->key);
    return next;
}

static char *take_files(char *text)
{
    struct file_item f = {0};
    struct line l;
    bool open = false;
    static char nothing[1];
    while (next_line(text, &l) && (l.item || l.indent > 0)) {
        if (open && l.item)
            put_item(&f);
        if (l.item)
            f = (struct file_item){.content = nothing, .mode = 0644};
        open |= l.item;
        text = l.next;
        if (!open || !cut_line(&l))
            f.wrong = true;
        else
            text = take_key(&f, &l);
    }
    if (open)
        put_item(&f);
    return text;
}

// ---- the whole

static char *take_environment(char *text, struct cloud_env *env)
{
    struct line l;
    while (next_line(text, &l) && l.indent > 0) {
        text = l.next;
        if (l.item || !cut_line(&l) || cloud_variable(l.key) != strlen(l.key)) {
            log_error("cloud: a line of the environment is no variable");
            continue;
        }
        const char *value = unquote(l.value);
        size_t name = strlen(l.key), n = strlen(value);
        char *to = env->strings + env->len;
        memcpy(to, l.key, name);
        to[name] = '=';
        memcpy(to + name + 1, value, n + 1);
        env->len += name + n + 2;
        env->count++;
    }
    return text;
}

void cloud_config_use(char *text, struct cloud_env *env)
{
    struct line l;
    while (next_line(text, &l)) {
        text = l.next;
        if (l.indent > 0)  // of a key that is not used
            continue;
        if (!cut_line(&l))
            log_error("cloud: a line of the cloud-config has no key");
        else if (!strcmp(l.key, "hostname"))
            cloud_use_hostname(unquote(l.value));
        else if (!strcmp(l.key, "environment"))
            text = take_environment(text, env);
        else if (!strcmp(l.key, "write_files"))
            text = take_files(text);
        else
            log_error("cloud: %s of the cloud-config is not used", l.key);
    }
}

void cloud_use_metadata(char *text)
{
    struct line l;
    for (; next_line(text, &l); text = l.next) {
        if (l.indent == 0 && cut_line(&l) && !strcmp(l.key, "local-hostname"))
            cloud_use_hostname(unquote(l.value));
    }
}

// ---- JSON

static char *put_utf8(char *to, u32 c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3f));
    } else {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    }
    return to;
}

// Decodes the string behind the quote before `from`, in place; it ends at its closing quote. => behind that, NULL: it does not end
static char *take_string(char *from)
{
    static const char escapes[] = "b\bf\fn\nr\rt\t";
    char *to = from;
    while (*from && *from != '"') {
        if (*from != '\\') {
            *to++ = *from++;
            continue;
        }
        const char *e = *++from ? strchr(escapes, *from) : NULL;
        u32 c = 0;
        if (*from == 'u') {
            from++;
            for (u32 n = 0; n < 4 && cloud_variable(from) && *from != '_'; n++, from++)
                c = c << 4 | (u32)(*from <= '9' ? *from - '0' : (*from & 7) + 9);
            to = put_utf8(to, c ? c & 0xffff : '?');
        } else if (*from) {
            *to++ = e ? e[1] : *from;
            from++;
        }
    }
    bool ends = *from == '"';
    *to = '\0';
    return ends ? from + 1 : NULL;
}

void cloud_use_json(char *text, void (*file)(void *arg, const char *path, const char *contents),
                    void *arg)
{
    const char *top = "", *key = "", *path = NULL, *contents = NULL;
    u32 depth = 0;
    while (text && *text) {
        char c = *text++, *string = text;
        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && depth > 0)
            depth--;
        if (c == '}' && depth == 2 && !strcmp(top, "files")) {
            if (path && contents)
                file(arg, path, contents);
            path = contents = NULL;
        }
        if (c != '"')
            continue;
        text = take_string(string);
        size_t blanks = text ? strspn(text, " \t\r\n") : 0;
        if (text && text[blanks] == ':') {
            text += blanks + 1;
            key = string;
            top = depth == 1 ? key : top;
        } else if (text && depth == 1 && !strcmp(key, "hostname")) {
            cloud_use_hostname(string);
        } else if (text && depth == 3 && !strcmp(top, "files")) {
            path = strcmp(key, "path") ? path : string;
            contents = strcmp(key, "content_path") ? contents : string;
        }
    }
}
