# SPDX-License-Identifier: BSD-2-Clause
# bash completion for lethe(1): verbs, options, and the words that options and verbs take.
_lethe() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]} second=${COMP_WORDS[2]} words
    local formats='raw qcow2 vmdk vdi vhd ova gcp oci firecracker cloud-hypervisor libvirt'
    local clouds='aws azure digitalocean gcp hetzner openstack oracle proxmox upcloud vsphere vultr'
    local takers="$clouds hyperv ibm kubevirt onprem oracle scaleway upcloud urunc virtualbox vmware vsphere vultr"
    local options='--config --memory --smp --env --file --rootfs --sysroot --mount --cwd --hostname -it --port --net --accel --machine --arch
        --kernel --append --qemu-arg --disk --disk-bus --root --uefi --firmware --timeout --zone --project --bucket --url --flavor --subnet --strace
        --verbose --dry-run --unchecked --output --type --name --json'

    COMPREPLY=()
    case $before in
    -t | --type) words="$formats $takers" ;;
    --accel) words='auto kvm tcg' ;;
    --machine) words='microvm pc q35 virt' ;;
    --arch) words='x86_64 aarch64' ;;
    --disk-bus) words='virtio scsi nvme ahci pvscsi' ;;
    --root) words='disk memory' ;;
    --net) words='user none tap= bridge=' ;;
    -m | --memory | --smp | -e | --env | --hostname | -p | --port | --append | --qemu-arg | --timeout | --zone | --project | --bucket | --url | \
        --flavor | --subnet | -i | --name | --mount) return ;;
    -c | --config | --kernel | --disk | --firmware | -f | --file | --rootfs | --sysroot | -w | --cwd | -o | --output)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    esac
    if [ -z "$words" ] && [ "$COMP_CWORD" -eq 1 ]; then
        words='run build deploy image instance volume config help version'
    elif [ -z "$words" ] && [ "$COMP_CWORD" -eq 2 ]; then
        case $verb in
        image) words='create convert list inspect delete' ;;
        instance) words='create list logs stop delete' ;;
        volume) words='create list delete' ;;
        config) words='check keys' ;;
        deploy) words=$clouds ;;
        esac
    elif [ -z "$words" ] && [ "$COMP_CWORD" -eq 3 ] && [ "${current#-}" = "$current" ]; then
        case $verb/$second in
        image/convert | image/inspect | image/delete | instance/create) words=$(lethe image list 2>/dev/null | awk '{ print $1 }') ;;
        instance/logs | instance/stop | instance/delete) words=$(lethe instance list 2>/dev/null | awk '{ print $1 }') ;;
        volume/delete) words=$(lethe volume list 2>/dev/null | awk '{ print $1 }') ;;
        esac
    fi
    if [ -z "$words" ] && [ "${current#-}" != "$current" ]; then words=$options; fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    [ "${#COMPREPLY[@]}" -gt 0 ] || mapfile -t COMPREPLY < <(compgen -f -- "$current")
}
complete -o filenames -F _lethe lethe
