// SPDX-License-Identifier: BSD-2-Clause
// O_DIRECT: what it asks of places, lengths and addresses, and that everybody sees the same bytes. On this host the temporary files
// should lie on a file system with a disk (ext4, XFS); in the guest test/system/volume.sh runs them on a volume (ON_VOLUME), and
// elsewhere files are in memory, where nothing is asked.
#define _GNU_SOURCE
#include "harness.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/uio.h>

#define PAGE 4096
#define PAGES 70

static bool on_disk(void)
{
    struct statfs fs;
    REQUIRE_OK(statfs(".", &fs));
    return in_lethe() ? getenv("ON_VOLUME") != NULL
                      : fs.f_type == 0xef53 || fs.f_type == 0x58465342;
}

static char *buffer(size_t bytes)
{
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(p != MAP_FAILED);
    return p;
}

static int make(const char *name, char fill, size_t bytes, int flags)
{
    int fd = open(name, O_CREAT | O_TRUNC | O_RDWR | flags, 0600);
    REQUIRE_OK(fd);
    char *b = buffer(bytes + PAGE);
    memset(b, fill, bytes);
    CHECK_EQ(write(fd, b, bytes), (long)bytes);
    munmap(b, bytes + PAGE);
    return fd;
}

static bool all(const char *p, char c, size_t n)
{
    return n == 0 || (p[0] == c && memcmp(p, p + 1, n - 1) == 0);
}

TEST(alignment)
{
    char *b = buffer(4 * PAGE);
    int fd = make("direct-file", 'a', 3 * PAGE, O_DIRECT);
    if (on_disk()) {
        CHECK_ERRNO(pread(fd, b, PAGE, 100), EINVAL);
        CHECK_ERRNO(pread(fd, b, 100, 0), EINVAL);
        CHECK_ERRNO(pread(fd, b + 8, PAGE, 0), EINVAL);
        CHECK_ERRNO(pwrite(fd, b, PAGE, 100), EINVAL);
        CHECK_ERRNO(pwrite(fd, b, 100, 0), EINVAL);
        CHECK_ERRNO(pwrite(fd, b + 8, PAGE, 0), EINVAL);
        struct iovec odd[2] = {{b, PAGE}, {b + PAGE, 10}};
        CHECK_ERRNO(pwritev(fd, odd, 2, 0), EINVAL);
        CHECK_ERRNO(preadv(fd, odd, 2, 0), EINVAL);
    }
    struct iovec even[2] = {{b, PAGE}, {b + 2 * PAGE, PAGE}};
    CHECK_EQ(preadv(fd, even, 2, 0), 2 * PAGE);
    CHECK(all(b, 'a', PAGE) && all(b + 2 * PAGE, 'a', PAGE));
    CHECK_EQ(pread(fd, b, PAGE, 3 * PAGE), 0);
    CHECK_EQ(pread(fd, b, PAGE, 3 * PAGE + 5), 0);  // behind the end nothing is asked
    CHECK_EQ(pread(fd, b, 0, 0), 0);
    CHECK_EQ(pwrite(fd, b, 0, 0), 0);
    close(fd);
}

TEST(sectors_and_the_end)
{
    char *b = buffer(2 * PAGE);
    int fd = make("direct-file", 'a', 2 * PAGE, 0);
    CHECK_OK(ftruncate(fd, PAGE + 700));
    int direct = open("direct-file", O_RDWR | O_DIRECT);
    REQUIRE_OK(direct);
    CHECK_EQ(pread(direct, b, 2 * PAGE, 0), PAGE + 700);
    CHECK(all(b, 'a', PAGE + 700));
    memset(b, 'b', PAGE);
    CHECK_EQ(pwrite(direct, b, 512, 512), 512);
    CHECK_EQ(pread(fd, b, PAGE, 0), PAGE);
    CHECK(all(b, 'a', 512) && all(b + 512, 'b', 512) && all(b + 1024, 'a', PAGE - 1024));
    memset(b, 'c', PAGE);
    CHECK_EQ(pwrite(direct, b, PAGE, 4 * PAGE), PAGE);  // behind the end: a hole before it
    CHECK_EQ(lseek(fd, 0, SEEK_END), 5 * PAGE);
    CHECK_EQ(pread(fd, b, 2 * PAGE, PAGE), 2 * PAGE);
    CHECK(all(b, 'a', 700) && all(b + 700, 0, 2 * PAGE - 700));
    CHECK_EQ(pread(direct, b, PAGE, 4 * PAGE), PAGE);
    CHECK(all(b, 'c', PAGE));
    close(direct);
    close(fd);
}

TEST(same_bytes_for_all)
{
    char *b = buffer(PAGES * PAGE);
    int fd = make("direct-file", 'a', PAGES * PAGE, 0);
    int direct = open("direct-file", O_RDWR | O_DIRECT);
    REQUIRE_OK(direct);
    CHECK_EQ(pread(direct, b, PAGES * PAGE, 0),
             PAGES * PAGE);  // what the cache has not written yet
    CHECK(all(b, 'a', PAGES * PAGE));
    memset(b, 'b', PAGES * PAGE);
    CHECK_EQ(pwrite(direct, b, 66 * PAGE, PAGE), 66 * PAGE);
    CHECK_EQ(pread(fd, b, PAGES * PAGE, 0), PAGES * PAGE);
    CHECK(all(b, 'a', PAGE) && all(b + PAGE, 'b', 66 * PAGE) && all(b + 67 * PAGE, 'a', 3 * PAGE));
    char *map = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REQUIRE(map != MAP_FAILED);
    map[10] = 'm';
    CHECK_EQ(pread(direct, b, PAGE, 0), PAGE);
    CHECK(b[9] == 'a' && b[10] == 'm');
    memset(b, 'd', PAGE);
    CHECK_EQ(pwrite(direct, b, PAGE, 2 * PAGE), PAGE);
    CHECK(all(map + 2 * PAGE, 'd', PAGE) && all(map + 3 * PAGE, 'b', PAGE));
    map[2 * PAGE] = 'e';
    CHECK_EQ(pread(direct, b, PAGE, 2 * PAGE), PAGE);
    CHECK(b[0] == 'e' && all(b + 1, 'd', PAGE - 1));
    munmap(map, 4 * PAGE);
    close(direct);
    close(fd);
}

TEST(switched_on_and_appending)
{
    char *b = buffer(2 * PAGE);
    int fd = make("direct-file", 'a', PAGE, O_APPEND);
    CHECK_OK(fcntl(fd, F_SETFL, O_APPEND | O_DIRECT));
    CHECK(fcntl(fd, F_GETFL) & O_DIRECT);
    memset(b, 'b', PAGE);
    CHECK_EQ(write(fd, b, PAGE), PAGE);
    CHECK_EQ(lseek(fd, 0, SEEK_END), 2 * PAGE);
    if (on_disk())
        CHECK_ERRNO(write(fd, b, 100), EINVAL);
    CHECK_OK(fcntl(fd, F_SETFL, O_APPEND));
    CHECK_EQ(write(fd, b, 100), 100);
    CHECK_OK(fcntl(fd, F_SETFL, O_APPEND | O_DIRECT));
    if (on_disk())
        CHECK_ERRNO(write(fd, b, PAGE), EINVAL);  // its end lies in the middle of a block
    CHECK_EQ(pread(fd, b, 2 * PAGE, 0), 2 * PAGE);
    CHECK(all(b, 'a', PAGE) && all(b + PAGE, 'b', PAGE));
    close(fd);
}

// Pages that are written whole need not be read; when not all of their bytes come, the old ones are still there.
TEST(whole_pages_in_part)
{
    char *b = buffer(3 * PAGE);
    int fd = make("direct-file", 'a', 4 * PAGE, 0);
    CHECK_OK(fsync(fd));
    CHECK_OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    memset(b, 'b', PAGE + 2048);
    CHECK_OK(munmap(b + 2 * PAGE, PAGE));
    CHECK_OK(mprotect(b + PAGE, PAGE, PROT_NONE));
    long n = pwrite(fd, b, 2 * PAGE, 0);
    CHECK_EQ(n, PAGE);
    CHECK_ERRNO(pwrite(fd, b + PAGE, PAGE, 2 * PAGE), EFAULT);
    char *got = buffer(4 * PAGE);
    CHECK_EQ(pread(fd, got, 4 * PAGE, 0), 4 * PAGE);
    CHECK(all(got, 'b', PAGE) && all(got + PAGE, 'a', 3 * PAGE));
    CHECK_OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    n = pwrite(fd, b + 100, PAGE, 3 * PAGE);  // the last 100 bytes cannot be read
    CHECK(n > 0 && n <= PAGE - 100);
    CHECK_EQ(pread(fd, got, PAGE, 3 * PAGE), PAGE);
    CHECK(all(got, 'b', (size_t)n) && all(got + n, 'a', (size_t)(PAGE - n)));
    close(fd);
}
