// SPDX-License-Identifier: BSD-2-Clause
// cloud.c: host name and environment that the machine's owner gives when it is started, by the word cloud=WHO of the kernel's command line.
// Nothing is asked without it.
//
//   ec2 (and those who speak its dialect, as OpenStack), gcp, azure, digitalocean, hetzner:
//                the service at 169.254.169.254, port 80, HTTP/1.0; the program is started when it has answered, or after a few seconds
//   fwcfg        QEMU's configuration device: -fw_cfg name=opt/lethe/hostname,string=... and opt/lethe/user-data
//   nocloud, configdrive    a disk (exec/cloud_disk.c)
//
// What comes is cut at its bounds; exec/cloud_data.c has the rest.
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "core/platform.h"
#include "exec/cloud.h"
#include "exec/exec.h"
#include "net/device.h"
#include "net/inet.h"
#include "net/ntp.h"

#define ANSWER_MAX (32 << 10)  // bytes with head; EC2 gives no more than 16 KiB
#define SERVICE_PORT 80
#define ANSWER_WAIT_NS (3 * NSEC_PER_SEC)

static const u8 service_ip[4] = {169, 254, 169, 254};

struct provider {
    const char *name, *host_path, *data_path, *header;
    bool token;   // asks for one first; who does not know of that gets none
    bool base64;  // so the data come
};
static const struct provider providers[] = {
    {.name = "ec2",
     .host_path = "/latest/meta-data/local-hostname",
     .data_path = "/latest/user-data",
     .token = true},
    {.name = "gcp",
     .host_path = "/computeMetadata/v1/instance/hostname",
     .data_path = "/computeMetadata/v1/instance/attributes/user-data",
     .header = "Metadata-Flavor: Google\r\n"},
    {.name = "azure",
     .host_path = "/metadata/instance/compute/name?api-version=2021-02-01&format=text",
     .data_path = "/metadata/instance/compute/userData?api-version=2021-02-01&format=text",
     .header = "Metadata: true\r\n",
     .base64 = true},
    {.name = "digitalocean",
     .host_path = "/metadata/v1/hostname",
     .data_path = "/metadata/v1/user-data"},
    {.name = "hetzner",
     .host_path = "/hetzner/v1/metadata/hostname",
     .data_path = "/hetzner/v1/userdata"},
};

// ---- one request

static ssize_t move(struct socket *s, char *bytes, size_t n, bool out)
{
    struct uio u = {.base = (uptr_t)bytes, .len = n, .remaining = n, .kernel = 1};
    struct message m = {.uio = &u, .flags = MSG_NOSIGNAL};
    return out ? s->ops->send(s, &m) : s->ops->receive(s, &m);
}

static ssize_t talk(struct socket *s, char *buf, size_t n_request)
{
    struct sock_addr to = {.family = AF_INET, .data = {0, SERVICE_PORT}};
    memcpy(to.data + 2, service_ip, sizeof(service_ip));
    s->send_timeout_ns = s->receive_timeout_ns = ANSWER_WAIT_NS;
    ssize_t n = s->ops->connect(s, &to, 16, false);
    if (n == 0)
        n = move(s, buf, n_request, true);
    size_t have = 0;
    while (n > 0 && have < ANSWER_MAX) {
        n = move(s, buf + have, ANSWER_MAX - have, false);
        have += n > 0 ? (size_t)n : 0;
    }
    return n < 0 ? n : (ssize_t)have;
}

// => bytes of the answer's body, which begins at buf and is terminated; -ENOENT: the service has no such thing; another error
static ssize_t request(const char *method, const char *path, const char *header, char *buf)
{
    struct socket *s = tcp_create(AF_INET);
    if (IS_ERR(s))
        return PTR_ERR(s);
    int n = scnprintf(buf, ANSWER_MAX,
                      "%s %s HTTP/1.0\r\nHost: 169.254.169.254\r\n%sConnection: close\r\n\r\n",
                      method, path, header ? header : "");
    ssize_t got = talk(s, buf, (size_t)n);
    s->ops->close(s);
    socket_put(s);
    if (got < 0)
        return got;
    buf[got] = '\0';
    char *body = strstr(buf, "\r\n\r\n");
    if (strncmp(buf, "HTTP/1.", 7) || strlen(buf) < 12 || !body)
        return -EIO;
    if (strncmp(buf + 8, " 200", 4))
        return -ENOENT;
    body += 4;
    size_t len = (size_t)(buf + got - body);
    memmove(buf, body, len + 1);
    return (ssize_t)len;
}

// ---- who gives it

static char *ask_device(struct run_config *c, char *buf)
{
    ssize_t n = platform_config_read ? platform_config_read("opt/lethe/hostname", buf, ANSWER_MAX)
                                     : -ENODEV;
    if (n > 0) {
        buf[n] = '\0';
        cloud_use_hostname(buf);
    }
    n = platform_config_read ? platform_config_read("opt/lethe/user-data", buf, ANSWER_MAX) : n;
    if (n <= 0)
        return NULL;
    buf[n] = '\0';
    return cloud_use_data(c, buf);
}

static char *ask_service(const struct provider *p, struct run_config *c, char *buf)
{
    char header[256] = "";
    net_wait_configured();
    if (p->token &&
        request("PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n", buf) >
            0 &&
        strlen(buf) < sizeof(header) - 64 && strcspn(buf, "\r\n") == strlen(buf))
        scnprintf(header, sizeof(header), "X-aws-ec2-metadata-token: %s\r\n", buf);
    const char *with = p->header ? p->header : header;
    ssize_t n = request("GET", p->host_path, with, buf);
    if (n > 0)
        cloud_use_hostname(buf);
    if (n < 0 && n != -ENOENT) {
        log_error("cloud: no answer from the service of %s: error %ld", p->name, (long)-n);
        return NULL;
    }
    n = request("GET", p->data_path, with, buf);
    if (n > 0 && p->base64)
        n = cloud_base64(buf);
    if (n < 0 && n != -ENOENT)
        log_error("cloud: the user data of %s cannot be read: error %ld", p->name, (long)-n);
    return n > 0 ? cloud_use_data(c, buf) : NULL;
}

char *cloud_apply(struct run_config *c)
{
    char who[24];
    ntp_start();
    if (!cmdline_get("cloud", who, sizeof(who)))
        return NULL;
    char *buf = kmalloc(ANSWER_MAX + 1), *env = NULL;
    u32 i = 0;
    while (i < ARRAY_SIZE(providers) && strcmp(who, providers[i].name))
        i++;
    if (!buf)
        log_error("cloud: too little memory");
    else if (!strcmp(who, "fwcfg"))
        env = ask_device(c, buf);
    else if (!strcmp(who, "nocloud") || !strcmp(who, "configdrive"))
        env = cloud_use_disk(c, who[0] == 'c');
    else if (i < ARRAY_SIZE(providers))
        env = ask_service(&providers[i], c, buf);
    else
        log_error(
            "cloud=%s: choose nocloud, configdrive, fwcfg, ec2, gcp, azure, digitalocean or hetzner",
            who);
    kfree(buf);
    return env;
}
