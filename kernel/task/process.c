// SPDX-License-Identifier: BSD-2-Clause
// process.c: threads and processes as objects: memory, numbers, tables, references.
//
// A process is found by its PID from process_create until it is reaped; a thread by its TID from
// thread_start until it ends. Both hold their number in one number space, which also remembers the
// process groups and sessions that still have members. Kernel threads belong to PID 1 and take
// numbers beyond the range of the others, so that the packed program is PID 2 and its second
// thread 3.
#include <string.h>

#include "core/log.h"
#include "mm/page.h"
#include "task/futex.h"
#include "mm/mman.h"
#include "task/task_internal.h"

#define PID_MAX 4194304  // /proc/sys/kernel/pid_max of a 64-bit Linux
#define PID_WRAP_TO 300  // Linux keeps the first numbers for boot-time daemons after a wrap
#define TABLE_SIZE 256
#define STACK_CACHE_MAX 4  // stacks kept a CPU: enough for a create-join loop

struct spinlock tree_lock;
struct process kernel_process;
static struct list tid_table[TABLE_SIZE], pid_table[TABLE_SIZE];  // [tree_lock], zero: empty
static s32 last_tid = 1;                                          // [tree_lock]
static s32 last_kernel_tid = PID_MAX;
static struct kcache *thread_cache;
static u64 n_forks;
static u32 n_live_threads;

struct stack_cache {
    u32 n;
    void *stacks[STACK_CACHE_MAX];
};
static DEFINE_PERCPU(struct stack_cache, stack_cache);

static struct list *table_slot(struct list *table, s32 id)
{
    struct list *slot = &table[(u32)id % TABLE_SIZE];
    if (!slot->next)
        list_init(slot);
    return slot;
}

struct thread *thread_find_locked(s32 tid)
{
    list_for_each_entry (struct thread, t, table_slot(tid_table, tid), tid_link)
        if (t->tid == tid)
            return t;
    return NULL;
}

struct process *process_find_locked(s32 pid)
{
    list_for_each_entry (struct process, p, table_slot(pid_table, pid), pid_link)
        if (p->pid == pid)
            return p;
    return NULL;
}

int process_for_each_locked(int (*fn)(struct process *p, void *arg), void *arg)
{
    for (int i = 0; i < TABLE_SIZE; i++) {
        if (!pid_table[i].next)
            continue;
        list_for_each_safe (link, &pid_table[i]) {
            int result = fn(list_entry(link, struct process, pid_link), arg);
            if (result)
                return result;
        }
    }
    return 0;
}

struct group_query {
    s32 pgid, sid;
};

static int is_in_group(struct process *p, void *arg)
{
    const struct group_query *q = arg;
    return (q->pgid && p->pgid == q->pgid && (!q->sid || p->sid == q->sid)) ||
           (!q->pgid && p->sid == q->sid);
}

// Is there a process of group pgid (0: any) in session sid (0: any)?
bool group_exists_locked(s32 pgid, s32 sid)
{
    struct group_query q = {pgid, sid};
    return process_for_each_locked(is_in_group, &q) != 0;
}

static bool number_in_use(s32 id)
{
    return thread_find_locked(id) || process_find_locked(id) ||
           (last_tid < id ? false : group_exists_locked(id, 0) || group_exists_locked(0, id));
}

s32 tid_alloc_locked(void)
{
    static bool wrapped;
    for (int tries = 0; tries < PID_MAX; tries++) {
        s32 id = last_tid + 1;
        if (id >= PID_MAX) {
            id = PID_WRAP_TO;
            wrapped = true;
        }
        last_tid = id;
        if (!wrapped || !number_in_use(id))
            return id;
    }
    return 0;
}

void tid_insert_locked(struct thread *t)
{
    list_push_back(table_slot(tid_table, t->tid), &t->tid_link);
}

void pid_insert_locked(struct process *p)
{
    list_push_back(table_slot(pid_table, p->pid), &p->pid_link);
}

void pid_remove_locked(struct process *p) { list_remove_init(&p->pid_link); }

// ---- kernel stacks

void *stack_alloc(void)
{
    struct stack_cache *c = percpu_ptr(stack_cache);
    if (c->n)
        return c->stacks[--c->n];
    struct page *page = page_alloc(2, 0);
    _Static_assert(KERNEL_STACK_SIZE == PAGE_SIZE << 2, "order 2");
    return page ? page_address(page) : NULL;
}

void stack_free(void *stack)
{
    struct stack_cache *c = percpu_ptr(stack_cache);
    if (c->n < STACK_CACHE_MAX)
        c->stacks[c->n++] = stack;
    else
        page_free(virt_to_page(stack), 2);
}

// ---- threads

// A thread of p with a stack and one reference, on no list yet. => NULL: no memory
struct thread *thread_alloc(struct process *p)
{
    struct thread *t = kcache_alloc(thread_cache);
    if (!t)
        return NULL;
    memset(t, 0, sizeof *t);
    t->stack = stack_alloc();
    if (!t->stack) {
        kcache_free(thread_cache, t);
        return NULL;
    }
    t->refcount = 1;
    t->process = p;
    list_init(&t->sig_queue);
    list_init(&t->cpu_timers);
    list_init(&t->process_link);
    list_init(&t->tid_link);
    t->altstack.flags = SS_DISABLE;
    t->rseq_cpu = UINT32_MAX;
    process_get(p);
    if (p == &kernel_process)
        t->tid = atomic_add(&last_kernel_tid, 1);
    atomic_add(&n_live_threads, 1);
    return t;
}

void thread_get(struct thread *t) { atomic_add(&t->refcount, 1); }

void thread_put(struct thread *t)
{
    if (atomic_sub(&t->refcount, 1))
        return;
    arch_thread_free(&t->arch);
    if (t->stack)
        stack_free(t->stack);
    process_put(t->process);
    atomic_sub(&n_live_threads, 1);
    kcache_free(thread_cache, t);
}

void thread_free_unstarted(struct thread *t)
{
    KASSERT(t->refcount == 1);
    if (t->mm)
        mm_put(t->mm);
    thread_put(t);
}

struct thread *thread_find(s32 tid)
{
    spin_lock(&tree_lock);
    struct thread *t = thread_find_locked(tid);
    if (t)
        thread_get(t);
    spin_unlock(&tree_lock);
    return t;
}

struct thread *process_iterate_threads(struct process *p, s32 *tid)
{
    struct thread *best = NULL;
    spin_lock(&p->signal_lock);
    list_for_each_entry (struct thread, t, &p->threads, process_link)
        if (t->tid >= *tid && (!best || t->tid < best->tid))
            best = t;
    if (best) {
        thread_get(best);
        *tid = best->tid;
    }
    spin_unlock(&p->signal_lock);
    return best;
}

int thread_set_comm(struct thread *t, const char *name)
{
    char comm[sizeof t->comm] = {0};
    strlcpy(comm, name, sizeof comm);
    memcpy(t->comm, comm, sizeof comm);
    return 0;
}

// ---- processes

static const struct {
    u64 cur, max;
} default_rlimits[16] = {
    // CPU, FSIZE, DATA, STACK, CORE, RSS, NPROC, NOFILE, MEMLOCK, AS, LOCKS, SIGPENDING, MSGQUEUE,
    // NICE, RTPRIO, RTTIME (getrlimit(2)); ~0 is RLIM_INFINITY
    {~0ull, ~0ull},     {~0ull, ~0ull}, {~0ull, ~0ull}, {8 << 20, ~0ull},
    {0, ~0ull},         {~0ull, ~0ull}, {32768, 32768}, {1048576, 1048576},
    {8 << 20, 8 << 20}, {~0ull, ~0ull}, {~0ull, ~0ull}, {32768, 32768},
    {819200, 819200},   {0, 0},         {0, 0},         {~0ull, ~0ull},
};

#define CAP_ALL (BIT(41) - 1)  // CAP_CHECKPOINT_RESTORE is 40

static void process_init_lists(struct process *p)
{
    p->refcount = 1;
    list_init(&p->children);
    list_init(&p->sibling_link);
    list_init(&p->pid_link);
    list_init(&p->threads);
    list_init(&p->sig_queue);
    list_init(&p->posix_timers);
    list_init(&p->cpu_timers);
    wait_queue_init(&p->child_wait);
    wait_queue_init(&p->exit_wait);
    wait_queue_init(&p->signal_wait);
}

static void process_init_first(struct process *p)
{
    memcpy(p->rlimits, default_rlimits, sizeof p->rlimits);
    p->cap_effective = p->cap_permitted = p->cap_bounding = CAP_ALL;
    p->dumpable = true;
}

static int process_inherit(struct process *p, struct process *from)
{
    u32 *groups = NULL;
    if (from->n_groups) {
        groups = kmalloc(from->n_groups * sizeof *groups);
        if (!groups)
            return -ENOMEM;
        memcpy(groups, from->groups, from->n_groups * sizeof *groups);
    }
    p->groups = groups;
    p->n_groups = from->n_groups;
    memcpy(&p->uid, &from->uid,
           offsetof(struct process, fsgid) - offsetof(struct process, uid) + sizeof p->fsgid);
    p->cap_effective = from->cap_effective;
    p->cap_permitted = from->cap_permitted;
    p->cap_inheritable = from->cap_inheritable;
    p->cap_bounding = from->cap_bounding;
    p->cap_ambient = from->cap_ambient;
    p->securebits = from->securebits;
    memcpy(p->rlimits, from->rlimits, sizeof p->rlimits);
    spin_lock(&from->signal_lock);
    memcpy(p->actions, from->actions, sizeof p->actions);
    spin_unlock(&from->signal_lock);
    p->personality = from->personality;
    p->no_new_privs = from->no_new_privs;
    p->oom_score_adj = from->oom_score_adj;
    p->coredump_filter_xor = from->coredump_filter_xor;
    p->dumpable = from->dumpable;
    p->membarrier_state = from->membarrier_state;
    return 0;
}

// A process without threads. Copies what fork(2) says from parent (NULL: a child of the kernel with
// the defaults); visible by its PID at once. => NULL: no memory, or no number left
struct process *process_create(struct process *parent)
{
    struct process *p = kzalloc(sizeof *p);
    if (!p)
        return NULL;
    process_init_lists(p);
    if (!parent)
        process_init_first(p);
    else if (process_inherit(p, parent))
        goto no_memory;
    p->exit_signal = SIGCHLD;
    p->start_ns = ktime_ns();
    spin_lock(&tree_lock);
    p->pid = tid_alloc_locked();
    if (p->pid) {
        p->parent = parent ? parent : &kernel_process;
        p->pgid = parent ? parent->pgid : p->pid;
        p->sid = parent ? parent->sid : p->pid;
        list_push_back(&p->parent->children, &p->sibling_link);
        pid_insert_locked(p);
        n_forks++;
    }
    spin_unlock(&tree_lock);
    if (p->pid)
        return p;
    kfree(p->groups);
no_memory:
    kfree(p);
    return NULL;
}

void process_get(struct process *p) { atomic_add(&p->refcount, 1); }

void process_put(struct process *p)
{
    if (atomic_sub(&p->refcount, 1))
        return;
    KASSERT(list_empty(&p->threads) && list_empty(&p->pid_link));
    kfree(p->groups);
    kfree(p->itimers);
    kfree(p);
}

// Undoes process_create when no thread was started.
void process_free_unstarted(struct process *p)
{
    spin_lock(&tree_lock);
    list_remove_init(&p->sibling_link);
    pid_remove_locked(p);
    spin_unlock(&tree_lock);
    process_put(p);
}

struct process *process_get_init(void) { return &kernel_process; }

struct process *process_find(s32 pid)
{
    spin_lock(&tree_lock);
    struct process *p = process_find_locked(pid);
    if (p)
        process_get(p);
    spin_unlock(&tree_lock);
    return p;
}

struct next_query {
    s32 from;
    struct process *best;
};

static int find_next(struct process *p, void *arg)
{
    struct next_query *q = arg;
    if (p->pid >= q->from && (!q->best || p->pid < q->best->pid))
        q->best = p;
    return 0;
}

struct process *process_iterate(s32 *pid)
{
    struct next_query q = {*pid, NULL};
    spin_lock(&tree_lock);
    process_for_each_locked(find_next, &q);
    if (q.best) {
        process_get(q.best);
        *pid = q.best->pid;
    }
    spin_unlock(&tree_lock);
    return q.best;
}

struct thread *thread_create_user(struct process *p, const struct regs *r)
{
    struct thread *t = thread_alloc(p);
    if (!t)
        return ERR_PTR(-ENOMEM);
    char *top = (char *)t->stack + KERNEL_STACK_SIZE;
    int err = arch_thread_init_user(&t->arch, top, r);
    if (err) {
        thread_put(t);
        return ERR_PTR(err);
    }
    t->regs = (struct regs *)top - 1;
    sched_init_thread(t, NULL);
    t->tid = p->pid;
    mm_get(p->mm);
    t->mm = p->mm;
    p->leader = t;
    p->n_threads = 1;
    spin_lock(&tree_lock);
    spin_lock(&p->signal_lock);
    list_push_back(&p->threads, &t->process_link);
    spin_unlock(&p->signal_lock);
    tid_insert_locked(t);
    spin_unlock(&tree_lock);
    return t;
}

// ---- what others ask about threads and processes

char thread_state_letter(struct thread *t)
{
    switch (READ_ONCE(t->state)) {
    case T_RUNNING: return 'R';
    case T_SLEEPING_INT: return 'S';
    case T_STOPPED: return 'T';
    case T_DEAD: return 'X';
    default: return 'D';
    }
}

char process_state_letter(struct process *p)
{
    char letter = 'Z';
    spin_lock(&p->signal_lock);
    if (p == &kernel_process)
        letter = 'S';
    else if (p->leader && !p->is_zombie)
        letter = thread_state_letter(p->leader);
    spin_unlock(&p->signal_lock);
    return letter;
}

void thread_times(struct thread *t, u64 *user_ns, u64 *system_ns)
{
    u64 total = thread_cpu_ns(t), system = t->regs ? MIN(t->system_ns, total) : total;
    // A sample may find that what was taken for user time was not: the answer waits until it is right again.
    u64 user = MIN(MAX(total - system, t->user_shown_ns), total);
    t->user_shown_ns = user;
    *user_ns = user;
    *system_ns = total - user;
}

void process_times_locked(struct process *p, u64 *user_ns, u64 *system_ns)
{
    *user_ns = p->dead_user_ns;
    *system_ns = p->dead_system_ns;
    list_for_each_entry (struct thread, t, &p->threads, process_link) {
        u64 user, system;
        thread_times(t, &user, &system);
        *user_ns += user;
        *system_ns += system;
    }
}

void process_times(struct process *p, u64 *user_ns, u64 *system_ns)
{
    spin_lock(&p->signal_lock);
    process_times_locked(p, user_ns, system_ns);
    spin_unlock(&p->signal_lock);
}

u64 process_cpu_ns(struct process *p)
{
    u64 user, system;
    process_times(p, &user, &system);
    return user + system;
}

u64 process_fork_count(void) { return n_forks; }
u32 process_thread_count(void) { return atomic_load_relaxed(&n_live_threads); }

struct mm *current_mm(void) { return current->mm; }

u64 rlimit_current(int resource) { return READ_ONCE(current->process->rlimits[resource].cur); }

bool rlimits_allow_pages(u64 mapped, u64 data)
{
    const struct process *p = current->process;
    if (likely(mapped <= p->rlimits[RLIMIT_AS].cur >> PAGE_SHIFT &&
               data <= p->rlimits[RLIMIT_DATA].cur >> PAGE_SHIFT))
        return true;
    // A soft limit of 0 is for programs that want none of brk(2): Linux lets the hard limit count for mappings.
    return mapped <= p->rlimits[RLIMIT_AS].cur >> PAGE_SHIFT && !p->rlimits[RLIMIT_DATA].cur &&
           data <= p->rlimits[RLIMIT_DATA].max >> PAGE_SHIFT;
}

bool capable(int capability) { return (current->process->cap_effective & BIT(capability)) != 0; }

bool capable_ipc_lock(void) { return capable(CAP_IPC_LOCK); }
bool capable_sys_admin(void) { return capable(CAP_SYS_ADMIN); }
bool capable_sys_nice(void) { return capable(CAP_SYS_NICE); }

// The reason has been told by mm_oom; the whole process ends as by SIGKILL (an OOM kill on Linux).
void oom_kill_current(void)
{
    struct process *p = current->process;
    KASSERT(p != &kernel_process);
    spin_lock(&p->signal_lock);
    process_begin_exit_locked(p, SIGKILL);
    spin_unlock(&p->signal_lock);
}

void task_init(void)
{
    struct process *p = &kernel_process;
    process_init_lists(p);
    process_init_first(p);
    p->pid = p->pgid = p->sid = 1;
    pid_insert_locked(p);
    thread_cache = kcache_create("thread", sizeof(struct thread), 64);
    if (!thread_cache)
        panic("task: no memory for the first cache");
    signal_init();
    futex_init();
    sched_init_cpu();
}
