// SPDX-License-Identifier: BSD-2-Clause
// Behind the last byte of .bss the rest of its page reads as zeros, though the file has other bytes there (its
// symbols and section names). A dynamic linker takes its first memory from there. Linked without a C library, so
// that .data and .bss are small and share the file's last page. Ends with 0; 1: no such page; 2: it is not zero.
#include <sys/syscall.h>

extern char _edata[], _end[];
volatile int in_data = 1, in_bss[4];

static _Noreturn void leave(long status)
{
#ifdef __x86_64__
    __asm__ volatile("syscall" : : "a"(SYS_exit_group), "D"(status) : "rcx", "r11", "memory");
#else
    register long number __asm__("x8") = SYS_exit_group, argument __asm__("x0") = status;
    __asm__ volatile("svc #0" : : "r"(number), "r"(argument) : "memory");
#endif
    for (;;) {
    }
}

void _start(void)
{
    const volatile char *p = _end;
    if ((unsigned long)_edata / 4096 != (unsigned long)_end / 4096 || in_data != 1 ||
        in_bss[3] != 0)
        leave(1);
    for (; (unsigned long)p % 4096; p++)
        if (*p)
            leave(2);
    leave(0);
}
