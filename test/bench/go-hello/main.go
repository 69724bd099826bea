// SPDX-License-Identifier: BSD-2-Clause

// The Go hello of the boot and memory figures.
package main

import "fmt"

func main() { fmt.Println("hello, world") }
