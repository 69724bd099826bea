// SPDX-License-Identifier: BSD-2-Clause
// The command line of `lethe run` and `lethe build`. Options may stand before and behind the program; what
// follows `--` belongs to the program.
#include "lethe.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {  // long options without a letter
    OPT_SMP = 256,
    OPT_HOSTNAME,
    OPT_ACCEL,
    OPT_MACHINE,
    OPT_ARCH,
    OPT_KERNEL,
    OPT_APPEND,
    OPT_QEMU_ARG,
    OPT_TIMEOUT,
    OPT_STRACE,
    OPT_DRY_RUN,
    OPT_UNCHECKED,
    OPT_NET,
    OPT_DISK,
    OPT_DISK_BUS,
    OPT_ROOT,
    OPT_UEFI,
    OPT_FIRMWARE,
    OPT_JSON,
    OPT_MOUNT,
    OPT_SYSROOT,
    OPT_ROOTFS,
    OPT_TTY,
    OPT_INTERACTIVE,
    OPT_CLOUD,  // the first of N_CLOUD
};

// '-' first: words that are no options are handed out in their place, as option 1.
static const char letters[] = "-:c:m:e:f:w:o:p:t:i:v", run_letters[] = "-:c:m:e:f:w:o:p:tiv";
static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"memory", required_argument, NULL, 'm'},
    {"smp", required_argument, NULL, OPT_SMP},
    {"env", required_argument, NULL, 'e'},
    {"file", required_argument, NULL, 'f'},
    {"cwd", required_argument, NULL, 'w'},
    {"hostname", required_argument, NULL, OPT_HOSTNAME},
    {"accel", required_argument, NULL, OPT_ACCEL},
    {"machine", required_argument, NULL, OPT_MACHINE},
    {"arch", required_argument, NULL, OPT_ARCH},
    {"kernel", required_argument, NULL, OPT_KERNEL},
    {"append", required_argument, NULL, OPT_APPEND},
    {"qemu-arg", required_argument, NULL, OPT_QEMU_ARG},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"strace", optional_argument, NULL, OPT_STRACE},
    {"output", required_argument, NULL, 'o'},
    {"port", required_argument, NULL, 'p'},
    {"net", required_argument, NULL, OPT_NET},
    {"mount", required_argument, NULL, OPT_MOUNT},
    {"verbose", no_argument, NULL, 'v'},
    {"disk", required_argument, NULL, OPT_DISK},
    {"type", required_argument, NULL, 't'},
    {"name", required_argument, NULL, 'i'},
    {"json", no_argument, NULL, OPT_JSON},
    {"disk-bus", required_argument, NULL, OPT_DISK_BUS},
    {"root", required_argument, NULL, OPT_ROOT},
    {"uefi", no_argument, NULL, OPT_UEFI},
    {"firmware", required_argument, NULL, OPT_FIRMWARE},
    {"dry-run", no_argument, NULL, OPT_DRY_RUN},
    {"unchecked", no_argument, NULL, OPT_UNCHECKED},
    {"sysroot", required_argument, NULL, OPT_SYSROOT},
    {"rootfs", required_argument, NULL, OPT_ROOTFS},
    {"tty", no_argument, NULL, OPT_TTY},
    {"interactive", no_argument, NULL, OPT_INTERACTIVE},
    {"zone", required_argument, NULL, OPT_CLOUD + CLOUD_ZONE},
    {"bucket", required_argument, NULL, OPT_CLOUD + CLOUD_BUCKET},
    {"flavor", required_argument, NULL, OPT_CLOUD + CLOUD_FLAVOR},
    {"project", required_argument, NULL, OPT_CLOUD + CLOUD_PROJECT},
    {"subnet", required_argument, NULL, OPT_CLOUD + CLOUD_SUBNET},
    {"url", required_argument, NULL, OPT_CLOUD + CLOUD_URL},
    {NULL, 0, NULL, 0},
};

static void unknown_option(const char *word)
{
    const char *names[sizeof(long_options) / sizeof(long_options[0])] = {NULL};
    size_t count = 0;
    char *name = xstrdup(word + strspn(word, "-"));

    name[strcspn(name, "=")] = '\0';
    if (strncmp(word, "--", 2))
        die("unknown option '%s' (try 'lethe help')", word);
    for (; long_options[count].name; count++)
        names[count] = long_options[count].name;
    die("unknown option '--%s'; the nearest is '--%s' (try 'lethe help')", name,
        nearest(name, names, count));
}

static void set_env(struct job *job, const char *text)
{
    const char *value = getenv(text);

    if (*text == '=' || !*text)
        die("-e '%s': a variable needs a name, as in -e NAME=VALUE", text);
    if (strchr(text, '='))
        env_set(&job->env, text);
    else if (value)
        env_set(&job->env, format("%s=%s", text, value));
    else
        die("-e %s: no such variable here; give a value, as in -e %s=VALUE", text, text);
}

// HOST[:GUEST]; the whole word is the host's path when such a file exists.
static void add_file(struct job *job, const char *text)
{
    struct stat st;
    const char *colon = strrchr(text, ':'), *guest = text;
    char *host = xstrdup(text);

    if (colon && stat(text, &st)) {
        host[colon - text] = '\0';
        guest = colon + 1;
        if (*guest != '/')
            die("-f %s: the path in the image must begin with '/'", text);
    }
    tree_add_host(job->root, host, guest);
    free(host);
}

static void set_memory(struct job *job, const char *text)
{
    if (!parse_size(text, MIB, &job->memory_bytes))
        die("-m %s: not a size; write it as 512m or 2g", text);
    if (job->memory_bytes < MIB || job->memory_bytes > (uint64_t)1 << 42)
        die("-m %s: memory must be between 1 MiB and 4 TiB", text);
    job->memory_bytes &= ~(uint64_t)4095;
}

static void set_cpus(struct job *job, const char *text)
{
    long cpus;

    if (!parse_number(text, 1, 255, &cpus))
        die("--smp %s: the number of processors is 1 to 255", text);
    job->cpus = cpus;
}

static void set_timeout(struct job *job, const char *text)
{
    char *end;

    job->timeout_seconds = strtod(text, &end);
    if (!*text || *end || !(job->timeout_seconds > 0 && job->timeout_seconds < 1e9))
        die("--timeout %s: not a number of seconds", text);
}

static void set_accel(struct job *job, const char *text)
{
    static const char *const names[] = {
        [ACCEL_AUTO] = "auto", [ACCEL_KVM] = "kvm", [ACCEL_TCG] = "tcg"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!strcmp(text, names[i])) {
            job->accel = i;
            return;
        }
    }
    die("--accel %s: choose auto, kvm or tcg", text);
}

static void set_machine(struct job *job, const char *text)
{
    if (strncmp(text, "microvm", 7) && strncmp(text, "pc", 2) && strncmp(text, "q35", 3) &&
        strncmp(text, "virt", 4))
        die("--machine %s: choose microvm, pc or q35 for x86_64, virt for aarch64", text);
    job->machine = xstrdup(text);
}

static void set_arch(struct job *job, const char *text)
{
    if (strcmp(text, "x86_64") && strcmp(text, "aarch64"))
        die("--arch %s: choose x86_64 or aarch64", text);
    job->arch = xstrdup(text);
}

static void set_program(struct job *job, const char *text, bool *seen)
{
    if (*seen)
        die("one program at a time: '%s' is one more; its arguments go behind '--'", text);
    *seen = true;
    job->program_host = xstrdup(text);
    job->program_guest = NULL;
}

static void set_strace(struct job *job, const char *names)
{
    job->strace = xstrdup(names ? names : "");
    if (job->strace[strcspn(job->strace, " \t\n")])
        die("--strace=%s: names are separated by commas, without spaces", job->strace);
}

static void set_sysroot(struct job *job, const char *text)
{
    struct stat st;

    if (stat(text, &st) || !S_ISDIR(st.st_mode))
        die("--sysroot %s: no such directory", text);
    job->sysroot = xstrdup(text);
    for (size_t n = strlen(text); n && text[n - 1] == '/';)
        job->sysroot[--n] = '\0';
}

static void set_disk_bus(struct job *job, const char *text)
{
    for (size_t i = 0; disk_buses[i]; i++)
        if (!strcmp(text, disk_buses[i]))
            job->disk_bus = disk_buses[i];
    if (!job->disk_bus || strcmp(text, job->disk_bus))
        die("--disk-bus %s: choose virtio, scsi, nvme, ahci or pvscsi", text);
}

static void set_root(struct job *job, const char *text)
{
    if (strcmp(text, "disk") && strcmp(text, "memory"))
        die("--root %s: choose disk or memory", text);
    job->root_place = *text == 'd' ? ROOT_DISK : ROOT_MEMORY;
}

static void set_firmware(struct job *job, const char *path)
{
    if (access(path, R_OK))
        die("cannot read the firmware %s: %s", path, strerror(errno));
    job->firmware = xstrdup(path);
}

// -t and -i are flags of `run`, as of docker; `build` and `image` take a format and a name by them.
static void set_type(struct job *job, const char *text)
{
    if (text)
        job->format = xstrdup(text);
    else
        job->terminal = true;
}

static void set_name(struct job *job, const char *text)
{
    if (text)  // without it: input is open in any case
        job->name = xstrdup(text);
}

static void set_append(struct job *job, const char *word) { strings_add(&job->append, word); }

static void apply(struct job *job, int option, const char *value, bool *program_seen)
{
    switch (option) {
    case 1: set_program(job, value, program_seen); break;
    case 'c': break;  // read before
    case 'm': set_memory(job, value); break;
    case 'e': set_env(job, value); break;
    case 'f': add_file(job, value); break;
    case 'w': job->cwd = xstrdup(value); break;
    case 'o': job->output = xstrdup(value); break;
    case 'p': network_add_port(job, value); break;
    case 'v': job->verbose++; break;
    case OPT_SMP: set_cpus(job, value); break;
    case OPT_HOSTNAME: job->hostname = xstrdup(value); break;
    case OPT_ACCEL: set_accel(job, value); break;
    case OPT_MACHINE: set_machine(job, value); break;
    case OPT_ARCH: set_arch(job, value); break;
    case OPT_KERNEL: job->kernel = xstrdup(value); break;
    case OPT_APPEND: set_append(job, value); break;
    case OPT_QEMU_ARG: strings_add(&job->qemu_args, value); break;
    case OPT_TIMEOUT: set_timeout(job, value); break;
    case OPT_STRACE: set_strace(job, value); break;
    case OPT_DISK: job->disk = xstrdup(value); break;
    case OPT_DISK_BUS: set_disk_bus(job, value); break;
    case OPT_ROOT: set_root(job, value); break;
    case 't':
    case OPT_TTY: set_type(job, value); break;
    case 'i':
    case OPT_INTERACTIVE: set_name(job, value); break;
    case OPT_JSON: job->json = true; break;
    case OPT_UEFI: job->uefi = true; break;
    case OPT_FIRMWARE: set_firmware(job, value); break;
    case OPT_DRY_RUN: job->dry_run = true; break;
    case OPT_NET: network_choose(job, value); break;
    case OPT_MOUNT: volume_add_mount(job, value, false); break;
    case OPT_UNCHECKED: job->unchecked = true; break;
    case OPT_SYSROOT: set_sysroot(job, value); break;
    case OPT_ROOTFS: break;  // read before everything else
    default: job->cloud[option - OPT_CLOUD] = xstrdup(value);
    }
}

static void refuse(int result, char **argv)
{
    const char *word = argv[optind - 1];

    if (result == ':')
        die("option '%s' needs a value (try 'lethe help')", word);
    if (optopt && optopt < 256 && strncmp(word, "--", 2))
        die("unknown option '-%c' (try 'lethe help')", optopt);
    if (optopt)
        die("option '%s' takes no value", word);
    unknown_option(word);
}

// Reads the command line behind the verb into JOB. => the root tree first, then ops.conf, so that
// options win over both
void options_parse(struct job *job, int argc, char **argv)
{
    const char *const taken = !strcmp(argv[0], "run") ? run_letters : letters;
    bool program_seen = false;
    int option;

    opterr = 0;
    for (int pass = 0; pass < 3; pass++) {
        optind = 0;
        while ((option = getopt_long(argc, argv, taken, long_options, NULL)) != -1) {
            if (option == '?' || option == ':')
                refuse(option, argv);
            if (pass == 0 && option == OPT_ROOTFS)
                rootfs_add(job, optarg);
            if (pass == 1 && option == 'c')
                config_load(job, optarg);
            if (pass == 2)
                apply(job, option, optarg, &program_seen);
        }
    }
    if (job->terminal && (taken != run_letters || job->disk))
        die("-t is for `lethe run PROGRAM`: the kernel of an image was told about its terminal when it was built");
    for (size_t i = 0; i < job->n_mounts; i++)
        if (job->mounts[i].folder && (taken != run_letters || job->disk))
            die("--mount %s: a folder can be mounted by `lethe run PROGRAM`; for an image pack it with -f",
                job->mounts[i].text);
    if (optind < argc)
        job->args.count = 0;  // arguments given here replace those of ops.conf
    for (; optind < argc; optind++)
        strings_add(&job->args, argv[optind]);
}
