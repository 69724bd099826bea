// SPDX-License-Identifier: BSD-2-Clause
// exec.c: execve(2) and execveat(2).
//
// Everything that can fail happens on a new address space beside the old one; then the other threads
// are ended, and from there on nothing fails: the process becomes the new program.
#include <stdio.h>
#include <string.h>

#include "arch/uaccess.h"
#include "core/log.h"
#include "exec/exec_internal.h"

#define MAX_ARG_STRLEN (32 * PAGE_SIZE)
#define ADDR_NO_RANDOMIZE 0x0040000
#define SHEBANG_MAX 256
#define RLIMIT_STACK 3

void exec_args_free(struct exec_args *a)
{
    kfree(a->strings);
    a->strings = NULL;
}

static int args_reserve(struct exec_args *a, size_t more)
{
    if (more > EXEC_STRINGS_MAX - a->len)
        return -E2BIG;
    if (a->len + more <= a->cap)
        return 0;
    size_t cap =
        MIN(MAX(MAX(a->cap * 2, (size_t)1024), ALIGN_UP(a->len + more, 1024)), EXEC_STRINGS_MAX);
    char *grown = krealloc(a->strings, cap);
    if (!grown)
        return -ENOMEM;
    a->strings = grown;
    a->cap = cap;
    return 0;
}

int exec_args_add(struct exec_args *a, const char *text, size_t len_with_nul)
{
    int err = args_reserve(a, len_with_nul);
    if (err)
        return err;
    memcpy(a->strings + a->len, text, len_with_nul);
    a->len += len_with_nul;
    return 0;
}

int exec_args_push(struct exec_args *a, const char *const *front, u32 n, bool replace)
{
    bool dropped = replace && a->argc;
    size_t drop = dropped ? strlen(a->strings) + 1 : 0, add = 0;
    for (u32 i = 0; i < n; i++)
        add += strlen(front[i]) + 1;
    int err = args_reserve(a, add);
    if (err)
        return err;
    memmove(a->strings + add, a->strings + drop, a->len - drop);
    char *at = a->strings;
    for (u32 i = 0; i < n; i++) {
        size_t len = strlen(front[i]) + 1;
        memcpy(at, front[i], len);
        at += len;
    }
    a->len += add - drop;
    a->argc += n - dropped;
    return 0;
}

// Appends the string at a user address. => bytes with the terminator, or -errno
static int add_user_string(struct exec_args *a, uptr_t from)
{
    size_t room = 256;
    for (;;) {
        int err = args_reserve(a, room);
        if (err)
            return err;
        ssize_t len = strncpy_from_user(a->strings + a->len, from, room);
        if (len >= 0) {
            a->len += len + 1;
            return 0;
        }
        if (len != -ENAMETOOLONG)
            return len;
        if (room >= MAX_ARG_STRLEN)
            return -E2BIG;
        room *= 4;
        if (room > MAX_ARG_STRLEN)
            room = MAX_ARG_STRLEN;
    }
}

static int add_user_vector(struct exec_args *a, uptr_t vector, u32 *count)
{
    *count = 0;
    for (uptr_t at = vector; at; at += sizeof(u64)) {
        u64 string;
        int err = get_user_u64(&string, at);
        if (err)
            return err;
        if (!string)
            break;
        if ((err = add_user_string(a, string)))
            return err;
        (*count)++;
        if (thread_kill_pending())
            return -EINTR;
        sched_point();
    }
    return 0;
}

static struct file *open_checked(struct dentry *d)
{
    struct file *file = S_ISREG(d->inode->mode) ? file_open_dentry(d, O_RDONLY) : ERR_PTR(-EACCES);
    dentry_put(d);
    if (!IS_ERR(file) && !file_executable(file)) {
        file_put(file);
        return ERR_PTR(-EACCES);
    }
    return file;
}

struct file *exec_open(int dirfd, const char *path, int at_flags)
{
    struct dentry *d;
    unsigned lookup = at_flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW;
    int err = vfs_lookup(dirfd, path, lookup | (at_flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0), &d);
    if (err)
        return ERR_PTR(err);
    if (S_ISLNK(d->inode->mode)) {
        dentry_put(d);
        return ERR_PTR(-ELOOP);
    }
    return open_checked(d);
}

struct file *exec_open_kernel(const char *path)
{
    struct dentry *d;
    int err = vfs_lookup(AT_FDCWD, path, LOOKUP_FOLLOW | LOOKUP_KERNEL, &d);
    return err ? ERR_PTR(err) : open_checked(d);
}

// Splits "#! interpreter [one argument]" in place. => 0, -ENOEXEC
static int parse_shebang(char *line, size_t len, char **interp, char **arg)
{
    char *end = memchr(line, '\n', len);
    if (!end) {
        if (len == SHEBANG_MAX)
            return -ENOEXEC;
        end = line + len;
    }
    *end = 0;
    while (end > line + 2 && (end[-1] == ' ' || end[-1] == '\t'))
        *--end = 0;
    char *p = line + 2;
    while (*p == ' ' || *p == '\t')
        p++;
    if (!*p)
        return -ENOEXEC;
    *interp = p;
    while (*p && *p != ' ' && *p != '\t')
        p++;
    *arg = NULL;
    if (*p) {
        *p++ = 0;
        while (*p == ' ' || *p == '\t')
            p++;
        *arg = p;
    }
    return 0;
}

// Follows #! lines until a file that is not a script. => the file (a reference), or ERR_PTR
static struct file *resolve_scripts(struct file *file, const char *path, struct exec_args *a)
{
    char *line = kmalloc(SHEBANG_MAX + 1);
    if (!line)
        return ERR_PTR(-ENOMEM);
    file_get(file);
    struct file *result = ERR_PTR(-ELOOP);
    for (int depth = 0; depth <= EXEC_SCRIPT_DEPTH; depth++) {
        ssize_t got = file_read_kernel(file, line, SHEBANG_MAX, 0);
        char *interp = NULL, *arg = NULL;
        int err = got < 0 ? got : 0;
        if (!err && (got < 2 || memcmp(line, "#!", 2))) {
            result = file;
            break;
        }
        line[MAX(got, 0)] = 0;
        if (!err)
            err = parse_shebang(line, got, &interp, &arg);
        if (!err) {
            const char *front[3] = {interp};
            u32 n = 1;
            if (arg)
                front[n++] = arg;
            if (depth == 0)
                front[n++] = path;  // later it is the first argument, as the interpreter before
            err = exec_args_push(a, front, n, depth == 0);
        }
        file_put(file);
        if (err) {
            result = ERR_PTR(err);
            break;
        }
        file = exec_open(AT_FDCWD, interp, 0);
        if (IS_ERR(file)) {
            result = file;
            break;
        }
        if (depth == EXEC_SCRIPT_DEPTH)
            file_put(file);
    }
    kfree(line);
    return result;
}

static struct mm *new_address_space(u64 stack_limit, bool randomize, bool exec_stack)
{
    struct mm *mm = mm_create();
    if (!mm)
        return ERR_PTR(-ENOMEM);
    if (current->mm)
        mm->thp_disabled = current->mm->thp_disabled;
    vaddr_t top = USER_END - (randomize ? exec_random(0x3fffff) << PAGE_SHIFT : 0);
    mm_layout_init(mm, top, stack_limit, randomize);
    long err = mm_map_stack(mm, top, 32 * PAGE_SIZE, stack_limit);
    if (err >= 0 && exec_stack)
        err = mm_protect(mm, top - 32 * PAGE_SIZE, 32 * PAGE_SIZE,
                         PROT_READ | PROT_WRITE | PROT_EXEC);
    if (err < 0) {
        mm_put(mm);
        return ERR_PTR(err);
    }
    mm->stack_top = top;
    return mm;
}

struct mm *exec_prepare(struct file *file, const char *path, struct exec_args *a,
                        const struct process *creds, u64 stack_limit, bool randomize,
                        struct regs *regs)
{
    struct loaded_program prog = {0};
    char name[256];
    struct file *program = resolve_scripts(file, path, a);
    if (IS_ERR(program))
        return (void *)program;
    struct mm *mm = new_address_space(stack_limit, randomize, false);
    if (IS_ERR(mm)) {
        file_put(program);
        return mm;
    }
    long err = exec_load(mm, program, randomize, &prog);
    if (!err && prog.exec_stack)
        err = mm_protect(mm, mm->stack_top - 32 * PAGE_SIZE, 32 * PAGE_SIZE,
                         PROT_READ | PROT_WRITE | PROT_EXEC);
    if (!err)
        err = exec_map_vdso(mm, randomize);
    if (!err)
        err = exec_build_stack(mm, a, path, &prog, creds, false);
    if (err < 0) {
        file_put(program);
        mm_put(mm);
        return ERR_PTR(err);
    }
    arch_regs_exec(regs, prog.entry, err);
    const char *full = file_path(program, name, sizeof name);
    mm->exe_path = kstrdup(IS_ERR(full) ? path : full);
    mm->exe_file = program;
    return mm;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static long do_execve(int dirfd, uptr_t path_user, uptr_t argv, uptr_t envp, int flags)
{
    struct exec_args a = {0};
    struct regs regs;
    struct mm *mm = NULL;
    char *path = kmalloc(4096);
    if (!path)
        return -ENOMEM;
    long err = strncpy_from_user(path, path_user, 4096);
    if (err < 0)
        goto out;
    struct file *file = exec_open(dirfd, path, flags);
    if (IS_ERR(file)) {
        err = PTR_ERR(file);
        goto out;
    }
    if (!path[0])  // execveat(AT_EMPTY_PATH)
        snprintf(path, 64, "/dev/fd/%d", dirfd);
    if (!(err = add_user_vector(&a, argv, &a.argc)) && !a.argc) {
        err = exec_args_add(&a, "", 1);
        a.argc = 1;
    }
    if (!err)
        err = add_user_vector(&a, envp, &a.envc);
    if (!err) {
        mm = exec_prepare(file, path, &a, current->process, rlimit_current(RLIMIT_STACK),
                          !(current->process->personality & ADDR_NO_RANDOMIZE), &regs);
        err = IS_ERR(mm) ? PTR_ERR(mm) : 0;
    }
    file_put(file);
    if (!err && (err = process_become_single_threaded()))
        mm_put(mm);
    if (!err) {
        files_close_on_exec();
        process_exec_commit(mm, &regs, base_name(path));
    }
out:
    exec_args_free(&a);
    kfree(path);
    return err;
}

long sys_execve(uptr_t path, uptr_t argv, uptr_t envp)
{
    return do_execve(AT_FDCWD, path, argv, envp, 0);
}

long sys_execveat(int dirfd, uptr_t path, uptr_t argv, uptr_t envp, int flags)
{
    if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
        return -EINVAL;
    return do_execve(dirfd, path, argv, envp, flags);
}
