// SPDX-License-Identifier: BSD-2-Clause
// full.c: what lethe-kernel-full has in addition to the other kernel: file systems brought up before the configuration is read, and names
// in directories of /proc. Such a directory asks for them behind its table, so that the other kernel's tables stay short.
#include "fs/proc_internal.h"

void fs_init_full(void)
{
    blockdev_init();
    vfs_root_from_disk();
    cgroup_init();
}

static int table_lookup(const struct gen_entry *table, const char *name, unsigned len,
                        struct gen_entry *out)
{
    for (; table->name; table++) {
        if (strlen(table->name) == len && !memcmp(table->name, name, len)) {
            *out = *table;
            return 0;
        }
    }
    return -ENOENT;
}

static int table_readdir(const struct gen_entry *table, struct dir_context *ctx)
{
    u64 n = 0;
    while (table[n].name)
        n++;
    while (ctx->pos < n) {
        const struct gen_entry *e = &table[ctx->pos];
        unsigned type = e->mode & S_IFMT ? mode_to_dtype(e->mode) : DT_REG;
        if (!dir_emit(ctx, e->name, (unsigned)strlen(e->name), 0, type, ctx->pos + 1))
            break;
    }
    return 0;
}

// Names of a directory behind those of its own table.
#define MORE(id, table)                                                                    \
    static int id##_lookup(u64 arg, const char *name, unsigned len, struct gen_entry *out) \
    {                                                                                      \
        return table_lookup(table, name, len, out);                                        \
    }                                                                                      \
    static int id##_readdir(u64 arg, struct dir_context *ctx)                              \
    {                                                                                      \
        return table_readdir(table, ctx);                                                  \
    }                                                                                      \
    const struct gen_dir_ops id = {.lookup = id##_lookup, .readdir = id##_readdir}

// /proc/PID and /proc/PID/task/TID
static const struct gen_entry pid_entries[] = {
    GEN_FILE("cgroup", 0444, &proc_pid_cgroup_ops),
    GEN_DIR("net", 0555, proc_net_entries),
    GEN_END,
};
MORE(proc_pid_more, pid_entries);

// /proc/sys, /proc/sys/fs
static const struct gen_entry sys_entries[] = {
    GEN_DIR("net", 0555, proc_sys_net_entries),
    GEN_END,
};
MORE(proc_sys_more, sys_entries);
MORE(proc_sys_fs_more, aio_sysctl_entries);

// /sys/class
static const struct gen_entry class_entries[] = {
    GEN_DYN("net", 0755, NULL, &sys_net_ops),
    GEN_END,
};
MORE(sys_class_more, class_entries);
