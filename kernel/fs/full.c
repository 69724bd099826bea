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

// ---- /proc/PID and /proc/PID/task/TID

static const struct gen_entry pid_entries[] = {
    GEN_FILE("cgroup", 0444, &proc_pid_cgroup_ops),
    GEN_DIR("net", 0555, proc_net_entries),
    GEN_END,
};

static int pid_lookup(u64 arg, const char *name, unsigned len, struct gen_entry *out)
{
    return table_lookup(pid_entries, name, len, out);
}

static int pid_readdir(u64 arg, struct dir_context *ctx) { return table_readdir(pid_entries, ctx); }

const struct gen_dir_ops proc_pid_more = {.lookup = pid_lookup, .readdir = pid_readdir};

// ---- /proc/sys/fs

static int sys_fs_lookup(u64 arg, const char *name, unsigned len, struct gen_entry *out)
{
    return table_lookup(aio_sysctl_entries, name, len, out);
}

static int sys_fs_readdir(u64 arg, struct dir_context *ctx)
{
    return table_readdir(aio_sysctl_entries, ctx);
}

const struct gen_dir_ops proc_sys_fs_more = {.lookup = sys_fs_lookup, .readdir = sys_fs_readdir};
