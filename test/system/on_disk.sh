# SPDX-License-Identifier: BSD-2-Clause
# What the parts about disk images share. $d is the part's folder, disk() starts an image there.
. "$here/serve.sh"

# sound NAME IMAGE: partition table, both file systems
sound() {
    holds "$1/sgdisk" sh -c "sgdisk -v '$2' | grep -q '^No problems found'"
    sgdisk -p "$2" > "$d/table"
    holds "$1/partitions" sh -c "[ \$(grep -Ec '^ +[0-9]+ .* (bios|efi|root)\$' '$d/table') -ge 2 ]"
    for part in efi root; do
        set -- "$1" "$2" $(awk -v p=$part '$NF == p { print $2, $3 - $2 + 1 }' "$d/table")
        dd if="$2" of="$d/$part" bs=512 skip="$3" count="$4" status=none
    done
    holds "$1/fsck.vfat" fsck.vfat -n "$d/efi"
    holds "$1/e2fsck" e2fsck -fn "$d/root"
}

# every_example: each example from a disk, by the ways in $d/ways (options of `lethe run --disk`, a line each) in turn. Servers are
# asked over the network.
next_way() { # $way is the next one
    way=$(sed -n "$((turn % n_ways + 1))p" "$d/ways")
    turn=$((turn + stride))
}
example() { # example NAME STATUS PATTERN [ARGUMENT...]
    name=$1 want=$2 pattern=$3
    shift 3
    next_way
    holds "${d##*/}/build_$name" "$LETHE" build --kernel build/$ARCH/lethe-kernel-full $examples/$name -o "$d/example.img" -- "$@"
    # shellcheck disable=SC2086 # the words are meant to split
    run disk "$d/example.img" $way --net user
    if [ "$status" -eq "$want" ] && grep -aq "$pattern" "$out"; then pass; else
        fail "${d##*/}/example_$name ($way): status $status: $(tail -n 1 "$out")"
    fi
}
# served NAME PORT READY COMMAND...: the command succeeds while the example serves; PORT stands for the host's port in it
served() {
    name=${d##*/}/example_$1 inside=$2 ready=$3
    free_port
    next_way
    holds "$name/build" "$LETHE" build --kernel build/$ARCH/lethe-kernel-full "$examples/$1" -o "$d/example.img"
    name=${d##*/}/example_$1
    shift 3
    # shellcheck disable=SC2086 # the words are meant to split
    serve "$ready" --disk "$d/example.img" $way -p "$port:$inside" || return
    holds "$name" sh -c "$(echo "$*" | sed "s/PORT/$port/")"
    stop
}
every_example() {
    n_ways=$(wc -l < "$d/ways") turn=0 stride=5 # which has no divisor in common with the number of ways
    build_net_load "${d##*/}"
    example c-hello 0 'Hello, world, from Linux'
    example c-cp 0 'in 24 blocks'
    example c-reuse 0 'MADV_FREE_REUSE: yes'
    example c-sbrk 0 'shrank to 0 bytes'
    example c-reboot 3 'Invalid argument' unknown
    example go-hello 3 'processors:' 3
    example go-heap 0 '0 wrong words'
    example go-fetch 1 'connection refused' http://10.0.2.2:1/
    served go-http 8080 serving "curl -s http://127.0.0.1:PORT/x | grep -q '^Hello from go.*: /x'"
    served c-echo 7000 echoing "$work/net_load echo 127.0.0.1:PORT 2 5"
    [ ! -e $examples/rust-hello ] || example rust-hello 0 'Hello from Rust'
    [ ! -e $examples/rust-http ] || served rust-http 8080 listening "curl -s http://127.0.0.1:PORT/ | grep -q '^Hello from Rust: /'"
}
