// SPDX-License-Identifier: BSD-2-Clause
// What the memory calls refuse, and in which order they look: memfd_create and its seals, membarrier, System V segments,
// remap_file_pages, mincore, the mlock family, msync, process_madvise. Sources: their manual pages, section 2.
#include "harness.h"

#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

enum {
    ALLOW_SEALING = 2,
    NOEXEC_SEAL = 8,
    MAY_EXEC = 16,
    ADD_SEALS = 1033,
    GET_SEALS = 1034,
    SEAL_SEAL = 1,
    SEAL_SHRINK = 2,
    SEAL_GROW = 4,
    SEAL_WRITE = 8,
    SEAL_FUTURE_WRITE = 16,
    SEAL_EXEC = 32,
};

static int memfd(const char *name, unsigned flags)
{
    return (int)syscall(SYS_memfd_create, name, flags);
}

TEST(memfd_create_flags)
{
    CHECK_ERRNO(memfd("x", 0x20), EINVAL);
    CHECK_ERRNO(memfd("x", NOEXEC_SEAL | MAY_EXEC), EINVAL);  // one or the other
    CHECK_ERRNO(memfd((char *)8, 0x20), EINVAL);              // flags before the name
    CHECK_ERRNO(memfd((char *)8, 0), EFAULT);
    struct stat st;
    int fd = memfd("x", NOEXEC_SEAL);
    REQUIRE(fd >= 0);
    CHECK_EQ(fcntl(fd, GET_SEALS), SEAL_EXEC);  // it may be sealed further
    REQUIRE_OK(fstat(fd, &st));
    CHECK_EQ(st.st_mode & 0111, 0);
    CHECK_ERRNO(fchmod(fd, 0777), EPERM);
    CHECK_OK(fchmod(fd, 0600));
    close(fd);
    fd = memfd("x", MAY_EXEC);
    REQUIRE(fd >= 0 && fstat(fd, &st) == 0);
    CHECK_EQ(st.st_mode & 0777, 0777);
    close(fd);
}

TEST(a_seal_against_future_writes)
{
    int fd = memfd("x", ALLOW_SEALING);
    REQUIRE_OK(ftruncate(fd, 2 * PAGE));
    char *before = map_with(PAGE, RW, MAP_SHARED, fd);
    CHECK_OK(fcntl(fd, ADD_SEALS, SEAL_FUTURE_WRITE));
    CHECK_NO_FAULT(WRITE(before, 7));  // what is mapped already stays writable
    CHECK_ERRNO(pwrite(fd, "x", 1, 0), EPERM);
    CHECK_ERRNO(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0), EPERM);
    char *reader = map_with(PAGE, PROT_READ, MAP_SHARED, fd);
    CHECK_EQ(BYTE(reader), 7);
    CHECK_ERRNO(mprotect(reader, PAGE, RW), EACCES);
    char *own = map_with(PAGE, RW, MAP_PRIVATE, fd);
    CHECK_NO_FAULT(WRITE(own, 9));
    CHECK_EQ(BYTE(reader), 7);
    CHECK_OK(ftruncate(fd, 3 * PAGE));  // its size is another seal's
    munmap(before, PAGE), munmap(reader, PAGE), munmap(own, PAGE);
    close(fd);
}

TEST(seals_of_a_file_and_their_errors)
{
    int fd = memfd("x", ALLOW_SEALING);
    REQUIRE_OK(ftruncate(fd, PAGE));
    CHECK_ERRNO(fcntl(fd, ADD_SEALS, 0x100), EINVAL);
    CHECK_ERRNO(fcntl(fd, ADD_SEALS, -1), EINVAL);
    CHECK_OK(fcntl(fd, ADD_SEALS, 0));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int reader = open(path, O_RDONLY);
    REQUIRE(reader >= 0);
    CHECK_ERRNO(fcntl(reader, ADD_SEALS, SEAL_GROW), EPERM);  // needs a descriptor that may write
    CHECK_EQ(fcntl(reader, GET_SEALS), 0);
    CHECK_OK(fcntl(fd, ADD_SEALS, SEAL_SHRINK | SEAL_GROW));
    CHECK_OK(fcntl(fd, ADD_SEALS, SEAL_SHRINK));  // again
    CHECK_EQ(fcntl(reader, GET_SEALS), SEAL_SHRINK | SEAL_GROW);
    CHECK_ERRNO(fallocate(fd, 0, 0, 2 * PAGE), EPERM);
    CHECK_OK(fallocate(fd, 3 /* PUNCH_HOLE | KEEP_SIZE */, 0, PAGE));
    CHECK_OK(fcntl(fd, ADD_SEALS, SEAL_WRITE));
    CHECK_ERRNO(fallocate(fd, 3, 0, PAGE), EPERM);
    char *p = map_with(PAGE, PROT_READ, MAP_SHARED, fd);
    CHECK_ERRNO(madvise(p, PAGE, MADV_REMOVE), EACCES);  // it may never be written
    munmap(p, PAGE);
    close(fd), close(reader);
    int file = new_file("f", PAGE, 0);
    errno = 0;
    CHECK(fcntl(file, ADD_SEALS, SEAL_GROW) == -1 &&
          (errno == EPERM || errno == EINVAL));  // as its file system
    close(file);
    unlink("f");
}

TEST(membarrier_commands)
{
    enum { QUERY = 0, PRIVATE = 8, REGISTER_PRIVATE = 16, CORE = 32, REGISTER_CORE = 64 };
    long known = syscall(SYS_membarrier, QUERY, 0, 0);
    REQUIRE(known > 0 && (known & PRIVATE));
    CHECK_ERRNO(syscall(SYS_membarrier, QUERY, 1, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_membarrier, 3, 0, 0), EINVAL);  // two at once
    CHECK_ERRNO(syscall(SYS_membarrier, 1 << 30, 0, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_membarrier, -1, 0, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_membarrier, PRIVATE, 1, 0), EINVAL);
    CHECK_OK(syscall(SYS_membarrier, REGISTER_PRIVATE, 0, 0));
    CHECK_OK(syscall(SYS_membarrier, PRIVATE, 0, 0));
    CHECK_OK(syscall(SYS_membarrier, REGISTER_PRIVATE, 0, 0));  // once more
    if (known & CORE) {
        CHECK_OK(syscall(SYS_membarrier, REGISTER_CORE, 0, 0));
        CHECK_OK(syscall(SYS_membarrier, CORE, 0, 0));
    }
}

TEST(segments_refuse)
{
    int id = shmget(IPC_PRIVATE, 2 * PAGE, IPC_CREAT | 0600);
    if (id < 0 && errno == ENOSYS && !in_lethe())
        SKIP("no System V shared memory here");
    REQUIRE(id >= 0);
    struct shmid_ds ds;
    CHECK_ERRNO(shmctl(id, 99, &ds), EINVAL);
    CHECK_ERRNO(shmctl(id, IPC_STAT, (void *)8), EFAULT);
    CHECK_ERRNO(shmctl(-5, IPC_STAT, &ds), EINVAL);
    CHECK_ERRNO(shmat(id, (void *)USER_TOP, 0), ENOMEM);
    CHECK_ERRNO(shmat(id, (void *)-PAGE, 0), EINVAL);
    CHECK_ERRNO(shmat(id, (void *)1, 0), EINVAL);
    CHECK_ERRNO(shmat(id, (void *)-PAGE, SHM_REMAP), ENOMEM);
    CHECK_ERRNO(shmat(0x7fffffff, NULL, 0), EINVAL);
    CHECK_ERRNO(shmdt((void *)8), EINVAL);
    CHECK_ERRNO(shmdt(map_hole(PAGE)), EINVAL);
    CHECK_ERRNO(shmget(IPC_PRIVATE, (size_t)-1, IPC_CREAT | 0600), EINVAL);
    char *p = map_anon(PAGE);
    CHECK_ERRNO(shmdt(p), EINVAL);  // not a segment
    munmap(p, PAGE);
    CHECK_OK(shmctl(id, IPC_RMID, NULL));
    CHECK_ERRNO(shmat(id, NULL, 0), EINVAL);
}

TEST(remap_file_pages_refuses)
{
    int fd = new_memfd(4 * PAGE);
    char *p = map_with(4 * PAGE, RW, MAP_SHARED, fd);
    if (syscall(SYS_remap_file_pages, p, PAGE, 0, 0ul, 0) != 0 && errno == ENOSYS && !in_lethe())
        SKIP("no remap_file_pages here");
    CHECK_ERRNO(syscall(SYS_remap_file_pages, p, PAGE, PROT_READ, 0ul, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_remap_file_pages, p, -PAGE, 0, 0ul, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_remap_file_pages, p, PAGE, 0, ~0ul, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_remap_file_pages, p, 5 * PAGE, 0, 0ul, 0), EINVAL);  // past the area
    CHECK_ERRNO(syscall(SYS_remap_file_pages, map_hole(PAGE), PAGE, 0, 0ul, 0), EINVAL);
    CHECK_OK(syscall(SYS_remap_file_pages, p + 100, 2 * PAGE, 0, 1ul, 0));  // rounded down
    p[PAGE] = 5;
    CHECK_EQ(BYTE(p + 2 * PAGE), 5);  // both show page 2
    munmap(p, 4 * PAGE);
    close(fd);
}

TEST(locks_refuse)
{
    char *p = map_anon(4 * PAGE);
    CHECK_ERRNO(mlock(p, (size_t)-1 - PAGE), EINVAL);
    CHECK_ERRNO(munlock(p, (size_t)-1 - PAGE), EINVAL);
    CHECK_ERRNO(mlock((void *)USER_TOP, PAGE), ENOMEM);
    CHECK_OK(munlock(p, 0));
    CHECK_OK(munlock(p, 4 * PAGE));  // nothing was locked
    CHECK_ERRNO(syscall(SYS_mlock2, p, PAGE, -1), EINVAL);
    CHECK_ERRNO(syscall(SYS_mlock2, map_hole(PAGE), PAGE, 8), EINVAL);  // flags first
    CHECK_ERRNO(syscall(SYS_mlock2, map_hole(PAGE), PAGE, 1), ENOMEM);
    REQUIRE_OK(munmap(p + 2 * PAGE, PAGE));
    CHECK_ERRNO(mlock(p, 4 * PAGE), ENOMEM);
    struct vma v;
    CHECK(vma_at(p, &v));
    CHECK_ERRNO(madvise(p, PAGE, MADV_DONTNEED), EINVAL);  // what lies before the hole is locked
    CHECK_OK(munlock(p, 2 * PAGE));
    CHECK_OK(madvise(p, PAGE, MADV_DONTNEED));
    munmap(p, 4 * PAGE);
}

TEST(mincore_and_msync_refuse)
{
    unsigned char seen[4] = {9, 9, 9, 9};
    char *p = map_anon(3 * PAGE);
    CHECK_ERRNO(mincore(p + 8, (size_t)-1, (void *)8), EINVAL);  // the address first
    CHECK_ERRNO(mincore(p, 1ul << 47, seen), ENOMEM);            // then the range
    CHECK_ERRNO(mincore((void *)(1ul << 63), PAGE, seen), ENOMEM);
    CHECK_ERRNO(mincore(map_hole(PAGE), PAGE, (void *)-PAGE), EFAULT);  // then the vector
    CHECK_OK(mincore(map_hole(PAGE), 0, (void *)8));
    REQUIRE_OK(munmap(p + 2 * PAGE, PAGE));
    CHECK_ERRNO(mincore(p, 3 * PAGE, seen), ENOMEM);
    CHECK_EQ(seen[3], 9);
    CHECK_ERRNO(msync(p + 1, PAGE, 64), EINVAL);
    CHECK_ERRNO(msync(p, 3 * PAGE, MS_SYNC), ENOMEM);
    CHECK_ERRNO(msync(p, 3 * PAGE, MS_ASYNC), ENOMEM);
    CHECK_OK(msync(p, 2 * PAGE, MS_INVALIDATE));
    munmap(p, 3 * PAGE);
}

TEST(process_madvise_of_another)
{
    char *p = map_anon(2 * PAGE);
    memset(p, 1, 2 * PAGE);
    int go[2];
    REQUIRE_OK(pipe(go));
    pid_t child = fork();
    if (child == 0) {
        char byte;
        _exit(read(go[0], &byte, 1) == 1 ? p[0] : 99);
    }
    REQUIRE(child > 0);
    int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    REQUIRE(pidfd >= 0);
    struct {
        void *base;
        size_t len;
    } part = {p, 2 * PAGE};
    CHECK_ERRNO(syscall(440, pidfd, &part, 1, MADV_DONTNEED, 0),
                EINVAL);  // only what loses nothing
    CHECK_ERRNO(syscall(440, pidfd, &part, 1, MADV_DONTFORK, 0), EINVAL);
    CHECK_EQ(syscall(440, pidfd, &part, 1, 20 /* COLD */, 0), 2 * PAGE);
    CHECK_EQ(syscall(440, pidfd, &part, 1, 21 /* PAGEOUT */, 0), 2 * PAGE);
    CHECK_EQ(syscall(440, pidfd, &part, 1, MADV_WILLNEED, 0), 2 * PAGE);
    CHECK_EQ(write(go[1], "x", 1), 1);
    int status;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK_EQ(WEXITSTATUS(status), 1);
    CHECK_ERRNO(syscall(440, pidfd, &part, 1, 20, 0), ESRCH);  // it is gone
    close(pidfd), close(go[0]), close(go[1]);
    munmap(p, 2 * PAGE);
}

// MADV_HWPOISON and MADV_SOFT_OFFLINE take a frame of the machine out of service: not on a machine of others.
TEST(frames_that_leave_service)
{
    if (!in_lethe())
        SKIP("it would take memory from the host");
    char *p = map_anon(3 * PAGE);
    memset(p, 6, 3 * PAGE);
    CHECK_OK(madvise(p, PAGE, 101 /* SOFT_OFFLINE */));
    CHECK_BYTES(p, 6, 3 * PAGE);  // the contents have another frame now
    CHECK_OK(madvise(p + PAGE, PAGE, 100 /* HWPOISON */));
    CHECK_FAULT(READ(p + PAGE + 40), SIGBUS, 4 /* BUS_MCEERR_AR */, p + PAGE + 40);
    CHECK_FAULT(WRITE(p + PAGE, 1), SIGBUS, 4, p + PAGE);
    CHECK_BYTES(p, 6, PAGE);
    CHECK_BYTES(p + 2 * PAGE, 6, PAGE);
    int fds[2];
    REQUIRE_OK(pipe(fds));
    errno = 0;
    CHECK(write(fds[1], p + PAGE, 8) == -1 && errno == EFAULT);
    close(fds[0]), close(fds[1]);
    CHECK(mmap(p + PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0) == p + PAGE);  // new memory is sound
    CHECK_EQ(BYTE(p + PAGE), 0);
    munmap(p, 3 * PAGE);
}
