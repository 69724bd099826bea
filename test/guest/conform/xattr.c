// SPDX-License-Identifier: BSD-2-Clause
// Extended attributes, setxattr(2) and its relatives: on files in memory, and (test/system/volume.sh) on a volume.
#include "harness.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static void make_file(const char *path)
{
    int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0644);
    REQUIRE_OK(fd);
    close(fd);
}

// The value is what the text says.
static void check_value(const char *path, const char *name, const char *want)
{
    char value[1024];
    long n = getxattr(path, name, value, sizeof value);
    CHECK_EQ(n, (long)strlen(want));
    CHECK(n < 0 || memcmp(value, want, (size_t)n) == 0);
}

static bool listed(const char *list, long n, const char *name)
{
    for (long at = 0; at < n; at += (long)strlen(list + at) + 1) {
        if (strcmp(list + at, name) == 0)
            return true;
    }
    return false;
}

TEST(set_get_list_remove)
{
    char list[256];
    make_file("x");
    CHECK_ERRNO(getxattr("x", "user.a", NULL, 0), ENODATA);
    CHECK_OK(setxattr("x", "user.a", "one", 3, 0));
    check_value("x", "user.a", "one");
    CHECK_OK(setxattr("x", "user.a", "another", 7, 0));
    check_value("x", "user.a", "another");
    CHECK_OK(setxattr("x", "user.b", "", 0, 0));
    check_value("x", "user.b", "");
    CHECK_OK(setxattr("x", "trusted.t", "t", 1, 0));
    CHECK_OK(setxattr("x", "security.s", "s", 1, 0));
    long n = listxattr("x", list, sizeof list);
    CHECK_EQ(listxattr("x", NULL, 0), n);
    CHECK(listed(list, n, "user.a") && listed(list, n, "user.b"));
    CHECK(listed(list, n, "trusted.t") && listed(list, n, "security.s"));
    CHECK_ERRNO(listxattr("x", list, 3), ERANGE);
    CHECK_OK(removexattr("x", "user.a"));
    CHECK_ERRNO(removexattr("x", "user.a"), ENODATA);
    CHECK_ERRNO(getxattr("x", "user.a", list, sizeof list), ENODATA);
    n = listxattr("x", list, sizeof list);
    CHECK(!listed(list, n, "user.a") && listed(list, n, "user.b"));
    unlink("x");
}

TEST(flags_and_sizes)
{
    char value[16];
    make_file("x");
    CHECK_ERRNO(setxattr("x", "user.a", "v", 1, XATTR_REPLACE), ENODATA);
    CHECK_OK(setxattr("x", "user.a", "v", 1, XATTR_CREATE));
    CHECK_ERRNO(setxattr("x", "user.a", "v", 1, XATTR_CREATE), EEXIST);
    CHECK_OK(setxattr("x", "user.a", "value", 5, XATTR_REPLACE));
    CHECK_ERRNO(setxattr("x", "user.a", "v", 1, 4), EINVAL);
    CHECK_EQ(getxattr("x", "user.a", NULL, 0), 5);
    CHECK_ERRNO(getxattr("x", "user.a", value, 4), ERANGE);
    CHECK_EQ(getxattr("x", "user.a", value, 5), 5);
    CHECK_ERRNO(setxattr("x", "user.a", "v", 65537, 0), E2BIG);
    check_value("x", "user.a", "value");
    unlink("x");
}

TEST(names)
{
    char name[300] = "user.";
    make_file("x");
    memset(name + 5, 'n', 250);
    CHECK_OK(setxattr("x", name, "v", 1, 0));
    check_value("x", name, "v");
    name[255] = 'n';
    CHECK_ERRNO(setxattr("x", name, "v", 1, 0), ERANGE);
    CHECK_ERRNO(setxattr("x", "", "v", 1, 0), ERANGE);
    CHECK_ERRNO(setxattr("x", "user.", "v", 1, 0), EINVAL);
    CHECK_ERRNO(setxattr("x", "plain", "v", 1, 0), EOPNOTSUPP);
    CHECK_ERRNO(getxattr("x", "plain", NULL, 0), EOPNOTSUPP);
    CHECK_ERRNO(removexattr("x", "other.space"), EOPNOTSUPP);
    unlink("x");
}

TEST(by_path_descriptor_and_link)
{
    char value[8];
    make_file("x");
    CHECK_OK(symlink("x", "link"));
    CHECK_OK(setxattr("link", "user.a", "v", 1, 0));
    check_value("x", "user.a", "v");
    CHECK_ERRNO(lsetxattr("link", "user.a", "v", 1, 0), EPERM);
    CHECK_ERRNO(lgetxattr("link", "user.a", value, sizeof value), ENODATA);
    CHECK_ERRNO(lremovexattr("link", "user.a"), EPERM);
    CHECK_OK(lsetxattr("link", "trusted.a", "l", 1, 0));
    CHECK_EQ(lgetxattr("link", "trusted.a", value, sizeof value), 1);
    CHECK_ERRNO(getxattr("link", "trusted.a", value, sizeof value), ENODATA);
    int fd = open("x", O_RDONLY), path_only = open("x", O_PATH);
    CHECK_OK(fsetxattr(fd, "user.f", "f", 1, 0));
    CHECK_EQ(fgetxattr(fd, "user.f", value, sizeof value), 1);
    CHECK_EQ(flistxattr(fd, NULL, 0), 14);
    CHECK_OK(fremovexattr(fd, "user.f"));
    CHECK_ERRNO(fsetxattr(path_only, "user.f", "f", 1, 0), EBADF);
    CHECK_ERRNO(fgetxattr(path_only, "user.f", NULL, 0), EBADF);
    CHECK_ERRNO(fsetxattr(-1, "user.f", "f", 1, 0), EBADF);
    CHECK_ERRNO(setxattr("absent", "user.a", "v", 1, 0), ENOENT);
    close(fd);
    close(path_only);
    unlink("link");
    unlink("x");
}

TEST(kinds_of_files)
{
    CHECK_OK(mkdir("d", 0755));
    CHECK_OK(setxattr("d", "user.a", "dir", 3, 0));
    check_value("d", "user.a", "dir");
    rmdir("d");
    CHECK_OK(mkfifo("fifo", 0644));
    CHECK_ERRNO(setxattr("fifo", "user.a", "v", 1, 0), EPERM);
    CHECK_ERRNO(getxattr("fifo", "user.a", NULL, 0), ENODATA);
    CHECK_OK(setxattr("fifo", "trusted.a", "v", 1, 0));
    unlink("fifo");
}

TEST(bad_pointers)
{
    char *bad = (char *)1;
    make_file("x");
    CHECK_ERRNO(setxattr(bad, "user.a", "v", 1, 0), EFAULT);
    CHECK_ERRNO(setxattr("x", bad, "v", 1, 0), EFAULT);
    CHECK_ERRNO(setxattr("x", "user.a", bad, 1, 0), EFAULT);
    CHECK_ERRNO(getxattr("x", "user.a", NULL, 0), ENODATA);
    CHECK_OK(setxattr("x", "user.a", "v", 1, 0));
    CHECK_ERRNO(getxattr("x", "user.a", bad, 1), EFAULT);
    CHECK_ERRNO(listxattr("x", bad, 100), EFAULT);
    CHECK_OK(setxattr("x", "user.none", bad, 0, 0));
    unlink("x");
}

// As many as there is room for, in sizes that do not all fit into an inode; each keeps its value, and the change time moves.
TEST(many)
{
    char name[32], value[200], got[200];
    struct stat before, after;
    make_file("x");
    CHECK_OK(stat("x", &before));
    usleep(20000);
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "user.number-%d", i);
        memset(value, 'a' + i, sizeof value);
        REQUIRE_OK(setxattr("x", name, value, (size_t)i * 15, 0));
    }
    CHECK_OK(stat("x", &after));
    CHECK(after.st_ctim.tv_sec > before.st_ctim.tv_sec ||
          after.st_ctim.tv_nsec > before.st_ctim.tv_nsec);
    for (int i = 0; i < 12; i += 2) {
        snprintf(name, sizeof name, "user.number-%d", i);
        CHECK_OK(removexattr("x", name));
    }
    CHECK_OK(rename("x", "y"));
    for (int i = 1; i < 12; i += 2) {
        snprintf(name, sizeof name, "user.number-%d", i);
        memset(value, 'a' + i, sizeof value);
        CHECK_EQ(getxattr("y", name, got, sizeof got), i * 15);
        CHECK(memcmp(value, got, (size_t)i * 15) == 0);
    }
    unlink("y");
}
