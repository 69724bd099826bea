# SPDX-License-Identifier: BSD-2-Clause
# Instances in the background: started, listened to, asked to end by the power button, and gone.
d=$work/instance
mkdir -p "$d"
XDG_STATE_HOME=$d/state XDG_DATA_HOME=$d/data
export XDG_STATE_HOME XDG_DATA_HOME
gcc -static -O2 -Wall -o "$d/probe" $here/shutdown_probe.c || exit 1
instance() { timeout -k 5 100 "$LETHE" instance "$@"; }

# eventually NAME COMMAND...: it succeeds within 30 seconds
eventually() {
    name=$1 tries=300
    shift
    while ! sh -c "$*" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { fail "$name: not in 30 seconds"; return; }
        sleep 0.1
    done
    pass
}

holds instance/image "$LETHE" image create "$d/probe" -i waits
holds instance/image_stubborn "$LETHE" image create "$d/probe" -i stubborn --append stop=1 -- stubborn
holds instance/image_short "$LETHE" image create "$PROBE" -i short -- exit 5

# The program hears the button, on both machines and from both firmwares, and its status is kept.
for options in '' '--machine pc --smp 2' '--uefi'; do
    # shellcheck disable=SC2086 # the words are meant to split
    expect_output "instance/create$options" 0 waits instance create waits -m 64m $options
    eventually "instance/logs$options" "'$LETHE' instance logs waits | grep -q waiting"
    run instance list --json
    holds "instance/running$options" sh -c "tr -d ' \t\n' < '$out' | grep -q '\"name\":\"waits\",\"state\":\"running\",\"pid\":[0-9]*}'"
    expect "instance/delete_running$options" 2 'still runs; stop it first' instance delete waits
    expect_output "instance/stop$options" 0 'waits exited, status 3' instance stop waits
    run instance logs waits
    holds "instance/sigterm$options" grep -q 'asked to end, code SI_KERNEL' "$out"
    expect_output "instance/list$options" 0 'waits                    exited     3' instance list
    expect "instance/delete$options" 0 '' instance delete waits
    expect_output "instance/list_empty$options" 0 '' instance list
done

# One that ends by itself; one that does not want to end, and is killed in time; one that QEMU has to be switched off for.
expect_output instance/create_short 0 short instance create short
eventually instance/short_ends "'$LETHE' instance list | grep -q '^short *exited *5'"
expect instance/stop_ended 2 'does not run' instance stop short
expect instance/delete_short 0 '' instance delete short
expect_output instance/create_stubborn 0 s1 instance create stubborn -i s1
eventually instance/stubborn_waits "'$LETHE' instance logs s1 | grep -q waiting"
expect_output instance/stop_stubborn 0 's1 killed, status 137' instance stop s1
expect instance/delete_stubborn 0 '' instance delete s1
holds instance/image_deaf "$LETHE" image create "$d/probe" -i deaf --append stop=1000 -- stubborn
instance create deaf >/dev/null
eventually instance/deaf_waits "'$LETHE' instance logs deaf | grep -q waiting"
expect instance/switched_off 124 'did not end in 2 seconds and was switched off' instance stop deaf --timeout 2
expect_output instance/list_deaf 0 'deaf                     ended      ' instance list
expect instance/delete_deaf 0 '' instance delete deaf

# Two of one image; QEMU killed outright; bad input.
instance create waits -i one >/dev/null && instance create waits -i two >/dev/null
eventually instance/two "'$LETHE' instance logs two | grep -q waiting && '$LETHE' instance logs one | grep -q waiting"
expect instance/exists 2 "there is an instance 'one' already" instance create waits -i one
kill -KILL "$(cat "$d/state/lethe/instances/two/pid")"
eventually instance/killed "'$LETHE' instance list | grep -q '^two *ended'"
expect_output instance/stop_one 0 'one exited, status 3' instance stop one
for name in one two; do expect instance/delete_$name 0 '' instance delete $name; done
expect instance/no_image 2 "there is no image 'none'" instance create none
expect instance/no_instance 2 "there is no instance 'none'" instance stop none
expect instance/bad_qemu 2 'qemu-system-x86_64 failed: .*nonsense' instance create waits --qemu-arg=-nonsense
# A volume outlives the instance, and is one instance's at a time; the image's own disk stays as it was.
holds instance/volume "$LETHE" volume create kept 12m
cat > "$d/count.c" <<'END'
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    FILE *file = fopen("/data/count", "a+");
    long bytes;
    if (!file)
        return 99;
    fputc('x', file);
    fflush(file);
    fsync(fileno(file));
    bytes = ftell(file);
    if (argc > 1)
        pause();
    return bytes;
}
END
gcc -static -O2 -Wall -o "$d/count" "$d/count.c" || exit 1
holds instance/image_count "$LETHE" image create "$d/count" -i count --mount kept:/data
holds instance/image_hold "$LETHE" image create "$d/count" -i hold --mount kept:/data -- stay
for n in 1 2; do
    expect_output instance/count_$n 0 count instance create count --mount kept:/data
    eventually instance/count_${n}_ends "'$LETHE' instance list | grep -q '^count *exited *$n'"
    expect instance/delete_count_$n 0 '' instance delete count
done
expect_output instance/hold 0 hold instance create hold --mount kept:/data
expect instance/volume_in_use 2 'the volume is in use by another guest' instance create count --mount kept:/data
expect instance/volume_in_use_run 2 'the volume is in use by another guest' timeout -k 5 100 "$LETHE" run --timeout 60 \
    --disk "$d/data/lethe/images/count.img" --mount kept:/data
run "$LETHE" volume list --json
holds instance/volume_list sh -c "tr -d ' \t\n' < '$out' | grep -q '\"name\":\"kept\",\"bytes\":12582912,.*\"in_use\":true'"
run instance stop hold
expect instance/delete_hold 0 '' instance delete hold
expect instance/delete_volume 0 '' "$LETHE" volume delete kept
expect_output instance/nothing_left 0 '' instance list
expect instance/unknown_verb 2 "the nearest is 'instance stop'" instance stp one
unset XDG_STATE_HOME XDG_DATA_HOME
