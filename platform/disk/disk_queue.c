// SPDX-License-Identifier: BSD-2-Clause
// disk_queue.c: requests under way (disk_queue.h has the rules).
#include "platform/disk/disk_queue.h"

#include "core/atomic.h"

void disk_queue_init(struct disk_queue *q, const struct disk_queue_ops *ops, u32 n_tags)
{
    *q = (struct disk_queue){.ops = ops, .n_tags = MIN(n_tags, (u32)DISK_MAX_TAGS)};
    list_init(&q->waiting);
}

static u32 free_tag(const struct disk_queue *q)
{
    u32 tag = 0;
    while (tag < q->n_tags && q->request[tag])
        tag++;
    return tag;
}

static void post(struct disk_queue *q, u32 tag, struct block_request *r)
{
    q->request[tag] = r;
    q->ops->post(q, tag, r);
    q->posted = true;
}

static void kick(struct disk_queue *q)
{
    if (q->posted)
        q->ops->kick(q);
    q->posted = false;
}

void disk_queue_submit(struct disk_queue *q, struct block_request *r)
{
    spin_lock(&q->lock);
    bool broken = q->broken;
    u32 tag = free_tag(q);
    if (broken) {
        r->result = -EIO;
    } else if (tag < q->n_tags) {
        post(q, tag, r);
    } else {
        list_push_back(&q->waiting, &r->link);
        kick(q);
    }
    spin_unlock(&q->lock);
    if (broken)
        r->done(r);
}

void disk_queue_kick(struct disk_queue *q)
{
    if (!READ_ONCE(q->posted))
        return;
    spin_lock(&q->lock);
    kick(q);
    spin_unlock(&q->lock);
}

bool disk_queue_finish(struct disk_queue *q, u32 tag, int result, struct list *finished)
{
    struct block_request *r = tag < q->n_tags ? q->request[tag] : NULL;
    if (!r)
        return false;
    q->request[tag] = NULL;
    r->result = result;
    list_push_back(finished, &r->link);
    return true;
}

void disk_queue_go_on(struct disk_queue *q)
{
    for (u32 tag; !list_empty(&q->waiting) && (tag = free_tag(q)) < q->n_tags;)
        post(q, tag, list_entry(list_pop_front(&q->waiting), struct block_request, link));
    kick(q);
}

void disk_queue_break(struct disk_queue *q, struct list *finished)
{
    spin_lock(&q->lock);
    q->broken = true;
    q->posted = false;
    for (u32 tag = 0; tag < q->n_tags; tag++)
        disk_queue_finish(q, tag, -EIO, finished);
    while (!list_empty(&q->waiting)) {
        struct block_request *r =
            list_entry(list_pop_front(&q->waiting), struct block_request, link);
        r->result = -EIO;
        list_push_back(finished, &r->link);
    }
    spin_unlock(&q->lock);
}

void disk_finish(struct list *finished)
{
    while (!list_empty(finished)) {
        struct block_request *r = list_entry(list_pop_front(finished), struct block_request, link);
        r->done(r);
    }
}
