/* SPDX-License-Identifier: MIT */
/* clock_poll.c - the clock of most users: no privilege, no descriptor, no HZ limit, works under seccomp.
 *
 * look.c says when a thread is signalled. What a tick stands for: by real time a thread is found at work, or
 * asleep. What it used before it went to sleep is not the wait's, so a tick that meets a wait stands for no
 * CPU time. A tick that meets the thread at work stands for what it has used since the look before, if that
 * one met it at work, too; else for all the time since, but for what the thread stood in the run queue: so a
 * piece of work is booked as much as it takes, however short its bursts are, and on average the weights are
 * the CPU time. What they miss of it, or have too much, is an account that each tick evens a little. */
#include "engine.h"

#include "../os/os.h"
#include <errno.h>
#include <sys/syscall.h>

enum { BIRTH_NS = 5 * 1000, EVEN = 16 };

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

/* The weight of a tick at `now` that meets the thread at work. */
static uint64_t worth(struct thread *thread, uint64_t cpu, uint64_t now)
{
    const struct look *look = &thread->look;
    int64_t ran = (int64_t)(cpu - look->cpu), span = (int64_t)(now - look->at), stood = (int64_t)look->stood;
    int64_t open = balance(thread, cpu), most = open > ran ? open : ran;
    int64_t weight = ran;
    if (!look->worked && ran + ran / 8 < span)
        weight = look->stood == UINT64_MAX ? most : stood < span - ran ? span - stood : ran;
    if (weight > most + 2 * (int64_t)engine.period)
        weight = most + 2 * (int64_t)engine.period;
    int64_t even = (open - weight) / EVEN;
    even = even > weight / 2 ? weight / 2 : even < -weight / 2 ? -weight / 2 : even;
    return weight + even > 0 ? (uint64_t)(weight + even) : 1;
}

static int attach(struct thread *thread)
{
    uint64_t cpu = thread->look.cpu; /* looks have just begun */
    uint64_t owed = __atomic_exchange_n(&thread->owed, 0, __ATOMIC_RELAXED);
    thread->clock.start = cpu - owed;
    thread->clock.given =
        __atomic_load_n(&thread->given, __ATOMIC_RELAXED) + __atomic_load_n(&thread->carry, __ATOMIC_RELAXED);
    if (owed > BIRTH_NS) /* what it used before is worth a tick by itself */
        thread->look.base = cpu - owed;
    return 0;
}

/* What the account holds is owed: to the next attaching after a fork, else it is written off. */
static void detach(struct thread *thread)
{
    uint64_t seen = thread->look.seen;
    uint64_t cpu = thread->uncharged != UINT64_MAX && thread->uncharged > seen ? thread->uncharged : seen;
    int64_t open = thread->clock.attached ? balance(thread, cpu) : 0;
    if (open > 0)
        __atomic_fetch_add(&thread->owed, (uint64_t)open, __ATOMIC_RELAXED);
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

const struct clock_ops clock_poll = {"poll", "", 1, probe, attach, detach, look_turn, settle, weight, worth};
