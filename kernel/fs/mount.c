// SPDX-License-Identifier: BSD-2-Clause
// mount.c: mounts, mount(2), umount2(2), and bringing the file systems up.
//
// A superblock is mounted in one place: dentry->mounted and sb->mounted_on point at each other under the
// tree lock. n_active counts the open files, roots and working directories inside; a mount with any is
// busy. A detached one (MNT_DETACH) is taken apart when the last of them goes.
#include <stdio.h>
#include <stdlib.h>

#include "fs/calls.h"
#include "fs/vfs_internal.h"

#define MS_RDONLY 1u
#define MS_REMOUNT 32u
#define MS_BIND 4096u
#define MS_MOVE 8192u
#define MS_UNBINDABLE (1u << 17)
#define MS_PRIVATE (1u << 18)
#define MS_SLAVE (1u << 19)
#define MS_SHARED (1u << 20)
#define MNT_DETACH 2
#define MNT_EXPIRE 4
#define UMOUNT_NOFOLLOW 8
#define SB_USER_FLAGS                                                                             \
    (SB_RDONLY | SB_NOSUID | SB_NODEV | SB_NOEXEC | SB_NOSYMFOLLOW | SB_NOATIME | SB_NODIRATIME | \
     SB_STRICTATIME)

struct dentry *root_dentry;
static struct mutex mount_mutex = MUTEX_INIT(mount_mutex);
struct list mounts = LIST_INIT(mounts);
static s32 next_mount_id = 1;

#define MAX_GEN_TYPES 8
static struct gen_type {
    const char *type;
    u32 magic, flags;
    const struct gen_entry *root;
} gen_types[MAX_GEN_TYPES];
static u32 n_gen_types;

// Remembers a generated file system, so that mount(2) can make another of its kind.
void gen_register_type(const char *type, u32 magic, u32 flags, const struct gen_entry *root)
{
    if (n_gen_types < MAX_GEN_TYPES)
        gen_types[n_gen_types++] = (struct gen_type){type, magic, flags, root};
}

static void attach(struct superblock *sb, struct dentry *on)
{
    mutex_lock(&mount_mutex);
    tree_write();
    while (on->mounted)
        on = on->mounted->root;
    dentry_get(on);
    on->mounted = sb;
    sb->mounted_on = on;
    tree_write_done();
    sb->mount_id = next_mount_id++;
    list_push_back(&mounts, &sb->link);
    mutex_unlock(&mount_mutex);
}

int vfs_mount(struct superblock *sb, const char *path)
{
    struct dentry *on = vfs_make_dir_kernel(path);
    if (IS_ERR(on))
        return (int)PTR_ERR(on);
    int err = S_ISDIR(on->inode->mode) ? 0 : -ENOTDIR;
    if (!err)
        attach(sb, on);
    dentry_put(on);
    return err;
}

void sb_active_put(struct superblock *sb)
{
    if (atomic_sub(&sb->n_active, 1) == 0 && unlikely(sb->flags & SB_DETACHED) && sb->destroy)
        sb->destroy(sb);
}

// ------------------------------------------------------------------------------- bring-up

void vfs_init(void)
{
    dentry_init();
    inode_init_caches();
    file_init();
    struct superblock *sb = rootfs_create();
    root_dentry = sb->root;
    sb->mount_id = next_mount_id++;
    list_push_back(&mounts, &sb->link);
}

static void mount_tmpfs(const char *path, u32 mode)
{
    struct superblock *sb = tmpfs_create(page_total_count() / 2 * PAGE_SIZE, mode);
    int err = sb ? vfs_mount(sb, path) : -ENOMEM;
    if (err)
        log_warn("cannot mount a tmpfs on %s: error %d", path, -err);
    else
        sb->source = kstrdup("tmpfs");
}

void vfs_init_late(void)
{
    mount_tmpfs("/tmp", 01777);
    mount_tmpfs("/run", 0755);
    mount_tmpfs("/dev/shm", 01777);
}

// ------------------------------------------------------------------------------- mount(2)

static char *mount_text(uptr_t user, size_t max, int *err)
{
    if (!user)
        return NULL;
    char *text = kmalloc(max);
    ssize_t n = text ? strncpy_from_user(text, user, max) : -ENOMEM;
    if (n >= 0)
        return text;
    kfree(text);
    *err = n == -ENAMETOOLONG ? -EINVAL : (int)n;
    return NULL;
}

static u64 parse_size(const char *text, char **end, u64 percent_of)
{
    u64 v = strtoul(text, end, 0);
    switch (**end) {
    case 'k':
    case 'K':
        v <<= 10;
        (*end)++;
        break;
    case 'm':
    case 'M':
        v <<= 20;
        (*end)++;
        break;
    case 'g':
    case 'G':
        v <<= 30;
        (*end)++;
        break;
    case '%':
        v = percent_of / 100 * v;
        (*end)++;
        break;
    }
    return v;
}

struct tmpfs_options {
    u64 size, n_inodes;
    u32 mode, uid, gid;
};

// size=, nr_blocks=, nr_inodes=, mode=, uid=, gid= (tmpfs(5)). => 0, -EINVAL
static int parse_tmpfs_options(const char *p, struct tmpfs_options *o)
{
    u64 ram = page_total_count() * PAGE_SIZE;
    while (p && *p) {
        char *end;
        if (strncmp(p, "size=", 5) == 0)
            o->size = parse_size(p + 5, &end, ram);
        else if (strncmp(p, "nr_blocks=", 10) == 0)
            o->size = parse_size(p + 10, &end, ram) * PAGE_SIZE;
        else if (strncmp(p, "nr_inodes=", 10) == 0)
            o->n_inodes = parse_size(p + 10, &end, ram);
        else if (strncmp(p, "mode=", 5) == 0)
            o->mode = strtoul(p + 5, &end, 8) & 07777;
        else if (strncmp(p, "uid=", 4) == 0)
            o->uid = strtoul(p + 4, &end, 0);
        else if (strncmp(p, "gid=", 4) == 0)
            o->gid = strtoul(p + 4, &end, 0);
        else
            return -EINVAL;
        if (*end && *end != ',')
            return -EINVAL;
        p = *end ? end + 1 : end;
    }
    return 0;
}

static struct superblock *make_tmpfs(const char *options, bool ramfs)
{
    struct tmpfs_options o = {.size = ramfs ? 0 : page_total_count() / 2 * PAGE_SIZE,
                              .mode = 01777};
    int err = ramfs ? 0 : parse_tmpfs_options(options, &o);
    if (err)
        return ERR_PTR(err);
    struct superblock *sb = tmpfs_create(o.size, o.mode);
    if (!sb)
        return ERR_PTR(-ENOMEM);
    if (o.n_inodes)
        sb->max_inodes = o.n_inodes;
    sb->root->inode->uid = o.uid;
    sb->root->inode->gid = o.gid;
    return sb;
}

static struct superblock *make_by_type(const char *type, const char *options, const char *source,
                                       u32 flags)
{
    if (strcmp(type, "ext4") == 0 && volume_create) {
        if (options && *options)
            return ERR_PTR(-EINVAL);
        return source ? volume_create(source, flags & SB_USER_FLAGS) : ERR_PTR(-EINVAL);
    }
    if (strcmp(type, "tmpfs") == 0 || strcmp(type, "ramfs") == 0)
        return make_tmpfs(options, type[0] == 'r');
    for (u32 i = 0; i < n_gen_types; i++) {
        const struct gen_type *g = &gen_types[i];
        if (strcmp(type, g->type) == 0) {
            if (options && *options)
                return ERR_PTR(-EINVAL);
            struct superblock *sb = gen_superblock(g->type, g->magic, g->flags, g->root);
            return sb ? sb : ERR_PTR(-ENOMEM);
        }
    }
    return ERR_PTR(-ENODEV);
}

// size= and nr_inodes= of a tmpfs may change; nothing else has options. => 0, -EINVAL (less than is in use, too)
static int remount_options(struct superblock *sb, const char *options)
{
    if (!options || !*options)
        return 0;
    struct tmpfs_options o = {.size = sb->max_pages * PAGE_SIZE, .n_inodes = sb->max_inodes};
    int err = strcmp(sb->type, "tmpfs") == 0 ? parse_tmpfs_options(options, &o) : -EINVAL;
    u64 n_pages = DIV_ROUND_UP(o.size, PAGE_SIZE);
    if (err || (n_pages && n_pages < sb->n_pages) || (o.n_inodes && o.n_inodes < sb->n_inodes))
        return -EINVAL;
    sb->max_pages = n_pages;
    sb->max_inodes = o.n_inodes;
    return 0;
}

static int mount_new(struct dentry *on, const char *source, const char *type, const char *options,
                     unsigned long flags)
{
    if (!type)
        return -EINVAL;
    struct superblock *sb = make_by_type(type, options, source, (u32)flags);
    if (IS_ERR(sb))
        return (int)PTR_ERR(sb);
    sb->flags |= flags & SB_USER_FLAGS;
    sb->source = kstrdup(source ? source : "none");
    attach(sb, on);
    return 0;
}

static int mount_change(struct dentry *on, const char *source, const char *type,
                        const char *options, unsigned long flags)
{
    struct superblock *sb = on->inode->sb;
    if (flags & MS_REMOUNT) {
        if (on != sb->root)
            return -EINVAL;
        int err = remount_options(sb, options);
        if (!err && sb->ops)
            err = sb->ops->remount(sb, flags & SB_RDONLY);
        if (!err)
            sb->flags = (sb->flags & ~SB_USER_FLAGS) | (flags & SB_USER_FLAGS);
        return err;
    }
    // There is one mount namespace and nothing propagates: private is what every mount is.
    if (flags & (MS_PRIVATE | MS_SLAVE | MS_SHARED | MS_UNBINDABLE))
        return (flags & MS_PRIVATE) && on == sb->root ? 0 : -EINVAL;
    if (flags & (MS_BIND | MS_MOVE))
        return -EINVAL;
    return mount_new(on, source, type, options, flags);
}

// Partial: bind and move mounts and sharing of mounts are refused with EINVAL.
long sys_mount(uptr_t user_source, uptr_t target, uptr_t user_type, unsigned long flags,
               uptr_t data)
{
    struct dentry *on;
    int err = 0;
    if (!fs_capable(CAP_SYS_ADMIN))
        return -EPERM;
    if ((flags & 0xffff0000ul) == 0xc0ed0000ul)  // MS_MGC_VAL of old programs
        flags &= 0xffff;
    char *type = mount_text(user_type, 64, &err);
    char *source = err ? NULL : mount_text(user_source, PATH_MAX, &err);
    char *options = err ? NULL : mount_text(data, PAGE_SIZE, &err);
    if (!err)
        err = vfs_lookup_user(AT_FDCWD, target, LOOKUP_FOLLOW, &on);
    if (!err) {
        err = S_ISDIR(on->inode->mode) ? mount_change(on, source, type, options, flags) : -ENOTDIR;
        dentry_put(on);
    }
    kfree(type);
    kfree(source);
    kfree(options);
    return err;
}

static bool has_submounts(const struct superblock *sb)
{
    list_for_each_entry (struct superblock, other, &mounts, link) {
        if (other->mounted_on && other->mounted_on->inode->sb == sb)
            return true;
    }
    return false;
}

static int umount_locked(struct superblock *sb, int flags)
{
    if (!sb->mounted_on)
        return -EBUSY;  // the root
    if (has_submounts(sb) || (READ_ONCE(sb->n_active) && !(flags & MNT_DETACH)))
        return -EBUSY;
    if ((flags & MNT_EXPIRE) && !(atomic_fetch_or(&sb->flags, SB_EXPIRING) & SB_EXPIRING))
        return -EAGAIN;
    tree_write();
    struct dentry *on = sb->mounted_on;
    on->mounted = NULL;
    sb->mounted_on = NULL;
    tree_write_done();
    list_remove_init(&sb->link);
    dentry_put(on);
    return 0;
}

long sys_umount2(uptr_t target, int flags)
{
    struct dentry *d;
    if (flags & ~(1 | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW))
        return -EINVAL;
    if ((flags & MNT_EXPIRE) && (flags & (1 | MNT_DETACH)))
        return -EINVAL;
    if (!fs_capable(CAP_SYS_ADMIN))
        return -EPERM;
    int err = vfs_lookup_user(AT_FDCWD, target, flags & UMOUNT_NOFOLLOW ? 0 : LOOKUP_FOLLOW, &d);
    if (err)
        return err;
    struct superblock *sb = d->inode->sb;
    err = d == sb->root ? 0 : -EINVAL;
    dentry_put(d);
    if (err)
        return err;
    mutex_lock(&mount_mutex);
    atomic_add(&sb->n_active, 1);
    atomic_sub(&sb->n_active, 1);
    err = umount_locked(sb, flags);
    mutex_unlock(&mount_mutex);
    if (err)
        return err;
    // The last user takes it apart: this call, if there is none.
    sb_active_get(sb);
    sb->flags |= SB_DETACHED;
    sb_active_put(sb);
    return 0;
}

// Refused: EINVAL: there is one mount namespace with one root.
long sys_pivot_root(uptr_t new_root, uptr_t put_old)
{
    return fs_capable(CAP_SYS_ADMIN) ? -EINVAL : -EPERM;
}

// ------------------------------------------------------------------------------- /proc/mounts

// Blanks and backslashes in paths are shown as octal escapes (fstab(5)).
static void show_escaped(struct seq_buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == ' ' || *text == '\t' || *text == '\n' || *text == '\\')
            seq_printf(out, "\\%03o", *text);
        else
            seq_write(out, text, 1);
    }
}

static void show_flags(struct seq_buf *out, u32 flags)
{
    seq_printf(out, "%s%s%s%s%s%s", flags & SB_RDONLY ? "ro" : "rw",
               flags & SB_NOSUID ? ",nosuid" : "", flags & SB_NODEV ? ",nodev" : "",
               flags & SB_NOEXEC ? ",noexec" : "", flags & SB_NOATIME ? ",noatime" : "",
               flags & SB_STRICTATIME ? ""
               : flags & SB_RELATIME  ? ",relatime"
                                      : "");
    seq_printf(out, "%s%s", flags & SB_NODIRATIME ? ",nodiratime" : "",
               flags & SB_NOSYMFOLLOW ? ",nosymfollow" : "");
}

static void show_mount(struct seq_buf *out, struct superblock *sb, bool mountinfo, const char *path)
{
    const char *source = sb->source ? sb->source : "none";
    if (mountinfo) {
        s32 parent = sb->mounted_on ? sb->mounted_on->inode->sb->mount_id : 0;
        seq_printf(out, "%d %d %u:%u / ", sb->mount_id, parent, DEV_MAJOR(sb->dev),
                   DEV_MINOR(sb->dev));
        show_escaped(out, path);
        seq_printf(out, " ");
        show_flags(out, sb->flags);
        seq_printf(out, " - %s ", sb->type);
        show_escaped(out, source);
        seq_printf(out, " %s", sb->flags & SB_RDONLY ? "ro" : "rw");
    } else {
        show_escaped(out, source);
        seq_printf(out, " ");
        show_escaped(out, path);
        seq_printf(out, " %s ", sb->type);
        show_flags(out, sb->flags);
    }
    if (sb->max_pages)
        seq_printf(out, ",size=%lluk", (unsigned long long)(sb->max_pages * (PAGE_SIZE / 1024)));
    seq_printf(out, mountinfo ? "\n" : " 0 0\n");
}

void mounts_show(struct seq_buf *out, bool mountinfo)
{
    char *buf = kmalloc(PATH_MAX);
    if (!buf) {
        out->failed = true;
        return;
    }
    mutex_lock(&mount_mutex);
    list_for_each_entry (struct superblock, sb, &mounts, link) {
        char *path = dentry_path(sb->root, NULL, buf, PATH_MAX);
        if (!IS_ERR(path))
            show_mount(out, sb, mountinfo, path);
    }
    mutex_unlock(&mount_mutex);
    kfree(buf);
}

void filesystems_show(struct seq_buf *out)
{
    seq_printf(out, "nodev\ttmpfs\nnodev\tramfs\n");
    for (u32 i = 0; i < n_gen_types; i++)
        seq_printf(out, "nodev\t%s\n", gen_types[i].type);
    seq_printf(out, "\text4\n");
}
