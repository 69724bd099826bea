// SPDX-License-Identifier: BSD-2-Clause
// Netlink and the interface ioctls: what interfaces there are. Sources: netlink(7), rtnetlink(7), netdevice(7), getifaddrs(3).
#include "net.h"

#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>

struct answer {
    char data[65536];
    ssize_t len;
    int n_messages, n_of_type, error;  // error: of NLMSG_ERROR, 1 when there was none
    bool done;
    char first[512];  // the first message of the wanted type
};

static int netlink_socket(void)
{
    int fd;
    REQUIRE_OK(fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    return fd;
}

struct request {
    struct nlmsghdr h;
    char body[256];
};

static struct request make_request(int type, int flags, const void *body, size_t len)
{
    struct request r = {.h = {NLMSG_LENGTH(len), (unsigned short)type,
                              (unsigned short)(NLM_F_REQUEST | flags), 77, 0}};
    memcpy(r.body, body, len);
    return r;
}

static int ask(int fd, const struct request *r)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    return (int)sendto(fd, r, r->h.nlmsg_len, 0, (void *)&kernel, sizeof kernel);
}

// Reads one datagram's messages. => false: that was the end (NLMSG_DONE, an error, or no dump)
static bool take_messages(int fd, struct answer *a, int wanted, bool dump)
{
    struct sockaddr_nl from;
    socklen_t len = sizeof from;
    a->len = recvfrom(fd, a->data, sizeof a->data, 0, (void *)&from, &len);
    REQUIRE(a->len >= (ssize_t)sizeof(struct nlmsghdr));
    CHECK_EQ(from.nl_pid, 0);
    CHECK_EQ(len, sizeof from);
    size_t left = (size_t)a->len;
    for (struct nlmsghdr *h = (void *)a->data; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
        CHECK_EQ(h->nlmsg_seq, 77);
        if (h->nlmsg_type == NLMSG_DONE) {
            a->done = true;
            return false;
        }
        if (h->nlmsg_type == NLMSG_ERROR) {
            a->error = ((struct nlmsgerr *)NLMSG_DATA(h))->error;
            return false;
        }
        a->n_messages++;
        if (h->nlmsg_type == wanted && a->n_of_type++ == 0)
            memcpy(a->first, h, h->nlmsg_len < sizeof a->first ? h->nlmsg_len : sizeof a->first);
        CHECK_EQ(!!(h->nlmsg_flags & NLM_F_MULTI), dump);
    }
    return dump;
}

static struct answer *query(int type, int flags, const void *body, size_t len, int wanted)
{
    static struct answer a;
    struct request r = make_request(type, flags, body, len);
    int fd = netlink_socket();
    a = (struct answer){.error = 1};
    CHECK_EQ(ask(fd, &r), (int)r.h.nlmsg_len);
    while (take_messages(fd, &a, wanted, (flags & NLM_F_DUMP) == NLM_F_DUMP)) {
    }
    close(fd);
    return &a;
}

static const struct rtattr *attribute(const struct answer *a, size_t fixed, int type)
{
    const struct nlmsghdr *h = (const void *)a->first;
    int left = (int)(h->nlmsg_len - NLMSG_LENGTH(fixed));
    for (struct rtattr *at = (void *)((char *)NLMSG_DATA(h) + NLMSG_ALIGN(fixed)); RTA_OK(at, left);
         at = RTA_NEXT(at, left)) {
        if (at->rta_type == type)
            return at;
    }
    return NULL;
}

TEST(links_are_dumped)
{
    struct rtgenmsg all = {AF_UNSPEC};
    struct answer *a = query(RTM_GETLINK, NLM_F_DUMP, &all, sizeof all, RTM_NEWLINK);
    CHECK(a->done);
    CHECK_RANGE(a->n_of_type, 1, 100);
    CHECK_EQ(a->n_of_type, a->n_messages);
    const struct ifinfomsg *i = NLMSG_DATA(a->first);
    CHECK_EQ(i->ifi_index, 1);
    CHECK_EQ(i->ifi_type, ARPHRD_LOOPBACK);
    CHECK_EQ(i->ifi_flags & (IFF_UP | IFF_LOOPBACK | IFF_RUNNING),
             IFF_UP | IFF_LOOPBACK | IFF_RUNNING);
    const struct rtattr *name = attribute(a, sizeof *i, IFLA_IFNAME), *mac, *stats, *mtu;
    REQUIRE(name != NULL);
    CHECK(!strcmp(RTA_DATA(name), "lo"));
    REQUIRE((mac = attribute(a, sizeof *i, IFLA_ADDRESS)) != NULL);
    CHECK_EQ(RTA_PAYLOAD(mac), 6);
    CHECK(!memcmp(RTA_DATA(mac), "\0\0\0\0\0\0", 6));
    REQUIRE((mtu = attribute(a, sizeof *i, IFLA_MTU)) != NULL);
    CHECK_RANGE(*(int *)RTA_DATA(mtu), 1500, 65536);
    REQUIRE((stats = attribute(a, sizeof *i, IFLA_STATS64)) != NULL);
    CHECK_RANGE(RTA_PAYLOAD(stats), 192, 256);
    CHECK(attribute(a, sizeof *i, IFLA_OPERSTATE) != NULL);
}

TEST(one_link_is_found_by_number_and_by_name)
{
    struct {
        struct ifinfomsg i;
        struct rtattr a;
        char name[4];
    } body = {.i = {.ifi_index = 1}};
    struct answer *a = query(RTM_GETLINK, 0, &body, sizeof body.i, RTM_NEWLINK);
    CHECK_EQ(a->n_of_type, 1);
    CHECK_EQ(((struct ifinfomsg *)NLMSG_DATA(a->first))->ifi_index, 1);
    body.i.ifi_index = 0;
    body.a = (struct rtattr){RTA_LENGTH(3), IFLA_IFNAME};
    strcpy(body.name, "lo");
    a = query(RTM_GETLINK, 0, &body, sizeof body, RTM_NEWLINK);
    CHECK_EQ(a->n_of_type, 1);
    strcpy(body.name, "xy");
    CHECK_EQ(query(RTM_GETLINK, 0, &body, sizeof body, RTM_NEWLINK)->error, -ENODEV);
    body.i.ifi_index = 99999;
    CHECK_EQ(query(RTM_GETLINK, 0, &body, sizeof body.i, RTM_NEWLINK)->error, -ENODEV);
    body.i.ifi_index = 0;
    CHECK_EQ(query(RTM_GETLINK, 0, &body, sizeof body.i, RTM_NEWLINK)->error, -EINVAL);
}

static bool has_address(struct ifaddrs *list, int family, const void *address, const char *name)
{
    for (; list; list = list->ifa_next) {
        if (!list->ifa_addr || list->ifa_addr->sa_family != family || strcmp(list->ifa_name, name))
            continue;
        const void *at = family == AF_INET
                             ? (void *)&((struct sockaddr_in *)list->ifa_addr)->sin_addr
                             : (void *)&((struct sockaddr_in6 *)list->ifa_addr)->sin6_addr;
        if (!memcmp(at, address, family == AF_INET ? 4 : 16))
            return true;
    }
    return false;
}

TEST(addresses_are_dumped)
{
    struct ifaddrmsg body = {.ifa_family = AF_INET};
    struct answer *a = query(RTM_GETADDR, NLM_F_DUMP, &body, sizeof body, RTM_NEWADDR);
    struct in_addr local = {htonl(INADDR_LOOPBACK)};
    const struct ifaddrmsg *m = NLMSG_DATA(a->first);
    CHECK(a->done);
    CHECK_EQ(m->ifa_family, AF_INET);
    CHECK_EQ(m->ifa_prefixlen, 8);
    CHECK_EQ(m->ifa_scope, RT_SCOPE_HOST);
    CHECK_EQ(m->ifa_index, 1);
    const struct rtattr *at = attribute(a, sizeof *m, IFA_LOCAL), *label, *times;
    REQUIRE(at != NULL);
    CHECK(!memcmp(RTA_DATA(at), &local, 4));
    REQUIRE((label = attribute(a, sizeof *m, IFA_LABEL)) != NULL);
    CHECK(!strcmp(RTA_DATA(label), "lo"));
    REQUIRE((times = attribute(a, sizeof *m, IFA_CACHEINFO)) != NULL);
    CHECK_EQ(RTA_PAYLOAD(times), 16);
    CHECK(attribute(a, sizeof *m, IFA_FLAGS) != NULL);
    struct ifaddrs *list;
    REQUIRE_OK(getifaddrs(&list));
    CHECK(has_address(list, AF_INET, &local, "lo"));
    CHECK(has_address(list, AF_INET6, &in6addr_loopback, "lo"));
    freeifaddrs(list);
}

TEST(routes_are_dumped_and_found)
{
    struct {
        struct rtmsg m;
        struct rtattr a;
        struct in_addr to;
    } body = {.m = {.rtm_family = AF_INET, .rtm_dst_len = 32}};
    struct answer *a = query(RTM_GETROUTE, NLM_F_DUMP, &body, sizeof body.m, RTM_NEWROUTE);
    CHECK(a->done);
    CHECK_RANGE(a->n_of_type, 1, 1000);
    body.a = (struct rtattr){RTA_LENGTH(4), RTA_DST};
    body.to.s_addr = htonl(INADDR_LOOPBACK);
    a = query(RTM_GETROUTE, 0, &body, sizeof body, RTM_NEWROUTE);
    CHECK_EQ(a->n_of_type, 1);
    const struct rtmsg *m = NLMSG_DATA(a->first);
    CHECK_EQ(m->rtm_type, RTN_LOCAL);
    const struct rtattr *out = attribute(a, sizeof *m, RTA_OIF), *source;
    REQUIRE(out != NULL);
    CHECK_EQ(*(int *)RTA_DATA(out), 1);
    REQUIRE((source = attribute(a, sizeof *m, RTA_PREFSRC)) != NULL);
    CHECK(!memcmp(RTA_DATA(source), &body.to, 4));
    struct ndmsg n = {.ndm_family = AF_UNSPEC};
    CHECK(query(RTM_GETNEIGH, NLM_F_DUMP, &n, sizeof n, RTM_NEWNEIGH)->done);
}

TEST(acknowledgements_and_errors)
{
    struct answer a = {.error = 1};
    struct ifinfomsg body = {.ifi_index = 99999};
    struct request r = make_request(RTM_GETLINK, NLM_F_ACK, &body, sizeof body);
    int fd = netlink_socket();
    CHECK_EQ(ask(fd, &r), (int)r.h.nlmsg_len);
    CHECK(!take_messages(fd, &a, RTM_NEWLINK, false));
    CHECK_EQ(a.error, -ENODEV);
    const struct nlmsgerr *e = NLMSG_DATA(a.data);
    CHECK_EQ(e->msg.nlmsg_type, RTM_GETLINK);
    CHECK_EQ(e->msg.nlmsg_seq, 77);
    CHECK_EQ((size_t)a.len, NLMSG_LENGTH(sizeof *e) + sizeof body);  // the request comes back whole
    r = make_request(NLMSG_NOOP, NLM_F_ACK, "", 0);
    a.error = 1;
    CHECK_EQ(ask(fd, &r), (int)r.h.nlmsg_len);
    take_messages(fd, &a, 0, false);
    CHECK_EQ(a.error, 0);
    r = make_request(1000, 0, &body, sizeof body);
    CHECK_EQ(ask(fd, &r), (int)r.h.nlmsg_len);
    take_messages(fd, &a, 0, false);
    CHECK_EQ(a.error, -EOPNOTSUPP);
    r.h.nlmsg_len = 5;  // no message at all: nobody answers
    CHECK_EQ((int)send(fd, &r, 40, 0), 40);
    char c;
    CHECK_ERRNO(recv(fd, &c, 1, MSG_DONTWAIT), EAGAIN);
    close(fd);
}

TEST(names_groups_and_sizes)
{
    struct sockaddr_nl name = {.nl_family = AF_NETLINK}, other;
    socklen_t len = sizeof name;
    int a = netlink_socket(), b = netlink_socket();
    CHECK_OK(getsockname(a, (void *)&name, &len));
    CHECK_EQ(len, sizeof name);
    CHECK_EQ(name.nl_pid, 0);
    CHECK_OK(bind(a, (void *)&name, sizeof name));
    CHECK_OK(getsockname(a, (void *)&name, &len));
    CHECK(name.nl_pid != 0);
    CHECK_ERRNO(bind(b, (void *)&name, sizeof name), EADDRINUSE);
    other = (struct sockaddr_nl){.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    CHECK_OK(bind(b, (void *)&other, sizeof other));
    CHECK_OK(getsockname(b, (void *)&other, &len));
    CHECK(other.nl_pid != name.nl_pid);
    CHECK_EQ(other.nl_groups, RTMGRP_LINK);
    int group = RTNLGRP_IPV4_IFADDR;
    CHECK_OK(setsockopt(b, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group));
    CHECK_OK(getsockname(b, (void *)&other, &len));
    CHECK_EQ(other.nl_groups, RTMGRP_LINK | RTMGRP_IPV4_IFADDR);
    group = 0;
    CHECK_ERRNO(setsockopt(b, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group), EINVAL);
    // The list of groups: as much as there is room for, and how much there is.
    unsigned groups[2] = {77, 77};
    socklen_t size = 0;
    CHECK_OK(getsockopt(b, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, NULL, &size));
    CHECK_RANGE(size, 4, 64);
    size = sizeof groups[0];
    CHECK_OK(getsockopt(b, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, groups, &size));
    CHECK_RANGE(size, 4, 64);
    CHECK_EQ(groups[0], RTMGRP_LINK | RTMGRP_IPV4_IFADDR);
    CHECK_EQ(groups[1], 77);
    CHECK_ERRNO(bind(a, (void *)&name, 3), EINVAL);
    CHECK_EQ(poll_events(a, POLLIN | POLLOUT), POLLOUT);
    // What does not fit is cut, and its true length told.
    struct rtgenmsg all = {AF_UNSPEC};
    struct request r = make_request(RTM_GETLINK, NLM_F_DUMP, &all, sizeof all);
    char few[8];
    CHECK_EQ(ask(a, &r), (int)r.h.nlmsg_len);
    CHECK_EQ(wait_events(a, POLLIN, 1000), POLLIN);
    CHECK_RANGE(recv(a, few, sizeof few, MSG_PEEK | MSG_TRUNC), 100, 65536);
    struct iovec v = {few, sizeof few};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    CHECK_EQ(recvmsg(a, &m, 0), 8);
    CHECK(m.msg_flags & MSG_TRUNC);
    CHECK_ERRNO(listen(a, 1), EOPNOTSUPP);
    CHECK_ERRNO(socket(AF_NETLINK, SOCK_STREAM, NETLINK_ROUTE), ESOCKTNOSUPPORT);
    CHECK_ERRNO(socket(AF_NETLINK, SOCK_RAW, 31), EPROTONOSUPPORT);
    close(a), close(b);
}

TEST(names_and_numbers_of_the_c_library)
{
    char name[IF_NAMESIZE];
    CHECK_EQ(if_nametoindex("lo"), 1);
    CHECK_EQ(if_nametoindex("no-such"), 0);
    CHECK(if_indextoname(1, name) && !strcmp(name, "lo"));
    CHECK(!if_indextoname(99999, name));
    struct if_nameindex *list = if_nameindex();
    REQUIRE(list != NULL);
    CHECK_EQ(list[0].if_index, 1);
    CHECK(!strcmp(list[0].if_name, "lo"));
    if_freenameindex(list);
}

static int of_lo(int fd, unsigned long request, struct ifreq *r)
{
    memset(r, 0, sizeof *r);
    strcpy(r->ifr_name, "lo");
    return ioctl(fd, request, r);
}

TEST(ioctls_tell_of_interfaces)
{
    struct ifreq r, many[16];
    struct sockaddr_in *in = (void *)&r.ifr_addr;
    int families[] = {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK};
    for (unsigned f = 0; f < 4; f++) {
        int fd;
        REQUIRE_OK(fd = socket(families[f], SOCK_DGRAM, 0));
        CHECK_OK(of_lo(fd, SIOCGIFFLAGS, &r));
        CHECK_EQ(r.ifr_flags & (IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_BROADCAST),
                 IFF_UP | IFF_LOOPBACK | IFF_RUNNING);
        CHECK_OK(of_lo(fd, SIOCGIFINDEX, &r));
        CHECK_EQ(r.ifr_ifindex, 1);
        close(fd);
    }
    int fd;
    REQUIRE_OK(fd = socket(AF_INET, SOCK_STREAM, 0));
    CHECK_OK(of_lo(fd, SIOCGIFADDR, &r));
    CHECK_EQ(in->sin_family, AF_INET);
    CHECK_EQ(ntohl(in->sin_addr.s_addr), INADDR_LOOPBACK);
    CHECK_OK(of_lo(fd, SIOCGIFNETMASK, &r));
    CHECK_EQ(ntohl(in->sin_addr.s_addr), 0xff000000);
    CHECK_OK(of_lo(fd, SIOCGIFMTU, &r));
    CHECK_RANGE(r.ifr_mtu, 1500, 65536);
    CHECK_OK(of_lo(fd, SIOCGIFHWADDR, &r));
    CHECK_EQ(r.ifr_hwaddr.sa_family, ARPHRD_LOOPBACK);
    CHECK_OK(of_lo(fd, SIOCGIFTXQLEN, &r));
    CHECK_OK(of_lo(fd, SIOCGIFBRDADDR, &r));
    r.ifr_ifindex = 1;
    CHECK_OK(ioctl(fd, SIOCGIFNAME, &r));
    CHECK(!strcmp(r.ifr_name, "lo"));
    r.ifr_ifindex = 99999;
    CHECK_ERRNO(ioctl(fd, SIOCGIFNAME, &r), ENODEV);
    strcpy(r.ifr_name, "no-such");
    CHECK_ERRNO(ioctl(fd, SIOCGIFFLAGS, &r), ENODEV);
    CHECK_ERRNO(ioctl(fd, SIOCGIFFLAGS, NULL), EFAULT);
    struct ifconf c = {.ifc_len = sizeof many, .ifc_req = many};
    CHECK_OK(ioctl(fd, SIOCGIFCONF, &c));
    CHECK_RANGE(c.ifc_len, sizeof r, sizeof many);
    CHECK(!strcmp(many[0].ifr_name, "lo"));
    c = (struct ifconf){.ifc_len = 0};
    CHECK_OK(ioctl(fd, SIOCGIFCONF, &c));
    CHECK_RANGE(c.ifc_len, sizeof r, 10000);
    close(fd);
}

// An error brings the request back, and behind one of odd length zeros, not what the kernel's memory held before.
TEST(an_echoed_request_is_padded_with_zeros)
{
    int fd = netlink_socket();
    char filler[64], answer[512];
    memset(filler, 0xa5, sizeof filler);
    for (size_t odd = 1; odd < 4; odd++) {
        struct request r = make_request(RTM_NEWNSID + 400, 0, filler, 24 + odd);
        for (int i = 0; i < 8; i++)
            send(fd, filler, NLMSG_ALIGN(r.h.nlmsg_len), 0);  // no message, as long
        CHECK_EQ(ask(fd, &r), r.h.nlmsg_len);
        ssize_t n = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
        const struct nlmsghdr *h = (const void *)answer;
        CHECK_EQ(h->nlmsg_type, NLMSG_ERROR);
        size_t end = NLMSG_HDRLEN + sizeof(int) + r.h.nlmsg_len;
        REQUIRE(n >= (ssize_t)end);
        CHECK_BYTES(answer + end, 0, (size_t)n - end);
    }
    close(fd);
}
