/* SPDX-License-Identifier: MIT */
/* braid.c - see braid.h. Runs in the handler: no system call, no memory but the caller's. */
#include "braid.h"

#include <stddef.h>

struct weave {
    const struct py_stack *python;
    struct frame *out;
    uint32_t count, capacity;
    uint32_t segment; /* first one not yet placed */
};

static void put_native(struct weave *weave, const struct native_frame *native, int eval)
{
    if (weave->count >= weave->capacity)
        return;
    struct frame *frame = &weave->out[weave->count++];
    frame->id = native->pc;
    frame->unit = 0;
    frame->kind = FRAME_NATIVE;
    frame->flags = (uint8_t)((native->flags & FRAME_EXACT_PC) | (eval ? FRAME_EVAL : 0));
    frame->zero = 0;
}

static void put_python(struct weave *weave, const struct py_frame *python)
{
    if (weave->count >= weave->capacity)
        return;
    struct frame *frame = &weave->out[weave->count++];
    frame->id = python->key;
    frame->unit = python->unit;
    frame->kind = FRAME_PYTHON;
    frame->flags = 0;
    frame->zero = 0;
}

static void put_segment(struct weave *weave)
{
    const struct py_segment *segment = &weave->python->segments[weave->segment++];
    for (uint32_t i = 0; i < segment->count; i++)
        put_python(weave, &weave->python->frames[segment->first + i]);
}

static void put_rest(struct weave *weave)
{
    while (weave->segment < weave->python->segment_count)
        put_segment(weave);
}

/* A signal's trampoline: the frame below it was interrupted, and the two may lie on different stacks. */
static int is_trampoline(const struct native_stack *native, uint32_t i)
{
    return i + 1 < native->count && (native->frames[i + 1].flags & FRAME_EXACT_PC) != 0;
}

/* 3.10: the innermost frame may belong to an eval activation that has not set its marker yet, or has taken it
 * away: the innermost eval frame, which lies inside the next marker's. */
static int place_unmarked(struct weave *weave, const struct py_runtime *runtime,
                          const struct native_frame *native)
{
    const struct py_stack *python = weave->python;
    if (weave->segment != 0 || python->segment_count == 0 || python->segments[0].marker != 0 ||
        !py_in_eval(runtime, native->pc))
        return 0;
    put_segment(weave);
    return 1;
}

static uint32_t by_marker(struct weave *weave, const struct native_stack *native,
                          const struct py_runtime *runtime, uint32_t *flags)
{
    const struct py_stack *python = weave->python;
    int disagree = 0;
    for (uint32_t i = 0; i < native->count; i++) {
        uint64_t low = native->frames[i].sp, high = native->frames[i + 1].sp;
        int placed = 0;
        if (!is_trampoline(native, i)) {
            uint32_t next = weave->segment;
            if (next == 0 && python->segment_count > 1 && python->segments[0].marker == 0)
                next = 1;
            if (next < python->segment_count) {
                uint64_t marker = python->segments[next].marker;
                if (marker >= low && marker < high) {
                    while (weave->segment <= next)
                        put_segment(weave);
                    placed = 1;
                }
            }
            if (!placed)
                placed = place_unmarked(weave, runtime, &native->frames[i]);
            if (weave->segment < python->segment_count) {
                uint64_t marker = python->segments[weave->segment].marker;
                disagree |= marker != 0 && marker >= low && marker < high;
            }
        }
        put_native(weave, &native->frames[i], placed);
    }
    for (uint32_t s = weave->segment; s < python->segment_count && native->end == UNWIND_COMPLETE; s++)
        disagree |= python->segments[s].count > 0;
    if (disagree) {
        weave->count = weave->segment = 0;
        *flags |= SAMPLE_PYTHON_ONLY;
    }
    put_rest(weave);
    return weave->count;
}

/* 3.8 and 3.9: every Python frame has one eval activation; the innermost activations may have none (yet, or
 * any more). With the outer end of the native stack missing the pairing starts from the leaf. */
static uint32_t by_count(struct weave *weave, const struct native_stack *native,
                         const struct py_runtime *runtime, uint32_t *flags)
{
    const struct py_stack *python = weave->python;
    uint32_t evals = 0, next = 0;
    for (uint32_t i = 0; i < native->count; i++)
        evals += (uint32_t)py_in_eval(runtime, native->frames[i].pc);
    int complete = native->end == UNWIND_COMPLETE && !python->cut;
    if (complete && evals < python->frame_count) {
        *flags |= SAMPLE_PYTHON_ONLY;
        for (; next < python->frame_count; next++)
            put_python(weave, &python->frames[next]);
        return weave->count;
    }
    uint32_t spare = complete ? evals - python->frame_count : 0;
    for (uint32_t i = 0; i < native->count; i++) {
        int eval = py_in_eval(runtime, native->frames[i].pc);
        int placed = 0;
        if (eval && spare > 0)
            spare--;
        else if (eval && next < python->frame_count) {
            put_python(weave, &python->frames[next++]);
            placed = 1;
        }
        put_native(weave, &native->frames[i], placed);
    }
    for (; next < python->frame_count; next++)
        put_python(weave, &python->frames[next]);
    return weave->count;
}

uint32_t braid(const struct native_stack *native, const struct py_runtime *runtime,
               const struct py_stack *python, struct frame *out, uint32_t capacity, uint32_t *flags)
{
    static const struct py_stack none;
    struct weave weave = {python != NULL ? python : &none, out, 0, capacity, 0};
    if (python == NULL || python->minor >= 10)
        return by_marker(&weave, native, runtime, flags);
    return by_count(&weave, native, runtime, flags);
}
