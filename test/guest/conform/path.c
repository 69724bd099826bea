// SPDX-License-Identifier: BSD-2-Clause
// Names: path walk, links, directories, open flags, rename, the stat family. Sources: path_resolution(7),
// open(2), link(2), symlink(2), rename(2), unlink(2), mkdir(2), getdents64(2), stat(2), statx(2), access(2).
// Works in a scratch directory that the harness made and stands in.
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <utime.h>

static void make_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) {
        FAIL("open %s fails with %s", path, errno_name(errno));
        harness_leave();
    }
    REQUIRE(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static ino_t inode_of(const char *path)
{
    struct stat st = {0};
    CHECK_OK(stat(path, &st));
    return st.st_ino;
}

TEST(walk_dots_and_slashes)
{
    REQUIRE_OK(mkdir("d", 0755));
    REQUIRE_OK(mkdir("d/e", 0755));
    make_file("d/f", "x");
    ino_t f = inode_of("d/f");
    CHECK_EQ(inode_of("d//f"), f);
    CHECK_EQ(inode_of("./d/./f"), f);
    CHECK_EQ(inode_of("d/e/../f"), f);
    CHECK_EQ(inode_of("d/e/../../d/f"), f);
    CHECK_EQ(inode_of("d/e/.."), inode_of("d"));
    CHECK_EQ(inode_of("d/"), inode_of("d"));
    CHECK_EQ(inode_of("d/."), inode_of("d"));
    CHECK_EQ(inode_of("/.."), inode_of("/"));
    CHECK_EQ(inode_of("/../../.."), inode_of("/"));
    CHECK_ERRNO(open("d/missing/../f", O_RDONLY), ENOENT);
    CHECK_ERRNO(open("d/f/", O_RDONLY), ENOTDIR);
    CHECK_ERRNO(open("d/f/.", O_RDONLY), ENOTDIR);
    CHECK_ERRNO(open("d/f/x", O_RDONLY), ENOTDIR);
    CHECK_ERRNO(open("d/f/..", O_RDONLY), ENOTDIR);
    CHECK_ERRNO(open("", O_RDONLY), ENOENT);
    CHECK_ERRNO(open("missing", O_RDONLY), ENOENT);
    CHECK_ERRNO(open("missing/x", O_RDONLY), ENOENT);
    unlink("d/f"), rmdir("d/e"), rmdir("d");
}

TEST(name_limits)
{
    char name[NAME_MAX + 2], path[PATH_MAX + 10];
    memset(name, 'n', sizeof name);
    name[NAME_MAX] = 0;
    make_file(name, "");
    CHECK(exists(name));
    unlink(name);
    name[NAME_MAX] = 'n', name[NAME_MAX + 1] = 0;
    CHECK_ERRNO(open(name, O_CREAT | O_WRONLY, 0600), ENAMETOOLONG);
    CHECK_ERRNO(open(name, O_RDONLY), ENAMETOOLONG);
    CHECK_ERRNO(mkdir(name, 0700), ENAMETOOLONG);
    for (size_t i = 0; i < PATH_MAX; i += 2)
        memcpy(path + i, "./", 2);
    path[PATH_MAX] = 0;
    CHECK_ERRNO(open(path, O_RDONLY), ENAMETOOLONG);
    path[PATH_MAX - 1] = 0;
    CHECK(exists(path));  // 4095 bytes are allowed
}

TEST(symbolic_links)
{
    make_file("target", "hello");
    REQUIRE_OK(symlink("target", "link"));
    REQUIRE_OK(symlink("link", "link2"));
    REQUIRE_OK(symlink("nowhere", "dangling"));
    REQUIRE_OK(mkdir("d", 0755));
    REQUIRE_OK(symlink("../target", "d/up"));
    CHECK_EQ(inode_of("link2"), inode_of("target"));
    CHECK_EQ(inode_of("d/up"), inode_of("target"));
    CHECK_ERRNO(open("dangling", O_RDONLY), ENOENT);
    CHECK_ERRNO(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
    CHECK_ERRNO(open("dangling", O_CREAT | O_EXCL | O_WRONLY, 0600), EEXIST);
    int fd = open("dangling", O_CREAT | O_WRONLY, 0600);  // creates what it points at
    CHECK(fd >= 0);
    close(fd);
    CHECK(exists("nowhere"));
    struct stat st;
    CHECK_OK(lstat("link", &st));
    CHECK(S_ISLNK(st.st_mode));
    CHECK_EQ(st.st_size, 6);
    CHECK_OK(stat("link", &st));
    CHECK(S_ISREG(st.st_mode));
    char text[16] = "";
    CHECK_EQ(readlink("link", text, sizeof text), 6);
    CHECK(memcmp(text, "target", 6) == 0);
    CHECK_EQ(readlink("link", text, 3), 3);  // cut, without a word
    CHECK_ERRNO(readlink("target", text, 16), EINVAL);
    CHECK_ERRNO(readlink("missing", text, 16), ENOENT);
    CHECK_ERRNO(syscall(SYS_readlinkat, AT_FDCWD, "link", text, 0), EINVAL);
    CHECK_ERRNO(symlink("x", "link"), EEXIST);
    CHECK_ERRNO(symlink("", "empty"), ENOENT);
    CHECK_OK(unlink("link2"));  // the link, not the target
    CHECK(exists("target") && exists("link"));
    unlink("link"), unlink("dangling"), unlink("nowhere"), unlink("target"), unlink("d/up"),
        rmdir("d");
}

TEST(symlinks_to_directories)
{
    REQUIRE_OK(mkdir("d", 0755));
    make_file("d/f", "1");
    REQUIRE_OK(symlink("d", "s"));
    CHECK(exists("s/f"));
    CHECK_EQ(inode_of("s/.."), inode_of("."));  // dot-dot of the target
    struct stat st;
    CHECK_OK(lstat("s/", &st));  // a trailing slash follows it
    CHECK(S_ISDIR(st.st_mode));
    CHECK_ERRNO(open("s", O_RDONLY | O_DIRECTORY | O_NOFOLLOW), ENOTDIR);
    CHECK_ERRNO(rmdir("s"), ENOTDIR);
    CHECK_ERRNO(mkdir("s", 0700), EEXIST);
    unlink("s"), unlink("d/f"), rmdir("d");
}

TEST(link_loops_end)
{
    REQUIRE_OK(symlink("b", "a"));
    REQUIRE_OK(symlink("a", "b"));
    CHECK_ERRNO(open("a", O_RDONLY), ELOOP);
    CHECK_ERRNO(open("a/x", O_RDONLY), ELOOP);
    struct stat st;
    CHECK_ERRNO(stat("a", &st), ELOOP);
    CHECK_OK(lstat("a", &st));
    unlink("a"), unlink("b");
    make_file("end", "");  // 40 links are the limit
    char from[16], to[16] = "end";
    for (int i = 0; i < 41; i++) {
        snprintf(from, sizeof from, "chain%d", i);
        REQUIRE_OK(symlink(to, from));
        snprintf(to, sizeof to, "%s", from);
    }
    CHECK_OK(stat("chain39", &st));
    CHECK_ERRNO(stat("chain40", &st), ELOOP);
    for (int i = 0; i < 41; i++) {
        snprintf(from, sizeof from, "chain%d", i);
        unlink(from);
    }
    unlink("end");
}

TEST(open_flags)
{
    int fd = open("f", O_CREAT | O_EXCL | O_RDWR, 0640);
    REQUIRE(fd >= 0);
    CHECK_ERRNO(open("f", O_CREAT | O_EXCL | O_RDWR, 0640), EEXIST);
    CHECK_EQ(write(fd, "0123456789", 10), 10);
    close(fd);
    fd = open("f", O_RDONLY);
    CHECK_ERRNO(write(fd, "x", 1), EBADF);
    close(fd);
    fd = open("f", O_WRONLY);
    char c;
    CHECK_ERRNO(read(fd, &c, 1), EBADF);
    close(fd);
    fd = open("f", O_RDWR | O_APPEND);
    CHECK_EQ(lseek(fd, 2, SEEK_SET), 2);
    CHECK_EQ(write(fd, "ab", 2), 2);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 12);  // went to the end
    close(fd);
    struct stat st;
    fd = open("f", O_WRONLY | O_TRUNC);
    REQUIRE_OK(fstat(fd, &st));
    CHECK_EQ(st.st_size, 0);
    close(fd);
    CHECK_ERRNO(open("f", O_RDONLY | O_DIRECTORY), ENOTDIR);
    CHECK_ERRNO(open(".", O_WRONLY), EISDIR);
    CHECK_ERRNO(open(".", O_RDWR), EISDIR);
    CHECK_ERRNO(open(".", O_RDONLY | O_CREAT, 0600), EISDIR);
    CHECK_ERRNO(open("new/", O_WRONLY | O_CREAT, 0600), EISDIR);
    CHECK_ERRNO(open("f/", O_WRONLY | O_CREAT, 0600), EISDIR);
    CHECK_ERRNO(syscall(SYS_openat, AT_FDCWD, (char *)8, O_RDONLY), EFAULT);
    CHECK_ERRNO(syscall(SYS_openat, 9999, "f", O_RDONLY), EBADF);
    CHECK_OK(access("f", F_OK));
    unlink("f");
}

TEST(o_path)
{
    make_file("f", "abc");
    int fd = open("f", O_PATH);
    REQUIRE(fd >= 0);
    char c;
    struct stat st;
    CHECK_ERRNO(read(fd, &c, 1), EBADF);
    CHECK_OK(fstat(fd, &st));
    CHECK_EQ(st.st_size, 3);
    CHECK_ERRNO(ftruncate(fd, 0), EBADF);
    CHECK_OK(fcntl(fd, F_GETFD));
    close(fd);
    unlink("f");
}

TEST(o_tmpfile)
{
    int fd = open(".", O_TMPFILE | O_RDWR, 0600);
    if (fd < 0) {
        CHECK(errno == EOPNOTSUPP || errno == EISDIR);
        SKIP("this file system has no O_TMPFILE");
    }
    struct stat st;
    CHECK_EQ(write(fd, "abc", 3), 3);
    CHECK_OK(fstat(fd, &st));
    CHECK_EQ(st.st_nlink, 0);
    CHECK_ERRNO(open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
    close(fd);
}

TEST(umask_and_modes)
{
    mode_t old = umask(022);
    int fd = open("f", O_CREAT | O_WRONLY, 0666);
    struct stat st;
    REQUIRE_OK(fstat(fd, &st));
    CHECK_EQ(st.st_mode, S_IFREG | 0644);
    CHECK_EQ(umask(077), 022);
    REQUIRE_OK(mkdir("d", 0777));
    REQUIRE_OK(stat("d", &st));
    CHECK_EQ(st.st_mode & 0777, 0700);
    umask(old);
    CHECK_OK(fchmod(fd, 0600));
    CHECK_OK(stat("f", &st));
    CHECK_EQ(st.st_mode & 07777, 0600);
    CHECK_OK(chmod("f", 0444));
    CHECK_OK(stat("f", &st));
    CHECK_EQ(st.st_mode & 07777, 0444);
    CHECK_OK(fchmodat(AT_FDCWD, "f", 0640, 0));
    CHECK_ERRNO(chmod("missing", 0644), ENOENT);
    CHECK_ERRNO(fchmod(9999, 0644), EBADF);
    if (geteuid() == 0) {
        CHECK_OK(chown("f", 12, 34));
        CHECK_OK(stat("f", &st));
        CHECK_EQ(st.st_uid, 12);
        CHECK_EQ(st.st_gid, 34);
        CHECK_OK(fchown(fd, (uid_t)-1, 35));
        CHECK_OK(stat("f", &st));
        CHECK_EQ(st.st_uid, 12);
        CHECK_EQ(st.st_gid, 35);
    }
    close(fd);
    unlink("f"), rmdir("d");
}

TEST(access_checks)
{
    make_file("f", "x");
    REQUIRE_OK(chmod("f", 0600));
    CHECK_OK(access("f", F_OK));
    CHECK_OK(access("f", R_OK | W_OK));
    CHECK_ERRNO(access("f", X_OK), EACCES);  // not even for root
    CHECK_ERRNO(access("missing", F_OK), ENOENT);
    CHECK_ERRNO(access("f", 0x10), EINVAL);
    CHECK_OK(faccessat(AT_FDCWD, "f", R_OK, 0));
    CHECK_OK(syscall(SYS_faccessat2, AT_FDCWD, "f", R_OK, AT_EACCESS));
    CHECK_ERRNO(syscall(SYS_faccessat2, AT_FDCWD, "f", R_OK, 0x8000), EINVAL);
    REQUIRE_OK(chmod("f", 0700));
    CHECK_OK(access("f", X_OK));
    unlink("f");
}

TEST(hard_links)
{
    make_file("a", "text");
    REQUIRE_OK(link("a", "b"));
    struct stat st;
    REQUIRE_OK(stat("b", &st));
    CHECK_EQ(st.st_nlink, 2);
    CHECK_EQ(inode_of("a"), inode_of("b"));
    CHECK_OK(unlink("a"));
    CHECK(reads_as("b", "text"));
    REQUIRE_OK(stat("b", &st));
    CHECK_EQ(st.st_nlink, 1);
    CHECK_ERRNO(link("b", "b"), EEXIST);
    CHECK_ERRNO(link("missing", "c"), ENOENT);
    REQUIRE_OK(mkdir("d", 0700));
    CHECK_ERRNO(link("d", "e"), EPERM);
    unlink("b"), rmdir("d");
}

TEST(unlink_while_open)
{
    int fd = open("f", O_CREAT | O_RDWR, 0600);
    REQUIRE(write(fd, "hello", 5) == 5);
    CHECK_OK(unlink("f"));
    CHECK(!exists("f"));
    char text[8] = "";
    CHECK_EQ(pread(fd, text, 5, 0), 5);
    CHECK_STR(text, "hello");
    CHECK_EQ(write(fd, "more", 4), 4);
    struct stat st;
    REQUIRE_OK(fstat(fd, &st));
    CHECK_EQ(st.st_nlink, 0);
    CHECK_EQ(st.st_size, 9);
    int again = open("f", O_CREAT | O_EXCL | O_RDWR, 0600);  // the name is free
    CHECK(again >= 0);
    close(again), close(fd);
    unlink("f");
    CHECK_ERRNO(unlink("f"), ENOENT);
    CHECK_ERRNO(unlink("."), EISDIR);
}

TEST(directories)
{
    REQUIRE_OK(mkdir("d", 0755));
    CHECK_ERRNO(mkdir("d", 0755), EEXIST);
    CHECK_ERRNO(mkdir("x/y", 0755), ENOENT);
    CHECK_ERRNO(mkdir("", 0755), ENOENT);
    CHECK_OK(mkdir("d/sub/", 0755));  // a trailing slash is fine here
    CHECK_ERRNO(rmdir("d"), ENOTEMPTY);
    CHECK_ERRNO(rmdir("d/."), EINVAL);
    CHECK_ERRNO(rmdir("d/.."), ENOTEMPTY);
    CHECK_ERRNO(unlink("d"), EISDIR);
    CHECK_ERRNO(unlinkat(AT_FDCWD, "d/sub", 0), EISDIR);
    CHECK_OK(unlinkat(AT_FDCWD, "d/sub", AT_REMOVEDIR));
    make_file("f", "");
    CHECK_ERRNO(rmdir("f"), ENOTDIR);
    CHECK_ERRNO(unlinkat(AT_FDCWD, "f", AT_REMOVEDIR), ENOTDIR);
    CHECK_ERRNO(unlinkat(AT_FDCWD, "f", 0x8000), EINVAL);
    CHECK_OK(rmdir("d"));
    CHECK_ERRNO(rmdir("d"), ENOENT);
    unlink("f");
}

TEST(a_removed_directory_that_is_open)
{
    REQUIRE_OK(mkdir("d", 0755));
    int dir = open("d", O_RDONLY | O_DIRECTORY);
    REQUIRE(dir >= 0);
    REQUIRE_OK(rmdir("d"));
    CHECK_ERRNO(openat(dir, "f", O_CREAT | O_WRONLY, 0600), ENOENT);
    char buffer[512];
    CHECK_EQ(syscall(SYS_getdents64, dir, buffer, sizeof buffer) <= 0, 1);
    close(dir);
}

TEST(rename_rules)
{
    make_file("a", "A"), make_file("b", "B");
    CHECK_OK(rename("a", "b"));  // replaces
    CHECK(reads_as("b", "A") && !exists("a"));
    CHECK_ERRNO(rename("missing", "x"), ENOENT);
    CHECK_ERRNO(rename("b", "no/x"), ENOENT);
    REQUIRE_OK(mkdir("d", 0755));
    REQUIRE_OK(mkdir("e", 0755));
    CHECK_ERRNO(rename("b", "d"), EISDIR);
    CHECK_ERRNO(rename("d", "b"), ENOTDIR);
    CHECK_ERRNO(rename("d", "d/inside"), EINVAL);
    CHECK_OK(rename("b", "d/b"));
    CHECK_ERRNO(rename("e", "d"), ENOTEMPTY);
    CHECK_OK(rename("d", "e"));  // over an empty directory
    CHECK(reads_as("e/b", "A") && !exists("d"));
    CHECK_OK(rename("e/b", "e/b"));
    REQUIRE_OK(link("e/b", "e/c"));
    CHECK_OK(rename("e/b", "e/c"));  // two names of one file: nothing happens
    CHECK(exists("e/b") && exists("e/c"));
    make_file("p", "P"), make_file("q", "Q");
    CHECK_ERRNO(syscall(SYS_renameat2, AT_FDCWD, "p", AT_FDCWD, "q", 1 /* NOREPLACE */), EEXIST);
    CHECK_OK(syscall(SYS_renameat2, AT_FDCWD, "p", AT_FDCWD, "q", 2 /* EXCHANGE */));
    CHECK(reads_as("p", "Q") && reads_as("q", "P"));
    CHECK_ERRNO(syscall(SYS_renameat2, AT_FDCWD, "p", AT_FDCWD, "q", 3), EINVAL);
    CHECK_ERRNO(rename(".", "x"), EBUSY);
    unlink("p"), unlink("q"), unlink("e/b"), unlink("e/c"), rmdir("e");
}

TEST(rename_keeps_dot_dot_right)
{
    REQUIRE_OK(mkdir("a", 0755));
    REQUIRE_OK(mkdir("b", 0755));
    REQUIRE_OK(mkdir("a/x", 0755));
    REQUIRE_OK(rename("a/x", "b/x"));
    CHECK_EQ(inode_of("b/x/.."), inode_of("b"));
    struct stat st;
    REQUIRE_OK(stat("b", &st));
    if (st.st_nlink != 1) {  // some file systems do not count
        CHECK_EQ(st.st_nlink, 3);
        REQUIRE_OK(stat("a", &st));
        CHECK_EQ(st.st_nlink, 2);
    }
    rmdir("b/x"), rmdir("a"), rmdir("b");
}

static int count_entries(const char *path, size_t buffer_size, bool *dots)
{
    char buffer[4096] __attribute__((aligned(8)));
    int dir = open(path, O_RDONLY | O_DIRECTORY), count = 0;
    REQUIRE(dir >= 0);
    long n;
    *dots = false;
    while ((n = syscall(SYS_getdents64, dir, buffer, buffer_size)) > 0) {
        for (long at = 0; at < n;) {
            struct dirent64 {
                uint64_t ino;
                int64_t off;
                uint16_t reclen;
                uint8_t type;
                char name[];
            };
            struct dirent64 *entry = (struct dirent64 *)(buffer + at);
            REQUIRE(entry->reclen % 8 == 0 && entry->reclen >= 24 && at + entry->reclen <= n);
            CHECK(entry->ino != 0);
            if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
                *dots = true;
            else
                count++;
            at += entry->reclen;
        }
    }
    CHECK_EQ(n, 0);
    close(dir);
    return count;
}

TEST(getdents_gives_every_entry_once)
{
    REQUIRE_OK(mkdir("d", 0755));
    char name[32];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "d/file-%d", i);
        make_file(name, "");
    }
    bool dots;
    CHECK_EQ(count_entries("d", 4096, &dots), 300);
    CHECK(dots);
    CHECK_EQ(count_entries("d", 100, &dots), 300);  // few at a time
    char small[16];
    int dir = open("d", O_RDONLY | O_DIRECTORY);
    CHECK_ERRNO(syscall(SYS_getdents64, dir, small, 8), EINVAL);
    CHECK_ERRNO(syscall(SYS_getdents64, 9999, small, 8), EBADF);
    close(dir);
    DIR *stream = opendir("d");
    REQUIRE(stream != NULL);
    int files = 0, removed = 0;
    struct dirent *entry;
    while ((entry = readdir(stream)) != NULL) {  // removing while reading
        if (entry->d_name[0] != '.') {
            files++;
            CHECK(entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN);
            snprintf(name, sizeof name, "d/%.20s", entry->d_name);
            removed += unlink(name) == 0;
        }
    }
    CHECK_EQ(files, 300);
    CHECK_EQ(removed, 300);
    closedir(stream);
    CHECK_OK(rmdir("d"));
    int fd = open("f", O_CREAT | O_RDWR, 0600);
    char buffer[64];
    CHECK_ERRNO(syscall(SYS_getdents64, fd, buffer, sizeof buffer), ENOTDIR);
    close(fd);
    unlink("f");
}

TEST(rewinddir_sees_new_entries)
{
    REQUIRE_OK(mkdir("d", 0755));
    DIR *stream = opendir("d");
    REQUIRE(stream != NULL);
    while (readdir(stream)) {
    }
    make_file("d/new", "");
    rewinddir(stream);
    int found = 0;
    struct dirent *entry;
    while ((entry = readdir(stream)) != NULL)
        found += strcmp(entry->d_name, "new") == 0;
    CHECK_EQ(found, 1);
    closedir(stream);
    unlink("d/new"), rmdir("d");
}

TEST(stat_fields)
{
    make_file("f", "hello");
    struct stat st, st2;
    REQUIRE_OK(stat("f", &st));
    CHECK_EQ(st.st_size, 5);
    CHECK_EQ(st.st_mode, S_IFREG | 0644);
    CHECK_EQ(st.st_nlink, 1);
    CHECK_EQ(st.st_uid, geteuid());
    CHECK(st.st_blksize >= 512 && st.st_ino != 0);
    CHECK(llabs((long long)st.st_mtim.tv_sec - (long long)time(NULL)) < 60);
    int fd = open("f", O_RDONLY);
    REQUIRE_OK(fstat(fd, &st2));
    CHECK(st.st_ino == st2.st_ino && st.st_dev == st2.st_dev);
    CHECK_OK(fstatat(fd, "", &st2, AT_EMPTY_PATH));
    CHECK_EQ(st2.st_ino, st.st_ino);
    CHECK_ERRNO(fstatat(fd, "x", &st2, 0), ENOTDIR);
    CHECK_ERRNO(syscall(SYS_newfstatat, AT_FDCWD, "f", &st2, 0x40000000), EINVAL);
    CHECK_ERRNO(syscall(SYS_newfstatat, AT_FDCWD, "f", (void *)8, 0), EFAULT);
    CHECK_ERRNO(stat("", &st2), ENOENT);
    CHECK_ERRNO(fstat(9999, &st2), EBADF);
    close(fd);
    unlink("f");
    REQUIRE_OK(stat("/dev/null", &st));
    CHECK(S_ISCHR(st.st_mode));
    CHECK_EQ(st.st_rdev, (1 << 8) | 3);
    REQUIRE_OK(stat(".", &st));
    CHECK(S_ISDIR(st.st_mode));
}

struct statx_buffer {
    uint32_t mask, blksize;
    uint64_t attributes;
    uint32_t nlink, uid, gid;
    uint16_t mode, pad;
    uint64_t ino, size, blocks, attributes_mask;
    char rest[256 - 64];
};

TEST(statx_fields)
{
    make_file("f", "hello");
    struct statx_buffer x;
    memset(&x, 0xff, sizeof x);
    REQUIRE_OK(syscall(SYS_statx, AT_FDCWD, "f", 0, 0x7ff, &x));
    CHECK_EQ(x.mask & 0x7ff, 0x7ff);
    CHECK_EQ(x.size, 5);
    CHECK_EQ(x.nlink, 1);
    CHECK_EQ(x.mode, S_IFREG | 0644);
    CHECK_EQ(x.ino, inode_of("f"));
    CHECK_ERRNO(syscall(SYS_statx, AT_FDCWD, "f", 0x40000000, 0x7ff, &x), EINVAL);
    CHECK_ERRNO(syscall(SYS_statx, AT_FDCWD, "f", 0x6000, 0x7ff, &x), EINVAL);  // both sync types
    CHECK_ERRNO(syscall(SYS_statx, AT_FDCWD, "f", 0, 0x80000000u, &x), EINVAL);
    CHECK_ERRNO(syscall(SYS_statx, AT_FDCWD, "f", 0, 0x7ff, (void *)8), EFAULT);
    CHECK_ERRNO(syscall(SYS_statx, AT_FDCWD, "missing", 0, 0x7ff, &x), ENOENT);
    unlink("f");
}

TEST(times_of_files)
{
    make_file("f", "x");
    struct timespec when[2] = {{1000000000, 111}, {1100000000, 222}};
    struct stat st;
    CHECK_OK(utimensat(AT_FDCWD, "f", when, 0));
    REQUIRE_OK(stat("f", &st));
    CHECK_EQ(st.st_atim.tv_sec, 1000000000);
    CHECK_EQ(st.st_atim.tv_nsec, 111);
    CHECK_EQ(st.st_mtim.tv_sec, 1100000000);
    CHECK_EQ(st.st_mtim.tv_nsec, 222);
    when[0].tv_nsec = UTIME_OMIT, when[1].tv_nsec = UTIME_NOW;
    CHECK_OK(utimensat(AT_FDCWD, "f", when, 0));
    REQUIRE_OK(stat("f", &st));
    CHECK_EQ(st.st_atim.tv_sec, 1000000000);
    CHECK(st.st_mtim.tv_sec > 1500000000);
    when[0].tv_nsec = 1000000000;
    CHECK_ERRNO(utimensat(AT_FDCWD, "f", when, 0), EINVAL);
    CHECK_ERRNO(utimensat(AT_FDCWD, "missing", NULL, 0), ENOENT);
    int fd = open("f", O_RDWR);
    when[0] = when[1] = (struct timespec){5, 6};
    CHECK_OK(futimens(fd, when));
    REQUIRE_OK(fstat(fd, &st));
    CHECK_EQ(st.st_mtim.tv_sec, 5);
    REQUIRE(write(fd, "y", 1) == 1);  // writing moves it on
    REQUIRE_OK(fstat(fd, &st));
    CHECK(st.st_mtim.tv_sec > 1500000000);
    close(fd);
    unlink("f");
}

TEST(working_directory)
{
    char before[PATH_MAX], now[PATH_MAX + 8];
    REQUIRE(getcwd(before, sizeof before) != NULL);
    CHECK(before[0] == '/');
    REQUIRE_OK(mkdir("d", 0755));
    CHECK_OK(chdir("d"));
    REQUIRE(getcwd(now, sizeof now) != NULL);
    CHECK(strncmp(now, before, strlen(before)) == 0 && strcmp(now + strlen(before), "/d") == 0);
    CHECK_ERRNO(syscall(SYS_getcwd, now, 3), ERANGE);
    CHECK_ERRNO(syscall(SYS_getcwd, (void *)8, 4096), EFAULT);
    CHECK_OK(chdir(".."));
    REQUIRE(getcwd(now, sizeof now) != NULL);
    CHECK_STR(now, before);
    int dir = open("d", O_RDONLY);
    CHECK_OK(fchdir(dir));
    REQUIRE(getcwd(now, sizeof now) != NULL);
    CHECK(strcmp(now + strlen(now) - 2, "/d") == 0);
    CHECK_OK(chdir("/"));
    REQUIRE(getcwd(now, sizeof now) != NULL);
    CHECK_STR(now, "/");
    CHECK_OK(chdir(before));
    CHECK_ERRNO(chdir("missing"), ENOENT);
    make_file("f", "");
    CHECK_ERRNO(chdir("f"), ENOTDIR);
    int fd = open("f", O_RDONLY);
    CHECK_ERRNO(fchdir(fd), ENOTDIR);
    CHECK_ERRNO(fchdir(9999), EBADF);
    close(fd), close(dir);
    unlink("f"), rmdir("d");
}

TEST(at_calls_start_at_the_descriptor)
{
    REQUIRE_OK(mkdir("d", 0755));
    int dir = open("d", O_RDONLY | O_DIRECTORY);
    REQUIRE(dir >= 0);
    int fd = openat(dir, "f", O_CREAT | O_RDWR, 0600);
    CHECK(fd >= 0);
    CHECK(exists("d/f"));
    CHECK_OK(mkdirat(dir, "sub", 0700));
    CHECK_OK(symlinkat("f", dir, "s"));
    char text[8] = "";
    CHECK_EQ(readlinkat(dir, "s", text, 8), 1);
    CHECK_OK(linkat(dir, "f", dir, "g", 0));
    CHECK_OK(renameat(dir, "g", dir, "h"));
    CHECK(exists("d/h"));
    CHECK_ERRNO(openat(fd, "x", O_RDONLY), ENOTDIR);
    CHECK_OK(unlinkat(dir, "h", 0));
    CHECK_OK(unlinkat(dir, "s", 0));
    CHECK_OK(unlinkat(dir, "f", 0));
    CHECK_OK(unlinkat(dir, "sub", AT_REMOVEDIR));
    close(fd), close(dir);
    rmdir("d");
}

TEST(openat2_resolves_as_told)
{
    struct {
        uint64_t flags, mode, resolve;
    } how = {O_RDONLY, 0, 0x08 /* BENEATH */};
    make_file("f", "x");
    REQUIRE_OK(symlink("f", "s"));
    long fd = syscall(437, AT_FDCWD, "f", &how, sizeof how);
    if (fd == -1 && errno == ENOSYS) {
        unlink("f"), unlink("s");
        SKIP("no openat2 here");
    }
    CHECK(fd >= 0);
    close((int)fd);
    CHECK_ERRNO(syscall(437, AT_FDCWD, "../x", &how, sizeof how), EXDEV);
    CHECK_ERRNO(syscall(437, AT_FDCWD, "/", &how, sizeof how), EXDEV);
    how.resolve = 0x04;  // NO_SYMLINKS
    CHECK_ERRNO(syscall(437, AT_FDCWD, "s", &how, sizeof how), ELOOP);
    how.resolve = 0x8000;
    CHECK_ERRNO(syscall(437, AT_FDCWD, "f", &how, sizeof how), EINVAL);
    unlink("f"), unlink("s");
}

TEST(truncate_by_name_and_number)
{
    make_file("f", "0123456789");
    CHECK_OK(truncate("f", 4));
    CHECK(reads_as("f", "0123"));
    CHECK_ERRNO(truncate("f", -1), EINVAL);
    CHECK_ERRNO(truncate("missing", 1), ENOENT);
    CHECK_ERRNO(truncate(".", 1), EISDIR);
    int fd = open("f", O_RDONLY);
    CHECK_ERRNO(ftruncate(fd, 1), EINVAL);  // not open for writing
    close(fd);
    fd = open("f", O_RDWR);
    CHECK_OK(ftruncate(fd, 8));
    char text[8];
    CHECK_EQ(pread(fd, text, 8, 0), 8);
    CHECK(memcmp(text, "0123\0\0\0\0", 8) == 0);
    CHECK_ERRNO(ftruncate(fd, -1), EINVAL);
    CHECK_ERRNO(ftruncate(9999, 1), EBADF);
    close(fd);
    unlink("f");
}

TEST(fifo_and_device_nodes)
{
    CHECK_OK(mknod("fifo", S_IFIFO | 0600, 0));
    struct stat st;
    REQUIRE_OK(stat("fifo", &st));
    CHECK(S_ISFIFO(st.st_mode));
    CHECK_ERRNO(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);  // nobody reads
    int reader = open("fifo", O_RDONLY | O_NONBLOCK);
    CHECK(reader >= 0);
    int writer = open("fifo", O_WRONLY);
    CHECK(writer >= 0);
    CHECK_EQ(write(writer, "ab", 2), 2);
    char text[4];
    CHECK_EQ(read(reader, text, 4), 2);
    close(writer);
    CHECK_EQ(read(reader, text, 4), 0);
    close(reader);
    unlink("fifo");
}

TEST(statfs_names_the_file_system)
{
    struct statfs fs;
    CHECK_OK(statfs("/proc", &fs));
    CHECK_EQ(fs.f_type, 0x9fa0);
    CHECK_OK(statfs(".", &fs));
    CHECK(fs.f_bsize > 0 && fs.f_namelen == 255);
    CHECK_ERRNO(statfs("/missing", &fs), ENOENT);
    CHECK_ERRNO(fstatfs(9999, &fs), EBADF);
}

TEST(nothing_is_mounted_twice)
{
    static char text[65536], seen[64][128];
    slurp("/proc/mounts", text, sizeof text);
    if (!in_lethe())
        SKIP("a host may stack mounts");
    int n = 0;
    for (char *line = strtok(text, "\n"); line && n < 64; line = strtok(NULL, "\n")) {
        REQUIRE(sscanf(line, "%*s %127s", seen[n]) == 1);
        for (int i = 0; i < n; i++)
            if (strcmp(seen[i], seen[n]) == 0)
                FAIL("%s is mounted twice", seen[n]);
        n++;
    }
    CHECK(n >= 6);
}

TEST(the_root_layout)
{
    static const char *const places[] = {"/",    "/dev",      "/proc",      "/sys",
                                         "/tmp", "/dev/null", "/proc/self", "/dev/shm"};
    struct stat st;
    for (size_t i = 0; i < COUNT(places); i++)
        if (stat(places[i], &st) != 0)
            FAIL("stat %s fails with %s", places[i], errno_name(errno));
    REQUIRE_OK(stat("/tmp", &st));
    CHECK_EQ(st.st_mode & 07777, 01777);
}
