/* SPDX-License-Identifier: MIT */
/* slot.h - where a thread keeps its PyThreadState; private to src/python, but for py_find_slot and
 * py_data_offset in python.h. */
#ifndef PLAIT_PYTHON_SLOT_H
#define PLAIT_PYTHON_SLOT_H

#include "python.h"

/* From 3.12 on: sets `current`, and from 3.15 on `slot`, where the interpreter's functions show them. In a
 * normal thread; writes into its thread-local variables for a moment, with signals blocked. */
void py_thread_locals(struct py_runtime *py);

#endif
