/* SPDX-License-Identifier: MIT */
/* fuzz_recording.c - libFuzzer: any bytes as a recording, through every report. The mutator knows chunks: it
 * changes one payload, or takes, copies, swaps whole chunks, and makes lengths and checksums right again, so
 * that the inside of the reader is reached; now and then it leaves them as they fall. */
#include "core/checksum.h"
#include "record/format.h"
#include "report_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t limit, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t limit);

enum { CHUNKS = 256 };

/* Where the chunks of a recording start; the last entry is its end. Returns how many there are. */
static size_t find_chunks(const uint8_t *data, size_t size, size_t *start)
{
    size_t count = 0, at = FORMAT_HEADER;
    while (count < CHUNKS && size >= at && size - at >= FORMAT_CHUNK) {
        uint32_t length;
        memcpy(&length, data + at + 4, sizeof length);
        if (length > size - at - FORMAT_CHUNK)
            break;
        start[count++] = at;
        at += FORMAT_CHUNK + length;
    }
    start[count] = at;
    return count;
}

static void repair(uint8_t *data, size_t size)
{
    size_t start[CHUNKS + 1], count = find_chunks(data, size, start);
    for (size_t i = 0; i < count; i++) {
        uint32_t head[3];
        memcpy(head, data + start[i], sizeof head);
        head[2] = checksum(checksum(0, head, 8), data + start[i] + FORMAT_CHUNK, head[1]);
        memcpy(data + start[i], head, sizeof head);
    }
}

/* Another payload for the chunk that ends at `end`; what comes after it moves. */
static size_t change_payload(uint8_t *data, size_t size, size_t limit, size_t chunk, size_t end)
{
    static uint8_t copy[1 << 16];
    size_t payload = end - chunk - FORMAT_CHUNK, room = limit - (size - payload);
    if (payload > sizeof copy / 2 || room == 0)
        return size;
    memcpy(copy, data + chunk + FORMAT_CHUNK, payload);
    size_t most = room < sizeof copy ? room : sizeof copy;
    uint32_t changed = (uint32_t)LLVMFuzzerMutate(copy, payload, most < payload + 64 ? most : payload + 64);
    memmove(data + chunk + FORMAT_CHUNK + changed, data + end, size - end);
    memcpy(data + chunk + FORMAT_CHUNK, copy, changed);
    memcpy(data + chunk + 4, &changed, sizeof changed);
    return size - payload + changed;
}

static size_t change_chunks(uint8_t *data, size_t size, size_t limit, unsigned seed)
{
    size_t start[CHUNKS + 1], count = find_chunks(data, size, start);
    if (count == 0)
        return LLVMFuzzerMutate(data, size, limit);
    size_t one = seed / 8 % count, at = start[one], length = start[one + 1] - at;
    if (seed % 8 < 5)
        return change_payload(data, size, limit, at, start[one + 1]);
    if (seed % 8 == 5) { /* without it */
        memmove(data + at, data + at + length, size - at - length);
        return size - length;
    }
    if (seed % 8 == 6 && length <= limit - size) { /* twice */
        memmove(data + at + length, data + at, size - at);
        return size + length;
    }
    static const char tags[CHUNK_COUNT][5] = {
#define X(name, tag, text) tag,
        FORMAT_CHUNKS(X)
#undef X
    };
    memcpy(data + at, tags[seed / 2048 % CHUNK_COUNT], 4); /* as another kind */
    return size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t limit, unsigned seed)
{
    if (seed % 16 == 0)
        return LLVMFuzzerMutate(data, size, limit);
    size = seed % 16 < 4 ? LLVMFuzzerMutate(data, size, limit) : change_chunks(data, size, limit, seed / 16);
    if (size >= 8)
        memcpy(data, FORMAT_MAGIC, 8);
    repair(data, size);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[64];
    static int fd = -1;
    if (fd < 0)
        fd = report_file("recording", path);
    HOLDS(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    struct profiler_recording *recording = profiler_recording_open(path, &report_symbolizer);
    if (recording == NULL) {
        HOLDS(strlen(profiler_error()) > 0);
        return 0;
    }
    report_check(recording);
    profiler_recording_close(recording);
    return 0;
}
