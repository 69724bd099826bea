// SPDX-License-Identifier: BSD-2-Clause
// Protection keys: pkey_alloc(2), pkey_free(2), pkey_mprotect(2), pkeys(7). A CPU without them answers ENOSPC and EINVAL.
#include "harness.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <ucontext.h>

#define RW (PROT_READ | PROT_WRITE)
#define NO_ACCESS 1
#define NO_WRITE 2
#define PKRU_START 0x55555554u
#define PKUERR 4

static long key_alloc(unsigned long flags, unsigned long rights)
{
    return syscall(SYS_pkey_alloc, flags, rights);
}
static long key_free(int key) { return syscall(SYS_pkey_free, key); }
static long key_protect(void *p, size_t len, int prot, int key)
{
    return syscall(SYS_pkey_mprotect, p, len, prot, key);
}

#if defined __x86_64__
static unsigned rdpkru(void)
{
    unsigned value, high;
    __asm__ volatile("rdpkru" : "=a"(value), "=d"(high) : "c"(0));
    return value;
}
static void wrpkru(unsigned value)
{
    __asm__ volatile("wrpkru" : : "a"(value), "c"(0), "d"(0) : "memory");
}
#else  // no register: what follows is not reached
static unsigned rdpkru(void) { return 0; }
static void wrpkru(unsigned value) { (void)value; }
#endif
static void set_rights(int key, unsigned rights)
{
    wrpkru((rdpkru() & ~(3u << 2 * key)) | rights << 2 * key);
}

static int new_key(unsigned rights)
{
    long key = key_alloc(0, rights);
    if (key < 0 &&
        (errno == ENOSPC || errno == EINVAL))  // Linux's first answer without them is EINVAL
        SKIP("no protection keys here");
    REQUIRE(key > 0 && key < 16);
    return (int)key;
}

TEST(keys_check_their_arguments)
{
    char *p = map_anon(2 * PAGE);
    CHECK_ERRNO(key_alloc(1, 0), EINVAL);
    CHECK_ERRNO(key_alloc(0, 4), EINVAL);
    CHECK_ERRNO(key_free(-1), EINVAL);
    CHECK_ERRNO(key_free(16), EINVAL);
    CHECK_ERRNO(key_free(9), EINVAL);
    CHECK_OK(key_protect(p, PAGE, PROT_READ, -1));
    CHECK_ERRNO(key_protect(p, PAGE, RW, 9), EINVAL);
    CHECK_ERRNO(key_protect(p, PAGE, RW, 16), EINVAL);
    CHECK_ERRNO(key_protect(p, PAGE, RW, -2), EINVAL);
    CHECK_ERRNO(key_protect(p + 1, PAGE, RW, -1), EINVAL);
    CHECK_OK(key_protect(p, 0, RW, 9));  // nothing to do comes first
    CHECK_ERRNO(key_protect(p, -PAGE, RW, 9), ENOMEM);
    CHECK_ERRNO(key_protect(p, PAGE, 0x40, 9), EINVAL);
    munmap(p, 2 * PAGE);
}

TEST(all_keys_can_be_had)
{
    int keys[16], n = 0;
    keys[n++] = new_key(0);
    for (long key; n < 16 && (key = key_alloc(0, 0)) > 0;)
        keys[n++] = (int)key;
    CHECK_EQ(errno, ENOSPC);
    CHECK_RANGE(n, 14, 15);  // Linux may keep one for memory that can only be run
    CHECK_OK(key_free(keys[3]));
    CHECK_ERRNO(key_free(keys[3]), EINVAL);
    CHECK_EQ(key_alloc(0, 0), keys[3]);
    for (int i = 0; i < n; i++)
        CHECK_OK(key_free(keys[i]));
    wrpkru(PKRU_START);
}

TEST(rights_are_the_threads)
{
    int key = new_key(0);
    CHECK_OK(key_free(key));
    CHECK_EQ(rdpkru() >> 2 * key & 3, 0);
    key = new_key(NO_ACCESS);
    CHECK_EQ(rdpkru() >> 2 * key & 3, NO_ACCESS);
    CHECK_OK(key_free(key));
    key = new_key(NO_WRITE);
    CHECK_EQ(rdpkru() >> 2 * key & 3, NO_WRITE);
    CHECK_OK(key_free(key));
    wrpkru(PKRU_START);
}

static int fault_key;
static void note_key(int signal, siginfo_t *info, void *context)
{
    int key;
    (void)signal, (void)context;
    memcpy(&key, (char *)info + 32, sizeof key);  // si_pkey
    fault_key = info->si_code == PKUERR ? key : -info->si_code;
    fault_seen = (struct fault){signal, info->si_code, info->si_addr};
    siglongjmp(fault_jump, 1);
}

// The si_pkey of a fault, minus its si_code if that is another, 0 if there is none. Rights are put back after it.
#define KEY_OF_FAULT(statement)                                                        \
    ({                                                                                 \
        struct sigaction act_ = {.sa_sigaction = note_key, .sa_flags = SA_SIGINFO}, o; \
        unsigned rights_ = rdpkru();                                                   \
        fault_key = 0;                                                                 \
        sigaction(SIGSEGV, &act_, &o);                                                 \
        if (sigsetjmp(fault_jump, 1) == 0) {                                           \
            statement;                                                                 \
        }                                                                              \
        wrpkru(rights_);                                                               \
        sigaction(SIGSEGV, &o, NULL);                                                  \
        fault_key;                                                                     \
    })

TEST(rights_hold)
{
    int key = new_key(0);
    char *p = map_anon(4 * PAGE);
    memset(p, 5, 4 * PAGE);
    CHECK_OK(key_protect(p + PAGE, 2 * PAGE, RW, key));
    CHECK_EQ(vma_count(p, p + 4 * PAGE), 3);
    CHECK_NO_FAULT(WRITE(p + PAGE, 1));
    set_rights(key, NO_WRITE);
    CHECK_EQ(BYTE(p + PAGE), 1);
    CHECK_EQ(KEY_OF_FAULT(WRITE(p + 2 * PAGE, 1)), key);
    CHECK_EQ(fault_seen.address, p + 2 * PAGE);
    set_rights(key, NO_ACCESS);
    CHECK_EQ(KEY_OF_FAULT(READ(p + PAGE)), key);
    CHECK_NO_FAULT(READ(p));
    CHECK_EQ(KEY_OF_FAULT(READ(p + 2 * PAGE)), key);
    CHECK_OK(mprotect(p + PAGE, 2 * PAGE, PROT_READ));  // keeps the key
    CHECK_EQ(KEY_OF_FAULT(READ(p + PAGE)), key);
    set_rights(key, 0);
    CHECK_EQ(KEY_OF_FAULT(WRITE(p + PAGE, 1)), -SEGV_ACCERR);
    CHECK_OK(key_protect(p + PAGE, 2 * PAGE, RW, 0));
    CHECK_EQ(vma_count(p, p + 4 * PAGE), 1);
    wrpkru(PKRU_START);
    CHECK_OK(key_free(key));
    munmap(p, 4 * PAGE);
}

static const unsigned char code_42[] = {0xb8, 42, 0, 0, 0, 0xc3};  // mov $42, %eax; ret

// Memory that may be run and nothing else has a key that the program can neither name nor free.
TEST(memory_that_may_only_be_run_cannot_be_read)
{
    CHECK_OK(key_free(new_key(0)));
    char *p = map_anon(3 * PAGE);
    memcpy(p + PAGE, code_42, sizeof code_42);
    int (*run)(void) = (int (*)(void))(p + PAGE);
    REQUIRE_OK(mprotect(p + PAGE, PAGE, PROT_EXEC));
    int key = KEY_OF_FAULT(READ(p + PAGE));
    CHECK_RANGE(key, 1, 15);
    CHECK_EQ(run(), 42);
    CHECK_EQ(rdpkru() >> 2 * key & 3, NO_ACCESS);
    CHECK_ERRNO(key_free(key), EINVAL);
    CHECK_ERRNO(key_protect(p, PAGE, RW, key), EINVAL);
    CHECK_OK(mprotect(p + PAGE, PAGE, PROT_READ | PROT_EXEC));
    CHECK_NO_FAULT(READ(p + PAGE));
    CHECK_EQ(run(), 42);
    CHECK_OK(mprotect(p, 3 * PAGE, PROT_EXEC));
    CHECK_EQ(KEY_OF_FAULT(WRITE(p + 2 * PAGE, 1)), key);
    CHECK_OK(mprotect(p, 3 * PAGE, RW));
    CHECK_NO_FAULT(WRITE(p + 2 * PAGE, 1));
    CHECK_EQ(vma_count(p, p + 3 * PAGE), 1);
    char *q = mmap(NULL, PAGE, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_EQ(KEY_OF_FAULT(READ(q)), key);
    wrpkru(rdpkru() & ~(3u << 2 * key));
    CHECK_NO_FAULT(READ(q));
    CHECK_OK(key_protect(q, PAGE, PROT_EXEC, -1));  // closes it again
    CHECK_EQ(KEY_OF_FAULT(READ(q)), key);
    wrpkru(PKRU_START);
    munmap(q, PAGE);
    munmap(p, 3 * PAGE);
}

TEST(untouched_copied_and_huge_pages_have_keys)
{
    int key = new_key(NO_ACCESS);
    char *p = map_huge_aligned(2 * HUGE);
    madvise(p, 2 * HUGE, MADV_HUGEPAGE);
    memset(p, 1, HUGE);
    CHECK_OK(key_protect(p, 2 * HUGE, RW, key));
    CHECK_EQ(KEY_OF_FAULT(READ(p)), key);
    CHECK_EQ(KEY_OF_FAULT(READ(p + HUGE)), key);  // nothing there yet
    CHECK_EQ(KEY_OF_FAULT(WRITE(p + HUGE + PAGE, 1)), key);
    CHECK_OK(key_protect(p + PAGE, PAGE, RW, 0));  // breaks it
    CHECK_NO_FAULT(WRITE(p + PAGE, 2));
    CHECK_EQ(KEY_OF_FAULT(READ(p + 2 * PAGE)), key);
    char *q = mremap(p, 2 * HUGE - PAGE, 2 * HUGE - PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                     map_hole(2 * HUGE));
    REQUIRE(q == MAP_FAILED || q);
    p = q == MAP_FAILED ? p : q;
    pid_t child = fork();
    if (child == 0)
        _exit(KEY_OF_FAULT(READ(p + 2 * PAGE)) != key ||
              KEY_OF_FAULT(WRITE(p + 2 * PAGE, 1)) != key || key_free(key) != 0);
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_EQ(status, 0);
    CHECK_EQ(KEY_OF_FAULT(READ(p + 2 * PAGE)), key);
    set_rights(key, 0);
    CHECK_NO_FAULT(WRITE(p + 2 * PAGE, 3));
    CHECK_EQ(BYTE(p + 3 * PAGE), 1);
    wrpkru(PKRU_START);
    CHECK_OK(key_free(key));
    munmap(p, 2 * HUGE - PAGE);
}

TEST(the_kernel_obeys_rights_too)
{
    int key = new_key(NO_ACCESS), pipe_ends[2];
    char *p = map_anon(PAGE);
    REQUIRE_OK(pipe(pipe_ends));
    memset(p, 1, PAGE);
    CHECK_OK(key_protect(p, PAGE, RW, key));
    CHECK_ERRNO(write(pipe_ends[1], p, 8), EFAULT);
    set_rights(key, NO_WRITE);
    CHECK_EQ(write(pipe_ends[1], p, 8), 8);
    CHECK_ERRNO(read(pipe_ends[0], p, 8), EFAULT);
    wrpkru(PKRU_START);
    close(pipe_ends[0]), close(pipe_ends[1]);
    CHECK_OK(key_free(key));
    munmap(p, PAGE);
}

static unsigned seen_in_handler;
static void look(int signal)
{
    (void)signal;
    seen_in_handler = rdpkru();
    wrpkru(0);
}

TEST(handlers_start_with_the_first_rights)
{
    int key = new_key(0);
    struct sigaction act = {.sa_handler = look}, old;
    REQUIRE_OK(sigaction(SIGUSR1, &act, &old));
    unsigned mine = PKRU_START & ~(3u << 2 * key);
    wrpkru(mine);
    raise(SIGUSR1);
    unsigned after = rdpkru();
    // The frame must be written where the interrupted code may not write.
    char *stack = map_anon(16 * PAGE);
    stack_t alt = {.ss_sp = stack, .ss_size = 16 * PAGE}, old_alt;
    REQUIRE_OK(sigaltstack(&alt, &old_alt));
    act.sa_flags = SA_ONSTACK;
    REQUIRE_OK(sigaction(SIGUSR1, &act, NULL));
    wrpkru(PKRU_START | 1u << 31);
    raise(SIGUSR1);
    unsigned later = rdpkru();
    wrpkru(PKRU_START);
    sigaction(SIGUSR1, &old, NULL);
    sigaltstack(&old_alt, NULL);
    munmap(stack, 16 * PAGE);
    CHECK_EQ(seen_in_handler, PKRU_START);
    CHECK_EQ(after, mine);
    CHECK_EQ(later, PKRU_START | 1u << 31);
    CHECK_OK(key_free(key));
}

static void *child_rights(void *out)
{
    *(unsigned *)out = rdpkru();
    wrpkru(0);
    sched_yield();
    return NULL;
}

TEST(rights_are_kept_for_each_thread)
{
    int key = new_key(NO_WRITE);
    pthread_t thread;
    unsigned inherited = 0, mine = rdpkru();
    REQUIRE(pthread_create(&thread, NULL, child_rights, &inherited) == 0);
    pthread_join(thread, NULL);
    CHECK_EQ(inherited, mine);
    for (int i = 0; i < 100; i++)
        sched_yield();
    CHECK_EQ(rdpkru(), mine);
    wrpkru(PKRU_START);
    CHECK_OK(key_free(key));
}

TEST(smaps_shows_the_key)
{
    static char text[1 << 19];
    char head[32];
    int key = new_key(0);
    char *hole = map_hole(4 * PAGE);
    char *p = mmap(hole + PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK_OK(key_protect(p, PAGE, RW, key));
    snprintf(head, sizeof head, "%lx-", (unsigned long)p);
    slurp("/proc/self/smaps", text, sizeof text);
    char *at = strstr(text, head);
    at = at ? strstr(at, "ProtectionKey:") : NULL;
    CHECK(at != NULL);
    if (at)
        CHECK_EQ(atoi(at + strlen("ProtectionKey:")), key);
    CHECK_OK(key_free(key));
    munmap(p, PAGE);
    wrpkru(PKRU_START);
}
