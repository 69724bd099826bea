# SPDX-License-Identifier: BSD-2-Clause
# Host name, environment and files from the disks of NoCloud and ConfigDrive: ISO 9660 with each kind of names, FAT with 12, 16 and 32 bits, on disks,
# partitions and CDs.
d=$work/cloud_disk
mkdir -p "$d/nocloud" "$d/config/openstack/latest" "$d/config/openstack/content"
cat > "$d/tell.c" <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    char name[65];
    gethostname(name, sizeof name);
    printf("%s|%s|%s\n", name, getenv("CLOUD") ? getenv("CLOUD") : "-", getenv("OWN") ? getenv("OWN") : "-");
    for (int i = 1, c; i < argc; i++) {
        struct stat st;
        FILE *f = fopen(argv[i], "r");
        if (!f || fstat(fileno(f), &st))
            continue;
        printf("%s %o:", argv[i], st.st_mode & 07777);
        while ((c = getc(f)) != EOF)
            putchar(c == '\n' ? '/' : c);
        puts("");
    }
    return 0;
}
END
$compiler -static -O2 -Wall -o "$d/tell" "$d/tell.c" || exit 1
printf 'instance-id: i-1\nlocal-hostname: "of-the-disk.example.org"\n' > "$d/nocloud/meta-data"
printf 'CLOUD=disk\nOWN=theirs\n' > "$d/nocloud/user-data"
cat > "$d/config/openstack/latest/meta_data.json" <<'END'
{"uuid": "x", "hostname": "h\u0065re.novalocal", "meta": {"hostname": "no", "files": [{"path": "/no", "content_path": "/content/0000"}]},
 "files": [{"content_path": "/content/0000", "path": "/etc/from/nova"}, {"path": "/etc/lost", "content_path": "/content/0009"}], "keys": [{"data": "k"}]}
END
head -c 150000 /dev/zero | tr '\0' z > "$d/config/openstack/content/0000"
cat > "$d/config/openstack/latest/user_data" <<'END'
#cloud-config
# of the test
packages: [nothing]
environment:
  CLOUD: "con\"fig"   # with a quote
  OWN: 'it''s'
write_files:
- path: /etc/new/secret
  permissions: '0600'
  content: |
    one: 1
      # two

    three
- encoding: b64
  content: aGVsbG8KIHdvcmxk
  path: /etc/plain
- {path: /etc/flow}
- path: /etc/new/secret
  append: true
  permissions: '0666'
  content: more
- path: /etc/zipped
  encoding: gzip
  content: x
END
told() { # told WHO OPTION...
    who=$1
    shift
    timeout -k 5 60 "$LETHE" run --accel tcg --timeout 50 --kernel build/$ARCH/lethe-kernel-full -e OWN=ours --append "cloud=$who" "$@" "$d/tell" -- /etc/new/secret /etc/plain /etc/from/nova \
        /etc/lost /no
}
nocloud='of-the-disk|disk|theirs'
mkfs.vfat -C -F 12 -n CIDATA "$d/12.fat" 1024 >/dev/null
mkfs.vfat -C -F 16 -n cidata "$d/16.fat" 16384 >/dev/null 2>&1 # which warns of small letters
mkfs.vfat -C -F 32 -s 1 -n CIDATA "$d/32.fat" 40000 >/dev/null
mkfs.vfat -C -F 16 -n CONFIG-2 "$d/config.fat" 16384 >/dev/null
for n in 12 16 32; do mcopy -i "$d/$n.fat" "$d/nocloud/meta-data" "$d/nocloud/user-data" ::; done
mcopy -s -i "$d/config.fat" "$d/config/openstack" ::
genisoimage -quiet -R -V cidata -o "$d/rock.iso" "$d/nocloud"
genisoimage -quiet -J -V cidata -o "$d/joliet.iso" "$d/nocloud" 2>"$err"
genisoimage -quiet -l -V CIDATA -o "$d/plain.iso" "$d/nocloud" 2>"$err"
genisoimage -quiet -J -R -V config-2 -o "$d/config.iso" "$d/config"
truncate -s 4M "$d/parts.img"
sgdisk -n 1:2048:4095 "$d/parts.img" >/dev/null
dd if="$d/12.fat" of="$d/parts.img" bs=512 seek=2048 conv=notrunc status=none

disk() { echo "--qemu-arg=-drive --qemu-arg=if=none,id=seed,format=raw,readonly=on,file=$d/$1 --qemu-arg=-device --qemu-arg=$2,drive=seed"; }
case $ARCH in x86_64) mmio='--machine microvm' pci='--machine q35' ;; aarch64) mmio='--machine virt' pci='--machine virt' ;; esac
# shellcheck disable=SC2046,SC2086 # the words are meant to split
{
for seed in 12.fat 16.fat 32.fat rock.iso joliet.iso plain.iso parts.img; do
    [ "$ARCH" = x86_64 ] || case $seed in 12.fat | rock.iso) ;; *) continue ;; esac
    expect_output cloud_disk/$seed 0 "$nocloud" told nocloud $mmio $(disk $seed virtio-blk-device)
done
expect_output cloud_disk/cd 0 "$nocloud" told nocloud $pci --qemu-arg=-device --qemu-arg=virtio-scsi-pci $(disk joliet.iso scsi-cd)
for seed in config.fat config.iso; do
    run told configdrive $mmio $(disk $seed virtio-blk-device)
    seed=cloud_disk/$seed
    holds $seed [ $status -eq 0 ]
    holds $seed/environment grep -qx "here|con\"fig|it's" "$out"
    holds $seed/block grep -qx '/etc/new/secret 666:one: 1/  # two//three/more' "$out"
    holds $seed/base64 grep -qx '/etc/plain 644:hello/ world' "$out"
    holds $seed/large awk '$1 == "/etc/from/nova" && $2 ~ /^644:z*$/ && length($2) == 150004 { ok = 1 } END { exit !ok }' "$out"
    holds $seed/lost sh -c "grep -q 'the file /etc/lost is not written' '$out' && ! grep -q '^/etc/lost\\|^/no' '$out'"
    holds $seed/unused sh -c "grep -q 'packages of the cloud-config is not used' '$out' && grep -q 'without path is not written' '$out' && grep -q '/etc/zipped is not written' '$out'"
done
run told nocloud $mmio $(disk config.iso virtio-blk-device)
holds cloud_disk/none sh -c "grep -q '^lethe|-|ours' '$out' && grep -q 'no disk with the label cidata' '$out'"
}
rm -rf "$d"
