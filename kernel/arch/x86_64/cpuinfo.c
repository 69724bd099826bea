// SPDX-License-Identifier: BSD-2-Clause
// cpuinfo.c: /proc/cpuinfo as Linux words it. Names are Linux's, in the order of the bits; - is a
// bit that Linux does not show.
#include <stdio.h>
#include <string.h>

#include "arch/cpu.h"
#include "core/cpu.h"
#include "core/time.h"

// Names of bits 0.., separated by blanks; - stands for an unnamed bit.
static const char leaf1_edx[] =
    "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - dts acpi "
    "mmx fxsr sse sse2 ss ht tm ia64 pbe";
static const char ext1_edx[] =
    "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm "
    "3dnowext 3dnow";
static const char leaf1_ecx[] =
    "pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - pcid dca "
    "sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave - avx f16c rdrand hypervisor";
static const char ext1_ecx[] =
    "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit "
    "wdt - lwp fma4 tce - nodeid_msr - tbm topoext perfctr_core perfctr_nb - bpext ptsc perfctr_llc "
    "mwaitx";
static const char leaf7_ebx[] =
    "fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f "
    "avx512dq rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er avx512cd sha_ni "
    "avx512bw avx512vl";
static const char leafd1_eax[] = "xsaveopt xsavec xgetbv1 xsaves";
static const char leaf7_ecx[] =
    "- avx512vbmi umip pku ospke waitpkg avx512_vbmi2 - gfni vaes vpclmulqdq avx512_vnni "
    "avx512_bitalg tme avx512_vpopcntdq - la57 - - - - - rdpid - - cldemote - movdiri movdir64b enqcmd";
static const char leaf7_edx[] =
    "- - avx512_4vnniw avx512_4fmaps fsrm - - - avx512_vp2intersect - md_clear - - - serialize - "
    "tsxldtrk - - - ibt - amx_bf16 avx512_fp16 amx_tile amx_int8 - - flush_l1d arch_capabilities";

static size_t put_flags(char *buf, size_t size, const char *names, u32 bits)
{
    size_t n = 0;
    for (u32 bit = 0; *names; bit++) {
        size_t len = strcspn(names, " ");
        if ((bits & 1u << bit) && *names != '-')
            n += scnprintf(buf + n, size - n, " %.*s", (int)len, names);
        names += len;
        names += *names == ' ';
    }
    return n;
}

static size_t put_all_flags(char *buf, size_t size)
{
    const struct x86_features *f = &x86_features;
    struct cpuid ext = cpuid(0x80000001, 0);
    size_t n = put_flags(buf, size, leaf1_edx, f->leaf1_edx);
    n += put_flags(buf + n, size - n, ext1_edx, ext.edx);
    if (f->invariant_tsc)
        n += scnprintf(buf + n, size - n, " constant_tsc nonstop_tsc");
    n += scnprintf(buf + n, size - n, " rep_good nopl cpuid");
    n += put_flags(buf + n, size - n, leaf1_ecx, f->leaf1_ecx);
    n += put_flags(buf + n, size - n, ext1_ecx, ext.ecx);
    n += put_flags(buf + n, size - n, leaf7_ebx, f->leaf7_ebx);
    if (f->xsave)
        n += put_flags(buf + n, size - n, leafd1_eax, cpuid(0xd, 1).eax);
    n += put_flags(buf + n, size - n, leaf7_ecx, f->leaf7_ecx);
    n += put_flags(buf + n, size - n, leaf7_edx, f->leaf7_edx);
    return n;
}

static void brand(char out[49])
{
    struct cpuid r[3];
    for (u32 i = 0; i < 3; i++)
        r[i] = cpuid(0x80000002 + i, 0);
    memcpy(out, r, 48);
    out[48] = '\0';
}

size_t arch_cpuinfo(char *buf, size_t size, u32 cpu)
{
    const struct x86_features *f = &x86_features;
    struct cpuid vendor = cpuid(0, 0), leaf1 = cpuid(1, 0), addr = {0};
    char vendor_id[13] = {0}, name[49] = "unknown", *model_name = name;
    u64 khz = UINT64_MAX / vdso_data->rate / 1000;
    u32 line = (leaf1.ebx >> 8 & 0xff) * 8, apicid = cpus[cpu]->hw_id;

    memcpy(vendor_id, &vendor.ebx, 4);
    memcpy(vendor_id + 4, &vendor.edx, 4);
    memcpy(vendor_id + 8, &vendor.ecx, 4);
    if (f->max_ext_leaf >= 0x80000004)
        brand(name);
    while (*model_name == ' ')
        model_name++;
    if (f->max_ext_leaf >= 0x80000008)
        addr = cpuid(0x80000008, 0);

    size_t n = scnprintf(buf, size,
                         "processor\t: %u\n"
                         "vendor_id\t: %s\n"
                         "cpu family\t: %u\n"
                         "model\t\t: %u\n"
                         "model name\t: %s\n"
                         "stepping\t: %u\n"
                         "cpu MHz\t\t: %lu.%03lu\n"
                         "physical id\t: 0\n"
                         "siblings\t: %u\n"
                         "core id\t\t: %u\n"
                         "cpu cores\t: %u\n"
                         "apicid\t\t: %u\n"
                         "initial apicid\t: %u\n"
                         "fpu\t\t: yes\n"
                         "fpu_exception\t: yes\n"
                         "cpuid level\t: %u\n"
                         "wp\t\t: yes\n"
                         "flags\t\t:",
                         cpu, vendor_id, f->family, f->model, model_name, f->stepping, khz / 1000,
                         khz % 1000, n_cpus, cpu, n_cpus, apicid, apicid, f->max_leaf);
    n += put_all_flags(buf + n, size - n);
    n += scnprintf(buf + n, size - n,
                   "\n"
                   "bugs\t\t:\n"
                   "bogomips\t: %lu.%02lu\n"
                   "clflush size\t: %u\n"
                   "cache_alignment\t: %u\n"
                   "address sizes\t: %u bits physical, %u bits virtual\n"
                   "power management:\n\n",
                   khz / 500, khz / 5 % 100, line, line, addr.eax & 0xff, addr.eax >> 8 & 0xff);
    return n;
}
