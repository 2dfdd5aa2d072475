/* SPDX-License-Identifier: MIT */
/* visible.h - the stacks that a report shows: the selected samples' tree without the hidden places. */
#ifndef PLAIT_VISIBLE_H
#define PLAIT_VISIBLE_H

#include "recording.h"

enum { VISIBLE_ANY_THREAD = UINT32_MAX };

struct visible_node { /* node 0 is the root; parents have lower numbers */
    uint32_t parent, place;
};
struct visible_stack { /* all samples that end at one node (of one thread, where asked) */
    uint32_t node, thread;
    uint64_t count, weight, instructions;
    int64_t memory;
};
struct visible {
    struct buffer nodes;  /* struct visible_node */
    struct buffer stacks; /* struct visible_stack, most samples first */
    struct intern set, stack_set;
};

/* Builds it; 0 or PROFILER_NO_MEMORY. A stack of hidden places alone keeps its leaf, so that every sample
 * stays in the report. */
int visible_build(struct visible *visible, const struct profiler_recording *recording, int with_hidden,
                  int by_thread);
void visible_free(struct visible *visible);

#endif
