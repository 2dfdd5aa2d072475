/* SPDX-License-Identifier: MIT */
/* recording_sample.h - makes recordings whose content is known, for the tests. */
#ifndef PLAIT_RECORDING_SAMPLE_H
#define PLAIT_RECORDING_SAMPLE_H

#include "core/core.h"
#include "record/writer.h"
#include <stdlib.h>
#include <string.h>

enum { START = 1000000000, PERIOD = 1000000 };

/* Library 0 holds [0x400000, 0x500000) with bias 0x400000, library 1 the next MiB; nothing else is known. */
static inline uint32_t sample_library_of(void *context, uint64_t pc, uint64_t *bias)
{
    (void)context;
    *bias = pc & ~(uint64_t)0xfffff;
    return pc >= 0x400000 && pc < 0x600000 ? (uint32_t)((pc - 0x400000) >> 20) : UINT32_MAX;
}

static inline struct frame sample_native(uint64_t pc, unsigned flags)
{
    return (struct frame){.id = pc, .kind = FRAME_NATIVE, .flags = (uint8_t)flags};
}

static inline struct frame sample_python(uint64_t key, int unit)
{
    return (struct frame){.id = key, .kind = FRAME_PYTHON, .unit = unit};
}

/* Writes a sample whose frames are leaf first. */
static inline void sample_put(struct writer *writer, uint32_t thread, uint64_t time, uint64_t weight,
                              uint16_t flags, const struct frame *frames, uint32_t count)
{
    struct sample *sample = calloc(1, sizeof *sample + count * sizeof *frames);
    sample->record.kind = RECORD_SAMPLE;
    sample->record.flags = flags;
    sample->time = time;
    sample->weight = weight;
    sample->depth = sample->count = count;
    memcpy(sample->frames, frames, count * sizeof *frames);
    writer_sample(writer, thread, sample, sample_library_of, NULL);
    free(sample);
}

/* Writes a code object; Latin-1 strings, no qualified name where that is NULL. */
static inline void sample_code(struct writer *writer, uint64_t key, const char *file, const char *name,
                               const char *qualname, int first_line, const void *lines, uint32_t lines_size,
                               int cut)
{
    uint32_t sizes[3] = {(uint32_t)strlen(file), (uint32_t)strlen(name),
                         qualname ? (uint32_t)strlen(qualname) : 0};
    struct code *code = calloc(1, sizeof *code + sizes[0] + sizes[1] + sizes[2] + lines_size);
    code->record.kind = RECORD_CODE;
    code->record.size = (uint32_t)sizeof *code + sizes[0] + sizes[1] + sizes[2] + lines_size;
    code->key = key;
    code->first_line = first_line;
    code->lines_size = lines_size;
    code->lines_total = lines_size + (cut ? 100 : 0);
    code->file = (struct code_text){.length = sizes[0], .kind = 1};
    code->name = (struct code_text){.length = sizes[1], .kind = 1};
    code->qualname = (struct code_text){.length = sizes[2], .kind = 1};
    unsigned char *data = code->data;
    memcpy(data, file, sizes[0]);
    memcpy(data + sizes[0], name, sizes[1]);
    if (qualname != NULL)
        memcpy(data + sizes[0] + sizes[1], qualname, sizes[2]);
    if (lines_size != 0)
        memcpy(data + sizes[0] + sizes[1] + sizes[2], lines, lines_size);
    writer_code(writer, code);
    free(code);
}

/* The known recording, flushed every 8 of its 40 samples:
 *   thread 0 (tid 11, "main"): start_thread-like native root, eval frame, Python work() at line 21, native
 * leaf; thread 1 (tid 12, "other"): every fourth sample, without Python; 3.9 line tables (two bytes an
 * entry): work() starts at line 20, unit 2 and later is line 21. */
static inline int sample_write(struct writer *writer, const char *path, int overwrite, struct error *error)
{
    static const char *const fields[] = {"python", "3.9.18", "clock", "poll", NULL};
    static const unsigned char lines[] = {4, 1};
    if (writer_open(writer, path, overwrite, START, fields, error) != 0)
        return error->code;
    writer_library(writer, 0, 0x400000, 0x500000, 0x400000, (const unsigned char *)"build", 5,
                   "/usr/lib/libpython3.9.so.1.0");
    writer_library(writer, 1, 0x500000, 0x600000, 0x500000, NULL, 0, "/usr/lib/libwork.so");
    writer_thread(writer, 0, 11, "main");
    writer_thread(writer, 1, 12, "other");
    sample_code(writer, 0xc0de, "/src/app.py", "work", NULL, 20, lines, sizeof lines, 0);
    for (uint32_t i = 0; i < 40; i++) {
        struct frame frames[] = {sample_native(0x500123 + i % 2, FRAME_EXACT_PC), sample_python(0xc0de, 2),
                                 sample_native(0x400456, FRAME_EVAL), sample_native(0x500999, 0)};
        uint64_t time = START + (i + 1) * (uint64_t)PERIOD;
        if (i % 4 == 3)
            sample_put(writer, 1, time, 500000, SAMPLE_NO_PYTHON, frames + 3, 1);
        else
            sample_put(writer, 0, time, PERIOD, 0, frames, 4);
        if (i % 8 == 7)
            writer_flush(writer, time);
    }
    writer_lost(writer, 0, "ring full", 3, 3 * PERIOD);
    writer_counter(writer, "probes", 7);
    return writer_close(writer, START + 41 * (uint64_t)PERIOD, error);
}

#endif
