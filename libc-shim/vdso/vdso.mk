# SPDX-License-Identifier: BSD-2-Clause
# The vDSO: its own flags, its own link, and the check that no function can use more than 64 bytes of stack.

VDSO_DIR := libc-shim/vdso/$(ARCH)
ifneq ($(wildcard $(VDSO_DIR)/vdso.ld),)

VDSO_STACK_MAX := 64
VDSO_SRCS := $(addprefix libc-shim/vdso/,vdso.c getrandom.c note.S) $(sort $(wildcard $(VDSO_DIR)/*.c $(VDSO_DIR)/*.S))
VDSO_OBJS := $(patsubst %,$(OUT)/vdso/%.o,$(basename $(VDSO_SRCS)))

# User-mode code: position independent, no canaries, no probes, no vectors in C code, no red
# zone (getrandom.c calls assembly by hand). Unwind tables stay, so that debuggers and profilers see through it.
VDSO_CFLAGS_x86_64  := -m64 -march=x86-64 -mno-red-zone -fcf-protection=none
VDSO_CFLAGS_aarch64 := -march=armv8-a -mbranch-protection=none
VDSO_CFLAGS := -std=gnu11 -ffreestanding -O2 -g0 -fPIC -fvisibility=default -fno-stack-protector \
               -fno-stack-clash-protection -fno-split-stack -fno-common -fno-builtin -fno-plt \
               -fno-strict-aliasing -fomit-frame-pointer -fasynchronous-unwind-tables \
               -mgeneral-regs-only -fno-tree-vectorize -fno-jump-tables $(VDSO_CFLAGS_$(ARCH)) \
               -I$(VDSO_DIR) -fstack-usage $(WARNINGS) $(REPRODUCIBLE)

$(OUT)/vdso/%.o: %.c $(OUT)/flags libc-shim/vdso/vdso.mk
	$(call say,VDSO,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(KCC) $(KCPPFLAGS) $(VDSO_CFLAGS) -MMD -MP -c -o $@ $<
	$(Q)awk -F'\t' -v max=$(VDSO_STACK_MAX) '$$2 > max || $$3 !~ /^static/ { \
		print $$1 ": " $$2 " bytes of stack (" $$3 "), the vDSO may use " max; bad = 1 } \
		END { exit bad }' $(@:.o=.su) || { rm -f $@; exit 1; }

$(OUT)/vdso/%.o: %.S $(OUT)/flags libc-shim/vdso/vdso.mk
	$(call say,VDSO,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(KCC) $(KCPPFLAGS) -D__ASSEMBLER__=1 $(VDSO_CFLAGS_$(ARCH)) -MMD -MP -c -o $@ $<

$(OUT)/vdso/vdso.so: $(VDSO_OBJS) $(VDSO_DIR)/vdso.ld
	$(call say,LD,$@)
	$(Q)$(KLD) -shared -Bsymbolic --no-undefined --hash-style=both --build-id=none --eh-frame-hdr \
		-soname linux-vdso.so.1 -z max-page-size=4096 -z noexecstack --orphan-handling=error \
		$(VDSO_LDFLAGS_$(ARCH)) -T $(VDSO_DIR)/vdso.ld -o $@.full $(VDSO_OBJS)
	$(Q)$(KOBJCOPY) --strip-all $@.full $@

$(OUT)/vdso/vdso_image.o: libc-shim/vdso/vdso_image.S $(OUT)/vdso/vdso.so
	$(call say,AS,$<)
	$(Q)$(KCC) $(KASFLAGS) -DVDSO_IMAGE='"$(OUT)/vdso/vdso.so"' \
		-DVDSO_LEN="0x$$($(KNM) $(OUT)/vdso/vdso.so.full | sed -n 's/ . vdso_end$$//p')" \
		-DVDSO_SIGRETURN="0x0$$($(KNM) $(OUT)/vdso/vdso.so.full | sed -n 's/ T __kernel_rt_sigreturn$$//p')" -c -o $@ $<

KERNEL_OBJS += $(OUT)/vdso/vdso_image.o
-include $(VDSO_OBJS:.o=.d)

endif
