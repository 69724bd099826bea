// SPDX-License-Identifier: BSD-2-Clause
// extent.c: where the blocks of a file lie: a tree of extents whose root is in the inode.
//
//   node: header (magic, entries, room, depth, generation), then entries of 12 bytes, sorted by their first block;
//         in a block of its own the checksum follows behind the room for entries
//   leaf entry:  first block (4) | length (2; above 32768: not written yet) | place (2 high, 4 low)
//   index entry: first block below (4) | block of the node (4 low, 2 high)
//
// E1 Entries do not overlap. E2 An index entry's first block is that of its node's first entry (e2fsck insists).
// E3 A node other than the root has at least one entry. E4 All leaves are equally deep, at most MAX_DEPTH.
// A path holds the nodes from the root to a leaf with the entry taken in each; after any change that moves entries the path
// is looked up afresh: short trees make that cheap and nothing can be stale.
#include "ext4/extfs_internal.h"

#define MAGIC 0xf30au
#define MAX_DEPTH 5
#define ENTRY 12u
#define MAX_LEN 32768u  // of a written extent; one less of an unwritten one
#define ROOT_ENTRIES 4u

struct node {
    struct buf *b;  // NULL: the root, in the inode
    u8 *raw;
    int at;  // entry taken: the last that begins at or before the block asked for; -1 before the first
};
struct path {
    struct raw_inode *i;
    struct node level[MAX_DEPTH + 1];
    u32 depth;  // level[depth] is the leaf
};

static u32 n_entries(const u8 *raw) { return le16(raw + 2); }
static u32 n_room(const u8 *raw) { return le16(raw + 4); }
static void set_entries(u8 *raw, u32 n) { put16(raw + 2, n); }
static u8 *entry(u8 *raw, u32 at) { return raw + 12 + at * ENTRY; }
static u32 first_of(const u8 *e) { return le32(e); }
static u32 raw_len(const u8 *e) { return le16(e + 4); }
static bool is_unwritten(const u8 *e) { return raw_len(e) > MAX_LEN; }
static u32 len_of(const u8 *e) { return is_unwritten(e) ? raw_len(e) - MAX_LEN : raw_len(e); }
static u64 place_of(const u8 *e) { return le32(e + 8) | (u64)le16(e + 6) << 32; }
static u64 child_of(const u8 *e) { return le32(e + 4) | (u64)le16(e + 8) << 32; }

static void put_extent(u8 *e, u32 first, u32 len, bool unwritten, u64 place)
{
    put32(e, first);
    put16(e + 4, len + (unwritten ? MAX_LEN : 0));
    put16(e + 6, (u32)(place >> 32));
    put32(e + 8, (u32)place);
}

static void put_index(u8 *e, u32 first, u64 child)
{
    put32(e, first);
    put32(e + 4, (u32)child);
    put16(e + 8, (u32)(child >> 32));
    put16(e + 10, 0);
}

static void put_node_header(u8 *raw, u32 n, u32 room, u32 depth)
{
    put16(raw, MAGIC);
    put16(raw + 2, n);
    put16(raw + 4, room);
    put16(raw + 6, depth);
    put32(raw + 8, 0);
}

void extent_init(u8 *i_block) { put_node_header(i_block, 0, ROOT_ENTRIES, 0); }

static u32 block_room(const struct extfs *fs) { return (fs->block_size - 12) / ENTRY; }

// ------------------------------------------------------------------------------- paths

static u32 node_csum(const struct raw_inode *i, const u8 *raw)
{
    return crc32c(inode_seed(i), raw, 12 + n_room(raw) * ENTRY);
}

static int node_dirty(struct path *p, u32 level)
{
    struct node *n = &p->level[level];
    struct extfs *fs = p->i->fs;
    if (!n->b)
        return inode_dirty(p->i);
    if (fs->metadata_csum)
        put32(n->raw + 12 + n_room(n->raw) * ENTRY, node_csum(p->i, n->raw));
    return buf_dirty(fs, n->b);
}

// Entries in order, inside the file system, and none before `low`.
static bool entries_good(const struct raw_inode *i, u8 *raw, u32 low)
{
    const struct extfs *fs = i->fs;
    bool (*may_have)(const struct extfs *, u64, u64) =
        i->ino == JOURNAL_INO ? blocks_valid : blocks_usable;
    u64 next = low;
    bool leaf = le16(raw + 6) == 0;
    for (u32 k = 0; k < n_entries(raw); k++) {
        const u8 *e = entry(raw, k);
        if (first_of(e) < next)
            return false;
        if (leaf && (!len_of(e) || !may_have(fs, place_of(e), len_of(e)) ||
                     (u64)first_of(e) + len_of(e) > UINT32_MAX))
            return false;
        if (!leaf && !may_have(fs, child_of(e), 1))
            return false;
        next = (u64)first_of(e) + (leaf ? len_of(e) : 1);
    }
    return true;
}

static bool node_good(const struct raw_inode *i, u8 *raw, u32 room, u32 depth, u32 low)
{
    return le16(raw) == MAGIC && le16(raw + 6) == depth && n_room(raw) <= room && n_room(raw) &&
           n_entries(raw) <= n_room(raw) && entries_good(i, raw, low);
}

static int search(const u8 *raw, u32 lblk)
{
    int low = 0, high = (int)n_entries(raw);
    while (low < high) {
        int mid = (low + high) / 2;
        if (first_of(entry((u8 *)raw, (u32)mid)) <= lblk)
            low = mid + 1;
        else
            high = mid;
    }
    return low - 1;
}

static void path_put(struct path *p)
{
    for (u32 k = 1; k <= MAX_DEPTH; k++) {
        if (p->level[k].b)
            buf_put(p->i->fs, p->level[k].b);
        p->level[k].b = NULL;
    }
}

static int open_child(struct path *p, u32 level)
{
    struct raw_inode *i = p->i;
    struct node *up = &p->level[level - 1], *n = &p->level[level];
    const u8 *e = entry(up->raw, (u32)(up->at < 0 ? 0 : up->at));
    struct buf *b = buf_get(i->fs, child_of(e));
    if (IS_ERR(b))
        return (int)PTR_ERR(b);
    n->b = b;
    n->raw = b->data;
    if (b->verified == VERIFIED_EXTENTS && le16(n->raw + 6) == p->depth - level)
        return 0;
    if (!node_good(i, n->raw, block_room(i->fs), p->depth - level, first_of(e)) ||
        !n_entries(n->raw))
        return damaged(i->fs, "an extent tree is damaged");
    if (i->fs->metadata_csum && le32(n->raw + 12 + n_room(n->raw) * ENTRY) != node_csum(i, n->raw))
        return damaged(i->fs, "an extent tree has a wrong checksum");
    b->verified = VERIFIED_EXTENTS;
    return 0;
}

// The path to the leaf where lblk is or would be. => 0 with the path to be put
static int path_get(struct raw_inode *i, u32 lblk, struct path *p)
{
    *p = (struct path){.i = i};
    p->level[0].raw = i->raw + I_BLOCK;
    p->depth = le16(p->level[0].raw + 6);
    if (!(inode_flags(i) & FL_EXTENTS) || p->depth > MAX_DEPTH ||
        !node_good(i, p->level[0].raw, ROOT_ENTRIES, p->depth, 0) ||
        (p->depth && !n_entries(p->level[0].raw)))
        return damaged(i->fs, "an extent tree is damaged");
    for (u32 level = 0;; level++) {
        p->level[level].at = search(p->level[level].raw, lblk);
        if (level == p->depth)
            return 0;
        int err = open_child(p, level + 1);
        if (err) {
            path_put(p);
            return err;
        }
    }
}

static struct node *leaf_of(struct path *p) { return &p->level[p->depth]; }

// The first block that a later entry of the tree begins with. UINT32_MAX: none
static u32 next_first(struct path *p)
{
    for (int level = (int)p->depth; level >= 0; level--) {
        struct node *n = &p->level[level];
        int next = (level < (int)p->depth && n->at < 0 ? 0 : n->at) + 1;
        if (next < (int)n_entries(n->raw))
            return first_of(entry(n->raw, (u32)next));
    }
    return UINT32_MAX;
}

int extent_map(struct raw_inode *i, u32 lblk, struct extent_map *out)
{
    struct path p;
    int err = path_get(i, lblk, &p);
    if (err)
        return err;
    struct node *n = leaf_of(&p);
    const u8 *e = n->at >= 0 ? entry(n->raw, (u32)n->at) : NULL;
    if (e && lblk - first_of(e) < len_of(e)) {
        u32 into = lblk - first_of(e);
        *out = (struct extent_map){place_of(e) + into, len_of(e) - into, is_unwritten(e)};
    } else {
        u32 next = next_first(&p);
        *out = (struct extent_map){0, next - lblk, false};
        if (next <= lblk)  // a node that two trees share
            err = damaged(i->fs, "an extent tree is damaged");
    }
    path_put(&p);
    return err;
}

int extfs_map(struct extfs *fs, u32 ino, u32 lblk, u64 *pblk, u32 *len, bool *unwritten)
{
    struct raw_inode i;
    struct extent_map map;
    int err = raw_get(fs, ino, &i);
    if (err)
        return err;
    err = extent_map(&i, lblk, &map);
    raw_put(&i);
    if (err)
        return err;
    *pblk = map.pblk;
    *len = map.len;
    *unwritten = map.unwritten;
    return 0;
}

// ------------------------------------------------------------------------------- growing

// E2 for the nodes above `level`, whose first entry may have changed.
static int fix_keys(struct path *p, u32 level)
{
    for (; level > 0; level--) {
        struct node *up = &p->level[level - 1];
        u8 *e = entry(up->raw, (u32)(up->at < 0 ? 0 : up->at));
        u32 first = first_of(entry(p->level[level].raw, 0));
        if (first_of(e) == first)
            return 0;
        put32(e, first);
        int err = node_dirty(p, level - 1);
        if (err)
            return err;
    }
    return 0;
}

static int insert_entry(struct path *p, u32 level, u32 at, const u8 *e)
{
    u8 *raw = p->level[level].raw;
    u32 n = n_entries(raw);
    memmove(entry(raw, at + 1), entry(raw, at), (n - at) * ENTRY);
    memcpy(entry(raw, at), e, ENTRY);
    set_entries(raw, n + 1);
    int err = node_dirty(p, level);
    return err || at ? err : fix_keys(p, level);
}

static struct buf *new_node(struct raw_inode *i, u64 goal, u32 depth)
{
    struct extfs *fs = i->fs;
    u32 got;
    int err;
    u64 block = alloc_blocks(fs, goal, 1, &got, &err);
    if (!block)
        return ERR_PTR(err);
    struct buf *b = buf_new(fs, block, VERIFIED_EXTENTS);
    if (IS_ERR(b))
        return b;
    put_node_header(b->data, 0, block_room(fs), depth);
    inode_add_blocks(i, 1);
    return b;
}

static u64 near(struct path *p)
{
    struct node *n = leaf_of(p);
    if (n->b)
        return n->b->block;
    return p->i->b->block;
}

// The root's entries move into a node of their own below it.
static int grow_root(struct path *p)
{
    struct raw_inode *i = p->i;
    u8 *root = p->level[0].raw;
    if (p->depth == MAX_DEPTH)
        return damaged(i->fs, "an extent tree is too deep");
    struct buf *b = new_node(i, near(p), p->depth);
    if (IS_ERR(b))
        return (int)PTR_ERR(b);
    u32 n = n_entries(root), first = first_of(entry(root, 0));
    memcpy(entry(b->data, 0), entry(root, 0), n * ENTRY);
    set_entries(b->data, n);
    put_node_header(root, 1, ROOT_ENTRIES, p->depth + 1);
    put_index(entry(root, 0), first, b->block);
    struct path q = {.i = i};
    q.level[0].raw = root;
    q.level[1] = (struct node){.b = b, .raw = b->data};
    int err = node_dirty(&q, 1);
    if (!err)
        err = node_dirty(&q, 0);
    buf_put(i->fs, b);
    return err;
}

// Half of a full node's entries move into a new one beside it; at its very end, where files grow, none do but the last.
static int split_node(struct path *p, u32 level)
{
    struct node *n = &p->level[level], *up = &p->level[level - 1];
    struct raw_inode *i = p->i;
    u32 count = n_entries(n->raw);
    u32 keep = n->at == (int)count - 1 ? count - 1 : count / 2;
    struct buf *b = new_node(i, near(p), p->depth - level);
    if (IS_ERR(b))
        return (int)PTR_ERR(b);
    memcpy(entry(b->data, 0), entry(n->raw, keep), (count - keep) * ENTRY);
    set_entries(b->data, count - keep);
    set_entries(n->raw, keep);
    u8 e[ENTRY];
    put_index(e, first_of(entry(b->data, 0)), b->block);
    struct path q = {.i = i};
    q.level[1] = (struct node){.b = b, .raw = b->data};
    int err = node_dirty(&q, 1);
    if (!err)
        err = node_dirty(p, level);
    if (!err)
        err = insert_entry(p, level - 1, (u32)(up->at < 0 ? 0 : up->at) + 1, e);
    buf_put(i->fs, b);
    return err;
}

// Makes room for one entry more in the leaf of lblk.
static int make_room(struct path *p)
{
    u32 level = p->depth;
    while (level > 0 && n_entries(p->level[level - 1].raw) == n_room(p->level[level - 1].raw))
        level--;
    return level == 0 ? grow_root(p) : split_node(p, level);
}

static bool joins(const u8 *a, u32 first, u32 len, bool unwritten, u64 place)
{
    return is_unwritten(a) == unwritten && first_of(a) + len_of(a) == first &&
           place_of(a) + len_of(a) == place && len_of(a) + len <= MAX_LEN - unwritten;
}

// Puts an extent where nothing is. The tree may grow by a node a level: the caller has seen to free blocks.
static int insert_extent(struct raw_inode *i, u32 first, u32 len, bool unwritten, u64 place)
{
    for (u32 tries = 0; tries < 2 * MAX_DEPTH + 4; tries++) {
        struct path p;
        int err = path_get(i, first, &p);
        if (err)
            return err;
        struct node *n = leaf_of(&p);
        u8 e[ENTRY], *left = n->at >= 0 ? entry(n->raw, (u32)n->at) : NULL;
        if (left && joins(left, first, len, unwritten, place)) {
            put_extent(left, first_of(left), len_of(left) + len, unwritten, place_of(left));
            err = node_dirty(&p, p.depth);
        } else if (n_entries(n->raw) < n_room(n->raw)) {
            put_extent(e, first, len, unwritten, place);
            err = insert_entry(&p, p.depth, (u32)(n->at + 1), e);
        } else {
            err = make_room(&p);
            path_put(&p);
            if (err)
                return err;
            continue;
        }
        path_put(&p);
        return err;
    }
    return damaged(i->fs, "an extent tree cannot grow");
}

// ------------------------------------------------------------------------------- allocation

static bool room_for_tree(const struct extfs *fs)
{
    return fs->free_blocks > fs->pending_blocks + 2 * MAX_DEPTH + 2;
}

static u64 goal_for(struct path *p, u32 lblk)
{
    struct node *n = leaf_of(p);
    const struct extfs *fs = p->i->fs;
    if (n->at >= 0) {
        const u8 *e = entry(n->raw, (u32)n->at);
        return place_of(e) + (lblk - first_of(e));
    }
    u32 group = (p->i->ino - 1) / fs->inodes_per_group;
    return fs->first_data_block + (u64)group * fs->blocks_per_group;
}

int extent_allocate(struct raw_inode *i, u32 lblk, u32 want, bool unwritten, u64 *pblk, u32 *got)
{
    struct extfs *fs = i->fs;
    struct path p;
    int err = path_get(i, lblk, &p);
    if (err)
        return err;
    u64 goal = goal_for(&p, lblk);
    want = MIN(want, next_first(&p) - lblk);
    path_put(&p);
    want = MIN(MIN(want, MAX_LEN - 1), UINT32_MAX - 1 - lblk);
    if (!room_for_tree(fs))
        return -ENOSPC;
    *pblk = alloc_blocks(fs, goal, want, got, &err);
    if (!*pblk)
        return err;
    inode_add_blocks(i, *got);
    err = insert_extent(i, lblk, *got, unwritten, *pblk);
    return err ? err : inode_dirty(i);
}

int extfs_allocate(struct extfs *fs, u32 ino, u32 lblk, u32 want, bool unwritten, u64 *pblk,
                   u32 *got)
{
    struct raw_inode i;
    int err = raw_get(fs, ino, &i);
    if (err)
        return err;
    err = extent_allocate(&i, lblk, want, unwritten, pblk, got);
    raw_put(&i);
    return err;
}

// ------------------------------------------------------------------------------- taking away

static int free_node(struct raw_inode *i, u64 block)
{
    int err = buf_forget(i->fs, block);
    if (!err)
        err = free_blocks(i->fs, block, 1);
    inode_add_blocks(i, -1);
    return err;
}

// Takes entry `at` of a level away, and nodes that become empty with it.
static int remove_entry(struct path *p, u32 level, u32 at)
{
    for (;;) {
        struct node *n = &p->level[level];
        u32 count = n_entries(n->raw);
        memmove(entry(n->raw, at), entry(n->raw, at + 1), (count - at - 1) * ENTRY);
        set_entries(n->raw, count - 1);
        if (count > 1 || level == 0) {
            if (count == 1)
                put_node_header(n->raw, 0, ROOT_ENTRIES, 0);
            int err = node_dirty(p, level);
            return err || at || count == 1 ? err : fix_keys(p, level);
        }
        u64 block = n->b->block;
        buf_put(p->i->fs, n->b);
        n->b = NULL;
        int err = free_node(p->i, block);
        if (err)
            return err;
        level--;
        at = (u32)(p->level[level].at < 0 ? 0 : p->level[level].at);
    }
}

// The first extent that reaches into [first, last] loses what lies there. => 1: done something, 0: there is none
static int remove_step(struct raw_inode *i, u32 first, u32 last)
{
    struct path p;
    int err = path_get(i, first, &p);
    if (err)
        return err;
    struct node *n = leaf_of(&p);
    u8 *e = n->at >= 0 ? entry(n->raw, (u32)n->at) : NULL;
    if (!e || first_of(e) + len_of(e) <= first) {
        u32 next = next_first(&p);
        path_put(&p);
        if (next > last || next == UINT32_MAX)
            return 0;
        if ((err = path_get(i, next, &p)))
            return err;
        n = leaf_of(&p);
        e = n->at >= 0 ? entry(n->raw, (u32)n->at) : NULL;
        if (!e) {
            path_put(&p);
            return damaged(i->fs, "an extent tree is damaged");
        }
        first = next;
    }
    u32 start = first_of(e), len = len_of(e), end = start + len;
    if (first < start || first >= end) {
        path_put(&p);
        return damaged(i->fs, "an extent tree is damaged");
    }
    u32 cut_end = last >= end - 1 ? end : last + 1;
    u64 place = place_of(e);
    bool unwritten = is_unwritten(e);
    if (first > start) {
        put_extent(e, start, first - start, unwritten, place);
        err = node_dirty(&p, p.depth);
    } else if (cut_end < end) {
        put_extent(e, cut_end, end - cut_end, unwritten, place + (cut_end - start));
        err = node_dirty(&p, p.depth);
        if (!err && n->at == 0)
            err = fix_keys(&p, p.depth);
    } else {
        err = remove_entry(&p, p.depth, (u32)n->at);
    }
    path_put(&p);
    if (!err && first > start && cut_end < end)
        err = insert_extent(i, cut_end, end - cut_end, unwritten, place + (cut_end - start));
    // Names and texts of links are metadata: they may be in memory and in the log. Contents never are.
    for (u32 k = first; !err && (inode_mode(i) & T_FMT) != T_REG && k < cut_end; k++)
        err = buf_forget(i->fs, place + (k - start));
    if (!err)
        err = free_blocks(i->fs, place + (first - start), cut_end - first);
    inode_add_blocks(i, -(s64)(cut_end - first));
    return err ? err : 1;
}

int extent_remove(struct raw_inode *i, u32 first, u32 last, u32 max_steps)
{
    if (first > last)
        return 0;
    for (u32 steps = 0; steps < max_steps; steps++) {
        if (!room_for_tree(i->fs) && last < UINT32_MAX - 1)
            return -ENOSPC;  // a hole in the middle may need a node more
        int did = remove_step(i, first, last);
        if (did < 0)
            return did;
        if (!did)
            return steps ? inode_dirty(i) : 0;
    }
    int err = inode_dirty(i);
    return err ? err : 1;
}

#define FREE_STEPS 16u  // extents that one operation frees

int extfs_free_range(struct extfs *fs, u32 ino, u32 first, u32 last)
{
    struct raw_inode i;
    int err = raw_get(fs, ino, &i);
    if (err)
        return err;
    err = extent_remove(&i, first, last, FREE_STEPS);
    raw_put(&i);
    return err;
}

// ------------------------------------------------------------------------------- unwritten extents

// [first, end) of one unwritten extent becomes written: it is cut in up to three.
static int convert_part(struct raw_inode *i, u32 first, u32 end)
{
    struct path p;
    int err = path_get(i, first, &p);
    if (err)
        return err;
    struct node *n = leaf_of(&p);
    u8 *e = n->at >= 0 ? entry(n->raw, (u32)n->at) : NULL;
    if (!e || !is_unwritten(e) || first_of(e) + len_of(e) < end) {
        path_put(&p);
        return damaged(i->fs, "an extent tree is damaged");
    }
    u32 start = first_of(e), stop = start + len_of(e);
    u64 place = place_of(e);
    if (first > start) {  // the front stays as it is
        put_extent(e, start, first - start, true, place);
        err = node_dirty(&p, p.depth);
        path_put(&p);
        if (!err)
            err = insert_extent(i, first, end - first, false, place + (first - start));
    } else if (n->at > 0 && end < stop &&
               joins(entry(n->raw, (u32)n->at - 1), first, end - first, false, place)) {
        u8 *left =
            entry(n->raw, (u32)n->at - 1);  // what is written from front to back stays one extent
        put_extent(left, first_of(left), len_of(left) + (end - first), false, place_of(left));
        put_extent(e, end, stop - end, true, place + (end - start));
        err = node_dirty(&p, p.depth);
        path_put(&p);
        return err;
    } else {
        put_extent(e, first, end - first, false, place);
        err = node_dirty(&p, p.depth);
        path_put(&p);
    }
    if (!err && end < stop)
        err = insert_extent(i, end, stop - end, true, place + (end - start));
    return err;
}

int extent_set_written(struct raw_inode *i, u32 lblk, u32 n)
{
    u32 end = lblk + n;
    while (lblk < end) {
        struct extent_map map;
        int err = extent_map(i, lblk, &map);
        if (err)
            return err;
        u32 part = MIN(map.len, end - lblk);
        if (map.pblk && map.unwritten) {
            if (i->fs->free_blocks <= i->fs->pending_blocks + 4)
                return -ENOSPC;
            err = convert_part(i, lblk, lblk + part);
            if (err)
                return err;
        }
        lblk += part;
    }
    return inode_dirty(i);
}

int extfs_set_written(struct extfs *fs, u32 ino, u32 lblk, u32 n)
{
    struct raw_inode i;
    int err = raw_get(fs, ino, &i);
    if (err)
        return err;
    err = extent_set_written(&i, lblk, n);
    raw_put(&i);
    return err;
}
