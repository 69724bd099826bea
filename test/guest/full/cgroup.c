// SPDX-License-Identifier: BSD-2-Clause
// The control group as run-times find it. Sources: cgroups(7), the kernel's cgroup-v2 document; the order of Go's runtime and of
// the JVM: /proc/self/cgroup, then the mount in /proc/self/mountinfo, then the files.
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#define CGROUP2_MAGIC 0x63677270

static char group[1024];  // path of the group's directory

static void find_group(void)
{
    char text[65536], path[256] = "", *save;
    slurp("/proc/self/cgroup", text, sizeof(text));
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (strncmp(line, "0::", 3) == 0)
            snprintf(path, sizeof(path), "%s", line + 3);
    REQUIRE(path[0] == '/');
    slurp("/proc/self/mountinfo", text, sizeof(text));
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char root[256], at[256];
        const char *type = strstr(line, " - cgroup2 ");
        if (type && sscanf(line, "%*d %*d %*d:%*d %255s %255s", root, at) == 2)
            snprintf(group, sizeof(group), "%s%s", at, strcmp(path, "/") ? path : "");
    }
    if (!group[0])
        SKIP("no cgroup2 is mounted");
}

static char *text_of(const char *name)
{
    static char text[65536], path[1280];
    snprintf(path, sizeof(path), "%s/%s", group, name);
    slurp(path, text, sizeof(text));
    return text;
}

// The number behind a key at the start of a line. => -1: there is none
static long long number_of(const char *name, const char *key)
{
    size_t len = strlen(key);
    for (char *at = text_of(name); at; at = strchr(at, '\n'), at = at ? at + 1 : NULL)
        if (strncmp(at, key, len) == 0 && at[len] == ' ')
            return atoll(at + len);
    return -1;
}

static bool lists(const char *name, int id)
{
    bool found = false;
    for (char *at = text_of(name); *at && !found; at = strchr(at, '\n') + 1)
        found = atoi(at) == id;
    return found;
}

TEST(the_group_is_found)
{
    struct statfs fs;
    find_group();
    REQUIRE_OK(statfs(group, &fs));
    CHECK_EQ(fs.f_type, CGROUP2_MAGIC);
    CHECK(lists("cgroup.procs", getpid()));
    CHECK(lists("cgroup.threads", my_tid()));
    CHECK(!lists("cgroup.procs", 999999));
    CHECK(strchr(text_of("cgroup.controllers"), '\n') != NULL);
}

TEST(cpu_time_is_told)
{
    find_group();
    long long before = number_of("cpu.stat", "usage_usec");
    for (uint64_t end = now_ns(CLOCK_PROCESS_CPUTIME_ID) + 100 * MS;
         now_ns(CLOCK_PROCESS_CPUTIME_ID) < end;)
        ;
    CHECK(before >= 0);
    CHECK(number_of("cpu.stat", "usage_usec") >= before + 90000);
    CHECK(number_of("cpu.stat", "user_usec") >= 0 && number_of("cpu.stat", "system_usec") >= 0);
}

static void *sleeper(void *arg)
{
    char c;
    return (void *)read(*(int *)arg, &c, 1);
}

// What a group that is not the root has besides; the host's may be the root group.
TEST(limits_and_use)
{
    find_group();
    if (!in_lethe())
        SKIP("the host's group is its own affair");
    CHECK(reads_as("/proc/self/cgroup", "0::/\n"));
    CHECK_STR(group, "/sys/fs/cgroup");
    CHECK_STR(text_of("cpu.max"), "max 100000\n");
    CHECK_STR(text_of("memory.max"), "max\n");
    CHECK_STR(text_of("memory.high"), "max\n");
    CHECK_STR(text_of("memory.swap.max"), "max\n");
    CHECK_STR(text_of("pids.max"), "max\n");
    CHECK_STR(text_of("cgroup.type"), "domain\n");
    char cpus[64];
    slurp("/sys/devices/system/cpu/online", cpus, sizeof(cpus));
    CHECK_STR(text_of("cpuset.cpus.effective"), cpus);
    long long total = sysconf(_SC_PHYS_PAGES) * PAGE, used = atoll(text_of("memory.current"));
    long long anon = number_of("memory.stat", "anon");
    CHECK_RANGE(used, 1, total);
    char *more = map_anon(8 << 20);
    memset(more, 1, 8 << 20);
    CHECK(number_of("memory.stat", "anon") >= anon + (7 << 20));
    CHECK(atoll(text_of("memory.current")) >= used + (7 << 20));
    CHECK(number_of("memory.stat", "inactive_file") >= 0);
    int n = atoi(text_of("pids.current")), p[2];
    pthread_t thread;
    REQUIRE_OK(pipe(p));
    pthread_create(&thread, NULL, sleeper, &p[0]);
    CHECK_EQ(atoi(text_of("pids.current")), n + 1);
    close(p[1]);
    pthread_join(thread, NULL);
    slurp("/proc/cgroups", more, 4096);
    CHECK(strstr(more, "\nmemory\t0\t1\t1\n") && strstr(more, "\ncpuset\t0\t1\t1\n"));
}

TEST(nothing_can_be_changed)
{
    find_group();
    if (!in_lethe())
        SKIP("the host's group is its own affair");
    CHECK_ERRNO(mkdir("/sys/fs/cgroup/new", 0755), EROFS);
    CHECK_ERRNO(open("/sys/fs/cgroup/cpu.max", O_WRONLY), EROFS);
    CHECK_ERRNO(open("/sys/fs/cgroup/cgroup.procs", O_WRONLY), EROFS);
    CHECK_ERRNO(open("/sys/fs/cgroup/none", O_RDONLY), ENOENT);
}

// Every name that is listed can be looked up and read.
TEST(the_directory_is_whole)
{
    find_group();
    int n = 0;
    DIR *d = opendir(group);
    REQUIRE(d != NULL);
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        if (e->d_name[0] == '.')
            continue;
        n++;
        CHECK_OK(fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW));
        CHECK_EQ(st.st_ino, e->d_ino);
        if (in_lethe())
            text_of(e->d_name);
    }
    closedir(d);
    CHECK(n >= 8);
    bool cgroup = false, net = false;
    d = opendir("/proc/self");
    REQUIRE(d != NULL);
    for (struct dirent *e; (e = readdir(d));) {
        cgroup |= strcmp(e->d_name, "cgroup") == 0 && e->d_type == DT_REG;
        net |= strcmp(e->d_name, "net") == 0 && e->d_type == DT_DIR;
    }
    closedir(d);
    CHECK(cgroup && net);
    CHECK_OK(access("/proc/thread-self/cgroup", R_OK));
    CHECK_OK(access("/proc/thread-self/net/dev", R_OK));
}
