/* SPDX-License-Identifier: MIT */
/* wrap.h - the program's own signal handlers are called through one of ours, so that an EINTR that is the
 * program's is told from one that a tick caused.
 *
 * Why: a tick may fall into the return of the program's handler. The context then looks exactly like a wait
 * that the tick itself interrupted, and running it again would swallow the program's EINTR (0.5 to 1 % of its
 * signals at 10 kHz). So our function notes, right before it returns, which interrupted call the program is
 * about to see; a tick that meets that very call at that stack pointer within WRAP_NS leaves it alone. The
 * price: a program that runs the same call again within that time may see one EINTR more, at a place that has
 * just handled one. */
#ifndef PLAIT_WRAP_H
#define PLAIT_WRAP_H

#include <signal.h>
#include <stdint.h>

enum { WRAP_NS = 1000 * 1000 };

/* From now on this process's handlers are wrapped: before the first start, and in the child of a fork. */
void wrap_begin(void);

/* sigaction(2) for every signal but ours: the program sets and sees its own handlers. Signals of faults are
 * left as they are (nobody waits through one). 0 or negative errno. In a handler too; not in ours. */
int wrap_sigaction(int signal, const struct sigaction *action, struct sigaction *old);

/* signal(2) likewise, keeping what siginterrupt(3) was told. SIG_ERR and errno on failure. */
sighandler_t wrap_signal(int signal, sighandler_t handler);

/* Handlers that were set before this library could see it. */
void wrap_present(void);

/* 1 when the interrupted call at (pc, sp) of this thread is the program's own affair. Handler only. */
int wrap_is_own(uint64_t pc, uint64_t sp, uint64_t now);

#endif
