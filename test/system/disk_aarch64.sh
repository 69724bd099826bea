# SPDX-License-Identifier: BSD-2-Clause
# Disk images for aarch64: the Arm UEFI starts them, from the controllers that it has drivers for.
d=$work/disk_aarch64
mkdir -p "$d"
disk() { timeout -k 5 160 "$LETHE" run --timeout 120 --disk "$@"; }
. "$here/on_disk.sh"

holds disk_aarch64/build "$LETHE" build "$PROBE" -o "$d/a.img" -- exit 7
holds disk_aarch64/rebuild "$LETHE" build "$PROBE" -o "$d/b.img" -- exit 7
holds disk_aarch64/reproducible cmp "$d/a.img" "$d/b.img"
sound disk_aarch64 "$d/a.img"
# Every example, from each of those controllers in turn, told of by device tree and ACPI.
for machine in virt,acpi=off virt; do
    for bus in virtio scsi nvme; do echo "--machine $machine --disk-bus $bus"; done
done > "$d/ways"
every_example
run disk "$d/a.img" --machine virt,acpi=off,gic-version=3,virtualization=on --smp 2
if [ "$status" -eq 7 ]; then pass; else fail "disk_aarch64/el2: status $status: $(head -n 1 "$err")"; fi
# With ACPI tables in place of a device tree: every controller, several CPUs, the network by either transport, the power button.
acpi() { # acpi NAME STATUS OPTION...: the image in $image ends with STATUS
    acpi_name=disk_aarch64/acpi_$1 want=$2
    shift 2
    run disk "$image" "$@"
    if [ "$status" -eq "$want" ]; then pass; else fail "$acpi_name: status $status: $(head -n 1 "$err") $(tail -n 1 "$out")"; fi
}
image=$d/a.img
acpi gic2 7 --machine virt
acpi gic3_el2 7 --machine virt,gic-version=3,virtualization=on --smp 4
for program in net_probe machine_probe shutdown_probe; do
    holds disk_aarch64/cc_$program $compiler -static -O2 -Wall -o "$d/$program" $here/$program.c
    holds disk_aarch64/build_$program "$LETHE" build "$d/$program" --append loglevel=7 -o "$d/$program.img"
done
image=$d/machine_probe.img
acpi cpus_gic2 2 --machine virt --smp 2
holds disk_aarch64/acpi_time awk -v now="$(date +%s)" '/^time / { ok = $2 > now - 60 && $2 <= now } END { exit !ok }' "$out"
acpi cpus_gic3 4 --machine virt,gic-version=3 --smp 4
image=$d/net_probe.img
acpi net_mmio 0 --machine virt --net user
acpi net_v2m 0 --machine virt --qemu-arg -netdev --qemu-arg user,id=n --qemu-arg -device --qemu-arg virtio-net-pci,netdev=n
acpi net_its 0 --machine virt,gic-version=3 --qemu-arg -netdev --qemu-arg user,id=n --qemu-arg -device --qemu-arg virtio-net-pci,netdev=n
acpi net_bridge 0 --machine virt,gic-version=3 --qemu-arg -netdev --qemu-arg user,id=n --qemu-arg -device --qemu-arg pcie-root-port,id=rp,chassis=1 \
    --qemu-arg -device --qemu-arg virtio-net-pci,netdev=n,bus=rp
holds disk_aarch64/acpi_its grep -q 'interrupt 8193 is line' "$out"

button() { # button NAME MACHINE: the program is told, and its status is kept
    holds "disk_aarch64/$1_create" "$LETHE" instance create "$d/shutdown_probe.img" -i "$1" --machine "$2"
    for _ in $(seq 60); do
        "$LETHE" instance logs "$1" | grep -q waiting && break
        sleep 1
    done
    expect_output "disk_aarch64/$1_stop" 0 "$1 exited, status 3" "$LETHE" instance stop "$1"
    "$LETHE" instance logs "$1" > "$d/log"
    holds "disk_aarch64/$1_told" grep -q 'asked to end, code SI_KERNEL' "$d/log"
    holds "disk_aarch64/$1_delete" "$LETHE" instance delete "$1"
}
export XDG_STATE_HOME=$d/state
button gpio virt,acpi=off
button ged virt
unset XDG_STATE_HOME
