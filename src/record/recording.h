/* SPDX-License-Identifier: MIT */
/* recording.h - an opened recording: what the file says (reader.c), and what is made of it (aggregate.c).
 * Report side: libc is allowed. Arrays are buffers whose elements are the structs below. */
#ifndef PLAIT_RECORDING_H
#define PLAIT_RECORDING_H

#include "../core/error.h"
#include "buffer.h"
#include "intern.h"
#include "profiler.h"

struct recording_library {
    uint64_t start, end, bias;
    const unsigned char *build_id; /* in the file's bytes */
    uint32_t build_id_size;
    uint32_t path; /* report string numbers, here and below */
    uint32_t known;
};
struct recording_code {
    uint64_t key;
    const unsigned char *lines; /* in the file's bytes */
    uint32_t lines_size;
    uint32_t file, name, qualname;
    int32_t first_line;
    uint32_t named;
};
struct recording_frame {
    uint64_t value; /* native: ELF address (absolute without a library); Python: code number; cut: frames */
    uint32_t head;  /* FORMAT_FRAME_* */
    uint32_t library;
    int32_t unit;
    uint32_t nameless;                 /* native: called after its module and offset */
    uint32_t place_first, place_count; /* in `frame_places`, root side first: inlined levels nest */
};
struct recording_node {
    uint32_t parent, frame;
    uint32_t node; /* of the report's tree */
    uint32_t zero;
};
struct recording_thread {
    struct profiler_thread out;
    uint64_t time; /* of its last sample, in units */
    struct profiler_sample last;
    uint32_t known;
    uint32_t zero;
};
/* What few samples have: kept apart, in order of `sample`. */
struct recording_extra {
    uint64_t sample;
    uint64_t instructions;
    int64_t memory;
};
struct recording_pair { /* a field, a counter or a note: string numbers */
    uint32_t key, value;
};
struct recording_counter {
    uint64_t name, value; /* string number, last value */
};
struct recording_lost {
    uint32_t cause;
    uint32_t zero;
    uint64_t ticks, weight;
};

struct profiler_recording {
    unsigned char *bytes; /* the file */
    size_t size;

    struct buffer scratch; /* a string on its way to UTF-8 */
    struct buffer text;    /* blocks of string bytes: pointers to them, to free */
    char *text_at;         /* free part of the last block */
    size_t text_left;
    struct buffer strings;      /* const char * by number */
    struct intern string_set;   /* hashes of the strings, same numbers */
    struct buffer file_strings; /* uint32_t: the file's string number to the report's */
    struct buffer libraries, codes, frames, nodes, threads, extras, fields, counters, losses;
    struct buffer samples; /* struct profiler_sample; with the file's numbers until aggregated */
    uint64_t start, wall, complete, lost, lost_weight;
    uint32_t last_thread;
    uint32_t clean, torn; /* torn: bytes at the end that were left out */
    int no_memory;
    const char *damage; /* what stopped the reader, or NULL */

    struct profiler_symbolizer *symbolizer;
    int minor; /* of the interpreter; -1 unknown */
    struct buffer frame_places;
    struct buffer selected_samples, selected_extras; /* where a selection is in force */
    struct buffer node_unnamed;                      /* a byte for each node of the report */
    struct buffer places, report_nodes, report_threads, thread_map, processes;
    struct intern place_set, node_set;
    uint64_t total_count, total_weight, elapsed, unnamed, flag_count[32];
    uint32_t has_instructions, selected, no_name; /* no_name: the string for unnamed code */
    uint32_t columns;                             /* 1: places of Python are told apart by columns */
    uint32_t endless;    /* 1 + the index in `shown` of the note that there is no end; 0 = none */
    struct buffer shown; /* struct recording_pair: all that profiler_recording_field gives */
};

/* The element type is named at each use; an empty buffer has no items. */
#define ITEMS(buffer, type) ((type *)(void *)(buffer).bytes)
#define COUNT(buffer, type) ((buffer).used / sizeof(type))

/* reader.c: decodes the file's bytes; 0 or an error's code. */
int reader_run(struct profiler_recording *recording, const char *path, struct error *error);

/* aggregate.c: places and tree, everything selected. 0 or a code. */
int aggregate_tree(struct profiler_recording *recording);
/* Its parts, for a tree that is made of others' (merge.c): an empty tree; the number of a place, where `key`
 * tells apart what looks alike; of a node; which nodes have unnamed code. No memory is noted in the
 * recording.
 */
int aggregate_begin(struct profiler_recording *recording);
uint32_t aggregate_place_number(struct profiler_recording *recording, const struct profiler_place *place,
                                uint64_t key);
uint32_t aggregate_node(struct profiler_recording *recording, uint32_t parent, uint32_t place);
void aggregate_unnamed(struct profiler_recording *recording);
/* select.c: as profiler_recording_select. 0 or a code. */
int select_samples(struct profiler_recording *recording, const uint64_t *intervals, uint32_t count);
/* The samples that are selected, and what few of them have. */
const struct buffer *select_shown(const struct profiler_recording *recording);
const struct buffer *select_shown_extras(const struct profiler_recording *recording);

/* recording.c: the number of a report string (valid UTF-8 is made of what is not); 0 = "" or no memory. */
uint32_t recording_string(struct profiler_recording *recording, const char *text);
uint32_t recording_string_of(struct profiler_recording *recording, const void *bytes, size_t size,
                             uint32_t kind);
const char *recording_text(const struct profiler_recording *recording, uint32_t number);
/* The empty strings of a new recording; and at its end what profiler_recording_field gives. */
void recording_begin(struct profiler_recording *recording);
void recording_show_all(struct profiler_recording *recording);
/* Why no sample has instructions, where none has: what the recording says, or that it says nothing. */
const char *recording_no_instructions(struct profiler_recording *recording);

#endif
