/* SPDX-License-Identifier: MIT */
/* clock_poll.c - the clock of most users: no privilege, no descriptor, no HZ limit, works under seccomp.
 *
 * Each period the helper reads every thread's CPU clock and signals those that ran. Threads that stand still
 * are looked at ever more rarely, up to every 50 ms.
 *
 * What a tick stands for. By real time a thread is found at work, or asleep: what it used before it went to
 * sleep is not the wait's, so a tick that meets a wait gives no sample. A tick that meets it at work stands
 * for all the time since the look before, but for what the thread stood in the run queue (schedstat): so a
 * piece of work is booked as much as it takes, however short its bursts are, and on average the weights are
 * the CPU time. What they miss of it, or have too much, is an account that each tick evens a little (worth).
 *
 * The handler's own time must not wake a sleeper for ever. The handler says whether its tick met the thread
 * in a wait (in_wait). If it did, all CPU time up to the next look counts as the tick's own: the base moves
 * up to there once. The base also has to be passed by some microseconds.
 *
 * Where the helper takes the CPU from the very thread that it is about to signal, the moment is the
 * scheduler's choice and not a random one: mostly the end of a system call. Such a thread gets its tick from
 * a timer, at a random time within the period that follows. */
#include "engine.h"

#include "../os/os.h"
#include "proc.h"
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

enum {
    SLACK_NS = 5 * 1000,
    HANDLER_NS = 25 * 1000,
    LOOK_MAX_NS = 50 * 1000 * 1000,

    IDLE_LOOKS = 8
};

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

/* ---- the account: CPU time that is not booked yet, less what is booked too much ---- */

static int64_t balance(struct thread *thread, uint64_t cpu)
{
    uint64_t booked = __atomic_load_n(&thread->given, __ATOMIC_RELAXED) - thread->clock.given +
                      __atomic_load_n(&thread->owed, __ATOMIC_RELAXED) +
                      __atomic_load_n(&thread->carry, __ATOMIC_RELAXED);
    return (int64_t)(cpu - thread->clock.start - booked);
}

static void open_account(struct thread *thread, uint64_t cpu, uint64_t now)
{
    struct clock_thread *clock = &thread->clock;
    uint64_t owed = __atomic_exchange_n(&thread->owed, 0, __ATOMIC_RELAXED);
    clock->start = cpu - owed;
    clock->given =
        __atomic_load_n(&thread->given, __ATOMIC_RELAXED) + __atomic_load_n(&thread->carry, __ATOMIC_RELAXED);
    clock->seen = clock->cpu = cpu;
    clock->base = owed > SLACK_NS ? cpu - owed : cpu; /* what it used before is worth a tick by itself */
    clock->looked = now;
}

/* ns that the thread has stood in the run queue so far; UINT64_MAX where the kernel does not tell. */
static uint64_t run_delay(struct thread *thread)
{
    char text[80];
    if (thread->clock.schedstat < 0)
        thread->clock.schedstat = proc_open(roster_task(thread), "/schedstat");
    long size =
        thread->clock.schedstat < 0 ? -1 : os_pread(thread->clock.schedstat, text, sizeof text - 1, 0);
    if (size <= 0)
        return UINT64_MAX;
    text[size] = 0;
    const char *at = text;
    while (*at >= '0' && *at <= '9')
        at++;
    uint64_t delay = 0;
    for (at += *at == ' '; *at >= '0' && *at <= '9'; at++)
        delay = delay * 10 + (uint64_t)(*at - '0');
    return delay;
}

/* The weight of a tick at `now` that meets the thread at work. */
static uint64_t worth(struct thread *thread, uint64_t cpu, uint64_t now)
{
    struct clock_thread *clock = &thread->clock;
    uint64_t ran = cpu - clock->cpu, span = now - clock->looked, delay = run_delay(thread);
    uint64_t stood = delay - clock->delay;
    int known = delay != UINT64_MAX && clock->delay != UINT64_MAX;
    int64_t open = balance(thread, cpu), most = open > (int64_t)ran ? open : (int64_t)ran;
    clock->delay = delay;
    int64_t weight = (int64_t)ran;
    if (ran + ran / 8 < span)
        weight = !known ? most : stood < span - ran ? (int64_t)(span - stood) : (int64_t)ran;
    if (weight > most + 2 * (int64_t)engine.period)
        weight = most + 2 * (int64_t)engine.period;
    int64_t even = (open - weight) / 16;
    even = even > weight / 2 ? weight / 2 : even < -weight / 2 ? -weight / 2 : even;
    return weight + even > 0 ? (uint64_t)(weight + even) : 1;
}

static int attach(struct thread *thread)
{
    struct clock_thread *clock = &thread->clock;
    int64_t cpu = os_thread_cpu(thread->tid);
    if (cpu < 0)
        return (int)cpu;
    open_account(thread, (uint64_t)cpu, os_now());
    clock->delay = run_delay(thread);
    clock->look = 0;
    clock->idle = clock->signalled = 0;
    return 0;
}

/* What the account holds is owed: to the next attaching after a fork, else it is written off. */
static void detach(struct thread *thread)
{
    struct clock_thread *clock = &thread->clock;
    uint64_t cpu =
        thread->uncharged != UINT64_MAX && thread->uncharged > clock->seen ? thread->uncharged : clock->seen;
    int64_t open = clock->attached ? balance(thread, cpu) : 0;
    if (open > 0)
        __atomic_fetch_add(&thread->owed, (uint64_t)open, __ATOMIC_RELAXED);
    if (clock->schedstat >= 0)
        os_close(clock->schedstat);
    clock->schedstat = -1;
}

/* ---- ticks ---- */

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

/* Long enough to leave the place where the scheduler stopped the thread, short enough to meet it in the same
 * piece of work. */
static uint64_t random_delay(void)
{
    uint64_t most = engine.period / 2 < ENGINE_DELAY_NS ? engine.period / 2 : ENGINE_DELAY_NS;
    return most / 30 + random_below(most);
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
    clock->time = __atomic_load_n(&thread->time, __ATOMIC_RELAXED);
    clock->signalled = 1;
    clock->due = now;
    if (__atomic_load_n(&thread->carry, __ATOMIC_RELAXED) != 0)
        return 0;
    if (!unheard && __atomic_load_n(&thread->cpu, __ATOMIC_RELAXED) == os_cpu() &&
        roster_give_timer(thread)) {
        uint64_t delay = random_delay();
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

/* The handler of the last signal has run: where does the next tick's CPU time begin? 1 when this look can't
 * tell what the thread did since: where handlers take longer than is allowed for, a wait that was met twice
 * in a row is left alone for one look. */
static int settle_base(struct thread *thread, uint64_t cpu)
{
    struct clock_thread *clock = &thread->clock;
    if (!clock->signalled || __atomic_load_n(&thread->ticks, __ATOMIC_ACQUIRE) == clock->ticks)
        return 0;
    uint64_t time = __atomic_load_n(&thread->time, __ATOMIC_RELAXED), own = time - clock->time + HANDLER_NS;
    clock->signalled = 0;
    clock->base = clock->seen;
    if (!__atomic_load_n(&thread->in_wait, __ATOMIC_RELAXED)) {
        clock->waits = 0;
        return 0;
    }
    int still = cpu - clock->seen <= own;
    clock->waits = still ? 0 : clock->waits + 1;
    if (still || clock->waits == 2)
        clock->base = cpu;
    if (clock->waits < 2)
        return 0;
    clock->waits = 0;
    return 1;
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
        open_account(thread, cpu, now);
    int blind = settle_base(thread, cpu);
    if (cpu > clock->base + SLACK_NS) {
        __atomic_fetch_add(&thread->owed, worth(thread, cpu, now), __ATOMIC_RELAXED);
        clock->seen = clock->base = clock->cpu = cpu;
        clock->looked = now;
        clock->idle = 0;
        if (!is_due(thread, now) && fire(thread, now) == -ESRCH)
            __atomic_store_n(&thread->state, THREAD_GONE, __ATOMIC_RELEASE);
        return;
    }
    if (!blind) {
        clock->looked = now;
        clock->cpu = cpu;
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

const struct clock_ops clock_poll = {"poll", "", 1, probe, attach, detach, turn, settle, weight};
