# SPDX-License-Identifier: BSD-2-Clause
# Tests, benchmarks and lint.

# Both architectures on an x86-64 host, its own first; one when ARCH is given.
TEST_ARCHES := $(if $(filter file,$(origin ARCH)),$(if $(filter x86_64,$(HOST_ARCH)),$(ARCHES),$(HOST_ARCH)),$(ARCH))

## test: set up the host, build everything, run every test of both architectures (ARCH=... of one); ends with the counting line
test:
	@ARCH='$(TEST_ARCHES)' mk/setup.sh test
	@for arch in $(TEST_ARCHES); do $(MAKE) --no-print-directory ARCH=$$arch tool kernel examples || exit 1; done
	@ARCH='$(TEST_ARCHES)' test/run-all

## test-models: the guest tests, whole, on four aarch64 CPU models with GICv2 and GICv3 (MODEL=REGEX: only some)
test-models:
	@ARCH=aarch64 mk/setup.sh test
	@$(MAKE) --no-print-directory ARCH=aarch64 tool kernel examples
	@ARCH=aarch64 MODELS=1 test/guest/models/run

## fuzz: memory calls at random, the same on Linux and in the guest: make fuzz SEEDS=0..199 (CPUS='1 4', STEPS=2000)
fuzz:
	@mk/setup.sh test
	@$(MAKE) --no-print-directory tool kernel
	@SEEDS='$(or $(SEEDS),0..199)' STEPS='$(or $(STEPS),2000)' CPUS='$(or $(CPUS),1)' SHARE=1 test/guest/mmdiff/run

## fuzz-host: libFuzzer on the memory core and on what parses ELF files, images and tables: FUZZ_SECONDS=60 each
fuzz-host:
	@mk/setup.sh fuzz
	@FUZZ_SECONDS='$(or $(FUZZ_SECONDS),60)' test/host/fuzz/run

## bench: Lethe and a Debian Linux guest side by side, one table (of x86-64, or with ARCH=aarch64)
bench:
	@ARCH=$(ARCH) mk/setup.sh bench
	@$(MAKE) --no-print-directory tool kernel $(BENCH_OUT)/go-hello $(BENCH_OUT)/go-serve
	@ARCH=$(ARCH) test/bench/run

C_SRCS      = $(shell find boot ops kernel platform libc-shim test -name '*.[ch]' | sort)
KERNEL_C    = $(filter-out libc-shim/vdso/%,$(filter %.c,$(KSRCS)))

# Suppressed: what the parser does not understand (GNU statement expressions), and differences of linker symbols.
CPPCHECK := cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 -j2 --enable=warning,portability \
            $(addprefix --suppress=,missingInclude missingIncludeSystem normalCheckLevelMaxBranches \
              internalAstError syntaxError comparePointers subtractPointers nullPointerRedundantCheck zerodivcond)

## lint: the tree's own rules (mk/check), formatting (clang-format) and bug patterns (cppcheck)
lint:
	@mk/setup.sh lint
	@mk/check
	@clang-format --dry-run -Werror $(C_SRCS)
	@$(CPPCHECK) -D_GNU_SOURCE '-DLETHE_VERSION="$(VERSION)"' -I. -Iops \
		'-DcJSON_ArrayForEach(item,list)=for(item=list;item;item=item->next)' ops
	@$(CPPCHECK) $(filter -I% -D%,$(KCPPFLAGS)) -D__$(ARCH)__ $(KERNEL_C)

## format: rewrite the sources as clang-format wants them
format:
	@mk/setup.sh lint
	@clang-format -i $(C_SRCS)

.PHONY: test test-models fuzz fuzz-host bench lint format
