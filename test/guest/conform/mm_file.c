// SPDX-License-Identifier: BSD-2-Clause
// Mapped files and shared memory: coherence with read and write, private copies, the end of the file,
// memfd, msync, mincore, mlock. Sources: mmap(2), msync(2), mincore(2), mlock(2), memfd_create(2).
#include "harness.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define RW (PROT_READ | PROT_WRITE)
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif
#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif

// The kinds of file that a mapping may have behind it.
static int open_kind(int kind, size_t len)
{
    return kind == 0 ? new_memfd(len) : new_file("mapped", len, 0);
}

TEST(shared_mapping_and_file_are_one)
{
    for (int kind = 0; kind < 2; kind++) {
        int fd = open_kind(kind, 4 * PAGE);
        char *p = map_with(4 * PAGE, RW, MAP_SHARED, fd);
        char *q = map_with(4 * PAGE, PROT_READ, MAP_SHARED, fd);
        char word[8];
        p[PAGE] = 'x';  // store, then read(2)
        CHECK_EQ(pread(fd, word, 1, PAGE), 1);
        CHECK_EQ(word[0], 'x');
        CHECK_EQ(pwrite(fd, "hello", 5, 2 * PAGE), 5);  // write(2), then load
        CHECK(memcmp(p + 2 * PAGE, "hello", 5) == 0);
        CHECK(memcmp(q + 2 * PAGE, "hello", 5) == 0);
        p[2 * PAGE] = 'j';
        CHECK_EQ(BYTE(q + 2 * PAGE), 'j');  // two mappings
        munmap(p, 4 * PAGE), munmap(q, 4 * PAGE);
        CHECK_EQ(pread(fd, word, 5, 2 * PAGE), 5);  // the data outlives the mapping
        CHECK(memcmp(word, "jello", 5) == 0);
        close(fd);
        unlink("mapped");
    }
}

TEST(private_mapping_copies_on_write)
{
    for (int kind = 0; kind < 2; kind++) {
        int fd = open_kind(kind, 2 * PAGE);
        REQUIRE(pwrite(fd, "aa", 2, 0) == 2 && pwrite(fd, "bb", 2, PAGE) == 2);
        char *p = map_with(2 * PAGE, RW, MAP_PRIVATE, fd);
        CHECK_EQ(BYTE(p), 'a');
        WRITE(p, 'z');
        char c;
        CHECK_EQ(pread(fd, &c, 1, 0), 1);
        CHECK_EQ(c, 'a');
        REQUIRE(pwrite(fd, "cc", 2, 0) == 2 && pwrite(fd, "dd", 2, PAGE) == 2);
        CHECK_EQ(BYTE(p), 'z');  // its own copy stays
        CHECK_EQ(BYTE(p + 1), 'a');
        CHECK_EQ(BYTE(p + PAGE), 'd');  // a page never written follows the file
        munmap(p, 2 * PAGE);
        close(fd);
        unlink("mapped");
    }
}

TEST(private_copy_of_a_page_never_read)
{
    int fd = new_file("f", 2 * PAGE, 5);
    char *p = map_with(2 * PAGE, RW, MAP_PRIVATE, fd);
    WRITE(p + PAGE + 8, 9);  // the first touch is a write
    CHECK_EQ(BYTE(p + PAGE), 6);
    CHECK_EQ(BYTE(p + PAGE + 8), 9);
    munmap(p, 2 * PAGE);
    close(fd);
    unlink("f");
}

TEST(mapping_outlives_the_descriptor_and_the_name)
{
    int fd = new_file("f", 2 * PAGE, 1);
    char *p = map_with(2 * PAGE, RW, MAP_SHARED, fd);
    close(fd);
    unlink("f");
    CHECK_BYTES(p, 1, PAGE);
    memset(p, 7, PAGE);
    CHECK_BYTES(p, 7, PAGE);
    CHECK_OK(msync(p, 2 * PAGE, MS_SYNC));
    munmap(p, 2 * PAGE);
}

TEST(bytes_past_the_end_in_the_last_page_are_zero)
{
    for (int kind = 0; kind < 2; kind++) {
        int fd = open_kind(kind, PAGE);
        REQUIRE_OK(ftruncate(fd, 100));
        char page[100];
        memset(page, 3, sizeof page);
        REQUIRE(pwrite(fd, page, 100, 0) == 100);
        char *p = map_with(PAGE, RW, MAP_SHARED, fd);
        CHECK_BYTES(p, 3, 100);
        CHECK_BYTES(p + 100, 0, PAGE - 100);
        munmap(p, PAGE);
        close(fd);
        unlink("mapped");
    }
}

TEST(sigbus_past_the_end_of_the_file)
{
    for (int kind = 0; kind < 2; kind++) {
        int fd = open_kind(kind, PAGE + 1);
        char *p = map_with(4 * PAGE, RW, MAP_SHARED, fd);
        char *q = map_with(4 * PAGE, RW, MAP_PRIVATE, fd);
        CHECK_NO_FAULT(WRITE(p + 2 * PAGE - 1, 1));  // still in the page of the end
        CHECK_FAULT(READ(p + 2 * PAGE), SIGBUS, BUS_ADRERR, p + 2 * PAGE);
        CHECK_FAULT(WRITE(p + 3 * PAGE + 9, 1), SIGBUS, BUS_ADRERR, p + 3 * PAGE + 9);
        CHECK_FAULT(READ(q + 2 * PAGE + 1), SIGBUS, BUS_ADRERR, q + 2 * PAGE + 1);
        CHECK_FAULT(WRITE(q + 2 * PAGE, 1), SIGBUS, BUS_ADRERR, q + 2 * PAGE);
        REQUIRE_OK(ftruncate(fd, 4 * PAGE));  // growing makes them valid
        CHECK_NO_FAULT(WRITE(p + 3 * PAGE, 1));
        CHECK_EQ(BYTE(q + 3 * PAGE), 1);
        int fds[2];
        REQUIRE_OK(pipe(fds));
        REQUIRE_OK(ftruncate(fd, PAGE));
        CHECK_ERRNO(write(fds[1], p + 2 * PAGE, 1), EFAULT);  // for the kernel it is EFAULT
        close(fds[0]), close(fds[1]);
        munmap(p, 4 * PAGE), munmap(q, 4 * PAGE);
        close(fd);
        unlink("mapped");
    }
}

TEST(truncate_under_a_mapping)
{
    for (int kind = 0; kind < 2; kind++) {
        int fd = open_kind(kind, 4 * PAGE);
        char *p = map_with(4 * PAGE, RW, MAP_SHARED, fd);
        char *q = map_with(4 * PAGE, RW, MAP_PRIVATE, fd);
        memset(p, 1, 4 * PAGE);
        q[3 * PAGE] = 2;  // even private copies past the end go
        REQUIRE_OK(ftruncate(fd, PAGE + 10));
        CHECK_BYTES(p, 1, PAGE + 10);
        CHECK_BYTES(p + PAGE + 10, 0, PAGE - 10);  // the rest of the last page is cleared
        CHECK_FAULT(READ(p + 2 * PAGE), SIGBUS, BUS_ADRERR, p + 2 * PAGE);
        CHECK_FAULT(READ(q + 3 * PAGE), SIGBUS, BUS_ADRERR, q + 3 * PAGE);
        REQUIRE_OK(ftruncate(fd, 4 * PAGE));
        CHECK_BYTES(p + PAGE + 10, 0, 3 * PAGE - 10);  // what was cut off does not come back
        CHECK_EQ(BYTE(q + 3 * PAGE), 0);
        munmap(p, 4 * PAGE), munmap(q, 4 * PAGE);
        close(fd);
        unlink("mapped");
    }
}

TEST(offset_selects_the_part_of_the_file)
{
    int fd = new_file("f", 6 * PAGE, 10);
    char *p = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 3 * PAGE);
    REQUIRE(p != MAP_FAILED);
    CHECK_BYTES(p, 13, PAGE);
    CHECK_BYTES(p + PAGE, 14, PAGE);
    struct vma vma;
    REQUIRE(vma_at(p, &vma));
    CHECK_EQ(vma.offset, 3 * PAGE);
    CHECK_STR(vma.perms, "r--s");
    CHECK(strstr(vma.name, "/f") != NULL);
    struct stat st;
    REQUIRE_OK(fstat(fd, &st));
    CHECK_EQ(vma.inode, st.st_ino);
    REQUIRE_OK(munmap(p, PAGE));  // the rest keeps its own offset
    REQUIRE(vma_at(p + PAGE, &vma));
    CHECK_EQ(vma.offset, 4 * PAGE);
    CHECK_BYTES(p + PAGE, 14, PAGE);
    unlink("f");
    REQUIRE(vma_at(p + PAGE, &vma));
    CHECK(strstr(vma.name, "(deleted)") != NULL);
    munmap(p, 2 * PAGE);
    close(fd);
}

TEST(neighbouring_file_pieces_merge_when_offsets_fit)
{
    int fd = new_memfd(4 * PAGE);
    char *hole = map_hole(6 * PAGE) + PAGE;
    char *a = mmap(hole, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
    char *b = mmap(hole + PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, PAGE);
    CHECK_EQ(a + PAGE, b);
    CHECK_EQ(vma_count(hole, hole + 4 * PAGE), 1);
    char *c = mmap(hole + 2 * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, PAGE);  // wrong offset
    CHECK_EQ(b + PAGE, c);
    CHECK_EQ(vma_count(hole, hole + 4 * PAGE), 2);
    c[0] = 5;
    CHECK_EQ(BYTE(b), 5);  // the same page twice
    munmap(hole, 4 * PAGE);
    close(fd);
}

TEST(shared_anonymous_memory)
{
    char *p = map_with(4 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
    CHECK_BYTES(p, 0, 4 * PAGE);
    memset(p, 1, 4 * PAGE);
    CHECK_OK(madvise(p, 4 * PAGE, MADV_DONTNEED));  // only unmapped
    CHECK_BYTES(p, 1, 4 * PAGE);
    struct vma vma;
    REQUIRE(vma_at(p, &vma));
    CHECK_STR(vma.perms, "rw-s");
    CHECK(strstr(vma.name, "/dev/zero (deleted)") != NULL);
    char *q = mremap(p, 4 * PAGE, 6 * PAGE, MREMAP_MAYMOVE);
    REQUIRE(q != MAP_FAILED);
    CHECK_FAULT(READ(q + 4 * PAGE), SIGBUS, BUS_ADRERR, q + 4 * PAGE);  // the object kept its size
    munmap(q, 6 * PAGE);
}

TEST(memfd_behaves_as_a_file)
{
    int fd = (int)syscall(SYS_memfd_create, "x", 0u);
    REQUIRE(fd >= 0);
    CHECK_EQ(write(fd, "hello", 5), 5);
    CHECK_EQ(lseek(fd, 0, SEEK_END), 5);
    char text[64];
    CHECK_EQ(pread(fd, text, 64, 0), 5);
    struct stat st;
    REQUIRE_OK(fstat(fd, &st));
    CHECK(S_ISREG(st.st_mode));
    CHECK_EQ(st.st_size, 5);
    CHECK_EQ(st.st_nlink, 0);
    char link[64], target[128];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, target, sizeof target - 1);
    CHECK(n > 0);
    target[n > 0 ? n : 0] = 0;
    CHECK_STR(target, "/memfd:x (deleted)");
    close(fd);
    CHECK_ERRNO(syscall(SYS_memfd_create, "x", 0x40000000u), EINVAL);
    CHECK_ERRNO(syscall(SYS_memfd_create, (char *)8, 0u), EFAULT);
    char long_name[300];
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[299] = 0;
    CHECK_ERRNO(syscall(SYS_memfd_create, long_name, 0u), EINVAL);
    long_name[249] = 0;
    fd = (int)syscall(SYS_memfd_create, long_name, 0u);
    CHECK(fd >= 0);
    close(fd);
}

enum {
    ADD_SEALS = 1033,
    GET_SEALS = 1034,
    SEAL_SEAL = 1,
    SEAL_SHRINK = 2,
    SEAL_GROW = 4,
    SEAL_WRITE = 8,
    SEAL_FUTURE_WRITE = 16
};

TEST(memfd_seals)
{
    int plain = new_memfd(PAGE);
    CHECK_EQ(fcntl(plain, GET_SEALS), SEAL_SEAL);  // without ALLOW_SEALING it is sealed shut
    CHECK_ERRNO(fcntl(plain, ADD_SEALS, SEAL_GROW), EPERM);
    close(plain);
    int fd = (int)syscall(SYS_memfd_create, "sealed", 2u /* MFD_ALLOW_SEALING */);
    REQUIRE(fd >= 0);
    REQUIRE_OK(ftruncate(fd, 2 * PAGE));
    CHECK_EQ(fcntl(fd, GET_SEALS), 0);
    CHECK_OK(fcntl(fd, ADD_SEALS, SEAL_SHRINK));
    CHECK_ERRNO(ftruncate(fd, PAGE), EPERM);
    CHECK_OK(ftruncate(fd, 3 * PAGE));
    CHECK_OK(fcntl(fd, ADD_SEALS, SEAL_GROW));
    CHECK_ERRNO(ftruncate(fd, 4 * PAGE), EPERM);
    CHECK_ERRNO(pwrite(fd, "x", 1, 3 * PAGE), EPERM);
    CHECK_EQ(pwrite(fd, "x", 1, 0), 1);
    char *p = map_with(PAGE, RW, MAP_SHARED, fd);
    CHECK_ERRNO(fcntl(fd, ADD_SEALS, SEAL_WRITE), EBUSY);  // a writable mapping is in the way
    munmap(p, PAGE);
    CHECK_OK(fcntl(fd, ADD_SEALS, SEAL_WRITE));
    CHECK_ERRNO(pwrite(fd, "x", 1, 0), EPERM);
    CHECK_ERRNO(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0), EPERM);
    p = map_with(PAGE, RW, MAP_PRIVATE, fd);  // private copies are still allowed
    WRITE(p, 1);
    munmap(p, PAGE);
    CHECK_OK(fcntl(fd, ADD_SEALS, SEAL_SEAL));
    CHECK_ERRNO(fcntl(fd, ADD_SEALS, SEAL_FUTURE_WRITE), EPERM);
    CHECK_EQ(fcntl(fd, GET_SEALS), SEAL_SEAL | SEAL_SHRINK | SEAL_GROW | SEAL_WRITE);
    CHECK_ERRNO(fcntl(0, GET_SEALS), EINVAL);
    close(fd);
}

TEST(msync_checks_its_arguments)
{
    int fd = new_file("f", 2 * PAGE, 1);
    char *p = map_with(2 * PAGE, RW, MAP_SHARED, fd);
    p[0] = 9;
    CHECK_OK(msync(p, 2 * PAGE, MS_SYNC));
    CHECK_OK(msync(p, 2 * PAGE, MS_ASYNC));
    CHECK_OK(msync(p, PAGE, MS_SYNC | MS_INVALIDATE));
    CHECK_OK(msync(p, 0, MS_SYNC));
    CHECK_OK(msync(p, PAGE, 0));
    CHECK_ERRNO(msync(p, PAGE, MS_SYNC | MS_ASYNC), EINVAL);
    CHECK_ERRNO(msync(p, PAGE, 64), EINVAL);
    CHECK_ERRNO(msync(p + 1, PAGE, MS_SYNC), EINVAL);
    CHECK_ERRNO(msync(p, -PAGE, MS_SYNC), ENOMEM);
    munmap(p + PAGE, PAGE);
    CHECK_ERRNO(msync(map_hole(PAGE), PAGE, MS_SYNC), ENOMEM);
    char *anon = map_anon(PAGE);
    CHECK_OK(msync(anon, PAGE, MS_SYNC));
    mlock(anon, PAGE);
    CHECK_OK(msync(anon, PAGE, MS_SYNC));
    CHECK_ERRNO(msync(anon, PAGE, MS_INVALIDATE), EBUSY);  // locked
    munmap(anon, PAGE), munmap(p, PAGE);
    close(fd);
    unlink("f");
}

TEST(mincore_tells_what_is_resident)
{
    unsigned char seen[16];
    char *p = map_anon(8 * PAGE);
    madvise(p, 8 * PAGE, MADV_NOHUGEPAGE);
    CHECK_OK(mincore(p, 8 * PAGE, seen));
    for (int i = 0; i < 8; i++)
        CHECK_EQ(seen[i], 0);
    p[2 * PAGE] = 1;
    p[5 * PAGE] = 1;
    CHECK_OK(mincore(p, 8 * PAGE, seen));
    for (int i = 0; i < 8; i++)
        CHECK_EQ(seen[i], i == 2 || i == 5);
    CHECK_OK(mincore(p, 7 * PAGE + 1, seen));  // rounded up
    CHECK_OK(mincore(p, 0, seen));
    CHECK_ERRNO(mincore(p + 1, PAGE, seen), EINVAL);
    CHECK_ERRNO(mincore(p, PAGE, (void *)8), EFAULT);
    CHECK_ERRNO(mincore(p, (size_t)-1, seen), ENOMEM);
    CHECK_ERRNO(mincore((void *)USER_TOP, PAGE, seen), ENOMEM);
    char *hole = map_hole(PAGE);
    CHECK_ERRNO(mincore(hole, PAGE, seen), ENOMEM);
    munmap(p + 4 * PAGE, PAGE);
    CHECK_ERRNO(mincore(p, 8 * PAGE, seen), ENOMEM);
    munmap(p, 8 * PAGE);
    int fd = new_memfd(3 * PAGE);
    p = map_with(3 * PAGE, RW, MAP_SHARED, fd);
    REQUIRE(pwrite(fd, "x", 1, PAGE) == 1);
    CHECK_OK(mincore(p, 3 * PAGE, seen));  // the page cache, not the page tables
    CHECK_EQ(seen[0] & 1, 0);
    CHECK_EQ(seen[1] & 1, 1);
    munmap(p, 3 * PAGE);
    close(fd);
}

TEST(mlock_faults_everything_in)
{
    char *p = map_anon(8 * PAGE);
    CHECK_OK(mlock(p + PAGE, 3 * PAGE));
    CHECK_EQ(resident_pages(p, 8 * PAGE), 3);
    CHECK_EQ(vma_count(p, p + 8 * PAGE), 3);
    CHECK_OK(mlock(p, 8 * PAGE));
    CHECK_EQ(vma_count(p, p + 8 * PAGE), 1);
    CHECK_OK(munlock(p, 8 * PAGE));
    CHECK_OK(mlock(p + 100, 10));  // any address: the page of it
    CHECK_OK(munlock(p + 100, 10));
    CHECK_OK(mlock(p, 0));
    munmap(p + 4 * PAGE, PAGE);
    CHECK_ERRNO(mlock(p, 8 * PAGE), ENOMEM);  // a hole
    CHECK_ERRNO(munlock(p, 8 * PAGE), ENOMEM);
    munmap(p, 8 * PAGE);
    p = map_with(PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    CHECK_ERRNO(mlock(p, PAGE), ENOMEM);  // cannot be faulted in
    munmap(p, PAGE);
    p = map_with(4 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1);
    CHECK_EQ(resident_pages(p, 4 * PAGE), 4);
    CHECK_ERRNO(madvise(p, 4 * PAGE, MADV_DONTNEED), EINVAL);
    munmap(p, 4 * PAGE);
}

TEST(mlock2_on_fault)
{
    char *p = map_anon(4 * PAGE);
    CHECK_OK(syscall(SYS_mlock2, p, 4 * PAGE, MLOCK_ONFAULT));
    CHECK_EQ(resident_pages(p, 4 * PAGE), 0);
    WRITE(p, 1);
    CHECK_ERRNO(madvise(p, PAGE, MADV_DONTNEED), EINVAL);
    CHECK_ERRNO(syscall(SYS_mlock2, p, PAGE, 2), EINVAL);
    CHECK_OK(syscall(SYS_mlock2, p, 4 * PAGE, 0));
    CHECK_EQ(resident_pages(p, 4 * PAGE), 4);
    munmap(p, 4 * PAGE);
}

TEST(mlockall_flags)
{
    CHECK_ERRNO(mlockall(0), EINVAL);
    CHECK_ERRNO(mlockall(MCL_ONFAULT), EINVAL);
    CHECK_ERRNO(mlockall(8), EINVAL);
    if (geteuid() != 0)
        SKIP("needs RLIMIT_MEMLOCK to be lifted");
    CHECK_OK(mlockall(MCL_FUTURE | MCL_ONFAULT));
    char *p = map_anon(4 * PAGE);
    CHECK_EQ(resident_pages(p, 4 * PAGE), 0);
    CHECK_OK(munlockall());
    CHECK_OK(madvise(p, 4 * PAGE, MADV_DONTNEED));
    munmap(p, 4 * PAGE);
    CHECK_OK(mlockall(MCL_FUTURE));
    p = map_anon(4 * PAGE);
    CHECK_EQ(resident_pages(p, 4 * PAGE), 4);
    munmap(p, 4 * PAGE);
    CHECK_OK(munlockall());
}

TEST(read_into_a_mapping_of_the_same_file)
{
    int fd = new_memfd(2 * PAGE);
    char *p = map_with(2 * PAGE, RW, MAP_SHARED, fd);
    memset(p, 1, PAGE);
    CHECK_EQ(pread(fd, p + PAGE, PAGE, 0), PAGE);  // page 0 into page 1, of the same object
    CHECK_BYTES(p + PAGE, 1, PAGE);
    CHECK_EQ(pwrite(fd, p + PAGE, 100, 50), 100);
    munmap(p, 2 * PAGE);
    close(fd);
}

TEST(vectored_io_over_mapped_memory)
{
    int fd = new_memfd(4 * PAGE);
    char *p = map_anon(3 * PAGE);
    memset(p, 'a', PAGE), memset(p + PAGE, 'b', PAGE), memset(p + 2 * PAGE, 'c', PAGE);
    struct iovec vector[3] = {{p + 10, 5}, {p + PAGE, 0}, {p + 2 * PAGE - 2, 4}};
    CHECK_EQ(pwritev(fd, vector, 3, PAGE - 3), 9);
    char got[9];
    CHECK_EQ(pread(fd, got, 9, PAGE - 3), 9);
    CHECK(memcmp(got, "aaaaabbcc", 9) == 0);
    munmap(p, 3 * PAGE);
    close(fd);
}

TEST(dev_zero_maps_as_anonymous_memory)
{
    int fd = open("/dev/zero", O_RDWR);
    REQUIRE(fd >= 0);
    char *p = map_with(2 * PAGE, RW, MAP_PRIVATE, fd);
    CHECK_BYTES(p, 0, 2 * PAGE);
    memset(p, 1, 2 * PAGE);
    CHECK_OK(madvise(p, PAGE, MADV_DONTNEED));
    CHECK_BYTES(p, 0, PAGE);
    munmap(p, 2 * PAGE);
    p = map_with(2 * PAGE, RW, MAP_SHARED, fd);
    memset(p, 1, 2 * PAGE);
    CHECK_OK(madvise(p, PAGE, MADV_DONTNEED));
    CHECK_BYTES(p, 1, 2 * PAGE);
    munmap(p, 2 * PAGE);
    close(fd);
}

TEST(the_program_file_maps)
{
    int fd = open("/proc/self/exe", O_RDONLY);
    REQUIRE(fd >= 0);
    char *p = map_with(PAGE, PROT_READ, MAP_PRIVATE, fd);
    CHECK(memcmp(p, "\177ELF", 4) == 0);
    munmap(p, PAGE);
    p = map_with(PAGE, RW, MAP_PRIVATE, fd);
    WRITE(p, 'X');
    char c;
    CHECK_EQ(pread(fd, &c, 1, 0), 1);
    CHECK_EQ(c, 0x7f);
    munmap(p, PAGE);
    close(fd);
}

TEST(fallocate_and_holes_in_mapped_files)
{
    int fd = new_memfd(0);
    CHECK_OK(fallocate(fd, 0, 0, 4 * PAGE));
    struct stat st;
    REQUIRE_OK(fstat(fd, &st));
    CHECK_EQ(st.st_size, 4 * PAGE);
    char *p = map_with(4 * PAGE, RW, MAP_SHARED, fd);
    memset(p, 1, 4 * PAGE);
    CHECK_OK(fallocate(fd, 3 /* PUNCH_HOLE | KEEP_SIZE */, PAGE, 2 * PAGE));
    CHECK_BYTES(p, 1, PAGE);
    CHECK_BYTES(p + PAGE, 0, 2 * PAGE);
    CHECK_BYTES(p + 3 * PAGE, 1, PAGE);
    CHECK_ERRNO(fallocate(fd, 0, 0, 0), EINVAL);
    CHECK_ERRNO(fallocate(fd, 0, -1, 10), EINVAL);
    CHECK_ERRNO(fallocate(fd, 2 /* PUNCH_HOLE alone */, 0, PAGE), EOPNOTSUPP);
    munmap(p, 4 * PAGE);
    close(fd);
}

// All of the range or nothing: /dev/shm is limited to a part of the machine's memory.
TEST(fallocate_of_more_than_there_is_takes_nothing)
{
    int fd = open("/dev/shm/conform-fallocate", O_RDWR | O_CREAT | O_TRUNC, 0600);
    REQUIRE_OK(fd);
    unlink("/dev/shm/conform-fallocate");
    CHECK_EQ(pwrite(fd, "kept", 4, 5 * PAGE), 4);
    CHECK_ERRNO(fallocate(fd, 1 /* KEEP_SIZE */, PAGE, 1l << 42), ENOSPC);
    CHECK_ERRNO(fallocate(fd, 0, 0, 1l << 42), ENOSPC);
    struct stat st;
    REQUIRE_OK(fstat(fd, &st));
    CHECK_EQ(st.st_blocks, PAGE / 512);
    CHECK_EQ(st.st_size, 5 * PAGE + 4);
    CHECK_OK(fallocate(fd, 0, 0, 8 * PAGE));
    REQUIRE_OK(fstat(fd, &st));
    CHECK_EQ(st.st_blocks, 8 * PAGE / 512);
    char text[8] = "";
    CHECK_EQ(pread(fd, text, 4, 5 * PAGE), 4);
    CHECK_EQ(strcmp(text, "kept"), 0);
    close(fd);
}

// mprotect of a locked private mapping to writable takes the copies at once, as mlock of a writable one does.
// What DONTNEED_LOCKED took from a neighbour that was writable already stays away.
TEST(mprotect_populates_only_what_becomes_writable)
{
    int fd = new_memfd(2 * PAGE);
    char *p = map_with(2 * PAGE, RW, MAP_PRIVATE, fd);
    REQUIRE_OK(mlock(p, 2 * PAGE));
    REQUIRE_OK(mprotect(p, PAGE, PROT_READ));
    int r = madvise(p + PAGE, PAGE, 24 /* DONTNEED_LOCKED */);
    CHECK_EQ(r, 0);
    REQUIRE_OK(mprotect(p, 2 * PAGE, RW));
    CHECK_EQ(pwrite(fd, "x", 1, 0), 1);
    CHECK_EQ(pwrite(fd, "y", 1, PAGE), 1);
    CHECK_EQ(BYTE(p), 0);
    CHECK_EQ(BYTE(p + PAGE), 'y');
    munmap(p, 2 * PAGE);
    close(fd);
}

TEST(locked_memory_that_becomes_writable_is_private_at_once)
{
    int fd = new_memfd(4 * PAGE);
    char *shared = map_with(4 * PAGE, RW, MAP_SHARED, fd);
    char *p = map_with(4 * PAGE, PROT_READ, MAP_PRIVATE, fd);
    REQUIRE_OK(mlock(p, 2 * PAGE));
    shared[0] = shared[2 * PAGE] = 1;
    CHECK_EQ(p[0], 1);
    CHECK_OK(mprotect(p, 4 * PAGE, RW));
    shared[0] = shared[2 * PAGE] = 2;
    CHECK_EQ(p[0], 1);
    CHECK_EQ(p[2 * PAGE], 2);
    munmap(p, 4 * PAGE);
    munmap(shared, 4 * PAGE);
    close(fd);
}
