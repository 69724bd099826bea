// SPDX-License-Identifier: BSD-2-Clause
// The guest's network: what the user asks for (-p, --net, keys of ops.conf), QEMU's options for it, and the words of the kernel's
// command line that tell the guest its addresses (docs/network.md).
#include "lethe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool is_port(const char *text)
{
    long value;
    return parse_number(text, 1, 65535, &value);
}

// [ADDRESS:]HOST[:GUEST][/tcp|/udp] into QEMU's hostfwd form.
void network_add_port(struct job *job, const char *text)
{
    char *word = xstrdup(text), *slash = strchr(word, '/'), *parts[3];
    const char *protocol = "tcp", *address = "127.0.0.1";
    struct in_addr four;
    size_t n = 0;

    if (slash) {
        *slash = '\0';
        protocol = slash + 1;
    }
    for (char *at = word; at && n < 3; n++) {
        parts[n] = at;
        at = strchr(at, ':');
        if (at)
            *at++ = '\0';
        else if (n == 0 && !is_port(parts[0]))
            die("-p %s: not a port; write it as 8080, 8080:80, 8080:80/udp or 0.0.0.0:8080:80",
                text);
    }
    if (n > 1 && !is_port(parts[0])) {  // with an address
        address = parts[0];
        memmove(parts, parts + 1, --n * sizeof(*parts));
    }
    if (strcmp(protocol, "tcp") && strcmp(protocol, "udp"))
        die("-p %s: the protocol is tcp or udp", text);
    if (n > 2 || !is_port(parts[0]) || !is_port(parts[n - 1]))
        die("-p %s: not a port; write it as 8080, 8080:80, 8080:80/udp or 0.0.0.0:8080:80", text);
    if (inet_pton(AF_INET, address, &four) != 1)
        die("-p %s: '%s' is not an IPv4 address of this host", text, address);
    strings_take(&job->ports, format("%s:%s:%s-:%s", protocol, address, parts[0], parts[n - 1]));
    free(word);
}

static void check_address(const char *what, const char *text, bool with_bits)
{
    char *copy = xstrdup(text), *slash = strchr(copy, '/');
    unsigned char raw[16];
    long bits;

    if (with_bits && slash) {
        *slash = '\0';
        if (!parse_number(slash + 1, 0, 32, &bits))
            die("%s=%s: the part behind '/' is the number of network bits, 0 to 32", what, text);
    }
    if (inet_pton(strchr(copy, ':') ? AF_INET6 : AF_INET, copy, raw) != 1)
        die("%s=%s: not an address", what, text);
    free(copy);
}

// One setting of an interface: ip, ip6, gw, dns.
void network_set(struct job *job, const char *name, const char *value)
{
    if (!strcmp(name, "ip") && !strcmp(value, "none"))
        job->ip = xstrdup(value);
    else if (check_address(name, value, !strcmp(name, "ip")), !strcmp(name, "ip"))
        job->ip = strchr(value, '/') ? xstrdup(value) : format("%s/24", value);
    else if (!strcmp(name, "ip6"))
        job->ip6 = xstrdup(value);
    else if (!strcmp(name, "gw"))
        job->gateway = xstrdup(value);
    else
        strings_add(&job->name_servers, value);
}

static bool is_setting(const char *word)
{
    static const char *const names[] = {"ip=", "ip6=", "gw=", "dns="};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (!strncmp(word, names[i], strlen(names[i])))
            return true;
    return false;
}

// user | none | tap=NAME | bridge=NAME, then settings: --net tap=tap0,ip=10.0.0.2/24,gw=10.0.0.1,dns=10.0.0.1
void network_choose(struct job *job, const char *text)
{
    char *copy = xstrdup(text), *save = NULL;
    char *word = strtok_r(copy, ",", &save);

    if (!word || is_setting(word))
        die("--net %s: begin with user, none, tap=NAME or bridge=NAME", text);
    if (!strcmp(word, "none")) {
        job->net = NET_NONE;
    } else if (!strcmp(word, "user")) {
        job->net = NET_USER;
    } else if (!strncmp(word, "tap=", 4) && word[4]) {
        job->net = NET_TAP;
        job->net_name = xstrdup(word + 4);
    } else if (!strncmp(word, "bridge=", 7) && word[7]) {
        job->net = NET_BRIDGE;
        job->net_name = xstrdup(word + 7);
    } else {
        die("--net %s: choose user, none, tap=NAME or bridge=NAME", text);
    }
    while ((word = strtok_r(NULL, ",", &save))) {
        char *equals = strchr(word, '=');
        if (!is_setting(word))
            die("--net %s: unknown setting '%s'; there are ip, ip6, gw and dns", text, word);
        *equals = '\0';
        network_set(job, word, equals + 1);
    }
    free(copy);
}

// After all options are known. => whether the guest has a network
bool network_settle(struct job *job)
{
    bool asked = job->ports.count || job->ip || job->ip6 || job->gateway || job->name_servers.count;

    if (job->net == NET_AUTO)
        job->net = asked ? NET_USER : NET_NONE;
    else if (job->net == NET_NONE && job->ports.count)
        die("-p needs a network, and --net none says that there is none");
    if ((job->net == NET_TAP || job->net == NET_BRIDGE) && job->ports.count)
        die("-p is for QEMU's user network; with --net %s the guest has an address of its own",
            job->net == NET_TAP ? "tap" : "bridge");
    return job->net != NET_NONE;
}

static void add(struct strings *command, const char *option, char *value)
{
    strings_add(command, option);
    strings_take(command, value);
}

// QEMU's part of it. BUS: pci or device.
void network_command(const struct job *job, struct strings *command, const char *bus)
{
    char *backend = NULL;

    switch (job->net) {
    case NET_AUTO:
    case NET_NONE: return;
    case NET_USER:
        backend = xstrdup("user,id=net0");
        for (size_t i = 0; i < job->ports.count; i++)
            backend = format("%s,hostfwd=%s", backend, job->ports.items[i]);
        break;
    case NET_TAP:
        backend = format("tap,id=net0,ifname=%s,script=no,downscript=no", job->net_name);
        break;
    case NET_BRIDGE: backend = format("bridge,id=net0,br=%s", job->net_name); break;
    }
    add(command, "-netdev", backend);
    add(command, "-device", format("virtio-net-%s,netdev=net0", bus));
}

// Binds as QEMU will. PORT: PROTOCOL:ADDRESS:HOST-:GUEST. => a descriptor, held so that no port is taken twice
static int try_port(const char *port)
{
    char *copy = xstrdup(port), *save = NULL;
    const char *protocol = strtok_r(copy, ":", &save), *address = strtok_r(NULL, ":", &save);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(save))};
    bool tcp = !strcmp(protocol, "tcp");
    int fd = socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
    int reuse = tcp;  // as QEMU does: a port whose last connections are ending is free
    const char *what;

    inet_pton(AF_INET, address, &at.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || (tcp && listen(fd, 1))) {
        what = errno == EADDRINUSE      ? "is in use on this host; choose another, as in -p 8081:80"
               : errno == EACCES        ? "needs privilege on this host; choose one from 1024 on"
               : errno == EADDRNOTAVAIL ? "cannot be had: this host has no such address"
                                        : strerror(errno);
        die("-p: %s port %d of %s %s", protocol, ntohs(at.sin_port), address, what);
    }
    free(copy);
    return fd;
}

// What this host must have for it, asked before a machine is started: what QEMU says of it is hard to read, or nothing.
void network_check(const struct job *job)
{
    int *fds = xalloc((job->ports.count + 1) * sizeof(*fds));

    for (size_t i = 0; i < job->ports.count; i++)
        fds[i] = try_port(job->ports.items[i]);
    for (size_t i = 0; i < job->ports.count; i++)
        close(fds[i]);
    free(fds);
    if (job->net == NET_TAP && !if_nametoindex(job->net_name))
        die("--net tap=%s: there is no such device; make it: ip tuntap add %s mode tap; ip link set %s up",
            job->net_name, job->net_name, job->net_name);
    if (job->net == NET_BRIDGE && !if_nametoindex(job->net_name))
        die("--net bridge=%s: there is no such device on this host", job->net_name);
}

// The sockets that QEMU listens on for -p have a queue of one: of clients that come in the same moment this host's kernel would
// let most wait, for seconds, and turn some away. listen(2) on a copy of such a socket gives it a longer one.
// => where copies are not allowed (pidfd_getfd(2)) the queue stays short
void network_lengthen_queues(pid_t qemu)
{
    enum { FDS = 1024 };
    int process = (int)syscall(SYS_pidfd_open, qemu, 0);

    for (int fd = IMAGE_FD + 1; process >= 0 && fd < FDS; fd++) {
        int copy = (int)syscall(SYS_pidfd_getfd, process, fd, 0), listens = 0, domain = 0;
        socklen_t len = sizeof(int);
        if (copy < 0)
            continue;
        if (!getsockopt(copy, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) && listens &&
            !getsockopt(copy, SOL_SOCKET, SO_DOMAIN, &domain, &len) && domain == AF_INET)
            listen(copy, SOMAXCONN);
        close(copy);
    }
    if (process >= 0)
        close(process);
}

// The words of the kernel's command line, in front of WORDS' end.
char *network_words(const struct job *job, char *words)
{
    if (job->net == NET_NONE || job->net == NET_AUTO)
        return words;
    if (job->ip)
        words = format("%s ip=%s", words, job->ip);
    if (job->gateway)
        words = format("%s gw=%s", words, job->gateway);
    if (job->ip6)
        words = format("%s ip6=%s", words, job->ip6);
    for (size_t i = 0; i < job->name_servers.count; i++)
        words = format("%s dns=%s", words, job->name_servers.items[i]);
    return words;
}
