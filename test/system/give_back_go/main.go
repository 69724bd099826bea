// SPDX-License-Identifier: BSD-2-Clause

// Fills 700 MiB of heap, drops it, returns it to the system, and waits.
package main

import (
	"fmt"
	"runtime/debug"
	"time"
)

func main() {
	blocks := make([][]byte, 700)
	for i := range blocks {
		blocks[i] = make([]byte, 1<<20)
		for at := 0; at < len(blocks[i]); at += 4096 {
			blocks[i][at] = 1
		}
	}
	fmt.Println("full", len(blocks))
	time.Sleep(2 * time.Second)
	blocks = nil
	debug.FreeOSMemory()
	fmt.Println("free")
	time.Sleep(8 * time.Second)
}
