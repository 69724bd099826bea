# SPDX-License-Identifier: BSD-2-Clause
# Helpers of test/system: each test runs one command and says what its status and its output must be.
passed=0 failed=0 skipped=0
out=$work/out err=$work/err

pass() { passed=$((passed + 1)); }
fail() {
    failed=$((failed + 1))
    echo "FAIL ${suite:-system}/$*"
}

# run COMMAND...: sets $status, fills $out and $err; without input. A program is bounded in time, a shell
# function bounds itself.
run() {
    case $1 in
    */*) timeout -k 5 120 "$@" >"$out" 2>"$err" </dev/null ;;
    *) "$@" >"$out" 2>"$err" </dev/null ;;
    esac
    status=$?
}

# Nothing may lie in TMPDIR after the tool has ended.
clean_tmp() { [ -z "$(ls -A "$TMPDIR")" ]; }

# expect NAME STATUS PATTERN COMMAND...
# => PATTERN (grep -E) must match the one line on standard error; '' means that there must be none
expect() {
    name=$1 want=$2 pattern=$3
    shift 3
    run "$@"
    lines=$(wc -l < "$err")
    if [ "$status" -ne "$want" ]; then
        fail "$name: status $status, wanted $want: $(head -n 1 "$err")"
    elif [ -z "$pattern" ] && [ "$lines" -ne 0 ]; then
        fail "$name: wanted no message: $(head -n 1 "$err")"
    elif [ -n "$pattern" ] && [ "$lines" -ne 1 ]; then
        fail "$name: wanted one line on standard error, got $lines: $(head -n 2 "$err" | tr '\n' '|')"
    elif [ -n "$pattern" ] && ! grep -Eq -- "$pattern" "$err"; then
        fail "$name: wanted /$pattern/: $(head -n 1 "$err")"
    elif ! clean_tmp; then
        fail "$name: left behind: $(ls -A "$TMPDIR")"
        rm -rf "${TMPDIR:?}"/* "$TMPDIR"/.[!.]*
    else
        pass
    fi
}

# expect_output NAME STATUS TEXT COMMAND...: standard output is TEXT (no closing newline counted)
expect_output() {
    name=$1 want=$2 text=$3
    shift 3
    run "$@"
    if [ "$status" -ne "$want" ]; then
        fail "$name: status $status, wanted $want: $(head -n 1 "$err")"
    elif [ "$(cat "$out")" != "$text" ]; then
        fail "$name: wanted '$text', got '$(head -c 300 "$out" | tr '\n' '|')'"
    else
        pass
    fi
}

# holds NAME COMMAND...: the command succeeds ($out and $err stay as they are)
holds() {
    name=$1
    shift
    if "$@" >"$work/held" 2>&1; then pass; else fail "$name: $(tail -n 1 "$work/held")"; fi
}

# processes WORD: ids of processes whose command line holds WORD
processes() {
    for cmdline in /proc/[0-9]*/cmdline; do
        grep -qs -- "$1" "$cmdline" && { id=${cmdline#/proc/}; echo "${id%/cmdline}"; }
    done
}

# Asks the QEMU that was started with its monitor at $work/monitor.
monitor() { # monitor COMMAND
    perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new($ARGV[0]) or exit 1; alarm 5;
        $_ = ""; sysread $s, $_, 4096, length until /\(qemu\) $/; print $s "$ARGV[1]\n"; $s->flush;
        $_ = ""; sysread $s, $_, 4096, length until /\(qemu\) $/; print' "$work/monitor" "$1"
}

# cut_power IMAGE: kills the QEMU that has it
cut_power() {
    for machine in $(processes "$1"); do
        case $(cat "/proc/$machine/comm" 2>/dev/null) in qemu-system-*) kill -9 "$machine" ;; esac
    done
}
