# SPDX-License-Identifier: BSD-2-Clause
# ops.conf: effects, types, warnings and errors.
d=$work/config
mkdir -p "$d/tree/sub" "$d/root/etc"
echo one > "$d/tree/one.txt"
echo two > "$d/tree/sub/two.txt"
echo three > "$d/tree/sub/three.bin"
echo rooted > "$d/root/etc/thing"
ln -s one.txt "$d/tree/link"

# conf NAME JSON: writes $d/NAME.json
conf() { printf '%s\n' "$2" > "$d/$1.json"; }
wrong() { # wrong NAME PATTERN JSON
    conf "$1" "$3"
    expect "config/$1" 2 "$2" "$LETHE" run --kernel "$STUB" -c "$d/$1.json" "$PROBE" --dry-run
}
wrong syntax 'not valid JSON at line 2' '{
"Args": [,]}'
wrong trailing 'not valid JSON' '{} x'
wrong not_object 'must be a JSON object' '[]'
wrong unknown "unknown key 'Argz'; the nearest is 'Args'" '{"Argz": []}'
wrong unknown_run "unknown key 'Memmory' of RunConfig; the nearest is 'Memory'" '{"RunConfig": {"Memmory": "1g"}}'
wrong args_type 'Args must be an array of strings' '{"Args": "x"}'
wrong args_item 'Args must be an array of strings' '{"Args": [1]}'
wrong env_type 'Env must be an object of strings' '{"Env": []}'
wrong env_name 'no name for a variable' '{"Env": {"A=B": "c"}}'
wrong memory 'Memory must be a size' '{"RunConfig": {"Memory": "much"}}'
wrong cpus 'CPUs must be a whole number' '{"RunConfig": {"CPUs": 1.5}}'
wrong accel 'Accel must be true or false' '{"RunConfig": {"Accel": "yes"}}'
wrong run_type 'RunConfig must be an object' '{"RunConfig": 3}'
wrong files_missing 'Files: cannot pack' '{"Files": ["/surely/not/there"]}'
wrong files_dir 'list it under Dirs' "{\"Files\": [\"$d/tree\"]}"
wrong dirs_file 'list it under Files' "{\"Dirs\": [\"$d/tree/one.txt\"]}"
wrong map_missing 'neither a directory nor' '{"MapDirs": {"/surely/not/there/x": "/y"}}'
expect config/missing 2 'cannot read the configuration' "$LETHE" run -c "$d/none.json" "$PROBE"
expect config/directory 2 'cannot read the configuration' "$LETHE" run -c "$d" "$PROBE"

warns() { # warns NAME PATTERN JSON: goes on with one warning
    conf "$1" "$3"
    expect "config/$1" 0 "warning: .*$2" "$LETHE" run --kernel "$STUB" -c "$d/$1.json" "$PROBE" --dry-run
}
wrong ports_type 'Ports must be an array of ports' '{"RunConfig": {"Ports": "80"}}'
wrong ports_item 'Ports must be an array of ports' '{"RunConfig": {"Ports": ["80-70"]}}'
wrong ports_number 'UDPPorts must be an array of ports' '{"RunConfig": {"UDPPorts": [70000]}}'
wrong netmask 'NetMask must be a mask' '{"RunConfig": {"NetMask": "255.0.255.0"}}'
wrong address 'ip=10.0.0: not an address' '{"RunConfig": {"IPAddress": "10.0.0"}}'
wrong nics 'Nics must be an array of objects' '{"RunConfig": {"Nics": [1]}}'
wrong nics_two 'one network interface' '{"RunConfig": {"Nics": [{}, {}]}}'
wrong nic_key "unknown key 'Mask' of Nics; the nearest is" '{"RunConfig": {"Nics": [{"Mask": "x"}]}}'
conf ports '{"RunConfig": {"Ports": ["8080", 9000, "7000-7001"], "UDPPorts": ["53"], "IPAddress": "10.0.2.9", "NetMask": "255.255.0.0",
    "Gateway": "10.0.2.2"}, "NameServers": ["10.0.2.3"]}'
run "$LETHE" run --kernel "$STUB" -c "$d/ports.json" "$PROBE" --dry-run
for word in tcp:127.0.0.1:8080-:8080 tcp:127.0.0.1:9000-:9000 tcp:127.0.0.1:7001-:7001 udp:127.0.0.1:53-:53 ip=10.0.2.9/16 gw=10.0.2.2 \
    dns=10.0.2.3; do
    if grep -q "$word" "$out"; then pass; else fail "config/ports: no $word in $(cat "$out")"; fi
done
warns klibs 'Klibs is ignored' '{"Klibs": ["tls"]}'
warns cloud "VPC of CloudConfig is ignored: set it with the provider's own commands" '{"CloudConfig": {"Zone": "x", "VPC": "y"}}'
wrong cloud_key "unknown key 'Zones' of CloudConfig; the nearest is 'Zone'" '{"CloudConfig": {"Zones": "x"}}'
wrong cloud_type 'CloudConfig must be an object' '{"CloudConfig": []}'
wrong zone_type 'Zone must be a string' '{"CloudConfig": {"Zone": 1}}'
warns uefi 'Uefi is ignored' '{"Uefi": true}'

# Every key that OPS knows is taken or named in a warning.
for key in Args Env Program ProgramPath Files Dirs MapDirs LocalFilesParentDirectory TargetRoot BaseVolumeSz Mounts \
    Boot Uefi Kernel NanosVersion NightlyBuild Klibs ManifestPassthrough NameServers Debugflags NoTrace RebootOnExit \
    Force BuildDir VolumesDir PackageBaseURL Version Language Description DisableArgsCopy; do
    conf key "{\"$key\": null}"
    run "$LETHE" run --kernel "$STUB" -c "$d/key.json" "$PROBE" --dry-run
    if [ "$status" -eq 0 ]; then pass; else fail "config/key_$key: $(head -n 1 "$err")"; fi
done
for key in Memory CPUs Ports UDPPorts IPAddress IPv6Address NetMask Gateway Nics Bridged BridgeName TapName Accel Debug \
    GdbPort QMP ImageName InstanceName Kernel Mounts VolumeSizeInGb Background AtExit JSON Verbose ShowDebug ShowErrors \
    ShowWarnings ThreadsPerCore Vga GPUs; do
    conf key "{\"RunConfig\": {\"$key\": null}}"
    run "$LETHE" run --kernel "$STUB" -c "$d/key.json" "$PROBE" --dry-run
    if [ "$status" -eq 0 ]; then pass; else fail "config/key_RunConfig.$key: $(head -n 1 "$err")"; fi
done

for key in Platform ProjectID Zone BucketName BucketNamespace ImageName ImageType Flavor VPC Subnet SecurityGroup StaticIP EnableIPv6 \
    DomainName Tags InstanceProfile KMS RootVolume Spot DedicatedHostID ConfidentialVM UserData; do
    conf key "{\"CloudConfig\": {\"$key\": null}}"
    run "$LETHE" run --kernel "$STUB" -c "$d/key.json" "$PROBE" --dry-run
    if [ "$status" -eq 0 ]; then pass; else fail "config/key_CloudConfig.$key: $(head -n 1 "$err")"; fi
done

# lethe config: what comes of each key; docs/tool.md tells of all there are.
conf check "{\"Program\": \"$PROBE\", \"Klibs\": [], \"RunConfig\": {\"memory\": \"1g\"}, \"CloudConfig\": {\"Zone\": \"z\"}}"
expect_output config/check 0 "Program                      supported
Klibs                        ignored: it is about Nanos, another kernel
RunConfig.Memory             supported
CloudConfig.Zone             supported" "$LETHE" config check "$d/check.json"
run "$LETHE" config check "$d/check.json" --json
holds config/check_json perl -MJSON::PP -e 'local $/; my $l = decode_json(<>); exit !(@$l == 4 && $l->[0]{supported} && !$l->[1]{supported} && $l->[1]{reason})' "$out"
expect config/check_wrong 2 "unknown key 'Argz'" "$LETHE" config check "$d/unknown.json"
expect config/check_syntax 2 'not valid JSON at line 2' "$LETHE" config check "$d/syntax.json"
expect config/check_missing 2 'cannot read the configuration' "$LETHE" config check "$d/none.json"
conf program '{"Program": "/surely/not/there"}'
expect config/check_program 2 'program.json: cannot read the program /surely/not/there: No such file' "$LETHE" config check "$d/program.json"
expect config/check_usage 2 'write: lethe config check FILE' "$LETHE" config check
expect config/unknown_verb 2 "unknown verb 'config chekc'; the nearest is 'config check'" "$LETHE" config chekc
run "$LETHE" config keys
for key in $(sed 's/ .*//; s/.*\.//' "$out"); do
    holds "config/documented_$key" grep -q "^|.*[\`.]$key\`" docs/tool.md
done

# Effects, read from the image.
conf full "{\"args\": [\"first\", \"two words\"], \"Env\": {\"A\": \"b%c\"}, \"Program\": \"ignored\",
  \"Files\": [\"tree/one.txt\", \"etc/thing\"], \"Dirs\": [\"tree/sub\"], \"LocalFilesParentDirectory\": \"$d\",
  \"TargetRoot\": \"$d/root\", \"MapDirs\": {\"tree/*.txt\": \"/texts\", \"tree\": \"/all\"},
  \"BaseVolumeSz\": \"3m\", \"RunConfig\": {\"Memory\": \"96m\", \"CPUs\": 3, \"Accel\": false, \"InstanceName\": \"me\"}}"
expect config/full 0 '' "$LETHE" build --kernel "$STUB" -c "$d/full.json" "$PROBE" -o "$d/full" -e B=2
holds config/full_memory grep -q -- '-smp 3 -m 98304k' "$out"
holds config/full_accel grep -q -- '-accel tcg' "$out"
in_image() { # in_image NAME PATH TEXT
    debugfs -R "cat $2" "$d/full/root.img" 2>/dev/null > "$out"
    if [ "$(cat "$out")" = "$3" ]; then pass; else fail "config/$1: $2 holds '$(head -n 3 "$out" | tr '\n' '|')'"; fi
}
in_image files /tree/one.txt one
in_image target_root /etc/thing rooted
in_image dirs /tree/sub/two.txt two
in_image map_pattern /texts/one.txt one
in_image map_pattern_below /texts/sub/two.txt two
in_image map_pattern_else /texts/sub/three.bin ''
in_image map_dir /all/sub/three.bin three
in_image configuration /.lethe/config 'lethe-config 1
program /probe
arg /probe
arg first
arg two%20words
env A=b%25c
env B=2
env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
env HOME=/
hostname me'
if [ "$(stat -c %s "$d/full/root.img")" -ge 3145728 ]; then pass; else fail "config/BaseVolumeSz"; fi

conf program "{\"ProgramPath\": \"$PROBE\", \"Program\": \"bin/renamed\", \"RunConfig\": {\"Memory\": 64}}"
expect config/program 0 '' "$LETHE" build --kernel "$STUB" -c "$d/program.json" -o "$d/program" -- only
holds config/program_memory grep -q -- '-m 65536k' "$out"
holds config/program_path sh -c "debugfs -R 'stat /bin/renamed' '$d/program/root.img' 2>&1 | grep -q 'Type: regular'"
holds config/repository_file "$LETHE" run --kernel "$STUB" -c ops.conf "$PROBE" --dry-run
