// SPDX-License-Identifier: BSD-2-Clause
// Who a process is: users, groups, capabilities. Sources: credentials(7), capabilities(7), setuid(2), setreuid(2), setresuid(2),
// setfsuid(2), setgroups(2), capget(2), chroot(2). Each test is done by a child, which may give up what it has.
#include "harness.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void in_child(void (*body)(void))
{
    int status = -1;
    if (geteuid() != 0)
        SKIP("not root");
    pid_t child = fork();
    REQUIRE_OK(child);
    if (!child) {
        body();
        fflush(NULL);
        _exit(harness_failed());
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

// Libraries change all threads; the tests mean the calls. -1: as setreuid(2) has it.
static int set_res(int call, int real, int effective, int saved)
{
    return (int)syscall(call, real, effective, saved);
}

static void check_ids(uid_t real, uid_t effective, uid_t saved)
{
    uid_t r, e, s;
    CHECK_OK(getresuid(&r, &e, &s));
    CHECK_EQ(r, real);
    CHECK_EQ(e, effective);
    CHECK_EQ(s, saved);
    CHECK_EQ(setfsuid(-1), effective);  // follows the effective one
}

static struct __user_cap_data_struct *caps(void)
{
    static struct __user_cap_data_struct data[2];
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    CHECK_OK(syscall(SYS_capget, &header, data));
    return data;
}

static void setuid_body(void)
{
    CHECK_OK(syscall(SYS_setuid, 1000));
    check_ids(1000, 1000, 1000);
    CHECK_EQ(caps()[0].effective, 0);
    CHECK_EQ(caps()[0].permitted, 0);
    CHECK_ERRNO(syscall(SYS_setuid, 0), EPERM);
    CHECK_ERRNO(syscall(SYS_setuid, -1), EINVAL);
    CHECK_OK(syscall(SYS_setuid, 1000));
    CHECK_ERRNO(syscall(SYS_setgroups, 0, NULL), EPERM);
    CHECK_ERRNO(chroot("/"), EPERM);
    CHECK_ERRNO(syscall(SYS_setgid, 12), EPERM);
    CHECK_ERRNO(set_res(SYS_setresuid, -1, 0, -1), EPERM);
    CHECK_OK(set_res(SYS_setresuid, -1, -1, -1));
}
TEST(setuid_of_root_is_for_good) { in_child(setuid_body); }

static void saved_body(void)
{
    CHECK_OK(set_res(SYS_setresuid, 1000, 1001, 0));
    check_ids(1000, 1001, 0);
    CHECK_EQ(caps()[0].effective, 0);  // the effective user was root and is no more
    CHECK(caps()[0].permitted != 0);   // but one of the three still is
    CHECK_OK(syscall(SYS_setuid, 1000));
    check_ids(1000, 1000, 0);
    CHECK_OK(syscall(SYS_setuid, 0));  // back by the saved one
    check_ids(1000, 0, 0);
    CHECK(caps()[0].effective != 0);
    CHECK_OK(set_res(SYS_setreuid, 5, 6, 0));
    check_ids(5, 6, 6);  // the saved one follows when the real one is set
    CHECK_OK(set_res(SYS_setreuid, 6, 5, 0));
    check_ids(6, 5, 5);
    CHECK_ERRNO(set_res(SYS_setreuid, 7, -1, 0), EPERM);
    CHECK_ERRNO(set_res(SYS_setreuid, -1, 7, 0), EPERM);
    CHECK_EQ(caps()[0].permitted, 0);
}
TEST(saved_user_ids) { in_child(saved_body); }

static void group_body(void)
{
    gid_t list[4] = {30, 10, 20, 10}, got[8], r, e, s;
    CHECK_OK(syscall(SYS_setgroups, 3, list));
    CHECK_EQ(getgroups(0, NULL), 3);
    CHECK_ERRNO(getgroups(2, got), EINVAL);
    CHECK_EQ(getgroups(8, got), 3);
    CHECK_ERRNO(getgroups(-1, got), EINVAL);
    CHECK_ERRNO(syscall(SYS_setgroups, 65537, list), EINVAL);
    CHECK_ERRNO(syscall(SYS_setgroups, 3, (void *)8), EFAULT);
    CHECK_OK(set_res(SYS_setresgid, 1, 2, 3));
    CHECK_OK(getresgid(&r, &e, &s));
    CHECK(r == 1 && e == 2 && s == 3);
    CHECK_EQ(setfsgid(-1), 2);
    CHECK_OK(syscall(SYS_setgid, 9));
    CHECK(getgid() == 9 && getegid() == 9);
    // What the groups are for: a file of group 20 that others may not read.
    int fd = open("grouped", O_CREAT | O_WRONLY, 0600);
    CHECK_OK(fchown(fd, 0, 20));
    CHECK_OK(fchmod(fd, 0040));
    close(fd);
    CHECK_OK(syscall(SYS_setuid, 1000));
    CHECK_OK(close(open("grouped", O_RDONLY)));
    CHECK_ERRNO(open("grouped", O_WRONLY), EACCES);
    CHECK_OK(set_res(SYS_setregid, -1, 9, 0));
    CHECK_ERRNO(set_res(SYS_setresgid, -1, -1, 20), EPERM);
}
TEST(groups_and_group_ids)
{
    chmod(".", 0755);
    in_child(group_body);
    unlink("grouped");
}

static void fsuid_body(void)
{
    int fd = open("private", O_CREAT | O_WRONLY, 0600);
    close(fd);
    CHECK_EQ(setfsuid(1000), 0);
    CHECK_EQ(setfsuid(-1), 1000);
    CHECK_EQ(geteuid(), 0);
    CHECK_ERRNO(open("private", O_RDONLY), EACCES);  // the file capabilities went with it
    CHECK(!(caps()[0].effective & (1u << CAP_DAC_OVERRIDE)));
    CHECK(caps()[0].effective & (1u << CAP_SYS_ADMIN));
    CHECK_EQ(setfsuid(0), 1000);
    CHECK(caps()[0].effective & (1u << CAP_DAC_OVERRIDE));
    CHECK_OK(close(open("private", O_RDONLY)));
    CHECK_EQ(setfsgid(77), (int)getegid());
    struct stat st;
    fd = open("made", O_CREAT | O_WRONLY, 0600);
    CHECK_OK(fstat(fd, &st));
    CHECK_EQ(st.st_gid, 77);
    close(fd);
}
TEST(file_system_ids)
{
    in_child(fsuid_body);
    unlink("private"), unlink("made");
}

static void keep_body(void)
{
    CHECK_OK(prctl(PR_SET_KEEPCAPS, 1));
    CHECK_OK(syscall(SYS_setuid, 1000));
    CHECK_EQ(caps()[0].effective, 0);
    CHECK(caps()[0].permitted & (1u << CAP_SETUID));
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{1u << CAP_SETUID, 1u << CAP_SETUID, 0}, {0, 0, 0}};
    CHECK_OK(syscall(SYS_capset, &header, data));
    CHECK_EQ(caps()[0].permitted, 1u << CAP_SETUID);
    data[0].permitted |= 1u << CAP_CHOWN;
    CHECK_ERRNO(syscall(SYS_capset, &header, data), EPERM);
    data[0].permitted = 0;  // effective beyond permitted
    CHECK_ERRNO(syscall(SYS_capset, &header, data), EPERM);
    header.version = 0;
    CHECK_ERRNO(syscall(SYS_capset, &header, data), EINVAL);
    CHECK_EQ(header.version, _LINUX_CAPABILITY_VERSION_3);  // told which one to use
    header.pid = getppid();
    CHECK_ERRNO(syscall(SYS_capset, &header, data), EPERM);
    header.version = _LINUX_CAPABILITY_VERSION_3;
    header.pid = 4000000;
    CHECK_ERRNO(syscall(SYS_capget, &header, data), ESRCH);
    header.pid = -1;
    CHECK_ERRNO(syscall(SYS_capget, &header, data), EINVAL);
    CHECK_ERRNO(syscall(SYS_capget, (void *)8, data), EFAULT);
    CHECK_OK(syscall(SYS_setuid, 0));  // CAP_SETUID is enough
}
TEST(capabilities_that_are_kept) { in_child(keep_body); }

static void bounding_body(void)
{
    CHECK_EQ(prctl(PR_CAPBSET_READ, CAP_CHOWN), 1);
    CHECK_ERRNO(prctl(PR_CAPBSET_READ, 64), EINVAL);
    CHECK_OK(prctl(PR_CAPBSET_DROP, CAP_CHOWN));
    CHECK_EQ(prctl(PR_CAPBSET_READ, CAP_CHOWN), 0);
    CHECK_ERRNO(prctl(PR_CAPBSET_DROP, 64), EINVAL);
    CHECK_OK(syscall(SYS_setuid, 1000));
    CHECK_ERRNO(prctl(PR_CAPBSET_DROP, CAP_KILL), EPERM);
    CHECK_ERRNO(chown(".", 1, 1), EPERM);
    CHECK_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    CHECK_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    CHECK_ERRNO(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
    CHECK_ERRNO(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0), EINVAL);
}
TEST(bounding_set_and_no_new_privileges) { in_child(bounding_body); }

static void chroot_body(void)
{
    char path[4096];
    CHECK_OK(mkdir("jail", 0755));
    CHECK_OK(mkdir("jail/in", 0755));
    CHECK_ERRNO(chroot("missing"), ENOENT);
    close(open("file", O_CREAT | O_WRONLY, 0600));
    CHECK_ERRNO(chroot("file"), ENOTDIR);
    CHECK_ERRNO(chroot((char *)8), EFAULT);
    CHECK_OK(chroot("jail"));
    CHECK_OK(access("/in", F_OK));
    CHECK_OK(access("file", F_OK));  // the working directory stays where it was,
    CHECK(syscall(SYS_getcwd, path, sizeof(path)) > 0);  // outside
    CHECK(strncmp(path, "(unreachable)/", 14) == 0);
    CHECK_OK(chdir("/in"));
    CHECK_OK(access("../../../in", F_OK));  // no way up from inside
    CHECK_ERRNO(access("/file", F_OK), ENOENT);
    CHECK(syscall(SYS_getcwd, path, sizeof(path)) > 0);
    CHECK_STR(path, "/in");
    CHECK_ERRNO(access("/proc", F_OK), ENOENT);
}
TEST(chroot_is_a_new_root)
{
    in_child(chroot_body);
    unlink("file"), rmdir("jail/in"), rmdir("jail");
}
