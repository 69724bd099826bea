// SPDX-License-Identifier: BSD-2-Clause
// dir.c: making, removing, renaming and listing names.
//
// Every change holds the lock of the directories that it changes; a rename between directories holds
// rename_mutex too, so that two renames cannot build a loop, and then locks the ancestor first. Checks
// come first, then the change of the tree in one stretch under the tree lock, which cannot fail.
#include "fs/calls.h"
#include "fs/vfs_internal.h"

#define AT_RENAME_NOREPLACE 1u
#define AT_RENAME_EXCHANGE 2u
#define AT_RENAME_WHITEOUT 4u
#define LINK_MAX 0x7fffffffu
#define PROC_MAGIC 0x9fa0u

// ------------------------------------------------------------------------------- what is allowed

int fs_umask_apply(u32 mode) { return (int)(mode & 07777 & ~current_umask()); }

int dir_may_create(const struct dentry *dir)
{
    const struct inode *inode = dir->inode;
    if (inode->flags & I_DEAD)
        return -ENOENT;
    int err = inode_permission(inode, MAY_WRITE | MAY_EXEC);
    if (err)
        return err;
    if (inode->ops && inode->ops->make)
        return 0;
    return inode->sb->magic == PROC_MAGIC ? -ENOENT : -EPERM;  // procfs has no place for new names
}

// The sticky bit, unlink(2).
int dir_may_delete(const struct dentry *dir, const struct dentry *victim, bool is_dir)
{
    const struct inode *di = dir->inode, *vi = victim->inode;
    int err = inode_permission(di, MAY_WRITE | MAY_EXEC);
    if (err)
        return err;
    if (!(di->ops && di->ops->make))
        return -EPERM;
    if ((di->mode & S_ISVTX) && !fs_capable(CAP_FOWNER)) {
        u32 uid = current->process->fsuid;
        if (uid != vi->uid && uid != di->uid)
            return -EPERM;
    }
    if (vi->flags & (I_APPEND_ONLY | I_IMMUTABLE))
        return -EPERM;
    if (is_dir && !S_ISDIR(vi->mode))
        return -ENOTDIR;
    if (!is_dir && S_ISDIR(vi->mode))
        return -EISDIR;
    if (victim->mounted)
        return -EBUSY;
    return 0;
}

struct inode *dir_make_inode(struct dentry *dir, u32 mode, u32 rdev)
{
    struct inode *di = dir->inode;
    if (!di->ops || !di->ops->make)
        return ERR_PTR(-EPERM);
    struct inode *inode = di->ops->make(di, mode, rdev);
    if (IS_ERR(inode))
        return inode;
    const struct process *p = current->process;
    inode->uid = p ? p->fsuid : 0;
    inode->gid = p ? p->fsgid : 0;
    if (di->mode & S_ISGID) {  // directories with set-group-ID hand their group down
        inode->gid = di->gid;
        if (S_ISDIR(mode))
            inode->mode |= S_ISGID;
        else if ((mode & (S_ISGID | 010)) == (S_ISGID | 010) && !fs_in_group(di->gid) &&
                 !fs_capable(CAP_FSETID))
            inode->mode &= ~S_ISGID;
    }
    return inode;
}

// ------------------------------------------------------------------------------- making names

// dentry_add_child, on the disk first. [dir->lock]
struct dentry *dir_add_child(struct dentry *dir, const char *name, u32 len, struct inode *inode)
{
    int err = dir_on_disk(dir->inode) ? dir->inode->ops->add_name(dir->inode, name, len, inode) : 0;
    if (unlikely(err)) {
        inode_put(inode);
        return ERR_PTR(err);
    }
    return dentry_add_child(dir, name, len, inode);
}

// Adds inode under the name; the reference is taken over. [dir->lock] => as dentry_add_child
static struct dentry *add_name_locked(struct parent_name *pn, struct inode *inode)
{
    struct dentry *d = dir_add_child(pn->dir, pn->name, pn->len, inode);
    if (IS_ERR(d))
        return d;
    if (S_ISDIR(inode->mode)) {
        tree_write();
        pn->dir->inode->nlink++;
        tree_write_done();
    }
    inode_touch_mtime(pn->dir->inode);
    return d;
}

// Checks that the name can be made: it is one, it is free. [dir->lock]
static int may_make_name(const struct parent_name *pn, bool directory)
{
    struct dentry *there = dir_lookup(pn->dir, pn->name, pn->len, pn->hash, true);
    if (!IS_ERR(there)) {
        dentry_put(there);
        return -EEXIST;
    }
    if (PTR_ERR(there) != -ENOENT)
        return (int)PTR_ERR(there);
    if (pn->trailing_slash && !directory)
        return -ENOENT;
    return dir_may_create(pn->dir);
}

static int lookup_parent_user(int dfd, uptr_t path, struct parent_name *pn)
{
    struct pathname p;
    int err = pathname_get(&p, path);
    if (err)
        return err;
    err = vfs_lookup_parent(dfd, p.text, 0, pn);
    pathname_put(&p);
    return err;
}

// Makes a node at the parent's name; consumes nothing of pn. link: text of a symbolic link.
static int make_node(struct parent_name *pn, u32 mode, u32 rdev, const char *link,
                     struct dentry **out)
{
    if (pn->type != LAST_NAME)
        return -EEXIST;
    struct inode *di = pn->dir->inode;
    struct inode *inode = NULL;
    struct dentry *d = NULL;
    mutex_lock(&di->lock);
    int err = may_make_name(pn, S_ISDIR(mode));
    if (!err) {
        inode = dir_make_inode(pn->dir, mode, rdev);
        err = IS_ERR(inode) ? (int)PTR_ERR(inode) : 0;
    }
    if (!err && link) {
        inode->symlink.link_len = strlen(link);
        inode->symlink.link = kstrdup(link);
        if (!inode->symlink.link) {
            inode_put(inode);
            err = -ENOMEM;
        }
    }
    if (!err) {
        d = add_name_locked(pn, inode);
        err = IS_ERR(d) ? (int)PTR_ERR(d) : 0;
    }
    mutex_unlock(&di->lock);
    if (err)
        return err;
    fs_notify(d, IN_CREATE);
    if (out)
        *out = d;
    else
        dentry_put(d);
    return 0;
}

int vfs_mknod(int dfd, const char *path, u32 mode, u32 rdev, struct dentry **out)
{
    struct parent_name pn;
    int err = vfs_lookup_parent(dfd, path, 0, &pn);
    if (err)
        return err;
    err = make_node(&pn, mode, rdev, NULL, out);
    dentry_put(pn.dir);
    return err;
}

static long make_at(int dfd, uptr_t path, u32 mode, u32 rdev)
{
    struct parent_name pn;
    int err = lookup_parent_user(dfd, path, &pn);
    if (err)
        return err;
    err = make_node(&pn, mode, rdev, NULL, NULL);
    dentry_put(pn.dir);
    return err;
}

long sys_mkdirat(int dfd, uptr_t path, u32 mode)
{
    return make_at(dfd, path, S_IFDIR | (mode & 01777 & ~current_umask()), 0);
}
long sys_mkdir(uptr_t path, u32 mode) { return sys_mkdirat(AT_FDCWD, path, mode); }

__cold long sys_mknodat(int dfd, uptr_t path, u32 mode, u32 dev)
{
    u32 type = mode & S_IFMT;
    if (type == 0)
        type = S_IFREG;
    if (type == S_IFDIR)
        return -EPERM;
    if (type != S_IFREG && type != S_IFCHR && type != S_IFBLK && type != S_IFIFO &&
        type != S_IFSOCK)
        return -EINVAL;
    if ((type == S_IFCHR || type == S_IFBLK) && !fs_capable(CAP_MKNOD))
        return -EPERM;
    return make_at(dfd, path, type | fs_umask_apply(mode), dev_from_user(dev));
}
long sys_mknod(uptr_t path, u32 mode, u32 dev) { return sys_mknodat(AT_FDCWD, path, mode, dev); }

__cold long sys_symlinkat(uptr_t user_target, int dfd, uptr_t path)
{
    struct pathname target;
    struct parent_name pn;
    int err = pathname_get(&target, user_target);
    if (err)
        return err;
    err = target.text[0] ? lookup_parent_user(dfd, path, &pn) : -ENOENT;
    if (!err) {
        err = make_node(&pn, S_IFLNK | 0777, 0, target.text, NULL);
        dentry_put(pn.dir);
    }
    pathname_put(&target);
    return err;
}
long sys_symlink(uptr_t target, uptr_t path) { return sys_symlinkat(target, AT_FDCWD, path); }

static int link_into(struct dentry *from, struct parent_name *pn)
{
    struct inode *inode = from->inode, *di = pn->dir->inode;
    if (pn->type != LAST_NAME)
        return -EEXIST;
    mutex_lock(&di->lock);
    int err = may_make_name(pn, false);
    if (!err && inode->sb != di->sb)
        err = -EXDEV;
    if (!err && S_ISDIR(inode->mode))
        err = -EPERM;
    if (!err && (inode->flags & (I_APPEND_ONLY | I_IMMUTABLE)))
        err = -EPERM;
    if (!err && inode->nlink >= LINK_MAX)
        err = -EMLINK;
    if (!err && inode->nlink == 0 && from->in_tree)
        err = -ENOENT;
    struct dentry *d = NULL;
    if (!err) {
        inode_get(inode);
        d = add_name_locked(pn, inode);
        err = IS_ERR(d) ? (int)PTR_ERR(d) : 0;
    }
    if (!err) {
        tree_write();
        inode->nlink++;
        tree_write_done();
        inode_touch_ctime(inode);
    }
    mutex_unlock(&di->lock);
    if (err)
        return err;
    fs_notify(d, IN_CREATE);
    dentry_put(d);
    return 0;
}

__cold long sys_linkat(int from_dfd, uptr_t from_path, int to_dfd, uptr_t to, int flags)
{
    struct dentry *from;
    struct parent_name pn;
    if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    if ((flags & AT_EMPTY_PATH) && !fs_capable(CAP_DAC_READ_SEARCH))
        return -ENOENT;
    int err = vfs_lookup_user(from_dfd, from_path,
                              (flags & AT_SYMLINK_FOLLOW ? LOOKUP_FOLLOW : 0) |
                                  (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0),
                              &from);
    if (err)
        return err;
    err = lookup_parent_user(to_dfd, to, &pn);
    if (!err) {
        err = link_into(from, &pn);
        dentry_put(pn.dir);
    }
    dentry_put(from);
    return err;
}
long sys_link(uptr_t from, uptr_t to) { return sys_linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

// ------------------------------------------------------------------------------- removing names

// True when the directory has no names, below or in memory; it is then dead. [victim->lock]
static int dir_kill_if_empty(struct dentry *victim)
{
    struct inode *inode = victim->inode;
    int err = dir_load_locked(victim);
    if (err)
        return err;
    tree_write();
    if (inode->dir.n_children)
        err = -ENOTEMPTY;
    else
        inode->flags |= I_DEAD;
    tree_write_done();
    return err;
}

static void drop_link(struct inode *inode)
{
    if (S_ISDIR(inode->mode))
        inode->nlink = 0;
    else if (inode->nlink)
        inode->nlink--;
    if (!inode->nlink && (inode->flags & I_PINNED)) {
        inode->flags &= ~I_PINNED;
        inode_put(inode);  // its last name's reference is still there
    }
}

// Takes the name away; its inode loses a link. [dir->lock]
static void remove_name_locked(struct dentry *dir, struct dentry *victim)
{
    struct inode *inode = victim->inode;
    tree_write();
    dentry_unlink_locked(victim);
    drop_link(inode);
    if (S_ISDIR(inode->mode))
        dir->inode->nlink--;
    tree_write_done();
    inode_touch_mtime(dir->inode);
    inode->ctime_ns = dir->inode->ctime_ns;
    inode_changed(inode);
}

static int remove_name(struct parent_name *pn, bool is_dir)
{
    struct dentry *dir = pn->dir;
    if (pn->type != LAST_NAME) {
        if (!is_dir)
            return -EISDIR;
        return pn->type == LAST_DOT ? -EINVAL : pn->type == LAST_DOTDOT ? -ENOTEMPTY : -EBUSY;
    }
    mutex_lock(&dir->inode->lock);
    struct dentry *victim = dir_lookup(dir, pn->name, pn->len, pn->hash, true);
    int err = IS_ERR(victim) ? (int)PTR_ERR(victim) : 0;
    if (!err && pn->trailing_slash && !is_dir)
        err = S_ISDIR(victim->inode->mode) ? -EISDIR : -ENOTDIR;
    if (!err)
        err = dir_may_delete(dir, victim, is_dir);
    if (!err && !(dir->inode->flags & I_COMPLETE) && !dir_on_disk(dir->inode))
        err = dir_load_locked(dir);  // else the name would come back from below
    if (!err && is_dir) {
        mutex_lock(&victim->inode->lock);
        err = dir_kill_if_empty(victim);
        mutex_unlock(&victim->inode->lock);
    }
    if (!err && dir_on_disk(dir->inode)) {
        err = dir->inode->ops->remove_name(dir->inode, victim);
        if (err && is_dir)
            victim->inode->flags &= ~(u32)I_DEAD;
    }
    if (!err)
        remove_name_locked(dir, victim);
    mutex_unlock(&dir->inode->lock);
    if (!err) {
        fs_notify(victim, IN_DELETE);
        if (victim->inode->watches && victim->inode->nlink == 0)
            fs_notify_slow(victim, IN_DELETE_SELF, 0);
        dentry_put(victim);  // the tree's
    }
    if (!IS_ERR(victim))
        dentry_put(victim);
    return err;
}

int vfs_unlink(int dfd, const char *path, bool directory)
{
    struct parent_name pn;
    int err = vfs_lookup_parent(dfd, path, 0, &pn);
    if (err)
        return err;
    err = remove_name(&pn, directory);
    dentry_put(pn.dir);
    return err;
}

static long remove_at(int dfd, uptr_t path, bool is_dir)
{
    struct parent_name pn;
    int err = lookup_parent_user(dfd, path, &pn);
    if (err)
        return err;
    err = remove_name(&pn, is_dir);
    dentry_put(pn.dir);
    return err;
}

long sys_unlink(uptr_t path) { return remove_at(AT_FDCWD, path, false); }
long sys_rmdir(uptr_t path) { return remove_at(AT_FDCWD, path, true); }
long sys_unlinkat(int dfd, uptr_t path, int flags)
{
    return flags & ~AT_REMOVEDIR ? -EINVAL : remove_at(dfd, path, flags & AT_REMOVEDIR);
}

// ------------------------------------------------------------------------------- rename

struct rename {
    struct parent_name *from, *to;
    struct dentry *old, *new;  // referenced; new may be NULL
    unsigned flags;
};

// True when a is d or above it.
static bool is_ancestor(const struct dentry *a, const struct dentry *d)
{
    for (;;) {
        if (a == d)
            return true;
        if (d->parent == d)
            return false;
        d = d->parent;
    }
}

static void lock_two(struct dentry *a, struct dentry *b)
{
    if (a == b) {
        mutex_lock(&a->inode->lock);
        return;
    }
    mutex_lock(&rename_mutex);
    bool a_first = is_ancestor(a, b) || (!is_ancestor(b, a) && (uintptr_t)a < (uintptr_t)b);
    mutex_lock(a_first ? &a->inode->lock : &b->inode->lock);
    mutex_lock(a_first ? &b->inode->lock : &a->inode->lock);
}

static void unlock_two(struct dentry *a, struct dentry *b)
{
    mutex_unlock(&a->inode->lock);
    if (a == b)
        return;
    mutex_unlock(&b->inode->lock);
    mutex_unlock(&rename_mutex);
}

// The errors of rename(2), in Linux's order, before anything changes.
static int rename_check(struct rename *r)
{
    struct dentry *to_dir = r->to->dir;
    bool exchange = r->flags & AT_RENAME_EXCHANGE;
    if ((r->flags & AT_RENAME_NOREPLACE) && r->new)
        return -EEXIST;
    if (exchange && !r->new)
        return -ENOENT;
    bool old_dir = S_ISDIR(r->old->inode->mode);
    bool new_dir = r->new &&S_ISDIR(r->new->inode->mode);
    if (!old_dir && (r->from->trailing_slash || (!exchange && r->to->trailing_slash)))
        return -ENOTDIR;
    if (exchange && !new_dir && r->to->trailing_slash)
        return -ENOTDIR;
    if (is_ancestor(r->old, to_dir))
        return -EINVAL;
    if (r->new &&is_ancestor(r->new, r->from->dir))
        return exchange ? -EINVAL : -ENOTEMPTY;
    if (r->new && r->new->inode == r->old->inode)
        return 0;
    int err = dir_may_delete(r->from->dir, r->old, old_dir);
    if (err)
        return err;
    if (!r->new)
        return dir_may_create(to_dir);
    return dir_may_delete(to_dir, r->new, exchange ? new_dir : old_dir);
}

// A dentry changes its place; its name text comes ready in name (kmalloc'd when it is long).
static void move_dentry(struct dentry *d, struct dentry *dir, struct parent_name *pn,
                        char *long_name)
{
    struct dentry *old_dir = d->parent;
    dentry_unlink_locked(d);
    char *old_text = d->name != d->inline_name ? (char *)d->name : NULL;
    if (long_name) {
        d->name = long_name;
    } else {
        memcpy(d->inline_name, pn->name, pn->len + 1);
        d->name = d->inline_name;
    }
    d->name_len = pn->len;
    d->hash = pn->hash;
    d->parent = dir;
    dentry_get(dir);
    dentry_relink_locked(dir, d);
    if (S_ISDIR(d->inode->mode) && old_dir != dir) {
        old_dir->inode->nlink--;
        dir->inode->nlink++;
    }
    // The old parent is referenced by the caller, so this cannot be its last reference.
    atomic_sub(&old_dir->refcount, 1);
    if (old_text)
        kfree(old_text);
}

static char *long_name_text(const struct parent_name *pn, bool *failed)
{
    struct dentry *d = NULL;
    if (pn->len < sizeof(d->inline_name))
        return NULL;
    char *text = kstrdup(pn->name);
    *failed |= !text;
    return text;
}

static int rename_commit(struct rename *r)
{
    bool failed = false, exchange = r->flags & AT_RENAME_EXCHANGE;
    char *new_text = long_name_text(r->to, &failed);
    char *back_text = exchange ? long_name_text(r->from, &failed) : NULL;
    if (failed) {
        kfree(new_text);
        kfree(back_text);
        return -ENOMEM;
    }
    struct dentry *from_dir = r->from->dir, *to_dir = r->to->dir;
    int err = 0;
    if (dir_on_disk(from_dir->inode))
        err = from_dir->inode->ops->rename(from_dir, r->old, to_dir, r->to->name, r->to->len,
                                           r->new, exchange);
    if (err) {
        kfree(new_text);
        kfree(back_text);
        return err;
    }
    tree_write();
    if (exchange) {
        // Out of the way first: two dentries never bear one name in one directory.
        move_dentry(r->new, from_dir, r->from, back_text);
        move_dentry(r->old, to_dir, r->to, new_text);
    } else {
        if (r->new) {
            dentry_unlink_locked(r->new);
            drop_link(r->new->inode);
            if (S_ISDIR(r->new->inode->mode))
                to_dir->inode->nlink--;
        }
        move_dentry(r->old, to_dir, r->to, new_text);
    }
    tree_write_done();
    inode_touch_mtime(from_dir->inode);
    inode_touch_mtime(to_dir->inode);
    inode_touch_ctime(r->old->inode);
    if (r->new)
        inode_touch_ctime(r->new->inode);
    return 0;
}

// [both directories locked]
static int rename_locked(struct rename *r)
{
    struct parent_name *from = r->from, *to = r->to;
    r->old = dir_lookup(from->dir, from->name, from->len, from->hash, true);
    if (IS_ERR(r->old))
        return (int)PTR_ERR(r->old);
    r->new = dir_lookup(to->dir, to->name, to->len, to->hash, true);
    if (IS_ERR(r->new)) {
        int err = (int)PTR_ERR(r->new);
        r->new = NULL;
        if (err != -ENOENT)
            return err;
    }
    int err = rename_check(r);
    if (err)
        return err;
    if (r->new && r->new->inode == r->old->inode)  // two links of one file: nothing happens
        return 1;
    if (!dir_on_disk(from->dir->inode)) {
        err = dir_load_locked(from->dir);
        if (!err)
            err = dir_load_locked(to->dir);
    }
    if (!err && r->new && !(r->flags & AT_RENAME_EXCHANGE) && S_ISDIR(r->new->inode->mode)) {
        mutex_lock(&r->new->inode->lock);
        err = dir_kill_if_empty(r->new);
        mutex_unlock(&r->new->inode->lock);
    }
    if (!err) {
        err = rename_commit(r);
        if (err && r->new && !(r->flags & AT_RENAME_EXCHANGE) && S_ISDIR(r->new->inode->mode))
            r->new->inode->flags &= ~(u32)I_DEAD;
    }
    return err;
}

static void rename_notify(const struct rename *r)
{
    u32 cookie = fs_notify_cookie(), dir = S_ISDIR(r->old->inode->mode) ? IN_ISDIR : 0;
    if (!inotify_event)
        return;
    if (r->from->dir->inode->watches)
        inotify_event(r->from->dir->inode, IN_MOVED_FROM | dir, cookie, r->from->name);
    if (r->to->dir->inode->watches)
        inotify_event(r->to->dir->inode, IN_MOVED_TO | dir, cookie, r->to->name);
    if (r->old->inode->watches)
        inotify_event(r->old->inode, IN_MOVE_SELF, 0, NULL);
    if (r->new && !(r->flags & AT_RENAME_EXCHANGE) && r->new->inode->watches)
        inotify_event(r->new->inode, IN_DELETE_SELF, 0, NULL);
}

static __cold int rename_names(struct parent_name *from, struct parent_name *to, unsigned flags)
{
    if (from->dir->inode->sb != to->dir->inode->sb)
        return -EXDEV;
    if (from->type != LAST_NAME)
        return -EBUSY;
    if (to->type != LAST_NAME)
        return flags & AT_RENAME_NOREPLACE ? -EEXIST : -EBUSY;
    struct rename r = {.from = from, .to = to, .flags = flags};
    lock_two(from->dir, to->dir);
    int err = rename_locked(&r);
    unlock_two(from->dir, to->dir);
    if (err == 0) {
        rename_notify(&r);
        if (r.new && !(flags & AT_RENAME_EXCHANGE))
            dentry_put(r.new);  // the tree's
    }
    if (r.old && !IS_ERR(r.old))
        dentry_put(r.old);
    if (r.new)
        dentry_put(r.new);
    return err < 0 ? err : 0;
}

// Partial: RENAME_WHITEOUT is refused with EINVAL.
__cold long sys_renameat2(int from_dfd, uptr_t from_path, int to_dfd, uptr_t to_path, u32 flags)
{
    if (flags & ~(AT_RENAME_NOREPLACE | AT_RENAME_EXCHANGE))
        return -EINVAL;  // RENAME_WHITEOUT is for overlay file systems
    if (flags == (AT_RENAME_NOREPLACE | AT_RENAME_EXCHANGE))
        return -EINVAL;
    // Two names of 256 bytes each do not belong on the stack beside the walk.
    struct parent_name *pn = kmalloc(2 * sizeof(*pn));
    if (!pn)
        return -ENOMEM;
    int err = lookup_parent_user(from_dfd, from_path, &pn[0]);
    if (!err) {
        err = lookup_parent_user(to_dfd, to_path, &pn[1]);
        if (!err) {
            err = rename_names(&pn[0], &pn[1], flags);
            dentry_put(pn[1].dir);
        }
        dentry_put(pn[0].dir);
    }
    kfree(pn);
    return err;
}

long sys_renameat(int from_dfd, uptr_t from, int to_dfd, uptr_t to)
{
    return sys_renameat2(from_dfd, from, to_dfd, to, 0);
}
long sys_rename(uptr_t from, uptr_t to) { return sys_renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

// ------------------------------------------------------------------------------- readlink

static ssize_t read_link_text(struct inode *inode, struct dentry *d, char *buf, size_t size)
{
    if (inode->symlink.link && S_ISLNK(inode->mode)) {
        size_t n = MIN(size, (size_t)inode->symlink.link_len);
        memcpy(buf, inode->symlink.link, n);
        return n;
    }
    if (inode->ops && inode->ops->readlink)
        return inode->ops->readlink(inode, buf, size);
    return -EINVAL;
}

long sys_readlinkat(int dfd, uptr_t path, uptr_t buf, int size)
{
    struct dentry *d;
    if (size <= 0)
        return -EINVAL;
    int err = vfs_lookup_user(dfd, path, LOOKUP_EMPTY, &d);
    if (err)
        return err;
    struct inode *inode = d->inode;
    u8 first = 0;
    get_user_u8(&first, path);
    ssize_t n = first ? -EINVAL : -ENOENT;  // no link; an empty path that names none
    if (S_ISLNK(inode->mode)) {
        char *text = kmalloc(PATH_MAX);
        n = text ? read_link_text(inode, d, text, PATH_MAX) : -ENOMEM;
        if (n > size)
            n = size;
        if (n >= 0 && copy_to_user(buf, text, n))
            n = -EFAULT;
        kfree(text);
        inode_accessed(inode);
    }
    dentry_put(d);
    return n;
}
long sys_readlink(uptr_t path, uptr_t buf, int size)
{
    return sys_readlinkat(AT_FDCWD, path, buf, size);
}

// ------------------------------------------------------------------------------- listing

#define DYNAMIC_COOKIES BIT(40)  // positions of names that are never in memory start here

static u64 parent_ino(struct dentry *d)
{
    tree_read();
    if (d->parent == d && d->inode->sb->mounted_on)
        d = d->inode->sb->mounted_on;
    u64 ino = d->parent->inode ? d->parent->inode->ino : d->inode->ino;
    tree_read_done();
    return ino;
}

// The first child at or behind a position, referenced.
static struct dentry *child_from(struct inode *dir, u64 pos, struct dentry *last)
{
    struct dentry *found = NULL;
    tree_read();
    struct list *at = dir->dir.children.next;
    if (last && last->in_tree && last->parent->inode == dir && last->cookie < pos)
        at = last->sibling.next;
    for (; at != &dir->dir.children; at = at->next) {
        struct dentry *d = list_entry(at, struct dentry, sibling);
        if (d->cookie >= pos) {
            found = d;
            dentry_get(d);
            break;
        }
    }
    tree_read_done();
    return found;
}

struct dynamic_context {
    struct dir_context ctx;
    struct dir_context *outer;
};

static bool dynamic_emit(struct dir_context *ctx, const char *name, unsigned len, u64 ino,
                         unsigned type, u64 next)
{
    struct dynamic_context *c = container_of(ctx, struct dynamic_context, ctx);
    return dir_emit(c->outer, name, len, ino, type, DYNAMIC_COOKIES + next);
}

static int list_dynamic(struct inode *dir, struct dir_context *ctx)
{
    if (!dir->ops || !dir->ops->readdir)
        return 0;
    if (ctx->pos < DYNAMIC_COOKIES)
        ctx->pos = DYNAMIC_COOKIES;
    struct dynamic_context c = {.ctx = {.pos = ctx->pos - DYNAMIC_COOKIES, .emit = dynamic_emit},
                                .outer = ctx};
    return dir->ops->readdir(dir, &c.ctx);
}

static int directory_getdents(struct file *f, struct dir_context *ctx)
{
    struct dentry *dir = f->dentry;
    struct inode *inode = dir->inode;
    if (!(inode->flags & I_COMPLETE)) {
        mutex_lock(&inode->lock);
        int err = dir_load_locked(dir);
        mutex_unlock(&inode->lock);
        if (err)
            return err;
    }
    if (inode->flags & I_DEAD)
        return -ENOENT;
    file_accessed(f);
    if (unlikely(inode->watches || dir->parent->inode->watches))
        fs_notify_slow(dir, IN_ACCESS, 0);
    if (ctx->pos == 0 && !dir_emit(ctx, ".", 1, inode->ino, DT_DIR, 1))
        return 0;
    if (ctx->pos == 1 && !dir_emit(ctx, "..", 2, parent_ino(dir), DT_DIR, 2))
        return 0;
    struct dentry *last = NULL;
    bool more = true;
    while (more && ctx->pos < DYNAMIC_COOKIES) {
        struct dentry *d = child_from(inode, ctx->pos, last);
        if (last)
            dentry_put(last);
        last = d;
        if (!d)
            break;
        u64 ino = d->inode ? d->inode->ino : d->stub_ino;
        unsigned type = d->inode ? mode_to_dtype(d->inode->mode) : d->stub_data & 15;
        // The name may change under a rename: take it under the tree lock.
        char name[NAME_MAX + 1];
        tree_read();
        u32 len = d->name_len;
        memcpy(name, d->name, len);
        tree_read_done();
        more = dir_emit(ctx, name, len, ino, type, d->cookie + 1);
    }
    if (last)
        dentry_put(last);
    return more ? list_dynamic(inode, ctx) : 0;
}

static ssize_t directory_read(struct file *f, struct uio *to, loff_t *pos) { return -EISDIR; }

static loff_t directory_lseek(struct file *f, loff_t offset, int whence)
{
    return whence > SEEK_CUR ? -EINVAL : vfs_lseek_generic(f, offset, whence, 0);
}

static int directory_fsync(struct file *f, bool data_only)
{
    return dir_on_disk(f->inode) ? volume_fsync(f, data_only) : 0;
}

const struct file_ops directory_file_ops = {
    .read = directory_read,
    .lseek = directory_lseek,
    .getdents = directory_getdents,
    .fsync = directory_fsync,
};

struct dents_context {
    struct dir_context ctx;
    uptr_t buf;
    size_t size, used;
    bool old_format;
    int err;
};

// struct linux_dirent64: ino, off, reclen, type, name; struct linux_dirent: ino, off, reclen, name, type last.
static bool emit_dirent(struct dir_context *ctx, const char *name, unsigned len, u64 ino,
                        unsigned type, u64 next)
{
    struct dents_context *c = container_of(ctx, struct dents_context, ctx);
    char record[ALIGN_UP(19 + NAME_MAX + 2, 8)];
    size_t header = c->old_format ? 18 : 19;
    size_t reclen = ALIGN_UP(header + len + 1 + (c->old_format ? 1 : 0), 8);
    if (c->used + reclen > c->size) {
        if (!c->used)
            c->err = -EINVAL;
        return false;
    }
    memcpy(record, &ino, 8);
    memcpy(record + 8, &next, 8);
    u16 reclen16 = (u16)reclen;
    memcpy(record + 16, &reclen16, 2);
    memcpy(record + header, name, len);
    memset(record + header + len, 0, reclen - header - len);
    record[c->old_format ? reclen - 1 : 18] = (char)type;
    if (copy_to_user(c->buf + c->used, record, reclen)) {
        if (!c->used)
            c->err = -EFAULT;
        return false;
    }
    c->used += reclen;
    return true;
}

static long getdents(u32 fd, uptr_t buf, u32 size, bool old_format)
{
    struct fd f = fd_get((int)fd);
    if (!f.file)
        return -EBADF;
    long ret = -ENOTDIR;
    if (f.file->ops->getdents) {
        mutex_lock(&f.file->pos_lock);
        struct dents_context c = {
            .ctx = {.pos = (u64)f.file->pos, .emit = emit_dirent},
            .buf = buf,
            .size = size,
            .old_format = old_format,
        };
        ret = f.file->ops->getdents(f.file, &c.ctx);
        f.file->pos = (loff_t)c.ctx.pos;
        mutex_unlock(&f.file->pos_lock);
        if (ret >= 0)
            ret = c.used ? (long)c.used : c.err;
    }
    fd_put(f);
    return ret;
}

long sys_getdents64(u32 fd, uptr_t buf, u32 size) { return getdents(fd, buf, size, false); }
long sys_getdents(u32 fd, uptr_t buf, u32 size) { return getdents(fd, buf, size, true); }

// ------------------------------------------------------------------------------- where a process is

long sys_getcwd(uptr_t buf, size_t size)
{
    char *text = kmalloc(PATH_MAX);
    if (!text)
        return -ENOMEM;
    struct dentry *root = fs_get_root(current->fs), *cwd = fs_get_cwd(current->fs);
    long ret;
    if (cwd->parent != cwd && !cwd->in_tree && !(cwd->inode->flags & I_EPHEMERAL)) {
        ret = -ENOENT;
    } else {
        char *path = dentry_path(cwd, root, text, PATH_MAX);
        ret = IS_ERR(path) ? PTR_ERR(path) : (long)strlen(path) + 1;
        if (ret > 0 && (size_t)ret > size)
            ret = -ERANGE;
        if (ret > 0 && copy_to_user(buf, path, ret))
            ret = -EFAULT;
    }
    dentry_put(root);
    dentry_put(cwd);
    kfree(text);
    return ret;
}

static long change_place(struct dentry *d, struct dentry **place)
{
    int err = inode_permission(d->inode, MAY_EXEC);
    if (!err && place == &current->fs->root && !fs_capable(CAP_SYS_CHROOT))
        err = -EPERM;
    if (err)
        dentry_put(d);
    else
        fs_set_place(place, d);
    return err;
}

long sys_chdir(uptr_t path)
{
    struct dentry *d;
    int err = vfs_lookup_user(AT_FDCWD, path, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &d);
    return err ? err : change_place(d, &current->fs->cwd);
}

long sys_fchdir(int fd)
{
    struct fd f = fd_get_raw(fd);
    if (!f.file)
        return -EBADF;
    long err = -ENOTDIR;
    if (f.file->dentry && S_ISDIR(f.file->inode->mode)) {
        dentry_get(f.file->dentry);
        err = change_place(f.file->dentry, &current->fs->cwd);
    }
    fd_put(f);
    return err;
}

long sys_chroot(uptr_t path)
{
    struct dentry *d;
    int err = vfs_lookup_user(AT_FDCWD, path, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &d);
    return err ? err : change_place(d, &current->fs->root);
}

long sys_umask(u32 mask) { return atomic_xchg(&current->fs->umask, mask & 0777); }
