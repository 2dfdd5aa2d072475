/* SPDX-License-Identifier: MIT */
/* clock.h - what makes a thread tick. One file per clock: clock_perf.c, clock_poll.c, clock_posix.c.
 * All functions but `weight` run in the helper (raw thread, own descriptor table); `weight` in the handler.
 */
#ifndef PLAIT_CLOCK_H
#define PLAIT_CLOCK_H

#include "../core/error.h"
#include <signal.h>
#include <stdint.h>

struct thread;

struct clock_thread {
    int fd;              /* perf: event, -1 none */
    int timer;           /* posix: timer id, -1 none */
    volatile void *page; /* perf: its mapped pages, NULL none */
    uint64_t head;       /* perf, handler: records seen */
    uint64_t base;       /* perf: what ticks stood for when the event began */
    uint64_t start;      /* poll: CPU clock at which its account was opened */
    uint64_t given;      /* poll: thread->given then */
    int attached;
};

struct clock_ops {
    const char *name;
    const char *note; /* what a report should say of it, "" = nothing */
    int by_time;      /* 1: ticks come by real time, not by the thread's CPU time */
    /* 0 when it can sample this process, else an error that names the call. Leaves nothing behind. */
    int (*probe)(struct error *error);
    /* Starts and ends ticks on a thread; attach returns 0 or negative errno (-ESRCH: the thread is gone). */
    int (*attach)(struct thread *thread);
    void (*detach)(struct thread *thread);
    /* Called at each wake of the helper; signals what is due. Returns when it wants to be called again
     * (os_now() time), UINT64_MAX for never. */
    uint64_t (*turn)(uint64_t now);
    /* Before each drain: finds ticks that were missed and adds their weight to thread->owed. */
    void (*settle)(struct thread *thread);
    /* Handler: CPU time in ns that this tick stands for. Async-signal-safe, no system call. */
    uint64_t (*weight)(struct thread *thread, const siginfo_t *info);
    /* Helper, by time only: CPU time that a look's tick stands for if it meets the thread at work. NULL where
     * ticks come by CPU time. */
    uint64_t (*worth)(struct thread *thread, uint64_t cpu, uint64_t now);
};

extern const struct clock_ops clock_perf, clock_poll, clock_posix;

#endif
