// SPDX-License-Identifier: BSD-2-Clause
// `lethe image`: making, converting and looking at disk images. Those that are made without -o lie in the user's store,
// $XDG_DATA_HOME/lethe/images, each under its name and the suffix of its format.
#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "lethe.h"

// A folder of the user's, made when it is missing: $VARIABLE/lethe/NAME, or ~/FALLBACK/lethe/NAME.
char *user_folder(const char *variable, const char *fallback, const char *name)
{
    const char *base = getenv(variable), *home = getenv("HOME");
    char *path;

    if (!base || *base != '/') {
        if (!home || !*home)
            die("neither %s nor HOME says where to keep things", variable);
        base = format("%s/%s", home, fallback);
    }
    path = format("%s/lethe/%s", base, name);
    for (char *slash = path + 1;; *slash++ = '/') {
        slash += strcspn(slash, "/");
        char kept = *slash;
        *slash = '\0';
        if (mkdir(path, 0777) && errno != EEXIST)
            die("cannot make the folder %s: %s", path, strerror(errno));
        if (!kept)
            return path;
    }
}

static char *store(void) { return user_folder("XDG_DATA_HOME", ".local/share", "images"); }

// Names become file names.
void check_name(const char *name)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

    if (!*name || *name == '.' || name[strspn(name, plain)] || strlen(name) > 100)
        die("the name '%s' is none: use letters, digits, '-', '_' and '.'", name);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

// FILE, or the image of that name in the store.
char *stored_image(const char *name)
{
    struct stat st;
    DIR *folder;
    char *found = NULL;

    if (strchr(name, '/') || !stat(name, &st))
        return xstrdup(name);
    folder = opendir(store());
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        const struct image_format *f = format_of_path(entry->d_name);
        size_t len = f ? strlen(entry->d_name) - strlen(f->suffix) : 0;
        if (f && strlen(name) == len && !strncmp(entry->d_name, name, len))
            found = format("%s/%s", store(), entry->d_name);
    }
    if (folder)
        closedir(folder);
    if (!found)
        die("there is no image '%s', neither as a file nor in %s", name, store());
    return found;
}

static char *stem_of(const char *path, const struct image_format *f)
{
    const char *name = base_name(path);
    size_t len = strlen(name);

    return format("%.*s", (int)(f && ends_with(name, f->suffix) ? len - strlen(f->suffix) : len),
                  name);
}

// Where the result goes, and in which format: -o, -t and -i.
static const struct image_format *choose_output(struct job *job, const char *from)
{
    const struct image_format *f = job->format   ? format_named(job->format)
                                   : job->output ? format_of_path(job->output)
                                                 : format_named("raw");

    if (!f)
        die("say which format %s is to have, with -t", job->output);
    if (!job->output) {
        char *name = job->name ? job->name : stem_of(from, format_of_path(from));
        check_name(name);
        job->output = format("%s/%s%s", store(), name, f->suffix);
    }
    return f;
}

static void write_source(struct job *job, const struct image_format *f, int disk)
{
    struct image_source source = {.disk = disk,
                                  .name = stem_of(job->output, f),
                                  .memory_bytes = job->memory_bytes,
                                  .cpus = job->cpus};

    format_write(f, &source, job->output);
    close(disk);
}

// Writes job->output in this format, from the disk image FROM, or, when that is NULL, from the settled job.
void image_produce(struct job *job, const struct image_format *f, const char *from)
{
    int disk = from ? disk_open_raw(from, disk_format(from)) : memory_file("lethe-disk");

    if (!from)
        build_disk(job, disk, job->output);
    write_source(job, f, disk);
}

// The job as an image in the format that -t or the output's name asks for.
int image_create(struct job *job)
{
    const struct image_format *f;

    if (is_machine_format(job->format))
        return machine_folder_create(job);
    if (!job->program_host)
        die("image create: no program named; try 'lethe help'");
    f = choose_output(job, job->program_host);
    job->full_kernel = true;
    job_settle(job);
    if (job->dry_run)
        return 0;
    image_produce(job, f, NULL);
    printf("%s\n", job->output);
    return 0;
}

static int image_convert(struct job *job, const char *name)
{
    char *from = stored_image(name);
    const struct image_format *f = choose_output(job, from);

    image_produce(job, f, from);
    printf("%s\n", job->output);
    return 0;
}

// ---- looking

struct facts {
    const char *format, *arch;
    uint64_t file_bytes, disk_bytes;
    struct boot_record record;
    bool ours;
};

// The record lies at a fixed sector, and on aarch64 somewhere in the system partition. => false: not a disk of ours
bool disk_record(int disk, uint64_t bytes, struct boot_record *record)
{
    enum { LOOKED_AT = 64 << 20 };

    for (uint64_t at = RECORD_SECTOR * SECTOR; at < bytes && at < LOOKED_AT; at += SECTOR)
        if (pread(disk, record, sizeof(*record), at) == sizeof(*record) &&
            !memcmp(record->magic, RECORD_MAGIC, sizeof(record->magic)) &&
            !record->words[RECORD_WORDS - 1])
            return true;
    return false;
}

bool disk_is_arm(int disk)
{
    uint8_t type[16];

    return pread(disk, type, 16, 2 * SECTOR + 128) == 16 && !memcmp(type, gpt_root_aarch64, 16);
}

static struct facts look_at(const char *path)
{
    struct facts facts = {.format = disk_format(path)};
    struct stat st;
    int disk = disk_open_raw(path, facts.format);

    stat(path, &st);
    facts.file_bytes = st.st_size;
    facts.disk_bytes = lseek(disk, 0, SEEK_END);
    if (!strcmp(facts.format, "vpc")) {
        facts.format = "vhd";
    }
    facts.ours = disk_record(disk, facts.disk_bytes, &facts.record);
    facts.arch = disk_is_arm(disk) ? "aarch64" : "x86_64";
    close(disk);
    return facts;
}

static int image_inspect(const struct job *job, const char *name)
{
    char *path = stored_image(name);
    struct facts facts = look_at(path);
    cJSON *object = cJSON_CreateObject();

    if (!facts.ours)
        die("%s is a disk image of format %s, but not one of ours", path, facts.format);
    cJSON_AddStringToObject(object, "path", path);
    cJSON_AddStringToObject(object, "format", facts.format);
    cJSON_AddStringToObject(object, "arch", facts.arch);
    cJSON_AddNumberToObject(object, "file_bytes", facts.file_bytes);
    cJSON_AddNumberToObject(object, "disk_bytes", facts.disk_bytes);
    cJSON_AddNumberToObject(object, "kernel_bytes", facts.record.kernel_bytes);
    cJSON_AddNumberToObject(object, "root_bytes", facts.record.root_bytes);
    cJSON_AddStringToObject(object, "words", facts.record.words);
    if (job->json) {
        puts(cJSON_Print(object));
        return 0;
    }
    for (const cJSON *item = object->child; item; item = item->next)
        printf("%-13s %s\n", item->string,
               cJSON_IsString(item) ? item->valuestring : cJSON_PrintUnformatted(item));
    return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_image(const struct dirent *entry) { return format_of_path(entry->d_name) != NULL; }

static int image_list(const struct job *job)
{
    struct dirent **entries;
    char *folder = store();
    int n = scandir(folder, &entries, is_image, by_name);
    cJSON *list = cJSON_CreateArray();

    for (int i = 0; i < n; i++) {
        const struct image_format *f = format_of_path(entries[i]->d_name);
        cJSON *object = cJSON_CreateObject();
        struct stat st = {0};
        char *path = format("%s/%s", folder, entries[i]->d_name);
        stat(path, &st);
        cJSON_AddStringToObject(object, "name", stem_of(entries[i]->d_name, f));
        cJSON_AddStringToObject(object, "format", f->name);
        cJSON_AddNumberToObject(object, "file_bytes", st.st_size);
        cJSON_AddStringToObject(object, "path", path);
        cJSON_AddItemToArray(list, object);
        if (!job->json)
            printf("%-24s %-6s %12lld  %s\n", stem_of(entries[i]->d_name, f), f->name,
                   (long long)st.st_size, path);
    }
    if (job->json)
        puts(cJSON_Print(list));
    return 0;
}

static int image_delete(const char *name)
{
    char *path = stored_image(name), *folder = store();
    size_t len = strlen(folder);

    if (strncmp(path, folder, len) || path[len] != '/')
        die("%s is not in the store; remove it yourself", path);
    if (unlink(path))
        die("cannot remove %s: %s", path, strerror(errno));
    return 0;
}

// `lethe image VERB ...`, with the options already read: what stands as PROGRAM is the image.
int verb_image(struct job *job, const char *verb)
{
    static const char *const verbs[] = {"create", "convert", "list", "delete", "inspect"};
    const char *name = job->program_host;

    if (!strcmp(verb, "list"))
        return image_list(job);
    if (!strcmp(verb, "create"))
        return image_create(job);
    if (strcmp(verb, "convert") && strcmp(verb, "delete") && strcmp(verb, "inspect"))
        die("unknown verb 'image %s'; the nearest is 'image %s'", verb,
            nearest(verb, verbs, sizeof(verbs) / sizeof(verbs[0])));
    if (!name)
        die("image %s: name an image", verb);
    if (!strcmp(verb, "convert"))
        return image_convert(job, name);
    return !strcmp(verb, "delete") ? image_delete(name) : image_inspect(job, name);
}
