# SPDX-License-Identifier: BSD-2-Clause
# Traffic between the host and guests: HTTP with keep-alive, much data each way, UDP, epoll echo; addresses; and ends.
. "$here/serve.sh"
build_net_load network
server=$examples/go-http

# Every byte of 200 MB each way on one CPU, and 20,000 requests over 200 connections on two; less of it elsewhere.
for cpus in 1 2 4; do
    name=network/http_$cpus
    free_port
    serve serving -p "$port:8080" -p "$port:8080/udp" --smp $cpus $server || continue
    bytes=$([ $cpus = 1 ] && echo 200000000 || echo 8000000)
    holds "$name" load http "127.0.0.1:$port" 200 $([ $cpus = 2 ] && echo 20000 || echo 1000)
    holds "network/download_$cpus" load download "127.0.0.1:$port" $bytes
    holds "network/upload_$cpus" load upload "127.0.0.1:$port" $bytes
    holds "network/udp_$cpus" load udp "127.0.0.1:$port" 100
    holds "network/curl_$cpus" sh -c "curl -s http://127.0.0.1:$port/x | grep -q '^Hello from go.*: /x'"
    stop
done

# TLS and HTTP/2, with a certificate made for the occasion.
mkdir -p "$work/tls" && load certificate "$work/tls"
for cpus in 1 2; do
    name=network/tls_$cpus
    free_port
    serve serving -p "$port:8443" --smp $cpus -f "$work/tls:/tls" $server -- :8443 /tls || continue
    holds "$name" load h2 "127.0.0.1:$port" "$work/tls" 200
    holds "network/tls_curl_$cpus" sh -c "curl -s --http1.1 --cacert $work/tls/cert.pem https://localhost:$port/y | grep -q '^Hello from go.* by HTTP/1.1: /y'"
    stop
done

# A guest that is killed with a connection open is followed by another on the same port.
name=network/again
free_port
if serve serving -p "$port:8080" $server; then
    load hold "127.0.0.1:$port" >"$work/held" 2>&1 &
    holder=$!
    for _ in $(seq 100); do grep -qs held "$work/held" && break; sleep 0.1; done
    for id in $(processes "127.0.0.1:$port-:8080"); do kill -KILL "$id"; done # the machine; the tool then ends too
    wait $tool 2>/dev/null
    wait $holder || fail "$name: $(tail -n 1 "$work/held")"
    if serve serving -p "$port:8080" $server; then
        holds "$name" load http "127.0.0.1:$port" 4 40
        stop
    fi
fi

# Clients that come all at once find room in the queue of the port on this host, even while the machine stands still.
name=network/burst
free_port
if serve serving -p "$port:8080" $server; then
    machine=$(processes "127.0.0.1:$port-:8080")
    kill -STOP $machine
    holds "$name" perl -MIO::Socket::INET -e 'for (1 .. 60) {
        push @s, IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $ARGV[0], Timeout => 20) or die "connection $_: $@\n" }' "$port"
    kill -CONT $machine
    holds "$name/later" load http "127.0.0.1:$port" 4 40
    stop
fi

# From the guest to the host: names over UDP and TCP, HTTP over IPv4 and IPv6.
free_port
"$work/net_load" serve $port >"$work/serve" 2>&1 &
host=$!
for _ in $(seq 50); do grep -qs serving "$work/serve" && break; sleep 0.1; done
fetch() { # fetch NAME BYTES URL: what the guest gets
    digest=$("$work/net_load" digest "$2")
    expect_output "network/$1" 0 "$3: 200, $2 bytes, $digest" lethe --net user $examples/go-fetch -- \
        -for 60 -dns 10.0.2.2:$((port + 1)) "$3"
}
fetch names 10 http://four.test:$port/bytes/10
fetch names_tcp 10 http://many.test:$port/bytes/10
if grep -qs 'no IPv6' "$work/serve"; then
    skipped=$((skipped + 1))
    echo "SKIP network/ipv6: this host has no ::1"
else
    fetch ipv6 5000000 http://six.test:$port/bytes/5000000
fi
run lethe --net user $examples/go-fetch -- -dns 10.0.2.2:$((port + 1)) http://none.test/
[ "$status" -eq 1 ] && grep -q 'no such host' "$out" && pass || fail "network/no_name: status $status: $(head -n 1 "$out")"
kill $host
wait $host 2>/dev/null

# The same over PCI, and with the epoll server in C.
for kind in ${machines#* }; do
    name=network/echo_$kind
    free_port
    serve echoing -p "$port:7000" --machine $kind $examples/c-echo || continue
    holds "$name" load echo "127.0.0.1:$port" 40 20
    stop
done

# A server with the calls of nginx and redis-server, on this host first.
$compiler -static -O2 -Wall -o "$work/server" "$here/server.c" || fail 'network/set-up: server.c does not build'
if [ "$ARCH" = "$(uname -m)" ]; then
    free_port
    "$work/server" $port >"$work/server.out" 2>&1 &
    host=$!
    for _ in $(seq 50); do grep -qs serving "$work/server.out" && break; sleep 0.1; done
    holds network/server_host load server "127.0.0.1:$port" 10 5
    kill -TERM $host
    wait $host || fail "network/server_host: status $?"
fi
for cpus in 1 2 4; do
    name=network/server_$cpus
    free_port
    serve serving -p "$port:8080" --smp $cpus "$work/server" || continue
    holds "$name" load server "127.0.0.1:$port" 10 $([ $cpus = 2 ] && echo 10 || echo 3)
    stop
done

# Peers that mean no good, on a wire of their own: floods of SYNs, silence, and those who never read.
if [ "$ARCH" = x86_64 ]; then
    for cpus in 1 2; do
        name=network/hostile_$cpus
        free_port
        near=$port
        free_port
        serve serving --smp $cpus -m 128 --kernel "build/$ARCH/lethe-kernel-full" --append ip=10.9.0.2/16 \
            --qemu-arg=-netdev --qemu-arg="socket,id=wire,udp=127.0.0.1:$near,localaddr=127.0.0.1:$port" \
            --qemu-arg=-device --qemu-arg=virtio-net-device,netdev=wire,mac=52:54:00:09:09:09 "$work/server" || continue
        holds "$name" load hostile $near $port
        stop
    done
fi

# A full accept queue and a full table of ports: each is told once, and the program goes on.
$compiler -static -O2 -Wall -o "$work/full" "$here/full_probe.c" || fail 'network/set-up: full_probe.c does not build'
name=network/full
run lethe --net user -m 512 "$work/full"
[ "$status" -eq 0 ] && grep -q 'goes on' "$out" && grep -q 'wait to be accepted' "$out" "$err" && grep -q 'all [0-9]* ports' "$out" "$err" && pass ||
    fail "$name: status $status: $(tail -n 1 "$out")"

# A fixed address; a server that nobody can reach still runs and ends.
name=network/fixed
free_port
if serve serving --net user,ip=10.0.2.77/24,gw=10.0.2.2 -p "$port:8080" --qemu-arg=-global --qemu-arg=virtio-net-device.mac=52:54:00:00:00:77 $server; then
    stop
    pass
fi

# Nobody answers DHCP: a line says so, and the program runs.
if [ "$ARCH" = x86_64 ]; then
    run lethe --net user --qemu-arg=-netdev --qemu-arg=hubport,id=none,hubid=7 --qemu-arg=-device --qemu-arg=virtio-net-device,netdev=none $examples/c-hello
    grep -q 'has no address yet: nobody answers DHCP' "$out" "$err" && [ "$status" -eq 0 ] && pass ||
        fail "network/no_dhcp: status $status: $(head -n 1 "$err")"
fi

# No network unless asked for: the program is told so.
name=network/none
run lethe --net none $server
[ "$status" -eq 1 ] && grep -q 'address family not supported' "$out" && pass || fail "$name: status $status: $(head -n 1 "$out")"
run lethe --net user --qemu-arg=-netdev --qemu-arg=user,id=net1,restrict=on $examples/c-hello
[ "$status" -eq 0 ] && pass || fail "network/unused: status $status: $(head -n 1 "$err")"
