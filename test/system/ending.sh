# SPDX-License-Identifier: BSD-2-Clause
# How guests end, with the stub kernel: every word of the control channel, time, signals, the console.
stub() { # stub WORD...: runs the stub kernel with these words
    set -- "$@" --
    words=
    while [ "$1" != -- ]; do
        words="$words --append $1"
        shift
    done
    # shellcheck disable=SC2086 # the words are meant to split
    timeout -k 5 60 "$LETHE" run --accel tcg -m 16 --kernel "$STUB" "$PROBE" ${options:-} $words
}
options=
expect ending/exit0 0 '' stub tell=boot-ok tell=exit+0
expect ending/exit7 7 '' stub tell=boot-ok tell=exit+7
expect ending/exit255 255 '' stub tell=boot-ok tell=exit+255
expect ending/signal 139 'killed by signal 11 \(Segmentation fault\)' stub tell=boot-ok tell=signal+11
expect ending/oom 137 'out of memory: probe used it all' stub tell=boot-ok tell=oom+probe+used+it+all tell=signal+9
expect ending/panic 123 'kernel panic: at the disco' stub tell=boot-ok tell=panic+at+the+disco
expect ending/noboot 125 'could not boot: bad image' stub tell=noboot+bad+image
expect ending/silent_before_boot 125 'could not boot' stub
expect ending/silent_after_boot 123 'without a word' stub tell=boot-ok reset
expect ending/first_word_counts 3 '' stub tell=exit+3 tell=panic+late
expect ending/never_powers_off 5 '' stub tell=exit+5 hang
options='--timeout 1'
expect ending/timeout 124 'timeout: the guest ran longer than 1 seconds' stub hang
options='-m 1m'
expect ending/no_memory 125 'memory is too little' stub
options='--qemu-arg=-nonsense'
expect ending/qemu_refuses 125 'nonsense' stub
options=
expect_output ending/console 0 'some text' stub say=some+text tell=exit+0

head -c 20000 /dev/urandom | od -An -tx1 > "$work/in"
timeout 60 "$LETHE" run --accel tcg -m 16 --kernel "$STUB" "$PROBE" --append tell=boot-ok --append echo --append tell=exit+0 \
    < "$work/in" > "$out" 2>"$err"
holds ending/input_and_output cmp "$work/in" "$out"

# The tool stops when asked, and takes QEMU along; even when it is killed outright.
for signal in INT TERM HUP; do
    "$LETHE" run --accel tcg -m 16 --kernel "$STUB" "$PROBE" --append hang --append "tag=$signal-$$" >"$out" 2>"$err" </dev/null &
    tool=$!
    sleep 0.5
    case $signal in INT) number=2 sent=TERM ;; TERM) number=15 sent=TERM ;; HUP) number=1 sent=HUP ;; esac
    [ $signal = INT ] && number=15 # a background shell job ignores INT
    kill -$sent $tool
    wait $tool
    status=$?
    if [ $status -ne $((128 + number)) ]; then fail "ending/$signal: status $status"
    elif [ -n "$(processes "tag=$signal-$$")" ]; then fail "ending/$signal: QEMU lives on"
    else pass; fi
done
"$LETHE" run --accel tcg -m 16 --kernel "$STUB" "$PROBE" --append hang --append "tag=KILL-$$" >"$out" 2>"$err" </dev/null &
tool=$!
sleep 0.5
kill -KILL $tool
wait $tool 2>/dev/null
sleep 0.5
if [ -z "$(processes "tag=KILL-$$")" ] && clean_tmp; then pass; else fail "ending/KILL: something is left"; fi

