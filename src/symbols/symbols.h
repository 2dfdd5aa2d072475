/* SPDX-License-Identifier: MIT */
/* symbols.h - libprofiler-symbols.so: names native addresses with elfutils' libdw. Only report processes load
 * it; the library in the profiled process knows nothing of it. */
#ifndef PLAIT_SYMBOLS_H
#define PLAIT_SYMBOLS_H

#include "../../include/profiler.h"

/* A symbolizer (see profiler.h) that gives function, file, line and inlined levels from debug information
 * (in the file, in separate debug files, in .gnu_debugdata), else the name from the symbol tables. A file
 * whose build id is not the recording's is not read: its names would be wrong. NULL without memory. Its
 * calls may come from any thread. Its strings live until profiler_symbols_close. */
PROFILER_API struct profiler_symbolizer *profiler_symbols_open(void);
PROFILER_API void profiler_symbols_close(struct profiler_symbolizer *symbolizer);

#endif
