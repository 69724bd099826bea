// SPDX-License-Identifier: BSD-2-Clause
// mbr.S: the first sector. The BIOS puts it at 0x7c00 and enters in real mode with the disk's number in DL; it reads the record
// and stage 2 to 0x8000 (boot/record.h) and goes on there. No address in it depends on the image, so it is never patched.
    .code16
    .globl _start
_start:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    ljmp $0, $1f
1:  sti
    cld
    movw $0x55aa, %bx
    movb $0x41, %ah                 // are there the extensions of INT 13h?
    int $0x13
    jc 9f
    cmpw $0xaa55, %bx
    jne 9f
    movw $packet, %si
    movb $0x42, %ah
    int $0x13
    jc 9f
    movw $magic, %si
    movw $0x8000, %di
    movw $8, %cx
    repe cmpsb
    jne 9f
    ljmp $0, $0x8800
9:  movw $text, %si
2:  lodsb
    testb %al, %al
    jz 3f
    movb $0x0e, %ah
    movw $7, %bx
    int $0x10
    jmp 2b
3:  hlt
    jmp 3b

packet:
    .byte 16, 0
    .word 30, 0x8000, 0             // sectors, offset, segment
    .quad 34
magic:
    .ascii "LETHEBR1"
text:
    .asciz "lethe: cannot read the disk\r\n"
    .org 440
