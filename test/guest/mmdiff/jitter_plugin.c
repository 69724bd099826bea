// SPDX-License-Identifier: BSD-2-Clause
// A QEMU TCG plugin that stops a virtual CPU now and then in the middle of the kernel, for as long as a busy host
// would: the others run on and see what it left half done. What a loaded machine shows once in a thousand boots
// shows in a few.
//
//     -plugin ./jitter.so,every=20000,longest=400,seed=7,from=0xffff800000000000
//
//   every    a CPU stops once in about so many translation blocks of the kernel
//   longest  microseconds; most stops are much shorter
//   from     code at and above this address is the kernel
//
// The declarations stand here for the reason told in test/bench/count_plugin.c.
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef PLUGIN_API
#define PLUGIN_API 1
#endif
#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
typedef struct qemu_info qemu_info;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id,
                                           void (*cb)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*cb)(unsigned, void *),
                                          int flags, void *data);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);

EXPORT int qemu_plugin_version = PLUGIN_API;
EXPORT int qemu_plugin_install(plugin_id id, const qemu_info *info, int argc, char **argv);

static uint64_t every = 20000, longest_us = 400, seed = 1, from = 0xffff800000000000ull;
static __thread uint64_t state;
static __thread uint64_t left;

static uint64_t next_random(uint64_t n)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state % n;
}

static void on_exec(unsigned cpu, void *data)
{
    (void)data;
    if (left-- > 0)
        return;
    if (state == 0) {
        state = (seed + cpu) * 0x9e3779b97f4a7c15ull | 1;
    } else {
        uint64_t limit = longest_us >> next_random(8);
        usleep((useconds_t)next_random(limit ? limit : 1));
    }
    left = next_random(2 * every);
}

static void on_translate(plugin_id id, struct qemu_plugin_tb *tb)
{
    (void)id;
    if (qemu_plugin_tb_vaddr(tb) >= from)
        qemu_plugin_register_vcpu_tb_exec_cb(tb, on_exec, 0, NULL);
}

int qemu_plugin_install(plugin_id id, const qemu_info *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        uint64_t n = value ? strtoull(value + 1, NULL, 0) : 0;
        if (!strncmp(argv[i], "every=", 6))
            every = n ? n : 1;
        else if (!strncmp(argv[i], "longest=", 8))
            longest_us = n;
        else if (!strncmp(argv[i], "seed=", 5))
            seed = n;
        else if (!strncmp(argv[i], "from=", 5))
            from = n;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    return 0;
}
