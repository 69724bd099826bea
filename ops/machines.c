// SPDX-License-Identifier: BSD-2-Clause
// Images that are folders: what a monitor or libvirt starts, beside the file that tells it how.
//
//     firecracker         lethe-kernel, root.img, firecracker.json        (its --config-file)
//     cloud-hypervisor    lethe-kernel, root.img, cloud-hypervisor.json   (VmConfig of its API)
//     libvirt             disk.img, domain.xml
//
// Paths in the JSON files are relative, so that the folder may be moved; libvirt wants whole ones.
#include <cjson/cJSON.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "disk.h"
#include "lethe.h"

struct machine_format {
    const char *name, *file;
    const char *mounts;  // why it has no volumes, or NULL
    bool disk;           // starts from a disk image, not from kernel and root image
    char *(*describe)(const struct job *job);
    const char *start;  // the command, in the folder
};

// What a name becomes on the host's side of a network; QEMU's own network is not theirs.
static void check_network(const struct job *job)
{
    if (job->net == NET_USER)
        die("-t %s: there is no user network; give it a tap device with --net tap=NAME",
            job->format);
    if (job->net == NET_BRIDGE)
        die("-t %s: it knows no bridges; put a tap device on the bridge, and say --net tap=NAME",
            job->format);
}

static char *text_of(cJSON *object)
{
    char *printed = cJSON_Print(object), *text = format("%s\n", printed);

    cJSON_Delete(object);
    free(printed);
    return text;
}

// docs/getting-started of Firecracker and its API's description: the objects of a configuration file.
static char *describe_firecracker(const struct job *job)
{
    cJSON *root = cJSON_CreateObject(), *part = cJSON_AddObjectToObject(root, "boot-source");

    cJSON_AddStringToObject(part, "kernel_image_path", "lethe-kernel");
    cJSON_AddStringToObject(part, "initrd_path", "root.img");
    cJSON_AddStringToObject(part, "boot_args", machine_image_words(job));
    cJSON_AddArrayToObject(root, "drives");
    part = cJSON_AddObjectToObject(root, "machine-config");
    cJSON_AddNumberToObject(part, "vcpu_count", job->cpus);
    cJSON_AddNumberToObject(part, "mem_size_mib", (job->memory_bytes + MIB - 1) / MIB);
    part = cJSON_AddArrayToObject(root, "network-interfaces");
    if (job->net == NET_TAP) {
        cJSON *nic = cJSON_CreateObject();
        cJSON_AddStringToObject(nic, "iface_id", "eth0");
        cJSON_AddStringToObject(nic, "host_dev_name", job->net_name);
        cJSON_AddItemToArray(part, nic);
    }
    part = cJSON_AddObjectToObject(root, "balloon");
    cJSON_AddNumberToObject(part, "amount_mib", 0);
    cJSON_AddBoolToObject(part, "deflate_on_oom", true);
    cJSON_AddObjectToObject(root, "entropy");
    return text_of(root);
}

// VmConfig in Cloud Hypervisor's description of its API.
static char *describe_cloud_hypervisor(const struct job *job)
{
    cJSON *root = cJSON_CreateObject(), *part = cJSON_AddObjectToObject(root, "cpus");

    cJSON_AddNumberToObject(part, "boot_vcpus", job->cpus);
    cJSON_AddNumberToObject(part, "max_vcpus", job->cpus);
    part = cJSON_AddObjectToObject(root, "memory");
    cJSON_AddNumberToObject(part, "size", (job->memory_bytes + MIB - 1) / MIB * MIB);
    part = cJSON_AddObjectToObject(root, "payload");
    cJSON_AddStringToObject(part, "kernel", "lethe-kernel");
    cJSON_AddStringToObject(part, "initramfs", "root.img");
    cJSON_AddStringToObject(part, "cmdline", machine_image_words(job));
    for (size_t i = 0; i < job->n_mounts; i++) {
        cJSON *disk = cJSON_CreateObject();
        if (!i)
            part = cJSON_AddArrayToObject(root, "disks");
        cJSON_AddStringToObject(disk, "path", realpath(job->mounts[i].image, NULL));
        cJSON_AddBoolToObject(disk, "readonly", job->mounts[i].read_only);
        cJSON_AddStringToObject(disk, "serial", format("volume%zu", i));
        cJSON_AddItemToArray(part, disk);
    }
    if (job->net == NET_TAP) {
        cJSON *nic = cJSON_CreateObject();
        cJSON_AddStringToObject(nic, "tap", job->net_name);
        cJSON_AddItemToArray(cJSON_AddArrayToObject(root, "net"), nic);
    }
    part = cJSON_AddObjectToObject(root, "rng");
    cJSON_AddStringToObject(part, "src", "/dev/urandom");
    part = cJSON_AddObjectToObject(root, "balloon");
    cJSON_AddNumberToObject(part, "size", 0);
    cJSON_AddBoolToObject(part, "deflate_on_oom", true);
    cJSON_AddBoolToObject(part, "free_page_reporting", true);
    part = cJSON_AddObjectToObject(root, "serial");
    cJSON_AddStringToObject(part, "mode", "Tty");
    part = cJSON_AddObjectToObject(root, "console");
    cJSON_AddStringToObject(part, "mode", "Off");
    return text_of(root);
}

// ---- libvirt

static char *xml_escape(const char *text)
{
    char *escaped = xstrdup("");

    for (; *text; text++)
        escaped = *text == '&'    ? format("%s&amp;", escaped)
                  : *text == '<'  ? format("%s&lt;", escaped)
                  : *text == '\'' ? format("%s&apos;", escaped)
                                  : format("%s%c", escaped, *text);
    return escaped;
}

static char *disk_xml(const char *path, const char *serial, bool read_only, unsigned number)
{
    return format("    <disk type='file' device='disk'>\n"
                  "      <driver name='qemu' type='raw'/>\n"
                  "      <source file='%s'/>\n"
                  "      <target dev='vd%c' bus='virtio'/>\n"
                  "%s%s    </disk>\n",
                  xml_escape(path), 'a' + number, read_only ? "      <readonly/>\n" : "",
                  serial ? format("      <serial>%s</serial>\n", serial) : "");
}

static char *network_xml(const struct job *job)
{
    switch (job->net) {
    case NET_USER:
        return xstrdup("    <interface type='user'><model type='virtio'/></interface>\n");
    case NET_BRIDGE:
        return format("    <interface type='bridge'><source bridge='%s'/><model type='virtio'/>"
                      "</interface>\n",
                      xml_escape(job->net_name));
    case NET_TAP:
        return format("    <interface type='ethernet'><target dev='%s' managed='no'/>"
                      "<model type='virtio'/></interface>\n",
                      xml_escape(job->net_name));
    case NET_AUTO:
    case NET_NONE: break;
    }
    return xstrdup("");
}

// The same name has the same identifier, so that a domain may be defined anew. (A GUID of version 8, RFC 9562.)
static char *uuid_of(const char *name)
{
    uint64_t low = 0xcbf29ce484222325, high = 0x84222325cbf29ce4;

    for (; *name; name++) {
        low = (low ^ (uint8_t)*name) * 0x100000001b3;
        high = (high ^ (uint8_t)*name ^ 0x55) * 0x100000001b3;
    }
    return format("%08x-%04x-8%03x-a%03x-%012llx", (unsigned)(low >> 32),
                  (unsigned)(low >> 16) & 0xffff, (unsigned)low & 0xfff,
                  (unsigned)(high >> 48) & 0xfff, (unsigned long long)high & 0xffffffffffff);
}

static char *describe_libvirt(const struct job *job)
{
    char *folder = realpath(job->output, NULL), *disks, *name;
    const char *slash = strrchr(folder ? folder : job->output, '/');

    name = xstrdup(job->name ? job->name : slash ? slash + 1 : job->output);
    check_name(name);
    if (job->ports.count)
        die("-t libvirt: libvirt's user network forwards no ports; use --net bridge=NAME or tap=NAME");
    disks = disk_xml(format("%s/disk.img", folder), NULL, true, 0);
    for (size_t i = 0; i < job->n_mounts; i++)
        disks = format("%s%s", disks,
                       disk_xml(realpath(job->mounts[i].image, NULL), format("volume%zu", i),
                                job->mounts[i].read_only, i + 1));
    return format(
        "<domain type='%s'>\n"
        "  <name>%s</name>\n"
        "  <uuid>%s</uuid>\n"
        "  <memory unit='KiB'>%llu</memory>\n"
        "  <vcpu>%u</vcpu>\n"
        "  <os%s><type arch='x86_64' machine='q35'>hvm</type></os>\n"
        "  <features><acpi/><apic/></features>\n"
        "  <cpu mode='%s'/>\n"
        "  <on_poweroff>destroy</on_poweroff>\n"
        "  <on_reboot>destroy</on_reboot>\n"
        "  <on_crash>destroy</on_crash>\n"
        "  <devices>\n"
        "%s%s"
        "    <serial type='pty'><target port='0'/></serial>\n"
        "    <console type='pty'><target type='serial' port='0'/></console>\n"
        "    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>\n"
        "    <memballoon model='virtio' freePageReporting='on'/>\n"
        "  </devices>\n"
        "</domain>\n",
        job->accel == ACCEL_KVM ? "kvm" : "qemu", name, uuid_of(name),
        (unsigned long long)job->memory_bytes >> 10, job->cpus, job->uefi ? " firmware='efi'" : "",
        job->accel == ACCEL_KVM ? "host-passthrough" : "maximum", disks, network_xml(job));
}

static const struct machine_format machine_formats[] = {
    {"firecracker", "firecracker.json",
     "it gives disks no serial numbers, by which volumes are found", false, describe_firecracker,
     "firecracker --no-api --config-file firecracker.json"},
    {"cloud-hypervisor", "cloud-hypervisor.json", NULL, false, describe_cloud_hypervisor,
     "cloud-hypervisor --api-socket api.sock & sleep 1; ch-remote --api-socket api.sock create "
     "cloud-hypervisor.json && ch-remote --api-socket api.sock boot"},
    {"libvirt", "domain.xml", NULL, true, describe_libvirt, "virsh define domain.xml"},
};
enum { N_MACHINE_FORMATS = sizeof(machine_formats) / sizeof(machine_formats[0]) };

const char *machine_format_name(size_t i)
{
    return i < N_MACHINE_FORMATS ? machine_formats[i].name : NULL;
}

static const struct machine_format *machine_format_named(const char *name)
{
    for (size_t i = 0; i < N_MACHINE_FORMATS; i++)
        if (!strcmp(name, machine_formats[i].name))
            return &machine_formats[i];
    return NULL;
}

bool is_machine_format(const char *name) { return name && machine_format_named(name); }

// The job as such a folder, at job->output.
int machine_folder_create(struct job *job)
{
    const struct machine_format *f = machine_format_named(job->format);
    char *text;

    if (!job->program_host)
        die("image create: no program named; try 'lethe help'");
    if (!job->output)
        die("-t %s makes a folder: say where with -o", f->name);
    if (f->mounts && job->n_mounts)
        die("-t %s has no volumes: %s", f->name, f->mounts);
    if (!f->disk && job->root_place == ROOT_DISK)
        die("-t %s starts from a root image in memory; leave --root disk out", f->name);
    job->full_kernel = true;
    job_settle(job);
    if (strcmp(job->arch, "x86_64"))
        die("-t %s is made for x86_64 programs only, and %s is for %s", f->name, job->program_host,
            job->arch);
    if (!f->disk)
        check_network(job);
    if (!job->dry_run) {
        output_folder(job->output);
        text = f->describe(job);
        if (f->disk) {
            char *path = format("%s/disk.img", job->output);
            int fd = output_begin(path, NULL);
            build_disk(job, fd, path);
            output_end(fd);
        } else {
            write_root(job, format("%s/root.img", job->output));
            copy_kernel(job, format("%s/lethe-kernel", job->output));
        }
        output_text(format("%s/%s", job->output, f->file), text);
        output_folder_end();
    }
    printf("cd %s && %s\n", shell_quote(job->output), f->start);
    return 0;
}
