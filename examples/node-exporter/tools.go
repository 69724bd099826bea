// SPDX-License-Identifier: BSD-2-Clause

//go:build tools

// Package nodeexporter only pins which node_exporter `make run-node-exporter` builds (go.mod, go.sum).
package nodeexporter

import _ "github.com/prometheus/node_exporter"
