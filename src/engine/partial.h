/* SPDX-License-Identifier: MIT */
/* partial.h - a write that a tick cut short goes on. A signal that comes while a call to a pipe, a socket or
 * a terminal has passed on some of its bytes makes it return their count: no EINTR, nothing that the kernel
 * restarts, and a program without signals never meets it, so some lose the rest. The call's thread goes on in
 * a few instructions of ours, on its own stack, until all is passed on or the call ends by itself, and then
 * returns the whole count to where the call stood. One file per architecture. Async-signal-safe. */
#ifndef PLAIT_PARTIAL_H
#define PLAIT_PARTIAL_H

#include "../native/unwind.h"

/* The context stands behind a call, by `number`, that has passed on some of its bytes. 1: it will go on when
 * the handler returns; 0: its count stands. */
int partial_go_on(void *context, long number);

/* 1 when the context stands inside of such a call that goes on. */
int partial_is_inside(const void *context);

/* The registers as they stood at the call, when the context is inside: where a walk begins. */
void partial_origin(const void *context, struct regs *regs);

/* A handler of the program is about to run: the call returns to it what it has done, as it would without us.
 */
void partial_end(void *context);

#endif
