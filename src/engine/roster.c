/* SPDX-License-Identifier: MIT */
/* roster.c - which threads tick: attaches the clock to those that came, buries none but finds the dead, and
 * accounts for those that can't tick: a thread that blocks our signal (its time is counted as lost), and one
 * for which the clock has no more room (all threads then go over to clock poll, which needs none). Helper. */
#include "engine.h"

#include "../os/os.h"
#include "proc.h"
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

enum {
    SECOND_NS = 1000 * 1000 * 1000,
    PAGE_PATIENCE_NS = 2 * 1000 * 1000,
    SILENT_NS = 20 * 1000 * 1000, /* CPU time without a tick after which one asks why */
    SUSPECT_NS = 2 * 1000 * 1000, /* ... and with the signal blocked, until one believes it */
    SILENT_NOTES = 8,
    SOON_NS = 100 * 1000 * 1000,
    FEW_THREADS = 64, /* up to so many, one looks for new names, and sooner for those that don't answer */
};

static struct {
    uint64_t due, look; /* os_now() of the next scan, and of the next look at all threads */
    uint32_t links;
    int again; /* the clock was changed: all threads are to be attached to the new one */
    int noted; /* threads of which was said that they block our signal */
} roster;

/* Its number in /proc: known from a scan where it differs. */
int roster_task(const struct thread *thread)
{
    return thread->task != 0 ? thread->task : thread->tid;
}

static void read_name(struct thread *thread)
{
    char name[32];
    long size = proc_read(roster_task(thread), "/comm", name, sizeof name);
    if (size <= 0 && !thread->clock.attached) /* no /proc: its number at least */
        writer_thread(engine.writer, thread->number, thread->tid, "");
    if (size <= 0)
        return;
    if (name[size - 1] == '\n')
        name[size - 1] = 0;
    name[15] = 0;
    if (strcmp(name, thread->name) == 0)
        return;
    memcpy(thread->name, name, 16);
    writer_thread(engine.writer, thread->number, thread->tid, thread->name);
}

/* By its own choice, that is: within our handler everything is blocked. */
static int blocks_signal(const struct thread *thread)
{
    uint64_t ticks = __atomic_load_n(&thread->ticks, __ATOMIC_ACQUIRE);
    if (__atomic_load_n(&thread->busy, __ATOMIC_SEQ_CST) != 0)
        return 0;
    int blocked = proc_blocked(roster_task(thread)) >> (ENGINE_SIGNAL - 1) & 1;
    return blocked && __atomic_load_n(&thread->busy, __ATOMIC_SEQ_CST) == 0 &&
           ticks == __atomic_load_n(&thread->ticks, __ATOMIC_ACQUIRE);
}

/* ---- threads that don't answer ---- */

static void lose_blocked(struct thread *thread, uint64_t weight)
{
    writer_lost(engine.writer, thread->number, "the thread blocks SIGURG", weight / engine.period, weight);
}

static void say_blocked(const struct thread *thread)
{
    struct error note;
    if (roster.noted++ >= SILENT_NOTES)
        return;
    error_set(&note, PROFILER_SYSTEM, 0,
              "thread %d (%s) blocks SIGURG: its CPU time is counted as lost, without samples", thread->tid,
              thread->name);
    writer_field(engine.writer, "note", note.text);
}

/* Its clock stops, or all that it ran up would come as one tick where the signal is let in again. */
static void mute(struct thread *thread, uint64_t cpu)
{
    thread->blocks = 1;
    if (thread->clock.attached)
        roster_stop_clock(thread);
    thread->clock.attached = 0;
    uint64_t weight = __atomic_exchange_n(&thread->owed, 0, __ATOMIC_RELAXED) +
                      __atomic_exchange_n(&thread->carry, 0, __ATOMIC_RELAXED);
    uint64_t since = cpu - thread->answered_cpu;
    lose_blocked(thread, weight > since ? weight : since);
    thread->answered_cpu = cpu;
    say_blocked(thread);
}

/* `last`: at the recording's end, when there is no time to wait for the thread's silence. */
static void look_at(struct thread *thread, uint64_t cpu, int last)
{
    uint64_t ticks = __atomic_load_n(&thread->ticks, __ATOMIC_ACQUIRE);
    uint64_t silent = cpu > thread->answered_cpu ? cpu - thread->answered_cpu : 0;
    if (thread->blocks) {
        lose_blocked(thread, silent);
        thread->blocks = blocks_signal(thread);
        thread->uncharged = UINT64_MAX;
    } else if (thread->clock.attached && silent > SILENT_NS && ticks == thread->answered_ticks) {
        /* Twice, with work in between: a thread may have lost its CPU on the way into our handler. */
        int blocked = blocks_signal(thread);
        if (blocked && (last || (thread->suspected != 0 && cpu > thread->suspected + SUSPECT_NS))) {
            mute(thread, cpu);
            return;
        }
        if (!blocked || thread->suspected == 0)
            thread->suspected = blocked ? cpu : 0;
    }
    if (ticks != thread->answered_ticks)
        thread->suspected = 0;
    if (thread->blocks || ticks != thread->answered_ticks) {
        thread->answered_ticks = ticks;
        thread->answered_cpu = cpu;
    }
}

/* Between the looks, since such a thread may end. */
static void follow_blocked(void)
{
    uint32_t limit = __atomic_load_n(&engine.thread_limit, __ATOMIC_ACQUIRE);
    for (uint32_t slot = 0; slot < limit && roster.noted != 0; slot++) {
        struct thread *thread = threads_at(slot);
        int64_t cpu = thread != NULL && thread->blocks ? os_thread_cpu(thread->tid) : -1;
        if (cpu < 0 || (uint64_t)cpu <= thread->answered_cpu)
            continue;
        lose_blocked(thread, (uint64_t)cpu - thread->answered_cpu);
        thread->answered_cpu = (uint64_t)cpu;
    }
}

void roster_last_look(void)
{
    uint32_t limit = __atomic_load_n(&engine.thread_limit, __ATOMIC_ACQUIRE);
    for (uint32_t slot = 0; slot < limit; slot++) {
        struct thread *thread = threads_at(slot);
        int64_t cpu = thread != NULL ? os_thread_cpu(thread->tid) : -1;
        if (cpu >= 0)
            look_at(thread, (uint64_t)cpu, 1);
    }
}

void roster_write_off(struct thread *thread, const char *cause)
{
    uint64_t weight = __atomic_exchange_n(&thread->owed, 0, __ATOMIC_RELAXED);
    if (!__atomic_load_n(&thread->busy, __ATOMIC_SEQ_CST))
        weight += __atomic_exchange_n(&thread->carry, 0, __ATOMIC_RELAXED);
    writer_lost(engine.writer, thread->number, cause, 0, weight);
}

/* ---- attaching ---- */

int roster_give_timer(struct thread *thread)
{
    if (thread->timer >= 0)
        return 1;
    int timer =
        os_timer(CLOCK_MONOTONIC, thread->tid, ENGINE_SIGNAL, ENGINE_VALUE(PURPOSE_PUT_OFF, thread->slot));
    if (timer < 0)
        return 0;
    thread->timer = timer;
    return 1;
}

/* A frame chain that can't be walked at every instruction needs a tick to come back a little later: up
 * to 3.12 while frames are linked, on all while the data stack shrinks. */
static int has_put_offs(void)
{
    return engine.python_state == 1 && engine.python.minor >= 10;
}

/* Perf needs a descriptor for each thread and a kernel that still lets us, posix a timer. 1 when all threads
 * are to go on with clock poll. */
static int fall_back(int refused)
{
    struct error note;
    const char *name = engine.clock->name;
    if (engine.clock == &clock_poll || clock_poll.probe(&note) != 0)
        return 0;
    roster_detach_all(1);
    error_set(&note, PROFILER_SYSTEM, -refused, "clock %s can't have another thread, so clock poll went on",
              name);
    writer_field(engine.writer, "note", note.text);
    __atomic_store_n(&engine.clock, &clock_poll, __ATOMIC_RELEASE);
    roster.again = 1;
    return 1;
}

int roster_start_clock(struct thread *thread)
{
    int64_t cpu = os_thread_cpu(thread->tid);
    if (cpu < 0)
        return (int)cpu;
    int looks = engine.wall || engine.clock->by_time;
    if (looks)
        look_begin(thread, (uint64_t)cpu);
    int result = engine.clock->attach(thread);
    if (result < 0 && looks)
        look_end(thread);
    return result;
}

void roster_stop_clock(struct thread *thread)
{
    engine.clock->detach(thread);
    look_end(thread);
}

static void attach_thread(struct thread *thread)
{
    int64_t read = os_thread_cpu(thread->tid);
    uint64_t cpu = read > 0 ? (uint64_t)read : 0;
    uint64_t before =
        thread->uncharged != UINT64_MAX && cpu > thread->uncharged ? cpu - thread->uncharged : 0;
    __atomic_fetch_add(&thread->owed, before, __ATOMIC_RELAXED);
    if (before != 0)
        thread->uncharged = cpu;
    if (thread->answered_cpu == 0)
        thread->answered_cpu = cpu;
    int result = roster_start_clock(thread);
    if (result < 0 && result != -ESRCH && result != -EINVAL && fall_back(result))
        result = roster_start_clock(thread);
    if (result == -ESRCH || result == -EINVAL) {
        __atomic_store_n(&thread->state, THREAD_GONE, __ATOMIC_RELEASE);
        return;
    }
    /* One that can't be attached is tried again by each scan; its time counts from here on. */
    thread->uncharged = result == 0 ? UINT64_MAX : cpu;
    read_name(thread);
    thread->clock.attached = result == 0;
    if (engine.counting && thread->instructions.fd < 0)
        counter_attach(&thread->instructions, thread->tid);
    if (has_put_offs())
        roster_give_timer(thread);
}

void roster_attach_all(void)
{
    do {
        roster.again = 0;
        uint32_t limit = __atomic_load_n(&engine.thread_limit, __ATOMIC_ACQUIRE);
        for (uint32_t slot = 0; slot < limit && !engine.clocks_off; slot++) {
            struct thread *thread = threads_at(slot);
            if (thread != NULL && !thread->clock.attached && !thread->blocks)
                attach_thread(thread);
        }
    } while (roster.again);
}

int roster_is_idle(const struct thread *thread, uint64_t patience)
{
    patience += os_now();
    while (__atomic_load_n(&thread->busy, __ATOMIC_SEQ_CST) && os_now() < patience)
        os_wait(NULL, 0, os_now() + 50000);
    return !__atomic_load_n(&thread->busy, __ATOMIC_SEQ_CST);
}

void roster_detach_all(int keep_time)
{
    uint32_t limit = __atomic_load_n(&engine.thread_limit, __ATOMIC_ACQUIRE);
    for (uint32_t slot = 0; slot < limit; slot++) {
        struct thread *thread = threads_at(slot);
        if (thread != NULL && !keep_time)
            thread->uncharged = UINT64_MAX;
        if (thread == NULL || !thread->clock.attached)
            continue;
        int64_t cpu = keep_time ? os_thread_cpu(thread->tid) : -1;
        thread->uncharged = cpu >= 0 ? (uint64_t)cpu : UINT64_MAX;
        roster_stop_clock(thread);
        volatile void *page = counter_hide(&thread->instructions);
        if (roster_is_idle(thread, PAGE_PATIENCE_NS)) /* else the page stays until the process ends */
            counter_unmap(page);
        thread->clock.attached = 0;
    }
}

/* ---- the looks ---- */

/* Also finds the dead. */
static void look_at_all(int names)
{
    uint32_t limit = __atomic_load_n(&engine.thread_limit, __ATOMIC_ACQUIRE);
    for (uint32_t slot = 0; slot < limit; slot++) {
        struct thread *thread = threads_at(slot);
        if (thread == NULL)
            continue;
        int64_t cpu = os_thread_cpu(thread->tid);
        if (cpu < 0) {
            __atomic_store_n(&thread->state, THREAD_GONE, __ATOMIC_RELEASE);
            continue;
        }
        look_at(thread, (uint64_t)cpu, 0);
        if (limit <= FEW_THREADS && names)
            read_name(thread);
    }
}

void roster_begin(int first)
{
    roster.due = 0;
    roster.links = 0;
    threads_look_at_proc();
    if (!first)
        return;
    roster.noted = 0;
    if (threads_in_task_folder() == 0)
        writer_field(
            engine.writer, "note",
            "no /proc here: threads that ran before the start are not seen, native code has no names");
}

void roster_scan(uint64_t now)
{
    uint32_t links = threads_in_task_folder();
    int fresh = __atomic_exchange_n(&engine.fresh, 0, __ATOMIC_ACQ_REL) != 0;
    if (links == roster.links && now < roster.due) {
        follow_blocked();
        if (now >= roster.look && engine.thread_limit <= FEW_THREADS) {
            roster.look = now + SOON_NS;
            look_at_all(0);
            roster_attach_all();
        }
        if (fresh)
            roster_attach_all();
        return;
    }
    roster.links = links;
    roster.due = now + SECOND_NS;
    roster.look = now + SOON_NS;
    look_at_all(1);
    threads_scan();
    __atomic_store_n(&engine.scanned, 1, __ATOMIC_RELEASE);
    roster_attach_all();
}
