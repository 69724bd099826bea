// SPDX-License-Identifier: BSD-2-Clause
// netlink.h: messages between netlink.c (the sockets) and rtnetlink.c (what NETLINK_ROUTE answers). Source: netlink(7), rtnetlink(7).
#pragma once

#include "core/seq_buf.h"
#include "net/socket.h"

#define NETLINK_ROUTE 0
#define NL_ALIGN(len) ALIGN_UP((size_t)(len), sizeof(u32))

enum {
    NLM_F_REQUEST = 1,
    NLM_F_MULTI = 2,
    NLM_F_ACK = 4,
    NLM_F_DUMP = 0x300,
    NLM_F_CAPPED = 0x100
};
enum { NLMSG_NOOP = 1, NLMSG_ERROR = 2, NLMSG_DONE = 3, NLMSG_MIN_TYPE = 16 };

struct nl_header {  // user ABI: struct nlmsghdr
    u32 len;
    u16 type, flags;
    u32 seq, port;
};

struct nl_attr {  // user ABI: struct rtattr
    u16 len, type;
};

// A message being written. A failure of memory is the buffer's.
struct nl_writer {
    struct seq_buf *out;
    size_t at;  // where the message begins
};
struct nl_writer nl_begin(struct seq_buf *out, const struct nl_header *request, u16 type, u16 flags,
                          const void *body, size_t len);
void nl_put(struct nl_writer *w, u16 type, const void *data, size_t len);
static inline void nl_put_u32(struct nl_writer *w, u16 type, u32 value)
{
    nl_put(w, type, &value, sizeof(value));
}
static inline void nl_put_u8(struct nl_writer *w, u16 type, u8 value)
{
    nl_put(w, type, &value, sizeof(value));
}
void nl_put_text(struct nl_writer *w, u16 type, const char *text);
size_t nl_nest(struct nl_writer *w, u16 type);  // => for nl_nest_end
void nl_nest_end(struct nl_writer *w, size_t nest);
void nl_end(struct nl_writer *w);
// The attribute of a type behind a message's fixed part. => its data, *len bytes of it; NULL: none
const void *nl_find(const struct nl_header *h, size_t fixed, u16 type, size_t *len);

// Answers a request of NETLINK_ROUTE: its messages are put into out, each whole. => 0 or -errno
int rtnetlink_request(const struct nl_header *h, struct seq_buf *out);
// To the sockets that listen to a group (its number, from 1): the messages in out.
void netlink_multicast(u32 group, const struct seq_buf *out);
bool netlink_has_listeners(void);
