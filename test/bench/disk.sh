# SPDX-License-Identifier: BSD-2-Clause
# The disk part of test/bench/run, on x86-64: one program on an ext4 volume (virtio-blk, machine `pc`, with real time), and redis from
# Debian's package with its client on this host.

# disk_image NAME: a fresh volume, its blocks on the host's disk already
disk_image() {
    rm -f "$work/$1"
    head -c 402653184 /dev/zero > "$work/$1"
    mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 "$work/$1"
}

disk_ops() { # disk_ops GUEST: counts to $work/disk.GUEST.count, what the program says to $work/disk.GUEST
    marks="each=$(address "$work/disk_bench" disk_mark),out=$work/disk.$1.count"
    rm -f "$work/disk.$1.count"
    disk_image "disk.img"
    # shellcheck disable=SC2046,SC2086
    if [ "$1" = linux ]; then
        with_modules=1
        initramfs "$work/init" "$work/disk_bench" /dev/vda /data
        with_modules=
        timeout -k 5 500 qemu-system-x86_64 -M pc -accel tcg -cpu max,-erms,-fsrm -m 1024 -nodefaults -no-user-config -no-reboot \
            -display none -serial stdio -device isa-debug-exit,iobase=0x501,iosize=0x04 -kernel "$linux_kernel" -initrd "$work/initramfs" \
            -append 'console=ttyS0 quiet panic=-1' -drive "if=none,id=d0,file=$work/disk.img,format=raw" \
            -device virtio-blk-pci,drive=d0 -plugin "$work/count.so,$marks" </dev/null 2>/dev/null | tr -d '\r' > "$work/disk.$1" || true
    else
        lethe_guest 300 --machine pc -m 1024 --mount "$work/disk.img:/data" \
            $(qemu_words -plugin "$work/count.so,$marks") "$work/disk_bench" -- /dev/vda /data > "$work/disk.$1"
    fi
    grep -q '^disk end' "$work/disk.$1" || echo "bench: the disk rows of $1 are not whole" >&2
    rm -f "$work/disk.img"
}

# disk_row TITLE KEY FIELD: of both guests, instructions an operation (count) or microseconds (time)
disk_row() {
    for system in linux lethe; do
        awk -v key="$2" -v field="$3" '
            FILENAME == ARGV[1] { if ($1 == "each") each[n++] = $2; next }
            $1 == "disk" && NF == 4 {
                if ($2 == key) print field == "count" ? sprintf("%.0f", (each[2 * i + 1] - each[2 * i]) / $3) : sprintf("%.1f", $4 / $3 / 1000)
                i++
            }' "$work/disk.$system.count" "$work/disk.$system" 2>/dev/null > "$work/disk.figure" || true
        eval "figure_$system=\$(cat \"$work/disk.figure\")"
    done
    row "$1" "${figure_linux:--}" "${figure_lethe:--}" -
}

disk() {
    rm -f "$work"/disk.linux* "$work"/disk.lethe*
    if [ $with_linux = 1 ]; then
        progress 'the disk of Linux'
        disk_ops linux
    fi
    progress 'the disk of Lethe'
    disk_ops lethe
    for field in count time; do
        [ $field = count ] && group 'files on a volume, instructions an operation (6)' || group 'files on a volume, microseconds an operation by the guest'\''s clock (6)'
        disk_row 'create and write 4 KiB' create $field
        disk_row 'stat' stat $field
        disk_row 'open, read 4 KiB, close' open $field
        disk_row 'write and fsync of 256 MiB, a MiB' write $field
        disk_row 'read of 256 MiB from the disk, a MiB' read $field
        disk_row 'the same from the page cache, a MiB' cached $field
        disk_row 'mmap of 256 MiB, each page, a MiB' mmap $field
        disk_row 'read of a random page' random-read $field
        disk_row 'write of a random page' random-write $field
        disk_row 'write of a random page, fdatasync' fdatasync $field
        disk_row 'append of 200 bytes, fsync' fsync $field
        disk_row 'SQLite insert, in one transaction' sqlite $field
        disk_row 'SQLite insert, each by itself' sqlite-each $field
    done
}
