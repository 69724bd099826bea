// SPDX-License-Identifier: BSD-2-Clause
// zone.c: where the file system's own structures lie. No file may have a block there: a damaged extent tree that says so is
// found out before anything is read or written through it.
#include "ext4/extfs_internal.h"

struct zone {
    u64 start, end;  // blocks
};

static bool zone_before(const struct zone *a, const struct zone *b) { return a->start < b->start; }

static void sort_zones(struct zone *v, u32 n)  // heap sort
{
    for (u32 start = n / 2, end = n; end > 1;) {
        struct zone moving;
        if (start) {
            moving = v[--start];
        } else {
            moving = v[--end];
            v[end] = v[0];
        }
        u32 at = start;
        for (u32 child; (child = 2 * at + 1) < end; at = child) {
            if (child + 1 < end && zone_before(&v[child], &v[child + 1]))
                child++;
            if (!zone_before(&moving, &v[child]))
                break;
            v[at] = v[child];
        }
        v[at] = moving;
    }
}

static bool add_zone(struct extfs *fs, struct zone *v, u32 *n, u64 start, u64 len)
{
    if (start < fs->first_data_block || start >= fs->n_blocks || len > fs->n_blocks - start)
        return false;
    v[(*n)++] = (struct zone){start, start + len};
    return true;
}

static bool add_group(struct extfs *fs, const u8 *desc, struct zone *v, u32 *n)
{
    u64 table = DIV_ROUND_UP(fs->inodes_per_group * fs->inode_size, fs->block_size);
    return add_zone(fs, v, n, group_field(fs, desc, GD_BLOCK_BITMAP, GD_BLOCK_BITMAP + GD_HIGH32),
                    1) &&
           add_zone(fs, v, n, group_field(fs, desc, GD_INODE_BITMAP, GD_INODE_BITMAP + GD_HIGH32),
                    1) &&
           add_zone(fs, v, n, group_field(fs, desc, GD_INODE_TABLE, GD_INODE_TABLE + GD_HIGH32),
                    table);
}

// => false: two of them overlap
static bool merge_zones(struct zone *v, u32 *n)
{
    u32 kept = 0;
    for (u32 i = 1; i < *n; i++) {
        if (v[i].start < v[kept].end)
            return false;
        if (v[i].start == v[kept].end)
            v[kept].end = v[i].end;
        else
            v[++kept] = v[i];
    }
    *n = kept + 1;
    return true;
}

int zones_build(struct extfs *fs)
{
    struct zone *v = kmalloc(((size_t)fs->n_groups * 3 + 1 + fs->j.n_runs) * sizeof(*v));
    u32 n = 0;
    if (!v)
        return -ENOMEM;
    fs->zones = v;
    u64 descs = DIV_ROUND_UP((u64)fs->n_groups * fs->desc_size, (u64)fs->block_size);
    bool good = add_zone(fs, v, &n, fs->first_data_block, 1 + descs);
    for (u32 g = 0; good && g < fs->n_groups; g++) {
        struct buf *b;
        u8 *desc = group_desc(fs, g, &b);
        if (IS_ERR(desc))
            return (int)PTR_ERR(desc);
        good = add_group(fs, desc, v, &n);
        buf_put(fs, b);
    }
    for (u32 i = 0; good && i < fs->j.n_runs; i++)
        good = add_zone(fs, v, &n, fs->j.runs[i].pblk, fs->j.runs[i].n);
    if (!good)
        return -EUCLEAN;
    sort_zones(v, n);
    if (!merge_zones(v, &n))
        return -EUCLEAN;
    fs->n_zones = n;
    return 0;
}

bool blocks_usable(const struct extfs *fs, u64 start, u64 n)
{
    u32 low = 0, high = fs->n_zones;
    if (!blocks_valid(fs, start, n))
        return false;
    while (low < high) {  // the first zone that ends behind start
        u32 mid = (low + high) / 2;
        if (fs->zones[mid].end <= start)
            low = mid + 1;
        else
            high = mid;
    }
    return low == fs->n_zones || fs->zones[low].start >= start + n;
}
