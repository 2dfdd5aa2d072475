/* SPDX-License-Identifier: MIT */
/* varint.h - whole numbers in few bytes: seven bits a byte, low end first, the top bit set on all but the
 * last byte. Signed numbers are folded so that small ones of either sign stay short. Async-signal-safe. */
#ifndef PLAIT_VARINT_H
#define PLAIT_VARINT_H

#include <stdint.h>

enum { VARINT_MAX = 10 }; /* bytes of the longest */

/* Writes `value` at `to` (room for VARINT_MAX) and returns the position after it. */
unsigned char *varint_put(unsigned char *to, uint64_t value);
unsigned char *varint_put_signed(unsigned char *to, int64_t value);

/* A bounded reader of untrusted bytes: past the end, or on a number longer than 64 bits, it returns 0 and
 * sets `bad` for good. */
struct varint_reader {
    const unsigned char *at, *end;
    int bad;
};
uint64_t varint_get(struct varint_reader *reader);
int64_t varint_get_signed(struct varint_reader *reader);
/* A number that must be at most `limit`, else bad. */
uint32_t varint_get_limited(struct varint_reader *reader, uint32_t limit);
/* `size` bytes in place, or NULL and bad. */
const unsigned char *varint_get_bytes(struct varint_reader *reader, uint64_t size);

#endif
