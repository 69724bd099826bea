// SPDX-License-Identifier: BSD-2-Clause
// gen.c: generated files and directories: the machinery below /proc, /sys and /dev.
//
// A file system is a static table of gen_entry. Mounting one makes a root inode and nothing else: a
// directory's entries become dentries when they are walked to or listed, as with the root image. A
// directory with dynamic names (gen_dir_ops) is asked after the table; what it gives is not cached, and
// neither is anything below it, so a PID that has gone leaves nothing behind.
//
// A file's text is made by show() at the first read and at every read from offset 0, and kept with the open
// file in between, so that a reader with a small buffer sees one consistent text.
#include <stdio.h>

#include "fs/vfs_internal.h"

#define DYNAMIC_BASE BIT(20)  // readdir positions of dynamic names, behind the table's
#define SYSFS_MAGIC 0x62656572u

struct gen_node {  // inode->data
    struct gen_entry e;
    u64 arg;
    const struct gen_dir_ops *owner;  // whose owner() tells user and group
    u64 owner_arg;
};

static const struct inode_ops gen_file_inode_ops, gen_link_inode_ops, gen_magic_inode_ops;
static const struct inode_ops gen_static_ops, gen_dynamic_ops, gen_static_rw_ops;
static const struct file_ops gen_file_ops;

static struct gen_node *node_of(const struct inode *inode) { return inode->data; }

u64 inode_gen_arg(const struct inode *inode) { return node_of(inode)->arg; }

// ------------------------------------------------------------------------------- inodes

static u32 entry_mode(const struct gen_entry *e)
{
    if (e->mode & S_IFMT)
        return e->mode;
    return e->mode | (e->children || e->dir ? S_IFDIR : S_IFREG);
}

static void set_ops(struct inode *inode, const struct gen_entry *e, bool no_create)
{
    switch (inode->mode & S_IFMT) {
    case S_IFDIR:
        inode->ops = e->dir ? &gen_dynamic_ops : no_create ? &gen_static_ops : &gen_static_rw_ops;
        break;
    case S_IFLNK:
        inode->ops = e->ops && e->ops->follow ? &gen_magic_inode_ops : &gen_link_inode_ops;
        if (e->link) {
            inode->symlink.link = e->link;
            inode->symlink.link_len = strlen(e->link);
        }
        break;
    case S_IFREG:
        inode->fops = e->ops && e->ops->fops ? e->ops->fops : &gen_file_ops;
        inode->ops = &gen_file_inode_ops;
        break;
    default:
        inode->fops = e->ops && e->ops->fops ? e->ops->fops : NULL;
        inode->ops = &gen_file_inode_ops;
    }
}

// The inode of an entry. parent: its directory's node, NULL for a root.
static struct inode *gen_inode(struct superblock *sb, const struct gen_entry *e,
                               const struct gen_node *parent, u64 ino, bool ephemeral)
{
    struct inode *inode = inode_alloc(sb, entry_mode(e));
    struct gen_node *node = kmalloc(sizeof(*node));
    if (!inode || !node) {
        kfree(node);
        if (inode)
            inode_put(inode);
        return ERR_PTR(-ENOMEM);
    }
    node->e = *e;
    node->arg = e->arg || !parent ? e->arg : parent->arg;
    node->owner = e->dir && e->dir->owner ? e->dir : parent ? parent->owner : NULL;
    node->owner_arg = e->dir && e->dir->owner ? node->arg : parent ? parent->owner_arg : 0;
    inode->data = node;
    inode->ino = ino ? ino : atomic_add(&sb->next_ino, 1);
    inode->rdev = e->rdev;
    set_ops(inode, e, sb->flags & SB_NO_CREATE);
    if (ephemeral) {
        inode->flags |= I_EPHEMERAL | I_COMPLETE;
        if (S_ISDIR(inode->mode))
            inode->ops = &gen_dynamic_ops;
    }
    if (node->owner)
        node->owner->owner(node->owner_arg, &inode->uid, &inode->gid);
    return inode;
}

static void gen_evict(struct inode *inode) { kfree(inode->data); }

static void gen_getattr(struct inode *inode, struct kstat *st)
{
    if (S_ISREG(inode->mode)) {
        st->size = inode->sb->magic == SYSFS_MAGIC ? PAGE_SIZE : 0;
        st->blocks = 0;
    }
    if (S_ISLNK(inode->mode) && !inode->symlink.link)
        st->size = 64;  // as procfs
}

// ------------------------------------------------------------------------------- directories

static const struct gen_entry *table_find(const struct gen_entry *table, const char *name, u32 len)
{
    for (; table && table->name; table++) {
        if (strncmp(table->name, name, len) == 0 && table->name[len] == '\0')
            return table;
    }
    return NULL;
}

static u64 ephemeral_ino(const struct inode *dir, const char *name, u32 len)
{
    u64 h = (dir->ino ^ name_hash(name, len)) * 0x9e3779b97f4a7c15ull;
    return (h >> 32) | BIT(32);
}

static struct inode *gen_lookup(struct inode *dir, const char *name, unsigned len, bool *keep)
{
    const struct gen_node *node = node_of(dir);
    bool ephemeral = dir->flags & I_EPHEMERAL;
    *keep = !ephemeral;
    // The static names of a cached directory that is complete are all in memory, or were removed.
    const struct gen_entry *e = NULL;
    if (ephemeral || !(dir->flags & I_COMPLETE))
        e = table_find(node->e.children, name, len);
    if (e)
        return gen_inode(dir->sb, e, node, ephemeral ? ephemeral_ino(dir, name, len) : 0,
                         ephemeral);
    if (!node->e.dir || !node->e.dir->lookup)
        return ERR_PTR(-ENOENT);
    struct gen_entry made = {0};
    int err = node->e.dir->lookup(node->arg, name, len, &made);
    if (err)
        return ERR_PTR(err);
    *keep = false;
    return gen_inode(dir->sb, &made, node, ephemeral_ino(dir, name, len), true);
}

static int gen_load(struct dentry *dir)
{
    const struct gen_entry *table = node_of(dir->inode)->e.children;
    for (u32 i = 0; table && table[i].name; i++) {
        u64 ino = atomic_add(&dir->inode->sb->next_ino, 1);
        int err = dentry_add_stub(dir, table[i].name, strlen(table[i].name), ino,
                                  i << 4 | mode_to_dtype(entry_mode(&table[i])));
        if (err)
            return err;
    }
    return 0;
}

static struct inode *gen_instantiate(struct inode *dir, struct dentry *stub)
{
    const struct gen_node *node = node_of(dir);
    return gen_inode(dir->sb, &node->e.children[stub->stub_data >> 4], node, stub->stub_ino, false);
}

struct base_context {
    struct dir_context ctx;
    struct dir_context *outer;
    const struct inode *dir;
};

// The number is the one that a lookup of the name gives: readdir operations pass 0.
static bool base_emit(struct dir_context *ctx, const char *name, unsigned len, u64 ino,
                      unsigned type, u64 next)
{
    struct base_context *c = container_of(ctx, struct base_context, ctx);
    return dir_emit(c->outer, name, len, ephemeral_ino(c->dir, name, len), type,
                    DYNAMIC_BASE + next);
}

static int gen_readdir(struct inode *dir, struct dir_context *ctx)
{
    const struct gen_node *node = node_of(dir);
    const struct gen_entry *table = dir->flags & I_EPHEMERAL ? node->e.children : NULL;
    u64 n = 0;
    while (table && table[n].name)
        n++;
    while (ctx->pos < n) {
        const struct gen_entry *e = &table[ctx->pos];
        u32 len = strlen(e->name);
        if (!dir_emit(ctx, e->name, len, ephemeral_ino(dir, e->name, len),
                      mode_to_dtype(entry_mode(e)), ctx->pos + 1))
            return 0;
    }
    if (!node->e.dir || !node->e.dir->readdir)
        return 0;
    if (ctx->pos < DYNAMIC_BASE)
        ctx->pos = DYNAMIC_BASE;
    struct base_context c = {
        .ctx = {.pos = ctx->pos - DYNAMIC_BASE, .emit = base_emit}, .outer = ctx, .dir = dir};
    return node->e.dir->readdir(node->arg, &c.ctx);
}

// ------------------------------------------------------------------------------- links

static int gen_readlink(struct inode *inode, char *buf, size_t size)
{
    const struct gen_node *node = node_of(inode);
    return node->e.ops && node->e.ops->readlink ? node->e.ops->readlink(node->arg, buf, size)
                                                : -EINVAL;
}

static struct dentry *gen_follow(struct inode *inode)
{
    const struct gen_node *node = node_of(inode);
    return node->e.ops->follow(node->arg);
}

static const struct inode_ops gen_file_inode_ops = {.getattr = gen_getattr, .evict = gen_evict};
static const struct inode_ops gen_link_inode_ops = {
    .readlink = gen_readlink, .getattr = gen_getattr, .evict = gen_evict};
static const struct inode_ops gen_magic_inode_ops = {
    .readlink = gen_readlink, .follow = gen_follow, .getattr = gen_getattr, .evict = gen_evict};
// A directory below a dynamic one lists its table through readdir; one whose names are all cached has
// none, so that the walk can take it for complete.
static const struct inode_ops gen_static_ops = {
    .lookup = gen_lookup, .load = gen_load, .instantiate = gen_instantiate, .evict = gen_evict};
static const struct inode_ops gen_dynamic_ops = {.lookup = gen_lookup,
                                                 .load = gen_load,
                                                 .instantiate = gen_instantiate,
                                                 .readdir = gen_readdir,
                                                 .evict = gen_evict};
static const struct inode_ops gen_static_rw_ops = {.lookup = gen_lookup,
                                                   .load = gen_load,
                                                   .instantiate = gen_instantiate,
                                                   .make = memfs_make,
                                                   .evict = gen_evict};

// ------------------------------------------------------------------------------- files

static int gen_make_text(struct file *f, struct seq_buf *text)
{
    const struct gen_node *node = node_of(f->inode);
    text->len = 0;
    text->failed = false;
    int err = node->e.ops && node->e.ops->show ? node->e.ops->show(text, node->arg) : -EIO;
    if (!err && text->failed)
        err = -ENOMEM;
    return err;
}

static ssize_t gen_read(struct file *f, struct uio *to, loff_t *pos)
{
    ssize_t n;
    mutex_lock(&f->inode->lock);
    struct seq_buf *text = f->data;
    int err = 0;
    if (!text) {
        text = kmalloc(sizeof(*text));
        if (text)
            seq_init(text);
        f->data = text;
        err = text ? gen_make_text(f, text) : -ENOMEM;
    } else if (*pos == 0) {
        err = gen_make_text(f, text);
    }
    if (err) {
        n = err;
    } else if ((u64)*pos >= text->len) {
        n = 0;
    } else {
        n = uio_copy_to(to, text->data + *pos, text->len - *pos);
        if (n > 0)
            *pos += n;
    }
    mutex_unlock(&f->inode->lock);
    return n;
}

static ssize_t gen_write(struct file *f, struct uio *from, loff_t *pos)
{
    const struct gen_node *node = node_of(f->inode);
    if (!node->e.ops || !node->e.ops->write)
        return -EIO;
    size_t len = MIN(from->remaining, PAGE_SIZE - 1);
    char *text = kmalloc(len + 1);
    if (!text)
        return -ENOMEM;
    ssize_t n = uio_copy_from(from, text, len);
    if (n >= 0) {
        text[n] = '\0';
        n = node->e.ops->write(node->arg, text, n);
        if (n > 0)
            *pos += n;
    }
    kfree(text);
    return n;
}

static loff_t gen_lseek(struct file *f, loff_t offset, int whence)
{
    return whence > SEEK_CUR ? -EINVAL : vfs_lseek_generic(f, offset, whence, 0);
}

static void gen_release(struct file *f)
{
    if (f->data) {
        seq_free(f->data);
        kfree(f->data);
    }
}

static const struct file_ops gen_file_ops = {
    .read = gen_read,
    .write = gen_write,
    .lseek = gen_lseek,
    .release = gen_release,
};

// ------------------------------------------------------------------------------- mounting, run-time entries

static void gen_destroy(struct superblock *sb)
{
    dentry_release_tree(sb->root);
    kfree(sb->source);
    kfree(sb->options);
    kfree(sb);
}

struct superblock *gen_superblock(const char *type, u32 magic, u32 flags,
                                  const struct gen_entry *root)
{
    struct superblock *sb = superblock_alloc(type, magic, flags | SB_RELATIME);
    if (!sb)
        return NULL;
    struct gen_entry e = *root;
    if (!(e.mode & S_IFMT))
        e.mode |= S_IFDIR;
    struct inode *inode = gen_inode(sb, &e, NULL, 0, false);
    sb->root = IS_ERR(inode) ? NULL : dentry_alloc(NULL, "/", 1, inode);
    sb->destroy = gen_destroy;
    if (sb->root)
        return sb;
    if (!IS_ERR(inode))
        inode_put(inode);
    kfree(sb);
    return NULL;
}

// The child of that name, made as a directory when it is absent and make_dir says so.
static struct dentry *child_or_dir(struct dentry *dir, const char *name, u32 len, bool make_dir)
{
    struct dentry *d = dir_lookup(dir, name, len, name_hash(name, len), false);
    if (d != ERR_PTR(-ENOENT) || !make_dir)
        return d;
    static const struct gen_entry empty_dir = {.mode = S_IFDIR | 0755};
    struct inode *di = dir->inode;
    struct inode *inode = di->sb->flags & SB_NO_CREATE
                              ? gen_inode(di->sb, &empty_dir, NULL, 0, false)
                              : dir_make_inode(dir, S_IFDIR | 0755, 0);
    if (IS_ERR(inode))
        return (struct dentry *)inode;
    d = dentry_add_child(dir, name, len, inode);
    if (!IS_ERR(d)) {
        tree_write();
        di->nlink++;
        tree_write_done();
    }
    return d;
}

// Walks to the directory of the last component from the real root, through mounts, making what is absent.
struct dentry *gen_walk_parent(const char *path, bool make_dirs, const char **last)
{
    struct dentry *d = root_dentry;
    dentry_get(d);
    for (;;) {
        while (*path == '/')
            path++;
        const char *end = path;
        while (*end && *end != '/')
            end++;
        if (!*end) {
            *last = path;
            return d;
        }
        struct dentry *child = child_or_dir(d, path, (u32)(end - path), make_dirs);
        dentry_put(d);
        if (IS_ERR(child))
            return child;
        d = child;
        while (d->mounted) {
            struct dentry *top = d->mounted->root;
            dentry_get(top);
            dentry_put(d);
            d = top;
        }
        if (!S_ISDIR(d->inode->mode)) {
            dentry_put(d);
            return ERR_PTR(-ENOTDIR);
        }
        path = end;
    }
}

struct dentry *vfs_make_dir_kernel(const char *path)
{
    const char *last;
    struct dentry *dir = gen_walk_parent(path, true, &last);
    if (IS_ERR(dir))
        return dir;
    if (!*last)
        return dir;
    struct dentry *d = child_or_dir(dir, last, strlen(last), true);
    dentry_put(dir);
    return d;
}

int gen_mount(const char *path, const char *type, u32 magic, u32 flags,
              const struct gen_entry *root)
{
    gen_register_type(type, magic, flags, root);
    struct superblock *sb = gen_superblock(type, magic, flags, root);
    if (!sb)
        return -ENOMEM;
    sb->source = kstrdup(type);
    return vfs_mount(sb, path);
}

int gen_create(const char *path, const struct gen_entry *entry)
{
    const char *last;
    struct dentry *dir = gen_walk_parent(path, true, &last);
    if (IS_ERR(dir))
        return (int)PTR_ERR(dir);
    int err = -EEXIST;
    if (*last) {
        struct inode *inode = gen_inode(dir->inode->sb, entry, NULL, 0, false);
        err = IS_ERR(inode) ? (int)PTR_ERR(inode) : 0;
        if (!err) {
            // A dynamic directory hides nothing: the static names win, and this is one now.
            struct dentry *d = dentry_add_child(dir, last, strlen(last), inode);
            err = IS_ERR(d) ? (int)PTR_ERR(d) : 0;
            if (!err)
                dentry_put(d);
        }
    }
    dentry_put(dir);
    return err;
}

int gen_remove(const char *path)
{
    const char *last;
    struct dentry *dir = gen_walk_parent(path, false, &last);
    if (IS_ERR(dir))
        return (int)PTR_ERR(dir);
    u32 len = strlen(last);
    mutex_lock(&dir->inode->lock);
    dir_load_locked(dir);
    struct dentry *d = dir_lookup(dir, last, len, name_hash(last, len), true);
    int err = IS_ERR(d) ? (int)PTR_ERR(d) : 0;
    if (!err && !d->in_tree)
        err = -EPERM;
    if (!err) {
        tree_write();
        dentry_unlink_locked(d);
        tree_write_done();
        dentry_put(d);
    }
    mutex_unlock(&dir->inode->lock);
    if (!IS_ERR(d))
        dentry_put(d);
    dentry_put(dir);
    return err;
}

// ------------------------------------------------------------------------------- devices

#define MAX_CHRDEVS 48

static struct chrdev {
    u32 major, first_minor, n;
    const struct file_ops *ops;
} chrdevs[MAX_CHRDEVS];
static u32 n_chrdevs;
static struct spinlock chrdev_lock;

int chrdev_register(u32 major, u32 first_minor, u32 n, const struct file_ops *ops)
{
    int err = -ENOMEM;
    spin_lock(&chrdev_lock);
    if (n_chrdevs < MAX_CHRDEVS) {
        chrdevs[n_chrdevs] = (struct chrdev){major, first_minor, n, ops};
        atomic_store(&n_chrdevs, n_chrdevs + 1);
        err = 0;
    }
    spin_unlock(&chrdev_lock);
    return err;
}

const struct file_ops *chrdev_find(u32 rdev)
{
    u32 n = atomic_load(&n_chrdevs);
    for (u32 i = 0; i < n; i++) {
        const struct chrdev *c = &chrdevs[i];
        if (c->major == DEV_MAJOR(rdev) && DEV_MINOR(rdev) - c->first_minor < c->n)
            return c->ops;
    }
    return NULL;
}
