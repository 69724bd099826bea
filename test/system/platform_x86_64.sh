# SPDX-License-Identifier: BSD-2-Clause
# Machines of x86-64: power-off, clocks, seeds.
for machine in pc q35 'microvm -bios qboot.rom'; do
    # shellcheck disable=SC2086 # the words are meant to split
    says "platform/power_off_${machine%% *}" 'ACPI: power-off' bare loglevel=7 -M $machine -smp 2
done
says platform/no_acpi '^seeded random' bare '' -M microvm,acpi=off -bios qboot.rom -cpu max

# A machine that does not say that it is virtual: the counter is measured with the ACPI timer, or the old one.
says platform/pm_timer '^seeded random' bare '' -M pc -smp 2 -cpu max,-hypervisor
says platform/pit '^seeded random' bare '' -M microvm -bios qboot.rom -smp 2 -cpu max,-hypervisor
run bare '' -M microvm,pit=off,acpi=off -bios qboot.rom -cpu max,-hypervisor
holds platform/no_timer grep -q 'cannot start: no timer to measure' "$out"

# Seeds: the CPU; a device alone, over PCI and both kinds of memory-mapped registers; nothing but the timer.
old='max,-rdrand,-rdseed'
for machine in microvm pc q35 microvm,acpi=off; do
    expect_output "platform/random_cpu_$machine" 0 'seeded random' lethe --machine $machine "$work/random"
    expect_output "platform/random_device_$machine" 0 'seeded random' \
        lethe --machine $machine --qemu-arg=-cpu --qemu-arg=$old "$work/random"
done
says platform/random_modern_mmio '^seeded random' bare '' -M microvm -bios qboot.rom -cpu $old \
    -global virtio-mmio.force-legacy=false -device virtio-rng-device
says platform/random_timer '^waited random' bare '' -M microvm -bios qboot.rom -cpu $old
