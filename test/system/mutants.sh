# SPDX-License-Identifier: BSD-2-Clause
# Boots programs with damaged headers past the tool's own checks. Each ends as Linux would end it: it runs, it is
# killed by a signal, or it cannot start and one line says why. The kernel lives on: no panic, no hang.
d=$work/mutants
fuzz=build/host/test/fuzz_exec # test/host/exec builds it and the program to damage
[ -x $fuzz ] || test/host/exec/run || fail mutants/build
mkdir -p "$d"
$fuzz -w "$d" "${MUTANTS:-200}" build/host/test/nop || fail mutants/write
ran=0 killed=0 refused=0
for mutant in "$d"/*; do
    run "$LETHE" run --unchecked -m 64 --timeout 60 "$mutant"
    lines=$(wc -l < "$err")
    case $status in
    0 | 127) # 127 with a line of its own: the start-up code of the C library gives up
        lines=$((lines + 1)) ran=$((ran + 1)) ;;
    125)
        { grep -q 'could not boot: /mutant' "$err" && [ ! -s "$out" ]; } || lines=none
        refused=$((refused + 1)) ;;
    132 | 133 | 134 | 135 | 136 | 137 | 139 | 159) killed=$((killed + 1)) ;;
    *) lines=none ;;
    esac
    if [ "$lines" = 1 ]; then
        pass
        rm "$mutant"
    else
        fail "mutants/${mutant##*/}: status $status: $(cat "$err" "$out" | head -n 2 | tr '\n' '|')"
    fi
done
if [ $ran -gt 0 ] && [ $killed -gt 0 ] && [ $refused -gt 0 ]; then pass; else
    fail "mutants/kinds: $ran ran, $killed killed, $refused refused"
fi
