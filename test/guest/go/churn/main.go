// SPDX-License-Identifier: BSD-2-Clause

// Churn allocates and drops memory from many goroutines while the runtime is told over and over to give memory
// back, and checks what the live blocks hold. A kernel whose MADV_DONTNEED does not zero breaks it: the runtime
// takes memory that it gave back for zeroed.
//
//	churn [-mb 200] [-goroutines 8] [-rounds 6]
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

var failures int32

func fail(format string, args ...interface{}) {
	if atomic.AddInt32(&failures, 1) <= 10 {
		fmt.Printf("FAIL churn: "+format+"\n", args...)
	}
}

type block struct {
	data []uint64
	seed uint64
}

// fill expects fresh memory to be zero, as the language promises.
func newBlock(words int, seed uint64) *block {
	b := &block{data: make([]uint64, words), seed: seed}
	for i := range b.data {
		if b.data[i] != 0 {
			fail("fresh memory holds %#x at word %d of %d", b.data[i], i, words)
			break
		}
	}
	for i := 0; i < len(b.data); i += 8 {
		b.data[i] = seed + uint64(i)
	}
	b.data[words-1] = seed ^ 0xffff
	return b
}

func (b *block) check() {
	for i := 0; i < len(b.data)-1; i += 8 {
		if b.data[i] != b.seed+uint64(i) {
			fail("a live block changed: word %d is %#x, want %#x", i, b.data[i], b.seed+uint64(i))
			return
		}
	}
	if b.data[len(b.data)-1] != b.seed^0xffff {
		fail("a live block's last word changed")
	}
}

func worker(number, budget, rounds int, group *sync.WaitGroup) {
	defer group.Done()
	random := uint64(number)*0x9e3779b97f4a7c15 + 1
	next := func(n uint64) uint64 {
		random ^= random << 13
		random ^= random >> 7
		random ^= random << 17
		return random % n
	}
	sizes := []uint64{16, 200, 1000, 4096, 9000, 65536, 300000}
	for round := 0; round < rounds; round++ {
		var live []*block
		for used := 0; used < budget; {
			words := int(next(sizes[next(uint64(len(sizes)))])) + 9
			live = append(live, newBlock(words, next(1<<40)))
			used += words * 8
		}
		for i, b := range live {
			b.check()
			if i%3 != 0 {
				live[i] = nil // two thirds become garbage
			}
		}
		runtime.Gosched()
		for _, b := range live {
			if b != nil {
				b.check()
			}
		}
	}
}

func main() {
	megabytes := flag.Int("mb", 200, "heap to churn, in MB")
	goroutines := flag.Int("goroutines", 8, "goroutines")
	rounds := flag.Int("rounds", 3, "rounds")
	flag.Parse()
	stop := make(chan bool)
	var helper sync.WaitGroup
	helper.Add(1)
	released := 0
	go func() {
		defer helper.Done()
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				debug.FreeOSMemory()
				released++
			}
		}
	}()
	var group sync.WaitGroup
	for i := 0; i < *goroutines; i++ {
		group.Add(1)
		go worker(i, *megabytes<<20 / *goroutines, *rounds, &group)
	}
	group.Wait()
	close(stop)
	helper.Wait()
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	if stats.TotalAlloc < uint64(*megabytes<<20**rounds) {
		fail("only %d bytes were allocated", stats.TotalAlloc)
	}
	if stats.HeapReleased == 0 || released == 0 {
		fail("nothing was given back")
	}
	if failures != 0 {
		os.Exit(1)
	}
}
