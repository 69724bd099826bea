// SPDX-License-Identifier: BSD-2-Clause
// stack.c: the initial process stack (System V ABI AMD64 supplement 3.4.1, AAPCS64, getauxval(3)).
//
//   high  "path\0"  environment strings  argument strings  platform\0  16 random bytes
//         AT_NULL … auxiliary vector
//         NULL, envp[envc-1] … envp[0]
//         NULL, argv[argc-1] … argv[0]
//   sp -> argc                                        (16-byte aligned)
#include <string.h>

#include "arch/signal.h"
#include "core/log.h"
#include "core/random.h"
#include "exec/exec_internal.h"

enum {
    AT_NULL,
    AT_PHDR = 3,
    AT_PHENT,
    AT_PHNUM,
    AT_PAGESZ,
    AT_BASE,
    AT_FLAGS,
    AT_ENTRY,
    AT_UID = 11,
    AT_EUID,
    AT_GID,
    AT_EGID,
    AT_PLATFORM,
    AT_HWCAP,
    AT_CLKTCK,
    AT_SECURE = 23,
    AT_RANDOM = 25,
    AT_HWCAP2,
    AT_RSEQ_FEATURE_SIZE,
    AT_RSEQ_ALIGN,
    AT_EXECFN = 31,
    AT_SYSINFO_EHDR = 33,
    AT_MINSIGSTKSZ = 51,
};

struct stack_layout {
    vaddr_t path, strings, platform, random, sp;
    size_t n_words;  // argc, pointers and auxiliary vector
};

static size_t put_auxv(u64 *v, const struct mm *mm, const struct loaded_program *prog,
                       const struct stack_layout *at, const struct process *creds, bool secure)
{
    size_t n = 0;
#define AUX(type, value) (v[n++] = (type), v[n++] = (value))
    if (mm->vdso_base)
        AUX(AT_SYSINFO_EHDR, mm->vdso_base);
    AUX(AT_MINSIGSTKSZ, arch_signal_min_stack());
    AUX(AT_HWCAP, arch_hwcap());
    AUX(AT_PAGESZ, PAGE_SIZE);
    AUX(AT_CLKTCK, 100);
    AUX(AT_PHDR, prog->phdrs);
    AUX(AT_PHENT, sizeof(struct elf_phdr));
    AUX(AT_PHNUM, prog->phnum);
    AUX(AT_BASE, prog->interp_base);
    AUX(AT_FLAGS, 0);
    AUX(AT_ENTRY, prog->program_entry);
    AUX(AT_UID, creds->uid);
    AUX(AT_EUID, creds->euid);
    AUX(AT_GID, creds->gid);
    AUX(AT_EGID, creds->egid);
    AUX(AT_SECURE, secure);
    AUX(AT_RANDOM, at->random);
    AUX(AT_HWCAP2, arch_hwcap2());
    AUX(AT_RSEQ_FEATURE_SIZE, 28);
    AUX(AT_RSEQ_ALIGN, 32);
    AUX(AT_EXECFN, at->path);
    AUX(AT_PLATFORM, at->platform);
    AUX(AT_NULL, 0);
#undef AUX
    return n;
}

// Writes pointers to count strings that lie one after the other from `at` on.
static size_t put_pointers(u64 *out, const char **text, vaddr_t *at, u32 count)
{
    for (u32 i = 0; i < count; i++) {
        size_t len = strlen(*text) + 1;
        out[i] = *at;
        *at += len;
        *text += len;
    }
    out[count] = 0;
    return count + 1;
}

static void place(struct stack_layout *at, vaddr_t top, const struct exec_args *a, const char *path)
{
    size_t n_aux = 64;  // more than put_auxv writes; the rest stays unused above
    at->path = top - 8 - (strlen(path) + 1);
    at->strings = at->path - a->len;
    at->platform = at->strings - (strlen(arch_platform_name()) + 1);
    at->random = ALIGN_DOWN(at->platform - 16, 16);
    at->n_words = 1 + a->argc + 1 + a->envc + 1 + n_aux;
    at->sp = ALIGN_DOWN(at->random - at->n_words * 8, 16);
}

static int write_words(struct mm *mm, const struct exec_args *a, const struct loaded_program *prog,
                       const struct stack_layout *at, const struct process *creds, bool secure)
{
    u64 *words = kmalloc(at->n_words * 8);
    if (!words)
        return -ENOMEM;
    const char *text = a->strings;
    vaddr_t string_at = at->strings;
    size_t n = 0;
    words[n++] = a->argc;
    mm->arg_start = string_at;
    n += put_pointers(words + n, &text, &string_at, a->argc);
    mm->arg_end = mm->env_start = string_at;
    n += put_pointers(words + n, &text, &string_at, a->envc);
    mm->env_end = string_at;
    size_t n_aux = put_auxv(words + n, mm, prog, at, creds, secure);
    KASSERT(n_aux <= ARRAY_SIZE(mm->auxv));
    memcpy(mm->auxv, words + n, n_aux * 8);
    n += n_aux;
    KASSERT(n <= at->n_words);
    int err = mm_write(mm, at->sp, words, n * 8);
    kfree(words);
    return err;
}

long exec_build_stack(struct mm *mm, const struct exec_args *a, const char *path,
                      const struct loaded_program *prog, const struct process *creds, bool secure)
{
    struct stack_layout at;
    const char *platform = arch_platform_name();
    u8 random[16];
    int err;
    place(&at, mm->stack_top - exec_random(0x1ff) * 16, a, path);
    random_bytes(random, sizeof random);
    if ((err = mm_write(mm, at.path, path, strlen(path) + 1)) ||
        (a->len && (err = mm_write(mm, at.strings, a->strings, a->len))) ||
        (err = mm_write(mm, at.platform, platform, strlen(platform) + 1)) ||
        (err = mm_write(mm, at.random, random, sizeof random)) ||
        (err = write_words(mm, a, prog, &at, creds, secure)))
        return err;
    return at.sp;
}
