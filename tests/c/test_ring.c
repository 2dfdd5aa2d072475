/* SPDX-License-Identifier: MIT */
/* test_ring.c - the ring alone, and under two threads: every record arrives once, whole and in order.
 * Under ThreadSanitizer it also shows that the two sides share nothing without order. */
#include "check.h"
#include "core/ring.h"
#include <pthread.h>
#include <sched.h>

enum { RECORDS = 100000, LARGEST = 900 };

struct numbered {
    struct record record;
    uint64_t number;
    unsigned char fill[];
};

static uint32_t test_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static uint32_t record_size(uint64_t number)
{
    uint64_t state = number;
    return (uint32_t)sizeof(struct numbered) + test_random(&state) % LARGEST;
}

static void write_record(struct numbered *to, uint64_t number)
{
    to->record.kind = RECORD_SAMPLE;
    to->record.flags = (uint16_t)number;
    to->number = number;
    memset(to->fill, (int)(number & 0xff), record_size(number) - sizeof *to);
}

static int record_is(const struct record *record, uint64_t number)
{
    const struct numbered *from = (const struct numbered *)(const void *)record;
    uint32_t size = record_size(number);
    if (record->size != ((size + 7u) & ~7u) || from->number != number || record->flags != (uint16_t)number)
        return 0;
    for (size_t i = 0; i < size - sizeof *from; i++)
        if (from->fill[i] != (unsigned char)number)
            return 0;
    return 1;
}

static struct ring shared;
static uint64_t refused;

static void *produce(void *argument)
{
    (void)argument;
    for (uint64_t number = 0; number < RECORDS;) {
        /* Reserve more than is committed, and now and then forget a reservation. */
        struct numbered *to = ring_reserve(&shared, record_size(number) + (uint32_t)(number % 40));
        if (to == NULL) {
            refused++;
            sched_yield();
            continue;
        }
        write_record(to, number);
        if (number % 7 == 3 && ring_reserve(&shared, 24) == NULL)
            continue;
        if (number % 7 == 3) {
            to = ring_reserve(&shared, record_size(number));
            if (to == NULL)
                continue;
            write_record(to, number);
        }
        ring_commit(&shared, &to->record, record_size(number));
        number++;
    }
    return NULL;
}

static void two_threads(void)
{
    static _Alignas(8) unsigned char bytes[1 << 14];
    pthread_t producer;
    ring_init(&shared, bytes, sizeof bytes);
    CHECK(pthread_create(&producer, NULL, produce, NULL) == 0);
    uint64_t wrong = 0;
    for (uint64_t number = 0; number < RECORDS;) {
        const struct record *record = ring_peek(&shared);
        if (record == NULL) {
            sched_yield();
            continue;
        }
        wrong += !record_is(record, number);
        ring_drop(&shared, record);
        number++;
    }
    pthread_join(producer, NULL);
    CHECK_EQUAL(wrong, 0);
    CHECK(ring_peek(&shared) == NULL);
}

static void full_and_empty(void)
{
    static _Alignas(8) unsigned char bytes[4096];
    struct ring ring;
    ring_init(&ring, bytes, sizeof bytes);
    CHECK(ring_peek(&ring) == NULL);
    CHECK(ring_reserve(&ring, 5000) == NULL);
    int written = 0;
    for (struct record *record; (record = ring_reserve(&ring, 96)) != NULL; written++) {
        record->kind = RECORD_CODE;
        ring_commit(&ring, record, 96);
    }
    CHECK_EQUAL(written, 4096 / 96);
    for (int i = 0; i < written; i++) {
        const struct record *record = ring_peek(&ring);
        CHECK(record != NULL && record->size == 96 && record->kind == RECORD_CODE);
        if (record != NULL)
            ring_drop(&ring, record);
    }
    CHECK(ring_peek(&ring) == NULL);
    /* Half the ring fits wherever the end is. */
    for (uint32_t i = 0; i < 600; i++) {
        struct record *record = ring_reserve(&ring, 8 * (1 + i % 256));
        CHECK(record != NULL);
        if (record == NULL)
            return;
        record->kind = RECORD_CODE;
        ring_commit(&ring, record, 8 * (1 + i % 256));
        const struct record *read = ring_peek(&ring);
        CHECK(read == record);
        ring_drop(&ring, read);
    }
}

int main(int argc, char **argv)
{
    static const struct check_case cases[] = {{"full_and_empty", full_and_empty},
                                              {"two_threads", two_threads}};
    return check_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
