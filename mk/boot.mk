# SPDX-License-Identifier: BSD-2-Clause
# The loaders of disk images (boot/): lethe-boot.efi for both architectures, lethe-boot.bios (MBR and stage 2) for x86-64.

BOOT_OUT    := $(BUILD)/$(ARCH)/boot
BOOT_EFI    := $(BUILD)/$(ARCH)/lethe-boot.efi
BOOT_BIOS   := $(BUILD)/$(ARCH)/lethe-boot.bios
LOADERS     := $(if $(wildcard boot/efi/$(ARCH)),$(BOOT_EFI)) $(if $(filter x86_64,$(ARCH)),$(BOOT_BIOS))

BOOT_CFLAGS := -nostdinc -isystem $(shell $(KCC) -print-file-name=include 2>/dev/null) -I. -Ilibc-shim/include \
               -std=gnu11 -ffreestanding -Os -fshort-wchar -fno-strict-aliasing -fno-common -fno-stack-protector \
               -fno-asynchronous-unwind-tables -fno-unwind-tables -ffunction-sections -fdata-sections \
               -mgeneral-regs-only --param=min-pagesize=0 $(WARNINGS) $(REPRODUCIBLE)
BOOT_LDFLAGS := -nostdlib --build-id=none -z noexecstack --no-warn-rwx-segments --gc-sections

BIOS_CFLAGS := -m32 -march=i686 -fno-pic -fno-pie -fcf-protection=none
EFI_CFLAGS   = -Iboot/efi/$(ARCH) -fpie -fvisibility=hidden $(BOOT_CFLAGS_$(ARCH))
BOOT_CFLAGS_x86_64  := -mno-red-zone -fcf-protection=none -mcmodel=small
BOOT_CFLAGS_aarch64 := -isystem $(DTC)/libfdt -march=armv8-a -mno-outline-atomics -mbranch-protection=none -mcmodel=small

EFI_SRCS_x86_64  := boot/pvh.c
EFI_SRCS_aarch64 := boot/efi/aarch64/tree.c
BOOT_FDT_aarch64 := fdt.c fdt_ro.c fdt_rw.c fdt_sw.c fdt_empty_tree.c
BIOS_SRCS := boot/bios/entry.S boot/bios/main.c boot/pvh.c boot/mem.c libc-shim/string.c
EFI_SRCS  := boot/efi/$(ARCH)/head.S boot/efi/loader.c boot/efi/$(ARCH)/enter.c boot/mem.c libc-shim/string.c \
             $(EFI_SRCS_$(ARCH))
BIOS_OBJS := $(patsubst %,$(BOOT_OUT)/bios/%.o,$(basename $(BIOS_SRCS)))
EFI_OBJS  := $(patsubst %,$(BOOT_OUT)/efi/%.o,$(basename $(EFI_SRCS))) $(BOOT_FDT_$(ARCH):%.c=$(BOOT_OUT)/efi/libfdt/%.o)

# $(call boot_objects,LOADER,FLAGS)
define boot_objects
$(BOOT_OUT)/$1/%.o: %.c mk/boot.mk
	$$(call say,CC,$$<)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(KCC) $$(BOOT_CFLAGS) $2 -MMD -MP -c -o $$@ $$<
$(BOOT_OUT)/$1/%.o: %.S mk/boot.mk
	$$(call say,AS,$$<)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(KCC) -D__ASSEMBLER__=1 $2 -I. -MMD -MP -c -o $$@ $$<
endef
$(eval $(call boot_objects,bios,$$(BIOS_CFLAGS)))
$(eval $(call boot_objects,efi,$$(EFI_CFLAGS)))

# libfdt, which writes the device tree that an Arm kernel is handed (mk/third-party.mk).
$(BOOT_OUT)/efi/libfdt/%.o: $(DTC)/libfdt/%.c $(DTC)/.fetched mk/boot.mk
	$(call say,CC,libfdt/$*.c)
	$(Q)mkdir -p $(@D)
	$(Q)$(KCC) $(BOOT_CFLAGS) -I$(DTC)/libfdt $(EFI_CFLAGS) -w -MMD -MP -c -o $@ $<
$(BOOT_OUT)/efi/boot/efi/aarch64/tree.o: | $(DTC)/.fetched

# A stage 2 of whole sectors behind a first sector that is complete.
$(BOOT_BIOS): $(BOOT_OUT)/bios/boot/bios/mbr.o $(BIOS_OBJS) boot/bios/bios.ld
	$(call say,LD,$@)
	$(Q)$(KLD) -m elf_i386 $(BOOT_LDFLAGS) -Ttext=0x7c00 -e _start -o $(BOOT_OUT)/mbr.elf $<
	$(Q)$(KOBJCOPY) -O binary -j .text $(BOOT_OUT)/mbr.elf $(BOOT_OUT)/mbr.bin
	$(Q)$(KLD) -m elf_i386 $(BOOT_LDFLAGS) -T boot/bios/bios.ld -o $(BOOT_OUT)/bios.elf $(BIOS_OBJS)
	$(Q)$(KOBJCOPY) -O binary $(BOOT_OUT)/bios.elf $(BOOT_OUT)/bios.bin
	$(Q){ cat $(BOOT_OUT)/mbr.bin; head -c 72 /dev/zero; cat $(BOOT_OUT)/bios.bin; } > $@

$(BOOT_EFI): $(EFI_OBJS) boot/efi/efi.ld
	$(call say,LD,$@)
	$(Q)$(KLD) $(BOOT_LDFLAGS) -pie --no-dynamic-linker -z text -T boot/efi/efi.ld -o $(BOOT_OUT)/efi.elf $(EFI_OBJS)
	$(Q)$(KOBJCOPY) -O binary -R .got $(BOOT_OUT)/efi.elf $@

kernel: $(LOADERS)

-include $(BIOS_OBJS:.o=.d) $(EFI_OBJS:.o=.d)
