// SPDX-License-Identifier: BSD-2-Clause
// `lethe build`: kernel and root image in a folder, the root image alone, or a disk image that boots by itself; and `lethe run
// --disk`, which starts one.
#include "lethe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"

void write_root(const struct job *job, const char *path)
{
    const char *temporary;
    int fd = output_begin(path, &temporary);

    job_check_memory(job, image_write(temporary, job->root, job->image_min_bytes));
    output_end(fd);
}

void copy_kernel(const struct job *job, const char *path)
{
    const char *temporary;
    size_t len;
    uint8_t *bytes = file_bytes(job->kernel, &len);
    int fd = output_begin(path, &temporary);

    write_all(fd, temporary, bytes, len);
    output_end(fd);
    free(bytes);
}

// A file in memory that another program can be handed.
int memory_file(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC);

    if (fd < 0)
        die_status(STATUS_NOBOOT, "cannot make the image: %s", strerror(errno));
    return fd;
}

// The job as a raw disk image in FD, which PATH names in messages.
void build_disk(const struct job *job, int fd, const char *path)
{
    struct disk_request request = {.arch = job->arch,
                                   .kernel = job->kernel,
                                   .words = machine_image_words(job),
                                   .root = memory_file("lethe-root"),
                                   .root_stays = job->root_on_disk};

    request.root_bytes =
        image_write(format("/proc/self/fd/%d", request.root), job->root, job->image_min_bytes);
    job_check_memory(job, request.root_bytes);
    disk_write(fd, path, &request);
    close(request.root);
}

static void build_folder(struct job *job)
{
    char *image = format("%s/root.img", job->output);
    struct strings command;

    if (!job->dry_run) {
        output_folder(job->output);
        write_root(job, image);
        copy_kernel(job, format("%s/lethe-kernel", job->output));
        job->kernel = format("%s/lethe-kernel", job->output);
        output_folder_end();
    }
    command = machine_command(job, image, "/dev/null");
    print_command(stdout, &command);
}

static void print_disk_command(struct job *job)
{
    struct strings command;

    if (!strcmp(job->machine, "microvm") || !strcmp(job->machine, "virt"))
        job->machine = NULL;  // what job_settle chose starts from no disk
    machine_settle_disk(job);
    command = machine_disk_command(job, job->output, "raw", NULL);
    print_command(stdout, &command);
}

int verb_build(struct job *job)
{
    if (!job->output)
        die("build: say where to write with -o");
    if (job->format ||
        (format_of_path(job->output) && strcmp(format_of_path(job->output)->name, "raw")))
        return image_create(job);
    job->full_kernel = format_of_path(job->output) != NULL;
    job_settle(job);
    if (ends_with(job->output, ".ext4")) {
        if (!job->dry_run)
            write_root(job, job->output);
    } else if (format_of_path(job->output)) {
        if (!job->dry_run) {
            const char *temporary;
            int fd = output_begin(job->output, &temporary);
            build_disk(job, fd, temporary);
            output_end(fd);
        }
        print_disk_command(job);
    } else {
        build_folder(job);
    }
    return 0;
}

// `lethe run --disk FILE`: the firmware starts it; its configuration is in the image.
int verb_run_disk(struct job *job)
{
    struct strings command;
    const char *disk_format_name = disk_format(job->disk);

    if (job->program_host)
        die("--disk %s has its program in it; '%s' is one more", job->disk, job->program_host);
    if (!job->arch)
        job->arch = disk_arch(job->disk, disk_format_name);
    machine_settle_disk(job);
    job->input_is_pipe = !terminal_interactive();
    strings_add(&job->qemu_args, "-add-fd");
    strings_take(&job->qemu_args, format("fd=%d,set=1", CONTROL_FD));
    command = machine_disk_command(job, job->disk, disk_format_name, "/dev/fdset/1");
    if (job->dry_run || job->verbose)
        print_command(job->dry_run ? stdout : stderr, &command);
    if (job->dry_run)
        return 0;
    volume_settle(job);
    return guest_run(job, &command, open("/dev/null", O_RDONLY | O_CLOEXEC));
}
