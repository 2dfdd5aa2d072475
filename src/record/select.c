/* SPDX-License-Identifier: MIT */
/* select.c - which samples count, and the self numbers that follow from them. */
#include "recording.h"
#include <stdlib.h>
#include <string.h>

/* What is selected: spans by thread and start, not overlapping within a thread. A profile of a generator has
 * a span for each time it ran, so samples search them. */
struct span {
    uint64_t tid, from, to; /* tid 0: every thread */
};
struct selection {
    struct span *spans; /* NULL: everything */
    size_t count;
    uint64_t covered; /* time that they cover together */
};

static int select_compare(const void *left, const void *right)
{
    const struct span *l = left, *r = right;
    if (l->tid != r->tid)
        return l->tid < r->tid ? -1 : 1;
    return l->from < r->from ? -1 : l->from > r->from;
}

/* Sorts the spans and joins those of one thread that overlap: how many are left. */
static size_t select_join(struct span *spans, size_t count)
{
    size_t kept = 0;
    qsort(spans, count, sizeof *spans, select_compare);
    for (size_t i = 0; i < count; i++) {
        struct span *last = kept != 0 ? &spans[kept - 1] : NULL;
        if (last == NULL || last->tid != spans[i].tid || spans[i].from > last->to)
            spans[kept++] = spans[i];
        else if (spans[i].to > last->to)
            last->to = spans[i].to;
    }
    return kept;
}

/* Takes the caller's triples; `end` is the recording's. 1, or 0 without memory. */
static int select_spans(struct selection *selection, const uint64_t *intervals, uint32_t count, uint64_t end)
{
    struct span *all = malloc(count * sizeof *all);
    selection->spans = malloc(count * sizeof *all);
    for (uint32_t i = 0; all != NULL && selection->spans != NULL && i < count; i++) {
        uint64_t from = intervals[3 * i], to = intervals[3 * i + 1];
        selection->spans[i] = (struct span){intervals[3 * i + 2], from, to > from ? to : from};
        from = from < end ? from : end;
        to = to < end ? to : end;
        all[i] = (struct span){0, from, to > from ? to : from};
    }
    int fits = all != NULL && selection->spans != NULL;
    size_t joined = fits ? select_join(all, count) : 0;
    for (size_t i = 0; i < joined; i++)
        selection->covered += all[i].to - all[i].from;
    selection->count = fits ? select_join(selection->spans, count) : 0;
    free(all);
    return fits;
}

static int select_within(const struct selection *selection, uint64_t tid, uint64_t time)
{
    size_t low = 0, high = selection->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct span *span = &selection->spans[middle];
        if (span->tid < tid || (span->tid == tid && span->from <= time))
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && selection->spans[low - 1].tid == tid && time < selection->spans[low - 1].to;
}

static int select_selected(const struct selection *selection, uint32_t tid, uint64_t time)
{
    return selection->spans == NULL || select_within(selection, 0, time) ||
           (tid != 0 && select_within(selection, tid, time));
}

static void select_reset(struct profiler_recording *recording)
{
    struct profiler_node *nodes = ITEMS(recording->report_nodes, struct profiler_node);
    for (size_t i = 0; i < COUNT(recording->report_nodes, struct profiler_node); i++)
        nodes[i] = (struct profiler_node){.parent = nodes[i].parent, .place = nodes[i].place};
    struct profiler_thread *threads = ITEMS(recording->report_threads, struct profiler_thread);
    for (size_t i = 0; i < COUNT(recording->report_threads, struct profiler_thread); i++)
        threads[i].count = threads[i].weight = 0;
    struct profiler_process *processes = ITEMS(recording->processes, struct profiler_process);
    for (size_t i = 0; i < COUNT(recording->processes, struct profiler_process); i++)
        processes[i].count = processes[i].weight = 0;
    recording->selected_samples.used = recording->selected_extras.used = 0;
    recording->total_count = recording->total_weight = recording->unnamed = 0;
    memset(recording->flag_count, 0, sizeof recording->flag_count);
}

/* Adds one selected sample to everything that counts it. */
static void select_count(struct profiler_recording *recording, const struct profiler_sample *sample,
                         const struct recording_extra *extra)
{
    struct profiler_node *node = &ITEMS(recording->report_nodes, struct profiler_node)[sample->node];
    struct profiler_thread *thread =
        &ITEMS(recording->report_threads, struct profiler_thread)[sample->thread];
    node->count++;
    node->weight += sample->weight;
    node->instructions += extra != NULL ? extra->instructions : 0;
    node->memory = (int64_t)((uint64_t)node->memory + (uint64_t)(extra != NULL ? extra->memory : 0));
    thread->count++;
    thread->weight += sample->weight;
    recording->total_count++;
    recording->total_weight += sample->weight;
    recording->unnamed += recording->node_unnamed.bytes[sample->node];
    for (unsigned bit = 0; bit < 32; bit++)
        recording->flag_count[bit] += sample->flags >> bit & 1;
}

/* Copies a sample of a real selection: what the table shows then. */
static void select_keep(struct profiler_recording *recording, const struct profiler_sample *sample,
                        const struct recording_extra *extra)
{
    if (extra != NULL) {
        struct recording_extra own = *extra;
        own.sample = COUNT(recording->selected_samples, struct profiler_sample);
        if (!buffer_add(&recording->selected_extras, &own, sizeof own))
            recording->no_memory = 1;
    }
    if (!buffer_add(&recording->selected_samples, sample, sizeof *sample))
        recording->no_memory = 1;
}

static void select_sum_processes(struct profiler_recording *recording)
{
    const struct profiler_thread *threads = ITEMS(recording->report_threads, struct profiler_thread);
    struct profiler_process *processes = ITEMS(recording->processes, struct profiler_process);
    for (size_t i = 0; i < COUNT(recording->report_threads, struct profiler_thread); i++) {
        processes[threads[i].process].count += threads[i].count;
        processes[threads[i].process].weight += threads[i].weight;
    }
}

static uint64_t select_end(const struct profiler_recording *recording)
{
    const struct profiler_sample *samples = ITEMS(recording->samples, struct profiler_sample);
    uint64_t end = recording->complete;
    for (size_t i = 0; i < COUNT(recording->samples, struct profiler_sample); i++)
        end = samples[i].time > end ? samples[i].time : end;
    return end;
}

int select_samples(struct profiler_recording *recording, const uint64_t *intervals, uint32_t count)
{
    const struct profiler_sample *samples = ITEMS(recording->samples, struct profiler_sample);
    const struct recording_extra *extras = ITEMS(recording->extras, struct recording_extra);
    const struct profiler_thread *threads = ITEMS(recording->report_threads, struct profiler_thread);
    size_t extra = 0, extra_count = COUNT(recording->extras, struct recording_extra);
    struct selection selection = {NULL, 0, 0};
    uint64_t end = select_end(recording);
    if (count != 0 && !select_spans(&selection, intervals, count, end)) {
        free(selection.spans);
        return PROFILER_NO_MEMORY;
    }
    select_reset(recording);
    for (size_t i = 0; i < COUNT(recording->samples, struct profiler_sample); i++) {
        const struct recording_extra *own = NULL;
        if (extra < extra_count && extras[extra].sample == i)
            own = &extras[extra++];
        if (own != NULL && own->instructions != 0)
            recording->has_instructions = 1;
        if (!select_selected(&selection, threads[samples[i].thread].tid, samples[i].time))
            continue;
        select_count(recording, &samples[i], own);
        if (count != 0)
            select_keep(recording, &samples[i], own);
    }
    select_sum_processes(recording);
    recording->selected = count != 0;
    recording->elapsed = count == 0 ? end : selection.covered;
    free(selection.spans);
    return recording->no_memory ? PROFILER_NO_MEMORY : 0;
}

const struct buffer *select_shown(const struct profiler_recording *recording)
{
    return recording->selected ? &recording->selected_samples : &recording->samples;
}

const struct buffer *select_shown_extras(const struct profiler_recording *recording)
{
    return recording->selected ? &recording->selected_extras : &recording->extras;
}
