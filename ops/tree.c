// SPDX-License-Identifier: BSD-2-Clause
// The tree of the root image: which file of this machine, or which text, stands under which name.
// Entries are kept sorted by name, so that the same input gives the same image wherever it is packed.
#include "lethe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 128, LINKS_MAX = 40 };

static struct node *node_new(const char *name, size_t name_len, mode_t mode)
{
    struct node *node = xalloc(sizeof(*node));

    node->name = xalloc(name_len + 1);
    memcpy(node->name, name, name_len);
    node->mode = mode;
    return node;
}

// A tree with the directories that every guest has; the kernel mounts its own file systems on them.
struct node *tree_new(void)
{
    static const char *const standard[] = {"dev", "proc", "run", "sys", "tmp"};
    struct node *root = node_new("", 0, S_IFDIR | 0755), **at = &root->child;

    for (size_t i = 0; i < sizeof(standard) / sizeof(standard[0]); i++) {
        *at = node_new(standard[i], strlen(standard[i]), S_IFDIR | 0755);
        at = &(*at)->next;
    }
    return root;
}

// The entry of DIRECTORY with this name, made with MODE when it is not there. The search begins at the one made last:
// names mostly come in their order.
static struct node *entry(struct node *directory, const char *name, size_t name_len, mode_t mode)
{
    struct node **at = &directory->child, *last = directory->last, *made;

    if (last && strncmp(last->name, name, name_len) < 0)
        at = &last->next;

    for (; *at; at = &(*at)->next) {
        int order = strncmp((*at)->name, name, name_len);
        if (order == 0 && (*at)->name[name_len] == '\0')
            return *at;
        if (order > 0 || (order == 0 && (*at)->name[name_len]))
            break;
    }
    made = node_new(name, name_len, mode);
    made->next = *at;
    *at = made;
    directory->last = made;
    return made;
}

// The node at GUEST_PATH; missing parents become directories, packed links on the way are followed, the node itself
// gets MODE's type.
static struct node *place_behind(struct node *root, const char *guest_path, mode_t mode, int links)
{
    struct node *node = root;

    for (const char *p = guest_path; *(p += strspn(p, "/"));) {
        size_t len = strcspn(p, "/");
        bool last = p[len + strspn(p + len, "/")] == '\0';
        if (len == 2 && !strncmp(p, "..", 2))
            die("the image path %s must not contain '..'; name another, as in HOST:GUEST",
                guest_path);
        if (len > NAME_MAX)
            die("a name in the image path %s is longer than %d bytes", guest_path, NAME_MAX);
        if (!S_ISDIR(node->mode))
            die("cannot pack %s: a part of that path is a file", guest_path);
        if (len != 1 || *p != '.')
            node = entry(node, p, len, last ? mode : S_IFDIR | 0755);
        if (S_ISLNK(node->mode) && (!last || S_ISDIR(mode))) {
            const char *parent_end = *node->content == '/' ? guest_path : p;
            char *path = normal_path(format("%.*s/%s%s", (int)(parent_end - guest_path), guest_path,
                                            node->content, p + len));
            if (links == 0)
                die("cannot pack %s: too many links", guest_path);
            return place_behind(root, path, mode, links - 1);
        }
        p += len;
    }
    if (node == root && !S_ISDIR(mode))
        die("%s is no file name for the image", guest_path);
    if (S_ISDIR(node->mode) != S_ISDIR(mode))
        die("cannot pack %s twice, as a directory and as a file", guest_path);
    if (!S_ISDIR(mode)) {
        tree_copy(node, &(struct node){0});
    }
    node->mode = mode;
    return node;
}

// The node at GUEST_PATH, emptied unless it is a directory.
struct node *tree_place(struct node *root, const char *guest_path, mode_t mode)
{
    return place_behind(root, guest_path, mode, LINKS_MAX);
}

// Gives TO what is FROM's but its name and its place.
void tree_copy(struct node *to, const struct node *from)
{
    char *name = to->name;
    struct node *next = to->next;

    *to = *from;
    to->name = name;
    to->next = next;
}

// The node at GUEST_PATH, NULL if there is none. => links are not followed
struct node *tree_find(struct node *root, const char *guest_path)
{
    struct node *node = root;

    for (const char *p = guest_path; node && *(p += strspn(p, "/"));) {
        size_t len = strcspn(p, "/");
        if (len != 1 || *p != '.') {
            node = node->child;
            while (node && (strncmp(node->name, p, len) || node->name[len]))
                node = node->next;
        }
        p += len;
    }
    return node;
}

void tree_add_link(struct node *root, const char *guest_path, const char *target)
{
    struct node *node = tree_place(root, guest_path, S_IFLNK | 0777);

    node->content = xstrdup(target);
    node->host_path = NULL;
    node->size = strlen(target);
}

// A walk through a tree of this machine.
struct walk {
    struct node *root;
    const char *pattern;  // for the names of files, or NULL
    bool whole;  // a root tree: stay on its file system, keep times, leave out what cannot be read
    dev_t device;
    unsigned long left_out;
};

static void add_link(struct walk *walk, const char *host_path, const char *guest_path)
{
    char target[PATH_MAX];
    ssize_t len = readlink(host_path, target, sizeof(target) - 1);

    if (len < 0)
        die("cannot read the link %s: %s", host_path, strerror(errno));
    target[len] = '\0';
    tree_add_link(walk->root, guest_path, target);
}

// Names of one file: the nodes of all share this, so that they are one file in the image too.
static struct shared *shared_by(const struct stat *st)
{
    enum { BUCKETS = 1024 };
    static struct known {
        dev_t device;
        ino_t ino;
        struct shared shared;
        struct known *next;
    } * table[BUCKETS];
    struct known **at = &table[st->st_ino % BUCKETS];

    if (st->st_nlink < 2)
        return NULL;
    while (*at && ((*at)->ino != st->st_ino || (*at)->device != st->st_dev))
        at = &(*at)->next;
    if (!*at) {
        *at = xalloc(sizeof(**at));
        (*at)->device = st->st_dev;
        (*at)->ino = st->st_ino;
    }
    return &(*at)->shared;
}

static struct node *add_file(struct node *root, const char *host_path, const char *guest_path,
                             const struct stat *st)
{
    struct node *node = tree_place(root, guest_path, S_IFREG | (st->st_mode & 07777));

    node->host_path = xstrdup(host_path);
    node->size = st->st_size;
    return node;
}

static void add_any(struct walk *walk, const char *host_path, const char *guest_path, int depth);

static void add_directory(struct walk *walk, const char *host_path, const char *guest_path,
                          int depth)
{
    struct dirent **names;
    int count = scandir(host_path, &names, NULL, alphasort);

    if (count < 0 && walk->whole && errno == EACCES) {
        walk->left_out++;
        return;
    }
    if (count < 0)
        die("cannot read the directory %s: %s", host_path, strerror(errno));
    if (depth > DEPTH_MAX)
        die("%s lies more than %d directories deep", host_path, DEPTH_MAX);
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        if (strcmp(name, ".") && strcmp(name, "..")) {
            char *host = format("%s/%s", host_path, name);
            char *guest = format("%s/%s", guest_path, name);
            add_any(walk, host, guest, depth + 1);
            free(host);
            free(guest);
        }
        free(names[i]);
    }
    free(names);
}

static void add_regular(struct walk *walk, const char *host_path, const char *guest_path,
                        const struct stat *st)
{
    struct node *node;

    if (access(host_path, R_OK)) {
        if (!walk->whole)
            die("cannot read %s: %s", host_path, strerror(errno));
        walk->left_out++;
        return;
    }
    node = add_file(walk->root, host_path, guest_path, st);
    node->shared = shared_by(st);
    if (walk->whole)
        node->mtime = st->st_mtime;
}

static void add_any(struct walk *walk, const char *host_path, const char *guest_path, int depth)
{
    struct stat st;
    const char *name = strrchr(host_path, '/');

    if (depth ? lstat(host_path, &st) : stat(host_path, &st))
        die("cannot pack %s: %s", host_path, strerror(errno));
    name = name ? name + 1 : host_path;
    if (walk->pattern && !S_ISDIR(st.st_mode) && fnmatch(walk->pattern, name, 0))
        return;
    if (S_ISDIR(st.st_mode)) {
        if (!walk->pattern) {
            struct node *node = tree_place(walk->root, guest_path, S_IFDIR | (st.st_mode & 07777));
            node->mtime = walk->whole ? st.st_mtime : 0;
        }
        if (!walk->whole || st.st_dev == walk->device)
            add_directory(walk, host_path, guest_path, depth);
    } else if (S_ISLNK(st.st_mode)) {
        add_link(walk, host_path, guest_path);
    } else if (S_ISREG(st.st_mode)) {
        add_regular(walk, host_path, guest_path, &st);
    } else if (walk->whole) {
        walk->left_out++;
    } else if (depth) {
        warn("%s is neither a file, a directory nor a link; left out", host_path);
    } else {
        die("cannot pack %s: it is neither a file nor a directory", host_path);
    }
}

static void refuse_own_names(const char *guest_path)
{
    const char *p = guest_path + strspn(guest_path, "/");

    if (!strncmp(p, ".lethe", 6) && (p[6] == '/' || !p[6]))
        die("cannot pack %s: the name /.lethe is taken by the configuration", guest_path);
}

// Packs a file, or a directory with all below it, as GUEST_PATH. Links below it stay links.
void tree_add_host(struct node *root, const char *host_path, const char *guest_path)
{
    refuse_own_names(guest_path);
    add_any(&(struct walk){.root = root}, host_path, guest_path, 0);
}

// Packs a directory as the whole root tree. => what cannot be read, or is no file, is counted in a warning
void tree_add_root(struct node *root, const char *host_path)
{
    struct walk walk = {.root = root, .whole = true};
    struct stat st;

    if (stat(host_path, &st))
        die("cannot pack %s: %s", host_path, strerror(errno));
    walk.device = st.st_dev;
    add_any(&walk, host_path, "", 0);
    if (walk.left_out)
        warn("%s: %lu files that cannot be read, device files and the like left out", host_path,
             walk.left_out);
}

// Packs the files below HOST_DIR whose names match PATTERN.
void tree_add_matching(struct node *root, const char *host_dir, const char *pattern,
                       const char *guest_dir)
{
    refuse_own_names(guest_dir);
    add_any(&(struct walk){.root = root, .pattern = pattern}, host_dir, guest_dir, 0);
}

// Packs the program; it is executable in the image whatever its mode here.
void tree_add_program(struct node *root, const char *host_path, const char *guest_path)
{
    struct stat st;

    refuse_own_names(guest_path);
    if (stat(host_path, &st) || access(host_path, R_OK))
        die("cannot pack %s: %s", host_path, strerror(errno));
    st.st_mode |= 0555;
    add_file(root, host_path, guest_path, &st);
}

// Packs a file unless it is missing here or packed already.
void tree_add_if_there(struct node *root, const char *host_path, const char *guest_path)
{
    if (!access(host_path, R_OK) && !tree_find(root, guest_path))
        tree_add_host(root, host_path, guest_path);
}

// A file with this text, which the tree owns from now on.
void tree_add_text(struct node *root, const char *guest_path, char *content)
{
    struct node *node = tree_place(root, guest_path, S_IFREG | 0444);

    node->content = content;
    node->size = strlen(content);
}

// A path of this machine by which the bytes of a file of the tree can be read, NULL for what is no file. Those that lie
// in an archive are copied to a memory file.
char *tree_host_path(const struct node *node)
{
    char chunk[65536], *path;
    int from = -1, to;

    if (!node || !S_ISREG(node->mode))
        return NULL;
    if (!node->in_archive && !node->content)
        return node->host_path;
    to = memfd_create("lethe-file", MFD_CLOEXEC);
    if (to < 0 || (!node->content && (from = open(node->host_path, O_RDONLY | O_CLOEXEC)) < 0))
        die("cannot read %s: %s", node->name, strerror(errno));
    path = format("/proc/self/fd/%d", to);
    for (uint64_t done = 0, n; done < node->size; done += n) {
        n = node->size - done < sizeof(chunk) ? node->size - done : sizeof(chunk);
        if (node->content)
            memcpy(chunk, node->content + done, n);
        else if (pread(from, chunk, n, node->offset + done) != (ssize_t)n)
            die("cannot read %s", node->host_path);
        if (write(to, chunk, n) != (ssize_t)n)
            die("cannot copy %s: %s", node->name, strerror(errno));
    }
    if (from >= 0)
        close(from);
    return path;
}

static uint64_t bytes_below(const struct node *node, unsigned round)
{
    uint64_t bytes = S_ISDIR(node->mode) ? 4096 : node->size;

    if (node->shared && node->shared->round == round)
        return 0;
    if (node->shared)
        node->shared->round = round;
    for (const struct node *child = node->child; child; child = child->next)
        bytes += bytes_below(child, round);
    return bytes;
}

// What the files of the tree hold; a file with several names counts once.
uint64_t tree_bytes(const struct node *root)
{
    static unsigned round;

    return bytes_below(root, ++round);
}
