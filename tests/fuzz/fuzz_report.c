/* SPDX-License-Identifier: MIT */
/* fuzz_report.c - libFuzzer: any bytes as what a program does while it is recorded: names, threads, code
 * objects, stacks, flushes, in any order. What is read back must be what was written, and every report must
 * be well-formed and count all of it, whatever the names are. */
#include "core/core.h"
#include "record/writer.h"
#include "report_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { START = 1000, SAMPLES = 512, FRAMES = 24, NAME = 64, THREADS = 8 };

/* The input, a piece at a time; zeros when it is used up. */
struct source {
    const uint8_t *at, *end;
};

static uint64_t number(struct source *in, size_t size)
{
    uint64_t value = 0;
    size_t left = (size_t)(in->end - in->at);
    size = size < left ? size : left;
    if (size > 0)
        memcpy(&value, in->at, size);
    in->at += size;
    return value;
}

static uint32_t bytes(struct source *in, unsigned char *to, uint32_t most)
{
    uint32_t size = (uint32_t)number(in, 1) % (most + 1), left = (uint32_t)(in->end - in->at);
    size = size < left ? size : left;
    if (size > 0)
        memcpy(to, in->at, size);
    in->at += size;
    return size;
}

static void text(struct source *in, char *to)
{
    uint32_t size = bytes(in, (unsigned char *)to, NAME - 1);
    to[size] = '\0';
}

static struct profiler_sample written[SAMPLES];
static uint64_t written_count;
static uint64_t written_instructions;
static int64_t written_memory;
static uint32_t number_of_thread[THREADS]; /* in the report: order of number, those that were met */
static int met[THREADS];

static void put_code(struct source *in, struct writer *writer)
{
    static union {
        struct code code;
        unsigned char room[sizeof(struct code) + 8 * NAME];
    } put;
    struct code_text *const parts[] = {&put.code.file, &put.code.name, &put.code.qualname};
    unsigned char *at = put.code.data;
    memset(&put, 0, sizeof put);
    put.code.key = number(in, 1);
    put.code.first_line = (int32_t)number(in, 4);
    for (int i = 0; i < 3; i++) {
        uint8_t kind = (uint8_t)(1u << number(in, 1) % 3);
        uint32_t length = bytes(in, at, NAME) / kind;
        *parts[i] = (struct code_text){.length = length, .kind = kind, .cut = number(in, 1) == 7};
        at += length * kind;
    }
    put.code.lines_size = bytes(in, at, NAME);
    put.code.lines_total = put.code.lines_size + (uint32_t)(number(in, 1) % 3);
    put.code.record.kind = RECORD_CODE;
    put.code.record.size = (uint32_t)(at - (unsigned char *)&put) + put.code.lines_size;
    writer_code(writer, &put.code);
}

static uint32_t library_of(void *context, uint64_t pc, uint64_t *bias)
{
    (void)context;
    *bias = pc & ~0xfffull;
    return pc >> 12 > 4 ? UINT32_MAX : (uint32_t)(pc >> 12);
}

static void put_sample(struct source *in, struct writer *writer)
{
    static union {
        struct sample sample;
        unsigned char room[sizeof(struct sample) + FRAMES * sizeof(struct frame)];
    } put;
    struct sample *sample = &put.sample;
    uint32_t thread = (uint32_t)number(in, 1) % THREADS;
    memset(&put, 0, sizeof put);
    sample->record = (struct record){.kind = RECORD_SAMPLE, .flags = (uint16_t)number(in, 2)};
    sample->time = START + number(in, 5);
    sample->weight = number(in, 4);
    sample->memory = number(in, 1) % 3 == 0 ? (int32_t)number(in, 4) : 0;
    sample->instructions = number(in, 1) % 3 == 0 ? number(in, 4) : 0;
    sample->count = sample->depth = (uint32_t)number(in, 1) % (FRAMES + 1);
    for (uint32_t i = 0; i < sample->count; i++) {
        struct frame *frame = &sample->frames[i];
        frame->kind = (uint8_t)(number(in, 1) & 1);
        frame->id = number(in, frame->kind == FRAME_PYTHON ? 1 : 2);
        frame->unit = frame->kind == FRAME_PYTHON ? (int32_t)number(in, 1) - 1 : 0;
        frame->flags = frame->kind == FRAME_NATIVE ? (uint8_t)(frame->id >> 3 & 3) : 0;
    }
    if (sample->record.flags & SAMPLE_STACK_CUT && sample->count >= 2) {
        sample->depth += 1 + (uint32_t)number(in, 1);
        sample->cut_at = 1 + (uint32_t)number(in, 1) % (sample->count - 1);
    }
    writer_sample(writer, thread, sample, library_of, NULL);
    met[thread] = 1;
    written_memory = (int64_t)((uint64_t)written_memory + (uint64_t)sample->memory);
    written_instructions += sample->instructions;
    written[written_count++] = (struct profiler_sample){.time = (sample->time - START) / 1000 * 1000,
                                                        .weight = sample->weight,
                                                        .thread = thread,
                                                        .flags = sample->record.flags};
}

static void put_anything(struct source *in, struct writer *writer)
{
    char name[NAME], other[NAME];
    uint32_t thread;
    switch (number(in, 1) % 8) {
    case 0:
        text(in, name);
        text(in, other);
        writer_field(writer, name, other);
        return;
    case 1:
        text(in, name);
        writer_library(writer, (uint32_t)number(in, 1) % 6, number(in, 4), number(in, 4), number(in, 4),
                       (const unsigned char *)"build", 5, name);
        return;
    case 2:
        text(in, name);
        thread = (uint32_t)number(in, 1) % THREADS;
        writer_thread(writer, thread, (int)number(in, 4), name);
        met[thread] = 1;
        return;
    case 3:
        put_code(in, writer);
        return;
    case 4:
        text(in, name);
        writer_counter(writer, name, number(in, 8));
        writer_flush(writer, START + number(in, 5));
        return;
    default:
        put_sample(in, writer);
    }
}

static void check_written(struct profiler_recording *recording)
{
    struct profiler_table table = {.size = sizeof table};
    uint64_t instructions = 0, memory = 0;
    HOLDS(profiler_recording_table(recording, &table) == 0);
    HOLDS(table.sample_count == written_count && table.clean);
    for (uint32_t i = 0, next = 0; i < THREADS; i++)
        number_of_thread[i] = met[i] ? next++ : UINT32_MAX;
    for (uint64_t i = 0; i < written_count; i++) {
        const struct profiler_sample *read = &table.samples[i];
        HOLDS(read->time == written[i].time && read->weight == written[i].weight);
        HOLDS(read->flags == written[i].flags && read->thread == number_of_thread[written[i].thread]);
    }
    for (uint64_t i = 0; i < table.node_count; i++) {
        instructions += table.nodes[i].instructions;
        memory += (uint64_t)table.nodes[i].memory;
    }
    HOLDS(instructions == written_instructions && (int64_t)memory == written_memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[64];
    static int fd = -1;
    struct source in = {data, data + size};
    struct error error = {0};
    char version[8] = "3.0.0";
    const char *fields[] = {"python", version, NULL};
    if (fd < 0)
        fd = report_file("recording", path);
    written_count = written_instructions = 0;
    written_memory = 0;
    memset(met, 0, sizeof met);
    snprintf(version, sizeof version, "3.%u.1", 8 + (unsigned)number(&in, 1) % 6);
    struct writer *writer = writer_new();
    HOLDS(writer != NULL && writer_open(writer, path, 1, START, fields, &error) == 0);
    while (in.at < in.end && written_count < SAMPLES)
        put_anything(&in, writer);
    HOLDS(writer_close(writer, START + 1000000, &error) == 0);
    writer_free(writer);
    struct profiler_recording *recording = profiler_recording_open(path, &report_symbolizer);
    HOLDS(recording != NULL);
    check_written(recording);
    report_check(recording);
    profiler_recording_close(recording);
    return 0;
}
