// SPDX-License-Identifier: BSD-2-Clause
// `lethe instance`: disk images that run under QEMU in the background. All that is known of one lies in a folder of its own,
// $XDG_STATE_HOME/lethe/instances/NAME, and nothing of ours runs beside QEMU:
//
//     pid       QEMU's, written by itself          console   what the program wrote
//     monitor   QEMU's control socket (QMP)        control   the words of the control channel (docs/machine.md)
//
// An instance runs while the process of its pid has the folder in its command line; how it ended is the last word in control.
#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "disk.h"
#include "lethe.h"

enum { STOP_SECONDS = 30, POLL_MS = 50, TEXT = 65536 };

static const char *const files[] = {"pid", "monitor", "console", "control"};

static char *instances(void) { return user_folder("XDG_STATE_HOME", ".local/state", "instances"); }

static char *file_of(const char *name, const char *file)
{
    return format("%s/%s/%s", instances(), name, file);
}

static void must_exist(const char *name)
{
    check_name(name);
    if (access(file_of(name, ""), F_OK))
        die("there is no instance '%s'", name);
}

// The last TEXT bytes of a small file, "" when there is none. => in memory of its own
static char *read_text(const char *path)
{
    char *text = xalloc(TEXT + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    ssize_t n = fd < 0 ? 0 : pread(fd, text, TEXT, end > TEXT ? end - TEXT : 0);

    text[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        close(fd);
    return text;
}

// QEMU's process id, 0 when it does not run (any more).
static pid_t running(const char *name)
{
    char *pid_text = read_text(file_of(name, "pid")), *monitor = file_of(name, "monitor");
    long pid = strtol(pid_text, NULL, 10);
    char command[TEXT];
    int fd = pid > 0 ? open(format("/proc/%ld/cmdline", pid), O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd < 0 ? -1 : read(fd, command, sizeof(command) - 1);

    free(pid_text);
    if (fd >= 0)
        close(fd);
    return n > 0 && memmem(command, n, monitor, strlen(monitor)) ? pid : 0;
}

struct state {
    pid_t pid;
    const char *word;  // running, exited, killed, panicked, not booted, ended
    int status;        // the program's, as lethe run would have ended; -1: none
    char *text;        // of a panic or a failed start, else NULL
};

static struct state state_of(const char *name)
{
    static const struct {
        const char *line, *word;
        int status;  // -1: the number behind the line, + base
        int base;
    } endings[] = {{"exit ", "exited", -1, 0},
                   {"signal ", "killed", -1, STATUS_SIGNAL},
                   {"panic ", "panicked", STATUS_PANIC, 0},
                   {"noboot ", "not booted", STATUS_NOBOOT, 0}};
    struct state state = {.pid = running(name), .word = "ended", .status = -1};
    char *control = read_text(file_of(name, "control"));

    for (char *line = strtok(control, "\n"); line && state.status < 0; line = strtok(NULL, "\n")) {
        for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
            size_t len = strlen(endings[i].line);
            if (strncmp(line, endings[i].line, len))
                continue;
            state.word = endings[i].word;
            state.status =
                endings[i].status < 0 ? endings[i].base + atoi(line + len) : endings[i].status;
            state.text = endings[i].status < 0 ? NULL : xstrdup(line + len);
        }
    }
    if (state.pid) {
        state.word = "running";
        state.status = -1;
    }
    free(control);
    return state;
}

// ---- verbs

static void remove_files(const char *name)
{
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        unlink(file_of(name, files[i]));
    if (rmdir(file_of(name, "")))
        die("cannot remove %s: %s", file_of(name, ""), strerror(errno));
}

static char *name_for(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = xstrdup(slash ? slash + 1 : path);

    name[strcspn(name, ".")] = '\0';
    return name;
}

static char *unfinished_instance;  // its folder must not stay when QEMU does not start

static void remove_unfinished(void)
{
    if (unfinished_instance)
        remove_files(unfinished_instance);
}

static int create(struct job *job)
{
    struct strings command;
    char *image;
    const char *image_format;

    if (!job->program_host)
        die("instance create: name a disk image");
    image = realpath(stored_image(job->program_host), NULL);
    if (!image)
        die("cannot find the disk %s: %s", job->program_host, strerror(errno));
    if (!job->name)
        job->name = name_for(image);
    check_name(job->name);
    image_format = disk_format(image);
    if (!job->arch)
        job->arch = disk_arch(image, image_format);
    machine_settle_disk(job);
    if (strlen(file_of(job->name, "monitor")) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        die("the path %s is too long for a socket; set XDG_STATE_HOME to a shorter one",
            file_of(job->name, "monitor"));
    job->console_file = file_of(job->name, "console");
    strings_add(&job->qemu_args, "-daemonize");
    job->snapshot = true;  // the image stays as it is, and may have several instances
    strings_add(&job->qemu_args, "-pidfile");
    strings_take(&job->qemu_args, file_of(job->name, "pid"));
    strings_add(&job->qemu_args, "-qmp");
    strings_take(&job->qemu_args,
                 format("unix:%s,server=on,wait=off", qemu_escape(file_of(job->name, "monitor"))));
    command = machine_disk_command(job, image, image_format, file_of(job->name, "control"));
    if (job->dry_run) {
        print_command(stdout, &command);
        return 0;
    }
    if (mkdir(file_of(job->name, ""), 0700))
        die(errno == EEXIST ? "there is an instance '%s' already"
                            : "cannot make the folder of instance '%s'",
            job->name);
    unfinished_instance = job->name;
    atexit(remove_unfinished);
    volume_settle(job);
    run_program((const char *const *)command.items,
                strcmp(job->arch, "aarch64") ? "qemu-system-x86" : "qemu-system-arm", -1, -1);
    unfinished_instance = NULL;
    printf("%s\n", job->name);
    return 0;
}

static cJSON *describe(const char *name)
{
    struct state state = state_of(name);
    cJSON *object = cJSON_CreateObject();

    cJSON_AddStringToObject(object, "name", name);
    cJSON_AddStringToObject(object, "state", state.word);
    if (state.pid)
        cJSON_AddNumberToObject(object, "pid", state.pid);
    if (state.status >= 0)
        cJSON_AddNumberToObject(object, "status", state.status);
    if (state.text)
        cJSON_AddStringToObject(object, "text", state.text);
    return object;
}

static int is_instance(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static int list(const struct job *job)
{
    struct dirent **entries;
    int n = scandir(instances(), &entries, is_instance, alphasort);
    cJSON *array = cJSON_CreateArray();

    for (int i = 0; i < n; i++) {
        cJSON *object = describe(entries[i]->d_name),
              *status = cJSON_GetObjectItem(object, "status");
        if (!job->json)
            printf("%-24s %-10s %s\n", entries[i]->d_name,
                   cJSON_GetObjectItem(object, "state")->valuestring,
                   status ? cJSON_PrintUnformatted(status) : "");
        cJSON_AddItemToArray(array, object);
    }
    if (job->json)
        puts(cJSON_Print(array));
    return 0;
}

static int logs(const char *name)
{
    int fd = open(file_of(name, "console"), O_RDONLY | O_CLOEXEC);
    char piece[65536];
    ssize_t n;

    if (fd < 0)
        die("cannot read the console of '%s': %s", name, strerror(errno));
    while ((n = read(fd, piece, sizeof(piece))) > 0)
        write_all(STDOUT_FILENO, "the output", piece, n);
    close(fd);
    return 0;
}

// Says one thing to QEMU. => false when it does not listen
static bool tell_monitor(const char *name, const char *command)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char *text = format("{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"%s\"}\n", command),
         answer[4096];
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    bool told;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", file_of(name, "monitor"));
    told = fd >= 0 && !connect(fd, (struct sockaddr *)&address, sizeof(address)) &&
           send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
    // It reads us when it has greeted; two answers come, which say no more than that.
    for (int answers = 0; told && answers < 2 && poll(&wait, 1, 1000) > 0;) {
        ssize_t n = read(fd, answer, sizeof(answer) - 1);
        if (n <= 0)
            break;
        answer[n] = '\0';
        for (char *p = answer; (p = strstr(p, "\"return\"")); p++)
            answers++;
    }
    if (fd >= 0)
        close(fd);
    return told;
}

static bool wait_for_end(const char *name, double seconds)
{
    for (double left = seconds; running(name); left -= POLL_MS / 1000.0) {
        if (left <= 0)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
    return true;
}

// The power button: the program gets SIGTERM, and ends; --timeout bounds it. => the program's exit status, printed
static int stop(const struct job *job, const char *name)
{
    double seconds = job->timeout_seconds > 0 ? job->timeout_seconds : STOP_SECONDS;
    struct state state;

    if (!running(name))
        die("the instance '%s' does not run", name);
    if (!tell_monitor(name, "system_powerdown"))
        die_status(STATUS_NOBOOT, "the instance '%s' does not listen", name);
    if (!wait_for_end(name, seconds)) {
        tell_monitor(name, "quit");
        wait_for_end(name, 5);
        die_status(STATUS_TIMEOUT,
                   "the instance '%s' did not end in %g seconds and was switched off", name,
                   seconds);
    }
    state = state_of(name);
    if (state.status >= 0)
        printf("%s %s, status %d\n", name, state.word, state.status);
    else
        printf("%s %s\n", name, state.word);
    return 0;
}

// `lethe instance VERB ...`, with the options already read.
int verb_instance(struct job *job, const char *verb)
{
    static const char *const verbs[] = {"create", "list", "logs", "stop", "delete"};
    const char *name = job->program_host;

    if (!strcmp(verb, "create"))
        return create(job);
    if (!strcmp(verb, "list"))
        return list(job);
    if (strcmp(verb, "logs") && strcmp(verb, "stop") && strcmp(verb, "delete"))
        die("unknown verb 'instance %s'; the nearest is 'instance %s'", verb,
            nearest(verb, verbs, sizeof(verbs) / sizeof(verbs[0])));
    if (!name)
        die("instance %s: name an instance", verb);
    must_exist(name);
    if (!strcmp(verb, "logs"))
        return logs(name);
    if (!strcmp(verb, "stop"))
        return stop(job, name);
    if (running(name))
        die("the instance '%s' still runs; stop it first", name);
    remove_files(name);
    return 0;
}
