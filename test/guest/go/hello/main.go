// SPDX-License-Identifier: BSD-2-Clause

// Hello says hello, uses what every Go program uses, and exits with the status in its first argument.
// With "panic" or "nil" or "deadlock" it ends as Go ends then: status 2.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

func main() {
	fmt.Println("hello from Go", strings.TrimPrefix(runtime.Version(), "go"), "on", runtime.NumCPU(), "CPUs")
	if len(os.Args) < 2 {
		return
	}
	switch os.Args[1] {
	case "panic":
		panic("as asked")
	case "nil":
		var p *int
		defer func() { fmt.Fprintln(os.Stderr, "recovered:", recover() != nil); os.Exit(2) }()
		*p = 1
	case "deadlock":
		<-make(chan int)
	case "env":
		fmt.Println(os.Getenv("GREETING"))
		dir, err := os.Getwd()
		fmt.Println(dir, err)
	case "file":
		name := os.TempDir() + "/lethe-go-hello"
		if err := os.WriteFile(name, []byte("data"), 0600); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		data, err := os.ReadFile(name)
		if string(data) != "data" || err != nil || os.Remove(name) != nil {
			fmt.Println("read back", data, err)
			os.Exit(1)
		}
		if time.Since(time.Now()) > time.Second {
			os.Exit(1)
		}
	default:
		status, err := strconv.Atoi(os.Args[1])
		if err != nil {
			os.Exit(99)
		}
		os.Exit(status)
	}
}
