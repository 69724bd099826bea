// SPDX-License-Identifier: BSD-2-Clause
// radix.c: nodes of 64 slots; the tree is as high as its largest index needs. Empty nodes are freed at
// once, the height shrinks when only slot 0 of the root is in use.
#include "mm/radix.h"

#include <string.h>

#include "core/atomic.h"
#include "mm/page.h"

struct radix_node {
    u32 n_used;
    void *slots[RADIX_SLOTS];
};

static u64 n_nodes;

static inline unsigned slot_of(u64 index, u32 level)
{
    return (index >> (RADIX_BITS * level)) & (RADIX_SLOTS - 1);
}

static inline bool fits(u64 index, u32 height)
{
    return height * RADIX_BITS >= 64 || index >> (height * RADIX_BITS) == 0;
}

static struct radix_node *node_new(void)
{
    struct radix_node *n = kzalloc(sizeof *n);
    if (n)
        atomic_add(&n_nodes, 1);
    return n;
}

static void node_free(struct radix_node *n)
{
    atomic_sub(&n_nodes, 1);
    kfree(n);
}

// The leaf node of index, or NULL.
static struct radix_node *leaf_of(const struct radix *r, u64 index)
{
    struct radix_node *n = r->root;
    if (!n || !fits(index, r->height))
        return NULL;
    for (u32 level = r->height - 1; n && level > 0; level--)
        n = n->slots[slot_of(index, level)];
    return n;
}

void *radix_get(const struct radix *r, u64 index)
{
    struct radix_node *n = leaf_of(r, index);
    return n ? n->slots[slot_of(index, 0)] : NULL;
}

void radix_get_range(const struct radix *r, u64 first, u32 n, void **out)
{
    struct radix_node *node = leaf_of(r, first);
    for (u32 i = 0; i < n; i++) {
        if (i && slot_of(first + i, 0) == 0)
            node = leaf_of(r, first + i);
        out[i] = node ? node->slots[slot_of(first + i, 0)] : NULL;
    }
}

static int grow(struct radix *r, u64 index)
{
    if (!r->root) {
        if (!(r->root = node_new()))
            return -ENOMEM;
        r->height = 1;
        while (!fits(index, r->height))
            r->height++;
    }
    while (!fits(index, r->height)) {
        struct radix_node *top = node_new();
        if (!top)
            return -ENOMEM;
        top->slots[0] = r->root;
        top->n_used = 1;
        r->root = top;
        r->height++;
    }
    return 0;
}

// Frees nodes that became empty on the way to index, and superfluous levels at the top.
static void prune(struct radix *r, u64 index)
{
    for (;;) {
        struct radix_node *n = r->root, *parent = NULL;
        u32 level = r->height - 1;
        while (n->n_used && level > 0 && n->slots[slot_of(index, level)]) {
            parent = n;
            n = n->slots[slot_of(index, level--)];
        }
        if (n->n_used)
            break;
        if (parent) {
            parent->slots[slot_of(index, level + 1)] = NULL;
            parent->n_used--;
        } else {
            r->root = NULL;
            r->height = 0;
        }
        node_free(n);
        if (!parent)
            return;
    }
    while (r->height > 1 && r->root->n_used == 1 && r->root->slots[0]) {
        struct radix_node *top = r->root;
        r->root = top->slots[0];
        r->height--;
        node_free(top);
    }
}

int radix_insert(struct radix *r, u64 index, void *item)
{
    int err = grow(r, index);
    struct radix_node *n = r->root;
    for (u32 level = r->height - 1; !err && level > 0; level--) {
        void **slot = &n->slots[slot_of(index, level)];
        if (!*slot) {
            if (!(*slot = node_new())) {
                err = -ENOMEM;
                break;
            }
            n->n_used++;
        }
        n = *slot;
    }
    if (err) {
        if (r->root)
            prune(r, index);
        return err;
    }
    void **slot = &n->slots[slot_of(index, 0)];
    if (*slot)
        return -EEXIST;
    *slot = item;
    n->n_used++;
    return 0;
}

void *radix_replace(struct radix *r, u64 index, void *item)
{
    struct radix_node *n = leaf_of(r, index);
    void *old = n ? n->slots[slot_of(index, 0)] : NULL;
    if (old)
        n->slots[slot_of(index, 0)] = item;
    return old;
}

void *radix_remove(struct radix *r, u64 index)
{
    struct radix_node *n = leaf_of(r, index);
    void *old = n ? n->slots[slot_of(index, 0)] : NULL;
    if (!old)
        return NULL;
    n->slots[slot_of(index, 0)] = NULL;
    n->n_used--;
    if (!n->n_used || r->height > 1)
        prune(r, index);
    return old;
}

u64 radix_next(const struct radix *r, u64 index, void **item)
{
    while (r->root && fits(index, r->height)) {
        struct radix_node *n = r->root;
        u32 level = r->height - 1;
        while (n && level > 0)
            n = n->slots[slot_of(index, level--)];
        if (n) {
            for (unsigned i = slot_of(index, 0); i < RADIX_SLOTS; i++)
                if (n->slots[i]) {
                    *item = n->slots[i];
                    return (index & ~(u64)(RADIX_SLOTS - 1)) + i;
                }
            level = 0;
        } else {
            level++;
        }
        // Nothing below this node (of span 64^(level+1), or one empty slot of 64^level).
        u64 span = 1ull << (RADIX_BITS * (n ? 1 : level));
        u64 next = (index & ~(span - 1)) + span;
        if (next <= index)
            break;
        index = next;
    }
    return UINT64_MAX;
}

u64 radix_next_hole(const struct radix *r, u64 index)
{
    while (radix_get(r, index))
        index++;
    return index;
}

u64 radix_node_count(void) { return atomic_load(&n_nodes); }
