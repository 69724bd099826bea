# SPDX-License-Identifier: BSD-2-Clause
# Folders for monitors: configuration files held against what Firecracker and Cloud Hypervisor document of them, and a
# machine laid out as Firecracker lays out its own. libvirt: a session of its own defines the domain, starts it under emulation, asks it to end.
d=$work/machines
mkdir -p "$d"
kernel=build/x86_64/lethe-kernel-full
gcc -static -O2 -Wall -o "$d/probe" $here/shutdown_probe.c || exit 1
make_folder() { "$work/lethe" image create --kernel "$kernel" "$@"; }

# schema NAME FILE: every key is one of the documented ones, with their type, and none that is required is missing. The lists are the
# parts that we use of firecracker.yaml (1.13) and cloud-hypervisor.yaml (48); '!' stands behind what is required.
schema() {
    holds "machines/$1_schema" perl -MJSON::PP -e '
        my %types = (string => sub { !ref $_[0] && $_[0] !~ /^\d+$/ }, integer => sub { !ref $_[0] && $_[0] =~ /^\d+$/ },
            boolean => sub { JSON::PP::is_bool($_[0]) });
        our %schema = (
            firecracker => "boot-source!=boot drives=[drive] machine-config!=machine network-interfaces=[nic] balloon=fcballoon entropy=none",
            boot => "kernel_image_path!=string boot_args=string initrd_path=string",
            machine => "vcpu_count!=integer mem_size_mib!=integer smt=boolean track_dirty_pages=boolean",
            nic => "iface_id!=string host_dev_name!=string guest_mac=string",
            drive => "drive_id!=string is_root_device!=boolean path_on_host=string is_read_only=boolean",
            fcballoon => "amount_mib!=integer deflate_on_oom!=boolean stats_polling_interval_s=integer", none => "",
            "cloud-hypervisor" => "cpus=cpus memory=memory payload!=payload disks=[disk] net=[net] rng=rng balloon=balloon serial=console console=console",
            cpus => "boot_vcpus!=integer max_vcpus!=integer", memory => "size!=integer", payload => "kernel=string cmdline=string initramfs=string",
            disk => "path=string readonly=boolean serial=string", net => "tap=string ip=string mask=string mac=string", rng => "src!=string",
            balloon => "size!=integer deflate_on_oom=boolean free_page_reporting=boolean", console => "mode!=string file=string",
        );
        sub check {
            my ($value, $type, $at) = @_;
            return $types{$type}->($value) || die "$at is no $type\n" if $types{$type} && !ref $type;
            return map { check($value->[$_], $1, "$at\[$_]") } 0 .. $#$value if $type =~ /^\[(.*)\]$/ && ref $value eq "ARRAY";
            my %keys = map { /(.*?)(!?)=(.*)/ ? ($1 => [$3, $2]) : () } split " ", $schema{$type} // die "no type $type\n";
            ref $value eq "HASH" or die "$at is no object\n";
            for (sort keys %$value) { $keys{$_} or die "$at/$_ is not known\n"; check($value->{$_}, $keys{$_}[0], "$at/$_"); }
            for (keys %keys) { die "$at/$_ is missing\n" if $keys{$_}[1] && !exists $value->{$_}; }
            1;
        }
        my $name = pop @ARGV;
        local $/;
        check(decode_json(<>), $name, "")' "$2" "$1"
}

for type in firecracker cloud-hypervisor; do
    expect machines/create_$type 0 '' make_folder build/examples/c-hello -t $type -o "$d/$type" -m 100m --smp 2
    holds machines/says_$type grep -q "^cd .*/$type && $type " "$out"
    for file in lethe-kernel root.img; do holds machines/${type}_$file test -s "$d/$type/$file"; done
    schema $type "$d/$type/$type.json"
    expect machines/again_$type 0 '' make_folder build/examples/c-hello -t $type -o "$d/again" -m 100m --smp 2
    holds machines/reproducible_$type diff -r "$d/$type" "$d/again"
    rm -r "$d/again"
    expect machines/net_$type 0 '' make_folder build/examples/c-hello -t $type -o "$d/again" --net tap=tap7,ip=10.1.2.3/24
    schema $type "$d/again/$type.json"
    holds machines/tap_$type sh -c "grep -q '\"tap7\"' '$d/again/$type.json' && grep -q 'ip=10.1.2.3/24' '$d/again/$type.json'"
    rm -r "$d/again"
    expect machines/user_net_$type 2 "-t $type: there is no user network" make_folder build/examples/c-hello -t $type -o "$d/x" -p 80
    expect machines/bridge_$type 2 "-t $type: it knows no bridges" make_folder build/examples/c-hello -t $type -o "$d/x" --net bridge=br0
done
truncate -s 1m "$d/volume"
expect machines/mount 0 '' make_folder build/examples/c-hello -t cloud-hypervisor -o "$d/mount" --mount "$d/volume:/data:ro"
schema cloud-hypervisor "$d/mount/cloud-hypervisor.json"
holds machines/mount_serial grep -q '"volume0"' "$d/mount/cloud-hypervisor.json"
expect machines/mount_firecracker 2 'firecracker has no volumes' make_folder build/examples/c-hello -t firecracker -o "$d/x" --mount "$d/volume:/data"
expect machines/mount_folder 2 'for an image pack it with -f' make_folder build/examples/c-hello -t cloud-hypervisor -o "$d/x" --mount "$d:/data:ro"
expect machines/no_output 2 'makes a folder: say where with -o' make_folder build/examples/c-hello -t firecracker
expect machines/convert 2 'is made of a program' "$work/lethe" image convert "$d/volume" -t firecracker -o "$d/x"
expect machines/no_folder 2 'cannot make the directory' make_folder build/examples/c-hello -t firecracker -o "$d/none/x"

# As Firecracker has it: no ACPI, no PCI, no clock chip; the devices are words of the command line, behind those of the configuration file, one on
# an address with nothing behind it. The program sees the words; the devices are found; the machine ends by reset.
cat > "$d/look.c" <<'END'
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <stdio.h>
int main(void)
{
    struct ifaddrs *all, *i;
    char text[64];
    if (getifaddrs(&all))
        return 1;
    for (i = all; i; i = i->ifa_next)
        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET)
            printf("%s %s\n", i->ifa_name, inet_ntop(AF_INET, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, text, sizeof text));
    return 0;
}
END
gcc -static -O2 -Wall -o "$d/look" "$d/look.c" || exit 1
expect machines/look 0 '' make_folder "$d/look" -t firecracker -o "$d/fc" --net tap=tap0,ip=10.0.2.15/24,gw=10.0.2.2 -v
words=$(sed -n 's/.*"boot_args":[^"]*"\(.*\)".*/\1/p' "$d/fc/firecracker.json")
run sh -c "cd '$d/fc' && timeout -k 5 60 qemu-system-x86_64 -M microvm,acpi=off,rtc=off,auto-kernel-cmdline=off -bios qboot.rom -cpu max -smp 2 \
    -m 128m -nodefaults -no-user-config -no-reboot -display none -serial stdio -kernel lethe-kernel -initrd root.img \
    -device virtio-rng-device -device virtio-balloon-device -netdev user,id=n -device virtio-net-device,netdev=n \
    -append '$words virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=512@0xfeb00c00:11 virtio_mmio.device=512@0xfeb00a00:10 virtio_mmio.device=4K@0xd0000000:5'"
holds machines/firecracker_ends [ "$status" -eq 0 ]
holds machines/firecracker_net grep -qx 'eth0 10.0.2.15' "$out"

# The address as Linux's monitors and urunc tell it.
addressed() { # addressed WORD ADDRESS
    run timeout -k 5 60 "$LETHE" run --accel tcg --timeout 50 --net user --append "$1" "$d/look"
    if [ "$status" -eq 0 ] && [ "$(sed -n 's/^eth0 //p' "$out")" = "$2" ]; then pass; else fail "machines/$1: status $status: $(tail -n 1 "$out")"; fi
}
addressed ip=10.0.2.77::10.0.2.2:255.255.255.0:urunc:eth0:off:10.0.2.3 10.0.2.77
addressed ip=10.0.2.78 10.0.2.78
addressed ip=10.0.2.79:::: 10.0.2.79
addressed ip=:::::eth0:dhcp 10.0.2.15
addressed ip=10.0.2.77::10.0.2.2:255.0.255.0::eth0:off ''
holds machines/no_mask grep -q 'is neither ADDRESS/BITS nor what Linux takes' "$out"

# libvirt, in a session for this test alone. root's would be the system's own, so root becomes somebody else, for its processes only.
expect machines/create_libvirt 0 '' make_folder "$d/probe" -t libvirt -o "$d/lethe-test" -m 64m --smp 2 --accel tcg
holds machines/libvirt_sound sh -c "sgdisk -v '$d/lethe-test/disk.img' | grep -q '^No problems found'"
expect machines/libvirt_ports 2 'forwards no ports' make_folder "$d/probe" -t libvirt -o "$d/x" -p 80
holds machines/libvirt_left_nothing test ! -e "$d/x"
as=
[ "$(id -u)" != 0 ] || as='unshare -U --map-user=1000 --map-group=1000'
if ! command -v libvirtd >/dev/null || ! command -v virsh >/dev/null; then
    skipped=$((skipped + 1))
    echo "SKIP system/machines/libvirt: no libvirtd here (packages libvirt-daemon, libvirt-clients, libvirt-daemon-driver-qemu)"
elif ! $as true 2>/dev/null; then
    skipped=$((skipped + 1))
    echo "SKIP system/machines/libvirt: root may not become another user here (unshare -U)"
else
    holds machines/libvirt_valid virt-xml-validate "$d/lethe-test/domain.xml" domain
    HOME=$(mktemp -d -p /tmp) # short, for the paths of sockets; not watched
    export HOME
    mkdir -p "$HOME/config/libvirt" "$HOME/run"
    echo 'stdio_handler = "file"' > "$HOME/config/libvirt/qemu.conf"
    sed "s,<serial type='pty'>,<serial type='file'><source path='$d/console'/>,; /<console/d" "$d/lethe-test/domain.xml" > "$d/domain.xml"
    session() {
        env LIBVIRT_AUTOSTART=0 XDG_RUNTIME_DIR="$HOME/run" XDG_CONFIG_HOME="$HOME/config" XDG_CACHE_HOME="$HOME/cache" \
            XDG_STATE_HOME="$HOME/state" "$@"
    }
    virsh() { session ${as:+nsenter -U --preserve-credentials -t "$libvirtd"} timeout 30 virsh -q -c qemu:///session "$@"; }
    eventually() { # eventually NAME COMMAND...
        name=$1 tries=300
        shift
        while ! eval "$*" >/dev/null 2>&1; do
            tries=$((tries - 1))
            [ $tries -gt 0 ] || { fail "$name: not in 30 seconds"; return; }
            sleep 0.1
        done
        pass
    }
    session $as timeout -k 5 120 libvirtd >"$d/libvirtd.log" 2>&1 &
    eventually machines/libvirtd_pid test -s "$HOME/run/libvirt/libvirtd.pid"
    libvirtd=$(cat "$HOME/run/libvirt/libvirtd.pid")
    eventually machines/libvirtd virsh list
    expect machines/libvirt_define 0 '' virsh define "$d/domain.xml"
    expect machines/libvirt_define_again 0 '' virsh define "$d/domain.xml"
    expect machines/libvirt_start 0 '' virsh start lethe-test
    eventually machines/libvirt_console grep -q waiting "$d/console"
    expect_output machines/libvirt_running 0 running virsh domstate lethe-test
    expect machines/libvirt_shutdown 0 '' virsh shutdown lethe-test
    eventually machines/libvirt_shut "virsh domstate lethe-test --reason | grep -q '^shut off (shutdown)'"
    holds machines/libvirt_sigterm grep -q 'asked to end, code SI_KERNEL' "$d/console"
    expect machines/libvirt_undefine 0 '' virsh undefine lethe-test
    kill "$libvirtd"
    wait
    unset -f virsh
    rm -rf "$HOME"
fi
