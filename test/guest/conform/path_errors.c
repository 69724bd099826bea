// SPDX-License-Identifier: BSD-2-Clause
// Paths of every kind, to every call that takes one: a table of errors. Sources: path_resolution(7), symlink(7), openat2(2) and
// the pages of the calls; Linux, on which this test runs first, has the last word.
//
// Each cell runs in a tree of its own (make_tree); a letter is the errno, '.' success.
#include "harness.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statfs.h>

static const struct {
    char letter;
    int number;
} letters[] = {
    {'.', 0},         {'N', ENOENT}, {'D', ENOTDIR}, {'L', ELOOP},  {'T', ENAMETOOLONG},
    {'E', EEXIST},    {'I', EISDIR}, {'V', EINVAL},  {'F', EFAULT}, {'B', EBUSY},
    {'Y', ENOTEMPTY}, {'P', EPERM},  {'X', EXDEV},   {'A', EACCES}, {'R', EROFS},
};

static char letter_of(int result)
{
    for (size_t i = 0; i < COUNT(letters); i++)
        if (letters[i].number == (result < 0 ? errno : 0))
            return letters[i].letter;
    return '?';
}

// ---- the tree

static const char *const files[] = {"file", "dir/full/x", "locked/x"};
static const char *const dirs[] = {"dir", "dir/full", "empty", "locked"};
static const struct {
    const char *target, *name;
} symlinks[] = {
    {"file", "link"},        {"dir", "dlink"},        {"dir/", "slash"},
    {"nowhere", "dangling"}, {"nowhere/x", "deeper"}, {"loop", "loop"},
    {"loop2", "loop1"},      {"loop1", "loop2"},      {"file/x", "through"},
};
enum { LINKS = 40 };  // as many as one walk may follow

static void chain(bool make)
{
    char from[16], to[16] = "file";

    for (int i = 1; i <= LINKS + 1; i++) {
        snprintf(from, sizeof(from), "chain%d", i);
        if (make)
            symlink(to, from);
        else
            unlink(from);
        strcpy(to, from);
    }
}

static void make_tree(void)
{
    for (size_t i = 0; i < COUNT(dirs); i++)
        mkdir(dirs[i], 0755);
    for (size_t i = 0; i < COUNT(files); i++)
        close(open(files[i], O_WRONLY | O_CREAT, 0644));
    for (size_t i = 0; i < COUNT(symlinks); i++)
        symlink(symlinks[i].target, symlinks[i].name);
}

static void remove_all(const char *const *names, size_t count, int flags)
{
    for (size_t i = count; i-- > 0;)
        unlinkat(AT_FDCWD, names[i], flags);
}

// What a cell may have made or left. => name: the path under test
static void remove_tree(const char *name)
{
    static const char *const made[] = {"new",         "new/full", "new/full/x",
                                       "new/x",       "nowhere",  "missing",
                                       "dir/missing", "dir/file", "dir/empty"};
    char shorter[PATH_MAX];

    if (name) {
        snprintf(shorter, sizeof(shorter), "%s", name);
        for (size_t n = strlen(shorter); n > 1 && shorter[n - 1] == '/'; n--)
            shorter[n - 1] = '\0';
        if (!strchr(shorter, '/') && !strchr(shorter, '.')) {
            unlink(shorter);
            rmdir(shorter);
        }
    }
    remove_all(files, COUNT(files), 0);
    remove_all(made, COUNT(made), 0);
    remove_all(made, COUNT(made), AT_REMOVEDIR);
    for (size_t i = 0; i < COUNT(symlinks); i++)
        unlink(symlinks[i].name);
    remove_all(dirs, COUNT(dirs), AT_REMOVEDIR);
}

// ---- the calls

static int closed(int fd) { return fd < 0 ? fd : close(fd); }

static int open2(const char *path, uint64_t resolve)
{
    struct open_how how = {.flags = O_RDONLY, .resolve = resolve};

    return closed((int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how)));
}

static int back = -1;  // the tree
static int change_to(const char *path)
{
    int result = chdir(path), why = errno;

    if (fchdir(back))
        FAIL("cannot go back");
    errno = why;
    return result;
}

static int call(unsigned which, const char *p)
{
    char text[PATH_MAX];
    struct stat st;
    struct statfs fs;

    switch (which) {
    case 0: return stat(p, &st);
    case 1: return lstat(p, &st);
    case 2: return closed(open(p, O_RDONLY));
    case 3: return closed(open(p, O_WRONLY));
    case 4: return closed(open(p, O_WRONLY | O_CREAT, 0644));
    case 5: return closed(open(p, O_WRONLY | O_CREAT | O_EXCL, 0644));
    case 6: return closed(open(p, O_WRONLY | O_CREAT | O_NOFOLLOW, 0644));
    case 7: return closed(open(p, O_RDONLY | O_NOFOLLOW));
    case 8: return closed(open(p, O_RDONLY | O_DIRECTORY));
    case 9: return closed(open(p, O_PATH | O_NOFOLLOW));
    case 10: return open2(p, RESOLVE_NO_SYMLINKS);
    case 11: return open2(p, RESOLVE_BENEATH);
    case 12: return open2(p, RESOLVE_IN_ROOT);
    case 13: return mkdir(p, 0755);
    case 14: return rmdir(p);
    case 15: return unlink(p);
    case 16: return mknod(p, S_IFREG | 0644, 0);
    case 17: return symlink("x", p);
    case 18: return link(p, "new");
    case 19: return link("file", p);
    case 20: return rename(p, "new");
    case 21: return rename("file", p);
    case 22: return rename("empty", p);
    case 23: return change_to(p);
    case 24: return readlink(p, text, sizeof(text)) < 0 ? -1 : 0;
    case 25: return truncate(p, 0);
    case 26: return access(p, F_OK);
    case 27: return chmod(p, 0755);
    case 28: return chown(p, -1, -1);
    case 29: return (int)syscall(SYS_utimensat, AT_FDCWD, p, NULL, AT_SYMLINK_NOFOLLOW);
    default: return statfs(p, &fs);
    }
}
enum { N_CALLS = 31 };
static const char *const names[N_CALLS] = {
    "stat",
    "lstat",
    "open",
    "open O_WRONLY",
    "open O_CREAT",
    "open O_EXCL",
    "O_CREAT | O_NOFOLLOW",
    "open O_NOFOLLOW",
    "open O_DIRECTORY",
    "open O_PATH",
    "RESOLVE_NO_SYMLINKS",
    "RESOLVE_BENEATH",
    "RESOLVE_IN_ROOT",
    "mkdir",
    "rmdir",
    "unlink",
    "mknod",
    "symlink",
    "link from",
    "link to",
    "rename from",
    "rename file to",
    "rename directory to",
    "chdir",
    "readlink",
    "truncate",
    "access",
    "chmod",
    "chown",
    "utimensat",
    "statfs",
};

// Bytes of special paths; each is given by a word in angle brackets.
static const char *path_of(const char *word)
{
    static char text[PATH_MAX + 2];
    const char *page;

    if (*word != '<')
        return word;
    memset(text, 0, sizeof(text));
    if (!strcmp(word, "<255>"))
        return memset(text, 'n', NAME_MAX);
    if (!strcmp(word, "<256>"))
        return memset(text, 'n', NAME_MAX + 1);
    if (!strcmp(word, "<256>/x"))
        return strcpy((char *)memset(text, 'n', NAME_MAX + 1) + NAME_MAX + 1, "/x"), text;
    if (!strcmp(word, "<4095>") || !strcmp(word, "<4096>")) {
        size_t len = word[4] == '5' ? PATH_MAX - 1 : PATH_MAX;
        memset(text, '/', len);
        text[0] = '.';
        return memcpy(text + len - 4, "file", 4), text;
    }
    if (!strcmp(word, "<0>"))
        return NULL;
    if (!strcmp(word, "<high>"))
        return (const char *)(USER_TOP + PAGE);
    page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(page != MAP_FAILED && !munmap((char *)page + PAGE, PAGE));
    return memcpy((char *)page + PAGE - 4, "file", 4);  // "<unterminated>": nothing behind it
}

static void check_row(const char *word, const char *wanted)
{
    const char *path = path_of(word);
    bool is_text = *word != '<' || strchr("24", word[1]);
    char found[N_CALLS];

    for (unsigned i = 0; i < N_CALLS; i++) {
        make_tree();
        if (!strncmp(word, "chain", 5))
            chain(true);
        errno = 0;
        found[i] = letter_of(call(i, path));
        if (!strncmp(word, "chain", 5))
            chain(false);
        remove_tree(is_text ? path : NULL);
        if (found[i] != wanted[i])
            FAIL("%s of '%s': %c, want %c", names[i], word, found[i], wanted[i]);
    }
}

// A column a call, in the order of names.
static const struct {
    const char *path, *errors;
} table[] = {
    // clang-format off
    {"", "NNNNNNNNNNNNNNNNNNNNNNNNNNNNNNN"},
    {".", "...IIEI......EVIEEPEBBB.VI....."},
    {"..", "...IIEI....X.EYIEEPEBBB.VI....."},
    {"file", ".....E..D....ED.EE.E..DDV......"},
    {"dir", "...IIEI......EYIEEPE.IY.VI....."},
    {"empty", "...IIEI......E.IEEPE.I..VI....."},
    {"missing", "NNNN...NNNNNN.NN..N.N..NNNNNNNN"},
    {"missing/", "NNNNIIINNNNNN.NNNNNNND.NNNNNNNN"},
    {"missing/x", "NNNNNNNNNNNNNNNNNNNNNNNNNNNNNNN"},
    {"missing/..", "NNNNNNNNNNNNNNNNNNNNNNNNNNNNNNN"},
    {"file/", "DDDDIIIDDDDDDEDDEEDEDDDDDDDDDDD"},
    {"file/.", "DDDDDDDDDDDDDDDDDDDDDDDDDDDDDDD"},
    {"file/..", "DDDDDDDDDDDDDDDDDDDDDDDDDDDDDDD"},
    {"file/x", "DDDDDDDDDDDDDDDDDDDDDDDDDDDDDDD"},
    {"dir/", "...IIII......EYIEEPE.DY.VI....."},
    {"dir/.", "...IIEI......EVIEEPEBBB.VI....."},
    {"dir/..", "...IIEI......EYIEEPEBBB.VI....."},
    {"dir/full", "...IIEI......EYIEEPE.IY.VI....."},
    {"dir/full/x", ".....E..D....ED.EE.E..DDV......"},
    {"dir/missing", "NNNN...NNNNNN.NN..N.N..NNNNNNNN"},
    {"dir/missing/", "NNNNIIINNNNNN.NNNNNNND.NNNNNNNN"},
    {"dir//full///x", ".....E..D....ED.EE.E..DDV......"},
    {"dir/../file", ".....E..D....ED.EE.E..DDV......"},
    {"missing/../file", "NNNNNNNNNNNNNNNNNNNNNNNNNNNNNNN"},
    {"empty/", "...IIII......E.IEEPE.D..VI....."},
    {"empty/.", "...IIEI......EVIEEPEBBB.VI....."},
    {"link", ".....ELLD.L..ED.EE.E..DD......."},
    {"link/", "DDDDIIIDDDLDDEDDEEDEDDDDDDDDDDD"},
    {"link/x", "DDDDDDDDDDLDDDDDDDDDDDDDDDDDDDD"},
    {"dlink", "...IIELL..L..ED.EE.E..D..I....."},
    {"dlink/", "...IIII...L..EDDEEPEDDD.VI....."},
    {"dlink/.", "...IIEI...L..EVIEEPEBBB.VI....."},
    {"dlink/full", "...IIEI...L..EYIEEPE.IY.VI....."},
    {"slash", "...IIELL..L..ED.EE.E..D..I....."},
    {"slash/", "...IIII...L..EDDEEPEDDD.VI....."},
    {"dangling", "N.NN.ELLN.LNNED.EE.E..DN.NNNN.N"},
    {"dangling/", "NNNNIIINNNLNNEDDEENEDDDNNNNNNNN"},
    {"dangling/x", "NNNNNNNNNNLNNNNNNNNNNNNNNNNNNNN"},
    {"deeper", "N.NNNELLN.LNNED.EE.E..DN.NNNN.N"},
    {"loop", "L.LLLELLL.LLLED.EE.E..DL.LLLL.L"},
    {"loop/", "LLLLIIILLLLLLEDDEELEDDDLLLLLLLL"},
    {"loop/x", "LLLLLLLLLLLLLLLLLLLLLLLLLLLLLLL"},
    {"loop1", "L.LLLELLL.LLLED.EE.E..DL.LLLL.L"},
    {"through", "D.DDDELLD.LDDED.EE.E..DD.DDDD.D"},
    {"chain40", ".....ELLD.L..ED.EE.E..DD......."},
    {"chain41", "L.LLLELLL.LLLED.EE.E..DL.LLLL.L"},
    {"\xff\xfe", "NNNN...NNNNNN.NN..N.N..NNNNNNNN"},
    {"a\nb", "NNNN...NNNNNN.NN..N.N..NNNNNNNN"},
    {"<255>", "NNNN...NNNNNN.NN..N.N..NNNNNNNN"},
    {"<256>", "TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTT"},
    {"<256>/x", "TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTT"},
    {"<4095>", ".....E..D....ED.EE.E..DDV......"},
    {"<4096>", "TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTT"},
    {"<0>", "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"},
    {"<high>", "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"},
    {"<unterminated>", "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"},
    // clang-format on
};

TEST_LIMIT(every_call_on_every_path, 60)
{
    REQUIRE_OK(mkdir("t", 0755));
    REQUIRE_OK(chdir("t"));
    REQUIRE_OK(back = open(".", O_RDONLY | O_DIRECTORY));
    for (size_t i = 0; i < COUNT(table); i++)
        check_row(table[i].path, table[i].errors);
    close(back);
}

// As another user: a directory that may not be searched hides what is below it, one that may not be written keeps it.
TEST(paths_without_permission)
{
    if (geteuid() != 0)
        SKIP("only root can become another");
    make_tree();
    REQUIRE_OK(chmod(".", 0755));
    REQUIRE_OK(chmod("locked", 0700));
    REQUIRE_OK(chmod("dir", 0755));
    REQUIRE_OK(chmod("file", 0600));
    REQUIRE_OK(syscall(SYS_setresuid, -1, 65534, -1));
    struct stat st;
    CHECK_OK(stat("locked", &st));
    CHECK_ERRNO(stat("locked/x", &st), EACCES);
    CHECK_ERRNO(stat("locked/none", &st), EACCES);
    CHECK_ERRNO(stat("locked/..", &st), EACCES);
    CHECK_ERRNO(open("locked", O_RDONLY), EACCES);
    CHECK_ERRNO(chdir("locked"), EACCES);
    CHECK_ERRNO(open("file", O_RDONLY), EACCES);
    CHECK_ERRNO(open("link", O_RDONLY), EACCES);
    CHECK_ERRNO(open("dir/new", O_WRONLY | O_CREAT, 0644), EACCES);
    CHECK_ERRNO(open("file", O_WRONLY | O_CREAT | O_EXCL, 0644), EEXIST);
    CHECK_ERRNO(mkdir("dir/full", 0755), EEXIST);
    CHECK_ERRNO(mkdir("dir/new", 0755), EACCES);
    CHECK_ERRNO(unlink("dir/full/x"), EACCES);
    CHECK_ERRNO(rmdir("empty"), EACCES);
    CHECK_ERRNO(rename("file", "dir/file"), EACCES);
    CHECK_ERRNO(symlink("x", "dir/s"), EACCES);
    CHECK_ERRNO(chmod("file", 0644), EPERM);
    CHECK_ERRNO(chown("file", 65534, -1), EPERM);
    CHECK_ERRNO(truncate("file", 0), EACCES);
    CHECK_ERRNO(utimensat(AT_FDCWD, "dir", NULL, 0), EACCES);
    CHECK_ERRNO(utimensat(AT_FDCWD, "dir", (struct timespec[2]){{1, 1}, {1, 1}}, 0), EPERM);
    CHECK_OK(access("file", R_OK));  // by the real user
    CHECK_ERRNO(faccessat(AT_FDCWD, "file", R_OK, AT_EACCESS), EACCES);
    CHECK_ERRNO(chroot("dir"), EPERM);
    REQUIRE_OK(syscall(SYS_setresuid, -1, 0, -1));
    remove_tree(NULL);
}
