# SPDX-License-Identifier: BSD-2-Clause
# prometheus node_exporter, the version that examples/node-exporter/go.sum pins, built static from its Go module.
# Its sources come through Go's own module proxy settings, once, and are kept below build/; without them there is no such example.

NODE_EXPORTER_ENV = CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=readonly GOOS=linux GOARCH=$(GOARCH_$(ARCH)) \
                    GOCACHE=$(abspath $(BUILD))/gocache GOPATH=$(abspath $(BUILD))/gopath

$(EXAMPLES_OUT)/node-exporter: examples/node-exporter/go.mod examples/node-exporter/go.sum
	$(call say,GO,$@)
	$(Q)mkdir -p $(@D)
	$(Q)cd examples/node-exporter && env $(NODE_EXPORTER_ENV) $(GO) build -trimpath -modcacherw -o $(abspath $@) \
		github.com/prometheus/node_exporter
