# SPDX-License-Identifier: BSD-2-Clause
# The kernels: every .c and .S below kernel/, platform/ and libc-shim/, less the folders of other architectures.
#
#   sources -> build/<arch>/obj/**.o -> pass 1 link -> symbol table -> pass 2 link -> stripped kernel
#
# Two kernels from the same objects: lethe-kernel, and lethe-kernel-full, which has the network (NET_SRCS and lwIP, see mk/net.mk) and
# disks (DISK_SRCS) in addition.
# No object is compiled in two ways: what knows of them asks whether a weak symbol is there.
#
# A folder that needs more says so in a fragment of its own: libc-shim/vdso/vdso.mk builds the vDSO
# and adds its objects to KERNEL_OBJS. One file's extra flags: `CFLAGS-path/to/file.c := -f...`.

KERNEL       := $(OUT)/lethe-kernel
KERNEL_FULL   := $(KERNEL)-full
KERNEL_LD    := kernel/arch/$(ARCH)/kernel.ld
OBJ          := $(OUT)/obj
# What boot loaders take: an ELF file with a PVH note, or the flat Image of arm64.
KERNEL_FORMAT_aarch64 := -O binary
KDIRS        := kernel platform libc-shim

KSRCS := $(sort $(shell find $(wildcard $(KDIRS)) \( -name '*.c' -o -name '*.S' \) \
           -not -path 'libc-shim/vdso/*' -not -name asm_offsets.c \
           $(foreach a,$(OTHER_ARCHES),-not -path '*/$(a)/*') 2>/dev/null))

# Sources of one kernel only: the network, the power button, and what answers in its place.
NO_NET_SRCS := kernel/net/none.c
NET_SRCS    := $(filter-out $(NO_NET_SRCS),$(filter kernel/net/% platform/net/% platform/pci_irq.c platform/pci_drivers.c platform/pvpanic.c platform/watchdog.c platform/x86_64/pci_line.c platform/x86_64/fw_cfg.c platform/virtio/virtio_net.c platform/virtio/virtio_event.c platform/virtio/virtio_irq.c kernel/task/shutdown.c platform/acpi_ged.c platform/$(ARCH)/button.c,$(KSRCS)))

objects_of = $(patsubst %,$(OBJ)/%.o,$(basename $1))
# The disks: the block layer, ext4 that is written, and the drivers.
DISK_SRCS   := $(filter kernel/block/% kernel/ext4/% kernel/fs/volume%.c kernel/fs/blockdev.c kernel/fs/rootdisk.c kernel/mm/object_clean.c platform/disk/% platform/virtio/virtio_blk.c platform/virtio/virtio_scsi.c platform/virtio/virtio_chain.c,$(KSRCS))
# What few programs ask for, or only such as people use by hand.
MORE_SRCS   := $(filter kernel/fs/aio.c kernel/fs/cgroup.c kernel/fs/full.c kernel/fs/tty_host.c,$(KSRCS))
CLOUD_SRCS  := $(filter kernel/fs/iso9660.c kernel/fs/fat.c kernel/fs/put_file.c kernel/exec/cloud%.c,$(KSRCS))
FULL_SRCS   := $(NET_SRCS) $(DISK_SRCS) $(MORE_SRCS) $(CLOUD_SRCS)
KERNEL_OBJS := $(call objects_of,$(filter-out $(FULL_SRCS),$(KSRCS)))

-include libc-shim/vdso/vdso.mk
-include platform/$(ARCH)/platform.mk
include mk/net.mk

KERNEL_FULL_OBJS := $(filter-out $(call objects_of,$(NO_NET_SRCS)),$(KERNEL_OBJS)) $(call objects_of,$(FULL_SRCS)) $(LWIP_OBJS)
ALL_OBJS        := $(sort $(KERNEL_OBJS) $(KERNEL_FULL_OBJS))

# ---- code that runs seldom, built for size: it is half of the kernel. Of the rows of the benchmarks only those that make and
# end threads and processes pass through it, and the slow paths of locks.
KCOLD := $(addprefix kernel/fs/,aio.c async.c attr.c cgroup.c dir.c ext4.c fcntl.c full.c gen.c inotify.c locks.c memfd.c memfs.c mount.c pidfd.c poll.c proc.c proc_pid.c proc_sys.c \
             rootfs.c signalfd.c splice.c sysfs.c sysv_shm.c timerfd.c tty.c tty_host.c xattr.c) \
         $(addprefix kernel/task/,clone.c creds.c exit.c groups.c misc.c proc_info.c process.c rseq.c schedcalls.c timers.c wait.c) \
         $(addprefix kernel/core/,cmdline.c debug.c kallsyms.c kmain.c lock.c log.c random.c seq_buf.c smp.c) \
         $(addprefix kernel/mm/,attach.c hugetlb.c madvise.c mlock.c mm.c mremap.c pkey.c show.c) kernel/syscall/table.c kernel/syscall/trace.c kernel/syscall/unknown.c libc-shim/printf.c \
         $(wildcard kernel/exec/*.c) kernel/arch/backtrace.c $(addprefix kernel/arch/x86_64/,cache.c cpu.c cpuinfo.c gdt.c idt.c mmu.c smp.c) \
         $(addprefix platform/x86_64/,acpi_x86.c ioapic.c machine.c mptable.c pci.c platform.c pvh.c tsc.c button.c pci_line.c) kernel/task/shutdown.c \
         $(addprefix kernel/arch/aarch64/,bti.c cache.c cpu.c cpuinfo.c idreg.c mmu.c smp.c) \
         $(addprefix platform/aarch64/,acpi_arm.c button.c device_tree.c dt_node.c dt_pci.c its.c machine.c pci.c pci_place.c pl011.c platform.c psci.c uart.c) platform/acpi.c platform/acpi_ged.c platform/firmware.c platform/memory_map.c platform/pci.c platform/pci_irq.c platform/pci_drivers.c platform/random.c platform/uart8250.c $(filter-out %/virtio_net.c %/virtio_event.c,$(wildcard platform/virtio/*.c))
KCOLD += $(CLOUD_SRCS)
$(foreach f,$(KCOLD),$(eval CFLAGS-$f += $(KCFLAGS_COLD)))

# Only what says inline is inlined: other calls stay calls, for a few instructions in a hundred. The kernel file is to stay
# below 400,000 bytes with GCC 12 and 14.
KNOINLINE := kernel/task/futex.c kernel/task/sigcalls.c kernel/task/timecalls.c \
             $(filter-out $(KCOLD) kernel/fs/epoll.c kernel/fs/pipe.c,$(wildcard kernel/fs/*.c))
$(foreach f,$(KNOINLINE),$(eval CFLAGS-$f += -fno-inline-functions -falign-functions=1))

# Loops that begin with their test in the middle, and functions in one piece, are smaller. The hot paths of memory have it the longer way.
KLONG := $(addprefix kernel/mm/,fault.c mmap.c page_alloc.c pagetable.c syscalls.c tlb.c vma.c) kernel/task/signal.c
KCFLAGS_LONG := -ftree-ch -freorder-blocks-and-partition
$(foreach f,$(KLONG),$(eval CFLAGS-$f += $(KCFLAGS_LONG)))

# ---- generated headers: structure offsets for assembly
ASM_OFFSETS_C := $(wildcard kernel/arch/$(ARCH)/asm_offsets.c)
KGEN          := $(if $(ASM_OFFSETS_C),$(OUT)/gen/asm_offsets.h)

$(OUT)/gen/asm_offsets.h: $(ASM_OFFSETS_C) $(OUT)/flags
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(KCC) $(KCPPFLAGS) $(KCFLAGS) -MMD -MP -MT $@ -MF $@.d -S -o $@.s $<
	$(Q){ echo '/* generated from $< */'; \
	      sed -n 's/.*->\([A-Za-z0-9_]*\) \(-\{0,1\}[0-9]*\).*/#define \1 \2/p' $@.s; } > $@

# ---- objects; a change of flags rebuilds them all
KFLAGS_LINE = $(KCC) $(KCPPFLAGS) $(KCFLAGS) $(KASFLAGS) $(KLDFLAGS) $(KCFLAGS_COLD) $(KCOLD) $(KNOINLINE) $(KCFLAGS_LONG) $(KLONG)
$(OUT)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' $(foreach f,$(KFLAGS_LINE),'$(subst ','\'',$(f))') | cmp -s - $@ || \
		printf '%s\n' $(foreach f,$(KFLAGS_LINE),'$(subst ','\'',$(f))') > $@

$(OBJ)/%.o: %.c $(OUT)/flags | $(KGEN)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(KCC) $(KCPPFLAGS) $(KCFLAGS) -MD $(CFLAGS-$<) -MP -c -o $@ $<

$(OBJ)/%.o: %.S $(OUT)/flags | $(KGEN)
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(KCC) $(KCPPFLAGS) $(KASFLAGS) $(CFLAGS-$<) -MMD -MP -c -o $@ $<

## obj: compile the objects of one folder only: make obj DIR=kernel/mm
obj: $(if $(DIR),$(filter $(OBJ)/$(patsubst %/,%,$(DIR))/%,$(ALL_OBJS)),$(ALL_OBJS))

# ---- symbol table for backtraces (format: mk/kallsyms). Pass 1 links an empty one.
$(OUT)/kallsyms-0.S: mk/kallsyms
	$(Q)mkdir -p $(@D)
	$(Q)mk/kallsyms </dev/null > $@
$(OUT)/%.o: $(OUT)/%.S $(OUT)/flags
	$(Q)$(KCC) $(KASFLAGS) -c -o $@ $<

LINK = $(KLD) $(KLDFLAGS) -T $(KERNEL_LD)
# The compiler's library, but not where it uses vector registers (libc-shim/aarch64/popcount.c).
LIBGCC = $(if $(filter x86_64,$(ARCH)),$(shell $(KCC) $(KCFLAGS_$(ARCH)) -print-libgcc-file-name))

# $(call link_kernel,FILE,OBJECTS): the two passes, FILE.debug with symbols and FILE without.
define link_kernel
$1.pass1: $2 $(OUT)/kallsyms-0.o $(KERNEL_LD)
	$$(call say,LD,$$@)
	$$(Q)$$(LINK) -o $$@ $2 $(OUT)/kallsyms-0.o $$(LIBGCC)
$1.kallsyms.S: $1.pass1 mk/kallsyms
	$$(Q)$(KNM) -n --defined-only $$< | mk/kallsyms > $$@
$1.debug: $1.pass1 $1.kallsyms.o
	$$(call say,LD,$$@)
	$$(Q)$$(LINK) -Map=$$@.map -o $$@ $2 $1.kallsyms.o $$(LIBGCC)
	$$(Q)$(KNM) -n --defined-only $$@ | mk/kallsyms | cmp - $1.kallsyms.S || { rm -f $$@; \
		echo '$(KERNEL_LD): the .kallsyms section must lie behind all code' >&2; exit 1; }
$1: $1.debug
	$$(call say,STRIP,$$@)
	$$(Q)$(KOBJCOPY) $(KERNEL_FORMAT_$(ARCH)) --strip-all --remove-section=.comment $$< $$@
endef
$(eval $(call link_kernel,$(KERNEL),$(KERNEL_OBJS)))
$(eval $(call link_kernel,$(KERNEL_FULL),$(KERNEL_FULL_OBJS)))
KERNELS := $(KERNEL) $(KERNEL_FULL)

## kernel: link build/<arch>/lethe-kernel and lethe-kernel-full (stripped; *.debug have the symbols)
kernel: $(KERNELS)

-include $(ALL_OBJS:.o=.d) $(KGEN:=.d)
.PHONY: obj kernel
.SECONDARY:
