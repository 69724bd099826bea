# SPDX-License-Identifier: BSD-2-Clause
# The host tool, build/lethe: ops/*.c, with cJSON and libext2fs from the system.

LETHE     := $(BUILD)/lethe
OPS_SRCS  := $(sort $(wildcard ops/*.c))
OPS_OBJS  := $(OPS_SRCS:%.c=$(BUILD)/host/%.o)
OPS_FLAGS := -I. -DLETHE_VERSION='"$(VERSION)"'

$(BUILD)/host/ops/%.o: ops/%.c
	$(call say,HOSTCC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) $(HOSTCFLAGS) $(OPS_FLAGS) -MMD -MP -c -o $@ $<

$(LETHE): $(OPS_OBJS)
	$(call say,HOSTLD,$@)
	$(Q)$(HOSTCC) $(HOSTCFLAGS) -o $@ $(OPS_OBJS) -lcjson -lext2fs -lcom_err

## tool: build the host tool, build/lethe
tool: $(LETHE)

-include $(OPS_OBJS:.o=.d)
.PHONY: tool
