// SPDX-License-Identifier: BSD-2-Clause
// The program and what starting it takes: a static ELF file is enough by itself, a dynamic one needs its interpreter
// and libraries (libs.c), a script the program that its first line names, and that one's in turn.
#include "lethe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
enum {
    LINE_MAX_BYTES = 255,
    SCRIPTS_MAX = 5
};  // what kernels read of a script, and how far they follow

// The first line of a script behind its "#!", or NULL.
static char *script_line(const char *host)
{
    char line[LINE_MAX_BYTES + 1] = "";
    struct stat st;
    FILE *file = !stat(host, &st) && S_ISREG(st.st_mode) ? fopen(host, "re") : NULL;
    size_t n = file ? fread(line, 1, LINE_MAX_BYTES, file) : 0;

    if (file)
        fclose(file);
    line[n] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return n >= 2 && !memcmp(line, "#!", 2) ? xstrdup(line + 2) : NULL;
}

// The next word of a line, which moves on; NULL: there is none.
static char *next_word(char **line)
{
    char *start = *line + strspn(*line, " \t");
    size_t len = strcspn(start, " \t");

    *line = start + len;
    return len ? format("%.*s", (int)len, start) : NULL;
}

static void need(struct job *job, const char *name, const char *script, int depth,
                 struct elf_info *info);

// Of a whole root tree everything is packed already.
static void pack(struct job *job, const char *host, const char *guest)
{
    if (!job->rootfs)
        tree_add_program(job->root, host, guest);
}

// What a script needs. env(1) is a program that looks for another one.
static void add_script(struct job *job, const char *host, char *line, int depth,
                       struct elf_info *info)
{
    char *interpreter = next_word(&line), *word;
    const char *name;

    if (!interpreter)
        die("%s is a script whose first line names no interpreter", host);
    if (depth == SCRIPTS_MAX)
        die("%s: scripts for scripts, more than %d deep", host, SCRIPTS_MAX);
    need(job, interpreter, host, depth, info);
    name = strrchr(interpreter, '/');
    if (!name || strcmp(name, "/env"))
        return;
    while ((word = next_word(&line)))
        if (*word != '-' && !strchr(word, '='))
            break;
    if (word)
        need(job, word, host, depth, info);
}

// Checks what stands at HOST and will at GUEST, and packs what it needs. => where in the image it belongs itself
static char *add_needs(struct job *job, const char *host, const char *guest, int depth,
                       struct elf_info *info)
{
    char *line = script_line(host);
    struct place at = guest_find(job, guest, true);

    if (line) {
        add_script(job, host, line, depth, info);
    } else {
        *info = elf_check(host, job->arch);
        job->arch = info->arch;
        if (info->interpreter)
            libs_add(job, host, guest, info->interpreter);
    }
    return at.guest ? at.guest : xstrdup(guest);
}

// A program that SCRIPT needs.
static void need(struct job *job, const char *name, const char *script, int depth,
                 struct elf_info *info)
{
    struct place at = guest_which(job, name);

    if (!at.host)
        die("%s is a script for %s, which is missing%s; install it, or pack it with -f", script,
            name,
            job->rootfs    ? " in the root tree"
            : job->sysroot ? " below --sysroot"
                           : " here");
    pack(job, at.host, add_needs(job, at.host, at.guest, depth + 1, info));
}

// The program by its name in the tree of --rootfs.
static void find_in_rootfs(struct job *job)
{
    struct place at = guest_which(job, job->program_host);

    if (!at.host)
        die("%s is not in the root tree %s", job->program_host, job->rootfs);
    job->program_guest = at.guest;
    job->program_host = at.host;
}

static bool keeps_its_path(const char *host) { return script_line(host) || elf_is_dynamic(host); }

// Packs the program of JOB with all that starting it takes. => what is known of the ELF file that starts first
struct elf_info program_add(struct job *job)
{
    struct elf_info info = {.arch = job->arch};
    char *guest;

    if (!job->program_host)
        die("no program named; try 'lethe help'");
    if (!env_get(&job->env, "PATH"))
        env_set(&job->env, "PATH=" DEFAULT_PATH);
    if (job->rootfs)
        find_in_rootfs(job);
    if (!job->program_guest && !job->unchecked && keeps_its_path(job->program_host)) {
        job->program_guest = guest_path_of(job, job->program_host);
    } else if (!job->program_guest) {
        const char *slash = strrchr(job->program_host, '/');
        job->program_guest = format("/%s", slash ? slash + 1 : job->program_host);
    }
    guest = job->program_guest;
    if (!job->unchecked)
        guest = add_needs(job, job->program_host, guest, 0, &info);
    else if (!info.arch && !(info.arch = elf_arch(job->program_host)))
        info.arch = "x86_64";
    job->arch = info.arch;
    pack(job, job->program_host, guest);
    return info;
}
