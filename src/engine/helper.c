/* SPDX-License-Identifier: MIT */
/* helper.c - the second actor: one raw thread that does everything that needs a system call. It opens the
 * clocks, drains the rings into the recording, keeps the libraries' tables and the thread list, reads the
 * resident set. It holds no libc state and has a descriptor table of its own, so the program owns none of our
 * descriptors and cannot close them; the table dies with the helper.
 * Its starts and ends: life.c. */
#include "engine.h"

#include "../core/decimal.h"
#include "../native/libs.h"
#include "../os/os.h"
#include "user.h"
#include "waits.h"
#include "follow.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

enum {
    SECOND_NS = 1000 * 1000 * 1000,
    /* How often the resident set is read, and missed libraries are looked at, where the clock does not wake
     * us anyway: more often while the program is still loading. */
    MEMORY_NS = 5 * 1000 * 1000,
    MEMORY_EARLY_NS = 1000 * 1000,
    END_PATIENCE_NS = 200 * 1000 * 1000, /* more threads than CPUs: one may have lost its CPU in a handler */
    EAGER_TEXT = 8 << 20, /* libraries with less text get their tables before a tick needs them */
};

static struct {
    uint64_t drain, memory; /* os_now() when next due */
    int all;                /* a drain was asked for: also what is usually written later */
    uint32_t libraries;     /* written to the recording so far */
    int statm;
    int64_t resident, mapped; /* pages */
    int executes;             /* 1: the recording says that another program takes this one's place */
} turn;

/* ---- draining ---- */

static uint32_t library_of(void *context, uint64_t pc, uint64_t *bias)
{
    const struct library *library = libs_find(context, pc);
    if (library == NULL)
        return UINT32_MAX;
    *bias = library->bias;
    return library->id;
}

static void keep_libraries(void);

/* A sample may have met a library that came after the last look at the maps: its handler said so before it
 * gave the sample away, so looking again now names every frame. Bounded, for code that no map names. */
static void keep_up_with(unsigned *looks)
{
    enum { LOOKS = 32 };
    if (*looks < LOOKS && __atomic_exchange_n(&engine.missed, 0, __ATOMIC_ACQ_REL)) {
        ++*looks;
        keep_libraries();
    }
}

static void drain_ring(struct thread *thread, unsigned *looks)
{
    const struct record *record;
    while ((record = ring_peek(&thread->ring)) != NULL) {
        keep_up_with(looks);
        if (record->kind == RECORD_CODE)
            writer_code(engine.writer, (const struct code *)(const void *)record);
        else if (record->kind == RECORD_SAMPLE)
            writer_sample(engine.writer, thread->number, (const struct sample *)(const void *)record,
                          library_of, (void *)(uintptr_t)libs_current(engine.libs));
        ring_drop(&thread->ring, record);
    }
    uint64_t lost = __atomic_load_n(&thread->lost, __ATOMIC_RELAXED);
    uint64_t weight = __atomic_load_n(&thread->lost_weight, __ATOMIC_RELAXED);
    if (lost != thread->lost_seen)
        writer_lost(engine.writer, thread->number, "ring full", lost - thread->lost_seen,
                    weight - thread->lost_weight_seen);
    thread->lost_seen = lost;
    thread->lost_weight_seen = weight;
}

void helper_drain_thread(struct thread *thread)
{
    unsigned looks = 0;
    drain_ring(thread, &looks);
}

static void bury(struct thread *thread)
{
    if (thread->clock.attached)
        roster_stop_clock(thread);
    roster_write_off(thread, "the thread ended before its tick");
    counter_unmap(counter_hide(&thread->instructions));
    if (thread->timer >= 0)
        os_call1(SYS_timer_delete, thread->timer);
    thread->timer = -1;
    engine.handler_time += thread->time;
    engine.reruns += thread->reruns;
    engine.put_off += thread->put_off;
    engine.calls += thread->calls + thread->guard.probes;
    thread->guard.probes = 0;
    threads_release(thread);
}

static void drain_rings(void)
{
    unsigned looks = 0;
    uint32_t limit = __atomic_load_n(&engine.thread_limit, __ATOMIC_ACQUIRE);
    for (uint32_t slot = 0; slot < limit; slot++) {
        struct thread *thread = __atomic_load_n(&engine.threads[slot], __ATOMIC_ACQUIRE);
        uint32_t state = thread ? __atomic_load_n(&thread->state, __ATOMIC_ACQUIRE) : THREAD_FREE;
        if (state != THREAD_LIVE && state != THREAD_GONE)
            continue;
        if (thread->clock.attached)
            engine.clock->settle(thread);
        drain_ring(thread, &looks);
        if (engine.wall)
            look_write_wait(thread, os_now(), turn.all);
        if (state == THREAD_GONE)
            bury(thread);
    }
}

static void write_counters(void)
{
    uint64_t handler_time = engine.handler_time, reruns = engine.reruns, put_off = engine.put_off;
    uint64_t calls = engine.calls;
    uint32_t limit = __atomic_load_n(&engine.thread_limit, __ATOMIC_ACQUIRE);
    for (uint32_t slot = 0; slot < limit; slot++) {
        const struct thread *thread = threads_at(slot);
        if (thread == NULL)
            continue;
        handler_time += __atomic_load_n(&thread->time, __ATOMIC_RELAXED);
        reruns += __atomic_load_n(&thread->reruns, __ATOMIC_RELAXED);
        put_off += __atomic_load_n(&thread->put_off, __ATOMIC_RELAXED);
        calls += __atomic_load_n(&thread->calls, __ATOMIC_RELAXED) + thread->guard.probes;
    }
    int64_t cpu = os_thread_cpu(os_thread_id());
    engine.helper_time = engine.helper_time_before + (cpu > 0 ? (uint64_t)cpu : 0);
    writer_counter(engine.writer, "handler_ns", handler_time);
    writer_counter(engine.writer, "helper_ns", engine.helper_time);
    writer_counter(engine.writer, "handler_calls", calls);
    writer_counter(engine.writer, "reruns", reruns);
    writer_counter(engine.writer, "put_off", put_off);
    writer_counter(engine.writer, "unwind_memory", libs_memory(engine.libs));
}

/* ---- libraries, memory, interpreter ---- */

static void keep_libraries(void)
{
    uint64_t missed[8];
    unsigned count = 0;
    uint32_t limit = __atomic_load_n(&engine.thread_limit, __ATOMIC_ACQUIRE);
    for (uint32_t slot = 0; slot < limit; slot++) {
        struct thread *thread = threads_at(slot);
        uint64_t pc = thread ? __atomic_exchange_n(&thread->unwound_at, 0, __ATOMIC_RELAXED) : 0;
        if (pc != 0 && count < 8)
            missed[count++] = pc;
    }
    static uint64_t next;
    uint64_t now = os_now();
    if ((count > 0 || now >= next) && libs_refresh(engine.libs) > 0) {
        libs_want_all(engine.libs, EAGER_TEXT);
        for (unsigned i = 0; i < count; i++) {
            struct library *library = libs_find(libs_current(engine.libs), missed[i]);
            if (library != NULL)
                __atomic_store_n(&library->wanted, 1, __ATOMIC_RELAXED);
        }
    }
    if (now >= next)
        next = now + SECOND_NS;
    libs_build(engine.libs, 64);
    for (; turn.libraries < libs_count(engine.libs); turn.libraries++) {
        const struct library *library = libs_get(engine.libs, turn.libraries);
        writer_library(engine.writer, library->id, library->start, library->end, library->bias,
                       library->build_id, library->build_id_size, library->path);
    }
}

static const char *parse_pages(const char *text, int64_t *pages)
{
    uint64_t number;
    text = decimal_get(text, &number);
    *pages = (int64_t)number;
    return *text == ' ' ? text + 1 : text;
}

static void read_memory(void)
{
    char text[128];
    long size = turn.statm < 0 ? -1 : os_pread(turn.statm, text, sizeof text - 1, 0);
    if (size <= 0)
        return;
    text[size] = 0;
    int64_t mapped, resident;
    parse_pages(parse_pages(text, &mapped), &resident);
    if (turn.resident != 0 && resident != turn.resident)
        __atomic_fetch_add(&engine.memory_delta, (resident - turn.resident) * 4096, __ATOMIC_RELAXED);
    if (mapped < turn.mapped)
        __atomic_fetch_add(&engine.unmapped, 1, __ATOMIC_RELEASE);
    turn.resident = resident;
    turn.mapped = mapped;
}

/* Python may start, and a thread may enter it, long after us. */
static void find_interpreter(void)
{
    uint32_t limit = __atomic_load_n(&engine.thread_limit, __ATOMIC_ACQUIRE);
    for (uint32_t slot = 0; slot < limit && engine.python_state == 1; slot++) {
        if (__atomic_load_n(&engine.python.slot, __ATOMIC_RELAXED) != 0)
            return;
        struct thread *thread = threads_at(slot);
        uint64_t pointer = thread ? __atomic_load_n(&thread->pointer, __ATOMIC_RELAXED) : 0;
        if (pointer != 0)
            py_find_slot(&engine.python, pointer, engine.data_offset);
    }
}

/* Loaded late, the library can't stand between the program and its signals: what was set by a call that does
 * not go through a module's slot is found here. */
static void check_signal(void)
{
    struct {
        uint64_t handler, flags, restorer, mask;
    } action;
    if (engine.signal_lost || os_call4(SYS_rt_sigaction, ENGINE_SIGNAL, 0, &action, 8) < 0 ||
        action.handler == (uint64_t)(uintptr_t)handler_on_signal)
        return;
    engine.signal_lost = 1;
    writer_field(engine.writer, "note",
                 "the program took SIGURG for itself: there are no samples from then on (start it with "
                 "`plait run`, which can share the signal)");
}

/* ---- the loop ---- */

static void drain(uint64_t now)
{
    uint32_t asked = __atomic_load_n(&engine.drain_asked, __ATOMIC_ACQUIRE);
    keep_libraries();
    find_interpreter();
    turn.all = asked != engine.drain_done;
    drain_rings();
    static uint64_t counters;
    if (now >= counters || asked != engine.drain_done) {
        counters = now + SECOND_NS;
        check_signal();
        user_follow(engine.writer);
        write_counters();
    }
    writer_flush(engine.writer, now);
    if (asked != __atomic_load_n(&engine.drain_done, __ATOMIC_RELAXED)) {
        __atomic_store_n(&engine.drain_done, asked, __ATOMIC_RELEASE);
        os_wake(&engine.drain_done);
    }
}

static void wait_for_handlers(void)
{
    for (uint32_t slot = 0; slot < engine.thread_limit; slot++) {
        const struct thread *thread = threads_at(slot);
        if (thread != NULL)
            roster_is_idle(thread, END_PATIENCE_NS);
    }
}

static void rest_or_work(void)
{
    uint32_t resting = __atomic_load_n(&engine.resting, __ATOMIC_ACQUIRE);
    if (resting == engine.clocks_off)
        return;
    engine.clocks_off = resting;
    __atomic_store_n(&engine.scanned, 0, __ATOMIC_RELEASE);
    if (resting)
        roster_detach_all(0);
    else
        roster_attach_all();
}

static void work(void)
{
    for (;;) {
        uint32_t bell = __atomic_load_n(&engine.bell, __ATOMIC_ACQUIRE);
        uint64_t now = os_now();
        if (__atomic_load_n(&engine.detach, __ATOMIC_ACQUIRE) ||
            __atomic_load_n(&engine.status, __ATOMIC_ACQUIRE) != ENGINE_RUNNING)
            return;
        rest_or_work();
        if (__atomic_load_n(&engine.fresh, __ATOMIC_RELAXED))
            roster_scan(now);
        if (__atomic_exchange_n(&engine.missed, 0, __ATOMIC_ACQ_REL))
            keep_libraries();
        uint64_t next = engine.clocks_off ? UINT64_MAX : engine.clock->turn(now);
        if (engine.wall && !engine.clocks_off && engine.clock->turn != look_turn)
            next = look_turn(now);
        if (now >= turn.memory && !engine.clocks_off) {
            read_memory();
            uint64_t every = now - engine.start < 2ULL * SECOND_NS ? MEMORY_EARLY_NS : MEMORY_NS;
            turn.memory = now + (next == UINT64_MAX                ? every
                                 : engine.period < MEMORY_EARLY_NS ? MEMORY_EARLY_NS
                                                                   : 0);
        }
        if (now >= turn.drain || engine.drain_asked != engine.drain_done) {
            if (!engine.clocks_off)
                roster_scan(now);
            drain(now);
            turn.drain = now + (engine.clocks_off ? SECOND_NS : ENGINE_DRAIN_NS);
        }
        if (next == UINT64_MAX && !engine.clocks_off && turn.memory < turn.drain)
            next = turn.memory;
        os_wait(&engine.bell, bell, next < turn.drain ? next : turn.drain);
    }
}

static int choose_clock(struct error *error)
{
    /* In wall mode all clocks look at the threads, and poll's looks tell the CPU time, too. */
    const struct clock_ops *const clocks[] = {engine.wall ? &clock_poll : &clock_perf,
                                              engine.wall ? &clock_perf : &clock_poll, &clock_posix};
    if (engine.clock != NULL)
        return 0;
    int code = 4;
    for (unsigned i = 0; i < 3; i++) {
        if (engine.wanted_clock != NULL && strcmp(engine.wanted_clock, clocks[i]->name) != 0)
            continue;
        code = clocks[i]->probe(error);
        if (code == 0) {
            engine.clock = clocks[i];
            return 0;
        }
    }
    return code;
}

static int open_recording(void)
{
    if (engine.writer != NULL) {
        if (turn.executes) /* it failed */
            writer_field(engine.writer, "exec", "");
        turn.executes = 0;
        return writer_attach(engine.writer, &engine.error);
    }
    follow_take_name();
    turn.executes = 0;
    engine.writer = writer_new();
    if (engine.writer == NULL)
        return error_set(&engine.error, 5, 0, "no memory for the recording");
    int code = writer_open(engine.writer, engine.output, engine.overwrite, engine.start, engine.fields,
                           &engine.error);
    if (code != 0) {
        writer_free(engine.writer);
        engine.writer = NULL;
        return code;
    }
    writer_set_waits(engine.writer, waits_name);
    writer_field(engine.writer, "clock", engine.clock->name);
    int counter = counter_probe();
    struct error error;
    engine.counting = counter == 0;
    if (!engine.counting)
        error_set(&error, PROFILER_SYSTEM, -counter,
                  "no hardware counter can be read here: perf_event_open of instructions");
    writer_field(engine.writer, "instructions", engine.counting ? "counted" : error.text);
    if (engine.clock->note[0] != 0)
        writer_field(engine.writer, "note", engine.clock->note);
    turn.libraries = 0;
    turn.resident = turn.mapped = 0;
    return 0;
}

static int begin(void)
{
    engine.prompt = os_be_prompt();
    /* CLOSE_RANGE_UNSHARE: a table of our own, empty. Before Linux 5.9: unshare(CLONE_FILES), a copy, which
     * keeps the program's descriptors open: so they are closed one by one. */
    if (os_call3(436 /* close_range */, 0, ~0U, 2) < 0) {
        if (os_call1(SYS_unshare, 0x400) < 0)
            return error_set(&engine.error, 9, 1, "unshare(CLONE_FILES) for the helper's descriptors");
        for (int fd = 0; fd < 65536; fd++)
            os_close(fd);
    }
    struct error error;
    int code = choose_clock(&error);
    if (code != 0) {
        engine.error = error;
        return code;
    }
    int first = engine.writer == NULL;
    if ((code = open_recording()) != 0)
        return code;
    turn.statm = os_open("/proc/self/statm", O_RDONLY, 0);
    turn.drain = turn.memory = 0;
    roster_begin(first);
    if (!__atomic_load_n(&engine.unborn, __ATOMIC_ACQUIRE)) /* else the program is not waiting, but running */
        keep_libraries();
    return 0;
}

static void write_off_all(void)
{
    for (uint32_t slot = 0; slot < engine.thread_limit; slot++) {
        struct thread *thread = threads_at(slot);
        if (thread != NULL)
            roster_write_off(thread, "the recording ended before its tick");
    }
}

static void end(void)
{
    int detach = __atomic_load_n(&engine.status, __ATOMIC_ACQUIRE) == ENGINE_RUNNING;
    if (!detach)
        roster_last_look();
    roster_detach_all(detach);
    wait_for_handlers();
    if (detach && engine.executes != NULL) {
        writer_field(engine.writer, "exec", engine.executes);
        turn.executes = 1;
    }
    drain(os_now());
    if (!detach)
        write_off_all();
    write_counters();
    engine.helper_time_before = engine.helper_time;
    if (detach) {
        user_follow(engine.writer);
        writer_detach(engine.writer);
        return;
    }
    writer_close(engine.writer, os_now(), &engine.error);
    __atomic_store_n(&engine.status, ENGINE_STOPPED, __ATOMIC_RELEASE);
}

static void answer(uint32_t ready)
{
    __atomic_store_n(&engine.ready, ready, __ATOMIC_RELEASE);
    os_wake(&engine.ready);
}

void helper_main(void *argument)
{
    (void)argument;
    __atomic_store_n(&engine.helper_last, os_thread_id(), __ATOMIC_RELEASE);
    if (begin() != 0) {
        __atomic_store_n(&engine.status, ENGINE_FAILED, __ATOMIC_RELEASE);
        answer(2);
        return;
    }
    uint32_t starting = ENGINE_STARTING;
    __atomic_compare_exchange_n(&engine.status, &starting, ENGINE_RUNNING, 0, __ATOMIC_ACQ_REL,
                                __ATOMIC_RELAXED);
    engine.clocks_off = 0;
    rest_or_work();
    if (__atomic_exchange_n(&engine.unborn, 0, __ATOMIC_SEQ_CST))
        writer_lost(engine.writer, 0, "before sampling began", 0, os_process_cpu() - engine.armed_cpu);
    roster_scan(os_now());
    answer(1);
    work();
    end();
}
