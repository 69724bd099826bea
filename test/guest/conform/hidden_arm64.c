// SPDX-License-Identifier: BSD-2-Clause
// Vector extensions and tags that a kernel may hide from arm64 programs (SVE, SME, memory tagging): every place that tells of
// them tells the same, and where they are hidden, their instructions are none. Sources:
// Documentation/arch/arm64/{sve,sme,elf_hwcaps,cpu-feature-registers,memory-tagging-extension}.rst, prctl(2).
#include "harness.h"

#if defined __aarch64__

#include <sys/auxv.h>
#include <sys/prctl.h>

#define READ_ID(name)                                      \
    ({                                                     \
        unsigned long value_;                              \
        __asm__ volatile("mrs %0, " #name : "=r"(value_)); \
        value_;                                            \
    })
#define HAS(bit) (getauxval(AT_HWCAP) >> (bit)&1)
#define HAS2(bit) (getauxval(AT_HWCAP2) >> (bit)&1)
#define SVE_OF_HWCAP2 0x1e7eul                                                // 1 .. 6, 9 .. 12
#define SME_OF_HWCAP2 0x7f800000ul                                            // 23 .. 30
enum { SVE_SET_VL = 50, SVE_GET_VL = 51, SME_SET_VL = 63, SME_GET_VL = 64 };  // of prctl(2)
enum { SET_TAGGED_ADDR = 55, TAGGED_ADDR_ENABLE = 1, MTE_SYNC = 2 };

#define CHECK_NO_INSTRUCTION(...)                                     \
    do {                                                              \
        CHECK_EQ(CATCH_FAULT(__asm__ volatile(__VA_ARGS__)), SIGILL); \
        CHECK_EQ(fault_seen.code, ILL_ILLOPC);                        \
    } while (0)

static char features[2048];  // of the first CPU in /proc/cpuinfo, each with a space on both sides

static int told(const char *name)
{
    char word[32];
    snprintf(word, sizeof word, " %s ", name);
    return strstr(features, word) != NULL;
}

static void read_features(void)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[sizeof features];
    while (!features[0] && fgets(line, sizeof line, file))
        if (!strncmp(line, "Features", 8)) {
            line[strcspn(line, "\n")] = 0;
            snprintf(features, sizeof features, "%.2000s ", strchr(line, ':') + 1);
        }
    fclose(file);
}

TEST(features_of_cpuinfo_are_the_capabilities)
{
    static const struct {
        int word, bit;
        const char *name;
    } known[] = {{1, 0, "fp"},      {1, 1, "asimd"},  {1, 3, "aes"},    {1, 7, "crc32"},
                 {1, 8, "atomics"}, {1, 11, "cpuid"}, {1, 15, "lrcpc"}, {1, 20, "asimddp"},
                 {1, 22, "sve"},    {1, 30, "paca"},  {1, 31, "pacg"},  {2, 0, "dcpodp"},
                 {2, 1, "sve2"},    {2, 13, "i8mm"},  {2, 14, "bf16"},  {2, 16, "rng"},
                 {2, 17, "bti"},    {2, 18, "mte"},   {2, 23, "sme"}};
    read_features();
    for (unsigned i = 0; i < sizeof known / sizeof *known; i++) {
        CHECK_EQ(told(known[i].name), known[i].word == 1 ? HAS(known[i].bit) : HAS2(known[i].bit));
    }
}

TEST(sve_is_told_of_everywhere_or_nowhere)
{
    unsigned long has = HAS(22);
    CHECK_EQ((READ_ID(id_aa64pfr0_el1) >> 32 & 15) != 0, has);
    if (has)
        SKIP("this CPU and kernel have SVE");
    CHECK_EQ(READ_ID(s3_0_c0_c4_4), 0);  // ID_AA64ZFR0_EL1
    CHECK_EQ(getauxval(AT_HWCAP2) & SVE_OF_HWCAP2, 0);
    CHECK_ERRNO(prctl(SVE_GET_VL), EINVAL);
    CHECK_ERRNO(prctl(SVE_SET_VL, 16), EINVAL);
    CHECK(access("/proc/sys/abi/sve_default_vector_length", F_OK) != 0);
    CHECK_NO_INSTRUCTION(".inst 0x04bf5020" : : : "x0");      // rdvl x0, 1
    CHECK_NO_INSTRUCTION(".inst 0x2518e3e0" : : : "memory");  // ptrue p0.b
}

TEST(sme_is_told_of_everywhere_or_nowhere)
{
    unsigned long has = HAS2(23);
    CHECK_EQ((READ_ID(id_aa64pfr1_el1) >> 24 & 15) != 0, has);
    if (has)
        SKIP("this CPU and kernel have SME");
    CHECK_EQ(READ_ID(s3_0_c0_c4_5), 0);  // ID_AA64SMFR0_EL1
    CHECK_EQ(getauxval(AT_HWCAP2) & SME_OF_HWCAP2, 0);
    CHECK_ERRNO(prctl(SME_GET_VL), EINVAL);
    CHECK_ERRNO(prctl(SME_SET_VL, 16), EINVAL);
    CHECK_NO_INSTRUCTION(".inst 0xd503477f");                  // smstart
    CHECK_NO_INSTRUCTION("mrs x0, s3_3_c13_c0_5" : : : "x0");  // TPIDR2_EL0
}

TEST(memory_tags_are_told_of_everywhere_or_nowhere)
{
    unsigned long has = HAS2(18);
    CHECK_EQ((READ_ID(id_aa64pfr1_el1) >> 8 & 15) >= 2, has);
    if (has)
        SKIP("this CPU and kernel have memory tagging");
    CHECK_ERRNO(prctl(SET_TAGGED_ADDR, TAGGED_ADDR_ENABLE | MTE_SYNC, 0, 0, 0), EINVAL);
    char *p = map_with(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    errno = 0;
    CHECK(mprotect(p, PAGE, PROT_READ | PROT_WRITE | 0x20) == -1 && errno == EINVAL);  // PROT_MTE
    munmap(p, PAGE);
}

#endif
