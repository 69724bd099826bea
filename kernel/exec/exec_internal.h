// SPDX-License-Identifier: BSD-2-Clause
// exec_internal.h: shared by the files of exec/.
#pragma once

#include "exec/elf.h"
#include "exec/exec.h"
#include "fs/vfs.h"
#include "task/thread.h"

#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_PRIVATE 2
#define MAP_FIXED 0x10
#define MAP_ANONYMOUS 0x20
#define MAP_FIXED_NOREPLACE 0x100000

#define EXEC_STRINGS_MAX HUGE_SIZE  // argv and envp: a quarter of the default stack limit
#define EXEC_SCRIPT_DEPTH 5

// Argument and environment strings, NUL-terminated, one after the other: argv first.
struct exec_args {
    char *strings;  // kmalloc'd
    size_t len, cap;
    u32 argc, envc;
};

void exec_args_free(struct exec_args *a);
int exec_args_add(struct exec_args *a, const char *text, size_t len_with_nul);
// Puts n strings in front, in place of argv[0] if told (scripts).
int exec_args_push(struct exec_args *a, const char *const *front, u32 n, bool replace);

// What the loader learned, for the auxiliary vector.
struct loaded_program {
    vaddr_t entry;          // where the first instruction is (the interpreter's, if there is one)
    vaddr_t program_entry;  // AT_ENTRY
    vaddr_t phdrs;          // AT_PHDR
    u32 phnum;
    vaddr_t interp_base;  // AT_BASE
    bool exec_stack;
};

// Maps the ELF in file (and its interpreter) into the empty address space mm and sets its brk and
// code bounds. => 0, -ENOEXEC, -ENOMEM, -ELIBBAD, … ; mm is then to be thrown away.
int exec_load(struct mm *mm, struct file *file, bool randomize, struct loaded_program *out);
// Maps vvar and vDSO; sets mm->vdso_base. => 0, -ENOMEM
int exec_map_vdso(struct mm *mm, bool randomize);
// Lays out strings, auxiliary vector, environment and argument pointers on the new stack.
// => the stack pointer, or -errno
long exec_build_stack(struct mm *mm, const struct exec_args *a, const char *path,
                      const struct loaded_program *prog, const struct process *creds, bool secure);
u64 exec_random(u64 mask);

// Opens a program for execution: a regular file with execute permission. => ERR_PTR(-ENOENT,
// -EACCES, -ELOOP, …). The kernel's form starts at the real root and asks no permission of anyone.
struct file *exec_open(int dirfd, const char *path, int at_flags);
struct file *exec_open_kernel(const char *path);

// Builds a whole new address space for path, whose file is open. Follows #! scripts (args change).
// => the address space, with registers ready, or ERR_PTR
struct mm *exec_prepare(struct file *file, const char *path, struct exec_args *a,
                        const struct process *creds, u64 stack_limit, bool randomize,
                        struct regs *regs);
