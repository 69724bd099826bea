// SPDX-License-Identifier: BSD-2-Clause
// Files that the tool leaves behind: each is written under a temporary name, FILE.part, and gets its own when it is whole.
// However the tool ends before that, the temporary file goes.
#include "lethe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *unfinished;  // or NULL
static const char *target;
static const char *folder;    // that is being filled and was not there before, or NULL
static struct strings whole;  // the files in it that have their names already

static void remove_unfinished(void)
{
    if (unfinished)
        unlink(unfinished);
    for (size_t i = 0; folder && i < whole.count; i++)
        unlink(whole.items[i]);
    if (folder)
        rmdir(folder);
}

static void on_signal(int number)
{
    remove_unfinished();
    signal(number, SIG_DFL);
    raise(number);
}

static void guard_once(void)
{
    static bool guarded;

    if (guarded)
        return;
    guarded = true;
    atexit(remove_unfinished);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGHUP, on_signal);
}

// Begins the file PATH. => its descriptor, for reading and writing, and in *TEMPORARY its name until output_end
int output_begin(const char *path, const char **temporary)
{
    char *name = format("%s.part", path);
    int fd;

    guard_once();
    fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        die("cannot write %s: %s", name, strerror(errno));
    unfinished = name;
    target = path;
    if (temporary)
        *temporary = name;
    return fd;
}

// The file is whole: it gets its name.
void output_end(int fd)
{
    struct stat st;

    if (close(fd) || (!stat(target, &st) && S_ISDIR(st.st_mode) && (errno = EISDIR)) ||
        rename(unfinished, target))
        die("cannot write %s: %s", target, strerror(errno));
    unfinished = NULL;
    if (folder)
        strings_add(&whole, target);
}

// Begins a folder of files. A new one stays only if output_folder_end is reached.
void output_folder(const char *path)
{
    guard_once();
    if (!mkdir(path, 0777))
        folder = path;
    else if (errno != EEXIST)
        die("cannot make the directory %s: %s", path, strerror(errno));
}

void output_folder_end(void) { folder = NULL; }

// PATH is whole, but only for other programs that run now: it goes when the tool ends.
void output_passing(const char *path)
{
    guard_once();
    unfinished = xstrdup(path);
}

void write_all(int fd, const char *path, const void *bytes, size_t len)
{
    const char *p = bytes;

    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            die("cannot write %s: %s", path, n ? strerror(errno) : "no space left on the device");
        p += n;
        len -= n;
    }
}

// All bytes of a regular file, in memory of its own.
uint8_t *file_bytes(const char *path, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    uint8_t *bytes;

    if (fd < 0 || fstat(fd, &st))
        die("cannot read %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        die("cannot read %s: it is no regular file", path);
    bytes = xalloc(st.st_size + 1);
    for (*len = 0; *len < (size_t)st.st_size;) {
        ssize_t n = read(fd, bytes + *len, st.st_size - *len);
        if (n <= 0)
            die("cannot read %s: %s", path, n ? strerror(errno) : "it became shorter");
        *len += n;
    }
    close(fd);
    return bytes;
}

// A small file with these contents.
void output_text(const char *path, const char *text)
{
    const char *temporary;
    int fd = output_begin(path, &temporary);

    write_all(fd, temporary, text, strlen(text));
    output_end(fd);
}
