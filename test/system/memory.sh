# SPDX-License-Identifier: BSD-2-Clause
# Memory that the guest gives up goes back to the host: seen as the resident size of the QEMU process.
lethe() { timeout -k 5 280 "$LETHE" run --accel tcg --timeout 260 "$@"; }
word() { echo "$1" | tr -c "a-z0-9\n" -; } # without the commas of a machine
$compiler -static -O2 -Wall -o "$work/give_back" "$here/give_back.c" || fail 'memory/set-up: give_back.c does not build'
go=$(command -v go || echo /usr/lib/go/bin/go)
(cd "$here/give_back_go" && CGO_ENABLED=0 GOFLAGS=-mod=mod GOTOOLCHAIN=local GOCACHE="$work/../../gocache" \
    env $go_arch "$go" build -o "$work/give_back_go" .) || fail 'memory/set-up: give_back_go does not build'

# start NAME ARGUMENT...: runs the tool in the background, with its output in $out and its input from descriptor 3; sets
# $machine to QEMU's process
mkfifo "$work/memory.input"
exec 3<>"$work/memory.input"
start() {
    name=$1
    shift
    lethe --qemu-arg=-name --qemu-arg="$name" "$@" >"$out" 2>"$err" <"$work/memory.input" &
    tool=$! machine=0
    for _ in $(seq 100); do
        for machine in $(processes "$name"); do
            [ "$(cat "/proc/$machine/comm" 2>/dev/null)" = "$(echo "qemu-system-$ARCH" | cut -c1-15)" ] && return 0
        done
        sleep 0.1
    done
    fail "$name: no machine: $(head -n 1 "$err")"
}
resident_mib() { awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$machine/status" 2>/dev/null || echo 0; }
said() { [ "$(grep -c "^$1" "$out")" -ge "$2" ]; }
# until SECONDS COMMAND...: tries it five times a second
until_true() {
    tries=$(($1 * 5))
    shift
    while ! "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] && kill -0 "$machine" 2>/dev/null || return 1
        sleep 0.2
    done
}
at_most() { now=$(resident_mib) && [ "$now" -gt 0 ] && [ "$now" -le "$1" ]; }
# finish NAME STATUS
finish() {
    wait "$tool"
    status=$?
    [ $status -eq "$2" ] && pass || fail "$1: status $status, wanted $2: $(head -n 1 "$err")"
}

for kind in $two_machines; do
    start "lethe-go-$(word $kind)" -m 1g --machine $kind "$work/give_back_go"
    until_true 120 said full 1 || fail "memory/go_$kind: never full: $(tail -n 1 "$out")"
    full=$(resident_mib)
    until_true 60 said free 1 || fail "memory/go_$kind: never free"
    if until_true 5 at_most $((full - 600)); then pass; else
        fail "memory/go_$kind: $full MiB resident while full, $(resident_mib) five seconds after they were freed"
    fi
    finish "memory/go_$kind" 0
done

start lethe-rounds -m 512 --smp 2 "$work/give_back" -- rounds 24 256
highest=0 first=0 round=0
while [ $round -lt 24 ]; do
    round=$((round + 1))
    until_true 60 said free $round || { fail "memory/rounds: round $round does not end"; break; }
    until_true 10 at_most 200 || fail "memory/rounds: $(resident_mib) MiB after round $round"
    now=$(resident_mib)
    [ $round -eq 1 ] && first=$now
    [ "$now" -gt $highest ] && highest=$now
    echo >&3
done
# 48: the stock of zeroed frames stands between 16 and 64 MiB.
if [ "$highest" -le $((first + 48 + 16)) ]; then pass; else
    fail "memory/rounds: $first MiB after the first round, later $highest"
fi
finish memory/rounds 0

# The balloon: the host takes 300 of 512 MiB, and the program still gets 400, as the balloon yields.
inflated() { monitor 'info balloon' | grep -q "actual=$1"; }
for kind in $two_machines; do
    rm -f "$work/monitor"
    start "lethe-balloon-$(word $kind)" -m 512 --machine $kind --qemu-arg=-monitor \
        --qemu-arg="unix:$work/monitor,server=on,wait=off" "$work/give_back" -- late 400 9000
    until_true 30 said ready 1 || fail "memory/balloon_$kind: $(head -n 1 "$err")"
    monitor 'balloon 212' >/dev/null
    if until_true 8 inflated 212; then pass; else fail "memory/balloon_$kind: $(monitor 'info balloon' | tr '\r\n' '  ')"; fi
    finish "memory/balloon_$kind" 0
    said full 1 && pass || fail "memory/balloon_$kind: the program did not get its memory back: $(tail -n 1 "$out")"
done
