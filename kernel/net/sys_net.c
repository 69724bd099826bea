// SPDX-License-Identifier: BSD-2-Clause
// sys_net.c: /sys/class/net: a directory for each interface, with what is known of it.
#include <stdio.h>
#include <string.h>

#include "fs/special_internal.h"
#include "net/interface.h"

enum attribute {
    ADDRESS,
    BROADCAST,
    CARRIER,
    DUPLEX,
    FLAGS,
    IFINDEX,
    MTU,
    OPERSTATE,
    SPEED,
    TYPE,
    UEVENT,
};

static void show_mac(struct seq_buf *out, const u8 mac[6])
{
    for (int i = 0; i < 6; i++)
        seq_printf(out, "%s%02x", i ? ":" : "", mac[i]);
    seq_printf(out, "\n");
}

static int show(struct seq_buf *out, u64 index, enum attribute which)
{
    static const u8 all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, none[6];
    struct interface i;
    if (!interface_get((u32)index, &i))
        return -ENOENT;
    bool loopback = i.flags & IFF_LOOPBACK, up = i.flags & IFF_LOWER_UP;
    switch (which) {
    case ADDRESS: show_mac(out, i.mac); return 0;
    case BROADCAST: show_mac(out, loopback ? none : all); return 0;
    case CARRIER: seq_printf(out, "%d\n", up); return 0;
    case DUPLEX:
        if (loopback)
            return -EINVAL;
        seq_printf(out, "unknown\n");
        return 0;
    case FLAGS:
        seq_printf(out, "0x%x\n",
                   i.flags & (IFF_UP | IFF_BROADCAST | IFF_LOOPBACK | IFF_MULTICAST));
        return 0;
    case IFINDEX: seq_printf(out, "%u\n", i.index); return 0;
    case MTU: seq_printf(out, "%u\n", i.mtu); return 0;
    case OPERSTATE: seq_printf(out, "%s\n", loopback ? "unknown" : up ? "up" : "down"); return 0;
    case SPEED:
        if (loopback)
            return -EINVAL;
        seq_printf(out, "-1\n");  // the device does not tell
        return 0;
    case TYPE: seq_printf(out, "%u\n", i.type); return 0;
    case UEVENT: seq_printf(out, "INTERFACE=%s\nIFINDEX=%u\n", i.name, i.index); return 0;
    }
    return -EINVAL;
}

#define ATTRIBUTE(name, which)                                                                 \
    static int show_##name(struct seq_buf *out, u64 index) { return show(out, index, which); } \
    static const struct gen_ops name##_ops = {.show = show_##name}
ATTRIBUTE(address, ADDRESS);
ATTRIBUTE(broadcast, BROADCAST);
ATTRIBUTE(carrier, CARRIER);
ATTRIBUTE(duplex, DUPLEX);
ATTRIBUTE(flags, FLAGS);
ATTRIBUTE(ifindex, IFINDEX);
ATTRIBUTE(mtu, MTU);
ATTRIBUTE(operstate, OPERSTATE);
ATTRIBUTE(speed, SPEED);
ATTRIBUTE(type, TYPE);
ATTRIBUTE(uevent, UEVENT);

static int show_fixed(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%s\n", (const char *)(uintptr_t)arg);
    return 0;
}
static const struct gen_ops fixed_ops = {.show = show_fixed};
#define TEXT(name, text) GEN_FILE_ARG(name, 0444, &fixed_ops, text)

#define COUNTER(field)                                                   \
    static int show_##field(struct seq_buf *out, u64 index)              \
    {                                                                    \
        struct interface i;                                              \
        if (!interface_get((u32)index, &i))                              \
            return -ENOENT;                                              \
        seq_printf(out, "%llu\n", (unsigned long long)i.counters.field); \
        return 0;                                                        \
    }                                                                    \
    static const struct gen_ops field##_ops = {.show = show_##field}
COUNTER(rx_bytes);
COUNTER(rx_dropped);
COUNTER(rx_multicast);
COUNTER(rx_frames);
COUNTER(tx_bytes);
COUNTER(tx_dropped);
COUNTER(tx_frames);

static const struct gen_entry statistics_entries[] = {
    TEXT("collisions", "0"),
    GEN_FILE("multicast", 0444, &rx_multicast_ops),
    GEN_FILE("rx_bytes", 0444, &rx_bytes_ops),
    TEXT("rx_compressed", "0"),
    TEXT("rx_crc_errors", "0"),
    GEN_FILE("rx_dropped", 0444, &rx_dropped_ops),
    TEXT("rx_errors", "0"),
    TEXT("rx_fifo_errors", "0"),
    TEXT("rx_frame_errors", "0"),
    TEXT("rx_length_errors", "0"),
    TEXT("rx_missed_errors", "0"),
    TEXT("rx_nohandler", "0"),
    TEXT("rx_over_errors", "0"),
    GEN_FILE("rx_packets", 0444, &rx_frames_ops),
    TEXT("tx_aborted_errors", "0"),
    GEN_FILE("tx_bytes", 0444, &tx_bytes_ops),
    TEXT("tx_carrier_errors", "0"),
    TEXT("tx_compressed", "0"),
    GEN_FILE("tx_dropped", 0444, &tx_dropped_ops),
    TEXT("tx_errors", "0"),
    TEXT("tx_fifo_errors", "0"),
    TEXT("tx_heartbeat_errors", "0"),
    GEN_FILE("tx_packets", 0444, &tx_frames_ops),
    TEXT("tx_window_errors", "0"),
    GEN_END,
};

static const struct gen_entry interface_entries[] = {
    TEXT("addr_assign_type", "0"),
    TEXT("addr_len", "6"),
    GEN_FILE("address", 0444, &address_ops),
    GEN_FILE("broadcast", 0444, &broadcast_ops),
    GEN_FILE("carrier", 0444, &carrier_ops),
    TEXT("dev_id", "0x0"),
    TEXT("dev_port", "0"),
    TEXT("dormant", "0"),
    GEN_FILE("duplex", 0444, &duplex_ops),
    GEN_FILE("flags", 0444, &flags_ops),
    TEXT("ifalias", ""),
    GEN_FILE("ifindex", 0444, &ifindex_ops),
    GEN_FILE("iflink", 0444, &ifindex_ops),
    TEXT("link_mode", "0"),
    GEN_FILE("mtu", 0444, &mtu_ops),
    TEXT("netdev_group", "0"),
    GEN_FILE("operstate", 0444, &operstate_ops),
    TEXT("proto_down", "0"),
    GEN_FILE("speed", 0444, &speed_ops),
    GEN_DIR("statistics", 0755, statistics_entries),
    TEXT("tx_queue_len", "1000"),
    GEN_FILE("type", 0444, &type_ops),
    GEN_FILE("uevent", 0444, &uevent_ops),
    GEN_END,
};

static int lookup(u64 arg, const char *name, unsigned len, struct gen_entry *out)
{
    char text[INTERFACE_NAME_MAX] = "";
    if (len >= sizeof(text))
        return -ENOENT;
    memcpy(text, name, len);
    u32 index = interface_find(text);
    if (!index)
        return -ENOENT;
    *out = (struct gen_entry){.mode = S_IFDIR | 0755, .children = interface_entries, .arg = index};
    return 0;
}

static int readdir(u64 arg, struct dir_context *ctx)
{
    struct interface i;
    for (u64 at = ctx->pos; interface_get((u32)at + 1, &i); at++) {
        if (!dir_emit(ctx, i.name, (unsigned)strlen(i.name), 0, DT_DIR, at + 1))
            break;
    }
    return 0;
}

const struct gen_dir_ops sys_net_ops = {.lookup = lookup, .readdir = readdir};
