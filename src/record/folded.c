/* SPDX-License-Identifier: MIT */
/* folded.c - one line per stack, root first, as flamegraph.pl and its kin read them: names joined by ';', a
 * space, the samples. What would break a line or a join is replaced in names. */
#include "output.h"
#include "visible.h"
#include <stdlib.h>

static void folded_name(struct output *out, const char *name)
{
    if (name[0] == '\0')
        output_text(out, "(unknown)");
    for (; *name != '\0'; name++)
        fputc(*name == ';' ? ':' : (unsigned char)*name < 0x20 || *name == 0x7f ? ' ' : *name, out->file);
}

/* Python functions carry their file's name: many modules have a `main`. */
static void folded_place(struct output *out, const struct profiler_recording *recording,
                         const struct profiler_place *place)
{
    folded_name(out, recording_text(recording, place->function));
    const char *file = output_base(recording_text(recording, place->file));
    if (place->kind != 1 || file[0] == '\0')
        return;
    output_text(out, " (");
    folded_name(out, file);
    output_text(out, ")");
}

static int folded_stack(struct output *out, const struct profiler_recording *recording,
                        const struct visible *visible, const struct visible_stack *stack, struct buffer *path)
{
    const struct visible_node *nodes = ITEMS(visible->nodes, struct visible_node);
    const struct profiler_place *places = ITEMS(recording->places, struct profiler_place);
    path->used = 0;
    for (uint32_t node = stack->node; node != 0; node = nodes[node].parent)
        if (!buffer_add(path, &node, sizeof node))
            return PROFILER_NO_MEMORY;
    const uint32_t *items = ITEMS(*path, uint32_t);
    for (size_t i = COUNT(*path, uint32_t); i-- > 0;) {
        folded_place(out, recording, &places[nodes[items[i]].place]);
        output_text(out, i > 0 ? ";" : "");
    }
    if (stack->node == 0)
        output_text(out, "(no frames)");
    output_text(out, " ");
    output_number(out, stack->count);
    output_text(out, "\n");
    return 0;
}

int profiler_recording_folded(struct profiler_recording *recording, const char *path, int with_hidden)
{
    struct output out;
    struct visible visible;
    struct buffer nodes = {0};
    int code = output_open(&out, path);
    if (code != 0)
        return code;
    code = visible_build(&visible, recording, with_hidden, 0);
    if (code != 0)
        return output_close(&out, code);
    const struct visible_stack *stacks = ITEMS(visible.stacks, struct visible_stack);
    for (size_t i = 0; i < COUNT(visible.stacks, struct visible_stack) && code == 0; i++)
        code = folded_stack(&out, recording, &visible, &stacks[i], &nodes);
    buffer_free(&nodes);
    visible_free(&visible);
    return output_close(&out, code);
}
