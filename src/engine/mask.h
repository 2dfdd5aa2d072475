/* SPDX-License-Identifier: MIT */
/* mask.h - threads that block every signal are sampled all the same.
 *
 * Thread pools and signal threads block everything, and name our signal only by the way. While the sampler
 * runs, such a mask goes to the kernel without it, and the program sees the mask that it set: interposed are
 * pthread_sigmask, sigprocmask, and what would show or take a tick in such a thread: sigwait, sigwaitinfo,
 * sigtimedwait, sigpending, signalfd. A mask of few signals is meant, and stays as it is: the thread has no
 * samples, which the report says.
 *
 * A signal of the program itself that reaches a thread which believes to block it ends the hiding there: the
 * kernel blocks it from then on, and the signal is sent again, to wait for whoever takes it. */
#ifndef PLAIT_MASK_H
#define PLAIT_MASK_H

#include <signal.h>
#include <stdint.h>

/* Before the first start: finds the real functions. */
void mask_prepare(void);

/* What a new thread takes over from the one that creates it. */
int mask_flag(void);
void mask_set_flag(int flag);

/* In the handler, for a signal of the program: 1 when the interrupted thread believes to block it. It has
 * been sent again then, and waits. */
int mask_gives_back(const siginfo_t *info, void *context);

#endif
