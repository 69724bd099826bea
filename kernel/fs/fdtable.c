// SPDX-License-Identifier: BSD-2-Clause
// fdtable.c: descriptors: the file tables of processes.
//
//   thread->files -> struct file_table -> fd_array: files[max]   the open file of each number
//                                                   open bits    number taken (maybe not installed yet)
//                                                   cloexec bits
//                                                   full bits    one for each word of open bits: all taken
//
// Looking a number up takes no lock. In a table that only one thread uses the file is just borrowed.
// In a shared one: read the slot, raise the file's counter unless it is zero, look at the slot again.
// That is safe because the memory of files never becomes anything else (file.c), and arrays that were
// outgrown stay until the table goes (together they are smaller than the present one).
//
// Lowest free number: the hint next_free is never above it; from there the full bits skip 64 words of 64
// at a time, so even a million open files cost a few dozen steps.
#include "fs/calls.h"
#include "fs/vfs_internal.h"

#define FD_LIMIT (1u << 20)  // fs.nr_open
#define RLIMIT_NOFILE 7
#define CLONE_FS 0x200u
#define CLONE_FILES 0x400u

static struct kcache *table_cache, *fs_cache;

static struct file_table *table_new(void)
{
    if (!table_cache)
        table_cache = kcache_create("file_table", sizeof(struct file_table), 8);
    struct file_table *t = kcache_alloc(table_cache);
    if (!t)
        return NULL;
    memset(t, 0, sizeof(*t));
    t->refcount = 1;
    t->first = (struct fd_array){.max = FD_INLINE,
                                 .files = t->first_files,
                                 .open = &t->first_bits[0],
                                 .cloexec = &t->first_bits[1],
                                 .full = &t->first_bits[2]};
    t->array = &t->first;
    return t;
}

static struct fd_array *array_new(u32 max)
{
    size_t words = max / 64, full_words = DIV_ROUND_UP(words, 64);
    size_t bytes = sizeof(struct fd_array) + (2 * words + full_words) * sizeof(u64);
    struct fd_array *a = kzalloc(bytes);
    if (!a)
        return NULL;
    unsigned order = 0;
    size_t files_bytes = max * sizeof(struct file *);
    if (files_bytes <= HUGE_SIZE / 2) {
        a->files = kzalloc(files_bytes);
    } else {  // larger than kmalloc gives
        while ((PAGE_SIZE << order) < files_bytes)
            order++;
        struct page *p = page_alloc(order, PAGE_ZERO);
        a->files = p ? page_address(p) : NULL;
    }
    if (!a->files) {
        kfree(a);
        return NULL;
    }
    a->max = max;
    a->open = (u64 *)(a + 1);
    a->cloexec = a->open + words;
    a->full = a->cloexec + words;
    return a;
}

static void array_free(struct fd_array *a)
{
    size_t files_bytes = a->max * sizeof(struct file *);
    unsigned order = 0;
    while ((PAGE_SIZE << order) < files_bytes)
        order++;
    if (files_bytes <= HUGE_SIZE / 2)
        kfree(a->files);
    else
        page_free(virt_to_page(a->files), order);
    kfree(a);
}

static bool bit_get(const u64 *bits, u32 i) { return bits[i / 64] >> (i % 64) & 1; }
static void bit_set(u64 *bits, u32 i) { bits[i / 64] |= BIT(i % 64); }
static void bit_clear(u64 *bits, u32 i) { bits[i / 64] &= ~BIT(i % 64); }

static void slot_take(struct fd_array *a, u32 fd)
{
    bit_set(a->open, fd);
    if (a->open[fd / 64] == ~0ull)
        bit_set(a->full, fd / 64);
}

static void slot_give(struct file_table *t, struct fd_array *a, u32 fd)
{
    bit_clear(a->open, fd);
    bit_clear(a->full, fd / 64);
    bit_clear(a->cloexec, fd);
    if (fd < t->next_free)
        t->next_free = fd;
}

static void array_copy(struct fd_array *to, const struct fd_array *from)
{
    u32 n = MIN(to->max, from->max), words = n / 64;
    memcpy(to->files, from->files, n * sizeof(struct file *));
    memcpy(to->open, from->open, words * sizeof(u64));
    memcpy(to->cloexec, from->cloexec, words * sizeof(u64));
    for (u32 w = 0; w < words; w++) {
        if (to->open[w] == ~0ull)
            bit_set(to->full, w);
    }
}

// Makes room for number fd. => 0, -ENOMEM; [lock] is given up meanwhile.
static int table_grow(struct file_table *t, u32 fd)
{
    u32 max = t->array->max;
    while (max <= fd)
        max *= 2;
    spin_unlock(&t->lock);
    struct fd_array *a = array_new(max);
    spin_lock(&t->lock);
    if (!a)
        return -ENOMEM;
    if (t->array->max >= max) {
        array_free(a);
        return 0;
    }
    array_copy(a, t->array);
    a->old = t->array;
    atomic_store(&t->array, a);
    return 0;
}

static u32 find_free(const struct fd_array *a, u32 from)
{
    u32 words = a->max / 64, w = from / 64;
    if (w >= words)
        return from;
    u64 free = ~a->open[w] & (~0ull << (from % 64));
    while (!free) {
        w++;
        if (w % 64 == 0) {
            while (w < words && a->full[w / 64] == ~0ull)
                w += 64;
        }
        if (w >= words)
            return a->max;
        free = ~a->open[w];
    }
    return w * 64 + __builtin_ctzll(free);
}

static u32 fd_limit(void)
{
    const struct process *p = current->process;
    u64 limit = p ? p->rlimits[RLIMIT_NOFILE].cur : 1024;
    return MIN(limit, (u64)FD_LIMIT);
}

int fd_alloc_from(unsigned min, unsigned flags)
{
    struct file_table *t = current->files;
    u32 limit = fd_limit(), fd;
    int err = 0;
    spin_lock(&t->lock);
    for (;;) {
        struct fd_array *a = t->array;
        fd = find_free(a, MAX(min, t->next_free));
        if (unlikely(fd >= limit)) {
            err = -EMFILE;
            break;
        }
        if (likely(fd < a->max)) {
            slot_take(a, fd);
            if (flags & O_CLOEXEC)
                bit_set(a->cloexec, fd);
            if (min <= t->next_free)
                t->next_free = fd + 1;
            break;
        }
        err = table_grow(t, fd);
        if (err)
            break;
    }
    spin_unlock(&t->lock);
    return err ? err : (int)fd;
}

void fd_install(int fd, struct file *f)
{
    struct file_table *t = current->files;
    spin_lock(&t->lock);
    KASSERT(!t->array->files[fd]);
    atomic_store(&t->array->files[fd], f);
    spin_unlock(&t->lock);
}

void fd_cancel(int fd)
{
    struct file_table *t = current->files;
    spin_lock(&t->lock);
    slot_give(t, t->array, fd);
    spin_unlock(&t->lock);
}

int fd_new(struct file *f, unsigned flags)
{
    int fd = fd_alloc(flags);
    if (fd >= 0)
        fd_install(fd, f);
    return fd;
}

// ------------------------------------------------------------------------------- looking up

static struct file *shared_get(struct file_table *t, int fd)
{
    for (;;) {
        struct fd_array *a = atomic_load(&t->array);
        if ((u32)fd >= a->max)
            return NULL;
        struct file *f = atomic_load(&a->files[fd]);
        if (!f)
            return NULL;
        u32 n = atomic_load_relaxed(&f->refcount);
        while (n && !atomic_cmpxchg(&f->refcount, &n, n + 1)) {
        }
        if (!n) {
            cpu_relax_poll();
            continue;  // closed this moment
        }
        if (likely(atomic_load(&atomic_load(&t->array)->files[fd]) == f))
            return f;
        file_put(f);
    }
}

struct fd fd_get_shared(int fd)
{
    struct file *f = shared_get(current->files, fd);
    return (struct fd){f, f != NULL};
}

struct fd fd_get_raw(int fd) { return fd_get_raw_quick(fd); }
struct fd fd_get(int fd) { return fd_get_quick(fd); }

struct fd fd_drop_path(struct fd f)
{
    fd_put(f);
    return (struct fd){NULL, false};
}

struct file *fd_get_file(int fd)
{
    struct fd f = fd_get(fd);
    if (f.file && !f.need_put)
        file_get(f.file);
    return f.file;
}

struct file *files_get_file(struct file_table *t, int fd) { return shared_get(t, fd); }

int files_next_fd(struct file_table *t, int from)
{
    spin_lock(&t->lock);
    struct fd_array *a = t->array;
    int found = -1;
    for (u32 fd = from; fd < a->max; fd++) {
        if (a->open[fd / 64] == 0) {
            fd |= 63;
            continue;
        }
        if (a->files[fd]) {
            found = (int)fd;
            break;
        }
    }
    spin_unlock(&t->lock);
    return found;
}

bool files_is_cloexec(struct file_table *t, int fd)
{
    spin_lock(&t->lock);
    bool yes = (u32)fd < t->array->max && bit_get(t->array->cloexec, fd);
    spin_unlock(&t->lock);
    return yes;
}

// ------------------------------------------------------------------------------- closing

// What close(2) does beside freeing the number.
static int file_close(struct file_table *t, struct file *f)
{
    if (f->ops->flush)
        f->ops->flush(f);
    if (unlikely(f->fmode & FMODE_LOCKED))
        locks_file_closed(f, t);
    file_put(f);
    return 0;
}

// Takes the file out of its slot. => NULL: not open
static struct file *slot_clear(struct file_table *t, u32 fd)
{
    struct fd_array *a = t->array;
    struct file *f = fd < a->max ? a->files[fd] : NULL;
    if (f) {
        atomic_store(&a->files[fd], NULL);
        slot_give(t, a, fd);
    }
    return f;
}

int fd_close(int fd)
{
    struct file_table *t = current->files;
    spin_lock(&t->lock);
    struct file *f = slot_clear(t, fd);
    spin_unlock(&t->lock);
    return f ? file_close(t, f) : -EBADF;
}

long sys_close(int fd) { return fd_close(fd); }

// Closes every open number in [first, last] for which the mask bits (or all) say so.
static void close_many(struct file_table *t, u32 first, u32 last, bool only_cloexec)
{
    for (u32 fd = first; fd <= last; fd++) {
        spin_lock(&t->lock);
        struct fd_array *a = t->array;
        if (fd >= a->max) {
            spin_unlock(&t->lock);
            break;
        }
        u64 word = (only_cloexec ? a->cloexec[fd / 64] & a->open[fd / 64] : a->open[fd / 64]) &
                   (~0ull << (fd % 64));
        if (!word) {
            fd |= 63;
            spin_unlock(&t->lock);
            if (fd == UINT32_MAX)
                break;
            continue;
        }
        fd = (fd & ~63u) + __builtin_ctzll(word);
        struct file *f = fd <= last ? slot_clear(t, fd) : NULL;
        spin_unlock(&t->lock);
        if (f) {
            file_close(t, f);
            sched_point();
        }
        if (fd == UINT32_MAX)
            break;
    }
}

static void table_free(struct file_table *t)
{
    close_many(t, 0, UINT32_MAX, false);
    struct fd_array *a = t->array;
    while (a != &t->first) {
        struct fd_array *old = a->old;
        array_free(a);
        a = old;
    }
    kcache_free(table_cache, t);
}

void files_put(struct file_table *t)
{
    if (atomic_sub(&t->refcount, 1) == 0)
        table_free(t);
}

// A copy of the table with numbers below limit. => NULL: no memory
static struct file_table *table_copy(struct file_table *from, u32 limit)
{
    struct file_table *t = table_new();
    if (!t)
        return NULL;
    spin_lock(&t->lock);
    spin_lock(&from->lock);
    while (t->array->max < MIN(from->array->max, ALIGN_UP(limit, 64))) {
        u32 max = from->array->max;
        spin_unlock(&from->lock);
        int err = table_grow(t, max - 1);
        if (err) {
            spin_unlock(&t->lock);
            files_put(t);
            return NULL;
        }
        spin_lock(&from->lock);
    }
    struct fd_array *a = t->array;
    array_copy(a, from->array);
    for (u32 fd = 0; fd < a->max; fd++) {
        if (!a->open[fd / 64] && fd % 64 == 0) {
            fd += 63;
            continue;
        }
        struct file *f = a->files[fd];
        if (f && fd < limit) {
            file_get(f);
        } else if (bit_get(a->open, fd)) {  // being opened by another thread, or above the limit
            a->files[fd] = NULL;
            slot_give(t, a, fd);
        }
    }
    t->next_free = 0;
    spin_unlock(&from->lock);
    spin_unlock(&t->lock);
    return t;
}

// The calling thread gets a table of its own.
static __cold int table_unshare(u32 limit)
{
    struct file_table *old = current->files;
    if (atomic_load(&old->refcount) == 1)
        return 0;
    struct file_table *t = table_copy(old, limit);
    if (!t)
        return -ENOMEM;
    current->files = t;
    files_put(old);
    return 0;
}

void files_close_on_exec(void)
{
    if (table_unshare(UINT32_MAX & ~63u))
        log_warn("exec: no memory for a file table of its own; the table stays shared");
    close_many(current->files, 0, UINT32_MAX, true);
}

#define CLOSE_RANGE_UNSHARE 2u
#define CLOSE_RANGE_CLOEXEC 4u

__cold long sys_close_range(u32 first, u32 last, u32 flags)
{
    if ((flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) || first > last)
        return -EINVAL;
    if (flags & CLOSE_RANGE_UNSHARE) {
        int err = table_unshare(UINT32_MAX & ~63u);
        if (err)
            return err;
    }
    struct file_table *t = current->files;
    if (!(flags & CLOSE_RANGE_CLOEXEC)) {
        close_many(t, first, last, false);
        return 0;
    }
    spin_lock(&t->lock);
    struct fd_array *a = t->array;
    for (u32 fd = first; fd < a->max && fd <= last; fd++) {
        if (bit_get(a->open, fd))
            bit_set(a->cloexec, fd);
    }
    spin_unlock(&t->lock);
    return 0;
}

// ------------------------------------------------------------------------------- dup

long sys_dup(int fd)
{
    struct fd f = fd_get_raw(fd);
    if (!f.file)
        return -EBADF;
    int new = fd_alloc(0);
    if (new >= 0) {
        file_get(f.file);
        fd_install(new, f.file);
    }
    fd_put(f);
    return new;
}

static long dup_to(int oldfd, u32 newfd, unsigned flags)
{
    if (newfd >= fd_limit())
        return -EBADF;
    struct fd f = fd_get_raw(oldfd);
    if (!f.file)
        return -EBADF;
    struct file_table *t = current->files;
    struct file *victim = NULL;
    long err = 0;
    spin_lock(&t->lock);
    if (newfd >= t->array->max)
        err = table_grow(t, newfd);
    struct fd_array *a = t->array;
    if (!err && !a->files[newfd] && bit_get(a->open, newfd))
        err = -EBUSY;  // another thread is opening it
    if (!err) {
        victim = a->files[newfd];
        file_get(f.file);
        atomic_store(&a->files[newfd], f.file);
        slot_take(a, newfd);
        if (flags & O_CLOEXEC)
            bit_set(a->cloexec, newfd);
        else
            bit_clear(a->cloexec, newfd);
    }
    spin_unlock(&t->lock);
    if (victim)
        file_close(t, victim);
    fd_put(f);
    return err ? err : (long)newfd;
}

long sys_dup3(int oldfd, int newfd, int flags)
{
    if ((flags & ~O_CLOEXEC) || oldfd == newfd)
        return -EINVAL;
    return dup_to(oldfd, newfd, flags);
}

long sys_dup2(int oldfd, int newfd)
{
    if (oldfd != newfd)
        return dup_to(oldfd, newfd, 0);
    struct fd f = fd_get_raw(oldfd);
    fd_put(f);
    return f.file ? newfd : -EBADF;
}

// F_GETFD, F_SETFD
int fd_get_cloexec(int fd) { return files_is_cloexec(current->files, fd); }

void fd_set_cloexec(int fd, bool on)
{
    struct file_table *t = current->files;
    spin_lock(&t->lock);
    if ((u32)fd < t->array->max && t->array->files[fd]) {
        if (on)
            bit_set(t->array->cloexec, fd);
        else
            bit_clear(t->array->cloexec, fd);
    }
    spin_unlock(&t->lock);
}

bool fd_above_limit(u64 fd) { return fd >= fd_limit(); }

// ------------------------------------------------------------------------------- processes

static struct fs_context *fs_new(struct dentry *root, struct dentry *cwd, u32 umask)
{
    if (!fs_cache)
        fs_cache = kcache_create("fs_context", sizeof(struct fs_context), 8);
    struct fs_context *fs = kcache_alloc(fs_cache);
    if (!fs) {
        dentry_put(root);
        dentry_put(cwd);
        return NULL;
    }
    *fs = (struct fs_context){.refcount = 1, .umask = umask, .root = root, .cwd = cwd};
    sb_active_get(root->inode->sb);
    sb_active_get(cwd->inode->sb);
    return fs;
}

// dentry_put for roots and working directories, which keep their mount busy.
static void place_put(struct dentry *d)
{
    struct superblock *sb = d->inode->sb;
    dentry_put(d);
    sb_active_put(sb);
}

void fs_context_put(struct fs_context *fs)
{
    if (atomic_sub(&fs->refcount, 1) != 0)
        return;
    place_put(fs->root);
    place_put(fs->cwd);
    kcache_free(fs_cache, fs);
}

// Sets root or cwd of the calling process; takes over the reference.
void fs_set_place(struct dentry **place, struct dentry *d)
{
    sb_active_get(d->inode->sb);
    tree_write();
    struct dentry *old = *place;
    *place = d;
    tree_write_done();
    place_put(old);
}

struct dentry *fs_get_root(struct fs_context *fs)
{
    tree_read();
    struct dentry *d = fs->root;
    dentry_get(d);
    tree_read_done();
    return d;
}

struct dentry *fs_get_cwd(struct fs_context *fs)
{
    tree_read();
    struct dentry *d = fs->cwd;
    dentry_get(d);
    tree_read_done();
    return d;
}

void files_exit(struct thread *t)
{
    struct file_table *files = t->files;
    struct fs_context *fs = t->fs;
    tree_write();  // files_of_thread, fs_of_thread look under it
    t->files = NULL;
    t->fs = NULL;
    tree_write_done();
    if (files)
        files_put(files);
    if (fs)
        fs_context_put(fs);
}

struct file_table *files_of_thread(struct thread *t)
{
    tree_read();
    struct file_table *files = t->files;
    if (files)
        atomic_add(&files->refcount, 1);
    tree_read_done();
    return files;
}

struct fs_context *fs_of_thread(struct thread *t)
{
    tree_read();
    struct fs_context *fs = t->fs;
    if (fs)
        atomic_add(&fs->refcount, 1);
    tree_read_done();
    return fs;
}

int files_clone(struct thread *child, u64 flags)
{
    struct file_table *files = current->files;
    struct fs_context *fs = current->fs;
    if (flags & CLONE_FILES) {
        atomic_add(&files->refcount, 1);
    } else {
        files = table_copy(files, UINT32_MAX & ~63u);
        if (!files)
            return -ENOMEM;
    }
    if (flags & CLONE_FS) {
        atomic_add(&fs->refcount, 1);
    } else {
        fs = fs_new(fs_get_root(fs), fs_get_cwd(fs), fs->umask);
        if (!fs) {
            files_put(files);
            return -ENOMEM;
        }
    }
    child->files = files;
    child->fs = fs;
    return 0;
}

__cold int files_init_process(struct thread *t, const char *cwd)
{
    struct dentry *dir;
    int err = vfs_lookup(AT_FDCWD, cwd ? cwd : "/",
                         LOOKUP_KERNEL | LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &dir);
    if (err)
        return err;
    t->files = table_new();
    dentry_get(root_dentry);
    t->fs = fs_new(root_dentry, dir, 022);
    if (!t->files || !t->fs)
        return -ENOMEM;
    struct file *f = file_open_kernel("/dev/console", O_RDWR);
    if (IS_ERR(f))
        f = file_open_kernel("/dev/null", O_RDWR);
    if (IS_ERR(f))
        return 0;
    struct fd_array *a = t->files->array;
    for (int fd = 0; fd < 3; fd++) {
        if (fd)
            file_get(f);
        a->files[fd] = f;
        slot_take(a, fd);
    }
    t->files->next_free = 3;
    return 0;
}
