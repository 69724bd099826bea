// SPDX-License-Identifier: BSD-2-Clause
// dentry.c: names in memory: the tree of dentries, its lock, and paths as text.
//
// A name is in the tree exactly when in_tree is set; then its directory's list and hash hold it, and
// the tree owns one reference. A dentry keeps its parent alive for as long as it lives itself, so
// that a removed file still knows where it was.
//
//   I1  d->in_tree  <=>  d is in parent->inode->dir.children (and in dir.hash when there is one)
//   I2  the children of a directory stand in the order of their cookies, which are never used twice
//   I3  a dentry without references is not in the tree
//
// The tree lock is one spinlock a CPU. A walker takes its own CPU's: no shared cache line, a handful
// of instructions, and no reference on any dentry that it only passes. A change takes all of them in
// order of CPU number. Changes are rare beside walks, and hold the lock for a few list operations.
// The alternative, reference counts on every component, costs two atomic operations a component
// and makes the root directory's counter the busiest word of the machine.
#include "fs/vfs_internal.h"

DEFINE_PERCPU(struct spinlock, tree_lock_slot);
static u32 tree_locked_cpus;  // [tree lock held for writing]
struct mutex rename_mutex = MUTEX_INIT(rename_mutex);
static struct kcache *dentry_cache;

#define DIR_HASH_MIN 16  // children from which a hash table pays

void dentry_init(void) { dentry_cache = kcache_create("dentry", sizeof(struct dentry), 8); }

void tree_write(void)
{
    u32 n = MAX(n_cpus, 1u);
    if (n == 1) {
        spin_lock(percpu_ptr(tree_lock_slot));
    } else {
        for (u32 i = 0; i < n; i++)
            spin_lock(percpu_ptr_of(cpus[i], tree_lock_slot));
    }
    tree_locked_cpus = n;
}

void tree_write_done(void)
{
    u32 n = tree_locked_cpus;
    if (n == 1) {
        spin_unlock(percpu_ptr(tree_lock_slot));
        return;
    }
    while (n-- > 0)
        spin_unlock(percpu_ptr_of(cpus[n], tree_lock_slot));
}

// FNV-1a with a better last step; the walk computes the same while it scans a component.
u32 name_hash(const char *name, size_t len)
{
    u32 h = 2166136261u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (u8)name[i]) * 16777619u;
    return h;
}

static inline bool same_name(const struct dentry *d, const char *name, u32 len, u32 hash)
{
    if (d->hash != hash || d->name_len != len)
        return false;
    const char *own = d->name;
    while (len && *own == *name) {
        own++;
        name++;
        len--;
    }
    return len == 0;
}

struct dentry *dentry_find(const struct inode *dir, const char *name, u32 len, u32 hash)
{
    if (dir->dir.hash) {
        struct dentry *d = dir->dir.hash[(hash ^ hash >> 15) & dir->dir.hash_mask];
        for (; d; d = d->hash_next) {
            if (same_name(d, name, len, hash))
                return d;
        }
        return NULL;
    }
    list_for_each_entry (struct dentry, d, &dir->dir.children, sibling) {
        if (same_name(d, name, len, hash))
            return d;
    }
    return NULL;
}

struct dentry *dentry_alloc(struct dentry *parent, const char *name, unsigned len,
                            struct inode *inode)
{
    struct dentry *d = kcache_alloc(dentry_cache);
    if (!d)
        return NULL;
    char *text = d->inline_name;
    if (len >= sizeof(d->inline_name)) {
        text = kmalloc(len + 1);
        if (!text) {
            kcache_free(dentry_cache, d);
            return NULL;
        }
    }
    memcpy(text, name, len);
    text[len] = '\0';
    d->refcount = 1;
    d->hash = name_hash(name, len);
    d->parent = parent ? parent : d;
    if (parent)
        dentry_get(parent);
    d->inode = inode;
    d->mounted = NULL;
    list_init(&d->sibling);
    d->hash_next = NULL;
    d->cookie = 0;
    d->name = text;
    d->stub_ino = 0;
    d->stub_data = 0;
    d->name_len = len;
    d->in_tree = 0;
    if (inode && S_ISDIR(inode->mode))
        inode->dir.self = d;
    return d;
}

static void dentry_free(struct dentry *d)
{
    if (d->name != d->inline_name)
        kfree((char *)d->name);
    kcache_free(dentry_cache, d);
}

void dentry_put(struct dentry *d)
{
    while (atomic_sub(&d->refcount, 1) == 0) {
        KASSERT(!d->in_tree);
        struct dentry *parent = d->parent;
        struct inode *inode = d->inode;
        if (inode) {
            if (S_ISDIR(inode->mode) && inode->dir.self == d)
                inode->dir.self = NULL;
            inode_put(inode);
        }
        dentry_free(d);
        if (parent == d)
            return;
        d = parent;
    }
}

static void hash_insert(struct inode *dir, struct dentry *d)
{
    struct dentry **slot = &dir->dir.hash[(d->hash ^ d->hash >> 15) & dir->dir.hash_mask];
    d->hash_next = *slot;
    *slot = d;
}

static void hash_remove(struct inode *dir, struct dentry *d)
{
    struct dentry **slot = &dir->dir.hash[(d->hash ^ d->hash >> 15) & dir->dir.hash_mask];
    while (*slot != d)
        slot = &(*slot)->hash_next;
    *slot = d->hash_next;
    d->hash_next = NULL;
}

// A larger table when the directory outgrows its own; no memory for one only makes it slower.
static struct dentry **hash_new_table(struct inode *dir, u32 *mask)
{
    u32 n = READ_ONCE(dir->dir.n_children);
    bool has_table = READ_ONCE(dir->dir.hash) != NULL;
    if (n < DIR_HASH_MIN || (has_table && n <= dir->dir.hash_mask))
        return NULL;
    u32 size = DIR_HASH_MIN * 2;
    while (size < 2 * n && size < (1u << 18))
        size *= 2;
    if (has_table && size - 1 <= dir->dir.hash_mask)
        return NULL;
    *mask = size - 1;
    return kzalloc(size * sizeof(struct dentry *));
}

static void hash_use_table(struct inode *dir, struct dentry **table, u32 mask)
{
    dir->dir.hash = table;
    dir->dir.hash_mask = mask;
    list_for_each_entry (struct dentry, d, &dir->dir.children, sibling)
        hash_insert(dir, d);
}

static void link_locked(struct inode *dir, struct dentry *d)
{
    d->cookie = dir->dir.next_cookie++;
    d->in_tree = 1;
    list_push_back(&dir->dir.children, &d->sibling);
    dir->dir.n_children++;
    if (dir->dir.hash)
        hash_insert(dir, d);
}

int dentry_link(struct dentry *dir, struct dentry *d)
{
    struct inode *inode = dir->inode;
    u32 mask = 0;
    struct dentry **table = hash_new_table(inode, &mask), **old = table;
    int err = 0;
    tree_write();
    if (inode->flags & I_DEAD) {
        err = -ENOENT;
    } else if (dentry_find(inode, d->name, d->name_len, d->hash)) {
        err = -EEXIST;
    } else {
        if (table && (!inode->dir.hash || inode->dir.hash_mask < mask)) {
            old = inode->dir.hash;
            hash_use_table(inode, table, mask);
        }
        link_locked(inode, d);
        d->refcount++;  // nobody else knows d yet, or its holder is the caller
    }
    tree_write_done();
    if (old)
        kfree(old);
    return err;
}

void dentry_unlink_locked(struct dentry *d)
{
    struct inode *dir = d->parent->inode;
    list_remove_init(&d->sibling);
    if (dir->dir.hash)
        hash_remove(dir, d);
    dir->dir.n_children--;
    d->in_tree = 0;
}

struct dentry *dentry_add_child(struct dentry *dir, const char *name, unsigned len,
                                struct inode *inode)
{
    struct dentry *d = dentry_alloc(dir, name, len, inode);
    if (!d) {
        if (inode)
            inode_put(inode);
        return ERR_PTR(-ENOMEM);
    }
    int err = dentry_link(dir, d);
    if (err) {
        dentry_put(d);
        return ERR_PTR(err);
    }
    return d;
}

int dentry_add_stub(struct dentry *dir, const char *name, unsigned len, u64 ino, u32 data)
{
    struct dentry *d = dentry_alloc(dir, name, len, NULL);
    if (!d)
        return -ENOMEM;
    d->stub_ino = ino;
    d->stub_data = data;
    int err = dentry_link(dir, d);
    dentry_put(d);
    return err == -ENOMEM ? err : 0;
}

// The table is not grown here; the next new name does that.
void dentry_relink_locked(struct dentry *dir, struct dentry *d) { link_locked(dir->inode, d); }

// The tree of a file system that has been unmounted and that nobody uses: drops every name, leaves first.
void dentry_release_tree(struct dentry *root)
{
    struct dentry *d = root;
    for (;;) {
        struct inode *inode = d->inode;
        if (inode && S_ISDIR(inode->mode) && !list_empty(&inode->dir.children)) {
            d = list_first(&inode->dir.children, struct dentry, sibling);
            continue;
        }
        if (d == root)
            break;
        struct dentry *parent = d->parent;
        tree_write();
        dentry_unlink_locked(d);
        tree_write_done();
        dentry_put(d);
        d = parent;
    }
    dentry_put(root);
}

// Puts text in front of what is in the buffer already.
static bool prepend(char *buf, char **at, const char *text, size_t len)
{
    if ((size_t)(*at - buf) < len)
        return false;
    *at -= len;
    memcpy(*at, text, len);
    return true;
}

static char *path_locked(struct dentry *d, struct dentry *root, char *buf, size_t size)
{
    char *at = buf + size;
    if (!prepend(buf, &at, "", 1))
        return ERR_PTR(-ENAMETOOLONG);
    if (d->parent != d && !d->in_tree && !(d->inode && (d->inode->flags & I_EPHEMERAL)) &&
        !prepend(buf, &at, " (deleted)", 10))
        return ERR_PTR(-ENAMETOOLONG);
    char *end = at;
    while (d != root) {
        if (d->parent != d) {
            if (!prepend(buf, &at, d->name, d->name_len) || !prepend(buf, &at, "/", 1))
                return ERR_PTR(-ENAMETOOLONG);
            d = d->parent;
        } else if (d->inode->sb->mounted_on) {
            d = d->inode->sb->mounted_on;
        } else {
            break;
        }
    }
    bool ok = true;
    if (d != root && d != root_dentry && d != d->inode->sb->root)  // memfd, made-up dentries
        ok = prepend(buf, &at, d->name, d->name_len);
    else if (at == end)
        ok = prepend(buf, &at, "/", 1);
    if (ok && d != root && d == root_dentry)
        ok = prepend(buf, &at, "(unreachable)", 13);
    return ok ? at : ERR_PTR(-ENAMETOOLONG);
}

char *dentry_path(struct dentry *d, struct dentry *root, char *buf, size_t size)
{
    tree_read();
    char *path = path_locked(d, root ? root : root_dentry, buf, size);
    tree_read_done();
    return path;
}

// --------------------------------------------------------------------------------- notification

static u32 notify_cookie;
u32 fs_notify_cookie(void) { return atomic_add(&notify_cookie, 1); }

void fs_notify_slow(struct dentry *d, u32 mask, u32 cookie)
{
    if (!inotify_event)
        return;
    struct inode *inode = d->inode, *dir = d->parent->inode;
    if (inode && S_ISDIR(inode->mode))
        mask |= IN_ISDIR;
    if (!d->in_tree && d->parent != d)
        mask |= IN_NO_NAME;
    if (d->parent != d && dir && dir->watches)
        inotify_event(dir, mask, cookie, d->name);
    mask &= ~(u32)IN_NO_NAME;
    const u32 names_only = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO;
    if (inode && inode->watches && !(mask & names_only))
        inotify_event(inode, mask, cookie, NULL);
}

// --------------------------------------------------------------------------------- verifier

static void dir_verify(struct inode *dir)
{
    u32 n = 0;
    u64 cookie = 0;
    list_for_each_entry (struct dentry, d, &dir->dir.children, sibling) {
        KASSERT(d->in_tree && d->refcount > 0 && d->parent->inode == dir);
        KASSERT(d->cookie > cookie && d->cookie < dir->dir.next_cookie);
        KASSERT(dentry_find(dir, d->name, d->name_len, d->hash) == d);
        cookie = d->cookie;
        n++;
    }
    KASSERT(n == dir->dir.n_children);
}

// Checks I1 to I3 from the root down, mounts included.
void vfs_verify(void)
{
    tree_write();
    struct dentry *d = root_dentry;
    while (d) {
        struct inode *inode = d->inode;
        bool down = inode && S_ISDIR(inode->mode);
        if (down)
            dir_verify(inode);
        if (d->mounted) {
            KASSERT(d->mounted->mounted_on == d);
            d = d->mounted->root;
            continue;
        }
        if (down && !list_empty(&inode->dir.children)) {
            d = list_first(&inode->dir.children, struct dentry, sibling);
            continue;
        }
        for (;;) {                    // up until there is a next sibling
            while (d->parent == d) {  // a mount may lie on the root of another
                d = d->inode->sb->mounted_on;
                if (!d)
                    goto done;
            }
            struct list *next = d->sibling.next;
            if (next != &d->parent->inode->dir.children) {
                d = list_entry(next, struct dentry, sibling);
                break;
            }
            d = d->parent;
        }
    }
done:
    tree_write_done();
}
