/* SPDX-License-Identifier: MIT */
/* elf.c - bounded reader of 64-bit ELF images, from the file or from this process's memory. */
#include "elf.h"
#include "../os/os.h"
#include "cfi_reader.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>

enum { PAGE = 4096, NOTES_MAX = 1024, SECTIONS_MAX = 4096 };

/* All of `size` bytes of the file; -EIO where it is shorter. */
static int read_file(const struct elf *elf, uint64_t offset, void *to, size_t size)
{
    size_t done = 0;
    while (done < size) {
        long got = os_pread(elf->fd, (unsigned char *)to + done, size - done, offset + done);
        if (got == -EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? (int)got : -EIO;
        done += (size_t)got;
    }
    return 0;
}

static int read_memory(uint64_t address, void *to, size_t size)
{
    size_t done = 0;
    while (done < size) {
        long got = os_peek(address + done, (unsigned char *)to + done, size - done);
        if (got <= 0)
            return got < 0 ? (int)got : -EFAULT;
        done += (size_t)got;
    }
    return 0;
}

static int read_start(const struct elf *elf, uint64_t offset, void *to, size_t size)
{
    return elf->fd >= 0 ? read_file(elf, offset, to, size) : read_memory(elf->image + offset, to, size);
}

static const struct elf_segment *segment_of(const struct elf *elf, uint64_t address)
{
    for (unsigned i = 0; i < elf->segment_count; i++)
        if (address - elf->segment[i].address < elf->segment[i].size)
            return &elf->segment[i];
    return NULL;
}

int elf_read(const struct elf *elf, uint64_t address, void *to, size_t size)
{
    const struct elf_segment *segment = segment_of(elf, address);
    if (segment == NULL || size > segment->size - (address - segment->address))
        return -EINVAL;
    if (elf->fd < 0)
        return read_memory(address + elf->bias, to, size);
    return read_file(elf, segment->offset + (address - segment->address), to, size);
}

static void take_program_header(struct elf *elf, const Elf64_Phdr *header)
{
    if (header->p_type == PT_LOAD && elf->segment_count < ELF_SEGMENTS)
        elf->segment[elf->segment_count++] = (struct elf_segment){
            header->p_offset, header->p_vaddr, header->p_filesz, (header->p_flags & PF_X) != 0};
    else if (header->p_type == PT_GNU_EH_FRAME)
        elf->eh_frame_header = header->p_vaddr;
    else if (header->p_type == PT_NOTE && elf->note_count < ELF_NOTES)
        elf->note[elf->note_count++] =
            (struct elf_segment){header->p_offset, header->p_vaddr, header->p_filesz, 0};
}

/* The mapping at `start` shows the file from `offset` (a whole page) on. */
static int find_bias(struct elf *elf, uint64_t start, uint64_t offset)
{
    for (unsigned i = 0; i < elf->segment_count; i++) {
        const struct elf_segment *segment = &elf->segment[i];
        uint64_t first = segment->offset & ~(uint64_t)(PAGE - 1);
        if (segment->executable && offset >= first && offset - first < segment->size + PAGE) {
            elf->bias = start - (segment->address - segment->offset + offset);
            return 0;
        }
    }
    return -ENOEXEC;
}

static int read_headers(struct elf *elf)
{
    Elf64_Ehdr header;
    Elf64_Phdr program_header;
    int result = read_start(elf, 0, &header, sizeof header);
    if (result < 0)
        return result;
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_phentsize != sizeof program_header)
        return -ENOEXEC;
    elf->sections = header.e_shentsize == sizeof(Elf64_Shdr) ? header.e_shoff : 0;
    elf->section_count = header.e_shnum;
    elf->section_names = header.e_shstrndx;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        result = read_start(elf, header.e_phoff + i * sizeof program_header, &program_header,
                            sizeof program_header);
        if (result < 0)
            return result;
        take_program_header(elf, &program_header);
    }
    return 0;
}

int elf_open(struct elf *elf, const char *path, uint64_t image, uint64_t start, uint64_t offset)
{
    int result;
    *elf = (struct elf){.fd = -1, .image = image};
    if (path != NULL) {
        elf->fd = os_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
        if (elf->fd < 0)
            return elf->fd;
    } else if (image == 0) {
        return -ENOEXEC;
    }
    result = read_headers(elf);
    if (result == 0)
        result = find_bias(elf, start, offset);
    if (result < 0)
        elf_close(elf);
    return result;
}

void elf_close(struct elf *elf)
{
    if (elf->fd >= 0)
        os_close(elf->fd);
    elf->fd = -1;
}

static uint32_t find_build_id(const unsigned char *notes, size_t size, unsigned char *id)
{
    struct cfi_reader reader = cfi_reader(notes, size, 0);
    while (cfi_left(&reader) >= 12) {
        uint64_t name_size = cfi_fixed(&reader, 4), value_size = cfi_fixed(&reader, 4);
        uint64_t type = cfi_fixed(&reader, 4);
        const unsigned char *name = reader.at, *value;
        cfi_skip(&reader, (name_size + 3) & ~(uint64_t)3);
        value = reader.at;
        cfi_skip(&reader, (value_size + 3) & ~(uint64_t)3);
        if (reader.failed)
            return 0;
        if (type == NT_GNU_BUILD_ID && name_size == 4 && memcmp(name, "GNU", 4) == 0 &&
            value_size <= ELF_BUILD_ID) {
            memcpy(id, value, value_size);
            return (uint32_t)value_size;
        }
    }
    return 0;
}

uint32_t elf_build_id(const struct elf *elf, unsigned char *id)
{
    unsigned char notes[NOTES_MAX];
    uint32_t found = 0;
    for (unsigned i = 0; i < elf->note_count && found == 0; i++) {
        size_t size = elf->note[i].size < sizeof notes ? (size_t)elf->note[i].size : sizeof notes;
        if (elf_read(elf, elf->note[i].address, notes, size) == 0)
            found = find_build_id(notes, size, id);
    }
    return found;
}

/* By name in the section headers: for files that were linked without an index of their FDEs. */
static int eh_frame_section(const struct elf *elf, uint64_t *address, uint64_t *size)
{
    Elf64_Shdr names, section;
    char name[sizeof ".eh_frame"];
    if (elf->fd < 0 || elf->sections == 0 || elf->section_count > SECTIONS_MAX ||
        read_file(elf, elf->sections + elf->section_names * sizeof names, &names, sizeof names) < 0)
        return -ENOENT;
    for (unsigned i = 0; i < elf->section_count; i++) {
        if (read_file(elf, elf->sections + i * sizeof section, &section, sizeof section) < 0 ||
            read_file(elf, names.sh_offset + section.sh_name, name, sizeof name) < 0)
            continue;
        if (memcmp(name, ".eh_frame", sizeof name) == 0 && section.sh_type != SHT_NOBITS) {
            *address = section.sh_addr;
            *size = section.sh_size;
            return 0;
        }
    }
    return -ENOENT;
}

int elf_eh_frame(const struct elf *elf, uint64_t *address, uint64_t *size)
{
    unsigned char header[12];
    struct cfi_reader reader = cfi_reader(header, sizeof header, elf->eh_frame_header);
    const struct elf_segment *segment;
    unsigned encoding;
    if (elf->eh_frame_header == 0 || elf_read(elf, elf->eh_frame_header, header, sizeof header) < 0 ||
        header[0] != 1)
        return eh_frame_section(elf, address, size);
    encoding = header[1];
    cfi_skip(&reader, 4);
    cfi_pointer(&reader, encoding, address);
    segment = segment_of(elf, *address);
    if (reader.failed || encoding == CFI_POINTER_OMIT || segment == NULL)
        return eh_frame_section(elf, address, size);
    *size = segment->size - (*address - segment->address);
    return 0;
}
