// SPDX-License-Identifier: BSD-2-Clause
// ops.conf: JSON with the keys of OPS's config.json, so that an existing file works as it is.
//
// Every key OPS knows stands in one of the tables below, with the function that gives it its effect or with the
// reason why Lethe has no use for it, which is shown as a warning. A key in no table is an error that names
// the nearest one. Keys are matched without regard to case, as OPS does (Go's encoding/json).
#include "lethe.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONFIG_BYTES_MAX = 4 << 20 };

struct config {
    struct job *job;
    const char *path;
    // gathered first, because the meaning of paths hangs on keys that may come later in the file
    const cJSON *files, *dirs, *map_dirs;
    char *program, *program_path;
    int net_bits;  // of NetMask; -1: not given
    bool bridged;
    char *bridge;
    cJSON *report;  // of `lethe config check`, or NULL
};

struct key {
    const char *name;
    void (*apply)(struct config *config, const struct key *key, const cJSON *value);
    const char *ignored;  // why, when there is no apply
};

// ---- values with the right type, or one line and out

static void wrong_type(const struct config *config, const struct key *key, const char *wanted)
{
    die("%s: %s must be %s", config->path, key->name, wanted);
}

static const char *text_of(const struct config *config, const struct key *key, const cJSON *value)
{
    if (!cJSON_IsString(value))
        wrong_type(config, key, "a string");
    return value->valuestring;
}

static bool bool_of(const struct config *config, const struct key *key, const cJSON *value)
{
    if (!cJSON_IsBool(value))
        wrong_type(config, key, "true or false");
    return cJSON_IsTrue(value);
}

static void check_texts(const struct config *config, const struct key *key, const cJSON *value,
                        bool object)
{
    const cJSON *item;

    if (object ? !cJSON_IsObject(value) : !cJSON_IsArray(value))
        wrong_type(config, key, object ? "an object of strings" : "an array of strings");
    cJSON_ArrayForEach (item, value)
        if (!cJSON_IsString(item))
            wrong_type(config, key, object ? "an object of strings" : "an array of strings");
}

// A size as OPS writes it ("2G", "512m", 512 as a number or a string; MiB without a unit).
static uint64_t size_of_value(const struct config *config, const struct key *key,
                              const cJSON *value)
{
    uint64_t bytes;
    char *text = cJSON_IsNumber(value)   ? format("%.0f", value->valuedouble)
                 : cJSON_IsString(value) ? xstrdup(value->valuestring)
                                         : NULL;

    if (!text || !parse_size(text, MIB, &bytes))
        wrong_type(config, key, "a size such as \"512m\" or \"2G\"");
    free(text);
    return bytes;
}

// ---- keys with effect

static void set_args(struct config *config, const struct key *key, const cJSON *value)
{
    const cJSON *item;

    check_texts(config, key, value, false);
    config->job->args.count = 0;
    cJSON_ArrayForEach (item, value)
        strings_add(&config->job->args, item->valuestring);
}

static void set_env(struct config *config, const struct key *key, const cJSON *value)
{
    const cJSON *item;

    check_texts(config, key, value, true);
    cJSON_ArrayForEach (item, value) {
        if (!*item->string || strchr(item->string, '='))
            die("%s: Env: '%s' is no name for a variable", config->path, item->string);
        env_set(&config->job->env, format("%s=%s", item->string, item->valuestring));
    }
}

static void set_program(struct config *config, const struct key *key, const cJSON *value)
{
    config->program = xstrdup(text_of(config, key, value));
}

static void set_program_path(struct config *config, const struct key *key, const cJSON *value)
{
    config->program_path = xstrdup(text_of(config, key, value));
}

static void set_files(struct config *config, const struct key *key, const cJSON *value)
{
    check_texts(config, key, value, false);
    config->files = value;
}

static void set_dirs(struct config *config, const struct key *key, const cJSON *value)
{
    check_texts(config, key, value, false);
    config->dirs = value;
}

static void set_map_dirs(struct config *config, const struct key *key, const cJSON *value)
{
    check_texts(config, key, value, true);
    config->map_dirs = value;
}

static void set_files_parent(struct config *config, const struct key *key, const cJSON *value)
{
    config->job->files_dir = xstrdup(text_of(config, key, value));
}

static void set_target_root(struct config *config, const struct key *key, const cJSON *value)
{
    config->job->target_root = xstrdup(text_of(config, key, value));
}

static void set_base_volume(struct config *config, const struct key *key, const cJSON *value)
{
    config->job->image_min_bytes = size_of_value(config, key, value);
}

static void set_kernel(struct config *config, const struct key *key, const cJSON *value)
{
    if (*text_of(config, key, value))
        config->job->kernel = xstrdup(value->valuestring);
}

static void set_memory(struct config *config, const struct key *key, const cJSON *value)
{
    uint64_t bytes = size_of_value(config, key, value);

    if (bytes < MIB || bytes > (uint64_t)1 << 42)
        die("%s: %s must be between 1 MiB and 4 TiB", config->path, key->name);
    config->job->memory_bytes = bytes & ~(uint64_t)4095;
}

static void set_cpus(struct config *config, const struct key *key, const cJSON *value)
{
    if (!cJSON_IsNumber(value) || value->valuedouble != (int)value->valuedouble ||
        value->valuedouble < 0 || value->valuedouble > 255)
        wrong_type(config, key, "a whole number from 1 to 255");
    if (value->valueint)  // 0 is OPS's word for "the default"
        config->job->cpus = value->valueint;
}

static void set_accel(struct config *config, const struct key *key, const cJSON *value)
{
    config->job->accel = bool_of(config, key, value) ? ACCEL_AUTO : ACCEL_TCG;
}

static void set_verbose(struct config *config, const struct key *key, const cJSON *value)
{
    if (bool_of(config, key, value) && !config->job->verbose)
        config->job->verbose = 1;
}

static void set_hostname(struct config *config, const struct key *key, const cJSON *value)
{
    if (*text_of(config, key, value))
        config->job->hostname = xstrdup(value->valuestring);
}

static void set_debugflags(struct config *config, const struct key *key, const cJSON *value)
{
    const cJSON *item;

    check_texts(config, key, value, false);
    cJSON_ArrayForEach (item, value) {
        if (!strcmp(item->valuestring, "trace") || !strcmp(item->valuestring, "debugsyscalls"))
            config->job->strace = xstrdup("");
        else if (strcmp(item->valuestring, "noaslr"))
            warn("%s: Debugflags: '%s' is a switch of Nanos; no such thing here", config->path,
                 item->valuestring);
        else
            warn("%s: Debugflags: 'noaslr' is ignored: addresses are always random", config->path);
    }
}

// Ports are strings or numbers, as OPS takes them; a range is written 8000-8010.
static void add_ports(struct config *config, const struct key *key, const cJSON *value,
                      const char *protocol)
{
    const cJSON *item;

    if (!cJSON_IsArray(value))
        wrong_type(config, key, "an array of ports");
    cJSON_ArrayForEach (item, value) {
        long first, last;
        char *text = cJSON_IsNumber(item)   ? format("%.0f", item->valuedouble)
                     : cJSON_IsString(item) ? xstrdup(item->valuestring)
                                            : NULL;
        char *dash = text ? strchr(text, '-') : NULL;
        if (dash)
            *dash = '\0';
        if (!text || !parse_number(text, 1, 65535, &first) ||
            !parse_number(dash ? dash + 1 : text, first, 65535, &last))
            wrong_type(config, key, "an array of ports, such as \"8080\" or \"8000-8010\"");
        for (; first <= last; first++)
            network_add_port(config->job, format("%ld%s", first, protocol));
        free(text);
    }
}

static void set_ports(struct config *config, const struct key *key, const cJSON *value)
{
    add_ports(config, key, value, "");
}

static void set_udp_ports(struct config *config, const struct key *key, const cJSON *value)
{
    add_ports(config, key, value, "/udp");
}

static void set_ip(struct config *config, const struct key *key, const cJSON *value)
{
    if (*text_of(config, key, value))
        network_set(config->job, "ip", value->valuestring);
}

static void set_ip6(struct config *config, const struct key *key, const cJSON *value)
{
    if (*text_of(config, key, value))
        network_set(config->job, "ip6", value->valuestring);
}

static void set_gateway(struct config *config, const struct key *key, const cJSON *value)
{
    if (*text_of(config, key, value))
        network_set(config->job, "gw", value->valuestring);
}

// Of the form 255.255.255.0; joined to the address when the whole file has been read.
static void set_netmask(struct config *config, const struct key *key, const cJSON *value)
{
    unsigned a, b, c, d;
    char end;
    const char *text = text_of(config, key, value);

    if (!*text)
        return;
    if (sscanf(text, "%u.%u.%u.%u%c", &a, &b, &c, &d, &end) != 4 || (a | b | c | d) > 255)
        wrong_type(config, key, "a mask such as \"255.255.255.0\"");
    unsigned mask = a << 24 | b << 16 | c << 8 | d;
    if (~mask & (~mask + 1))
        wrong_type(config, key, "a mask such as \"255.255.255.0\"");
    config->net_bits = __builtin_popcount(mask);
}

static void set_name_server(struct config *config, const struct key *key, const cJSON *value)
{
    if (*text_of(config, key, value))
        network_set(config->job, "dns", value->valuestring);
}

static void set_name_servers(struct config *config, const struct key *key, const cJSON *value)
{
    const cJSON *item;

    check_texts(config, key, value, false);
    cJSON_ArrayForEach (item, value)
        network_set(config->job, "dns", item->valuestring);
}

static void set_tap(struct config *config, const struct key *key, const cJSON *value)
{
    if (*text_of(config, key, value))
        network_choose(config->job, format("tap=%s", value->valuestring));
}

static void set_bridged(struct config *config, const struct key *key, const cJSON *value)
{
    if (bool_of(config, key, value))
        config->bridged = true;
}

static void set_bridge_name(struct config *config, const struct key *key, const cJSON *value)
{
    if (*text_of(config, key, value))
        config->bridge = xstrdup(value->valuestring);
}

static const struct key nic_keys[] = {
    {"IPAddress", set_ip, NULL},
    {"IPv6Address", set_ip6, NULL},
    {"NetMask", set_netmask, NULL},
    {"Gateway", set_gateway, NULL},
    {"BridgeName", set_bridge_name, NULL},
    {"Bridged", set_bridged, NULL},
    {"TapName", set_tap, NULL},
};

static void set_nics(struct config *config, const struct key *key, const cJSON *value);

static void settle_network(struct config *config)
{
    struct job *job = config->job;

    if (job->ip && config->net_bits >= 0 && strcmp(job->ip, "none"))
        job->ip = format("%.*s/%d", (int)strcspn(job->ip, "/"), job->ip, config->net_bits);
    if (config->bridged)
        network_choose(job, format("bridge=%s", config->bridge ? config->bridge : "br0"));
}

static void set_run_config(struct config *config, const struct key *key, const cJSON *value);

// A list of "NAME:/PATH", or an object of "NAME": "/PATH", as OPS takes either.
static void set_mounts(struct config *config, const struct key *key, const cJSON *value)
{
    const cJSON *item;

    if (!cJSON_IsArray(value) && !cJSON_IsObject(value))
        die("%s: %s must be a list of \"NAME:/PATH\" or an object of \"NAME\": \"/PATH\"",
            config->path, key->name);
    cJSON_ArrayForEach (item, value) {
        if (!cJSON_IsString(item))
            die("%s: %s must hold strings only", config->path, key->name);
        volume_add_mount(config->job,
                         cJSON_IsObject(value) ? format("%s:%s", item->string, item->valuestring)
                                               : item->valuestring,
                         true);
    }
}

static void set_cloud(struct config *config, const struct key *key, const cJSON *value,
                      enum cloud which)
{
    if (*text_of(config, key, value))
        config->job->cloud[which] = xstrdup(value->valuestring);
}

static void set_zone(struct config *config, const struct key *key, const cJSON *value)
{
    set_cloud(config, key, value, CLOUD_ZONE);
}

static void set_bucket(struct config *config, const struct key *key, const cJSON *value)
{
    set_cloud(config, key, value, CLOUD_BUCKET);
}

static void set_flavor(struct config *config, const struct key *key, const cJSON *value)
{
    set_cloud(config, key, value, CLOUD_FLAVOR);
}

static void set_project(struct config *config, const struct key *key, const cJSON *value)
{
    set_cloud(config, key, value, CLOUD_PROJECT);
}

static void set_subnet(struct config *config, const struct key *key, const cJSON *value)
{
    set_cloud(config, key, value, CLOUD_SUBNET);
}

static void set_platform(struct config *config, const struct key *key, const cJSON *value)
{
    if (*text_of(config, key, value))
        config->job->platform = xstrdup(value->valuestring);
}

static void set_image_name(struct config *config, const struct key *key, const cJSON *value)
{
    if (*text_of(config, key, value))
        config->job->name = xstrdup(value->valuestring);
}

static void set_cloud_config(struct config *config, const struct key *key, const cJSON *value);

#define AT_PROVIDER "set it with the provider's own commands, which lethe deploy --dry-run prints"
#define IS_NANOS "it is about Nanos, another kernel"
#define IS_TOOL "it is about OPS itself, not about the guest"

static const struct key top_keys[] = {
    {"Args", set_args, NULL},
    {"Env", set_env, NULL},
    {"Program", set_program, NULL},
    {"ProgramPath", set_program_path, NULL},
    {"Files", set_files, NULL},
    {"Dirs", set_dirs, NULL},
    {"MapDirs", set_map_dirs, NULL},
    {"LocalFilesParentDirectory", set_files_parent, NULL},
    {"TargetRoot", set_target_root, NULL},
    {"BaseVolumeSz", set_base_volume, NULL},
    {"Kernel", set_kernel, NULL},
    {"Debugflags", set_debugflags, NULL},
    {"RunConfig", set_run_config, NULL},
    {"CloudConfig", set_cloud_config, NULL},
    {"Mounts", set_mounts, NULL},
    {"VolumesDir", NULL, "volumes live in $XDG_DATA_HOME/lethe/volumes"},
    {"NameServers", set_name_servers, NULL},
    {"NameServer", set_name_server, NULL},
    {"Boot", NULL, "the kernel is booted directly, without a boot loader"},
    {"Uefi", NULL, "disk images start by both; lethe run --disk has --uefi"},
    {"UefiBoot", NULL, "disk images start by both; lethe run --disk has --uefi"},
    {"NanosVersion", NULL, IS_NANOS},
    {"NightlyBuild", NULL, IS_NANOS},
    {"Klibs", NULL, IS_NANOS},
    {"ManifestPassthrough", NULL, IS_NANOS},
    {"NoTrace", NULL, "choose the calls to show with --strace=NAMES"},
    {"RebootOnExit", NULL, "the tool ends with the program and hands on its exit status"},
    {"Force", NULL, "an image is made anew each time"},
    {"BuildDir", NULL, "nothing is written but what -o names"},
    {"ManifestName", NULL, IS_NANOS},
    {"DisableArgsCopy", NULL, "files named in Args are never packed by themselves; use Files"},
    {"PackageBaseURL", NULL, IS_TOOL},
    {"PackageManifestURL", NULL, IS_TOOL},
    {"Version", NULL, IS_TOOL},
    {"Language", NULL, IS_TOOL},
    {"Runtime", NULL, IS_TOOL},
    {"Description", NULL, IS_TOOL},
};

static const struct key run_keys[] = {
    {"Memory", set_memory, NULL},
    {"CPUs", set_cpus, NULL},
    {"Accel", set_accel, NULL},
    {"Kernel", set_kernel, NULL},
    {"Verbose", set_verbose, NULL},
    {"InstanceName", set_hostname, NULL},
    {"Ports", set_ports, NULL},
    {"UDPPorts", set_udp_ports, NULL},
    {"IPAddress", set_ip, NULL},
    {"IPv6Address", set_ip6, NULL},
    {"NetMask", set_netmask, NULL},
    {"Gateway", set_gateway, NULL},
    {"Nics", set_nics, NULL},
    {"Bridged", set_bridged, NULL},
    {"BridgeName", set_bridge_name, NULL},
    {"TapName", set_tap, NULL},
    {"Mounts", set_mounts, NULL},
    {"VolumeSizeInGb", NULL, "make volumes with lethe volume create"},
    {"Debug", NULL, "use -v or --strace"},
    {"GdbPort", NULL, "use --qemu-arg=-gdb --qemu-arg=tcp::PORT"},
    {"QMP", NULL, "use --qemu-arg=-qmp --qemu-arg=..."},
    {"ImageName", NULL, "use lethe image create -i"},
    {"InstanceGroup", NULL, AT_PROVIDER},
    {"Background", NULL, "use lethe instance create"},
    {"AtExit", NULL, "run what should follow after lethe in the shell"},
    {"JSON", NULL, IS_TOOL},
    {"ShowDebug", NULL, "use -v"},
    {"ShowErrors", NULL, "errors are always shown"},
    {"ShowWarnings", NULL, "warnings are always shown"},
    {"ThreadsPerCore", NULL, "the guest does not look at the topology of its processors"},
    {"Vga", NULL, "the guest has a serial console only"},
    {"GPUs", NULL, "the guest has no graphics"},
    {"Klibs", NULL, IS_NANOS},
};

static const struct key cloud_keys[] = {
    {"Platform", set_platform, NULL},
    {"ProjectID", set_project, NULL},
    {"Zone", set_zone, NULL},
    {"BucketName", set_bucket, NULL},
    {"Flavor", set_flavor, NULL},
    {"ImageName", set_image_name, NULL},
    {"Subnet", set_subnet, NULL},
    {"ImageType", NULL, "lethe deploy knows which format a provider takes"},
    {"BucketNamespace", NULL, "lethe deploy asks Oracle's cloud for it"},
    {"VPC", NULL, AT_PROVIDER},
    {"SecurityGroup", NULL, AT_PROVIDER},
    {"StaticIP", NULL, AT_PROVIDER},
    {"EnableIPv6", NULL, AT_PROVIDER},
    {"DomainName", NULL, AT_PROVIDER},
    {"Tags", NULL, AT_PROVIDER},
    {"InstanceProfile", NULL, AT_PROVIDER},
    {"KMS", NULL, AT_PROVIDER},
    {"RootVolume", NULL, AT_PROVIDER},
    {"Spot", NULL, AT_PROVIDER},
    {"DedicatedHostID", NULL, AT_PROVIDER},
    {"ConfidentialVM", NULL, AT_PROVIDER},
    {"UserData", NULL, AT_PROVIDER},
};

// ---- tables

static const struct section {
    const char *name;  // as messages say it, and behind it
    const struct key *keys;
    size_t count;
} sections[] = {
    {"", top_keys, sizeof(top_keys) / sizeof(top_keys[0])},
    {" of RunConfig", run_keys, sizeof(run_keys) / sizeof(run_keys[0])},
    {" of CloudConfig", cloud_keys, sizeof(cloud_keys) / sizeof(cloud_keys[0])},
    {" of Nics", nic_keys, sizeof(nic_keys) / sizeof(nic_keys[0])},
};
enum { TOP, RUN_CONFIG, CLOUD_CONFIG, NICS, N_SECTIONS };

static void report_key(cJSON *report, const struct section *section, const struct key *key)
{
    cJSON *object;

    if (key->apply == set_run_config || key->apply == set_cloud_config)
        return;  // what is in them is reported
    object = cJSON_CreateObject();
    cJSON_AddStringToObject(
        object, "key", *section->name ? format("%s.%s", section->name + 4, key->name) : key->name);
    cJSON_AddBoolToObject(object, "supported", !key->ignored);
    if (key->ignored)
        cJSON_AddStringToObject(object, "reason", key->ignored);
    cJSON_AddItemToArray(report, object);
}

static void unknown_key(const struct config *config, const struct section *section,
                        const char *name)
{
    const char **names = xalloc(section->count * sizeof(*names));

    for (size_t i = 0; i < section->count; i++)
        names[i] = section->keys[i].name;
    die("%s: unknown key '%s'%s; the nearest is '%s'", config->path, name, section->name,
        nearest(name, names, section->count));
}

static void apply_object(struct config *config, int which, const cJSON *object)
{
    const struct section *section = &sections[which];
    const cJSON *item;

    cJSON_ArrayForEach (item, object) {
        const struct key *key = section->keys, *end = key + section->count;
        while (key < end && strcasecmp(key->name, item->string))
            key++;
        if (key == end)
            unknown_key(config, section, item->string);
        if (config->report)
            report_key(config->report, section, key);
        if (key->apply && !cJSON_IsNull(item))
            key->apply(config, key, item);
        else if (!key->apply && !config->report)
            warn("%s: %s%s is ignored: %s", config->path, key->name, section->name, key->ignored);
    }
}

static void set_run_config(struct config *config, const struct key *key, const cJSON *value)
{
    if (!cJSON_IsObject(value))
        wrong_type(config, key, "an object");
    apply_object(config, RUN_CONFIG, value);
}

static void set_cloud_config(struct config *config, const struct key *key, const cJSON *value)
{
    if (!cJSON_IsObject(value))
        wrong_type(config, key, "an object");
    apply_object(config, CLOUD_CONFIG, value);
}

static void set_nics(struct config *config, const struct key *key, const cJSON *value)
{
    if (!cJSON_IsArray(value) || (cJSON_GetArraySize(value) && !cJSON_IsObject(value->child)))
        wrong_type(config, key, "an array of objects");
    if (cJSON_GetArraySize(value) > 1)
        die("%s: Nics: this version has one network interface", config->path);
    if (value->child)
        apply_object(config, NICS, value->child);
    if (value->child && config->job->net == NET_AUTO)
        config->job->net = NET_USER;
}

// ---- paths

// Where PATH of the configuration is on this machine: below TargetRoot when it is there, else below
// LocalFilesParentDirectory (relative paths only), else as it stands.
static char *host_path(const struct job *job, const char *path)
{
    struct stat st;

    if (job->target_root) {
        char *rooted = format("%s/%s", job->target_root, path);
        if (!lstat(rooted, &st))
            return rooted;
        free(rooted);
    }
    if (job->files_dir && *path != '/')
        return format("%s/%s", job->files_dir, path);
    return xstrdup(path);
}

static void pack_listed(struct config *config, const cJSON *list, const char *key, bool directory)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, list) {
        char *host = host_path(config->job, item->valuestring);
        struct stat st;
        if (stat(host, &st))
            die("%s: %s: cannot pack %s: %s", config->path, key, host, strerror(errno));
        if (S_ISDIR(st.st_mode) != directory)
            die("%s: %s: %s is %s", config->path, key, host,
                directory ? "not a directory; list it under Files"
                          : "a directory; list it under Dirs");
        tree_add_host(config->job->root, host, item->valuestring);
        free(host);
    }
}

// MapDirs: "dir": "/guest" maps a directory, "dir/PATTERN": "/guest" the files below it that match.
static void pack_mapped(struct config *config)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, config->map_dirs) {
        char *host = host_path(config->job, item->string), *slash;
        struct stat st;
        if (!stat(host, &st) && S_ISDIR(st.st_mode)) {
            tree_add_host(config->job->root, host, item->valuestring);
            continue;
        }
        slash = strrchr(host, '/');
        if (slash)
            *slash = '\0';
        if (!slash || stat(*host ? host : "/", &st) || !S_ISDIR(st.st_mode))
            die("%s: MapDirs: '%s' is neither a directory nor DIR/PATTERN", config->path,
                item->string);
        tree_add_matching(config->job->root, *host ? host : "/", slash + 1, item->valuestring);
    }
}

// ProgramPath is the file on this machine and Program its name in the image; with one of them, it is the file.
static void settle_program(struct config *config)
{
    if (config->program_path && *config->program_path) {
        config->job->program_host = config->program_path;
        if (config->program && *config->program)
            config->job->program_guest =
                format("%s%s", *config->program == '/' ? "" : "/", config->program);
    } else if (config->program && *config->program) {
        config->job->program_host = config->program;
    }
}

// ---- the file

static char *read_all(const char *path)
{
    struct stat st;
    FILE *file = fopen(path, "re");
    char *text;

    if (!file || fstat(fileno(file), &st))
        die("cannot read the configuration %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        die("cannot read the configuration %s: not a file", path);
    if (st.st_size > CONFIG_BYTES_MAX)
        die("cannot read the configuration %s: larger than 4 MiB", path);
    text = xalloc(st.st_size + 1);
    if (fread(text, 1, st.st_size, file) != (size_t)st.st_size)
        die("cannot read the configuration %s: %s", path, strerror(errno));
    fclose(file);
    return text;
}

static void bad_json(const char *path, const char *text, const char *at)
{
    unsigned line = 1, column = 1;

    for (; text < at && *text; text++) {
        column = *text == '\n' ? 1 : column + 1;
        line += *text == '\n';
    }
    die("%s: not valid JSON at line %u, column %u", path, line, column);
}

static void load(struct job *job, const char *path, cJSON *report)
{
    struct config config = {.job = job, .path = path, .net_bits = -1, .report = report};
    char *text = read_all(path);
    const char *end = text;
    cJSON *root = cJSON_ParseWithOpts(text, &end, 1);

    if (!root)
        bad_json(path, text, end);
    if (!cJSON_IsObject(root))
        die("%s: the configuration must be a JSON object", path);
    apply_object(&config, TOP, root);
    pack_listed(&config, config.files, "Files", false);
    pack_listed(&config, config.dirs, "Dirs", true);
    if (config.map_dirs)
        pack_mapped(&config);
    settle_program(&config);
    settle_network(&config);
    cJSON_Delete(root);
    free(text);
}

// Reads PATH into JOB. Unknown keys and wrong types end the tool; keys without use are named in a warning.
void config_load(struct job *job, const char *path) { load(job, path, NULL); }

// ---- lethe config

static void print_report(const cJSON *report, bool json)
{
    const cJSON *item;

    if (json) {
        puts(cJSON_Print(report));
        return;
    }
    cJSON_ArrayForEach (item, report) {
        const cJSON *reason = cJSON_GetObjectItem(item, "reason");
        printf("%-28s %s%s\n", cJSON_GetObjectItem(item, "key")->valuestring,
               reason ? "ignored: " : "supported", reason ? reason->valuestring : "");
    }
}

// What a run or a build would find wrong with the program that the file names.
static void check_program(const struct job *job, const char *path)
{
    if (job->program_host && access(job->program_host, R_OK))
        die("%s: cannot read the program %s: %s", path, job->program_host, strerror(errno));
}

// `lethe config check FILE`: takes the file as run would, and says of each of its keys what comes of it. `lethe config keys`: of
// all keys there are.
int verb_config(int argc, char **argv)
{
    static const char *const verbs[] = {"check", "keys"};
    struct job job = {.memory_bytes = 512 * MIB, .cpus = 1, .root = tree_new()};
    bool json = argc > 2 && !strcmp(argv[argc - 1], "--json");
    const char *verb = argc > 1 ? argv[1] : "";
    cJSON *report = cJSON_CreateArray();

    argc -= json;
    if (!*verb)
        die("name what to do: config check FILE or config keys");
    if (!strcmp(verb, "check") && argc == 3) {
        load(&job, argv[2], report);
        network_settle(&job);
        check_program(&job, argv[2]);
    } else if (!strcmp(verb, "keys") && argc == 2) {
        for (size_t i = 0; i < N_SECTIONS; i++)
            for (size_t k = 0; k < sections[i].count; k++)
                report_key(report, &sections[i], &sections[i].keys[k]);
    } else if (!strcmp(verb, "check") || !strcmp(verb, "keys")) {
        die("write: lethe config check FILE | keys [--json]");
    } else {
        die("unknown verb 'config %s'; the nearest is 'config %s'", verb, nearest(verb, verbs, 2));
    }
    print_report(report, json);
    return 0;
}
