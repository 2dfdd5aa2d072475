/* SPDX-License-Identifier: MIT */
/* merge.c - the recordings of a process tree as one: each is opened and aggregated by itself, then its
 * places, nodes, threads and samples go into a common tree. What all processes share (libraries, Python
 * functions) is one place, so the same stack in two processes is one node; threads keep the process that they
 * belong to. Times count from the earliest start: the monotonic clock is the machine's. */
#include "recording.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct merge_maps { /* from the numbers of the one to those of the whole */
    uint32_t *strings, *places, *nodes;
};

static int merge_make_maps(struct merge_maps *maps, const struct profiler_recording *from)
{
    maps->strings = calloc(COUNT(from->strings, const char *) + 1, sizeof(uint32_t));
    maps->places = calloc(COUNT(from->places, struct profiler_place) + 1, sizeof(uint32_t));
    maps->nodes = calloc(COUNT(from->report_nodes, struct profiler_node) + 1, sizeof(uint32_t));
    return maps->strings != NULL && maps->places != NULL && maps->nodes != NULL;
}

static void merge_free_maps(struct merge_maps *maps)
{
    free(maps->strings);
    free(maps->places);
    free(maps->nodes);
}

static void merge_tree(struct profiler_recording *whole, const struct profiler_recording *from,
                       struct merge_maps *maps)
{
    for (uint32_t i = 0; i < COUNT(from->strings, const char *); i++)
        maps->strings[i] = recording_string(whole, recording_text(from, i));
    for (size_t i = 0; i < COUNT(from->places, struct profiler_place); i++) {
        struct profiler_place place = ITEMS(from->places, struct profiler_place)[i];
        int named = place.kind != 1 || place.file != 0 || place.function != from->no_name;
        place.function = maps->strings[place.function];
        place.file = maps->strings[place.file];
        place.module = maps->strings[place.module];
        if (place.kind == 0) /* a library has another number in each process: its path is what they share */
            place.library = place.module;
        maps->places[i] = aggregate_place_number(whole, &place, named ? 0 : place.address);
    }
    const struct profiler_node *nodes = ITEMS(from->report_nodes, struct profiler_node);
    maps->nodes[0] = 0;
    for (size_t i = 1; i < COUNT(from->report_nodes, struct profiler_node) && !whole->no_memory; i++)
        maps->nodes[i] = aggregate_node(whole, maps->nodes[nodes[i].parent], maps->places[nodes[i].place]);
}

static void merge_samples(struct profiler_recording *whole, const struct profiler_recording *from,
                          const struct merge_maps *maps, uint64_t later)
{
    uint32_t threads = (uint32_t)COUNT(whole->report_threads, struct profiler_thread);
    uint32_t process = (uint32_t)COUNT(whole->processes, struct profiler_process);
    uint64_t before = COUNT(whole->samples, struct profiler_sample);
    for (size_t i = 0; i < COUNT(from->report_threads, struct profiler_thread); i++) {
        struct profiler_thread thread = ITEMS(from->report_threads, struct profiler_thread)[i];
        thread.name = maps->strings[thread.name];
        thread.process = process;
        whole->no_memory |= !buffer_add(&whole->report_threads, &thread, sizeof thread);
    }
    for (size_t i = 0; i < COUNT(from->samples, struct profiler_sample) && !whole->no_memory; i++) {
        struct profiler_sample sample = ITEMS(from->samples, struct profiler_sample)[i];
        sample.time += later;
        sample.node = maps->nodes[sample.node];
        sample.wait_call = maps->strings[sample.wait_call];
        sample.wait_kind = maps->strings[sample.wait_kind];
        sample.thread += threads;
        whole->no_memory |= !buffer_add(&whole->samples, &sample, sizeof sample);
    }
    for (size_t i = 0; i < COUNT(from->extras, struct recording_extra) && !whole->no_memory; i++) {
        struct recording_extra extra = ITEMS(from->extras, struct recording_extra)[i];
        extra.sample += before;
        whole->no_memory |= !buffer_add(&whole->extras, &extra, sizeof extra);
    }
}

/* Counters and losses of the same name add up. */
static void merge_sums(struct profiler_recording *whole, const struct profiler_recording *from,
                       const struct merge_maps *maps)
{
    for (size_t i = 0; i < COUNT(from->counters, struct recording_counter); i++) {
        struct recording_counter counter = ITEMS(from->counters, struct recording_counter)[i];
        counter.name = maps->strings[counter.name];
        struct recording_counter *known = ITEMS(whole->counters, struct recording_counter);
        size_t at = 0, count = COUNT(whole->counters, struct recording_counter);
        while (at < count && known[at].name != counter.name)
            at++;
        if (at < count)
            known[at].value += counter.value;
        else
            whole->no_memory |= !buffer_add(&whole->counters, &counter, sizeof counter);
    }
    for (size_t i = 0; i < COUNT(from->losses, struct recording_lost); i++) {
        struct recording_lost lost = ITEMS(from->losses, struct recording_lost)[i];
        lost.cause = maps->strings[lost.cause];
        struct recording_lost *known = ITEMS(whole->losses, struct recording_lost);
        size_t at = 0, count = COUNT(whole->losses, struct recording_lost);
        while (at < count && known[at].cause != lost.cause)
            at++;
        if (at < count) {
            known[at].ticks += lost.ticks;
            known[at].weight += lost.weight;
        } else {
            whole->no_memory |= !buffer_add(&whole->losses, &lost, sizeof lost);
        }
    }
    whole->lost += from->lost;
    whole->lost_weight += from->lost_weight;
}

static void merge_process(struct profiler_recording *whole, const struct profiler_recording *from,
                          const struct merge_maps *maps, uint64_t later)
{
    struct profiler_process process = ITEMS(from->processes, struct profiler_process)[0];
    process.name = maps->strings[process.name];
    process.command = maps->strings[process.command];
    process.python = maps->strings[process.python];
    process.start += later;
    process.end += later;
    whole->no_memory |= !buffer_add(&whole->processes, &process, sizeof process);
    if (process.end > whole->complete)
        whole->complete = process.end;
    whole->clean = whole->clean && process.ended != PROFILER_ENDLESS;
}

/* The recordings' own remarks: one that several make is said once. Those on a recording's end are made anew
 * for all, the symbolizer's and those on losses too. */
static void merge_notes(struct profiler_recording *whole, const struct profiler_recording *from,
                        const struct merge_maps *maps)
{
    const struct recording_pair *fields = ITEMS(from->fields, struct recording_pair);
    for (size_t i = 0; i < COUNT(from->fields, struct recording_pair); i++) {
        struct recording_pair pair = {maps->strings[fields[i].key], maps->strings[fields[i].value]};
        int note = strcmp(recording_text(from, fields[i].key), "note") == 0, known = 0;
        const struct recording_pair *all = ITEMS(whole->fields, struct recording_pair);
        for (size_t k = 0; k < COUNT(whole->fields, struct recording_pair); k++)
            known |= all[k].key == pair.key && all[k].value == pair.value;
        /* Of the other fields those of the first process hold. */
        if ((note && !known) || COUNT(whole->processes, struct profiler_process) == 0)
            whole->no_memory |= !buffer_add(&whole->fields, &pair, sizeof pair);
    }
}

static int merge_one(struct profiler_recording *whole, const struct profiler_recording *from)
{
    struct merge_maps maps = {NULL, NULL, NULL};
    uint64_t later = from->start - whole->start;
    if (!merge_make_maps(&maps, from)) {
        whole->no_memory = 1;
    } else {
        merge_tree(whole, from, &maps);
        merge_notes(whole, from, &maps);
        if (!whole->no_memory)
            merge_samples(whole, from, &maps, later);
        merge_sums(whole, from, &maps);
        merge_process(whole, from, &maps, later);
    }
    merge_free_maps(&maps);
    return !whole->no_memory;
}

/* Which of them have no end, a line. */
static void merge_note_ends(struct profiler_recording *whole)
{
    enum { SHOWN = 8 };
    const struct profiler_process *processes = ITEMS(whole->processes, struct profiler_process);
    size_t count = COUNT(whole->processes, struct profiler_process), endless = 0, length = 0;
    char note[256], list[128] = "";
    for (size_t i = 0; i < count; i++) {
        if (processes[i].ended != PROFILER_ENDLESS || ++endless > SHOWN)
            continue;
        length += (size_t)snprintf(list + length, sizeof list - length, " %u", processes[i].pid);
    }
    if (endless == 0)
        return;
    snprintf(note, sizeof note,
             "%u of %u processes have no end in their recording (killed, or still running):%s%s",
             (unsigned)endless, (unsigned)count, list, endless > SHOWN ? " ..." : "");
    profiler_recording_note(whole, note);
}

static void merge_all(struct profiler_recording *whole, struct profiler_recording *const *parts,
                      uint32_t count)
{
    whole->symbolizer = parts[0]->symbolizer;
    whole->columns = parts[0]->columns;
    whole->clean = 1;
    whole->minor = -1;
    whole->start = UINT64_MAX;
    for (uint32_t i = 0; i < count; i++) {
        if (parts[i]->start < whole->start) {
            whole->start = parts[i]->start;
            whole->wall = parts[i]->wall;
        }
    }
    recording_begin(whole);
    int fits = aggregate_begin(whole);
    for (uint32_t i = 0; i < count && fits; i++)
        fits = merge_one(whole, parts[i]);
    if (!fits)
        return;
    aggregate_unnamed(whole);
    if (select_samples(whole, NULL, 0) != 0)
        whole->no_memory = 1;
    recording_show_all(whole);
    merge_note_ends(whole);
}

struct profiler_recording *profiler_recording_merge(struct profiler_recording *const *parts, uint32_t count)
{
    struct error error;
    struct profiler_recording *whole = calloc(1, sizeof *whole);
    if (whole != NULL && count != 0) {
        merge_all(whole, parts, count);
        if (!whole->no_memory)
            return whole;
    }
    profiler_recording_close(whole);
    error_set(&error, PROFILER_NO_MEMORY, 0, "no memory for the report on %d recordings", (int)count);
    error_publish(&error);
    return NULL;
}
