# SPDX-License-Identifier: BSD-2-Clause
# What guards a machine: the power button where it is an event device's, word to the host of a panic, the watchdog.
. "$here/serve.sh"
full=build/$ARCH/lethe-kernel-full
[ "$ARCH" = x86_64 ] && kinds='pc q35 microvm' buttons=microvm || kinds=virt buttons=''
$compiler -static -O2 -Wall -o "$work/waits" $here/shutdown_probe.c || exit 1
"$LETHE" build "$work/waits" -o "$work/waits.ext4" >/dev/null 2>"$err" || fail "guards/set-up: $(head -n 1 "$err")"

for machine in $buttons; do
    name=guards/button_$machine
    rm -f "$work/monitor"
    serve waiting --machine $machine --kernel $full --qemu-arg=-monitor --qemu-arg="unix:$work/monitor,server=on,wait=off" "$work/waits" || continue
    monitor system_powerdown >/dev/null
    wait $tool
    status=$?
    if [ $status -eq 3 ] && grep -q 'asked to end, code SI_KERNEL' "$out"; then pass; else fail "$name: status $status"; fi
done

# alone MACHINE WORDS QEMU-OPTION...: the waiting program without the tool; -no-reboot makes a reset an end, with status 0
alone() {
    case $1 in microvm) firmware='-bios qboot.rom' ;; *) firmware='' ;; esac
    machine=$1 words=$2
    shift 2
    # shellcheck disable=SC2086 # empty: no word
    timeout -k 5 30 "qemu-system-$ARCH" -M $machine $firmware -cpu max -accel tcg -m 64 -nodefaults -no-user-config -no-reboot -display none \
        -serial stdio -kernel $full -initrd "$work/waits.ext4" -append "$words" "$@"
}

# A panic: QEMU ends with status 1 when it has been told, as its -action says, and with 0 when the machine only goes off.
panics() {
    run alone "$3" debug=panic -action panic=exit-failure $4
    if [ "$status" -eq "$2" ] && grep -q 'kernel panic on CPU 0' "$out"; then pass; else fail "guards/$1: status $status: $(tail -n 1 "$out")"; fi
}
for machine in $kinds; do
    [ $machine != "${kinds%% *}" ] || panics panic_untold 0 $machine ''
    [ "$ARCH" != x86_64 ] || panics pvpanic_isa_$machine 1 $machine '-device pvpanic'
    [ $machine = microvm ] || panics pvpanic_pci_$machine 1 $machine '-device pvpanic-pci'
done

# The watchdog: fires when the kernel hangs, on the boot CPU or another, and not when the program does nothing for longer than that.
for machine in ${kinds%% *}; do
    run alone $machine watchdog=2,hang -smp 2 -device i6300esb -action watchdog=shutdown
    if [ "$status" -eq 0 ] && grep -q 'hanging, as asked for' "$out"; then pass; else fail "guards/watchdog: status $status: $(tail -n 1 "$out")"; fi
    run alone $machine 'watchdog=2 stop=1' -device i6300esb -action watchdog=shutdown &
    sleep 4
    if kill -0 $! 2>/dev/null; then pass; else fail guards/watchdog_quiet: fired; fi
    for id in $(processes "$work/waits.ext4"); do kill -TERM "$id"; done
    wait $!
done
