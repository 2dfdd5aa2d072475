/* SPDX-License-Identifier: MIT */
/* error.h - one error: a code, the system's errno, and one clear line: what failed, why, what to do.
 * Functions that can fail return 0 or a code of profiler.h and fill `struct error`. */
#ifndef PLAIT_ERROR_H
#define PLAIT_ERROR_H

struct error {
    int code; /* PROFILER_* of profiler.h; 0 = none */
    int sys;  /* errno (positive), or 0 */
    char text[256];
};

/* Sets the error and returns `code`. The text is built from `format`, in which %s takes a string, %d an int
 * and %x an unsigned long in hex (nothing else); where `sys` is not 0, ": " and the system's word for it are
 * added. Safe in the helper: no libc formatting. */
int error_set(struct error *error, int code, int sys, const char *format, ...);

/* The last error of the process: every failing profiler_* call publishes its own (returns error->code), and
 * profiler_error shows the last. Any thread; not in the handler. */
int error_publish(const struct error *error);
void error_last(struct error *error);

#endif
