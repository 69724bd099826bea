// SPDX-License-Identifier: BSD-2-Clause
// vdso_image.S: the finished vDSO inside the kernel, in whole pages. Only what a program sees mapped:
// section headers are cut off, and the ELF header says so (e_shoff, e_shnum, e_shstrndx = 0).

    // The linker script puts it first behind a page boundary. It does not ask for one, which would pad the file as well.
    .section .rodata.vdso_image, "a"
    .balign 64
    .globl vdso_image_start, vdso_image_end
vdso_image_start:
    .incbin VDSO_IMAGE, 0, 0x28
    .quad 0                         // e_shoff
    .incbin VDSO_IMAGE, 0x30, 0xc
    .short 0, 0                     // e_shnum, e_shstrndx
    .incbin VDSO_IMAGE, 0x40, VDSO_LEN - 0x40
    .org vdso_image_start + (VDSO_LEN + 4095) / 4096 * 4096
vdso_image_end:

// Where a signal handler returns to, on architectures whose programs name no place themselves; else 0.
    .section .rodata.vdso_sigreturn, "a"
    .balign 8
    .globl vdso_sigreturn_offset
vdso_sigreturn_offset:
    .quad VDSO_SIGRETURN

    .section .note.GNU-stack, "", %progbits
