// SPDX-License-Identifier: BSD-2-Clause
// pipe_internal.h: the pipe as pipe.c and splice.c see it.
#pragma once

#include "fs/special_internal.h"

enum pipe_buf_flags {
    PIPE_BUF_MERGE = 1,   // the page is the pipe's own: the next write may append to it
    PIPE_BUF_PACKET = 2,  // one write in O_DIRECT mode: a read takes it whole or cuts it
};

struct pipe_buf {
    struct page *page;  // referenced
    u32 offset, len;    // bytes in it
    u32 flags;          // PIPE_BUF_*
};

struct pipe {
    struct mutex mutex;
    struct pipe_buf *bufs;           // [mutex] ring of n_slots
    u32 n_slots;                     // [mutex] a power of two
    u32 head, tail;                  // [mutex to change] slots filled, slots emptied; free running
    u32 readers, writers;            // [mutex to change] open ends
    u32 reader_opens, writer_opens;  // [mutex] counted up, for FIFO opens
    u32 n_files;                     // [mutex] open files; the last frees the pipe
    struct page *spare[2];           // [mutex] pages kept for the next write
    struct wait_queue read_wait, write_wait;
    struct async_queue async;  // of both ends
};

static inline u32 pipe_used(const struct pipe *p)
{
    return atomic_load(&p->head) - atomic_load(&p->tail);
}
static inline bool pipe_empty(const struct pipe *p) { return pipe_used(p) == 0; }
static inline bool pipe_full(const struct pipe *p)
{
    return pipe_used(p) >= atomic_load(&p->n_slots);
}
static inline struct pipe_buf *pipe_first(struct pipe *p)
{
    return &p->bufs[p->tail & (p->n_slots - 1)];
}

struct pipe *pipe_of(const struct file *f);  // NULL: no pipe
// All of these: => caller holds the mutex.
struct page *pipe_page_get(struct pipe *p);  // NULL: no memory
void pipe_page_put(struct pipe *p, struct page *page);
void pipe_push(struct pipe *p, struct page *page, u32 offset, u32 len, u32 flags);  // not full
void pipe_pop(struct pipe *p);  // the first slot is done with
// Sleeps until there is something to read (or no writer), room to write (or no reader), giving the
// mutex up meanwhile. => 0, -ERESTARTSYS
int pipe_wait_readable(struct pipe *p);
int pipe_wait_writable(struct pipe *p);
void pipe_wake_readers(struct pipe *p);
void pipe_wake_writers(struct pipe *p);
void pipe_raise_sigpipe(void);
