# SPDX-License-Identifier: BSD-2-Clause
# Real boots: the tool, the kernel and a program together.
lethe() { timeout -k 5 100 "$LETHE" run --timeout 60 "$@"; }
d=$work/guest
mkdir -p "$d/tree/sub"
echo 'a line of text' > "$d/tree/file"
head -c 2000000 /dev/urandom > "$d/tree/sub/large"
ln -s sub/large "$d/tree/link"

expect_output guest/hello 0 'Hello, world, from Linux on '$ARCH lethe $examples/c-hello
for n in 0 1 3 127 255; do expect "guest/exit_$n" $n '' lethe "$PROBE" -- exit $n; done
for n in 6 9 11 15; do
    expect "guest/signal_$n" $((128 + n)) "killed by signal $n " lethe "$PROBE" -- signal $n
done
expect guest/timeout 124 'timeout: the guest ran longer than 2 seconds' timeout 60 "$LETHE" run --timeout 2 "$PROBE" -- spin
expect guest/out_of_memory 137 'out of memory' lethe -m 32 "$PROBE" -- eat
# Around the least memory there is: it runs, or one line says that memory is short.
for kib in $around_least; do
    run lethe -m ${kib}k $examples/c-hello
    case $status in
    0) pass ;;
    125 | 137) holds guest/memory_${kib}k sh -c "[ \$(wc -l < '$err') = 1 ] && grep -Eq 'memory|Not enough space for DTB' '$err'" ;;
    *) fail "guest/memory_${kib}k: status $status: $(head -n 1 "$err")" ;;
    esac
done
run lethe $examples/c-reuse
holds guest/reuse_example sh -c "[ $status = 0 ] && grep -q 'zeroed, 0 page faults' '$out'"
expect guest/too_little_memory 125 'could not boot' lethe -m 2 "$PROBE"

expect_output guest/args 0 "</probe>
<args>
<>
<two\\x20words>
<\\x01\\x7f\\xff>
<100%25>
<a=b;c'd\"e>" lethe "$PROBE" -- args '' 'two words' "$(printf '\001\177\377')" '100%25' "a=b;c'd\"e"
expect_output guest/env 0 "<A=1\\x0a2>
<EMPTY=>
<HOME=/home>
<PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin>" \
    lethe "$PROBE" -e "A=1
2" -e EMPTY= -e HOME=/home -- env
expect_output guest/cwd 0 /tree/sub lethe "$PROBE" -f "$d/tree:/tree" -w /tree/sub -- cwd
expect_output guest/file 0 'a line of text' lethe "$PROBE" -f "$d/tree:/tree" -- cat /tree/file
expect_output guest/stat 0 '100644 0:0 15' lethe "$PROBE" -f "$d/tree:/tree" -- stat /tree/file
run lethe "$PROBE" -f "$d/tree:/tree" -- cat /tree/link
holds guest/large_file cmp "$d/tree/sub/large" "$out"
expect_output guest/missing_file 1 '/nothing: No such file or directory' lethe "$PROBE" -- cat /nothing

for machine in $machines; do
    expect_output "guest/$machine" 0 'Hello, world, from Linux on '$ARCH lethe --machine $machine $examples/c-hello
    expect "guest/${machine}_go_hello" 3 '' lethe --machine $machine --smp 2 $examples/go-hello -- 3
    holds "guest/${machine}_go_hello_says" grep -q 'processors: 2,' "$out"
done
for n in 1 2 4; do expect_output "guest/smp_$n" 0 $n lethe --smp $n "$PROBE" -- cpus; done
for memory in 16 64 1024 5g; do
    expect_output "guest/memory_$memory" 0 'Hello, world, from Linux on '$ARCH lethe -m $memory $examples/c-hello
done
printf 'one line\nand another' > "$work/in"
timeout -k 5 60 "$LETHE" run --timeout 30 "$PROBE" -- input < "$work/in" > "$out" 2>"$err"
holds guest/input cmp "$work/in" "$out"

run "$LETHE" build -o "$d/built" "$PROBE" -- exit 0
timeout 60 sh -c "$(tail -n 1 "$out")" </dev/null >"$work/built.out" 2>"$err"
if [ $? -eq $built_status ]; then pass; else fail "guest/build: the printed command does not end as the kernel ends machines"; fi

for n in 1 2 4; do
    expect "guest/go_hello_$n" 3 '' lethe --smp $n $examples/go-hello -- 3
    holds "guest/go_hello_says_$n" grep -q "processors: $n," "$out"
done
[ ! -x "$examples/rust-hello" ] || {
    expect guest/rust_hello 0 '' lethe $examples/rust-hello
    holds guest/rust_hello_says grep -q '("river", 2)' "$out"
}
holds guest/ops_conf lethe -c ops.conf $examples/go-hello
expect guest/unknown_word 0 '' lethe "$PROBE" --append utterly-unknown
run lethe --strace $examples/c-hello
if [ "$status" -eq 0 ] && cat "$out" "$err" | grep -q 'write(1, .*Hello'; then pass; else fail guest/strace; fi
expect_output guest/quiet 0 probe lethe "$PROBE"
