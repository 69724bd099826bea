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

# The time of day from a server on this host that lives in 2031; answers to other questions come first and do not count.
cat > "$work/when.c" <<'END'
#include <stdio.h>
#include <time.h>
int main(void)
{
    for (int i = 0; i < 1000; i++) {
        time_t now = time(NULL);
        if (gmtime(&now)->tm_year == 131)
            return puts("2031"), 0;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    return 1;
}
END
gcc -static -O2 -Wall -o "$work/when" "$work/when.c" || exit 1
perl -MIO::Socket::INET -e '$| = 1; my $s = IO::Socket::INET->new(Proto => "udp", LocalAddr => "127.0.0.1:0") or die; print $s->sockport, "\n";
    alarm 60;
    while ($s->recv(my $q, 100)) {
        next if length $q != 48 || ord($q) != 35;
        my $answer = sub { pack "C4 x20 a8 x8 N2", 36, $_[0], 0, 0, $_[1], $_[2] + 2208988800, 0 };
        $s->send($answer->(2, "x" x 8, 1700000000));
        $s->send($answer->(0, substr($q, 40, 8), 1700000000));
        $s->send("short");
        $s->send($answer->(2, substr($q, 40, 8), 1940000000));
    }' > "$work/ntp_port" &
server=$!
for _ in $(seq 50); do [ -s "$work/ntp_port" ] && break; sleep 0.1; done
expect_output cloud/ntp 0 2031 timeout -k 5 60 "$LETHE" run --accel tcg --timeout 50 --net user --append "ntp=10.0.2.2:$(cat "$work/ntp_port")" "$work/when"
kill $server
wait $server 2>/dev/null
