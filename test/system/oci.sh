# SPDX-License-Identifier: BSD-2-Clause
# OCI images: the layout, every digest, and what is in the layer, which starts both ways; judged by umoci too where it is installed.
d=$work/oci
mkdir -p "$d/layout" "$d/root"
kernel=build/x86_64/lethe-kernel-full
make_image() { "$work/lethe" image create --kernel "$kernel" build/examples/c-hello "$@"; }

# Our digests are those of sha256sum, for every way in which a file can end.
cat > "$d/digest.c" <<'END'
#include <fcntl.h>
#include <stdio.h>
#include "ops/sha256.h"
int main(int argc, char **argv)
{
    char digest[SHA256_TEXT];
    for (int i = 1; i < argc; i++) {
        sha256_file(open(argv[i], O_RDONLY), digest);
        printf("%s  %s\n", digest, argv[i]);
    }
    return 0;
}
END
gcc -std=gnu11 -fsanitize=address,undefined -I. -o "$d/digest" "$d/digest.c" ops/sha256.c || fail oci/digest_builds
mkdir -p "$d/files"
for n in 0 1 54 55 56 57 63 64 65 119 120 128 65471 65472 65527 65528 65535 65536 65537 131072 200000; do
    head -c $n /dev/urandom > "$d/files/$n"
done
holds oci/digests sh -c "'$d/digest' '$d'/files/* > '$d/ours' && sha256sum '$d'/files/* | cmp - '$d/ours'"

expect_output oci/create 0 "$d/app.oci.tar" make_image -o "$d/app.oci.tar"
expect_output oci/create_kubevirt 0 "$d/two.oci.tar" make_image -t kubevirt -o "$d/two.oci.tar"
expect_output oci/create_urunc 0 "$d/data/lethe/images/c-hello.oci.tar" env XDG_DATA_HOME="$d/data" \
    "$work/lethe" image create --kernel "$kernel" build/examples/c-hello -t urunc
holds oci/reproducible sh -c "cmp '$d/app.oci.tar' '$d/two.oci.tar' && cmp '$d/app.oci.tar' '$d/data/lethe/images/c-hello.oci.tar'"
make_image -o "$d/disk.img" >/dev/null
expect_output oci/convert 0 "$d/three.oci.tar" "$work/lethe" image convert "$d/disk.img" -t oci -o "$d/three.oci.tar"
holds oci/convert_same cmp "$d/app.oci.tar" "$d/three.oci.tar"
truncate -s 1m "$d/empty.img"
expect oci/not_ours 2 'the disk is not one of ours' "$work/lethe" image convert "$d/empty.img" -t oci -o "$d/x.oci.tar"
holds oci/nothing_left sh -c "! ls '$d'/x.oci.tar* 2>/dev/null"

tar -xf "$d/app.oci.tar" -C "$d/layout"
holds oci/blobs sh -c "cd '$d/layout/blobs/sha256' && for f in *; do echo \"\$f  \$f\"; done | sha256sum -c --quiet"
# Index -> manifest -> config and layer: digests, sizes, types, and the digest of the layer as it is unpacked.
holds oci/chain perl -MJSON::PP -MDigest::SHA -e '
    sub slurp { local $/; open my $in, "<", $_[0] or die "$_[0]: $!\n"; binmode $in; <$in> }
    sub blob {
        my ($d, $type) = @_;
        $d->{mediaType} eq "application/vnd.oci.image.$type" or die "type $d->{mediaType}\n";
        my $bytes = slurp("blobs/" . ($d->{digest} =~ s/:/\//r));
        length $bytes == $d->{size} or die "size of $d->{digest}\n";
        $bytes;
    }
    chdir shift;
    decode_json(slurp("oci-layout"))->{imageLayoutVersion} eq "1.0.0" or die "version\n";
    my $index = decode_json(slurp("index.json"));
    $index->{schemaVersion} == 2 && @{$index->{manifests}} == 1 or die "index\n";
    my $manifest = decode_json(blob($index->{manifests}[0], "manifest.v1+json"));
    my $config = decode_json(blob($manifest->{config}, "config.v1+json"));
    @{$manifest->{layers}} == 1 or die "layers\n";
    blob($manifest->{layers}[0], "layer.v1.tar+gzip");
    my $layer = "blobs/" . ($manifest->{layers}[0]{digest} =~ s/:/\//r);
    my $tar = qx(gzip -dc $layer);
    $config->{rootfs}{diff_ids}[0] eq "sha256:" . Digest::SHA::sha256_hex($tar) or die "diff_id\n";
    $config->{architecture} eq "amd64" && $config->{os} eq "linux" && $config->{rootfs}{type} eq "layers" or die "config\n";
    open my $out, ">", "../layer.tar" or die;
    print $out $tar;
    close $out;
    my $urunc = decode_json(qx(tar -xOf ../layer.tar urunc.json));
    require MIME::Base64;
    for (keys %$urunc) { $urunc->{$_} eq $manifest->{annotations}{$_} or die "annotation $_\n"; $urunc->{$_} = MIME::Base64::decode($urunc->{$_}); }
    my %want = (unikernelType => "linux", hypervisor => "qemu", binary => "/unikernel/kernel", initrd => "/unikernel/root.img", cmdline => "lethe");
    for (keys %want) { $urunc->{"com.urunc.unikernel.$_"} eq $want{$_} or die "urunc $_\n"; }
    keys %want == keys %$urunc or die "urunc\n"' "$d/layout"
if command -v umoci >/dev/null; then
    holds oci/umoci umoci raw unpack --rootless --image "$d/layout:latest" "$d/unpacked"
    holds oci/umoci_disk cmp "$d/unpacked/disk/disk.img" "$d/disk.img"
fi

# KubeVirt hands the disk to QEMU, urunc kernel and root image with a command line of its own.
tar -xf "$d/layer.tar" -C "$d/root"
holds oci/disk_same cmp "$d/root/disk/disk.img" "$d/disk.img"
holds oci/kernel_same cmp "$d/root/unikernel/kernel" "$kernel"
expect_output oci/disk_runs 0 'Hello, world, from Linux on x86_64' timeout -k 5 100 "$LETHE" run --timeout 60 --disk "$d/root/disk/disk.img"
run sh -c "timeout -k 5 60 qemu-system-x86_64 -cpu max -m 128m -no-reboot -nodefaults -display none -serial stdio \
    -kernel '$d/root/unikernel/kernel' -initrd '$d/root/unikernel/root.img' -append 'panic=-1 console=ttyS0 root=/dev/ram0 rw rdinit=lethe --'"
holds oci/kernel_runs grep -q 'Hello, world, from Linux on x86_64' "$out"
for file in kubevirt urunc; do
    holds oci/sample_$file sh -c "grep -q 'image: REGISTRY/app:latest' examples/kubernetes/$file.yaml && ! grep -qP '\t' examples/kubernetes/$file.yaml"
done
holds oci/sample_path grep -q 'path: /disk/disk.img' examples/kubernetes/kubevirt.yaml
