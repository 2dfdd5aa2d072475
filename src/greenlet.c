/* SPDX-License-Identifier: MIT */
/* greenlet.c - see greenlet.h. Runs in the handler, in processes that have the module loaded. */
#include "greenlet.h"

static int is_switching(const struct libs *libs, const struct native_frame *frame)
{
    const struct library *library = libs_find(libs, frame->pc - !(frame->flags & FRAME_EXACT_PC));
    return library != NULL && library->switches;
}

static enum greenlet end_at(struct native_stack *native, uint32_t i, enum greenlet result)
{
    native->count = i + 1;
    native->end = UNWIND_COMPLETE;
    return result;
}

/* What must be passed, going outwards, until all Python frames lie inside. */
struct passing {
    uint64_t marker; /* the outermost entry object; 0 = there is none, and activations are counted */
    uint32_t evals;
};

static struct passing passing_of(const struct py_stack *python)
{
    struct passing all = {0, 0};
    if (python->segment_count > 0)
        all.marker = python->segments[python->segment_count - 1].marker;
    if (all.marker == 0)
        all.evals = python->minor < 10 ? python->frame_count : python->segment_count;
    return all;
}

/* With the module's frame `inner` innermost: does the activation that called it run the innermost Python
 * frames? Up to 3.9 nothing tells. */
static int is_sound(const struct py_runtime *runtime, const struct py_stack *python,
                    const struct native_stack *native, uint32_t inner)
{
    if (python->minor < 10 || python->segment_count == 0)
        return 0;
    uint32_t i = inner;
    while (i < native->count && !py_in_eval(runtime, native->frames[i].pc))
        i++;
    uint64_t marker = python->segments[0].marker;
    return i < native->count && marker >= native->frames[i].sp && marker < native->frames[i + 1].sp;
}

enum greenlet greenlet_trim(const struct libs *libs, const struct py_runtime *runtime,
                            const struct py_stack *python, struct native_stack *native)
{
    enum greenlet result = GREENLET_NONE;
    uint32_t inner = native->count, evals = 0;
    if (!libs->switches)
        return GREENLET_NONE;
    struct passing left = passing_of(python);
    for (uint32_t i = 0; i < native->count && result == GREENLET_NONE; i++) {
        const struct native_frame *frame = &native->frames[i];
        int switches = is_switching(libs, frame), eval = py_in_eval(runtime, frame->pc);
        if (switches && evals == 0 && inner == native->count)
            inner = i;
        if (switches && frame->sp > left.marker && left.evals == 0)
            result = end_at(native, i, GREENLET_WHOLE);
        evals += (uint32_t)eval;
        left.evals -= eval && left.evals > 0;
    }
    if (inner < native->count &&
        (native->end != UNWIND_COMPLETE || !is_sound(runtime, python, native, inner)))
        result = end_at(native, inner, GREENLET_SWITCHING);
    return result;
}
