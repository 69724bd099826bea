# SPDX-License-Identifier: BSD-2-Clause
# Images: clean, reproducible, small, whole.
d=$work/image
mkdir -p "$d/tree/deep/er" "$d/many"
head -c 300000 /dev/urandom > "$d/tree/random"
: > "$d/tree/empty"
ln -s random "$d/tree/link"
ln -s "/$(printf '%0200d' 0)" "$d/tree/long_link"
printf 'x' > "$d/tree/deep/er/odd name \"quoted\" '%'"
chmod 4755 "$d/tree/empty"
i=0
while [ $i -lt 700 ]; do
    : > "$d/many/a-file-with-quite-a-long-name-to-fill-directory-blocks-$i"
    i=$((i + 1))
done

build() { "$LETHE" build --kernel "$STUB" "$@" >"$out" 2>"$err"; }
holds image/build build "$PROBE" -o "$d/a.ext4" -f "$d/tree:/tree" -f "$d/many:/many"
# the same tree in another place, made in another order, by another umask and later
mkdir "$d/copy"
(umask 077 && cp -a "$d/tree/." "$d/copy" && rm "$d/copy/link" && ln -s random "$d/copy/link")
find "$d/copy" -exec touch -h -d '2001-01-01' {} +
holds image/rebuild build "$PROBE" -f "$d/many:/many" -f "$d/copy:/tree" -o "$d/b.ext4"
holds image/reproducible cmp "$d/a.ext4" "$d/b.ext4"
holds image/e2fsck e2fsck -fn "$d/a.ext4"
debugfs -R "dump /tree/random $d/random" "$d/a.ext4" 2>/dev/null
holds image/contents cmp "$d/tree/random" "$d/random"
debugfs -R 'stat /tree/empty' "$d/a.ext4" >"$out" 2>&1
holds image/owner_and_mode grep -Eq 'Mode: *04755' "$out"
debugfs -R 'stat /tree/long_link' "$d/a.ext4" >"$out" 2>&1
holds image/long_link grep -q 'Type: symlink' "$out"
holds image/many sh -c "[ \$(debugfs -R 'ls -p /many' '$d/a.ext4' 2>/dev/null | grep -c quite) -eq 700 ]"

# One extent for a file that fits in a block group: the kernel maps it as it lies.
debugfs -R 'stat /tree/random' "$d/a.ext4" >"$out" 2>/dev/null
holds image/contiguous grep -Eq '^\(0-73\):[0-9]+-[0-9]+$' "$out"

# A C hello is small, and no block is left over.
holds image/small build build/examples/c-hello -o "$d/c.ext4"
if [ "$(stat -c %s "$d/c.ext4")" -lt 1000000 ]; then pass; else fail "image/size: $(stat -c %s "$d/c.ext4") bytes"; fi
holds image/no_free_block sh -c "dumpe2fs -h '$d/c.ext4' 2>/dev/null | grep -q '^Free blocks: *0$'"

# Sizes around the end of a block group, and a file over more than one.
for blocks in 32500 32700 32752 32760 32767 65400 70000; do
    truncate -s $((blocks * 4096)) "$d/big"
    build "$PROBE" -f "$d/big:/big" -o "$d/big.ext4"
    holds "image/group_$blocks" e2fsck -fn "$d/big.ext4"
done
rm -f "$d/big" "$d/big.ext4"

# What goes wrong while writing leaves nothing.
expect image/unwritable 2 'cannot write' "$LETHE" build --kernel "$STUB" "$PROBE" -o /proc/lethe.ext4
holds image/no_part sh -c "! ls $d/*.part 2>/dev/null"
