# SPDX-License-Identifier: BSD-2-Clause
# Interactive programs: `lethe run -it` on a terminal of the test's own (pty.c). Each script is played with the program
# on this host's Linux first, if it runs there.
gcc -O2 -Wall -D_GNU_SOURCE -o "$work/pty" "$here/pty.c" -lutil || fail 'terminal/set-up: pty.c does not build'
$compiler -static -O2 -Wall -D_GNU_SOURCE -o "$work/terminal_probe" "$here/terminal_probe.c" || fail 'terminal/set-up: the probe does not build'
TERM=xterm
export TERM
# played NAME PROGRAM [ARGUMENT...]: the script is on standard input
played() {
    name=$1
    shift
    cat > "$work/script"
    [ "$ARCH" != "$(uname -m)" ] || holds "terminal/host-$name" timeout -k 5 90 "$work/pty" "$work/script" "$@"
    program=$1
    shift
    holds "terminal/$name" timeout -k 5 90 "$work/pty" "$work/script" "$LETHE" run --timeout 40 -it "$program" -- "$@"
}
# ends NAME: the script alone says how the guest ends; it runs `keys`, in raw mode
ends() {
    name=$1
    shift
    cat > "$work/script"
    holds "terminal/$name" timeout -k 5 90 "$work/pty" "$work/script" "$LETHE" run "$@" -it "$work/terminal_probe" -- keys
}

expect terminal/none 2 'standard input and output must be a terminal' "$LETHE" run -it "$PROBE"
expect terminal/build 2 '-t is for' "$LETHE" build --tty "$PROBE" -o "$work/x.img"

played size "$work/terminal_probe" size <<'END'
expect term xterm\r\n
expect start 33x77\r\n
size 50 132
expect now 50x132\r\n
size 255 511
expect now 255x511\r\n
size 1 65535
expect now 1x65535\r\n
send \n
expect bye\r\n
status 3
END
played keys "$work/terminal_probe" keys <<'END'
expect onlcr 1 icanon 1 echo 1 isig 1\r\n
expect raw\nmode\n
raw
send \x03\x1c\x1a\x04\x11\x13\r\n\x7f\x00
expect <03><1c><1a><04><11><13><0d><0a><7f><00>
send \xff\xff\x00\xfe\xff
expect <ff><ff><00><fe><ff>
send \xc3\xa9\e[A\x1d
expect <c3><a9><1b><5b><41><1d>
send q
expect <71>cooked\r\n
status 3
END
played line "$work/terminal_probe" line <<'END'
expect ready\r\n
send one two\x7f\x7f\x7fthree\r
expect one two\x08 \x08\x08 \x08\x08 \x08three\r\n
expect line of 10: one three\r\n
send to be killed\x15kept\n
expect kept\r\n
expect line of 5: kept\r\n
send two words\x17things\n
expect line of 11: two things\r\n
send \xc3\xa9\x7f\x16\x03\n
expect line of 2: \x03\r\n
send unfinished\x03
expect ^C
expect signal 2\r\n
send \x1c
expect signal 3\r\n
send half\x04
expect line of 4: half
send \x04
expect end of input\r\n
status 3
END
played jobs "$work/terminal_probe" jobs <<'END'
expect foreground: 1\r\n
expect background read: stopped by TTIN\r\n
send \n
expect foreground read: exit 10\r\n
expect deaf read: exit 5\r\n
expect background set: stopped by TTOU\r\n
expect then: killed by KILL\r\n
expect deaf set: exit 0\r\n
expect job writes\r\n
expect background write: exit 0\r\n
expect background write, tostop: stopped by TTOU\r\n
expect job writes\r\n
expect then: exit 0\r\n
expect type\r\n
send \x1a
expect ^Z
expect ^Z: stopped by TSTP\r\n
expect again\r\n
send \x03
expect ^C
expect ^C: killed by INT\r\n
expect group of another session: EPERM\r\n
expect group that is not there: ESRCH\r\n
expect no group: EINVAL\r\n
expect session: 0\r\n
status 3
END

# ---- however it ends, the terminal is as it was (pty.c looks)
for signal in 1 2 3 15; do
    ends signal-$signal <<END
expect raw\nmode\n
raw
signal $signal
status $((128 + signal))
cooked
END
done
ends killed <<'END'
expect raw\nmode\n
raw
signal 9
status 137
cooked
END
ends crash <<'END'
expect raw\nmode\n
raw
crash
expect lethe: the guest ended without a word
status 123
END
ends timeout --timeout 3 <<'END'
expect raw\nmode\n
raw
expect lethe: timeout
status 124
END
ends asked <<'END'
expect raw\nmode\n
send \x03\x03\x1d\x1d
expect <03><03><1d><1d>
sleep 1200
send \x1d\x1d\x1d
status 130
END
# Paused by a shell's user, who may change the terminal meanwhile.
ends paused <<'END'
expect raw\nmode\n
raw
signal 20
stopped
cooked
size 20 30
signal 18
raw
send q
expect <71>
expect cooked\r\n
status 3
END
printf '%s\n' 'expect bye\r\n' 'expect write(1, ' 'expect ) = 4 <' 'expect >\r\n' 'status 3' > "$work/script"
holds terminal/kernel-messages timeout -k 5 90 "$work/pty" "$work/script" "$LETHE" run --timeout 60 --strace=write -it "$work/terminal_probe"
