// SPDX-License-Identifier: BSD-2-Clause

// Timers stresses timers, tickers, channels, select, mutexes and goroutine switches together, and checks that no
// timer fires early and no message is lost. The amount of work is fixed.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

var failures int32

func fail(format string, args ...interface{}) {
	if atomic.AddInt32(&failures, 1) <= 10 {
		fmt.Printf("FAIL timers: "+format+"\n", args...)
	}
}

func sleepers() {
	var group sync.WaitGroup
	for i := 1; i <= 200; i++ {
		group.Add(1)
		go func(d time.Duration) {
			defer group.Done()
			for j := 0; j < 5; j++ {
				start := time.Now()
				time.Sleep(d)
				if took := time.Since(start); took < d {
					fail("a sleep of %v took %v", d, took)
				}
			}
		}(time.Duration(i) * 100 * time.Microsecond)
	}
	group.Wait()
}

func tickers() {
	// Since Go 1.23 a tick is "the time now" less "how late it is", read one after the other: a goroutine that
	// loses the CPU in between sends a tick that may be later than the next one, but never later than now.
	start := time.Now()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for i := 0; i < 50; i++ {
		tick := <-ticker.C
		if now := time.Now(); tick.Before(start.Add(2*time.Millisecond)) || tick.After(now) {
			fail("tick %d at %v: began at %v, it is %v", i, tick, start, now)
		}
	}
	if took := time.Since(start); took < 100*time.Millisecond {
		fail("50 ticks of 2 ms took %v", took)
	}
}

func resets() {
	timer := time.NewTimer(time.Hour)
	for i := 0; i < 200; i++ {
		if !timer.Stop() {
			select {
			case <-timer.C:
			default:
			}
		}
		timer.Reset(time.Duration(i%7) * 50 * time.Microsecond)
		if i%3 == 0 {
			<-timer.C
		}
	}
}

// ring passes tokens around a ring of goroutines.
func ring(size, rounds int) {
	first := make(chan int)
	in := first
	for i := 1; i < size; i++ {
		out := make(chan int)
		go func(in, out chan int) {
			for v := range in {
				out <- v + 1
			}
			close(out)
		}(in, out)
		in = out
	}
	for i := 0; i < rounds; i++ {
		first <- 0
		if got := <-in; got != size-1 {
			fail("the token counted %d steps, want %d", got, size-1)
		}
	}
	close(first)
}

func producers() {
	const producers, each = 16, 500
	queue := make(chan int, 10)
	var sum, want int64
	var group, readers sync.WaitGroup
	for i := 0; i < 4; i++ {
		readers.Add(1)
		go func() {
			defer readers.Done()
			for {
				select {
				case v, ok := <-queue:
					if !ok {
						return
					}
					atomic.AddInt64(&sum, int64(v))
				case <-time.After(10 * time.Second):
					fail("a reader starved")
					return
				}
			}
		}()
	}
	for p := 0; p < producers; p++ {
		group.Add(1)
		for v := 0; v < each; v++ {
			want += int64(p*each + v)
		}
		go func(p int) {
			defer group.Done()
			for v := 0; v < each; v++ {
				queue <- p*each + v
				if v%100 == 0 {
					runtime.Gosched()
				}
			}
		}(p)
	}
	group.Wait()
	close(queue)
	readers.Wait()
	if sum != want {
		fail("messages add up to %d, want %d", sum, want)
	}
}

func contexts() {
	for i := 0; i < 50; i++ {
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Millisecond)
		<-ctx.Done()
		if ctx.Err() != context.DeadlineExceeded || time.Since(start) < 2*time.Millisecond {
			fail("a context ended with %v after %v", ctx.Err(), time.Since(start))
		}
		cancel()
	}
}

// spin gives the scheduler nothing to hold on to but signals.
func preemption() {
	var stop int32
	var counters [2]int64
	for i := range counters {
		go func(c *int64) {
			for atomic.LoadInt32(&stop) == 0 {
				for j := 0; j < 1000; j++ {
					*c++
				}
			}
		}(&counters[i])
	}
	for i := 0; i < 2; i++ {
		time.Sleep(5 * time.Millisecond)
		runtime.GC() // stops the world, which the loops above do not notice by themselves
	}
	atomic.StoreInt32(&stop, 1)
}

func lockedThreads() {
	var group sync.WaitGroup
	for i := 0; i < 20; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			runtime.LockOSThread() // the thread ends with the goroutine
			time.Sleep(time.Millisecond)
		}()
	}
	group.Wait()
}

func main() {
	for _, part := range []struct {
		name string
		run  func()
	}{
		{"sleepers", sleepers}, {"tickers", tickers}, {"resets", resets}, {"ring", func() { ring(100, 30) }},
		{"producers", producers}, {"contexts", contexts}, {"preemption", preemption}, {"lockedThreads", lockedThreads},
	} {
		start := time.Now()
		part.run()
		if took := time.Since(start); took > 60*time.Second {
			fail("%s took %v", part.name, took)
		}
	}
	if failures != 0 {
		os.Exit(1)
	}
}
