# SPDX-License-Identifier: BSD-2-Clause
# Scripts, and whole root trees from directories and archives.
d=$work/rootfs kernel=$STUB
[ "$compiler" = gcc ] || kernel=$PWD/build/$ARCH/lethe-kernel-full
mkdir -p "$d"

guest() { # guest NAME STATUS TEXT ARGUMENT...
    name=$1 want=$2 text=$3
    shift 3
    expect_output "rootfs/$name" "$want" "$text" "$LETHE" run --timeout 60 "$@"
}
refused() { # refused NAME PATTERN ARGUMENT...
    name=$1 pattern=$2
    shift 2
    expect "rootfs/$name" 2 "$pattern" "$work/lethe" build -o "$d/refused.ext4" --kernel "$kernel" "$@"
    [ ! -e "$d/refused.ext4" ] || fail "rootfs/$name: left an image"
}
script() { # script NAME FIRST_LINE TEXT
    printf '%s\n%s\n' "$2" "$3" > "$d/$1"
    chmod 755 "$d/$1"
}

if [ "$compiler" = gcc ]; then
    # Scripts: the interpreter comes along, by env(1) too, and a script for a script.
    script plain '#!/bin/sh' 'echo "$0 $* in $PWD"; exit 7'
    guest script 7 "$d/plain a b in /" "$d/plain" -- a b
    script perl '#!/usr/bin/env perl' 'print "perl @ARGV\n";'
    guest env 0 'perl x' "$d/perl" -- x
    script split '#!/usr/bin/env -S perl -w' 'print "$^W @ARGV\n";'
    guest env_split 0 '1 x' "$d/split" -- x
    script second "#! $d/plain  one argument " ''
    guest script_for_script 7 "$d/plain one argument $d/second last in /" "$d/second" -- last
    script missing '#!/none/at/all' ''
    refused missing_interpreter 'missing is a script for /none/at/all, which is missing here' "$d/missing"
    script missing_env '#!/usr/bin/env no-such-program' ''
    refused missing_env 'is a script for no-such-program, which is missing here' "$d/missing_env"
    script empty '#!  ' ''
    refused no_interpreter 'names no interpreter' "$d/empty"
    script circle "#!$d/circle" ''
    refused circle 'scripts for scripts' "$d/circle"
fi

# A root tree: a dynamic program and its interpreter, links absolute and relative, two names of one file.
long=$(printf '%080d' 0)
tree=$d/tree
mkdir -p "$tree/usr/bin" "$tree/usr/lib" "$tree/data/$long/$long" "$tree/tmp"
printf '%s\n' '#include <stdio.h>' '#include <sys/stat.h>' \
    'int main(int c, char **v) { struct stat s; for (int i = 1; i < c; i++) if (stat(v[i], &s)) printf("none "); else' \
    'printf("%o:%ld:%lld:%d ", s.st_mode, (long)s.st_nlink, (long long)s.st_size, (int)s.st_uid); puts(v[0]); return 4; }' > "$d/main.c"
$compiler -o "$tree/usr/bin/main" "$d/main.c"
loader=$(readelf -l "$tree/usr/bin/main" | sed -n 's/.*interpreter: \(.*\)]/\1/p')
ln -s usr/lib "$tree/lib" && ln -s /usr/lib "$tree/lib64" && ln -s usr/bin "$tree/bin"
cp "$($compiler -print-file-name="${loader##*/}")" "$($compiler -print-file-name=libc.so.6)" "$tree/usr/lib"
echo hello > "$tree/data/$long/$long/file"
ln "$tree/data/$long/$long/file" "$tree/data/second"
chmod 600 "$tree/data/second"
printf '#!/bin/main\n' > "$tree/usr/bin/script" && chmod 755 "$tree/usr/bin/script"
mkfifo "$tree/data/fifo"
inside="/data/second /data/$long/$long/file /data/fifo /lib64/libc.so.6 /data/none"
libc=$(stat -c %s "$tree/usr/lib/libc.so.6")
libc_mode=$(printf '%o' "0x$(stat -c %f "$tree/usr/lib/libc.so.6")")

shape() { echo "100600:2:6:$1 100600:2:6:$1 none $libc_mode:1:$libc:$1 none main"; }
# The program is found along PATH; argv[0] is its path.
guest directory 4 "$(shape 0 | sed 's,main$,/usr/bin/main,')" --rootfs "$tree" main -- $inside
guest script_inside 4 '100755:1:12:0 /bin/main' --rootfs "$tree" /bin/script
# (a ustar header has no room for a link to a name of more than 100 bytes: there the short name comes first)
for format in ustar pax gnu; do
    (cd "$tree" && tar --format=$format --owner=77 --group=78 -cf "$d/$format.tar" data/second .)
    guest "$format" 4 "$(shape 77 | sed 's,main$,/bin/main,')" --rootfs "$d/$format.tar" /bin/main -- $inside
done
rm "$tree/data/fifo"
for packer in gzip xz; do
    "$packer" -c "$d/pax.tar" > "$d/packed"
    guest "$packer" 4 '100600:2:6:77 /bin/main' --rootfs "$d/packed" /bin/main -- /data/second
done
guest file_over_tree 4 '100600:1:6:0 /bin/main' -f "$d/main.c:/x" --rootfs "$d/gnu.tar" -f "$tree/data/second:/lib64/new" /bin/main -- /lib64/new
holds rootfs/image "$LETHE" build --rootfs "$d/gnu.tar" /bin/main -o "$d/whole.ext4"
holds rootfs/e2fsck e2fsck -fn "$d/whole.ext4"

# What is wrong with a tree or an archive is said.
refused not_there 'is not in the root tree' --rootfs "$tree" /bin/other
refused not_along_path 'other is not in the root tree' --rootfs "$tree" other
refused no_tree 'No such file' --rootfs "$d/none" /bin/main
refused two_trees 'one root tree at a time' --rootfs "$tree" --rootfs "$tree" /bin/main
refused no_archive 'neither a directory nor a tar archive' --rootfs "$d/main.c" /bin/main
head -c 30000 "$d/gnu.tar" > "$d/short.tar"
refused truncated 'short.tar is truncated' --rootfs "$d/short.tar" /bin/main
head -c 3000 "$d/packed" > "$d/short.xz"
refused truncated_xz 'cannot decompress .*xz failed' --rootfs "$d/short.xz" /bin/main
head -c 10240 /dev/zero > "$d/empty.tar"
refused empty 'is an empty archive' --rootfs "$d/empty.tar" /bin/main
(cd "$tree" && tar -cPf "$d/up.tar" --transform 's,^data/second,usr/../../../tmp/lethe-was-here,' data/second)
refused leads_out 'leads out of the tree' --rootfs "$d/up.tar" /bin/main
holds rootfs/nothing_outside test ! -e /tmp/lethe-was-here
ln -s loop "$d/loop" && (cd "$d" && tar -cf "$d/loop.tar" loop && tar -rPf "$d/loop.tar" --transform 's,^main.c,loop/file,' main.c)
refused endless_link 'too many links' --rootfs "$d/loop.tar" /bin/main
truncate -s 1M "$d/holes" && echo x >> "$d/holes" && (cd "$d" && tar -cSf "$d/sparse.tar" holes)
refused sparse 'sparse' --rootfs "$d/sparse.tar" /bin/main
mkdir -p "$d/saved/blobs" && echo '[]' > "$d/saved/manifest.json" && (cd "$d/saved" && tar -cf "$d/saved.tar" .)
refused saved_image 'docker export' --rootfs "$d/saved.tar" /bin/main

# Damage to headers, ordinary and extended: a message or an image, never more.
long=$(printf '%0120d' 0)
mkdir -p "$d/small/$long/$long" && ln -s "$long/$long/probe" "$d/small/init" && cp "$PROBE" "$d/small/$long/$long/probe"
for format in pax gnu; do
    (cd "$d/small" && tar --format=$format -cf "$d/small.tar" .)
    holds "rootfs/damaged_$format" env FUZZ_AT=0,8192 perl "$here/fuzz_elf.pl" 100 "$d/small.tar" "$d/damaged.tar" \
        "$work/lethe" build --kernel "$kernel" --rootfs "$d/damaged.tar" /init -o "$d/damaged.ext4"
done
