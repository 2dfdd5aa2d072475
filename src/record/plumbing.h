/* SPDX-License-Identifier: MIT */
/* plumbing.h - which native functions are the interpreter's plumbing rather than work: hidden in reports. */
#ifndef PLAIT_PLUMBING_H
#define PLAIT_PLUMBING_H

/* 1 when `function` of the library at `path` is call glue, the eval loop, argument parsing, or start code of
 * the interpreter or of libc, or belongs to the profiler itself. `function` may be NULL. */
int plumbing_is(const char *path, const char *function);

/* 1 for the functions that call libc's nameless start code, or are called by the program's nameless entry. */
int plumbing_is_start(const char *function);
/* 1 when the file at `path` is libc or its threads. */
int plumbing_is_libc(const char *path);

#endif
