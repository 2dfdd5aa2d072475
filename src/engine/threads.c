/* SPDX-License-Identifier: MIT */
/* threads.c - the slots of the threads that are sampled. A slot's memory is mapped at its first use and kept
 * for the next thread, since a handler may still stand on it; what was never touched costs nothing. */
#include "engine.h"

#include "../core/decimal.h"
#include "../os/os.h"
#include "proc.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

struct thread *threads_at(uint32_t slot)
{
    if (slot >= ENGINE_THREADS)
        return NULL;
    struct thread *thread = __atomic_load_n(&engine.threads[slot], __ATOMIC_ACQUIRE);
    if (thread == NULL || __atomic_load_n(&thread->state, __ATOMIC_ACQUIRE) != THREAD_LIVE)
        return NULL;
    return thread;
}

/* Room for 50 ms of the deepest stacks, within bounds, and for four of them at any rate: a record above half
 * the ring might fit nowhere. */
static uint32_t ring_size(void)
{
    uint64_t stack = sizeof(struct sample) + (uint64_t)engine.depth * sizeof(struct frame);
    uint64_t wanted = engine.rate / 20 * stack;
    uint32_t size = 128 << 10;
    while (size < wanted && size < (4U << 20))
        size *= 2;
    while (size < 4 * stack)
        size *= 2;
    return size;
}

static size_t pages(size_t size)
{
    return (size + 4095) & ~(size_t)4095;
}

static struct thread *thread_map(uint32_t slot)
{
    size_t head = pages(sizeof(struct thread));
    size_t native = pages((NATIVE_WALK_MAX + 1) * sizeof(struct native_frame));
    size_t python = pages(STACK_WALK_MAX * sizeof(struct py_frame));
    size_t segments = pages(STACK_WALK_MAX * sizeof(struct py_segment));
    size_t braided = pages(((size_t)NATIVE_WALK_MAX + STACK_WALK_MAX) * sizeof(struct frame));
    uint32_t ring = ring_size();
    size_t total = head + native + python + segments + braided;
    unsigned char *memory = os_map(total);
    if (memory == NULL)
        return NULL;
    struct thread *thread = (struct thread *)(void *)memory;
    thread->mapped = total;
    thread->slot = slot;
    thread->native = (struct native_frame *)(void *)(memory += head);
    thread->python = (struct py_frame *)(void *)(memory += native);
    thread->segments = (struct py_segment *)(void *)(memory += python);
    thread->braided = (struct frame *)(void *)(memory + segments);
    void *bytes = os_map(ring);
    if (bytes == NULL) {
        os_unmap(thread, total);
        return NULL;
    }
    ring_init(&thread->ring, bytes, ring);
    return thread;
}

/* A new thread's values; the mapped memory, and what the caches know, stays. */
static void thread_clear(struct thread *thread)
{
    ring_init(&thread->ring, thread->ring.bytes, thread->ring.size);
    __atomic_store_n(&thread->tid, 0, __ATOMIC_RELAXED);
    thread->tries = 0;
    thread->pointer = thread->carry = thread->carry_time = thread->unwound_at = thread->owed =
        thread->owed_wall = thread->carry_wall = 0;
    thread->lost = thread->lost_weight = thread->lost_seen = thread->lost_weight_seen = 0;
    thread->given = thread->time = thread->reruns = thread->put_off = thread->calls = thread->ticks = 0;
    thread->answered_ticks = thread->answered_cpu = 0;
    thread->suspected = 0;
    thread->blocks = thread->task = 0;
    thread->heard = 0;
    thread->in_wait = thread->python_count = thread->native_count = 0;
    thread->uncharged = UINT64_MAX;
    thread->timer = thread->cpu = -1;
    thread->aimed = thread->rest_until = 0;
    thread->aimed_cpu = -1;
    thread->name[0] = 0;
    thread->guard.current = &engine.unmapped;
    memset(&thread->clock, 0, sizeof thread->clock);
    memset(&thread->look, 0, sizeof thread->look);
    thread->clock.fd = thread->clock.timer = thread->look.schedstat = -1;
    thread->instructions = (struct counter){.fd = -1};
    if (thread->ring.size < ring_size()) {
        void *larger = os_map(ring_size());
        if (larger != NULL) {
            os_unmap(thread->ring.bytes, thread->ring.size);
            ring_init(&thread->ring, larger, ring_size());
        }
    }
}

void threads_live(struct thread *thread, int tid)
{
    __atomic_store_n(&thread->tid, tid, __ATOMIC_RELAXED);
    thread->number = __atomic_fetch_add(&engine.thread_numbers, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&thread->state, THREAD_LIVE, __ATOMIC_SEQ_CST);
}

static int claim(uint32_t slot)
{
    uint32_t free = THREAD_FREE;
    struct thread *thread = __atomic_load_n(&engine.threads[slot], __ATOMIC_ACQUIRE);
    if (thread != NULL) {
        if (!__atomic_compare_exchange_n(&thread->state, &free, THREAD_CLAIMED, 0, __ATOMIC_SEQ_CST,
                                         __ATOMIC_RELAXED))
            return 0;
        if (__atomic_load_n(&thread->busy, __ATOMIC_SEQ_CST) == 0)
            return 1;
        threads_release(thread); /* a late handler still writes to it */
        return 0;
    }
    if ((thread = thread_map(slot)) == NULL)
        return -ENOMEM;
    thread->state = THREAD_CLAIMED;
    struct thread *none = NULL;
    if (__atomic_compare_exchange_n(&engine.threads[slot], &none, thread, 0, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED))
        return 1;
    os_unmap(thread->ring.bytes, thread->ring.size);
    os_unmap(thread, thread->mapped);
    return 0;
}

struct thread *threads_claim(void)
{
    for (uint32_t slot = 0; slot < ENGINE_THREADS; slot++) {
        int claimed = claim(slot);
        if (claimed < 0)
            return NULL;
        if (claimed == 0)
            continue;
        uint32_t limit = __atomic_load_n(&engine.thread_limit, __ATOMIC_RELAXED);
        while (limit <= slot && !__atomic_compare_exchange_n(&engine.thread_limit, &limit, slot + 1, 0,
                                                             __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            ;
        struct thread *thread = __atomic_load_n(&engine.threads[slot], __ATOMIC_ACQUIRE);
        thread_clear(thread);
        return thread;
    }
    return NULL;
}

void threads_release(struct thread *thread)
{
    __atomic_store_n(&thread->state, THREAD_FREE, __ATOMIC_RELEASE);
}

/* All slots free again, but those that a hook is filling: before a start, when no handler can run. */
void threads_reset(void)
{
    for (uint32_t slot = 0; slot < engine.thread_limit; slot++) {
        struct thread *thread = engine.threads[slot];
        if (thread != NULL && __atomic_load_n(&thread->state, __ATOMIC_ACQUIRE) != THREAD_CLAIMED)
            threads_release(thread);
    }
    engine.thread_numbers = 0;
}

/* Timers of the last recording, until no signal of theirs can be under way any more: the kernel (6.13+) drops
 * a deleted timer's signal, which may have ended a wait already, and no handler runs it again. */
enum { OLD_TIMERS = 1024, OLD_NS = 1000 * 1000 * 1000 };
static struct {
    int timer;
    uint64_t since;
} old_timers[OLD_TIMERS];
static uint32_t old_count;

void threads_sweep(uint64_t now)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < old_count; i++) {
        if (now - old_timers[i].since < OLD_NS)
            old_timers[kept++] = old_timers[i];
        else
            os_call1(SYS_timer_delete, old_timers[i].timer);
    }
    old_count = kept;
}

void threads_after_fork(void)
{
    old_count = 0; /* timers are not inherited */
}

void threads_drop_timers(void)
{
    uint64_t now = os_now();
    threads_sweep(now);
    for (uint32_t slot = 0; slot < engine.thread_limit; slot++) {
        struct thread *thread = engine.threads[slot];
        if (thread == NULL || __atomic_load_n(&thread->state, __ATOMIC_ACQUIRE) == THREAD_CLAIMED ||
            thread->timer < 0)
            continue;
        if (old_count == OLD_TIMERS) {
            os_call1(SYS_timer_delete, thread->timer);
        } else {
            old_timers[old_count].timer = thread->timer;
            old_timers[old_count++].since = now;
        }
        thread->timer = -1;
    }
}

/* ---- the task folder ---- */

static int foreign; /* its numbers are another namespace's */

void threads_look_at_proc(void)
{
    foreign = proc_is_foreign();
}

struct thread *threads_of_tid(int tid, const struct thread *but)
{
    uint32_t limit = __atomic_load_n(&engine.thread_limit, __ATOMIC_SEQ_CST);
    for (uint32_t slot = 0; slot < limit; slot++) {
        struct thread *thread = threads_at(slot);
        if (thread != NULL && thread != but && __atomic_load_n(&thread->tid, __ATOMIC_RELAXED) == tid)
            return thread;
    }
    return NULL;
}

/* A thread that begins may stand in the task folder already, and be adopted, and its number may have been a
 * dead thread's: its own slot is the one that stays. Each side makes its slot live before it looks. */
void threads_begin(struct thread *thread, int tid)
{
    struct thread *other;
    threads_live(thread, tid);
    while ((other = threads_of_tid(tid, thread)) != NULL) {
        uint32_t live = THREAD_LIVE;
        __atomic_compare_exchange_n(&other->state, &live, THREAD_GONE, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    }
}

/* `task`: its number in /proc where that is another one, else 0. */
static void adopt(int tid, int task)
{
    if (tid == 0 || tid == (int)__atomic_load_n(&engine.helper_tid, __ATOMIC_RELAXED) ||
        (engine.only_tid != 0 && tid != engine.only_tid))
        return;
    struct thread *thread = threads_of_tid(tid, NULL);
    if (thread != NULL) {
        thread->task = task;
        return;
    }
    if ((thread = threads_claim()) == NULL)
        return;
    thread->task = task;
    if (engine.scanned)
        thread->uncharged = 0;
    threads_live(thread, tid);
    if (threads_of_tid(tid, thread) != NULL)
        __atomic_store_n(&thread->state, THREAD_GONE, __ATOMIC_SEQ_CST);
}

struct directory_entry { /* what getdents64 gives */
    uint64_t inode, offset;
    uint16_t size;
    unsigned char type;
    char name[];
};

static int number_of(const char *name)
{
    uint64_t number;
    return *decimal_get(name, &number) == 0 ? (int)number : 0;
}

void threads_scan(void)
{
    static uint64_t buffer[4096];
    int fd = os_open("/proc/self/task", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) { /* the threads that one knows of all the same; hooks find the others */
        adopt(engine.pid, 0);
        adopt(engine.starter, 0);
        return;
    }
    long size;
    while ((size = os_call3(SYS_getdents64, fd, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < size;) {
            const struct directory_entry *entry = (const void *)((const char *)buffer + at);
            int tid = number_of(entry->name);
            if (tid > 0 && foreign)
                adopt(proc_own_number(tid), tid);
            else if (tid > 0)
                adopt(tid, 0);
            at += entry->size;
        }
    }
    os_close(fd);
}

uint32_t threads_in_task_folder(void)
{
    struct stat status;
    if (os_call2(SYS_stat, "/proc/self/task", &status) < 0)
        return 0;
    return (uint32_t)status.st_nlink;
}
