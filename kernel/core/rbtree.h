// SPDX-License-Identifier: BSD-2-Clause
// rbtree.h: intrusive red-black tree with an optional augmentation, for timers and VMAs.
//
// The caller walks down to find the place (rb_link_node), then rb_insert_fixup restores the colours.
// With augment != NULL, augment(node) recomputes a node's summary from itself and its children and tells whether it
// changed; the tree calls it bottom-up from where a subtree changed, until a summary stays as it was.
#pragma once

#include "core/base.h"

struct rb_node {
    struct rb_node *parent, *left, *right;
    bool red;
};
struct rb_root {
    struct rb_node *node;
};
typedef bool (*rb_augment_fn)(struct rb_node *node);

static inline void rb_link_node(struct rb_node *node, struct rb_node *parent, struct rb_node **link)
{
    node->parent = parent;
    node->left = node->right = NULL;
    node->red = true;
    *link = node;
}
// A tree of one node, without augmentation: what a queue mostly is.
static inline bool rb_is_only_node(const struct rb_root *root, const struct rb_node *node)
{
    return root->node == node && !node->left && !node->right;
}
static inline void rb_set_only_node(struct rb_root *root, struct rb_node *node)
{
    rb_link_node(node, NULL, &root->node);
    node->red = false;
}
// After rb_link_node: recolours and rotates. => The summaries of node and its ancestors are right already
// (rb_augment_path, or what the caller knows); rotations keep them right.
void rb_insert_fixup(struct rb_root *root, struct rb_node *node, rb_augment_fn augment);
void rb_erase(struct rb_root *root, struct rb_node *node, rb_augment_fn augment);
// Recomputes node and its ancestors after node's own key data changed in place.
void rb_augment_path(struct rb_node *node, rb_augment_fn augment);
struct rb_node *rb_first(const struct rb_root *root);
struct rb_node *rb_last(const struct rb_root *root);
struct rb_node *rb_next(const struct rb_node *node);
struct rb_node *rb_prev(const struct rb_node *node);
// Black height if the colours and links are right, -1 if not (for verifiers).
int rb_verify(const struct rb_root *root);
