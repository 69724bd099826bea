# SPDX-License-Identifier: BSD-2-Clause
# Guests that serve: started in the background, and ended when the test is through with them. $LETHE is the tool; $me or $name the
# test.
lethe() { timeout -k 5 170 "$LETHE" run --accel tcg --timeout 160 "$@"; }

# A free port of the host, each time another.
next_port=$((20000 + $$ % 20000))
free_port() {
    while next_port=$((next_port + 1)) && grep -qi "0100007F:$(printf %04X $next_port)" /proc/net/tcp; do :; done
    port=$next_port
}

# serve READY PROGRAM ARGUMENT...: a guest in the background; waits until it has said READY
serve() {
    ready=$1
    shift
    : >"$out" # what the guest before said is not an answer
    # No shell between: the signal that stops it is for timeout(1), which passes it on.
    timeout -k 5 170 "$LETHE" run --accel tcg --timeout 160 "$@" >"$out" 2>"$err" </dev/null &
    tool=$!
    for _ in $(seq 600); do
        grep -aqs "$ready" "$out" && return 0
        kill -0 $tool 2>/dev/null || break
        sleep 0.1
    done
    fail "${me:-$name}: the guest does not serve: $(head -n 1 "$err") $(tail -n 1 "$out")"
    kill -TERM $tool 2>/dev/null
    wait $tool 2>/dev/null
    return 1
}
stop() {
    kill -TERM $tool
    wait $tool 2>/dev/null
    [ $? -eq 143 ] || fail "${me:-$name}: the tool does not end by SIGTERM"
}

# The load on servers, for the part of that name.
build_net_load() {
    go=$(command -v go || echo /usr/lib/go/bin/go)
    (cd "$here/net_load" && CGO_ENABLED=0 GOFLAGS=-mod=mod GOTOOLCHAIN=local GOCACHE="$work/../../gocache" \
        "$go" build -o "$work/net_load" .) || fail "$1/set-up: net_load does not build"
}
load() { timeout -k 5 120 "$work/net_load" "$@"; }
