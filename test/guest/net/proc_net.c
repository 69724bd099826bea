// SPDX-License-Identifier: BSD-2-Clause
// What /proc/net, /proc/sys/net and /sys/class/net tell of sockets and interfaces. Source: proc(5).
#include "net.h"

#include <dirent.h>

static char *text_of(const char *path)
{
    static char text[16 << 20];  // a busy host has many connections
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t n;
    if (fd < 0) {
        FAIL("%s: %s", path, errno_name(errno));
        return strcpy(text, "");
    }
    while (len < sizeof text - 1 &&
           (n = read(fd, text + len, sizeof text - len > 65536 ? 65536 : sizeof text - 1 - len)) >
               0)
        len += (size_t)n;
    text[len] = '\0';
    close(fd);
    return text;
}

// The line that holds both words. => NULL: none
static char *line_with(const char *path, const char *word, const char *other)
{
    static char line[1024];
    for (char *at = text_of(path), *end; *at; at = end + (*end == '\n')) {
        end = strchrnul(at, '\n');
        size_t len = (size_t)(end - at) < sizeof line - 1 ? (size_t)(end - at) : sizeof line - 1;
        memcpy(line, at, len);
        line[len] = '\0';
        if (strstr(line, word) && strstr(line, other))
            return line;
    }
    return NULL;
}

static unsigned long inode_of(int fd)
{
    struct stat st;
    REQUIRE_OK(fstat(fd, &st));
    return (unsigned long)st.st_ino;
}

static unsigned state_in(const char *path, int fd, int port)
{
    char inode[32], local[16];
    unsigned state = 0;
    snprintf(inode, sizeof inode, " %lu ", inode_of(fd));
    snprintf(local, sizeof local, ":%04X ", port);
    char *line = line_with(path, inode, local);
    if (!line || sscanf(line, " %*d: %*x:%*x %*x:%*x %x", &state) != 1) {
        FAIL("%s has no line for inode%sand port %d", path, inode, port);
        return 0;
    }
    return state;
}

TEST(tcp_sockets_are_listed)
{
    struct tcp_pair p = tcp_connected(AF_INET), six = tcp_connected(AF_INET6);
    char c;
    CHECK_EQ(state_in("/proc/net/tcp", p.listener, port_of(&p.name)), 10);
    CHECK_EQ(state_in("/proc/net/tcp", p.server, port_of(&p.name)), 1);
    CHECK_EQ(state_in("/proc/net/tcp", p.client, port_of(&p.name)), 1);
    CHECK_EQ(state_in("/proc/self/net/tcp6", six.listener, port_of(&six.name)), 10);
    CHECK_EQ(state_in("/proc/net/tcp6", six.server, port_of(&six.name)), 1);
    close(p.client);
    CHECK_EQ(read(p.server, &c, 1), 0);
    CHECK_EQ(state_in("/proc/net/tcp", p.server, port_of(&p.name)), 8);
    p.client = -1;
    tcp_close(&p), tcp_close(&six);
}

TEST(bytes_that_wait_are_told)
{
    struct tcp_pair p = tcp_connected(AF_INET);
    char inode[32];
    unsigned tx, rx = 0;
    CHECK_EQ(write(p.client, "12345", 5), 5);
    CHECK_EQ(wait_events(p.server, POLLIN, 1000), POLLIN);
    snprintf(inode, sizeof inode, " %lu ", inode_of(p.server));
    char *line = line_with("/proc/net/tcp", inode, ":");
    REQUIRE(line != NULL);
    CHECK_EQ(sscanf(line, " %*d: %*x:%*x %*x:%*x %*x %x:%x", &tx, &rx), 2);
    CHECK_EQ(rx, 5);
    tcp_close(&p);
}

TEST(udp_and_unix_sockets_are_listed)
{
    struct sockaddr_storage name;
    socklen_t len;
    int a = bound(AF_INET, SOCK_DGRAM, &name, &len);
    CHECK_EQ(state_in("/proc/net/udp", a, port_of(&name)), 7);
    CHECK_OK(connect(a, (void *)&name, len));
    CHECK_EQ(state_in("/proc/net/udp", a, port_of(&name)), 1);
    close(a);
    a = bound(AF_INET6, SOCK_DGRAM, &name, &len);
    CHECK_EQ(state_in("/proc/net/udp6", a, port_of(&name)), 7);
    close(a);
    struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "\0proc-net-test"};
    char inode[32];
    REQUIRE_OK(a = socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK_OK(bind(a, (void *)&un, offsetof(struct sockaddr_un, sun_path) + 14));
    CHECK_OK(listen(a, 1));
    snprintf(inode, sizeof inode, " %lu ", inode_of(a));
    char *line = line_with("/proc/net/unix", inode, "@proc-net-test");
    REQUIRE(line != NULL);
    CHECK(strstr(line, " 00010000 0001 01 ") != NULL);
    close(a);
    CHECK(line_with("/proc/net/unix", inode, "@proc-net-test") == NULL);
}

static unsigned long long lo_bytes(void)
{
    unsigned long long bytes = 0;
    char *line = line_with("/proc/net/dev", " lo:", " ");
    if (!line || sscanf(line, " lo: %llu", &bytes) != 1)
        FAIL("/proc/net/dev has no lo");
    return bytes;
}

TEST(interfaces_count_what_they_carry)
{
    struct sockaddr_storage name;
    socklen_t len;
    char in[1000] = "";
    int a = bound(AF_INET, SOCK_DGRAM, &name, &len);
    unsigned long long before = lo_bytes();
    CHECK_EQ(sendto(a, in, sizeof in, 0, (void *)&name, len), 1000);
    CHECK_EQ(recv(a, in, sizeof in, 0), 1000);
    unsigned long long after = lo_bytes();
    CHECK(after >= before + 1028);
    CHECK(strtoull(text_of("/sys/class/net/lo/statistics/rx_bytes"), NULL, 10) >= after);
    CHECK(strtoull(text_of("/sys/class/net/lo/statistics/tx_packets"), NULL, 10) > 0);
    close(a);
}

// The number below a name in the two lines of a protocol.
static long counter(const char *path, const char *protocol, const char *name)
{
    char names[4096], values[4096];
    size_t n = strlen(protocol);
    char *text = text_of(path), *first = NULL;
    for (char *at = text; at && *at; at = strchr(at, '\n'), at += at != NULL) {
        if (!strncmp(at, protocol, n) && at[n] == ':') {
            first = at;
            break;
        }
    }
    if (!first || sscanf(first, "%4095[^\n]\n%4095[^\n]", names, values) != 2) {
        FAIL("%s has no lines of %s", path, protocol);
        return -1;
    }
    char *save1, *save2, *key = strtok_r(names, " ", &save1),
                         *value = strtok_r(values, " ", &save2);
    while (key && value && strcmp(key, name)) {
        key = strtok_r(NULL, " ", &save1);
        value = strtok_r(NULL, " ", &save2);
    }
    if (!key || !value)
        FAIL("%s: %s has no %s", path, protocol, name);
    return key && value ? atol(value) : -1;
}

TEST(protocols_count)
{
    long opens = counter("/proc/net/snmp", "Tcp", "ActiveOpens"),
         in = counter("/proc/net/snmp", "Udp", "InDatagrams");
    struct tcp_pair p = tcp_connected(AF_INET);
    struct sockaddr_storage name;
    socklen_t len;
    char c;
    int a = bound(AF_INET, SOCK_DGRAM, &name, &len);
    CHECK(counter("/proc/net/snmp", "Tcp", "ActiveOpens") > opens);
    CHECK_RANGE(counter("/proc/net/snmp", "Tcp", "CurrEstab"), 2, 1000000);
    CHECK_EQ(sendto(a, "x", 1, 0, (void *)&name, len), 1);
    CHECK_EQ(recv(a, &c, 1, 0), 1);
    CHECK(counter("/proc/net/snmp", "Udp", "InDatagrams") > in);
    CHECK_RANGE(counter("/proc/net/netstat", "IpExt", "InOctets"), 1, 1L << 60);
    CHECK_RANGE(counter("/proc/net/snmp", "Ip", "InReceives"), 1, 1L << 60);
    char *line = line_with("/proc/net/sockstat", "TCP: inuse ", " tw ");
    int in_use = 0;
    CHECK(line && sscanf(line, "TCP: inuse %d", &in_use) == 1);
    CHECK_RANGE(in_use, 3, 1000000);
    CHECK(line_with("/proc/net/sockstat", "sockets: used ", "") != NULL);
    CHECK(line_with("/proc/net/sockstat6", "TCP6: inuse ", "") != NULL);
    close(a), tcp_close(&p);
}

TEST(addresses_and_routes_have_their_files)
{
    char link[64] = "";
    CHECK(line_with("/proc/net/if_inet6", "00000000000000000000000000000001 01 80 10 80", " lo") !=
          NULL);
    CHECK(line_with("/proc/net/route", "Iface\tDestination\tGateway", "Mask") != NULL);
    CHECK(line_with("/proc/net/arp", "IP address", "Device") != NULL);
    CHECK(line_with("/proc/net/igmp", "lo", "1") != NULL);
    CHECK(line_with("/proc/net/igmp", "010000E0", "0:00000000") != NULL);
    CHECK_EQ(readlink("/proc/net", link, sizeof link), 8);
    CHECK(!strcmp(link, "self/net"));
}

TEST(sysfs_has_a_directory_for_each_interface)
{
    CHECK(!strcmp(text_of("/sys/class/net/lo/ifindex"), "1\n"));
    CHECK(!strcmp(text_of("/sys/class/net/lo/type"), "772\n"));
    CHECK(!strcmp(text_of("/sys/class/net/lo/flags"), "0x9\n"));
    CHECK(!strcmp(text_of("/sys/class/net/lo/operstate"), "unknown\n"));
    CHECK(!strcmp(text_of("/sys/class/net/lo/carrier"), "1\n"));
    CHECK(!strcmp(text_of("/sys/class/net/lo/address"), "00:00:00:00:00:00\n"));
    CHECK(!strcmp(text_of("/sys/class/net/lo/addr_len"), "6\n"));
    CHECK_RANGE(atoi(text_of("/sys/class/net/lo/mtu")), 1500, 65536);
    CHECK(strstr(text_of("/sys/class/net/lo/uevent"), "INTERFACE=lo\nIFINDEX=1\n") != NULL);
    char c;
    int fd;
    REQUIRE_OK(fd = open("/sys/class/net/lo/speed", O_RDONLY));
    CHECK_ERRNO(read(fd, &c, 1), EINVAL);
    close(fd);
    DIR *d = opendir("/sys/class/net");
    int found = 0;
    REQUIRE(d != NULL);
    for (struct dirent *e; (e = readdir(d));)
        found += !strcmp(e->d_name, "lo");
    CHECK_EQ(found, 1);
    closedir(d);
    CHECK_ERRNO(open("/sys/class/net/no-such", O_RDONLY), ENOENT);
}

TEST(sysctls_tell_the_limits)
{
    int first, last;
    CHECK_EQ(sscanf(text_of("/proc/sys/net/ipv4/ip_local_port_range"), "%d %d", &first, &last), 2);
    CHECK_RANGE(first, 1024, last - 1);
    CHECK_RANGE(atoi(text_of("/proc/sys/net/core/somaxconn")), 128, 65535);
    CHECK_RANGE(atoi(text_of("/proc/sys/net/core/rmem_max")), 65536, 1 << 30);
    CHECK_RANGE(atoi(text_of("/proc/sys/net/core/wmem_default")), 65536, 1 << 30);
    CHECK_RANGE(atoi(text_of("/proc/sys/net/ipv4/tcp_keepalive_time")), 1, 1 << 20);
    CHECK_EQ(atoi(text_of("/proc/sys/net/unix/max_dgram_qlen")), 10);
}

TEST(lo_counts_what_a_connection_sends)
{
    struct tcp_pair p = tcp_connected(AF_INET);
    int fds[2] = {p.client, p.server};
    char block[10000] = {0};
    unsigned long long before = lo_bytes();
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(write(fds[0], block, sizeof block), (ssize_t)sizeof block);
        for (size_t got = 0; got < sizeof block;) {
            ssize_t n = read(fds[1], block, sizeof block - got);
            REQUIRE(n > 0);
            got += (size_t)n;
        }
    }
    unsigned long long after = lo_bytes();
    CHECK(after >= before + 1000000);
    CHECK(strtoull(text_of("/sys/class/net/lo/statistics/tx_bytes"), NULL, 10) >= after);
    tcp_close(&p);
}
