/* SPDX-License-Identifier: MIT */
/* look.h - ticks by real time: the helper looks at the threads' CPU clocks once a period and signals those
 * that did something. Clock poll is made of it; wall mode needs it on every clock, for the waits.
 *
 * A look is a moment. What it finds stands for the time since the look before it (`span`): a thread at work,
 * or a thread in a wait. In wall mode the stack of a wait is taken once, in the wait, and the time of all
 * further looks that find the same wait is added up here and written as repeats of that sample. All in the
 * helper. */
#ifndef PLAIT_LOOK_H
#define PLAIT_LOOK_H

#include <stdint.h>

struct thread;

struct look {
    uint64_t due;       /* os_now() of the next look */
    uint64_t at, cpu;   /* os_now() and CPU clock at the last look that told what the thread did */
    uint64_t base;      /* CPU clock that must be passed for the next signal */
    uint64_t seen;      /* CPU clock at the last signal */
    uint64_t heard;     /* thread->heard when last signalled */
    uint64_t time;      /* thread->time when last signalled */
    uint64_t aimed;     /* a tick that was set for later has come by then */
    uint64_t delay;     /* ns it had stood in the run queue at the last signal, UINT64_MAX unknown */
    uint64_t slices;    /* how often it had got a CPU at the last signal, UINT64_MAX unknown */
    uint64_t stood;     /* ns it stood in the run queue between the last two signals, UINT64_MAX unknown */
    uint64_t waited;    /* wall mode: ns of the present wait that are not written yet */
    uint32_t idle;      /* looks in a row at which it stood still */
    uint32_t signalled; /* a signal is out, its handler not yet seen */
    uint32_t waits;     /* ticks in a row that met it in a wait and seemed to wake it */
    uint32_t worked;    /* the look before found it at work */
    uint32_t known;     /* wall mode: the last sample was taken in the wait that still lasts */
    int schedstat;      /* descriptor, -1 none */
};

/* Looks at the thread from now on, whose CPU clock stands at `cpu`. What has passed since the end of looks
 * for a fork belongs to what the first look finds. */
void look_begin(struct thread *thread, uint64_t cpu);
/* No more; what is known of its present wait is written. */
void look_end(struct thread *thread);

/* Looks at all threads that are due; os_now() of the next turn. */
uint64_t look_turn(uint64_t now);

/* The ring is drained: writes the present wait's time, if there is much of it or `all`. */
void look_write_wait(struct thread *thread, uint64_t now, int all);

#endif
