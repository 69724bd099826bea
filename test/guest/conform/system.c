// SPDX-License-Identifier: BSD-2-Clause
// What a program finds when it starts, and the calls that tell about the system: stack, auxiliary vector, vDSO,
// scheduling, limits, identity, /dev and /proc. Sources: the System V ABI, getauxval(3), vdso(7), sched(7),
// getrlimit(2), proc(5), and what Go's runtime reads.
#include "harness.h"

#include <elf.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

extern char **environ;

TEST(initial_stack_layout)
{
    // argv, NULL, environment, NULL, auxiliary vector; strings above them.
    char **end = environ;
    while (*end)
        end++;
    Elf64_auxv_t *aux = (Elf64_auxv_t *)(end + 1);
    int n = 0;
    bool page_size = false;
    for (; aux->a_type != AT_NULL; aux++, n++) {
        REQUIRE(n < 100);
        if (aux->a_type == AT_PAGESZ)
            page_size = aux->a_un.a_val == PAGE;
    }
    CHECK(page_size);
    CHECK(environ == end || (char *)environ[0] > (char *)aux);
    char **argv = environ - 2;  // the last argument, if any
    CHECK(argv[1] == NULL);
    for (; *(long *)(argv - 1) > 4096 || *(long *)(argv - 1) < 0; argv--) {
    }
    CHECK_EQ((uintptr_t)(argv - 1) % 16, 0);  // where the stack pointer stood: argc
}

// What the kernel put there: a C library may answer something of its own.
static unsigned long raw_auxval(unsigned long type)
{
    char **end = environ;
    while (*end)
        end++;
    for (Elf64_auxv_t *aux = (Elf64_auxv_t *)(end + 1); aux->a_type != AT_NULL; aux++)
        if (aux->a_type == type)
            return aux->a_un.a_val;
    return 0;
}

TEST(auxiliary_vector)
{
    CHECK_EQ(getauxval(AT_PAGESZ), PAGE);
    CHECK_EQ(getauxval(AT_CLKTCK), 100);
    CHECK_EQ(getauxval(AT_UID), getuid());
    CHECK_EQ(getauxval(AT_EUID), geteuid());
    CHECK_EQ(getauxval(AT_GID), getgid());
    CHECK_EQ(getauxval(AT_SECURE), 0);
    CHECK(getauxval(AT_PHDR) != 0);
    CHECK_EQ(getauxval(AT_PHENT), sizeof(Elf64_Phdr));
    CHECK_RANGE(getauxval(AT_PHNUM), 2, 64);
    CHECK(getauxval(AT_ENTRY) != 0);
    unsigned char *random = (unsigned char *)getauxval(AT_RANDOM);
    REQUIRE(random != NULL);
    int zeros = 0;
    for (int i = 0; i < 16; i++)
        zeros += random[i] == 0;
    CHECK(zeros < 8);
    const char *name = (const char *)getauxval(AT_EXECFN);
    REQUIRE(name != NULL);
    CHECK(strlen(name) > 0);
    const Elf64_Phdr *headers = (const Elf64_Phdr *)getauxval(AT_PHDR);
    bool load = false;
    for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++)
        load = load || headers[i].p_type == PT_LOAD;
    CHECK(load);
#if defined __x86_64__
    CHECK_STR((const char *)getauxval(AT_PLATFORM), "x86_64");
    unsigned a, b, c, d;
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(1), "c"(0));
    CHECK_EQ(raw_auxval(AT_HWCAP), d);
#endif
}

TEST(proc_self_auxv_is_the_same)
{
    char text[4096];
    size_t n = slurp("/proc/self/auxv", text, sizeof text);
    CHECK(n % 16 == 0 && n >= 32);
    unsigned long *pair = (unsigned long *)text;
    for (size_t i = 0; i + 1 < n / 8; i += 2)
        if (pair[i] == AT_RANDOM)
            CHECK_EQ(pair[i + 1], getauxval(AT_RANDOM));
}

// ---- the vDSO, found the way Go's runtime finds it ----

static void *vdso_symbol(const char *name, const char *version)
{
    char *base = (char *)getauxval(AT_SYSINFO_EHDR);
    Elf64_Ehdr *elf = (Elf64_Ehdr *)base;
    Elf64_Phdr *headers = (Elf64_Phdr *)(base + elf->e_phoff);
    Elf64_Dyn *dynamic = NULL;
    uintptr_t offset = 0;
    bool load = false;
    for (int i = 0; i < elf->e_phnum; i++) {
        if (headers[i].p_type == PT_LOAD && !load)
            load = true, offset = (uintptr_t)base + headers[i].p_offset - headers[i].p_vaddr;
        if (headers[i].p_type == PT_DYNAMIC)
            dynamic = (Elf64_Dyn *)(base + headers[i].p_offset);
    }
    REQUIRE(load && dynamic);
    char *strings = NULL;
    Elf64_Sym *symbols = NULL;
    uint16_t *versions = NULL;
    char *definitions = NULL;
    uint32_t *hash = NULL, *gnu_hash = NULL;
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        void *p = (void *)(offset + dynamic->d_un.d_ptr);
        switch (dynamic->d_tag) {
        case DT_STRTAB: strings = p; break;
        case DT_SYMTAB: symbols = p; break;
        case DT_HASH: hash = p; break;
        case DT_GNU_HASH: gnu_hash = p; break;
        case DT_VERSYM: versions = p; break;
        case DT_VERDEF: definitions = p; break;
        }
    }
    REQUIRE(strings && symbols && (hash || gnu_hash));
    REQUIRE(versions && definitions);  // Go does not check these for NULL
    int wanted = -1;
    for (;;) {
        struct {
            uint16_t version, flags, ndx, cnt;
            uint32_t hash, aux, next;
        } *definition = (void *)definitions;
        uint32_t *aux = (uint32_t *)(definitions + definition->aux);
        if (!(definition->flags & 1) && strcmp(strings + aux[0], version) == 0)
            wanted = definition->ndx & 0x7fff;
        if (!definition->next)
            break;
        definitions += definition->next;
    }
    REQUIRE(wanted >= 0);
    // Walk every chain of whichever table there is.
    uint32_t first = 0, count = hash ? hash[1] : 0;
    if (!hash) {
        uint32_t buckets = gnu_hash[0], bloom = gnu_hash[2], *bucket = gnu_hash + 4 + bloom * 2,
                 *chain = bucket + buckets;
        first = gnu_hash[1];
        for (uint32_t i = 0; i < buckets; i++)
            for (uint32_t at = bucket[i]; at >= first; at++) {
                count = at + 1 > count ? at + 1 : count;
                if (chain[at - first] & 1)
                    break;
            }
    }
    for (uint32_t i = first; i < count; i++)
        if (symbols[i].st_shndx != SHN_UNDEF && ELF64_ST_TYPE(symbols[i].st_info) == STT_FUNC &&
            strcmp(strings + symbols[i].st_name, name) == 0 && (versions[i] & 0x7fff) == wanted)
            return (void *)(offset + symbols[i].st_value);
    return NULL;
}

TEST(vdso_symbols)
{
    if (!getauxval(AT_SYSINFO_EHDR))
        SKIP("no vDSO is offered");
    CHECK(memcmp((void *)getauxval(AT_SYSINFO_EHDR), ELFMAG, SELFMAG) == 0);
#if defined __x86_64__
    static const char *const names[] = {"__vdso_clock_gettime", "__vdso_gettimeofday",
                                        "__vdso_time", "__vdso_getcpu"};
    for (size_t i = 0; i < COUNT(names); i++)
        if (!vdso_symbol(names[i], "LINUX_2.6"))
            FAIL("no %s", names[i]);
    long (*clock)(int, struct timespec *) =
        (long (*)(int, struct timespec *))vdso_symbol("__vdso_clock_gettime", "LINUX_2.6");
    REQUIRE(clock != NULL);
    struct timespec now = {0, 0};
    uint64_t before = now_ns(CLOCK_MONOTONIC);
    CHECK_EQ(clock(CLOCK_MONOTONIC, &now), 0);
    uint64_t seen = (uint64_t)now.tv_sec * SEC + (uint64_t)now.tv_nsec;
    CHECK(before <= seen && seen <= now_ns(CLOCK_MONOTONIC));
    CHECK_EQ(clock(CLOCK_THREAD_CPUTIME_ID, &now), 0);  // falls back to the call
    CHECK_EQ(clock(99, &now), -EINVAL);
    long (*cpu)(unsigned *, unsigned *, void *) =
        (long (*)(unsigned *, unsigned *, void *))vdso_symbol("__vdso_getcpu", "LINUX_2.6");
    REQUIRE(cpu != NULL);
    unsigned number = 999;
    CHECK_EQ(cpu(&number, NULL, NULL), 0);
    CHECK_RANGE(number, 0, 1023);
#else
    CHECK(vdso_symbol("__kernel_clock_gettime", "LINUX_2.6.39") != NULL);
#endif
}

#if defined __x86_64__
TEST(vdso_needs_little_stack)
{
    // Go calls it with as little as 104 bytes below the stack pointer that it may use. Here the page
    // below is not there, and 192 bytes are.
    void *clock = vdso_symbol("__vdso_clock_gettime", "LINUX_2.6");
    REQUIRE(clock != NULL);
    if (!in_lethe())
        SKIP("a promise of Lethe's vDSO: Linux makes none");
    char *p = map_anon(2 * PAGE);
    REQUIRE_OK(mprotect(p, PAGE, PROT_NONE));
    char *top = p + PAGE + 112;
    struct timespec now = {0, 0};
    for (int clock_id = 0; clock_id < 2; clock_id++) {
        long result;
        CHECK_NO_FAULT(
            __asm__ volatile("mov %%rsp, %%rbx; mov %[top], %%rsp; call *%[f]; mov %%rbx, %%rsp"
                             : "=a"(result)
                             : [top] "r"(top), [f] "r"(clock), "D"((long)clock_id), "S"(&now)
                             : "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc"));
        CHECK_EQ(result, 0);
    }
    munmap(p, 2 * PAGE);
}
#endif

TEST(vdso_is_in_maps_and_executable)
{
    if (!getauxval(AT_SYSINFO_EHDR))
        SKIP("no vDSO is offered");
    struct vma vma;
    REQUIRE(vma_at((void *)getauxval(AT_SYSINFO_EHDR), &vma));
    CHECK_STR(vma.name, "[vdso]");
    CHECK_STR(vma.perms, "r-xp");
    CHECK_FAULT(WRITE(vma.start, 1), SIGSEGV, SEGV_ACCERR, vma.start);
}

// ---- scheduling ----

TEST(affinity)
{
    unsigned long mask[128] = {0};
    long n = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    CHECK(n > 0 && n % 8 == 0);  // bytes written: Go needs it so
    int cpus = 0;
    for (long i = 0; i < n / 8; i++)
        cpus += __builtin_popcountl(mask[i]);
    CHECK(cpus >= 1);
    CHECK_ERRNO(syscall(SYS_sched_getaffinity, 0, 1, mask), EINVAL);
    CHECK_ERRNO(syscall(SYS_sched_getaffinity, 0, 12, mask), EINVAL);
    CHECK_ERRNO(syscall(SYS_sched_getaffinity, 0x3ffffff0, sizeof mask, mask), ESRCH);
    CHECK_ERRNO(syscall(SYS_sched_getaffinity, 0, sizeof mask, (void *)8), EFAULT);
    unsigned long none[16] = {0};
    CHECK_ERRNO(syscall(SYS_sched_setaffinity, 0, sizeof none, none), EINVAL);
    // Go to each CPU in turn and be there.
    for (int cpu = 0; cpu < (int)n * 8; cpu++) {
        if (!(mask[cpu / 64] >> (cpu % 64) & 1))
            continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        REQUIRE_OK(sched_setaffinity(0, sizeof one, &one));
        unsigned here = 9999, node = 9999;
        CHECK_OK(syscall(SYS_getcpu, &here, &node, NULL));
        CHECK_EQ(here, cpu);
        CHECK_EQ(sched_getcpu(), cpu);
        CHECK_EQ(cpu_count(), 1);
    }
    CHECK_OK(syscall(SYS_sched_setaffinity, 0, sizeof mask, mask));
    CHECK_EQ(cpu_count(), cpus);
}

TEST(scheduling_policy_calls)
{
    CHECK_EQ(sched_get_priority_max(SCHED_FIFO), 99);
    CHECK_EQ(sched_get_priority_min(SCHED_FIFO), 1);
    CHECK_EQ(sched_get_priority_max(SCHED_OTHER), 0);
    CHECK_ERRNO(sched_get_priority_max(77), EINVAL);
    CHECK_EQ(syscall(SYS_sched_getscheduler, 0), SCHED_OTHER);
    struct sched_param param = {.sched_priority = 7};
    CHECK_OK(syscall(SYS_sched_getparam, 0, &param));
    CHECK_EQ(param.sched_priority, 0);
    CHECK_ERRNO(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &(int){5}), EINVAL);
    CHECK_ERRNO(syscall(SYS_sched_setscheduler, 0, 77, &param), EINVAL);
    CHECK_OK(sched_yield());
    struct timespec slice;
    CHECK_OK(syscall(SYS_sched_rr_get_interval, 0, &slice));
    errno = 0;
    int nice_now = getpriority(PRIO_PROCESS, 0);
    CHECK_EQ(errno, 0);
    CHECK_RANGE(nice_now, -20, 19);
    CHECK_OK(setpriority(PRIO_PROCESS, 0, nice_now));
    CHECK_ERRNO(getpriority(77, 0), EINVAL);
}

// ---- limits and identity ----

TEST(resource_limits)
{
    struct rlimit limit, old;
    for (int i = 0; i < 16; i++)
        CHECK_OK(getrlimit(i, &limit));
    CHECK_ERRNO(getrlimit(16, &limit), EINVAL);
    REQUIRE_OK(getrlimit(RLIMIT_NOFILE, &old));
    CHECK(old.rlim_cur >= 256 && old.rlim_cur <= old.rlim_max);
    limit = (struct rlimit){100, 99};
    CHECK_ERRNO(setrlimit(RLIMIT_NOFILE, &limit), EINVAL);
    limit = (struct rlimit){200, old.rlim_max};
    CHECK_OK(setrlimit(RLIMIT_NOFILE, &limit));
    REQUIRE_OK(getrlimit(RLIMIT_NOFILE, &limit));
    CHECK_EQ(limit.rlim_cur, 200);
    struct rlimit before;
    CHECK_OK(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &old, &before));
    CHECK_EQ(before.rlim_cur, 200);
    CHECK_ERRNO(syscall(SYS_prlimit64, 0x3ffffff0, RLIMIT_NOFILE, NULL, &before), ESRCH);
    CHECK_ERRNO(syscall(SYS_prlimit64, 0, 99, NULL, &before), EINVAL);
    CHECK_ERRNO(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, (void *)8, NULL), EFAULT);
    REQUIRE_OK(getrlimit(RLIMIT_STACK, &limit));
    CHECK(limit.rlim_cur >= 1ul << 20);
}

TEST(file_size_limit)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGXFSZ, &ignore, NULL);
    struct rlimit old, limit;
    REQUIRE_OK(getrlimit(RLIMIT_FSIZE, &old));
    limit = old;
    limit.rlim_cur = PAGE;
    REQUIRE_OK(setrlimit(RLIMIT_FSIZE, &limit));
    int fd = new_file("f", 0, 0);
    char block[PAGE] = {0};
    CHECK_EQ(pwrite(fd, block, PAGE, 100), PAGE - 100);  // up to the limit
    CHECK_ERRNO(pwrite(fd, block, 1, PAGE), EFBIG);
    CHECK_ERRNO(ftruncate(fd, 2 * PAGE), EFBIG);
    REQUIRE_OK(setrlimit(RLIMIT_FSIZE, &old));
    close(fd);
    unlink("f");
}

TEST(identity)
{
    uid_t r, e, s;
    CHECK_OK(syscall(SYS_getresuid, &r, &e, &s));
    CHECK_EQ(r, getuid());
    CHECK_EQ(e, geteuid());
    CHECK(getpid() > 0 && getppid() >= 0);
    CHECK(getpgid(0) >= 0 && getsid(0) >= 0);
    CHECK_ERRNO(getpgid(0x3ffffff0), ESRCH);
    CHECK(getgroups(0, NULL) >= 0);
    struct {
        uint32_t version;
        int pid;
    } header = {0x20080522, 0};
    struct {
        uint32_t effective, permitted, inheritable;
    } data[2];
    CHECK_OK(syscall(SYS_capget, &header, data));
    header.version = 1;
    CHECK_ERRNO(syscall(SYS_capget, &header, data), EINVAL);
    CHECK_EQ(header.version, 0x20080522);
}

TEST(uname_and_sysinfo)
{
    struct utsname name;
    REQUIRE_OK(uname(&name));
    CHECK_STR(name.sysname, "Linux");
#if defined __x86_64__
    CHECK_STR(name.machine, "x86_64");
#endif
    int major = 0, minor = 0;
    CHECK_EQ(sscanf(name.release, "%d.%d", &major, &minor), 2);
    CHECK(major >= 5);
    CHECK_ERRNO(syscall(SYS_uname, (void *)8), EFAULT);
    struct sysinfo info;
    REQUIRE_OK(sysinfo(&info));
    CHECK(info.totalram > 0 && info.freeram <= info.totalram && info.mem_unit >= 1 &&
          info.procs >= 1);
    CHECK_ERRNO(syscall(SYS_sysinfo, (void *)8), EFAULT);
    char text[256];
    CHECK_OK(gethostname(text, sizeof text));
    slurp("/proc/sys/kernel/hostname", text, sizeof text);
    size_t len = strlen(name.nodename);
    CHECK(strncmp(text, name.nodename, len) == 0 && text[len] == '\n');
    slurp("/proc/sys/kernel/osrelease", text, sizeof text);
    len = strlen(name.release);
    CHECK(strncmp(text, name.release, len) == 0);
}

TEST(random_bytes)
{
    unsigned char a[256] = {0}, b[256] = {0};
    CHECK_EQ(syscall(SYS_getrandom, a, sizeof a, 0), sizeof a);
    CHECK_EQ(syscall(SYS_getrandom, b, sizeof b, 1), sizeof b);
    CHECK(memcmp(a, b, sizeof a) != 0);
    int seen[256] = {0}, distinct = 0;
    for (size_t i = 0; i < sizeof a; i++)
        distinct += seen[a[i]]++ == 0;
    CHECK_RANGE(distinct, 120, 200);  // expected: 162
    CHECK_EQ(syscall(SYS_getrandom, a, 0, 0), 0);
    CHECK_ERRNO(syscall(SYS_getrandom, a, 1, 0x80), EINVAL);
    CHECK_ERRNO(syscall(SYS_getrandom, a, 1, 6), EINVAL);  // RANDOM together with INSECURE
    CHECK_ERRNO(syscall(SYS_getrandom, (void *)8, 16, 0), EFAULT);
    CHECK_EQ(syscall(SYS_getrandom, a, sizeof a, 4), sizeof a);
}

TEST(prctl_names_and_settings)
{
    char name[17] = "";
    CHECK_OK(prctl(PR_SET_NAME, "a-long-thread-name"));
    CHECK_OK(prctl(PR_GET_NAME, name));
    CHECK_STR(name, "a-long-thread-n");
    char text[64];
    slurp("/proc/self/comm", text, sizeof text);
    CHECK_STR(text, "a-long-thread-n\n");
    CHECK_ERRNO(prctl(PR_SET_NAME, (char *)8), EFAULT);
    CHECK_ERRNO(prctl(99999, 0, 0, 0, 0), EINVAL);
    int dumpable = prctl(PR_GET_DUMPABLE);
    CHECK_RANGE(dumpable, 0, 2);
    CHECK_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    CHECK_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    CHECK_ERRNO(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
    int signal = 99;
    CHECK_OK(prctl(PR_GET_PDEATHSIG, &signal));
    CHECK_EQ(signal, 0);
}

TEST(naming_anonymous_memory)
{
    char *p = map_anon(PAGE);
    int result = prctl(0x53564d41, 0, p, PAGE, "lethe test");
    if (result == -1) {
        CHECK_EQ(errno, EINVAL);  // Go stops asking on EINVAL, and only then
    } else {
        struct vma vma;
        REQUIRE(vma_at(p, &vma));
        CHECK_STR(vma.name, "[anon:lethe test]");
    }
    munmap(p, PAGE);
}

#if defined __x86_64__
TEST(arch_prctl_calls)
{
    unsigned long fs = 0;
    CHECK_OK(syscall(SYS_arch_prctl, 0x1003 /* GET_FS */, &fs));
    unsigned long at_zero;
    __asm__("mov %%fs:0, %0" : "=r"(at_zero));
    CHECK_EQ(fs, at_zero);  // the thread block points at itself
    CHECK_OK(syscall(SYS_arch_prctl, 0x1001 /* SET_GS */, &at_zero));
    unsigned long through;
    __asm__("mov %%gs:0, %0" : "=r"(through) : "m"(at_zero));
    CHECK_EQ(through, at_zero);
    CHECK_OK(syscall(SYS_arch_prctl, 0x1004, &fs));
    CHECK_EQ(fs, (unsigned long)&at_zero);
    CHECK_OK(syscall(SYS_arch_prctl, 0x1001, 0));
    CHECK_ERRNO(syscall(SYS_arch_prctl, 0x1002, 0xffff800000000000), EPERM);
    CHECK_ERRNO(syscall(SYS_arch_prctl, 0x7777, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_arch_prctl, 0x1003, (void *)8), EFAULT);
}
#endif

TEST(unknown_calls_are_enosys)
{
    static const long numbers[] = {500, 511, 600, 1000, 5000, 0x7fffffff, -1, -2};
    for (size_t i = 0; i < COUNT(numbers); i++)
        CHECK_ERRNO(syscall(numbers[i], 1, 2, 3, 4, 5, 6), ENOSYS);
}

TEST(rseq_registers_or_is_enosys)
{
    static struct {
        uint32_t cpu_start, cpu;
        uint64_t cs;
        uint32_t flags, node, mm_cid;
        char pad[4];
    } area __attribute__((aligned(32)));
    long result = syscall(334, &area, 32, 0, 0x53053053);
    if (result == 0) {
        CHECK_RANGE(area.cpu, 0, 1023);
        CHECK_OK(syscall(334, &area, 32, 1, 0x53053053));
    } else {
        CHECK(errno == ENOSYS || errno == EINVAL || errno == EBUSY ||
              errno == EPERM);  // or the C library has one
    }
}

// ---- devices and /proc ----

TEST(memory_devices)
{
    char text[64];
    memset(text, 1, sizeof text);
    int fd = open("/dev/zero", O_RDWR);
    CHECK_EQ(read(fd, text, 64), 64);
    CHECK_BYTES(text, 0, 64);
    CHECK_EQ(write(fd, text, 64), 64);
    CHECK_EQ(lseek(fd, 100, SEEK_SET) >= 0, 1);
    close(fd);
    fd = open("/dev/null", O_RDWR);
    CHECK_EQ(read(fd, text, 64), 0);
    CHECK_EQ(write(fd, text, 64), 64);
    CHECK_EQ(write(fd, (void *)8, 64), 64);  // never looks at the data
    close(fd);
    fd = open("/dev/full", O_RDWR);
    CHECK_EQ(read(fd, text, 64), 64);
    CHECK_ERRNO(write(fd, text, 1), ENOSPC);
    close(fd);
    static const char *const sources[] = {"/dev/urandom", "/dev/random"};
    for (size_t i = 0; i < COUNT(sources); i++) {
        char other[64];
        fd = open(sources[i], O_RDONLY);
        REQUIRE(fd >= 0);
        CHECK_EQ(read(fd, text, 64), 64);
        CHECK_EQ(read(fd, other, 64), 64);
        CHECK(memcmp(text, other, 64) != 0);
        close(fd);
    }
    CHECK_ERRNO(open("/dev/no-such-device", O_RDONLY), ENOENT);
}

static unsigned long field_kb(const char *path, const char *name)
{
    static char text[16384];
    slurp(path, text, sizeof text);
    char *line = strstr(text, name);
    if (!line) {
        FAIL("%s has no %s", path, name);
        return 0;
    }
    return strtoul(line + strlen(name) + 1, NULL, 10);
}

TEST(proc_status_and_meminfo)
{
    CHECK_EQ(field_kb("/proc/self/status", "Pid"), getpid());
    CHECK_EQ(field_kb("/proc/self/status", "Threads"), 1);
    unsigned long rss = field_kb("/proc/self/status", "VmRSS"),
                  size = field_kb("/proc/self/status", "VmSize");
    CHECK(rss > 0 && size >= rss);
    char *p = map_anon(1024 * PAGE);
    memset(p, 1, 1024 * PAGE);
    unsigned long more = field_kb("/proc/self/status", "VmRSS");
    CHECK_RANGE(more - rss, 3500, 8192);
    CHECK_RANGE(field_kb("/proc/self/status", "VmSize") - size, 4096, 16384);
    madvise(p, 1024 * PAGE, MADV_DONTNEED);
    CHECK(field_kb("/proc/self/status", "VmRSS") + 3500 < more);
    munmap(p, 1024 * PAGE);
    unsigned long total = field_kb("/proc/meminfo", "MemTotal"),
                  available = field_kb("/proc/meminfo", "MemAvailable");
    CHECK(total > 0 && available <= total && field_kb("/proc/meminfo", "MemFree") <= total);
}

TEST(proc_self_files)
{
    char text[4096], path[512], target[512];
    size_t n = slurp("/proc/self/cmdline", text, sizeof text);
    CHECK(n > 0 && text[n - 1] == 0);
    CHECK(slurp("/proc/self/stat", text, sizeof text) > 0);
    CHECK_EQ(atoi(text), getpid());
    CHECK(strchr(text, '(') && strrchr(text, ')'));
    slurp("/proc/self/statm", text, sizeof text);
    unsigned long size, resident;
    CHECK_EQ(sscanf(text, "%lu %lu", &size, &resident), 2);
    CHECK(size >= resident && resident > 0);
    ssize_t len = readlink("/proc/self/exe", target, sizeof target - 1);
    REQUIRE(len > 0);
    target[len] = 0;
    CHECK(target[0] == '/');
    len = readlink("/proc/self", text, sizeof text - 1);
    REQUIRE(len > 0);
    text[len] = 0;
    CHECK_EQ(atoi(text), getpid());
    snprintf(path, sizeof path, "/proc/%d/stat", getpid());
    CHECK(slurp(path, text, sizeof text) > 0);
    snprintf(path, sizeof path, "/proc/self/task/%d/comm", my_tid());
    CHECK(slurp(path, text, sizeof text) > 0);
    int fd = new_file("f", 3, 'x');
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    len = readlink(path, target, sizeof target - 1);
    CHECK(len > 2);
    target[len > 0 ? len : 0] = 0;
    CHECK(strcmp(target + len - 2, "/f") == 0);
    CHECK(reads_as(path, "xxx"));  // opening the link opens the file
    unlink("f");
    CHECK(reads_as(path, "xxx"));  // even when its name is gone
    close(fd);
    CHECK_ERRNO(open("/proc/self/no-such-file", O_RDONLY), ENOENT);
    CHECK_ERRNO(open("/proc/99999999/stat", O_RDONLY), ENOENT);
}

TEST(files_that_go_reads)
{
    char text[8192];
    CHECK(reads_as("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152\n"));
    slurp("/proc/sys/vm/overcommit_memory", text, sizeof text);
    CHECK(text[0] >= '0' && text[0] <= '2');
    slurp("/sys/devices/system/cpu/online", text, sizeof text);
    CHECK(text[0] == '0');
    slurp("/proc/cpuinfo", text, sizeof text);
    CHECK(strstr(text, "processor\t: 0") != NULL || strncmp(text, "processor", 9) == 0);
    slurp("/proc/sys/kernel/random/boot_id", text, sizeof text);
    CHECK_EQ(strlen(text), 37);
    slurp("/proc/stat", text, sizeof text);
    CHECK(strncmp(text, "cpu ", 4) == 0);
    slurp("/proc/uptime", text, sizeof text);
    CHECK(atof(text) > 0);
    slurp("/proc/loadavg", text, sizeof text);
    slurp("/proc/version", text, sizeof text);
    CHECK(strncmp(text, "Linux version ", 14) == 0);
    slurp("/proc/filesystems", text, sizeof text);
    CHECK(strstr(text, "proc") != NULL);
    slurp("/proc/self/mountinfo", text, sizeof text);
    CHECK(strstr(text, " / ") != NULL);
    slurp("/proc/self/limits", text, sizeof text);
    CHECK(strstr(text, "Max open files") != NULL);
}

TEST(proc_read_in_small_pieces)
{
    char whole[1 << 15], piece[1 << 15];
    size_t len = slurp("/proc/self/status", whole, sizeof whole);
    int fd = open("/proc/self/status", O_RDONLY);
    size_t got = 0;
    ssize_t n;
    while ((n = read(fd, piece + got, 7)) > 0)
        got += (size_t)n;
    CHECK_EQ(got > len / 2, 1);
    CHECK(strncmp(piece, whole, 20) == 0);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    CHECK_EQ(read(fd, piece, 5), 5);
    CHECK(memcmp(piece, whole, 5) == 0);
    CHECK(pread(fd, piece, 5, 2) == 5 && memcmp(piece, whole + 2, 5) == 0);
    CHECK_ERRNO(write(fd, "x", 1), EBADF);
    close(fd);
}

// ---- user and system time

static void times_of_self(uint64_t *user_us, uint64_t *system_us)
{
    struct rusage r;
    REQUIRE_OK(getrusage(RUSAGE_SELF, &r));
    *user_us = (uint64_t)r.ru_utime.tv_sec * 1000000 + (uint64_t)r.ru_utime.tv_usec;
    *system_us = (uint64_t)r.ru_stime.tv_sec * 1000000 + (uint64_t)r.ru_stime.tv_usec;
}

// Runs body until this thread has used half a second; notes what it was charged as, and that neither part goes back.
static void charge(void (*body)(void), uint64_t *user_us, uint64_t *system_us)
{
    uint64_t user0, system0, user, system, last_user, last_system,
        end = now_ns(CLOCK_THREAD_CPUTIME_ID) + 500 * MS;
    times_of_self(&user0, &system0);
    last_user = user0, last_system = system0;
    while (now_ns(CLOCK_THREAD_CPUTIME_ID) < end) {
        body();
        times_of_self(&user, &system);
        CHECK(user >= last_user);
        CHECK(system >= last_system);
        last_user = user, last_system = system;
    }
    *user_us = last_user - user0;
    *system_us = last_system - system0;
}

static int zero_fd;
static void read_zeros(void)
{
    static char buffer[65536];
    for (int i = 0; i < 100; i++)
        CHECK_EQ(read(zero_fd, buffer, sizeof buffer), sizeof buffer);
}

static void compute(void)
{
    static volatile unsigned sum;
    for (unsigned i = 0; i < 300000; i++)
        sum += i;
}

static void touch_pages(void)
{
    char *p = map_anon(1 << 20);
    madvise(p, 1 << 20, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < 256; i++)
        p[i * PAGE] = 1;
    munmap(p, 1 << 20);
}

TEST(kernel_work_is_system_time)
{
    uint64_t user, system;
    REQUIRE_OK(zero_fd = open("/dev/zero", O_RDONLY));
    charge(compute, &user, &system);
    CHECK(user > 3 * system);
    charge(read_zeros, &user, &system);
    CHECK(system > 3 * user);
    charge(touch_pages, &user, &system);
    CHECK(system > user);
    close(zero_fd);
}
