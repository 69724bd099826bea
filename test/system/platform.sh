# SPDX-License-Identifier: BSD-2-Clause
# The machine itself: how it ends without the tool's exit device, where random numbers come from, how a panic looks.
lethe() { timeout -k 5 100 "$LETHE" run --accel tcg --timeout 60 "$@"; }
$compiler -static -O2 -Wall -o "$work/random" "$here/random_probe.c" || fail 'platform/set-up: random_probe.c does not build'
"$LETHE" build "$work/random" -o "$work/random.ext4" >/dev/null 2>"$err" || fail "platform/set-up: $(head -n 1 "$err")"

# bare WORDS QEMU-OPTION...: the image of random_probe without the tool
bare() {
    words=$1
    shift
    timeout -k 5 30 "qemu-system-$ARCH" -accel tcg -m 64 -nodefaults -no-user-config -no-reboot -display none -serial stdio \
        -kernel "build/$ARCH/lethe-kernel" -initrd "${image:-$work/random.ext4}" -append "$words" "$@"
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

# Root images that are none. What is wrong stands on the console; the machine ends.
head -c 8192 "$work/random.ext4" > "$work/short.ext4"
head -c 100000 /dev/zero > "$work/zeros.ext4"
cp "$work/random.ext4" "$work/magic.ext4"
printf '\377\377' | dd of="$work/magic.ext4" bs=1 seek=1080 conv=notrunc 2>/dev/null
perl -pe 's/lethe-config 1$/lethe-config 9/' "$work/random.ext4" > "$work/version.ext4"
for bad in short zeros magic version; do
    image=$work/$bad.ext4
    says "platform/image_$bad" 'cannot start: ' bare "" $first_machine
done
image=

. "$here/platform_$ARCH.sh"

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
holds platform/panic_later_backtrace grep -Eq 'timer_interrupt\+0x|timers_run\+0x' "$out"
expect platform/fault 123 'kernel panic: .*fault' lethe --append debug=fault "$PROBE" -- exit 0
holds platform/fault_where grep -Eq 'at ffffffff8[0-9a-f]+ debug_fault\+0x' "$out"
