// SPDX-License-Identifier: BSD-2-Clause

package main

import (
	"bytes"
	"encoding/binary"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The other end of a guest's wire (QEMU's -netdev socket,udp=...: a datagram is a frame), for what no socket of the host would do:
// connections that are begun and never answered, peers that fall silent or never read. Every address of 10.9.0.0/16 but the guest's
// is played here.
const (
	guestAddress = "10.9.0.2"
	guestPort    = 8080
	fin          = 1
	syn          = 2
	rst          = 4
	ack          = 16
)

var guestMAC = []byte{0x52, 0x54, 0, 9, 9, 9}
var ourMAC = []byte{2, 0, 0, 9, 9, 1}

type flow struct {
	ip   [4]byte
	port uint16
}

type segment struct {
	flags    byte
	seq, ack uint32
	data     []byte
}

type wire struct {
	conn  net.Conn
	guest [4]byte
	mu    sync.Mutex
	flows map[flow]chan segment
	seen  int // segments for nobody
}

func newWire(here, there int) *wire {
	conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: here},
		&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: there})
	if err != nil {
		fatal("hostile: %v", err)
	}
	conn.SetReadBuffer(8 << 20)
	w := &wire{conn: conn, flows: map[flow]chan segment{}}
	copy(w.guest[:], net.ParseIP(guestAddress).To4())
	go w.receive()
	return w
}

func sum(parts ...[]byte) uint16 {
	var s uint32
	for _, p := range parts { // each of even length but the last
		for i := 0; i < len(p); i += 2 {
			s += uint32(p[i]) << 8
			if i+1 < len(p) {
				s += uint32(p[i+1])
			}
		}
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}

func (w *wire) send(f flow, flags byte, seq, acked uint32, window uint16, data []byte) {
	b := make([]byte, 54, 54+len(data))
	copy(b, guestMAC)
	copy(b[6:], ourMAC)
	b[12] = 8
	ip, tcp := b[14:34], b[34:54]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(40+len(data)))
	copy(ip[12:], f.ip[:])
	copy(ip[16:], w.guest[:])
	binary.BigEndian.PutUint16(ip[10:], sum(ip))
	binary.BigEndian.PutUint16(tcp, f.port)
	binary.BigEndian.PutUint16(tcp[2:], guestPort)
	binary.BigEndian.PutUint32(tcp[4:], seq)
	binary.BigEndian.PutUint32(tcp[8:], acked)
	tcp[12], tcp[13] = 0x50, flags
	binary.BigEndian.PutUint16(tcp[14:], window)
	binary.BigEndian.PutUint16(tcp[16:], sum(ip[12:20], []byte{0, 6, byte((20 + len(data)) >> 8), byte(20 + len(data))}, tcp, data))
	w.conn.Write(append(b, data...))
}

func (w *wire) arp(request []byte) {
	b := make([]byte, 42)
	copy(b, request[6:12])
	copy(b[6:], ourMAC)
	copy(b[12:], []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 2})
	copy(b[22:], ourMAC)
	copy(b[28:], request[38:42])
	copy(b[32:], request[22:32])
	w.conn.Write(b)
}

func (w *wire) receive() {
	b := make([]byte, 65536)
	for {
		n, err := w.conn.Read(b)
		if err != nil {
			time.Sleep(time.Millisecond) // the guest is not there yet
			continue
		}
		f := b[:n]
		if n >= 42 && f[12] == 8 && f[13] == 6 && f[21] == 1 && !bytes.Equal(f[38:42], w.guest[:]) {
			w.arp(f)
		}
		if n < 54 || f[12] != 8 || f[13] != 0 || f[23] != 6 {
			continue
		}
		t := f[34:]
		s := segment{t[13], binary.BigEndian.Uint32(t[4:]), binary.BigEndian.Uint32(t[8:]), nil}
		if end := 14 + int(binary.BigEndian.Uint16(f[16:])); end <= n && 34+int(t[12]>>4)*4 <= end {
			s.data = append(s.data, f[34+int(t[12]>>4)*4:end]...)
		}
		key := flow{[4]byte{f[30], f[31], f[32], f[33]}, binary.BigEndian.Uint16(t[2:])}
		w.mu.Lock()
		c := w.flows[key]
		if c == nil {
			w.seen++
		}
		w.mu.Unlock()
		if c != nil {
			select {
			case c <- s:
			default:
			}
		}
	}
}

// A connection in software: no retransmission but of the first segment, and the guest's are taken in order only.
type peer struct {
	w        *wire
	f        flow
	in       chan segment
	seq, ack uint32
	window   uint16
	text     []byte
}

// Few hosts with many ports: what floods a server comes through its router.
func flowOf(i int) flow {
	return flow{[4]byte{10, 9, byte(16 + i/60000&127), byte(1 + i%20)}, uint16(1024 + i%60000)}
}

func (w *wire) open(i int, window uint16, patience time.Duration) *peer {
	p := &peer{w: w, f: flowOf(i), in: make(chan segment, 64), seq: uint32(i) * 77777, window: window}
	w.mu.Lock()
	w.flows[p.f] = p.in
	w.mu.Unlock()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		w.send(p.f, syn, p.seq, 0, window, nil)
		select {
		case s := <-p.in:
			if s.flags&(syn|ack|rst) == syn|ack && s.ack == p.seq+1 {
				p.seq, p.ack = p.seq+1, s.seq+1
				w.send(p.f, ack, p.seq, p.ack, window, nil)
				return p
			}
		case <-time.After(time.Second):
		}
	}
	return nil
}

func (p *peer) forget() {
	p.w.mu.Lock()
	delete(p.w.flows, p.f)
	p.w.mu.Unlock()
}

func (p *peer) reset() {
	p.w.send(p.f, rst|ack, p.seq, p.ack, 0, nil)
	p.forget()
}

// One answer to a command, "" when none comes.
func (p *peer) ask(command string) string {
	for try := 0; try < 10; try++ {
		p.w.send(p.f, ack|8, p.seq, p.ack, p.window, []byte(command))
		for late := time.After(time.Second); late != nil; {
			select {
			case s := <-p.in:
				if s.flags&rst != 0 {
					return "reset"
				}
				if s.flags&syn != 0 || s.seq != p.ack || len(s.data) == 0 {
					continue
				}
				p.text = append(p.text, s.data...)
				p.ack += uint32(len(s.data))
				if at := bytes.IndexByte(p.text, '\n'); at >= 0 {
					line := string(p.text[:at])
					p.text = p.text[at+1:]
					p.seq += uint32(len(command))
					p.w.send(p.f, ack, p.seq, p.ack, p.window, nil)
					return line
				}
			case <-late:
				late = nil
			}
		}
	}
	return ""
}

func (w *wire) polite(i int, when string) *peer {
	p := w.open(i, 60000, 40*time.Second)
	if p == nil {
		fatal("%s: a client gets no connection", when)
	}
	if got := p.ask("PING\n"); got != "PONG" {
		fatal("%s: a client asks and hears %q", when, got)
	}
	return p
}

func (w *wire) available(when string) int {
	p := w.polite(1000000, when)
	f := strings.Fields(p.ask("INFO\n"))
	p.reset()
	if len(f) != 3 {
		fatal("%s: no figures from the guest", when)
	}
	kb, _ := strconv.Atoi(f[0])
	return kb
}

// What the guest has less of must be at most so much.
func (w *wire) cost(when string, before, limitKB int) {
	lost := 0
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if lost = before - w.available(when); lost <= limitKB {
			return
		}
	}
	fatal("%s: %d kB are gone, at most %d may be", when, lost, limitKB)
}

func (w *wire) answered() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// SYNs that nobody stands behind, as fast as the guest answers them and 1,000 a second at least, for as long as clients come: each must
// be served without having to wait for the end of a half-open connection.
func (w *wire) flood(clients int) {
	done, ended := make(chan bool), make(chan bool)
	go func() {
		for i := 0; ; i += 50 {
			before := w.answered()
			for k := i; k < i+50; k++ {
				w.send(flowOf(2000+k), syn, uint32(k)*31337, 0, 60000, nil)
			}
			for waits := 0; waits < 50 && w.answered() < before+40; waits++ {
				time.Sleep(time.Millisecond)
			}
			select {
			case <-done:
				close(ended)
				return
			default:
			}
		}
	}()
	time.Sleep(time.Second / 2)
	for i := 0; i < clients; i++ {
		begin := time.Now()
		w.polite(100+i, "a flood of SYNs").reset()
		if took := time.Since(begin); took > 10*time.Second {
			fatal("a flood of SYNs: a client waits for %v", took)
		}
		time.Sleep(50 * time.Millisecond)
	}
	close(done)
	<-ended
}

func hostile(here, there int) {
	w := newWire(here, there)
	before := w.available("at first")
	w.flood(20)
	w.cost("after a flood of SYNs", before, 1500)

	// Peers that open a connection and are never heard of again; and some that begin to say something.
	for i := 0; i < 500; i++ {
		p := w.open(3000+i, 60000, 20*time.Second)
		if p == nil {
			fatal("silent peers: connection %d is not answered", i)
		}
		if i%2 == 0 {
			p.w.send(p.f, ack|8, p.seq, p.ack, p.window, []byte("ECHO 100000\nand then no"))
		}
		p.forget()
	}
	w.cost("500 silent peers", before, 10000)

	// Peers that ask for much and take nothing.
	before = w.available("before slow readers")
	var slow []*peer
	for i := 0; i < 40; i++ {
		p := w.open(5000+i, 500, 20*time.Second)
		if p == nil {
			fatal("slow readers: connection %d is not answered", i)
		}
		p.window = 0
		w.send(p.f, ack|8, p.seq, p.ack, 0, []byte("FILE 4000000\nFILE 4000000\n"))
		p.forget()
		slow = append(slow, p)
	}
	time.Sleep(time.Second)
	w.cost("40 slow readers", before, 40*600)
	for _, p := range slow {
		w.send(p.f, rst, p.seq+26, p.ack, 0, nil)
	}
	w.cost("after slow readers", before, 1500)
}
