// SPDX-License-Identifier: BSD-2-Clause
// vdso.c: maps the clock page [vvar] and the code pages [vdso] into a new address space (vdso(7)).
#include "core/log.h"
#include "core/time.h"
#include "exec/exec_internal.h"

extern const u8 vdso_image_start[], vdso_image_end[];  // page aligned (libc-shim/vdso)

#define VDSO_PAGES_MAX 4

int exec_map_vdso(struct mm *mm, bool randomize)
{
    struct page *pages[VDSO_PAGES_MAX], *clock_page = virt_to_page(vdso_data);
    size_t n_pages = (size_t)(vdso_image_end - vdso_image_start) >> PAGE_SHIFT;
    KASSERT(n_pages > 0 && n_pages <= VDSO_PAGES_MAX);
    for (size_t i = 0; i < n_pages; i++)
        pages[i] = virt_to_page(vdso_image_start + i * PAGE_SIZE);

    // Above the stack when there is room, as Linux does; else wherever there is.
    vaddr_t hint = 0;
    size_t span = (n_pages + 1) * PAGE_SIZE;
    if (randomize && USER_END - mm->stack_top > span + HUGE_SIZE)
        hint = mm->stack_top + (exec_random(0x1ff) << PAGE_SHIFT) + PAGE_SIZE;
    long at = mm_map(mm, hint, span, 0, MAP_PRIVATE | MAP_ANONYMOUS, NULL, NULL, 0);
    if (at < 0)
        return at;
    mm_unmap(mm, at, span);
    long err = mm_map_special(mm, at, &clock_page, 1, PROT_READ, "[vvar]");
    if (err >= 0)
        err = mm_map_special(mm, at + PAGE_SIZE, pages, n_pages, PROT_READ | PROT_EXEC, "[vdso]");
    if (err < 0)
        return err;
    mm->vdso_base = at + PAGE_SIZE;
    return 0;
}
