// SPDX-License-Identifier: BSD-2-Clause
// Volumes: ext4 images that outlive the guest. `lethe volume` makes, lists and deletes them in a directory of the user's;
// --mount gives one, or an image file named by its path, to a guest as a virtio disk; a folder as well, read-only, packed into an
// image in memory.
//
// The image of a mounted volume is locked (flock), against other runs and against deletion; QEMU inherits the lock, so it lasts as long
// as the guest does, however the tool ends.
#include "lethe.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_MOUNTS 16
#define LEAST_BYTES (12 * MIB)  // below it mke2fs finds a journal of 4 MiB too large

// ---- where volumes are

static char *volume_dir(void)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");

    if (data && *data == '/')
        return format("%s/lethe/volumes", data);
    if (!home || *home != '/')
        die("volumes live in $XDG_DATA_HOME/lethe/volumes or $HOME/.local/share/lethe/volumes; neither variable is set");
    return format("%s/.local/share/lethe/volumes", home);
}

static void make_dirs(const char *path)
{
    char *copy = xstrdup(path);

    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        mkdir(copy, 0777);
        *p = '/';
    }
    if (mkdir(copy, 0777) && errno != EEXIST)
        die("cannot make the directory %s: %s", path, strerror(errno));
    free(copy);
}

static bool good_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    return len && !name[len] && *name != '.' && *name != '-' && len <= 64;
}

static char *volume_path(const char *name) { return format("%s/%s.ext4", volume_dir(), name); }

// ---- locks

// Opens an image and locks it: for one writer or for several readers. => -1: another guest has it
static int open_locked(const char *path, bool read_only)
{
    int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);

    if (fd < 0)
        die("cannot open the volume %s: %s", path, strerror(errno));
    if (flock(fd, (read_only ? LOCK_SH : LOCK_EX) | LOCK_NB)) {
        close(fd);
        return -1;
    }
    return fd;
}

// ---- the verb

static void make_ext4(const char *path)
{
    int status, quiet = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_t child = fork();

    if (child == 0) {
        char *path_variable =
            format("%s:/usr/sbin:/sbin", getenv("PATH") ? getenv("PATH") : "/bin");
        setenv("PATH", path_variable, 1);
        dup2(quiet, 0);
        dup2(quiet, 1);
        dup2(quiet, 2);
        execlp("mke2fs", "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0",
               "-J", "size=4", "-E", "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0", path,
               (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        die("cannot run mke2fs: %s", strerror(errno));
    close(quiet);
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        unlink(path);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
            die("mke2fs was not found; it is in the package e2fsprogs");
        die("mke2fs could not make the file system");
    }
}

static int create(const char *name, const char *size_text)
{
    uint64_t bytes;
    char *dir = volume_dir(), *path, *unfinished;
    int fd;

    if (!good_name(name))
        die("volume create %s: a name has letters, digits, '.', '_' and '-', at most 64, and begins with none of '.' and '-'",
            name);
    if (!parse_size(size_text, MIB, &bytes))
        die("volume create %s %s: not a size; write it as 512m or 2g", name, size_text);
    bytes &= ~(uint64_t)4095;
    if (bytes < LEAST_BYTES || bytes > (uint64_t)1 << 44)
        die("volume create %s %s: a volume has 12 MiB to 16 TiB", name, size_text);
    make_dirs(dir);
    path = volume_path(name);
    if (!access(path, F_OK))
        die("volume create %s: there is one of this name: %s", name, path);
    unfinished = format("%s.part%d", path, (int)getpid());
    fd = open(unfinished, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 || ftruncate(fd, (off_t)bytes))
        die("cannot write %s: %s", unfinished, strerror(errno));
    close(fd);
    make_ext4(unfinished);
    if (link(unfinished, path)) {
        int why = errno;
        unlink(unfinished);
        die("cannot write %s: %s", path, strerror(why));
    }
    unlink(unfinished);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// A line of the list, or an object in ARRAY.
static void list_one(const char *name, cJSON *array)
{
    char *path = volume_path(name);
    struct stat st;
    cJSON *object;
    int fd;

    if (stat(path, &st))
        return;
    fd = open_locked(path, true);
    if (fd >= 0)
        close(fd);
    if (!array) {
        printf("%-24s %8llu MiB %8llu MiB on disk%s  %s\n", name,
               (unsigned long long)st.st_size >> 20,
               ((unsigned long long)st.st_blocks * 512 + MIB - 1) >> 20, fd < 0 ? "  in use" : "",
               path);
        return;
    }
    object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "name", name);
    cJSON_AddNumberToObject(object, "bytes", st.st_size);
    cJSON_AddNumberToObject(object, "disk_bytes", st.st_blocks * 512.0);
    cJSON_AddBoolToObject(object, "in_use", fd < 0);
    cJSON_AddStringToObject(object, "path", path);
    cJSON_AddItemToArray(array, object);
}

static int list(bool json)
{
    char *dir = volume_dir();
    DIR *d = opendir(dir);
    struct strings names = {0};
    cJSON *array = json ? cJSON_CreateArray() : NULL;

    for (struct dirent *e; d && (e = readdir(d));) {
        size_t len = strlen(e->d_name);
        if (len > 5 && !strcmp(e->d_name + len - 5, ".ext4")) {
            e->d_name[len - 5] = '\0';
            strings_add(&names, e->d_name);
        }
    }
    if (d)
        closedir(d);
    if (names.count)
        qsort(names.items, names.count, sizeof(char *), by_name);
    for (size_t i = 0; i < names.count; i++)
        list_one(names.items[i], array);
    if (json)
        puts(cJSON_Print(array));
    return 0;
}

static int delete (const char *name)
{
    char *path = volume_path(name);
    int fd;

    if (!good_name(name) || access(path, F_OK))
        die("volume delete %s: there is no such volume ('lethe volume list' shows them)", name);
    fd = open_locked(path, false);
    if (fd < 0)
        die("volume delete %s: it is in use by a running guest", name);
    if (unlink(path))
        die("cannot remove %s: %s", path, strerror(errno));
    close(fd);
    return 0;
}

int verb_volume(int argc, char **argv)
{
    static const char *const verbs[] = {"create", "list", "delete"};
    const char *verb = argc > 1 ? argv[1] : "";

    if (!strcmp(verb, "create") && argc == 4)
        return create(argv[2], argv[3]);
    if (!strcmp(verb, "list") && (argc == 2 || (argc == 3 && !strcmp(argv[2], "--json"))))
        return list(argc == 3);
    if (!strcmp(verb, "delete") && argc == 3)
        return delete (argv[2]);
    if (!strcmp(verb, "create") || !strcmp(verb, "list") || !strcmp(verb, "delete"))
        die("write: lethe volume create NAME SIZE | list [--json] | delete NAME");
    if (!strcmp(verb, "attach") || !strcmp(verb, "detach"))
        die("a running guest takes no new volume and gives none back: name it at the start, with --mount NAME:/PATH");
    if (!*verb)
        die("name what to do with volumes: create, list or delete");
    die("unknown verb 'volume %s'; the nearest is 'volume %s'", verb, nearest(verb, verbs, 3));
}

// ---- mounting

// A folder's image will be a memory file, which QEMU inherits as it does the root image.
static void mount_folder(struct mount *m, const char *option)
{
    int low = memfd_create("lethe-folder", MFD_CLOEXEC), fd = fcntl(low, F_DUPFD, 16);

    if (!m->read_only)
        die("%s %s: a folder is mounted read-only: write %s:%s:ro", option, m->text, m->image,
            m->path);
    if (fd < 0)
        die_status(STATUS_NOBOOT, "cannot make the image: %s", strerror(errno));
    close(low);
    m->folder = m->image;
    m->image = format("/proc/self/fd/%d", fd);
}

// NAME:PATH[:ro]; NAME is a volume's, or, with a '/', the path of an image file or a folder.
void volume_add_mount(struct job *job, const char *text, bool from_config)
{
    const char *option = from_config ? "Mounts" : "--mount";
    struct mount m = {.text = xstrdup(text), .image = xstrdup(text)};
    char *colon = strrchr(m.image, ':');
    struct stat st;

    if (colon && (!strcmp(colon, ":ro") || !strcmp(colon, ":rw"))) {
        m.read_only = colon[2] == 'o';
        *colon = '\0';
        colon = strrchr(m.image, ':');
    }
    if (!colon || colon == m.image || colon[1] != '/' || !colon[2])
        die("%s %s: write NAME:/PATH or NAME:/PATH:ro", option, text);
    *colon = '\0';
    m.path = colon + 1;
    if (!strchr(m.image, '/')) {
        if (!good_name(m.image) || stat(volume_path(m.image), &st))
            die("%s %s: there is no volume '%s'; make one with 'lethe volume create %s SIZE' (an image file is named with a '/' in its path)",
                option, text, m.image, m.image);
        m.image = volume_path(m.image);
    }
    if (!stat(m.image, &st) && S_ISDIR(st.st_mode))
        mount_folder(&m, option);
    if (stat(m.image, &st) || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)))
        die("%s %s: %s is no image file and no folder", option, text, m.image);
    if (access(m.image, m.read_only ? R_OK : R_OK | W_OK))
        die("%s %s: cannot open %s for %s (%s)", option, text, m.image,
            m.read_only ? "reading" : "writing", strerror(errno));
    if (strchr(m.image, ','))
        die("%s %s: QEMU takes no path with a comma", option, text);
    if (job->n_mounts == MAX_MOUNTS)
        die("%s %s: at most %d volumes", option, text, MAX_MOUNTS);
    for (size_t i = 0; i < job->n_mounts; i++)
        if (!strcmp(job->mounts[i].path, m.path))
            die("%s %s: something is mounted on %s already", option, text, m.path);
    job->mounts = realloc(job->mounts, (job->n_mounts + 1) * sizeof(m));
    if (!job->mounts)
        die("out of memory");
    job->mounts[job->n_mounts++] = m;
}

// Packs folders, and locks the images for the guest's life: the descriptors stay open in QEMU.
void volume_settle(const struct job *job)
{
    for (size_t i = 0; i < job->n_mounts; i++) {
        const struct mount *m = &job->mounts[i];
        if (m->read_only && job->disk_bus && !strcmp(job->disk_bus, "ahci"))
            die("--mount %s: QEMU has no read-only disks behind ahci; choose another --disk-bus",
                m->text);
        if (m->folder) {
            struct node *root = tree_new();
            tree_add_root(root, m->folder);
            image_write(m->image, root, 0);
        }
        int fd = open_locked(m->image, m->read_only);
        if (fd < 0)
            die("--mount %s: the volume is in use by another guest", m->text);
        fcntl(fd, F_SETFD, 0);
    }
}

// The device of volume i, and the controller of those that share one with the first of them.
static void add_device(const struct job *job, struct strings *command, size_t i, const char *bus)
{
    enum { AHCI_PORTS = 6 };
    const char *kind = job->disk_bus ? job->disk_bus : disk_buses[0];
    char *controller = NULL, *disk;

    if (!strcmp(kind, "scsi") || !strcmp(kind, "pvscsi")) {
        controller = i                         ? NULL
                     : !strcmp(kind, "pvscsi") ? xstrdup("pvscsi,id=volumes")
                                               : format("virtio-scsi-%s,id=volumes", bus);
        disk = format("scsi-hd,bus=volumes.0,drive=volume%zu,serial=volume%zu", i, i);
    } else if (!strcmp(kind, "nvme")) {
        disk = format("nvme,drive=volume%zu,serial=volume%zu", i, i);
    } else if (!strcmp(kind, "ahci")) {
        controller = i % AHCI_PORTS ? NULL : format("ahci,id=volumes%zu", i / AHCI_PORTS);
        disk = format("ide-hd,bus=volumes%zu.%zu,drive=volume%zu,serial=volume%zu", i / AHCI_PORTS,
                      i % AHCI_PORTS, i, i);
    } else {
        disk = format("virtio-blk-%s,drive=volume%zu,serial=volume%zu", bus, i, i);
    }
    if (controller) {
        strings_add(command, "-device");
        strings_take(command, controller);
    }
    strings_add(command, "-device");
    strings_take(command, disk);
}

// Whether the volumes' controller has to be on a PCI bus.
bool volume_needs_pci(const struct job *job)
{
    return (job->n_mounts || job->root_on_disk) && job->disk_bus &&
           strcmp(job->disk_bus, "virtio") && strcmp(job->disk_bus, "scsi");
}

void volume_command(const struct job *job, struct strings *command, const char *bus)
{
    for (size_t i = 0; i < job->n_mounts; i++) {
        const struct mount *m = &job->mounts[i];
        strings_add(command, "-drive");
        strings_take(
            command,
            format("if=none,id=volume%zu,format=raw,file=%s,cache=writeback,discard=unmap%s", i,
                   m->image, m->read_only ? ",read-only=on" : ""));
        add_device(job, command, i, bus);
    }
}

// The root image as one more disk, behind the volumes. => what the kernel finds it by
char *volume_command_root(const struct job *job, struct strings *command, const char *image,
                          const char *bus)
{
    strings_add(command, "-drive");
    strings_take(command, format("if=none,id=volume%zu,format=raw,file=%s", job->n_mounts,
                                 qemu_escape(image)));
    add_device(job, command, job->n_mounts, bus);
    return format("serial:volume%zu", job->n_mounts);
}
