// SPDX-License-Identifier: BSD-2-Clause
// From a report of the bug that this kernel exists not to have: an madvise(MADV_DONTNEED) that succeeds and does
// nothing. Prints nothing and exits 0 when the advice is honoured.
#include <stdio.h>
#include <sys/mman.h>

int main(void)
{
    volatile unsigned char *p =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return perror("mmap"), 1;
    p[0] = 1;
    if (madvise((void *)p, 4096, MADV_DONTNEED) != 0)
        return perror("madvise"), 1;
    if (p[0] != 0)
        return printf("the byte still reads %d\n", p[0]), 1;
    if (munmap((void *)p, 4096) != 0)
        return perror("munmap"), 1;
    return 0;
}
