// SPDX-License-Identifier: BSD-2-Clause
// The harness: runs the registered tests one after the other in one process, catches what kills them,
// counts. Output goes through one write(2) a line, so that a test that dies inside stdio loses nothing.
#include "harness.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/utsname.h>

#define DEFAULT_LIMIT_S 30
#define MAX_LINES_A_TEST 12

__thread sigjmp_buf fault_jump;
__thread volatile sig_atomic_t fault_armed;
__thread struct fault fault_seen;

static struct test_case *first_test, **last_link = &first_test;
static struct test_case *current;
static sigjmp_buf test_jump;
static pid_t main_tid;
static volatile int failures_in_test, skipped_in_test;
static bool verbose;
static int effort = 100;
static char scratch_dir[128];
static char alternate_stack[65536] __attribute__((aligned(16)));

static const int deadly[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS, SIGALRM};

void harness_register(struct test_case *test)
{
    *last_link = test;
    last_link = &test->next;
}

int harness_rounds(int full)
{
    int rounds = (int)((long)full * effort / 100);
    return rounds > 0 ? rounds : 1;
}

unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

void run_threads(int n, void *(*body)(void *))
{
    pthread_t ids[64];
    REQUIRE(n <= (int)COUNT(ids));
    for (intptr_t i = 0; i < n; i++)
        REQUIRE(pthread_create(&ids[i], NULL, body, (void *)i) == 0);
    for (int i = 0; i < n; i++)
        pthread_join(ids[i], NULL);
}

pid_t my_tid(void) { return (pid_t)syscall(SYS_gettid); }

static void put_line(const char *line, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, line, len);
        if (n <= 0)
            return;
        line += n;
        len -= (size_t)n;
    }
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// "area/test": the area is the source file without its suffix.
static void full_name(const struct test_case *test, char *out, size_t size)
{
    const char *file = base_name(test->file);
    const char *dot = strrchr(file, '.');
    int area = dot ? (int)(dot - file) : (int)strlen(file);
    snprintf(out, size, "%.*s/%s", area, file, test->name);
}

static void put_format(const char *head, const char *format, va_list args)
{
    char line[1024], name[128] = "";
    if (current)
        full_name(current, name, sizeof name);
    int n = snprintf(line, sizeof line - 1, "%s %s", head, name);
    n += vsnprintf(line + n, sizeof line - 1 - (size_t)n, format, args);
    if (n > (int)sizeof line - 2)
        n = (int)sizeof line - 2;
    line[n++] = '\n';
    put_line(line, (size_t)n);
}

void harness_fail(const char *file, int line, const char *format, ...)
{
    int saved = errno;
    if (__atomic_add_fetch(&failures_in_test, 1, __ATOMIC_SEQ_CST) <= MAX_LINES_A_TEST) {
        char text[900];
        snprintf(text, sizeof text, " %s:%d: %s", base_name(file), line, format);
        va_list args;
        va_start(args, format);
        put_format("FAIL", text, args);
        va_end(args);
    }
    errno = saved;
}

void harness_note(const char *format, ...)
{
    if (!verbose)
        return;
    char text[900];
    snprintf(text, sizeof text, ": %s", format);
    va_list args;
    va_start(args, format);
    put_format("note", text, args);
    va_end(args);
}

bool harness_failed(void) { return failures_in_test > 0; }

void harness_leave(void)
{
    if (my_tid() == main_tid)
        siglongjmp(test_jump, 1);
    pthread_exit(NULL);
}

void harness_skip(const char *format, ...)
{
    char text[900];
    snprintf(text, sizeof text, ": %s", format);
    va_list args;
    va_start(args, format);
    put_format("SKIP", text, args);
    va_end(args);
    skipped_in_test = 1;
    harness_leave();
}

static void on_deadly(int signal, siginfo_t *info, void *context)
{
    (void)context;
    if (fault_armed && signal != SIGALRM && signal != SIGABRT) {
        fault_seen = (struct fault){signal, info->si_code, info->si_addr};
        fault_armed = 0;
        siglongjmp(fault_jump, 1);
    }
    bool in_main = my_tid() == main_tid;
    if (signal == SIGALRM && !in_main) {  // a process signal that found another thread
        syscall(SYS_tgkill, getpid(), main_tid, SIGALRM);
        return;
    }
    if (signal == SIGALRM)
        harness_fail(current->file, 0, "still running after its time limit");
    else
        harness_fail(current->file, 0, "killed by signal %d, code %d, address %p%s", signal,
                     info->si_code, info->si_addr, in_main ? "" : " (in another thread)");
    if (in_main)
        siglongjmp(test_jump, 1);
    for (;;)
        syscall(SYS_exit, 0);  // this thread only; the test runs into its time limit
}

// Every test starts with default dispositions, an empty mask, and our handlers for deadly signals.
static void reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int signal = 1; signal <= SIGRTMAX; signal++)
        sigaction(signal, &action, NULL);
    stack_t stack = {.ss_sp = alternate_stack, .ss_size = sizeof alternate_stack};
    sigaltstack(&stack, NULL);
    action.sa_sigaction = on_deadly;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < COUNT(deadly); i++)
        sigaction(deadly[i], &action, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void set_limit(unsigned seconds)
{
    struct itimerval limit = {.it_value.tv_sec = seconds};
    setitimer(ITIMER_REAL, &limit, NULL);
}

static void run_test(struct test_case *test, unsigned scale, int counts[3])
{
    char name[128];
    full_name(test, name, sizeof name);
    if (verbose) {
        char line[160];
        put_line(line, (size_t)snprintf(line, sizeof line, "run  %s\n", name));
    }
    current = test;
    failures_in_test = skipped_in_test = 0;
    fault_armed = 0;
    reset_signals();
    set_limit((test->seconds ? test->seconds : DEFAULT_LIMIT_S) * scale);
    if (sigsetjmp(test_jump, 1) == 0)
        test->body();
    set_limit(0);
    reset_signals();
    counts[failures_in_test ? 1 : skipped_in_test ? 2 : 0]++;
    if (chdir(scratch_dir) != 0)
        failures_in_test = 0;  // the directory is gone: later tests say so themselves
}

static bool selected(const struct test_case *test, char **patterns, int n_patterns)
{
    char name[128];
    full_name(test, name, sizeof name);
    if (n_patterns == 0)
        return true;
    for (int i = 0; i < n_patterns; i++) {
        char whole_area[160];
        snprintf(whole_area, sizeof whole_area, "%s/*", patterns[i]);
        if (fnmatch(patterns[i], name, 0) == 0 || fnmatch(whole_area, name, 0) == 0 ||
            fnmatch(patterns[i], test->name, 0) == 0)
            return true;
    }
    return false;
}

static void enter_scratch_dir(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(scratch_dir, sizeof scratch_dir, "%s/lethe-test.%d", base ? base : "/tmp", getpid());
    if (mkdir(scratch_dir, 0700) != 0 || chdir(scratch_dir) != 0)
        perror(scratch_dir);
}

static int usage(void)
{
    fputs("usage: PROGRAM [-v] [-l] [-s AREA/TEST] [-x SCALE] [-e EFFORT] [-r TIMES] [PATTERN...]\n"
          "  -v        name each test before it runs\n"
          "  -l        list the tests\n"
          "  -s NAME   start after that test\n"
          "  -x SCALE  multiply the time limits\n"
          "  -e EFFORT per cent of the rounds of the long tests (default 100)\n"
          "  -r TIMES  run the selection that many times\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    const char *after = NULL;
    bool list = false;
    unsigned scale = 1, times = 1;
    int option;
    while ((option = getopt(argc, argv, "vls:x:e:r:")) != -1) {
        switch (option) {
        case 'v': verbose = true; break;
        case 'l': list = true; break;
        case 's': after = optarg; break;
        case 'x': scale = (unsigned)atoi(optarg); break;
        case 'e': effort = atoi(optarg); break;
        case 'r': times = (unsigned)atoi(optarg); break;
        default: return usage();
        }
    }
    main_tid = my_tid();
    if (!list)
        enter_scratch_dir();
    int counts[3] = {0, 0, 0};
    for (unsigned round = 0; round < times; round++) {
        bool started = after == NULL;
        for (struct test_case *test = first_test; test; test = test->next) {
            char name[128];
            full_name(test, name, sizeof name);
            if (started && selected(test, argv + optind, argc - optind)) {
                if (list)
                    puts(name);
                else
                    run_test(test, scale, counts);
            }
            if (after && strcmp(name, after) == 0)
                started = true;
        }
    }
    if (list)
        return 0;
    current = NULL;
    char line[200], skipped[40] = "";
    if (counts[2])
        snprintf(skipped, sizeof skipped, ", %d skipped", counts[2]);
    put_line(line, (size_t)snprintf(line, sizeof line, "%s: %d passed, %d failed%s\n",
                                    base_name(argv[0]), counts[0], counts[1], skipped));
    if (chdir("/") == 0)
        rmdir(scratch_dir);
    return counts[1] ? 1 : 0;
}

// ---- helpers ----

const char *errno_name(int number)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {
#define N(x) {x, #x}
        N(EPERM),
        N(ENOENT),
        N(ESRCH),
        N(EINTR),
        N(EIO),
        N(ENXIO),
        N(E2BIG),
        N(ENOEXEC),
        N(EBADF),
        N(ECHILD),
        N(EAGAIN),
        N(ENOMEM),
        N(EACCES),
        N(EFAULT),
        N(EBUSY),
        N(EEXIST),
        N(EXDEV),
        N(ENODEV),
        N(ENOTDIR),
        N(EISDIR),
        N(EINVAL),
        N(ENFILE),
        N(EMFILE),
        N(ENOTTY),
        N(ETXTBSY),
        N(EFBIG),
        N(ENOSPC),
        N(ESPIPE),
        N(EROFS),
        N(EMLINK),
        N(EPIPE),
        N(EDOM),
        N(ERANGE),
        N(EDEADLK),
        N(ENAMETOOLONG),
        N(ENOLCK),
        N(ENOSYS),
        N(ENOTEMPTY),
        N(ELOOP),
        N(EOVERFLOW),
        N(EILSEQ),
        N(EOPNOTSUPP),
        N(ETIMEDOUT),
        N(ENOTSOCK),
        N(ECANCELED),
        N(EOWNERDEAD),
        N(ENOTRECOVERABLE),
        N(EAFNOSUPPORT),
        N(EPROTONOSUPPORT),
        N(EBADFD),
        N(ESTALE),
#undef N
    };
    static char unknown[32];
    if (number == 0)
        return "no error";
    for (size_t i = 0; i < COUNT(names); i++)
        if (names[i].number == number)
            return names[i].name;
    snprintf(unknown, sizeof unknown, "errno %d", number);
    return unknown;
}

char *map_with(size_t len, int prot, int flags, int fd)
{
    char *start = mmap(NULL, len, prot, flags, fd, 0);
    if (start == MAP_FAILED) {
        FAIL("mmap of %zu bytes, prot %#x, flags %#x, fd %d fails with %s", len, prot, flags, fd,
             errno_name(errno));
        harness_leave();
    }
    return start;
}

char *map_anon(size_t len)
{
    return map_with(len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

char *map_hole(size_t len)
{
    char *start = map_with(len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    REQUIRE_OK(munmap(start, len));
    return start;
}

char *map_huge_aligned(size_t len)
{
    char *start = map_with(len + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    char *aligned = (char *)(((uintptr_t)start + HUGE - 1) & ~(HUGE - 1));
    if (aligned > start)
        REQUIRE_OK(munmap(start, (size_t)(aligned - start)));
    REQUIRE_OK(munmap(aligned + len, (size_t)(start + HUGE - aligned)));
    char *mapped =
        mmap(aligned, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    REQUIRE(mapped == aligned);
    return mapped;
}

int new_memfd(size_t len)
{
    int fd = (int)syscall(SYS_memfd_create, "lethe-test", 1u /* MFD_CLOEXEC */);
    REQUIRE(fd >= 0);
    REQUIRE_OK(ftruncate(fd, (off_t)len));
    return fd;
}

int new_file(const char *path, size_t len, int fill)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    REQUIRE(fd >= 0);
    char page[PAGE];
    for (size_t done = 0, n; done < len; done += n, fill++) {
        n = len - done < PAGE ? len - done : PAGE;
        memset(page, fill, sizeof page);
        REQUIRE(write(fd, page, n) == (ssize_t)n);
    }
    return fd;
}

uint64_t now_ns(clockid_t clock)
{
    struct timespec now = {0, 0};
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * SEC + (uint64_t)now.tv_nsec;
}

void sleep_ns(uint64_t ns)
{
    struct timespec wanted = {(time_t)(ns / SEC), (long)(ns % SEC)};
    while (nanosleep(&wanted, &wanted) != 0 && errno == EINTR) {
    }
}

bool in_lethe(void)
{
    struct utsname name;
    return uname(&name) == 0 && strstr(name.version, "Lethe") != NULL;
}

unsigned cpu_count(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return (unsigned)CPU_COUNT(&set);
}

size_t slurp(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        FAIL("open %s fails with %s", path, errno_name(errno));
        harness_leave();
    }
    size_t used = 0;
    ssize_t n;
    while (used < size - 1 && (n = read(fd, buffer + used, size - 1 - used)) > 0)
        used += (size_t)n;
    buffer[used] = 0;
    close(fd);
    return used;
}

bool reads_as(const char *path, const char *wanted)
{
    char text[512];
    slurp(path, text, sizeof text);
    return strcmp(text, wanted) == 0;
}

// Calls visit for each line of /proc/self/maps until it returns true.
static bool walk_maps(bool (*visit)(const struct vma *, void *), void *argument)
{
    static char text[1 << 18];
    slurp("/proc/self/maps", text, sizeof text);
    for (char *line = text, *next; *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        else
            next = line + strlen(line);
        struct vma vma = {.name = ""};
        unsigned major, minor;
        int used = 0;
        if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %n", &vma.start, &vma.end, vma.perms,
                   &vma.offset, &major, &minor, &vma.inode, &used) < 7) {
            FAIL("a line of /proc/self/maps that does not parse: %s", line);
            continue;
        }
        if (used > 0)
            snprintf(vma.name, sizeof vma.name, "%s", line + used);
        if (visit(&vma, argument))
            return true;
    }
    return false;
}

struct vma_search {
    uintptr_t start, end;
    struct vma *out;
    int count;
};

static bool visit_at(const struct vma *vma, void *argument)
{
    struct vma_search *search = argument;
    if (search->start < vma->start || search->start >= vma->end)
        return false;
    *search->out = *vma;
    return true;
}

static bool visit_count(const struct vma *vma, void *argument)
{
    struct vma_search *search = argument;
    if (vma->start < search->end && search->start < vma->end)
        search->count++;
    return false;
}

bool vma_at(const void *address, struct vma *out)
{
    struct vma_search search = {.start = (uintptr_t)address, .out = out};
    return walk_maps(visit_at, &search);
}

int vma_count(const void *start, const void *end)
{
    struct vma_search search = {.start = (uintptr_t)start, .end = (uintptr_t)end};
    walk_maps(visit_count, &search);
    return search.count;
}

long resident_pages(const void *start, size_t len)
{
    unsigned char seen[4096];
    size_t n_pages = (len + PAGE - 1) / PAGE;
    REQUIRE(n_pages <= sizeof seen);
    REQUIRE_OK(mincore((void *)start, len, seen));
    long count = 0;
    for (size_t i = 0; i < n_pages; i++)
        count += seen[i] & 1;
    return count;
}
