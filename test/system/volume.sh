# SPDX-License-Identifier: BSD-2-Clause
# Volumes: the tool's verb and its errors, what is written in one guest and found in the next, a full volume, the conformance tests of
# file calls on a volume, damaged volumes, and power cuts: QEMU is killed at a random moment of a write load. CUTS and DAMAGED say
# how many of the last two (default 10 and 8, of another architecture 4 and 2; the documented campaigns: CUTS=200 DAMAGED=100).
XDG_DATA_HOME=$work/data
export XDG_DATA_HOME
volumes=$XDG_DATA_HOME/lethe/volumes
$compiler -static -O2 -Wall -pthread -o "$work/volume" "$here/volume.c" || fail 'volume/set-up: volume.c does not build'
on() { timeout -k 5 130 "$LETHE" run --accel tcg --timeout 120 "$work/volume" "$@"; }
sound() { e2fsck -fn "$1"; }

expect volume/no-verb 2 'name what to do' "$LETHE" volume
expect volume/bad-verb 2 "the nearest is 'volume create'" "$LETHE" volume creat x 1g
expect volume/bad-name 2 'a name has letters' "$LETHE" volume create ../x 64m
expect volume/bad-size 2 'not a size' "$LETHE" volume create x large
expect volume/too-small 2 '12 MiB to 16 TiB' "$LETHE" volume create x 1m
expect volume/attach 2 'a running guest takes no new volume' "$LETHE" volume attach x y
expect volume/least 0 '' "$LETHE" volume create least 12m
expect volume/least-delete 0 '' "$LETHE" volume delete least
expect volume/usage 2 'lethe volume create NAME SIZE' "$LETHE" volume create x
expect volume/create 0 '' "$LETHE" volume create data 64m
expect volume/twice 2 'there is one of this name' "$LETHE" volume create data 64m
expect volume/delete-none 2 'no such volume' "$LETHE" volume delete other
run "$LETHE" volume list
grep -q '^data .*64 MiB' "$out" && pass || fail "volume/list: $(cat "$out")"
holds volume/made-sound sound "$volumes/data.ext4"
expect volume/mount-none 2 "there is no volume 'other'" "$LETHE" run "$work/volume" --mount other:/data
expect volume/mount-how 2 'write NAME:/PATH' "$LETHE" run "$work/volume" --mount data
expect volume/mount-twice 2 'mounted on /data already' "$LETHE" run "$work/volume" --mount data:/data --mount data:/data
expect volume/mount-not-file 2 'is no image file' "$LETHE" run "$work/volume" --mount ./nowhere.img:/data

# ---- folders of this machine
mkdir -p "$work/folder/sub/empty"
echo 'a line' > "$work/folder/text"
ln -s sub/large "$work/folder/link"
head -c 3000000 /dev/urandom > "$work/folder/sub/large"
touch -d '2001-02-03 04:05:06 UTC' "$work/folder/text"
expect volume/folder-written 2 'a folder is mounted read-only: write .*/folder:/data:ro' "$LETHE" run "$PROBE" --mount "$work/folder:/data"
expect volume/folder-in-image 2 'a folder can be mounted by' "$LETHE" build "$PROBE" --mount "$work/folder:/data:ro" -o "$work/x.img"
run timeout -k 5 60 "$LETHE" run --timeout 50 "$PROBE" --mount "$work/folder:/deep/data:ro" -- cat /deep/data/link
holds volume/folder-read cmp "$work/folder/sub/large" "$out"
expect_output volume/folder-stat 0 '100644 0:0 7' "$LETHE" run --timeout 50 "$PROBE" --mount "$work/folder:/data:ro" -- stat /data/text
if [ "$compiler" = gcc ] && busybox=$(command -v busybox); then
    expect_output volume/folder-read-only 1 "sh: can't create /data/new: Read-only file system" "$LETHE" run --timeout 50 "$busybox" --mount "$work/folder:/data:ro" -- \
        sh -c 'exec 2>&1; echo x > /data/new'
    expect_output volume/folder-time 0 '981173106 a line' "$LETHE" run --timeout 50 "$busybox" --mount "$work/folder:/data:ro" -- \
        sh -c 'echo $(busybox stat -c %Y /data/text) $(busybox cat /data/text)'
fi

# ---- from one guest to the next
expect_output volume/write 0 written on --mount data:/data -- tree /data write
holds volume/written-sound sound "$volumes/data.ext4"
expect_output volume/found 0 found on --smp 2 --mount data:/data -- tree /data check
expect_output volume/found-read-only 0 found on --mount "$volumes/data.ext4:/mnt/deep:ro" -- tree /mnt/deep check
expect_output volume/found-pci 0 found on --machine $pci_machine --mount data:/data -- tree /data check
printf '{"RunConfig": {"Mounts": ["data:/data:ro"]}, "Args": ["tree", "/data", "check"]}' > "$work/volume.json"
expect_output volume/ops-conf 0 found on -c "$work/volume.json"
printf '{"Mounts": {"data": "/data"}, "Args": ["tree", "/data", "check"]}' > "$work/volume.json"
expect_output volume/ops-conf-object 0 found on -c "$work/volume.json"
holds volume/still-sound sound "$volumes/data.ext4"
head -c 20000000 /dev/urandom > "$work/noise.img"
run on --mount "$work/noise.img:/data" -- tree /data check
[ $status -eq 125 ] && grep -q 'no ext4 file system' "$out" "$err" && pass || fail "volume/no-ext4: status $status: $(tail -n 1 "$err")"

# ---- full
expect volume/create-small 0 '' "$LETHE" volume create small 24m
run on --mount small:/data -- fill /data
[ $status -eq 0 ] && grep -q '^full after 1 blocks and 1 files' "$out" && pass || fail "volume/full: status $status: $(tail -n 1 "$out")"
holds volume/full-sound sound "$volumes/small.ext4"

# ---- file calls on a volume, as the guest suite has them on memory
ONLY="$conform@1\$" test/guest/run -n >"$work/conform.log" 2>&1 || fail "volume/conform: $(tail -n 1 "$work/conform.log")"
expect volume/create-conform 0 '' "$LETHE" volume create conform 192m
run timeout -k 5 180 "$LETHE" run --accel tcg --timeout 170 $guest_programs/$conform -e TMPDIR=/data -e ON_VOLUME=1 --mount conform:/data -- \
    direct file path special vectors xattr 'mm_file*' 'mm_advise*'
[ $status -eq 0 ] && pass || fail "volume/conform: status $status: $(grep -m 3 FAIL "$out" | tr '\n' '|')"
holds volume/conform-sound sound "$volumes/conform.ext4"
for bus in nvme scsi ahci; do # a short round behind each of the other controllers
    "$LETHE" volume delete conform
    "$LETHE" volume create conform 96m
    run timeout -k 5 100 "$LETHE" run --accel tcg --timeout 90 --smp 2 --machine $pci_machine --disk-bus $bus $guest_programs/$conform -e TMPDIR=/data \
        -e ON_VOLUME=1 --mount conform:/data -- direct 'file/*write*' 'file/*read*' 'mm_file/*shared*'
    [ $status -eq 0 ] && pass || fail "volume/conform-$bus: status $status: $(grep -m 3 FAIL "$out" | tr '\n' '|')"
    holds volume/conform-$bus-sound sound "$volumes/conform.ext4"
done

# ---- in use
on --mount data:/data -- load /data 1 > "$work/busy" 2>&1 &
tool=$!
for i in $(seq 100); do grep -q ack "$work/busy" && break; sleep 0.2; done
expect volume/in-use 2 'in use by another guest' "$LETHE" run "$work/volume" --mount data:/data -- tree /data check
expect volume/delete-in-use 2 'in use by a running guest' "$LETHE" volume delete data
run "$LETHE" volume list
grep -q '^data .*in use' "$out" && pass || fail "volume/list-in-use: $(cat "$out")"
cut_power "$volumes/data.ext4"
wait "$tool"

# ---- power cuts
released() { flock -n -x "$volumes/crash.ext4" true; }
cut=0 cpus=1
while [ $cut -lt "${CUTS:-$few_cuts}" ]; do
    cut=$((cut + 1)) cpus=$((3 - cpus))
    case $((cut % 5)) in 1) bus=nvme ;; 2) bus=scsi ;; 3) bus=ahci ;; *) bus=virtio ;; esac
    "$LETHE" volume delete crash 2>/dev/null
    "$LETHE" volume create crash 48m
    timeout -k 5 60 "$LETHE" run --accel tcg --smp $cpus --disk-bus $bus --timeout 50 "$work/volume" --mount crash:/data -- load /data $cut > "$work/acks" 2>"$work/err" &
    tool=$!
    for i in $(seq 150); do grep -q ack "$work/acks" && break; sleep 0.1; done
    sleep "$(awk -v s="$cut.$$" 'BEGIN { srand(s * 1000); print 0.1 + rand() * 3 }')"
    cut_power "$volumes/crash.ext4"
    wait "$tool"
    for i in $(seq 50); do released && break; sleep 0.1; done
    acks=$(grep -c ^ack "$work/acks")
    [ "$acks" -gt 0 ] || fail "volume/cut-$cut ($bus): the load wrote nothing: $(tail -n 1 "$work/acks" "$work/err" | tr '\n' '|')"
    cp "$volumes/crash.ext4" "$work/cut.img"
    e2fsck -p "$work/cut.img" >"$work/held" 2>&1
    [ $? -le 1 ] && sound "$work/cut.img" >"$work/held" 2>&1 && pass ||
        fail "volume/cut-$cut: e2fsck after $acks acknowledgements: $(head -n 5 "$work/held" | tr '\n' '|')"
    run on --mount crash:/data -f "$work/acks:/acks" -- verify /data /acks
    [ $status -eq 0 ] && grep -q ^verified "$out" && pass || fail "volume/cut-$cut: status $status: $(tail -n 1 "$out")"
    holds "volume/cut-$cut-sound" sound "$volumes/crash.ext4"
done

# ---- damaged volumes: an error or a volume that is read-only with a word on it, never a crash
n=0
while [ $n -lt "${DAMAGED:-$few_damaged}" ]; do
    n=$((n + 1))
    cp "$volumes/data.ext4" "$work/damaged.img"
    perl -e 'my ($path, $seed) = @ARGV; srand $seed; open my $f, "+<", $path or die; binmode $f;
        for (1 .. 4 + rand 60) { seek $f, int(rand 4) ? int rand 700000 : int rand 60000000, 0; print $f chr int rand 256 }' "$work/damaged.img" $n
    run on --mount "$work/damaged.img:/data" -- tree /data check
    case $status in
    0 | 1 | 125) pass ;;
    *) fail "volume/damaged-$n: status $status: $(tail -n 1 "$err")" ;;
    esac
    run on --mount "$work/damaged.img:/data" -- fill /data
    case $status in
    0 | 1 | 2 | 125) pass ;;
    *) fail "volume/damaged-$n-written: status $status: $(tail -n 1 "$err")" ;;
    esac
done
expect volume/delete 0 '' "$LETHE" volume delete data
expect volume/delete-small 0 '' "$LETHE" volume delete small
rm -rf "$XDG_DATA_HOME" "$work"/*.img
unset XDG_DATA_HOME
