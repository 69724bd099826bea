// SPDX-License-Identifier: BSD-2-Clause
// init.c: from a running kernel to the first instruction of the packed program, and its end.
#include <string.h>

#include "core/log.h"
#include "core/platform.h"
#include "exec/config.h"
#include "exec/exec_internal.h"

#define RLIMIT_STACK 3

// net/device.c, in the kernel with a network: waits a moment for the machine's addresses.
void net_wait_configured(void) __weak;
// net/cloud.c: host name and environment from outside. => memory of the new environment, to be freed
char *cloud_apply(struct run_config *c) __weak;

struct config_text {
    char *text, *args, *env;
    struct run_config config;
};

static void read_config(struct config_text *t)
{
    struct file *file = file_open_kernel(CONFIG_PATH, O_RDONLY);
    if (IS_ERR(file))
        noboot("the root image has no %s (error %ld)", CONFIG_PATH, -PTR_ERR(file));
    u64 size = file_size(file);
    if (size == 0 || size > CONFIG_MAX)
        noboot("%s has a size of %lu bytes; 1 to %lu are allowed", CONFIG_PATH, size,
               (unsigned long)CONFIG_MAX);
    t->text = kmalloc(size + 1);
    t->args = kmalloc(size + 1);
    t->env = kmalloc(size + 1);
    if (!t->text || !t->args || !t->env)
        noboot("too little memory to read %s", CONFIG_PATH);
    ssize_t got = file_read_kernel(file, t->text, size, 0);
    file_put(file);
    if (got != (ssize_t)size)
        noboot("%s cannot be read (error %ld)", CONFIG_PATH, (long)-got);
    t->text[size] = 0;
    u32 line;
    const char *error = config_parse(t->text, size, t->args, t->env, &t->config, &line);
    if (error)
        noboot("%s, line %u: %s", CONFIG_PATH, line, error);
}

static void config_free(struct config_text *t)
{
    kfree(t->text);
    kfree(t->args);
    kfree(t->env);
}

static const char *start_error_text(long err)
{
    switch (err) {
    case -ENOENT: return "no such file in the image";
    case -EACCES: return "not executable";
    case -ENOEXEC: return "not an executable ELF of this architecture";
    case -ENOMEM: return "too little memory";
    case -ELIBBAD: return "its interpreter is damaged";
    default: return "cannot be loaded";
    }
}

static struct mm *load_program(const struct run_config *c, struct process *p, struct regs *regs)
{
    struct exec_args a = {.argc = c->argc, .envc = c->envc};
    int err = exec_args_add(&a, c->args, c->args_len);
    if (!err && c->env_len)
        err = exec_args_add(&a, c->env, c->env_len);
    struct file *file = err ? ERR_PTR(err) : exec_open_kernel(c->program);
    if (IS_ERR(file))
        noboot("%s: %s (error %ld)", c->program, start_error_text(PTR_ERR(file)), -PTR_ERR(file));
    struct mm *mm = exec_prepare(file, c->program, &a, p, p->rlimits[RLIMIT_STACK].cur, true, regs);
    if (IS_ERR(mm))
        noboot("%s: %s (error %ld)", c->program, start_error_text(PTR_ERR(mm)), -PTR_ERR(mm));
    file_put(file);
    exec_args_free(&a);
    return mm;
}

// "ro SOURCE PATH" or "rw SOURCE PATH".
static void mount_volume(char *text)
{
    bool read_only = strncmp(text, "ro ", 3) == 0;
    char *source = text + 3, *path = strlen(text) > 3 ? strchr(source, ' ') : NULL;
    if (!path)
        noboot("%s: a mount is 'rw SOURCE PATH' or 'ro SOURCE PATH'", CONFIG_PATH);
    *path++ = 0;
    int err = vfs_mount_volume ? vfs_mount_volume(source, path, read_only) : -ENODEV;
    if (err)
        noboot("volume %s cannot be mounted on %s (error %d)", source, path, -err);
}

static void init_main(void *unused __unused)
{
    struct config_text t;
    struct regs regs;
    if (fs_init_full)
        fs_init_full();
    read_config(&t);
    for (u32 i = 0; i < t.config.n_mounts; i++)
        mount_volume(t.config.mounts[i]);
    if (t.config.hostname)
        set_hostname(t.config.hostname);
    char *cloud = cloud_apply ? cloud_apply(&t.config) : NULL;
    struct process *p = process_create(NULL);
    if (!p)
        noboot("too little memory for the first process");
    p->mm = load_program(&t.config, p, &regs);
    struct thread *thread = thread_create_user(p, &regs);
    if (IS_ERR(thread))
        noboot("too little memory for the first thread");
    int err = files_init_process(thread, t.config.cwd);
    if (err)
        noboot("working directory %s: error %d", t.config.cwd ? t.config.cwd : "/", -err);
    const char *slash = strrchr(t.config.program, '/');
    thread_set_comm(thread, slash ? slash + 1 : t.config.program);
    config_free(&t);
    kfree(cloud);
    if (net_wait_configured)
        net_wait_configured();
    control_line("boot-ok");
    thread_start(thread);
}

void init_start(void)
{
    if (boot_info.image_start == boot_info.image_end && !vfs_root_from_disk)
        noboot("no root image: pass one as the initial RAM disk (lethe run does)");
    struct thread *t = kthread_create("init", init_main, NULL, 0);
    if (IS_ERR(t))
        noboot("too little memory to start");
}

// Wait status as wait(2) encodes it: exit code in bits 8 to 15, or the signal in bits 0 to 6.
void application_ended(int wait_status)
{
    int sig = wait_status & 0x7f;
    if (volumes_shutdown)
        volumes_shutdown();
    if (sig)
        control_line("signal %d", sig);
    else
        control_line("exit %d", wait_status >> 8 & 0xff);
    machine_end();
}
