# SPDX-License-Identifier: BSD-2-Clause
# The root image that stays on its disk: behind every controller, larger than memory, from disk images by each loader; and damaged root
# images, on a disk and in memory, of which none may stop the kernel. ROOTS says how many of the last (default 6; the documented
# campaign: ROOTS=100).
d=$work/rootdisk
mkdir -p "$d/data"
$compiler -static -O2 -Wall -Wextra -Werror -pthread -o "$d/rootdisk" "$here/rootdisk.c" || fail 'rootdisk/set-up: rootdisk.c does not build'
gcc -static -O2 -Wall -Wextra -Werror -pthread -o "$d/host" "$here/rootdisk.c" && "$d/host" make "$d/data" 64 || fail 'rootdisk/set-up: no data'
case $ARCH in
x86_64) pci=q35 buses='virtio scsi nvme ahci' roots=6 ;;
aarch64) pci=virt buses='virtio nvme' roots=1 ;;
esac
booted() { timeout -k 5 130 "$LETHE" run --accel tcg --timeout 120 "$@"; }

# Linux first, then the image in memory as the kernel has it, then on disks that do not fit into memory.
cp -a "$d/data" "$d/copy"
expect_output rootdisk/linux 0 'as it should be' "$d/host" check "$d/copy"
rm -r "$d/copy"
expect_output rootdisk/memory 0 'as it should be' booted -m 160m "$d/rootdisk" -f "$d/data:/data" -- check /data
cpus=1
for bus in $buses; do
    expect_output rootdisk/$bus 0 'as it should be' booted -m 40m --smp $cpus --machine $pci --disk-bus $bus --root disk "$d/rootdisk" -f "$d/data:/data" -- check /data
    cpus=$((cpus % 2 + 1))
done
expect_output rootdisk/smp4 0 'as it should be' booted -m 44m --smp 4 --root disk "$d/rootdisk" -f "$d/data:/data" -- check /data

# Beside volumes.
truncate -s 32M "$d/volume.img"
mke2fs -q -F -t ext4 "$d/volume.img"
run booted --root disk "$PROBE" --mount "$d/volume.img:/data" -- cat /proc/mounts
if [ "$status" -eq 0 ] && grep -q '^/dev/root / ext4 rw' "$out" && grep -q '^/dev/vd[ab] /data ext4' "$out" && grep -q '^tmpfs /tmp tmpfs' "$out"; then
    pass
else
    fail "rootdisk/mounts: status $status: $(tr '\n' '|' < "$out")"
fi

# A disk image: its loader brings the kernel alone.
holds rootdisk/build "$LETHE" build --root disk "$d/rootdisk" -f "$d/data:/data" -o "$d/boot.img" -- check /data
holds rootdisk/again "$LETHE" build --root disk "$d/rootdisk" -f "$d/data:/data" -o "$d/again.img" -- check /data
holds rootdisk/reproducible cmp "$d/boot.img" "$d/again.img"
if [ "$ARCH" = x86_64 ]; then
    expect_output rootdisk/bios 0 'as it should be' booted --disk "$d/boot.img" -m 48m
    run booted --disk "$d/boot.img" --disk-bus nvme -m 200m --uefi
    holds rootdisk/uefi grep -q 'as it should be' "$out"
    expect rootdisk/monitor 2 'firecracker' "$LETHE" build --root disk "$PROBE" -t firecracker -o "$d/fc"
else
    run booted --disk "$d/boot.img" -m 256m
    holds rootdisk/uefi grep -q 'as it should be' "$out"
fi
expect rootdisk/where 2 'choose disk or memory' "$LETHE" run --root floppy "$PROBE"
run "$LETHE" run --timeout 60 --root disk --append root=vdz "$PROBE" -- exit 0
[ "$status" -eq 125 ] && grep -q 'there is no such disk' "$err" && pass || fail "rootdisk/no-disk: status $status: $(head -n 1 "$err")"

# ---- damaged root images: the program runs and hears errors, or the kernel says why it does not start
rm -f "$d/boot.img" "$d/again.img" "$d/data/large"
mkdir -p "$d/data/deep/er"
cp -r ops "$d/data/deep/er"
ln -s deep/er/ops "$d/data/link"
run "$LETHE" build "$d/rootdisk" -f "$d/data:/data" -o "$d/memory" -- corrupt /data
sed "s|path=/dev/null|path=$d/control|" "$out" > "$d/memory.sh"
run "$LETHE" build --root disk "$d/rootdisk" -f "$d/data:/data" -o "$d/disk" -- corrupt /data
sed "s|path=/dev/null|path=$d/control|" "$out" > "$d/disk.sh"
damaged() { # damaged WHERE N: boots one and says how it ended
    : > "$d/control"
    timeout -k 5 60 sh "$d/$1.sh" > "$out" 2>"$err" </dev/null
    status=$?
    case $status/$(tail -n 1 "$d/control") in
    124/* | 137/*) fail "rootdisk/damaged-$1-$2: it does not end: $(tail -n 1 "$out")" ;;
    */exit\ * | */noboot\ * | */signal\ *) pass ;;
    *) fail "rootdisk/damaged-$1-$2: status $status: $(tail -n 1 "$d/control") $(tail -n 2 "$out" | tr '\n' '|')" ;;
    esac
}
damaged memory whole
holds rootdisk/damaged-memory-walks grep -q walked "$out"
damaged disk whole
holds rootdisk/damaged-disk-walks grep -q walked "$out"
cp "$d/memory/root.img" "$d/whole.img"
n=0
while [ $n -lt "${ROOTS:-$roots}" ]; do
    n=$((n + 1))
    for place in memory disk; do
        # The first blocks hold superblock, descriptors, bitmaps and inodes: half of the damage is there, some at their words' ends.
        perl -e 'my ($from, $to, $seed) = @ARGV; srand $seed; local $/; open my $f, "<", $from or die; my $b = <$f>;
            for (1 .. 1 + rand 80) { my $at = int rand 2 ? int rand(length($b) < 300000 ? length $b : 300000) : int rand length $b;
                substr($b, $at, 1) = chr((0, 255, int rand 256, 128)[rand 4]) unless $at < 1024; }
            open my $t, ">", $to or die; print $t $b' "$d/whole.img" "$d/$place/root.img" $n
        damaged $place $n
    done
done
rm -rf "$d"
