// SPDX-License-Identifier: BSD-2-Clause
// misc.c: limits, names, prctl, random numbers, reboot, and the calls that are refused.
#include "core/uts.h"
#include <string.h>

#include "arch_impl/uapi.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/random.h"
#include "mm/page.h"
#include "task/calls.h"
#include "task/task_internal.h"

// ---- limits (getrlimit(2))

#define N_RLIMITS 16
#define RLIMIT_NOFILE 7
#define NR_OPEN 1048576  // /proc/sys/fs/nr_open

struct rlimit_user {
    u64 cur, max;
};

static int set_limit(struct process *p, unsigned resource, const struct rlimit_user *new)
{
    int err = 0;
    if (new->cur > new->max)
        return -EINVAL;
    if (resource == RLIMIT_NOFILE && new->max > NR_OPEN)
        return -EPERM;
    spin_lock(&p->lock);
    if (new->max > p->rlimits[resource].max && !capable(CAP_SYS_RESOURCE)) {
        err = -EPERM;
    } else {
        p->rlimits[resource].cur = new->cur;
        p->rlimits[resource].max = new->max;
    }
    spin_unlock(&p->lock);
    return err;
}

static bool may_limit(struct process *p)
{
    struct process *self = current->process;
    return p == self || capable(CAP_SYS_RESOURCE) ||
           (self->uid == p->euid && self->uid == p->suid && self->uid == p->uid &&
            self->gid == p->egid && self->gid == p->sgid && self->gid == p->gid);
}

long sys_prlimit64(int pid, unsigned resource, uptr_t from, uptr_t old_at)
{
    struct rlimit_user new, old;
    if (from && copy_from_user(&new, from, sizeof new))
        return -EFAULT;
    if (resource >= N_RLIMITS)
        return -EINVAL;
    struct process *p = pid ? process_find(pid) : current->process;
    if (!p)
        return -ESRCH;
    old.cur = p->rlimits[resource].cur;
    old.max = p->rlimits[resource].max;
    int err = may_limit(p) ? 0 : -EPERM;
    if (!err && from)
        err = set_limit(p, resource, &new);
    if (pid)
        process_put(p);
    if (!err && old_at && copy_to_user(old_at, &old, sizeof old))
        err = -EFAULT;
    return err;
}

long sys_getrlimit(unsigned resource, uptr_t to)
{
    return resource < N_RLIMITS && !to ? -EFAULT : sys_prlimit64(0, resource, 0, to);
}

long sys_setrlimit(unsigned resource, uptr_t from)
{
    return !from ? -EFAULT : sys_prlimit64(0, resource, from, 0);
}

// ---- the system as a whole

struct sysinfo_user {  // sysinfo(2), 64-bit
    s64 uptime;
    u64 loads[3], totalram, freeram, sharedram, bufferram, totalswap, freeswap;
    u16 procs, pad;
    u64 totalhigh, freehigh;
    u32 mem_unit, pad2;
};
_Static_assert(sizeof(struct sysinfo_user) == 112, "struct sysinfo");

long sys_sysinfo(uptr_t to)
{
    struct sched_load load;
    sched_load(&load);
    struct sysinfo_user s = {
        .uptime = DIV_ROUND_UP(ktime_ns(), NSEC_PER_SEC),
        .loads = {load.load_1 << 5, load.load_5 << 5, load.load_15 << 5},
        .totalram = page_total_count() << PAGE_SHIFT,
        .freeram = page_free_count() << PAGE_SHIFT,
        .procs = MIN(process_thread_count(), 65535u),
        .mem_unit = 1,
    };
    return copy_to_user(to, &s, sizeof s);
}

#define UTS_LEN 65
struct utsname_user {
    char sysname[UTS_LEN], nodename[UTS_LEN], release[UTS_LEN], version[UTS_LEN], machine[UTS_LEN],
        domainname[UTS_LEN];
};
#define ADDR_UNAME26 0x0020000

static struct spinlock uts_lock;
static char host_name[UTS_LEN] = "lethe";     // [uts_lock]
static char domain_name[UTS_LEN] = "(none)";  // [uts_lock]

long sys_uname(uptr_t to)
{
    struct utsname_user u = {0};
    strlcpy(u.sysname, "Linux", UTS_LEN);
    strlcpy(u.release, UTS_RELEASE, UTS_LEN);
    strlcpy(u.version, UTS_VERSION, UTS_LEN);
    strlcpy(u.machine, ARCH_UTS_MACHINE, UTS_LEN);
    spin_lock(&uts_lock);
    memcpy(u.nodename, host_name, UTS_LEN);
    memcpy(u.domainname, domain_name, UTS_LEN);
    spin_unlock(&uts_lock);
    return copy_to_user(to, &u, sizeof u);
}

int set_hostname(const char *name)
{
    if (strlen(name) >= UTS_LEN)
        return -EINVAL;
    spin_lock(&uts_lock);
    memset(host_name, 0, sizeof host_name);
    strlcpy(host_name, name, sizeof host_name);
    spin_unlock(&uts_lock);
    return 0;
}

const char *get_hostname(void) { return host_name; }

static long set_name(char *name, uptr_t from, int len)
{
    char text[UTS_LEN] = {0};
    if (!capable(CAP_SYS_ADMIN))
        return -EPERM;
    if (len < 0 || len >= UTS_LEN)
        return -EINVAL;
    if (copy_from_user(text, from, len))
        return -EFAULT;
    spin_lock(&uts_lock);
    memcpy(name, text, UTS_LEN);
    spin_unlock(&uts_lock);
    return 0;
}

long sys_sethostname(uptr_t name, int len) { return set_name(host_name, name, len); }
long sys_setdomainname(uptr_t name, int len) { return set_name(domain_name, name, len); }

// reboot(2). The machine ends either way: RESTART resets, the others power off.
#define REBOOT_MAGIC1 0xfee1deadu
#define REBOOT_MAGIC2 672274793u
#define REBOOT_MAGIC2A 85072278u
#define REBOOT_MAGIC2B 369367448u
#define REBOOT_MAGIC2C 537993216u

void volumes_shutdown(void) __weak;  // fs/volume.c

// Partial: suspend and kexec are refused with EINVAL.
long sys_reboot(u32 magic1, u32 magic2, u32 command, uptr_t arg)
{
    if (!capable(CAP_SYS_BOOT))
        return -EPERM;
    if (magic1 != REBOOT_MAGIC1 || (magic2 != REBOOT_MAGIC2 && magic2 != REBOOT_MAGIC2A &&
                                    magic2 != REBOOT_MAGIC2B && magic2 != REBOOT_MAGIC2C))
        return -EINVAL;
    if (volumes_shutdown && command != 0x89abcdef && command != 0)
        volumes_shutdown();
    switch (command) {
    case 0x01234567:  // RESTART
    case 0xa1b2c3d4:  // RESTART2, with an argument for the firmware
        control_line("exit 0");
        platform_reset();
    case 0x4321fedc:  // POWER_OFF
    case 0xcdef0123:  // HALT
        control_line("exit 0");
        machine_end();
    case 0x89abcdef:  // CAD_ON: there is no keyboard whose Ctrl-Alt-Delete would matter
    case 0:           // CAD_OFF
        return 0;
    default: return -EINVAL;
    }
}

// ---- random numbers

#define GRND_NONBLOCK 1u
#define GRND_RANDOM 2u
#define GRND_INSECURE 4u

long sys_getrandom(uptr_t to, size_t len, unsigned flags)
{
    u8 bytes[256];
    size_t done = 0;
    if (flags & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) ||
        (flags & (GRND_RANDOM | GRND_INSECURE)) == (GRND_RANDOM | GRND_INSECURE))
        return -EINVAL;
    if (!(flags & GRND_INSECURE) && unlikely(!random_seeded())) {
        int err = random_wait_seeded(flags & GRND_NONBLOCK);
        if (err)
            return err;
    }
    len = MIN(len, (size_t)INT32_MAX & PAGE_MASK);
    while (done < len) {
        size_t n = MIN(len - done, sizeof bytes);
        random_bytes(bytes, n);
        size_t left = copy_to_user_partial(to + done, bytes, n);
        done += n - left;
        if (left) {
            memset(bytes, 0, sizeof bytes);
            return done ? (long)done : -EFAULT;
        }
        if (done >= 256 && done < len && !(done & (PAGE_SIZE - 1))) {
            sched_point();
            if (thread_signal_pending())
                break;
        }
    }
    memset(bytes, 0, sizeof bytes);
    return done;
}

// ---- prctl(2)

enum {
    PR_SET_PDEATHSIG = 1,
    PR_GET_PDEATHSIG = 2,
    PR_GET_DUMPABLE = 3,
    PR_SET_DUMPABLE = 4,
    PR_GET_KEEPCAPS = 7,
    PR_SET_KEEPCAPS = 8,
    PR_GET_TIMING = 13,
    PR_SET_TIMING = 14,
    PR_SET_NAME = 15,
    PR_GET_NAME = 16,
    PR_GET_SECCOMP = 21,
    PR_CAPBSET_READ = 23,
    PR_CAPBSET_DROP = 24,
    PR_GET_SECUREBITS = 27,
    PR_SET_SECUREBITS = 28,
    PR_SET_TIMERSLACK = 29,
    PR_GET_TIMERSLACK = 30,
    PR_SET_CHILD_SUBREAPER = 36,
    PR_GET_CHILD_SUBREAPER = 37,
    PR_SET_NO_NEW_PRIVS = 38,
    PR_GET_NO_NEW_PRIVS = 39,
    PR_GET_TID_ADDRESS = 40,
    PR_SET_THP_DISABLE = 41,
    PR_GET_THP_DISABLE = 42,
    PR_CAP_AMBIENT = 47,
    PR_SET_VMA = 0x53564d41,
};
#define CAP_LAST 40

static long prctl_name(int option, uptr_t at)
{
    char name[16] = {0};
    if (option == PR_GET_NAME)
        return copy_to_user(at, current->comm, sizeof name);
    ssize_t len = strncpy_from_user(name, at, sizeof name);
    if (len == -EFAULT)
        return len;
    name[sizeof name - 1] = 0;
    return thread_set_comm(current, name);
}

static long prctl_vma(u64 what, uptr_t addr, u64 len, uptr_t name_at)
{
    char name[80];
    if (what != 0)  // PR_SET_VMA_ANON_NAME
        return -EINVAL;
    if (!name_at)
        return mm_set_vma_name(current->mm, addr, len, NULL);
    ssize_t n = strncpy_from_user(name, name_at, sizeof name);
    if (n < 0)
        return n == -ENAMETOOLONG ? -EINVAL : n;
    for (ssize_t i = 0; i < n; i++)
        if (name[i] < 0x20 || name[i] > 0x7e || strchr("\\`$[]", name[i]))
            return -EINVAL;
    return mm_set_vma_name(current->mm, addr, len, name);
}

static long prctl_ambient(u64 what, u64 cap, u64 a4, u64 a5)
{
    struct process *p = current->process;
    if (what == 4) {  // CLEAR_ALL
        if (cap | a4 | a5)
            return -EINVAL;
        p->cap_ambient = 0;
        return 0;
    }
    if (cap > CAP_LAST || a4 | a5)
        return -EINVAL;
    switch (what) {
    case 1: return (p->cap_ambient & BIT(cap)) != 0;  // IS_SET
    case 2:                                           // RAISE
        if (!(p->cap_permitted & p->cap_inheritable & BIT(cap)))
            return -EPERM;
        p->cap_ambient |= BIT(cap);
        return 0;
    case 3: p->cap_ambient &= ~BIT(cap); return 0;  // LOWER
    default: return -EINVAL;
    }
}

static long prctl_caps(int option, u64 a2, u64 a3, u64 a4, u64 a5)
{
    struct process *p = current->process;
    switch (option) {
    case PR_CAPBSET_READ: return a2 > CAP_LAST ? -EINVAL : (p->cap_bounding & BIT(a2)) != 0;
    case PR_CAPBSET_DROP:
        if (!capable(CAP_SETPCAP))
            return -EPERM;
        if (a2 > CAP_LAST)
            return -EINVAL;
        p->cap_bounding &= ~BIT(a2);
        return 0;
    case PR_GET_KEEPCAPS: return (p->securebits & 16) != 0;
    case PR_SET_KEEPCAPS:
        if (a2 > 1)
            return -EINVAL;
        p->securebits = (p->securebits & ~16u) | (a2 ? 16 : 0);
        return 0;
    case PR_GET_SECUREBITS: return p->securebits;
    case PR_SET_SECUREBITS:
        if (a2 & ~0xffull)
            return -EPERM;
        if (!capable(CAP_SETPCAP))
            return -EPERM;
        p->securebits = a2;
        return 0;
    default: return prctl_ambient(a2, a3, a4, a5);
    }
}

static long set_flag(bool *flag, u64 value)
{
    *flag = value != 0;
    return 0;
}

static long prctl_process(int option, u64 a2, u64 a3, u64 a4, u64 a5)
{
    struct process *p = current->process;
    switch (option) {
    case PR_SET_PDEATHSIG:
        if (a2 > N_SIGNALS)
            return -EINVAL;
        p->pdeath_signal = a2;
        return 0;
    case PR_GET_PDEATHSIG: return put_user_u32(a2, p->pdeath_signal);
    case PR_GET_DUMPABLE: return p->dumpable;
    case PR_SET_DUMPABLE: return a2 > 1 ? -EINVAL : set_flag(&p->dumpable, a2);
    case PR_SET_CHILD_SUBREAPER: return set_flag(&p->child_subreaper, a2);
    case PR_GET_CHILD_SUBREAPER: return put_user_u32(a2, p->child_subreaper);
    case PR_SET_NO_NEW_PRIVS:
        if (a2 != 1 || a3 | a4 | a5)
            return -EINVAL;
        p->no_new_privs = 1;
        return 0;
    case PR_GET_NO_NEW_PRIVS: return a2 | a3 | a4 | a5 ? -EINVAL : (long)p->no_new_privs;
    case PR_SET_THP_DISABLE:
        if ((a3 & ~(u64)THP_EXCEPT_ADVISED) || (!a2 && a3) || a4 | a5)
            return -EINVAL;
        current->mm->thp_disabled = a2 ? (u8)(THP_DISABLED | a3) : 0;
        return 0;
    case PR_GET_THP_DISABLE: return a2 | a3 | a4 | a5 ? -EINVAL : current->mm->thp_disabled;
    default: return arch_prctl_option ? arch_prctl_option(option, a2, a3, a4, a5) : -EINVAL;
    }
}

// Partial: seccomp and speculation controls are refused with EINVAL.
long sys_prctl(int option, u64 a2, u64 a3, u64 a4, u64 a5)
{
    struct thread *t = current;
    switch (option) {
    case PR_SET_NAME:
    case PR_GET_NAME: return prctl_name(option, a2);
    case PR_SET_VMA: return prctl_vma(a2, a3, a4, a5);
    case PR_SET_TIMERSLACK: t->timer_slack_ns = (s64)a2 <= 0 ? 50000 : a2; return 0;
    case PR_GET_TIMERSLACK: return t->timer_slack_ns;
    case PR_GET_TIMING: return 0;
    case PR_SET_TIMING: return a2 ? -EINVAL : 0;
    case PR_GET_SECCOMP: return 0;
    case PR_GET_TID_ADDRESS: return put_user_u64(a2, t->clear_child_tid);
    case PR_CAPBSET_READ:
    case PR_CAPBSET_DROP:
    case PR_GET_KEEPCAPS:
    case PR_SET_KEEPCAPS:
    case PR_GET_SECUREBITS:
    case PR_SET_SECUREBITS:
    case PR_CAP_AMBIENT: return prctl_caps(option, a2, a3, a4, a5);
    default: return prctl_process(option, a2, a3, a4, a5);
    }
}

// personality(2): kept and inherited; the execution domains and flags that change what the kernel
// does are ADDR_NO_RANDOMIZE (exec/) only.
// Partial: other systems than Linux are refused with EINVAL.
long sys_personality(unsigned persona)
{
    struct process *p = current->process;
    long old = p->personality;
    if (persona == 0xffffffffu)
        return old;
    if ((persona & 0xff) != 0)  // PER_LINUX only
        return -EINVAL;
    p->personality = persona;
    return old;
}

// ---- calls that answer without doing anything

// The kernel's log is on the console; there is no ring to read back.
long sys_syslog(int type, uptr_t buf, int len)
{
    if (!capable(CAP_SYS_ADMIN))
        return -EPERM;
    switch (type) {
    case 2:
    case 3:
    case 4: return !buf || len < 0 ? -EINVAL : 0;
    case 0:
    case 1:
    case 5:
    case 9: return 0;
    case 10: return 4096;
    case 6:
    case 7: return 0;
    case 8:
        if (len < 1 || len > 8)
            return -EINVAL;
        log_level = len - 1;
        return 0;
    default: return -EINVAL;
    }
}

// Refused: EPERM.
long sys_ptrace(long request, long pid, uptr_t addr, uptr_t data) { return -EPERM; }

// ---- other processes' memory (process_vm_readv(2))

#define IOV_MAX 1024
#define CHUNK 512

struct iovec_user {
    u64 base, len;
};

static struct mm *borrow_mm(int pid)
{
    struct process *p = process_find(pid), *self = current->process;
    if (!p)
        return ERR_PTR(-ESRCH);
    struct mm *mm = NULL;
    bool allowed = p == self || capable(CAP_SYS_PTRACE) ||
                   (self->uid == p->uid && self->uid == p->euid && self->uid == p->suid);
    spin_lock(&p->lock);
    if (allowed && p->mm && !p->is_zombie)
        mm_get(mm = p->mm);
    spin_unlock(&p->lock);
    process_put(p);
    return mm ? mm : ERR_PTR(allowed ? -ESRCH : -EPERM);
}

static int copy_piece(struct mm *mm, uptr_t local, u64 remote, size_t n, bool write)
{
    u8 buf[CHUNK];
    if (write)
        return copy_from_user(buf, local, n) ? -EFAULT : mm_write(mm, remote, buf, n);
    int err = mm_read(mm, remote, buf, n);
    return err ? err : copy_to_user(local, buf, n);
}

// Walks both vectors at once. => bytes moved, or the error before the first one
static long copy_vectors(struct mm *mm, const struct iovec_user *l, u64 n_l,
                         const struct iovec_user *r, u64 n_r, bool write)
{
    u64 li = 0, lo = 0, ri = 0, ro = 0;
    long done = 0;
    while (li < n_l && ri < n_r) {
        if (lo == l[li].len) {
            li++, lo = 0;
        } else if (ro == r[ri].len) {
            ri++, ro = 0;
        } else {
            u64 at = r[ri].base + ro;
            size_t n = MIN(MIN(l[li].len - lo, r[ri].len - ro), (u64)CHUNK - at % CHUNK);
            int err = copy_piece(mm, l[li].base + lo, at, n, write);
            if (err)
                return done ? done : err;
            done += n;
            lo += n;
            ro += n;
            sched_point();
            if (thread_kill_pending())
                return done;
        }
    }
    return done;
}

static long process_vm(int pid, uptr_t local, u64 n_local, uptr_t remote, u64 n_remote, u64 flags,
                       bool write)
{
    if (flags || n_local > IOV_MAX || n_remote > IOV_MAX)
        return -EINVAL;
    struct iovec_user *v = kmalloc((n_local + n_remote + 1) * sizeof *v);
    if (!v)
        return -ENOMEM;
    long result = -EFAULT;
    struct mm *mm = NULL;
    if (!copy_from_user(v, local, n_local * sizeof *v) &&
        !copy_from_user(v + n_local, remote, n_remote * sizeof *v)) {
        mm = borrow_mm(pid);
        result =
            IS_ERR(mm) ? PTR_ERR(mm) : copy_vectors(mm, v, n_local, v + n_local, n_remote, write);
    }
    if (mm && !IS_ERR(mm))
        mm_put(mm);
    kfree(v);
    return result;
}

long sys_process_vm_readv(int pid, uptr_t local, u64 n_local, uptr_t remote, u64 n_remote,
                          u64 flags)
{
    return process_vm(pid, local, n_local, remote, n_remote, flags, false);
}

long sys_process_vm_writev(int pid, uptr_t local, u64 n_local, uptr_t remote, u64 n_remote,
                           u64 flags)
{
    return process_vm(pid, local, n_local, remote, n_remote, flags, true);
}
