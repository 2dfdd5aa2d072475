/* SPDX-License-Identifier: MIT */
/* summary.c - the documented text summary: totals, then the 20 stacks with most samples. A stack is shown by
 * its leaf and by who called it. */
#include "output.h"
#include "visible.h"
#include <string.h>

enum { SUMMARY_PATHS = 20, SUMMARY_CALLERS = 3 };

/* A name on one line. */
static void summary_name(struct output *out, const char *name)
{
    for (; *name != '\0'; name++)
        fputc((unsigned char)*name < 0x20 || *name == 0x7f ? ' ' : *name, out->file);
}

static void summary_place(struct output *out, const struct profiler_recording *recording,
                          const struct profiler_place *place)
{
    summary_name(out, recording_text(recording, place->function));
    const char *file = output_base(recording_text(recording, place->file));
    const char *module = output_base(recording_text(recording, place->module));
    if (file[0] != '\0') {
        output_text(out, " (");
        summary_name(out, file);
        if (place->line != 0)
            fprintf(out->file, ":%u", place->line);
        if (place->column != 0)
            fprintf(out->file, ":%u", place->column);
        output_text(out, ")");
    } else if (module[0] != '\0') {
        output_text(out, " [");
        summary_name(out, module);
        output_text(out, "]");
    }
}

static void summary_stack(struct output *out, const struct profiler_recording *recording,
                          const struct visible *visible, const struct visible_stack *stack)
{
    const struct visible_node *nodes = ITEMS(visible->nodes, struct visible_node);
    const struct profiler_place *places = ITEMS(recording->places, struct profiler_place);
    uint64_t permille = output_permille(stack->count, recording->total_count);
    fprintf(out->file, "%8llu  %3llu.%llu%%  ", (unsigned long long)stack->count,
            (unsigned long long)(permille / 10), (unsigned long long)(permille % 10));
    if (recording->has_instructions)
        fprintf(out->file, "%14llu  ", (unsigned long long)stack->instructions);
    else
        fprintf(out->file, "%14s  ", "-");
    int shown = 0;
    uint32_t node = stack->node;
    for (; node != 0 && shown <= SUMMARY_CALLERS; node = nodes[node].parent, shown++) {
        output_text(out, shown == 0 ? "" : " < ");
        summary_place(out, recording, &places[nodes[node].place]);
    }
    output_text(out, node != 0 ? " < ...\n" : shown == 0 ? "(no frames)\n" : "\n");
}

static void summary_head(struct output *out, struct profiler_recording *recording,
                         const struct visible *visible)
{
    const char *key, *value;
    output_text(out, "=== CPU PROFILER SUMMARY ===\n\nTotal runtime: ");
    output_fraction(out, recording->elapsed / 1000, 6);
    output_text(out, " seconds\nTotal samples: ");
    output_number(out, recording->total_count);
    output_text(out, "\nUnique stacks: ");
    output_number(out, COUNT(visible->stacks, struct visible_stack));
    output_text(out, "\nCPU time sampled: ");
    output_fraction(out, recording->total_weight / 1000, 6);
    output_text(out, " seconds\nThreads: ");
    output_number(out, COUNT(recording->report_threads, struct profiler_thread));
    output_text(out, "\n");
    if (!recording->has_instructions) {
        output_text(out, "Instructions: ");
        summary_name(out, recording_no_instructions(recording));
        output_text(out, "\n");
    }
    for (uint32_t i = 0; profiler_recording_field(recording, i, &key, &value); i++) {
        if (strcmp(key, "note") == 0) {
            output_text(out, "Note: ");
            summary_name(out, value);
            output_text(out, "\n");
        }
    }
}

static void summary_processes(struct output *out, const struct profiler_recording *recording)
{
    const struct profiler_process *processes = ITEMS(recording->processes, struct profiler_process);
    size_t count = COUNT(recording->processes, struct profiler_process);
    if (count < 2)
        return;
    fprintf(out->file, "\nPROCESSES (%zu)\n%8s  %8s  %8s  %s\n", count, "Samples", "CPU s", "Pid", "Command");
    for (size_t i = 0; i < count; i++) {
        fprintf(out->file, "%8llu  ", (unsigned long long)processes[i].count);
        uint64_t millis = processes[i].weight / 1000000;
        fprintf(out->file, "%4llu.%03llu  %8u  ", (unsigned long long)(millis / 1000),
                (unsigned long long)(millis % 1000), processes[i].pid);
        summary_name(out, recording_text(recording, processes[i].command));
        output_text(out, "\n");
    }
}

int profiler_recording_summary(struct profiler_recording *recording, const char *path)
{
    struct output out;
    struct visible visible;
    int code = output_open(&out, path);
    if (code != 0)
        return code;
    code = visible_build(&visible, recording, 0, 0);
    if (code != 0)
        return output_close(&out, code);
    summary_head(&out, recording, &visible);
    summary_processes(&out, recording);
    fprintf(out.file, "\nHOT PATHS (Top %d)\n%8s  %6s  %14s  %s\n", SUMMARY_PATHS, "Samples", "%",
            "Instructions", "Function");
    const struct visible_stack *stacks = ITEMS(visible.stacks, struct visible_stack);
    for (size_t i = 0; i < COUNT(visible.stacks, struct visible_stack) && i < SUMMARY_PATHS; i++)
        summary_stack(&out, recording, &visible, &stacks[i]);
    visible_free(&visible);
    return output_close(&out, 0);
}
