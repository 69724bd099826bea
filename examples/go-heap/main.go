// SPDX-License-Identifier: BSD-2-Clause

// Churns the heap: goroutines fill blocks with a pattern, keep some, drop the rest and check what they kept, while
// memory is given back to the system with debug.FreeOSMemory all the time. A kernel whose madvise(MADV_DONTNEED) does
// not do what it says shows here as a wrong byte.
//
//	go-heap [MEGABYTES-AT-ONCE [ROUNDS]]     default: 200 MB, 20 rounds, 8 goroutines
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
)

const workers = 8

func main() {
	megabytes, rounds := argument(1, 200), argument(2, 20)
	stop := make(chan struct{})
	var releases int64
	var releasing, working sync.WaitGroup
	releasing.Add(1)
	go func() {
		defer releasing.Done()
		for {
			select {
			case <-stop:
				return
			default:
				debug.FreeOSMemory()
				atomic.AddInt64(&releases, 1)
			}
		}
	}()
	var wrong int64
	for w := 0; w < workers; w++ {
		working.Add(1)
		go func(w int) {
			defer working.Done()
			atomic.AddInt64(&wrong, churn(uint64(w+1), megabytes<<20/workers, rounds))
		}(w)
	}
	working.Wait()
	close(stop)
	releasing.Wait()

	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Printf("%d MB allocated in all, %d collections, memory given back %d times, %d wrong words\n",
		m.TotalAlloc>>20, m.NumGC, releases, wrong)
	if wrong != 0 {
		os.Exit(1)
	}
}

// churn keeps about budget bytes alive over the rounds and returns how many words were not as written.
func churn(seed uint64, budget, rounds int) (wrong int64) {
	const words = 8 << 10 // 64 KiB a block
	blocks := make([][]uint64, budget/(words*8))
	for round := 0; round < rounds; round++ {
		for i := range blocks {
			if random(&seed)%3 == 0 {
				blocks[i] = nil
			}
		}
		for i := range blocks {
			if blocks[i] == nil {
				fresh := make([]uint64, words)
				for j, word := range fresh {
					if word != 0 {
						wrong++ // fresh memory must be zero
					}
					fresh[j] = pattern(i, j)
				}
				blocks[i] = fresh
			}
		}
		for i, block := range blocks {
			for j := int(random(&seed) % 64); j < words; j += 64 {
				if block[j] != pattern(i, j) {
					wrong++
				}
			}
		}
	}
	return wrong
}

func pattern(i, j int) uint64 { return uint64(i)<<32 ^ uint64(j)*0x9e3779b97f4a7c15 ^ 1 }

func random(state *uint64) uint64 {
	*state ^= *state << 13
	*state ^= *state >> 7
	*state ^= *state << 17
	return *state
}

func argument(n, fallback int) int {
	if len(os.Args) > n {
		if value, err := strconv.Atoi(os.Args[n]); err == nil && value > 0 {
			return value
		}
	}
	return fallback
}
