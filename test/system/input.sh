# SPDX-License-Identifier: BSD-2-Clause
# Bad usage and bad programs: one line that says what is wrong, status 2, nothing left, nothing started.
d=$work/input
mkdir -p "$d/directory"
: > "$d/empty"
echo 'just some text, long enough to hold a header: 0123456789012345678901234567890123456789' > "$d/text"
printf '#!/bin/sh\necho hi\n' > "$d/script"
printf '\177ELF' > "$d/magic"
printf '\177ELF\002\001\001' > "$d/short"
head -c 63 "$PROBE" > "$d/header63"
head -c 64 "$PROBE" > "$d/header64"
head -c 200 "$PROBE" > "$d/phdrs"
head -c 5000 "$PROBE" > "$d/half"

# patched NAME OFFSET HEX: a copy of the probe with bytes changed
patched() {
    cp "$PROBE" "$d/$1"
    perl -e 'open F, "+<", $ARGV[0] or die; seek F, $ARGV[1], 0; print F pack "H*", $ARGV[2]; close F' \
        "$d/$1" "$2" "$3"
}
patched class32 4 01
patched class9 4 09
patched big_endian 5 02
patched aarch64 18 b700
patched riscv 18 f300
patched machine 18 3930
patched object 16 0100
patched core 16 0400
patched type 16 ffee
patched phnum0 56 0000
patched phnum_huge 56 ffff
patched phentsize 54 2000
patched phoff 32 ffffffffffffff7f
patched phoff_wrap 32 f0ffffffffffffff
patched entry 24 0000000000000010
patched filesz 96 ffffffffffffff7f
patched offset 72 f0ffffffffffffff
patched memsz_small 104 0100000000000000
patched memsz_wrap 104 ffffffffffffffff
patched vaddr 80 000000000080ffff
patched align 112 0310000000000000

bad() { # bad FILE PATTERN
    expect "input/$1" 2 "$2" "$LETHE" run --kernel "$STUB" "$d/$1"
}
bad missing 'cannot read the program .*missing: No such file'
bad directory 'is a directory'
bad empty 'is an empty file'
bad text 'is not an ELF program'
printf '#!/no/such/interpreter\n' > "$d/script"
bad script 'is a script for /no/such/interpreter, which is missing'
bad magic 'truncated'
bad short 'truncated'
bad header63 'truncated: its ELF header'
bad header64 'truncated: its program headers'
bad phdrs 'truncated'
bad half 'truncated: segment'
bad class32 '32-bit'
bad class9 'ELF class that does not exist'
bad big_endian 'big-endian'
bad riscv 'program for riscv; build it for x86_64'
bad machine 'unknown machine'
bad object 'object file'
bad core 'core dump'
bad type 'ELF type'
bad phnum0 'no program headers'
bad phnum_huge 'damaged: 65535 program headers'
bad phentsize 'damaged'
bad phoff 'truncated'
bad phoff_wrap 'truncated'
bad entry 'entry point'
bad filesz 'truncated: segment 0'
bad offset 'truncated: segment 0|damaged'
bad memsz_small 'damaged: segment 0 is larger in the file'
bad memsz_wrap 'outside the user address space'
bad vaddr 'outside the user address space|not aligned'
bad align 'not aligned'
expect input/fifo 2 'not a regular file' "$LETHE" run --kernel "$STUB" /dev/null

usage() { # usage NAME PATTERN ARGUMENT...
    name=$1 pattern=$2
    shift 2
    expect "usage/$name" 2 "$pattern" "$LETHE" "$@"
}
usage no_verb 'name a verb'
usage verb "unknown verb 'rnu'; the nearest is 'run'" rnu
usage no_program 'no program named' run --kernel "$STUB"
usage two_programs 'one program at a time' run "$PROBE" "$PROBE"
usage option "unknown option '--smpp'; the nearest is '--smp'" run "$PROBE" --smpp 2
usage letter "unknown option '-z'" run "$PROBE" -z
usage no_value "needs a value" run "$PROBE" -m
usage useless_value "takes no value" run "$PROBE" --dry-run=yes
usage memory 'not a size' run "$PROBE" -m lots
usage memory_negative 'not a size' run "$PROBE" -m -5
usage memory_tiny 'between' run "$PROBE" -m 1k
usage memory_huge 'not a size|between' run "$PROBE" -m 99999999999g
usage smp0 'number of processors' run "$PROBE" --smp 0
usage smp_text 'number of processors' run "$PROBE" --smp two
usage timeout 'number of seconds' run "$PROBE" --timeout soon
usage timeout0 'number of seconds' run "$PROBE" --timeout 0
usage accel 'choose auto, kvm or tcg' run "$PROBE" --accel xen
usage machine 'choose microvm, pc or q35' run "$PROBE" --machine vax
usage arch 'choose x86_64 or aarch64' run "$PROBE" --arch vax
usage arch_other 'program for aarch64 and this machine is x86_64' run "$d/aarch64" --arch x86_64
usage arch_machine 'none for x86_64' run "$PROBE" --machine virt
usage arch_machine_arm 'none for aarch64' run "$d/aarch64" --machine q35
usage kernel 'cannot read the kernel' run "$PROBE" --kernel "$d/none"
usage kernel_empty 'not a file with contents' run "$PROBE" --kernel "$d/empty"
usage env 'needs a name' run "$PROBE" -e =x
usage env_unset 'no such variable' run "$PROBE" -e LETHE_SURELY_UNSET
usage file 'cannot pack .*none' run --kernel "$STUB" "$PROBE" -f "$d/none:/x"
usage file_relative "must begin with '/'" run "$PROBE" -f "$d/text:x"
usage file_dotdot "must not contain '..'; name another" run --kernel "$STUB" "$PROBE" -f "../${PWD##*/}/ops.conf"
usage file_escape "must not contain '..'" run "$PROBE" -f "$d/text:/a/../../b"
usage file_device 'neither a file nor a directory' run "$PROBE" -f /dev/null:/null
usage file_reserved '/.lethe is taken' run "$PROBE" -f "$d/text:/.lethe/config"
usage file_below_file 'a part of that path is a file' run "$PROBE" -f "$d/text:/a" -f "$d/text:/a/b"
usage file_and_directory 'twice' run "$PROBE" -f "$d/text:/a" -f "$d/directory:/a"
usage strace 'separated by commas' run "$PROBE" '--strace=read write'
usage port "-p 80x: not a port" run "$PROBE" -p 80x
usage port_zero 'not a port' run "$PROBE" -p 0
usage port_large 'not a port' run "$PROBE" -p 80:65536
usage port_protocol 'tcp or udp' run "$PROBE" -p 80/sctp
usage port_address 'is not an IPv4 address' run "$PROBE" -p 1.2.3:80:80
usage port_without 'needs a network' run "$PROBE" -p 80 --net none
usage port_tap "is for QEMU's user network" run "$PROBE" -p 80 --net tap=tap0
usage port_elsewhere 'no such address' run "$PROBE" --kernel "$STUB" -p 192.0.2.1:8080:80
usage port_twice 'port 28123 of 127.0.0.1 is in use on this host' run "$PROBE" --kernel "$STUB" -p 28123:80 -p 28123:81
usage tap_missing 'there is no such device; make it' run "$PROBE" --kernel "$STUB" --net tap=lethe-none,ip=10.1.2.3/24
usage bridge_missing 'there is no such device' run "$PROBE" --kernel "$STUB" --net bridge=lethe-none
usage net 'choose user, none, tap=NAME or bridge=NAME' run "$PROBE" --net wire
usage net_tap 'choose user, none, tap=NAME or bridge=NAME' run "$PROBE" --net tap=
usage net_setting "unknown setting 'mtu=9'" run "$PROBE" --net user,mtu=9
usage net_address 'not an address' run "$PROBE" --net user,ip=10.0.0
usage net_bits 'network bits' run "$PROBE" --net user,ip=10.0.0.2/33
usage net_first 'begin with user, none' run "$PROBE" --net ip=10.0.0.2
usage no_output 'say where to write' build "$PROBE"
usage output 'cannot make the directory' build --kernel "$STUB" "$PROBE" -o "$d/none/deeper"
chmod 000 "$d/text"
[ "$(id -u)" = 0 ] || usage unreadable 'Permission denied' run --kernel "$STUB" "$PROBE" -f "$d/text:/x"
chmod 644 "$d/text"

expect usage/help 0 '' "$LETHE" help
expect usage/version 0 '' "$LETHE" version
expect usage/dry_run 0 '' "$LETHE" run --kernel "$STUB" --dry-run "$PROBE" -- a 'b c'
holds usage/dry_run_quotes grep -q "^qemu-system-x86_64 .*-append 'control=e9 .*'$" "$out"
expect usage/option_after_program 0 '' "$LETHE" run "$PROBE" --kernel "$STUB" --dry-run
expect usage/no_qemu 125 'qemu-system-x86_64: No such file' /usr/bin/env PATH="$d" "$LETHE" run --kernel "$STUB" "$PROBE"

# A Go program is told how much memory there is, unless somebody has told it already.
go=build/examples/go-hello
run "$LETHE" run -v --kernel "$STUB" --dry-run $go -m 64
holds go/limit grep -q 'a Go program: set GOMEMLIMIT=5[0-9]*KiB' "$err"
run "$LETHE" run -v --kernel "$STUB" --dry-run $go -e GOMEMLIMIT=off
holds go/limit_given sh -c "! grep -q GOMEMLIMIT '$err'"
run "$LETHE" run -v --kernel "$STUB" --dry-run "$PROBE"
holds go/limit_c sh -c "! grep -q GOMEMLIMIT '$err'"
strip -o "$d/go-stripped" $go
run "$LETHE" run -v --kernel "$STUB" --dry-run "$d/go-stripped"
holds go/limit_stripped grep -q 'a Go program: set GOMEMLIMIT' "$err"

# Programs with random damage to their headers are taken or refused, never more.
holds input/fuzz perl "$here/fuzz_elf.pl" 300 "$PROBE" "$d/fuzzed" "$LETHE" run --kernel "$STUB" --dry-run "$d/fuzzed"
