// SPDX-License-Identifier: BSD-2-Clause
// A memory allocator on sbrk(2), as text books build it, and a program that works it hard: blocks in one list in the
// order of their addresses, first fit, neighbours joined when they are free, the end of the heap given back.
#define _DEFAULT_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct block {
    size_t size;  // bytes behind this head
    int free;
    struct block *next, *previous;
};

static struct block *first, *last;

static void *my_malloc(size_t size)
{
    struct block *b;

    size = (size + 15) & ~(size_t)15;
    for (b = first; b; b = b->next)
        if (b->free && b->size >= size)
            break;
    if (!b) {
        b = sbrk(sizeof(*b) + size);
        if (b == (void *)-1)
            return NULL;
        *b = (struct block){size, 0, NULL, last};
        *(last ? &last->next : &first) = b;
        last = b;
    } else if (b->size >= size + sizeof(*b) + 16) {  // the rest becomes a block of its own
        struct block *rest = (struct block *)((char *)(b + 1) + size);
        *rest = (struct block){b->size - size - sizeof(*rest), 1, b->next, b};
        *(b->next ? &b->next->previous : &last) = rest;
        b->next = rest;
        b->size = size;
    }
    b->free = 0;
    return b + 1;
}

static void join_with_next(struct block *b)
{
    struct block *next = b->next;

    b->size += sizeof(*next) + next->size;
    b->next = next->next;
    *(next->next ? &next->next->previous : &last) = b;
}

static void my_free(void *memory)
{
    struct block *b = (struct block *)memory - 1;

    b->free = 1;
    if (b->next && b->next->free)
        join_with_next(b);
    if (b->previous && b->previous->free)
        join_with_next(b = b->previous);
    if (b != last)
        return;
    last = b->previous;
    *(last ? &last->next : &first) = NULL;
    if (brk(b))
        perror("brk");
}

static uint32_t random_number(void)
{
    static uint32_t state = 1;

    return (state = state * 1664525 + 1013904223) >> 8;
}

int main(void)
{
    enum { SLOTS = 500, ROUNDS = 200000 };
    static struct {
        unsigned char *at;
        size_t size;
    } slots[SLOTS];
    char *begin = sbrk(0), *top = begin;

    for (int i = 0; i < ROUNDS; i++) {
        unsigned n = random_number() % SLOTS;
        if (slots[n].at) {
            for (size_t j = 0; j < slots[n].size; j += 97)
                if (slots[n].at[j] != n % 251)
                    return printf("slot %u was overwritten\n", n), 1;
            my_free(slots[n].at);
            slots[n].at = NULL;
        } else {
            slots[n].size = 1 + random_number() % (random_number() % 50 ? 2000 : 200000);
            slots[n].at = my_malloc(slots[n].size);
            if (!slots[n].at)
                return printf("out of memory\n"), 1;
            memset(slots[n].at, n % 251, slots[n].size);
        }
        if ((char *)sbrk(0) > top)
            top = sbrk(0);
    }
    for (unsigned n = 0; n < SLOTS; n++)
        if (slots[n].at)
            my_free(slots[n].at);
    printf("%d calls, the heap grew to %s 1 MiB and shrank to %td bytes\n", ROUNDS,
           top - begin > 1 << 20 ? "more than" : "less than", (char *)sbrk(0) - begin);
    return sbrk(0) != begin;
}
