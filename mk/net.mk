# SPDX-License-Identifier: BSD-2-Clause
# The network of lethe-kernel-full: kernel/net, the driver, and lwIP, whose sources stay as they come (mk/third-party.mk).
# Our port of it is kernel/net/lwip: its configuration, its types, and what it asks of the system around it.

LWIP_CORE := def inet_chksum init ip mem memp netif pbuf raw stats sys tcp tcp_in tcp_out udp
LWIP_IPV4 := acd dhcp etharp icmp igmp ip4 ip4_addr ip4_frag
LWIP_IPV6 := ethip6 icmp6 inet6 ip6 ip6_addr ip6_frag mld6 nd6
LWIP_SRCS := $(LWIP_CORE:%=core/%.c) $(LWIP_IPV4:%=core/ipv4/%.c) $(LWIP_IPV6:%=core/ipv6/%.c) netif/ethernet.c
LWIP_OBJS := $(LWIP_SRCS:%.c=$(OBJ)/lwip/%.o)

LWIP_CPPFLAGS := -Ikernel/net/lwip -isystem $(LWIP)/src/include

# Its own warnings are its own; everything else is as for the rest of the kernel.
$(LWIP_OBJS): $(OBJ)/lwip/%.o: $(LWIP)/src/%.c $(LWIP)/.fetched $(OUT)/flags | $(KGEN)
	$(call say,CC,lwip/$*.c)
	$(Q)mkdir -p $(@D)
	$(Q)$(KCC) $(KCPPFLAGS) $(LWIP_CPPFLAGS) $(KCFLAGS) -w -MD -MP -c -o $@ $<

$(foreach f,$(NET_SRCS),$(eval CFLAGS-$f += $(LWIP_CPPFLAGS)))
$(call objects_of,$(NET_SRCS)): | $(LWIP)/.fetched
