// SPDX-License-Identifier: BSD-2-Clause
// vfs_internal.h: what the files of the VFS core share with each other.
#pragma once

#include <string.h>

#include "core/cpu.h"
#include "core/log.h"
#include "core/time.h"
#include "fs/vfs.h"

// ---- the tree lock (dentry.c)

DECLARE_PERCPU(struct spinlock, tree_lock_slot);
// For walking: links stay as they are until tree_read_done. => Must not sleep in between.
static inline void tree_read(void) { spin_lock(percpu_ptr(tree_lock_slot)); }
static inline void tree_read_done(void) { spin_unlock(percpu_ptr(tree_lock_slot)); }
void tree_write(void);
void tree_write_done(void);

// ---- credentials of a file access

struct fs_cred {
    u32 uid, gid;
    u64 caps;
    const u32 *groups;
    u32 n_groups;
};
#define CAP_CHOWN 0
#define CAP_DAC_OVERRIDE 1
#define CAP_DAC_READ_SEARCH 2
#define CAP_FOWNER 3
#define CAP_FSETID 4
#define CAP_SYS_CHROOT 18
#define CAP_MKNOD 27
static inline void fs_cred_current(struct fs_cred *c)
{
    const struct process *p = current->process;
    if (!p) {  // a kernel thread
        *c = (struct fs_cred){.caps = ~0ull};
        return;
    }
    c->uid = p->fsuid;
    c->gid = p->fsgid;
    c->caps = p->cap_effective;
    c->groups = p->groups;
    c->n_groups = p->n_groups;
}
void fs_cred_real(struct fs_cred *c);  // access(2)
int inode_permission_as(const struct inode *inode, unsigned mask, const struct fs_cred *cred);
bool fs_in_group(u32 gid);
static inline bool fs_capable(int cap)
{
    const struct process *p = current->process;
    return !p || (p->cap_effective & BIT(cap));
}

// ---- the walk (namei.c)

enum last_type { LAST_NAME, LAST_DOT, LAST_DOTDOT, LAST_NONE };

struct walk {
    struct dentry *d;          // where the walk is: kept by the tree lock or by one of held
    struct dentry *held[2];    // referenced by slow steps: the directory and the child
    struct dentry *root;       // of the process; read anew after each slow step
    struct dentry *root_held;  // RESOLVE_BENEATH, RESOLVE_IN_ROOT: the start directory, referenced
    const char *rest;          // what is still to be walked
    unsigned flags;            // LOOKUP_*
    int n_links;               // symbolic links followed so far
    int depth;                 // stack[0 .. depth)
    struct fs_cred cred;
    struct fd start;  // of dfd
    // The last component, after walk_parent.
    const char *last;
    u32 last_len, last_hash;
    u8 last_type;
    bool trailing_slash;
    const char *stack[MAX_SYMLINKS];     // rests behind links
    uintptr_t link_texts[MAX_SYMLINKS];  // owners: inode, or kmalloc'd text with bit 0 set, or 0
};
// 0 with the tree lock held for reading; an error leaves nothing to release.
int walk_start(struct walk *w, int dfd, const char *path, unsigned flags);
// Walks to the directory of the last component. Lock and errors as above.
int walk_parent(struct walk *w);
// Steps to the last component, following links as flags say. => 0; errors as above, but with
// keep_parent an absent name gives 1 and leaves the lock held, w->d the directory, w->last the name.
int walk_last(struct walk *w, bool keep_parent);
// Releases the lock and everything the walk holds. Returns err, for `return walk_end(w, err)`.
int walk_end(struct walk *w, int err);
// Ends a walk with a reference to where it is.
struct dentry *walk_end_get(struct walk *w);

struct parent_name {     // a directory and a name in it, for create, unlink, rename …
    struct dentry *dir;  // referenced
    char name[NAME_MAX + 1];
    u32 len, hash;
    u8 type;
    bool trailing_slash;
};
int vfs_lookup_parent(int dfd, const char *path, unsigned flags, struct parent_name *out);
// For open(2) with O_CREAT, the short way. => false: not a plain path, use the walk
struct create_lookup {
    struct dentry *dir;    // referenced
    struct dentry *child;  // referenced; NULL: the name is free
    const char *name;      // in the path
    u32 len;
};
bool lookup_for_create(int dfd, const char *path, unsigned flags, struct create_lookup *out);
// The child of that name, referenced; ERR_PTR(-ENOENT). Caller may hold dir->inode->lock: locked says so.
struct dentry *dir_lookup(struct dentry *dir, const char *name, u32 len, u32 hash, bool locked);
// Brings every name into memory. => 0, -errno
int dir_load_locked(struct dentry *dir);
int lookup_with(int dfd, const char *path, unsigned flags, const struct fs_cred *cred,
                struct dentry **out);

u32 name_hash(const char *name, size_t len);

// ---- dentries

// In memory only. Tree lock held. => unreferenced, or NULL
struct dentry *dentry_find(const struct inode *dir, const char *name, u32 len, u32 hash);
int dentry_link(struct dentry *dir,
                struct dentry *d);  // into the tree: 0, -EEXIST, -ENOENT; takes a reference
void dentry_unlink_locked(
    struct dentry *d);  // tree write lock held; reference stays with the caller
void dentry_init(void);
extern struct mutex rename_mutex;
void dentry_release_tree(struct dentry *root);  // umount of a memory file system

// ---- directories (dir.c)

int dir_may_create(const struct dentry *dir);
struct dentry *dir_add_child(struct dentry *dir, const char *name, u32 len, struct inode *inode);
int dir_may_delete(const struct dentry *dir, const struct dentry *victim, bool is_dir);
// Makes an inode by dir's file system, owner and mode by the rules of inode_init_owner.
struct inode *dir_make_inode(struct dentry *dir, u32 mode, u32 rdev);
int do_truncate(struct inode *inode, u64 size);
int size_allowed(struct inode *inode, u64 size);  // RLIMIT_FSIZE, seals
int inode_kill_privs_locked(struct inode *inode);

// ---- others

void inode_init_caches(void);
void file_init(void);
void memfs_init(void);
void memfd_init(void);
extern const struct inode_ops memfs_inode_ops;
extern const struct vm_object_ops memfs_object_ops;
void memfs_release_object(struct vm_object *obj);
struct inode *memfs_make(struct inode *dir, u32 mode, u32 rdev);
struct inode *memfs_make_sb(struct superblock *sb, u32 mode, u32 rdev);
extern struct list mounts;               // of superblocks, by link [mount_mutex]
struct superblock *rootfs_create(void);  // from the image; an empty memory file system without one
void inode_free(struct inode *inode);
int sb_is_busy(struct superblock *sb);
struct file *file_new(void);
void file_free(struct file *f);
int memfd_check_write(struct inode *inode, u64 pos, u64 end);
int fs_umask_apply(u32 mode);
static inline void sb_active_get(struct superblock *sb)
{
    atomic_add(&sb->n_active, 1);
    if (unlikely(sb->flags & SB_EXPIRING))
        atomic_fetch_and(&sb->flags, ~SB_EXPIRING);
}
void sb_active_put(struct superblock *sb);
static inline u64 now_ns(void) { return ktime_real_ns(); }
static inline void file_accessed(const struct file *f)
{
    const struct inode *inode = f->inode;
    // Most often the time is newer than the last change already (relatime).
    if (likely(inode->atime_ns > inode->mtime_ns && inode->atime_ns > inode->ctime_ns &&
               !inode->atime_due && !(inode->sb->flags & SB_STRICTATIME)))
        return;
    if (likely(!(f->flags & O_NOATIME)))
        inode_accessed(f->inode);
}
static inline u64 page_index(u64 pos) { return pos >> PAGE_SHIFT; }

// The file system on a disk hears of a change of an inode that memory has made.
static inline void inode_changed(struct inode *inode)
{
    if (unlikely(inode->flags & I_VOLUME) && inode->ops->changed)
        inode->ops->changed(inode);
}
// Names of a directory are added, removed and renamed on a disk too.
static inline bool dir_on_disk(const struct inode *dir) { return dir->flags & I_VOLUME; }

// An extended attribute in inode->xattrs; name and value lie behind it.
struct xattr {
    struct xattr *next;
    char *name;
    void *value;
    size_t size;
};
struct xattr *xattr_new(const char *name, size_t size);  // the value is not filled; NULL: no memory

// inotify
enum { IN_MOVE_COOKIE = 1 };
u32 fs_notify_cookie(void);

// fdtable.c
int fd_get_cloexec(int fd);
void fd_set_cloexec(int fd, bool on);
bool fd_above_limit(u64 fd);
void fs_set_place(struct dentry **place, struct dentry *d);

// memfs.c: how many pages the file system may still take, and the count of those of one file
static inline bool sb_may_add_page(const struct superblock *sb)
{
    return !sb->max_pages || READ_ONCE(sb->n_pages) < sb->max_pages;
}
void inode_recharge(struct inode *inode);    // [inode->lock] after its number of pages changed
void drop_beyond_size(struct inode *inode);  // [inode->lock] pages of a write that failed

// rootfs.c: the part of a file that still lies in the image; indexes are pages
bool rootfs_page_is_hole(struct inode *inode, u64 index);
u64 rootfs_next_data(struct inode *inode, u64 index);
u64 rootfs_next_hole(struct inode *inode, u64 index);
u64 rootfs_count_blocks(struct inode *inode);
void rootfs_getattr(struct inode *inode, struct kstat *st);
// rootdisk.c: block of the image behind a page of a file, 0 for a hole or after an error; *run: so many pages are alike
u64 rootdisk_block(struct inode *inode, u64 index, u32 *run, int *err) __weak;

// attr.c
long regular_fallocate(struct file *f, int mode, loff_t offset, loff_t len);

// dentry.c: puts a dentry whose parent and name are set (back) into the tree. [tree write lock]
void dentry_relink_locked(struct dentry *dir, struct dentry *d);

// gen.c, mount.c
struct superblock *gen_superblock(const char *type, u32 magic, u32 flags,
                                  const struct gen_entry *root);
void gen_register_type(const char *type, u32 magic, u32 flags, const struct gen_entry *root);
struct dentry *gen_walk_parent(const char *path, bool make_dirs, const char **last);
struct dentry *vfs_make_dir_kernel(const char *path);  // as mkdir -p; referenced

// ---- RWF_* of preadv2(2) and io_submit(2). => 0, -EOPNOTSUPP, -EINVAL

static inline int rw_check_flags(const struct file *f, u32 flags)
{
    if (flags & ~(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND | RWF_NOAPPEND))
        return -EOPNOTSUPP;
    if ((flags & RWF_APPEND) && (flags & RWF_NOAPPEND))
        return -EINVAL;
    // Memory never makes the caller wait; other files would have to know the flag.
    if ((flags & RWF_NOWAIT) && !(f->inode && S_ISREG(f->inode->mode)))
        return -EOPNOTSUPP;
    return 0;
}
