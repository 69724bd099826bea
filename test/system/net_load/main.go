// SPDX-License-Identifier: BSD-2-Clause

// Traffic from the host for a guest that runs examples/go-http or examples/c-echo. Every byte that comes back is checked.
//
//	net_load http ADDRESS CONNECTIONS REQUESTS    keep-alive requests over so many connections at once
//	net_load download ADDRESS BYTES
//	net_load upload ADDRESS BYTES
//	net_load udp ADDRESS DATAGRAMS
//	net_load echo ADDRESS CONNECTIONS ROUNDS      TCP echo
//	net_load serve PORT                           HTTP and names for a guest (serve.go)
//	net_load certificate FOLDER                   makes cert.pem and key.pem there, for localhost (tls.go)
//	net_load h2 ADDRESS FOLDER REQUESTS           so many requests at once on one HTTP/2 connection (tls.go)
//	net_load server ADDRESS CONNECTIONS ROUNDS    all that server.c can do (server.go)
//	net_load hostile PORT PORT                    peers that mean no good, as frames (frames.go)
//	net_load hold ADDRESS                         a connection, until the other end goes away
//	net_load digest BYTES                         the SHA-256 of so much of the sequence
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

func fatal(format string, args ...interface{}) {
	fmt.Printf(format+"\n", args...)
	os.Exit(1)
}

func number(i int) int {
	n, err := strconv.Atoi(os.Args[i])
	if err != nil {
		fatal("%s is not a number", os.Args[i])
	}
	return n
}

// sequence gives the bytes of a fixed sequence, as examples/go-http does.
type sequence struct{ at, end int }

func (s *sequence) Read(p []byte) (int, error) {
	if s.at == s.end {
		return 0, io.EOF
	}
	n := len(p)
	if s.end-s.at < n {
		n = s.end - s.at
	}
	for i := range p[:n] {
		p[i] = byte((s.at + i) * 37 >> 4)
	}
	s.at += n
	return n, nil
}

func digest(r io.Reader) string {
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		fatal("reading: %v", err)
	}
	return fmt.Sprintf("%d %x", n, h.Sum(nil))
}

// QEMU's user network listens on the host with a queue of one: connections are opened one after the other and used at once.
var opening sync.Mutex

func requests(address string, connections, total int) {
	var wg sync.WaitGroup
	for c := 0; c < connections; c++ {
		wg.Add(1)
		go func(c int) {
			defer wg.Done()
			client := &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{}}
			opening.Lock()
			for i := 0; i < total/connections; i++ {
				path := fmt.Sprintf("/%d/%d", c, i)
				r, err := client.Get("http://" + address + path)
				if err != nil {
					fatal("request %s: %v", path, err)
				}
				body, err := io.ReadAll(r.Body)
				r.Body.Close()
				if err != nil || r.StatusCode != 200 || !bytes.HasPrefix(body, []byte("Hello from go")) ||
					!bytes.HasSuffix(body, []byte(": "+path+"\n")) {
					fatal("request %s: %v, status %d, %q", path, err, r.StatusCode, body)
				}
				if i == 0 {
					opening.Unlock()
				}
			}
		}(c)
	}
	wg.Wait()
}

func download(address string, n int) {
	r, err := http.Get(fmt.Sprintf("http://%s/bytes/%d", address, n))
	if err != nil {
		fatal("download: %v", err)
	}
	got, want := digest(r.Body), digest(&sequence{0, n})
	if got != want {
		fatal("download: %s, wanted %s", got, want)
	}
}

func upload(address string, n int) {
	r, err := http.Post("http://"+address+"/sum", "application/octet-stream", &sequence{0, n})
	if err != nil {
		fatal("upload: %v", err)
	}
	got, _ := io.ReadAll(r.Body)
	if want := digest(&sequence{0, n}) + "\n"; string(got) != want {
		fatal("upload: %q, wanted %q", got, want)
	}
}

func datagrams(address string, n int) {
	conn, err := net.Dial("udp", address)
	if err != nil {
		fatal("udp: %v", err)
	}
	got := make([]byte, 2000)
	lost := 0
	for i := 0; i < n; i++ {
		want := bytes.Repeat([]byte{byte(i)}, 1+i*13%1400)
		conn.Write(want)
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		m, err := conn.Read(got)
		if err != nil {
			lost++ // UDP may
			continue
		}
		if !bytes.Equal(got[:m], want) {
			fatal("udp: datagram %d came back changed", i)
		}
	}
	if lost > n/10 {
		fatal("udp: %d of %d datagrams lost", lost, n)
	}
}

func echo(address string, connections, rounds int) {
	var wg sync.WaitGroup
	for c := 0; c < connections; c++ {
		wg.Add(1)
		go func(c int) {
			defer wg.Done()
			opening.Lock()
			conn, err := net.Dial("tcp", address)
			if err != nil {
				fatal("echo: %v", err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(60 * time.Second))
			for i := 0; i < rounds; i++ {
				want := bytes.Repeat([]byte{byte(c), byte(i)}, 1+(c+i)*97%4000)
				got := make([]byte, len(want))
				conn.Write(want)
				if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
					fatal("echo: connection %d round %d: %v", c, i, err)
				}
				if i == 0 {
					opening.Unlock()
				}
			}
		}(c)
	}
	wg.Wait()
}

func hold(address string) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		fatal("hold: %v", err)
	}
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	conn.SetReadDeadline(time.Now().Add(60 * time.Second))
	block := make([]byte, 4096)
	if _, err := conn.Read(block); err != nil {
		fatal("hold: %v", err)
	}
	fmt.Println("held")
	if _, err := conn.Read(block); err == nil || os.IsTimeout(err) {
		fatal("hold: the connection does not end")
	}
}

func main() {
	address := os.Args[2]
	switch os.Args[1] {
	case "certificate":
		makeCertificate(address)
	case "h2":
		streams(address, os.Args[3], number(4))
	case "hold":
		hold(address)
	case "serve":
		serve(number(2))
	case "digest":
		fmt.Println(strings.Fields(digest(&sequence{0, number(2)}))[1])
	case "http":
		requests(address, number(3), number(4))
	case "download":
		download(address, number(3))
	case "upload":
		upload(address, number(3))
	case "udp":
		datagrams(address, number(3))
	case "hostile":
		hostile(number(2), number(3))
	case "server":
		serverTest(address, number(3), number(4))
	case "echo":
		echo(address, number(3), number(4))
	}
}
