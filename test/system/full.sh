# SPDX-License-Identifier: BSD-2-Clause
# Whatever is written: a disk that is full, a folder that may not be written to, a program that is missing. One line, and nothing left.
d=$work/full-target
mkdir -p "$d/small" "$d/bin"
kernel=$PWD/build/x86_64/lethe-kernel-full
hello=$PWD/build/examples/c-hello
tool=$work/lethe

# on_small SIZE COMMAND...: runs with a disk of that size at $d/small, and says on standard error what is left there
on_small() {
    size=$1
    shift
    unshare -rm sh -c 'mount -t tmpfs -o size="$1" small "$2" || exit 99; small=$2; shift 2; "$@"; status=$?
        [ -z "$(ls -A "$small")" ] || echo "left: $(ls -A "$small")" >&2; exit $status' sh "$size" "$d/small" "$@"
}

if ! unshare -rm true 2>/dev/null; then
    skipped=$((skipped + 1))
    echo "SKIP system/full/disk: no name space of its own may be made here (unshare -rm)"
else
    for name in a.img a.qcow2 a.vmdk a.vdi a.vhd a.ova a.ext4; do
        expect full/disk_$name 2 'cannot write .*[Nn]o space|qemu-img failed: .*' \
            on_small 600k "$tool" build --kernel "$kernel" "$hello" -o "$d/small/$name"
    done
    expect full/disk_a.tar.gz 2 'gzip failed: .*[Nn]o space' on_small 200k "$tool" build --kernel "$kernel" "$hello" -o "$d/small/a.tar.gz"
    # Room for the root image, and not for the kernel beside it.
    expect full/disk_folder 2 'cannot write .*lethe-kernel.*[Nn]o space' on_small 1200k "$tool" build --kernel "$kernel" "$hello" -o "$d/small/folder"
    for type in firecracker cloud-hypervisor; do
        expect full/disk_$type 2 'cannot write .*lethe-kernel.*[Nn]o space' \
            on_small 1200k "$tool" image create --kernel "$kernel" "$hello" -t $type -o "$d/small/folder"
    done
    expect full/disk_libvirt 2 'cannot write .*disk.img.*[Nn]o space' \
        on_small 600k "$tool" image create --kernel "$kernel" "$hello" -t libvirt -o "$d/small/folder"
fi

# Where nothing may be written (a link to nowhere stands for root's eyes too), and without the programs that some formats need.
for name in a.img a.qcow2 a.vhd a.ova a.ext4 a.tar.gz; do
    expect full/no_folder_$name 2 'cannot write' "$tool" build --kernel "$kernel" "$hello" -o "/proc/$name"
done
expect full/no_folder 2 'cannot make the directory' "$tool" build --kernel "$kernel" "$hello" -o /proc/folder
mkdir "$d/taken.img"
expect full/file_is_folder 2 'cannot write .*taken.img: Is a directory' "$tool" build --kernel "$kernel" "$hello" -o "$d/taken.img"
expect full/store 2 'cannot make the folder /proc/none' env XDG_DATA_HOME=/proc/none "$tool" image create --kernel "$kernel" "$hello"
expect full/volumes 2 'cannot make the directory /proc/none' env XDG_DATA_HOME=/proc/none "$tool" volume create v 16m
expect full/instances 2 'cannot make the folder /proc/none' env XDG_STATE_HOME=/proc/none "$tool" instance list
for pair in qcow2:qemu-img:qemu-utils vmdk:qemu-img:qemu-utils vdi:qemu-img:qemu-utils ova:qemu-img:qemu-utils tar.gz:gzip:gzip; do
    IFS=: read -r suffix program package <<END
$pair
END
    expect full/missing_$suffix 2 "this needs the program $program; install the Debian package $package" \
        env PATH="$d/bin" "$tool" build --kernel "$kernel" "$hello" -o "$d/missing.$suffix"
done
expect full/missing_ovmf 2 'cannot read the firmware' "$tool" run --disk "$d/none.img" --firmware "$d/none.fd"
expect full/too_small 2 'a volume has 12 MiB to 16 TiB' env XDG_DATA_HOME="$d/data" "$tool" volume create v 1m
expect full/memory_too_small 125 'memory is too little; kernel and image alone need' \
    "$tool" build --kernel "$kernel" "$hello" -m 1m -o "$d/memory.img"
holds full/nothing_left sh -c "[ -z \"\$(ls '$d' | grep -vx -e small -e bin -e taken.img -e data)\" ]"
