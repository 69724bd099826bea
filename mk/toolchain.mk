# SPDX-License-Identifier: BSD-2-Clause
# Compilers and flags. KCC builds the kernel for ARCH, HOSTCC what runs on this machine.

HOST_ARCH := $(shell uname -m)
CROSS     ?= $(if $(filter $(ARCH),$(HOST_ARCH)),,$(ARCH)-linux-gnu-)
KCC       := $(CROSS)gcc
KLD       := $(CROSS)ld
KNM       := $(CROSS)nm
KOBJCOPY  := $(CROSS)objcopy
HOSTCC    := gcc

ARCHES       := x86_64 aarch64
OTHER_ARCHES := $(filter-out $(ARCH),$(ARCHES))
ifeq ($(filter $(ARCH),$(ARCHES)),)
$(error ARCH=$(ARCH) is not known; use one of: $(ARCHES))
endif

WARNINGS := -Wall -Wextra -Werror -Wno-unused-parameter -Wno-missing-field-initializers \
            -Wstrict-prototypes -Wold-style-definition -Wpointer-arith \
            -Wundef -Wvla -Wimplicit-fallthrough -Wwrite-strings

# Paths of this checkout stay out of the objects, so that the same source gives the same bytes anywhere.
REPRODUCIBLE := -ffile-prefix-map=$(CURDIR)/= -gno-record-gcc-switches

KCPPFLAGS := -nostdinc -isystem $(shell $(KCC) -print-file-name=include 2>/dev/null) \
             -Ikernel -Ilibc-shim/include -Ikernel/arch/include -Ikernel/arch/$(ARCH)/include \
             -I$(OUT)/gen -I. -D__LETHE_KERNEL__=1 -DLETHE_VERSION='"$(VERSION)"' \
             $(if $(VERIFY),-DLETHE_VERIFY=1)

# Frame pointers are kept (backtraces walk them) except in leaf functions.
KCFLAGS := -std=gnu11 -ffreestanding -O2 -g \
           -fno-strict-aliasing -fno-strict-overflow -fno-delete-null-pointer-checks -fno-common \
           -fno-omit-frame-pointer -momit-leaf-frame-pointer -fno-stack-protector \
           -fno-pic -fno-pie -fno-asynchronous-unwind-tables -fno-unwind-tables \
           -falign-functions=$(if $(filter x86_64,$(ARCH)),2,4) -fno-align-loops -fno-align-jumps -fno-tree-pre -fno-tree-ch -fno-reorder-blocks-and-partition -ffunction-sections -fdata-sections -Wframe-larger-than=2048 \
           -mgeneral-regs-only $(WARNINGS) $(REPRODUCIBLE)

KCFLAGS_x86_64  := -m64 -march=x86-64 -mcmodel=kernel -mno-red-zone -fcf-protection=none \
                  -mpreferred-stack-boundary=3
KCFLAGS_aarch64 := -march=armv8-a -mno-outline-atomics -mbranch-protection=bti -mcmodel=small

# For size. String instructions are slow under emulation and for short lengths: clear and copy by our own functions.
KCFLAGS_COLD := -Os -fno-jump-tables $(if $(filter x86_64,$(ARCH)),-mstringop-strategy=libcall)

KCFLAGS += $(KCFLAGS_$(ARCH)) $(EXTRA_KCFLAGS)
KASFLAGS := -D__ASSEMBLER__=1 -g -fno-pic -fno-pie $(KCFLAGS_$(ARCH)) $(REPRODUCIBLE)
KLDFLAGS := -nostdlib -static --gc-sections --build-id=none -z noexecstack -z max-page-size=64 \
            --no-warn-rwx-segments

HOSTCFLAGS := -std=gnu11 -O2 -g $(WARNINGS) -Wmissing-prototypes $(REPRODUCIBLE) -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64
