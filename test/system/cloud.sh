# SPDX-License-Identifier: BSD-2-Clause
# Host name and environment from the metadata services, as a program on this host plays them at 169.254.169.254, and from QEMU's configuration device.
cat > "$work/tell.c" <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(void)
{
    char name[65];
    gethostname(name, sizeof name);
    printf("%s|%s|%s|%s\n", name, getenv("CLOUD") ? getenv("CLOUD") : "-", getenv("OWN") ? getenv("OWN") : "-", getenv("MORE") ? getenv("MORE") : "-");
    return 0;
}
END
gcc -static -O2 -Wall -o "$work/tell" "$work/tell.c" || exit 1
printf "CLOUD=fw\nMORE=x\n" > "$work/user-data"
full=build/x86_64/lethe-kernel-full
told() { timeout -k 5 60 "$LETHE" run --accel tcg --timeout 50 --kernel $full -e OWN=ours "$@" "$work/tell"; }
network="--net none --qemu-arg=-device --qemu-arg=virtio-net-device,netdev=n --qemu-arg=-netdev"
service=$network\ --qemu-arg=user,id=n,net=169.254.169.0/24,dhcpstart=169.254.169.15,guestfwd=tcp:169.254.169.254:80-cmd:"perl&$PWD/$here/metadata.pl&$work/requests"
words() { echo "$service" | tr '&' '\001'; }
ask() { # ask WHO: the program starts with what the service says
    who=$1
    rm -f "$work/requests"
    # shellcheck disable=SC2046 # the words are meant to split; one of them has blanks in it
    set -- $(words)
    for word; do shift; set -- "$@" "$(printf %s "$word" | tr '\001' ' ')"; done
    told --append "cloud=$who" "$@"
}
# given NAME TEXT: the line of the program
given() {
    run ask "$1"
    if [ "$status" -eq 0 ] && grep -qx "$2" "$out"; then pass; else fail "cloud/$1: status $status: $(head -n 2 "$out" | tr '\n' ' ')"; fi
}
given ec2 'ip-10-0-0-7|ec2 a=b|theirs|-'
holds cloud/ec2_token grep -q '^PUT /latest/api/token' "$work/requests"
given gcp 'vm-1|gcp|ours|-'
given azure 'azure-vm|azure|ours|1'
given digitalocean 'droplet|-|ours|-'
holds cloud/not_lines grep -q 'not lines of NAME=VALUE' "$out"
given hetzner 'lethe|-|ours|-'
holds cloud/bad_name grep -q 'the host name is none' "$out"
given oracle 'lethe|-|ours|-'
holds cloud/unknown grep -q 'cloud=oracle: choose' "$out"

# Nobody answers there: the program starts all the same, and a line says why it knows nothing.
run told --append cloud=gcp --net user
holds cloud/nobody_starts grep -qx 'lethe|-|ours|-' "$out"
holds cloud/nobody grep -q 'no answer from the service of gcp' "$out"

expect_output cloud/fwcfg 0 'of-the-host|fw|ours|x' told --append cloud=fwcfg --qemu-arg=-fw_cfg --qemu-arg=name=opt/lethe/hostname,string=of-the-host \
    --qemu-arg=-fw_cfg --qemu-arg="name=opt/lethe/user-data,file=$work/user-data"
