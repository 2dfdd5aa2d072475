/* SPDX-License-Identifier: MIT */
/* visible.c - one pass over the tree maps each node to the nearest visible one, one over the samples sums. */
#include "visible.h"
#include <stdlib.h>
#include <string.h>

static uint32_t visible_node_of(struct visible *visible, uint32_t parent, uint32_t place)
{
    uint64_t key = (uint64_t)parent << 32 | place;
    int fresh;
    uint32_t number = intern_add(&visible->set, &key, &fresh);
    struct visible_node node = {parent, place};
    if (number == INTERN_NONE || (fresh && !buffer_add(&visible->nodes, &node, sizeof node)))
        return INTERN_NONE;
    return number + 1;
}

/* Fills `map`: the visible node of each node of the report's tree. */
static int visible_map(struct visible *visible, const struct profiler_recording *recording, int with_hidden,
                       uint32_t *map)
{
    const struct profiler_node *nodes = ITEMS(recording->report_nodes, struct profiler_node);
    const struct profiler_place *places = ITEMS(recording->places, struct profiler_place);
    map[0] = 0;
    for (size_t i = 1; i < COUNT(recording->report_nodes, struct profiler_node); i++) {
        map[i] = map[nodes[i].parent];
        if (with_hidden || !places[nodes[i].place].hidden)
            map[i] = visible_node_of(visible, map[i], nodes[i].place);
        if (map[i] == INTERN_NONE)
            return 0;
    }
    return 1;
}

static int visible_add(struct visible *visible, const struct visible_stack *sample)
{
    uint64_t key = (uint64_t)sample->node << 32 | sample->thread;
    int fresh;
    uint32_t number = intern_add(&visible->stack_set, &key, &fresh);
    if (number == INTERN_NONE)
        return 0;
    if (fresh)
        return buffer_add(&visible->stacks, sample, sizeof *sample);
    struct visible_stack *stack = &ITEMS(visible->stacks, struct visible_stack)[number];
    stack->count += sample->count;
    stack->weight += sample->weight;
    stack->instructions += sample->instructions;
    stack->memory = (int64_t)((uint64_t)stack->memory + (uint64_t)sample->memory);
    return 1;
}

/* The visible node where a sample at `node` counts. */
static uint32_t visible_leaf(struct visible *visible, const struct profiler_recording *recording,
                             const uint32_t *map, uint32_t node)
{
    if (map[node] != 0 || node == 0)
        return map[node];
    return visible_node_of(visible, 0, ITEMS(recording->report_nodes, struct profiler_node)[node].place);
}

/* By node: the nodes hold the sums already. */
static int visible_sum_nodes(struct visible *visible, const struct profiler_recording *recording,
                             const uint32_t *map)
{
    const struct profiler_node *nodes = ITEMS(recording->report_nodes, struct profiler_node);
    for (size_t i = 0; i < COUNT(recording->report_nodes, struct profiler_node); i++) {
        if (nodes[i].count == 0)
            continue;
        struct visible_stack sum = {
            .node = visible_leaf(visible, recording, map, (uint32_t)i),
            .thread = VISIBLE_ANY_THREAD,
            .count = nodes[i].count,
            .weight = nodes[i].weight,
            .instructions = nodes[i].instructions,
            .memory = nodes[i].memory,
        };
        if (sum.node == INTERN_NONE || !visible_add(visible, &sum))
            return 0;
    }
    return 1;
}

/* By node and thread: from the samples, and from what few of them have. */
static int visible_sum_samples(struct visible *visible, const struct profiler_recording *recording,
                               const uint32_t *map)
{
    const struct profiler_sample *samples = ITEMS(*select_shown(recording), struct profiler_sample);
    const struct recording_extra *extras = ITEMS(*select_shown_extras(recording), struct recording_extra);
    size_t extra = 0, extra_count = COUNT(*select_shown_extras(recording), struct recording_extra);
    for (size_t i = 0; i < COUNT(*select_shown(recording), struct profiler_sample); i++) {
        struct visible_stack sum = {
            .node = visible_leaf(visible, recording, map, samples[i].node),
            .thread = samples[i].thread,
            .count = 1,
            .weight = samples[i].weight,
        };
        if (extra < extra_count && extras[extra].sample == i) {
            sum.instructions = extras[extra].instructions;
            sum.memory = extras[extra++].memory;
        }
        if (sum.node == INTERN_NONE || !visible_add(visible, &sum))
            return 0;
    }
    return 1;
}

static int visible_compare(const void *left, const void *right)
{
    const struct visible_stack *l = left, *r = right;
    if (l->count != r->count)
        return l->count > r->count ? -1 : 1;
    if (l->node != r->node)
        return l->node < r->node ? -1 : 1;
    return l->thread < r->thread ? -1 : l->thread > r->thread;
}

int visible_build(struct visible *visible, const struct profiler_recording *recording, int with_hidden,
                  int by_thread)
{
    memset(visible, 0, sizeof *visible);
    intern_init(&visible->set, 1);
    intern_init(&visible->stack_set, 1);
    size_t nodes = COUNT(recording->report_nodes, struct profiler_node);
    uint32_t *map = malloc(nodes * sizeof *map);
    int fits = map != NULL && buffer_new(&visible->nodes, sizeof(struct visible_node)) != NULL &&
               visible_map(visible, recording, with_hidden, map);
    if (fits)
        fits = by_thread ? visible_sum_samples(visible, recording, map)
                         : visible_sum_nodes(visible, recording, map);
    free(map);
    if (!fits) {
        visible_free(visible);
        return PROFILER_NO_MEMORY;
    }
    if (visible->stacks.used != 0)
        qsort(visible->stacks.bytes, COUNT(visible->stacks, struct visible_stack),
              sizeof(struct visible_stack), visible_compare);
    return 0;
}

void visible_free(struct visible *visible)
{
    buffer_free(&visible->nodes);
    buffer_free(&visible->stacks);
    intern_free(&visible->set);
    intern_free(&visible->stack_set);
}
