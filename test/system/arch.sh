# SPDX-License-Identifier: BSD-2-Clause
# Programs of another architecture than this machine's: what the tool says about them and about kernels that are not theirs.
d=$work/arch
mkdir -p "$d/bin"
case $ARCH in aarch64) other_machine=microvm ;; *) other_machine=virt ;; esac
$compiler -O2 -o "$d/dynamic" "$here/probe.c" || fail 'arch/set-up: the probe does not build'

expect arch/dry_run 0 '' "$LETHE" run --dry-run "$PROBE"
holds arch/dry_run_machine grep -q "^qemu-system-$ARCH .*-kernel .*/$ARCH/lethe-kernel" "$out"
expect arch/given 0 '' "$LETHE" run --arch "$ARCH" --dry-run "$PROBE"
expect arch/other 2 "program for $ARCH and this machine is $(uname -m)" "$LETHE" run --arch "$(uname -m)" --dry-run "$PROBE"
expect arch/machine 2 "none for $ARCH" "$LETHE" run --machine $other_machine --dry-run "$PROBE"
expect arch/dynamic 2 'interpreter /lib.*ld-linux.* is missing' "$LETHE" run --dry-run "$d/dynamic"
expect arch/no_qemu 125 "qemu-system-$ARCH: No such file" /usr/bin/env PATH="$d" "$LETHE" run "$PROBE"
cp "$LETHE" "$d/bin/lethe"
expect arch/no_kernel 2 "no kernel for $ARCH.*make kernel ARCH=$ARCH" "$d/bin/lethe" run "$PROBE"

# The kernel of the other architecture: no CPU of this one gets far in it, and that is told.
expect arch/wrong_kernel 125 'could not boot' "$LETHE" run --accel tcg --timeout 20 --kernel "$STUB" "$PROBE"

# Go's memory limit; the image; programs with damaged headers.
run "$LETHE" run -v --dry-run "$examples/go-hello" -m 64
holds arch/go_limit grep -q 'a Go program: set GOMEMLIMIT=5[0-9]*KiB' "$err"
expect arch/build 0 '' "$LETHE" build "$PROBE" -f "$here:/here" -o "$d/built"
holds arch/image e2fsck -fn "$d/built/root.img"
holds arch/fuzz perl "$here/fuzz_elf.pl" 300 "$PROBE" "$d/fuzzed" "$LETHE" run --dry-run "$d/fuzzed"

# Installed beside the kernel of this machine.
holds arch/install make -s install ARCH="$ARCH" DESTDIR="$d" PREFIX=/opt/lethe
expect_output arch/installed 0 "Hello, world, from Linux on $ARCH" \
    sh -c "cd / && exec timeout 100 '$d/opt/lethe/bin/lethe' run --timeout 60 '$PWD/$examples/c-hello'"
