/* SPDX-License-Identifier: MIT */
/* fuzz_core.c - libFuzzer: any bytes as operations on a ring, against a queue that is nothing but a list; and
 * any bytes as numbers: what is written is read back, and what can't be is refused. */
#include "core/ring.h"
#include "core/varint.h"
#include "holds.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RING = 4096, QUEUE = RING / 8 };

/* What the consumer must see, in order. */
struct expected {
    uint32_t size;
    unsigned char fill;
};
static struct expected queue[QUEUE];
static unsigned first, count;

static void *reserved; /* the open reservation */
static uint32_t reserved_size;

static void reserve(struct ring *ring, uint32_t size)
{
    uint32_t room = (size + 7u) & ~7u;
    uint64_t used = ring->head - ring->tail;
    reserved = ring_reserve(ring, size);
    reserved_size = reserved != NULL ? size : 0;
    if (reserved == NULL) { /* never while there is room without a wrap, nor half a ring that is empty */
        HOLDS(size < sizeof(struct record) || room > RING - used || room > RING - ring->head % RING);
        HOLDS(size < sizeof(struct record) || used != 0 || room > RING / 2);
        return;
    }
    unsigned char *at = reserved;
    HOLDS(at >= ring->bytes && at + room <= ring->bytes + RING && (at - ring->bytes) % 8 == 0);
    memset(reserved, (int)(size & 255), room);
}

static void commit(struct ring *ring, uint32_t less)
{
    struct record *record = reserved;
    if (record == NULL)
        return;
    uint32_t size = reserved_size - less % reserved_size;
    if (size < sizeof *record)
        size = (uint32_t)sizeof *record;
    record->kind = RECORD_CODE;
    ring_commit(ring, record, size);
    HOLDS(count < QUEUE);
    queue[(first + count++) % QUEUE] = (struct expected){(size + 7u) & ~7u, (unsigned char)reserved_size};
    reserved = NULL;
}

static void take(struct ring *ring, int drop)
{
    const struct record *record = ring_peek(ring);
    HOLDS((record == NULL) == (count == 0));
    if (record == NULL)
        return;
    HOLDS(record->kind == RECORD_CODE && record->size == queue[first].size);
    for (uint32_t i = sizeof *record; i < record->size; i++)
        HOLDS(((const unsigned char *)record)[i] == queue[first].fill);
    if (!drop)
        return;
    ring_drop(ring, record);
    first = (first + 1) % QUEUE;
    count--;
}

static void any_ring(const uint8_t *data, size_t size)
{
    static _Alignas(8) unsigned char bytes[RING];
    struct ring ring;
    memset(bytes, 0x5a, sizeof bytes);
    ring_init(&ring, bytes, sizeof bytes);
    first = count = 0;
    reserved = NULL;
    for (; size >= 2; data += 2, size -= 2) {
        if (data[0] < 100)
            reserve(&ring, data[1] * (data[0] < 30 ? 33u : 3u));
        else if (data[0] < 170)
            commit(&ring, data[1] < 128 ? 0 : data[1]);
        else
            take(&ring, data[1] > 60);
    }
    while (count > 0)
        take(&ring, 1);
    take(&ring, 1);
}

static void any_numbers(const uint8_t *data, size_t size)
{
    struct varint_reader reader = {data, data + size, 0};
    while (reader.at < reader.end) {
        const unsigned char *from = reader.at;
        unsigned char again[VARINT_MAX];
        uint64_t value = varint_get(&reader);
        HOLDS(reader.at > from && reader.at <= reader.end);
        HOLDS(!reader.bad || (value == 0 && reader.at == reader.end));
        size_t length = (size_t)(varint_put(again, value) - again);
        HOLDS(reader.bad ||
              (length <= (size_t)(reader.at - from) && (size_t)(reader.at - from) <= VARINT_MAX));
        if (reader.bad)
            break;
        HOLDS(length < (size_t)(reader.at - from) || memcmp(again, from, length) == 0);
        struct varint_reader back = {again, again + length, 0};
        HOLDS(varint_get(&back) == value && back.at == back.end && !back.bad);
        int64_t number = (int64_t)value;
        back = (struct varint_reader){again, varint_put_signed(again, number), 0};
        HOLDS(varint_get_signed(&back) == number && back.at == back.end && !back.bad);
        back = (struct varint_reader){again, again + length - 1, 0}; /* one byte short */
        varint_put(again, value);
        HOLDS(varint_get(&back) == 0 && back.bad);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] & 1)
        any_ring(data + 1, size - 1);
    else
        any_numbers(data + 1, size - 1);
    return 0;
}
