/* SPDX-License-Identifier: MIT */
/* clock_poll.c - the clock of most users: no privilege, no descriptor, no HZ limit, works under seccomp.
 *
 * Each period the helper reads every thread's CPU clock and signals those that ran. A tick stands for the CPU
 * time since the thread's last one, so shares stay true whatever the achieved rate. Threads that stand still
 * are looked at ever more rarely, up to every 50 ms.
 *
 * The handler's own time must not wake a sleeper for ever. The handler says whether its tick met the thread
 * in a system call (in_wait). If it did, all CPU time up to the next look counts as the tick's own: the base
 * moves up to there once. The base also has to be passed by 20 us. The weight is never reduced by this.
 *
 * Where the helper takes the CPU from the very thread that it is about to signal, the moment is the
 * scheduler's choice and not a random one: mostly the end of a system call. Such a thread gets its tick from
 * a timer, at a random time within the period that follows. */
#include "engine.h"

#include "../os/os.h"
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

enum { SLACK_NS = 20 * 1000, LOOK_MAX_NS = 50 * 1000 * 1000, IDLE_LOOKS = 8 };

static int probe(struct error *error)
{
    int64_t cpu = os_thread_cpu(os_thread_id());
    if (cpu < 0)
        return error_set(error, 4, (int)-cpu, "clock poll: clock_gettime of a thread's CPU clock");
    siginfo_t info = {.si_code = SI_QUEUE};
    long sent =
        os_call4(SYS_rt_tgsigqueueinfo, engine.pid, os_thread_id(), 0, &info); /* no signal: may we? */
    return sent >= 0 ? 0 : error_set(error, 4, (int)-sent, "clock poll: rt_tgsigqueueinfo");
}

static int attach(struct thread *thread)
{
    int64_t cpu = os_thread_cpu(thread->tid);
    if (cpu < 0)
        return (int)cpu;
    uint64_t owed =
        __atomic_load_n(&thread->owed, __ATOMIC_RELAXED); /* from before: worth a tick by itself */
    thread->clock.seen = (uint64_t)cpu;
    thread->clock.base = (uint64_t)cpu > owed ? (uint64_t)cpu - owed : 0;
    thread->clock.look = 0;
    thread->clock.idle = thread->clock.signalled = 0;
    return 0;
}

/* For a fork: its time from here on is counted by its next attaching. */
static void detach(struct thread *thread)
{
    if (thread->uncharged != UINT64_MAX && thread->uncharged > thread->clock.seen)
        __atomic_fetch_add(&thread->owed, thread->uncharged - thread->clock.seen, __ATOMIC_RELAXED);
}

static int signal_thread(struct thread *thread)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = ENGINE_SIGNAL;
    info.si_code = SI_QUEUE;
    info.si_pid = engine.pid;
    info.si_value.sival_ptr = (void *)(uintptr_t)ENGINE_VALUE(PURPOSE_TICK, thread->slot);
    return (int)os_call4(SYS_rt_tgsigqueueinfo, engine.pid, thread->tid, ENGINE_SIGNAL, &info);
}

static uint64_t random_below(uint64_t limit)
{
    static uint64_t random = 0x9e3779b97f4a7c15ULL;
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return random % limit;
}

/* The thread's tick, now or at a random time soon; -ESRCH when the thread is gone. A timer whose signal may
 * be under way is never set again: the kernel (6.13+) then drops that signal, which may have ended a wait
 * already, and no handler runs it again. A tick that was put off takes what is owed, too. */
static int fire(struct thread *thread, uint64_t now)
{
    struct clock_thread *clock = &thread->clock;
    uint64_t ticks = __atomic_load_n(&thread->ticks, __ATOMIC_ACQUIRE);
    int unheard = clock->signalled && ticks == clock->ticks;
    clock->ticks = ticks;
    clock->signalled = 1;
    clock->due = now;
    if (__atomic_load_n(&thread->carry, __ATOMIC_RELAXED) != 0)
        return 0;
    if (!unheard && __atomic_load_n(&thread->cpu, __ATOMIC_RELAXED) == os_cpu() &&
        roster_give_timer(thread)) {
        uint64_t delay = engine.period / 50 + random_below(engine.period * 9 / 10);
        struct itimerspec soon = {{0, 0}, {(long)(delay / 1000000000), (long)(delay % 1000000000)}};
        clock->due = now + delay + engine.period;
        __atomic_store_n(&thread->aimed, now + delay, __ATOMIC_RELAXED);
        __atomic_store_n(&thread->aimed_cpu, -1, __ATOMIC_RELAXED);
        if (os_call4(SYS_timer_settime, thread->timer, 0, &soon, 0) == 0)
            return 0;
    }
    roster_give_timer(thread); /* the handler may find that its signal waited for a CPU */
    __atomic_store_n(&thread->aimed, now, __ATOMIC_RELAXED);
    __atomic_store_n(&thread->aimed_cpu, os_cpu(), __ATOMIC_RELAXED);
    return signal_thread(thread);
}

/* 1 while a timer that was set for the thread may still be to come: setting it again would put it off for
 * ever. */
static int is_due(const struct thread *thread, uint64_t now)
{
    const struct clock_thread *clock = &thread->clock;
    return clock->signalled && now < clock->due &&
           __atomic_load_n(&thread->ticks, __ATOMIC_ACQUIRE) == clock->ticks;
}

/* The handler of the last signal has run: where does the next tick's CPU time begin? */
static void settle_base(struct thread *thread, uint64_t cpu)
{
    struct clock_thread *clock = &thread->clock;
    if (!clock->signalled || __atomic_load_n(&thread->ticks, __ATOMIC_ACQUIRE) == clock->ticks)
        return;
    clock->signalled = 0;
    clock->base = __atomic_load_n(&thread->in_wait, __ATOMIC_RELAXED) ? cpu : clock->seen;
}

static void look(struct thread *thread, uint64_t now)
{
    struct clock_thread *clock = &thread->clock;
    int64_t read = os_thread_cpu(thread->tid);
    if (read < 0) {
        __atomic_store_n(&thread->state, THREAD_GONE, __ATOMIC_RELEASE);
        return;
    }
    uint64_t cpu = (uint64_t)read;
    if (cpu < clock->seen) /* another thread has got this number */
        clock->seen = clock->base = cpu;
    settle_base(thread, cpu);
    if (cpu > clock->base + SLACK_NS) {
        __atomic_fetch_add(&thread->owed, cpu - clock->seen, __ATOMIC_RELAXED);
        clock->seen = clock->base = cpu;
        clock->idle = 0;
        if (!is_due(thread, now) && fire(thread, now) == -ESRCH)
            __atomic_store_n(&thread->state, THREAD_GONE, __ATOMIC_RELEASE);
        return;
    }
    uint64_t wait = engine.period * (++clock->idle / IDLE_LOOKS);
    clock->look = now + (wait > LOOK_MAX_NS ? LOOK_MAX_NS : wait);
}

/* Uniform within 10 % of the period, so that no program runs in step with it. */
static uint64_t jittered(void)
{
    return engine.period - engine.period / 10 + random_below(engine.period / 5 + 1);
}

static uint64_t turn(uint64_t now)
{
    static uint64_t next;
    if (now < next && next - now <= 2 * engine.period)
        return next;
    uint32_t limit = __atomic_load_n(&engine.thread_limit, __ATOMIC_ACQUIRE);
    for (uint32_t slot = 0; slot < limit; slot++) {
        struct thread *thread = threads_at(slot);
        if (thread != NULL && thread->clock.attached && thread->clock.look <= now)
            look(thread, now);
    }
    /* Missed turns are skipped, not made up for: the weights carry their time. */
    next += jittered();
    if (next <= now || next > now + 2 * engine.period)
        next = now + jittered();
    return next;
}

static void settle(struct thread *thread)
{
    (void)thread;
}

/* All of a tick's weight comes by thread->owed. */
static uint64_t weight(struct thread *thread, const siginfo_t *info)
{
    (void)thread;
    (void)info;
    return 0;
}

const struct clock_ops clock_poll = {"poll", "", probe, attach, detach, turn, settle, weight};
