// SPDX-License-Identifier: BSD-2-Clause
// unix_scm.c: descriptors and credentials that travel with messages (unix(7), "Ancillary messages").
//
// Dropping a message with descriptors may close the last reference to a socket whose queue holds further messages with
// descriptors, and so on as deep as a program cares to nest. So what is to be dropped goes to a list, and whoever finds nobody
// at it works through it: the stack stays flat.
#include "net/unix_internal.h"

#include <string.h>

static struct spinlock deferred_lock;
static struct list deferred = LIST_INIT(deferred);  // [deferred_lock] struct unix_fds
static bool dropping;                               // [deferred_lock]

void unix_fds_drop(struct unix_fds *fds)
{
    spin_lock(&deferred_lock);
    list_push_back(&deferred, &fds->link);
    if (!dropping) {
        struct list *at;
        dropping = true;
        while ((at = list_pop_front(&deferred))) {
            spin_unlock(&deferred_lock);
            struct unix_fds *f = list_entry(at, struct unix_fds, link);
            unix_fds_land(f);
            for (u32 i = 0; i < f->n; i++)
                file_put(f->files[i]);
            kfree(f);
            spin_lock(&deferred_lock);
        }
        dropping = false;
    }
    spin_unlock(&deferred_lock);
}

static struct unix_fds *fds_alloc(u32 n)
{
    struct unix_fds *fds = kmalloc(sizeof(*fds) + n * sizeof(fds->files[0]));
    if (fds) {
        fds->n = 0;
        fds->user = NULL;
    }
    return fds;
}

// Several messages of one call add up.
static int load_fds(const s32 *numbers, u32 n, struct unix_fds **out)
{
    u32 had = *out ? (*out)->n : 0;
    if (n > UNIX_FDS_MAX - had)
        return -EINVAL;
    if (n == 0)
        return 0;
    struct unix_fds *fds = fds_alloc(had + n);
    if (!fds)
        return -ENOMEM;
    for (; fds->n < n; fds->n++) {
        s32 fd;
        memcpy(&fd, numbers + fds->n, sizeof(fd));
        fds->files[had + fds->n] = fd_get_file(fd);
        if (!fds->files[had + fds->n])
            break;
    }
    if (fds->n < n) {
        while (fds->n)
            file_put(fds->files[had + --fds->n]);
        kfree(fds);
        return -EBADF;
    }
    if (had)
        memcpy(fds->files, (*out)->files, had * sizeof(fds->files[0]));
    fds->n = had + n;
    kfree(*out);
    *out = fds;
    return 0;
}

static bool may_claim(const struct unix_cred *c)
{
    const struct process *p = current->process;
    return (c->pid == p->pid || capable(CAP_SYS_ADMIN)) &&
           (c->uid == p->uid || c->uid == p->euid || c->uid == p->suid || capable(CAP_SETUID)) &&
           (c->gid == p->gid || c->gid == p->egid || c->gid == p->sgid || capable(CAP_SETGID));
}

static int load_one(const struct cmsg_header *c, struct unix_fds **fds, struct unix_cred *cred,
                    bool *has_cred)
{
    size_t len = c->len - sizeof(*c);
    if (c->level != SOL_SOCKET)
        return 0;
    if (c->type == SCM_RIGHTS)
        return load_fds((const s32 *)(c + 1), (u32)(len / sizeof(s32)), fds);
    if (c->type != SCM_CREDENTIALS || len != sizeof(*cred))
        return -EINVAL;
    memcpy(cred, c + 1, sizeof(*cred));
    *has_cred = true;
    return may_claim(cred) ? 0 : -EPERM;
}

int unix_scm_load(const struct message *m, struct unix_fds **fds, struct unix_cred *cred,
                  bool *has_cred)
{
    const struct process *p = current->process;
    size_t at = 0;
    bool bad = false;
    int err = 0;
    *fds = NULL;
    *has_cred = false;
    *cred = (struct unix_cred){p->pid, p->uid, p->gid};
    while (!err) {
        struct cmsg_header *c = message_next_control(m, &at, &bad);
        if (!c)
            break;
        err = load_one(c, fds, cred, has_cred);
    }
    if (bad)
        err = -EINVAL;
    if (!err && *fds)
        err = unix_fds_launch(*fds);
    if (err && *fds) {
        unix_fds_drop(*fds);
        *fds = NULL;
    }
    return err;
}

struct unix_fds *unix_fds_copy(const struct unix_fds *fds)
{
    struct unix_fds *copy = fds_alloc(fds->n);
    if (!copy)
        return NULL;
    unix_fds_peek(fds, copy);
    return copy;
}

void unix_scm_deliver(struct message *m, struct unix_fds *fds)
{
    s32 numbers[UNIX_FDS_MAX];
    unsigned flags = m->flags & MSG_CMSG_CLOEXEC ? O_CLOEXEC : 0;
    u32 n = 0, room = 0;
    unix_fds_land(fds);
    if (m->control_room > sizeof(struct cmsg_header))
        room =
            (u32)MIN((m->control_room - sizeof(struct cmsg_header)) / sizeof(s32), (size_t)fds->n);
    for (; n < room; n++) {
        numbers[n] = fd_alloc(flags);
        if (numbers[n] < 0)
            break;
        file_get(fds->files[n]);
        fd_install(numbers[n], fds->files[n]);
    }
    if (n)
        message_put_control(m, SOL_SOCKET, SCM_RIGHTS, numbers, n * sizeof(s32));
    if (n < fds->n)
        m->out_flags |= MSG_CTRUNC;
    unix_fds_drop(fds);
}
