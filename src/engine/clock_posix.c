/* SPDX-License-Identifier: MIT */
/* clock_posix.c - a timer on each thread's CPU clock. The kernel looks at these timers only at its own tick:
 * at most HZ (100 to 1000) signals a second, each standing for the periods that its overrun count tells. No
 * interrupted waits. The last resort. */
#include "engine.h"

#include "../os/os.h"
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

static int timer_for(int tid, uint32_t slot)
{
    return os_timer(os_thread_clock(tid), tid, ENGINE_SIGNAL, ENGINE_VALUE(PURPOSE_TICK, slot));
}

static int probe(struct error *error)
{
    int timer = timer_for(os_thread_id(), 0);
    if (timer < 0)
        return error_set(error, 4, -timer, "clock posix: timer_create on a thread's CPU clock");
    os_call1(SYS_timer_delete, timer);
    return 0;
}

static int attach(struct thread *thread)
{
    int timer = timer_for(thread->tid, thread->slot);
    if (timer < 0)
        return timer;
    long nanoseconds = (long)engine.period;
    struct itimerspec every = {{nanoseconds / 1000000000, nanoseconds % 1000000000},
                               {nanoseconds / 1000000000, nanoseconds % 1000000000}};
    long result = os_call4(SYS_timer_settime, timer, 0, &every, 0);
    if (result < 0)
        os_call1(SYS_timer_delete, timer);
    else
        thread->clock.timer = timer;
    return (int)result;
}

static void detach(struct thread *thread)
{
    struct itimerspec rest;
    if (thread->clock.timer < 0)
        return;
    /* For a fork: the part of a period that has passed. */
    if (thread->uncharged != UINT64_MAX && os_call2(SYS_timer_gettime, thread->clock.timer, &rest) == 0 &&
        (uint64_t)rest.it_value.tv_nsec < engine.period && rest.it_value.tv_sec == 0)
        __atomic_fetch_add(&thread->owed, engine.period - (uint64_t)rest.it_value.tv_nsec, __ATOMIC_RELAXED);
    os_call1(SYS_timer_delete, thread->clock.timer);
    thread->clock.timer = -1;
}

static uint64_t turn(uint64_t now)
{
    (void)now;
    return UINT64_MAX;
}

static void settle(struct thread *thread)
{
    (void)thread;
}

static uint64_t weight(struct thread *thread, const siginfo_t *info)
{
    (void)thread;
    int overrun = info->si_overrun;
    return (uint64_t)(1 + (overrun > 0 ? overrun : 0)) * engine.period;
}

const struct clock_ops clock_posix = {
    "posix", "clock posix ticks at the kernel's own rate (HZ): fewer, heavier samples",
    0,       probe,
    attach,  detach,
    turn,    settle,
    weight,  NULL};
