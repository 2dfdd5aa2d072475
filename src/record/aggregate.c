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

enum { AGGREGATE_LEVELS = 32 };

/* Adds the place to the list of the frame that is being resolved. */
static void aggregate_place(struct profiler_recording *recording, const struct profiler_place *place)
{
    /* The address of a native place is that of its first sight, and no part of what makes it distinct. */
    uint64_t key[5] = {
        place->kind | place->hidden << 8 | (uint64_t)place->line << 32,
        place->function | (uint64_t)place->file << 32,
        place->module | (uint64_t)place->first_line << 32,
        place->library,
        place->kind == 0 ? 0 : place->address,
    };
    int fresh;
    uint32_t number = intern_add(&recording->place_set, key, &fresh);
    if (number == INTERN_NONE || (fresh && !buffer_add(&recording->places, place, sizeof *place)) ||
        !buffer_add(&recording->frame_places, &number, sizeof number))
        recording->no_memory = 1;
}

static void aggregate_python(struct profiler_recording *recording, const struct recording_frame *frame)
{
    const struct recording_code *code = &ITEMS(recording->codes, struct recording_code)[frame->value];
    struct profiler_place place = {.kind = 1, .library = UINT32_MAX, .address = code->key};
    if (code->named) {
        place.function = code->qualname != 0 ? code->qualname : code->name;
        place.file = code->file;
        place.first_line = code->first_line > 0 ? (uint32_t)code->first_line : 0;
        int line =
            frame->unit < 0 || recording->minor < 0
                ? code->first_line
                : py_line(recording->minor, code->lines, code->lines_size, code->first_line, frame->unit);
        place.line = line > 0 ? (uint32_t)line : 0;
    } else {
        place.function = recording_string(recording, "(unnamed code)");
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

static void aggregate_cut(struct profiler_recording *recording, const struct recording_frame *frame)
{
    char name[64];
    snprintf(name, sizeof name, "... %llu frames cut ...", (unsigned long long)frame->value);
    struct profiler_place place = {
        .kind = 2, .library = UINT32_MAX, .function = recording_string(recording, name)};
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
            aggregate_cut(recording, &frames[i]);
        frames[i].place_first = (uint32_t)first;
        frames[i].place_count = (uint32_t)(COUNT(recording->frame_places, uint32_t) - first);
    }
}

/* The report's node of `place` on `parent`; node 0 is the root and in no set. */
static uint32_t aggregate_node(struct profiler_recording *recording, uint32_t parent, uint32_t place)
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

static void aggregate_nodes(struct profiler_recording *recording)
{
    struct recording_node *nodes = ITEMS(recording->nodes, struct recording_node);
    const struct recording_frame *frames = ITEMS(recording->frames, struct recording_frame);
    const struct recording_code *codes = ITEMS(recording->codes, struct recording_code);
    for (size_t i = 1; i < COUNT(recording->nodes, struct recording_node) && !recording->no_memory; i++) {
        const struct recording_frame *frame = &frames[nodes[i].frame];
        uint32_t node = nodes[nodes[i].parent].node;
        for (uint32_t p = 0; p < frame->place_count; p++)
            node = aggregate_node(recording, node,
                                  ITEMS(recording->frame_places, uint32_t)[frame->place_first + p]);
        nodes[i].node = node;
        nodes[i].unnamed =
            nodes[nodes[i].parent].unnamed ||
            ((frame->head & FORMAT_FRAME_KIND) == FORMAT_FRAME_PYTHON && !codes[frame->value].named);
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

int aggregate_tree(struct profiler_recording *recording)
{
    intern_init(&recording->place_set, 5);
    intern_init(&recording->node_set, 1);
    if (buffer_new(&recording->report_nodes, sizeof(struct profiler_node)) == NULL)
        return PROFILER_NO_MEMORY;
    aggregate_frames(recording);
    aggregate_nodes(recording);
    if (!recording->no_memory)
        aggregate_hide_start(recording);
    aggregate_threads(recording);
    return recording->no_memory ? PROFILER_NO_MEMORY : aggregate_select(recording, NULL, 0);
}

/* ---- self numbers ---- */

static int aggregate_selected(const struct profiler_sample *sample, uint32_t tid, const uint64_t *intervals,
                              uint32_t count)
{
    for (uint32_t i = 0; i < count; i++, intervals += 3)
        if (sample->time >= intervals[0] && sample->time < intervals[1] &&
            (intervals[2] == 0 || intervals[2] == tid))
            return 1;
    return count == 0;
}

struct aggregate_span {
    uint64_t from, to;
};

static int aggregate_compare(const void *left, const void *right)
{
    const struct aggregate_span *l = left, *r = right;
    return l->from < r->from ? -1 : l->from > r->from;
}

/* The time that the intervals cover together, within [0, end]. */
static uint64_t aggregate_covered(const uint64_t *intervals, uint32_t count, uint64_t end)
{
    struct aggregate_span *spans = malloc(count * sizeof *spans);
    uint64_t covered = 0, reached = 0;
    if (spans == NULL)
        return end;
    for (uint32_t i = 0; i < count; i++) {
        spans[i].from = intervals[3 * i];
        spans[i].to = intervals[3 * i + 1] < end ? intervals[3 * i + 1] : end;
    }
    qsort(spans, count, sizeof *spans, aggregate_compare);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t from = spans[i].from > reached ? spans[i].from : reached;
        if (spans[i].to > from) {
            covered += spans[i].to - from;
            reached = spans[i].to;
        }
    }
    free(spans);
    return covered;
}

static void aggregate_reset(struct profiler_recording *recording)
{
    struct profiler_node *nodes = ITEMS(recording->report_nodes, struct profiler_node);
    for (size_t i = 0; i < COUNT(recording->report_nodes, struct profiler_node); i++)
        nodes[i] = (struct profiler_node){.parent = nodes[i].parent, .place = nodes[i].place};
    struct profiler_thread *threads = ITEMS(recording->report_threads, struct profiler_thread);
    for (size_t i = 0; i < COUNT(recording->report_threads, struct profiler_thread); i++)
        threads[i].count = threads[i].weight = 0;
    recording->samples.used = recording->selected_extras.used = 0;
    recording->total_count = recording->total_weight = recording->unnamed = 0;
    memset(recording->flag_count, 0, sizeof recording->flag_count);
}

/* Adds one selected sample to everything that counts it. */
static void aggregate_sample(struct profiler_recording *recording, const struct profiler_sample *raw,
                             const struct recording_extra *extra)
{
    const struct recording_node *from = &ITEMS(recording->nodes, struct recording_node)[raw->node];
    struct profiler_node *node = &ITEMS(recording->report_nodes, struct profiler_node)[from->node];
    struct profiler_sample sample = *raw;
    sample.node = from->node;
    sample.thread = ITEMS(recording->thread_map, uint32_t)[raw->thread];
    struct profiler_thread *thread = &ITEMS(recording->report_threads, struct profiler_thread)[sample.thread];
    node->count++;
    node->weight += raw->weight;
    node->instructions += extra != NULL ? extra->instructions : 0;
    node->memory = (int64_t)((uint64_t)node->memory + (uint64_t)(extra != NULL ? extra->memory : 0));
    thread->count++;
    thread->weight += raw->weight;
    recording->total_count++;
    recording->total_weight += raw->weight;
    recording->unnamed += from->unnamed;
    for (unsigned bit = 0; bit < 32; bit++)
        recording->flag_count[bit] += raw->flags >> bit & 1;
    if (extra != NULL) {
        struct recording_extra own = *extra;
        own.sample = COUNT(recording->samples, struct profiler_sample);
        if (!buffer_add(&recording->selected_extras, &own, sizeof own))
            recording->no_memory = 1;
    }
    if (!buffer_add(&recording->samples, &sample, sizeof sample))
        recording->no_memory = 1;
}

int aggregate_select(struct profiler_recording *recording, const uint64_t *intervals, uint32_t count)
{
    const struct profiler_sample *raw = ITEMS(recording->raw_samples, struct profiler_sample);
    const struct recording_extra *extras = ITEMS(recording->extras, struct recording_extra);
    size_t extra = 0, extra_count = COUNT(recording->extras, struct recording_extra);
    const struct recording_thread *threads = ITEMS(recording->threads, struct recording_thread);
    size_t samples = COUNT(recording->raw_samples, struct profiler_sample);
    uint64_t end = recording->complete;
    aggregate_reset(recording);
    for (size_t i = 0; i < samples; i++) {
        const struct recording_extra *own = NULL;
        if (extra < extra_count && extras[extra].sample == i)
            own = &extras[extra++];
        if (own != NULL && own->instructions != 0)
            recording->has_instructions = 1;
        end = raw[i].time > end ? raw[i].time : end;
        if (aggregate_selected(&raw[i], threads[raw[i].thread].out.tid, intervals, count))
            aggregate_sample(recording, &raw[i], own);
    }
    recording->elapsed = count == 0 ? end : aggregate_covered(intervals, count, end);
    return recording->no_memory ? PROFILER_NO_MEMORY : 0;
}
