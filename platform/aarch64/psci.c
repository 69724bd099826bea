// SPDX-License-Identifier: BSD-2-Clause
// psci.c: starting CPUs and ending the machine by the firmware or hypervisor (PSCI, Arm DEN 0022).
#include "platform/aarch64/platform_a64.h"

#define CPU_ON_64 0xc4000003
#define SYSTEM_OFF 0x84000008
#define SYSTEM_RESET 0x84000009
#define NOT_SUPPORTED (-1)

// Registers 0 to 3 carry results; up to 17 may be changed (SMC Calling Convention 1.0).
static long call(u64 function, u64 a, u64 b, u64 c)
{
    register u64 x0 __asm__("x0") = function;
    register u64 x1 __asm__("x1") = a;
    register u64 x2 __asm__("x2") = b;
    register u64 x3 __asm__("x3") = c;
    if (!machine.psci)
        return NOT_SUPPORTED;
#define PSCI_CALL(insn)                                                                       \
    __asm__ volatile(insn " #0"                                                               \
                     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)                                 \
                     :                                                                        \
                     : "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", \
                       "x15", "x16", "x17", "memory")
    if (machine.psci_smc)
        PSCI_CALL("smc");
    else
        PSCI_CALL("hvc");
    return (long)x0;
}

long psci_cpu_on(u32 id, phys_t entry, u64 context)
{
    return call(CPU_ON_64, mpidr_of(id), entry, context);
}

void psci_system_off(void) { call(SYSTEM_OFF, 0, 0, 0); }

void psci_system_reset(void) { call(SYSTEM_RESET, 0, 0, 0); }
