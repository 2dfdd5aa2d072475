/* SPDX-License-Identifier: MIT */
/* writer_state.h - what the files of the writer share: writer.c (file, samples, counters) and writer_stack.c
 * (code objects, frames, nodes). Helper-safe. */
#ifndef PLAIT_WRITER_STATE_H
#define PLAIT_WRITER_STATE_H

#include "buffer.h"
#include "format.h"
#include "intern.h"
#include "outfile.h"
#include "writer.h"

enum {
    WRITER_REST = 1000000000, /* ns between syncs while nothing happens, and between counters */
    WRITER_CODE_BACKLOG = 4 * WRITER_BACKLOG,
    WRITER_ENTRY = 16 * VARINT_MAX, /* room for the fixed part of any entry */
};

/* Whether something was left out for want of memory, and whether the recording says so. */
enum writer_gap { WRITER_GAP_NONE, WRITER_GAP, WRITER_GAP_SAID };

struct writer_code_state {
    uint32_t unnamed_samples; /* that wait for this code's name */
    uint32_t state;
};

struct writer_level { /* of the last uncut stack: most stacks share their root side with the one before */
    struct frame frame;
    uint32_t node, unnamed;
};

struct writer_counter_state {
    uint64_t value, written;
};

struct writer_thread_state { /* what a thread's next sample is expected to be like */
    uint64_t weight;
    uint64_t time; /* in units */
    struct writer_state {
        uint32_t node;
        uint32_t state, call, kind; /* of its wait: string numbers */
    } now, wait;                    /* of its last sample, and of its last one that repeats may follow */
};

struct writer {
    struct outfile file;
    struct buffer chunk[CHUNK_COUNT]; /* payloads gathering for the next flush */
    struct intern strings;            /* two hashes of kind and bytes; number + 1 is the string's */
    struct intern codes;              /* key */
    struct intern frames;             /* head and unit, library, value */
    struct intern nodes;              /* parent, frame; number + 1 is the node's, 0 the root */
    struct buffer code_states;        /* struct writer_code_state by code */
    struct buffer levels;             /* struct writer_level: the stack before, root first */
    uint32_t level_count;
    struct buffer threads;  /* struct writer_thread_state by thread */
    struct buffer counters; /* struct writer_counter_state by string number */
    uint64_t start, last_sync, last_counters;
    uint64_t synced; /* time units up to which the recording says it is complete */
    uint32_t last_thread;
    enum writer_gap gap;
    writer_wait_of *wait_of; /* NULL: waits have no names */
    struct writer_totals totals;
};

/* Bytes that the file has not taken yet. */
size_t writer_waiting(const struct writer *writer);
/* Where to put an entry of a chunk, with room for its fixed part and `more` bytes; NULL without memory. */
unsigned char *writer_begin(struct writer *writer, enum format_chunk kind, size_t more);
void writer_end(struct writer *writer, enum format_chunk kind, const unsigned char *end);
/* The element `index` of an array kept in a buffer, zeroed at first sight; NULL without memory. */
void *writer_element(struct buffer *array, size_t index, size_t size);
/* The string's number; 0 = the empty string, also without memory. Strings are known by 128 bits of hash. */
uint32_t writer_string(struct writer *writer, const void *bytes, size_t size, uint32_t kind);
uint32_t writer_text(struct writer *writer, const char *text);

/* writer_stack.c: the node of a sample's stack, INTERN_NONE without memory. *unnamed: a code in it that has
 * no name yet, or INTERN_NONE. */
uint32_t writer_stack_node(struct writer *writer, const struct sample *sample, writer_library_of *library_of,
                           void *context, uint32_t *unnamed);
/* A sample waits for the name of code `number`. */
void writer_stack_wait(struct writer *writer, uint32_t number);

#endif
