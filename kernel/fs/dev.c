// SPDX-License-Identifier: BSD-2-Clause
// dev.c: /dev and the memory devices: null, zero, full, random, urandom (null(4), full(4), random(4)).
#include "core/random.h"
#include "fs/special_internal.h"

#define DEVTMPFS_MAGIC 0x01021994
#define MAJOR_MEM 1
#define MAJOR_TTYS 4
#define MAJOR_TTY 5

#define RNDGETENTCNT 0x80045200u
#define RNDADDTOENTCNT 0x40045201u
#define RNDADDENTROPY 0x40085203u

#define CHUNK (64 * 1024u)  // between looks at who else wants the CPU

// No position to lock; lseek succeeds and stays at 0.
static int mem_open(struct inode *inode, struct file *f)
{
    f->fmode |= FMODE_STREAM;
    return 0;
}

static ssize_t null_read(struct file *f, struct uio *to, loff_t *pos) { return 0; }

static ssize_t null_write(struct file *f, struct uio *from, loff_t *pos)
{
    return (ssize_t)uio_remaining(from);
}

// After a chunk: => true when a long transfer should end early.
static bool chunk_pause(const struct uio *u)
{
    if (!uio_remaining(u))
        return false;
    sched_point();
    return thread_signal_pending();
}

static ssize_t zero_read(struct file *f, struct uio *to, loff_t *pos)
{
    ssize_t total = 0;
    if (likely(uio_remaining(to) <= CHUNK))
        return uio_zero(to, uio_remaining(to));
    while (uio_remaining(to)) {
        ssize_t n = uio_zero(to, MIN(uio_remaining(to), (size_t)CHUNK));
        if (n <= 0)
            return total ? total : n;
        total += n;
        if (chunk_pause(to))
            break;
    }
    return total;
}

// A mapping of /dev/zero is new memory that starts as zeros; MAP_SHARED shares it over fork.
static struct vm_object *zero_mmap(struct file *f, int prot, int flags)
{
    if (!(flags & 1 /* MAP_SHARED */))
        return MAPPED_AS_ANONYMOUS;
    return vm_object_create_anon(MAX_FILE_SIZE & ~(u64)(PAGE_SIZE - 1));
}

static ssize_t full_write(struct file *f, struct uio *from, loff_t *pos) { return -ENOSPC; }

static ssize_t urandom_read(struct file *f, struct uio *to, loff_t *pos)
{
    u8 buf[256];
    ssize_t total = 0;
    u32 until_pause = 0;
    while (uio_remaining(to)) {
        size_t len = MIN(uio_remaining(to), sizeof(buf));
        random_bytes(buf, len);
        ssize_t n = uio_copy_to(to, buf, len);
        if (n <= 0) {
            total = total ? total : n;
            break;
        }
        total += n;
        until_pause += (u32)n;
        if (until_pause >= 4096) {
            until_pause = 0;
            if (chunk_pause(to))
                break;
        }
    }
    memset(buf, 0, sizeof(buf));
    __asm__ volatile("" : : "r"(buf) : "memory");  // the clearing stays
    return total;
}

static ssize_t random_read(struct file *f, struct uio *to, loff_t *pos)
{
    int err = uio_remaining(to) ? random_wait_seeded(f->flags & O_NONBLOCK) : 0;
    return err ? err : urandom_read(f, to, pos);
}

// What is written is mixed in, and makes nothing count as seeded (random(4)).
static ssize_t random_write(struct file *f, struct uio *from, loff_t *pos)
{
    u8 buf[64];
    ssize_t total = 0;
    while (uio_remaining(from)) {
        ssize_t n = uio_copy_from(from, buf, MIN(uio_remaining(from), sizeof(buf)));
        if (n <= 0)
            return total ? total : n;
        random_add(buf, n, 0);
        total += n;
        if (total % CHUNK == 0 && chunk_pause(from))
            break;
    }
    return total;
}

// The argument is the number of bits to credit and, when with_bytes, the number of bytes and the bytes that they are for.
static long add_entropy(uptr_t arg, bool with_bytes)
{
    s32 head[2] = {0, 0};
    u8 buf[64];
    if (copy_from_user(head, arg, with_bytes ? 8 : 4))
        return -EFAULT;
    if (head[0] < 0 || head[1] < 0)
        return -EINVAL;
    u32 bits = head[0], left = head[1];
    for (uptr_t at = arg + 8; left;
         at += MIN(left, (u32)sizeof(buf)), left -= MIN(left, (u32)sizeof(buf))) {
        if (copy_from_user(buf, at, MIN(left, (u32)sizeof(buf))))
            return -EFAULT;
        random_add(buf, MIN(left, (u32)sizeof(buf)), 0);
        if (thread_kill_pending())
            return -EINTR;
        sched_point();
    }
    random_add(buf, 0, with_bytes ? MIN(bits, 8 * (u32)head[1]) : bits);
    return 0;
}

static long random_ioctl(struct file *f, unsigned cmd, uptr_t arg)
{
    switch (cmd) {
    case RNDGETENTCNT: return put_user_u32(arg, random_credit_bits());
    case RNDADDTOENTCNT: return capable(CAP_SYS_ADMIN) ? add_entropy(arg, false) : -EPERM;
    case RNDADDENTROPY: return capable(CAP_SYS_ADMIN) ? add_entropy(arg, true) : -EPERM;
    default: return -ENOTTY;
    }
}

static u32 random_poll(struct file *f, struct poll_table *pt)
{
    return POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;
}

static const struct file_ops null_ops = {
    .name = "null",
    .open = mem_open,
    .read = null_read,
    .write = null_write,
    .lseek = lseek_fixed,
};
static const struct file_ops zero_ops = {
    .name = "zero",
    .open = mem_open,
    .read = zero_read,
    .write = null_write,
    .lseek = lseek_fixed,
    .mmap_object = zero_mmap,
};
static const struct file_ops full_ops = {
    .name = "full",
    .open = mem_open,
    .read = zero_read,
    .write = full_write,
    .lseek = lseek_fixed,
};
static const struct file_ops random_ops = {
    .name = "random",
    .open = mem_open,
    .read = random_read,
    .write = random_write,
    .lseek = lseek_fixed,
    .poll = random_poll,
    .ioctl = random_ioctl,
};
static const struct file_ops urandom_ops = {
    .name = "urandom",
    .open = mem_open,
    .read = urandom_read,
    .write = random_write,
    .lseek = lseek_fixed,
    .poll = random_poll,
    .ioctl = random_ioctl,
};

static const struct gen_entry dev_entries[] = {
    GEN_CHR("null", 0666, MAJOR_MEM, 3),
    GEN_CHR("zero", 0666, MAJOR_MEM, 5),
    GEN_CHR("full", 0666, MAJOR_MEM, 7),
    GEN_CHR("random", 0666, MAJOR_MEM, 8),
    GEN_CHR("urandom", 0666, MAJOR_MEM, 9),
    GEN_CHR("tty", 0666, MAJOR_TTY, 0),
    GEN_CHR("console", 0600, MAJOR_TTY, 1),
    GEN_CHR("ttyS0", 0660, MAJOR_TTYS, 64),
    GEN_LINK("fd", "/proc/self/fd"),
    GEN_LINK("stdin", "/proc/self/fd/0"),
    GEN_LINK("stdout", "/proc/self/fd/1"),
    GEN_LINK("stderr", "/proc/self/fd/2"),
    GEN_END,
};
static const struct gen_entry dev_root = {.mode = S_IFDIR | 0755, .children = dev_entries};

void dev_init(void)
{
    chrdev_register(MAJOR_MEM, 3, 1, &null_ops);
    chrdev_register(MAJOR_MEM, 5, 1, &zero_ops);
    chrdev_register(MAJOR_MEM, 7, 1, &full_ops);
    chrdev_register(MAJOR_MEM, 8, 1, &random_ops);
    chrdev_register(MAJOR_MEM, 9, 1, &urandom_ops);
    chrdev_register(MAJOR_TTY, 0, 2, &tty_file_ops);
    chrdev_register(MAJOR_TTYS, 64, 1, &tty_file_ops);
    if (gen_mount("/dev", "devtmpfs", DEVTMPFS_MAGIC, SB_NOSUID, &dev_root))
        noboot("out of memory for /dev");
    tty_init();
}
