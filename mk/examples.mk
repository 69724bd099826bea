# SPDX-License-Identifier: BSD-2-Clause
# The example programs: ordinary static Linux programs, built as anybody would build them.

FOREIGN      := $(filter-out $(HOST_ARCH),$(ARCH))
EXAMPLES_OUT := $(BUILD)/examples$(FOREIGN:%=-%)
GO           := $(firstword $(shell command -v go) $(wildcard /usr/lib/go/bin/go) go)
RUSTC        := $(shell command -v rustc)
GOARCH_x86_64  := amd64
GOARCH_aarch64 := arm64

# No network, no other toolchain than this one, no cgo; caches stay under build/.
GO_ENV := CGO_ENABLED=0 GOTOOLCHAIN=local GOPROXY=off GOFLAGS=-trimpath GOOS=linux \
          GOARCH=$(GOARCH_$(ARCH)) GOCACHE=$(abspath $(BUILD))/gocache GOPATH=$(abspath $(BUILD))/gopath

# Rust's compiler comes with the library of its own architecture only.
EXAMPLES := c-hello c-echo c-reuse c-sbrk c-cp c-reboot go-hello go-heap go-http go-fetch \
            $(if $(RUSTC),$(if $(FOREIGN),,rust-hello rust-http))

$(EXAMPLES_OUT)/go-%: examples/go-%/main.go examples/go-%/go.mod
	$(call say,GO,$@)
	$(Q)mkdir -p $(@D)
	$(Q)cd examples/go-$* && env $(GO_ENV) $(GO) build -o $(abspath $@) .

BENCH_OUT    := $(BUILD)/bench$(FOREIGN:%=-%)
# Linked where no kernel runs: the benchmark counts at its addresses.
$(BENCH_OUT)/go-%: test/bench/go-%/main.go test/bench/go-%/go.mod
	$(call say,GO,$@)
	$(Q)mkdir -p $(@D)
	$(Q)cd test/bench/go-$* && env $(GO_ENV) $(GO) build $(if $(filter serve,$*),-ldflags=-T=0x50001000) -o $(abspath $@) .

$(EXAMPLES_OUT)/c-%: examples/c-%/main.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(KCC) -O2 -static -Wall -o $@ $<

$(EXAMPLES_OUT)/rust-%: examples/rust-%/main.rs
	$(call say,RUSTC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(RUSTC) --edition 2021 -O -C target-feature=+crt-static -o $@ $<

## examples: build the example programs
examples: $(EXAMPLES:%=$(EXAMPLES_OUT)/%)

include mk/node-exporter.mk

# Options that an example needs.
RUN_node-exporter := -p 9100
RUN_go-http := -p 8080 -p 8080/udp
RUN_c-echo  := -p 7000
RUN_go-fetch := --net user
ARGS_go-fetch = -- $(or $(URL),http://10.0.2.2:8080/)
RUN_rust-http := -p 8080
ARGS_c-reboot = -- cad-on

## run-NAME: build one example and run it: make run-c-hello, run-go-heap, run-go-http, run-go-fetch URL=http://10.0.2.2:8080/, ...
run-%: tool kernel $(EXAMPLES_OUT)/%
	$(LETHE) run -c ops.conf $(RUN_$*) $(EXAMPLES_OUT)/$* $(ARGS_$*)

.PHONY: examples
