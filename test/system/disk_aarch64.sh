# SPDX-License-Identifier: BSD-2-Clause
# Disk images for aarch64: the Arm UEFI starts them, from the controllers that it has drivers for.
d=$work/disk_aarch64
mkdir -p "$d"
disk() { timeout -k 5 160 "$LETHE" run --timeout 120 --disk "$@"; }

holds disk_aarch64/build "$LETHE" build "$PROBE" -o "$d/a.img" -- exit 7
holds disk_aarch64/rebuild "$LETHE" build "$PROBE" -o "$d/b.img" -- exit 7
holds disk_aarch64/reproducible cmp "$d/a.img" "$d/b.img"
holds disk_aarch64/sgdisk sh -c "sgdisk -v '$d/a.img' | grep -q '^No problems found'"
for bus in virtio scsi nvme; do
    run disk "$d/a.img" --disk-bus $bus
    if [ "$status" -eq 7 ]; then pass; else fail "disk_aarch64/$bus: status $status: $(head -n 1 "$err")"; fi
done
run disk "$d/a.img" --machine virt,acpi=off,gic-version=3,virtualization=on --smp 2
if [ "$status" -eq 7 ]; then pass; else fail "disk_aarch64/el2: status $status: $(head -n 1 "$err")"; fi
# Without a device tree it says so, and the machine goes off.
run disk "$d/a.img" --machine virt
if [ "$status" -eq 125 ] && grep -q 'the firmware has no device tree' "$out"; then pass; else fail "disk_aarch64/acpi: status $status"; fi
