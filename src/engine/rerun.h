/* SPDX-License-Identifier: MIT */
/* rerun.h - a wait that our signal interrupted is run again, so that the program never sees an EINTR of ours;
 * and one that the kernel would restart although the program's own signal wants EINTR is not. One file per
 * architecture: the calls for which this is exact, and how a call is recognised. Async-signal-safe. */
#ifndef PLAIT_RERUN_H
#define PLAIT_RERUN_H

#include <stdint.h>

enum rerun { RERUN_NONE, RERUN_AGAIN, RERUN_LEFT, RERUN_RESTARTED };

/* Looks at the interrupted context: RERUN_AGAIN: an interrupted call will run again when the handler returns;
 * RERUN_LEFT: interrupted, but a signal of the program is pending or the call is not known, so it keeps its
 * EINTR; RERUN_RESTARTED: about to enter the kernel, for the first time or restarted by it; RERUN_NONE: not
 * in a system call. A write that has passed on only some of its bytes will go on (partial.h). */
enum rerun rerun_check(void *context);
/* The same for a call whose EINTR is known to be the program's own: RERUN_LEFT instead of RERUN_AGAIN. */
enum rerun rerun_check_unless(void *context, int own);

/* 1 when the context is that of a call that a signal may have ended (-EINTR, or a count that may be cut
 * short, behind its `syscall`), and where. */
int rerun_interrupted(const void *context, uint64_t *pc, uint64_t *sp);

/* The call of a context for which the check was not RERUN_NONE: its number (-1 unknown) and first argument.
 */
struct rerun_call {
    long number;
    uint64_t argument;
};
void rerun_call(const void *context, struct rerun_call *call);

/* A signal of the program itself came through our handler, and the program asked for no SA_RESTART: the call
 * that the kernel was about to restart returns EINTR. */
void rerun_refuse(void *context);

#endif
