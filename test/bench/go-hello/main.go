// SPDX-License-Identifier: BSD-2-Clause

// The Go hello of the boot and memory figures: prints a line and passes main.printed, which the counting plugin watches.
package main

import "fmt"

//go:noinline
func printed() {}

func main() {
	fmt.Println("hello, world")
	printed()
}
