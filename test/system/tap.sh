# SPDX-License-Identifier: BSD-2-Clause
# A guest on a tap device, in a network namespace of its own (no privilege is needed where users may make some): what the device cuts
# (TSO) and joins (large receive), over IPv4 and IPv6, with every byte checked and the frames counted.
. "$here/serve.sh"
build_net_load tap
if ! unshare -rn ip tuntap add lt0 mode tap 2>/dev/null; then
    skipped=$((skipped + 1))
    echo "SKIP system/tap: no network namespaces or tap devices here"
else
    CC=$compiler unshare -rn sh "$here/tap_inside.sh" "$work" "$LETHE" "$examples/go-http" >"$work/tap.out" 2>&1
    status=$?
    grep -E '^FAIL' "$work/tap.out"
    set -- $(sed -n 's/^counts //p' "$work/tap.out")
    if [ $# -eq 3 ]; then
        passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
    else
        fail "tap: status $status: $(tail -n 1 "$work/tap.out")"
    fi
fi
