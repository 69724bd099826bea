# SPDX-License-Identifier: BSD-2-Clause
# Devices of aarch64 machines: the ways on which their interrupts come, seen with a network card; and what the CPU guards.
probe=$work/net_probe_aarch64
arm_cc=$([ "$(uname -m)" = aarch64 ] && echo gcc || echo aarch64-linux-gnu-gcc)
full=build/aarch64/lethe-kernel-full

# card NAME INTERRUPT DEVICE OPTION...: the guest uses the card, whose interrupt has a number that matches INTERRUPT; $bridges come before it
bridges=
card() {
    name=devices/$1 interrupt=$2 device=$3
    shift 3
    run timeout -k 5 60 "$LETHE" run --accel tcg --timeout 50 --net none --kernel $full -vv $bridges --qemu-arg -netdev \
        --qemu-arg user,id=n --qemu-arg -device --qemu-arg "$device,netdev=n" "$@" "$probe"
    if [ $status -ne 0 ]; then
        fail "$name: status $status: $(tail -n 1 "$out")"
    elif ! grep -Eq "interrupt $interrupt is line" "$out"; then
        fail "$name: no interrupt $interrupt, but$(sed -n 's/.*interrupt \([0-9]* is line [0-9]*\).*/ \1/p' "$out" | tr '\n' ',')"
    else
        pass
    fi
}

if ! command -v qemu-system-aarch64 >/dev/null || [ ! -e $full ] || ! $arm_cc -static -O2 -Wall -o "$probe" $here/net_probe.c; then
    echo 'SKIP system/devices: needs the kernel for aarch64, its compiler and its QEMU (make setup kernel ARCH=aarch64)'
    skipped=$((skipped + 1))
else
    card mmio '(4[89]|[567].)' virtio-net-device
    card mmio_gic3 '(4[89]|[567].)' virtio-net-device --machine virt,gic-version=3
    card mmio_legacy '(4[89]|[567].)' virtio-net-device --qemu-arg -global --qemu-arg virtio-mmio.force-legacy=true
    card pci_v2m '8[0-9]' virtio-net-pci
    card pci_its 8192 virtio-net-pci --machine virt,gic-version=3 --smp 2
    card pci_line '3[5-8]' virtio-net-pci,vectors=0
    card pci_line_gic3 '3[5-8]' virtio-net-pci --machine virt,gic-version=3,its=off
    card pci_low '8[0-9]' virtio-net-pci --machine virt,highmem=off
    # Two functions on one line, and one that takes messages beside them.
    card pci_shared_line '3[5-8]' virtio-net-pci,vectors=0,addr=5 --qemu-arg -device --qemu-arg virtio-rng-pci,addr=1 \
        --qemu-arg -device --qemu-arg virtio-net-pci,vectors=0,addr=9
    card pci_el2 8192 virtio-net-pci --machine virt,gic-version=3,virtualization=on

    # Behind bridges that no firmware has set up: a root port, another beside it, and a bridge behind that, which turns the pins.
    bridge() { bridges="$bridges --qemu-arg -device --qemu-arg $1"; }
    bridge pcie-root-port,id=a,chassis=1
    bridge pcie-root-port,id=b,chassis=2
    card bridge_its 8192 virtio-net-pci,bus=b --machine virt,gic-version=3
    card bridge_line '3[5-8]' virtio-net-pci,bus=a,vectors=0
    bridge pcie-pci-bridge,id=c,bus=b
    card bridge_behind_v2m '8[0-9]' virtio-net-pci,bus=c,addr=3
    for device in 1 2 3; do card bridge_pin_$device '3[5-8]' virtio-net-pci,bus=c,vectors=0,addr=$device; done
    bridges=

    # An indirect branch of the kernel's to where no function begins: a CPU with BTI stops it, an older one lets it pass.
    jump() {
        run timeout -k 5 60 "$LETHE" run --accel tcg --timeout 50 --kernel $full --append debug=jump --qemu-arg -cpu \
            --qemu-arg "$1" "$probe"
        holds "devices/jump_$1" grep -q "$2" "$out"
    }
    jump max 'exception 0xd in the kernel'
    jump cortex-a57 'the jump was not noticed'

    # The same in a program whose file asks for guarded code, or whose interpreter's does; not in one that does not ask.
    guarded() { # guarded NAME STATUS CPU OPTION...
        guarded_name=devices/guard_$1 want=$2 cpu=$3
        shift 3
        run timeout -k 5 60 "$LETHE" run --accel tcg --timeout 50 --qemu-arg -cpu --qemu-arg "$cpu" "$@"
        if [ "$status" -eq "$want" ]; then pass; else fail "$guarded_name: status $status: $(tail -n 1 "$err")"; fi
    }
    link() { holds "devices/link_$1" $compiler -nostdlib -o "$work/bti_$1" $here/bti_probe.S "$2" "$3"; }
    link guarded -static -DNOTE=1
    link plain -static -DNOTE=2
    link interp -static-pie -DNOTE=1
    link plain_interp -static-pie -UNOTE
    link dynamic -Wl,-pie,--dynamic-linker=/lib/probe -DNOTE=1
    guarded program 132 max "$work/bti_guarded"
    guarded other_feature 0 max "$work/bti_plain"
    guarded older_cpu 0 cortex-a57 "$work/bti_guarded"
    guarded interpreter 132 max -f "$work/bti_interp:/lib/probe" "$work/bti_dynamic"
    guarded interpreters_business 0 max -f "$work/bti_plain_interp:/lib/probe" "$work/bti_dynamic"
fi
