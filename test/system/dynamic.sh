# SPDX-License-Identifier: BSD-2-Clause
# Dynamic programs: the tool finds what the dynamic linker will want, packs it with its links, and says what is missing.
# Of another architecture they lie, with its C library, in a tree of their own, whose paths are those that the guest sees.
d=$work/dynamic root='' kernel=$STUB
[ "$compiler" = gcc ] || root=$work/dynamic_root kernel=$PWD/build/$ARCH/lethe-kernel-full
sysroot=${root:+--sysroot $root}
p=$root$d # what the guest sees as $d
mkdir -p "$p/app/bin" "$p/app/lib" "$p/other" "$p/system/opt" "$p/system/lib"
printf 'int deep(void) { return DEEP; }\n' > "$p/deep.c"
printf 'int deep(void); int near(void) { return deep() + 1; }\n' > "$p/near.c"
cat > "$p/main.c" <<'END'
#include <stdio.h>
int near(void);
int main(int argc, char **argv) { printf("%d %s\n", near(), argv[argc - 1]); return argc; }
END

# deep_lib VALUE DIRECTORY: libdeep.so.1.0, the link by which it is loaded and the one by which it is linked
deep_lib() {
    $compiler -shared -fPIC -DDEEP="$1" -Wl,-soname,libdeep.so.1 -o "$2/libdeep.so.1.0" "$p/deep.c"
    ln -sf libdeep.so.1.0 "$2/libdeep.so.1" && ln -sf libdeep.so.1 "$2/libdeep.so"
}
deep_lib 40 "$p/app/lib"
deep_lib 70 "$p/other"
near_lib() { $compiler -shared -fPIC -Wl,-soname,libnear.so "$@" "$p/near.c" -L"$p/app/lib" -ldeep; }
main() { $compiler -o "$@" "$p/main.c" -L"$p/app/lib" -lnear -Wl,-rpath-link,"$p/app/lib"; }
printf 'int deep(void) { return 0; }\n' > "$p/zero.c"
$compiler -shared -fPIC -o "$p/zero.so" "$p/zero.c"
near_lib -o "$p/app/lib/libnear.so" -Wl,--enable-new-dtags,-rpath,'$ORIGIN'
main "$p/app/bin/main" -Wl,--enable-new-dtags,-rpath,'$ORIGIN/../lib'
loader=$(readelf -l "$p/app/bin/main" | sed -n 's/.*interpreter: \(.*\)]/\1/p')
libc=$($compiler -print-file-name=libc.so.6)
loader_file=$($compiler -print-file-name="${loader##*/}")
[ -z "$root" ] || { mkdir -p "$root/lib" && cp "$loader_file" "$libc" "$root/lib"; }

dynamic() { # dynamic NAME STATUS TEXT ARGUMENT...
    name=$1 want=$2 text=$3
    shift 3
    expect_output "dynamic/$name" "$want" "$text" "$LETHE" run --timeout 60 $sysroot "$@"
}
missing() { # missing NAME PATTERN ARGUMENT...
    name=$1 pattern=$2
    shift 2
    expect "dynamic/$name" 2 "$pattern" "$work/lethe" run --kernel "$kernel" $sysroot "$@"
}

dynamic runpath 2 '41 word' "$p/app/bin/main" -- word
dynamic library_path 2 '71 word' "$p/app/bin/main" -e LD_LIBRARY_PATH="$d/other" -- word
main "$p/app/bin/old" -Wl,--disable-new-dtags,-rpath,"$d/app/lib"
near_lib -o "$p/app/lib/libnear.so"
dynamic rpath_goes_down 1 "41 $d/app/bin/old" "$p/app/bin/old"
missing runpath_does_not 'libnear.so needs the library libdeep.so.1, which is not here' "$p/app/bin/main"
ln -s ../app/bin "$p/other/link"
dynamic program_by_a_link 1 "41 $d/other/link/old" "$p/other/link/old"

# A name is looked up once: what the program's own RUNPATH found serves its libraries too. Circles end.
main "$p/app/bin/both" -ldeep -Wl,--enable-new-dtags,-rpath,'$ORIGIN/../lib' -Wl,--no-as-needed -ldeep
dynamic name_is_looked_up_once 1 "41 $d/app/bin/both" "$p/app/bin/both"
$compiler -shared -fPIC -DDEEP=40 -Wl,-soname,libdeep.so.1 -Wl,--no-as-needed -o "$p/other/libdeep.so.1.0" "$p/deep.c" -L"$p/app/lib" -lnear \
    -Wl,-rpath-link,"$p/app/lib"
dynamic circle 2 '41 here' -e LD_LIBRARY_PATH="$d/other:$d/app/lib" "$p/app/bin/main" -- here

# What -f packs counts, under the path where it is packed.
dynamic packed_library 2 '41 word' -f "$p/app/lib:/opt/own" -e LD_LIBRARY_PATH=/opt/own "$p/app/bin/main" -- word
dynamic preload 2 '1 word' -e LD_LIBRARY_PATH="$d/app/lib" -e LD_PRELOAD="$d/zero.so" "$p/app/bin/main" -- word
dynamic dots 2 '41 word' "$p/other/../app/bin/both" -- word

# Another system's root: its interpreter, its libraries, nothing of this one.
sysroot=
missing interpreter_below_sysroot "interpreter $loader is missing below the --sysroot" --sysroot "$p/system" "$p/app/bin/old"
missing sysroot 'no such directory' --sysroot "$p/none" "$p/app/bin/old"
mkdir -p "$p/system/${loader%/*}" "$p/system/etc/more"
cp "$loader_file" "$p/system$loader"
echo 'include more/*.conf' > "$p/system/etc/ld.so.conf"
echo '/opt # the libraries' > "$p/system/etc/more/one.conf"
cp "$libc" "$p/app/lib/libnear.so" "$p/system/opt"
deep_lib 10 "$p/system/opt"
cp "$p/app/bin/main" "$p/system/program"
missing no_cache "libnear.so, which is not here; .* or make its /etc/ld.so.cache: ldconfig -r $p/system" \
    --sysroot "$p/system" "$p/system/program"
if [ -z "$root" ]; then # ldconfig knows the libraries of its own architecture
    ldconfig -r "$p/system"
    dynamic sysroot 1 '11 /program' --sysroot "$p/system" "$p/system/program"
    ldconfig -c compat -r "$p/system" 2>"$work/ldconfig.log"
    dynamic older_cache 1 '11 /program' --sysroot "$p/system" "$p/system/program"
    holds dynamic/damaged_cache env FUZZ_AT=0,"$(wc -c < "$p/system/etc/ld.so.cache")" perl "$here/fuzz_elf.pl" 60 "$p/system/etc/ld.so.cache" \
        "$p/system/etc/ld.so.cache" "$work/lethe" run --dry-run --kernel "$kernel" --sysroot "$p/system" "$p/system/program"

    # musl has another search and is its own C library.
    musl-gcc -o "$p/musl" -x c - <<'END'
#include <stdio.h>
int main(void) { return puts("hello from musl") < 0; }
END
    dynamic musl 0 'hello from musl' "$p/musl"
fi
sysroot=${root:+--sysroot $root}

# Damaged and unfit files.
cp "$p/app/lib/libdeep.so.1.0" "$p/deep.keep"
if [ -z "$root" ]; then
    section=$(readelf -SW "$p/app/lib/libdeep.so.1.0" | sed -n 's/.* \.dynamic *DYNAMIC *[0-9a-f]* \([0-9a-f]*\) .*/\1/p')
    holds dynamic/damaged_dynamic env FUZZ_AT=$((0x$section)),256 perl "$here/fuzz_elf.pl" 150 "$p/deep.keep" "$p/app/lib/libdeep.so.1.0" \
        "$work/lethe" run --dry-run --kernel "$kernel" "$p/app/bin/old"
    cp "$p/deep.keep" "$p/app/lib/libdeep.so.1.0"
fi
head -c 100 "$p/app/lib/libdeep.so.1.0" > "$p/app/lib/short" && mv "$p/app/lib/short" "$p/app/lib/libdeep.so.1.0"
missing damaged_library 'is truncated' "$p/app/bin/old"
printf 'not a library' > "$p/app/lib/libdeep.so.1.0"
missing unfit_library 'needs the library libdeep.so.1' "$p/app/bin/old"
perl -pe 's,\Q'"$loader"'\E,"/none" . "x" x (length($&) - 5),e' "$p/app/bin/old" > "$p/no_loader"
missing no_interpreter 'is dynamically linked and its interpreter /nonex* is missing' "$p/no_loader"
ln -s loop "$p/other/loop"
missing endless_link 'Too many levels|cannot read' "$p/other/loop"

# Programs of the distribution (of another architecture: test/programs).
[ -z "$root" ] || return 0
dynamic perl 3 'perl 4 words' "$(command -v perl)" -- -e 'print "perl ", scalar(@ARGV) + 1, " words\n"; exit 3' a b c
dynamic shell 0 'hi from sh' /bin/sh -- -c 'echo hi from sh'
