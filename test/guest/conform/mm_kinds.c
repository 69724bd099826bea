// SPDX-License-Identifier: BSD-2-Clause
#include "mm_kinds.h"

#include <fcntl.h>
#include <sys/shm.h>

const char *const kind_names[N_KINDS] = {
    "anonymous",   "anonymous read-only",
    "untouched",   "private file",
    "shared file", "shared anonymous",
    "memfd",       "stack",
    "heap",        "brk",
    "bss",         "data",
    "huge-backed", "locked",
    "PROT_NONE",   "private /dev/zero",
    "System V",    "growing down",
};

static char bss_pages[(PAGES + 1) * PAGE] __attribute__((aligned(4096)));
static char data_pages[(PAGES + 1) * PAGE]
    __attribute__((aligned(4096))) = {[0 ...(PAGES + 1) * PAGE - 1] = IN_FILE};

bool is_shared(enum kind kind)
{
    return kind == SHARED_FILE || kind == SHARED_ANON || kind == MEMFD || kind == SYSTEM_V;
}

bool is_private_file(enum kind kind) { return kind == PRIVATE_FILE || kind == DATA; }

struct area make_area(enum kind kind, char *stack_pages)
{
    size_t len = PAGES * PAGE;
    struct area area = {.kind = kind, .fd = -1, .unmap_len = len};
    switch (kind) {
    case ANON:
    case ANON_READ_ONLY:
    case FRESH:
    case LOCKED:
    case NO_ACCESS: area.start = area.unmap = map_anon(len); break;
    case PRIVATE_FILE:
    case SHARED_FILE:
    case MEMFD:
        area.fd = kind == MEMFD ? new_memfd(len) : new_file("advised", 0, 0);
        for (size_t at = 0; at < len; at += PAGE) {
            char page[PAGE];
            memset(page, IN_FILE, PAGE);
            REQUIRE(pwrite(area.fd, page, PAGE, (off_t)at) == (ssize_t)PAGE);
        }
        area.start = area.unmap =
            map_with(len, RW, kind == PRIVATE_FILE ? MAP_PRIVATE : MAP_SHARED, area.fd);
        area.dropped = IN_FILE;
        break;
    case SHARED_ANON:
        area.start = area.unmap = map_with(len, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
        break;
    case DEV_ZERO:
        area.fd = open("/dev/zero", O_RDWR);
        area.start = area.unmap = map_with(len, RW, MAP_PRIVATE, area.fd);
        close(area.fd);
        area.fd = -1;
        break;
    case SYSTEM_V: {
        int id = shmget(IPC_PRIVATE, len, IPC_CREAT | 0600);
        if (id < 0 && errno == ENOSYS && !in_lethe())
            return make_area(SHARED_ANON, stack_pages);
        area.start = area.unmap = shmat(id, NULL, 0);
        REQUIRE(area.start != (char *)-1);
        REQUIRE_OK(shmctl(id, IPC_RMID, NULL));
        break;
    }
    case GROWING:
        area.start = area.unmap =
            map_with(len, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1);
        break;
    case STACK: area.start = stack_pages; break;
    case HEAP:
        area.start = aligned_alloc(PAGE, len);  // freed by nobody: it stays valid memory
        REQUIRE(area.start != NULL);
        break;
    case BRK: {
        uintptr_t top = (uintptr_t)syscall(SYS_brk, 0);
        uintptr_t start = (top + PAGE - 1) & ~(PAGE - 1);
        REQUIRE((uintptr_t)syscall(SYS_brk, start + len) == start + len);
        area.start = (char *)start;
        break;
    }
    case BSS: area.start = bss_pages; break;
    case DATA:
        area.start = data_pages;
        area.dropped = IN_FILE;
        break;
    case HUGE_BACKED:
        area.start = area.unmap = map_huge_aligned(2 * HUGE);
        area.unmap_len = 2 * HUGE;
        madvise(area.start, 2 * HUGE, HUGEPAGE);
        memset(area.start, WRITTEN, 2 * HUGE);
        break;
    case N_KINDS: break;
    }
    if (kind != FRESH)
        memset(area.start, WRITTEN, len);
    if (kind == ANON_READ_ONLY)
        REQUIRE_OK(mprotect(area.start, len, PROT_READ));
    if (kind == NO_ACCESS)
        REQUIRE_OK(mprotect(area.start, len, PROT_NONE));
    if (kind == LOCKED)
        REQUIRE_OK(mlock(area.start, len));
    return area;
}

void drop_area(struct area *area)
{
    if (area->kind == BRK)
        syscall(SYS_brk, area->start);
    if (area->unmap)
        munmap(area->unmap, area->unmap_len);
    if (area->fd >= 0)
        close(area->fd);
    unlink("advised");
}

int first_byte_that_is_not(const char *start, int value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)start[i] != value)
            return (unsigned char)start[i] | 0x100;
    return 0;
}
