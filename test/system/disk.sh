# SPDX-License-Identifier: BSD-2-Clause
# Disk images: sound by the judgement of others' tools, the same bytes each time, and started by firmware alone.
d=$work/disk
mkdir -p "$d"
kernel=build/x86_64/lethe-kernel
make_disk() { "$work/lethe" build --kernel "$kernel" "$@" >"$out" 2>"$err"; }
disk() { timeout -k 5 100 "$LETHE" run --timeout 60 --disk "$@"; }
. "$here/on_disk.sh"

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
expect_output disk/bios_pc_pvscsi 0 'Hello, world, from Linux on x86_64' disk "$d/hello.img" --machine pc --disk-bus pvscsi
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

# Every example from a disk, by each firmware, machine and controller in turn.
for machine in pc q35; do
    for firmware in '' ' --uefi'; do
        for bus in virtio scsi nvme ahci; do echo "--machine $machine$firmware --disk-bus $bus"; done
    done
done > "$d/ways"
every_example

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
expect disk/bad_bus 2 'choose virtio, scsi, nvme, ahci or pvscsi' "$LETHE" run --disk "$d/hello.img" --disk-bus floppy
expect disk/microvm 2 'choose pc or q35' "$LETHE" run --disk "$d/hello.img" --machine microvm
expect disk/no_firmware 2 'cannot read the firmware' "$LETHE" run --disk "$d/hello.img" --firmware "$d/none"
rm -f "$d/large" "$d/tail"
