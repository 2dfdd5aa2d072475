/* SPDX-License-Identifier: MIT */
/* text.c - see text.h. A decoder of untrusted bytes. */
#include "text.h"
#include "format.h"
#include <string.h>

enum { TEXT_BAD = 0xfffd };

static unsigned char *text_put(unsigned char *to, uint32_t c)
{
    if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        c = TEXT_BAD;
    if (c < 0x80) {
        *to++ = (unsigned char)c;
        return to;
    }
    if (c < 0x800) {
        *to++ = (unsigned char)(0xc0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *to++ = (unsigned char)(0xe0 | c >> 12);
        } else {
            *to++ = (unsigned char)(0xf0 | c >> 18);
            *to++ = (unsigned char)(0x80 | (c >> 12 & 0x3f));
        }
        *to++ = (unsigned char)(0x80 | (c >> 6 & 0x3f));
    }
    *to++ = (unsigned char)(0x80 | (c & 0x3f));
    return to;
}

/* Reads one character of UTF-8; a byte that starts none is consumed alone and read as TEXT_BAD. */
static uint32_t text_get(const unsigned char **at, const unsigned char *end)
{
    static const uint32_t least[4] = {0, 0x80, 0x800, 0x10000};
    uint32_t first = *(*at)++;
    if (first < 0x80)
        return first;
    int more = first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : 3;
    if (first < 0xc2 || first > 0xf4 || end - *at < more)
        return TEXT_BAD;
    uint32_t c = first & (0x3fu >> more);
    for (int i = 0; i < more; i++) {
        if (((*at)[i] & 0xc0) != 0x80)
            return TEXT_BAD;
        c = c << 6 | ((*at)[i] & 0x3fu);
    }
    if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return TEXT_BAD;
    *at += more;
    return c;
}

static uint32_t text_get_wide(const unsigned char **at, uint32_t kind)
{
    uint32_t c = 0;
    for (uint32_t i = 0; i < kind; i++)
        c |= (uint32_t)(*at)[i] << 8 * i;
    *at += kind;
    return c;
}

int text_utf8(struct buffer *out, const unsigned char *bytes, size_t size, uint32_t kind)
{
    uint32_t width = kind & ~(uint32_t)FORMAT_STRING_CUT;
    size_t step = width == FORMAT_UTF8 ? 1 : width;
    /* A byte becomes at most three (U+FFFD or Latin-1); a wider character at most four. */
    if (size > SIZE_MAX / 4 || !buffer_room(out, size / step * 4 + 4))
        return 0;
    unsigned char *to = out->bytes + out->used;
    const unsigned char *at = bytes, *end = bytes + size / step * step;
    while (at < end)
        to = text_put(to, width == FORMAT_UTF8 ? text_get(&at, end) : text_get_wide(&at, width));
    if (kind & FORMAT_STRING_CUT) {
        memcpy(to, "...", 3);
        to += 3;
    }
    out->used = (size_t)(to - out->bytes);
    return 1;
}
