# SPDX-License-Identifier: BSD-2-Clause
# Disk images: sound by the judgement of others' tools, the same bytes each time, and started by firmware alone.
d=$work/disk
mkdir -p "$d"
kernel=build/x86_64/lethe-kernel
make_disk() { "$work/lethe" build --kernel "$kernel" "$@" >"$out" 2>"$err"; }
disk() { timeout -k 5 100 "$LETHE" run --timeout 60 --disk "$@"; }

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

holds disk/build make_disk build/examples/c-hello -o "$d/hello.img"
holds disk/prints_command grep -q '^qemu-system-x86_64 .*hello.img' "$out"
sound disk "$d/hello.img"
holds disk/rebuild make_disk build/examples/c-hello -o "$d/again.img"
holds disk/reproducible cmp "$d/hello.img" "$d/again.img"
if [ "$(stat -c %s "$d/hello.img")" -lt 1500000 ]; then pass; else fail "disk/size: $(stat -c %s "$d/hello.img") bytes"; fi
musl-gcc -static -Os -s -o "$d/small" examples/c-hello/main.c 2>"$err" || cp build/examples/c-hello "$d/small"
holds disk/build_small make_disk "$d/small" -o "$d/small.img"
if [ "$(stat -c %s "$d/small.img")" -lt 600000 ]; then pass; else fail "disk/size_small: $(stat -c %s "$d/small.img") bytes"; fi

# Every firmware, machine and controller: the firmware reads the disk, the program's status comes back.
holds disk/build_probe make_disk "$PROBE" -o "$d/exit.img" -- exit 7
for machine in pc q35; do
    for bus in virtio scsi nvme ahci; do
        expect_output "disk/bios_${machine}_$bus" 0 'Hello, world, from Linux on x86_64' \
            disk "$d/hello.img" --machine $machine --disk-bus $bus
        run disk "$d/exit.img" --uefi --machine $machine --disk-bus $bus
        if [ "$status" -eq 7 ]; then pass; else fail "disk/uefi_${machine}_$bus: status $status: $(head -n 1 "$err")"; fi
    done
done
run disk "$d/hello.img" --uefi
holds disk/uefi_says grep -q 'Hello, world, from Linux on x86_64' "$out"
expect disk/bios_status 7 '' disk "$d/exit.img"
holds disk/build_go make_disk build/examples/go-hello -o "$d/go.img" -- 3
for firmware in '' --uefi; do
    # shellcheck disable=SC2086 # empty: no word
    run disk "$d/go.img" $firmware --smp 2 -m 256m
    if [ "$status" -eq 3 ] && grep -q 'processors: 2,' "$out"; then pass; else fail "disk/go$firmware: status $status: $(head -n 1 "$err")"; fi
done
for memory in 3500k 4m 16m 3g 5g; do
    expect_output "disk/bios_memory_$memory" 0 'Hello, world, from Linux on x86_64' disk "$d/small.img" -m $memory
done
run disk "$d/hello.img" --uefi -m 5g
holds disk/uefi_memory_5g grep -q 'Hello, world' "$out"

# A root image of some size, in order from end to end.
head -c 30000000 /dev/urandom > "$d/large"
tail -c 2000000 "$d/large" > "$d/tail"
holds disk/build_large make_disk "$PROBE" -f "$d/large:/a" -f "$d/tail:/tail" -o "$d/large.img" -- cat /tail
large_bytes=$(stat -c %s "$d/large.img")
run disk "$d/large.img" --machine pc
holds disk/large_bios cmp "$d/tail" "$out"
rm -f "$d/large.img"

# Without the tool: the machine powers itself off, or leaves by the debug exit when the image says so.
make_disk "$PROBE" -o "$d/plain.img" -- exit 5
sh -c "timeout 60 $(cat "$out")" </dev/null >"$d/plain.out" 2>"$err"
status=$?
if [ "$status" -eq 0 ]; then pass; else fail "disk/power_off: status $status: $(head -n 1 "$err")"; fi
make_disk "$PROBE" -o "$d/plain.img" --append exit=isa:0x501 -- exit 5
sh -c "timeout 60 $(cat "$out") -device isa-debug-exit,iobase=0x501,iosize=0x04" </dev/null >"$d/plain.out" 2>"$err"
status=$?
if [ "$status" -eq 1 ]; then pass; else fail "disk/debug_exit: status $status: $(head -n 1 "$err")"; fi

# Every example from a disk, by each firmware, machine and controller in turn. Servers are asked over the network.
. "$here/serve.sh"
build_net_load disk
turn=0
next_way() { # the options of the next of the sixteen ways
    machine=$([ $((turn % 2)) = 0 ] && echo pc || echo q35)
    firmware=$([ $((turn / 2 % 2)) = 0 ] || echo --uefi)
    bus=$(echo virtio scsi nvme ahci | cut -d ' ' -f $((turn / 4 % 4 + 1)))
    way="--machine $machine $firmware --disk-bus $bus"
    turn=$((turn + 5)) # has no divisor in common with 16
}
example() { # example NAME STATUS PATTERN [ARGUMENT...]
    name=$1 want=$2 pattern=$3
    shift 3
    next_way
    make_disk --kernel build/x86_64/lethe-kernel-full build/examples/$name -o "$d/example.img" -- "$@"
    # shellcheck disable=SC2086 # the words are meant to split
    run disk "$d/example.img" $way --net user
    if [ "$status" -eq "$want" ] && grep -aq "$pattern" "$out"; then pass; else
        fail "disk/example_$name ($way): status $status: $(tail -n 1 "$out")"
    fi
}
example c-cp 0 'in 24 blocks'
example c-reuse 0 'MADV_FREE_REUSE: yes'
example c-sbrk 0 'shrank to 0 bytes'
example c-reboot 3 'Invalid argument' unknown
example go-hello 3 'processors:' 3
example go-heap 0 '0 wrong words'
example go-fetch 1 'connection refused' http://10.0.2.2:1/
[ ! -e build/examples/rust-hello ] || example rust-hello 0 'Hello from Rust'
# served NAME PORT READY COMMAND...: the command succeeds while the example serves; PORT stands for the host's port in it
served() {
    name=disk/example_$1 inside=$2 ready=$3
    free_port
    next_way
    make_disk --kernel build/x86_64/lethe-kernel-full "build/examples/$1" -o "$d/example.img"
    shift 3
    # shellcheck disable=SC2086 # the words are meant to split
    serve "$ready" --disk "$d/example.img" $way -p "$port:$inside" || return
    holds "$name" sh -c "$(echo "$*" | sed "s/PORT/$port/")"
    stop
}
served go-http 8080 serving "curl -s http://127.0.0.1:PORT/x | grep -q '^Hello from go.*: /x'"
served c-echo 7000 echoing "$work/net_load echo 127.0.0.1:PORT 2 5"
[ ! -e build/examples/rust-http ] || served rust-http 8080 listening "curl -s http://127.0.0.1:PORT/ | grep -q '^Hello from Rust: /'"

# What cannot start says why, by BIOS and by UEFI.
broken() { # broken NAME PATTERN SECTOR: a copy of the image with that sector overwritten
    cp "$d/hello.img" "$d/broken.img"
    dd if=/dev/urandom of="$d/broken.img" bs=512 seek="$3" count=1 conv=notrunc status=none
    expect "disk/bios_$1" 125 "$2" disk "$d/broken.img"
}
first=$(awk '$NF == "efi" { print $2 }' "$d/table")
kernel_at=$(LC_ALL=C grep -abo "$(printf '\177ELF')" "$d/hello.img" | awk -F: '$1 % 512 == 0 { print $1; exit }')
broken kernel 'could not boot: the kernel file is none for this machine' $((kernel_at / 512))
[ "$first" = 64 ] || fail "disk/first_sector: $first"
expect disk/uefi_kernel 125 'could not boot: the kernel file is none for this machine' disk "$d/broken.img" --uefi
expect disk/bios_memory 125 'could not boot: too little memory' disk "$d/hello.img" -m 2m
cp "$d/hello.img" "$d/broken.img"
sgdisk -u 3:12345678-1234-4234-8234-123456789abc "$d/broken.img" >/dev/null
expect disk/uefi_root 125 'could not boot: the root partition is not on this disk' disk "$d/broken.img" --uefi

# Bad input: one line, and no file.
expect disk/unwritable 2 'cannot write' "$work/lethe" build --kernel "$kernel" "$PROBE" -o /proc/lethe.img
expect disk/no_space 2 'cannot write .*large.img.part: File too large' \
    sh -c "ulimit -f $((large_bytes / 512 - 200)); exec '$work/lethe' build --kernel '$kernel' '$PROBE' -f '$d/large:/a' -f '$d/tail:/tail' -o '$d/large.img'"
holds disk/no_part sh -c "! ls '$d'/*.part '$d/large.img' 2>/dev/null"
expect disk/two_programs 2 'has its program in it' "$LETHE" run --disk "$d/hello.img" "$PROBE"
expect disk/no_disk 2 'cannot read the disk' "$LETHE" run --disk "$d/none.img"
expect disk/bad_bus 2 'choose virtio, scsi, nvme or ahci' "$LETHE" run --disk "$d/hello.img" --disk-bus floppy
expect disk/microvm 2 'choose pc or q35' "$LETHE" run --disk "$d/hello.img" --machine microvm
expect disk/no_firmware 2 'cannot read the firmware' "$LETHE" run --disk "$d/hello.img" --firmware "$d/none"
rm -f "$d/large" "$d/tail"
