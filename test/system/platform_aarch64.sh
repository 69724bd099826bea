# SPDX-License-Identifier: BSD-2-Clause
# Machines of aarch64: power-off, exception levels, seeds, device trees that lack something.
old=cortex-a57 # without random numbers, PAN and the flags of pages

for machine in virt virt,gic-version=3 virt,virtualization=on virt,virtualization=on,gic-version=3,secure=off; do
    for cpu in $old max; do
        says "platform/power_off_$cpu,$machine" '^(seeded|waited) random' bare '' -M $machine -smp 2 -cpu $cpu
    done
done

# Seeds: the CPU; a device alone, with registers of either kind; nothing but the timer.
expect_output platform/random_cpu 0 'seeded random' lethe "$work/random"
for machine in $two_machines; do
    expect_output "platform/random_device_$machine" 0 'seeded random' \
        lethe --machine "$machine" --qemu-arg=-cpu --qemu-arg=$old "$work/random"
done
says platform/random_modern_mmio '^seeded random' bare '' -M virt -cpu $old \
    -global virtio-mmio.force-legacy=false -device virtio-rng-device
says platform/random_timer '^waited random' bare '' -M virt -cpu $old

# Device trees that are wrong in one word, given to the machine in place of its own. QEMU writes its own as 1 MiB, and makes twice as
# much of what it reads: more than is allowed. So it is cut to what is used.
qemu-system-aarch64 -M "virt,dumpdtb=$work/whole.dtb" -cpu max -smp 2 -m 64 -nodefaults -display none >/dev/null 2>&1
perl -0777 -pe '@h = unpack "N10"; $end = $h[3] + $h[8]; substr($_, 4, 4) = pack "N", $end; $_ = substr $_, 0, $end' \
    "$work/whole.dtb" > "$work/base.dtb"
tree() { # tree NAME PATTERN: $tree is the machine's device tree with PATTERN (of perl) applied
    tree=$work/$1.dtb
    perl -0777 -pe "$2" "$work/base.dtb" > "$tree"
    [ -z "$2" ] || ! cmp -s "$tree" "$work/base.dtb" || fail "platform/tree_$1: nothing was changed"
}
with_tree() { bare "$@" -M virt -cpu max -smp 2 -dtb "$tree"; }
runs() { # runs NAME PATTERN: the program runs all the same
    tree "$1" "$2"
    says "platform/tree_$1" '^(seeded|waited) random' with_tree ''
}
runs good ''
runs psci_old 's/arm,psci-1.0\0arm,psci-0.2\0arm,psci\0/arm,psci-0.2\0arm,psci-0.2\0arm,psci\0/'
runs virtio 's/virtio,mmio/virtio,mnio/g'
runs clock 's/arm,pl031/arm,pl03x/'
runs timer 's/arm,armv8-timer/arm,armv8-times/'
runs one_cpu 's/device_type\0/devixe_type\0/'
# QEMU writes the node of memory anew, so another becomes one: 3 GiB at 2^46.
runs far_memory '
    my $names = unpack "x12 N"; my $type = index($_, "device_type\0", $names) - $names;
    s/\0{3}\x11.{4}qemu,fw-cfg-mmio\0.{3}/pack("NNa8N3", 7, $type, "memory", 4, 4, 4)/se;
    s/\0{4}\x09\x02\0{6}\0{3}\x18/pack("N4", 0x4000, 0, 0, 0xc0000000)/e'
holds platform/tree_far_memory_told grep -q '3072 MiB of memory at or above 0x400000000000 are not used' "$out"
tree gic 's/arm,cortex-a15-gic/arm,cortex-a15-gin/'
says platform/tree_gic 'cannot start: .*no interrupt controller' with_tree ''
