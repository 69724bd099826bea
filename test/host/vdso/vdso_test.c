// SPDX-License-Identifier: BSD-2-Clause
// vdso_test.c: the vDSO image on the host: its ELF structure as loaders read it, and its functions on
// a clock page that this test fills in, on a stack with 104 bytes left in front of a guard.
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "core/time.h"

#define PAGE 4096
static int failures;
#define CHECK(cond, ...)                                \
    do {                                                \
        if (!(cond) && failures++ < 20) {               \
            printf("vdso_test.c:%d: " #cond, __LINE__); \
            printf(" " __VA_ARGS__);                    \
            printf("\n");                               \
        }                                               \
    } while (0)

static char *image;
static struct vdso_data *data;
static const Elf64_Sym *symtab;
static const char *strtab;
static const u32 *hash, *gnu_hash;
static const u16 *versym;
static const char *verdef;

static void map_image(const char *path)
{
    int fd = open(path, O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) {
        perror(path);
        exit(1);
    }
    size_t len = ((size_t)st.st_size + PAGE - 1) & ~(size_t)(PAGE - 1);
    char *both = mmap(NULL, PAGE + len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    data = (struct vdso_data *)both;
    image = both + PAGE;
    if (read(fd, image, (size_t)st.st_size) != st.st_size)
        exit(1);
    mprotect(image, len, PROT_READ | PROT_EXEC);
    close(fd);
}

static void read_dynamic(void)
{
    const Elf64_Ehdr *eh = (const Elf64_Ehdr *)image;
    const Elf64_Phdr *ph = (const Elf64_Phdr *)(image + eh->e_phoff);
    const Elf64_Dyn *dyn = NULL;
    int loads = 0;
    CHECK(!memcmp(eh->e_ident, ELFMAG, SELFMAG) && eh->e_type == ET_DYN);
    for (int i = 0; i < eh->e_phnum; i++) {
        if (ph[i].p_type == PT_DYNAMIC)
            dyn = (const Elf64_Dyn *)(image + ph[i].p_vaddr);
        if (ph[i].p_type == PT_LOAD) {
            loads++;
            CHECK(ph[i].p_vaddr == 0 && ph[i].p_offset == 0 && ph[i].p_filesz == ph[i].p_memsz);
            CHECK(ph[i].p_flags == (PF_R | PF_X));
        }
    }
    CHECK(loads == 1 && dyn);
    for (; dyn->d_tag != DT_NULL; dyn++) {
        const char *at = image + dyn->d_un.d_ptr;
        switch (dyn->d_tag) {
        case DT_SYMTAB: symtab = (const void *)at; break;
        case DT_STRTAB: strtab = at; break;
        case DT_HASH: hash = (const void *)at; break;
        case DT_GNU_HASH: gnu_hash = (const void *)at; break;
        case DT_VERSYM: versym = (const void *)at; break;
        case DT_VERDEF: verdef = at; break;
        case DT_RELA:
        case DT_REL:
        case DT_JMPREL:
        case DT_NEEDED: CHECK(0, "dynamic tag %ld", (long)dyn->d_tag); break;
        default: break;
        }
    }
    CHECK(symtab && strtab && hash && gnu_hash && versym && verdef);
}

// As Go and musl find a version: walk DT_VERDEF to LINUX_2.6.
static unsigned version_index(const char *name)
{
    for (const char *p = verdef;;) {
        const Elf64_Verdef *d = (const void *)p;
        const Elf64_Verdaux *aux = (const void *)(p + d->vd_aux);
        if (!(d->vd_flags & VER_FLG_BASE) && !strcmp(strtab + aux->vda_name, name))
            return d->vd_ndx & 0x7fff;
        if (!d->vd_next)
            return 0;
        p += d->vd_next;
    }
}

static unsigned long sysv_hash(const char *s)
{
    unsigned long h = 0, g;
    while (*s) {
        h = (h << 4) + (unsigned char)*s++;
        if ((g = h & 0xf0000000))
            h ^= g >> 24;
        h &= ~g;
    }
    return h;
}

static void *find(const char *name)
{
    unsigned want = version_index("LINUX_2.6");
    u32 n_buckets = hash[0];
    for (u32 i = hash[2 + sysv_hash(name) % n_buckets]; i; i = hash[2 + n_buckets + i]) {
        if (!strcmp(strtab + symtab[i].st_name, name) && symtab[i].st_shndx != SHN_UNDEF &&
            (versym[i] & 0x7fff) == want)
            return image + symtab[i].st_value;
    }
    CHECK(0, "no %s", name);
    exit(1);
}

// Calls fn(a, b) on a stack with 104 bytes below the return address, then an unmapped page.
static long call_on_small_stack(void *fn, long a, long b)
{
    static char *stack;
    if (!stack) {
        stack = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(stack, PAGE, PROT_NONE);
    }
    char *sp = stack + PAGE + 104 + 8;
    long result;
    __asm__ volatile("movq %%rsp, %%rbx\n\tmovq %4, %%rsp\n\tcall *%1\n\tmovq %%rbx, %%rsp"
                     : "=a"(result)
                     : "r"(fn), "D"(a), "S"(b), "r"(sp)
                     : "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc");
    return result;
}

static const u64 hz = 2400000000ull;

static void set_clock(u64 mono_ns, u64 real_ns, bool readable)
{
    data->seq = readable ? 2 : 3;
    data->mode = readable;
    data->base_count = __rdtsc();
    data->rate = (0 - hz) / hz + 1;
    data->base[VDSO_MONOTONIC] = data->base[VDSO_BOOTTIME] = vdso_time_from_ns(mono_ns);
    data->base[VDSO_REALTIME] = vdso_time_from_ns(real_ns);
}

// A reading a few counts after the base.
static bool near(u64 sec, u64 ns, u64 base_ns)
{
    u64 now = sec * NSEC_PER_SEC + ns;
    return ns < NSEC_PER_SEC && now >= base_ns && now - base_ns < 100 * NSEC_PER_MSEC;
}

static void test_clocks(void)
{
    void *gettime = find("__vdso_clock_gettime"), *tod = find("__vdso_gettimeofday");
    void *seconds = find("__vdso_time"), *getcpu = find("__vdso_getcpu");
    CHECK(find("clock_gettime") == gettime && find("gettimeofday") == tod);
    CHECK(find("time") == seconds && find("getcpu") == getcpu && find("clock_getres"));

    const u64 mono = 1234567890123ull, real = 1700000000999999999ull;
    const int mono_clocks[] = {1, 4, 6, 7}, real_clocks[] = {0, 5, 11};
    struct timespec ts;
    for (int i = 0; i < 4; i++) {
        set_clock(mono, real, true);
        CHECK(call_on_small_stack(gettime, mono_clocks[i], (long)&ts) == 0);
        CHECK(near((u64)ts.tv_sec, (u64)ts.tv_nsec, mono), "clock %d", mono_clocks[i]);
    }
    for (int i = 0; i < 3; i++) {
        set_clock(mono, real, true);
        CHECK(call_on_small_stack(gettime, real_clocks[i], (long)&ts) == 0);
        CHECK(near((u64)ts.tv_sec, (u64)ts.tv_nsec, real), "clock %d", real_clocks[i]);
    }
    struct timeval tv;
    struct timezone tz = {1, 1};
    set_clock(mono, real, true);
    CHECK(call_on_small_stack(tod, (long)&tv, (long)&tz) == 0);
    CHECK(near((u64)tv.tv_sec, (u64)tv.tv_usec * 1000 + 999, real) && tz.tz_minuteswest == 0);
    long t = 0;
    CHECK(call_on_small_stack(seconds, (long)&t, 0) == t && t == (long)(real / NSEC_PER_SEC) + 1);
    CHECK(call_on_small_stack(seconds, 0, 0) == t);

    // What the vDSO does not answer, the host's kernel does.
    CHECK(call_on_small_stack(gettime, 2, (long)&ts) == 0);
    CHECK(call_on_small_stack(gettime, 99, (long)&ts) == -22);
    CHECK(call_on_small_stack(gettime, -1, (long)&ts) == -22);
    CHECK(call_on_small_stack(find("__vdso_clock_getres"), 1, (long)&ts) == 0 && ts.tv_nsec == 1);
    set_clock(5, 5, false);
    CHECK(call_on_small_stack(gettime, 1, (long)&ts) == 0 && ts.tv_sec * NSEC_PER_SEC > 1000);
    CHECK(call_on_small_stack(seconds, 0, 0) >= time(NULL) - 1);
    // A counter behind the base: the system call, no wrapped time.
    set_clock(5, 5, true);
    data->base_count += hz;
    CHECK(call_on_small_stack(gettime, 0, (long)&ts) == 0 && ts.tv_sec >= time(NULL) - 1);
    unsigned cpu = 12345, node = 12345;
    CHECK(call_on_small_stack(getcpu, (long)&cpu, (long)&node) == 0 && node == 0);
    CHECK(call_on_small_stack(getcpu, 0, 0) == 0);
}

static void test_never_back(void)
{
    int (*gettime)(int, struct timespec *) = find("__vdso_clock_gettime");
    struct timespec ts;
    u64 last = 0;
    set_clock(999999999ull, 0, true);
    for (int i = 0; i < 200000; i++) {
        gettime(1, &ts);
        u64 now = (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec;
        CHECK(now >= last);
        last = now;
    }
}

// ------------------------------------------------------------------ getrandom

struct random_state {  // as in libc-shim/vdso/getrandom.c
    u8 batch[96];
    u32 key[8];
    u64 generation;
    u8 pos, in_use;
};
typedef ssize_t (*getrandom_fn)(void *, size_t, unsigned, void *, size_t);

static u32 rotl(u32 v, int n) { return v << n | v >> (32 - n); }

static void quarter(u32 *x, int a, int b, int c, int d)
{
    x[a] += x[b], x[d] = rotl(x[d] ^ x[a], 16);
    x[c] += x[d], x[b] = rotl(x[b] ^ x[c], 12);
    x[a] += x[b], x[d] = rotl(x[d] ^ x[a], 8);
    x[c] += x[d], x[b] = rotl(x[b] ^ x[c], 7);
}

static void reference_block(u32 out[16], const u32 key[8], u64 counter)
{
    u32 in[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    memcpy(in + 4, key, 32);
    memcpy(in + 12, &counter, 8);
    memcpy(out, in, 64);
    for (int i = 0; i < 10; i++) {
        quarter(out, 0, 4, 8, 12), quarter(out, 1, 5, 9, 13);
        quarter(out, 2, 6, 10, 14), quarter(out, 3, 7, 11, 15);
        quarter(out, 0, 5, 10, 15), quarter(out, 1, 6, 11, 12);
        quarter(out, 2, 7, 8, 13), quarter(out, 3, 4, 9, 14);
    }
    for (int i = 0; i < 16; i++)
        out[i] += in[i];
}

// One call of len bytes with a known key and an empty batch, against the reference.
static void test_stream(getrandom_fn fn, struct random_state *s, size_t len)
{
    u32 key[8], expect[16 * 20];
    u8 out[1024];
    for (int i = 0; i < 8; i++)
        key[i] = 0x01020304u * (u32)(i + 1);
    size_t direct = len / 64;
    for (u64 i = 0; i < direct + 2; i++)
        reference_block(expect + 16 * i, key, i);
    memcpy(s->key, key, 32);
    s->generation = data->random_generation;
    s->pos = 96;
    memset(out, 0xee, sizeof(out));
    CHECK(fn(out, len, 0, s, sizeof(*s)) == (ssize_t)len, "%zu", len);
    CHECK(!memcmp(out, expect, len), "%zu", len);
    CHECK(out[len] == 0xee && s->in_use == 0, "%zu", len);
    if (len % 64) {
        size_t used = len % 64;
        CHECK(s->pos == used, "%zu: %u", len, s->pos);
        CHECK(!memcmp(s->key, (u8 *)(expect + 16 * direct) + 96, 32), "%zu", len);
        for (size_t i = 0; i < 96; i++)
            CHECK(s->batch[i] == (i < s->pos ? 0 : ((u8 *)(expect + 16 * direct))[i]), "%zu", i);
    }
}

static void test_getrandom(void)
{
    getrandom_fn fn = (getrandom_fn)find("__vdso_getrandom");
    struct {
        u32 size, prot, flags, reserved[13];
    } params;
    memset(&params, 0xff, sizeof(params));
    CHECK(find("getrandom") == (void *)fn);
    CHECK(fn(NULL, 0, 0, &params, ~0ul) == 0);
    CHECK(params.size == sizeof(struct random_state) && params.prot == 3 && params.flags == 0x28);
    CHECK(params.reserved[0] == 0 && params.reserved[12] == 0);

    char *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct random_state *s = (struct random_state *)page;
    u8 a[256] = {0}, b[256] = {0}, zero[256] = {0};
    data->random_generation = 0;  // not seeded: the system call
    CHECK(fn(a, 256, 0, s, sizeof(*s)) == 256 && memcmp(a, zero, 256) && s->generation == 0);
    data->random_generation = 7;
    for (size_t len = 1; len < 600; len++) {
        if (len % 64)  // a multiple of 64 is made in place, and the batch afterwards is of no use
            test_stream(fn, s, len);
    }
    memset(page, 0, PAGE);  // as when the kernel drops the page
    CHECK(fn(a, 256, 0, s, sizeof(*s)) == 256 && memcmp(a, zero, 256) && s->generation == 7);
    CHECK(fn(b, 256, 0, s, sizeof(*s)) == 256 && memcmp(a, b, 256));
    data->random_generation = 8;
    u32 old_key = s->key[0];
    CHECK(fn(b, 1, 0, s, sizeof(*s)) == 1 && s->generation == 8 && s->key[0] != old_key);
    s->in_use = 1;  // from a signal handler
    u8 pos = s->pos;
    CHECK(fn(b, 64, 0, s, sizeof(*s)) == 64 && s->pos == pos && s->in_use == 1);
    s->in_use = 0;
    CHECK(fn(b, 0, 0, s, sizeof(*s)) == 0);
    CHECK(fn(b, 8, 0x1000, s, sizeof(*s)) == -22 && fn(b, 8, 0, s, 10) == 8);
    CHECK(fn(b, 8, 0, page + PAGE - 100, sizeof(*s)) == -14);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    map_image(argv[1]);
    read_dynamic();
    test_clocks();
    test_never_back();
    test_getrandom();
    for (u64 ns = 0; ns < NSEC_PER_SEC; ns += 997) {
        struct vdso_time t = vdso_time_from_ns(7 * NSEC_PER_SEC + ns);
        u64 sec, got = vdso_time_read(&t, 1, 0, &sec);
        CHECK(sec == 7 && got == ns, "%lu", (unsigned long)ns);
    }
    return failures != 0;
}
