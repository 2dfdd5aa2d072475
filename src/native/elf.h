/* SPDX-License-Identifier: MIT */
/* elf.h - what sampling needs of an ELF image: bias, build id, `.eh_frame`. Helper side.
 *
 * Untrusted input, read by copying (pread from the file, os_peek from memory), so a file that is cut or a
 * mapping that goes away gives an error and never a fault. */
#ifndef PLAIT_ELF_H
#define PLAIT_ELF_H

#include <stddef.h>
#include <stdint.h>

enum { ELF_SEGMENTS = 16, ELF_NOTES = 4, ELF_BUILD_ID = 32 };

struct elf_segment {
    uint64_t offset, address, size; /* in the file */
    int executable;
};

struct elf {
    int fd;         /* -1: read from memory */
    uint64_t image; /* where the file's first byte is mapped, for reading from memory */
    uint64_t bias;
    uint64_t sections; /* file offset of the section headers */
    unsigned section_count, section_names;
    struct elf_segment segment[ELF_SEGMENTS];
    unsigned segment_count;
    uint64_t eh_frame_header; /* ELF address, 0 = none */
    struct elf_segment note[ELF_NOTES];
    unsigned note_count;
};

/* Opens the file at `path` or, where that is NULL, the image mapped at `image`. `start` and `offset` are its
 * executable mapping's, from which the bias follows. 0 or negative errno. */
int elf_open(struct elf *elf, const char *path, uint64_t image, uint64_t start, uint64_t offset);
void elf_close(struct elf *elf);

/* Copies the build id to `id` (ELF_BUILD_ID bytes); returns its size, 0 = none. */
uint32_t elf_build_id(const struct elf *elf, unsigned char *id);

/* Where `.eh_frame` lies: its ELF address, and a size that it does not exceed. 0 or negative errno. */
int elf_eh_frame(const struct elf *elf, uint64_t *address, uint64_t *size);

/* Copies `size` bytes at an ELF address; 0 or negative errno. */
int elf_read(const struct elf *elf, uint64_t address, void *to, size_t size);

#endif
