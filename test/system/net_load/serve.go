// SPDX-License-Identifier: BSD-2-Clause

// What a guest finds on the host: HTTP on 127.0.0.1 and ::1, and a name server one port above (UDP and TCP), which knows
// four.test (10.0.2.2), six.test (fec0::2) and many.test, whose answer does not fit a datagram. QEMU's user network leads
// 10.0.2.2 and fec0::2 here.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

const (
	typeA    = 1
	typeAAAA = 28
)

func addresses(name string, kind uint16) (found []net.IP, known bool) {
	switch name {
	case "four.test.", "six.test.", "many.test.":
	default:
		return nil, false
	}
	if kind == typeA && name != "six.test." {
		found = append(found, net.IPv4(10, 0, 2, 2).To4())
	}
	if kind == typeA && name == "many.test." {
		for i := 0; i < 40; i++ {
			found = append(found, net.IPv4(192, 0, 2, byte(i)).To4())
		}
	}
	if kind == typeAAAA && name == "six.test." {
		found = append(found, net.ParseIP("fec0::2"))
	}
	return found, true
}

// answer makes the reply to a query (RFC 1035, section 4); limit is what its transport carries.
func answer(query []byte, limit int) []byte {
	if len(query) < 17 {
		return nil
	}
	name, at := "", 12
	for at < len(query) && query[at] != 0 {
		n := int(query[at])
		if at+1+n > len(query) {
			return nil
		}
		name += string(query[at+1:at+1+n]) + "."
		at += 1 + n
	}
	if at+5 > len(query) {
		return nil
	}
	kind := binary.BigEndian.Uint16(query[at+1:])
	found, known := addresses(strings.ToLower(name), kind)
	reply := append([]byte{}, query[:at+5]...)
	copy(reply[2:], []byte{0x85, 0x80, 0, 1, 0, byte(len(found)), 0, 0, 0, 0})
	if !known {
		reply[3] |= 3
	}
	for _, ip := range found {
		reply = append(reply, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 60, 0, byte(len(ip)))
		reply = append(reply, ip...)
	}
	if len(reply) > limit {
		reply = reply[:at+5]
		reply[2] |= 2 // cut short
		reply[7] = 0
	}
	return reply
}

func serveNames(address string) {
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		fatal("%v", err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		fatal("%v", err)
	}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := answer(buf[:n], 512); reply != nil {
				packets.WriteTo(reply, from)
			}
		}
	}()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				var size [2]byte
				for {
					if _, err := io.ReadFull(conn, size[:]); err != nil {
						return
					}
					query := make([]byte, binary.BigEndian.Uint16(size[:]))
					if _, err := io.ReadFull(conn, query); err != nil {
						return
					}
					reply := answer(query, 65535)
					binary.BigEndian.PutUint16(size[:], uint16(len(reply)))
					conn.Write(append(size[:], reply...))
				}
			}()
		}
	}()
}

func serve(port int) {
	mux := http.NewServeMux()
	mux.HandleFunc("/bytes/", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/bytes/"))
		io.Copy(w, &sequence{0, n})
	})
	serveNames(fmt.Sprintf("127.0.0.1:%d", port+1))
	for _, host := range []string{"127.0.0.1", "::1"} {
		listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil && host == "::1" {
			fmt.Println("no IPv6")
			continue
		}
		if err != nil {
			fatal("%v", err)
		}
		go http.Serve(listener, mux)
	}
	fmt.Println("serving")
	select {}
}
