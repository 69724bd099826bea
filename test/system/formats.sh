# SPDX-License-Identifier: BSD-2-Clause
# Formats of disk images: each the same twice, sound by QEMU's judgement, and started where QEMU reads it; the image store.
d=$work/formats
mkdir -p "$d/one" "$d/two" "$d/bin"
kernel=build/x86_64/lethe-kernel
. "$here/on_disk.sh"
XDG_DATA_HOME=$d/data
export XDG_DATA_HOME
make_image() { "$work/lethe" image create --kernel "$kernel" build/examples/c-hello "$@"; }

for format in raw.img qcow2.qcow2 vmdk.vmdk vdi.vdi vhd.vhd ova.ova gcp.tar.gz; do
    type=${format%%.*} file=hello.${format#*.}
    expect_output "formats/create_$type" 0 "$d/one/$file" make_image -t $type -o "$d/one/$file"
    expect_output "formats/build_$type" 0 "$d/two/$file" make_image -o "$d/two/$file" ${type:+-t} $type
    holds "formats/reproducible_$type" cmp "$d/one/$file" "$d/two/$file"
    case $type in ova | gcp) continue ;; esac
    expect_output "formats/run_$type" 0 'Hello, world, from Linux on x86_64' \
        timeout -k 5 100 "$LETHE" run --timeout 60 --disk "$d/one/$file"
    expect_output "formats/back_$type" 0 "$d/back.img" "$work/lethe" image convert "$d/one/$file" -t raw -o "$d/back.img"
    sound "formats/back_$type" "$d/back.img"
    case $type in qcow2 | vmdk | vdi) holds "formats/check_$type" qemu-img check -q "$d/one/$file" ;; esac
done
bytes=$(stat -c %s "$d/one/hello.vhd")
if [ $(((bytes - 512) % 1048576)) -eq 0 ]; then pass; else fail "formats/vhd_aligned: $bytes bytes"; fi
holds formats/vhd_is_vpc sh -c "qemu-img info -f vpc '$d/one/hello.vhd' | grep -q '($((bytes - 512)) bytes)'"

# What is in the packed ones.
tar -xSzf "$d/one/hello.tar.gz" -C "$d"
holds formats/gcp_size [ "$(stat -c %s "$d/disk.raw")" -eq 1073741824 ]
sound formats/gcp "$d/disk.raw"
expect_output formats/gcp_run 0 'Hello, world, from Linux on x86_64' timeout -k 5 100 "$LETHE" run --timeout 60 --disk "$d/disk.raw"
rm -f "$d/disk.raw"
expect_output formats/ova_members 0 'hello.ovf
disk.vmdk' tar -tf "$d/one/hello.ova"
tar -xf "$d/one/hello.ova" -C "$d"
holds formats/ova_disk qemu-img check -q "$d/disk.vmdk"
expect_output formats/ova_run 0 'Hello, world, from Linux on x86_64' timeout -k 5 100 "$LETHE" run --timeout 60 --disk "$d/disk.vmdk"
holds formats/ova_size grep -q "ovf:size=\"$(stat -c %s "$d/disk.vmdk")\"" "$d/hello.ovf"
holds formats/ova_xml perl -e 'local $/; $_ = <>; my @open; while (m{<(/?)([\w:]+)[^>]*?(/?)>}g) { $1 ? (pop @open) eq $2 || exit 1 : $3 || push @open, $2 } exit @open' "$d/hello.ovf"

# The store.
expect_output formats/store_create 0 "$d/data/lethe/images/mine.qcow2" make_image -t openstack -i mine
run "$work/lethe" image list --json
holds formats/store_list grep -q '"name":.*"mine"' "$out"
run "$work/lethe" image inspect mine --json
holds formats/store_inspect grep -q '"format":.*"qcow2"' "$out"
expect formats/store_delete 0 '' "$work/lethe" image delete mine
expect formats/store_gone 2 "there is no image 'mine'" "$work/lethe" image inspect mine
expect formats/delete_file 2 'is not in the store' "$work/lethe" image delete "$d/one/hello.img"
expect formats/bad_name 2 "the name '../x' is none" make_image -i ../x

# Bad input: one line, no file.
expect formats/unknown 2 "unknown format 'gpc'; the nearest is 'gcp'" make_image -t gpc -o "$d/x"
expect formats/no_format 2 'say which format' make_image -o "$d/x.dat"
expect formats/unwritable 2 'cannot write' make_image -t qcow2 -o "$d/none/x.qcow2"
expect formats/no_qemu_img 2 'this needs the program qemu-img; install the Debian package qemu-utils' \
    env PATH="$d/bin" "$work/lethe" image create --kernel "$kernel" build/examples/c-hello -t qcow2 -o "$d/x.qcow2"
expect formats/no_space 2 'qemu-img failed: .*' \
    sh -c "ulimit -f $(($(stat -c %s "$d/one/hello.qcow2") / 512 - 100)); exec '$work/lethe' image create --kernel '$kernel' build/examples/c-hello -t qcow2 -o '$d/x.qcow2'"
holds formats/nothing_left sh -c "! ls '$d'/x* '$d'/*.part 2>/dev/null"
expect formats/unknown_verb 2 "unknown verb 'image crate'; the nearest is 'image create'" "$work/lethe" image crate
unset XDG_DATA_HOME
