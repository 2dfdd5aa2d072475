/* SPDX-License-Identifier: MIT */
/* unwind_load.h - between test_unwind.c, which steps, and unwind_load.c, which is stepped through. */
#ifndef PLAIT_UNWIND_LOAD_H
#define PLAIT_UNWIND_LOAD_H

/* To be called first in a signal handler: the kernel delivers signals with the trap flag off. `cfa` and `ret`
 * are the handler's own. */
typedef void load_entered(void *cfa, void *ret, void *context);

/* Runs the load; returns a checksum. */
unsigned long load_run(load_entered *entered);

/* The short load of a second thread. */
unsigned long load_thread(load_entered *entered);

#endif
