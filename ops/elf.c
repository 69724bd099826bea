// SPDX-License-Identifier: BSD-2-Clause
// Is this file a program that the kernel can run? Everything the kernel's loader would refuse is refused here
// first, with a sentence that says what to do (System V ABI, chapters 4 and 5).
#include "lethe.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define USER_TOP ((uint64_t)1 << 47)
enum { PHDRS_MAX = 512, LIBRARIES_MAX = 4096, LIST_MAX = 65536 };

struct file {
    const char *path;
    const unsigned char *bytes;
    size_t size;
};

static struct file file_map(const char *path)
{
    struct file file = {.path = path};
    struct stat st;
    void *bytes;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &st))
        die("cannot read the program %s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        die("%s is a directory; name a program", path);
    if (!S_ISREG(st.st_mode))
        die("%s is not a regular file; name a program", path);
    if (!st.st_size)
        die("%s is an empty file; name a program", path);
    bytes = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        die("cannot read the program %s: %s", path, strerror(errno));
    close(fd);
    file.bytes = bytes;
    file.size = st.st_size;
    return file;
}

static const char *machine_name(unsigned machine)
{
    switch (machine) {
    case EM_X86_64: return "x86_64";
    case EM_AARCH64: return "aarch64";
    case EM_386: return "i386";
    case EM_ARM: return "arm";
    case EM_RISCV: return "riscv";
    case EM_PPC64: return "ppc64";
    case EM_S390: return "s390x";
    default: return NULL;
    }
}

// ARCH is NULL when any of ours will do. => the program's
static const char *check_machine(const struct file *file, const Elf64_Ehdr *header,
                                 const char *arch)
{
    const char *name = machine_name(header->e_machine);
    bool ours = name && (!strcmp(name, "x86_64") || !strcmp(name, "aarch64"));

    if (ours && (!arch || !strcmp(name, arch)))
        return name;
    if (ours)
        die("%s is a program for %s and this machine is %s; choose it with --arch %s or build the "
            "program for %s",
            file->path, name, arch, name, arch);
    if (!arch)
        arch = "x86_64 or aarch64";
    if (name)
        die("%s is a program for %s; build it for %s", file->path, name, arch);
    die("%s is a program for an unknown machine (e_machine %u); build it for %s", file->path,
        header->e_machine, arch);
}

static void check_ident(const struct file *file)
{
    const unsigned char *ident = file->bytes;

    if (file->size >= 2 && ident[0] == '#' && ident[1] == '!')
        die("%s is a script, not an ELF program", file->path);
    if (file->size < SELFMAG || memcmp(ident, ELFMAG, SELFMAG))
        die("%s is not an ELF program", file->path);
    if (file->size < EI_NIDENT)
        die("%s is truncated: its ELF header ends after %zu bytes", file->path, file->size);
    if (ident[EI_CLASS] == ELFCLASS32)
        die("%s is a 32-bit program; build it for a 64-bit machine", file->path);
    if (ident[EI_CLASS] != ELFCLASS64)
        die("%s has an ELF class that does not exist (%u)", file->path, ident[EI_CLASS]);
    if (ident[EI_DATA] == ELFDATA2MSB)
        die("%s is a big-endian program; build it little-endian", file->path);
    if (ident[EI_DATA] != ELFDATA2LSB)
        die("%s has an ELF byte order that does not exist (%u)", file->path, ident[EI_DATA]);
    if (file->size < sizeof(Elf64_Ehdr))
        die("%s is truncated: its ELF header ends after %zu bytes", file->path, file->size);
}

static void check_type(const struct file *file, const Elf64_Ehdr *header)
{
    switch (header->e_type) {
    case ET_EXEC: return;
    case ET_DYN:
        if (!header->e_entry)
            die("%s is a shared library, not a program", file->path);
        return;
    case ET_REL: die("%s is an object file, not a program; link it", file->path);
    case ET_CORE: die("%s is a core dump, not a program", file->path);
    default: die("%s has an ELF type that is no program (%u)", file->path, header->e_type);
    }
}

static void check_table(const struct file *file, const Elf64_Ehdr *header)
{
    uint64_t end;

    if (!header->e_phnum)
        die("%s has no program headers; is it a linked program?", file->path);
    if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum > PHDRS_MAX)
        die("%s is damaged: %u program headers of %u bytes", file->path, header->e_phnum,
            header->e_phentsize);
    if (__builtin_add_overflow(header->e_phoff, (uint64_t)header->e_phnum * sizeof(Elf64_Phdr),
                               &end) ||
        end > file->size)
        die("%s is truncated: its program headers lie behind its end", file->path);
}

// One PT_LOAD. => *last_end is the end of the one before, in memory.
static void check_load(const struct file *file, const Elf64_Phdr *load, unsigned number,
                       uint64_t *last_end)
{
    uint64_t file_end, memory_end;

    if (__builtin_add_overflow(load->p_offset, load->p_filesz, &file_end) || file_end > file->size)
        die("%s is truncated: segment %u ends behind the end of the file", file->path, number);
    if (load->p_filesz > load->p_memsz)
        die("%s is damaged: segment %u is larger in the file than in memory", file->path, number);
    if (__builtin_add_overflow(load->p_vaddr, load->p_memsz, &memory_end) || memory_end > USER_TOP)
        die("%s is damaged: segment %u lies outside the user address space", file->path, number);
    if (load->p_align & (load->p_align - 1) ||
        (load->p_align > 1 && (load->p_vaddr ^ load->p_offset) & (load->p_align - 1) & 0xfff))
        die("%s is damaged: segment %u is not aligned", file->path, number);
    if (load->p_vaddr < *last_end)
        die("%s is damaged: segment %u overlaps the one before", file->path, number);
    *last_end = memory_end;
}

static char *interpreter_name(const struct file *file, const Elf64_Phdr *interp)
{
    uint64_t end;

    if (__builtin_add_overflow(interp->p_offset, interp->p_filesz, &end) || end > file->size ||
        !interp->p_filesz)
        die("%s is truncated: the name of its interpreter lies behind its end", file->path);
    return format("%.*s",
                  (int)strnlen((const char *)file->bytes + interp->p_offset, interp->p_filesz),
                  (const char *)file->bytes + interp->p_offset);
}

static uint64_t check_segments(const struct file *file, const Elf64_Ehdr *header,
                               char **interpreter)
{
    const unsigned char *table = file->bytes + header->e_phoff;
    uint64_t last_end = 0, total = 0;
    bool entry_found = false;

    for (unsigned i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr phdr;
        memcpy(&phdr, table + i * sizeof(phdr), sizeof(phdr));
        if (phdr.p_type == PT_INTERP && !*interpreter)
            *interpreter = interpreter_name(file, &phdr);
        if (phdr.p_type != PT_LOAD)
            continue;
        check_load(file, &phdr, i, &last_end);
        total += phdr.p_memsz;
        if (phdr.p_flags & PF_X && header->e_entry >= phdr.p_vaddr &&
            header->e_entry - phdr.p_vaddr < phdr.p_memsz)
            entry_found = true;
    }
    if (!last_end)
        die("%s is damaged: it has nothing to load", file->path);
    if (!entry_found)
        die("%s is damaged: its entry point %#llx lies in no executable segment", file->path,
            (unsigned long long)header->e_entry);
    return total;
}

// Go's linker leaves this mark, 16-byte aligned, in every binary, stripped or not (debug/buildinfo).
static bool has_go_buildinfo(const struct file *file)
{
    static const char magic[] = "\xff Go buildinf:";
    const unsigned char *at = file->bytes, *end = file->bytes + file->size;

    while ((at = memmem(at, end - at, magic, sizeof(magic) - 1))) {
        if ((at - file->bytes) % 16 == 0)
            return true;
        at++;
    }
    return false;
}

// Ends the tool with one line unless PATH is a program for ARCH (NULL: for any machine that there is).
struct elf_info elf_check(const char *path, const char *arch)
{
    struct file file = file_map(path);
    struct elf_info info = {0};
    Elf64_Ehdr header;

    check_ident(&file);
    memcpy(&header, file.bytes, sizeof(header));
    info.arch = check_machine(&file, &header, arch);
    check_type(&file, &header);
    check_table(&file, &header);
    info.memory_bytes = check_segments(&file, &header, &info.interpreter);
    info.is_go = has_go_buildinfo(&file);
    munmap((void *)file.bytes, file.size);
    return info;
}

// The architecture in the ELF header of PATH, if there is one; NULL: none of ours.
const char *elf_arch(const char *path)
{
    struct file file = file_map(path);
    const char *name = NULL;

    if (file.size >= sizeof(Elf64_Ehdr) && !memcmp(file.bytes, ELFMAG, SELFMAG))
        name = machine_name(((const Elf64_Ehdr *)file.bytes)->e_machine);
    munmap((void *)file.bytes, file.size);
    return name && (!strcmp(name, "x86_64") || !strcmp(name, "aarch64")) ? name : NULL;
}

// ---- dynamic linking (System V ABI, chapter 5)

// The file offset of what the program headers put at ADDRESS, SIZE bytes of it; 0: they do not.
static uint64_t offset_of(const struct file *file, const Elf64_Phdr *phdrs, unsigned count,
                          uint64_t address, uint64_t size)
{
    for (unsigned i = 0; i < count; i++)
        if (phdrs[i].p_type == PT_LOAD && address >= phdrs[i].p_vaddr &&
            size <= phdrs[i].p_filesz && address - phdrs[i].p_vaddr <= phdrs[i].p_filesz - size &&
            phdrs[i].p_offset < file->size &&
            address - phdrs[i].p_vaddr + size <= file->size - phdrs[i].p_offset)
            return phdrs[i].p_offset + (address - phdrs[i].p_vaddr);
    return 0;
}

// A string of the string table, which need not end where it should.
static char *table_string(const struct file *file, uint64_t table, uint64_t size, uint64_t at)
{
    if (!table || at >= size || !memchr(file->bytes + table + at, '\0', size - at))
        die("%s is damaged: the name of a library lies outside its string table", file->path);
    if (strlen((const char *)file->bytes + table + at) > LIST_MAX)
        die("%s is damaged: the name of a library has more than %d bytes", file->path, LIST_MAX);
    return xstrdup((const char *)file->bytes + table + at);
}

static void read_dynamic(const struct file *file, const Elf64_Phdr *phdrs, unsigned count,
                         const Elf64_Phdr *dynamic, struct elf_dynamic *out)
{
    uint64_t n = dynamic->p_filesz / sizeof(Elf64_Dyn), table_at = 0, size = 0, table;
    const Elf64_Dyn *dyn;

    if (dynamic->p_offset > file->size || file->size - dynamic->p_offset < dynamic->p_filesz ||
        dynamic->p_offset % 8)
        die("%s is damaged: its dynamic section lies behind its end", file->path);
    dyn = (const void *)(file->bytes + dynamic->p_offset);
    for (uint64_t i = 0; i < n && dyn[i].d_tag != DT_NULL; i++) {
        if (dyn[i].d_tag == DT_STRTAB)
            table_at = dyn[i].d_un.d_ptr;
        if (dyn[i].d_tag == DT_STRSZ)
            size = dyn[i].d_un.d_val;
    }
    table = offset_of(file, phdrs, count, table_at, size);
    for (uint64_t i = 0; i < n && dyn[i].d_tag != DT_NULL; i++) {
        uint64_t at = dyn[i].d_un.d_val;
        switch (dyn[i].d_tag) {
        case DT_NEEDED: strings_take(&out->needed, table_string(file, table, size, at)); break;
        case DT_SONAME: out->soname = table_string(file, table, size, at); break;
        case DT_RPATH: out->rpath = table_string(file, table, size, at); break;
        case DT_RUNPATH: out->runpath = table_string(file, table, size, at); break;
        }
        if (out->needed.count > LIBRARIES_MAX)
            die("%s is damaged: it names more than %d libraries", file->path, LIBRARIES_MAX);
    }
}

// Whether PATH is like an ELF file that names an interpreter; elf_check tells what is wrong with it.
bool elf_is_dynamic(const char *path)
{
    struct file file = file_map(path);
    Elf64_Ehdr header = {0};
    bool found = false;

    if (file.size >= sizeof(header) && !memcmp(file.bytes, ELFMAG, SELFMAG))
        memcpy(&header, file.bytes, sizeof(header));
    for (uint64_t i = 0, at = header.e_phoff; i < header.e_phnum; i++, at += sizeof(Elf64_Phdr)) {
        Elf64_Phdr phdr;
        if (at > file.size || file.size - at < sizeof(phdr))
            break;
        memcpy(&phdr, file.bytes + at, sizeof(phdr));
        found |= phdr.p_type == PT_INTERP;
    }
    munmap((void *)file.bytes, file.size);
    return found;
}

// What a program or library asks of its interpreter; nothing for one that is not dynamic.
struct elf_dynamic elf_dynamic(const char *path)
{
    struct file file = file_map(path);
    struct elf_dynamic out = {0};
    Elf64_Phdr phdrs[PHDRS_MAX];
    Elf64_Ehdr header;

    check_ident(&file);
    memcpy(&header, file.bytes, sizeof(header));
    check_table(&file, &header);
    memcpy(phdrs, file.bytes + header.e_phoff, header.e_phnum * sizeof(phdrs[0]));
    for (unsigned i = 0; i < header.e_phnum; i++)
        if (phdrs[i].p_type == PT_DYNAMIC)
            read_dynamic(&file, phdrs, header.e_phnum, &phdrs[i], &out);
    munmap((void *)file.bytes, file.size);
    return out;
}

// An arm64 Image says how much memory it takes; it is loaded to 2 MiB at the least (Linux, arm64/booting.rst).
static uint64_t image_memory_end(const struct file *file)
{
    enum { SIZE_AT = 16, MAGIC_AT = 56, LOADED_AT = 2 << 20 };
    uint64_t size;

    if (file->size < 64 || memcmp(file->bytes + MAGIC_AT, "ARM\x64", 4))
        return 0;
    memcpy(&size, file->bytes + SIZE_AT, sizeof(size));
    return LOADED_AT + size;
}

// Where a kernel ends in physical memory, from where memory begins; 0 for what is neither an ELF file nor an Image.
uint64_t elf_memory_end(const char *path)
{
    struct file file = file_map(path);
    const unsigned char *bytes = file.bytes;
    bool wide = file.size > EI_CLASS && bytes[EI_CLASS] == ELFCLASS64;
    size_t header_size = wide ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr);
    size_t size = wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    uint64_t end = image_memory_end(&file), offset = 0, count = 0;

    if (file.size >= header_size && !memcmp(bytes, ELFMAG, SELFMAG)) {
        offset = wide ? ((const Elf64_Ehdr *)bytes)->e_phoff : ((const Elf32_Ehdr *)bytes)->e_phoff;
        count = wide ? ((const Elf64_Ehdr *)bytes)->e_phnum : ((const Elf32_Ehdr *)bytes)->e_phnum;
    }
    for (; count && offset <= file.size - size; count--, offset += size) {
        const Elf64_Phdr *phdr64 = (const void *)(bytes + offset);
        const Elf32_Phdr *phdr32 = (const void *)(bytes + offset);
        uint64_t last =
            wide ? phdr64->p_paddr + phdr64->p_memsz : (uint64_t)phdr32->p_paddr + phdr32->p_memsz;

        if ((wide ? phdr64->p_type : phdr32->p_type) == PT_LOAD && last > end)
            end = last;
    }
    munmap((void *)file.bytes, file.size);
    return end;
}
