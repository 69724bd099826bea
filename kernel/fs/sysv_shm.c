// SPDX-License-Identifier: BSD-2-Clause
// sysv_shm.c: System V shared memory (shmget(2), shmat(2), shmctl(2), sysvipc(7)).
//
// A segment is a memory object with a name. The table holds one reference to it, every mapping another; the
// attach count is the number of mappings. IPC_RMID gives the table's reference back, so the segment ends with its
// last mapping, and until then it can still be found by its id, as on Linux.
#include <stdio.h>
#include <string.h>

#include "core/time.h"
#include "fs/calls.h"
#include "fs/vfs_internal.h"
#include "mm/mm.h"
#include "mm/mman.h"

#define SHMMNI 4096
#define SHMMAX (UINT64_MAX - (1ul << 24))
#define INDEX_BITS 15
#define INDEX_MASK ((1 << INDEX_BITS) - 1)

#define IPC_PRIVATE 0
#define IPC_CREAT 01000
#define IPC_EXCL 02000
#define SHM_HUGETLB 04000
#define SHM_NORESERVE 010000
#define SHM_RDONLY 010000
#define SHM_RND 020000
#define SHM_REMAP 040000
#define SHM_EXEC 0100000
#define SHM_DEST 01000    // in mode: ends with the last detach
#define SHM_LOCKED 02000  // in mode: SHM_LOCK; there is no swap to keep it from

enum shm_command {
    IPC_RMID = 0,
    IPC_SET = 1,
    IPC_STAT = 2,
    IPC_INFO = 3,
    SHM_LOCK = 11,
    SHM_UNLOCK = 12,
    SHM_STAT = 13,
    SHM_INFO = 14,
    SHM_STAT_ANY = 15,
};

#define CAP_IPC_OWNER 15
#define CAP_SYS_ADMIN 21

struct segment {
    struct vm_object obj;
    u64 size_bytes;                  // as asked for
    s32 key, id;                     // [shm.lock]
    u32 uid, gid, cuid, cgid, mode;  // [shm.lock]
    s64 atime, dtime, ctime;         // [shm.lock] seconds
    s32 cpid, lpid;
    bool accounted;
};

static struct {
    struct spinlock lock;
    struct segment **slots;  // [lock] by index; made with the first segment
    u32 n_slots, n_used;     // [lock] n_slots: places that were ever in use
    u32 next_seq;            // [lock]
    u64 total_pages;         // [lock]
} shm;

struct shm_user {  // struct shmid64_ds
    struct {
        s32 key;
        u32 uid, gid, cuid, cgid, mode;
        u16 seq, pad;
        u64 unused[2];
    } perm;
    u64 size;
    s64 atime, dtime, ctime;
    s32 cpid, lpid;
    u64 nattch, unused[2];
};
_Static_assert(sizeof(struct shm_user) == 112, "as Linux lays it out");

static s64 now_s(void) { return (s64)(ktime_real_ns() / 1000000000ull); }

static u64 pages_of(const struct segment *s) { return DIV_ROUND_UP(s->size_bytes, PAGE_SIZE); }

// ---- the life of a segment

// The last reference is gone.
static void segment_release(struct vm_object *obj)
{
    struct segment *s = container_of(obj, struct segment, obj);
    spin_lock(&shm.lock);
    if (s->id >= 0) {
        shm.slots[s->id & INDEX_MASK] = NULL;
        shm.n_used--;
        shm.total_pages -= pages_of(s);
    }
    spin_unlock(&shm.lock);
    if (s->accounted)
        mm_commit(-(s64)pages_of(s));
    kfree(s);
}

static void segment_describe(struct vm_object *obj, char *buf, size_t size, u64 *ino)
{
    const struct segment *s = container_of(obj, struct segment, obj);
    snprintf(buf, size, "/SYSV%08x (deleted)", (unsigned)s->key);
    *ino = (u64)s->id;
}

static const struct vm_object_ops segment_ops = {.release = segment_release,
                                                 .describe = segment_describe};

// => referenced; ERR_PTR(-EINVAL, -EIDRM)
static struct segment *segment_get(int id)
{
    struct segment *s = ERR_PTR(-EINVAL);
    u32 index = (u32)id & INDEX_MASK;
    spin_lock(&shm.lock);
    if (id >= 0 && index < shm.n_slots && shm.slots[index]) {
        s = shm.slots[index];
        if (s->id != id || !vm_object_try_get(&s->obj))
            s = ERR_PTR(-EIDRM);
    }
    spin_unlock(&shm.lock);
    return s;
}

static void segment_put(struct segment *s) { vm_object_put(&s->obj); }

// May the caller do what the low three bits say? => 0, -EACCES
static int segment_permission(const struct segment *s, u32 wanted)
{
    struct fs_cred c;
    fs_cred_current(&c);
    u32 granted = s->mode;
    if (c.uid == s->cuid || c.uid == s->uid)
        granted >>= 6;
    else if (fs_in_group(s->cgid) || fs_in_group(s->gid))
        granted >>= 3;
    return (wanted & ~granted & 7) && !fs_capable(CAP_IPC_OWNER) ? -EACCES : 0;
}

static bool segment_owner(const struct segment *s)
{
    struct fs_cred c;
    fs_cred_current(&c);
    return c.uid == s->cuid || c.uid == s->uid || fs_capable(CAP_SYS_ADMIN);
}

static u64 attach_count(struct segment *s)
{
    u64 n = 0;
    spin_lock(&s->obj.map_lock);
    list_for_each (link, &s->obj.mappings)
        n++;
    spin_unlock(&s->obj.map_lock);
    return n;
}

// ---- shmget

static struct segment *segment_new(s32 key, u64 size, int flags)
{
    struct fs_cred c;
    struct segment *s = kzalloc(sizeof *s);
    if (!s)
        return NULL;
    s->accounted = !(flags & SHM_NORESERVE);
    if (s->accounted && !mm_commit((s64)DIV_ROUND_UP(size, PAGE_SIZE))) {
        kfree(s);
        return NULL;
    }
    vm_object_init(&s->obj, &segment_ops, VMO_ANON, ALIGN_UP(size, PAGE_SIZE));
    fs_cred_current(&c);
    s->size_bytes = size;
    s->key = key;
    s->id = -1;
    s->uid = s->cuid = c.uid;
    s->gid = s->cgid = c.gid;
    s->mode = flags & 0777;
    s->ctime = now_s();
    s->cpid = current->process->pid;
    return s;
}

// => false: no memory
static bool make_table(void)
{
    if (READ_ONCE(shm.slots))
        return true;
    struct segment **slots = kzalloc(SHMMNI * sizeof(*slots));
    spin_lock(&shm.lock);
    if (slots && !shm.slots) {
        shm.slots = slots;
        slots = NULL;
    }
    spin_unlock(&shm.lock);
    kfree(slots);
    return shm.slots != NULL;
}

// Gives a new segment its place; the table takes over the reference. => its id, -ENOSPC; [shm.lock]
static int segment_enter(struct segment *s)
{
    u32 i = 0;
    while (i < shm.n_slots && shm.slots[i])
        i++;
    if (i == SHMMNI)
        return -ENOSPC;
    shm.n_slots = MAX(shm.n_slots, i + 1);
    shm.slots[i] = s;
    shm.n_used++;
    shm.total_pages += pages_of(s);
    s->id = (s32)((shm.next_seq++ & 0xffff) << INDEX_BITS | i) & INT32_MAX;
    return s->id;
}

// => [shm.lock]
static struct segment *find_key(s32 key)
{
    for (u32 i = 0; key != IPC_PRIVATE && i < shm.n_slots; i++)
        if (shm.slots[i] && shm.slots[i]->key == key)
            return shm.slots[i];
    return NULL;
}

static int use_existing(const struct segment *s, u64 size, int flags)
{
    if ((flags & (IPC_CREAT | IPC_EXCL)) == (IPC_CREAT | IPC_EXCL))
        return -EEXIST;
    if (s->size_bytes < size)
        return -EINVAL;
    int err = segment_permission(s, (u32)(flags | flags >> 3 | flags >> 6) & 7);
    return err ? err : s->id;
}

long sys_shmget(s32 key, size_t size, int flags)
{
    spin_lock(&shm.lock);
    struct segment *s = find_key(key);
    long id = s                                            ? use_existing(s, size, flags)
              : key != IPC_PRIVATE && !(flags & IPC_CREAT) ? -ENOENT
                                                           : -1;
    spin_unlock(&shm.lock);
    if (s || id != -1)
        return id;
    if (size < 1 || size > SHMMAX)
        return -EINVAL;
    if (flags & SHM_HUGETLB)
        return -ENOMEM;  // the pool of huge pages is empty
    if (size > USER_END || !make_table() || !(s = segment_new(key, size, flags)))
        return -ENOMEM;
    spin_lock(&shm.lock);
    const struct segment *other = find_key(key);  // somebody may have been faster
    id = other ? use_existing(other, size, flags) : segment_enter(s);
    spin_unlock(&shm.lock);
    if (other || id < 0)
        segment_put(s);
    return id;
}

// ---- shmat, shmdt

// SHM_RND and SHM_REMAP. => 0, -EINVAL
static int attach_address(uptr_t *addr, int flags)
{
    if (*addr % PAGE_SIZE) {
        if (!(flags & SHM_RND))
            return -EINVAL;
        *addr &= PAGE_MASK;
    }
    return !*addr && (flags & SHM_REMAP) ? -EINVAL : 0;
}

long sys_shmat(int id, uptr_t addr, int flags)
{
    int err = attach_address(&addr, flags);
    if (err)
        return err;
    struct segment *s = segment_get(id);
    if (IS_ERR(s))
        return PTR_ERR(s);
    bool read_only = flags & SHM_RDONLY;
    int prot = PROT_READ | (read_only ? 0 : PROT_WRITE) | (flags & SHM_EXEC ? PROT_EXEC : 0);
    long at = segment_permission(s, 4 | (read_only ? 0 : 2) | (flags & SHM_EXEC ? 1 : 0));
    if (!at)
        at = mm_attach_object(current->mm, addr, s->size_bytes, prot, !read_only, flags & SHM_REMAP,
                              &s->obj);
    if (at > 0) {
        spin_lock(&shm.lock);
        s->atime = now_s();
        s->lpid = current->process->pid;
        spin_unlock(&shm.lock);
    }
    segment_put(s);
    return at;
}

static bool is_segment(const struct vm_object *obj) { return obj->ops == &segment_ops; }

long sys_shmdt(uptr_t addr)
{
    if (addr % PAGE_SIZE)
        return -EINVAL;
    struct vm_object *obj = mm_detach_object(current->mm, addr, is_segment);
    if (!obj)
        return -EINVAL;
    struct segment *s = container_of(obj, struct segment, obj);
    spin_lock(&shm.lock);
    s->dtime = now_s();
    s->lpid = current->process->pid;
    spin_unlock(&shm.lock);
    vm_object_put(obj);
    return 0;
}

// ---- shmctl

static long copy_stat(struct segment *s, uptr_t to, bool any)
{
    struct shm_user u = {0};
    if (!any && segment_permission(s, 4))
        return -EACCES;
    u.nattch = attach_count(s);
    spin_lock(&shm.lock);
    u.perm.key = s->key;
    u.perm.uid = s->uid, u.perm.gid = s->gid;
    u.perm.cuid = s->cuid, u.perm.cgid = s->cgid;
    u.perm.mode = s->mode;
    u.perm.seq = (u16)(s->id >> INDEX_BITS);
    u.size = s->size_bytes;
    u.atime = s->atime, u.dtime = s->dtime, u.ctime = s->ctime;
    u.cpid = s->cpid, u.lpid = s->lpid;
    spin_unlock(&shm.lock);
    return copy_to_user(to, &u, sizeof u);
}

static long change(struct segment *s, uptr_t from)
{
    struct shm_user u;
    if (copy_from_user(&u, from, sizeof u))
        return -EFAULT;
    if (!segment_owner(s))
        return -EPERM;
    spin_lock(&shm.lock);
    s->uid = u.perm.uid;
    s->gid = u.perm.gid;
    s->mode = (s->mode & ~0777u) | (u.perm.mode & 0777);
    s->ctime = now_s();
    spin_unlock(&shm.lock);
    return 0;
}

static long remove_segment(struct segment *s)
{
    if (!segment_owner(s))
        return -EPERM;
    spin_lock(&shm.lock);
    bool first = !(s->mode & SHM_DEST);
    s->mode |= SHM_DEST;
    s->key = IPC_PRIVATE;
    spin_unlock(&shm.lock);
    if (first)
        segment_put(s);  // the table's
    return 0;
}

static long lock_segment(struct segment *s, bool lock)
{
    if (!segment_owner(s) && !capable_ipc_lock())
        return -EPERM;
    spin_lock(&shm.lock);
    s->mode = lock ? s->mode | SHM_LOCKED : s->mode & ~(u32)SHM_LOCKED;
    spin_unlock(&shm.lock);
    return 0;
}

// => the highest index in use; [shm.lock]
static long highest_index(void)
{
    for (u32 i = shm.n_slots; i; i--)
        if (shm.slots[i - 1])
            return i - 1;
    return 0;
}

static long info(int command, uptr_t to)
{
    u64 limits[9] = {SHMMAX, 1, SHMMNI, SHMMNI, SHMMAX};  // struct shminfo64
    u64 usage[6] = {0};                                   // struct shm_info
    spin_lock(&shm.lock);
    long highest = highest_index();
    usage[0] = shm.n_used;
    usage[1] = shm.total_pages;
    for (u32 i = 0; i < shm.n_slots; i++)
        usage[2] += shm.slots[i] ? READ_ONCE(shm.slots[i]->obj.n_pages) : 0;
    spin_unlock(&shm.lock);
    long err = command == IPC_INFO ? copy_to_user(to, limits, sizeof limits)
                                   : copy_to_user(to, usage, sizeof usage);
    return err ? err : highest;
}

// SHM_STAT takes an index for an id. => the id, or -EINVAL
static long index_to_id(int index)
{
    long id = -EINVAL;
    spin_lock(&shm.lock);
    if (index >= 0 && (u32)index < shm.n_slots && shm.slots[index])
        id = shm.slots[index]->id;
    spin_unlock(&shm.lock);
    return id;
}

long sys_shmctl(int id, int command, uptr_t buf)
{
    if (id < 0 || command < 0)
        return -EINVAL;
    if (command == IPC_INFO || command == SHM_INFO)
        return info(command, buf);
    bool by_index = command == SHM_STAT || command == SHM_STAT_ANY;
    long found = by_index ? index_to_id(id) : id;
    struct segment *s = found < 0 ? ERR_PTR(found) : segment_get((int)found);
    if (IS_ERR(s))
        return PTR_ERR(s);
    long result = -EINVAL;
    switch (command) {
    case IPC_STAT:
    case SHM_STAT:
    case SHM_STAT_ANY: result = copy_stat(s, buf, command == SHM_STAT_ANY); break;
    case IPC_SET: result = change(s, buf); break;
    case IPC_RMID: result = remove_segment(s); break;
    case SHM_LOCK:
    case SHM_UNLOCK: result = lock_segment(s, command == SHM_LOCK); break;
    }
    segment_put(s);
    return !result && by_index ? found : result;
}
