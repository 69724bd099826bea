// SPDX-License-Identifier: BSD-2-Clause
// proc_sys.c: /proc/sys (proc_sys(5)). A row is here only if what it says is true: knobs of Linux that
// would turn nothing are left out, so a program that looks for one learns that it is not there.
#include <stdlib.h>

#include "core/random.h"
#include "core/uts.h"
#include "fs/proc_internal.h"
#include "mm/hugetlb.h"

#define CAP_LAST_CAP 40
#define NR_OPEN_MAX (1u << 20)
#define PID_MAX 4194304

// ---- numbers

static int show_number(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%llu\n", (unsigned long long)arg);
    return 0;
}

static int show_u32(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%u\n", *(const u32 *)(uintptr_t)arg);
    return 0;
}

int show_u64(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%llu\n", (unsigned long long)*(const u64 *)(uintptr_t)arg);
    return 0;
}

// One unsigned number and white space. => false: EINVAL
bool parse_u64(const char *data, u64 *value)
{
    char *end;
    while (*data == ' ' || *data == '\t')
        data++;
    if (*data < '0' || *data > '9')
        return false;
    *value = strtoull(data, &end, 0);
    while (*end == ' ' || *end == '\t' || *end == '\n')
        end++;
    return *end == '\0';
}

// Stores a number of [min, max] where arg points.
static ssize_t write_u32_in(u64 arg, const char *data, size_t len, u32 min, u32 max)
{
    u64 value;
    if (!parse_u64(data, &value) || value < min || value > max)
        return -EINVAL;
    *(u32 *)(uintptr_t)arg = (u32)value;
    return (ssize_t)len;
}

static ssize_t write_overcommit(u64 arg, const char *data, size_t len)
{
    return write_u32_in(arg, data, len, 0, 2);
}
// The ratio and the absolute limit exclude each other: the one written last counts.
static ssize_t write_ratio(u64 arg, const char *data, size_t len)
{
    ssize_t n = write_u32_in(arg, data, len, 0, INT32_MAX);
    if (n > 0)
        vm_overcommit_kbytes = 0;
    return n;
}
static ssize_t write_commit_kbytes(u64 arg, const char *data, size_t len)
{
    if (!parse_u64(data, &vm_overcommit_kbytes))
        return -EINVAL;
    vm_overcommit_ratio = 0;
    return (ssize_t)len;
}
static ssize_t write_map_count(u64 arg, const char *data, size_t len)
{
    return write_u32_in(arg, data, len, 0, INT32_MAX);
}
static ssize_t write_pipe_max(u64 arg, const char *data, size_t len)
{
    u64 value;
    u32 rounded = PAGE_SIZE;
    if (!parse_u64(data, &value) || value == 0 || value > BIT(31))
        return -EINVAL;
    while (rounded < value)
        rounded *= 2;
    *(u32 *)(uintptr_t)arg = rounded;
    return (ssize_t)len;
}

static int show_pool(struct seq_buf *out, u64 arg) { return show_number(out, hugetlb_total()); }
static ssize_t write_pool(u64 arg, const char *data, size_t len)
{
    u64 pages;
    if (!parse_u64(data, &pages))
        return -EINVAL;
    hugetlb_resize(pages);
    return (ssize_t)len;
}

static ssize_t write_min_addr(u64 arg, const char *data, size_t len)
{
    u64 value;
    if (!parse_u64(data, &value) || value >= USER_END)
        return -EINVAL;
    vm_mmap_min_addr = ALIGN_UP(value, (u64)PAGE_SIZE);
    return (ssize_t)len;
}

// ---- names

static int show_text(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%s\n", (const char *)(uintptr_t)arg);
    return 0;
}

static int show_hostname(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%s\n", get_hostname());
    return 0;
}

static ssize_t write_hostname(u64 arg, const char *data, size_t len)
{
    char name[65];
    strlcpy(name, data, sizeof(name));
    char *newline = strchr(name, '\n');
    if (newline)
        *newline = '\0';
    int err = set_hostname(name);
    return err ? err : (ssize_t)len;
}

// ---- kernel/random

static void show_uuid_bytes(struct seq_buf *out, const u8 u[16])
{
    for (int i = 0; i < 16; i++)
        seq_printf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
    seq_printf(out, "\n");
}

static void make_uuid(u8 u[16])  // RFC 4122, version 4
{
    random_bytes(u, 16);
    u[6] = (u[6] & 0x0f) | 0x40;
    u[8] = (u[8] & 0x3f) | 0x80;
}

static int show_uuid(struct seq_buf *out, u64 arg)
{
    u8 u[16];
    make_uuid(u);
    show_uuid_bytes(out, u);
    return 0;
}

static int show_boot_id(struct seq_buf *out, u64 arg)
{
    static struct spinlock lock;
    static u8 boot_id[16];
    static bool made;
    spin_lock(&lock);
    if (!made)
        make_uuid(boot_id);
    made = true;
    spin_unlock(&lock);
    show_uuid_bytes(out, boot_id);
    return 0;
}

// ---- fs

static int show_file_max(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%llu\n", (unsigned long long)file_max());
    return 0;
}

static int show_file_nr(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%llu\t0\t%llu\n", (unsigned long long)file_count(),
               (unsigned long long)file_max());
    return 0;
}

// Frames are the only limit: an eighth of them could hold that many threads' stacks.
static int show_threads_max(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%llu\n",
               (unsigned long long)(page_total_count() / 8 / (KERNEL_STACK_SIZE / PAGE_SIZE)));
    return 0;
}

// ---- the tables

#define OPS(name, ...) static const struct gen_ops name = {__VA_ARGS__}
OPS(number_ops, .show = show_number);
OPS(text_ops, .show = show_text);
OPS(hostname_ops, .show = show_hostname, .write = write_hostname);
OPS(uuid_ops, .show = show_uuid);
OPS(boot_id_ops, .show = show_boot_id);
OPS(overcommit_ops, .show = show_u32, .write = write_overcommit);
OPS(ratio_ops, .show = show_u32, .write = write_ratio);
OPS(commit_kbytes_ops, .show = show_u64, .write = write_commit_kbytes);
OPS(map_count_ops, .show = show_u32, .write = write_map_count);
const struct gen_ops hugetlb_pool_ops = {.show = show_pool, .write = write_pool};
OPS(min_addr_ops, .show = show_u64, .write = write_min_addr);
OPS(pipe_max_ops, .show = show_u32, .write = write_pipe_max);
OPS(file_max_ops, .show = show_file_max);
OPS(file_nr_ops, .show = show_file_nr);
OPS(threads_max_ops, .show = show_threads_max);

static const struct gen_entry random_entries[] = {
    GEN_FILE("boot_id", 0444, &boot_id_ops),
    GEN_FILE_ARG("entropy_avail", 0444, &number_ops, 256),
    GEN_FILE_ARG("poolsize", 0444, &number_ops, 256),
    GEN_FILE("uuid", 0444, &uuid_ops),
    GEN_END,
};

static const struct gen_entry kernel_entries[] = {
    GEN_FILE_ARG("cap_last_cap", 0444, &number_ops, CAP_LAST_CAP),
    GEN_FILE_ARG("domainname", 0444, &text_ops, UTS_DOMAINNAME),
    GEN_FILE("hostname", 0644, &hostname_ops),
    GEN_FILE_ARG("ngroups_max", 0444, &number_ops, 65536),
    GEN_FILE_ARG("osrelease", 0444, &text_ops, UTS_RELEASE),
    GEN_FILE_ARG("ostype", 0444, &text_ops, UTS_SYSNAME),
    GEN_FILE_ARG("overflowgid", 0444, &number_ops, 65534),
    GEN_FILE_ARG("overflowuid", 0444, &number_ops, 65534),
    GEN_FILE_ARG("pid_max", 0444, &number_ops, PID_MAX),
    GEN_DIR("random", 0555, random_entries),
    GEN_FILE_ARG("randomize_va_space", 0444, &number_ops, 2),
    GEN_FILE_ARG("tainted", 0444, &number_ops, 0),
    GEN_FILE("threads-max", 0444, &threads_max_ops),
    GEN_FILE_ARG("version", 0444, &text_ops, UTS_VERSION),
    GEN_END,
};

static const struct gen_entry vm_entries[] = {
    GEN_FILE_ARG("max_map_count", 0644, &map_count_ops, &vm_max_map_count),
    GEN_FILE_ARG("mmap_min_addr", 0644, &min_addr_ops, &vm_mmap_min_addr),
    GEN_FILE("nr_hugepages", 0644, &hugetlb_pool_ops),
    GEN_FILE_ARG("nr_overcommit_hugepages", 0444, &number_ops, 0),
    GEN_FILE_ARG("overcommit_kbytes", 0644, &commit_kbytes_ops, &vm_overcommit_kbytes),
    GEN_FILE_ARG("overcommit_memory", 0644, &overcommit_ops, &vm_overcommit_memory),
    GEN_FILE_ARG("overcommit_ratio", 0644, &ratio_ops, &vm_overcommit_ratio),
    GEN_END,
};

extern u32 pipe_max_bytes;  // pipe.c

static const struct gen_entry fs_entries[] = {
    GEN_FILE("file-max", 0444, &file_max_ops),
    GEN_FILE("file-nr", 0444, &file_nr_ops),
    GEN_FILE_ARG("nr_open", 0444, &number_ops, NR_OPEN_MAX),
    GEN_FILE_ARG("pipe-max-size", 0644, &pipe_max_ops, &pipe_max_bytes),
    GEN_FILE_ARG("suid_dumpable", 0444, &number_ops, 0),
    GEN_END,
};

const struct gen_entry proc_sys_entries[] = {
    GEN_DYN("fs", 0555, fs_entries, &proc_sys_fs_more),
    GEN_DIR("kernel", 0555, kernel_entries),
    GEN_DIR("vm", 0555, vm_entries),
    GEN_END,
};
