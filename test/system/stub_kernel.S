// SPDX-License-Identifier: BSD-2-Clause
// A stand-in for the kernel, for tests of the tool: boots by PVH, obeys its command line and ends. Words:
//
//   say=TEXT      TEXT goes to the console, with a newline
//   tell=TEXT     TEXT goes to the control channel, '+' as a blank, with a newline
//   echo          copies the console's input back until a ^D comes
//   hang          halts for ever
//   reset         resets the machine
// At the end it leaves through the debug-exit port.
    .section .note.pvh, "a", @note
    .long 4, 4, 18 // name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long start

    .text
    .code32
    .globl start
start: // ebx: hvm_start_info; its u64 cmdline_paddr is at offset 24 (Xen: include/public/arch-x86/hvm/start_info.h)
    movl 24(%ebx), %esi
next_word:
    movb (%esi), %al
    testb %al, %al
    jz leave
    cmpb $' ', %al
    jne word
    incl %esi
    jmp next_word
word:
    movl $commands, %edi
try:
    movl (%edi), %ebp // the command's text, its length, its code
    testl %ebp, %ebp
    jz skip
    movl 4(%edi), %ecx
    xorl %edx, %edx
compare:
    movb (%ebp, %edx), %al
    cmpb (%esi, %edx), %al
    jne other
    incl %edx
    cmpl %ecx, %edx
    jb compare
    addl %ecx, %esi
    jmp *8(%edi)
other:
    addl $12, %edi
    jmp try
skip:
    movb (%esi), %al
    testb %al, %al
    jz leave
    cmpb $' ', %al
    je next_word
    incl %esi
    jmp skip

say:
    movw $0x3f8, %dx
    jmp put_word
tell:
    movw $0xe9, %dx
put_word:
    movb (%esi), %al
    testb %al, %al
    jz put_end
    cmpb $' ', %al
    je put_end
    cmpb $'+', %al
    jne 1f
    movb $' ', %al
1:  outb %al, %dx
    incl %esi
    jmp put_word
put_end:
    movb $'\n', %al
    outb %al, %dx
    jmp next_word

echo:
    movw $0x3fd, %dx // line status: bit 0, a byte has come
    inb %dx, %al
    testb $1, %al
    jz echo
    movw $0x3f8, %dx
    inb %dx, %al
    cmpb $4, %al
    je next_word
    outb %al, %dx
    jmp echo

hang:
    cli
    hlt
    jmp hang

reset:
    lidt no_idt
    int3
    jmp hang

leave:
    movw $0x501, %dx
    xorl %eax, %eax
    outl %eax, %dx
    jmp hang

no_idt:
    .word 0
    .long 0

commands:
    .long t_say, 4, say
    .long t_tell, 5, tell
    .long t_echo, 4, echo
    .long t_hang, 4, hang
    .long t_reset, 5, reset
    .long 0
t_say:   .ascii "say="
t_tell:  .ascii "tell="
t_echo:  .ascii "echo"
t_hang:  .ascii "hang"
t_reset: .ascii "reset"
