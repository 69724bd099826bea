// SPDX-License-Identifier: BSD-2-Clause

// The web server of the network rows: a greeting on port 8080. /mark and /quit are the benchmark's.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

var marks int

// The plugin counts here (count_plugin.c).
//
//go:noinline
func netMark() { marks++ }

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello, world\n") })
	http.HandleFunc("/mark", func(w http.ResponseWriter, r *http.Request) { netMark() })
	http.HandleFunc("/quit", func(w http.ResponseWriter, r *http.Request) { os.Exit(0) })
	listener, err := net.Listen("tcp", ":8080")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("serving")
	fmt.Println(http.Serve(listener, nil))
}
