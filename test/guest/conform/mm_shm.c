// SPDX-License-Identifier: BSD-2-Clause
// System V shared memory (shmget(2), shmat(2), shmctl(2)) and remap_file_pages(2).
#include "harness.h"

#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/wait.h>

#define RW (PROT_READ | PROT_WRITE)
#define REMOVED 01000  // SHM_DEST

static int new_segment(size_t size)
{
    int id = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
    if (id < 0 && errno == ENOSYS && !in_lethe())
        SKIP("no System V shared memory here");
    REQUIRE(id >= 0);
    return id;
}

TEST(segments_are_shared_and_start_at_zero)
{
    int id = new_segment(3 * PAGE - 100);
    char *a = shmat(id, NULL, 0), *b = shmat(id, NULL, SHM_RDONLY);
    REQUIRE(a != (void *)-1 && b != (void *)-1 && a != b);
    CHECK_BYTES(a, 0, 3 * PAGE);
    WRITE(a + PAGE, 7);
    CHECK_EQ(BYTE(b + PAGE), 7);
    CHECK_FAULT(WRITE(b, 1), SIGSEGV, SEGV_ACCERR, b);
    CHECK_ERRNO(mprotect(b, PAGE, RW), EACCES);
    struct shmid_ds ds;
    REQUIRE_OK(shmctl(id, IPC_STAT, &ds));
    CHECK_EQ(ds.shm_segsz, 3 * PAGE - 100);
    CHECK_EQ(ds.shm_nattch, 2);
    CHECK_EQ(ds.shm_cpid, getpid());
    CHECK_EQ(ds.shm_lpid, getpid());
    CHECK_EQ(ds.shm_perm.mode & 0777, 0600);
    struct vma v;
    CHECK(vma_at(a, &v) && strcmp(v.name, "/SYSV00000000 (deleted)") == 0 &&
          v.inode == (unsigned long)id);
    CHECK_OK(shmdt(b));
    CHECK_ERRNO(shmdt(b), EINVAL);
    CHECK_ERRNO(shmdt(a + PAGE), EINVAL);
    CHECK_OK(shmdt(a));
    a = shmat(id, NULL, 0);
    CHECK_EQ(BYTE(a + PAGE), 7);  // the contents outlive the mappings
    CHECK_OK(shmdt(a));
    CHECK_OK(shmctl(id, IPC_RMID, NULL));
    CHECK_ERRNO(shmctl(id, IPC_STAT, &ds), EINVAL);
}

TEST(segment_removed_while_attached)
{
    int id = new_segment(PAGE);
    char *a = shmat(id, NULL, 0);
    REQUIRE(a != (void *)-1);
    CHECK_OK(shmctl(id, IPC_RMID, NULL));
    struct shmid_ds ds;
    CHECK_OK(shmctl(id, IPC_STAT, &ds));
    CHECK_EQ(ds.shm_perm.mode & REMOVED, REMOVED);
    WRITE(a, 1);
    char *b = shmat(id, NULL, 0);  // by its id, still
    REQUIRE(b != (void *)-1);
    CHECK_EQ(BYTE(b), 1);
    CHECK_OK(shmdt(a));
    CHECK_OK(shmdt(b));
    CHECK_ERRNO(shmat(id, NULL, 0), EINVAL);
}

TEST(segments_by_key)
{
    key_t key = 0x4c455448 ^ getpid();
    int id = shmget(key, 2 * PAGE, IPC_CREAT | IPC_EXCL | 0600);
    if (id < 0 && errno == ENOSYS && !in_lethe())
        SKIP("no System V shared memory here");
    REQUIRE(id >= 0);
    CHECK_EQ(shmget(key, 2 * PAGE, 0600), id);
    CHECK_EQ(shmget(key, 0, 0), id);
    CHECK_ERRNO(shmget(key, 3 * PAGE, 0600), EINVAL);
    CHECK_ERRNO(shmget(key, PAGE, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
    CHECK_OK(shmctl(id, IPC_RMID, NULL));
    CHECK_ERRNO(shmget(key, PAGE, 0600), ENOENT);
    CHECK_ERRNO(shmget(IPC_PRIVATE, 0, 0600), EINVAL);
    CHECK_ERRNO(shmat(-1, NULL, 0), EINVAL);
    CHECK_ERRNO(shmctl(-1, IPC_RMID, NULL), EINVAL);
}

TEST(where_a_segment_is_attached)
{
    int id = new_segment(2 * PAGE);
    char *hole = map_hole(4 * PAGE);
    CHECK_ERRNO(shmat(id, hole + 1, 0), EINVAL);
    CHECK_ERRNO(shmat(id, NULL, SHM_REMAP), EINVAL);
    char *a = shmat(id, hole + 100, SHM_RND);
    CHECK(a == hole);
    CHECK_ERRNO(shmat(id, hole + PAGE, 0), EINVAL);  // taken
    char *p = map_anon(2 * PAGE);
    WRITE(p, 5);
    CHECK(shmat(id, p, SHM_REMAP) == p);
    CHECK_EQ(BYTE(p), 0);
    munmap(a, PAGE);  // the rest goes with the address that was attached
    CHECK_OK(shmdt(a));
    CHECK(!vma_at(a + PAGE, &(struct vma){0}));
    CHECK_OK(shmdt(p));
    CHECK_OK(shmctl(id, IPC_RMID, NULL));
}

TEST(a_child_inherits_segments)
{
    int id = new_segment(PAGE);
    char *a = shmat(id, NULL, 0);
    REQUIRE(a != (void *)-1);
    CHECK_OK(shmctl(id, IPC_RMID, NULL));
    pid_t child = fork();
    if (child == 0) {
        a[0] = 9;
        _exit(0);
    }
    REQUIRE(child > 0);
    CHECK_EQ(waitpid(child, NULL, 0), child);
    CHECK_EQ(BYTE(a), 9);
    CHECK_OK(shmdt(a));
}

TEST(remap_file_pages_maps_the_range_anew)
{
    int fd = new_memfd(4 * PAGE);
    char *p = map_with(4 * PAGE, RW, MAP_SHARED, fd);
    for (int i = 0; i < 4; i++)
        WRITE(p + i * PAGE, 10 + i);
    int r = (int)syscall(SYS_remap_file_pages, p, 2 * PAGE, 0, 2ul, 0);
    if (r < 0 && errno == ENOSYS && !in_lethe())
        SKIP("no remap_file_pages here");
    CHECK_EQ(r, 0);
    CHECK_EQ(BYTE(p), 12);
    CHECK_EQ(BYTE(p + PAGE), 13);
    CHECK_EQ(BYTE(p + 2 * PAGE), 12);
    CHECK_EQ(vma_count(p, p + 4 * PAGE), 2);
    CHECK_ERRNO(syscall(SYS_remap_file_pages, p, PAGE, PROT_READ, 0ul, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_remap_file_pages, p, 0, 0, 0ul, 0), EINVAL);
    CHECK_OK(syscall(SYS_remap_file_pages, p, 3 * PAGE, 0, 0ul, 0));  // over two areas of the file
    CHECK_EQ(BYTE(p + PAGE), 11);
    char *q = map_anon(PAGE);
    CHECK_ERRNO(syscall(SYS_remap_file_pages, q, PAGE, 0, 0ul, 0), EINVAL);  // private
    munmap(q, PAGE);
    munmap(p, 4 * PAGE);
    close(fd);
}
