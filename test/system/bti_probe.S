// SPDX-License-Identifier: BSD-2-Clause
// Calls an address without a landing pad: in guarded code that is SIGILL, else it ends with status 0. With NOTE the file says that its
// code is to be guarded.
    .text
    .globl _start
_start:
    hint #34                        // BTI C
    adr x9, 1f
    blr x9
    mov x0, #0
    mov x8, #94                     // exit_group
    svc #0
1:  nop
    ret

#ifdef NOTE
    .section .note.gnu.property, "a", %note
    .balign 8
    .long 4, 16, 5                  // of the name, of the data; NT_GNU_PROPERTY_TYPE_0
    .asciz "GNU"
    .long 0xc0000000, 4, NOTE, 0    // GNU_PROPERTY_AARCH64_FEATURE_1_AND
#endif
    .section .note.GNU-stack, "", %progbits
