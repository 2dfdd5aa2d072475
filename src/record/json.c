/* SPDX-License-Identifier: MIT */
/* json.c - the documented JSON: one entry per distinct stack and thread, most samples first, frames leaf
 * first. Numbers that were not measured are null and "instructions_note" says why. */
#include "output.h"
#include "visible.h"
#include <string.h>

static void json_frame(struct output *out, const struct profiler_recording *recording,
                       const struct profiler_place *place)
{
    static const char *const kinds[] = {"native", "python", "marker"};
    output_text(out, "{\"addr\": \"");
    output_hex(out, place->address);
    output_text(out, "\", \"symbol\": ");
    output_json(out, recording_text(recording, place->function));
    output_text(out, ", \"kind\": ");
    output_json(out, kinds[place->kind]);
    if (place->file != 0) {
        output_text(out, ", \"file\": ");
        output_json(out, recording_text(recording, place->file));
    }
    if (place->line != 0) {
        output_text(out, ", \"line\": ");
        output_number(out, place->line);
    }
    if (place->column != 0) {
        output_text(out, ", \"column\": ");
        output_number(out, place->column);
        output_text(out, ", \"end_line\": ");
        output_number(out, place->end_line);
        output_text(out, ", \"end_column\": ");
        output_number(out, place->end_column);
    }
    if (place->module != 0) {
        output_text(out, ", \"module\": ");
        output_json(out, recording_text(recording, place->module));
    }
    output_text(out, "}");
}

static void json_stack(struct output *out, const struct profiler_recording *recording,
                       const struct visible *visible, const struct visible_stack *stack)
{
    const struct visible_node *nodes = ITEMS(visible->nodes, struct visible_node);
    const struct profiler_thread *thread =
        &ITEMS(recording->report_threads, struct profiler_thread)[stack->thread];
    output_text(out, "\n{\"count\": ");
    output_number(out, stack->count);
    output_text(out, ", \"instructions\": ");
    if (recording->has_instructions)
        output_number(out, stack->instructions);
    else
        output_text(out, "null");
    output_text(out, ", \"memory_delta\": ");
    output_signed(out, stack->memory);
    output_text(out, ", \"weight\": ");
    output_number(out, stack->weight);
    output_text(out, ", \"thread\": {\"tid\": ");
    output_number(out, thread->tid);
    output_text(out, ", \"name\": ");
    output_json(out, recording_text(recording, thread->name));
    output_text(out, "}, \"pid\": ");
    output_number(out, ITEMS(recording->processes, struct profiler_process)[thread->process].pid);
    output_text(out, ", \"frames\": [");
    for (uint32_t node = stack->node; node != 0; node = nodes[node].parent) {
        if (node != stack->node)
            output_text(out, ", ");
        json_frame(out, recording, &ITEMS(recording->places, struct profiler_place)[nodes[node].place]);
    }
    output_text(out, "]}");
}

/* Fields by key; notes, which may be several, as a list. */
static void json_fields(struct output *out, struct profiler_recording *recording, int notes)
{
    const char *key, *value, *comma = "";
    for (uint32_t i = 0; profiler_recording_field(recording, i, &key, &value); i++) {
        if ((strcmp(key, "note") == 0) != notes)
            continue;
        output_text(out, comma);
        if (!notes) {
            output_json(out, key);
            output_text(out, ": ");
        }
        output_json(out, value);
        comma = ", ";
    }
}

static void json_process(struct output *out, const struct profiler_recording *recording,
                         const struct profiler_process *process)
{
    static const char *const ends[] = {"none", "stop", "exec"};
    output_text(out, "{\"pid\": ");
    output_number(out, process->pid);
    output_text(out, ", \"parent\": ");
    output_number(out, process->parent);
    output_text(out, ", \"name\": ");
    output_json(out, recording_text(recording, process->name));
    output_text(out, ", \"command\": ");
    output_json(out, recording_text(recording, process->command));
    output_text(out, ", \"python\": ");
    output_json(out, recording_text(recording, process->python));
    output_text(out, ", \"start_seconds\": ");
    output_fraction(out, process->start, 9);
    output_text(out, ", \"end_seconds\": ");
    output_fraction(out, process->end, 9);
    output_text(out, ", \"end\": ");
    output_json(out, ends[process->ended]);
    output_text(out, ", \"samples\": ");
    output_number(out, process->count);
    output_text(out, ", \"weight\": ");
    output_number(out, process->weight);
    output_text(out, ", \"lost_weight\": ");
    output_number(out, process->lost_weight);
    output_text(out, "}");
}

static void json_head(struct output *out, struct profiler_recording *recording)
{
    output_text(out, "{\"version\": 1, \"elapsed_seconds\": ");
    output_fraction(out, recording->elapsed, 9);
    output_text(out, ", \"total_samples\": ");
    output_number(out, recording->total_count);
    output_text(out, ", \"total_weight\": ");
    output_number(out, recording->total_weight);
    output_text(out, ", \"lost_samples\": ");
    output_number(out, recording->lost);
    if (!recording->has_instructions) {
        output_text(out, ", \"instructions_note\": ");
        output_json(out, recording_no_instructions(recording));
    }
    output_text(out, ",\n\"recording\": {");
    json_fields(out, recording, 0);
    output_text(out, "},\n\"notes\": [");
    json_fields(out, recording, 1);
    output_text(out, "],\n\"processes\": [");
    const struct profiler_process *processes = ITEMS(recording->processes, struct profiler_process);
    for (size_t i = 0; i < COUNT(recording->processes, struct profiler_process); i++) {
        output_text(out, i == 0 ? "\n" : ",\n");
        json_process(out, recording, &processes[i]);
    }
    output_text(out, "],\n\"stacks\": [");
}

int profiler_recording_json(struct profiler_recording *recording, const char *path)
{
    struct output out;
    struct visible visible;
    int code = output_open(&out, path);
    if (code != 0)
        return code;
    code = visible_build(&visible, recording, 0, 1);
    if (code != 0)
        return output_close(&out, code);
    json_head(&out, recording);
    const struct visible_stack *stacks = ITEMS(visible.stacks, struct visible_stack);
    for (size_t i = 0; i < COUNT(visible.stacks, struct visible_stack); i++) {
        output_text(&out, i == 0 ? "" : ",");
        json_stack(&out, recording, &visible, &stacks[i]);
    }
    output_text(&out, "\n]}\n");
    visible_free(&visible);
    return output_close(&out, 0);
}
