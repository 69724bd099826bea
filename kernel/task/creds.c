// SPDX-License-Identifier: BSD-2-Clause
// creds.c: user and group ids and capabilities (credentials(7), capabilities(7)).
//
// Ids belong to the process, which is what POSIX asks for and C libraries build with signals on
// Linux, where they belong to the thread: a set*id call acts on all threads at once here.
// Who may look at others' files is decided in fs/ from fsuid and fsgid.
#include <string.h>

#include "mm/page.h"
#include "task/calls.h"
#include "task/task_internal.h"

#define NO_ID 0xffffffffu
#define NGROUPS_MAX 65536
#define SECBIT_NO_SETUID_FIXUP 4u
#define SECBIT_KEEP_CAPS 16u
#define CAP_FS_MASK 0x1ffull  // the capabilities on files that follow fsuid (0..4, 9, 27, 32)

long sys_getuid(void) { return current->process->uid; }
long sys_geteuid(void) { return current->process->euid; }
long sys_getgid(void) { return current->process->gid; }
long sys_getegid(void) { return current->process->egid; }

// Leaving root loses capabilities, coming back to it gives them back (capabilities(7), "Effect of user
// ID changes on capabilities").
static void fix_capabilities(struct process *p, u32 old_uid, u32 old_euid, u32 old_suid)
{
    if (p->securebits & SECBIT_NO_SETUID_FIXUP)
        return;
    bool had_root = !old_uid || !old_euid || !old_suid;
    bool has_root = !p->uid || !p->euid || !p->suid;
    if (had_root && !has_root) {
        if (!(p->securebits & SECBIT_KEEP_CAPS))
            p->cap_permitted = p->cap_effective = 0;
        p->cap_ambient = 0;
    }
    if (!old_euid && p->euid)
        p->cap_effective = 0;
    if (old_euid && !p->euid)
        p->cap_effective = p->cap_permitted;
}

static long set_uids(u32 ruid, u32 euid, u32 suid)
{
    struct process *p = current->process;
    u32 old_uid = p->uid, old_euid = p->euid, old_suid = p->suid;
    p->uid = ruid;
    p->euid = p->fsuid = euid;
    p->suid = suid;
    if (old_euid != euid || old_uid != ruid)
        p->pdeath_signal = 0;
    fix_capabilities(p, old_uid, old_euid, old_suid);
    return 0;
}

static long set_gids(u32 rgid, u32 egid, u32 sgid)
{
    struct process *p = current->process;
    p->gid = rgid;
    p->egid = p->fsgid = egid;
    p->sgid = sgid;
    return 0;
}

long sys_setuid(u32 uid)
{
    struct process *p = current->process;
    if (uid == NO_ID)
        return -EINVAL;
    if (capable(CAP_SETUID))
        return set_uids(uid, uid, uid);
    if (uid != p->uid && uid != p->suid)
        return -EPERM;
    return set_uids(p->uid, uid, p->suid);
}

long sys_setgid(u32 gid)
{
    struct process *p = current->process;
    if (gid == NO_ID)
        return -EINVAL;
    if (capable(CAP_SETGID))
        return set_gids(gid, gid, gid);
    if (gid != p->gid && gid != p->sgid)
        return -EPERM;
    return set_gids(p->gid, gid, p->sgid);
}

long sys_setreuid(u32 ruid, u32 euid)
{
    struct process *p = current->process;
    u32 new_ruid = ruid == NO_ID ? p->uid : ruid, new_euid = euid == NO_ID ? p->euid : euid;
    if (!capable(CAP_SETUID)) {
        if (new_ruid != p->uid && new_ruid != p->euid)
            return -EPERM;
        if (new_euid != p->uid && new_euid != p->euid && new_euid != p->suid)
            return -EPERM;
    }
    bool set_saved = ruid != NO_ID || (euid != NO_ID && euid != p->uid);
    return set_uids(new_ruid, new_euid, set_saved ? new_euid : p->suid);
}

long sys_setregid(u32 rgid, u32 egid)
{
    struct process *p = current->process;
    u32 new_rgid = rgid == NO_ID ? p->gid : rgid, new_egid = egid == NO_ID ? p->egid : egid;
    if (!capable(CAP_SETGID)) {
        if (new_rgid != p->gid && new_rgid != p->egid)
            return -EPERM;
        if (new_egid != p->gid && new_egid != p->egid && new_egid != p->sgid)
            return -EPERM;
    }
    bool set_saved = rgid != NO_ID || (egid != NO_ID && egid != p->gid);
    return set_gids(new_rgid, new_egid, set_saved ? new_egid : p->sgid);
}

static bool one_of(u32 id, u32 a, u32 b, u32 c)
{
    return id == NO_ID || id == a || id == b || id == c;
}

long sys_setresuid(u32 ruid, u32 euid, u32 suid)
{
    struct process *p = current->process;
    if (!capable(CAP_SETUID) &&
        (!one_of(ruid, p->uid, p->euid, p->suid) || !one_of(euid, p->uid, p->euid, p->suid) ||
         !one_of(suid, p->uid, p->euid, p->suid)))
        return -EPERM;
    return set_uids(ruid == NO_ID ? p->uid : ruid, euid == NO_ID ? p->euid : euid,
                    suid == NO_ID ? p->suid : suid);
}

long sys_setresgid(u32 rgid, u32 egid, u32 sgid)
{
    struct process *p = current->process;
    if (!capable(CAP_SETGID) &&
        (!one_of(rgid, p->gid, p->egid, p->sgid) || !one_of(egid, p->gid, p->egid, p->sgid) ||
         !one_of(sgid, p->gid, p->egid, p->sgid)))
        return -EPERM;
    return set_gids(rgid == NO_ID ? p->gid : rgid, egid == NO_ID ? p->egid : egid,
                    sgid == NO_ID ? p->sgid : sgid);
}

static long put_three(uptr_t a, uptr_t b, uptr_t c, u32 va, u32 vb, u32 vc)
{
    return put_user_u32(a, va) || put_user_u32(b, vb) || put_user_u32(c, vc) ? -EFAULT : 0;
}

long sys_getresuid(uptr_t ruid, uptr_t euid, uptr_t suid)
{
    struct process *p = current->process;
    return put_three(ruid, euid, suid, p->uid, p->euid, p->suid);
}

long sys_getresgid(uptr_t rgid, uptr_t egid, uptr_t sgid)
{
    struct process *p = current->process;
    return put_three(rgid, egid, sgid, p->gid, p->egid, p->sgid);
}

// setfsuid(2) and setfsgid(2) tell only the old id, success or not.
long sys_setfsuid(u32 uid)
{
    struct process *p = current->process;
    u32 old = p->fsuid;
    if (uid == NO_ID ||
        !(one_of(uid, p->uid, p->euid, p->suid) || uid == old || capable(CAP_SETUID)))
        return old;
    p->fsuid = uid;
    if (!old && uid)
        p->cap_effective &= ~CAP_FS_MASK;
    if (old && !uid)
        p->cap_effective |= p->cap_permitted & CAP_FS_MASK;
    return old;
}

long sys_setfsgid(u32 gid)
{
    struct process *p = current->process;
    u32 old = p->fsgid;
    if (gid != NO_ID &&
        (one_of(gid, p->gid, p->egid, p->sgid) || gid == old || capable(CAP_SETGID)))
        p->fsgid = gid;
    return old;
}

long sys_getgroups(int size, uptr_t list)
{
    struct process *p = current->process;
    if (size < 0)
        return -EINVAL;
    if (size) {
        if ((u32)size < p->n_groups)
            return -EINVAL;
        if (p->n_groups && copy_to_user(list, p->groups, p->n_groups * sizeof *p->groups))
            return -EFAULT;
    }
    return p->n_groups;
}

long sys_setgroups(int size, uptr_t list)
{
    struct process *p = current->process;
    u32 *groups = NULL;
    if (!capable(CAP_SETGID))
        return -EPERM;
    if ((unsigned)size > NGROUPS_MAX)
        return -EINVAL;
    if (size) {
        groups = kmalloc(size * sizeof *groups);
        if (!groups)
            return -ENOMEM;
        if (copy_from_user(groups, list, size * sizeof *groups)) {
            kfree(groups);
            return -EFAULT;
        }
    }
    spin_lock(&p->lock);
    u32 *old = p->groups;
    p->groups = groups;
    p->n_groups = size;
    spin_unlock(&p->lock);
    kfree(old);
    return 0;
}

// ---- capget(2), capset(2)

#define CAP_VERSION_1 0x19980330u
#define CAP_VERSION_2 0x20071026u
#define CAP_VERSION_3 0x20080522u

struct cap_header {
    u32 version;
    s32 pid;
};
struct cap_data {
    u32 effective, permitted, inheritable;
};

// => number of cap_data elements, or -EINVAL with the version to use written back
static int cap_elements(uptr_t header_at, struct cap_header *h)
{
    if (copy_from_user(h, header_at, sizeof *h))
        return -EFAULT;
    switch (h->version) {
    case CAP_VERSION_1: return 1;
    case CAP_VERSION_2:
    case CAP_VERSION_3: return 2;
    default: return put_user_u32(header_at, CAP_VERSION_3) ? -EFAULT : -EINVAL;
    }
}

long sys_capget(uptr_t header_at, uptr_t data)
{
    struct cap_header h;
    struct cap_data d[2];
    int n = cap_elements(header_at, &h);
    if (n < 0)
        return n == -EINVAL && !data ? 0 : n;
    if (h.pid < 0)
        return -EINVAL;
    struct process *p = h.pid ? process_find(h.pid) : current->process;
    if (!p)
        return -ESRCH;
    for (int i = 0; i < 2; i++)
        d[i] = (struct cap_data){p->cap_effective >> 32 * i, p->cap_permitted >> 32 * i,
                                 p->cap_inheritable >> 32 * i};
    if (h.pid)
        process_put(p);
    return data ? copy_to_user(data, d, n * sizeof d[0]) : 0;
}

long sys_capset(uptr_t header_at, uptr_t data)
{
    struct process *p = current->process;
    struct cap_header h;
    struct cap_data d[2] = {{0}};
    int n = cap_elements(header_at, &h);
    if (n < 0)
        return n;
    if (h.pid && h.pid != p->pid && h.pid != current->tid)
        return -EPERM;
    if (copy_from_user(d, data, n * sizeof d[0]))
        return -EFAULT;
    u64 effective = d[0].effective | (u64)d[1].effective << 32;
    u64 permitted = d[0].permitted | (u64)d[1].permitted << 32;
    u64 inheritable = d[0].inheritable | (u64)d[1].inheritable << 32;
    if (inheritable & ~(p->cap_inheritable | p->cap_permitted) && !capable(CAP_SETPCAP))
        return -EPERM;
    if (inheritable & ~(p->cap_inheritable | p->cap_bounding))
        return -EPERM;
    if (permitted & ~p->cap_permitted || effective & ~permitted)
        return -EPERM;
    p->cap_effective = effective;
    p->cap_permitted = permitted;
    p->cap_inheritable = inheritable;
    p->cap_ambient &= permitted & inheritable;
    return 0;
}
