// SPDX-License-Identifier: BSD-2-Clause
// sockopt.c: setsockopt(2) and getsockopt(2): the options of SOL_SOCKET (socket(7)); the families have the others.
#include "net/socket.h"

#include <string.h>

#define VALUE_MAX 256  // bytes of the longest option of any level
#define SNDBUF_MIN 4608
#define RCVBUF_MIN 2304
#define CAP_NET_ADMIN 12
#define PRIORITY_FREE 6  // the highest that needs no privilege

enum {  // user ABI
    SO_DEBUG = 1,
    SO_REUSEADDR = 2,
    SO_TYPE = 3,
    SO_ERROR = 4,
    SO_BROADCAST = 6,
    SO_OOBINLINE = 10,
    SO_PRIORITY = 12,
    SO_REUSEPORT = 15,
    SO_MARK = 36,
    SO_COOKIE = 57,
    SO_ZEROCOPY = 60,
    SO_SNDBUF = 7,
    SO_RCVBUF = 8,
    SO_KEEPALIVE = 9,
    SO_LINGER = 13,
    SO_RCVLOWAT = 18,
    SO_SNDLOWAT = 19,
    SO_RCVTIMEO = 20,
    SO_SNDTIMEO = 21,
    SO_ACCEPTCONN = 30,
    SO_SNDBUFFORCE = 32,
    SO_RCVBUFFORCE = 33,
    SO_PROTOCOL = 38,
    SO_DOMAIN = 39,
    SO_RCVTIMEO_NEW = 66,
    SO_SNDTIMEO_NEW = 67,
};

struct linger {
    s32 on, seconds;
};
struct timeval {
    s64 sec, usec;
};

// ---- setting

static bool *flag_of(struct socket *s, int name)
{
    switch (name) {
    case SO_REUSEADDR: return &s->reuse_addr;
    case SO_KEEPALIVE: return &s->keep_alive;
    case SO_BROADCAST: return &s->broadcast;
    case SO_OOBINLINE: return &s->oob_inline;
    case SO_REUSEPORT: return &s->reuse_port;
    default: return NULL;
    }
}

// time-outs: 0 is none; a negative time does not wait, as on Linux.
static int set_timeout(u64 *timeout_ns, const void *value, u32 len)
{
    struct timeval tv;
    if (len < sizeof(tv))
        return -EINVAL;
    memcpy(&tv, value, sizeof(tv));
    if (tv.usec < 0 || tv.usec >= 1000000)
        return -EDOM;
    if (tv.sec < 0)
        *timeout_ns = 0;
    else if ((tv.sec == 0 && tv.usec == 0) || tv.sec > INT64_MAX / (s64)NSEC_PER_SEC / 2)
        *timeout_ns = NEVER;
    else
        *timeout_ns = (u64)tv.sec * NSEC_PER_SEC + (u64)tv.usec * NSEC_PER_USEC;
    return 0;
}

static int set_linger(struct socket *s, const void *value, u32 len)
{
    struct linger l;
    if (len < sizeof(l))
        return -EINVAL;
    memcpy(&l, value, sizeof(l));
    s->linger_s = l.on ? MAX(l.seconds, 0) : -1;
    return 0;
}

static u32 buffer_size(int value, bool force, u32 least)
{
    u32 bytes = force ? (u32)MAX(value, 0) : MIN((u32)value, SOCKET_BUFFER_MAX);
    bytes = MIN(bytes, (u32)INT32_MAX / 2);
    return MAX(bytes * 2, least);
}

static int set_number(struct socket *s, int name, int value)
{
    bool *flag = flag_of(s, name);
    if (name == SO_REUSEPORT && value && s->family != AF_INET && s->family != AF_INET6)
        return -EOPNOTSUPP;
    if (flag) {
        *flag = value != 0;
        return 0;
    }
    switch (name) {
    case SO_PRIORITY:
        if ((value < 0 || value > PRIORITY_FREE) && !capable(CAP_NET_ADMIN))
            return -EPERM;
        s->priority = value;
        return 0;
    case SO_MARK:
        if (!capable(CAP_NET_ADMIN))
            return -EPERM;
        s->mark = (u32)value;
        return 0;
    case SO_ZEROCOPY: return value < 0 || value > 1 ? -EINVAL : value ? -EOPNOTSUPP : 0;
    case SO_SNDBUF: s->send_buffer = buffer_size(value, false, SNDBUF_MIN); return 0;
    case SO_RCVBUF: s->receive_buffer = buffer_size(value, false, RCVBUF_MIN); return 0;
    case SO_SNDBUFFORCE:
    case SO_RCVBUFFORCE:
        if (!capable(CAP_NET_ADMIN))
            return -EPERM;
        if (name == SO_SNDBUFFORCE)
            s->send_buffer = buffer_size(value, true, SNDBUF_MIN);
        else
            s->receive_buffer = buffer_size(value, true, RCVBUF_MIN);
        return 0;
    case SO_RCVLOWAT: s->receive_low = value > 0 ? (u32)value : value < 0 ? INT32_MAX : 1; return 0;
    default: return -ENOPROTOOPT;
    }
}

// => 1: an option that takes no int
static int set_other(struct socket *s, int name, const void *value, u32 len)
{
    switch (name) {
    case SO_LINGER: return set_linger(s, value, len);
    case SO_RCVTIMEO:
    case SO_RCVTIMEO_NEW: return set_timeout(&s->receive_timeout_ns, value, len);
    case SO_SNDTIMEO:
    case SO_SNDTIMEO_NEW: return set_timeout(&s->send_timeout_ns, value, len);
    default: return 1;
    }
}

// The families' own SOL_SOCKET options come first: they know better.
static int set_socket_option(struct socket *s, int name, const void *value, u32 len)
{
    int number, err = s->ops->set_option ? s->ops->set_option(s, SOL_SOCKET, name, value, len)
                                         : -ENOPROTOOPT;
    if (err != -ENOPROTOOPT)
        return err;
    err = set_other(s, name, value, len);
    if (err == 1) {
        if (len < sizeof(number))
            return -EINVAL;
        memcpy(&number, value, sizeof(number));
        err = set_number(s, name, number);
    }
    if (!err && s->ops->option_changed)
        s->ops->option_changed(s);
    return err;
}

long sys_setsockopt(int fd, int level, int name, uptr_t user, int len)
{
    u8 value[VALUE_MAX] = {0};
    struct fd f;
    if (len < 0)
        return -EINVAL;
    struct socket *s = socket_from_fd(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    u32 n = MIN((u32)len, (u32)VALUE_MAX);
    int err = n && copy_from_user(value, user, n) ? -EFAULT : 0;
    if (!err && level == SOL_SOCKET)
        err = set_socket_option(s, name, value, n);
    else if (!err)
        err = s->ops->set_option ? s->ops->set_option(s, level, name, value, n) : -EOPNOTSUPP;
    fd_put(f);
    return err;
}

// ---- getting

static void get_timeout(u64 timeout_ns, void *value, u32 *len)
{
    struct timeval tv = {0, 0};
    if (timeout_ns != NEVER)
        tv = (struct timeval){(s64)(timeout_ns / NSEC_PER_SEC),
                              (s64)(timeout_ns % NSEC_PER_SEC / NSEC_PER_USEC)};
    memcpy(value, &tv, sizeof(tv));
    *len = MIN(*len, (u32)sizeof(tv));
}

static int get_number(struct socket *s, int name, int *value)
{
    const bool *flag = flag_of(s, name);
    if (flag) {
        *value = *flag;
        return 0;
    }
    switch (name) {
    case SO_DEBUG:
    case SO_ZEROCOPY: *value = 0; return 0;
    case SO_PRIORITY: *value = s->priority; return 0;
    case SO_MARK: *value = (int)s->mark; return 0;
    case SO_TYPE: *value = s->type; return 0;
    case SO_ERROR: *value = -socket_take_error(s); return 0;
    case SO_SNDBUF: *value = (int)s->send_buffer; return 0;
    case SO_RCVBUF: *value = (int)s->receive_buffer; return 0;
    case SO_RCVLOWAT: *value = (int)s->receive_low; return 0;
    case SO_SNDLOWAT: *value = 1; return 0;
    case SO_ACCEPTCONN: *value = s->listening; return 0;
    case SO_PROTOCOL: *value = s->protocol; return 0;
    case SO_DOMAIN: *value = s->family; return 0;
    default: return -ENOPROTOOPT;
    }
}

static int get_socket_option(struct socket *s, int name, void *value, u32 *len)
{
    int number, err = s->ops->get_option ? s->ops->get_option(s, SOL_SOCKET, name, value, len)
                                         : -ENOPROTOOPT;
    if (err != -ENOPROTOOPT)
        return err;
    switch (name) {
    case SO_LINGER: {
        struct linger l = {s->linger_s >= 0, MAX(s->linger_s, 0)};
        memcpy(value, &l, sizeof(l));
        *len = MIN(*len, (u32)sizeof(l));
        return 0;
    }
    case SO_COOKIE:
        if (*len < sizeof(s->ino))
            return -EINVAL;
        *len = sizeof(s->ino);
        memcpy(value, &s->ino, sizeof(s->ino));
        return 0;
    case SO_RCVTIMEO:
    case SO_RCVTIMEO_NEW: get_timeout(s->receive_timeout_ns, value, len); return 0;
    case SO_SNDTIMEO:
    case SO_SNDTIMEO_NEW: get_timeout(s->send_timeout_ns, value, len); return 0;
    }
    err = get_number(s, name, &number);
    if (!err) {
        memcpy(value, &number, sizeof(number));
        *len = MIN(*len, (u32)sizeof(number));
    }
    return err;
}

long sys_getsockopt(int fd, int level, int name, uptr_t user, uptr_t user_len)
{
    u8 value[VALUE_MAX] = {0};
    u32 len, room = 0;
    struct fd f;
    struct socket *s = socket_from_fd(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    int err = get_user_u32(&len, user_len) ? -EFAULT : (s32)len < 0 ? -EINVAL : 0;
    if (!err) {
        len = room = MIN(len, (u32)VALUE_MAX);
        if (level == SOL_SOCKET)
            err = get_socket_option(s, name, value, &len);
        else
            err =
                s->ops->get_option ? s->ops->get_option(s, level, name, value, &len) : -EOPNOTSUPP;
    }
    room = MIN(len, room);  // some options tell a longer length than they were asked for
    if (!err && ((room && copy_to_user(user, value, room)) || put_user_u32(user_len, len)))
        err = -EFAULT;
    fd_put(f);
    return err;
}
