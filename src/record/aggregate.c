/* SPDX-License-Identifier: MIT */
/* aggregate.c - from frames to places, from the recording's stacks to the report's tree. Frames that a reader
 * of the report can't tell apart (same function, file and line) are one place, so the tree has one node where
 * the recording has several; inlined levels become places of their own, the outer on the root side.
 * Both trees number parents before children: one pass, no recursion, however deep. */
#include "../python/python.h"
#include "elfsyms.h"
#include "format.h"
#include "plumbing.h"
#include "recording.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    AGGREGATE_LEVELS = 32,
    AGGREGATE_KEY = 7, /* words that make a place distinct */
};

uint32_t aggregate_place_number(struct profiler_recording *recording, const struct profiler_place *place,
                                uint64_t distinct)
{
    uint64_t key[AGGREGATE_KEY] = {
        place->kind | place->hidden << 8 | (uint64_t)place->line << 32,
        place->function | (uint64_t)place->file << 32,
        place->module | (uint64_t)place->first_line << 32,
        place->library,
        distinct,
        place->end_line | (uint64_t)place->column << 32,
        place->end_column,
    };
    int fresh;
    uint32_t number = intern_add(&recording->place_set, key, &fresh);
    if (number != INTERN_NONE && (!fresh || buffer_add(&recording->places, place, sizeof *place)))
        return number;
    recording->no_memory = 1;
    return 0;
}

/* Adds the place to the list of the frame that is being resolved. */
static void aggregate_place(struct profiler_recording *recording, const struct profiler_place *place)
{
    /* The address of a native place is that of its first sight, and no part of what makes it distinct. */
    uint32_t number = aggregate_place_number(recording, place, place->kind == 0 ? 0 : place->address);
    if (!buffer_add(&recording->frame_places, &number, sizeof number))
        recording->no_memory = 1;
}

/* Numbers of the table where they are known, else 0. */
static void aggregate_position(const struct profiler_recording *recording, const struct recording_code *code,
                               int32_t unit, struct profiler_place *place)
{
    struct py_position at = {.column = -1, .end_column = -1};
    if (recording->minor < 0)
        at.line = code->first_line;
    else
        py_position(recording->minor, code->lines, code->lines_size, code->first_line, unit, &at);
    place->line = at.line > 0 ? (uint32_t)at.line : 0;
    if (!recording->columns || at.column < 0)
        return;
    place->end_line = at.end_line > 0 ? (uint32_t)at.end_line : 0;
    place->column = (uint32_t)at.column + 1;
    place->end_column = at.end_column < 0 ? 0 : (uint32_t)at.end_column + 1;
}

static void aggregate_python(struct profiler_recording *recording, const struct recording_frame *frame)
{
    const struct recording_code *code = &ITEMS(recording->codes, struct recording_code)[frame->value];
    struct profiler_place place = {.kind = 1, .library = UINT32_MAX, .address = code->key};
    if (code->named) {
        place.function = code->qualname != 0 ? code->qualname : code->name;
        place.file = code->file;
        place.first_line = code->first_line > 0 ? (uint32_t)code->first_line : 0;
        aggregate_position(recording, code, frame->unit, &place);
    } else {
        place.function = recording->no_name;
    }
    /* Two code objects with one function, file and line are one place: a function defined again and again. */
    uint64_t key = place.address;
    if (code->named)
        place.address = 0;
    size_t before = COUNT(recording->places, struct profiler_place);
    aggregate_place(recording, &place);
    if (COUNT(recording->places, struct profiler_place) > before)
        ITEMS(recording->places, struct profiler_place)[before].address = key;
}

/* What a native address without a name is called: module+0xstart of its function as far as the unwind index
 * knows it, so that a stripped function is one place; else module+0xaddress. Both can be resolved later. */
static uint32_t aggregate_offset_name(struct profiler_recording *recording,
                                      const struct recording_library *library, const char *path,
                                      uint64_t address, uint64_t lookup)
{
    char name[320];
    const char *slash = strrchr(path, '/');
    const char *module = slash != NULL ? slash + 1 : path;
    if (path[0] == '/')
        elfsyms_start(path, library->build_id, library->build_id_size, lookup, &address);
    if (module[0] == '\0')
        snprintf(name, sizeof name, "0x%llx", (unsigned long long)address);
    else
        snprintf(name, sizeof name, "%.256s+0x%llx", module, (unsigned long long)address);
    return recording_string(recording, name);
}

static void aggregate_native(struct profiler_recording *recording, struct recording_frame *frame)
{
    const struct recording_library *library = NULL;
    if (frame->library < COUNT(recording->libraries, struct recording_library))
        library = &ITEMS(recording->libraries, struct recording_library)[frame->library];
    const char *path = recording_text(recording, library != NULL ? library->path : 0);
    struct profiler_place place = {
        .library = frame->library,
        .module = library != NULL ? library->path : 0,
        .address = frame->value,
    };
    struct profiler_symbol levels[AGGREGATE_LEVELS];
    memset(levels, 0, sizeof levels);
    uint64_t at = frame->value - (frame->head & FORMAT_FRAME_EXACT ? 0 : 1);
    struct profiler_symbolizer *symbolizer = recording->symbolizer;
    int count = 0;
    if (symbolizer != NULL && path[0] == '/')
        count = symbolizer->resolve(symbolizer->context, path, library->build_id, library->build_id_size, at,
                                    levels, AGGREGATE_LEVELS);
    if (count < 1)
        count = 1;
    if (count > AGGREGATE_LEVELS)
        count = AGGREGATE_LEVELS;
    /* What is inlined into plumbing is plumbing. */
    place.hidden = (frame->head & FORMAT_FRAME_EVAL) != 0 || plumbing_is(path, levels[count - 1].function);
    for (int i = count; i-- > 0;) {
        const char *name = levels[i].function;
        frame->nameless = name == NULL || name[0] == '\0';
        place.function = frame->nameless ? aggregate_offset_name(recording, library, path, frame->value, at)
                                         : recording_string(recording, name);
        place.file = levels[i].file == NULL ? 0 : recording_string(recording, levels[i].file);
        place.line = levels[i].line;
        aggregate_place(recording, &place);
    }
}

/* Without their number: a recursion that is cut at many depths is one path. */
static void aggregate_cut(struct profiler_recording *recording)
{
    struct profiler_place place = {
        .kind = 2, .library = UINT32_MAX, .function = recording_string(recording, "... frames cut ...")};
    aggregate_place(recording, &place);
}

static void aggregate_frames(struct profiler_recording *recording)
{
    struct recording_frame *frames = ITEMS(recording->frames, struct recording_frame);
    for (size_t i = 0; i < COUNT(recording->frames, struct recording_frame) && !recording->no_memory; i++) {
        size_t first = COUNT(recording->frame_places, uint32_t);
        uint32_t kind = frames[i].head & FORMAT_FRAME_KIND;
        if (kind == FORMAT_FRAME_PYTHON)
            aggregate_python(recording, &frames[i]);
        else if (kind == FORMAT_FRAME_NATIVE)
            aggregate_native(recording, &frames[i]);
        else
            aggregate_cut(recording);
        frames[i].place_first = (uint32_t)first;
        frames[i].place_count = (uint32_t)(COUNT(recording->frame_places, uint32_t) - first);
    }
}

/* The report's node of `place` on `parent`; node 0 is the root and in no set. */
uint32_t aggregate_node(struct profiler_recording *recording, uint32_t parent, uint32_t place)
{
    uint64_t key = (uint64_t)parent << 32 | place;
    int fresh;
    uint32_t number = intern_add(&recording->node_set, &key, &fresh);
    struct profiler_node node = {.parent = parent, .place = place};
    if (number == INTERN_NONE || (fresh && !buffer_add(&recording->report_nodes, &node, sizeof node))) {
        recording->no_memory = 1;
        return 0;
    }
    return number + 1;
}

static struct profiler_place *aggregate_last_place(const struct profiler_recording *recording,
                                                   const struct recording_frame *frame)
{
    uint32_t at = frame->place_first + frame->place_count - 1;
    return &ITEMS(recording->places, struct profiler_place)[ITEMS(recording->frame_places, uint32_t)[at]];
}

/* Start code without a name (stripped libc, stripped program) is known by its neighbours: what the entry
 * point or clone calls within libc, and the root that calls __libc_start_main. */
static void aggregate_hide_start(struct profiler_recording *recording)
{
    const struct recording_node *nodes = ITEMS(recording->nodes, struct recording_node);
    const struct recording_frame *frames = ITEMS(recording->frames, struct recording_frame);
    for (size_t i = 1; i < COUNT(recording->nodes, struct recording_node); i++) {
        const struct recording_node *parent = &nodes[nodes[i].parent];
        const struct recording_frame *frame = &frames[nodes[i].frame], *below = &frames[parent->frame];
        if (nodes[i].parent == 0 || ((frame->head | below->head) & FORMAT_FRAME_KIND) != FORMAT_FRAME_NATIVE)
            continue;
        struct profiler_place *place = aggregate_last_place(recording, frame);
        struct profiler_place *caller = aggregate_last_place(recording, below);
        const char *name = recording_text(recording, place->function);
        if (frame->nameless && caller->hidden && plumbing_is_libc(recording_text(recording, place->module)) &&
            plumbing_is_start(recording_text(recording, caller->function)))
            place->hidden = 1;
        if (below->nameless && parent->parent == 0 && place->hidden && plumbing_is_start(name))
            caller->hidden = 1;
    }
}

/* The node's place if it is a function of libc without a name, else NULL. */
static struct profiler_place *aggregate_nameless_libc(const struct profiler_recording *recording,
                                                      uint32_t node)
{
    const struct recording_node *nodes = ITEMS(recording->nodes, struct recording_node);
    const struct recording_frame *frame =
        &ITEMS(recording->frames, struct recording_frame)[nodes[node].frame];
    if (node == 0 || !frame->nameless || (frame->head & FORMAT_FRAME_KIND) != FORMAT_FRAME_NATIVE)
        return NULL;
    struct profiler_place *place = aggregate_last_place(recording, frame);
    return plumbing_is_libc(recording_text(recording, place->module)) ? place : NULL;
}

/* The start of a thread in a stripped libc: a nameless function that is only ever a root (clone3), and one
 * that only ever is called by such (start_thread). The tail of a stack that was cut is met elsewhere as well.
 */
static void aggregate_hide_thread_start(struct profiler_recording *recording)
{
    enum { INSIDE = 1, ELSEWHERE = 2 };
    const struct recording_node *nodes = ITEMS(recording->nodes, struct recording_node);
    const struct profiler_place *places = ITEMS(recording->places, struct profiler_place);
    size_t count = COUNT(recording->nodes, struct recording_node);
    unsigned char *seen = calloc(COUNT(recording->places, struct profiler_place) + 1, 1);
    if (seen == NULL) {
        recording->no_memory = 1;
        return;
    }
    for (uint32_t i = 1; i < count; i++) {
        const struct profiler_place *place = aggregate_nameless_libc(recording, i);
        uint32_t parent = nodes[i].parent;
        if (place == NULL || parent == 0)
            continue;
        seen[place - places] |= INSIDE;
        if (nodes[parent].parent != 0 || aggregate_nameless_libc(recording, parent) == NULL)
            seen[place - places] |= ELSEWHERE;
    }
    for (uint32_t i = 1; i < count; i++) {
        struct profiler_place *place = aggregate_nameless_libc(recording, i);
        struct profiler_place *root = aggregate_nameless_libc(recording, nodes[i].parent);
        if (place != NULL && root != NULL && nodes[nodes[i].parent].parent == 0 &&
            (seen[root - places] & INSIDE) == 0 && (seen[place - places] & ELSEWHERE) == 0)
            place->hidden = root->hidden = 1;
    }
    free(seen);
}

static void aggregate_nodes(struct profiler_recording *recording)
{
    struct recording_node *nodes = ITEMS(recording->nodes, struct recording_node);
    const struct recording_frame *frames = ITEMS(recording->frames, struct recording_frame);
    for (size_t i = 1; i < COUNT(recording->nodes, struct recording_node) && !recording->no_memory; i++) {
        const struct recording_frame *frame = &frames[nodes[i].frame];
        uint32_t node = nodes[nodes[i].parent].node;
        for (uint32_t p = 0; p < frame->place_count; p++)
            node = aggregate_node(recording, node,
                                  ITEMS(recording->frame_places, uint32_t)[frame->place_first + p]);
        nodes[i].node = node;
    }
}

static void aggregate_threads(struct profiler_recording *recording)
{
    const struct recording_thread *threads = ITEMS(recording->threads, struct recording_thread);
    for (size_t i = 0; i < COUNT(recording->threads, struct recording_thread); i++) {
        uint32_t number = (uint32_t)COUNT(recording->report_threads, struct profiler_thread);
        if (!buffer_add(&recording->thread_map, &number, sizeof number) ||
            (threads[i].known &&
             !buffer_add(&recording->report_threads, &threads[i].out, sizeof threads[i].out)))
            recording->no_memory = 1;
    }
}

/* From the file's numbers of nodes and threads to the report's, in place: there may be very many samples. */
static void aggregate_samples(struct profiler_recording *recording)
{
    struct profiler_sample *samples = ITEMS(recording->samples, struct profiler_sample);
    const struct recording_node *nodes = ITEMS(recording->nodes, struct recording_node);
    const uint32_t *threads = ITEMS(recording->thread_map, uint32_t);
    for (size_t i = 0; i < COUNT(recording->samples, struct profiler_sample); i++) {
        samples[i].node = nodes[samples[i].node].node;
        samples[i].thread = threads[samples[i].thread];
    }
}

/* Which nodes of the report have a code object without a name in their path. */
void aggregate_unnamed(struct profiler_recording *recording)
{
    const struct profiler_node *nodes = ITEMS(recording->report_nodes, struct profiler_node);
    const struct profiler_place *places = ITEMS(recording->places, struct profiler_place);
    size_t count = COUNT(recording->report_nodes, struct profiler_node);
    unsigned char *unnamed = buffer_new(&recording->node_unnamed, count);
    if (unnamed == NULL)
        recording->no_memory = 1;
    for (size_t i = 1; unnamed != NULL && i < count; i++)
        unnamed[i] = unnamed[nodes[i].parent] ||
                     (places[nodes[i].place].kind == 1 && places[nodes[i].place].file == 0 &&
                      places[nodes[i].place].function == recording->no_name);
}

int aggregate_begin(struct profiler_recording *recording)
{
    recording->no_name = recording_string(recording, "(unnamed code)");
    intern_init(&recording->place_set, AGGREGATE_KEY);
    intern_init(&recording->node_set, 1);
    if (buffer_new(&recording->report_nodes, sizeof(struct profiler_node)) == NULL)
        recording->no_memory = 1;
    return !recording->no_memory;
}

int aggregate_tree(struct profiler_recording *recording)
{
    if (!aggregate_begin(recording))
        return PROFILER_NO_MEMORY;
    aggregate_frames(recording);
    aggregate_nodes(recording);
    aggregate_threads(recording);
    if (recording->no_memory)
        return PROFILER_NO_MEMORY;
    aggregate_hide_start(recording);
    aggregate_hide_thread_start(recording);
    aggregate_samples(recording);
    aggregate_unnamed(recording);
    return recording->no_memory ? PROFILER_NO_MEMORY : select_samples(recording, NULL, 0);
}
