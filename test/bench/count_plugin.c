// SPDX-License-Identifier: BSD-2-Clause
// A QEMU TCG plugin that counts guest instructions and says how many were executed when given addresses
// were first reached, and in all at the end:
//
//     qemu-system-x86_64 -plugin ./count.so,at=0x401000,at=0x401234,out=counts.txt -d plugin ...
//
// Each line of the output file: the address, or `end`, and the count. A translation block counts when it is
// entered, so a fault in the middle of one counts its rest too: a few in a thousand at most. With call=ADDRESS (several)
// a third figure says how often these addresses, the entries of functions, were reached until then. Each virtual CPU
// counts for itself; what is told is the sum. With each=ADDRESS every arrival there is a line of its own, `each` and the count.
//
// Debian ships no header for plugins, so the few declarations used stand here (QEMU's plugin API documentation,
// "QEMU TCG Plugins"). They have been the same since API version 1; QEMU checks the version we export, which
// the Makefile picks for the QEMU it finds.
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PLUGIN_API
#define PLUGIN_API 1
#endif
#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
typedef struct qemu_info qemu_info;
enum { CB_NO_REGS = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id,
                                           void (*cb)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*cb)(unsigned, void *),
                                          int flags, void *data);
void qemu_plugin_register_atexit_cb(plugin_id id, void (*cb)(plugin_id, void *), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);

EXPORT int qemu_plugin_version = PLUGIN_API;
EXPORT int qemu_plugin_install(plugin_id id, const qemu_info *info, int argc, char **argv);

enum { MARKS_MAX = 8, CALLS_MAX = 8, CPUS_MAX = 64, EACH_MAX = 256 };
static struct mark {
    uint64_t address;
    uint64_t count, calls;
    bool seen;
} marks[MARKS_MAX];
static int n_marks;
static uint64_t calls[CALLS_MAX];
static int n_calls;
static struct {
    uint64_t executed, called;
    char apart[48];
} cpus[CPUS_MAX];
static uint64_t each_address, each_counts[EACH_MAX];
static int n_each;
static const char *out_path;

static void sum(uint64_t *executed, uint64_t *called)
{
    *executed = *called = 0;
    for (int i = 0; i < CPUS_MAX; i++) {
        *executed += cpus[i].executed;
        *called += cpus[i].called;
    }
}

static void on_exec(unsigned cpu, void *data) { cpus[cpu % CPUS_MAX].executed += (uintptr_t)data; }

static void on_exec_call(unsigned cpu, void *data)
{
    (void)data;
    cpus[cpu % CPUS_MAX].called++;
}

static void on_exec_mark(unsigned cpu, void *data)
{
    struct mark *mark = data;
    (void)cpu;
    if (!mark->seen) {
        mark->seen = true;
        sum(&mark->count, &mark->calls);
    }
}

static void on_exec_each(unsigned cpu, void *data)
{
    uint64_t called;
    (void)cpu;
    (void)data;
    if (n_each < EACH_MAX)
        sum(&each_counts[n_each++], &called);
}

static void on_translate(plugin_id id, struct qemu_plugin_tb *tb)
{
    (void)id;
    for (int i = 0; i < n_marks; i++)
        if (qemu_plugin_tb_vaddr(tb) == marks[i].address)
            qemu_plugin_register_vcpu_tb_exec_cb(tb, on_exec_mark, CB_NO_REGS, &marks[i]);
    for (int i = 0; i < n_calls; i++)
        if (qemu_plugin_tb_vaddr(tb) == calls[i])
            qemu_plugin_register_vcpu_tb_exec_cb(tb, on_exec_call, CB_NO_REGS, NULL);
    if (each_address && qemu_plugin_tb_vaddr(tb) == each_address)
        qemu_plugin_register_vcpu_tb_exec_cb(tb, on_exec_each, CB_NO_REGS, NULL);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_exec, CB_NO_REGS,
                                         (void *)(uintptr_t)qemu_plugin_tb_n_insns(tb));
}

static void on_exit_report(plugin_id id, void *data)
{
    FILE *out = out_path ? fopen(out_path, "w") : stderr;
    (void)id;
    (void)data;
    if (!out)
        return;
    uint64_t executed, called;
    for (int i = 0; i < n_marks; i++)
        if (marks[i].seen)
            fprintf(out, "%#" PRIx64 " %" PRIu64 " %" PRIu64 "\n", marks[i].address, marks[i].count,
                    marks[i].calls);
    for (int i = 0; i < n_each; i++)
        fprintf(out, "each %" PRIu64 "\n", each_counts[i]);
    sum(&executed, &called);
    fprintf(out, "end %" PRIu64 " %" PRIu64 "\n", executed, called);
    fclose(out);
}

int qemu_plugin_install(plugin_id id, const qemu_info *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "at=", 3) && n_marks < MARKS_MAX)
            marks[n_marks++].address = strtoull(argv[i] + 3, NULL, 0);
        else if (!strncmp(argv[i], "call=", 5) && n_calls < CALLS_MAX)
            calls[n_calls++] = strtoull(argv[i] + 5, NULL, 0);
        else if (!strncmp(argv[i], "each=", 5))
            each_address = strtoull(argv[i] + 5, NULL, 0);
        else if (!strncmp(argv[i], "out=", 4))
            out_path = strdup(argv[i] + 4);
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_exit_report, NULL);
    return 0;
}
