// SPDX-License-Identifier: BSD-2-Clause
// vfs.h: inodes, names, open files, descriptors, mounts and generated files.
//
// One in-memory tree of dentries. A directory's children live in memory; what lies below (the packed
// ext4 image, a table of generated files) is looked up on demand and then cached as dentries:
//
//     superblock -- root dentry -- children (list in cookie order, hash when large)
//                                     |
//                                  dentry --> inode --> vm_object (pages of a regular file)
//                                     ^
//     file table --> file ------------+            (file->dentry, file->inode)
//
// There are no bind mounts: a superblock is mounted in one place, so a path is just a dentry.
//
// Locks, in order:
//     rename_mutex -> inode->lock (parent before child, else by address) -> mm->lock -> object->lock
//     -> the tree lock (dentry.c) -> dentry/inode/file-table spinlocks
// The tree lock guards every link between dentries, mounts, roots and working directories. It is one
// spinlock a CPU: a walker takes only its own, a change takes them all; nothing sleeps under it.
#pragma once

#include "core/atomic.h"
#include "core/lock.h"
#include "core/seq_buf.h"
#include "core/wait.h"
#include "fs/uio.h"
#include "mm/object.h"
#include "task/thread.h"

#include "arch_impl/uapi.h"  // O_DIRECT, O_DIRECTORY, O_NOFOLLOW, O_LARGEFILE, struct stat_user

struct inode;
struct dentry;
struct superblock;
struct file;
struct dir_context;
struct file_lock_context;

// ---------------------------------------------------------------------------------- constants

#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFLNK 0120000
#define S_IFREG 0100000
#define S_IFBLK 0060000
#define S_IFDIR 0040000
#define S_IFCHR 0020000
#define S_IFIFO 0010000
#define S_ISUID 04000
#define S_ISGID 02000
#define S_ISVTX 01000
#define S_ISREG(m) (((m)&S_IFMT) == S_IFREG)
#define S_ISDIR(m) (((m)&S_IFMT) == S_IFDIR)
#define S_ISLNK(m) (((m)&S_IFMT) == S_IFLNK)
#define S_ISCHR(m) (((m)&S_IFMT) == S_IFCHR)
#define S_ISBLK(m) (((m)&S_IFMT) == S_IFBLK)
#define S_ISFIFO(m) (((m)&S_IFMT) == S_IFIFO)
#define S_ISSOCK(m) (((m)&S_IFMT) == S_IFSOCK)

// open(2) flags are the Linux ones; O_DIRECTORY, O_NOFOLLOW, O_DIRECT and O_LARGEFILE differ between
// x86-64 and arm64 and come from arch_impl/uapi.h.
#define O_ACCMODE 3
#define O_RDONLY 0
#define O_WRONLY 1
#define O_RDWR 2
#define O_CREAT 0100
#define O_EXCL 0200
#define O_NOCTTY 0400
#define O_TRUNC 01000
#define O_APPEND 02000
#define O_NONBLOCK 04000
#define O_DSYNC 010000
#define O_ASYNC 020000
#define O_NOATIME 01000000
#define O_CLOEXEC 02000000
#define O_SYNC (O_DSYNC | 04000000)
#define O_PATH 010000000
#define O_TMPFILE_BIT 020000000

#define AT_FDCWD (-100)
#define AT_SYMLINK_NOFOLLOW 0x100
#define AT_REMOVEDIR 0x200
#define AT_EACCESS 0x200
#define AT_SYMLINK_FOLLOW 0x400
#define AT_NO_AUTOMOUNT 0x800
#define AT_EMPTY_PATH 0x1000

#define SEEK_SET 0
#define SEEK_CUR 1
#define SEEK_END 2
#define SEEK_DATA 3
#define SEEK_HOLE 4

#define PATH_MAX 4096
#define NAME_MAX 255
#define MAX_SYMLINKS 40
#define MAX_RW_COUNT 0x7ffff000  // the most that one read or write moves
#define UIO_MAXIOV 1024
#define MAX_FILE_SIZE INT64_MAX

enum poll_events {
    POLLIN = 1,
    POLLPRI = 2,
    POLLOUT = 4,
    POLLERR = 8,
    POLLHUP = 16,
    POLLNVAL = 32,
    POLLRDNORM = 64,
    POLLRDBAND = 128,
    POLLWRNORM = 256,
    POLLWRBAND = 512,
    POLLRDHUP = 0x2000,
};

enum dirent_type {
    DT_UNKNOWN = 0,
    DT_FIFO = 1,
    DT_CHR = 2,
    DT_DIR = 4,
    DT_BLK = 6,
    DT_REG = 8,
    DT_LNK = 10,
    DT_SOCK = 12,
};
static inline unsigned mode_to_dtype(u32 mode) { return (mode & S_IFMT) >> 12; }

// Device numbers: the 32-bit form that the kernel of Linux keeps, and its 64-bit user form.
#define MAKE_DEV(major, minor) (((u32)(major) << 20) | (u32)(minor))
#define DEV_MAJOR(dev) ((u32)(dev) >> 20)
#define DEV_MINOR(dev) ((u32)(dev)&0xfffff)
static inline u64 dev_to_user(u32 dev)  // makedev(3)
{
    u32 minor = DEV_MINOR(dev);
    return (minor & 0xff) | (DEV_MAJOR(dev) << 8) | ((u64)(minor & ~0xffu) << 12);
}
static inline u32 dev_from_user(u64 dev)
{
    return MAKE_DEV((dev >> 8) & 0xfff, (dev & 0xff) | ((dev >> 12) & 0xfff00));
}

// ---------------------------------------------------------------------------------- open files

// Where a poller registers itself: file->ops->poll calls poll_wait for each queue that can change
// its answer. add may be NULL (just asking).
struct poll_table {
    void (*add)(struct poll_table *pt, struct file *f, struct wait_queue *q);
};
static inline void poll_wait(struct poll_table *pt, struct file *f, struct wait_queue *q)
{
    if (pt && pt->add)
        pt->add(pt, f, q);
}

// All pointers may be NULL. Every operation but release and show_fdinfo may sleep.
#define MAPPED_AS_ANONYMOUS ((struct vm_object *)ERR_PTR(-4095))
struct file_ops {
    const char *name;  // files without a name: "anon_inode:[eventfd]", "pipe", "socket"
    u32 type;          // S_IF* that fstat shows for files without an inode (0 for anon_inode)
    // The file has been opened: f->inode, f->dentry, f->flags, f->fmode are set. On error release is not called.
    int (*open)(struct inode *inode, struct file *f);
    // A second open of a nameless file through /proc/PID/fd/N (pipes). => new file or ERR_PTR. NULL: -ENXIO
    struct file *(*reopen)(struct file *f, unsigned flags);
    // pos: the offset to use and advance (the file's own, or a private one for pread).
    // => bytes moved (short counts as read(2)/write(2)), or -errno before anything moved.
    ssize_t (*read)(struct file *f, struct uio *to, loff_t *pos);     // NULL: -EINVAL
    ssize_t (*write)(struct file *f, struct uio *from, loff_t *pos);  // NULL: -EINVAL
    // read(2) and write(2) between a file of FMODE_STREAM and one piece of user memory that ends below USER_END, at
    // speed: for what passes small messages. They do what read and write do. NULL: these are called.
    ssize_t (*read_user)(struct file *f, uptr_t to, size_t len);
    ssize_t (*write_user)(struct file *f, uptr_t from, size_t len);
    // The same for pread(2) and pwrite(2), at a pos that is not negative and neither is pos + len.
    ssize_t (*read_at_user)(struct file *f, uptr_t to, size_t len, loff_t pos);
    ssize_t (*write_at_user)(struct file *f, uptr_t from, size_t len, loff_t pos);
    loff_t (*lseek)(struct file *f, loff_t offset, int whence);  // NULL: -ESPIPE; vfs_lseek_generic
    u32 (*poll)(struct file *f, struct poll_table *pt);          // NULL: always readable, writable
    long (*ioctl)(struct file *f, unsigned cmd, uptr_t arg);     // NULL: -ENOTTY
    // What mmap maps, with a reference. NULL: -ENODEV. flags: MAP_SHARED etc. may be refused.
    // MAPPED_AS_ANONYMOUS: nothing of the file's, private memory as without one
    struct vm_object *(*mmap_object)(struct file *f, int prot, int flags);
    int (*getdents)(struct file *f, struct dir_context *ctx);
    int (*fsync)(struct file *f, bool data_only);  // NULL: -EINVAL
    long (*fallocate)(struct file *f, int mode, loff_t offset, loff_t len);
    // fcntl(2) commands of the kind: F_GETPIPE_SZ, F_SETPIPE_SZ. NULL: -EINVAL (-EBADF for pipes' ones)
    long (*fcntl)(struct file *f, unsigned cmd, unsigned long arg);
    struct async_queue *(*async)(struct file *f);  // NULL: has no SIGIO, O_ASYNC is not kept
    void (*flush)(struct file *f);                 // each close(2) of a descriptor
    void (*show_fdinfo)(struct file *f, struct seq_buf *out);
    // Text of /proc/PID/fd/N for files without a dentry. NULL: name, or name:[ino] for pipes, sockets.
    int (*describe)(struct file *f, char *buf, size_t size);
    void (*release)(struct file *f);  // last reference is gone
};

enum file_mode {
    FMODE_READ = 1,
    FMODE_WRITE = 2,
    FMODE_EXEC = 4,
    FMODE_PATH = 8,            // O_PATH: names a place, no I/O
    FMODE_NO_SEEK = 16,        // lseek and pread give ESPIPE: pipes, sockets, ttys
    FMODE_STREAM = 32,         // has no position at all: read and write take no position lock
    FMODE_WRITE_COUNTED = 64,  // counted in inode->n_writers
    FMODE_LOCKED = 128,        // may hold flock or POSIX locks
};

// The memory of a struct file is never used for anything else (fdtable.c: fd_get relies on it).
struct file {
    u32 refcount;   // atomic
    u32 flags;      // O_*; changed by F_SETFL
    u32 fmode;      // FMODE_*
    s32 owner_pid;  // F_SETOWN
    const struct file_ops *ops;
    struct dentry *dentry;  // where it was opened; NULL for pipes, sockets, anonymous files
    struct inode *inode;    // NULL exactly when dentry is NULL
    loff_t pos;             // [pos_lock]
    struct mutex pos_lock;
    void *data;               // of the implementation
    u64 ino;                  // inode number that fstat shows when inode is NULL; set by file_alloc
    struct list epoll_links;  // [epoll_lock] watches on this file
    struct spinlock epoll_lock;
    u32 owner_signal;        // F_SETSIG
    s32 async_fd;            // [async queue lock] the number that O_ASYNC was set through
    struct list async_link;  // [async queue lock] linked while O_ASYNC is set
};

// A new file without a name: eventfd, pipe end, socket. flags are O_* (access mode and status).
// => one reference, or ERR_PTR(-ENFILE, -ENOMEM). The caller sets FMODE_NO_SEEK | FMODE_STREAM with
//    file_set_stream, and f->ino when two files share one.
struct file *file_alloc(const struct file_ops *ops, unsigned flags, void *data);
static inline void file_set_stream(struct file *f) { f->fmode |= FMODE_NO_SEEK | FMODE_STREAM; }
// Out of line: kernel/mm holds files too and knows only their names (mm/mm.h).
void file_get(struct file *f);
void file_put(struct file *f);
void file_release_last(struct file *f);
u64 file_count(void);  // open files in the machine
u64 file_max(void);
// Implemented by epoll.c: the file is going away; drop the watches on it.
void epoll_file_released(struct file *f) __weak;

// Open files with O_ASYNC (async.c): whoever has news of input (POLLIN) or room (POLLOUT) sends SIGIO to the
// owners. => any context that may take spinlocks
struct async_queue {
    struct spinlock lock;
    struct list files;  // [lock]
};
void async_queue_init(struct async_queue *q);
void async_set(struct file *f, int fd, bool on);
void async_notify_slow(struct async_queue *q, u32 events);
static inline void async_notify(struct async_queue *q, u32 events)
{
    if (unlikely(!list_empty(&q->files)))
        async_notify_slow(q, events);
}

// ---------------------------------------------------------------------------------- descriptors

// A borrowed file. need_put is false when nobody else can close it meanwhile (table not shared).
struct fd {
    struct file *file;  // NULL: -EBADF
    bool need_put;
};
static inline void fd_put(struct fd f)
{
    if (f.need_put)
        file_put(f.file);
}

#define FD_INLINE 64
struct fd_array {
    u32 max;  // a multiple of 64
    struct file **files;
    u64 *open, *cloexec, *full;
    struct fd_array *old;  // outgrown, kept for readers
};

struct file_table {
    u32 refcount;  // atomic
    struct spinlock lock;
    struct fd_array *array;  // [lock to change]
    u32 next_free;           // [lock] no free number below
    struct fd_array first;
    u64 first_bits[3];
    struct file *first_files[FD_INLINE];
};

struct fd fd_get_shared(int fd);
struct fd fd_drop_path(struct fd f);
struct fd fd_get(int fd);      // not for O_PATH descriptors (NULL)
struct fd fd_get_raw(int fd);  // O_PATH too
static inline bool files_are_shared(const struct file_table *t)
{
    return atomic_load_relaxed(&t->refcount) != 1;
}
// The file of a number in the caller's own table that nobody shares. => NULL: none
static inline struct file *fd_borrow(const struct file_table *t, int fd)
{
    const struct fd_array *a = t->array;
    return likely((u32)fd < a->max) ? a->files[(u32)fd] : NULL;
}
static inline struct fd fd_get_raw_quick(int fd)
{
    const struct file_table *t = current->files;
    if (unlikely(files_are_shared(t)))
        return fd_get_shared(fd);
    return (struct fd){fd_borrow(t, fd), false};
}
static inline struct fd fd_get_quick(int fd)  // fd_get for the few paths where a call counts
{
    struct fd f = fd_get_raw_quick(fd);
    return likely(f.file) && unlikely(f.file->fmode & FMODE_PATH) ? fd_drop_path(f) : f;
}
struct file *fd_get_file(int fd);  // a real reference, or NULL; not O_PATH

// Lowest free number >= min, reserved; O_CLOEXEC of flags is kept. => -EMFILE, -ENOMEM
int fd_alloc_from(unsigned min, unsigned flags);
static inline int fd_alloc(unsigned flags) { return fd_alloc_from(0, flags); }
void fd_install(int fd, struct file *f);  // takes over the caller's reference
void fd_cancel(int fd);                   // gives a reserved number back
// fd_alloc and fd_install in one; on error the caller keeps its reference.
int fd_new(struct file *f, unsigned flags);
int fd_close(int fd);  // close(2)

// Another process's descriptors (/proc/PID/fd, pidfd_getfd). NULL when there is none.
struct file *files_get_file(struct file_table *t, int fd);  // with a reference; O_PATH too
int files_next_fd(struct file_table *t, int from);          // next open number >= from, or -1
bool files_is_cloexec(struct file_table *t, int fd);
// A thread's tables, referenced, or NULL; for looking at other threads.
struct file_table *files_of_thread(struct thread *t);
void files_put(struct file_table *t);
struct fs_context *fs_of_thread(struct thread *t);
void fs_context_put(struct fs_context *fs);

// ---------------------------------------------------------------------------------- inodes

struct kstat {
    u64 ino, size, blocks;  // blocks of 512 bytes
    u32 mode, nlink, uid, gid;
    u32 dev, rdev;  // MAKE_DEV form
    u32 blksize;
    u64 atime_ns, mtime_ns, ctime_ns, btime_ns;  // since the epoch; btime 0: unknown
};

struct dir_context {
    u64 pos;  // cookie of the next entry; 0 and 1 are "." and "..", which the VFS emits
    // => false: the buffer is full, stop
    bool (*emit)(struct dir_context *ctx, const char *name, unsigned len, u64 ino, unsigned type,
                 u64 next);
};
// Reports one entry; next is the cookie behind it (telldir/d_off). False: stop and return.
static inline bool dir_emit(struct dir_context *ctx, const char *name, unsigned len, u64 ino,
                            unsigned type, u64 next)
{
    if (!ctx->emit(ctx, name, len, ino, type, next))
        return false;
    ctx->pos = next;
    return true;
}

// Operations of a file system on its inodes. NULL means "in memory, the generic way".
struct inode_ops {
    // Directories that lie on something. lookup: the inode for a name that memory does not have,
    // with a reference; ERR_PTR(-ENOENT). *keep (true on entry): whether the name may be cached.
    struct inode *(*lookup)(struct inode *dir, const char *name, unsigned len, bool *keep);
    // Brings all names in as children (dentry_add_stub, dentry_add_child), once. Called with dir->lock held.
    int (*load)(struct dentry *dir);
    // The inode of a child that was added as a stub.
    struct inode *(*instantiate)(struct inode *dir, struct dentry *stub);
    // Names that are never cached (PIDs), emitted behind the cached ones; ctx->pos starts at 0 here.
    int (*readdir)(struct inode *dir, struct dir_context *ctx);
    // Makes an inode for a new name. NULL: nothing can be made here (-EPERM).
    struct inode *(*make)(struct inode *dir, u32 mode, u32 rdev);
    // Symbolic links whose text is not inode->link. => length (not terminated) or -errno
    int (*readlink)(struct inode *inode, char *buf, size_t size);
    // Links that lead to a place without a text (/proc/PID/exe, fd/N): a referenced dentry or ERR_PTR.
    struct dentry *(*follow)(struct inode *inode);
    void (*getattr)(struct inode *inode,
                    struct kstat *st);               // corrects what the generic part filled
    int (*set_size)(struct inode *inode, u64 size);  // truncate of a regular file
    // File systems whose truth is on a disk: told before memory changes, so that a failure changes nothing. Called with
    // the directories' locks held. An inode from `make` comes to exist with its first name (or without one: make_orphan).
    int (*add_name)(struct inode *dir, const char *name, unsigned len, struct inode *inode);
    int (*remove_name)(struct inode *dir, struct dentry *victim);
    int (*rename)(struct dentry *from_dir, struct dentry *old, struct dentry *to_dir,
                  const char *name, unsigned len, struct dentry *over, bool exchange);
    int (*make_orphan)(struct inode *dir, struct inode *inode);
    void (*changed)(
        struct inode *inode);  // mode, owner, times, size or contents: to be written back some day
    // Extended attributes that lie on a disk: brings them into inode->xattrs, once; makes the disk have what is there.
    int (*load_xattrs)(struct inode *inode);
    int (*store_xattrs)(struct inode *inode);
    // A page of the cache that is about to be written, referenced, in the tree, its place on the disk promised; when all of it will be
    // written (whole) perhaps a fresh one that is not in the tree yet.
    struct page *(*page_for_write)(struct inode *inode, u64 index, bool whole);
    // Now `moved` bytes have been, or copying failed with -errno. => moved, or why a fresh page could not take its place
    ssize_t (*page_written)(struct inode *inode, struct page *p, u64 index, ssize_t moved);
    void (*evict)(struct inode *inode);  // no name and no user any more
};

enum inode_flags {
    I_COMPLETE = 1,   // [lock] directory: every name is in memory
    I_EPHEMERAL = 2,  // made by a dynamic directory; its children are not cached either
    I_DEAD = 4,       // [tree lock] directory removed: nothing can be made in it
    I_APPEND_ONLY = 8,
    I_IMMUTABLE = 16,
    I_CHANGED = 32,     // [lock] the contents differ from the image
    I_HAS_OBJECT = 64,  // object is initialised
    I_IMAGE = 128,      // contents lie in the root image (rootfs.c)
    I_NO_ATIME = 256,
    I_ANON = 512,     // stands for a file without a name (file_dentry)
    I_VOLUME = 1024,  // contents come from a disk by way of the page cache (volume.c)
    I_XATTRS = 2048,  // [lock] inode->xattrs holds what the disk has
    // Several names in the image: stays in memory while it has one, since another name must not find the image's old state. Holds
    // a reference. [tree lock]
    I_PINNED = 4096,
};

// Seals of a memfd (fcntl(2)).
#define F_SEAL_SEAL 1u
#define F_SEAL_SHRINK 2u
#define F_SEAL_GROW 4u
#define F_SEAL_WRITE 8u
#define F_SEAL_FUTURE_WRITE 16u
#define F_SEAL_EXEC 32u

struct inode {
    u32 refcount;   // atomic
    u32 mode;       // [lock]
    u32 uid, gid;   // [lock]
    u32 nlink;      // [tree lock]
    u32 flags;      // [lock] I_*
    u32 rdev;       // MAKE_DEV form
    s32 n_writers;  // atomic: > 0 open for writing so often, < 0 being executed
    u64 ino;
    struct superblock *sb;
    const struct inode_ops *ops;
    const struct file_ops *fops;                 // of opened files
    u64 atime_ns, mtime_ns, ctime_ns, btime_ns;  // [lock]
    struct mutex lock;                           // directories: names; files: size and writes
    void *data;                       // of the file system; a u64 argument for generated files
    struct file_lock_context *locks;  // locks.c
    struct xattr *xattrs;             // [lock] xattr.c
    void *watches;                    // inotify.c; NULL when nobody watches
    u32 seals;                        // [lock] memfd
    bool atime_due;                   // the access time is a day old: the next read sets it
    union {
        struct {                   // directories
            struct list children;  // [tree lock] in cookie order
            struct dentry **hash;  // [tree lock] NULL while small
            u32 hash_mask;
            u32 n_children;       // [tree lock]
            u64 next_cookie;      // [tree lock]
            struct dentry *self;  // the one dentry of a directory, not counted
            u32 n_misses;         // look-ups that had to ask below
        } dir;
        struct {                      // regular files
            struct vm_object object;  // I_HAS_OBJECT; size_bytes is the file's size
            u64 image_pages;          // [lock] pages that still shine through from below
            u64 image_blocks;         // 512-byte blocks below
            u64 charged;              // [lock] pages counted in sb->n_pages
        } file;
        struct {  // symbolic links
            const char *link;
            u32 link_len;
        } symlink;
        struct {  // FIFOs, sockets
            void *pipe;
            void *socket;
        } special;
    };
};

struct inode *inode_alloc(struct superblock *sb,
                          u32 mode);  // refcount 1, nlink 1, times now; or NULL
static inline void inode_get(struct inode *inode) { atomic_add(&inode->refcount, 1); }
void inode_put(struct inode *inode);
void inode_init_object(struct inode *inode, const struct vm_object_ops *ops, u32 flags, u64 size);
u64 inode_size(const struct inode *inode);
void inode_getattr(struct inode *inode, struct kstat *st);
void inode_touch_ctime(struct inode *inode);
void inode_touch_mtime(struct inode *inode);  // and ctime
void inode_accessed(struct inode *inode);     // relatime
enum { MAY_EXEC = 1, MAY_WRITE = 2, MAY_READ = 4 };
int inode_permission(const struct inode *inode, unsigned mask);  // 0, -EACCES, -EROFS
bool inode_owner_or_capable(const struct inode *inode);
// Writers and executors exclude each other (ETXTBSY).
int inode_get_write(struct inode *inode);
void inode_put_write(struct inode *inode);
int inode_deny_write(struct inode *inode);
void inode_allow_write(struct inode *inode);

// ---------------------------------------------------------------------------------- names

struct dentry {
    u32 refcount;  // atomic; one reference for being in the tree
    u32 hash;
    struct dentry *parent;       // [tree lock] itself at a root; referenced
    struct inode *inode;         // NULL: a stub
    struct superblock *mounted;  // [tree lock] what is mounted here
    struct list sibling;         // [tree lock] parent's children
    struct dentry *hash_next;    // [tree lock]
    u64 cookie;                  // readdir position, grows with each new name
    const char *name;            // [tree lock] NUL-terminated
    u64 stub_ino;                // stub: inode number below
    u32 stub_data;               // stub: DT_* type, or whatever instantiate needs
    u8 name_len;
    u8 in_tree;  // [tree lock]
    char inline_name[38];
};

static inline void dentry_get(struct dentry *d) { atomic_add(&d->refcount, 1); }
void dentry_put(struct dentry *d);
// A dentry that is in no directory; takes over the inode reference. => NULL: no memory
struct dentry *dentry_alloc(struct dentry *parent, const char *name, unsigned len,
                            struct inode *inode);
// Adds a name to a directory. The reference of inode is taken over (on error too).
// => a new reference to the dentry, or ERR_PTR(-EEXIST, -ENOMEM, -ENOENT for a removed directory)
struct dentry *dentry_add_child(struct dentry *dir, const char *name, unsigned len,
                                struct inode *inode);
// Adds a name whose inode is made when it is first walked to; a name that exists is left alone. => 0, -ENOMEM
int dentry_add_stub(struct dentry *dir, const char *name, unsigned len, u64 ino, u32 data);
// Absolute path as seen from root (NULL: the real root). => start within buf, or ERR_PTR(-ENAMETOOLONG)
// A removed name gets " (deleted)" behind it; a place outside root "(unreachable)" before it.
char *dentry_path(struct dentry *d, struct dentry *root, char *buf, size_t size);

// ---------------------------------------------------------------------------------- path walk

enum lookup_flags {
    LOOKUP_FOLLOW = 1,     // follow a symbolic link at the end
    LOOKUP_DIRECTORY = 2,  // -ENOTDIR otherwise
    LOOKUP_EMPTY = 4,      // "" is the start directory or descriptor itself
    LOOKUP_NO_XDEV = 8,    // openat2(2) RESOLVE_*
    LOOKUP_NO_MAGICLINKS = 16,
    LOOKUP_NO_SYMLINKS = 32,
    LOOKUP_BENEATH = 64,
    LOOKUP_IN_ROOT = 128,
    LOOKUP_KERNEL = 256,  // no permission checks, from the real root
};
// A path copied in from the user; short ones need no allocation.
struct pathname {
    char *text;
    size_t len;
    char inline_text[224];
};
int pathname_get(struct pathname *p,
                 uptr_t user);  // -EFAULT, -ENAMETOOLONG, -ENOMEM; "" is allowed
void pathname_put(struct pathname *p);
// => *out referenced, or -errno as path_resolution(7) tells.
int vfs_lookup(int dfd, const char *path, unsigned flags, struct dentry **out);
int vfs_lookup_user(int dfd, uptr_t path, unsigned flags, struct dentry **out);
// Makes a node at a path that must not exist: unix sockets bind with S_IFSOCK. umask applied by the caller.
// => *out referenced (may be NULL if not wanted), -EEXIST …
int vfs_mknod(int dfd, const char *path, u32 mode, u32 rdev, struct dentry **out);
int vfs_unlink(int dfd, const char *path, bool directory);
u32 current_umask(void);

// ---------------------------------------------------------------------------------- files by path

struct file *file_open(int dfd, const char *path, unsigned flags,
                       u32 mode);  // as openat(2), or ERR_PTR
// Opens d itself (no walk); takes its own reference.
struct file *file_open_dentry(struct dentry *d, unsigned flags);
// For the kernel itself: from the real root, no permission checks.
struct file *file_open_kernel(const char *path, int flags);
ssize_t file_read_kernel(struct file *f, void *buf, size_t len, loff_t pos);
ssize_t file_write_kernel(struct file *f, const void *buf, size_t len, loff_t pos);
// put_file.c: writes a whole file, or its end, from kernel memory; makes the folders above it. mode: permission bits.
// => 0, -EINVAL: not absolute, or as open(2) and write(2)
int vfs_put_file(const char *path, const void *bytes, size_t n, u32 mode, bool append) __weak;
struct vm_object *file_object(struct file *f);  // pages of a regular file, with a reference; NULL
bool file_executable(struct file *f);  // regular, x permission for the caller, mount not noexec
int file_deny_write(struct file *f);   // while it is executed: 0, -ETXTBSY
void file_allow_write(struct file *f);
char *file_path(struct file *f, char *buf,
                size_t size);  // start within buf; ERR_PTR(-ENAMETOOLONG)
// The dentry of any open file, referenced; one is made up for nameless files. ERR_PTR(-ENOMEM)
struct dentry *file_dentry(struct file *f);
void file_getattr(struct file *f, struct kstat *st);
// mm: what mmap(2) of fd maps. => 0 with both referenced; *may_flags: which of VM_MAYREAD, VM_MAYWRITE,
// VM_MAYEXEC stay; or -EBADF, -EACCES, -ENODEV, -EPERM (seals, noexec).
long file_mmap_object(int fd, int prot, int flags, struct file **file, struct vm_object **obj,
                      u64 *may_flags);
void file_identity(struct file *f, u32 *dev, u64 *ino);  // for /proc/PID/maps
u64 file_size(struct file *f);
loff_t vfs_lseek_generic(struct file *f, loff_t offset, int whence, u64 size);
loff_t lseek_fixed(struct file *f, loff_t offset,
                   int whence);  // stays at 0 (/dev/null, ttys differ)

// Generic reads and writes of files whose pages are in inode->file.object.
// read(2) and write(2) by ->read and ->write, of user memory: what a quick path falls back on.
long read_by_uio(struct file *f, uptr_t buf, size_t len) __noinline;
long write_by_uio(struct file *f, uptr_t buf, size_t len) __noinline;
ssize_t object_read(struct file *f, struct uio *to, loff_t *pos);
ssize_t object_write(struct file *f, struct uio *from, loff_t *pos);
extern const struct file_ops regular_file_ops, directory_file_ops;
extern const struct file_ops fifo_file_ops __weak;  // pipe.c: open, read, write … of a named pipe

// ---------------------------------------------------------------------------------- process context

struct fs_context {
    u32 refcount;  // atomic
    u32 umask;
    struct dentry *root, *cwd;  // [tree lock] referenced
};
struct dentry *fs_get_root(struct fs_context *fs);  // referenced
struct dentry *fs_get_cwd(struct fs_context *fs);
extern struct dentry *root_dentry;  // of the real root

// Gives a new user thread its file table and root, with descriptors 0, 1 and 2 on /dev/console
// (or /dev/null when there is none). cwd NULL: "/". => 0, -errno
int files_init_process(struct thread *t, const char *cwd);

// ---------------------------------------------------------------------------------- mounts

enum superblock_flags {  // MS_* of mount(2)
    SB_RDONLY = 1,
    SB_NOSUID = 2,
    SB_NODEV = 4,
    SB_NOEXEC = 8,
    SB_NOSYMFOLLOW = 256,
    SB_NOATIME = 1024,
    SB_NODIRATIME = 2048,
    SB_RELATIME = 1 << 21,
    SB_STRICTATIME = 1 << 24,
    SB_EXPIRING = 1 << 27,   // marked by MNT_EXPIRE and not used since
    SB_NO_CREATE = 1 << 28,  // generated: nothing can be made or removed
    SB_DETACHED = 1 << 29,
};
struct superblock;
struct statfs_counts {
    u64 block_bytes, blocks, free, available, inodes, free_inodes;
};
struct superblock_ops {
    void (*statfs)(struct superblock *sb, struct statfs_counts *c);
    int (*sync)(struct superblock *sb);  // everything, durably
    int (*remount)(struct superblock *sb, bool read_only);
};
struct superblock {
    u32 dev;       // st_dev, MAKE_DEV form
    u32 flags;     // SB_*
    u32 magic;     // statfs f_type
    u32 n_active;  // atomic: open files, roots and working directories in it
    const char *type;
    char *source;
    char *options;
    struct dentry *root;
    struct dentry *mounted_on;        // [tree lock] NULL: the root
    u64 next_ino;                     // atomic
    u64 n_pages, max_pages;           // atomic; 0: no limit
    u64 n_inodes, max_inodes;         // atomic
    const struct inode_ops *dir_ops;  // of directories made in it
    void *data;
    void (*destroy)(struct superblock *sb);
    const struct superblock_ops *ops;  // NULL: in memory
    struct list link;                  // [mount mutex] all mounts, in mounting order
    s32 mount_id;
};
struct superblock *superblock_alloc(const char *type, u32 magic, u32 flags);  // or NULL
int vfs_mount(struct superblock *sb, const char *path);  // makes the directory if it is absent
// volume.c, in the kernel with disks. Mounts an ext4 file system; source: /dev/NAME, NAME or serial:TEXT.
// => ERR_PTR(-ENOTBLK, -ENXIO, -EBUSY, -EINVAL, -EUCLEAN, -EROFS, -EIO, -ENOMEM), told in the log
struct superblock *volume_create(const char *source, u32 flags) __weak;
void volumes_sync(void) __weak;      // sync(2)
void volumes_shutdown(void) __weak;  // the machine ends: everything durable and marked clean
int volume_fsync(struct file *f, bool data_only) __weak;
int volume_write_range(struct inode *inode, u64 start, u64 end) __weak;  // sync_file_range(2)
void volume_read_ahead(struct inode *inode, u64 start, u64 end) __weak;  // readahead(2)
const struct file_ops *blkdev_find(u32 rdev) __weak;                     // open of an S_IFBLK inode
void blockdev_init(void) __weak;  // finds partitions, makes /dev nodes, /proc and /sys files
// Sets the name of an open mount in the list of mounts; used by init for the run configuration.
// The root image on the disk that `root=` names takes the place of the empty root. Ends the boot when it cannot.
void vfs_root_from_disk(void) __weak;
int vfs_mount_volume(const char *source, const char *path, bool read_only) __weak;
struct superblock *tmpfs_create(u64 max_bytes, u32 root_mode);
// Text of /proc/PID/mounts, mountinfo as seen from root.
void mounts_show(struct seq_buf *out, bool mountinfo);
void filesystems_show(struct seq_buf *out);

// ---------------------------------------------------------------------------------- devices

// Character devices: open of an S_IFCHR inode with this number uses ops. n: how many minors.
int chrdev_register(u32 major, u32 first_minor, u32 n, const struct file_ops *ops);
const struct file_ops *chrdev_find(u32 rdev);

// ---------------------------------------------------------------------------------- generated files

// A file whose text is made when it is read. arg comes from its gen_entry; below a dynamic directory
// (/proc/PID) it is what that directory's lookup gave, unless the entry has one of its own.
struct gen_ops {
    int (*show)(struct seq_buf *out, u64 arg);  // 0 or -errno (then read fails with it)
    // data is NUL-terminated. => bytes taken or -errno
    ssize_t (*write)(u64 arg, const char *data, size_t len);
    int (*readlink)(u64 arg, char *buf, size_t size);  // symlinks: length or -errno
    struct dentry *(*follow)(u64 arg);                 // magic links: referenced dentry or ERR_PTR
    const struct file_ops *fops;                       // full control; argument by file_gen_arg(f)
};
struct gen_entry;
struct gen_dir_ops {
    // Names that exist only now (PIDs, descriptors): fills *out (name is ignored). => 0, -ENOENT
    // out->children may be a static table: it is listed as usual, with out->arg as the argument.
    int (*lookup)(u64 arg, const char *name, unsigned len, struct gen_entry *out);
    // Emits them with dir_emit(ctx, …, next) from ctx->pos (starts at 0) on; inode number 0.
    int (*readdir)(u64 arg, struct dir_context *ctx);
    void (*owner)(u64 arg, u32 *uid, u32 *gid);  // of the directory and all below
};
// One name. Tables are static, end with name == NULL, and cost nothing until looked at.
struct gen_entry {
    const char *name;
    u32 mode;  // type and permissions; type 0: S_IFREG, or S_IFDIR with children/dir
    u32 rdev;  // S_IFCHR, S_IFBLK
    const struct gen_ops *ops;
    union {
        const struct gen_entry *children;  // directory: static names
        const char *link;                  // S_IFLNK: its text, or NULL when ops make it
    };
    const struct gen_dir_ops *dir;  // directory: dynamic names, tried after the static ones
    u64 arg;
};
#define GEN_DIR(n, m, table)                                    \
    {                                                           \
        .name = (n), .mode = S_IFDIR | (m), .children = (table) \
    }
#define GEN_DYN(n, m, table, dops)                                             \
    {                                                                          \
        .name = (n), .mode = S_IFDIR | (m), .children = (table), .dir = (dops) \
    }
#define GEN_FILE(n, m, o)                              \
    {                                                  \
        .name = (n), .mode = S_IFREG | (m), .ops = (o) \
    }
#define GEN_FILE_ARG(n, m, o, a)                                        \
    {                                                                   \
        .name = (n), .mode = S_IFREG | (m), .ops = (o), .arg = (u64)(a) \
    }
#define GEN_LINK(n, text)                                   \
    {                                                       \
        .name = (n), .mode = S_IFLNK | 0777, .link = (text) \
    }
#define GEN_LINK_OPS(n, o)                              \
    {                                                   \
        .name = (n), .mode = S_IFLNK | 0777, .ops = (o) \
    }
#define GEN_CHR(n, m, major, minor)                                        \
    {                                                                      \
        .name = (n), .mode = S_IFCHR | (m), .rdev = MAKE_DEV(major, minor) \
    }
#define GEN_END      \
    {                \
        .name = NULL \
    }

// A file system over a static table, mounted at path: procfs, sysfs, devtmpfs. root->name is unused.
// SB_NO_CREATE in flags for proc and sys; /dev leaves it out: names can be made and removed in memory.
int gen_mount(const char *path, const char *type, u32 magic, u32 flags,
              const struct gen_entry *root);
// Adds one entry at run time to a generated or in-memory directory (parents are made).
// The entry is copied; what it points to must stay. => 0, -errno
int gen_create(const char *path, const struct gen_entry *entry);
int gen_remove(const char *path);
u64 inode_gen_arg(const struct inode *inode);
static inline u64 file_gen_arg(const struct file *f) { return inode_gen_arg(f->inode); }

// ---------------------------------------------------------------------------------- notification

// IN_* bits (inotify(7)). inotify.c implements inotify_event; it is called only when d's inode or its
// directory has watches. => may sleep
enum {
    IN_ACCESS = 1,
    IN_MODIFY = 2,
    IN_ATTRIB = 4,
    IN_CLOSE_WRITE = 8,
    IN_CLOSE_NOWRITE = 16,
    IN_OPEN = 32,
    IN_MOVED_FROM = 64,
    IN_MOVED_TO = 128,
    IN_CREATE = 256,
    IN_DELETE = 512,
    IN_DELETE_SELF = 1024,
    IN_MOVE_SELF = 2048,
    IN_UNMOUNT = 0x2000,
    IN_NO_NAME = 0x08000000,  // never told: the file has no name any more (IN_EXCL_UNLINK)
    IN_ISDIR = 0x40000000,
};
// dir_event: for the directory's watches with name; else for the inode's own watches.
void inotify_event(struct inode *watched, u32 mask, u32 cookie, const char *name) __weak;
void inotify_inode_gone(struct inode *inode) __weak;  // evict: IN_IGNORED to the watchers
void fs_notify_slow(struct dentry *d, u32 mask, u32 cookie);
static inline void fs_notify(struct dentry *d, u32 mask)
{
    if (unlikely((d->inode && d->inode->watches) ||
                 (d->parent->inode && d->parent->inode->watches)))
        fs_notify_slow(d, mask, 0);
}

// ---------------------------------------------------------------------------------- locks

void locks_file_closed(struct file *f, const struct file_table *owner);  // close(2): POSIX locks go
void locks_file_released(struct file *f);  // last reference: flock and OFD locks go
void locks_show(struct seq_buf *out);      // /proc/locks
void locks_inode_gone(struct inode *inode);
void xattrs_free(struct inode *inode);

// ---------------------------------------------------------------------------------- bring-up

void vfs_init(
    void);  // caches, the root image or an empty root, /tmp /run /dev/shm; noboot on a bad image
// /dev, /proc and /sys over static tables, and the terminal. After vfs_init; /dev/shm is mounted by it.
void special_init(void);
void cgroup_init(void);          // cgroup.c: /sys/fs/cgroup
void fs_init_full(void) __weak;  // full.c: after special_init, before the configuration is read
void vfs_init_late(void);        // after /dev, /proc and /sys are mounted: /tmp, /run, /dev/shm
void vfs_verify(void);
