/* SPDX-License-Identifier: MIT */
/* text.h - strings as interpreters and systems hold them, made valid UTF-8 without NUL bytes. */
#ifndef PLAIT_TEXT_H
#define PLAIT_TEXT_H

#include "buffer.h"

/* Appends to `out` the UTF-8 of `size` bytes of `kind` (FORMAT_UTF8 ...); surrogates, bytes that are no UTF-8
 * and NULs become U+FFFD; of a cut string "..." is added. No terminator. 1, or 0 without memory. */
int text_utf8(struct buffer *out, const unsigned char *bytes, size_t size, uint32_t kind);

#endif
