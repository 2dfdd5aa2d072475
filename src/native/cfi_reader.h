/* SPDX-License-Identifier: MIT */
/* cfi_reader.h - bounded reading of DWARF's encodings. A read past the end gives 0 and marks the reader
 * as failed, so decoders check once. Pure. */
#ifndef PLAIT_CFI_READER_H
#define PLAIT_CFI_READER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cfi_reader {
    const unsigned char *at, *end;
    uint64_t address; /* ELF address of `at` */
    int failed;
};

static inline struct cfi_reader cfi_reader(const unsigned char *bytes, size_t size, uint64_t address)
{
    return (struct cfi_reader){bytes, bytes + size, address, 0};
}

static inline size_t cfi_left(const struct cfi_reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

static inline void cfi_skip(struct cfi_reader *reader, uint64_t size)
{
    if (size > cfi_left(reader)) {
        reader->failed = 1;
        size = cfi_left(reader);
    }
    reader->at += size;
    reader->address += size;
}

/* Little endian, 1 to 8 bytes. */
static inline uint64_t cfi_fixed(struct cfi_reader *reader, unsigned size)
{
    uint64_t value = 0;
    if (size > cfi_left(reader)) {
        reader->failed = 1;
        return 0;
    }
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)reader->at[i] << (8 * i);
    cfi_skip(reader, size);
    return value;
}

/* At most ten bytes: more can't be needed, and a handler may be reading. */
static inline uint64_t cfi_leb(struct cfi_reader *reader, int is_signed)
{
    uint64_t value = 0;
    unsigned shift = 0, byte;
    do {
        byte = (unsigned)cfi_fixed(reader, 1);
        value |= (uint64_t)(byte & 127) << shift;
        shift += 7;
    } while (byte & 128 && shift < 64);
    if (byte & 128)
        reader->failed = 1;
    if (is_signed && byte & 64 && shift < 64)
        value |= ~(uint64_t)0 << shift;
    return value;
}

static inline uint64_t cfi_uleb(struct cfi_reader *reader)
{
    return cfi_leb(reader, 0);
}

static inline int64_t cfi_sleb(struct cfi_reader *reader)
{
    return (int64_t)cfi_leb(reader, 1);
}

enum { CFI_POINTER_OMIT = 0xff, CFI_POINTER_ALIGNED = 0x50 };

/* A pointer in one of the DW_EH_PE encodings. Relative ones other than to the place itself, and pointers to
 * be fetched from memory, fail where `value` matters (is not NULL) and are stepped over otherwise. */
static inline void cfi_pointer(struct cfi_reader *reader, unsigned encoding, uint64_t *value)
{
    static const unsigned char sizes[16] = {8, 0, 2, 4, 8, 0, 0, 0, 8, 0, 2, 4, 8, 0, 0, 0};
    uint64_t place, found;
    unsigned size;
    if (encoding == CFI_POINTER_OMIT)
        return;
    if (encoding == CFI_POINTER_ALIGNED) {
        cfi_skip(reader, -reader->address & 7);
        encoding = 0;
    }
    place = reader->address;
    size = sizes[encoding & 15];
    if (size > 0)
        found = cfi_fixed(reader, size);
    else if ((encoding & 7) == 1)
        found = cfi_leb(reader, encoding & 8);
    else {
        reader->failed = 1;
        return;
    }
    if (size > 0 && size < 8 && encoding & 8) /* sign extension */
        found = (found ^ (uint64_t)1 << (8 * size - 1)) - ((uint64_t)1 << (8 * size - 1));
    if (value == NULL)
        return;
    if ((encoding & 0x70) == 0x10)
        found += place;
    else if ((encoding & 0x70) != 0)
        reader->failed = 1;
    if (encoding & 0x80)
        reader->failed = 1;
    *value = found;
}

#endif
