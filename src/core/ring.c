/* SPDX-License-Identifier: MIT */
/* ring.c - the ring of ring.h. `head` and `tail` count bytes for ever and are masked on use; the producer
 * alone stores head, the consumer alone stores tail. Records are multiples of 8 bytes, so a pad always has
 * room for its header. A record of at most half the ring always fits an empty ring, wherever head stands.
 * Async-signal-safe throughout. */
#include "ring.h"

static uint32_t ring_round(uint32_t size)
{
    return (size + 7u) & ~7u;
}

void ring_init(struct ring *ring, void *bytes, uint32_t size)
{
    ring->bytes = bytes;
    ring->size = size;
    ring->reserved = 0;
    __atomic_store_n(&ring->head, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&ring->tail, 0, __ATOMIC_RELEASE);
}

void *ring_reserve(struct ring *ring, uint32_t size)
{
    if (size > ring->size || size < sizeof(struct record))
        return NULL;
    size = ring_round(size);
    uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
    uint64_t tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
    uint32_t at = (uint32_t)(head & (ring->size - 1));
    uint32_t left = ring->size - at;
    uint32_t pad = size > left ? left : 0;
    if ((uint64_t)pad + size > ring->size - (head - tail))
        return NULL;
    if (pad != 0) {
        struct record *filler = (struct record *)(void *)(ring->bytes + at);
        filler->size = pad;
        filler->kind = RECORD_PAD;
        filler->flags = 0;
        at = 0;
    }
    ring->reserved = pad + size;
    return ring->bytes + at;
}

void ring_commit(struct ring *ring, struct record *record, uint32_t size)
{
    uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
    uint32_t at = (uint32_t)(head & (ring->size - 1));
    uint32_t offset = (uint32_t)((unsigned char *)record - ring->bytes);
    uint32_t pad = offset == at ? 0 : ring->size - at;
    record->size = ring_round(size);
    ring->reserved = 0;
    __atomic_store_n(&ring->head, head + pad + record->size, __ATOMIC_RELEASE);
}

const struct record *ring_peek(struct ring *ring)
{
    uint64_t tail = __atomic_load_n(&ring->tail, __ATOMIC_RELAXED);
    uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
    while (tail != head) {
        const struct record *record =
            (const struct record *)(const void *)(ring->bytes + (tail & (ring->size - 1)));
        if (record->kind != RECORD_PAD)
            return record;
        tail += record->size;
        __atomic_store_n(&ring->tail, tail, __ATOMIC_RELEASE);
    }
    return NULL;
}

void ring_drop(struct ring *ring, const struct record *record)
{
    uint64_t tail = __atomic_load_n(&ring->tail, __ATOMIC_RELAXED);
    __atomic_store_n(&ring->tail, tail + record->size, __ATOMIC_RELEASE);
}
