// SPDX-License-Identifier: BSD-2-Clause
// OCI images (image-spec 1.1): a tar of the image layout, with one layer that two kinds of runtimes understand.
//
//     /disk/disk.img                             KubeVirt's containerDisk: the disk as it is
//     /unikernel/kernel, /unikernel/root.img     urunc: what its monitor is handed,
//     /urunc.json                                and what it is told of them; also annotations of the manifest
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "disk.h"
#include "lethe.h"
#include "sha256.h"
#include "tar.h"

struct blob {
    int fd;
    uint64_t bytes;
    char digest[SHA256_TEXT];
};

static struct blob blob_of(int fd)
{
    struct blob blob = {.fd = fd};

    blob.bytes = sha256_file(fd, blob.digest);
    return blob;
}

static struct blob json_blob(cJSON *object, const char *path)
{
    char *text = cJSON_PrintUnformatted(object);
    int fd = memory_file("json");

    write_all(fd, path, text, strlen(text));
    cJSON_Delete(object);
    free(text);
    return blob_of(fd);
}

static void add_blob(int out, const char *path, const struct blob *blob)
{
    tar_file(out, path, format("blobs/sha256/%s", blob->digest), blob->fd, blob->bytes);
    close(blob->fd);
}

// RFC 4648, which urunc wants its values in.
static char *base64(const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = strlen(text);
    char *coded = xalloc(len / 3 * 4 + 5), *p = coded;

    for (size_t i = 0; i < len; i += 3) {
        uint32_t bits = (uint8_t)text[i] << 16;
        if (i + 1 < len)
            bits |= (uint8_t)text[i + 1] << 8;
        if (i + 2 < len)
            bits |= (uint8_t)text[i + 2];
        *p++ = digits[bits >> 18];
        *p++ = digits[bits >> 12 & 63];
        *p++ = i + 1 < len ? digits[bits >> 6 & 63] : '=';
        *p++ = i + 2 < len ? digits[bits & 63] : '=';
    }
    return coded;
}

// urunc knows a kernel with an initial root image by the name of the kernel that it means by that. The command line must not be
// empty; Lethe looks at none of its words.
static cJSON *urunc_values(void)
{
    static const char *const values[][2] = {
        {"unikernelType", "linux"},        {"hypervisor", "qemu"}, {"binary", "/unikernel/kernel"},
        {"initrd", "/unikernel/root.img"}, {"cmdline", "lethe"},
    };
    cJSON *object = cJSON_CreateObject();

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        cJSON_AddStringToObject(object, format("com.urunc.unikernel.%s", values[i][0]),
                                base64(values[i][1]));
    return object;
}

// A part of the disk as a file of its own.
static void add_part(int tar, const char *path, const char *name, int disk, uint64_t at,
                     uint64_t bytes)
{
    int fd = memory_file("part");
    char piece[65536];

    while (bytes) {
        ssize_t n = pread(disk, piece, bytes < sizeof(piece) ? bytes : sizeof(piece), at);
        if (n <= 0)
            die("cannot read the image: it is cut short");
        write_all(fd, path, piece, n);
        at += n;
        bytes -= n;
    }
    tar_file(tar, path, name, fd, lseek(fd, 0, SEEK_END));
    close(fd);
}

static int make_layer(const struct image_source *source, const char *path)
{
    int tar = memory_file("layer");
    struct boot_record record;
    struct blob values = json_blob(urunc_values(), path);

    if (!disk_record(source->disk, source->bytes, &record))
        die("%s cannot be made: the disk is not one of ours", path);
    tar_folder(tar, path, "disk/");
    tar_file(tar, path, "disk/disk.img", source->disk, source->bytes);
    tar_folder(tar, path, "unikernel/");
    add_part(tar, path, "unikernel/kernel", source->disk, record.kernel_sector * SECTOR,
             record.kernel_bytes);
    add_part(tar, path, "unikernel/root.img", source->disk, record.root_sector * SECTOR,
             record.root_bytes);
    tar_file(tar, path, "urunc.json", values.fd, values.bytes);
    close(values.fd);
    tar_end(tar, path);
    return tar;
}

static cJSON *descriptor(const char *type, const struct blob *blob)
{
    cJSON *object = cJSON_CreateObject();

    cJSON_AddStringToObject(object, "mediaType", format("application/vnd.oci.image.%s", type));
    cJSON_AddStringToObject(object, "digest", format("sha256:%s", blob->digest));
    cJSON_AddNumberToObject(object, "size", blob->bytes);
    return object;
}

static struct blob make_config(const char *architecture, const struct blob *tar, const char *path)
{
    cJSON *config = cJSON_CreateObject(), *part;
    const time_t epoch = image_epoch();
    char created[32];

    strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", gmtime(&epoch));
    cJSON_AddStringToObject(config, "created", created);
    cJSON_AddStringToObject(config, "architecture", architecture);
    cJSON_AddStringToObject(config, "os", "linux");
    part = cJSON_AddArrayToObject(cJSON_AddObjectToObject(config, "config"), "Cmd");
    cJSON_AddItemToArray(part, cJSON_CreateString("lethe"));
    part = cJSON_AddObjectToObject(config, "rootfs");
    cJSON_AddStringToObject(part, "type", "layers");
    part = cJSON_AddArrayToObject(part, "diff_ids");
    cJSON_AddItemToArray(part, cJSON_CreateString(format("sha256:%s", tar->digest)));
    return json_blob(config, path);
}

static struct blob make_manifest(const struct blob *config, const struct blob *layer,
                                 const char *path)
{
    cJSON *manifest = cJSON_CreateObject();

    cJSON_AddNumberToObject(manifest, "schemaVersion", 2);
    cJSON_AddStringToObject(manifest, "mediaType", "application/vnd.oci.image.manifest.v1+json");
    cJSON_AddItemToObject(manifest, "config", descriptor("config.v1+json", config));
    cJSON_AddItemToArray(cJSON_AddArrayToObject(manifest, "layers"),
                         descriptor("layer.v1.tar+gzip", layer));
    cJSON_AddItemToObject(manifest, "annotations", urunc_values());
    return json_blob(manifest, path);
}

static struct blob make_index(const struct blob *manifest, const char *architecture,
                              const char *path)
{
    cJSON *index = cJSON_CreateObject(), *entry = descriptor("manifest.v1+json", manifest), *part;

    cJSON_AddNumberToObject(index, "schemaVersion", 2);
    cJSON_AddStringToObject(index, "mediaType", "application/vnd.oci.image.index.v1+json");
    part = cJSON_AddObjectToObject(entry, "platform");
    cJSON_AddStringToObject(part, "architecture", architecture);
    cJSON_AddStringToObject(part, "os", "linux");
    part = cJSON_AddObjectToObject(entry, "annotations");
    cJSON_AddStringToObject(part, "org.opencontainers.image.ref.name", "latest");
    cJSON_AddItemToArray(cJSON_AddArrayToObject(index, "manifests"), entry);
    return json_blob(index, path);
}

void make_oci(const struct image_source *source, int out, const char *path)
{
    static const char *const gzip[] = {"gzip", "-n", "-c", NULL};
    static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
    const char *architecture = disk_is_arm(source->disk) ? "arm64" : "amd64";
    int tar = make_layer(source, path), packed = memory_file("gzip"), text = memory_file("layout");
    struct blob plain = blob_of(tar), layer, config, manifest, index;

    lseek(tar, 0, SEEK_SET);
    run_program(gzip, "gzip", tar, packed);
    close(tar);
    layer = blob_of(packed);
    config = make_config(architecture, &plain, path);
    manifest = make_manifest(&config, &layer, path);
    index = make_index(&manifest, architecture, path);
    write_all(text, path, layout, strlen(layout));
    tar_file(out, path, "oci-layout", text, strlen(layout));
    tar_file(out, path, "index.json", index.fd, index.bytes);
    tar_folder(out, path, "blobs/");
    tar_folder(out, path, "blobs/sha256/");
    add_blob(out, path, &manifest);
    add_blob(out, path, &config);
    add_blob(out, path, &layer);
    tar_end(out, path);
    close(text);
    close(index.fd);
}
