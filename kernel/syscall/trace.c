// SPDX-License-Identifier: BSD-2-Clause
// trace.c: `strace` on the kernel command line: one line a call on the console, in strace(1)'s words.
//
//   [2] openat(AT_FDCWD, "/etc/hosts", 0x80000, 0) = 3 <0.000004>
//
// The arguments are decoded before the call, by the letters of calls.def, because the call may change
// what they point at; the line is printed when it returns, so that lines of several threads do not
// mix. Calls that do not return are printed at once. `strace=a,b` restricts it to those names. Calls
// come here only while tracing is on: the architecture switches its entry point (docs/entry.md).
#include <stdio.h>
#include <string.h>

#include "arch/regs.h"
#include "arch/uaccess.h"
#include "core/cpu.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/time.h"
#include "mm/mman.h"
#include "syscall/syscall.h"
#include "task/thread.h"

#define LINE_MAX 512
#define STRING_MAX 64  // characters shown of a string or buffer

struct line {
    char text[LINE_MAX];
    size_t len;
};

struct flag_name {
    u64 value;
    const char *name;
};

static u64 wanted[SYSCALL_COUNT / 64 + 1];  // a bit for each call to print

static void __printf(2, 3) put(struct line *l, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(l->text + l->len, LINE_MAX - l->len, fmt, args);
    va_end(args);
    l->len = MIN(l->len + (size_t)n, (size_t)LINE_MAX - 1);
}

static void put_escaped(struct line *l, const char *s, size_t len)
{
    put(l, "\"");
    for (size_t i = 0; i < len; i++) {
        u8 c = (u8)s[i];
        if (c == '\n')
            put(l, "\\n");
        else if (c == '"' || c == '\\')
            put(l, "\\%c", c);
        else if (c < ' ' || c > '~')
            put(l, "\\x%02x", c);
        else
            put(l, "%c", c);
    }
    put(l, "\"");
}

static void put_buffer(struct line *l, uptr_t at, size_t len)
{
    char buf[STRING_MAX];
    size_t n = MIN(len, (size_t)STRING_MAX);
    if (copy_from_user_partial(buf, at, n)) {
        put(l, "%#lx", at);
        return;
    }
    put_escaped(l, buf, n);
    if (n < len)
        put(l, "...");
}

static void put_string(struct line *l, uptr_t at)
{
    char buf[STRING_MAX];
    if (at == 0) {
        put(l, "NULL");
        return;
    }
    ssize_t n = strncpy_from_user(buf, at, sizeof(buf));
    if (n == -EFAULT) {
        put(l, "%#lx", at);
        return;
    }
    put_escaped(l, buf, n < 0 ? sizeof(buf) : (size_t)n);
    if (n < 0)
        put(l, "...");
}

static void put_flags(struct line *l, u64 value, const struct flag_name *names, size_t n,
                      const char *none)
{
    const char *sep = "";
    if (value == 0) {
        put(l, "%s", none);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (value & names[i].value) {
            put(l, "%s%s", sep, names[i].name);
            value &= ~names[i].value;
            sep = "|";
        }
    }
    if (value)
        put(l, "%s%#lx", sep, value);
}

static void put_prot(struct line *l, u64 value)
{
    static const struct flag_name names[] = {
        {PROT_READ, "PROT_READ"}, {PROT_WRITE, "PROT_WRITE"}, {PROT_EXEC, "PROT_EXEC"}};
    put_flags(l, value, names, ARRAY_SIZE(names), "PROT_NONE");
}

static void put_map_flags(struct line *l, u64 value)
{
    static const struct flag_name names[] = {
        {MAP_FIXED, "MAP_FIXED"},         {MAP_ANONYMOUS, "MAP_ANONYMOUS"},
        {MAP_NORESERVE, "MAP_NORESERVE"}, {MAP_STACK, "MAP_STACK"},
        {MAP_POPULATE, "MAP_POPULATE"},   {MAP_GROWSDOWN, "MAP_GROWSDOWN"},
        {MAP_LOCKED, "MAP_LOCKED"},       {MAP_FIXED_NOREPLACE, "MAP_FIXED_NOREPLACE"},
        {MAP_HUGETLB, "MAP_HUGETLB"},     {MAP_DENYWRITE, "MAP_DENYWRITE"}};
    static const char types[4][24] = {"0", "MAP_SHARED", "MAP_PRIVATE", "MAP_SHARED_VALIDATE"};
    put(l, "%s", types[value & 3]);
    if (value & ~3ull) {
        put(l, "|");
        put_flags(l, value & ~3ull, names, ARRAY_SIZE(names), "");
    }
}

static void put_advice(struct line *l, u64 value)
{
    // clang-format off
    static const char names[][14] = {
        "NORMAL", "RANDOM", "SEQUENTIAL", "WILLNEED", "DONTNEED", "", "", "", "FREE", "REMOVE",
        "DONTFORK", "DOFORK", "MERGEABLE", "UNMERGEABLE", "HUGEPAGE", "NOHUGEPAGE", "DONTDUMP",
        "DODUMP", "WIPEONFORK", "KEEPONFORK", "COLD", "PAGEOUT", "POPULATE_READ", "POPULATE_WRITE",
        "DONTNEED_LOCK", "COLLAPSE"};
    // clang-format on
    if (value < ARRAY_SIZE(names) && names[value][0])
        put(l, "MADV_%s", names[value]);
    else
        put(l, "%lu", value);
}

static void put_signal(struct line *l, u64 value)
{
    // clang-format off
    static const char names[][8] = {
        "0", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV",
        "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU",
        "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS"};
    // clang-format on
    if (value == 0 || value >= ARRAY_SIZE(names))
        put(l, "%lu", value);
    else
        put(l, "SIG%s", names[value]);
}

static void put_timespec(struct line *l, uptr_t at)
{
    s64 ts[2];
    if (at == 0)
        put(l, "NULL");
    else if (copy_from_user(ts, at, sizeof(ts)))
        put(l, "%#lx", at);
    else
        put(l, "{%ld, %ld}", (long)ts[0], (long)ts[1]);
}

// `next` is the argument after this one, the length of a buffer.
static void put_argument(struct line *l, char letter, u64 value, u64 next)
{
    switch (letter) {
    case 'd': put(l, "%d", (s32)value); break;
    case 'u': put(l, "%u", (u32)value); break;
    case 'o': put(l, "%#o", (u32)value); break;
    case 'z': put(l, "%lu", value); break;
    case 'f': put(l, "%d", (s32)value); break;
    case '@':
        if ((s32)value == -100)
            put(l, "AT_FDCWD");
        else
            put(l, "%d", (s32)value);
        break;
    case 's': put_string(l, value); break;
    case 'b': put_buffer(l, value, next); break;
    case 't': put_timespec(l, value); break;
    case 'P': put_prot(l, value); break;
    case 'M': put_map_flags(l, value); break;
    case 'A': put_advice(l, value); break;
    case 'S': put_signal(l, value); break;
    case 'p':
        if (value == 0) {
            put(l, "NULL");
            break;
        }
        // fall through
    default: put(l, "%#lx", value); break;
    }
}

static const char *error_name(long error)
{
    // clang-format off
    static const char names[][16] = {
        "0", "EPERM", "ENOENT", "ESRCH", "EINTR", "EIO", "ENXIO", "E2BIG", "ENOEXEC", "EBADF",
        "ECHILD", "EAGAIN", "ENOMEM", "EACCES", "EFAULT", "ENOTBLK", "EBUSY", "EEXIST", "EXDEV",
        "ENODEV", "ENOTDIR", "EISDIR", "EINVAL", "ENFILE", "EMFILE", "ENOTTY", "ETXTBSY", "EFBIG",
        "ENOSPC", "ESPIPE", "EROFS", "EMLINK", "EPIPE", "EDOM", "ERANGE", "EDEADLK",
        "ENAMETOOLONG", "ENOLCK", "ENOSYS", "ENOTEMPTY", "ELOOP"};
    // clang-format on
    // clang-format off
    static const struct flag_name more[] = {
        {ENODATA, "ENODATA"},           {EOVERFLOW, "EOVERFLOW"},
        {ENOTSOCK, "ENOTSOCK"},         {EDESTADDRREQ, "EDESTADDRREQ"},
        {EMSGSIZE, "EMSGSIZE"},         {ENOPROTOOPT, "ENOPROTOOPT"},
        {EPROTONOSUPPORT, "EPROTONOSUPPORT"}, {EOPNOTSUPP, "EOPNOTSUPP"},
        {EAFNOSUPPORT, "EAFNOSUPPORT"}, {EADDRINUSE, "EADDRINUSE"},
        {EADDRNOTAVAIL, "EADDRNOTAVAIL"}, {ENETUNREACH, "ENETUNREACH"},
        {ECONNABORTED, "ECONNABORTED"}, {ECONNRESET, "ECONNRESET"},
        {ENOBUFS, "ENOBUFS"},           {EISCONN, "EISCONN"},
        {ENOTCONN, "ENOTCONN"},         {ETIMEDOUT, "ETIMEDOUT"},
        {ECONNREFUSED, "ECONNREFUSED"}, {EALREADY, "EALREADY"},
        {EINPROGRESS, "EINPROGRESS"},   {ECANCELED, "ECANCELED"},
        {EOWNERDEAD, "EOWNERDEAD"},     {ERESTARTSYS, "ERESTARTSYS"},
        {ERESTARTNOINTR, "ERESTARTNOINTR"}, {ERESTARTNOHAND, "ERESTARTNOHAND"},
        {ERESTART_RESTARTBLOCK, "ERESTART_RESTARTBLOCK"}};
    // clang-format on
    if (error < (long)ARRAY_SIZE(names))
        return names[error];
    for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
        if ((long)more[i].value == error)
            return more[i].name;
    }
    return "E?";
}

static void put_result(struct line *l, long result, u64 ns)
{
    if (result < 0 && result >= -4095) {
        bool restart = result <= -ERESTARTSYS && result >= -ERESTART_RESTARTBLOCK;
        put(l, " = %s %s", restart ? "?" : "-1", error_name(-result));
    } else if (result > 0xffffff || result < 0) {
        put(l, " = %#lx", (u64)result);
    } else {
        put(l, " = %ld", result);
    }
    put(l, " <%lu.%06lu>", ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / 1000);
}

static void put_call(struct line *l, const struct regs *r, long nr)
{
    const char *name = syscall_name(nr), *letters = syscall_arguments(nr);
    put(l, "[%d] ", current->tid);
    if (name)
        put(l, "%s(", name);
    else
        put(l, "syscall_%ld(", nr);
    for (int i = 0; i < 6 && letters[i]; i++) {
        u64 next = i < 5 ? (u64)regs_arg(r, i + 1) : 0;
        put_argument(l, letters[i], (u64)regs_arg(r, i), next);
        if (letters[i + 1])
            put(l, ", ");
    }
    put(l, ")");
}

static long dispatch(const struct regs *r, long nr)
{
    return syscall_table[nr](regs_arg(r, 0), regs_arg(r, 1), regs_arg(r, 2), regs_arg(r, 3),
                             regs_arg(r, 4), regs_arg(r, 5));
}

// A call that does not come back here as the one that was made.
static bool ends_here(const char *name)
{
    return name &&
           (!strcmp(name, "exit") || !strcmp(name, "exit_group") || !strcmp(name, "rt_sigreturn"));
}

// => 0 <= nr < SYSCALL_COUNT
long syscall_traced(struct regs *r)
{
    long nr = (u32)regs_syscall_nr(r);
    if (!(wanted[nr / 64] & BIT(nr & 63)))
        return dispatch(r, nr);

    struct line l;
    l.len = 0;
    put_call(&l, r, nr);
    if (ends_here(syscall_name(nr))) {
        kprintf("%s = ?\n", l.text);
        return dispatch(r, nr);
    }
    u64 start = ktime_ns();
    long result = dispatch(r, nr);
    put_result(&l, result, ktime_ns() - start);
    kprintf("%s\n", l.text);
    return result;
}

static void want(const char *name)
{
    bool found = false;
    for (long nr = 0; nr < SYSCALL_COUNT; nr++) {
        const char *n = syscall_name(nr);
        if (n && !strcmp(n, name)) {
            wanted[nr / 64] |= BIT(nr & 63);
            found = true;
        }
    }
    if (!found)
        log_error("strace: there is no system call %s", name);
}

void syscall_trace_init(void)
{
    char list[256];
    if (!cmdline_get("strace", list, sizeof(list)))
        return;
    if (list[0] == '\0')
        memset(wanted, 0xff, sizeof(wanted));
    for (char *name = list, *end; *name; name = end) {
        end = strchr(name, ',');
        if (end)
            *end++ = '\0';
        else
            end = name + strlen(name);
        want(name);
    }
    arch_syscall_trace(true);
}
