# SPDX-License-Identifier: BSD-2-Clause
# tap_inside.sh WORK LETHE SERVER: the part of tap.sh that runs in the namespace. The last line: counts PASSED FAILED SKIPPED
here=$(dirname "$0") work=$1/tap LETHE=$2 server=$3 me=tap
mkdir -p "$work"
. "$here/lib.sh"
. "$here/serve.sh"
load() { timeout -k 5 100 "$work/../net_load" "$@"; }
ip link set lo up
ip tuntap add lt0 mode tap
ip addr add 10.91.0.1/24 dev lt0
ip -6 addr add fd91::1/64 dev lt0 nodad
ip link set lt0 up

frames() { sed -n 's/ *lt0://p' /proc/net/dev | awk -v column="$([ "$1" = rx ] && echo 2 || echo 10)" '{ print $column }'; }
# whole NAME rx|tx BYTES COMMAND...: it succeeds, in packets of more than 4000 bytes on average
whole() {
    name=$1 direction=$2 bytes=$3
    shift 3
    before=$(frames $direction)
    holds "$name" "$@"
    n=$(($(frames $direction) - before))
    [ $n -gt 0 ] && [ $((n * 4000)) -lt "$bytes" ] && pass || fail "$name: $bytes bytes in $n packets"
}

bytes=20000000
for cpus in 1 2; do
    serve serving --net tap=lt0,ip=10.91.0.2/24,gw=10.91.0.1,ip6=fd91::2 --machine $([ $cpus = 1 ] && echo microvm || echo q35) --smp $cpus $server || continue
    for address in 10.91.0.2 '[fd91::2]'; do
        whole "tap/download_$cpus" rx $bytes load download "$address:8080" $bytes
        whole "tap/upload_$cpus" tx $bytes load upload "$address:8080" $bytes
    done
    holds "tap/http_$cpus" load http 10.91.0.2:8080 100 1000
    stop
done

# The other end's segments are shorter than a frame: nothing is cut, and nothing is lost.
name=tap/short_segments
if serve serving --net tap=lt0,ip=10.91.0.2/24 $server; then
    ip route replace 10.91.0.0/24 dev lt0 advmss 800
    holds "$name" load download 10.91.0.2:8080 4000000
    ip route replace 10.91.0.0/24 dev lt0
    stop
fi

# Without a router: what the guest says of each address is what this host says, which has none here either.
$CC -static -O2 -Wall -o "$work/route_probe" "$here/route_probe.c" || fail "tap/set-up: route_probe.c does not build"
addresses='127.0.0.1 ::1 10.91.0.77 10.91.0.255 8.8.8.8 2001:db8::1'
# shellcheck disable=SC2086
expect_output tap/routes 0 "$("$work/route_probe" $addresses)" lethe --net tap=lt0,ip=10.91.0.3/24 "$work/route_probe" -- $addresses
echo "counts $passed $failed $skipped"
