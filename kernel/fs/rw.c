// SPDX-License-Identifier: BSD-2-Clause
// rw.c: reading and writing: the pages of regular files, and the calls read(2), pread(2), readv(2), … .
//
// A regular file's bytes are the pages of its vm_object, which mappings share. A read copies from the
// pages that are there; holes read as zeros without making pages. A write takes inode->lock, makes the
// pages it needs, and moves the file's size only when the bytes are in, so that a reader never sees a
// size without the data. Copying from user memory may fault while inode->lock is held: mm never
// takes that lock, so there is no cycle.
//
// sync(2) and its relatives have nothing to do: every file system here is memory, and memory is as
// stable as it gets. They check their arguments and succeed, as tmpfs does on Linux.
#include "fs/calls.h"
#include "fs/vfs_internal.h"

#include "mm/mman.h"

#define RLIMIT_FSIZE 1
#define SCHED_PAGES 16  // pages between two resched points

// ------------------------------------------------------------------------------- pages of files

// The page for reading: NULL is a hole.
static struct page *page_for_read(struct inode *inode, u64 index)
{
    struct vm_object *obj = &inode->file.object;
    struct page *p = vm_object_find(obj, index);
    if (!p && (inode->flags & I_VOLUME))
        return vm_object_get_page(obj, index, false);
    if (p || (obj->flags & VMO_ANON) || index >= inode->file.image_pages)
        return p;
    return rootfs_page_is_hole(inode, index) ? NULL : vm_object_get_page(obj, index, false);
}

// Somebody wants to hear of reads and writes (inotify(7)).
static inline bool watched(const struct file *f)
{
    return f->inode->watches || f->dentry->parent->inode->watches;
}

ssize_t object_read(struct file *f, struct uio *to, loff_t *ppos)
{
    struct inode *inode = f->inode;
    u64 pos = *ppos, size = READ_ONCE(inode->file.object.size_bytes);
    ssize_t done = 0;
    int err = 0;
    while (to->remaining && pos < size) {
        size_t off = pos % PAGE_SIZE;
        size_t n = MIN(MIN(PAGE_SIZE - off, to->remaining), size - pos);
        struct page *p = page_for_read(inode, page_index(pos));
        if (unlikely(IS_ERR(p))) {
            err = PTR_ERR(p) == -EFAULT ? 0 : (int)PTR_ERR(p);  // truncated meanwhile: end of file
            break;
        }
        ssize_t moved;
        if (likely(p != NULL)) {
            moved = uio_copy_to(to, (char *)page_address(p) + off, n);
            page_put(p);
        } else {
            moved = uio_zero(to, n);
        }
        if (unlikely(moved < 0)) {
            err = (int)moved;
            break;
        }
        pos += moved;
        done += moved;
        if (unlikely((size_t)moved < n))
            break;
        if (page_index(pos) % SCHED_PAGES == 0 && to->remaining) {
            sched_point();
            if (thread_kill_pending())
                break;
            size = READ_ONCE(inode->file.object.size_bytes);
        }
    }
    *ppos = pos;
    file_accessed(f);
    if (unlikely(watched(f)) && done)
        fs_notify_slow(f->dentry, IN_ACCESS, 0);
    return done ? done : err;
}

// The page for writing, with a reference. Beyond the size it is put into the tree at once, which
// vm_object_get_page would refuse. whole: every byte will be overwritten, so it need not be cleared.
static struct page *page_for_write(struct inode *inode, u64 index, bool whole)
{
    struct vm_object *obj = &inode->file.object;
    if (inode->flags & I_VOLUME)
        return inode->ops->page_for_write(inode, index, whole);
    for (;;) {
        struct page *p = vm_object_find(obj, index);
        if (p && !(p->flags & PG_RESERVED))
            return p;
        if (p)
            page_put(p);
        if (p || index < inode->file.image_pages)
            return vm_object_get_page(obj, index, true);
        if (!sb_may_add_page(inode->sb))
            return ERR_PTR(-ENOSPC);
        p = page_alloc(0, whole ? PAGE_USER : PAGE_USER | PAGE_ZERO);
        if (!p)
            return ERR_PTR(-ENOMEM);
        p->flags |= PG_DIRTY;
        page_get(p);
        int err = whole ? 0 : vm_object_insert(obj, index, p);
        if (!err)
            return p;
        page_put(p);
        page_put(p);
        if (err != -EEXIST)
            return ERR_PTR(err);
    }
}

// Writes at most to the end of one page. => bytes, -errno
static ssize_t write_page(struct inode *inode, struct uio *from, u64 pos)
{
    struct vm_object *obj = &inode->file.object;
    size_t off = pos % PAGE_SIZE, n = MIN(PAGE_SIZE - off, from->remaining);
    u64 index = page_index(pos);
    bool whole = n == PAGE_SIZE;
    struct page *p = page_for_write(inode, index, whole);
    if (IS_ERR(p))
        return PTR_ERR(p);
    char *to = page_address(p);
    ssize_t moved = uio_copy_from(from, to + off, n);
    if (unlikely(inode->flags & I_VOLUME)) {
        moved = inode->ops->page_written(inode, p, index, moved);
    } else if (whole && !(p->flags & PG_CACHE)) {  // fresh, not yet in the tree
        int err = moved < 0 ? (int)moved : 0;
        if (!err && (size_t)moved < PAGE_SIZE)
            memset(to + moved, 0, PAGE_SIZE - moved);
        if (!err)
            err = vm_object_insert(obj, index, p);
        if (err == -EEXIST) {  // a fault was faster: its page gets the bytes
            struct page *other = vm_object_get_page(obj, index, true);
            err = IS_ERR(other) ? (int)PTR_ERR(other) : 0;
            if (!err) {
                memcpy(page_address(other), to, moved);
                page_put(other);
            }
            page_put(p);
        } else if (err) {
            page_put(p);
        }
        moved = err ? err : moved;
    } else {
        page_set_flags(p, PG_DIRTY);
    }
    page_put(p);
    return moved;
}

// Bytes between the old end of the file and the end of its page may hold what a mapping wrote there.
static void clear_old_tail(struct inode *inode, u64 size)
{
    if (size % PAGE_SIZE == 0)
        return;
    struct page *p = inode->flags & I_VOLUME
                         ? inode->ops->page_for_write(inode, page_index(size), false)
                         : vm_object_find(&inode->file.object, page_index(size));
    if (!p || IS_ERR(p))
        return;
    if (!(p->flags & PG_RESERVED))
        memset((char *)page_address(p) + size % PAGE_SIZE, 0, PAGE_SIZE - size % PAGE_SIZE);
    if (inode->flags & I_VOLUME)
        inode->ops->page_written(inode, p, page_index(size), 0);
    page_put(p);
}

static void send_sigxfsz(void)
{
    if (current->process)
        signal_send_thread(current, &(struct siginfo){.signo = SIGXFSZ, .code = SI_KERNEL});
}

// RLIMIT_FSIZE and the largest offset cut the write; a write that cannot start fails. [inode->lock]
static int write_limits(struct uio *from, u64 pos)
{
    const struct process *p = current->process;
    u64 limit = p ? p->rlimits[RLIMIT_FSIZE].cur : UINT64_MAX;
    if (unlikely(limit != UINT64_MAX)) {
        if (pos >= limit) {
            send_sigxfsz();
            return -EFBIG;
        }
        from->remaining = MIN(from->remaining, limit - pos);
    }
    if (unlikely(pos >= MAX_FILE_SIZE))
        return -EFBIG;
    from->remaining = MIN(from->remaining, MAX_FILE_SIZE - pos);
    return 0;
}

// Takes set-user-ID and set-group-ID away when somebody else changes the file.
int inode_kill_privs_locked(struct inode *inode)
{
    u32 mode = inode->mode;
    if (likely(!(mode & (S_ISUID | S_ISGID))) || fs_capable(CAP_FSETID))
        return 0;
    if ((mode & S_ISGID) && (mode & 010))
        mode &= ~S_ISGID;
    inode->mode = mode & ~S_ISUID;
    return 0;
}

ssize_t object_write(struct file *f, struct uio *from, loff_t *ppos)
{
    struct inode *inode = f->inode;
    struct vm_object *obj = &inode->file.object;
    ssize_t done = 0;
    mutex_lock_quick(&inode->lock);
    u64 pos = *ppos, size = obj->size_bytes;
    if (((f->flags & O_APPEND) && !(from->flags & RWF_NOAPPEND)) || (from->flags & RWF_APPEND))
        pos = size;
    ssize_t err = from->remaining ? write_limits(from, pos) : 0;
    if (!err && unlikely(inode->seals != 0))
        err = memfd_check_write(inode, pos, pos + from->remaining);
    if (err || !from->remaining)
        goto out;
    inode_kill_privs_locked(inode);
    if (pos > size)
        clear_old_tail(inode, size);
    while (from->remaining) {
        ssize_t moved = write_page(inode, from, pos);
        if (unlikely(moved <= 0)) {
            err = moved;
            break;
        }
        pos += moved;
        done += moved;
        if (pos > obj->size_bytes)
            WRITE_ONCE(obj->size_bytes, pos);
        if (unlikely(pos % PAGE_SIZE && from->remaining))
            break;  // user memory ended
        if (page_index(pos) % SCHED_PAGES == 0 && from->remaining) {
            sched_point();
            if (thread_kill_pending())
                break;
        }
    }
    if (done)
        inode->mtime_ns = inode->ctime_ns = now_ns();
    else if (page_index(pos) >= DIV_ROUND_UP(obj->size_bytes, PAGE_SIZE))
        drop_beyond_size(inode);
    *ppos = pos;
    inode_recharge(inode);
out:
    mutex_unlock_quick(&inode->lock);
    if (unlikely(watched(f)) && done)
        fs_notify_slow(f->dentry, IN_MODIFY, 0);
    return done ? done : err;
}

// ------------------------------------------------------------------------------- within one page

static long read_at_by_uio(struct file *f, uptr_t buf, size_t len, loff_t pos);
static long write_at_by_uio(struct file *f, uptr_t buf, size_t len, loff_t pos);

static inline bool in_one_page(loff_t pos, size_t len)
{
    return len - 1 < PAGE_SIZE && ((u64)pos & (PAGE_SIZE - 1)) + len <= PAGE_SIZE;
}

// A read that one page in memory holds whole.
static ssize_t object_read_at_user(struct file *f, uptr_t to, size_t len, loff_t pos)
{
    struct vm_object *obj = &f->inode->file.object;
    bool done = false;
    if (likely(in_one_page(pos, len) && (u64)pos + len <= READ_ONCE(obj->size_bytes) &&
               !watched(f))) {
        struct page *p = vm_object_find(obj, page_index(pos));
        if (likely(p)) {
            done = !copy_to_user(to, (char *)page_address(p) + pos % PAGE_SIZE, len);
            page_put(p);
        }
    }
    if (unlikely(!done))
        return read_at_by_uio(f, to, len, pos);
    file_accessed(f);
    return (ssize_t)len;
}

// A write over bytes of one page that the memory layer holds already, and that nobody wants to hear of.
static ssize_t object_write_at_user(struct file *f, uptr_t from, size_t len, loff_t pos)
{
    struct inode *inode = f->inode;
    struct vm_object *obj = &inode->file.object;
    bool done = false;
    mutex_lock_quick(&inode->lock);
    if (likely(in_one_page(pos, len) && (u64)pos + len <= obj->size_bytes && !watched(f) &&
               !inode->seals && !(inode->mode & (S_ISUID | S_ISGID)) && !(f->flags & O_APPEND) &&
               current->process->rlimits[RLIMIT_FSIZE].cur == UINT64_MAX)) {
        struct page *p = vm_object_find(obj, page_index(pos));
        if (likely(p && !(p->flags & PG_RESERVED)) &&
            likely(!copy_from_user((char *)page_address(p) + pos % PAGE_SIZE, from, len))) {
            p->flags |= PG_DIRTY;
            inode->mtime_ns = inode->ctime_ns = now_ns();
            done = true;
        }
        if (likely(p))
            page_put(p);
    }
    mutex_unlock_quick(&inode->lock);
    return likely(done) ? (ssize_t)len : write_at_by_uio(f, from, len, pos);
}

// ------------------------------------------------------------------------------- regular files

loff_t vfs_lseek_generic(struct file *f, loff_t offset, int whence, u64 size)
{
    loff_t pos;
    switch (whence) {
    case SEEK_SET: pos = offset; break;
    case SEEK_CUR:  // past the largest offset is EINVAL, whatever lseek(2) says of EOVERFLOW
        if (__builtin_add_overflow(f->pos, offset, &pos))
            return -EINVAL;
        break;
    case SEEK_END:
        if (__builtin_add_overflow((loff_t)size, offset, &pos))
            return -EINVAL;
        break;
    case SEEK_DATA:
        if (offset < 0 || (u64)offset >= size)
            return -ENXIO;
        pos = offset;
        break;
    case SEEK_HOLE:
        if (offset < 0 || (u64)offset >= size)
            return -ENXIO;
        pos = (loff_t)size;
        break;
    default: return -EINVAL;
    }
    if (pos < 0)
        return -EINVAL;
    f->pos = pos;
    return pos;
}

loff_t lseek_fixed(struct file *f, loff_t offset, int whence) { return f->pos = 0; }

static u64 next_data(struct inode *inode, u64 index)
{
    u64 data = vm_object_next_data(&inode->file.object, index);
    if (inode->flags & I_IMAGE)
        data = MIN(data, rootfs_next_data(inode, index));
    return data;
}

static u64 next_hole(struct inode *inode, u64 index)
{
    for (;;) {
        u64 hole = vm_object_next_hole(&inode->file.object, index);
        if (!(inode->flags & I_IMAGE))
            return hole;
        u64 below = rootfs_next_hole(inode, hole);
        if (below == hole)
            return hole;
        index = below;
    }
}

static loff_t regular_lseek(struct file *f, loff_t offset, int whence)
{
    u64 size = inode_size(f->inode);
    if (likely(whence != SEEK_DATA && whence != SEEK_HOLE))
        return vfs_lseek_generic(f, offset, whence, size);
    if (offset < 0 || (u64)offset >= size)
        return -ENXIO;
    u64 index = page_index(offset), found;
    if (whence == SEEK_DATA) {
        found = next_data(f->inode, index);
        if (found >= DIV_ROUND_UP(size, PAGE_SIZE))
            return -ENXIO;
    } else {
        found = MIN(next_hole(f->inode, index), DIV_ROUND_UP(size, PAGE_SIZE));
    }
    u64 pos = found == index ? (u64)offset : found * PAGE_SIZE;
    return f->pos = MIN(pos, size);
}

static struct vm_object *regular_mmap_object(struct file *f, int prot, int flags)
{
    return file_object(f);
}

static int memory_fsync(struct file *f, bool data_only) { return 0; }

const struct file_ops regular_file_ops = {
    .read = object_read,
    .write = object_write,
    .read_at_user = object_read_at_user,
    .write_at_user = object_write_at_user,
    .lseek = regular_lseek,
    .mmap_object = regular_mmap_object,
    .fsync = memory_fsync,
    .fallocate = regular_fallocate,
};

// ------------------------------------------------------------------------------- read and write calls

// The position lock is needed when somebody else may use the same open file.
static inline bool needs_pos_lock(const struct file *f)
{
    return !(f->fmode & (FMODE_STREAM | FMODE_NO_SEEK)) && f->refcount > 1;
}

// No read or write may reach past the largest offset, not even one that would move nothing.
static inline bool passes_last_offset(const struct uio *u, const loff_t *pos)
{
    return (s64)((u64)*pos + u->remaining) < 0;
}

static inline ssize_t do_read(struct file *f, struct uio *to, loff_t *pos)
{
    if (unlikely(!(f->fmode & FMODE_READ)))
        return -EBADF;
    if (unlikely(!f->ops->read || passes_last_offset(to, pos)))
        return -EINVAL;
    return f->ops->read(f, to, pos);
}

static inline ssize_t do_write(struct file *f, struct uio *from, loff_t *pos)
{
    if (unlikely(!(f->fmode & FMODE_WRITE)))
        return -EBADF;
    if (unlikely(!f->ops->write || passes_last_offset(from, pos)))
        return -EINVAL;
    return f->ops->write(f, from, pos);
}

typedef ssize_t (*rw_fn)(struct file *f, struct uio *u, loff_t *pos);

// At the file's own position.
static inline ssize_t rw_at_file_pos(struct file *f, struct uio *u, rw_fn fn)
{
    if (f->fmode & FMODE_STREAM) {
        loff_t none = 0;
        return fn(f, u, &none);
    }
    bool lock = needs_pos_lock(f);
    if (lock)
        mutex_lock(&f->pos_lock);
    loff_t pos = f->pos;
    ssize_t n = fn(f, u, &pos);
    if (n >= 0)
        f->pos = pos;
    if (lock)
        mutex_unlock(&f->pos_lock);
    return n;
}

// Lengths above what one call moves and addresses outside user memory. What the descriptor cannot do comes
// before the bad address. => 0: go on with *len, or -errno
static __noinline long check_odd_range(const struct file *f, uptr_t buf, size_t *len, bool write)
{
    if (*len > USER_END || buf > USER_END - *len) {
        if (!(f->fmode & (write ? FMODE_WRITE : FMODE_READ)))
            return -EBADF;
        return (write ? (void *)f->ops->write : (void *)f->ops->read) ? -EFAULT : -EINVAL;
    }
    *len = MIN(*len, (size_t)MAX_RW_COUNT);
    return 0;
}

static inline bool odd_range(uptr_t buf, size_t len)
{
    return unlikely(len > MAX_RW_COUNT) || unlikely(buf > USER_END - len);
}

// An O_PATH descriptor has neither FMODE_READ nor FMODE_WRITE: do_read and do_write refuse it.
static __always_inline long rw_file(struct file *f, uptr_t buf, size_t len, rw_fn fn)
{
    struct uio u;
    if (odd_range(buf, len)) {
        long err = check_odd_range(f, buf, &len, fn == do_write);
        if (err)
            return err;
    }
    uio_init_user(&u, buf, len);
    return rw_at_file_pos(f, &u, fn);
}

// With a frame of their own, so that the calls below need none for a file with read_user or write_user.
long read_by_uio(struct file *f, uptr_t buf, size_t len) { return rw_file(f, buf, len, do_read); }

long write_by_uio(struct file *f, uptr_t buf, size_t len) { return rw_file(f, buf, len, do_write); }

static __always_inline long read_file(struct file *f, uptr_t buf, size_t len)
{
    if (f->ops->read_user && likely(f->fmode & FMODE_READ) && !odd_range(buf, len))
        return f->ops->read_user(f, buf, len);
    return read_by_uio(f, buf, len);
}

static __always_inline long write_file(struct file *f, uptr_t buf, size_t len)
{
    if (f->ops->write_user && likely(f->fmode & FMODE_WRITE) && !odd_range(buf, len))
        return f->ops->write_user(f, buf, len);
    return write_by_uio(f, buf, len);
}

static __noinline long rw_shared(int fd, uptr_t buf, size_t len, bool write)
{
    struct fd f = fd_get_shared(fd);
    if (unlikely(!f.file))
        return -EBADF;
    long n = write ? write_file(f.file, buf, len) : read_file(f.file, buf, len);
    file_put(f.file);
    return n;
}

long sys_read(int fd, uptr_t buf, size_t len)
{
    const struct file_table *t = current->files;
    if (unlikely(files_are_shared(t)))
        return rw_shared(fd, buf, len, false);
    struct file *f = fd_borrow(t, fd);
    return likely(f) ? read_file(f, buf, len) : -EBADF;
}

long sys_write(int fd, uptr_t buf, size_t len)
{
    const struct file_table *t = current->files;
    if (unlikely(files_are_shared(t)))
        return rw_shared(fd, buf, len, true);
    struct file *f = fd_borrow(t, fd);
    return likely(f) ? write_file(f, buf, len) : -EBADF;
}

static __always_inline long rw_file_at(struct file *f, uptr_t buf, size_t len, loff_t pos, rw_fn fn)
{
    struct uio u;
    if (unlikely(f->fmode & FMODE_NO_SEEK))
        return -ESPIPE;
    if (odd_range(buf, len)) {
        long err = check_odd_range(f, buf, &len, fn == do_write);
        if (err)
            return err;
    }
    uio_init_user(&u, buf, len);
    return fn(f, &u, &pos);
}

static __noinline long read_at_by_uio(struct file *f, uptr_t buf, size_t len, loff_t pos)
{
    return rw_file_at(f, buf, len, pos, do_read);
}

static __noinline long write_at_by_uio(struct file *f, uptr_t buf, size_t len, loff_t pos)
{
    return rw_file_at(f, buf, len, pos, do_write);
}

static __always_inline long read_file_at(struct file *f, uptr_t buf, size_t len, loff_t pos)
{
    if (likely(f->ops->read_at_user && (f->fmode & FMODE_READ) && !odd_range(buf, len) &&
               (s64)((u64)pos + len) >= 0))
        return f->ops->read_at_user(f, buf, len, pos);
    return read_at_by_uio(f, buf, len, pos);
}

static __always_inline long write_file_at(struct file *f, uptr_t buf, size_t len, loff_t pos)
{
    if (likely(f->ops->write_at_user && (f->fmode & FMODE_WRITE) && !odd_range(buf, len) &&
               (s64)((u64)pos + len) >= 0))
        return f->ops->write_at_user(f, buf, len, pos);
    return write_at_by_uio(f, buf, len, pos);
}

static __noinline long rw_shared_at(int fd, uptr_t buf, size_t len, loff_t pos, bool write)
{
    struct fd f = fd_get_shared(fd);
    if (unlikely(!f.file))
        return -EBADF;
    long n = write ? write_file_at(f.file, buf, len, pos) : read_file_at(f.file, buf, len, pos);
    file_put(f.file);
    return n;
}

long sys_pread64(int fd, uptr_t buf, size_t len, loff_t pos)
{
    const struct file_table *t = current->files;
    if (unlikely(pos < 0))
        return -EINVAL;
    if (unlikely(files_are_shared(t)))
        return rw_shared_at(fd, buf, len, pos, false);
    struct file *f = fd_borrow(t, fd);
    return likely(f) ? read_file_at(f, buf, len, pos) : -EBADF;
}

long sys_pwrite64(int fd, uptr_t buf, size_t len, loff_t pos)
{
    const struct file_table *t = current->files;
    if (unlikely(pos < 0))
        return -EINVAL;
    if (unlikely(files_are_shared(t)))
        return rw_shared_at(fd, buf, len, pos, true);
    struct file *f = fd_borrow(t, fd);
    return likely(f) ? write_file_at(f, buf, len, pos) : -EBADF;
}

#define AT_FILE_POS (-1)

static long rw_vector(int fd, uptr_t iov, size_t n_iov, loff_t pos, u32 flags, rw_fn fn)
{
    struct uio u;
    struct uio_vec v;
    struct fd f = fd_get(fd);
    if (!f.file)
        return -EBADF;
    ssize_t n = rw_check_flags(f.file, flags);
    if (!n && pos != AT_FILE_POS && (f.file->fmode & FMODE_NO_SEEK))
        n = -ESPIPE;
    if (!n && !(f.file->fmode & (fn == do_read ? FMODE_READ : FMODE_WRITE)))
        n = -EBADF;
    if (!n) {
        n = uio_init_vec(&u, &v, iov, n_iov);
        u.flags = flags;
        if (n >= 0 && !(fn == do_read ? (void *)f.file->ops->read : (void *)f.file->ops->write))
            n = -EINVAL;
        if (n > 0)
            n = pos == AT_FILE_POS ? rw_at_file_pos(f.file, &u, fn) : fn(f.file, &u, &pos);
        uio_vec_free(&v);
    }
    fd_put(f);
    return n;
}

long sys_readv(int fd, uptr_t iov, size_t n)
{
    return rw_vector(fd, iov, n, AT_FILE_POS, 0, do_read);
}

long sys_writev(int fd, uptr_t iov, size_t n)
{
    return rw_vector(fd, iov, n, AT_FILE_POS, 0, do_write);
}

long sys_preadv(int fd, uptr_t iov, size_t n, loff_t pos, long pos_high)
{
    return pos < 0 ? -EINVAL : rw_vector(fd, iov, n, pos, 0, do_read);
}

long sys_pwritev(int fd, uptr_t iov, size_t n, loff_t pos, long pos_high)
{
    return pos < 0 ? -EINVAL : rw_vector(fd, iov, n, pos, 0, do_write);
}

long sys_preadv2(int fd, uptr_t iov, size_t n, loff_t pos, long pos_high, u32 flags)
{
    return pos < -1 ? -EINVAL : rw_vector(fd, iov, n, pos, flags, do_read);
}

long sys_pwritev2(int fd, uptr_t iov, size_t n, loff_t pos, long pos_high, u32 flags)
{
    return pos < -1 ? -EINVAL : rw_vector(fd, iov, n, pos, flags, do_write);
}

long sys_lseek(int fd, loff_t offset, u32 whence)
{
    struct fd f = fd_get(fd);
    if (!f.file)
        return -EBADF;
    long pos;
    if (whence > SEEK_HOLE) {
        pos = -EINVAL;
    } else if (!f.file->ops->lseek || (f.file->fmode & FMODE_NO_SEEK)) {
        pos = -ESPIPE;
    } else {
        bool lock = needs_pos_lock(f.file);
        if (lock)
            mutex_lock(&f.file->pos_lock);
        pos = f.file->ops->lseek(f.file, offset, (int)whence);
        if (lock)
            mutex_unlock(&f.file->pos_lock);
    }
    fd_put(f);
    return pos;
}

// ------------------------------------------------------------------------------- file to file

#define COPY_CHUNK (16 * PAGE_SIZE)

// Moves up to len bytes from in at *in_pos to out at *out_pos (NULL: its own position).
static __cold ssize_t copy_between(struct file *in, loff_t *in_pos, struct file *out,
                                   loff_t *out_pos, size_t len)
{
    struct page *buffer = page_alloc(4, 0);
    if (!buffer)
        return -ENOMEM;
    ssize_t done = 0, err = 0;
    while (len) {
        struct uio u;
        uio_init_kernel(&u, page_address(buffer), MIN(len, COPY_CHUNK));
        loff_t pos = *in_pos;
        ssize_t n = do_read(in, &u, &pos);
        if (n <= 0) {
            err = n;
            break;
        }
        uio_init_kernel(&u, page_address(buffer), n);
        ssize_t written = out_pos ? do_write(out, &u, out_pos) : rw_at_file_pos(out, &u, do_write);
        if (written < 0) {
            err = written;
            break;
        }
        *in_pos += written;
        done += written;
        len -= written;
        if (written < n || thread_signal_pending())
            break;
        sched_point();
    }
    page_free(buffer, 4);
    return done ? done : err;
}

static long sendfile_files(struct file *out, struct file *in, loff_t *pos, size_t count)
{
    if (!(in->fmode & FMODE_READ) || !(out->fmode & FMODE_WRITE))
        return -EBADF;
    if (in->fmode & FMODE_NO_SEEK)
        return pos ? -ESPIPE : -EINVAL;
    if (!in->inode || S_ISDIR(in->inode->mode) || (out->flags & O_APPEND))
        return -EINVAL;
    if ((pos && *pos < 0) || (ssize_t)count < 0)
        return -EINVAL;
    loff_t at = pos ? *pos : in->pos;
    ssize_t n = copy_between(in, &at, out, NULL, MIN(count, (size_t)MAX_RW_COUNT));
    if (n > 0) {
        if (pos)
            *pos = at;
        else
            in->pos = at;
    }
    return n;
}

__cold long sys_sendfile(int out_fd, int in_fd, uptr_t offset, size_t count)
{
    u64 pos = 0;
    if (offset && get_user_u64(&pos, offset))
        return -EFAULT;
    struct fd in = fd_get(in_fd), out = fd_get(out_fd);
    long n = -EBADF;
    if (in.file && out.file)
        n = sendfile_files(out.file, in.file, offset ? (loff_t *)&pos : NULL, count);
    fd_put(in);
    fd_put(out);
    if (offset && n >= 0 && put_user_u64(offset, pos))
        return -EFAULT;
    return n;
}

static __cold int copy_range_check(struct file *in, struct file *out, u64 in_pos, u64 out_pos,
                                   size_t len)
{
    if (!(in->fmode & FMODE_READ) || !(out->fmode & FMODE_WRITE) || (out->flags & O_APPEND))
        return -EBADF;
    if (!in->inode || !out->inode)
        return -EINVAL;
    if (S_ISDIR(in->inode->mode) || S_ISDIR(out->inode->mode))
        return -EISDIR;
    if (!S_ISREG(in->inode->mode) || !S_ISREG(out->inode->mode))
        return -EINVAL;
    if ((s64)in_pos < 0 || (s64)out_pos < 0 || (s64)(in_pos + len) < 0 || (s64)(out_pos + len) < 0)
        return -EOVERFLOW;
    u64 size = inode_size(in->inode), n = in_pos < size ? MIN(len, size - in_pos) : 0;
    if (in->inode == out->inode && in_pos < out_pos + n && out_pos < in_pos + n)
        return -EINVAL;
    return 0;
}

__cold long sys_copy_file_range(int in_fd, uptr_t in_off, int out_fd, uptr_t out_off, size_t len,
                                u32 flags)
{
    u64 in_pos = 0, out_pos = 0;
    struct fd in = fd_get(in_fd), out = fd_get(out_fd);
    long n = -EBADF;
    if (!in.file || !out.file)
        goto out;
    n = -EFAULT;
    if ((in_off && get_user_u64(&in_pos, in_off)) || (out_off && get_user_u64(&out_pos, out_off)))
        goto out;
    if (!in_off)
        in_pos = in.file->pos;
    if (!out_off)
        out_pos = out.file->pos;
    n = flags ? -EINVAL : 0;
    len = MIN(len, (size_t)MAX_RW_COUNT);
    if (!n)
        n = copy_range_check(in.file, out.file, in_pos, out_pos, len);
    if (!n)
        n = copy_between(in.file, (loff_t *)&in_pos, out.file, (loff_t *)&out_pos, len);
    if (n > 0) {
        if (!in_off)
            in.file->pos = in_pos;
        if (!out_off)
            out.file->pos = out_pos;
        if ((in_off && put_user_u64(in_off, in_pos)) || (out_off && put_user_u64(out_off, out_pos)))
            n = -EFAULT;
    }
out:
    fd_put(in);
    fd_put(out);
    return n;
}

// ------------------------------------------------------------------------------- sync and advice

long sys_sync(void)
{
    if (volumes_sync)
        volumes_sync();
    return 0;
}

// In a kernel built with VERIFY=1 this also checks the tree of names and the allocators: test programs call it.
__cold long sys_syncfs(int fd)
{
#ifdef LETHE_VERIFY
    vfs_verify();
    page_allocator_verify();
    kmalloc_verify();
#endif
    struct fd f = fd_get(fd);
    long err = f.file ? 0 : -EBADF;
    if (f.file && f.file->inode && f.file->inode->sb->ops)
        err = f.file->inode->sb->ops->sync(f.file->inode->sb);
    fd_put(f);
    return err;
}

static long fsync_fd(int fd, bool data_only)
{
    struct fd f = fd_get(fd);
    if (!f.file)
        return -EBADF;
    long err = f.file->ops->fsync ? f.file->ops->fsync(f.file, data_only) : -EINVAL;
    fd_put(f);
    return err;
}

long sys_fsync(int fd) { return fsync_fd(fd, false); }
long sys_fdatasync(int fd) { return fsync_fd(fd, true); }

__cold long sys_sync_file_range(int fd, loff_t offset, loff_t len, u32 flags)
{
    if ((flags & ~7u) || offset < 0 || len < 0 || offset + len < offset)
        return -EINVAL;
    struct fd f = fd_get(fd);
    if (!f.file)
        return -EBADF;
    u32 type = f.file->inode ? f.file->inode->mode & S_IFMT : S_IFIFO;
    long err =
        type == S_IFREG || type == S_IFDIR || type == S_IFBLK || type == S_IFLNK ? 0 : -ESPIPE;
    if (flags && type == S_IFREG && (f.file->inode->flags & I_VOLUME))
        err =
            volume_write_range(f.file->inode, (u64)offset, len ? (u64)(offset + len) : UINT64_MAX);
    fd_put(f);
    return err;
}

// Brings [offset, offset + len) of a file into memory, as far as there is plenty; len 0: all from offset on.
static void read_ahead(struct inode *inode, loff_t offset, u64 len)
{
    if ((inode->flags & I_VOLUME) && S_ISREG(inode->mode) && offset >= 0)
        volume_read_ahead(inode, (u64)offset, len ? (u64)offset + len : UINT64_MAX);
}

#define POSIX_FADV_WILLNEED 3
#define POSIX_FADV_DONTNEED 4
#define POSIX_FADV_NOREUSE 5

__cold long sys_fadvise64(int fd, loff_t offset, loff_t len, int advice)
{
    struct fd f = fd_get(fd);
    if (!f.file)
        return -EBADF;
    long err = 0;
    struct inode *inode = f.file->inode;
    if (!inode || S_ISFIFO(inode->mode))
        err = -ESPIPE;
    else if (len < 0 || advice < 0 || advice > POSIX_FADV_NOREUSE)
        err = -EINVAL;
    else if (advice == POSIX_FADV_DONTNEED && (inode->flags & I_VOLUME) && S_ISREG(inode->mode))
        vm_object_drop(&inode->file.object, DIV_ROUND_UP((u64)offset, PAGE_SIZE),
                       len ? page_index((u64)(offset + len)) - 1 : UINT64_MAX - 1);
    else if (advice == POSIX_FADV_WILLNEED)
        read_ahead(inode, offset, (u64)len);
    fd_put(f);
    return err;  // what is in memory already has nothing that could be read ahead or dropped
}

__cold long sys_readahead(int fd, loff_t offset, size_t len)
{
    struct fd f = fd_get(fd);
    long err = 0;
    if (!f.file || !(f.file->fmode & FMODE_READ))
        err = -EBADF;
    else if (!f.file->inode || !S_ISREG(f.file->inode->mode))
        err = -EINVAL;
    else if (len)
        read_ahead(f.file->inode, offset, len);
    fd_put(f);
    return err;
}
