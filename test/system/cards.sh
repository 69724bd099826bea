# SPDX-License-Identifier: BSD-2-Clause
# Network cards that are not virtio's, on every bus and way of interrupting: traffic as in network.sh, less of it, and the link.
. "$here/serve.sh"
build_net_load cards
full=build/$ARCH/lethe-kernel-full
$compiler -static -O2 -Wall -o "$work/link" $here/link_probe.c || exit 1

# on_card MACHINE DEVICE NETWORK: the tool's options for a guest with that card
on_card() {
    echo "--net none --kernel $full --machine $1 --qemu-arg=-netdev --qemu-arg=user,id=n$3 --qemu-arg=-device --qemu-arg=$2,netdev=n"
}

# card NAME MACHINE DEVICE [OPTION...]: requests, and every byte of two megabytes each way
card() {
    name=cards/$1
    free_port
    options=$(on_card "$2" "$3" ",hostfwd=tcp:127.0.0.1:$port-:8080")
    shift 3
    # shellcheck disable=SC2086 # the words are meant to split
    serve serving "$@" $options $examples/go-http || return
    holds "$name/http" load http "127.0.0.1:$port" 10 200
    holds "$name/download" load download "127.0.0.1:$port" 2000000
    holds "$name/upload" load upload "127.0.0.1:$port" 2000000
    stop
}

# link NAME MACHINE DEVICE: pulled and put in again, by QEMU's monitor
link() {
    name=cards/$1
    rm -f "$work/monitor"
    # shellcheck disable=SC2046 # the words are meant to split
    serve 'link up' $(on_card "$2" "$3,id=card" '') --qemu-arg=-monitor --qemu-arg="unix:$work/monitor,server=on,wait=off" "$work/link" || return
    monitor 'set_link card off' >/dev/null
    for _ in $(seq 100); do grep -q 'link down' "$out" && break; sleep 0.1; done
    monitor 'set_link card on' >/dev/null
    wait $tool
    status=$?
    if [ $status -eq 0 ] && [ "$(grep -c 'link up' "$out")" = 2 ]; then pass; else fail "$name: status $status: $(tail -n 1 "$out")"; fi
}

case $ARCH in
x86_64)
    card e1000_line pc e1000
    card e1000_shared_line q35 e1000-82545em,addr=5 --smp 2 --qemu-arg=-netdev --qemu-arg=user,id=o,net=10.9.0.0/24 \
        --qemu-arg=-device --qemu-arg=e1000,netdev=o,addr=9
    card e1000e_msi_behind_bridge q35 e1000e,bus=root --smp 2 --qemu-arg=-device --qemu-arg=pcie-root-port,id=root
    card vmxnet3_msix q35 vmxnet3 --smp 2
    card e1000e_timer pc e1000e --append pci=timer
    card virtio_behind_bridge q35 virtio-net-pci,bus=root --qemu-arg=-device --qemu-arg=pcie-root-port,id=root
    link vmxnet3_link pc vmxnet3
    link e1000e_link q35 e1000e
    ;;
aarch64)
    card e1000_line virt e1000
    card e1000e_msi virt,gic-version=3 e1000e
    link e1000e_link virt e1000e
    ;;
esac
