// SPDX-License-Identifier: BSD-2-Clause

// A client as anybody writes it with net/http: fetches each URL and prints its status, its length and its SHA-256.
//
//	go-fetch [-dns ADDRESS:PORT] [-for SECONDS] URL...
//
// With QEMU's user network the host is 10.0.2.2, and fec0::2. -dns asks another name server than the one in
// /etc/resolv.conf; -for tries again for so long while there is no connection: IPv6 addresses come from routers, a moment after the start.
package main

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

func fetch(client *http.Client, url string) error {
	r, err := client.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	h := sha256.New()
	n, err := io.Copy(h, r.Body)
	if err == nil {
		fmt.Printf("%s: %d, %d bytes, %x\n", url, r.StatusCode, n, h.Sum(nil))
	}
	return err
}

func main() {
	dns := flag.String("dns", "", "name server")
	seconds := flag.Int("for", 0, "seconds to try")
	flag.Parse()
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	if *dns != "" {
		dialer.Resolver = &net.Resolver{PreferGo: true,
			Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, *dns)
			}}
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
	until := time.Now().Add(time.Duration(*seconds) * time.Second)
	for _, url := range flag.Args() {
		err := fetch(client, url)
		for err != nil && time.Now().Before(until) {
			time.Sleep(200 * time.Millisecond)
			err = fetch(client, url)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}
