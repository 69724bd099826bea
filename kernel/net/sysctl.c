// SPDX-License-Identifier: BSD-2-Clause
// sysctl.c: /proc/sys/net (ip(7), tcp(7), socket(7)): what is true of this network. Nothing can be set.
#include "fs/special_internal.h"
#include "net/inet.h"
#include "net/unix_internal.h"

static int show_text(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%s\n", (const char *)(uintptr_t)arg);
    return 0;
}

static int show_number(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%llu\n", (unsigned long long)arg);
    return 0;
}

// "FIRST\tLAST": arg is first | last << 32
static int show_range(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%u\t%u\n", (u32)arg, (u32)(arg >> 32));
    return 0;
}

static const struct gen_ops text_ops = {.show = show_text}, number_ops = {.show = show_number},
                            range_ops = {.show = show_range};
#define NUMBER(name, value) GEN_FILE_ARG(name, 0444, &number_ops, value)
#define TEXT(name, value) GEN_FILE_ARG(name, 0444, &text_ops, value)

static const struct gen_entry core_entries[] = {
    NUMBER("optmem_max", SOCKET_CONTROL_MAX),
    NUMBER("rmem_default", SOCKET_BUFFER_DEFAULT),
    NUMBER("rmem_max", SOCKET_BUFFER_MAX),
    NUMBER("somaxconn", SOMAXCONN_DEFAULT),
    NUMBER("wmem_default", SOCKET_BUFFER_DEFAULT),
    NUMBER("wmem_max", SOCKET_BUFFER_MAX),
    GEN_END,
};

static const struct gen_entry ipv4_entries[] = {
    NUMBER("ip_default_ttl", 64),
    NUMBER("ip_forward", 0),
    GEN_FILE_ARG("ip_local_port_range", 0444, &range_ops,
                 PORT_RANGE_FIRST | (u64)PORT_RANGE_LAST << 32),
    NUMBER("ip_unprivileged_port_start", PORT_FIRST_FREE),
    TEXT("tcp_allowed_congestion_control", "reno"),
    TEXT("tcp_available_congestion_control", "reno"),
    TEXT("tcp_congestion_control", "reno"),
    NUMBER("tcp_fastopen", 0),
    NUMBER("tcp_keepalive_intvl", 75),
    NUMBER("tcp_keepalive_probes", 9),
    NUMBER("tcp_keepalive_time", 7200),
    NUMBER("tcp_sack", 1),
    NUMBER("tcp_syncookies", 0),
    NUMBER("tcp_timestamps", 1),
    NUMBER("tcp_window_scaling", 1),
    GEN_END,
};

static const struct gen_entry unix_entries[] = {
    NUMBER("max_dgram_qlen", UNIX_DGRAM_QUEUE),
    GEN_END,
};

const struct gen_entry proc_sys_net_entries[] = {
    GEN_DIR("core", 0555, core_entries),
    GEN_DIR("ipv4", 0555, ipv4_entries),
    GEN_DIR("unix", 0555, unix_entries),
    GEN_END,
};
