// SPDX-License-Identifier: BSD-2-Clause
// show.c: what /proc tells about memory: maps, smaps, statm, status, pagemap, meminfo, vmstat, buddyinfo
// (proc_pid_maps(5), proc_pid_smaps(5), proc_meminfo(5)).
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "core/seq_buf.h"
#include "mm/hugetlb.h"
#include "mm/mm_internal.h"
#include "mm/pagetable.h"

typedef unsigned long long ull;

// ---- maps

static const char *vma_name(const struct mm *mm, const struct vma *v, char *buf, size_t size,
                            u64 *ino)
{
    if (v->file)
        return file_path_for_maps(v->file, buf, size);
    if (v->name && (v->flags & VM_SPECIAL))
        return v->name;
    if (v->name) {
        snprintf(buf, size, v->flags & VM_SHARED ? "[anon_shmem:%s]" : "[anon:%s]", v->name);
        return buf;
    }
    if (v->flags & VM_HUGETLB)
        return "/anon_hugepage (deleted)";
    if (v->object && v->object->ops->describe) {
        v->object->ops->describe(v->object, buf, size, ino);
        return buf;
    }
    if (v->object)
        return "/dev/zero (deleted)";
    if (v->start < mm->brk_end && v->end > mm->brk_start)
        return "[heap]";
    if (v->start <= mm->stack_top - 1 && v->end >= mm->stack_top)
        return "[stack]";
    return NULL;
}

static void show_vma_line(const struct mm *mm, const struct vma *v, struct seq_buf *out, char *buf)
{
    u64 dev = 0, ino = 0;
    size_t before = out->len;
    if (v->file)
        file_stat_ids(v->file, &dev, &ino);
    else if (v->object)
        dev = 1, ino = 1024;
    const char *name = vma_name(mm, v, buf, PAGE_SIZE, &ino);
    seq_printf(out, "%08lx-%08lx %c%c%c%c %08llx %02x:%02x %llu ", v->start, v->end,
               v->flags & VM_READ ? 'r' : '-', v->flags & VM_WRITE ? 'w' : '-',
               v->flags & VM_EXEC ? 'x' : '-', v->flags & VM_SHARED ? 's' : 'p',
               v->object ? (ull)v->pgoff << PAGE_SHIFT : 0ull, (unsigned)(dev >> 8) & 0xfff,
               (unsigned)(dev & 0xff) | ((unsigned)(dev >> 12) & 0xfff00), (ull)ino);
    if (name && *name) {
        while (out->len - before < 73 && !out->failed)
            seq_write(out, " ", 1);
        seq_write(out, name, strlen(name));
    }
    seq_write(out, "\n", 1);
}

void mm_show_maps(struct mm *mm, struct seq_buf *out)
{
    char *buf = kmalloc(PAGE_SIZE);
    if (!buf) {
        out->failed = true;
        return;
    }
    rwlock_read(&mm->lock);
    for (struct vma *v = mm->first; v; v = v->next)
        show_vma_line(mm, v, out, buf);
    rwlock_read_done(&mm->lock);
    kfree(buf);
}

// ---- smaps

struct usage {
    struct pt_walk walk;
    u64 rss, pss, pss_dirty, shared_clean, shared_dirty, private_clean, private_dirty;
    u64 referenced, anonymous, lazyfree, huge, locked;  // all in bytes; pss times 4096
    u64 private_pool, shared_pool;                      // pages of hugetlb.c
};

static void count_leaf(struct usage *u, pte_t e, u64 size)
{
    if (!pte_present(e) || pte_special(e))
        return;
    const struct page *p = phys_to_page(pte_phys(e));
    bool anon = !(p->flags & PG_CACHE);
    // The cache's own reference is no mapping.
    u32 mappings = MAX(p->refcount - (anon ? 0 : 1), 1u);
    bool dirty = pte_dirty(e) || (p->flags & PG_DIRTY);
    u->rss += size;
    u->pss += size * 4096 / mappings;
    if (dirty)
        u->pss_dirty += size * 4096 / mappings;
    if (mappings > 1)
        *(dirty ? &u->shared_dirty : &u->shared_clean) += size;
    else
        *(dirty ? &u->private_dirty : &u->private_clean) += size;
    if (pte_young(e))
        u->referenced += size;
    if (anon) {
        u->anonymous += size;
        if (!pte_dirty(e))
            u->lazyfree += size;
    }
}

static void usage_run(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct usage *u = container_of(w, struct usage, walk);
    for (; start < end; start += PAGE_SIZE, slot++)
        count_leaf(u, *slot, PAGE_SIZE);
}

static bool usage_huge(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct usage *u = container_of(w, struct usage, walk);
    const struct page *p = phys_to_page(pte_phys(*slot));
    if (p->flags & PG_HUGETLB) {
        bool shared = p->refcount > (p->flags & PG_CACHE ? 2u : 1u);
        *(shared ? &u->shared_pool : &u->private_pool) += end - start;
        return false;
    }
    count_leaf(u, *slot, end - start);
    u->huge += end - start;
    return false;
}

static void add_usage(struct usage *sum, const struct usage *u)
{
    sum->rss += u->rss, sum->pss += u->pss, sum->pss_dirty += u->pss_dirty;
    sum->shared_clean += u->shared_clean, sum->shared_dirty += u->shared_dirty;
    sum->private_clean += u->private_clean, sum->private_dirty += u->private_dirty;
    sum->referenced += u->referenced, sum->anonymous += u->anonymous;
    sum->lazyfree += u->lazyfree, sum->huge += u->huge, sum->locked += u->locked;
    sum->private_pool += u->private_pool, sum->shared_pool += u->shared_pool;
}

static void show_kb(struct seq_buf *out, const char *name, u64 bytes)
{
    char label[32];
    snprintf(label, sizeof label, "%s:", name);
    seq_printf(out, "%-15s %8llu kB\n", label, (ull)(bytes >> 10));
}

static void show_usage(struct seq_buf *out, const struct usage *u)
{
    show_kb(out, "Rss", u->rss);
    show_kb(out, "Pss", u->pss >> PAGE_SHIFT);
    show_kb(out, "Pss_Dirty", u->pss_dirty >> PAGE_SHIFT);
    show_kb(out, "Shared_Clean", u->shared_clean);
    show_kb(out, "Shared_Dirty", u->shared_dirty);
    show_kb(out, "Private_Clean", u->private_clean);
    show_kb(out, "Private_Dirty", u->private_dirty);
    show_kb(out, "Referenced", u->referenced);
    show_kb(out, "Anonymous", u->anonymous);
    show_kb(out, "KSM", 0);
    show_kb(out, "LazyFree", u->lazyfree);
    show_kb(out, "AnonHugePages", u->huge);
    show_kb(out, "ShmemPmdMapped", 0);
    show_kb(out, "FilePmdMapped", 0);
    show_kb(out, "Shared_Hugetlb", u->shared_pool);
    show_kb(out, "Private_Hugetlb", u->private_pool);
    show_kb(out, "Swap", 0);
    show_kb(out, "SwapPss", 0);
    show_kb(out, "Locked", u->locked);
}

// The two-letter codes of proc_pid_smaps(5).
static void show_vm_flags(struct seq_buf *out, u64 flags)
{
    static const struct {
        u64 flag;
        char name[3];
    } names[] = {
        {VM_READ, "rd"},       {VM_WRITE, "wr"},        {VM_EXEC, "ex"},      {VM_SHARED, "sh"},
        {VM_MAYREAD, "mr"},    {VM_MAYWRITE, "mw"},     {VM_MAYEXEC, "me"},   {VM_GROWSDOWN, "gd"},
        {VM_LOCKED, "lo"},     {VM_LOCKONFAULT, "lf"},  {VM_SEQ, "sr"},       {VM_RAND, "rr"},
        {VM_DONTFORK, "dc"},   {VM_ACCOUNT, "ac"},      {VM_NORESERVE, "nr"}, {VM_HUGETLB, "ht"},
        {VM_WIPEONFORK, "wf"}, {VM_DONTDUMP, "dd"},     {VM_HUGEPAGE, "hg"},  {VM_NOHUGEPAGE, "nh"},
        {VM_MERGEABLE, "mg"},  {VM_UFFD_MISSING, "um"}, {VM_UFFD_WP, "uw"},   {VM_DROPPABLE, "dp"},
        {VM_SEALED, "sl"},     {VM_SPECIAL, "de"},
    };
    seq_printf(out, "VmFlags:");
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        if (flags & names[i].flag)
            seq_printf(out, " %s", names[i].name);
    if (flags & ARCH_VM_PROT)
        seq_printf(out, " bt");  // aarch64 alone has such a flag: PROT_BTI
    seq_write(out, "\n", 1);
}

static void measure(struct mm *mm, const struct vma *v, struct usage *u)
{
    *u = (struct usage){.walk = {.run = usage_run, .huge = usage_huge}};
    pt_walk(mm, &u->walk, v->start, v->end);
    if (v->flags & VM_LOCKED)
        u->locked = u->pss >> PAGE_SHIFT;
}

void mm_show_smaps(struct mm *mm, struct seq_buf *out, bool rollup)
{
    struct usage u, sum = {0};
    char *buf = kmalloc(PAGE_SIZE);
    if (!buf) {
        out->failed = true;
        return;
    }
    rwlock_read(&mm->lock);
    for (struct vma *v = mm->first; v; v = v->next) {
        measure(mm, v, &u);
        add_usage(&sum, &u);
        if (rollup)
            continue;
        show_vma_line(mm, v, out, buf);
        show_kb(out, "Size", v->end - v->start);
        size_t page_size = v->flags & VM_HUGETLB ? HUGE_SIZE : PAGE_SIZE;
        show_kb(out, "KernelPageSize", page_size);
        show_kb(out, "MMUPageSize", page_size);
        show_usage(out, &u);
        seq_printf(out, "THPeligible:    %8d\n",
                   thp_allowed(v) && ALIGN_UP(v->start, HUGE_SIZE) + HUGE_SIZE <= v->end);
        if (arch_n_pkeys())
            seq_printf(out, "ProtectionKey:  %8u\n", (unsigned)(v->flags >> VM_PKEY_SHIFT) & 15);
        show_vm_flags(out, v->flags);
    }
    if (rollup && mm->first) {
        struct rb_node *last = rb_last(&mm->vmas);
        seq_printf(out, "%08lx-%08lx ---p 00000000 00:00 0%*s[rollup]\n", mm->first->start,
                   container_of(last, struct vma, node)->end, 26, "");
        show_usage(out, &sum);
    }
    rwlock_read_done(&mm->lock);
    kfree(buf);
}

// ---- figures of one address space

static u64 rss_of(struct mm *mm, s64 *anon, s64 *file, s64 *shmem)
{
    *anon = MAX(mm->rss_anon, 0);
    *file = MAX(mm->rss_file, 0);
    *shmem = MAX(mm->rss_shmem, 0);
    return mm_peak_rss(mm);
}

void mm_show_statm(struct mm *mm, struct seq_buf *out)
{
    s64 anon, file, shmem;
    u64 rss = rss_of(mm, &anon, &file, &shmem);
    u64 text = (ALIGN_UP(mm->code_end, PAGE_SIZE) - (mm->code_start & PAGE_MASK)) >> PAGE_SHIFT;
    seq_printf(out, "%llu %llu %lld %llu 0 %llu 0\n", (ull)mm->n_mapped_pages, (ull)rss,
               (long long)(file + shmem), (ull)text, (ull)(mm->n_data_pages + mm->n_stack_pages));
}

static void show_status_kb(struct seq_buf *out, const char *name, u64 pages)
{
    seq_printf(out, "%s:\t%8llu kB\n", name, (ull)pages * 4);
}

void mm_show_status(struct mm *mm, struct seq_buf *out)
{
    s64 anon, file, shmem;
    u64 rss = rss_of(mm, &anon, &file, &shmem);
    u64 text = (ALIGN_UP(mm->code_end, PAGE_SIZE) - (mm->code_start & PAGE_MASK)) >> PAGE_SHIFT;
    show_status_kb(out, "VmPeak", MAX(mm->n_mapped_pages, mm->hiwater_vm));
    show_status_kb(out, "VmSize", mm->n_mapped_pages);
    show_status_kb(out, "VmLck", mm->n_locked_pages);
    show_status_kb(out, "VmPin", 0);
    show_status_kb(out, "VmHWM", mm->hiwater_rss);
    show_status_kb(out, "VmRSS", rss);
    show_status_kb(out, "RssAnon", (u64)anon);
    show_status_kb(out, "RssFile", (u64)file);
    show_status_kb(out, "RssShmem", (u64)shmem);
    show_status_kb(out, "VmData", mm->n_data_pages);
    show_status_kb(out, "VmStk", mm->n_stack_pages);
    show_status_kb(out, "VmExe", text);
    show_status_kb(out, "VmLib", mm->n_exec_pages > text ? mm->n_exec_pages - text : 0);
    show_status_kb(out, "VmPTE", (u64)mm->n_table_pages);
    show_status_kb(out, "VmSwap", 0);
    show_status_kb(out, "HugetlbPages", (u64)mm->n_hugetlb * PT_ENTRIES);
}

// ---- pagemap

struct pagemap_walk {
    struct pt_walk walk;
    vaddr_t start;
    u64 *entries;
};

static u64 pagemap_entry(pte_t e, u64 offset)
{
    if (!pte_present(e))
        return 0;
    const struct page *p = phys_to_page(pte_phys(e));
    u64 entry = 1ull << 63 | ((pte_phys(e) >> PAGE_SHIFT) + offset);
    if (ARCH_PTE_SOFT3 && !pte_unchanged(e))
        entry |= 1ull << 55;  // soft-dirty
    if (!pte_special(e) && (p->flags & PG_CACHE))
        entry |= 1ull << 61;
    if (!pte_special(e) && p->refcount == (p->flags & PG_CACHE ? 2u : 1u))
        entry |= 1ull << 56;
    return entry;
}

static void pagemap_run(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct pagemap_walk *pw = container_of(w, struct pagemap_walk, walk);
    for (; start < end; start += PAGE_SIZE, slot++)
        pw->entries[(start - pw->start) >> PAGE_SHIFT] = pagemap_entry(*slot, 0);
}

static bool pagemap_huge(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct pagemap_walk *pw = container_of(w, struct pagemap_walk, walk);
    for (; start < end; start += PAGE_SIZE)
        pw->entries[(start - pw->start) >> PAGE_SHIFT] = pagemap_entry(*slot, pt_index(start, 0));
    return false;
}

// pos: byte position in the file, eight bytes a page. => entries filled
size_t mm_read_pagemap(struct mm *mm, u64 pos, u64 *entries, size_t n)
{
    u64 first = pos / 8, limit = USER_END >> PAGE_SHIFT;
    if (first >= limit)
        return 0;
    n = MIN(n, limit - first);
    memset(entries, 0, n * sizeof *entries);
    struct pagemap_walk pw = {.walk = {.run = pagemap_run, .huge = pagemap_huge},
                              .start = first << PAGE_SHIFT,
                              .entries = entries};
    rwlock_read(&mm->lock);
    pt_walk(mm, &pw.walk, pw.start, (first + n) << PAGE_SHIFT);
    rwlock_read_done(&mm->lock);
    return n;
}

// ---- clear_refs

struct refs_walk {
    struct pt_walk walk;
    struct tlb_gather g;
};

static void refs_run(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct refs_walk *rw = container_of(w, struct refs_walk, walk);
    for (vaddr_t va = start; va < end; va += PAGE_SIZE, slot++) {
        pte_t e = READ_ONCE(*slot);
        while (pte_present(e) && pte_young(e) && !pte_replace(slot, e, pte_mk_old(e)))
            e = READ_ONCE(*slot);
    }
    tlb_gather_range(&rw->g, start, end);
}

static bool refs_huge(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct refs_walk *rw = container_of(w, struct refs_walk, walk);
    pte_t e = READ_ONCE(*slot);
    pte_replace(slot, e, pte_mk_old(e));
    tlb_gather_range(&rw->g, start, end);
    return false;
}

// 1: all pages, 2: anonymous, 3: mapped files, 4: what is written from now on shows in pagemap, 5: the peak of the resident size (proc_pid_clear_refs(5)).
long mm_clear_refs(struct mm *mm, int how)
{
    struct refs_walk rw = {.walk = {.run = refs_run, .huge = refs_huge}};
    if (how < 1 || how > 5 || (how == 4 && !ARCH_PTE_SOFT3))
        return -EINVAL;
    if (how == 5) {
        mm->hiwater_rss = 0;
        mm_peak_rss(mm);
        return 0;
    }
    rwlock_write(&mm->lock);
    tlb_gather_init(&rw.g, mm);
    for (struct vma *v = mm->first; v; v = v->next) {
        if ((how == 2 && v->file) || (how == 3 && !v->file))
            continue;
        if (how == 4 && !(v->flags & VM_SPECIAL))
            pt_mark_unchanged(&rw.g, v->start, v->end);
        else if (how != 4)
            pt_walk(mm, &rw.walk, v->start, v->end);
    }
    tlb_gather_finish(&rw.g);
    rwlock_write_done(&mm->lock);
    return 0;
}

// ---- the machine

struct totals {
    u64 anon, mapped, tables, huge, locked;
    u64 minor, major;  // faults of those that live
};

static struct totals sum_all(void)
{
    struct totals t = {0};
    spin_lock(&mm_list_lock);
    list_for_each_entry (struct mm, mm, &mm_list, mm_link) {
        t.anon += (u64)MAX(mm->rss_anon, 0);
        t.mapped += (u64)MAX(mm->rss_file + mm->rss_shmem, 0);
        t.tables += (u64)mm->n_table_pages;
        t.huge += (u64)mm->n_huge * PT_ENTRIES;
        t.minor += mm->n_minor_faults;
        t.major += mm->n_major_faults;
        t.locked +=
            MIN(mm->n_locked_pages, mm_peak_rss(mm));  // locked on fault: what is there at most
    }
    spin_unlock(&mm_list_lock);
    return t;
}

static void meminfo_line(struct seq_buf *out, const char *name, u64 pages)
{
    char label[24];
    snprintf(label, sizeof label, "%s:", name);
    seq_printf(out, "%-15s %8llu kB\n", label, (ull)pages * 4);
}

void mm_show_meminfo(struct seq_buf *out)
{
    struct totals t = sum_all();
    u64 free = page_free_count(), file = vm_cached_pages(false), shmem = vm_cached_pages(true);
    meminfo_line(out, "MemTotal", page_total_count());
    meminfo_line(out, "MemFree", free);
    meminfo_line(out, "MemAvailable", free);
    meminfo_line(out, "Buffers", 0);
    meminfo_line(out, "Cached", file + shmem);
    meminfo_line(out, "SwapCached", 0);
    meminfo_line(out, "Active", t.anon);
    meminfo_line(out, "Inactive", file + shmem);
    meminfo_line(out, "Active(anon)", t.anon);
    meminfo_line(out, "Inactive(anon)", shmem);
    meminfo_line(out, "Active(file)", 0);
    meminfo_line(out, "Inactive(file)", file);
    meminfo_line(out, "Unevictable", t.locked);
    meminfo_line(out, "Mlocked", t.locked);
    meminfo_line(out, "SwapTotal", 0);
    meminfo_line(out, "SwapFree", 0);
    meminfo_line(out, "Dirty", 0);
    meminfo_line(out, "Writeback", 0);
    meminfo_line(out, "AnonPages", t.anon);
    meminfo_line(out, "Mapped", t.mapped);
    meminfo_line(out, "Shmem", shmem);
    meminfo_line(out, "KReclaimable", 0);
    meminfo_line(out, "Slab", kmalloc_page_count());
    meminfo_line(out, "SReclaimable", 0);
    meminfo_line(out, "SUnreclaim", kmalloc_page_count());
    meminfo_line(out, "PageTables", t.tables);
    meminfo_line(out, "CommitLimit", mm_commit_limit());
    meminfo_line(out, "Committed_AS", (u64)MAX(vm_committed, 0));
    seq_printf(out, "VmallocTotal:   34359738367 kB\nVmallocUsed:           0 kB\n");
    meminfo_line(out, "AnonHugePages", t.huge);
    seq_printf(out,
               "HugePages_Total:   %5llu\nHugePages_Free:    %5llu\nHugePages_Rsvd:    %5llu\n"
               "HugePages_Surp:        0\nHugepagesize:       2048 kB\n",
               (ull)hugetlb_total(), (ull)hugetlb_free_count(), (ull)hugetlb_reserved_count());
    meminfo_line(out, "Hugetlb", hugetlb_total() << PAGE_MAX_ORDER);
    meminfo_line(out, "ZeroedFree", page_zeroed_count());
}

void mm_show_cgroup_stat(struct seq_buf *out)
{
    struct totals t = sum_all();
    u64 file = vm_cached_pages(false), shmem = vm_cached_pages(true), slab = kmalloc_page_count();
    const struct {
        const char *name;
        u64 pages;
    } lines[] = {
        {"anon", t.anon},
        {"file", file + shmem},
        {"kernel", slab + t.tables},
        {"pagetables", t.tables},
        {"shmem", shmem},
        {"file_mapped", t.mapped},
        {"anon_thp", t.huge},
        {"inactive_anon", shmem},
        {"active_anon", t.anon},
        {"inactive_file", file},
        {"active_file", 0},
        {"unevictable", t.locked},
        {"slab_reclaimable", 0},
        {"slab_unreclaimable", slab},
        {"slab", slab},
    };
    for (u32 i = 0; i < ARRAY_SIZE(lines); i++)
        seq_printf(out, "%s %llu\n", lines[i].name, (ull)(lines[i].pages * PAGE_SIZE));
    seq_printf(out, "pgfault %llu\npgmajfault %llu\n", (ull)(t.minor + mm_stats.dead_minor),
               (ull)(t.major + mm_stats.dead_major));
}

void mm_show_vmstat(struct seq_buf *out)
{
    struct tlb_stats tlb;
    struct totals sums = sum_all();
    tlb_read_stats(&tlb);
    const struct {
        const char *name;
        u64 value;
    } lines[] = {
        {"nr_free_pages", page_free_count()},
        {"nr_anon_pages", sums.anon},
        {"nr_mapped", sums.mapped},
        {"nr_mlock", sums.locked},
        {"nr_anon_transparent_hugepages", sums.huge / PT_ENTRIES},
        {"nr_file_pages", vm_cached_pages(false) + vm_cached_pages(true)},
        {"nr_shmem", vm_cached_pages(true)},
        {"nr_page_table_pages", sums.tables},
        {"nr_zeroed_pages", page_zeroed_count()},
        {"nr_reported_pages", page_reported_count()},
        {"free_blocks_reported", page_stat(PAGE_STAT_REPORTED)},
        {"zeroed_background", page_stat(PAGE_STAT_ZEROED_IDLE)},
        {"zeroed_used", page_stat(PAGE_STAT_ZEROED_USED)},
        {"alloc_refill", page_stat(PAGE_STAT_ALLOC_SLOW)},
        {"alloc_drain", page_stat(PAGE_STAT_DRAINS)},
        {"alloc_failed", page_stat(PAGE_STAT_FAILED)},
        {"pages_bad", page_stat(PAGE_STAT_BAD)},
        {"pages_reclaimed", page_stat(PAGE_STAT_RECLAIMED)},
        {"thp_fault_alloc", mm_stats.thp_fault},
        {"thp_fault_fallback", mm_stats.thp_fault_fallback},
        {"thp_collapse_alloc", mm_stats.thp_collapse},
        {"thp_split_page", mm_stats.thp_split},
        {"pglazyfree", mm_stats.lazyfree},
        {"pglazyfreed", mm_stats.lazyfreed},
        {"reusable_pages", mm_stats.reusable},
        {"reused_pages", mm_stats.reused},
        {"pgfault", mm_stats.dead_minor + sums.minor},
        {"pgmajfault", mm_stats.dead_major + sums.major},
        {"oom_kill", mm_stats.oom_kills},
        {"tlb_local_pages", tlb.local_pages},
        {"tlb_local_full", tlb.local_full},
        {"tlb_requests", tlb.requests},
        {"tlb_interrupts_sent", tlb.interrupts_sent},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(lines); i++)
        seq_printf(out, "%s %llu\n", lines[i].name, (ull)lines[i].value);
}

void mm_show_buddyinfo(struct seq_buf *out)
{
    seq_printf(out, "Node 0, zone   Normal ");
    for (unsigned o = 0; o <= PAGE_MAX_ORDER; o++)
        seq_printf(out, "%6llu ", (ull)page_free_blocks(o));
    seq_printf(out, "\n");
}

// ---- out of memory

static u64 resident_in(struct mm *mm, const struct vma *v)
{
    struct usage u;
    measure(mm, v, &u);
    return u.rss >> 10;
}

// The report that goes before the kill: what was asked for, what there is, the largest areas.
// => Takes no lock: the caller's thread may hold mm->lock for reading.
void mm_oom(struct mm *mm, const char *what, size_t bytes)
{
    s64 anon, file, shmem;
    atomic_add(&mm_stats.oom_kills, 1);
    rss_of(mm, &anon, &file, &shmem);
    kprintf("out of memory: %s needs %zu kB\n", what, bytes >> 10);
    kprintf("  machine: %llu kB usable, %llu kB free, page cache %llu kB, kernel slabs %llu kB\n",
            (ull)page_total_count() * 4, (ull)page_free_count() * 4,
            (ull)(vm_cached_pages(false) + vm_cached_pages(true)) * 4,
            (ull)kmalloc_page_count() * 4);
    kprintf("  program: %llu kB anonymous, %llu kB files, %llu kB shared, %llu kB page tables\n",
            (ull)anon * 4, (ull)file * 4, (ull)shmem * 4, (ull)mm->n_table_pages * 4);
    if (rwlock_try_read(&mm->lock)) {
        unsigned shown = 0;
        for (struct vma *v = mm->first; v && shown < 16; v = v->next) {
            u64 kb = resident_in(mm, v);
            if (kb < 1024 && kb < (u64)anon / 4)
                continue;
            kprintf("  %012lx-%012lx %8llu kB resident of %llu\n", v->start, v->end, (ull)kb,
                    (ull)(v->end - v->start) >> 10);
            shown++;
        }
        rwlock_read_done(&mm->lock);
    }
    control_line("oom %s needs %zu kB of %llu kB", what, bytes >> 10, (ull)page_total_count() * 4);
    oom_kill_current();
}
