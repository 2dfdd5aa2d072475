/* SPDX-License-Identifier: MIT */
/* greenlet.h - where the stack of a greenlet ends, and whether two of them are being switched.
 *
 * A greenlet owns the part of the C stack below the place where it was started. What lies above belongs to
 * others, who have moved on since: its words are no frames of this stack. While two greenlets are being
 * switched, what lies outside of the switching module's own frames is half of one and half of the other, and
 * the Python frames may be the other one's. */
#ifndef PLAIT_GREENLET_H
#define PLAIT_GREENLET_H

#include "native/libs.h"
#include "native/unwind.h"
#include "python/python.h"

enum greenlet {
    GREENLET_NONE = 0,  /* no greenlet's stack, or none that has been started in C */
    GREENLET_WHOLE,     /* the native stack now ends where the greenlet was started: complete */
    GREENLET_SWITCHING, /* it ends at the module's innermost frame; the Python frames are not to be believed
                         */
};

/* Ends the native stack where it must. `python` is the walk's, empty when it found none or was torn. Pure;
 * async-signal-safe. */
enum greenlet greenlet_trim(const struct libs *libs, const struct py_runtime *runtime,
                            const struct py_stack *python, struct native_stack *native);

#endif
