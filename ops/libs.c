// SPDX-License-Identifier: BSD-2-Clause
// What a dynamic program needs beside itself: its interpreter and the shared libraries that it and they name, looked
// up as the interpreter will (ld.so(8); musl's where that differs) and packed where it will find them.
//
// Objects are taken breadth first, and a name is looked up once: a library that is loaded already, under the name by
// which it was asked for or under its DT_SONAME, serves everybody (that is what lets a library without a path of its
// own use the libraries of the program).
#include "lethe.h"

#include <elf.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE "/etc/ld.so.cache"

// A program or library of the guest, its interpreter first.
struct object {
    char *guest, *host;    // where it stands there, and here
    struct strings names;  // that it answers to
    struct strings rpath;  // directories of its DT_RPATH and of those of the objects that led to it
    bool optional;         // the program may well do without it
};

struct search {
    const struct job *job;
    const char *cwd;             // the guest's, for names that are relative
    struct strings environment;  // the guest's LD_LIBRARY_PATH
    struct strings built_in;     // the interpreter's own directories
    char *lib;                   // what $LIB stands for
    bool musl;
    unsigned machine;
    unsigned char *cache;  // bytes of ld.so.cache, or NULL
    size_t cache_size;
    struct object *objects;
    size_t count;
};

// ---- paths

static char *parent_of(const char *path)
{
    char *parent = xstrdup(path), *slash = strrchr(parent, '/');

    if (slash == parent)
        slash++;
    *slash = '\0';
    return parent;
}

static bool known(const struct strings *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++)
        if (!strcmp(list->items[i], text))
            return true;
    return false;
}

static void add_once(struct strings *list, const char *text)
{
    if (!known(list, text))
        strings_add(list, text);
}

// TEXT with each $NAME or ${NAME} replaced by VALUE.
static char *substitute(const char *text, const char *name, const char *value)
{
    char *out = xstrdup(text), *braced = format("${%s}", name), *plain = format("$%s", name), *at;

    for (size_t from = 0; (at = strchr(out + from, '$'));) {
        size_t before = at - out, len = 0;
        if (!strncmp(at, braced, strlen(braced)))
            len = strlen(braced);
        else if (!strncmp(at, plain, strlen(plain)))
            len = strlen(plain);
        from = before + (len ? strlen(value) : 1);
        if (len)
            out = format("%.*s%s%s", (int)before, out, value, at + len);
    }
    return out;
}

// $ORIGIN (the directory of the object that says it), $LIB and $PLATFORM; a relative path is one from where the
// program starts.
static char *expand(const struct search *s, const char *text, const char *origin)
{
    char *path = substitute(text, "ORIGIN", origin);

    path = substitute(path, "LIB", s->lib ? s->lib : "lib");
    path = substitute(path, "PLATFORM", s->job->arch);
    return normal_path(*path == '/' ? path : format("%s/%s", s->cwd, path));
}

// The directories of a list separated by SEPARATORS.
static void add_list(const struct search *s, struct strings *list, const char *text,
                     const char *separators, const char *origin)
{
    for (size_t len; text && *text; text += len + (text[len] != '\0')) {
        len = strcspn(text, separators);
        add_once(list, expand(s, format("%.*s", (int)len, text), origin));
    }
}

// ---- where to look

// A library fits when it is an ELF file of the program's class and machine; others are passed over.
static bool fits(const struct search *s, const char *host)
{
    struct stat st;
    FILE *file = host && !stat(host, &st) && S_ISREG(st.st_mode) ? fopen(host, "re") : NULL;
    Elf64_Ehdr header;
    bool good = file && fread(&header, sizeof(header), 1, file) == 1 &&
                !memcmp(header.e_ident, ELFMAG, SELFMAG) &&
                header.e_ident[EI_CLASS] == ELFCLASS64 && header.e_machine == s->machine;

    if (file)
        fclose(file);
    return good;
}

static bool add_fitting(const struct search *s, struct strings *found, char *path)
{
    bool good = fits(s, guest_find(s->job, path, false).host);

    if (good)
        add_once(found, path);
    return good;
}

// Looks in each directory, and below it for builds for better processors: which one glibc takes is settled in the
// guest. => what was found is added to FOUND
static bool find_in(const struct search *s, const struct strings *directories, const char *name,
                    struct strings *found)
{
    static const char *const better[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};

    for (size_t i = 0; i < directories->count; i++) {
        const char *directory = directories->items[i];
        char *hwcaps = format("%s/glibc-hwcaps", directory);
        if (!add_fitting(s, found, normal_path(format("%s/%s", directory, name))))
            continue;
        if (!s->musl && s->machine == EM_X86_64 && guest_find(s->job, hwcaps, false).guest)
            for (size_t b = 0; b < sizeof(better) / sizeof(better[0]); b++)
                add_fitting(s, found, format("%s/%s/%s", hwcaps, better[b], name));
        return true;
    }
    return false;
}

static uint32_t word(const unsigned char *bytes)
{
    uint32_t value;

    memcpy(&value, bytes, sizeof(value));
    return value;
}

// ld.so.cache as glibc 2.2 and later write it: a head of 48 bytes (magic, at 20 the number of entries), entries of 24
// (at 4 where the name stands, at 8 the path, counted from the head). Before 2.32 an older table stood before it.
static bool find_in_cache(const struct search *s, const char *name, struct strings *found)
{
    static const char magic[] = "glibc-ld.so.cache1.1", old_magic[] = "ld.so-1.7.0";
    enum { HEAD = 48, ENTRY = 24, OLD_HEAD = 16, OLD_ENTRY = 12 };
    const unsigned char *at = s->cache;
    size_t size = s->cache ? s->cache_size : 0, skip = 0;
    bool any = false;

    if (size > OLD_HEAD && !memcmp(at, old_magic, sizeof(old_magic) - 1))
        skip = (OLD_HEAD + (size_t)word(at + 12) * OLD_ENTRY + 7) & ~(size_t)7;
    if (size < HEAD || skip > size - HEAD || memcmp(at + skip, magic, sizeof(magic) - 1))
        return false;
    at += skip;
    size -= skip;
    for (size_t i = 0, n = word(at + 20); i < n && i < (size - HEAD) / ENTRY; i++) {
        const unsigned char *entry = at + HEAD + i * ENTRY;
        uint32_t key = word(entry + 4), value = word(entry + 8);
        if (key < size && value < size && memchr(at + key, 0, size - key) &&
            memchr(at + value, 0, size - value) && at[value] == '/' &&
            !strcmp((const char *)at + key, name))
            any |= add_fitting(s, found, xstrdup((const char *)at + value));
    }
    return any;
}

// Where this interpreter looks at last: glibc's and musl's lists are built into them.
static void configure(struct search *s, const char *interpreter)
{
    char *own = format("/etc/ld-musl-%s.path", s->job->arch), *text = NULL;
    struct place file;

    if (s->musl) {
        if ((file = guest_find(s->job, own, true)).host && (text = file_read(file.host, NULL)))
            tree_add_if_there(s->job->root, file.host, file.guest);
        add_list(s, &s->built_in, text ? text : "/lib:/usr/local/lib:/usr/lib", ":\n", "/");
        return;
    }
    s->lib = parent_of(guest_find(s->job, interpreter, false).guest) + 1;
    if (!strncmp(s->lib, "usr/", 4))
        s->lib += 4;
    if ((file = guest_find(s->job, CACHE, true)).host) {
        s->cache = (unsigned char *)file_read(file.host, &s->cache_size);
        tree_add_if_there(s->job->root, file.host, file.guest);
    }
    add_list(s, &s->built_in,
             format("/lib/%s-linux-gnu:/usr/lib/%s-linux-gnu:/lib64:/usr/lib64:/lib:/usr/lib",
                    s->job->arch, s->job->arch),
             ":", "/");
}

// ---- objects

static struct object *object_at(const struct search *s, const char *guest)
{
    for (size_t i = 0; i < s->count; i++)
        if (!strcmp(s->objects[i].guest, guest))
            return &s->objects[i];
    return NULL;
}

static struct object *object_named(const struct search *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (known(&s->objects[i].names, name))
            return &s->objects[i];
    return NULL;
}

// => valid until the next one is added
static struct object *new_object(struct search *s, char *guest, char *host)
{
    s->objects = realloc(s->objects, (s->count + 1) * sizeof(s->objects[0]));
    if (!s->objects)
        die_status(STATUS_NOBOOT, "out of memory on this machine");
    s->objects[s->count] = (struct object){.guest = guest, .host = host};
    return &s->objects[s->count++];
}

// Packs what stands at PATH, with the links that lead to it, under one more NAME.
static void pack_object(struct search *s, const char *path, const char *name,
                        const struct strings *rpath, bool optional)
{
    struct place at = guest_find(s->job, path, true);
    struct object *object = object_at(s, at.guest);

    if (!object) {
        object = new_object(s, at.guest, at.host);
        object->optional = optional;
        tree_add_program(s->job->root, at.host, at.guest);
        for (size_t i = 0; i < rpath->count; i++)
            strings_add(&object->rpath, rpath->items[i]);
    }
    add_once(&object->names, name);
}

// musl's C library is its interpreter, whatever part of it is asked for.
static bool is_interpreter(const struct search *s, const char *name)
{
    static const char *const parts[] = {"c.", "pthread.", "rt.", "m.", "dl.", "util.", "xnet."};

    if (!s->musl || strncmp(name, "lib", 3))
        return false;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (!strncmp(name + 3, parts[i], strlen(parts[i])))
            return true;
    return false;
}

// What NAME, asked for by an object with these lists, may turn out to be in the guest: the order of ld.so(8).
static void find(const struct search *s, const char *name, const char *origin,
                 const struct elf_dynamic *by, const struct strings *rpath, struct strings *found)
{
    struct strings runpath = {0};

    if (strchr(name, '/')) {
        add_fitting(s, found, expand(s, name, origin));
        return;
    }
    add_list(s, &runpath, by->runpath, ":", origin);
    if ((!s->musl && !by->runpath && find_in(s, rpath, name, found)) ||
        find_in(s, &s->environment, name, found) || find_in(s, &runpath, name, found) ||
        (s->musl && find_in(s, rpath, name, found)) || find_in_cache(s, name, found))
        return;
    find_in(s, &s->built_in, name, found);
}

static void add_library(struct search *s, const char *name, const char *origin, size_t by_index,
                        const struct elf_dynamic *by, const struct strings *rpath)
{
    struct strings found = {0};

    if (object_named(s, name) || is_interpreter(s, name))
        return;
    find(s, name, origin, by, rpath, &found);
    if (!found.count && s->objects[by_index].optional) {
        if (s->job->verbose)
            fprintf(stderr, "lethe: %s needs the library %s, which is not here\n",
                    s->objects[by_index].guest, name);
        return;
    }
    if (!found.count)
        die("%s needs the library %s, which is not here; install it%s", s->objects[by_index].host,
            name,
            s->job->sysroot
                ? format(" below the --sysroot directory%s",
                         s->cache || s->musl
                             ? ""
                             : format(", or make its %s: ldconfig -r %s", CACHE, s->job->sysroot))
                : ", pack its directory with -f, or name another system's root with --sysroot DIR");
    for (size_t i = 0; i < found.count; i++)
        pack_object(s, found.items[i], name, rpath, s->objects[by_index].optional);
}

// The libraries that an object names. DT_RPATH goes down to them, with glibc DT_RUNPATH does not.
static void add_needed(struct search *s, size_t index)
{
    struct elf_dynamic dynamic = elf_dynamic(s->objects[index].host);
    const struct strings *inherited = &s->objects[index].rpath;
    char *origin = parent_of(s->objects[index].guest);
    struct strings rpath = {0};

    if (dynamic.soname)
        add_once(&s->objects[index].names, dynamic.soname);
    if (!dynamic.runpath || s->musl)
        add_list(s, &rpath, dynamic.rpath, ":", origin);
    if (s->musl)
        add_list(s, &rpath, dynamic.runpath, ":", origin);
    for (size_t i = 0; i < inherited->count; i++)
        add_once(&rpath, inherited->items[i]);
    for (size_t i = 0; i < dynamic.needed.count; i++)
        add_library(s, dynamic.needed.items[i], origin, index, &dynamic, &rpath);
}

// LD_PRELOAD, and the library that glibc opens by itself when a thread is cancelled (if there is one).
static void add_extras(struct search *s)
{
    const char *preload = env_get(&s->job->env, "LD_PRELOAD");
    struct elf_dynamic nobody = {0};
    struct strings none = {0}, found = {0};

    for (size_t len; preload && *preload; preload += len + (preload[len] != '\0')) {
        len = strcspn(preload, " :");
        if (len)
            add_library(s, format("%.*s", (int)len, preload), "/", 1, &nobody, &none);
    }
    find(s, "libgcc_s.so.1", "/", &nobody, &none, &found);
    for (size_t i = 0; !s->musl && i < found.count; i++)
        pack_object(s, found.items[i], "libgcc_s.so.1", &none, true);
}

// Libraries among what -f packed, which a program may open by itself: what they need comes along if it is here.
static void add_plugins(struct search *s, const struct node *directory, const char *path)
{
    for (const struct node *node = directory->child; node; node = node->next) {
        char *guest = format("%s/%s", path, node->name);
        const char *end = strstr(node->name, ".so");

        if (S_ISDIR(node->mode))
            add_plugins(s, node, guest);
        else if (S_ISREG(node->mode) && node->host_path && !node->in_archive &&
                 ((end && (!end[3] || end[3] == '.')) || strstr(node->name, ".node")) &&
                 !object_at(s, guest) && fits(s, node->host_path))
            new_object(s, guest, node->host_path)->optional = true;
    }
}

// Packs what the dynamic program at HOST, which will stand at GUEST and names INTERPRETER, needs. Of a whole root tree only
// the interpreter is asked for: its libraries are its own business.
void libs_add(struct job *job, const char *host, const char *guest, const char *interpreter)
{
    struct search s = {.job = job,
                       .cwd = job->cwd ? job->cwd : "/",
                       .machine = strcmp(job->arch, "aarch64") ? EM_X86_64 : EM_AARCH64};
    struct strings none = {0};

    job->dynamic = true;
    if (*interpreter != '/' || !fits(&s, guest_find(job, interpreter, false).host))
        die("%s is dynamically linked and its interpreter %s is missing%s; install it%s, or link the program with -static "
            "(Go: CGO_ENABLED=0)",
            host, interpreter,
            job->rootfs    ? " in the root tree"
            : job->sysroot ? " below the --sysroot directory"
                           : " here",
            job->sysroot ? "" : ", name another system's root with --sysroot DIR");
    if (job->rootfs)
        return;
    s.musl = !strncmp(strrchr(interpreter, '/'), "/ld-musl-", 9);
    configure(&s, interpreter);
    add_list(&s, &s.environment, env_get(&job->env, "LD_LIBRARY_PATH"), ":;", "/");
    pack_object(&s, interpreter, strrchr(interpreter, '/') + 1, &none, false);
    new_object(&s, xstrdup(guest), xstrdup(host));
    add_needed(&s, 0);
    add_needed(&s, 1);
    add_extras(&s);
    for (size_t i = 2; i < s.count; i++)
        add_needed(&s, i);
    if (job->verbose)
        fprintf(stderr, "lethe: %s is dynamic: packed %s and %zu libraries\n", host, interpreter,
                s.count - 2);
    for (size_t i = s.count, first = i; i == first || i < s.count; i++) {
        if (i == first)
            add_plugins(&s, job->root, "");
        if (i < s.count)
            add_needed(&s, i);
    }
}
