// SPDX-License-Identifier: BSD-2-Clause
// Programs that misbehave, one a name: each must end with the status that Linux gives, and the kernel must
// live on to report it. `die NAME`; the driver knows what to expect. The ones called eat-... and fuzz are for
// the guest only: on a shared host they would harm others.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int jump_to_0(void)
{
    void (*volatile nowhere)(void) = NULL;
    nowhere();
    return 0;
}

static int jump_to_kernel(void)
{
    void (*volatile kernel)(void) = (void (*)(void))0xffffffff80000000;
    kernel();
    return 0;
}

static int jump_to_wild(void)
{
    void (*volatile wild)(void) = (void (*)(void))0x8000000000000000;
    wild();
    return 0;
}

static int write_address(uintptr_t address)
{
    *(volatile char *)address = 1;
    return 0;
}

static int write_0(void) { return write_address(0); }
static int write_kernel_text(void) { return write_address(0xffffffff80100000); }
static int write_direct_map(void) { return write_address(0xffff888000001000); }
static int write_top(void) { return write_address(0xfffffffffffffff8); }
static int write_wild(void) { return write_address(0x9000000000000000); }
static int write_own_text(void) { return write_address((uintptr_t)jump_to_0); }

static int read_kernel(void) { return *(volatile char *)0xffff888000001000; }

static volatile int go_on = 1;

static int __attribute__((noinline)) recurse_from(volatile char *above)
{
    volatile char frame[1000];
    frame[0] = *above;
    if (go_on)
        recurse_from(frame);
    return frame[1] = frame[0];
}

static int recurse(void)
{
    char top = 0;
    return recurse_from(&top);
}

static void handler_that_faults(int signal)
{
    (void)signal;
    *(volatile char *)8 = 1;
}

// A fault whose handler faults again and again until the stack is gone.
static int fault_in_handler(void)
{
    struct sigaction action = {.sa_handler = handler_that_faults, .sa_flags = SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    return write_address(8);
}

// The signal is blocked in its own handler: the second fault is final.
static int fault_while_blocked(void)
{
    struct sigaction action = {.sa_handler = handler_that_faults};
    sigaction(SIGSEGV, &action, NULL);
    return write_address(8);
}

static int fault_while_ignored(void)
{
    signal(SIGSEGV, SIG_IGN);
    return write_address(8);
}

#if defined __x86_64__
static int no_stack(void)
{
    __asm__ volatile("xor %esp, %esp; push %rax");
    return 0;
}

static int no_stack_for_handler(void)
{
    signal(SIGSEGV, handler_that_faults);
    return no_stack();
}

static int wild_stack(void)
{
    __asm__ volatile("movabs $0x8000000000000000, %rsp; push %rax");
    return 0;
}

static int halt(void)
{
    __asm__ volatile("hlt");
    return 0;
}
static int undefined(void)
{
    __asm__ volatile("ud2");
    return 0;
}
static int breakpoint(void)
{
    __asm__ volatile("int3");
    return 0;
}
static int port(void)
{
    __asm__ volatile("outb %%al, %%dx" : : "a"(0), "d"(0x501));
    return 0;
}
static int divide(void)
{
    int result;
    __asm__ volatile("cltd; idivl %%ecx" : "=a"(result) : "a"(1), "c"(0) : "edx");
    return result;
}

static int trap_flag(void)
{
    __asm__ volatile("pushf; orl $0x100, (%rsp); popf; nop; nop; nop");
    return 0;
}

static int bad_sigreturn(void)
{
    __asm__ volatile("xor %%esp, %%esp; mov %0, %%eax; syscall; ud2" : : "i"(SYS_rt_sigreturn));
    return 0;
}

static int wild_fs(void)
{
    syscall(SYS_arch_prctl, 0x1002, 0x123456789000);  // thread-local storage points at nothing
    return errno;
}
#elif defined __aarch64__
static int no_stack(void)
{
    __asm__ volatile("mov x0, #0; mov sp, x0; str x0, [sp, #-16]!");
    return 0;
}

static int no_stack_for_handler(void)
{
    signal(SIGSEGV, handler_that_faults);
    return no_stack();
}

static int wild_stack(void)
{
    __asm__ volatile("mov x0, #0x8000000000000000; add sp, x0, #0; str x0, [sp, #-16]!");
    return 0;
}
static int undefined(void)
{
    __asm__ volatile(".inst 0");
    return 0;
}
static int breakpoint(void)
{
    __asm__ volatile("brk #0");
    return 0;
}
static int hypercall(void)
{
    __asm__ volatile("hvc #0");
    return 0;
}
static int bad_sigreturn(void)
{
    __asm__ volatile("mov x0, #0; mov sp, x0; mov x8, %0; svc #0" : : "i"(SYS_rt_sigreturn));
    return 0;
}
static int wild_tls(void)
{
    __asm__ volatile("msr tpidr_el0, %0" : : "r"(0x123456789000));  // points at nothing
    return errno;
}
#endif

static int abort_now(void) { abort(); }
static int kill_self(void)
{
    kill(getpid(), SIGKILL);
    return 0;
}
static int terminate_self(void)
{
    kill(getpid(), SIGTERM);
    return 0;
}
static int exit_42(void) { return 42; }
static int exit_255(void) { _exit(255); }
static int exit_256(void) { _exit(256); }  // only the low byte counts

static int broken_pipe(void)
{
    int fds[2];
    if (pipe(fds) != 0)
        return 1;
    close(fds[0]);
    return write(fds[1], "x", 1) == 1;
}

static void *exit_group_7(void *argument)
{
    (void)argument;
    _exit(7);
}

static int exit_from_thread(void)
{
    pthread_t id;
    pthread_create(&id, NULL, exit_group_7, NULL);
    for (;;)
        pause();
    return 0;
}

static void *fault_in_thread_body(void *argument)
{
    (void)argument;
    return (void *)(intptr_t)write_address(16);
}

static int fault_in_thread(void)
{
    pthread_t id;
    pthread_create(&id, NULL, fault_in_thread_body, NULL);
    for (;;)
        pause();
    return 0;
}

static void *outlive_main(void *argument)
{
    (void)argument;
    usleep(50000);
    exit(9);
}

static int main_thread_leaves_first(void)
{
    pthread_t id;
    pthread_create(&id, NULL, outlive_main, NULL);
    pthread_exit(NULL);
}

static void *spin(void *argument)
{
    (void)argument;
    while (go_on) {
    }
    return NULL;
}

static int exit_while_threads_spin(void)
{
    pthread_t id;
    for (int i = 0; i < 6; i++)
        pthread_create(&id, NULL, spin, NULL);
    usleep(10000);
    return 11;
}

static int open_until_emfile(void)
{
    int count = 0;
    while (open("/dev/null", O_RDONLY) >= 0)
        count++;
    if (errno != EMFILE && errno != ENFILE)
        return 1;
    close(3);
    return count < 100 || open("/dev/null", O_RDONLY) != 3;
}

// ---- for the guest only ----

static int eat_memory(void)
{
    for (;;) {
        char *p = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            return 3;
        for (size_t i = 0; i < 8 << 20; i += 4096)
            p[i] = 1;
    }
}

static void *eat_body(void *argument)
{
    (void)argument;
    eat_memory();
    return NULL;
}

static int eat_memory_with_threads(void)
{
    pthread_t id;
    for (int i = 0; i < 4; i++)
        pthread_create(&id, NULL, eat_body, NULL);
    for (;;)
        pause();
    return 0;
}

static int eat_heap(void)
{
    for (;;) {
        char *p = malloc(100000);
        if (!p)
            return 3;
        memset(p, 1, 100000);
    }
}

static int eat_tmpfs(void)
{
    static char block[1 << 16];
    int fd = open("/tmp/eaten", O_CREAT | O_WRONLY, 0600);
    ssize_t n;
    while ((n = write(fd, block, sizeof block)) > 0) {
    }
    return n == -1 && errno == ENOSPC ? 0 : 4;
}

static int eat_areas(void)
{
    for (size_t i = 0;; i++) {
        if (mmap(NULL, 4096, i % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
            MAP_FAILED)
            return errno == ENOMEM ? 0 : 5;
    }
}

static int eat_threads(void)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 65536);
    for (int i = 0; i < 100000; i++) {
        pthread_t id;
        int error = pthread_create(&id, &attr, spin, NULL);
        if (error)
            return error == EAGAIN || error == ENOMEM ? 0 : 6;
        if (i == 400)
            return 0;  // they all spin: enough
    }
    return 7;
}

static int eat_pipes(void)
{
    static char block[65536];
    for (int fds[2]; pipe2(fds, O_NONBLOCK) == 0;) {
        while (write(fds[1], block, sizeof block) > 0) {
        }
    }
    return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? 0 : 8;
}

static uint64_t fuzz_state = 88172645463325252;

static uint64_t fuzz_next(void)
{
    fuzz_state ^= fuzz_state << 13, fuzz_state ^= fuzz_state >> 7, fuzz_state ^= fuzz_state << 17;
    return fuzz_state;
}

static uint64_t fuzz_value(char *memory)
{
    static const uint64_t special[] = {0,
                                       1,
                                       2,
                                       8,
                                       4095,
                                       4096,
                                       4097,
                                       65536,
                                       ~0ull,
                                       ~0ull - 4095,
                                       1ull << 63,
                                       1ull << 47,
                                       0x7ffffffff000,
                                       0x7fffffffffff,
                                       0xffff888000000000,
                                       0xffffffff80000000,
                                       0x7fffffff,
                                       0x80000000,
                                       0xffffffff,
                                       (uint64_t)-100};
    uint64_t r = fuzz_next();
    switch (r % 5) {
    case 0: return special[(r >> 8) % (sizeof special / sizeof special[0])];
    case 1: return (uint64_t)(uintptr_t)memory + (r >> 8) % 16384;
    case 2: return (r >> 8) % 64;
    case 3: return (r >> 8) % 3;
    default: return r;
    }
}

// Any call with any arguments, but for the few that would just end or stop this program.
static int fuzz(void)
{
    static const short left_out[] =
    { SYS_exit,
      SYS_exit_group,
      SYS_rt_sigreturn,
      SYS_rt_sigsuspend,
      SYS_rt_sigtimedwait,
      SYS_kill,
      SYS_tgkill,
      SYS_tkill,
      SYS_clone,
      435,
      SYS_execve,
      322,
      SYS_munmap,
      SYS_mmap,
      SYS_mremap,
      SYS_mprotect,
      SYS_pkey_alloc,  // after a pkey_free(0), without access: the stack is out of reach, as on Linux
      SYS_pkey_free,
      SYS_madvise,
      SYS_brk,
      SYS_futex,
      SYS_wait4,
      SYS_waitid,
      SYS_reboot,
      SYS_setitimer,
      SYS_timer_settime,
      SYS_nanosleep,
      SYS_clock_nanosleep,
      SYS_ppoll,
      SYS_pselect6,
      SYS_epoll_pwait,
      441,
      SYS_rt_sigaction,
      SYS_rt_sigprocmask,
      SYS_sigaltstack,
      SYS_prlimit64,
      SYS_setrlimit,
      SYS_set_robust_list,
      SYS_set_tid_address,
      SYS_read,
      SYS_readv,
      SYS_preadv,
      327,
      449,
      454,
      455,
      456,
      462,
      334,
      SYS_shmat,
      SYS_remap_file_pages,
      SYS_rt_sigqueueinfo,
      SYS_rt_tgsigqueueinfo,
      SYS_process_madvise,
      SYS_close,
      436,
      SYS_dup3,
      SYS_mlockall,
      SYS_ptrace,
      SYS_timer_create,
      SYS_personality,
      SYS_prctl,
      SYS_seccomp,
      SYS_pkey_mprotect,
#if defined __x86_64__
      SYS_fork,
      SYS_vfork,
      SYS_pause,
      SYS_poll,
      SYS_select,
      SYS_epoll_wait,
      SYS_arch_prctl,
      SYS_alarm,
      SYS_dup2,
      SYS_iopl,
      SYS_ioperm,
      SYS_modify_ldt,
#endif
    };
    char *memory = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 200000; i++) {
        long number = (long)(fuzz_next() % 470);
        int skip = 0;
        for (size_t j = 0; j < sizeof left_out / sizeof left_out[0]; j++)
            skip |= left_out[j] == number;
        uint64_t a[6];
        for (int j = 0; j < 6; j++)
            a[j] = fuzz_value(memory);
        if (!skip && (int)a[0] != 1 && (int)a[0] != 2)
            syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    return 0;
}

static const struct {
    const char *name;
    int (*run)(void);
} ways[] = {
#define WAY(name)   \
    {               \
#name, name \
    }
    WAY(jump_to_0),
    WAY(jump_to_kernel),
    WAY(jump_to_wild),
    WAY(write_0),
    WAY(write_kernel_text),
    WAY(write_direct_map),
    WAY(write_top),
    WAY(write_wild),
    WAY(write_own_text),
    WAY(read_kernel),
    WAY(recurse),
    WAY(fault_in_handler),
    WAY(fault_while_blocked),
    WAY(fault_while_ignored),
    WAY(abort_now),
    WAY(kill_self),
    WAY(terminate_self),
    WAY(exit_42),
    WAY(exit_255),
    WAY(exit_256),
    WAY(broken_pipe),
    WAY(exit_from_thread),
    WAY(fault_in_thread),
    WAY(main_thread_leaves_first),
    WAY(exit_while_threads_spin),
    WAY(open_until_emfile),
    WAY(eat_memory),
    WAY(eat_memory_with_threads),
    WAY(eat_heap),
    WAY(eat_tmpfs),
    WAY(eat_areas),
    WAY(eat_threads),
    WAY(eat_pipes),
    WAY(fuzz),
#if defined __x86_64__
    WAY(no_stack),
    WAY(no_stack_for_handler),
    WAY(wild_stack),
    WAY(halt),
    WAY(undefined),
    WAY(breakpoint),
    WAY(port),
    WAY(divide),
    WAY(trap_flag),
    WAY(bad_sigreturn),
    WAY(wild_fs),
#elif defined __aarch64__
    WAY(no_stack),
    WAY(no_stack_for_handler),
    WAY(wild_stack),
    WAY(undefined),
    WAY(breakpoint),
    WAY(hypercall),
    WAY(bad_sigreturn),
    WAY(wild_tls),
#endif
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof ways / sizeof ways[0]; i++)
        if (strcmp(argv[1], ways[i].name) == 0)
            return ways[i].run();
    fputs("usage: die WAY, one of:", stderr);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        fprintf(stderr, " %s", ways[i].name);
    fputs("\n", stderr);
    return 2;
}
