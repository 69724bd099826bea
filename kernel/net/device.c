// SPDX-License-Identifier: BSD-2-Clause
// device.c: Ethernet devices below the stack: how they get their addresses, and what programs read of it.
//
// Words of the kernel's command line, for the first device:
//     ip=ADDRESS/BITS   a fixed IPv4 address instead of DHCP (ip=none, ip=off: no IPv4 at all; ip=dhcp)
//     ip=ADDRESS:SERVER:ROUTER:MASK:NAME:DEVICE:HOW:DNS:DNS    the same as Linux has it (nfsroot.rst); server, name and device mean nothing here
//     gw=ADDRESS        its router
//     ip6=ADDRESS       a fixed IPv6 address (its prefix has 64 bits), beside those that routers give
//     dns=ADDRESS       a name server; may come several times
#include "net/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/platform.h"
#include "lwip/dhcp.h"
#include "lwip/dns.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "net/interface.h"
#include "net/inet.h"
#include "netif/ethernet.h"

#define POLL_BUDGET 64
#define CONFIGURE_WAIT_NS (2 * NSEC_PER_SEC)
#define MAX_NAME_SERVERS 3

static u32 n_devices;
static ip_addr_t name_servers[MAX_NAME_SERVERS];  // [stack lock]
static u32 n_name_servers;                        // [stack lock]
static char domain[64];                           // [stack lock]

// ---- frames

static err_t link_output(struct netif *netif, struct pbuf *p)
{
    struct net_device *d = netif->state;
    if (d->ops->send(d, p)) {
        d->counters.tx_dropped++;
        return ERR_BUF;
    }
    d->counters.tx_frames++;
    d->counters.tx_bytes += p->tot_len;
    return ERR_OK;
}

// IP has let the packet pass (tcp_large.c).
static err_t output4(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
    net_large_end(netif->state);
    return etharp_output(netif, p, to);
}

static err_t output6(struct netif *netif, struct pbuf *p, const ip6_addr_t *to)
{
    net_large_end(netif->state);
    return ethip6_output(netif, p, to);
}

static u16 checksum_flags(const struct net_device *d, bool checked)
{
    u16 flags = NETIF_CHECKSUM_ENABLE_ALL;
    if (d->offloads & NET_CSUM_OUT)
        flags &= (u16)~NETIF_CHECKSUM_GEN_TCP;
    if (checked)
        flags &= (u16) ~(NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP);
    return flags;
}

void net_device_has_room(struct net_device *d) { tcp_flows_send(); }

// lwIP reads the fixed part of a packet without asking whether it is there: on a wire no frame is that short. [stack lock]
static bool is_cut(const struct pbuf *p)
{
    const struct eth_hdr *eth = p->payload;
    if (p->len < SIZEOF_ETH_HDR)
        return true;
    u32 least = eth->type == PP_HTONS(ETHTYPE_ARP)    ? SIZEOF_ETHARP_HDR
                : eth->type == PP_HTONS(ETHTYPE_IPV6) ? IP6_HLEN
                : eth->type == PP_HTONS(ETHTYPE_IP)   ? IP_HLEN
                                                      : 0;
    return p->len < SIZEOF_ETH_HDR + least;
}

void net_device_deliver(struct net_device *d, struct pbuf *p, bool checked)
{
    NETIF_SET_CHECKSUM_CTRL(&d->netif, checksum_flags(d, checked));
    if (is_cut(p) || d->netif.input(p, &d->netif) != ERR_OK) {
        d->counters.rx_dropped++;
        pbuf_free(p);
    }
}

void net_device_link_changed(struct net_device *d)
{
    if (d->ops->link_up(d))
        netif_set_link_up(&d->netif);  // lwIP asks for its lease again
    else
        netif_set_link_down(&d->netif);
    d->changed = true;
}

// ---- names for programs

static void write_file(const char *path, const char *text)
{
    struct file *f = file_open_kernel(path, O_WRONLY | O_CREAT | O_TRUNC);
    if (IS_ERR(f)) {
        log_warn("network: cannot write %s: error %ld", path, -PTR_ERR(f));
        return;
    }
    file_write_kernel(f, text, strlen(text), 0);
    file_put(f);
}

static bool exists(const char *path)
{
    struct file *f = file_open_kernel(path, O_PATH);
    if (IS_ERR(f))
        return false;
    file_put(f);
    return true;
}

// An image that brings its own files keeps them.
static void write_names(struct net_stack *st)
{
    static bool looked, own_resolv, own_hosts;
    char text[512];
    size_t n = 0;
    if (!looked) {
        looked = true;
        own_resolv = exists("/etc/resolv.conf");
        own_hosts = exists("/etc/hosts");
        struct dentry *d;
        if (!vfs_lookup(AT_FDCWD, "/etc", LOOKUP_KERNEL, &d))
            dentry_put(d);
        else if (!vfs_mknod(AT_FDCWD, "/etc", S_IFDIR | 0755, 0, &d))
            dentry_put(d);
    }
    if (!own_hosts) {
        snprintf(text, sizeof(text),
                 "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t%s\n",
                 get_hostname());
        write_file("/etc/hosts", text);
    }
    if (own_resolv)
        return;
    net_lock(st);
    if (domain[0])
        n += (size_t)scnprintf(text + n, sizeof(text) - n, "search %s\n", domain);
    for (u32 i = 0; i < n_name_servers; i++)
        n += (size_t)scnprintf(text + n, sizeof(text) - n, "nameserver %s\n",
                               ipaddr_ntoa(&name_servers[i]));
    net_unlock(st);
    text[n] = '\0';
    if (n)
        write_file("/etc/resolv.conf", text);
}

// lwIP's resolver is not built in: what it would be told comes here.
void dns_init(void) {}

// Of lwIP's DHCP client: the name servers that came with an address. [stack lock]
void dns_setserver(u8_t index, const ip_addr_t *server)
{
    if (index >= MAX_NAME_SERVERS || !server || ip_addr_isany(server))
        return;
    name_servers[index] = *server;
    n_name_servers = MAX(n_name_servers, index + 1u);
}

// ---- addresses

static void on_status(struct netif *netif)
{
    struct net_device *d = netif->state;
    if (!ip_addr_eq(&d->address, &netif->ip_addr)) {
        if (!ip_addr_isany(&d->address))
            tcp_flows_address_gone(&d->address);
        d->address = netif->ip_addr;
    }
    d->changed = true;
    net_kick(d->stack);
}

static void device_name(const struct net_device *d, char *name, size_t size)
{
    snprintf(name, size, "eth%u", d->index);
}

// "ADDRESS/BITS". => false: not one
static bool parse_ip(char *text, ip4_addr_t *address, ip4_addr_t *mask)
{
    char *slash = strchr(text, '/');
    u32 bits = 24;
    if (slash) {
        *slash = '\0';
        bits = (u32)strtoul(slash + 1, NULL, 10);
    }
    if (bits > 32 || !ip4addr_aton(text, address))
        return false;
    mask->addr = lwip_htonl(bits ? ~0u << (32 - bits) : 0);
    return true;
}

enum { FIELD_ADDRESS, FIELD_ROUTER = 2, FIELD_MASK, FIELD_HOW = 6, FIELD_DNS, N_FIELDS = 9 };

static bool asks_dhcp(const char *how)
{
    return !strcmp(how, "dhcp") || !strcmp(how, "on") || !strcmp(how, "any");
}

static bool is_mask(const ip4_addr_t *mask)
{
    u32 host = ~lwip_ntohl(mask->addr);
    return (host & (host + 1)) == 0;
}

// Linux's form, whose fields may be empty; without a mask that of the address's class. => 0, -EAGAIN: DHCP is wanted, -EINVAL
static int parse_fields(char *text, ip4_addr_t *address, ip4_addr_t *mask, ip4_addr_t *gateway,
                        u32 n_servers)
{
    char *field[N_FIELDS];
    ip_addr_t server;
    for (u32 i = 0; i < N_FIELDS; i++) {
        field[i] = text;
        text += strcspn(text, ":");
        if (*text)
            *text++ = '\0';
    }
    if (asks_dhcp(field[FIELD_HOW]))
        return -EAGAIN;
    if (!ip4addr_aton(field[FIELD_ADDRESS], address))
        return -EINVAL;
    u32 class = lwip_ntohl(address->addr) >> 30;
    mask->addr = lwip_htonl(~0u << (class < 2 ? 24 : class == 2 ? 16 : 8));
    if (*field[FIELD_MASK] && (!ip4addr_aton(field[FIELD_MASK], mask) || !is_mask(mask)))
        return -EINVAL;
    if (*field[FIELD_ROUTER] && !ip4addr_aton(field[FIELD_ROUTER], gateway))
        return -EINVAL;
    for (u32 i = FIELD_DNS; i < N_FIELDS && n_servers < MAX_NAME_SERVERS; i++) {
        if (ipaddr_aton(field[i], &server))
            dns_setserver((u8)n_servers++, &server);
    }
    return 0;
}

// => false: the device asks by DHCP
static bool fixed_address(struct net_device *d)
{
    char text[192];
    ip4_addr_t address, mask, gateway;
    ip6_addr_t six;
    if (d->index != 0)
        return false;
    if (cmdline_get("ip6", text, sizeof(text)) && ip6addr_aton(text, &six)) {
        s8_t at;
        if (netif_add_ip6_address(&d->netif, &six, &at) == ERR_OK)
            netif_ip6_addr_set_state(&d->netif, at, IP6_ADDR_TENTATIVE);
    }
    u32 n = 0;
    for (const char *at = NULL;
         n < MAX_NAME_SERVERS && (at = cmdline_next(at, "dns", text, sizeof(text)));) {
        ip_addr_t server;
        if (ipaddr_aton(text, &server))
            dns_setserver((u8)n++, &server);
        else
            log_error("network: dns=%s is not an address", text);
    }
    if (!cmdline_get("ip", text, sizeof(text)) || asks_dhcp(text))
        return false;
    if (!strcmp(text, "none") || !strcmp(text, "off"))
        return true;
    ip4_addr_set_zero(&gateway);
    int err = strchr(text, ':')                 ? parse_fields(text, &address, &mask, &gateway, n)
              : parse_ip(text, &address, &mask) ? 0
                                                : -EINVAL;
    if (err == -EAGAIN)
        return false;
    if (err) {
        log_error("network: ip=%s is neither ADDRESS/BITS nor what Linux takes", text);
        return true;
    }
    if (cmdline_get("gw", text, sizeof(text)) && !ip4addr_aton(text, &gateway))
        log_error("network: gw=%s is not an address", text);
    netif_set_addr(&d->netif, &address, &mask, &gateway);
    return true;
}

static err_t device_init(struct netif *netif)
{
    struct net_device *d = netif->state;
    netif->name[0] = 'e';
    netif->name[1] = 't';
    netif->output = output4;
    netif->output_ip6 = output6;
    netif->linkoutput = link_output;
    netif->mtu = d->mtu;
    netif->hwaddr_len = sizeof(d->mac);
    memcpy(netif->hwaddr, d->mac, sizeof(d->mac));
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET |
                   NETIF_FLAG_IGMP | NETIF_FLAG_MLD6;
    netif->hostname = get_hostname();
    NETIF_SET_CHECKSUM_CTRL(netif, checksum_flags(d, false));
    return ERR_OK;
}

// [stack lock]
static void start_device(struct net_device *d)
{
    struct netif *netif = &d->netif;
    netif_set_status_callback(netif, on_status);
    netif_set_default(netif);
    netif_create_ip6_linklocal_address(netif, 1);
    netif_set_ip6_autoconfig_enabled(netif, 1);
    if (d->ops->link_up(d))
        netif_set_link_up(netif);
    netif_set_up(netif);
    d->dhcp = !fixed_address(d);
    d->changed = true;
    if (d->dhcp && dhcp_start(netif) == ERR_OK) {
        d->waits = true;
        d->give_up_ns = ktime_ns() + CONFIGURE_WAIT_NS;
        atomic_add(&d->stack->n_configuring, 1);
    }
}

int net_device_add(struct net_device *d)
{
    struct net_stack *st = net_stack_here();
    int err = net_stack_start(st);
    if (err)
        return err;
    d->stack = st;
    d->index = n_devices++;
    net_lock(st);
    bool added = netif_add(&d->netif, NULL, NULL, NULL, d, device_init, ethernet_input) != NULL;
    if (added) {
        d->next = st->devices;
        st->devices = d;
        start_device(d);
    }
    net_unlock(st);
    if (!added)
        return -ENOMEM;
    net_kick(st);
    return 0;
}

// ---- of the stack's thread

bool net_devices_poll(struct net_stack *st)
{
    bool more = false;
    for (struct net_device *d = st->devices; d; d = d->next)
        more |= d->ops->poll(d, POLL_BUDGET);
    return more;
}

static bool has_address(const struct net_device *d)
{
    return !ip4_addr_isany_val(*netif_ip4_addr(&d->netif));
}

static void tell(struct net_device *d, bool got)
{
    char name[16];
    device_name(d, name, sizeof(name));
    if (got)
        log_info("network: %s has %s", name, ip4addr_ntoa(netif_ip4_addr(&d->netif)));
    else
        log_error("network: %s has no address yet: nobody answers DHCP; asking goes on", name);
}

void net_devices_settle(struct net_stack *st)
{
    for (struct net_device *d = st->devices; d; d = d->next) {
        net_lock(st);
        bool changed = d->changed, got = has_address(d);
        d->changed = false;
        bool late = d->waits && !got && ktime_ns() > d->give_up_ns;
        net_unlock(st);
        if (changed && (got || !d->dhcp))
            write_names(st);
        if (changed)
            rtnetlink_notify(netif_get_index(&d->netif));
        if (d->waits && (got || late)) {
            tell(d, got);
            d->waits = false;
            atomic_sub(&st->n_configuring, 1);
            wait_wake(&st->configured, INT32_MAX, 0);
        }
    }
}

void net_wait_configured(void)
{
    struct net_stack *st = net_stack_here();
    struct waiter w;
    if (!atomic_load(&st->n_configuring))
        return;
    waiter_init(&w);
    for (;;) {
        wait_prepare(&st->configured, &w, WAIT_UNINTERRUPTIBLE);
        if (!atomic_load(&st->n_configuring) ||
            wait_sleep(&w, WAIT_UNINTERRUPTIBLE, ktime_ns() + 2 * CONFIGURE_WAIT_NS))
            break;
    }
    wait_finish(&st->configured, &w);
}
