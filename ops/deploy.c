// SPDX-License-Identifier: BSD-2-Clause
// `lethe deploy`: an image in the provider's format, then the provider's own commands, one after the other. Who may do what is
// between them and the provider: nothing of it is read or kept here.
//
//     step fails ----> what the steps before it have made is taken back, last first ----> one line, status 2
//     step is done --> next step ... the machine runs
//
// In a command {name} stands for a value; a word in [brackets] is left out when its value is not known. What a step prints last may
// be the value of later ones.
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "disk.h"
#include "lethe.h"

enum { STEPS = 8, WORDS = 64, POLL_SECONDS = 10, POLLS = 180, OUTPUT = 65536 };

struct step {
    const char *command;
    const char *value;  // the value that the last line of its output becomes, or NULL
    const char *key;    // of JSON: the value is what stands at OBJECT.KEY, or NULL
    const char *until;  // it is repeated until its output holds this, or NULL
    const char *undo;   // takes it back, or NULL
    const char *made;   // what it makes, for who has to remove it by hand
    int spent;          // number (from 1) of the step that this one has taken back already, or 0
};

struct provider {
    const char *name;
    const char *tools[2];  // programs
    const char *get;       // where they are to be had
    const char *check, *login;
    const char *needs[4];  // values that must be given
    const char *defaults[2];
    const char *warning;  // or NULL
    struct step steps[STEPS];
    const char *console;  // the command that shows it
};

static const struct provider providers[] = {
    {.name = "gcp",
     .tools = {"gcloud"},
     .get = "the package google-cloud-cli from Google's own repository",
     .check = "gcloud auth list --filter=status:ACTIVE --format=value(account)",
     .login = "gcloud auth login",
     .needs = {"zone", "bucket"},
     .defaults = {"flavor=e2-small"},
     .steps =
         {{.command = "gcloud storage cp {file} gs://{bucket}/{name}.tar.gz [--project={project}]",
           .undo = "gcloud storage rm gs://{bucket}/{name}.tar.gz [--project={project}]",
           .made = "gs://{bucket}/{name}.tar.gz"},
          {.command =
               "gcloud compute images create {name} --source-uri=gs://{bucket}/{name}.tar.gz "
               "--architecture={gcp_arch} --guest-os-features=UEFI_COMPATIBLE [--project={project}]",
           .undo = "gcloud compute images delete {name} --quiet [--project={project}]",
           .made = "the image {name}"},
          {.command = "gcloud storage rm gs://{bucket}/{name}.tar.gz [--project={project}]",
           .spent = 1},
          {.command = "gcloud compute instances create {name} --image={name} --zone={zone} "
                      "--machine-type={flavor} [--subnet={subnet}] [--project={project}]"}},
     .console =
         "gcloud compute instances get-serial-port-output {name} --zone={zone} [--project={project}]"},
    {.name = "aws",
     .tools = {"aws"},
     .get = "the Debian package awscli",
     .check = "aws sts get-caller-identity --query Account --output text",
     .login = "aws configure",
     .needs = {"bucket"},
     .defaults = {"flavor=t3.small"},
     .warning =
         "there is no driver for Amazon's network card (ENA): the program will have a console, but no network",
     .steps = {{.command = "aws s3 cp {file} s3://{bucket}/{name}.img [--region={region}]",
                .undo = "aws s3 rm s3://{bucket}/{name}.img [--region={region}]",
                .made = "s3://{bucket}/{name}.img"},
               {.command =
                    "aws ec2 import-snapshot "
                    "--disk-container=Format=RAW,UserBucket={S3Bucket={bucket},S3Key={name}.img} "
                    "--query=ImportTaskId --output=text [--region={region}]",
                .value = "task"},
               {.command =
                    "aws ec2 wait snapshot-imported --import-task-ids={task} [--region={region}]"},
               {.command = "aws ec2 describe-import-snapshot-tasks --import-task-ids={task} "
                           "--query=ImportSnapshotTasks[0].SnapshotTaskDetail.SnapshotId "
                           "--output=text [--region={region}]",
                .value = "snapshot",
                .undo = "aws ec2 delete-snapshot --snapshot-id={snapshot} [--region={region}]",
                .made = "the snapshot {snapshot}"},
               {.command = "aws s3 rm s3://{bucket}/{name}.img [--region={region}]", .spent = 1},
               {.command =
                    "aws ec2 register-image --name={name} --architecture={aws_arch} "
                    "--virtualization-type=hvm --ena-support --boot-mode=uefi "
                    "--root-device-name=/dev/xvda "
                    "--block-device-mappings=DeviceName=/dev/xvda,Ebs={SnapshotId={snapshot}} "
                    "--query=ImageId --output=text [--region={region}]",
                .value = "image",
                .undo = "aws ec2 deregister-image --image-id={image} [--region={region}]",
                .made = "the image {image}"},
               {.command = "aws ec2 run-instances --image-id={image} --instance-type={flavor} "
                           "[--subnet-id={subnet}] --query=Instances[0].InstanceId "
                           "--output=text [--region={region}]",
                .value = "instance"}},
     .console =
         "aws ec2 get-console-output --instance-id={instance} --latest --output=text [--region={region}]"},
    {.name = "azure",
     .tools = {"az"},
     .get = "the Debian package azure-cli",
     .check = "az account show --query=id --output=tsv",
     .login = "az login",
     .needs = {"project", "account", "container"},
     .defaults = {"flavor=Standard_B1s"},
     .warning =
         "there is no driver for Azure's network (VMBus): the program will have a console, but no network",
     .steps =
         {{.command =
               "az storage blob upload --account-name={account} --container-name={container} "
               "--name={name}.vhd --file={file} --type=page --auth-mode=login --output=none",
           .undo = "az storage blob delete --account-name={account} --container-name={container} "
                   "--name={name}.vhd --auth-mode=login --output=none",
           .made = "the blob {container}/{name}.vhd"},
          {.command = "az disk create --resource-group={project} --name={name} "
                      "--source=https://{account}.blob.core.windows.net/{container}/{name}.vhd "
                      "--os-type=Linux --hyper-v-generation=V2 --architecture={azure_arch} "
                      "[--location={zone}] --output=none",
           .undo = "az disk delete --resource-group={project} --name={name} --yes --output=none",
           .made = "the disk {name}"},
          {.command =
               "az storage blob delete --account-name={account} --container-name={container} "
               "--name={name}.vhd --auth-mode=login --output=none",
           .spent = 1},
          {.command =
               "az vm create --resource-group={project} --name={name} --attach-os-disk={name} "
               "--os-type=Linux --size={flavor} [--location={zone}] [--subnet={subnet}] --output=none"},
          {.command =
               "az vm boot-diagnostics enable --resource-group={project} --name={name} --output=none"}},
     .console = "az vm boot-diagnostics get-boot-log --resource-group={project} --name={name}"},
    {.name = "digitalocean",
     .tools = {"doctl"},
     .get = "DigitalOcean's own releases",
     .check = "doctl account get --format=Status --no-header",
     .login = "doctl auth init",
     .needs = {"zone", "url"},
     .defaults = {"flavor=s-1vcpu-1gb"},
     .steps = {{.command = "doctl compute image create {name} --region={zone} --image-url={url} "
                           "--format=ID --no-header",
                .value = "image",
                .undo = "doctl compute image delete {image} --force",
                .made = "the image {image}"},
               {.command = "doctl compute image get {image} --output=json",
                .until = "\"available\""},
               {.command = "doctl compute droplet create {name} --image={image} --size={flavor} "
                           "--region={zone} [--vpc-uuid={subnet}] --wait --format=ID --no-header",
                .value = "droplet"}},
     .console = "doctl compute droplet get {droplet}"},
    {.name = "hetzner",
     .tools = {"hcloud", "hcloud-upload-image"},
     .get = "the Debian package hcloud-cli, and hcloud-upload-image's own releases",
     .check = "hcloud location list -o noheader -o columns=name",
     .login = "hcloud context create NAME",
     .needs = {"flavor"},
     .steps = {{.command =
                    "hcloud-upload-image upload --image-path={file} --architecture={hetzner_arch} "
                    "--description={name} --labels=lethe={name}",
                .made = "the snapshot with the label lethe={name}"},
               {.command =
                    "hcloud image list --type=snapshot --selector=lethe={name} --sort=created "
                    "-o noheader -o columns=id",
                .value = "image",
                .undo = "hcloud image delete {image}",
                .made = "the snapshot {image}",
                .spent = 1},
               {.command = "hcloud server create --name={name} --image={image} --type={flavor} "
                           "[--location={zone}] [--network={subnet}]"}},
     .console = "hcloud server request-console {name}"},
    {.name = "openstack",
     .tools = {"openstack"},
     .get = "the Debian package python3-openstackclient",
     .check = "openstack token issue --format=value --column=expires",
     .login = "source your project's openrc file",
     .needs = {"flavor"},
     .steps =
         {{.command =
               "openstack image create {name} --file={file} --disk-format=qcow2 "
               "--container-format=bare --property=architecture={arch} --format=value --column=id",
           .value = "image",
           .undo = "openstack image delete {image}",
           .made = "the image {image}"},
          {.command =
               "openstack server create {name} --image={image} --flavor={flavor} "
               "[--network={subnet}] [--availability-zone={zone}] --wait --format=value --column=id",
           .value = "server"}},
     .console = "openstack console log show {server}"},
    {.name = "oracle",
     .tools = {"oci"},
     .get = "Oracle's own package oci-cli",
     .check = "oci os ns get --query=data --raw-output",
     .login = "oci setup config",
     .needs = {"zone", "bucket", "project", "subnet"},
     .defaults = {"flavor=VM.Standard.E2.1.Micro"},
     .steps = {{.command = "oci os ns get --query=data --raw-output", .value = "namespace"},
               {.command = "oci os object put --bucket-name={bucket} --name={name}.qcow2 "
                           "--file={file} --no-overwrite",
                .undo = "oci os object delete --bucket-name={bucket} --object-name={name}.qcow2 "
                        "--force",
                .made = "the object {name}.qcow2 in {bucket}"},
               {.command = "oci compute image import from-object --namespace={namespace} "
                           "--bucket-name={bucket} --name={name}.qcow2 --compartment-id={project} "
                           "--display-name={name} --source-image-type=QCOW2 "
                           "--launch-mode=PARAVIRTUALIZED --query=data.id --raw-output",
                .value = "image",
                .undo = "oci compute image delete --image-id={image} --force",
                .made = "the image {image}"},
               {.command = "oci compute image get --image-id={image}", .until = "\"AVAILABLE\""},
               {.command = "oci os object delete --bucket-name={bucket} "
                           "--object-name={name}.qcow2 --force",
                .spent = 2},
               {.command = "oci compute instance launch --availability-domain={zone} "
                           "--compartment-id={project} --shape={flavor} --image-id={image} "
                           "--subnet-id={subnet} --display-name={name} --query=data.id "
                           "--raw-output",
                .value = "instance"}},
     .console = "oci compute console-history capture --instance-id={instance}"},
    {.name = "proxmox",
     .tools = {"qm", "pvesh"},
     .get = "any Proxmox host: run it there, as root",
     .check = "pvesh get /version --output-format=json",
     .login = "the root user of a Proxmox host",
     .needs = {"bucket"},
     .defaults = {"subnet=vmbr0"},
     .steps =
         {{.command = "pvesh get /cluster/nextid", .value = "id"},
          {.command =
               "qm create {id} --name={name} --memory={memory} --cores={cpus} --ostype=other "
               "--net0=virtio,bridge={subnet} --serial0=socket --vga=serial0 "
               "--scsihw=virtio-scsi-pci --scsi0={bucket}:0,import-from={file} --boot=order=scsi0",
           .undo = "qm destroy {id} --purge=1",
           .made = "the machine {id}"},
          {.command = "qm start {id}"}},
     .console = "qm terminal {id}"},
    {.name = "upcloud",
     .tools = {"upctl"},
     .get = "UpCloud's own releases (upcloud-cli)",
     .check = "upctl account show",
     .login = "upctl account login",
     .needs = {"zone"},
     .defaults = {"flavor=1xCPU-1GB"},
     .steps = {{.command = "upctl storage import --title={name}-disk --zone={zone} "
                           "--source-location={file} --wait",
                .undo = "upctl storage delete {name}-disk",
                .made = "the storage {name}-disk"},
               {.command = "upctl storage templatise {name}-disk --title={name}-template --wait",
                .undo = "upctl storage delete {name}-template",
                .made = "the template {name}-template"},
               {.command = "upctl storage delete {name}-disk", .spent = 1},
               {.command = "upctl server create --title={name} --hostname={name} --zone={zone} "
                           "--plan={flavor} --os={name}-template --wait"}},
     .console = "upctl server show {name}"},
    {.name = "vsphere",
     .tools = {"govc"},
     .get = "VMware's own releases (govmomi)",
     .check = "govc about",
     .login = "the variables GOVC_URL, GOVC_USERNAME and GOVC_PASSWORD",
     .steps = {{.command = "govc import.ova -name={name} [-ds={bucket}] [-pool={flavor}] {file}",
                .undo = "govc vm.destroy {name}",
                .made = "the machine {name}"},
               {.command = "govc vm.network.add -vm={name} -net.adapter=vmxnet3 [-net={subnet}]"},
               {.command = "govc device.serial.add -vm={name}"},
               {.command = "govc vm.power -on {name}"}},
     .console = "govc device.info -vm={name} serialport-*"},
    {.name = "vultr",
     .tools = {"vultr-cli"},
     .get = "Vultr's own releases",
     .check = "vultr-cli account --output=json",
     .login = "the variable VULTR_API_KEY",
     .needs = {"zone", "url"},
     .defaults = {"flavor=vc2-1c-1gb"},
     .steps = {{.command = "vultr-cli snapshot create-url --url={url} --description={name} "
                           "--output=json",
                .value = "snapshot",
                .key = "snapshot.id",
                .undo = "vultr-cli snapshot delete {snapshot}",
                .made = "the snapshot {snapshot}"},
               {.command = "vultr-cli snapshot get {snapshot} --output=json",
                .until = "\"complete\""},
               {.command = "vultr-cli instance create --region={zone} --plan={flavor} "
                           "--snapshot={snapshot} --label={name} --host={name} --output=json",
                .value = "instance",
                .key = "instance.id"}},
     .console = "vultr-cli instance get {instance}"},
};
enum { N_PROVIDERS = sizeof(providers) / sizeof(providers[0]) };

struct deployment {
    const struct provider *provider;
    struct strings values;  // NAME=VALUE
    size_t n_done;          // steps
    bool dry_run;
};

// ---- commands

// TEXT with its values in their places. => NULL: one of them is not known
static char *fill(const struct strings *values, const char *text)
{
    char *filled = xstrdup("");

    while (*text) {
        size_t plain = strcspn(text, "{");
        const char *name = text + plain + 1;
        size_t len = text[plain] ? strspn(name, "abcdefghijklmnopqrstuvwxyz_") : 0;
        bool is_value = len && name[len] == '}';
        char *key = is_value ? format("%.*s", (int)len, name) : NULL;
        const char *value = key ? env_get(values, key) : NULL;
        if (key && !value)
            return NULL;
        filled = format("%s%.*s%s", filled, (int)plain, text,
                        is_value      ? value
                        : text[plain] ? "{"
                                      : "");
        text = is_value ? name + len + 1 : text + plain + (text[plain] != '\0');
    }
    return filled;
}

static struct strings words_of(const struct strings *values, const char *command)
{
    struct strings words = {0};

    for (const char *word = command; *word; word += strspn(word, " ")) {
        size_t len = strcspn(word, " ");
        bool optional = *word == '[';
        char *text = format("%.*s", (int)(len - 2 * optional), word + optional),
             *filled = fill(values, text);
        word += len;
        if (!filled && !optional)
            die("deploy: nothing says what %s is", text);
        if (filled)
            strings_take(&words, filled);
    }
    return words;
}

// As a shell would take it; values that are not known before a command has run are the shell's variables.
static char *line_of(const struct strings *words)
{
    char *line = xstrdup("");

    for (size_t i = 0; i < words->count; i++)
        line = format("%s%s%s", line, i ? " " : "",
                      strstr(words->items[i], "${") ? format("\"%s\"", words->items[i])
                                                    : shell_quote(words->items[i]));
    return line;
}

// Runs a command. => how it ended (try_program); in OUT what it printed, in LINE its last complaint
static int run(const struct strings *values, const char *command, char out[OUTPUT],
               char line[PROGRAM_LINE])
{
    struct strings words = words_of(values, command);
    int fd = memory_file("output"),
        end = try_program((const char *const *)words.items, -1, fd, line);
    ssize_t n = pread(fd, out, OUTPUT - 1, 0);

    close(fd);
    out[n > 0 ? n : 0] = '\0';
    for (size_t len = strlen(out); len && isspace((unsigned char)out[len - 1]);)
        out[--len] = '\0';
    return end;
}

static const char *last_line(const char *text)
{
    const char *newline = strrchr(text, '\n');

    return newline ? newline + 1 : text;
}

// The string at OBJECT.KEY of a JSON text. => NULL: there is none
static const char *json_value(const char *text, const char *path)
{
    const cJSON *at = cJSON_Parse(text);
    char *names = xstrdup(path);

    for (char *save = NULL, *name = strtok_r(names, ".", &save); at && name;
         name = strtok_r(NULL, ".", &save))
        at = cJSON_GetObjectItemCaseSensitive(at, name);
    return cJSON_GetStringValue(at);
}

// ---- before anything is made

static bool on_path(const char *program)
{
    char *path = xstrdup(getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");

    for (char *save = NULL, *dir = strtok_r(path, ":", &save); dir;
         dir = strtok_r(NULL, ":", &save))
        if (!access(format("%s/%s", dir, program), X_OK))
            return true;
    return false;
}

static void check_tools(const struct deployment *d)
{
    const struct provider *p = d->provider;
    char out[OUTPUT], line[PROGRAM_LINE];

    for (size_t i = 0; i < 2 && p->tools[i]; i++)
        if (!on_path(p->tools[i]))
            die("deploy %s needs the program %s; it is in %s", p->name, p->tools[i], p->get);
    if (run(&d->values, p->check, out, line) || !*out)
        die("deploy %s: %s is not logged in (%s); log in with: %s", p->name, p->tools[0],
            *line ? line : "it names no account", p->login);
}

static bool needs(const struct provider *p, const char *name)
{
    for (size_t i = 0; i < 4 && p->needs[i]; i++)
        if (!strcmp(p->needs[i], name))
            return true;
    return false;
}

static void check_values(const struct deployment *d)
{
    for (size_t i = 0; i < 4 && d->provider->needs[i]; i++) {
        const char *name = d->provider->needs[i];
        if (env_get(&d->values, name))
            continue;
        if (!strcmp(name, "account") || !strcmp(name, "container"))
            die("deploy %s: say where the image is uploaded to with --bucket ACCOUNT/CONTAINER",
                d->provider->name);
        die("deploy %s needs --%s (%s in %s's terms; docs/deploy.md)", d->provider->name, name,
            !strcmp(name, "zone")      ? "the zone or region"
            : !strcmp(name, "bucket")  ? "the bucket or storage"
            : !strcmp(name, "flavor")  ? "the type of machine"
            : !strcmp(name, "project") ? "the project, resource group or compartment"
            : !strcmp(name, "subnet")  ? "the network"
                                       : "an address from which it fetches the image",
            d->provider->name);
    }
}

// ---- steps

static volatile sig_atomic_t interrupted;

static void on_signal(int number) { interrupted = number; }

// Takes back what was made. => what is left of it, as text, or ""
static char *take_back(const struct deployment *d)
{
    char out[OUTPUT], line[PROGRAM_LINE], *left = xstrdup("");
    bool gone[STEPS + 1] = {false};

    for (size_t i = d->n_done; i-- > 0;) {
        const struct step *step = &d->provider->steps[i];
        if (step->spent)
            gone[step->spent] = true;
        if (!step->made || gone[i + 1])
            continue;
        if (!step->undo || run(&d->values, step->undo, out, line))
            left = format("%s%s%s", left, *left ? ", " : "", fill(&d->values, step->made));
    }
    return left;
}

static void failed(struct deployment *d, const char *command, const char *why)
{
    char *left = take_back(d);

    if (*left)
        die("deploy %s: '%s' failed: %s; this is left behind: %s", d->provider->name, command, why,
            left);
    die("deploy %s: '%s' failed: %s; nothing is left behind", d->provider->name, command, why);
}

static void print_step(const struct step *step, const char *command)
{
    if (step->value)
        printf("%s=$(%s%s%s)\n", step->value, command, step->key ? " | jq -r ." : "",
               step->key ? step->key : "");
    else if (step->until)
        printf("until %s | grep -q %s; do sleep %d; done\n", command, shell_quote(step->until),
               POLL_SECONDS);
    else
        puts(command);
    fflush(stdout);
}

static void take_step(struct deployment *d, const struct step *step)
{
    char out[OUTPUT], line[PROGRAM_LINE];
    struct strings words = words_of(&d->values, step->command);
    char *command = line_of(&words), *short_name = xstrdup(words.items[0]);

    for (size_t i = 1; i < words.count && i < 4 && words.items[i][0] != '-'; i++)
        short_name = format("%s %s", short_name, words.items[i]);
    print_step(step, command);
    if (d->dry_run) {
        if (step->value)
            env_set(&d->values, format("%s=${%s}", step->value, step->value));
        return;
    }
    for (int polls = 0;; polls++) {
        int end = run(&d->values, step->command, out, line);
        if (interrupted)
            failed(d, short_name, "interrupted");
        if (end)
            failed(d, short_name, end == PROGRAM_MISSING ? "it is not there" : line);
        if (!step->until || strstr(out, step->until))
            break;
        if (polls == POLLS)
            failed(d, short_name, "it takes too long");
        sleep(POLL_SECONDS);
    }
    if (step->value) {
        const char *value = step->key ? json_value(out, step->key) : last_line(out);
        if (!value || !*value)
            failed(d, short_name,
                   step->key ? format("it did not tell %s", step->key) : "it printed nothing");
        env_set(&d->values, format("%s=%s", step->value, value));
    }
    d->n_done++;
}

// ---- the job

static void set_value(struct deployment *d, const char *name, const char *value)
{
    if (value)
        env_set(&d->values, format("%s=%s", name, value));
}

// What clouds take as the name of a machine: made from the program's unless it is given.
static char *cloud_name(const struct job *job)
{
    const char *from = job->name ? job->name : job->program_host, *slash = strrchr(from, '/');
    const struct image_format *f = format_of_path(from);
    char *name = xstrdup(!job->name && slash ? slash + 1 : from);
    size_t len;

    if (!job->name) {
        if (f && ends_with(name, f->suffix))
            name[strlen(name) - strlen(f->suffix)] = '\0';
        for (char *p = name; *p; p++)
            *p = isalnum((unsigned char)*p) ? tolower((unsigned char)*p) : '-';
    }
    len = strlen(name);
    if (!islower((unsigned char)*name) || name[len - 1] == '-' || len > 63 ||
        name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")])
        die("deploy: '%s' is no name that clouds take: small letters, digits and '-', a letter first; give one with -i",
            name);
    return name;
}

static void set_architecture(struct deployment *d, const char *arch)
{
    const bool arm = !strcmp(arch, "aarch64");

    set_value(d, "arch", arch);
    set_value(d, "gcp_arch", arm ? "ARM64" : "X86_64");
    set_value(d, "aws_arch", arm ? "arm64" : "x86_64");
    set_value(d, "azure_arch", arm ? "Arm64" : "x64");
    set_value(d, "hetzner_arch", arm ? "arm" : "x86");
}

static void set_values(struct deployment *d, const struct job *job)
{
    static const char *const names[N_CLOUD] = {"zone",    "bucket", "flavor",
                                               "project", "subnet", "url"};
    const char *zone = job->cloud[CLOUD_ZONE], *bucket = job->cloud[CLOUD_BUCKET];
    const char *slash = bucket ? strchr(bucket, '/') : NULL;

    for (size_t i = 0; i < 2 && d->provider->defaults[i]; i++)
        env_set(&d->values, d->provider->defaults[i]);
    for (int i = 0; i < N_CLOUD; i++)
        set_value(d, names[i], job->cloud[i]);
    if (zone) {  // OPS files name one of Amazon's zones, whose commands want the region: us-west-2a
        size_t len = strlen(zone);
        bool letter = len > 1 && isdigit((unsigned char)zone[len - 2]) &&
                      islower((unsigned char)zone[len - 1]);
        set_value(d, "region", format("%.*s", (int)(len - letter), zone));
    }
    if (slash && slash != bucket && slash[1]) {
        set_value(d, "account", format("%.*s", (int)(slash - bucket), bucket));
        set_value(d, "container", slash + 1);
    }
    set_value(d, "name", cloud_name(job));
    set_value(d, "memory", format("%llu", (unsigned long long)(job->memory_bytes >> 20)));
    set_value(d, "cpus", format("%u", job->cpus));
}

// The disk image that JOB names, or NULL: it names a program.
static char *given_image(const struct job *job)
{
    if (!format_of_path(job->program_host) &&
        (strchr(job->program_host, '/') || !access(job->program_host, F_OK)))
        return NULL;
    return stored_image(job->program_host);
}

static void prepare(struct deployment *d, struct job *job)
{
    const struct image_format *f = format_named(d->provider->name);
    char *image = job->cloud[CLOUD_URL] && !job->program_host ? NULL : given_image(job);
    const char *name = env_get(&d->values, "name");

    job->full_kernel = true;
    if (!image)
        job_settle(job);
    else if (!job->arch)
        job->arch = disk_arch(image, disk_format(image));
    set_architecture(d, job->arch);
    if (d->dry_run) {
        set_value(d, "file", format("%s%s", name, f->suffix));
        printf("# %s%s is what 'lethe image %s -t %s' makes of %s\n", name, f->suffix,
               image ? "convert" : "create", d->provider->name, job->program_host);
        return;
    }
    job->output = format("%s/%s-%d%s", user_folder("XDG_CACHE_HOME", ".cache", "deploy"), name,
                         (int)getpid(), f->suffix);
    image_produce(job, f, image);
    output_passing(job->output);
    set_value(d, "file", job->output);
}

static const struct provider *provider_named(const char *name)
{
    const char *names[N_PROVIDERS];

    for (size_t i = 0; i < N_PROVIDERS; i++) {
        names[i] = providers[i].name;
        if (!strcmp(name, names[i]))
            return &providers[i];
    }
    if (is_provider(name))
        die("lethe deploy does not drive %s; 'lethe image create -t %s' makes the image that it takes",
            name, name);
    die("unknown provider '%s'; the nearest is '%s'", name, nearest(name, names, N_PROVIDERS));
}

// `lethe deploy PROVIDER PROGRAM|IMAGE`: PROVIDER may be NULL, when ops.conf names one.
int verb_deploy(struct job *job, const char *provider)
{
    struct deployment d = {.dry_run = job->dry_run};
    const char *from_url;
    struct strings console;

    if (!provider && !(provider = job->platform))
        die("deploy: name a provider, as in 'lethe deploy gcp ./app' (docs/deploy.md)");
    d.provider = provider_named(provider);
    from_url = job->cloud[CLOUD_URL];
    if (from_url && !needs(d.provider, "url"))
        die("deploy %s uploads the image itself; --url is for providers that fetch it", provider);
    if (!job->program_host && !(from_url && job->name))
        die("deploy %s: name a program or a disk image%s", provider,
            from_url ? ", or with --url a name for the machine (-i)" : "");
    set_values(&d, job);
    check_values(&d);
    if (!d.dry_run)
        check_tools(&d);
    if (d.provider->warning)
        warn("deploy %s: %s", provider, d.provider->warning);
    if (!from_url)
        prepare(&d, job);
    else if (job->program_host)
        die("deploy %s: it fetches the image from --url; '%s' is one more", provider,
            job->program_host);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    for (size_t i = 0; i < STEPS && d.provider->steps[i].command; i++)
        take_step(&d, &d.provider->steps[i]);
    console = words_of(&d.values, d.provider->console);
    printf("# console: %s\n", line_of(&console));
    return 0;
}
