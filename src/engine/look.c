/* SPDX-License-Identifier: MIT */
/* look.c - see look.h.
 *
 * The handler's own time must not wake a sleeper for ever. The handler says whether its tick met the thread
 * in a wait (in_wait). Whether that wait still lasts at the next look is told by the number of times that the
 * thread has got a CPU (schedstat): once, for the handler. Where the kernel does not count them, by the CPU
 * time that a handler and its wait's new start may take.
 *
 * Where the helper takes the CPU from the very thread that it is about to signal, the moment is the
 * scheduler's choice and not a random one: mostly the end of a system call. Such a thread gets its tick from
 * a timer, at a random time soon. */
#include "look.h"

#include "../core/decimal.h"
#include "../os/os.h"
#include "engine.h"
#include "proc.h"
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

enum {
    SLACK_NS = 5 * 1000,
    HANDLER_NS = 25 * 1000,
    LOOK_MAX_NS = 50 * 1000 * 1000,
    WRITE_NS = 200 * 1000 * 1000,
    IDLE_LOOKS = 8,
};

/* ---- what the scheduler says ---- */

static const char *number(const char *at, uint64_t *value)
{
    at = decimal_get(at, value);
    return *at == ' ' ? at + 1 : at;
}

/* ns in the run queue, and how often it got a CPU; UINT64_MAX where the kernel does not tell. */
static void read_schedstat(struct thread *thread, uint64_t *delay, uint64_t *slices)
{
    char text[80];
    int *fd = &thread->look.schedstat;
    if (*fd < 0)
        *fd = proc_open(roster_task(thread), "/schedstat");
    long size = *fd < 0 ? -1 : os_pread(*fd, text, sizeof text - 1, 0);
    *delay = *slices = UINT64_MAX;
    if (size <= 0)
        return;
    text[size] = 0;
    uint64_t ran;
    number(number(number(text, &ran), delay), slices);
}

void look_begin(struct thread *thread, uint64_t cpu)
{
    struct look *look = &thread->look;
    uint64_t before = thread->uncharged != UINT64_MAX ? look->at : 0;
    look_end(thread);
    *look = (struct look){.at = before != 0 ? before : os_now(), .cpu = cpu, .seen = cpu, .base = cpu};
    look->schedstat = -1;
    read_schedstat(thread, &look->delay, &look->slices);
    look->stood = UINT64_MAX;
}

void look_end(struct thread *thread)
{
    struct look *look = &thread->look;
    if (look->waited != 0) {
        helper_drain_thread(thread); /* the wait's sample goes first */
        look_write_wait(thread, os_now(), 1);
    }
    if (look->schedstat >= 0)
        os_close(look->schedstat);
    look->schedstat = -1;
    look->known = 0;
}

/* ---- signals ---- */

static int signal_thread(struct thread *thread)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = ENGINE_SIGNAL;
    info.si_code = SI_QUEUE;
    info.si_pid = engine.pid;
    info.si_value.sival_ptr = (void *)(uintptr_t)ENGINE_VALUE(PURPOSE_LOOK, thread->slot);
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

static int is_unheard(const struct thread *thread)
{
    return thread->look.signalled && __atomic_load_n(&thread->heard, __ATOMIC_ACQUIRE) == thread->look.heard;
}

/* The thread's tick, now or at a random time soon; -ESRCH when the thread is gone. A timer whose signal may
 * be under way is never set again: the kernel (6.13+) then drops that signal, which may have ended a wait
 * already, and no handler runs it again. A tick that was put off takes what is owed, too. */
static int fire(struct thread *thread, uint64_t now)
{
    struct look *look = &thread->look;
    int unheard = is_unheard(thread);
    look->heard = __atomic_load_n(&thread->heard, __ATOMIC_ACQUIRE);
    look->time = __atomic_load_n(&thread->time, __ATOMIC_RELAXED);
    look->signalled = 1;
    look->aimed = now;
    if (__atomic_load_n(&thread->carry, __ATOMIC_RELAXED) != 0 ||
        __atomic_load_n(&thread->carry_wall, __ATOMIC_RELAXED) != 0)
        return 0;
    if (!engine.prompt && !unheard && __atomic_load_n(&thread->cpu, __ATOMIC_RELAXED) == os_cpu() &&
        roster_give_timer(thread)) {
        uint64_t delay = random_delay();
        struct itimerspec soon = {{0, 0}, {(long)(delay / 1000000000), (long)(delay % 1000000000)}};
        look->aimed = now + delay + engine.period;
        __atomic_store_n(&thread->aimed, now + delay, __ATOMIC_RELAXED);
        __atomic_store_n(&thread->aimed_cpu, -1, __ATOMIC_RELAXED);
        if (os_call4(SYS_timer_settime, thread->timer, 0, &soon, 0) == 0)
            return 0;
    }
    roster_give_timer(thread); /* the handler may find that its signal waited for a CPU */
    __atomic_store_n(&thread->aimed, now, __ATOMIC_RELAXED);
    __atomic_store_n(&thread->aimed_cpu, engine.prompt ? -1 : os_cpu(), __ATOMIC_RELAXED);
    return signal_thread(thread);
}

/* The handler of the last signal has run: where does the next tick's CPU time begin? 1 when this look can't
 * tell what the thread did since: where handlers take longer than is allowed for, a wait that was met twice
 * in a row is left alone for one look. */
static int hear(struct thread *thread, uint64_t cpu)
{
    struct look *look = &thread->look;
    if (!look->signalled || is_unheard(thread))
        return 0;
    uint32_t in_wait = __atomic_load_n(&thread->in_wait, __ATOMIC_RELAXED);
    look->signalled = look->known = 0;
    look->base = look->seen;
    look->worked = !in_wait;
    if (!in_wait) {
        look->waits = 0;
        return 0;
    }
    uint64_t delay, slices, own = __atomic_load_n(&thread->time, __ATOMIC_RELAXED) - look->time + HANDLER_NS;
    read_schedstat(thread, &delay, &slices);
    int counted = slices != UINT64_MAX && look->slices != UINT64_MAX;
    int still = counted ? slices <= look->slices + 1 : cpu - look->seen <= own;
    look->waits = still || counted ? 0 : look->waits + 1;
    look->known = still && in_wait == IN_WAIT_RECORDED;
    int blind = look->waits == 2;
    if (still || blind)
        look->base = cpu;
    if (blind)
        look->waits = 0;
    return blind;
}

/* ---- waits ---- */

void look_write_wait(struct thread *thread, uint64_t now, int all)
{
    struct look *look = &thread->look;
    if (look->waited == 0 || (!all && look->waited < WRITE_NS))
        return;
    writer_repeat(engine.writer, thread->number, now, look->waited);
    look->waited = 0;
}

/* The wait has ended since the last look: how much of the time since then is its own? Between looks a period
 * apart nothing, since what a look finds stands for all of it; of a longer span, all but what the thread has
 * used and half a period. */
static uint64_t end_wait(struct thread *thread, uint64_t cpu, uint64_t now, uint64_t span)
{
    struct look *look = &thread->look;
    uint64_t fresh = cpu - look->cpu + engine.period / 2;
    if (span > engine.period + engine.period / 2 && fresh < span)
        look->waited += span - fresh;
    else
        fresh = span;
    look->known = 0;
    if (look->waited != 0) {
        helper_drain_thread(thread); /* the wait's sample goes first */
        look_write_wait(thread, now - fresh, 1);
    }
    return fresh;
}

/* ---- looks ---- */

/* Since the look before; the first one of a thread may have begun after this turn did. */
static uint64_t span_of(const struct look *look, uint64_t now)
{
    return now > look->at ? now - look->at : 0;
}

static void stand_still(struct thread *thread, uint64_t cpu, uint64_t now, int blind)
{
    struct look *look = &thread->look;
    if (engine.wall && look->known)
        look->waited += span_of(look, now);
    look->worked = 0;
    if (!blind) {
        look->at = now;
        look->cpu = cpu;
    }
    uint64_t rest = engine.period * (++look->idle / IDLE_LOOKS);
    look->due = now + (rest > LOOK_MAX_NS ? LOOK_MAX_NS : rest);
}

static void tick(struct thread *thread, uint64_t cpu, uint64_t now)
{
    struct look *look = &thread->look;
    uint64_t span = span_of(look, now), delay, slices;
    read_schedstat(thread, &delay, &slices);
    look->stood = delay != UINT64_MAX && look->delay != UINT64_MAX ? delay - look->delay : UINT64_MAX;
    look->delay = delay;
    look->slices = slices;
    if (engine.clock->worth != NULL && cpu > look->base)
        __atomic_fetch_add(&thread->owed, engine.clock->worth(thread, cpu, now), __ATOMIC_RELAXED);
    if (engine.wall)
        __atomic_fetch_add(&thread->owed_wall, look->known ? end_wait(thread, cpu, now, span) : span,
                           __ATOMIC_RELAXED);
    look->seen = look->base = look->cpu = cpu;
    look->at = now;
    look->idle = 0;
    /* A timer that was set for the thread may still be to come: setting it again would put it off for ever.
     */
    if (!(is_unheard(thread) && now < look->aimed) && fire(thread, now) == -ESRCH)
        __atomic_store_n(&thread->state, THREAD_GONE, __ATOMIC_RELEASE);
}

static void look_at(struct thread *thread, uint64_t now)
{
    struct look *look = &thread->look;
    int64_t read = os_thread_cpu(thread->tid);
    if (read < 0) {
        __atomic_store_n(&thread->state, THREAD_GONE, __ATOMIC_RELEASE);
        return;
    }
    uint64_t cpu = (uint64_t)read;
    if (cpu < look->seen) { /* another thread has got this number */
        roster_stop_clock(thread);
        roster_start_clock(thread);
        return;
    }
    int blind = hear(thread, cpu);
    int still = engine.wall ? (look->known && cpu == look->base) : cpu <= look->base + SLACK_NS;
    if (still || blind)
        stand_still(thread, cpu, now, blind);
    else
        tick(thread, cpu, now);
}

/* Uniform within 10 % of the period, so that no program runs in step with it. */
static uint64_t jittered(void)
{
    return engine.period - engine.period / 10 + random_below(engine.period / 5 + 1);
}

uint64_t look_turn(uint64_t now)
{
    static uint64_t next;
    if (now < next && next - now <= 2 * engine.period)
        return next;
    uint32_t limit = __atomic_load_n(&engine.thread_limit, __ATOMIC_ACQUIRE);
    for (uint32_t slot = 0; slot < limit; slot++) {
        struct thread *thread = threads_at(slot);
        if (thread != NULL && thread->clock.attached && thread->look.due <= now)
            look_at(thread, now);
    }
    /* Missed turns are skipped, not made up for: the weights carry their time. */
    next += jittered();
    if (next <= now || next > now + 2 * engine.period)
        next = now + jittered();
    return next;
}
