// SPDX-License-Identifier: BSD-2-Clause
// fuzz_exec.c: mutated ELF headers and run configurations through the kernel's own parsers, under
// ASan and UBSan. A plan that is accepted must keep every promise of exec/elf.h.
//
// usage: fuzz_exec ROUNDS ELF...      (seeded by round, so a failing round repeats)
//        fuzz_exec -w DIR COUNT ELF   writes COUNT mutated ELFs for the guest to try
#include "exec/config.h"
#include "exec/elf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define USER_END 0x7ffffffff000ul
#define EM_X86_64 62

int log_level;
void klog_line(int level, const char *fmt, ...);
void klog_line(int level, const char *fmt, ...)
{
    (void)level;
    (void)fmt;
}

static unsigned long rng;
static unsigned long next(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    return rng ^= rng << 17;
}

static void seed(unsigned long n)
{
    rng = n * 0x9e3779b97f4a7c15ul + 1;
    next();
}

#define CHECK(cond)                                                                           \
    do {                                                                                      \
        if (!(cond)) {                                                                        \
            fprintf(stderr, "%s:%d: %s (round %lu)\n", __FILE__, __LINE__, #cond, round_now); \
            exit(1);                                                                          \
        }                                                                                     \
    } while (0)
static unsigned long round_now;

static void check_plan(const struct elf_image *im, u64 size)
{
    u64 before = 0;
    CHECK(im->n_segments > 0 && im->n_segments <= ELF_MAX_PHDRS);
    CHECK(im->start <= im->end && im->end <= USER_END);
    CHECK(im->align >= PAGE_SIZE && !(im->align & (im->align - 1)));
    CHECK(!im->interp_size || im->interp_offset + im->interp_size <= size);
    for (u32 i = 0; i < im->n_segments; i++) {
        const struct elf_segment *s = &im->segments[i];
        CHECK(IS_ALIGNED(s->map_start, PAGE_SIZE) && IS_ALIGNED(s->file_offset, PAGE_SIZE));
        CHECK(s->map_start >= before && s->map_start <= s->file_end && s->file_end <= s->mem_end);
        CHECK(s->mem_end <= USER_END && s->map_start >= im->start && s->mem_end <= im->end);
        CHECK(s->file_end == s->map_start || s->file_offset + (s->file_end - s->map_start) <= size);
        before = s->map_start;
    }
}

// => true if the parsers accepted the bytes
static bool try_elf(const u8 *bytes, u64 size)
{
    struct elf_header header;
    static struct elf_image image;
    u64 offset, phdrs_size;
    if (size < sizeof header)
        return false;
    memcpy(&header, bytes, sizeof header);
    if (elf_check_header(&header, size, EM_X86_64, &offset, &phdrs_size))
        return false;
    CHECK(offset <= size && phdrs_size <= size - offset);
    struct elf_phdr *phdrs = malloc(phdrs_size);
    memcpy(phdrs, bytes + offset, phdrs_size);
    enum elf_error err = elf_plan(&header, phdrs, size, USER_END, &image);
    free(phdrs);
    if (!err)
        check_plan(&image, size);
    else
        CHECK(strcmp(elf_error_text(err), "unknown"));
    return !err;
}

// Changes some fields of the file header or the program headers, mostly to nasty values.
static void mutate(u8 *bytes, u64 size)
{
    static const u64 nasty[] = {
        0,         1,        0xfff,     0x1000, 0x7fffffff, 0x80000000,          0xffffffff,
        1ul << 47, USER_END, 1ul << 63, ~0ul,   ~0xffful,   0x7ffffffffffffffful};
    u64 limit = MIN(size, (u64)(64 + 56 * 16));
    for (unsigned n = 1 + next() % 4; n; n--) {
        u64 at = next() % 3 ? 64 + next() % (limit - 64) : next() % limit;
        u64 value = next() % 2 ? nasty[next() % ARRAY_SIZE(nasty)] : next();
        size_t width = (size_t)1 << next() % 4;
        at -= at % width;
        if (at + width <= size)
            memcpy(bytes + at, &value, width);
    }
}

static u8 *load(const char *path, u64 *size)
{
    FILE *f = fopen(path, "rb");
    u8 *bytes = malloc(1 << 24);
    if (!f || !bytes) {
        perror(path);
        exit(2);
    }
    *size = fread(bytes, 1, 1 << 24, f);
    fclose(f);
    return bytes;
}

static void fuzz_elf(const char *path, unsigned long rounds)
{
    u64 size, accepted = 0;
    u8 *original = load(path, &size);
    CHECK(try_elf(original, size));
    for (round_now = 1; round_now <= rounds; round_now++) {
        seed(round_now);
        u64 cut = next() % 8 ? size : next() % (size + 1);
        u8 *bytes = malloc(cut ? cut : 1);
        memcpy(bytes, original, cut);
        if (cut > 128)
            mutate(bytes, cut);
        accepted += try_elf(bytes, cut);
        free(bytes);
    }
    CHECK(accepted > 0 && accepted < rounds);
    free(original);
}

static void fuzz_config(unsigned long rounds)
{
    static const char base[] = "lethe-config 1\nprogram /bin/app\narg app\narg %20x%25\nenv A=b\n"
                               "cwd /\nhostname h\nenv EMPTY=\nunknown thing\n";
    for (round_now = 1; round_now <= rounds; round_now++) {
        struct run_config c;
        u32 line;
        seed(round_now);
        size_t len = round_now == 1 ? sizeof base - 1 : next() % sizeof base;
        char *text = malloc(len + 1), *args = malloc(len + 32), *env = malloc(len + 1);
        memcpy(text, base, len);
        text[len] = 0;
        for (unsigned n = round_now == 1 ? 0 : next() % 4; n && len; n--)
            text[next() % len] = "%\n\0 az0\xff"[next() % 8];
        const char *error = config_parse(text, len, args, env, &c, &line);
        if (round_now == 1) {
            CHECK(!error && c.argc == 2 && c.envc == 2 && !strcmp(c.program, "/bin/app"));
            CHECK(!memcmp(c.args, "app\0 x%", 8) && !strcmp(c.cwd, "/"));
        }
        CHECK(error || (c.program && c.argc > 0));
        free(text);
        free(args);
        free(env);
    }
}

// For test/host/fuzz: an ELF file, or the text of a configuration.
int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    struct run_config c;
    u32 line;
    if (size >= 4 && !memcmp(data, "\177ELF", 4)) {
        try_elf(data, size);
        return 0;
    }
    char *text = malloc(size + 1), *args = malloc(size + 32), *env = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = 0;
    const char *error = config_parse(text, size, args, env, &c, &line);
    CHECK(error || (c.program && c.argc > 0));
    free(text);
    free(args);
    free(env);
    return 0;
}

static void write_mutants(const char *dir, unsigned long count, const char *path)
{
    u64 size;
    u8 *original = load(path, &size), *bytes = malloc(size);
    for (unsigned long n = 0, round = 1; n < count; round++) {
        char name[4096];
        seed(round);
        memcpy(bytes, original, size);
        mutate(bytes, size);
        snprintf(name, sizeof name, "%s/mutant-%03lu", dir, n++);
        FILE *f = fopen(name, "wb");
        if (!f || fwrite(bytes, 1, size, f) != size || fclose(f)) {
            perror(name);
            exit(2);
        }
    }
    free(original);
    free(bytes);
}

int main(int argc, char **argv)
{
    if (argc == 5 && !strcmp(argv[1], "-w")) {
        write_mutants(argv[2], strtoul(argv[3], NULL, 10), argv[4]);
        return 0;
    }
    if (argc < 3) {
        fprintf(stderr, "usage: fuzz_exec ROUNDS ELF... | fuzz_exec -w DIR COUNT ELF\n");
        return 2;
    }
    unsigned long rounds = strtoul(argv[1], NULL, 10);
    for (int i = 2; i < argc; i++)
        fuzz_elf(argv[i], rounds);
    fuzz_config(rounds);
    return 0;
}
