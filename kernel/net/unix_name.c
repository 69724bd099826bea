// SPDX-License-Identifier: BSD-2-Clause
// unix_name.c: names of AF_UNIX sockets: nodes of the file system, and abstract names that begin with a NUL.
#include "net/unix_internal.h"

#include <stdio.h>
#include <string.h>

#define NAME_BUCKETS 64

static struct mutex names_lock = MUTEX_INIT(names_lock);
static struct list abstract_names[NAME_BUCKETS];  // [names_lock] zeroed until first used

void unix_addr_put(struct unix_addr *a)
{
    if (atomic_sub(&a->refcount, 1) == 0)
        kfree(a);
}

struct unix_addr *unix_addr_of(struct unix_sock *u)
{
    if (!atomic_load(&u->addr))
        return NULL;
    // A name, once given, stays until the socket is destroyed.
    struct unix_addr *a = u->addr;
    atomic_add(&a->refcount, 1);
    return a;
}

static struct list *bucket_of(const char *name, u32 len)
{
    u32 hash = 2166136261u;
    for (u32 i = 0; i < len; i++)
        hash = (hash ^ (u8)name[i]) * 16777619u;
    struct list *bucket = &abstract_names[hash % NAME_BUCKETS];
    if (!bucket->next)
        list_init(bucket);
    return bucket;
}

// Each type of socket has names of its own.
static struct unix_sock *find_abstract(const char *name, u32 len, int type)
{
    struct list *bucket = bucket_of(name, len);
    list_for_each_entry (struct unix_sock, u, bucket, name_link) {
        if (u->s.type == type && u->addr->len - sizeof(u16) == len &&
            !memcmp(u->addr->name.path, name, len))
            return u;
    }
    return NULL;
}

// An address as bind and connect take it. => length of path, -EINVAL
static int check_name(const struct sock_addr *addr, u32 len)
{
    if (len <= sizeof(addr->family) || len > sizeof(addr->family) + UNIX_PATH_MAX ||
        addr->family != AF_UNIX)
        return -EINVAL;
    return (int)(len - sizeof(addr->family));
}

static struct unix_addr *new_name(const char *path, u32 path_len)
{
    struct unix_addr *a = kzalloc(sizeof(*a));
    if (!a)
        return NULL;
    a->refcount = 1;
    a->name.family = AF_UNIX;
    memcpy(a->name.path, path, path_len);
    // A path's terminator counts, whether the caller counted it or not.
    a->len = (u32)sizeof(u16) + (path[0] ? (u32)strlen(a->name.path) + 1 : path_len);
    return a;
}

// => 0 and the socket takes over a (and the dentry), or -EINVAL, -EADDRINUSE. [names_lock]
static int set_name(struct unix_sock *u, struct unix_addr *a, struct dentry *d)
{
    if (u->addr)
        return -EINVAL;
    if (!d) {
        u32 len = a->len - (u32)sizeof(u16);
        if (find_abstract(a->name.path, len, u->s.type))
            return -EADDRINUSE;
        list_push_back(bucket_of(a->name.path, len), &u->name_link);
    } else {
        u->dentry = d;
        atomic_store(&d->inode->special.socket, (void *)u);
    }
    atomic_store(&u->addr, a);
    return 0;
}

static int bind_name(struct unix_sock *u, const char *path, u32 path_len)
{
    struct dentry *d = NULL;
    struct unix_addr *a = new_name(path, path_len);
    if (!a)
        return -ENOMEM;
    int err = 0;
    if (path[0])
        err = vfs_mknod(AT_FDCWD, a->name.path, S_IFSOCK | (0777 & ~current_umask()), 0, &d);
    if (!err) {
        mutex_lock(&names_lock);
        err = set_name(u, a, d);
        mutex_unlock(&names_lock);
        if (err && d) {  // it has a name already
            vfs_unlink(AT_FDCWD, a->name.path, false);
            dentry_put(d);
        }
    }
    if (err)
        unix_addr_put(a);
    return err == -EEXIST ? -EADDRINUSE : err;
}

int unix_autobind(struct unix_sock *u)
{
    static u32 next;  // atomic
    char name[8];
    int err = -EADDRINUSE;
    for (u32 tries = 0; err == -EADDRINUSE && !u->addr && tries < 1u << 20; tries++) {
        name[0] = '\0';
        snprintf(name + 1, sizeof(name) - 1, "%05x", atomic_add(&next, 1) & 0xfffff);
        err = bind_name(u, name, 6);
    }
    return u->addr ? 0 : err;
}

int unix_bind(struct socket *s, const struct sock_addr *addr, u32 len)
{
    if (len == sizeof(addr->family) && addr->family == AF_UNIX)
        return unix_autobind(unix_of(s));
    int path_len = check_name(addr, len);
    return path_len < 0 ? path_len : bind_name(unix_of(s), (const char *)addr->data, (u32)path_len);
}

void unix_unbind(struct unix_sock *u)
{
    struct dentry *d = NULL;
    if (!atomic_load(&u->addr))
        return;
    mutex_lock(&names_lock);
    if (u->dentry) {
        d = u->dentry;
        u->dentry = NULL;
        atomic_store(&d->inode->special.socket, NULL);
    } else if (!list_empty(&u->name_link)) {
        list_remove_init(&u->name_link);
    }
    mutex_unlock(&names_lock);
    if (d)
        dentry_put(d);
}

static struct unix_sock *find_path(const char *path)
{
    struct dentry *d;
    int err = vfs_lookup(AT_FDCWD, path, LOOKUP_FOLLOW, &d);
    if (err)
        return ERR_PTR(err);
    struct unix_sock *u = ERR_PTR(-ECONNREFUSED);
    err = inode_permission(d->inode, MAY_WRITE);
    if (err) {
        u = ERR_PTR(err);
    } else if (S_ISSOCK(d->inode->mode)) {
        mutex_lock(&names_lock);
        if (d->inode->special.socket) {
            u = d->inode->special.socket;
            socket_get(&u->s);
        }
        mutex_unlock(&names_lock);
    }
    dentry_put(d);
    return u;
}

struct unix_sock *unix_find(const struct sock_addr *addr, u32 len, int type)
{
    struct unix_sock *u;
    int path_len = check_name(addr, len);
    if (path_len < 0)
        return ERR_PTR(path_len);
    const char *path = (const char *)addr->data;
    if (path[0]) {
        char text[UNIX_PATH_MAX + 1];
        memcpy(text, path, (size_t)path_len);
        text[path_len] = '\0';
        u = find_path(text);
    } else {
        mutex_lock(&names_lock);
        u = find_abstract(path, (u32)path_len, type);
        if (u)
            socket_get(&u->s);
        else
            u = ERR_PTR(-ECONNREFUSED);
        mutex_unlock(&names_lock);
    }
    if (!IS_ERR(u) && u->s.type != type) {
        socket_put(&u->s);
        u = ERR_PTR(-EPROTOTYPE);
    }
    return u;
}
