// SPDX-License-Identifier: BSD-2-Clause
// The kinds of memory that every advice is tried on: eight pages each, holding 0x41, of which pages 2 to 4 are advised.
#ifndef CONFORM_MM_KINDS_H
#define CONFORM_MM_KINDS_H

#include "harness.h"

#define RW (PROT_READ | PROT_WRITE)
#define PAGES 8
#define FROM 2
#define TO 5
#define WRITTEN 0x41
#define IN_FILE 0x66

// Numbers of the Linux headers: a C library may not know the newer ones.
enum {
    NORMAL = 0,
    RANDOM = 1,
    SEQUENTIAL = 2,
    WILLNEED = 3,
    DONTNEED = 4,
    FREE = 8,
    REMOVE = 9,
    DONTFORK = 10,
    DOFORK = 11,
    MERGEABLE = 12,
    UNMERGEABLE = 13,
    HUGEPAGE = 14,
    NOHUGEPAGE = 15,
    DONTDUMP = 16,
    DODUMP = 17,
    WIPEONFORK = 18,
    KEEPONFORK = 19,
    COLD = 20,
    PAGEOUT = 21,
    POPULATE_READ = 22,
    POPULATE_WRITE = 23,
    DONTNEED_LOCKED = 24,
    COLLAPSE = 25,
    GUARD_INSTALL = 102,
    GUARD_REMOVE = 103,
};

enum kind {
    ANON,
    ANON_READ_ONLY,
    FRESH,
    PRIVATE_FILE,
    SHARED_FILE,
    SHARED_ANON,
    MEMFD,
    STACK,
    HEAP,
    BRK,
    BSS,
    DATA,
    HUGE_BACKED,
    LOCKED,
    NO_ACCESS,
    DEV_ZERO,
    SYSTEM_V,
    GROWING,
    N_KINDS
};

extern const char *const kind_names[N_KINDS];

struct area {
    enum kind kind;
    char *start;
    int fd;       // of the file behind, or -1
    int dropped;  // what a private page holds after DONTNEED
    char *unmap;
    size_t unmap_len;
};

bool is_shared(enum kind kind);
bool is_private_file(enum kind kind);

// stack_pages: page-aligned room in the caller's frame.
struct area make_area(enum kind kind, char *stack_pages);
void drop_area(struct area *area);

// The first byte of the range that is not the value, with 0x100 added; 0 when all are.
int first_byte_that_is_not(const char *start, int value, size_t len);

#endif
