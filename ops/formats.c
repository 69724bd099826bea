// SPDX-License-Identifier: BSD-2-Clause
// Formats of disk images: telling them apart, and making them.
#include "lethe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk.h"
#include "tar.h"

// QEMU's name for the format of the disk image PATH, by its first bytes (a fixed VHD: by its last).
const char *disk_format(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char head[80] = "", tail[8] = "";
    off_t end;

    if (fd < 0)
        die("cannot read the disk %s: %s", path, strerror(errno));
    end = lseek(fd, 0, SEEK_END);
    if (pread(fd, head, sizeof(head), 0) < (ssize_t)sizeof(head) || end < SECTOR)
        die("%s is no disk image", path);
    if (pread(fd, tail, sizeof(tail), end - SECTOR) < 0)
        die("cannot read the disk %s: %s", path, strerror(errno));
    close(fd);
    if (!memcmp(head, "QFI\xfb", 4))
        return "qcow2";
    if (!memcmp(head, "KDMV", 4))
        return "vmdk";
    if (!memcmp(head + 64, "\x7f\x10\xda\xbe", 4))
        return "vdi";
    if (!memcmp(tail, "conectix", 8))
        return "vpc";
    return "raw";
}

// The architecture that a disk is for: what its root partition says. => x86_64 when that cannot be read
const char *disk_arch(const char *path, const char *disk_format)
{
    uint8_t type[16] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd >= 0 && (!strcmp(disk_format, "raw") || !strcmp(disk_format, "vpc")) &&
        pread(fd, type, sizeof(type), 2 * SECTOR + 128) < 0)
        memset(type, 0, sizeof(type));
    if (fd >= 0)
        close(fd);
    return memcmp(type, gpt_root_aarch64, 16) ? "x86_64" : "aarch64";
}

// ---- making them: all from a raw disk. What QEMU's tool fills with random identifiers gets one that is made from the disk's own.

enum { VDI_UUIDS = 0x188 };

static void disk_guid(const struct image_source *source, uint8_t guid[16])
{
    if (pread(source->disk, guid, 16, SECTOR + 56) != 16)
        die("cannot read the image: it is cut short");
}

// Through qemu-img into FD.
static void convert(const struct image_source *source, int out, const char *qemu,
                    const char *options)
{
    char *from = format("/dev/fd/%d", dup(source->disk)), *to = format("/dev/fd/%d", dup(out));
    const char *const argv[] = {"qemu-img",
                                "convert",
                                "-f",
                                "raw",
                                "-O",
                                qemu,
                                options ? "-o" : from,
                                options ? options : to,
                                options ? from : NULL,
                                to,
                                NULL};

    run_program(argv, "qemu-utils", -1, -1);
    close(atoi(from + 8));
    close(atoi(to + 8));
}

static void make_raw(const struct image_source *source, int out, const char *path)
{
    static uint8_t piece[1 << 20], zeros[4096];

    if (ftruncate(out, source->bytes))
        die("cannot write %s: %s", path, strerror(errno));
    for (uint64_t at = 0; at < source->bytes;) {
        ssize_t n = pread(source->disk, piece, sizeof(piece), at);
        if (n <= 0)
            die("cannot read the image: %s", n ? strerror(errno) : "it is cut short");
        for (ssize_t i = 0; i < n; i += sizeof(zeros)) {
            size_t len = n - i < (ssize_t)sizeof(zeros) ? n - i : (ssize_t)sizeof(zeros);
            if (memcmp(piece + i, zeros, len) &&
                pwrite(out, piece + i, len, at + i) != (ssize_t)len)
                die("cannot write %s: %s", path, strerror(errno));
        }
        at += n;
    }
}

static void make_qcow2(const struct image_source *source, int out, const char *path)
{
    (void)path;
    convert(source, out, "qcow2", NULL);
}

// The descriptor is text in sectors of its own, in which qemu-img writes the random identifier without leading zeros.
static void make_vmdk(const struct image_source *source, int out, const char *path)
{
    enum { DESCRIPTOR = 512, DESCRIPTOR_BYTES = 2048 };
    static const char key[] = "\nCID=";
    char text[DESCRIPTOR_BYTES + 1] = "", *fixed, *at;
    uint8_t guid[16];

    convert(source, out, "vmdk", "subformat=streamOptimized");
    disk_guid(source, guid);
    if (pread(out, text, DESCRIPTOR_BYTES, DESCRIPTOR) <= 0 || !(at = strstr(text, key)))
        die("cannot read %s, which qemu-img has made", path);
    at += sizeof(key) - 1;
    fixed = format("%.*s%02x%02x%02x%02x%s", (int)(at - text), text, guid[0] & 0x7f, guid[1],
                   guid[2], guid[3], at + strspn(at, "0123456789abcdef"));
    if (pwrite(out, fixed, strlen(fixed), DESCRIPTOR) != (ssize_t)strlen(fixed))
        die("cannot write %s: %s", path, strerror(errno));
    free(fixed);
}

static void make_vdi(const struct image_source *source, int out, const char *path)
{
    uint8_t uuids[32];

    convert(source, out, "vdi", NULL);
    disk_guid(source, uuids);
    memcpy(uuids + 16, uuids, 16);
    uuids[16] ^= 0xff;
    if (pwrite(out, uuids, sizeof(uuids), VDI_UUIDS) != sizeof(uuids))
        die("cannot write %s: %s", path, strerror(errno));
}

static void put_big(uint8_t *to, int bytes, uint64_t value)
{
    for (; bytes--; value >>= 8)
        to[bytes] = value;
}

// The closing sector of a fixed VHD (Microsoft "Virtual Hard Disk Image Format Specification" 1.0); the disk itself is raw.
static void make_vhd(const struct image_source *source, int out, const char *path)
{
    uint64_t sectors = source->bytes / SECTOR, cylinders;
    uint8_t footer[SECTOR] = "conectix", guid[16];
    uint32_t sum = 0, heads = 16, track = 63;

    make_raw(source, out, path);
    disk_guid(source, guid);
    cylinders = sectors / (heads * track);
    if (cylinders > 65535) {
        track = 255;
        cylinders = sectors / (heads * track);
    }
    put_big(footer + 8, 4, 2);  // features: the bit that is always set
    put_big(footer + 12, 4, 0x10000);
    put_big(footer + 16, 8, UINT64_MAX);
    put_big(footer + 24, 4, image_epoch() - 946684800);  // since 2000
    memcpy(footer + 28, "win ", 4);
    put_big(footer + 32, 4, 0xa0000);
    memcpy(footer + 36, "Wi2k", 4);
    put_big(footer + 40, 8, source->bytes);
    put_big(footer + 48, 8, source->bytes);
    put_big(footer + 56, 2, cylinders < 65535 ? cylinders : 65535);
    footer[58] = heads;
    footer[59] = track;
    put_big(footer + 60, 4, 2);  // fixed
    memcpy(footer + 68, guid, 16);
    for (int i = 0; i < SECTOR; i++)
        sum += footer[i];
    put_big(footer + 64, 4, ~sum);
    if (pwrite(out, footer, SECTOR, source->bytes) != SECTOR)
        die("cannot write %s: %s", path, strerror(errno));
}

static const char ovf[] =
    "<?xml version=\"1.0\"?>\n"
    "<Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\"\n"
    "  xmlns:rasd=\"http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData\"\n"
    "  xmlns:vssd=\"http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData\">\n"
    "  <References><File ovf:id=\"file1\" ovf:href=\"disk.vmdk\" ovf:size=\"%llu\"/></References>\n"
    "  <DiskSection><Info>Disks</Info><Disk ovf:diskId=\"disk1\" ovf:fileRef=\"file1\" ovf:capacity=\"%llu\"\n"
    "    ovf:format=\"http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized\"/></DiskSection>\n"
    "  <NetworkSection><Info>Networks</Info><Network ovf:name=\"net\"><Description>net</Description></Network></NetworkSection>\n"
    "  <VirtualSystem ovf:id=\"%s\"><Info>A program on Lethe</Info><Name>%s</Name>\n"
    "    <OperatingSystemSection ovf:id=\"101\"><Info>Other, 64 bits</Info></OperatingSystemSection>\n"
    "    <VirtualHardwareSection><Info>Hardware</Info>\n"
    "      <System><vssd:ElementName>Hardware</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>\n"
    "        <vssd:VirtualSystemType>vmx-10</vssd:VirtualSystemType></System>\n"
    "      <Item><rasd:ElementName>CPU</rasd:ElementName><rasd:InstanceID>1</rasd:InstanceID>\n"
    "        <rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>%u</rasd:VirtualQuantity></Item>\n"
    "      <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:ElementName>Memory</rasd:ElementName>\n"
    "        <rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType>\n"
    "        <rasd:VirtualQuantity>%llu</rasd:VirtualQuantity></Item>\n"
    "      <Item><rasd:ElementName>SATA</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID>\n"
    "        <rasd:ResourceSubType>AHCI</rasd:ResourceSubType><rasd:ResourceType>20</rasd:ResourceType></Item>\n"
    "      <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>Disk</rasd:ElementName>\n"
    "        <rasd:HostResource>ovf:/disk/disk1</rasd:HostResource><rasd:InstanceID>4</rasd:InstanceID>\n"
    "        <rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>\n"
    "    </VirtualHardwareSection>\n"
    "  </VirtualSystem>\n"
    "</Envelope>\n";

// A name that is safe in XML.
static char *plain_name(const char *name)
{
    char *plain = xstrdup(name);

    for (char *p = plain; *p; p++)
        if (!((*p | 32) >= 'a' && (*p | 32) <= 'z') && !(*p >= '0' && *p <= '9') && *p != '-' &&
            *p != '.')
            *p = '_';
    return plain;
}

static void make_ova(const struct image_source *source, int out, const char *path)
{
    int vmdk = memory_file("disk.vmdk"), text = memory_file("ovf");
    char *name = plain_name(source->name), *xml;
    uint64_t bytes;

    make_vmdk(source, vmdk, path);
    bytes = lseek(vmdk, 0, SEEK_END);
    xml = format(ovf, (unsigned long long)bytes, (unsigned long long)source->bytes, name, name,
                 source->cpus, (unsigned long long)(source->memory_bytes >> 20));
    write_all(text, path, xml, strlen(xml));
    tar_file(out, path, format("%s.ovf", name), text, strlen(xml));
    tar_file(out, path, "disk.vmdk", vmdk, bytes);
    tar_end(out, path);
    close(vmdk);
    close(text);
}

static void make_gcp(const struct image_source *source, int out, const char *path)
{
    const char *const argv[] = {"gzip", "-n", "-c", NULL};
    int tar = memory_file("disk.tar");

    tar_sparse_disk(tar, path, "disk.raw", source->disk, source->bytes);
    tar_end(tar, path);
    lseek(tar, 0, SEEK_SET);
    run_program(argv, "gzip", tar, out);
    close(tar);
}

static const struct image_format formats[] = {
    {"raw", ".img", "raw", 4096, make_raw},         {"raw", ".raw", "raw", 4096, make_raw},
    {"qcow2", ".qcow2", "qcow2", 4096, make_qcow2}, {"vmdk", ".vmdk", "vmdk", 65536, make_vmdk},
    {"vdi", ".vdi", "vdi", 4096, make_vdi},         {"vhd", ".vhd", "vpc", MIB, make_vhd},
    {"ova", ".ova", NULL, 65536, make_ova},         {"gcp", ".tar.gz", NULL, 1024 * MIB, make_gcp},
    {"oci", ".oci.tar", NULL, 4096, make_oci},
};
static const char *const providers[][2] = {
    {"aws", "raw"},        {"azure", "vhd"},       {"digitalocean", "qcow2"}, {"hetzner", "raw"},
    {"kubevirt", "oci"},   {"urunc", "oci"},       {"hyperv", "vhd"},         {"ibm", "qcow2"},
    {"onprem", "raw"},     {"openstack", "qcow2"}, {"oracle", "qcow2"},       {"proxmox", "qcow2"},
    {"scaleway", "qcow2"}, {"upcloud", "raw"},     {"virtualbox", "vdi"},     {"vmware", "vmdk"},
    {"vsphere", "ova"},    {"vultr", "raw"},
};
enum {
    N_FORMATS = sizeof(formats) / sizeof(formats[0]),
    N_PROVIDERS = sizeof(providers) / sizeof(providers[0])
};

bool is_provider(const char *name)
{
    for (size_t i = 0; i < N_PROVIDERS; i++)
        if (!strcmp(name, providers[i][0]))
            return true;
    return false;
}

// The format of this name, or that a provider takes.
const struct image_format *format_named(const char *name)
{
    const char *names[N_FORMATS + N_PROVIDERS + 8];
    size_t count = N_FORMATS + N_PROVIDERS;

    for (size_t i = 0; i < N_PROVIDERS; i++)
        if (!strcmp(name, providers[i][0]))
            return format_named(providers[i][1]);
    for (size_t i = 0; i < N_FORMATS; i++)
        if (!strcmp(name, formats[i].name))
            return &formats[i];
    for (size_t i = 0; i < N_FORMATS + N_PROVIDERS; i++)
        names[i] = i < N_FORMATS ? formats[i].name : providers[i - N_FORMATS][0];
    while (machine_format_name(count - N_FORMATS - N_PROVIDERS))
        names[count] = machine_format_name(count - N_FORMATS - N_PROVIDERS), count++;
    if (is_machine_format(name))
        die("-t %s is made of a program, with image create or build", name);
    die("unknown format '%s'; the nearest is '%s' (docs/images.md lists them)", name,
        nearest(name, names, count));
}

// The format that a file name asks for by its end, or NULL.
const struct image_format *format_of_path(const char *path)
{
    for (size_t i = 0; i < N_FORMATS; i++)
        if (ends_with(path, formats[i].suffix))
            return &formats[i];
    return NULL;
}

// Writes SOURCE in this format to PATH, which appears when it is whole.
void format_write(const struct image_format *image_format, struct image_source *source,
                  const char *path)
{
    const char *temporary;
    int out = output_begin(path, &temporary);

    source->bytes = disk_fit(source->disk, temporary, image_format->unit);
    image_format->make(source, out, temporary);
    output_end(out);
}

// The disk in a file of any format that QEMU reads, as a raw disk in memory.
int disk_open_raw(const char *path, const char *disk_format)
{
    int disk = memory_file("lethe-disk");
    char *to = format("/dev/fd/%d", dup(disk));
    const char *const argv[] = {"qemu-img", "convert", "-f", disk_format, "-O",
                                "raw",      path,      to,   NULL};

    if (!strcmp(disk_format, "raw")) {
        struct image_source source = {.disk = open(path, O_RDONLY | O_CLOEXEC)};
        source.bytes = lseek(source.disk, 0, SEEK_END);
        make_raw(&source, disk, path);
        close(source.disk);
    } else {
        run_program(argv, "qemu-utils", -1, -1);
    }
    close(atoi(to + 8));
    return disk;
}
