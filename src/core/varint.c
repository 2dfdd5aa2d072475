/* SPDX-License-Identifier: MIT */
/* varint.c - see varint.h. */
#include "varint.h"
#include <stddef.h>

unsigned char *varint_put(unsigned char *to, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *to++ = (unsigned char)(value | 0x80);
    *to++ = (unsigned char)value;
    return to;
}

unsigned char *varint_put_signed(unsigned char *to, int64_t value)
{
    return varint_put(to, ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0));
}

uint64_t varint_get(struct varint_reader *reader)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && reader->at < reader->end; shift += 7) {
        unsigned char byte = *reader->at++;
        if (shift == 63 && byte > 1)
            break;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    reader->bad = 1;
    reader->at = reader->end;
    return 0;
}

int64_t varint_get_signed(struct varint_reader *reader)
{
    uint64_t folded = varint_get(reader);
    return (int64_t)((folded >> 1) ^ (0 - (folded & 1)));
}

uint32_t varint_get_limited(struct varint_reader *reader, uint32_t limit)
{
    uint64_t value = varint_get(reader);
    if (value <= limit)
        return (uint32_t)value;
    reader->bad = 1;
    reader->at = reader->end;
    return 0;
}

const unsigned char *varint_get_bytes(struct varint_reader *reader, uint64_t size)
{
    const unsigned char *bytes = reader->at;
    if (size > (uint64_t)(reader->end - reader->at)) {
        reader->bad = 1;
        reader->at = reader->end;
        return NULL;
    }
    reader->at += size;
    return bytes;
}
