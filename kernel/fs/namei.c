// SPDX-License-Identifier: BSD-2-Clause
// namei.c: from a path to a dentry (path_resolution(7), symlink(7), openat2(2)).
//
// The walk runs under the tree lock (a lock of its own CPU) and takes no reference on its way:
//
//     walk_start -> walk_parent --component--> ... -> walk_last -> walk_end_get
//                       ^  |  name not in memory: walk_slow                |
//                       |  v  (reference, unlock, dir_lookup, lock)        |
//                       +--- link: push the rest, go on with its text <----+
//
// Only a slow step references the directory and the child, because it may sleep; w->held keeps them
// until the next slow step or the end. Links do not recurse: the text behind a link is pushed on a
// stack of MAX_SYMLINKS entries, which the limit on links bounds; an empty rest is not pushed, so a
// component is the last one exactly when nothing follows it and the stack is empty.
#include "fs/vfs_internal.h"

#define LOAD_AFTER_MISSES 4  // look-ups below memory after which a directory is brought in whole

// ----------------------------------------------------------------------------- paths from the user

int pathname_get(struct pathname *p, uptr_t user)
{
    p->text = p->inline_text;
    ssize_t n = strncpy_from_user(p->inline_text, user, sizeof(p->inline_text));
    if (unlikely(n == -ENAMETOOLONG)) {
        p->text = kmalloc(PATH_MAX);
        if (!p->text)
            return -ENOMEM;
        n = strncpy_from_user(p->text, user, PATH_MAX);
        if (n < 0)
            kfree(p->text);
    }
    if (n < 0) {
        p->text = NULL;
        return (int)n;
    }
    p->len = n;
    return 0;
}

void pathname_put(struct pathname *p)
{
    if (unlikely(p->text != p->inline_text))
        kfree(p->text);
}

u32 current_umask(void) { return current->fs ? current->fs->umask : 022; }

// ----------------------------------------------------------------------------- names below memory

static int instantiate_stub(struct dentry *dir, struct dentry *d)
{
    struct inode *inode = dir->inode->ops->instantiate(dir->inode, d);
    if (IS_ERR(inode))
        return (int)PTR_ERR(inode);
    tree_write();
    d->inode = inode;
    if (S_ISDIR(inode->mode))
        inode->dir.self = d;
    tree_write_done();
    return 0;
}

int dir_load_locked(struct dentry *dir)
{
    struct inode *inode = dir->inode;
    if ((inode->flags & I_COMPLETE) || !inode->ops || !inode->ops->load)
        return 0;
    int err = inode->ops->load(dir);
    if (!err)
        inode->flags |= I_COMPLETE;
    return err;
}

static struct dentry *find_get(struct inode *dir, const char *name, u32 len, u32 hash)
{
    tree_read();
    struct dentry *d = dentry_find(dir, name, len, hash);
    if (d)
        dentry_get(d);
    tree_read_done();
    return d;
}

// May a name that is not in memory be in this directory?
static bool may_lie_below(const struct inode *dir)
{
    return dir->ops && dir->ops->lookup && (!(dir->flags & I_COMPLETE) || dir->ops->readdir);
}

static struct dentry *lookup_below(struct dentry *dir, const char *name, u32 len, u32 hash)
{
    struct inode *inode = dir->inode;
    const struct inode_ops *ops = inode->ops;
    if (!may_lie_below(inode))
        return ERR_PTR(-ENOENT);
    if (!(inode->flags & I_COMPLETE) && ops->load && inode->dir.n_misses++ >= LOAD_AFTER_MISSES) {
        int err = dir_load_locked(dir);
        if (err)
            return ERR_PTR(err);
        struct dentry *d = find_get(inode, name, len, hash);
        if (d || !ops->readdir)
            return d ? d : ERR_PTR(-ENOENT);
    }
    bool keep = true;
    struct inode *child = ops->lookup(inode, name, len, &keep);
    if (IS_ERR(child))
        return (struct dentry *)child;
    if (keep)
        return dentry_add_child(dir, name, len, child);
    struct dentry *d = dentry_alloc(dir, name, len, child);
    if (!d)
        inode_put(child);
    return d ? d : ERR_PTR(-ENOMEM);
}

struct dentry *dir_lookup(struct dentry *dir, const char *name, u32 len, u32 hash, bool locked)
{
    struct inode *inode = dir->inode;
    if (!locked)
        mutex_lock(&inode->lock);
    struct dentry *d = find_get(inode, name, len, hash);
    if (!d)
        d = lookup_below(dir, name, len, hash);
    if (!IS_ERR(d) && !d->inode) {
        int err = instantiate_stub(dir, d);
        if (err) {
            dentry_put(d);
            d = ERR_PTR(err);
        }
    }
    if (!locked)
        mutex_unlock(&inode->lock);
    return d;
}

// ----------------------------------------------------------------------------- the walk

static struct dentry *process_root(const struct walk *w)
{
    struct fs_context *fs = current->fs;
    return (w->flags & LOOKUP_KERNEL) || !fs ? root_dentry : fs->root;
}

static void drop_held(struct dentry *held[2])
{
    for (int i = 0; i < 2; i++) {
        if (held[i])
            dentry_put(held[i]);
        held[i] = NULL;
    }
}

int walk_end(struct walk *w, int err)
{
    tree_read_done();
    drop_held(w->held);
    for (int i = 0; i < w->n_links; i++) {
        if (w->link_texts[i] & 1)
            kfree((void *)(w->link_texts[i] & ~(uintptr_t)1));
        else if (w->link_texts[i])
            inode_put((struct inode *)w->link_texts[i]);
    }
    if (w->root_held)
        dentry_put(w->root_held);
    fd_put(w->start);
    return err;
}

struct dentry *walk_end_get(struct walk *w)
{
    struct dentry *d = w->d;
    dentry_get(d);
    walk_end(w, 0);
    return d;
}

static int start_at_fd(struct walk *w, int dfd, struct dentry **start)
{
    w->start = fd_get_raw(dfd);
    if (!w->start.file)
        return -EBADF;
    *start = w->start.file->dentry;
    if (*start && S_ISDIR((*start)->inode->mode))
        return 0;
    fd_put(w->start);
    return -ENOTDIR;
}

int walk_start(struct walk *w, int dfd, const char *path, unsigned flags)
{
    if (!*path)
        return -ENOENT;
    w->held[0] = w->held[1] = NULL;
    w->root_held = NULL;
    w->rest = path;
    w->flags = flags;
    w->n_links = w->depth = 0;
    w->start.file = NULL;
    w->start.need_put = false;
    w->trailing_slash = false;
    if (flags & LOOKUP_KERNEL)
        w->cred = (struct fs_cred){.caps = ~0ull};
    else
        fs_cred_current(&w->cred);
    bool confined = flags & (LOOKUP_BENEATH | LOOKUP_IN_ROOT);
    if (unlikely(*path == '/' && (flags & LOOKUP_BENEATH)))
        return -EXDEV;
    struct dentry *start = NULL;
    if ((*path != '/' || confined) && dfd != AT_FDCWD) {
        int err = start_at_fd(w, dfd, &start);
        if (err)
            return err;
    }
    tree_read();
    w->root = process_root(w);
    struct fs_context *fs = current->fs;
    if (!start)
        start = *path == '/' && !confined        ? w->root
                : fs && !(flags & LOOKUP_KERNEL) ? fs->cwd
                                                 : w->root;
    if (confined) {
        w->root = w->root_held = start;
        dentry_get(start);
    }
    w->d = start;
    return 0;
}

// Before work that may sleep: references d, gives up the lock. extra: what else the step needs.
static void walk_unlock(struct walk *w)
{
    struct dentry *old[2] = {w->held[0], w->held[1]};
    dentry_get(w->d);
    tree_read_done();
    drop_held(old);
    w->held[0] = w->d;
    w->held[1] = NULL;
}

static void walk_relock(struct walk *w, struct dentry *child)
{
    w->held[1] = child;
    tree_read();
    if (!w->root_held)
        w->root = process_root(w);
}

// A child that memory does not have (yet). => NULL with *err set; the lock is held again either way.
static struct dentry *walk_slow(struct walk *w, const char *name, u32 len, u32 hash, int *err)
{
    walk_unlock(w);
    struct dentry *child = dir_lookup(w->d, name, len, hash, false);
    *err = IS_ERR(child) ? (int)PTR_ERR(child) : 0;
    if (*err)
        child = NULL;
    walk_relock(w, child);
    return child;
}

static int walk_down_mounts(struct walk *w, struct dentry **d)
{
    while (unlikely((*d)->mounted != NULL)) {
        if (w->flags & LOOKUP_NO_XDEV)
            return -EXDEV;
        *d = (*d)->mounted->root;
    }
    return 0;
}

static int walk_up(struct walk *w)
{
    struct dentry *d = w->d;
    for (;;) {
        if (d == w->root) {
            if (w->flags & LOOKUP_BENEATH)
                return -EXDEV;
            break;
        }
        if (d->parent != d) {
            d = d->parent;
            break;
        }
        if (!d->inode->sb->mounted_on)
            break;
        if (w->flags & LOOKUP_NO_XDEV)
            return -EXDEV;
        d = d->inode->sb->mounted_on;
    }
    w->d = d;
    return walk_down_mounts(w, &w->d);
}

static __cold int follow_magic(struct walk *w, struct inode *inode)
{
    if (w->flags & (LOOKUP_NO_MAGICLINKS | LOOKUP_BENEATH | LOOKUP_IN_ROOT))
        return w->flags & LOOKUP_NO_MAGICLINKS ? -ELOOP : -EXDEV;
    w->link_texts[w->n_links - 1] = (uintptr_t)inode;
    inode_get(inode);
    walk_unlock(w);
    struct dentry *target = inode->ops->follow(inode);
    int err = IS_ERR(target) ? (int)PTR_ERR(target) : 0;
    walk_relock(w, err ? NULL : target);
    if (err)
        return err;
    if ((w->flags & LOOKUP_NO_XDEV) && target->inode->sb != inode->sb)
        return -EXDEV;
    w->d = target;
    w->rest = "";
    return 0;
}

// The text of a link that is made when it is read.
static __cold int link_text_made(struct walk *w, struct inode *inode, const char **text)
{
    inode_get(inode);
    walk_unlock(w);
    char *buf = kmalloc(PATH_MAX);
    int n = buf ? inode->ops->readlink(inode, buf, PATH_MAX - 1) : -ENOMEM;
    inode_put(inode);
    if (n < 0)
        kfree(buf);
    walk_relock(w, NULL);
    if (n < 0)
        return n;
    buf[n] = '\0';
    w->link_texts[w->n_links - 1] = (uintptr_t)buf | 1;
    *text = buf;
    return 0;
}

// Goes on with the text of a link that lies in w->d; rest is what follows it in the path.
static int walk_link(struct walk *w, struct inode *inode, const char *rest)
{
    if (w->n_links >= MAX_SYMLINKS || (w->flags & LOOKUP_NO_SYMLINKS) ||
        (inode->sb->flags & SB_NOSYMFOLLOW))
        return -ELOOP;
    w->link_texts[w->n_links++] = 0;
    while (*rest == '/')
        rest++;
    if (*rest)
        w->stack[w->depth++] = rest;
    if (inode->ops && inode->ops->follow)
        return follow_magic(w, inode);
    const char *text = inode->symlink.link;
    if (text) {
        inode_get(inode);
        w->link_texts[w->n_links - 1] = (uintptr_t)inode;
    } else {
        int err = inode->ops && inode->ops->readlink ? link_text_made(w, inode, &text) : -EINVAL;
        if (err)
            return err;
    }
    if (!*text)
        return -ENOENT;
    if (*text == '/') {
        if (w->flags & LOOKUP_BENEATH)
            return -EXDEV;
        if ((w->flags & LOOKUP_NO_XDEV) && w->root->inode->sb != w->d->inode->sb)
            return -EXDEV;
        w->d = w->root;
    }
    w->rest = text;
    return 0;
}

// One name down. => 0 (w->d is the child), 1 (a link was followed: its text is the new rest), -errno
// with the lock held.
static int walk_step(struct walk *w, const char *name, u32 len, u32 hash, bool follow,
                     const char *rest)
{
    struct inode *dir = w->d->inode;
    struct dentry *child = dentry_find(dir, name, len, hash);
    int err;
    if (unlikely(!child || !child->inode)) {
        if (!child && !may_lie_below(dir))
            return -ENOENT;
        child = walk_slow(w, name, len, hash, &err);
        if (!child)
            return err;
    }
    err = walk_down_mounts(w, &child);
    if (err)
        return err;
    if (unlikely(follow && S_ISLNK(child->inode->mode))) {
        err = walk_link(w, child->inode, rest);
        return err ? err : 1;
    }
    w->d = child;
    w->rest = rest;
    return 0;
}

static int walk_may_search(const struct walk *w)
{
    const struct inode *inode = w->d->inode;
    if (unlikely(!S_ISDIR(inode->mode)))
        return -ENOTDIR;
    if (likely(inode->uid == w->cred.uid ? inode->mode & 0100
                                         : w->cred.caps & BIT(CAP_DAC_OVERRIDE)))
        return 0;
    return inode_permission_as(inode, MAY_EXEC, &w->cred);
}

// Reads the component at *p; *p moves behind it and the slashes that follow.
static int scan_component(struct walk *w, const char **p)
{
    const char *s = *p, *q = s;
    u32 h = 2166136261u;
    for (u8 c = *q; c != '\0' && c != '/'; c = *++q)
        h = (h ^ c) * 16777619u;
    size_t len = q - s;
    if (unlikely(len > NAME_MAX))
        return -ENAMETOOLONG;
    w->last = s;
    w->last_len = (u32)len;
    w->last_hash = h;
    w->last_type = LAST_NAME;
    if (unlikely(s[0] == '.' && len <= 2)) {
        if (len == 1)
            w->last_type = LAST_DOT;
        else if (s[1] == '.')
            w->last_type = LAST_DOTDOT;
    }
    while (*q == '/')
        q++;
    *p = q;
    return 0;
}

int walk_parent(struct walk *w)
{
    for (;;) {
        const char *p = w->rest;
        while (*p == '/')
            p++;
        if (!*p) {
            if (w->depth) {
                w->rest = w->stack[--w->depth];
                continue;
            }
            w->last_type = LAST_NONE;
            w->last_len = 0;
            return 0;
        }
        int err = walk_may_search(w);
        if (!err)
            err = scan_component(w, &p);
        if (unlikely(err))
            return walk_end(w, err);
        if (!*p && !w->depth) {
            if (p[-1] == '/')
                w->trailing_slash = true;
            return 0;
        }
        w->rest = p;
        if (likely(w->last_type == LAST_NAME))
            err = walk_step(w, w->last, w->last_len, w->last_hash, true, p);
        else if (w->last_type == LAST_DOTDOT)
            err = walk_up(w);
        if (unlikely(err < 0))
            return walk_end(w, err);
    }
}

int walk_last(struct walk *w, bool keep_parent)
{
    for (;;) {
        int err = 0;
        if (w->last_type == LAST_NAME) {
            bool follow = (w->flags & LOOKUP_FOLLOW) || w->trailing_slash;
            err = walk_step(w, w->last, w->last_len, w->last_hash, follow, "");
        } else if (w->last_type == LAST_DOTDOT) {
            err = walk_up(w);
        }
        if (err == -ENOENT && keep_parent && w->last_type == LAST_NAME)
            return 1;
        if (err < 0)
            return walk_end(w, err);
        if (err == 0)
            break;
        err = walk_parent(w);  // of the link's text
        if (err)
            return err;
    }
    if (((w->flags & LOOKUP_DIRECTORY) || w->trailing_slash) && !S_ISDIR(w->d->inode->mode))
        return walk_end(w, -ENOTDIR);
    return 0;
}

// ----------------------------------------------------------------------------- the quick walk

// Most paths are plain: every name is in memory, nothing but directories on the way, which the caller may
// search by their mode alone. The quick walk handles these and nothing else: whatever it does not know it leaves to
// the walk above, from the start, errors too.

struct quick_name {
    const char *name;
    u32 len, hash;
};

static inline bool quick_may_search(const struct inode *inode, u64 caps)
{
    return likely(S_ISDIR(inode->mode)) &&
           likely((inode->mode & 0111) == 0111 || (caps & BIT(CAP_DAC_OVERRIDE)));
}

// Reads a component. => behind it; NULL: "." or "..", or too long
static inline const char *quick_scan(const char *s, struct quick_name *name)
{
    const char *q = s;
    u32 h = 2166136261u;
    for (u8 c = *q; c != '\0' && c != '/'; c = *++q)
        h = (h ^ c) * 16777619u;
    name->name = s;
    name->len = (u32)(q - s);
    name->hash = h;
    if (unlikely(*s == '.') && (name->len == 1 || (name->len == 2 && s[1] == '.')))
        return NULL;
    return likely(name->len <= NAME_MAX) ? q : NULL;
}

// last NULL: the whole path; else up to the directory of the last component, which goes to *last.
// => referenced, or NULL: not plain
static struct dentry *quick_walk(const char *p, unsigned flags, struct quick_name *last)
{
    const struct fs_context *fs = current->fs;
    if (unlikely(!fs))
        return NULL;
    u64 caps = current->process->cap_effective;
    struct quick_name name;
    tree_read();
    struct dentry *d = *p == '/' ? fs->root : fs->cwd;
    for (;;) {
        while (*p == '/')
            p++;
        if (!*p)
            break;
        if (unlikely(!quick_may_search(d->inode, caps)))
            goto other;
        p = quick_scan(p, &name);
        if (unlikely(!p))
            goto other;
        if (last && !*p) {
            *last = name;
            goto found;
        }
        struct dentry *child = dentry_find(d->inode, name.name, name.len, name.hash);
        if (unlikely(!child || !child->inode))
            goto other;
        while (unlikely(child->mounted != NULL))
            child = child->mounted->root;
        if (unlikely(S_ISLNK(child->inode->mode)) && (*p || (flags & LOOKUP_FOLLOW)))
            goto other;
        d = child;
    }
    if (last || ((p[-1] == '/' || (flags & LOOKUP_DIRECTORY)) && !S_ISDIR(d->inode->mode)))
        goto other;
found:
    dentry_get(d);
    tree_read_done();
    return d;
other:
    tree_read_done();
    return NULL;
}

static inline bool quick_allowed(int dfd, const char *path, unsigned flags)
{
    return likely((*path == '/' || dfd == AT_FDCWD) &&
                  !(flags & ~(LOOKUP_FOLLOW | LOOKUP_DIRECTORY | LOOKUP_EMPTY)));
}

// ----------------------------------------------------------------------------- for the callers

static __cold int lookup_empty(int dfd, unsigned flags, struct dentry **out)
{
    if (!(flags & LOOKUP_EMPTY))
        return -ENOENT;
    if (dfd == AT_FDCWD) {
        *out = current->fs ? fs_get_cwd(current->fs) : root_dentry;
        if (!current->fs)
            dentry_get(*out);
        return 0;
    }
    struct fd f = fd_get_raw(dfd);
    if (!f.file)
        return -EBADF;
    *out = file_dentry(f.file);
    fd_put(f);
    return IS_ERR(*out) ? (int)PTR_ERR(*out) : 0;
}

static int lookup_walk(struct walk *w, struct dentry **out)
{
    int err = walk_parent(w);
    if (err)
        return err;
    err = walk_last(w, false);
    if (err)
        return err;
    *out = walk_end_get(w);
    return 0;
}

static __noinline int lookup_any(int dfd, const char *path, unsigned flags, struct dentry **out)
{
    struct walk w;
    int err = walk_start(&w, dfd, path, flags);
    return err ? err : lookup_walk(&w, out);
}

int vfs_lookup(int dfd, const char *path, unsigned flags, struct dentry **out)
{
    if (unlikely(!*path))
        return lookup_empty(dfd, flags, out);
    if (quick_allowed(dfd, path, flags)) {
        *out = quick_walk(path, flags, NULL);
        if (likely(*out))
            return 0;
    }
    return lookup_any(dfd, path, flags, out);
}

bool lookup_for_create(int dfd, const char *path, unsigned flags, struct create_lookup *out)
{
    struct quick_name last;
    if (!*path || !quick_allowed(dfd, path, flags))
        return false;
    struct dentry *dir = quick_walk(path, flags, &last);
    if (!dir)
        return false;
    struct inode *inode = dir->inode;
    struct dentry *child = find_get(inode, last.name, last.len, last.hash);
    bool plain = child ? child->inode && !S_ISLNK(child->inode->mode) && !child->mounted
                       : !may_lie_below(inode);
    if (!plain) {
        if (child)
            dentry_put(child);
        dentry_put(dir);
        return false;
    }
    *out = (struct create_lookup){dir, child, last.name, last.len};
    return true;
}

int lookup_with(int dfd, const char *path, unsigned flags, const struct fs_cred *cred,
                struct dentry **out)
{
    struct walk w;
    if (unlikely(!*path))
        return lookup_empty(dfd, flags, out);
    int err = walk_start(&w, dfd, path, flags);
    if (err)
        return err;
    w.cred = *cred;
    return lookup_walk(&w, out);
}

int vfs_lookup_user(int dfd, uptr_t path, unsigned flags, struct dentry **out)
{
    struct pathname p;
    int err = pathname_get(&p, path);
    if (err)
        return err;
    err = vfs_lookup(dfd, p.text, flags, out);
    pathname_put(&p);
    return err;
}

int vfs_lookup_parent(int dfd, const char *path, unsigned flags, struct parent_name *out)
{
    struct walk w;
    struct quick_name last;
    out->dir = *path && quick_allowed(dfd, path, flags) ? quick_walk(path, flags, &last) : NULL;
    if (likely(out->dir)) {
        out->len = last.len;
        out->hash = last.hash;
        out->type = LAST_NAME;
        out->trailing_slash = false;
        memcpy(out->name, last.name, last.len);
        out->name[last.len] = '\0';
        return 0;
    }
    int err = walk_start(&w, dfd, path, flags & ~LOOKUP_FOLLOW);
    if (err)
        return err;
    err = walk_parent(&w);
    if (err)
        return err;
    out->len = w.last_len;
    out->hash = w.last_hash;
    out->type = w.last_type;
    out->trailing_slash = w.trailing_slash;
    memcpy(out->name, w.last_len ? w.last : "", w.last_len);
    out->name[w.last_len] = '\0';
    out->dir = walk_end_get(&w);
    return 0;
}
