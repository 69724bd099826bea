// SPDX-License-Identifier: BSD-2-Clause
// sysfs.c: the part of /sys that programs read: transparent huge pages, CPUs, the clock.
#include <stdio.h>
#include <stdlib.h>

#include "core/platform.h"
#include "fs/proc_internal.h"
#include "mm/hugetlb.h"

#define SYSFS_MAGIC 0x62656572

// ---- /sys/kernel/mm

static int show_thp_enabled(struct seq_buf *out, u64 arg)
{
    static const char *const text[] = {
        [THP_ALWAYS] = "[always] madvise never\n",
        [THP_MADVISE] = "always [madvise] never\n",
        [THP_NEVER] = "always madvise [never]\n",
    };
    seq_printf(out, "%s", text[thp_policy]);
    return 0;
}

static bool word_is(const char *data, const char *word)
{
    size_t len = strlen(word);
    return strncmp(data, word, len) == 0 && (data[len] == '\0' || strcmp(data + len, "\n") == 0);
}

static ssize_t write_thp_enabled(u64 arg, const char *data, size_t len)
{
    if (word_is(data, "always"))
        thp_policy = THP_ALWAYS;
    else if (word_is(data, "madvise"))
        thp_policy = THP_MADVISE;
    else if (word_is(data, "never"))
        thp_policy = THP_NEVER;
    else
        return -EINVAL;
    return (ssize_t)len;
}

static int show_fixed(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%s\n", (const char *)(uintptr_t)arg);
    return 0;
}

// ---- /sys/devices/system/cpu

static int show_cpus(struct seq_buf *out, u64 arg)
{
    seq_cpu_list(out, cpus_online());
    seq_printf(out, "\n");
    return 0;
}

static int show_kernel_max(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%u\n", MAX_CPUS - 1);
    return 0;
}

// One CPU a core, all cores in one package: which cores share one is not told to the guest reliably.
static int show_cpu_number(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%llu\n", (unsigned long long)(arg & 0xff));
    return 0;
}

static int show_own_list(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%llu\n", (unsigned long long)(arg & 0xff));
    return 0;
}

static void show_mask(struct seq_buf *out, cpumask_t mask)
{
    if (n_cpus > 32)
        seq_printf(out, "%08x,%08x\n", (u32)(mask >> 32), (u32)mask);
    else
        seq_printf(out, "%0*x\n", (int)DIV_ROUND_UP(n_cpus, 4), (u32)mask);
}

static int show_own_mask(struct seq_buf *out, u64 arg)
{
    show_mask(out, BIT(arg & 0x3f));
    return 0;
}

static int show_all_mask(struct seq_buf *out, u64 arg)
{
    show_mask(out, cpus_online());
    return 0;
}

// ---- /sys/devices/system/cpu/cpuN/cache: arg is CPU | index << 8

static bool cache_of(u64 arg, struct arch_cache *cache)
{
    return arch_cpu_cache((u32)(arg >> 8 & 0xff), cache);
}

static int show_cache_level(struct seq_buf *out, u64 arg)
{
    struct arch_cache c;
    if (!cache_of(arg, &c))
        return -ENOENT;
    seq_printf(out, "%u\n", c.level);
    return 0;
}

static int show_cache_type(struct seq_buf *out, u64 arg)
{
    struct arch_cache c;
    if (!cache_of(arg, &c))
        return -ENOENT;
    seq_printf(out, "%s\n", c.type == 1 ? "Data" : c.type == 2 ? "Instruction" : "Unified");
    return 0;
}

static int show_cache_size(struct seq_buf *out, u64 arg)
{
    struct arch_cache c;
    if (!cache_of(arg, &c))
        return -ENOENT;
    seq_printf(out, "%uK\n", c.size_bytes / 1024);
    return 0;
}

static int show_cache_line(struct seq_buf *out, u64 arg)
{
    struct arch_cache c;
    if (!cache_of(arg, &c))
        return -ENOENT;
    seq_printf(out, "%u\n", c.line_bytes);
    return 0;
}

static int show_cache_ways(struct seq_buf *out, u64 arg)
{
    struct arch_cache c;
    if (!cache_of(arg, &c))
        return -ENOENT;
    seq_printf(out, "%u\n", c.ways);
    return 0;
}

static int show_cache_sets(struct seq_buf *out, u64 arg)
{
    struct arch_cache c;
    if (!cache_of(arg, &c))
        return -ENOENT;
    seq_printf(out, "%u\n", c.sets);
    return 0;
}

// The last level is shared by the package, the others belong to their core.
static bool cache_is_shared(u64 arg)
{
    struct arch_cache c;
    return cache_of(arg, &c) && c.level >= 3;
}

static int show_cache_cpus(struct seq_buf *out, u64 arg)
{
    return cache_is_shared(arg) ? show_cpus(out, arg) : show_own_list(out, arg);
}

static int show_cache_mask(struct seq_buf *out, u64 arg)
{
    return cache_is_shared(arg) ? show_all_mask(out, arg) : show_own_mask(out, arg);
}

// ---- the tables, from the leaves up

#define OPS(name, ...) static const struct gen_ops name = {__VA_ARGS__}
OPS(fixed_ops, .show = show_fixed);
OPS(thp_enabled_ops, .show = show_thp_enabled, .write = write_thp_enabled);
OPS(cpus_ops, .show = show_cpus);
OPS(kernel_max_ops, .show = show_kernel_max);
OPS(cpu_number_ops, .show = show_cpu_number);
OPS(own_list_ops, .show = show_own_list);
OPS(own_mask_ops, .show = show_own_mask);
OPS(all_mask_ops, .show = show_all_mask);
OPS(cache_level_ops, .show = show_cache_level);
OPS(cache_type_ops, .show = show_cache_type);
OPS(cache_size_ops, .show = show_cache_size);
OPS(cache_line_ops, .show = show_cache_line);
OPS(cache_ways_ops, .show = show_cache_ways);
OPS(cache_sets_ops, .show = show_cache_sets);
OPS(cache_cpus_ops, .show = show_cache_cpus);
OPS(cache_mask_ops, .show = show_cache_mask);

#define TEXT(name, text) GEN_FILE_ARG(name, 0444, &fixed_ops, text)

static const struct gen_entry cache_index_entries[] = {
    GEN_FILE("coherency_line_size", 0444, &cache_line_ops),
    GEN_FILE("level", 0444, &cache_level_ops),
    GEN_FILE("number_of_sets", 0444, &cache_sets_ops),
    GEN_FILE("shared_cpu_list", 0444, &cache_cpus_ops),
    GEN_FILE("shared_cpu_map", 0444, &cache_mask_ops),
    GEN_FILE("size", 0444, &cache_size_ops),
    GEN_FILE("type", 0444, &cache_type_ops),
    GEN_FILE("ways_of_associativity", 0444, &cache_ways_ops),
    GEN_END,
};

// A number behind a fixed prefix. => -1 if the name is something else
static int numbered(const char *name, unsigned len, const char *prefix)
{
    unsigned n = (unsigned)strlen(prefix), value = 0;
    if (len <= n || len > n + 3 || memcmp(name, prefix, n) != 0 || (name[n] == '0' && len > n + 1))
        return -1;
    for (unsigned i = n; i < len; i++) {
        if (name[i] < '0' || name[i] > '9')
            return -1;
        value = value * 10 + (unsigned)(name[i] - '0');
    }
    return (int)value;
}

static int list_numbered(struct dir_context *ctx, const char *prefix, u64 end)
{
    char name[16];
    for (u64 i = ctx->pos; i < end; i++) {
        int len = snprintf(name, sizeof(name), "%s%u", prefix, (u32)i);
        if (!dir_emit(ctx, name, (unsigned)len, 0, DT_DIR, i + 1))
            break;
    }
    return 0;
}

static int cache_lookup(u64 arg, const char *name, unsigned len, struct gen_entry *out)
{
    struct arch_cache c;
    int index = numbered(name, len, "index");
    if (index < 0 || !arch_cpu_cache((u32)index, &c))
        return -ENOENT;
    *out = (struct gen_entry){.mode = S_IFDIR | 0755,
                              .children = cache_index_entries,
                              .arg = (arg & 0xff) | (u64)index << 8};
    return 0;
}

static int cache_readdir(u64 arg, struct dir_context *ctx)
{
    struct arch_cache c;
    u32 n = 0;
    while (n < 16 && arch_cpu_cache(n, &c))
        n++;
    return list_numbered(ctx, "index", n);
}

static const struct gen_dir_ops cache_dir_ops = {.lookup = cache_lookup, .readdir = cache_readdir};

static const struct gen_entry topology_entries[] = {
    GEN_FILE("core_cpus", 0444, &own_mask_ops),
    GEN_FILE("core_cpus_list", 0444, &own_list_ops),
    GEN_FILE("core_id", 0444, &cpu_number_ops),
    GEN_FILE("core_siblings", 0444, &all_mask_ops),
    GEN_FILE("core_siblings_list", 0444, &cpus_ops),
    GEN_FILE("package_cpus", 0444, &all_mask_ops),
    GEN_FILE("package_cpus_list", 0444, &cpus_ops),
    TEXT("physical_package_id", "0"),
    GEN_FILE("thread_siblings", 0444, &own_mask_ops),
    GEN_FILE("thread_siblings_list", 0444, &own_list_ops),
    GEN_END,
};

static const struct gen_entry one_cpu_entries[] = {
    GEN_DYN("cache", 0755, NULL, &cache_dir_ops),
    TEXT("online", "1"),
    GEN_DIR("topology", 0755, topology_entries),
    GEN_END,
};

static int cpu_lookup(u64 arg, const char *name, unsigned len, struct gen_entry *out)
{
    int cpu = numbered(name, len, "cpu");
    if (cpu < 0 || (u32)cpu >= n_cpus)
        return -ENOENT;
    *out = (struct gen_entry){.mode = S_IFDIR | 0755, .children = one_cpu_entries, .arg = (u64)cpu};
    return 0;
}

static int cpu_readdir(u64 arg, struct dir_context *ctx)
{
    return list_numbered(ctx, "cpu", n_cpus);
}

static const struct gen_dir_ops cpu_dir_ops = {.lookup = cpu_lookup, .readdir = cpu_readdir};

static const struct gen_entry cpu_entries[] = {
    TEXT("isolated", ""),
    GEN_FILE("kernel_max", 0444, &kernel_max_ops),
    TEXT("nohz_full", ""),
    TEXT("offline", ""),
    GEN_FILE("online", 0444, &cpus_ops),
    GEN_FILE("possible", 0444, &cpus_ops),
    GEN_FILE("present", 0444, &cpus_ops),
    GEN_END,
};

static int show_clock(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%s\n", arch_clock_name());
    return 0;
}
OPS(clock_ops, .show = show_clock);
static const struct gen_entry clock_entries[] = {
    GEN_FILE("available_clocksource", 0444, &clock_ops),
    GEN_FILE("current_clocksource", 0644, &clock_ops),
    GEN_END,
};
static const struct gen_entry clocksource_entries[] = {
    GEN_DIR("clocksource0", 0755, clock_entries),
    GEN_END,
};

static int show_node_meminfo(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "Node 0 MemTotal:       %llu kB\nNode 0 MemFree:        %llu kB\n",
               (unsigned long long)page_total_count() * 4,
               (unsigned long long)page_free_count() * 4);
    return 0;
}
OPS(node_meminfo_ops, .show = show_node_meminfo);
static const struct gen_entry node0_entries[] = {
    GEN_FILE("cpulist", 0444, &cpus_ops),
    GEN_FILE("cpumap", 0444, &all_mask_ops),
    TEXT("distance", "10"),
    GEN_FILE("meminfo", 0444, &node_meminfo_ops),
    GEN_END,
};
static const struct gen_entry node_entries[] = {
    TEXT("has_cpu", "0"), TEXT("has_memory", "0"), GEN_DIR("node0", 0755, node0_entries),
    TEXT("online", "0"),  TEXT("possible", "0"),   GEN_END,
};
static const struct gen_entry system_entries[] = {
    GEN_DIR("clocksource", 0755, clocksource_entries),
    GEN_DYN("cpu", 0755, cpu_entries, &cpu_dir_ops),
    GEN_DIR("node", 0755, node_entries),
    GEN_END,
};
static const struct gen_entry devices_entries[] = {
    GEN_DIR("system", 0755, system_entries),
    GEN_END,
};

// There is no khugepaged: huge pages are made when memory is touched, never afterwards by a thread,
// and a touch never waits for one.
static const struct gen_entry khugepaged_entries[] = {
    TEXT("defrag", "0"),
    GEN_END,
};
static const struct gen_entry thp_entries[] = {
    TEXT("defrag", "always defer defer+madvise madvise [never]"),
    GEN_FILE("enabled", 0644, &thp_enabled_ops),
    TEXT("hpage_pmd_size", "2097152"),
    GEN_DIR("khugepaged", 0755, khugepaged_entries),
    TEXT("shmem_enabled", "always within_size advise [never] deny force"),
    TEXT("use_zero_page", "0"),
    GEN_END,
};
static int show_count(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%llu\n", (unsigned long long)((u64(*)(void))(uintptr_t)arg)());
    return 0;
}
OPS(count_ops, .show = show_count);
static const struct gen_entry hugetlb_2m_entries[] = {
    GEN_FILE_ARG("free_hugepages", 0444, &count_ops, hugetlb_free_count),
    GEN_FILE("nr_hugepages", 0644, &hugetlb_pool_ops),
    TEXT("nr_overcommit_hugepages", "0"),
    GEN_FILE_ARG("resv_hugepages", 0444, &count_ops, hugetlb_reserved_count),
    TEXT("surplus_hugepages", "0"),
    GEN_END,
};
static const struct gen_entry hugepages_entries[] = {
    GEN_DIR("hugepages-2048kB", 0755, hugetlb_2m_entries),
    GEN_END,
};
static const struct gen_entry mm_entries[] = {
    GEN_DIR("hugepages", 0755, hugepages_entries),
    GEN_DIR("transparent_hugepage", 0755, thp_entries),
    GEN_END,
};
static const struct gen_entry kernel_entries[] = {
    GEN_DIR("mm", 0755, mm_entries),
    GEN_END,
};
static const struct gen_entry no_entries[] = {GEN_END};
static const struct gen_entry sys_entries[] = {
    GEN_DIR("block", 0755, no_entries),
    GEN_DIR("bus", 0755, no_entries),
    GEN_DYN("class", 0755, NULL, &sys_class_more),
    GEN_DIR("devices", 0755, devices_entries),
    GEN_DIR("fs", 0755, no_entries),
    GEN_DIR("kernel", 0755, kernel_entries),
    GEN_END,
};
static const struct gen_entry sys_root = {.mode = S_IFDIR | 0555, .children = sys_entries};

void sysfs_init(void)
{
    if (gen_mount("/sys", "sysfs", SYSFS_MAGIC, SB_NOSUID | SB_NODEV | SB_NOEXEC | SB_NO_CREATE,
                  &sys_root))
        noboot("out of memory for /sys");
}
