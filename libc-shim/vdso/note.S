// SPDX-License-Identifier: BSD-2-Clause
// note.S: the note by which programs learn the version of the Linux interface (LINUX_VERSION_CODE).

    .section .note.lethe, "a", %note
    .balign 4
    .long 6, 4, 0
    .asciz "Linux"
    .balign 4
    .long 0x061200                  // 6.18.0

    .section .note.GNU-stack, "", %progbits
