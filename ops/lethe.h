// SPDX-License-Identifier: BSD-2-Clause
// lethe.h: what the files of the host tool share.
//
//   main.c      verbs and help            options.c  command line -> struct job
//   config.c    ops.conf -> struct job    elf.c      is this a program we can run?
//   program.c   the program, scripts too      libs.c     what a dynamic program needs beside itself
//   lookup.c    paths of the guest            rootfs.c   whole root trees, from directories and archives
//   tree.c      what goes into the image  image.c    tree -> ext4 bytes
//   machine.c   job -> QEMU command line  guest.c    run QEMU, relay the console, learn how it ended
//   terminal.c  the user's terminal       util.c     errors, strings, sizes
//   network.c   ports, interfaces, addresses
//   volume.c    volumes: their images, and mounting them
//
// One rule for errors: bad input is told by die(), one line on standard error, exit status 2. The tool keeps
// nothing on disk while it runs (the root image lives in a memory file), so there is nothing to clean up.
#ifndef LETHE_OPS_LETHE_H
#define LETHE_OPS_LETHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define MIB ((uint64_t)1 << 20)

// Exit statuses of the tool beside the application's own (docs/tool.md).
enum exit_status {
    STATUS_USAGE = 2,      // usage or bad input
    STATUS_PANIC = 123,    // the kernel panicked
    STATUS_TIMEOUT = 124,  // --timeout ran out
    STATUS_NOBOOT = 125,   // the guest could not boot, or QEMU failed
    STATUS_SIGNAL = 128,   // plus the signal that killed the application
};

// A growing list of owned strings; items[count] is NULL, so that it serves as an argv.
struct strings {
    char **items;
    size_t count;
};

// One file, directory or symbolic link to be: a node of the image's tree (tree.c).
struct node {
    char *name;
    mode_t mode;      // type and permissions
    char *host_path;  // regular file: where its bytes are on this machine, or
    char *content;    // ... the bytes themselves, or the target of a symbolic link
    uint64_t size;    // bytes
    uint64_t offset;  // ... of the first of them in host_path, bytes
    bool in_archive;  // ... which holds other files too
    uid_t uid;
    gid_t gid;
    int64_t mtime;          // seconds since 1970; 0: the image's own time
    struct shared *shared;  // one for all names of a file that has several, else NULL
    uint32_t ino;           // image.c's
    bool again;             // ... a further name of a shared file
    struct node *child;     // directory: its entries, sorted by name
    struct node *last;      // ... the one that was added last
    struct node *next;
};

// A file with several names (hard links).
struct shared {
    uint32_t ino;    // image.c's
    unsigned names;  // image.c's
    unsigned round;  // tree_bytes's
};

// A file of the guest: HOST is where its bytes are here.
struct place {
    char *guest, *host;
};

struct mount {     // a volume in the guest's tree
    char *text;    // as it was given
    char *image;   // file on this machine
    char *path;    // in the guest
    char *folder;  // of this machine, packed into the image when the guest starts; or NULL
    bool read_only;
};

enum net { NET_AUTO, NET_NONE, NET_USER, NET_TAP, NET_BRIDGE };

// What a deployment has to know of the cloud (deploy.c).
enum cloud {
    CLOUD_ZONE,
    CLOUD_BUCKET,
    CLOUD_FLAVOR,
    CLOUD_PROJECT,
    CLOUD_SUBNET,
    CLOUD_URL,
    N_CLOUD
};

enum accel { ACCEL_AUTO, ACCEL_KVM, ACCEL_TCG };

// Everything a run needs, filled from ops.conf and then from the command line.
struct job {
    char *program_host;   // the ELF on this machine
    char *program_guest;  // its path in the image
    struct strings args;  // argv[1..]
    struct strings env;   // NAME=VALUE
    char *cwd;
    char *hostname;
    struct node *root;

    char *files_dir;    // LocalFilesParentDirectory, or NULL
    char *target_root;  // TargetRoot, or NULL
    char *rootfs;       // directory or archive with a whole root tree, or NULL
    char *sysroot;      // where a dynamic program's libraries are looked up; NULL: this system

    const char *arch;  // NULL: the program's
    char *kernel;
    const char *machine;  // NULL: the architecture's usual one
    enum accel accel;
    uint64_t memory_bytes;
    unsigned cpus;
    double timeout_seconds;  // 0: none
    uint64_t image_min_bytes;
    char *strace;  // NULL: off; "": every call; else names
    enum net net;
    char *net_name;        // of the tap device or the bridge
    struct strings ports;  // in QEMU's hostfwd form
    char *ip, *ip6, *gateway;
    struct strings name_servers;
    struct mount *mounts;  // of volumes
    size_t n_mounts;
    struct strings append;
    struct strings qemu_args;
    char *output;
    const char *format;    // of the image to be made (formats.c), NULL: by the output's name
    char *disk;            // run: starts from this disk
    const char *disk_bus;  // one of disk_buses, NULL: the first
    bool snapshot;         // and does not write to it
    enum { ROOT_AUTO, ROOT_MEMORY, ROOT_DISK } root_place;  // where the user wants the root image
    bool root_on_disk;                                      // where it will be, by job_settle
    bool uefi;                                              // it starts by UEFI instead of a BIOS
    char *firmware;                                         // a file, or NULL: the usual one
    bool full_kernel;  // the kernel with network and power button, whatever else is asked for
    char *
        console_file;  // where the console of a disk's machine goes, NULL: standard input and output
    bool json;
    char *name;  // of an image or an instance
    char *cloud[N_CLOUD];
    char *platform;  // the provider that ops.conf names
    int verbose;
    bool dry_run;
    bool dynamic;        // the program is not static
    bool unchecked;      // the kernel alone judges the program's headers
    bool input_is_pipe;  // the guest must not echo or edit what we hand it
    bool terminal;       // -t: a person sits there
};

struct elf_info {
    const char *arch;
    bool is_go;
    uint64_t memory_bytes;  // sum of its segments in memory
    char *interpreter;      // of a dynamic program, else NULL
};

// What a dynamic object says to the dynamic linker; the strings are the caller's.
struct elf_dynamic {
    struct strings needed;
    char *soname, *rpath, *runpath;  // or NULL
};

// ---- util.c
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void die_status(int status, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *xalloc(size_t size);
char *xstrdup(const char *text);
char *format(const char *format, ...) __attribute__((format(printf, 1, 2)));
void strings_add(struct strings *list, const char *text);
void strings_take(struct strings *list, char *owned);
bool parse_size(const char *text, uint64_t default_unit, uint64_t *bytes);
bool parse_number(const char *text, long min, long max, long *value);
const char *nearest(const char *word, const char *const *candidates, size_t count);
char *shell_quote(const char *word);
char *normal_path(const char *path);
char *file_read(const char *path, size_t *size);
char *qemu_escape(const char *path);
bool ends_with(const char *text, const char *tail);
void env_set(struct strings *env, const char *assignment);
const char *env_get(const struct strings *env, const char *name);

// ---- main.c
void job_settle(struct job *job);
void job_check_memory(const struct job *job, uint64_t image_bytes);
void print_command(FILE *out, const struct strings *command);

// ---- options.c
void options_parse(struct job *job, int argc, char **argv);

// ---- config.c
void config_load(struct job *job, const char *path);
int verb_config(int argc, char **argv);

// ---- elf.c
struct elf_info elf_check(const char *path, const char *arch);
const char *elf_arch(const char *path);
uint64_t elf_memory_end(const char *path);
bool elf_is_dynamic(const char *path);
struct elf_dynamic elf_dynamic(const char *path);

// ---- program.c
struct elf_info program_add(struct job *job);

// ---- lookup.c
struct place guest_find(const struct job *job, const char *guest_path, bool pack);
struct place guest_which(const struct job *job, const char *name);
char *guest_path_of(const struct job *job, const char *host);

// ---- libs.c
void libs_add(struct job *job, const char *host, const char *guest, const char *interpreter);

// ---- rootfs.c
void rootfs_add(struct job *job, const char *path);

// ---- tree.c
struct node *tree_new(void);
void tree_add_host(struct node *root, const char *host_path, const char *guest_path);
void tree_add_matching(struct node *root, const char *host_dir, const char *pattern,
                       const char *guest_dir);
void tree_add_program(struct node *root, const char *host_path, const char *guest_path);
struct node *tree_find(struct node *root, const char *guest_path);
struct node *tree_place(struct node *root, const char *guest_path, mode_t mode);
uint64_t tree_bytes(const struct node *root);
void tree_copy(struct node *to, const struct node *from);
char *tree_host_path(const struct node *node);
void tree_add_root(struct node *root, const char *host_path);
void tree_add_link(struct node *root, const char *guest_path, const char *target);
void tree_add_if_there(struct node *root, const char *host_path, const char *guest_path);
void tree_add_text(struct node *root, const char *guest_path, char *content);

// ---- image.c
uint64_t image_write(const char *path, struct node *root, uint64_t min_bytes);

uint32_t image_epoch(void);

// ---- output.c
int output_begin(const char *path, const char **temporary);
void output_end(int fd);
void output_folder(const char *path);
void output_folder_end(void);
void output_passing(const char *path);
void output_text(const char *path, const char *text);
void write_all(int fd, const char *path, const void *bytes, size_t len);
uint8_t *file_bytes(const char *path, size_t *len);

// ---- process.c
enum { PROGRAM_MISSING = 127, PROGRAM_LINE = 1024 };
int try_program(const char *const *argv, int in, int out, char line[PROGRAM_LINE]);
void run_program(const char *const *argv, const char *package, int in, int out);

// ---- images.c
char *user_folder(const char *variable, const char *fallback, const char *name);
void check_name(const char *name);
char *stored_image(const char *name);
int image_create(struct job *job);
int verb_image(struct job *job, const char *verb);

// ---- deploy.c
int verb_deploy(struct job *job, const char *provider);

// ---- instance.c
int verb_instance(struct job *job, const char *verb);

// ---- formats.c
const char *disk_format(const char *path);
const char *disk_arch(const char *path, const char *disk_format);

// ---- build.c
int verb_build(struct job *job);
int verb_run_disk(struct job *job);

// ---- machine.c
extern const char *const disk_buses[];
char *machine_loader(const char *kernel, const char *arch, const char *name);
char *machine_image_words(const struct job *job);
void machine_settle_disk(struct job *job);
struct strings machine_disk_command(const struct job *job, const char *disk,
                                    const char *disk_format, const char *control);
enum { CONTROL_FD = 3, IMAGE_FD = 4 };  // descriptors that QEMU inherits
struct strings machine_command(const struct job *job, const char *image, const char *control);
void machine_settle(struct job *job);
uint64_t machine_least_bytes(const struct job *job, uint64_t image_bytes);

// ---- volume.c
int verb_volume(int argc, char **argv);
void volume_add_mount(struct job *job, const char *text, bool image_only);
void volume_settle(const struct job *job);
bool volume_needs_pci(const struct job *job);
void volume_command(const struct job *job, struct strings *command, const char *bus);
char *volume_command_root(const struct job *job, struct strings *command, const char *image,
                          const char *bus);

// ---- network.c
void network_add_port(struct job *job, const char *text);
void network_set(struct job *job, const char *name, const char *value);
void network_choose(struct job *job, const char *text);
bool network_settle(struct job *job);
void network_command(const struct job *job, struct strings *command, const char *bus);
char *network_words(const struct job *job, char *words);
void network_check(const struct job *job);
void network_lengthen_queues(pid_t qemu);

// ---- terminal.c
struct winsize;
bool terminal_interactive(void);
void terminal_settle(struct job *job);
struct winsize terminal_size(void);
void terminal_raw(bool all);
void terminal_raw_again(void);
void terminal_restore(void);

// ---- guest.c
int guest_run(const struct job *job, const struct strings *command, int image_fd);

#endif
