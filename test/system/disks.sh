# SPDX-License-Identifier: BSD-2-Clause
# Disks behind every controller: volumes, device files from several threads on several queues, errors of the medium, partitions.
full=build/$ARCH/lethe-kernel-full
d=$work/disks
mkdir -p "$d"
$compiler -static -O2 -Wall -Wextra -Werror -pthread -o "$d/disks" "$here/disks.c" || fail 'disks/set-up: disks.c does not build'
$compiler -static -O2 -Wall -pthread -o "$d/volume" "$here/volume.c" || fail 'disks/set-up: volume.c does not build'
case $ARCH in
x86_64) pci=q35 ;;
aarch64) pci=virt ;;
esac

# on_disk CONTROLLER BACK [WORD...]: a guest whose disk is the block node `back`, told of by QEMU's words in BACK
on_disk() {
    case $1 in
    virtio) devices='--qemu-arg=-device --qemu-arg=virtio-blk-pci,drive=back' ;;
    pvscsi) devices='--qemu-arg=-device --qemu-arg=pvscsi --qemu-arg=-device --qemu-arg=scsi-hd,drive=back,serial=back' ;;
    scsi) devices='--qemu-arg=-device --qemu-arg=virtio-scsi-pci --qemu-arg=-device --qemu-arg=scsi-hd,drive=back,serial=back' ;;
    ahci) devices='--qemu-arg=-device --qemu-arg=ahci,id=own --qemu-arg=-device --qemu-arg=ide-hd,bus=own.0,drive=back,serial=back' ;;
    nvme) devices='--qemu-arg=-device --qemu-arg=nvme,drive=back,serial=back' ;;
    esac
    back=$2
    shift 2
    # shellcheck disable=SC2086 # the words are meant to split
    timeout -k 5 70 "$LETHE" run --accel tcg --timeout 60 --kernel $full --machine $pci --qemu-arg=-blockdev --qemu-arg="$back" $devices "$d/disks" "$@"
}
name_of() { case $1 in virtio) echo /dev/vda ;; scsi | ahci | pvscsi) echo /dev/sda ;; nvme) echo /dev/nvme0n1 ;; esac; }
plain() { echo "driver=raw,node-name=back,discard=unmap,file.driver=file,file.filename=$1"; }
# bad FILE RULES: the same, with errors from the medium
bad() { echo "driver=raw,node-name=back,file.driver=blkdebug,file.image.driver=file,file.image.filename=$1,$2"; }
rule() { echo "file.inject-error.$1.event=none,file.inject-error.$1.iotype=$2,file.inject-error.$1.errno=5${3:+,file.inject-error.$1.sector=$3}"; }

for bus in virtio nvme scsi ahci pvscsi; do
    disk=$(name_of $bus)
    # a volume: written by one guest, found by the next
    truncate -s 64M "$d/v.img" && mke2fs -qF -t ext4 "$d/v.img"
    expect_output disks/$bus/write 0 written "$LETHE" run --accel tcg --timeout 60 --machine $pci --disk-bus $bus --mount "$d/v.img:/data" "$d/volume" -- tree /data write
    holds disks/$bus/sound e2fsck -fn "$d/v.img"
    case $bus in ahci) how='' ;; *) how=:ro ;; esac
    expect_output disks/$bus/found 0 found "$LETHE" run --accel tcg --timeout 60 --smp 2 --machine $pci --disk-bus $bus --mount "$d/v.img:/data$how" "$d/volume" -- tree /data check
    # the device file, from four threads
    truncate -s 16M "$d/raw.img"
    expect_output disks/$bus/raw 0 'raw good' on_disk $bus "$(plain "$d/raw.img")" --smp 2 -- raw "$disk"
    # a medium that fails
    expect_output disks/$bus/eio 0 EIO on_disk $bus "$(bad "$d/raw.img" "$(rule 0 read 2048),$(rule 1 write 4096)")" -- eio "$disk"
    expect_output disks/$bus/flush_eio 0 EIO on_disk $bus "$(bad "$d/raw.img" "$(rule 0 flush)")" -- flush-eio "$disk"
    truncate -s 64M "$d/w.img" && mke2fs -qF -t ext4 -b 4096 "$d/w.img"
    journal=$(debugfs -R 'bmap <8> 1' "$d/w.img" 2>/dev/null) # its first block behind the superblock
    run on_disk $bus "$(bad "$d/w.img" "$(rule 0 write $((journal * 8)))")" -- volume-eio "$disk"
    if [ $status -eq 0 ] && grep -q 'journal cannot be written' "$out" && grep -q '^EIO' "$out"; then pass; else fail "disks/$bus/volume_eio: status $status: $(tail -n 1 "$out")"; fi
done

# What the volume's own thread is writing when sync(2) is called has got there when it returns: a slow disk, killed then.
truncate -s 64M "$d/v.img" && mke2fs -qF -t ext4 "$d/v.img"
on_disk virtio "driver=throttle,node-name=back,throttle-group=slow,file.driver=raw,file.file.driver=file,file.file.filename=$d/v.img" \
    --qemu-arg=-object --qemu-arg=throttle-group,id=slow,x-iops-total=100 -m 48m -- sync /dev/vda > "$d/sync" 2>"$err" </dev/null &
tool=$!
for _ in $(seq 300); do grep -q synced "$d/sync" && break; sleep 0.1; done
cut_power "$d/v.img"
wait $tool
expect_output disks/synced 0 synced on_disk virtio "$(plain "$d/v.img")" -- synced /dev/vda

mkdir -p "$d/large"
perl -e 'print pack("V", $_ * 4096) . "x" x 4092 for 0 .. 4095' > "$d/large/large"
truncate -s 64M "$d/l.img" && mke2fs -qF -t ext4 -d "$d/large" "$d/l.img"
expect_output disks/ahead 0 ahead on_disk virtio "$(plain "$d/l.img")" -- ahead /dev/vda

# ---- partitions: GPT with its first table whole and broken, MBR with logical ones; names and sizes as Linux has them
truncate -s 64M "$d/gpt.img"
sgdisk -n 1:2048:+8M -n 2:0:+100K -n 5:40960:50000 "$d/gpt.img" >/dev/null
gpt='0 131072
1 2048 16384
2 18432 200
5 40960 9041'
cp "$d/gpt.img" "$d/backup.img" && dd if=/dev/zero of="$d/backup.img" bs=512 seek=1 count=3 conv=notrunc status=none
truncate -s 64M "$d/mbr.img"
perl -e 'sub entry { pack "CxxxCxxxVV", 0, @_ }    # kind, start, sectors
    sub put { my ($at, @entries) = @_; seek STDOUT, $at * 512 + 446, 0; print @entries, pack("x" x (64 - 16 * @entries)), pack "v", 0xaa55 }
    put(0, entry(0x83, 2048, 8192), entry(0x0c, 10240, 2000), entry(0, 0, 0), entry(0x05, 20480, 60000));
    put(20480, entry(0x83, 63, 1000), entry(0x05, 4096, 3000));
    put(24576, entry(0x83, 8, 2001));' 1<>"$d/mbr.img"
mbr='0 131072
1 2048 8192
2 10240 2000
4 20480 2
5 20543 1000
6 24584 2001'
# partitions NAME CONTROLLER IMAGE LINES: NUMBER START SECTORS each, 0 the whole disk
partitions() {
    disk=$(name_of "$2") between=
    case $2 in nvme) between=p ;; esac
    expect_output "disks/$1" 0 "$(echo "$4" | sed "s,^0 ,${disk#/dev/} 0 ,; s,^[1-9],${disk#/dev/}$between&,")" on_disk "$2" "$(plain "$3")" -- names
}
partitions gpt virtio "$d/gpt.img" "$gpt"
partitions gpt_backup virtio "$d/backup.img" "$gpt"
partitions mbr virtio "$d/mbr.img" "$mbr"
partitions gpt_nvme nvme "$d/gpt.img" "$gpt"
expect disks/ahci_read_only 2 'no read-only disks behind ahci' "$LETHE" run --disk-bus ahci --mount "$d/v.img:/data:ro" "$d/volume"
[ "$ARCH" != x86_64 ] || expect disks/microvm 2 'needs a PCI bus' "$LETHE" run --machine microvm --disk-bus nvme --mount "$d/v.img:/data" "$d/volume"
rm -rf "$d"
