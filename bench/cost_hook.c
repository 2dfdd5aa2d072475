/* SPDX-License-Identifier: MIT */
/* cost_hook.c - the library with one function more, for bench/cost.py: a handler that returns at once. Built
 * with the objects of libprofiler.a into a library of its own. */
#include "../src/engine/engine.h"

__attribute__((visibility("default"))) void bench_empty_handler(int empty);

void bench_empty_handler(int empty)
{
    engine.empty_handler = empty;
}
