# SPDX-License-Identifier: BSD-2-Clause
# libfdt for the reader of device trees; its sources stay as they come (mk/third-party.mk).

LIBFDT_SRCS := fdt.c fdt_ro.c
LIBFDT_OBJS := $(LIBFDT_SRCS:%.c=$(OBJ)/libfdt/%.o)

$(LIBFDT_OBJS): $(OBJ)/libfdt/%.o: $(DTC)/libfdt/%.c $(DTC)/.fetched $(OUT)/flags
	$(call say,CC,libfdt/$*.c)
	$(Q)mkdir -p $(@D)
	$(Q)$(KCC) $(KCPPFLAGS) -I$(DTC)/libfdt $(KCFLAGS) -w -MMD -MP -c -o $@ $<

DT_USERS := $(addprefix platform/aarch64/,device_tree.c dt_node.c dt_pci.c)
$(foreach f,$(DT_USERS),$(eval CFLAGS-$f += -isystem $(DTC)/libfdt))
$(DT_USERS:%.c=$(OBJ)/%.o): | $(DTC)/.fetched

KERNEL_OBJS += $(LIBFDT_OBJS)
