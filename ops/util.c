// SPDX-License-Identifier: BSD-2-Clause
// Errors, strings, sizes and the nearest known word.
#include "lethe.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void say(const char *kind, const char *format, va_list args)
{
    char line[4096];

    vsnprintf(line, sizeof(line), format, args);
    for (char *p = line; *p; p++)  // whatever a file name holds, a message stays one line
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    fflush(stdout);
    fprintf(stderr, "lethe: %s%s\n", kind, line);
}

void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say("", format, args);
    va_end(args);
    exit(STATUS_USAGE);
}

void die_status(int status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say("", format, args);
    va_end(args);
    exit(status);
}

void warn(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say("warning: ", format, args);
    va_end(args);
}

// Zeroed memory; the tool ends when there is none.
void *xalloc(size_t size)
{
    void *memory = calloc(1, size ? size : 1);

    if (!memory)
        die_status(STATUS_NOBOOT, "out of memory on this machine");
    return memory;
}

char *xstrdup(const char *text) { return strcpy(xalloc(strlen(text) + 1), text); }

// A formatted string of its own.
char *format(const char *format, ...)
{
    char *text;
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        die_status(STATUS_NOBOOT, "out of memory on this machine");
    va_end(args);
    return text;
}

// Appends TEXT, which the list owns from now on.
void strings_take(struct strings *list, char *owned)
{
    list->items = realloc(list->items, (list->count + 2) * sizeof(char *));
    if (!list->items)
        die_status(STATUS_NOBOOT, "out of memory on this machine");
    list->items[list->count++] = owned;
    list->items[list->count] = NULL;
}

void strings_add(struct strings *list, const char *text) { strings_take(list, xstrdup(text)); }

// "512", "512m", "2G", "128MiB" -> bytes; a bare number counts in DEFAULT_UNIT.
bool parse_size(const char *text, uint64_t default_unit, uint64_t *bytes)
{
    static const struct {
        const char *suffix;
        int shift;
    } units[] = {{"k", 10}, {"kb", 10}, {"kib", 10}, {"m", 20}, {"mb", 20}, {"mib", 20},
                 {"g", 30}, {"gb", 30}, {"gib", 30}, {"t", 40}, {"b", 0}};
    char *end;
    unsigned long long number;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    number = strtoull(text, &end, 10);
    if (errno || number > (uint64_t)1 << 50)
        return false;
    if (!*end) {
        *bytes = number * default_unit;
        return number <= UINT64_MAX / default_unit;
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcasecmp(end, units[i].suffix))
            continue;
        *bytes = number << units[i].shift;
        return *bytes >> units[i].shift == number;
    }
    return false;
}

bool parse_number(const char *text, long min, long max, long *value)
{
    char *end;

    errno = 0;
    *value = strtol(text, &end, 10);
    return *text && !*end && !errno && *value >= min && *value <= max;
}

// Edits (insert, delete, change, swap of neighbours) between two words, ignoring case; words of up to 63 bytes.
static size_t edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    size_t la = strlen(a), lb = strlen(b);
    size_t row[3][LONGEST + 1] = {0};

    if (la > LONGEST || lb > LONGEST)
        return LONGEST;
    for (size_t j = 0; j <= lb; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = last[j - 1] + (strncasecmp(&a[i - 1], &b[j - 1], 1) != 0);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[la % 3][lb];
}

// The candidate that WORD most looks like, or NULL when there is none.
const char *nearest(const char *word, const char *const *candidates, size_t count)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;

    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(word, candidates[i]);
        if (distance < best_distance) {
            best_distance = distance;
            best = candidates[i];
        }
    }
    return best;
}

// WORD as a POSIX shell reads it back unchanged.
char *shell_quote(const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-+=:,./@%^";
    char *quoted, *p;

    if (*word && word[strspn(word, plain)] == '\0')
        return xstrdup(word);
    p = quoted = xalloc(strlen(word) * 4 + 3);
    *p++ = '\'';
    for (; *word; word++) {
        if (*word == '\'')
            p = stpcpy(p, "'\\''");
        else
            *p++ = *word;
    }
    *p = '\'';
    return quoted;
}

// A path inside one of QEMU's option lists, where a comma is written twice.
char *qemu_escape(const char *path)
{
    char *escaped = xalloc(strlen(path) * 2 + 1), *p = escaped;

    for (; *path; path++) {
        if (*path == ',')
            *p++ = ',';
        *p++ = *path;
    }
    return escaped;
}

bool ends_with(const char *text, const char *tail)
{
    size_t len = strlen(text), tail_len = strlen(tail);

    return len > tail_len && !strcasecmp(text + len - tail_len, tail);
}

// Adds NAME=VALUE, in place of an earlier value of NAME.
void env_set(struct strings *env, const char *assignment)
{
    size_t name_len = strcspn(assignment, "=") + 1;

    for (size_t i = 0; i < env->count; i++) {
        if (!strncmp(env->items[i], assignment, name_len)) {
            env->items[i] = xstrdup(assignment);
            return;
        }
    }
    strings_add(env, assignment);
}

const char *env_get(const struct strings *env, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < env->count; i++)
        if (!strncmp(env->items[i], name, len) && env->items[i][len] == '=')
            return env->items[i] + len + 1;
    return NULL;
}

// "/a/./b//../c" -> "/a/c", by names alone.
char *normal_path(const char *path)
{
    char *out = xalloc(strlen(path) + 2), *end = out;

    for (const char *p = path; *(p += strspn(p, "/"));) {
        size_t len = strcspn(p, "/");
        if (len == 2 && !strncmp(p, "..", 2)) {
            while (end > out && *--end != '/') {
            }
        } else if (len != 1 || *p != '.') {
            *end++ = '/';
            memcpy(end, p, len);
            end += len;
        }
        p += len;
    }
    if (end == out)
        *end++ = '/';
    *end = '\0';
    return out;
}

// All of a file, with a NUL behind it that SIZE (or NULL) does not count. => NULL: it cannot be read, or is no file
char *file_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "re");
    struct stat st;
    char *bytes = NULL;
    size_t got = 0;

    if (file && !fstat(fileno(file), &st) && S_ISREG(st.st_mode)) {
        bytes = xalloc(st.st_size + 1);
        got = fread(bytes, 1, st.st_size, file);
    }
    if (file)
        fclose(file);
    if (size)
        *size = got;
    return bytes;
}
