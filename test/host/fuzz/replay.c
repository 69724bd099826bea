// SPDX-License-Identifier: BSD-2-Clause
// replay.c: calls a fuzz target without libFuzzer: with each file of a folder, and with files that are changed, cut
// and put together at random.
//
//   TARGET ROUNDS FOLDER|FILE...
//
// A round that fails leaves its bytes in ./replay-failed (REPLAY_FAILED names another place).
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUTS_MAX = 256, SIZE_MAX_BYTES = 1 << 16 };
static struct {
    uint8_t *data;
    size_t size;
} inputs[INPUTS_MAX];
static unsigned n_inputs;

static uint64_t state = 88172645463325252ull;
static uint64_t random_below(uint64_t n)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state % n;
}

static void load_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f || n_inputs == INPUTS_MAX) {
        perror(path);
        exit(2);
    }
    inputs[n_inputs].data = malloc(SIZE_MAX_BYTES);
    inputs[n_inputs].size = fread(inputs[n_inputs].data, 1, SIZE_MAX_BYTES, f);
    n_inputs++;
    fclose(f);
}

static void load(const char *path)
{
    struct stat st;
    struct dirent **names;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        load_file(path);
        return;
    }
    int n = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            load_file(name);
        free(names[i]);
    }
    free(names);
}

// Runs on a copy of exactly that size, so that one byte read too many is seen. The file goes when all went well.
static void try_bytes(const uint8_t *data, size_t size)
{
    const char *name = getenv("REPLAY_FAILED");
    FILE *f = fopen(name ? name : "replay-failed", "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0)
        exit(2);
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    remove(name ? name : "replay-failed");
}

static void mutated_round(void)
{
    static uint8_t bytes[2 * SIZE_MAX_BYTES];
    unsigned a = (unsigned)random_below(n_inputs), b = (unsigned)random_below(n_inputs);
    size_t size = inputs[a].size;
    memcpy(bytes, inputs[a].data, size);
    if (random_below(4) == 0)
        size = random_below(size + 1);
    if (random_below(4) == 0) {
        memcpy(bytes + size, inputs[b].data, inputs[b].size);
        size += inputs[b].size;
    }
    for (uint64_t n = random_below(8); n && size; n--) {
        size_t at = random_below(size);
        static const uint8_t extremes[] = {0, 1, 0x7f, 0x80, 0xff, '%', '\n'};
        bytes[at] =
            random_below(2) ? (uint8_t)random_below(256) : extremes[random_below(sizeof extremes)];
    }
    try_bytes(bytes, size);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: %s ROUNDS FOLDER|FILE...\n", argv[0]);
        return 2;
    }
    for (int i = 2; i < argc; i++)
        load(argv[i]);
    for (unsigned i = 0; i < n_inputs; i++)
        try_bytes(inputs[i].data, inputs[i].size);
    for (long n = atol(argv[1]); n > 0 && n_inputs; n--)
        mutated_round();
    return 0;
}
