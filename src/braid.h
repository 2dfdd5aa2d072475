/* SPDX-License-Identifier: MIT */
/* braid.h - the merge of native frames and Python segments into one stack, by address.
 *
 * From 3.10 on the native frame with sp <= marker < CFA is the activation of the eval function that runs the
 * marker's segment: the segment's Python frames go directly above it (leafward), and it gets FRAME_EVAL.
 * 3.8 and 3.9 have no markers: eval frames (told by address range) and Python frames are paired from the
 * outermost end. Where native unwinding stopped early, the segments not yet placed follow the last native
 * frame. Native frames without Python segments stay native. Pure; async-signal-safe. */
#ifndef PLAIT_BRAID_H
#define PLAIT_BRAID_H

#include "core/core.h"
#include "native/unwind.h"
#include "python/python.h"

/* Writes the stack, leaf first, to out[0 .. result - 1]; `capacity` must be at least native->count +
 * python->frame_count. `python` may be NULL (no Python frames). Adds SAMPLE_PYTHON_ONLY to *flags where a
 * marker within the native walk's reach is in no native frame: out holds the Python frames alone then. */
uint32_t braid(const struct native_stack *native, const struct py_runtime *runtime,
               const struct py_stack *python, struct frame *out, uint32_t capacity, uint32_t *flags);

#endif
