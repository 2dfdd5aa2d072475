/* SPDX-License-Identifier: MIT */
/* ring.h - one thread's records on their way to the helper. One producer (the handler on that thread), one
 * consumer (the helper); no lock, no system call. A record never wraps: where the end is too near, a
 * RECORD_PAD fills it. */
#ifndef PLAIT_RING_H
#define PLAIT_RING_H

#include "core.h"
#include <stddef.h>

struct ring {
    unsigned char *bytes;
    uint32_t size;     /* a power of two */
    uint32_t reserved; /* producer: bytes of the open reservation, padding included */
    uint64_t head;     /* producer: bytes ever written; atomic */
    uint64_t tail;     /* consumer: bytes ever read; atomic */
};

/* Points the ring at `size` bytes (a power of two, at least 4096) of memory that outlives it. */
void ring_init(struct ring *ring, void *bytes, uint32_t size);

/* Producer. ring_reserve returns room for a record of `size` bytes (rounded up to 8), aligned to 8, or NULL
 * when the ring is too full (nothing is changed then; the caller counts the loss). ring_commit publishes it
 * with the final size, which may be smaller; record->size is set by it. One reservation at a time; one that
 * is not committed is forgotten by the next. Async-signal-safe. */
void *ring_reserve(struct ring *ring, uint32_t size);
void ring_commit(struct ring *ring, struct record *record, uint32_t size);

/* Consumer. ring_peek returns the oldest record (never a pad) or NULL; ring_drop lets the producer have its
 * bytes again. */
const struct record *ring_peek(struct ring *ring);
void ring_drop(struct ring *ring, const struct record *record);

#endif
