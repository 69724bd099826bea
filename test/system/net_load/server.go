// SPDX-License-Identifier: BSD-2-Clause

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A connection to test/system/server.c.
type lines struct {
	net.Conn
	r    *bufio.Reader
	name string
}

func dialLines(address, name string) *lines {
	conn, err := net.DialTimeout("tcp", address, 30*time.Second)
	if err != nil {
		fatal("%s: %v", name, err)
	}
	conn.SetDeadline(time.Now().Add(90 * time.Second))
	return &lines{conn, bufio.NewReader(conn), name}
}

func (c *lines) ask(format string, args ...interface{}) string {
	fmt.Fprintf(c, format, args...)
	line, err := c.r.ReadString('\n')
	if err != nil {
		fatal("%s: %q: %v", c.name, fmt.Sprintf(format, args...)[:4], err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (c *lines) wants(want, format string, args ...interface{}) {
	if got := c.ask(format, args...); got != want {
		fatal("%s: %q gives %q, want %q", c.name, fmt.Sprintf(format, args...)[:4], got, want)
	}
}

// The bytes that follow an answer.
func (c *lines) follows(want []byte) {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c.r, got); err != nil || !bytes.Equal(got, want) {
		fatal("%s: %d bytes are not those wanted: %v", c.name, len(want), err)
	}
}

func ofSequence(n int) []byte {
	b, _ := io.ReadAll(&sequence{0, n})
	return b
}

// All commands of the server on one connection.
func converse(address string, id, rounds int, file []byte, workers *sync.Map) {
	opening.Lock()
	c := dialLines(address, fmt.Sprintf("server: connection %d", id))
	c.wants("PONG", "PING\n")
	opening.Unlock()
	defer c.Close()
	for i := 0; i < rounds; i++ {
		n := 1 + (id*7919+i*104729)%200000
		c.wants("PONG", "PING\n")
		c.wants(strconv.Itoa(n), "ECHO %d\n%s", n, file[:n])
		c.follows(file[:n])
		c.wants(strconv.Itoa(n*5), "FILE %d\n", n*5)
		c.follows(file[:n*5])
		c.wants(strconv.Itoa(n), "UP %d\n", n)
		c.follows(file[:n])
		worker := strings.Fields(c.ask("WHO\n"))[0]
		workers.Store(worker, true)
		if next := c.ask("PASS\n"); next == worker {
			fatal("%s: passed from worker %s to itself", c.name, worker)
		} else {
			c.wants("saved by "+next, "SAVE\n")
		}
		c.wants("what?", "%s\n", strings.Repeat("x", 300)[:100])
	}
	if f := strings.Fields(c.ask("INFO\n")); len(f) != 3 || f[2] != "1" {
		fatal("%s: TCP_INFO says state %v, want 1", c.name, f)
	}
	c.wants("BYE", "BYE\nsome bytes that nobody wants")
	if _, err := c.r.ReadByte(); err != io.EOF {
		fatal("%s: the server does not close: %v", c.name, err)
	}
}

func serverTest(address string, connections, rounds int) {
	var wg sync.WaitGroup
	var workers sync.Map
	file := ofSequence(1000000)
	for i := 0; i < connections; i++ {
		wg.Add(1)
		go func(i int) {
			defer wg.Done()
			converse(address, i, rounds, file, &workers)
		}(i)
	}
	wg.Wait()
	n := 0
	workers.Range(func(k, v interface{}) bool { n++; return true })
	if n != 2 {
		fatal("server: %d workers have served, want 2", n)
	}
}
