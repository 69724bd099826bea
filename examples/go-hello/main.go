// SPDX-License-Identifier: BSD-2-Clause

// A Go program as anybody writes it: it greets, looks around, works on all processors for a moment and ends.
// Its exit status is the first argument, if that is a number.
package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"
)

func main() {
	start := time.Now()
	greeting := os.Getenv("GREETING")
	if greeting == "" {
		greeting = "Hello"
	}
	host, _ := os.Hostname()
	fmt.Printf("%s from %s on %s/%s, process %d", greeting, runtime.Version(), runtime.GOOS, runtime.GOARCH, os.Getpid())
	if host != "" {
		fmt.Printf(" of %s", host)
	}
	fmt.Println()
	fmt.Printf("processors: %d, heap limit: %s\n", runtime.NumCPU(), heapLimit())
	if memory := memTotal(); memory != "" {
		fmt.Printf("machine memory: %s\n", memory)
	}
	fmt.Printf("primes below 200000, counted by %d goroutines: %d\n", 4, countPrimes(200000, 4))

	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Printf("heap in use: %d KiB, from the system: %d KiB, collections: %d\n", m.HeapInuse>>10, m.Sys>>10, m.NumGC)
	fmt.Printf("done in %d ms\n", time.Since(start).Milliseconds())
	if len(os.Args) > 1 {
		if status, err := strconv.Atoi(os.Args[1]); err == nil {
			os.Exit(status)
		}
	}
}

// heapLimit returns what GOMEMLIMIT set.
func heapLimit() string {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return "none"
	}
	return fmt.Sprintf("%d MiB", limit>>20)
}

// memTotal returns the size of the machine's memory as /proc/meminfo tells it.
func memTotal() string {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return ""
	}
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "MemTotal:") {
			return strings.TrimSpace(strings.TrimPrefix(line, "MemTotal:"))
		}
	}
	return ""
}

func countPrimes(limit, workers int) int {
	var wg sync.WaitGroup
	counts := make(chan int, workers)
	for w := 0; w < workers; w++ {
		wg.Add(1)
		go func(w int) {
			defer wg.Done()
			n := 0
			for i := 2 + w; i < limit; i += workers {
				if isPrime(i) {
					n++
				}
			}
			counts <- n
		}(w)
	}
	wg.Wait()
	close(counts)
	total := 0
	for n := range counts {
		total += n
	}
	return total
}

func isPrime(n int) bool {
	for i := 2; i*i <= n; i++ {
		if n%i == 0 {
			return false
		}
	}
	return n >= 2
}
