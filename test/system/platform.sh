# SPDX-License-Identifier: BSD-2-Clause
# The machine itself: how it ends without the tool's exit device, where random numbers come from, how a panic looks.
lethe() { timeout -k 5 100 "$LETHE" run --accel tcg --timeout 60 "$@"; }
gcc -static -O2 -Wall -o "$work/random" "$here/random_probe.c" || fail 'platform/set-up: random_probe.c does not build'
"$LETHE" build "$work/random" -o "$work/random.ext4" >/dev/null 2>"$err" || fail "platform/set-up: $(head -n 1 "$err")"

# bare WORDS QEMU-OPTION...: the image of random_probe without the tool
bare() {
    words=$1
    shift
    timeout -k 5 60 qemu-system-x86_64 -accel tcg -m 64 -nodefaults -no-user-config -no-reboot -display none -serial stdio \
        -kernel build/x86_64/lethe-kernel -initrd "$work/random.ext4" -append "$words" "$@"
}
# says NAME PATTERN COMMAND...: it ends by itself with status 0 and its output holds the pattern
says() {
    name=$1 pattern=$2
    shift 2
    run "$@"
    if [ "$status" -eq 0 ] && grep -Eq -- "$pattern" "$out"; then pass; else
        fail "$name: status $status, wanted /$pattern/: $(tail -n 2 "$out" | tr '\n\r' '| ')"
    fi
}

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

# A panic: its status, one line from the tool, and a backtrace with names; every other CPU stops.
for n in 1 4; do
    expect "platform/panic_$n" 123 'kernel panic: asked for by debug=panic' lethe --smp $n --append debug=panic "$PROBE" -- exit 0
    holds "platform/panic_${n}_where" grep -q 'kernel panic on CPU 0: asked for' "$out"
    holds "platform/panic_${n}_backtrace" grep -Eq '^  ffffffff8[0-9a-f]+ debug_panic_inner\+0x' "$out"
    holds "platform/panic_${n}_caller" grep -Eq '^  ffffffff8[0-9a-f]+ kernel_main\+0x' "$out"
done
expect platform/panic_other_cpu 123 'kernel panic: asked for by debug=panic-cpu' \
    lethe --smp 4 --append debug=panic-cpu "$PROBE" -- exit 0
holds platform/panic_other_cpu_where grep -q 'kernel panic on CPU 3: asked for' "$out"
expect platform/panic_later 123 'kernel panic: asked for by debug=panic-later' \
    lethe --smp 2 --append debug=panic-later "$PROBE" -- spin
holds platform/panic_later_backtrace grep -Eq 'timer_interrupt\+0x' "$out"
expect platform/fault 123 'kernel panic: .*fault' lethe --append debug=fault "$PROBE" -- exit 0
holds platform/fault_where grep -Eq 'at ffffffff8[0-9a-f]+ debug_fault\+0x' "$out"
