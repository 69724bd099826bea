// SPDX-License-Identifier: BSD-2-Clause
// For kernel/arch/<arch>/asm_offsets.c only: constants that assembly needs and only the C compiler knows.
// The build compiles that file to assembly and turns every marked line into a #define of
// <build>/gen/asm_offsets.h, which .S files include as "asm_offsets.h".
//
//     #include "mk/asm_offsets.h"
//     void asm_offsets(void)
//     {
//         ASM_OFFSET(THREAD_SP, struct thread, sp);
//         ASM_CONST(TRAP_FRAME_SIZE, sizeof(struct trap_frame));
//     }
#ifndef LETHE_MK_ASM_OFFSETS_H
#define LETHE_MK_ASM_OFFSETS_H

#define ASM_CONST(name, value) __asm__ volatile("\n.ascii \"->" #name " %c0\"" ::"i"((long)(value)))
#define ASM_OFFSET(name, type, member) ASM_CONST(name, __builtin_offsetof(type, member))

void asm_offsets(void);

#endif
