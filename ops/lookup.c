// SPDX-License-Identifier: BSD-2-Clause
// Paths of the guest. Its files are those packed so far (-f, --rootfs) and behind them, unless --rootfs has given it a
// whole tree, those of this machine, below --sysroot when one is given.
#include "lethe.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINKS_MAX = 40 };

// One step of the walk, to HERE. => what it is a link to, or NULL; *host its path here, NULL when nothing is there
static char *step(const struct job *job, const char *here, bool pack, char **host)
{
    const struct node *node = tree_find(job->root, here);
    char target[PATH_MAX];
    struct stat st;
    ssize_t n;

    *host = NULL;
    if (node)
        return S_ISLNK(node->mode) ? xstrdup(node->content) : NULL;
    if (job->rootfs)
        return NULL;
    *host = format("%s%s", job->sysroot ? job->sysroot : "", here);
    if (lstat(*host, &st)) {
        *host = NULL;
        return NULL;
    }
    if (!S_ISLNK(st.st_mode) || (n = readlink(*host, target, sizeof(target) - 1)) <= 0)
        return NULL;
    target[n] = '\0';
    if (pack)
        tree_add_link(job->root, here, target);
    return xstrdup(target);
}

// Follows the links in a path of the guest, name by name (/lib -> usr/lib, libz.so.1 -> libz.so.1.2.13), packing them
// as links if told, so that every spelling works there.
// => guest NULL: nothing stands there; host NULL: a directory of the image
struct place guest_find(const struct job *job, const char *guest_path, bool pack)
{
    struct place at = {xstrdup(""), NULL};
    char *left = normal_path(guest_path);
    int links = 0;

    while (*left && strcmp(left, "/")) {
        size_t len = strcspn(left + 1, "/") + 1;
        char *here = format("%s%.*s", at.guest, (int)len, left);
        char *target = step(job, here, pack, &at.host);

        if (target && ++links > LINKS_MAX)
            return (struct place){NULL, NULL};
        if (target) {
            left =
                normal_path(format("%s/%s%s", *target == '/' ? "" : at.guest, target, left + len));
            at.guest = xstrdup("");
        } else {
            left += len;
            at.guest = here;
        }
        if (!at.host && !tree_find(job->root, here))
            return (struct place){NULL, NULL};
    }
    if (!at.host)
        at.host = tree_host_path(tree_find(job->root, at.guest));
    return at;
}

// Where a program of this machine stands, from its root directory, as links left it: ARGV[0] may matter.
static char *absolute(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash ? format("%.*s/", (int)(slash - path), path) : xstrdup("."), *real;

    if (*path == '/' && !strstr(path, "/../"))
        return normal_path(path);
    if (!(real = realpath(directory, NULL)))
        die("cannot find the directory %s: %s", directory, strerror(errno));
    if (!strncmp(path, "..", 2) || strstr(path, "/../"))
        return normal_path(format("%s/%s", real, slash ? slash + 1 : path));
    if (!getcwd(directory = xalloc(PATH_MAX), PATH_MAX))
        die("cannot tell the present directory: %s", strerror(errno));
    return normal_path(format("%s/%s", directory, path));
}

// The path in the guest of HOST, a file of this machine that keeps its path.
char *guest_path_of(const struct job *job, const char *host)
{
    size_t len = job->sysroot ? strlen(job->sysroot) : 0;

    if (len && !strncmp(host, job->sysroot, len) && host[len] == '/')
        return normal_path(host + len);
    return absolute(host);
}

// A program of the guest by its name: as a path when there is a '/' in it, else along the guest's PATH.
struct place guest_which(const struct job *job, const char *name)
{
    const char *path = env_get(&job->env, "PATH"), *cwd = job->cwd ? job->cwd : "/";
    struct place at = {NULL, NULL};

    if (strchr(name, '/')) {
        at = guest_find(job, *name == '/' ? name : format("%s/%s", cwd, name), false);
        at.guest = at.host ? normal_path(*name == '/' ? name : format("%s/%s", cwd, name)) : NULL;
        return at;
    }
    for (size_t len; *path && !at.host; path += len + (path[len] != '\0')) {
        len = strcspn(path, ":");
        char *candidate = format("%.*s/%s", (int)len, path, name);
        at = guest_find(job, candidate, false);
        at.guest = normal_path(candidate);
    }
    return at;
}
