# SPDX-License-Identifier: BSD-2-Clause
# The network part of test/bench/run, on x86-64: a server in the guest, its clients on the host, both with real time, on the machine `pc`.

# net_op GUEST KEY KIND PORT CONNECTIONS COUNT DIVISOR: one kind of work between two marks; what it took goes to $work/net.GUEST
net_op() {
    mark_guest
    took=$(timeout 120 "$work/net_client" "$3" $((base_port + $4)) "$5" "$6") || took=-
    mark_guest
    echo "$2 $7 $took" >> "$work/net.$1"
}
mark_guest() { timeout 60 "$work/net_client" command $((base_port + command_port)) 1 1 "$mark_word" || true; }

# net_guest GUEST PROGRAM MARK: boots the server with counts in $work/net.GUEST.count and waits until it serves
net_guest() {
    marks="each=$(address "$2" "$3"),out=$work/net.$1.count"
    rm -f "$work/net.$1.count" "$work/net.out"
    forwards= lethe_forwards=
    for offset in 0 1 2 3 4; do
        forwards="$forwards,hostfwd=tcp:127.0.0.1:$((base_port + offset))-:$((guest_port + offset))"
        lethe_forwards="$lethe_forwards -p $((base_port + offset)):$((guest_port + offset))"
    done
    # shellcheck disable=SC2046,SC2086
    if [ "$1" = linux ]; then
        with_modules=1
        initramfs "$work/init" "$2"
        with_modules=
        timeout -k 5 500 qemu-system-x86_64 -M pc -accel tcg -cpu max,-erms,-fsrm -m 512 -nodefaults -no-user-config -no-reboot \
            -display none -serial stdio -device isa-debug-exit,iobase=0x501,iosize=0x04 -kernel "$linux_kernel" -initrd "$work/initramfs" \
            -append 'console=ttyS0 quiet panic=-1' -netdev "user,id=net0$forwards,hostfwd=udp:127.0.0.1:$base_port-:$guest_port" \
            -device virtio-net-pci,netdev=net0 -plugin "$work/count.so,$marks" </dev/null >"$work/net.out" 2>/dev/null &
    else
        lethe_guest 300 --machine pc -m 512 $lethe_forwards -p $base_port:$guest_port/udp \
            $(qemu_words -plugin "$work/count.so,$marks") "$2" >"$work/net.out" &
    fi
    guest=$!
    for _ in $(seq 2400); do
        grep -qs serving "$work/net.out" && return 0
        sleep 0.1
    done
    echo "bench: the $1 guest does not serve" >&2
    return 1
}

# net_ops GUEST: all of it, with the C server and then with Go's
net_ops() {
    : > "$work/net.$1"
    guest_port=7000 command_port=4 mark_word=m
    net_guest "$1" "$work/net_server" net_mark || return 0
    net_op "$1" echo echo 0 16 4000 4000
    net_op "$1" down down 1 1 60 60
    net_op "$1" up up 2 1 60 60
    net_op "$1" connect connect 3 1 400 400
    net_op "$1" udp udp 0 1 2000 2000
    "$work/net_client" command $((base_port + 4)) 1 1 q
    wait $guest || true
    cp "$work/net.$1.count" "$work/net.$1.all"
    guest_port=8080 command_port=0
    mark_word=$(printf 'GET /mark HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n.')
    net_guest "$1" "$work/go-serve" main.netMark || return 0
    net_op "$1" http http 0 16 2000 2000
    "$work/net_client" command $base_port 1 1 "$(printf 'GET /quit HTTP/1.1\r\nHost: x\r\n\r\n.')"
    wait $guest || true
    cat "$work/net.$1.count" >> "$work/net.$1.all"
}

# net_row TITLE KEY FIELD: of both guests, instructions an operation (count) or microseconds (time)
net_row() {
    for system in linux lethe; do
        awk -v key="$2" -v field="$3" '
            FILENAME == ARGV[1] { if ($1 == "each") each[n++] = $2; next }
            { if ($1 == key) print field == "count" ? sprintf("%.1f", (each[2 * i + 1] - each[2 * i]) / $2) : $3; i++ }' \
            "$work/net.$system.all" "$work/net.$system" 2>/dev/null > "$work/net.figure" || true
        eval "figure_$system=\$(cat \"$work/net.figure\")"
    done
    row "$1" "${figure_linux:--}" "${figure_lethe:--}" -
}

network() {
    base_port=$((20000 + $$ % 20000))
    rm -f "$work"/net.linux* "$work"/net.lethe*
    if [ $with_linux = 1 ]; then
        progress 'the network of Linux'
        net_ops linux
    fi
    progress 'the network of Lethe'
    base_port=$((base_port + 10))
    net_ops lethe
    for field in count time; do
        [ $field = count ] && group 'network, instructions an operation (5)' || group 'network, microseconds an operation by the clock of this host (5)'
        net_row 'HTTP request, Go, keep-alive' http $field
        net_row 'TCP echo of 64 bytes, epoll' echo $field
        net_row 'TCP stream out, a MiB' down $field
        net_row 'TCP stream in, a MiB' up $field
        net_row 'TCP connection, accept and close' connect $field
        net_row 'UDP echo of 64 bytes' udp $field
    done
}
