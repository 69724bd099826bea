# SPDX-License-Identifier: BSD-2-Clause
# Dynamic programs: the tool finds what the dynamic linker will want, packs it with its links, and says what is missing.
d=$work/dynamic
mkdir -p "$d/app/bin" "$d/app/lib" "$d/other" "$d/system/opt" "$d/system/lib"
printf 'int deep(void) { return DEEP; }\n' > "$d/deep.c"
printf 'int deep(void); int near(void) { return deep() + 1; }\n' > "$d/near.c"
cat > "$d/main.c" <<'END'
#include <stdio.h>
int near(void);
int main(int argc, char **argv) { printf("%d %s\n", near(), argv[argc - 1]); return argc; }
END

# deep_lib VALUE DIRECTORY: libdeep.so.1.0, the link by which it is loaded and the one by which it is linked
deep_lib() {
    gcc -shared -fPIC -DDEEP="$1" -Wl,-soname,libdeep.so.1 -o "$2/libdeep.so.1.0" "$d/deep.c"
    ln -sf libdeep.so.1.0 "$2/libdeep.so.1" && ln -sf libdeep.so.1 "$2/libdeep.so"
}
deep_lib 40 "$d/app/lib"
deep_lib 70 "$d/other"
near_lib() { gcc -shared -fPIC -Wl,-soname,libnear.so "$@" "$d/near.c" -L"$d/app/lib" -ldeep; }
main() { gcc -o "$@" "$d/main.c" -L"$d/app/lib" -lnear -Wl,-rpath-link,"$d/app/lib"; }
printf 'int deep(void) { return 0; }\n' > "$d/zero.c"
gcc -shared -fPIC -o "$d/zero.so" "$d/zero.c"
near_lib -o "$d/app/lib/libnear.so" -Wl,--enable-new-dtags,-rpath,'$ORIGIN'
main "$d/app/bin/main" -Wl,--enable-new-dtags,-rpath,'$ORIGIN/../lib'

dynamic() { # dynamic NAME STATUS TEXT ARGUMENT...
    name=$1 want=$2 text=$3
    shift 3
    expect_output "dynamic/$name" "$want" "$text" "$LETHE" run --timeout 60 "$@"
}
missing() { # missing NAME PATTERN ARGUMENT...
    name=$1 pattern=$2
    shift 2
    expect "dynamic/$name" 2 "$pattern" "$work/lethe" run --kernel "$STUB" "$@"
}

dynamic runpath 2 '41 word' "$d/app/bin/main" -- word
dynamic library_path 2 '71 word' "$d/app/bin/main" -e LD_LIBRARY_PATH="$d/other" -- word
main "$d/app/bin/old" -Wl,--disable-new-dtags,-rpath,"$d/app/lib"
near_lib -o "$d/app/lib/libnear.so"
dynamic rpath_goes_down 1 "41 $d/app/bin/old" "$d/app/bin/old"
missing runpath_does_not 'libnear.so needs the library libdeep.so.1, which is not here' "$d/app/bin/main"
ln -s ../app/bin "$d/other/link"
dynamic program_by_a_link 1 "41 $d/other/link/old" "$d/other/link/old"

# A name is looked up once: what the program's own RUNPATH found serves its libraries too. Circles end.
main "$d/app/bin/both" -ldeep -Wl,--enable-new-dtags,-rpath,'$ORIGIN/../lib' -Wl,--no-as-needed -ldeep
dynamic name_is_looked_up_once 1 "41 $d/app/bin/both" "$d/app/bin/both"
gcc -shared -fPIC -DDEEP=40 -Wl,-soname,libdeep.so.1 -Wl,--no-as-needed -o "$d/other/libdeep.so.1.0" "$d/deep.c" -L"$d/app/lib" -lnear \
    -Wl,-rpath-link,"$d/app/lib"
dynamic circle 2 '41 here' -e LD_LIBRARY_PATH="$d/other:$d/app/lib" "$d/app/bin/main" -- here

# What -f packs counts, under the path where it is packed.
dynamic packed_library 2 '41 word' -f "$d/app/lib:/opt/own" -e LD_LIBRARY_PATH=/opt/own "$d/app/bin/main" -- word
dynamic preload 2 '1 word' -e LD_LIBRARY_PATH="$d/app/lib" -e LD_PRELOAD="$d/zero.so" "$d/app/bin/main" -- word
dynamic dots 2 '41 word' "$d/other/../app/bin/both" -- word

# Another system's root: its interpreter, its libraries, nothing of this one.
loader=$(readelf -l "$d/app/bin/main" | sed -n 's/.*interpreter: \(.*\)]/\1/p')
missing interpreter_below_sysroot "interpreter $loader is missing below the --sysroot" --sysroot "$d/system" "$d/app/bin/old"
missing sysroot 'no such directory' --sysroot "$d/none" "$d/app/bin/old"
mkdir -p "$d/system/${loader%/*}" "$d/system/etc/more"
cp "$loader" "$d/system$loader"
echo 'include more/*.conf' > "$d/system/etc/ld.so.conf"
echo '/opt # the libraries' > "$d/system/etc/more/one.conf"
cp "$(gcc -print-file-name=libc.so.6)" "$d/app/lib/libnear.so" "$d/system/opt"
deep_lib 10 "$d/system/opt"
cp "$d/app/bin/main" "$d/system/program"
missing no_cache "libnear.so, which is not here; .* or make its /etc/ld.so.cache: ldconfig -r $d/system" \
    --sysroot "$d/system" "$d/system/program"
ldconfig -r "$d/system"
dynamic sysroot 1 '11 /program' --sysroot "$d/system" "$d/system/program"
ldconfig -c compat -r "$d/system" 2>"$work/ldconfig.log"
dynamic older_cache 1 '11 /program' --sysroot "$d/system" "$d/system/program"
holds dynamic/damaged_cache env FUZZ_AT=0,"$(wc -c < "$d/system/etc/ld.so.cache")" perl "$here/fuzz_elf.pl" 60 "$d/system/etc/ld.so.cache" \
    "$d/system/etc/ld.so.cache" "$work/lethe" run --dry-run --kernel "$STUB" --sysroot "$d/system" "$d/system/program"

# musl has another search and is its own C library.
musl-gcc -o "$d/musl" -x c - <<'END'
#include <stdio.h>
int main(void) { return puts("hello from musl") < 0; }
END
dynamic musl 0 'hello from musl' "$d/musl"

# Damaged and unfit files.
section=$(readelf -SW "$d/app/lib/libdeep.so.1.0" | sed -n 's/.* \.dynamic *DYNAMIC *[0-9a-f]* \([0-9a-f]*\) .*/\1/p')
cp "$d/app/lib/libdeep.so.1.0" "$d/deep.keep"
holds dynamic/damaged_dynamic env FUZZ_AT=$((0x$section)),256 perl "$here/fuzz_elf.pl" 150 "$d/deep.keep" "$d/app/lib/libdeep.so.1.0" \
    "$work/lethe" run --dry-run --kernel "$STUB" "$d/app/bin/old"
cp "$d/deep.keep" "$d/app/lib/libdeep.so.1.0"
head -c 100 "$d/app/lib/libdeep.so.1.0" > "$d/app/lib/short" && mv "$d/app/lib/short" "$d/app/lib/libdeep.so.1.0"
missing damaged_library 'is truncated' "$d/app/bin/old"
printf 'not a library' > "$d/app/lib/libdeep.so.1.0"
missing unfit_library 'needs the library libdeep.so.1' "$d/app/bin/old"
perl -pe 's,\Q'"$loader"'\E,"/none" . "x" x (length($&) - 5),e' "$d/app/bin/old" > "$d/no_loader"
missing no_interpreter 'is dynamically linked and its interpreter /nonex* is missing' "$d/no_loader"
ln -s loop "$d/other/loop"
missing endless_link 'Too many levels|cannot read' "$d/other/loop"

# Programs of the distribution.
dynamic perl 3 'perl 4 words' "$(command -v perl)" -- -e 'print "perl ", scalar(@ARGV) + 1, " words\n"; exit 3' a b c
dynamic shell 0 'hi from sh' /bin/sh -- -c 'echo hi from sh'
