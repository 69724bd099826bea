// SPDX-License-Identifier: BSD-2-Clause
// rbtree.c: red-black tree with bottom-up augmentation. The textbook algorithm: an inserted node is
// red and repairs red-red pairs upwards; an erased black node leaves a missing black that is repaired
// upwards. Every rotation recomputes the two nodes whose children changed.
#include "core/rbtree.h"

static inline bool is_red(const struct rb_node *n) { return n && n->red; }

static inline void replace_child(struct rb_root *root, struct rb_node *parent, struct rb_node *old,
                                 struct rb_node *new)
{
    if (!parent)
        root->node = new;
    else if (parent->left == old)
        parent->left = new;
    else
        parent->right = new;
}

static void rotate_left(struct rb_root *root, struct rb_node *n, rb_augment_fn augment)
{
    struct rb_node *up = n->right;
    n->right = up->left;
    if (up->left)
        up->left->parent = n;
    up->parent = n->parent;
    replace_child(root, n->parent, n, up);
    up->left = n;
    n->parent = up;
    if (augment) {
        augment(n);
        augment(up);
    }
}

static void rotate_right(struct rb_root *root, struct rb_node *n, rb_augment_fn augment)
{
    struct rb_node *up = n->left;
    n->left = up->right;
    if (up->right)
        up->right->parent = n;
    up->parent = n->parent;
    replace_child(root, n->parent, n, up);
    up->right = n;
    n->parent = up;
    if (augment) {
        augment(n);
        augment(up);
    }
}

void rb_augment_path(struct rb_node *node, rb_augment_fn augment)
{
    while (node && augment(node))
        node = node->parent;
}

// One step for a red node whose parent is red: recolours, or rotates and ends the repair.
static struct rb_node *insert_step(struct rb_root *root, struct rb_node *n, rb_augment_fn augment)
{
    struct rb_node *parent = n->parent, *grand = parent->parent;
    bool left = parent == grand->left;
    struct rb_node *uncle = left ? grand->right : grand->left;
    if (is_red(uncle)) {
        parent->red = uncle->red = false;
        grand->red = true;
        return grand;
    }
    if (left) {
        if (n == parent->right) {
            rotate_left(root, parent, augment);
            parent = n;
        }
        rotate_right(root, grand, augment);
    } else {
        if (n == parent->left) {
            rotate_right(root, parent, augment);
            parent = n;
        }
        rotate_left(root, grand, augment);
    }
    parent->red = false;
    grand->red = true;
    return NULL;
}

void rb_insert_fixup(struct rb_root *root, struct rb_node *node, rb_augment_fn augment)
{
    while (node && node->parent && node->parent->red)
        node = insert_step(root, node, augment);
    root->node->red = false;
}

// Repairs a missing black at child n of parent (n may be NULL).
static void erase_fixup(struct rb_root *root, struct rb_node *n, struct rb_node *parent,
                        rb_augment_fn augment)
{
    while (parent && !is_red(n)) {
        bool left = n == parent->left;
        struct rb_node *sib = left ? parent->right : parent->left;
        if (sib->red) {
            sib->red = false;
            parent->red = true;
            left ? rotate_left(root, parent, augment) : rotate_right(root, parent, augment);
            sib = left ? parent->right : parent->left;
        }
        if (!is_red(sib->left) && !is_red(sib->right)) {
            sib->red = true;
            n = parent;
            parent = n->parent;
            continue;
        }
        if (left && !is_red(sib->right)) {
            sib->left->red = false;
            sib->red = true;
            rotate_right(root, sib, augment);
            sib = parent->right;
        } else if (!left && !is_red(sib->left)) {
            sib->right->red = false;
            sib->red = true;
            rotate_left(root, sib, augment);
            sib = parent->left;
        }
        sib->red = parent->red;
        parent->red = false;
        if (left) {
            sib->right->red = false;
            rotate_left(root, parent, augment);
        } else {
            sib->left->red = false;
            rotate_right(root, parent, augment);
        }
        return;
    }
    if (n)
        n->red = false;
}

void rb_erase(struct rb_root *root, struct rb_node *node, rb_augment_fn augment)
{
    struct rb_node *child, *parent, *moved = NULL;
    bool black;

    if (node->left && node->right) {
        struct rb_node *next = node->right;
        while (next->left)
            next = next->left;
        moved = next;
        child = next->right;
        black = !next->red;
        parent = next->parent == node ? next : next->parent;
        if (parent != next) {
            parent->left = child;
            if (child)
                child->parent = parent;
            next->right = node->right;
            next->right->parent = next;
        }
        next->left = node->left;
        next->left->parent = next;
        next->parent = node->parent;
        next->red = node->red;
        replace_child(root, node->parent, node, next);
    } else {
        child = node->left ? node->left : node->right;
        parent = node->parent;
        black = !node->red;
        if (child)
            child->parent = parent;
        replace_child(root, parent, node, child);
    }
    if (augment && moved) {  // its new place has another summary in any case
        for (struct rb_node *n = parent; n != moved; n = n->parent)
            augment(n);
        augment(moved);
        rb_augment_path(moved->parent, augment);
    } else if (augment) {
        rb_augment_path(parent, augment);
    }
    if (black)
        erase_fixup(root, child, parent, augment);
}

struct rb_node *rb_first(const struct rb_root *root)
{
    struct rb_node *n = root->node;
    while (n && n->left)
        n = n->left;
    return n;
}

struct rb_node *rb_last(const struct rb_root *root)
{
    struct rb_node *n = root->node;
    while (n && n->right)
        n = n->right;
    return n;
}

struct rb_node *rb_next(const struct rb_node *node)
{
    if (node->right) {
        struct rb_node *n = node->right;
        while (n->left)
            n = n->left;
        return n;
    }
    while (node->parent && node == node->parent->right)
        node = node->parent;
    return node->parent;
}

struct rb_node *rb_prev(const struct rb_node *node)
{
    if (node->left) {
        struct rb_node *n = node->left;
        while (n->right)
            n = n->right;
        return n;
    }
    while (node->parent && node == node->parent->left)
        node = node->parent;
    return node->parent;
}

// Recursion is bounded by the tree's height, at most 2 log2(n + 1).
static int verify_subtree(const struct rb_node *n, const struct rb_node *parent)
{
    if (!n)
        return 0;
    if (n->parent != parent || (n->red && (is_red(n->left) || is_red(n->right))))
        return -1;
    int left = verify_subtree(n->left, n), right = verify_subtree(n->right, n);
    if (left < 0 || left != right)
        return -1;
    return left + !n->red;
}

int rb_verify(const struct rb_root *root)
{
    return is_red(root->node) ? -1 : verify_subtree(root->node, NULL);
}
