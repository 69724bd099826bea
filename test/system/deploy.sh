# SPDX-License-Identifier: BSD-2-Clause
# `lethe deploy`, with commands in place of the providers' that write down how they were called, and fail when they are told to.
d=$work/deploy
mkdir -p "$d/bin" "$d/none"
kernel=build/x86_64/lethe-kernel
XDG_CACHE_HOME=$d/cache XDG_DATA_HOME=$d/data CALLS=$d/calls
export XDG_CACHE_HOME XDG_DATA_HOME CALLS
cat > "$d/bin/fake" <<'END'
#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
call="${0##*/} $*"
echo "$call" >> "$CALLS"
for word; do case ${word#*=} in "$XDG_CACHE_HOME"/*) cp "${word#*=}" "$CALLS.file" || exit 1 ;; esac; done
if [ -n "${REFUSE:-}" ] && echo "$call" | grep -Eq -- "$REFUSE"; then
    printf 'a first line\nno quota for this\n\n' >&2
    exit 1
fi
[ -z "${SLOW:-}" ] || ! echo "$call" | grep -Eq -- "$SLOW" || sleep 3
case $call in
*'auth list'* | *get-caller-identity* | *'account show'* | 'oci os ns get'* | 'govc about'* | 'vultr-cli account'* | *'account get'* | *'location list'* | *'token issue'* | *'get /version'*)
    [ -n "${LOGGED_OUT:-}" ] || echo somebody ;;
*'image import'*) echo ocid1.image ;;
*'compute image get --image-id'*) echo '{"data": {"lifecycle-state": "AVAILABLE"}}' ;;
*'instance launch'*) echo ocid1.instance ;;
*create-url*) echo '{"snapshot": {"id": "snap-7", "status": "pending"}}' ;;
*'snapshot get'*) echo '{"snapshot":{"id":"snap-7","status":"complete"}}' ;;
'vultr-cli instance create'*) echo '{"instance": {"id": "inst-7"}}' ;;
*import-snapshot\ *) echo import-1 ;;
*describe-import*) echo snap-1 ;;
*register-image*) echo ami-1 ;;
*run-instances*) echo i-1 ;;
*nextid*) echo 107 ;;
*'compute image get'*) echo '[ { "status": "available" } ]' ;;
*'image create'* | *'image list'*) printf 'a line before\n4711\n' ;;
*create*) echo 1 ;;
esac
END
chmod +x "$d/bin/fake"
for program in gcloud aws az doctl hcloud hcloud-upload-image openstack qm pvesh oci upctl govc vultr-cli; do ln -s fake "$d/bin/$program"; done
deploy() { : > "$CALLS"; PATH=$d/bin:$PATH "$work/lethe" deploy "$@" --kernel "$kernel"; }
hello=build/examples/c-hello

# calls NAME TEXT: the provider was called so, in this order
calls() { if [ "$(cat "$CALLS")" = "$2" ]; then pass; else fail "deploy/$1: $(diff "$CALLS" - <<END | head -n 6 | tr '\n' '|'
$2
END
)"; fi; }
file() { echo "$XDG_CACHE_HOME/lethe/deploy/$1"; }
unnumber() { sed -E -i 's,-[0-9]+(\.(img|qcow2|vhd|tar\.gz)),\1,' "$CALLS" "$out"; }

run deploy gcp $hello --zone europe-west1-b --bucket mine --project p1
if [ "$status" -eq 0 ]; then pass; else fail "deploy/gcp: status $status: $(head -n 1 "$err")"; fi
unnumber
calls gcp "gcloud auth list --filter=status:ACTIVE --format=value(account)
gcloud storage cp $(file c-hello.tar.gz) gs://mine/c-hello.tar.gz --project=p1
gcloud compute images create c-hello --source-uri=gs://mine/c-hello.tar.gz --architecture=X86_64 --guest-os-features=UEFI_COMPATIBLE --project=p1
gcloud storage rm gs://mine/c-hello.tar.gz --project=p1
gcloud compute instances create c-hello --image=c-hello --zone=europe-west1-b --machine-type=e2-small --project=p1"
holds deploy/gcp_console grep -q '^# console: gcloud compute instances get-serial-port-output c-hello' "$out"
holds deploy/gcp_file sh -c "tar -tzf '$CALLS.file' | grep -qx disk.raw"
holds deploy/file_gone sh -c "! ls '$XDG_CACHE_HOME/lethe/deploy/'* 2>/dev/null"

# The commands of --dry-run are those that are run, and nothing is called; a shell takes them as they stand.
holds deploy/commands sh -c "grep ^gcloud '$out' > '$d/ran' && [ \$(wc -l < '$d/ran') -eq 4 ]"
run deploy gcp $hello --zone europe-west1-b --bucket mine --project p1 --dry-run
holds deploy/dry_run sh -c "grep ^gcloud '$out' | sed 's,cp c-hello.tar.gz,cp $(file c-hello.tar.gz),' | cmp - '$d/ran'"
calls dry_run ''

"$work/lethe" image create --kernel "$kernel" $hello -i stored >/dev/null
expect deploy/aws 0 'no driver for Amazon.* but no network' deploy aws stored --bucket b --zone us-west-2a
unnumber
calls aws "aws sts get-caller-identity --query Account --output text
aws s3 cp $(file stored.img) s3://b/stored.img --region=us-west-2
aws ec2 import-snapshot --disk-container=Format=RAW,UserBucket={S3Bucket=b,S3Key=stored.img} --query=ImportTaskId --output=text --region=us-west-2
aws ec2 wait snapshot-imported --import-task-ids=import-1 --region=us-west-2
aws ec2 describe-import-snapshot-tasks --import-task-ids=import-1 --query=ImportSnapshotTasks[0].SnapshotTaskDetail.SnapshotId --output=text --region=us-west-2
aws s3 rm s3://b/stored.img --region=us-west-2
aws ec2 register-image --name=stored --architecture=x86_64 --virtualization-type=hvm --ena-support --boot-mode=uefi --root-device-name=/dev/xvda --block-device-mappings=DeviceName=/dev/xvda,Ebs={SnapshotId=snap-1} --query=ImageId --output=text --region=us-west-2
aws ec2 run-instances --image-id=ami-1 --instance-type=t3.small --query=Instances[0].InstanceId --output=text --region=us-west-2"
deploy aws stored --bucket b --dry-run > "$d/script" 2>/dev/null
: > "$CALLS"
holds deploy/aws_script sh -c "cd '$d' && PATH=$d/bin:\$PATH sh -eu script"
holds deploy/aws_script_ran grep -q 'run-instances --image-id=ami-1' "$CALLS"
expect deploy/azure 0 'no driver for Azure' deploy azure $hello -i one --bucket account/images --project group
holds deploy/azure_disk grep -q -- '--source=https://account.blob.core.windows.net/images/one.vhd' "$CALLS"
holds deploy/azure_vhd sh -c "tail -c 512 '$CALLS.file' | grep -aq conectix"
expect deploy/digitalocean 0 '' deploy digitalocean -i one --zone fra1 --url https://example.org/one.qcow2
calls digitalocean "doctl account get --format=Status --no-header
doctl compute image create one --region=fra1 --image-url=https://example.org/one.qcow2 --format=ID --no-header
doctl compute image get 4711 --output=json
doctl compute droplet create one --image=4711 --size=s-1vcpu-1gb --region=fra1 --wait --format=ID --no-header"
expect deploy/hetzner 0 '' deploy hetzner $hello --flavor cx22
holds deploy/hetzner_server grep -q 'hcloud server create --name=c-hello --image=4711 --type=cx22' "$CALLS"
printf '{"Program": "%s", "CloudConfig": {"Platform": "openstack", "Flavor": "m1.tiny", "ImageName": "from-ops"}}' "$PWD/$hello" > "$d/ops.json"
expect deploy/openstack 0 '' deploy -c "$d/ops.json"
holds deploy/openstack_server grep -q 'openstack server create from-ops --image=4711 --flavor=m1.tiny' "$CALLS"
expect deploy/proxmox 0 '' deploy proxmox $hello --bucket local-lvm -m 64m --smp 2
holds deploy/proxmox_create grep -q 'qm create 107 --name=c-hello --memory=64 --cores=2' "$CALLS"
holds deploy/proxmox_start grep -qx 'qm start 107' "$CALLS"

expect deploy/oracle 0 '' deploy oracle $hello --zone AD-1 --bucket mine --project ocid1.compartment --subnet ocid1.subnet
unnumber
calls oracle "oci os ns get --query=data --raw-output
oci os ns get --query=data --raw-output
oci os object put --bucket-name=mine --name=c-hello.qcow2 --file=$(file c-hello.qcow2) --no-overwrite
oci compute image import from-object --namespace=somebody --bucket-name=mine --name=c-hello.qcow2 --compartment-id=ocid1.compartment --display-name=c-hello --source-image-type=QCOW2 --launch-mode=PARAVIRTUALIZED --query=data.id --raw-output
oci compute image get --image-id=ocid1.image
oci os object delete --bucket-name=mine --object-name=c-hello.qcow2 --force
oci compute instance launch --availability-domain=AD-1 --compartment-id=ocid1.compartment --shape=VM.Standard.E2.1.Micro --image-id=ocid1.image --subnet-id=ocid1.subnet --display-name=c-hello --query=data.id --raw-output"
expect deploy/upcloud 0 '' deploy upcloud $hello --zone fi-hel1
unnumber
calls upcloud "upctl account show
upctl storage import --title=c-hello-disk --zone=fi-hel1 --source-location=$(file c-hello.img) --wait
upctl storage templatise c-hello-disk --title=c-hello-template --wait
upctl storage delete c-hello-disk
upctl server create --title=c-hello --hostname=c-hello --zone=fi-hel1 --plan=1xCPU-1GB --os=c-hello-template --wait"
expect deploy/vsphere 0 '' deploy vsphere $hello --subnet 'VM Network'
holds deploy/vsphere_ova sh -c "tar -tf '$CALLS.file' | grep -qx disk.vmdk"
holds deploy/vsphere_net grep -qx 'govc vm.network.add -vm=c-hello -net.adapter=vmxnet3 -net=VM Network' "$CALLS"
holds deploy/vsphere_on grep -qx 'govc vm.power -on c-hello' "$CALLS"
expect deploy/vultr 0 '' deploy vultr -i one --zone ams --url https://example.org/one.raw
calls vultr "vultr-cli account --output=json
vultr-cli snapshot create-url --url=https://example.org/one.raw --description=one --output=json
vultr-cli snapshot get snap-7 --output=json
vultr-cli instance create --region=ams --plan=vc2-1c-1gb --snapshot=snap-7 --label=one --host=one --output=json"
run deploy vultr -i one --zone ams --url https://example.org/one.raw --dry-run
holds deploy/vultr_script grep -q '^snapshot=$(vultr-cli snapshot create-url .* | jq -r .snapshot.id)$' "$out"

# Failures: one line; what was made is taken back, or named.
failing() { # failing NAME PATTERN REFUSE COMMAND...
    name=$1 pattern=$2 REFUSE=$3
    export REFUSE
    shift 3
    expect "deploy/$name" 2 "$pattern" "$@"
    holds "deploy/${name}_file_gone" sh -c "! ls '$XDG_CACHE_HOME/lethe/deploy/'* 2>/dev/null"
    unset REFUSE
}
where='--zone z --bucket mine'
# shellcheck disable=SC2086 # the words are meant to split
{
LOGGED_OUT=yes failing logged_out 'gcloud is not logged in .*log in with: gcloud auth login' nothing deploy gcp $hello $where
calls logged_out 'gcloud auth list --filter=status:ACTIVE --format=value(account)'
failing login_fails 'az is not logged in \(no quota for this\); log in with: az login' 'account show' deploy azure $hello --bucket a/c --project g
failing upload "deploy gcp: 'gcloud storage cp .*' failed: no quota for this; nothing is left behind" 'storage cp' deploy gcp $hello $where
failing image "'gcloud compute images create' failed: no quota for this; nothing is left" 'images create' deploy gcp $hello $where
holds deploy/image_upload_gone sh -c "tail -n 1 '$CALLS' | grep -qx 'gcloud storage rm gs://mine/c-hello.tar.gz'"
failing instance "'gcloud compute instances create' failed: no quota for this; nothing is left" 'instances create' deploy gcp $hello $where
holds deploy/instance_image_gone sh -c "tail -n 1 '$CALLS' | grep -qx 'gcloud compute images delete c-hello --quiet'"
failing left_behind 'this is left behind: the image c-hello$' 'instances create|images delete' deploy gcp $hello $where
failing left_snapshot 'this is left behind: the snapshot with the label lethe=c-hello$' 'image list' deploy hetzner $hello --flavor cx22
}

# Asked to end in the middle of a step, it takes back what was made before.
: > "$CALLS"
(PATH=$d/bin:$PATH SLOW='instances create' exec "$work/lethe" deploy gcp $hello --zone z --bucket mine --kernel "$kernel") >"$out" 2>"$err" </dev/null &
pid=$! tries=100
until grep -q 'instances create' "$CALLS" || [ $((tries -= 1)) -eq 0 ]; do sleep 0.1; done
kill -TERM $pid
wait $pid
status=$?
holds deploy/interrupted sh -c "[ $status -eq 2 ] && grep -q 'failed: interrupted; nothing is left behind' '$err'"
holds deploy/interrupted_image_gone sh -c "tail -n 1 '$CALLS' | grep -qx 'gcloud compute images delete c-hello --quiet'"

# Bad input: before anything is made or called.
expect deploy/no_tool 2 'deploy gcp needs the program gcloud; it is in the package google-cloud-cli' \
    env PATH="$d/none" "$work/lethe" deploy gcp $hello --zone z --bucket b --kernel "$kernel"
expect deploy/no_debian_tool 2 'needs the program aws; it is in the Debian package awscli' \
    env PATH="$d/none" "$work/lethe" deploy aws $hello --bucket b --kernel "$kernel"
expect deploy/unknown 2 "unknown provider 'gpc'; the nearest is 'gcp'" deploy gpc $hello
expect deploy/undriven 2 "does not drive scaleway; 'lethe image create -t scaleway' makes the image" deploy scaleway $hello
expect deploy/no_subnet 2 'deploy oracle needs --subnet \(the network' deploy oracle $hello --zone z --bucket b --project p
expect deploy/no_provider 2 'name a provider' deploy
expect deploy/no_program 2 'name a program or a disk image' deploy gcp --zone z
expect deploy/no_zone 2 'deploy gcp needs --zone' deploy gcp $hello --bucket b
expect deploy/no_account 2 'with --bucket ACCOUNT/CONTAINER' deploy azure $hello --bucket b --project g
expect deploy/no_such_program 2 'cannot read the program ./none' deploy openstack ./none --flavor f
expect deploy/no_such_image 2 "there is no image 'none'" deploy openstack none --flavor f
expect deploy/bad_name 2 "'No_Name' is no name that clouds take" deploy openstack $hello -i No_Name --flavor f
expect deploy/url_unwanted 2 'uploads the image itself' deploy openstack $hello --flavor f --url https://example.org/
holds deploy/nothing_left sh -c "! ls '$XDG_CACHE_HOME/lethe/deploy/'* 2>/dev/null"
unset XDG_CACHE_HOME XDG_DATA_HOME CALLS
