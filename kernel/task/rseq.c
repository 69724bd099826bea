// SPDX-License-Identifier: BSD-2-Clause
// rseq.c: restartable sequences (rseq(2)) and membarrier(2).
//
// A thread with a registered area comes by rseq_fixup on its way to user mode after every time it got
// the CPU and before every signal handler: the CPU number is brought up to date, and if it was inside
// a critical section it goes to the abort address instead.
#include "core/log.h"
#include "task/calls.h"
#include "task/task_internal.h"

// struct rseq: cpu_id_start 0, cpu_id 4, rseq_cs 8, flags 16, node_id 20, mm_cid 24
#define RSEQ_CPU_ID_START 0
#define RSEQ_CPU_ID 4
#define RSEQ_CS 8
#define RSEQ_NODE_ID 20
#define RSEQ_MM_CID 24
#define RSEQ_SIZE_ORIGINAL 32
#define RSEQ_SIZE_MAX 4096
#define RSEQ_ALIGN 32
#define RSEQ_FLAG_UNREGISTER 1
#define RSEQ_CPU_ID_UNINITIALIZED 0xffffffffu

struct rseq_cs {
    u32 version, flags;
    u64 start_ip, post_commit_offset, abort_ip;
};

static int write_ids(struct thread *t, u32 cpu)
{
    uptr_t a = t->rseq_area;
    if (put_user_u32(a + RSEQ_CPU_ID_START, cpu == RSEQ_CPU_ID_UNINITIALIZED ? 0 : cpu) ||
        put_user_u32(a + RSEQ_CPU_ID, cpu) || put_user_u32(a + RSEQ_NODE_ID, 0) ||
        put_user_u32(a + RSEQ_MM_CID, cpu == RSEQ_CPU_ID_UNINITIALIZED ? 0 : cpu))
        return -EFAULT;
    t->rseq_cpu = cpu;
    return 0;
}

// Aborts the critical section that pc is in, if any. => -EFAULT, -EINVAL: the program is wrong
static int abort_section(struct thread *t, struct regs *r)
{
    struct rseq_cs cs;
    u64 at;
    u32 signature;
    if (get_user_u64(&at, t->rseq_area + RSEQ_CS))
        return -EFAULT;
    if (!at)
        return 0;
    if (copy_from_user(&cs, at, sizeof cs))
        return -EFAULT;
    if (cs.version || cs.start_ip >= USER_END || cs.abort_ip >= USER_END ||
        cs.post_commit_offset > USER_END - cs.start_ip)
        return -EINVAL;
    bool inside = regs_pc(r) - cs.start_ip < cs.post_commit_offset;
    if (inside) {
        if (cs.abort_ip - cs.start_ip < cs.post_commit_offset)
            return -EINVAL;
        if (get_user_u32(&signature, cs.abort_ip - 4))
            return -EFAULT;
        if (signature != t->rseq_sig)
            return -EINVAL;
        regs_set_pc(r, cs.abort_ip);
    }
    return put_user_u64(t->rseq_area + RSEQ_CS, 0);
}

void rseq_fixup(struct regs *r, bool on_signal)
{
    struct thread *t = current;
    if (!on_signal)
        atomic_fetch_and(&t->work, ~WORK_RSEQ);
    if (!t->rseq_area)
        return;
    u32 cpu = this_cpu()->id;
    int err = abort_section(t, r);
    if (!err && cpu != t->rseq_cpu)
        err = write_ids(t, cpu);
    if (err)
        signal_force(SIGSEGV, SI_KERNEL, 0);
}

static int rseq_unregister(struct thread *t, uptr_t area, u32 len, u32 signature)
{
    if (!t->rseq_area || area != t->rseq_area || len != t->rseq_len)
        return -EINVAL;
    if (signature != t->rseq_sig)
        return -EPERM;
    if (write_ids(t, RSEQ_CPU_ID_UNINITIALIZED))
        return -EFAULT;
    t->rseq_area = 0;
    return 0;
}

long sys_rseq(uptr_t area, u32 len, int flags, u32 signature)
{
    struct thread *t = current;
    if (flags & RSEQ_FLAG_UNREGISTER)
        return flags & ~RSEQ_FLAG_UNREGISTER ? -EINVAL : rseq_unregister(t, area, len, signature);
    if (flags)
        return -EINVAL;
    if (t->rseq_area) {
        if (area != t->rseq_area || len != t->rseq_len)
            return -EINVAL;
        return signature != t->rseq_sig ? -EPERM : -EBUSY;
    }
    if (len < RSEQ_SIZE_ORIGINAL || len > RSEQ_SIZE_MAX || !IS_ALIGNED(area, RSEQ_ALIGN))
        return -EINVAL;
    if (area > USER_END - len)
        return -EFAULT;
    t->rseq_area = area;
    if (write_ids(t, this_cpu()->id)) {
        t->rseq_area = 0;
        return -EFAULT;
    }
    t->rseq_len = len;
    t->rseq_sig = signature;
    atomic_fetch_or(&t->work, WORK_RSEQ);
    return 0;
}

// ---- membarrier(2)

enum {
    MB_QUERY = 0,
    MB_GLOBAL = 1,
    MB_GLOBAL_EXPEDITED = 2,
    MB_REGISTER_GLOBAL_EXPEDITED = 4,
    MB_PRIVATE_EXPEDITED = 8,
    MB_REGISTER_PRIVATE_EXPEDITED = 16,
    MB_PRIVATE_EXPEDITED_SYNC_CORE = 32,
    MB_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE = 64,
    MB_PRIVATE_EXPEDITED_RSEQ = 128,
    MB_REGISTER_PRIVATE_EXPEDITED_RSEQ = 256,
    MB_GET_REGISTRATIONS = 512,
};
#define MB_ALL 0x3ff
#define MB_FLAG_CPU 1u

// The interrupt itself orders memory; returning from it serialises the instruction stream
// (IRET on x86-64, ERET on arm64).
static void barrier_here(void *arg) { atomic_fence(); }

static void barrier_and_rseq(void *arg)
{
    atomic_fence();
    struct thread *t = current;
    if (t->mm == arg && t->rseq_area)
        atomic_fetch_or(&t->work, WORK_RSEQ);
}

static long barrier_on(cpumask_t mask, bool rseq)
{
    if (rseq)
        cross_run(mask & cpus_online(), barrier_and_rseq, current->mm);
    else
        cross_run(mask & cpus_online(), barrier_here, NULL);
    return 0;
}

static long private_barrier(int command, u32 needs, cpumask_t mask)
{
    struct process *p = current->process;
    if (!(p->membarrier_state & needs))
        return -EPERM;
    // A CPU that does not run this address space gets a full barrier when it switches to it.
    return barrier_on(mask & atomic_load(&current->mm->cpus), command == MB_PRIVATE_EXPEDITED_RSEQ);
}

long sys_membarrier(int command, unsigned flags, int cpu)
{
    struct process *p = current->process;
    cpumask_t mask = cpus_online();
    if (flags && !(command == MB_PRIVATE_EXPEDITED_RSEQ && flags == MB_FLAG_CPU))
        return -EINVAL;
    if (flags) {
        if (cpu < 0 || (u32)cpu >= n_cpus)
            return 0;
        mask = BIT(cpu);
    }
    switch (command) {
    case MB_QUERY: return MB_ALL;
    case MB_GLOBAL:
    case MB_GLOBAL_EXPEDITED: return barrier_on(mask, false);
    case MB_REGISTER_GLOBAL_EXPEDITED:
    case MB_REGISTER_PRIVATE_EXPEDITED:
    case MB_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE:
    case MB_REGISTER_PRIVATE_EXPEDITED_RSEQ:
        atomic_fetch_or(&p->membarrier_state, (u32)command);
        return 0;
    case MB_PRIVATE_EXPEDITED: return private_barrier(command, MB_REGISTER_PRIVATE_EXPEDITED, mask);
    case MB_PRIVATE_EXPEDITED_SYNC_CORE:
        return private_barrier(command, MB_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, mask);
    case MB_PRIVATE_EXPEDITED_RSEQ:
        return private_barrier(command, MB_REGISTER_PRIVATE_EXPEDITED_RSEQ, mask);
    case MB_GET_REGISTRATIONS: return p->membarrier_state;
    default: return -EINVAL;
    }
}
