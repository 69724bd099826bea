// SPDX-License-Identifier: BSD-2-Clause
// load.c: maps the segments of an ELF file into a new address space.
//
// File pages are mapped, never read: a segment costs one VMA, plus one for the part that is zeros.
//
//      map_start        file_end                mem_end
//         |  file pages    |zeros|  anonymous zeros  |
//                                ^ next page boundary
#include <string.h>

#include "arch_impl/uapi.h"
#include "core/log.h"
#include "core/random.h"
#include "exec/exec_internal.h"

enum { PT_GNU_PROPERTY = 0x6474e553, PROPERTY_MAX = 1024 };  // as much as Linux reads
#define ELF_DYN_BASE 0x555555554000ul  // two thirds of user space, where Linux puts PIEs

u64 exec_random(u64 mask)
{
    u64 value;
    random_bytes(&value, sizeof value);
    return value & mask;
}

static int segment_prot(const struct elf_segment *s, int code_prot)
{
    return (s->flags & PF_X ? code_prot : 0) | (s->flags & PF_R ? PROT_READ : 0) |
           (s->flags & PF_W ? PROT_WRITE : 0) | (s->flags & PF_X ? PROT_EXEC : 0);
}

// Zeroes the rest of the last file page of a writable segment, behind the segment's end too: the dynamic linker
// takes its first memory there and counts on zeros, as Linux gives them.
static int zero_tail(struct mm *mm, vaddr_t from, vaddr_t end)
{
    static const u8 zeros[256];
    while (from < end) {
        size_t n = MIN(end - from, sizeof zeros);
        int err = mm_write(mm, from, zeros, n);
        if (err)
            return err;
        from += n;
    }
    return 0;
}

static int map_segment(struct mm *mm, struct file *file, struct vm_object *object, u64 bias,
                       const struct elf_segment *s, int code_prot)
{
    int prot = segment_prot(s, code_prot);
    u64 start = bias + s->map_start, file_end = bias + s->file_end, mem_end = bias + s->mem_end;
    u64 zero_start = ALIGN_UP(file_end, PAGE_SIZE);
    if (file_end > start) {
        long at = mm_map(mm, start, zero_start - start, prot, MAP_PRIVATE | MAP_FIXED, object, file,
                         s->file_offset >> PAGE_SHIFT);
        if (at < 0)
            return at;
        if (mem_end > file_end && (s->flags & PF_W)) {
            int err = zero_tail(mm, file_end, zero_start);
            if (err)
                return err;
        }
    }
    if (mem_end > zero_start) {
        long at = mm_map(mm, zero_start, ALIGN_UP(mem_end, PAGE_SIZE) - zero_start, prot,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, NULL, 0);
        if (at < 0)
            return at;
    }
    return 0;
}

static int map_image(struct mm *mm, struct file *file, const struct elf_image *image, u64 bias)
{
    struct vm_object *object = file_object(file);
    if (!object)
        return -ENOEXEC;
    int err = 0;
    for (u32 i = 0; i < image->n_segments && !err; i++)
        err = map_segment(mm, file, object, bias, &image->segments[i], image->prot);
    vm_object_put(object);
    return err;
}

// What the file says of its code: its GNU properties. => bits of prot; -ENOEXEC: malformed
static int read_property(struct file *file, const struct elf_phdr *phdrs, u32 n)
{
    u8 note[PROPERTY_MAX];
    for (u32 i = 0; i < n; i++) {
        const struct elf_phdr *p = &phdrs[i];
        if (p->type != PT_GNU_PROPERTY)
            continue;
        if (p->filesz > sizeof note)
            return -ENOEXEC;
        ssize_t got = file_read_kernel(file, note, p->filesz, p->offset);
        return got < 0 ? got : arch_elf_prot(note, got);
    }
    return 0;
}

// Reads and checks all headers. => 0, -ENOEXEC (told in the log), -EIO, -ENOMEM
static int read_headers(struct file *file, struct elf_image *image)
{
    struct elf_header header;
    u64 size = file_size(file), phdrs_offset, phdrs_size;
    ssize_t got = file_read_kernel(file, &header, sizeof header, 0);
    if (got < 0)
        return got;
    if ((size_t)got < sizeof header)
        size = got;
    enum elf_error err =
        elf_check_header(&header, size, ARCH_ELF_MACHINE, &phdrs_offset, &phdrs_size);
    if (err) {
        log_info("exec: %s", elf_error_text(err));
        return -ENOEXEC;
    }
    struct elf_phdr *phdrs = kmalloc(phdrs_size);
    if (!phdrs)
        return -ENOMEM;
    got = file_read_kernel(file, phdrs, phdrs_size, phdrs_offset);
    if (got == (ssize_t)phdrs_size)
        err = elf_plan(&header, phdrs, size, USER_END, image);
    int prot = !err && arch_prot_bits() ? read_property(file, phdrs, header.phnum) : 0;
    kfree(phdrs);
    if (prot < 0)
        return prot;
    image->prot = prot;
    if (got != (ssize_t)phdrs_size)
        return got < 0 ? got : -ENOEXEC;
    if (err) {
        log_info("exec: %s", elf_error_text(err));
        return -ENOEXEC;
    }
    return 0;
}

// The dynamic linker named by PT_INTERP, mapped where there is room.
static int load_interp(struct mm *mm, struct file *file, const struct elf_image *image,
                       struct loaded_program *out)
{
    char *path = kmalloc(image->interp_size + 1);
    if (!path)
        return -ENOMEM;
    ssize_t got = file_read_kernel(file, path, image->interp_size, image->interp_offset);
    path[image->interp_size] = 0;
    struct file *interp = ERR_PTR(got < 0 ? got : -ENOEXEC);
    if (got == (ssize_t)image->interp_size)
        interp = exec_open_kernel(path);
    if (IS_ERR(interp))
        log_error("exec: interpreter %s is missing in the image", path);
    kfree(path);
    if (IS_ERR(interp))
        return PTR_ERR(interp);

    struct elf_image *plan = kmalloc(sizeof *plan);
    int err = plan ? read_headers(interp, plan) : -ENOMEM;
    if (err == -ENOEXEC)
        err = -ELIBBAD;
    if (!err) {
        long base =
            mm_map(mm, 0, plan->end - plan->start, 0, MAP_PRIVATE | MAP_ANONYMOUS, NULL, NULL, 0);
        err = base < 0 ? base : map_image(mm, interp, plan, base - plan->start);
        out->interp_base = base - plan->start;
        out->entry = out->interp_base + plan->entry;
    }
    kfree(plan);
    file_put(interp);
    return err;
}

static void set_bounds(struct mm *mm, const struct elf_image *image, u64 bias, bool randomize)
{
    mm->code_start = mm->data_start = UINT64_MAX;
    for (u32 i = 0; i < image->n_segments; i++) {
        const struct elf_segment *s = &image->segments[i];
        if (s->flags & PF_X) {
            mm->code_start = MIN(mm->code_start, bias + s->map_start);
            mm->code_end = MAX(mm->code_end, bias + s->file_end);
        } else if (s->flags & PF_W) {
            mm->data_start = MIN(mm->data_start, bias + s->map_start);
            mm->data_end = MAX(mm->data_end, bias + s->file_end);
        }
    }
    if (mm->data_start == UINT64_MAX)
        mm->data_start = mm->data_end = mm->code_end;
    mm->brk_start = bias + image->end;
    if (randomize)
        mm->brk_start += exec_random(0x1fff) << PAGE_SHIFT;  // up to 32 MiB
    mm->brk_end = mm->brk_start;
}

static u64 choose_bias(const struct elf_image *image, bool randomize)
{
    if (!image->dynamic)
        return 0;
    u64 base = ELF_DYN_BASE + (randomize ? exec_random(0xfffffff) << PAGE_SHIFT : 0);
    return ALIGN_DOWN(base, image->align) - ALIGN_DOWN(image->start, image->align);
}

int exec_load(struct mm *mm, struct file *file, bool randomize, struct loaded_program *out)
{
    struct elf_image *image = kmalloc(sizeof *image);
    if (!image)
        return -ENOMEM;
    int err = read_headers(file, image);
    if (!err) {
        u64 bias = choose_bias(image, randomize);
        memset(out, 0, sizeof *out);
        out->entry = out->program_entry = bias + image->entry;
        out->phdrs = image->phdr_vaddr ? bias + image->phdr_vaddr : 0;
        out->phnum = image->phnum;
        out->exec_stack = image->exec_stack;
        if (image->interp_size)  // the dynamic linker's business, with mprotect(2)
            image->prot = 0;
        err = map_image(mm, file, image, bias);
        if (!err) {
            set_bounds(mm, image, bias, randomize);
            if (image->interp_size)
                err = load_interp(mm, file, image, out);
        }
    }
    kfree(image);
    return err;
}
