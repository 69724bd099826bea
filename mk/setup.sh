#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Host set-up: installs, with apt, exactly what is missing on this machine and says so.
#
#   [ARCH=aarch64] mk/setup.sh [run|test|bench|lint|fuzz]...     default: run
#
# ARCH (one or several) adds what building and running for another architecture than this machine's needs.
# Works as root or with sudo (which may ask for a password at a terminal); without either it prints the one command
# to run as root and ends with status 2.
# Silent and quick when nothing is missing. Not on Debian? It names what is missing and ends with status 2.
set -eu
PATH=$PATH:/usr/sbin:/sbin

missing=

# want PACKAGE CONDITION...: the package is missing when the condition fails
want() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || case " $missing " in *" $package "*) ;; *) missing="$missing $package" ;; esac
}
has() { command -v "$1"; }
header() { [ -e "/usr/include/$1" ]; }
libc_static() { [ -e "$(gcc -print-file-name=libc.a)" ]; }
go_any() { has go || [ -x /usr/lib/go/bin/go ]; }
rust_any() { has rustc; }

foreign() { case " ${ARCH:-} " in *' aarch64 '*) [ "$(uname -m)" != aarch64 ] ;; *) false ;; esac; }
cross_libc() { [ -e "$(aarch64-linux-gnu-gcc -print-file-name=libc.a)" ]; }

for_run() {
    if foreign; then
        want gcc-aarch64-linux-gnu has aarch64-linux-gnu-gcc
        want libc6-dev-arm64-cross cross_libc
        want qemu-system-arm has qemu-system-aarch64
    fi
    want gcc has gcc
    want libc6-dev libc_static
    want qemu-system-x86 has qemu-system-x86_64
    want libcjson-dev header cjson/cJSON.h
    want libext2fs-dev header ext2fs/ext2fs.h
    want xz-utils has xz
    want golang-go go_any
}

libvirt_qemu() { ls /usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so; }

for_test() {
    for_run
    ! foreign || want qemu-user has qemu-aarch64 # lists the tests in a Go test binary
    want e2fsprogs has e2fsck
    want gdisk has sgdisk
    want dosfstools has fsck.vfat
    want mtools has mcopy
    want genisoimage has genisoimage
    want qemu-utils has qemu-img
    want ovmf test -e /usr/share/ovmf/OVMF.fd
    ! foreign || want qemu-efi-aarch64 test -e /usr/share/qemu-efi-aarch64/QEMU_EFI.fd
    want libvirt-daemon has libvirtd
    want libvirt-daemon-driver-qemu libvirt_qemu
    want libvirt-clients has virsh
    want libxml2-utils has xmllint # for virt-xml-validate
    want mandoc has mandoc
    want musl-tools has musl-gcc
    want golang-go test -x /usr/lib/go/bin/go # the distribution's Go is tested beside any newer one
    want rustc rust_any
    want curl has curl
    want iproute2 has ip
    want ca-certificates test -e /etc/ssl/certs/ca-certificates.crt # for test/npm
}

for_bench() {
    for_test
    want cpio has cpio
    want libsqlite3-dev header sqlite3.h
}

for_lint() {
    for_run
    want clang-format has clang-format
    want cppcheck has cppcheck
}

for_fuzz() {
    for_test
    want clang has clang
    want "libclang-rt-$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p')-dev" libfuzzer
}
libfuzzer() { printf 'int LLVMFuzzerTestOneInput(const char *d, long n) { return 0; }' | clang -fsanitize=fuzzer -w -x c -o /dev/null -; }

[ $# -gt 0 ] || set -- run
for group; do
    case $group in
    run | test | bench | lint | fuzz) "for_$group" ;;
    *) echo "setup: unknown group '$group'; choose run, test, bench, lint or fuzz" >&2; exit 2 ;;
    esac
done
[ -n "$missing" ] || exit 0

install="apt-get install -y --no-install-recommends$missing"
if ! command -v apt-get >/dev/null; then
    echo "setup: this machine lacks what these Debian packages hold; install them by its own means:$missing" >&2
    exit 2
fi
may_sudo() { command -v sudo && { sudo -n true || [ -t 0 ]; }; }
if [ "$(id -u)" = 0 ]; then
    sudo=
elif may_sudo >/dev/null 2>&1; then
    sudo=sudo
    sudo -n true 2>/dev/null || echo "setup: installing with apt, for which sudo may ask for your password"
else
    echo "setup: run this as root, then try again: apt-get update && $install" >&2
    exit 2
fi
echo "setup: installing with apt:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# An environment variable does not pass through sudo; env behind it does.
if ! { $sudo apt-get update && $sudo env DEBIAN_FRONTEND=noninteractive $install; } >"$log" 2>&1 </dev/null; then
    tail -n 15 "$log" >&2
    echo "setup: apt failed; run this by hand: apt-get update && $install" >&2
    exit 2
fi
echo "setup: done"
