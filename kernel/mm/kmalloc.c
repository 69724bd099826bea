// SPDX-License-Identifier: BSD-2-Clause
// kmalloc.c: kernel memory in small pieces.
//
// Caches of objects of one size (kcache) sit on slabs of one frame each; kmalloc picks a cache by
// size. In front of the slabs every CPU has a magazine for each cache, a short list of free objects:
// the common alloc and free are a pop and a push without a lock. Larger pieces are whole blocks of
// frames.
//
// A slab is described in its struct page: cache_id, mapcount = objects in use (those in magazines
// included), aux = offset of the first free object; each free object holds the offset of the next.
//
// Invariants: a slab with a free object is on its cache's partial list and a full one is on no list;
// at most KEEP_EMPTY slabs of a cache are empty.
#include <string.h>

#include "core/cpu.h"
#include "core/lock.h"
#include "core/log.h"
#include "mm/page.h"

#define MAX_CACHES 64
#define MAG_HIGH 32  // objects in a magazine; half of it moves at once
#define NO_OBJECT PAGE_SIZE
#define KEEP_EMPTY 1
#define MAX_SLAB_SIZE 2048

struct kcache {
    struct spinlock lock;
    struct list partial;  // [lock] slabs with free objects
    u32 n_empty;          // [lock] of those, slabs without any object in use
    u32 size;             // of an object
    u32 per_slab;
    u32 id;
    u64 n_slabs;  // [lock]
    const char *name;
};

struct magazine {
    void *first;  // free objects linked through their first word
    u32 n;
};
static DEFINE_PERCPU(struct magazine, magazines[MAX_CACHES]);

static struct kcache caches[MAX_CACHES];
static u32 n_caches;
static struct spinlock caches_lock;

// kmalloc sizes: powers of two and the steps half way between them; ids 0 .. N_SIZES - 1.
static const u16 sizes[] = {16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1344, 2048};
#define N_SIZES ARRAY_SIZE(sizes)

static void cache_setup(u32 id, const char *name, size_t size)
{
    caches[id].size = (u32)size;
    caches[id].per_slab = (u32)(PAGE_SIZE / size);
    caches[id].id = id;
    caches[id].name = name;
    list_init(&caches[id].partial);
}

static __cold void setup_sizes(void)
{
    for (u32 i = 0; i < N_SIZES; i++)
        cache_setup(i, "kmalloc", sizes[i]);
    __atomic_store_n(&n_caches, N_SIZES, __ATOMIC_RELEASE);
}

static inline u32 size_to_id(size_t size)
{
    if (size <= 64)
        return (u32)((size - 1) / 16);
    if (size > 1024)
        return size <= 1344 ? 12 : 13;
    u32 log = 63 - (u32)__builtin_clzll(size - 1);  // 6 .. 9: size in (2^log, 2^(log+1)]
    return 4 + (log - 6) * 2 + (size > (3ull << (log - 1)));
}

// ---- slabs, under the cache's lock

static struct page *slab_new(struct kcache *c)
{
    struct page *p = page_alloc_kernel();
    if (!p)
        return NULL;
    p->flags = PG_SLAB;
    p->cache_id = (u8)c->id;
    char *base = page_address(p);
    for (u32 i = 0; i < c->per_slab; i++)
        *(u32 *)(base + i * c->size) = i + 1 < c->per_slab ? (i + 1) * c->size : NO_OBJECT;
    p->aux = 0;
    p->mapcount = 0;
    return p;
}

static void *slab_take(struct kcache *c, struct page *p)
{
    char *object = (char *)page_address(p) + p->aux;
    p->aux = *(u32 *)object;
    if (p->mapcount++ == 0)
        c->n_empty--;
    if (p->aux == NO_OBJECT)
        list_remove(&p->link);
    return object;
}

// => The slab's frame when it became superfluous (the caller frees it without the lock).
static struct page *slab_give(struct kcache *c, void *object)
{
    struct page *p = virt_to_page(object);
    if (p->aux == NO_OBJECT)
        list_push_front(&c->partial, &p->link);
    *(u32 *)object = p->aux;
    p->aux = (u32)((uintptr_t)object & (PAGE_SIZE - 1));
    if (--p->mapcount)
        return NULL;
    if (c->n_empty < KEEP_EMPTY) {
        c->n_empty++;
        return NULL;
    }
    list_remove(&p->link);
    c->n_slabs--;
    p->flags = 0;
    return p;
}

// ---- magazines

// Fills an empty magazine and gives one object.
static __noinline void *refill(struct kcache *c)
{
    spin_lock(&c->lock);
    if (list_empty(&c->partial)) {
        spin_unlock(&c->lock);
        struct page *p = slab_new(c);
        if (!p)
            return NULL;
        spin_lock(&c->lock);
        list_push_front(&c->partial, &p->link);
        c->n_slabs++;
        c->n_empty++;
    }
    struct magazine *m = &percpu(magazines)[c->id];
    void *object = slab_take(c, list_first(&c->partial, struct page, link));
    u32 want = MIN(c->per_slab, MAG_HIGH / 2u);
    while (m->n < want && !list_empty(&c->partial)) {
        void *extra = slab_take(c, list_first(&c->partial, struct page, link));
        *(void **)extra = m->first;
        m->first = extra;
        m->n++;
    }
    spin_unlock(&c->lock);
    return object;
}

// Gives objects of a full magazine back to their slabs until keep are left.
static __noinline void flush_magazine(struct kcache *c, struct magazine *m, u32 keep)
{
    struct page_chain empty = {0};
    spin_lock(&c->lock);
    while (m->n > keep) {
        void *object = m->first;
        m->first = *(void **)object;
        m->n--;
        struct page *p = slab_give(c, object);
        if (p)
            page_chain_push(&empty, p);
    }
    spin_unlock(&c->lock);
    if (empty.n)
        page_free_kernel(&empty);
}

static inline bool injected_failure(void)
{
#ifdef LETHE_VERIFY
    if (page_fail_at && --page_fail_at == 0)
        return true;
#endif
    return false;
}

void *kcache_alloc(struct kcache *c)
{
    if (injected_failure())
        return NULL;
    struct magazine *m = &percpu(magazines)[c->id];
    void *object = m->first;
    if (unlikely(!object))
        return refill(c);
    m->first = *(void **)object;
    m->n--;
    return object;
}

void kcache_free(struct kcache *c, void *object)
{
    struct magazine *m = &percpu(magazines)[c->id];
    *(void **)object = m->first;
    m->first = object;
    if (unlikely(++m->n > MIN((u32)MAG_HIGH, c->per_slab * 2)))
        flush_magazine(c, m, MIN((u32)MAG_HIGH, c->per_slab * 2) / 2);
}

struct kcache *kcache_create(const char *name, size_t size, size_t align)
{
    if (!n_caches)
        setup_sizes();
    size = ALIGN_UP(MAX(size, 16u), MAX(align, 16u));
    KASSERT(size <= PAGE_SIZE && n_caches < MAX_CACHES);
    spin_lock(&caches_lock);
    u32 id = n_caches++;
    cache_setup(id, name, size);
    spin_unlock(&caches_lock);
    return &caches[id];
}

// ---- kmalloc

void *kmalloc(size_t size)
{
    KCHECK(size > 0);
    if (unlikely(!n_caches))
        setup_sizes();
    if (likely(size <= MAX_SLAB_SIZE))
        return kcache_alloc(&caches[size_to_id(size)]);
    if (size > HUGE_SIZE)
        return NULL;
    unsigned order = size <= PAGE_SIZE ? 0 : 64 - __builtin_clzll((size - 1) >> PAGE_SHIFT);
    struct page *p = page_alloc(order, 0);
    return p ? page_address(p) : NULL;
}

void *kzalloc(size_t size)
{
    void *p = kmalloc(size);
    return p ? memset(p, 0, size) : NULL;
}

static size_t usable_size(const void *ptr)
{
    const struct page *p = virt_to_page(ptr);
    return p->flags & PG_SLAB ? caches[p->cache_id].size : PAGE_SIZE << p->order;
}

void kfree(void *ptr)
{
    if (!ptr)
        return;
    struct page *p = virt_to_page(ptr);
    if (likely(p->flags & PG_SLAB)) {
        kcache_free(&caches[p->cache_id], ptr);
        return;
    }
    KASSERT(IS_ALIGNED((uintptr_t)ptr, PAGE_SIZE) && !(p->flags & (PG_FREE | PG_RESERVED)));
    page_free(p, p->order);
}

void *krealloc(void *old, size_t size)
{
    if (!old)
        return kmalloc(size);
    size_t have = usable_size(old);
    if (size <= have)
        return old;
    void *new = kmalloc(size);
    if (!new)
        return NULL;
    memcpy(new, old, have);
    kfree(old);
    return new;
}

char *kstrdup(const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = kmalloc(n);
    return copy ? memcpy(copy, text, n) : NULL;
}

// Empties this CPU's magazines into the slabs, so that counters can be compared (tests, reclaim).
__cold void kmalloc_drain_cpu(void)
{
    for (u32 i = 0; i < n_caches; i++)
        if (percpu(magazines)[i].n)
            flush_magazine(&caches[i], &percpu(magazines)[i], 0);
}

__cold u64 kmalloc_page_count(void)
{
    u64 n = 0;
    for (u32 i = 0; i < n_caches; i++)
        n += caches[i].n_slabs;
    return n;
}

void kmalloc_verify(void)
{
    for (u32 i = 0; i < n_caches; i++) {
        struct kcache *c = &caches[i];
        spin_lock(&c->lock);
        u32 empty = 0;
        list_for_each_entry (struct page, p, &c->partial, link) {
            KASSERT(p->flags == PG_SLAB && p->cache_id == i && p->aux != NO_OBJECT);
            u32 n_free = 0;
            for (u32 at = p->aux; at != NO_OBJECT; n_free++) {
                KASSERT(at < PAGE_SIZE && at % c->size == 0 && n_free < c->per_slab);
                at = *(u32 *)((char *)page_address(p) + at);
            }
            KASSERT(n_free + p->mapcount == c->per_slab);
            empty += p->mapcount == 0;
        }
        KASSERT(empty == c->n_empty);
        spin_unlock(&c->lock);
    }
}
