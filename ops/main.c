// SPDX-License-Identifier: BSD-2-Clause
// lethe: packs a Linux program into a bootable image and runs it in a machine of its own.
#include "lethe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help_text[] =
    "lethe " LETHE_VERSION ": runs an unmodified Linux program in a machine of its own\n"
    "\n"
    "  lethe run PROGRAM [OPTION...] [-- ARGUMENT...]     pack it, boot it, exit with its status\n"
    "  lethe build PROGRAM -o OUTPUT [OPTION...] [-- ARG...]   write a disk image, or kernel and root image\n"
    "  lethe image create PROGRAM [-t FORMAT] [-o FILE | -i NAME] [OPTION...] [-- ARG...]\n"
    "  lethe image convert|inspect|delete IMAGE, lethe image list   [-t FORMAT] [-o FILE] [--json]\n"
    "  lethe instance create IMAGE [-i NAME] [OPTION...]  start a disk image in the background\n"
    "  lethe instance list, lethe instance logs|stop|delete NAME   [--json] [--timeout SECONDS]\n"
    "  lethe run --disk FILE [OPTION...]                  start a disk image\n"
    "  lethe deploy PROVIDER PROGRAM|IMAGE [-i NAME] [OPTION...] [-- ARG...]   start it in a cloud\n"
    "  lethe config check FILE | keys  [--json]           what is understood of an ops.conf\n"
    "  lethe volume create NAME SIZE | list | delete NAME  volumes, which outlive their guests\n"
    "  lethe help                                         this text\n"
    "  lethe version                                      the version\n"
    "\n"
    "What the guest gets\n"
    "  -c, --config FILE      read FILE first (JSON, docs/tool.md); options given here win\n"
    "  -m, --memory SIZE      memory, in MiB or with k, m, g (default 512m)\n"
    "      --smp N            processors (default 1)\n"
    "  -e, --env NAME=VALUE   set an environment variable; NAME alone copies this host's value\n"
    "  -f, --file HOST[:GUEST]  add a file, or a directory with all below it\n"
    "      --rootfs DIR|TAR   a whole root tree, such as an exported container image; PROGRAM is a path in it\n"
    "      --sysroot DIR      where a dynamic program's interpreter and libraries are looked up (default /)\n"
    "      --mount NAME:/PATH[:ro]  a volume, or an image file or folder (a NAME with '/' in it), as a directory\n"
    "  -w, --cwd DIR          the program's working directory (default /)\n"
    "      --hostname NAME    the guest's host name\n"
    "  -it                    run: this terminal, for interactive programs (^] three times ends the guest)\n"
    "\n"
    "Its network (none unless one of these is given)\n"
    "  -p, --port [ADDRESS:]HOST[:GUEST][/udp]  forward a port of this host (of ADDRESS, default 127.0.0.1)\n"
    "      --net user|none|tap=NAME|bridge=NAME[,ip=ADDRESS/BITS][,gw=ADDRESS][,dns=ADDRESS][,ip6=ADDRESS]\n"
    "                         QEMU's own network (default), or a real one; addresses by DHCP unless given\n"
    "\n"
    "How it runs\n"
    "      --accel auto|kvm|tcg   hardware virtualisation or emulation (default auto)\n"
    "      --machine NAME     microvm (default), pc or q35; virt for aarch64\n"
    "      --arch ARCH        x86_64 or aarch64 (default: what the program is for)\n"
    "      --kernel FILE      boot this kernel\n"
    "      --append WORD      one more word for the kernel's command line\n"
    "      --qemu-arg WORD    one more word for QEMU's command line\n"
    "      --disk FILE        start this disk image by the machine's firmware\n"
    "      --disk-bus BUS     its controller, and that of volumes: virtio (default), scsi, nvme, ahci, pvscsi\n"
    "      --root disk|memory where the root image is while the guest runs (default memory): on a disk it\n"
    "                         takes no memory but for what is read\n"
    "      --uefi             start it by UEFI, not by a BIOS; --firmware FILE: by this firmware\n"
    "      --timeout SECONDS  end the guest after this long (exit status 124)\n"
    "\n"
    "Where lethe deploy puts it (docs/deploy.md)\n"
    "      --zone ZONE        zone or region; --project NAME: project or resource group\n"
    "      --bucket NAME      where the image is uploaded to; --url URL: where the provider finds it\n"
    "      --flavor TYPE      type of the machine; --subnet NAME: its network\n"
    "\n"
    "Watching it\n"
    "      --strace[=NAMES]   show the system calls (or these, comma separated) on the console\n"
    "  -v, --verbose          say what is done; twice: the kernel's debug messages too\n"
    "      --dry-run          print the QEMU command line and run nothing\n"
    "      --unchecked        let the kernel alone judge the program's headers\n"
    "\n"
    "  -o, --output OUTPUT    build: where to write; FILE.img or .raw: a disk that boots by itself,\n"
    "                         also .qcow2, .vmdk, .vdi, .vhd, .ova, .tar.gz (GCP);\n"
    "                         FILE.ext4: only the root image, else a folder\n"
    "  -t, --type FORMAT      the image's format, or the provider that takes it (docs/images.md)\n"
    "  -i, --name NAME        the name of an image in the store; --json: for programs to read\n"
    "\n"
    "Exit status: the program's own; 128+N killed by signal N; 2 bad usage or input;\n"
    "123 kernel panic; 124 timeout; 125 the guest could not boot.\n";

// ---- the run configuration, /.lethe/config (docs/tool.md has the format)

static char *percent_encode(const char *text)
{
    char *encoded = xalloc(strlen(text) * 3 + 1), *p = encoded;

    for (; *text; text++) {
        unsigned char c = *text;
        if (c == '%' || c < 0x21 || c > 0x7e)
            p += sprintf(p, "%%%02X", c);
        else
            *p++ = c;
    }
    return encoded;
}

static void config_line(char **config, const char *key, const char *value)
{
    char *encoded = percent_encode(value), *longer = format("%s%s %s\n", *config, key, encoded);

    free(encoded);
    free(*config);
    *config = longer;
}

static char *guest_config(const struct job *job)
{
    char *config = xstrdup("lethe-config 1\n");

    config_line(&config, "program", job->program_guest);
    config_line(&config, "arg", job->program_guest);
    for (size_t i = 0; i < job->args.count; i++)
        config_line(&config, "arg", job->args.items[i]);
    for (size_t i = 0; i < job->env.count; i++)
        config_line(&config, "env", job->env.items[i]);
    if (job->cwd)
        config_line(&config, "cwd", job->cwd);
    if (job->hostname)
        config_line(&config, "hostname", job->hostname);
    for (size_t i = 0; i < job->n_mounts; i++)
        config_line(&config, "mount",
                    format("%s serial:volume%zu %s", job->mounts[i].read_only ? "ro" : "rw", i,
                           job->mounts[i].path));
    return config;
}

// ---- from options to a job that can run

// Go collects garbage by the size of its heap and knows nothing of the machine's memory unless it is told:
// nine tenths of what is left beside kernel, image and the program's own segments.
static void set_go_limit(struct job *job, const struct elf_info *info, uint64_t image_bytes)
{
    uint64_t taken = image_bytes + info->memory_bytes + 2 * MIB + job->memory_bytes / 64;
    uint64_t left = job->memory_bytes > taken ? job->memory_bytes - taken : 0;
    uint64_t limit = left / 10 * 9;
    char *value;

    if (!info->is_go || env_get(&job->env, "GOMEMLIMIT"))
        return;
    if (limit < 2 * MIB)
        limit = 2 * MIB;
    value = format("GOMEMLIMIT=%lluKiB", (unsigned long long)(limit >> 10));
    env_set(&job->env, value);
    if (job->verbose)
        fprintf(stderr, "lethe: a Go program: set %s\n", value);
}

static void set_default(struct strings *env, const char *name, const char *value)
{
    if (!env_get(env, name))
        env_set(env, format("%s=%s", name, value));
}

// What cannot boot is said before QEMU says it less well.
void job_check_memory(const struct job *job, uint64_t image_bytes)
{
    uint64_t least = machine_least_bytes(job, job->root_on_disk ? 0 : image_bytes);

    if (job->memory_bytes < least)
        die_status(STATUS_NOBOOT,
                   "the guest could not boot: %llu KiB of memory is too little; kernel and image "
                   "alone need %llu KiB (-m)",
                   (unsigned long long)(job->memory_bytes >> 10),
                   (unsigned long long)(least >> 10));
}

// Everything that a job needs before it can be packed.
void job_settle(struct job *job)
{
    struct elf_info info = program_add(job);

    if (job->terminal)
        terminal_settle(job);
    job->root_on_disk = job->root_place == ROOT_DISK;
    machine_settle(job);
    set_default(&job->env, "HOME", "/");
    set_go_limit(job, &info, job->root_on_disk ? 0 : tree_bytes(job->root));
    tree_add_text(job->root, "/.lethe/config", guest_config(job));
    job_check_memory(job, tree_bytes(job->root));
}

void print_command(FILE *out, const struct strings *command)
{
    for (size_t i = 0; i < command->count; i++)
        fprintf(out, "%s%s", i ? " " : "", shell_quote(command->items[i]));
    fputc('\n', out);
}

// ---- verbs

static int verb_run(struct job *job)
{
    char *image = format("/proc/self/fd/%d", IMAGE_FD), *own_path;
    struct strings command;
    uint64_t bytes;
    int fd;

    job_settle(job);
    job->input_is_pipe = !terminal_interactive();
    strings_add(&job->qemu_args, "-add-fd");
    strings_take(&job->qemu_args, format("fd=%d,set=1", CONTROL_FD));
    command = machine_command(job, image, "/dev/fdset/1");
    if (job->dry_run) {
        print_command(stdout, &command);
        return 0;
    }
    fd = memfd_create("lethe-root", MFD_CLOEXEC);
    if (fd < 0)
        die_status(STATUS_NOBOOT, "cannot make the image: %s", strerror(errno));
    own_path = format("/proc/self/fd/%d", fd);
    bytes = image_write(own_path, job->root, job->image_min_bytes);
    job_check_memory(job, bytes);
    if (job->verbose) {
        fprintf(stderr, "lethe: root image of %llu KiB\n", (unsigned long long)(bytes >> 10));
        print_command(stderr, &command);
    }
    volume_settle(job);
    network_check(job);
    return guest_run(job, &command, fd);
}

static const char *const verbs[] = {"run",    "build",  "deploy", "image",  "instance",
                                    "volume", "config", "help",   "version"};

static int unknown_verb(const char *verb)
{
    die("unknown verb '%s'; the nearest is '%s' (try 'lethe help')", verb,
        nearest(verb, verbs, sizeof(verbs) / sizeof(verbs[0])));
}

int main(int argc, char **argv)
{
    struct job job = {.memory_bytes = 512 * MIB, .cpus = 1, .root = tree_new()};
    const char *verb = argc > 1 ? argv[1] : "";

    signal(SIGXFSZ, SIG_IGN);  // a limit on the size of files is an error like others
    if (!*verb)
        die("name a verb: run, build, deploy, image, instance, volume, config, help or version");
    if (!strcmp(verb, "help") || !strcmp(verb, "--help") || !strcmp(verb, "-h")) {
        fputs(help_text, stdout);
        return 0;
    }
    if (!strcmp(verb, "version") || !strcmp(verb, "--version")) {
        puts("lethe " LETHE_VERSION);
        return 0;
    }
    if (!strcmp(verb, "image") || !strcmp(verb, "instance")) {
        if (argc < 3)
            die("name what to do: %s", !strcmp(verb, "image")
                                           ? "image create, convert, list, inspect or delete"
                                           : "instance create, list, logs, stop or delete");
        options_parse(&job, argc - 2, argv + 2);
        return !strcmp(verb, "image") ? verb_image(&job, argv[2]) : verb_instance(&job, argv[2]);
    }
    if (!strcmp(verb, "volume"))
        return verb_volume(argc - 1, argv + 1);
    if (!strcmp(verb, "config"))
        return verb_config(argc - 1, argv + 1);
    if (!strcmp(verb, "deploy")) {
        bool named = argc > 2 && *argv[2] != '-';
        options_parse(&job, argc - 1 - named, argv + 1 + named);
        return verb_deploy(&job, named ? argv[2] : NULL);
    }
    if (strcmp(verb, "run") && strcmp(verb, "build"))
        return unknown_verb(verb);
    options_parse(&job, argc - 1, argv + 1);
    if (!strcmp(verb, "build"))
        return verb_build(&job);
    return job.disk ? verb_run_disk(&job) : verb_run(&job);
}
