# SPDX-License-Identifier: BSD-2-Clause
# Lethe: the one Makefile. The rules live in mk/, a file for each concern; `make help` lists the targets.
#
#   make run                     set up the host, build everything, boot the Go example
#   make obj DIR=kernel/mm       compile the objects of one folder, nothing else
#   make kernel ARCH=aarch64     the kernel for another architecture
#   make kernel VERIFY=1         a kernel with its structure verifiers on, in build/<arch>-verify

VERSION := 0.1
ARCH    ?= x86_64
PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   := build
OUT     := $(BUILD)/$(ARCH)$(if $(VERIFY),-verify)

# Every file a build writes carries this date when it carries one at all: same input, same bytes.
SOURCE_DATE_EPOCH ?= 1704067200
export SOURCE_DATE_EPOCH
export LC_ALL := C

MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SUFFIXES:

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-8s %s\n' '$(1)' '$(2)')

all: tool kernel

include mk/toolchain.mk
include mk/third-party.mk
include mk/kernel.mk
include mk/boot.mk
include mk/host.mk
include mk/examples.mk
include mk/test.mk

## setup: install the Debian packages that are missing (asks nothing, says what it does)
setup:
	@ARCH=$(ARCH) mk/setup.sh

## run: build everything and run the Go example in its own machine
run: setup
	@$(MAKE) --no-print-directory tool kernel $(EXAMPLES_OUT)/go-hello
	$(LETHE) run -c ops.conf $(EXAMPLES_OUT)/go-hello

## install: install the tool and the kernel under PREFIX (default /usr/local)
install: tool kernel
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/lethe/$(ARCH)
	install -m 755 $(LETHE) $(DESTDIR)$(PREFIX)/bin/lethe
	install -m 644 $(KERNELS) $(LOADERS) $(DESTDIR)$(PREFIX)/lib/lethe/$(ARCH)
	install -D -m 644 docs/lethe.1 $(DESTDIR)$(PREFIX)/share/man/man1/lethe.1
	install -D -m 644 ops/completion/lethe.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/lethe
	install -D -m 644 ops/completion/_lethe $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_lethe

## clean: remove build/
clean:
	rm -rf $(BUILD)

## help: this list
help:
	@echo 'Lethe $(VERSION): make targets (ARCH=$(ARCH); V=1 shows commands)'
	@sed -n 's/^## \([A-Za-z-]*\): \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
		awk -F'|' '{ printf "  %-12s %s\n", $$1, $$2 }'

.PHONY: all setup run install clean help FORCE
