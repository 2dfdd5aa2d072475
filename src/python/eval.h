/* SPDX-License-Identifier: MIT */
/* eval.h - where the code of the eval function lies; private to src/python. */
#ifndef PLAIT_PYTHON_EVAL_H
#define PLAIT_PYTHON_EVAL_H

#include "python.h"

/* Sets eval_low, eval_high and eval_ranges from the symbol and the unwind tables of its library; none when
 * the function can't be bounded. Not in the handler. */
void py_eval_ranges(struct py_runtime *py);

#endif
