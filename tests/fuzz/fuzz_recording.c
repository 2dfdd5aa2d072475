/* SPDX-License-Identifier: MIT */
/* fuzz_recording.c - libFuzzer target: any bytes as a recording, through every report. Seeds and a mutator of
 * its own keep the checksums right, so that the fuzzer gets past them:
 *   clang -fsanitize=fuzzer,address,undefined -std=c11 -D_GNU_SOURCE -Iinclude -Isrc -Itests/c \
 *       tests/fuzz/fuzz_recording.c src/core/[a-z]*.c src/record/[a-z]*.c src/python/lines.c
 * src/os/os_linux*.c Run it with PLAIT_SEEDS=DIRECTORY once to have the seeds written there. */
#include "core/checksum.h"
#include "profiler.h"
#include "record/format.h"
#include "recording_sample.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t limit, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t limit);

static char input[64];
static int input_fd;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    input_fd = memfd_create("recording", 0);
    snprintf(input, sizeof input, "/proc/self/fd/%d", input_fd);
    const char *seeds = getenv("PLAIT_SEEDS");
    if (seeds != NULL) {
        char path[4096];
        struct error error;
        struct writer *writer = writer_new();
        snprintf(path, sizeof path, "%s/known.plait", seeds);
        sample_write(writer, path, 1, &error);
        writer_free(writer);
    }
    return 0;
}

/* Makes the checksum of every chunk right again. */
static void repair(uint8_t *data, size_t size)
{
    for (size_t at = FORMAT_HEADER; size >= at + FORMAT_CHUNK;) {
        uint32_t head[3];
        memcpy(head, data + at, sizeof head);
        if (head[1] > size - at - FORMAT_CHUNK)
            return;
        head[2] = checksum(checksum(0, head, 8), data + at + FORMAT_CHUNK, head[1]);
        memcpy(data + at, head, sizeof head);
        at += FORMAT_CHUNK + head[1];
    }
}

/* Half of the mutations keep the checksums as they fall. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t limit, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, limit);
    if (seed % 2 && size >= 8) {
        memcpy(data, FORMAT_MAGIC, 8);
        repair(data, size);
    }
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (ftruncate(input_fd, 0) != 0 || pwrite(input_fd, data, size, 0) != (ssize_t)size)
        return 0;
    struct profiler_recording *recording = profiler_recording_open(input, profiler_symbolizer_elf());
    if (recording == NULL)
        return 0;
    struct profiler_table table = {.size = sizeof table};
    const char *key, *value;
    size_t length = 0;
    profiler_recording_table(recording, &table);
    for (uint32_t i = 0; profiler_recording_field(recording, i, &key, &value); i++)
        length += strlen(key) + strlen(value);
    for (uint64_t i = 1; i < table.node_count; i++)
        if (table.nodes[i].parent >= i || table.nodes[i].place >= table.place_count)
            abort();
    for (uint64_t i = 0; i < table.place_count; i++)
        length +=
            strlen(table.strings[table.places[i].function]) + strlen(table.strings[table.places[i].file]);
    for (uint64_t i = 0; i < table.sample_count; i++)
        if (table.samples[i].node >= table.node_count || table.samples[i].thread >= table.thread_count)
            abort();
    uint64_t spans[] = {0, 20000000, 0, 10000000, UINT64_MAX, 11};
    profiler_recording_json(recording, "/dev/null");
    profiler_recording_select(recording, spans, 2);
    profiler_recording_json(recording, "/dev/null");
    profiler_recording_summary(recording, "/dev/null");
    profiler_recording_folded(recording, "/dev/null", 1);
    profiler_recording_close(recording);
    return length == SIZE_MAX;
}
