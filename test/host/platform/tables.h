// SPDX-License-Identifier: BSD-2-Clause
// tables.h: a machine of 16 MiB from RAM_BASE on whose firmware tables are read under ASan and UBSan; beyond it every byte
// reads 0xff, as on a bus where nobody answers. Every table that the parsers ask for is given as a copy of exactly the length
// asked for, so that one byte read too many is seen. The kernel lies at KERNEL_AT.
#pragma once

#include "ends.h"

enum { RAM_BYTES = 16 << 20, VOID_BYTES = 4 << 20, COPIES_MAX = 100000 };

static u8 ram[RAM_BYTES], nothing[VOID_BYTES];
static void *copies[COPIES_MAX];
static unsigned n_copies;
int log_level = LOG_ERROR;
char kernel_start[1], kernel_end[1];

void *phys_to_virt(phys_t pa)
{
    return pa - RAM_BASE < RAM_BYTES ? ram + (pa - RAM_BASE) : nothing;
}
phys_t virt_to_phys(const void *kva) { return KERNEL_AT + (kva == kernel_start ? 0 : 0x90000); }
void arch_map_ram(phys_t start, phys_t end) { KASSERT(start < end && end <= FIRMWARE_ADDRESS_MAX); }
void *arch_map_device(phys_t pa, size_t len)
{
    KASSERT(pa + len <= FIRMWARE_ADDRESS_MAX);
    return nothing;
}
void klog_line(int level, const char *fmt, ...) { (void)level, (void)fmt; }

// The name that the parsers call; firmware.c is compiled with its function renamed.
const void *checked_firmware_map(phys_t pa, size_t len);
const void *firmware_map(phys_t pa, size_t len)
{
    const void *there = checked_firmware_map(pa, len);
    if (!there)
        return NULL;
    KASSERT(n_copies < COPIES_MAX);
    void *copy = malloc(len);
    memset(copy, 0xff, len);
    if (pa - RAM_BASE < RAM_BYTES)
        memcpy(copy, there, MIN(len, RAM_BYTES - (pa - RAM_BASE)));
    return copies[n_copies++] = copy;
}

static void free_copies(void)
{
    while (n_copies)
        free(copies[--n_copies]);
}

// ---------------------------------------------------------------- writing tables

static u8 *at_phys(phys_t pa) { return ram + (pa - RAM_BASE); }
static void put(phys_t at, u64 value, unsigned n_bytes) { memcpy(at_phys(at), &value, n_bytes); }

static void sum(phys_t at, u32 len, u32 where)
{
    u8 total = 0;
    u8 *p = at_phys(at);
    p[where] = 0;
    for (u32 i = 0; i < len; i++)
        total += p[i];
    p[where] = -total;
}

static void table(phys_t at, const char *signature, u32 len)
{
    memcpy(at_phys(at), signature, 4);
    put(at + 4, len, 4);
}

// ---------------------------------------------------------------- changes at random

static u64 state = 88172645463325252ull;
static u64 random_u64(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

struct area {
    phys_t at;
    u32 len;
};

// A few bytes of the areas become something else: their addresses among it, so that tables are taken for one another.
static void mutate_areas(const struct area *areas, size_t n_areas)
{
    static const u64 nasty[] = {
        0,          1,     0xff,   0x7fffffff, 0xffffffff, 1ull << 46, (1ull << 46) - 1,
        1ull << 63, ~0ull, 0xfff00};
    for (unsigned n = 1 + random_u64() % 6; n; n--) {
        const struct area *a = &areas[random_u64() % n_areas];
        phys_t at = a->at + random_u64() % a->len;
        u64 pick = random_u64() % (ARRAY_SIZE(nasty) + n_areas);
        u64 value = pick < ARRAY_SIZE(nasty) ? nasty[pick] : areas[pick - ARRAY_SIZE(nasty)].at;
        switch (random_u64() % 3) {
        case 0: *at_phys(at) = random_u64(); break;
        case 1: put(at & ~3ull, value, 4); break;
        case 2: put(at & ~7ull, value, 8); break;
        }
    }
}
