// SPDX-License-Identifier: BSD-2-Clause
// A program to be packed: does what its first argument says.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static void print_quoted(const char *text)
{
    putchar('<');
    for (; *text; text++) {
        unsigned char c = *text;
        if (c < 0x21 || c > 0x7e || c == '<' || c == '>')
            printf("\\x%02x", c);
        else
            putchar(c);
    }
    puts(">");
}

static int cat(const char *path)
{
    char buffer[4096];
    size_t n;
    FILE *file = fopen(path, "r");

    if (!file) {
        printf("%s: %s\n", path, strerror(errno));
        return 1;
    }
    while ((n = fread(buffer, 1, sizeof(buffer), file)))
        fwrite(buffer, 1, n, stdout);
    fclose(file);
    return 0;
}

static int show_stat(const char *path)
{
    struct stat st;

    if (lstat(path, &st)) {
        printf("%s: %s\n", path, strerror(errno));
        return 1;
    }
    printf("%o %u:%u %lld\n", st.st_mode, st.st_uid, st.st_gid,
           S_ISDIR(st.st_mode) ? 0LL : (long long)st.st_size);
    return 0;
}

// Touches memory until there is none.
static int eat(void)
{
    for (;;) {
        char *block =
            mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (block == MAP_FAILED)
            return 1;
        memset(block, 1, 1 << 20);
    }
}

static int copy_input(void)
{
    char buffer[4096];
    ssize_t n;

    while ((n = read(0, buffer, sizeof(buffer))) > 0)
        if (write(1, buffer, n) != n)
            return 1;
    return n < 0;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "", *operand = argc > 2 ? argv[2] : "";

    if (!strcmp(verb, "args"))
        for (int i = 0; i < argc; i++)
            print_quoted(argv[i]);
    else if (!strcmp(verb, "env"))
        for (char **entry = environ; *entry; entry++)
            print_quoted(*entry);
    else if (!strcmp(verb, "cwd"))
        puts(getcwd(NULL, 0));
    else if (!strcmp(verb, "exit"))
        return atoi(operand);
    else if (!strcmp(verb, "signal"))
        return raise(atoi(operand)) ? 1 : 0;
    else if (!strcmp(verb, "cat"))
        return cat(operand);
    else if (!strcmp(verb, "stat"))
        return show_stat(operand);
    else if (!strcmp(verb, "eat"))
        return eat();
    else if (!strcmp(verb, "input"))
        return copy_input();
    else if (!strcmp(verb, "spin"))
        for (;;)
            __asm__ volatile("" ::: "memory");
    else if (!strcmp(verb, "cpus"))
        printf("%ld\n", sysconf(_SC_NPROCESSORS_ONLN));
    else
        puts("probe");
    return 0;
}
