// SPDX-License-Identifier: BSD-2-Clause
// unix_internal.h: what the files of AF_UNIX share (essay in unix.c).
#pragma once

#include "net/socket.h"

#define UNIX_PATH_MAX 108
#define UNIX_FDS_MAX 253     // SCM_MAX_FD
#define UNIX_DGRAM_QUEUE 10  // net.unix.max_dgram_qlen

struct unix_addr {
    u32 refcount;  // atomic
    u32 len;       // of the whole address, the family included
    struct {
        u16 family;
        char path[UNIX_PATH_MAX + 1];
    } name;
};

struct unix_cred {  // user ABI: struct ucred
    s32 pid;
    u32 uid, gid;
};

struct flight_user;

// Descriptors on their way.
struct unix_fds {
    struct list link;  // [deferred_lock] waiting to be dropped
    u32 n;
    struct flight_user *user;  // who they are counted for, NULL: not in flight (unix_gc.c)
    struct file *files[];
};

struct unix_packet {
    struct list link;  // [queue's lock]
    u32 len;           // bytes of data
    u32 taken;         // [reader] of them read
    u32 size;          // charged to the queue
    bool has_cred;
    struct unix_cred cred;
    struct unix_fds *fds;    // [reader] NULL: none
    struct unix_addr *from;  // referenced, or NULL
    u8 data[];
};

enum unix_state { UNIX_FRESH, UNIX_LISTENING, UNIX_CONNECTED, UNIX_CLOSED };

struct unix_sock {
    struct socket s;  // first
    struct spinlock lock;
    u8 state;           // [lock] enum unix_state
    struct list queue;  // [lock] packets; of a listener: sockets to be accepted, by accept_link
    u32 n_queued;       // [lock] of them
    u32 queued_size;    // [lock to change] what they are charged with
    u32 queued_bytes;   // [lock to change] unread bytes of a stream
    u32 backlog;        // [lock]
    struct list accept_link;
    struct mutex read_mutex;   // readers, one at a time
    struct mutex write_mutex;  // writers of a stream
    struct unix_sock *peer;    // [lock] referenced; of connected streams fixed until close
    struct unix_addr *addr;    // [names_lock] own name, or NULL
    struct dentry *dentry;     // [names_lock] where it is bound
    struct list name_link;     // [names_lock] abstract names
    struct unix_cred peer_cred;
    struct list room_waiters;     // [room_lock] senders who found this queue full, by room_link
    struct list room_link;        // [room_lock]
    struct unix_sock *waits_for;  // [room_lock] referenced
    // unix_gc.c, all [flight_lock]
    struct file *file;        // while in flight: the file, which the messages hold
    u32 in_flight;            // descriptors of it in flight
    u32 gc_refs;              // of them not yet found in a candidate's queue
    u8 gc_state;              // enum gc_state
    struct list flight_link;  // in the list of sockets in flight
    struct list gc_link;      // while a collection runs: with the candidates, or those reached
};

static inline struct unix_sock *unix_of(struct socket *s) { return (struct unix_sock *)s; }
static inline bool unix_is_packet(const struct unix_sock *u) { return u->s.type != SOCK_STREAM; }

// unix_name.c
void unix_addr_put(struct unix_addr *a);
struct unix_addr *unix_addr_of(struct unix_sock *u);  // referenced, or NULL
int unix_bind(struct socket *s, const struct sock_addr *addr, u32 len);
int unix_autobind(struct unix_sock *u);
void unix_unbind(struct unix_sock *u);
// The socket that an address names, referenced. => ERR_PTR(-ECONNREFUSED, -EACCES, -EPROTOTYPE, path errors)
struct unix_sock *unix_find(const struct sock_addr *addr, u32 len, int type);

// unix_scm.c
// Takes SCM_RIGHTS and SCM_CREDENTIALS out of a message's control data; the descriptors are in flight from then on.
// => 0, -EINVAL, -EBADF, -EPERM, -ETOOMANYREFS, -ENOMEM
int unix_scm_load(const struct message *m, struct unix_fds **fds, struct unix_cred *cred,
                  bool *has_cred);
// Gives a packet's descriptors to the caller as far as they fit.
void unix_scm_deliver(struct message *m, struct unix_fds *fds);
void unix_fds_drop(struct unix_fds *fds);
struct unix_fds *unix_fds_copy(const struct unix_fds *fds);  // for MSG_PEEK; NULL: no memory

// unix_gc.c
// Counts descriptors in flight for the calling user. => 0, -ETOOMANYREFS, -ENOMEM; may sleep
int unix_fds_launch(struct unix_fds *fds);
void unix_fds_land(struct unix_fds *fds);  // they are no longer; may sleep
// New references to the files of a message that stays in its queue. copy has room for them.
void unix_fds_peek(const struct unix_fds *fds, struct unix_fds *copy);
// A socket has ended: those in flight that only keep each other are freed, now or soon.
void unix_collect(void);

// unix_data.c
ssize_t unix_send(struct socket *s, struct message *m);
ssize_t unix_receive(struct socket *s, struct message *m);
void unix_packet_free(struct unix_packet *p);
bool unix_writable(struct unix_sock *u);  // for poll
// The queue of u has room again, or u is gone: those who wait for that are woken.
void unix_wake_senders(struct unix_sock *u);
void unix_stop_waiting(struct unix_sock *u);
extern const struct socket_ops unix_ops;
