// SPDX-License-Identifier: BSD-2-Clause

// A web server as anybody writes it with net/http:
//
//	/            a greeting
//	/bytes/N     N bytes of a fixed sequence
//	/sum         the SHA-256 of what is posted
//
// and, on the same port, an echo for UDP. With a folder that holds cert.pem and key.pem it serves TLS, with HTTP/2:
//
//	go-http [ADDRESS [FOLDER]]
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
)

func greet(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "Hello from %s on %s by %s: %s\n", runtime.Version(), runtime.GOOS, r.Proto, r.URL.Path)
}

func sendBytes(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/bytes/"))
	if err != nil || n < 0 {
		http.Error(w, "a number of bytes, please", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(n))
	block := make([]byte, 64<<10)
	for at := 0; at < n; {
		m := len(block)
		if n-at < m {
			m = n - at
		}
		for i := range block[:m] {
			block[i] = byte((at + i) * 37 >> 4)
		}
		if _, err := w.Write(block[:m]); err != nil {
			return
		}
		at += m
	}
}

func sum(w http.ResponseWriter, r *http.Request) {
	h := sha256.New()
	n, err := io.Copy(h, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%d %x\n", n, h.Sum(nil))
}

func echo(conn net.PacketConn) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		conn.WriteTo(buf[:n], from)
	}
}

func main() {
	addr := ":8080"
	if len(os.Args) > 1 {
		addr = os.Args[1]
	}
	conn, err := net.ListenPacket("udp", addr)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go echo(conn)
	http.HandleFunc("/", greet)
	http.HandleFunc("/bytes/", sendBytes)
	http.HandleFunc("/sum", sum)
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("serving on", addr) // from here on nobody is turned away
	if len(os.Args) > 2 {
		dir := os.Args[2]
		err = http.ServeTLS(listener, nil, dir+"/cert.pem", dir+"/key.pem")
	} else {
		err = http.Serve(listener, nil)
	}
	fmt.Println(err)
	os.Exit(1)
}
