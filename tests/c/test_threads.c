/* SPDX-License-Identifier: MIT */
/* test_threads.c - the registry of threads, with more threads than slots are kept: a slot has one owner, its
 * records come to the helper under its owner's number, whole and in order, and all slots are free at the end.
 * Under ThreadSanitizer it also shows that owners, helper and those who search share nothing without order.
 */
#include "check.h"
#include "engine/engine.h"
#include <pthread.h>
#include <sys/mman.h>

/* By libc, so that the race detector sees memory come and go (the linker's --wrap). */
void *__wrap_os_map(size_t size);
void __wrap_os_unmap(void *memory, size_t size);

void *__wrap_os_map(size_t size)
{
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void __wrap_os_unmap(void *memory, size_t size)
{
    munmap(memory, size);
}

__attribute__((weak)) struct engine engine; /* for the build that has threads.c and no more of the engine */

enum { BEGINNERS = 4, LIVES = 400, RECORDS = 20 };

struct life {
    struct record record;
    uint32_t number, sequence;
};

static uint32_t owned[ENGINE_THREADS], wrong_owner, wrong_tid, no_slot;
static uint32_t ending; /* the beginners have all gone */
static uint32_t drained[BEGINNERS * LIVES], wrong_record;

/* What a hooked thread does from its birth to its end, and its handler between. */
static void live_once(int tid)
{
    struct thread *thread = threads_claim();
    if (thread == NULL) {
        __atomic_fetch_add(&no_slot, 1, __ATOMIC_RELAXED);
        return;
    }
    if (__atomic_exchange_n(&owned[thread->slot], 1, __ATOMIC_RELAXED) != 0)
        __atomic_fetch_add(&wrong_owner, 1, __ATOMIC_RELAXED);
    threads_begin(thread, tid);
    for (uint32_t i = 0; i < RECORDS;) {
        struct life *life = ring_reserve(&thread->ring, sizeof *life);
        if (life == NULL)
            continue;
        life->record.kind = RECORD_SAMPLE;
        life->number = thread->number;
        life->sequence = i++;
        ring_commit(&thread->ring, &life->record, sizeof *life);
    }
    struct thread *found = threads_of_tid(tid, NULL);
    if (found != thread || threads_of_tid(tid, thread) != NULL || threads_at(thread->slot) != thread)
        __atomic_fetch_add(&wrong_tid, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&owned[thread->slot], 0, __ATOMIC_RELAXED);
    __atomic_store_n(&thread->state, THREAD_GONE, __ATOMIC_RELEASE);
}

static void *begin(void *argument)
{
    int first = *(const int *)argument;
    for (int i = 0; i < LIVES; i++)
        live_once(first + i);
    return NULL;
}

static void drain(struct thread *thread)
{
    const struct record *record;
    while ((record = ring_peek(&thread->ring)) != NULL) {
        const struct life *life = (const struct life *)(const void *)record;
        if (life->number != thread->number || life->number >= BEGINNERS * LIVES ||
            life->sequence != drained[life->number]++)
            wrong_record++;
        ring_drop(&thread->ring, record);
    }
}

/* One look of the helper at all slots: how many are in use. */
static uint32_t look(void)
{
    uint32_t used = 0, limit = __atomic_load_n(&engine.thread_limit, __ATOMIC_ACQUIRE);
    for (uint32_t slot = 0; slot < limit; slot++) {
        struct thread *thread = __atomic_load_n(&engine.threads[slot], __ATOMIC_ACQUIRE);
        uint32_t state = thread != NULL ? __atomic_load_n(&thread->state, __ATOMIC_ACQUIRE) : THREAD_FREE;
        used += state != THREAD_FREE;
        if (state == THREAD_LIVE || state == THREAD_GONE)
            drain(thread);
        if (state == THREAD_GONE)
            threads_release(thread);
    }
    return used;
}

static void *help(void *argument)
{
    (void)argument;
    while (__atomic_load_n(&ending, __ATOMIC_ACQUIRE) == 0 || look() != 0)
        look();
    return NULL;
}

static void churn(void)
{
    pthread_t beginner[BEGINNERS], helper;
    int first[BEGINNERS];
    engine.rate = 1000;
    engine.depth = STACK_DEPTH_DEFAULT;
    CHECK(pthread_create(&helper, NULL, help, NULL) == 0);
    for (int i = 0; i < BEGINNERS; i++) {
        first[i] = 1000 + i * LIVES;
        CHECK(pthread_create(&beginner[i], NULL, begin, &first[i]) == 0);
    }
    for (int i = 0; i < BEGINNERS; i++)
        pthread_join(beginner[i], NULL);
    __atomic_store_n(&ending, 1, __ATOMIC_RELEASE);
    pthread_join(helper, NULL);
    CHECK_EQUAL(no_slot, 0);
    CHECK_EQUAL(wrong_owner, 0);
    CHECK_EQUAL(wrong_tid, 0);
    CHECK_EQUAL(wrong_record, 0);
    CHECK_EQUAL(engine.thread_numbers, BEGINNERS * LIVES);
    CHECK(engine.thread_limit <= BEGINNERS * LIVES);
    uint32_t incomplete = 0;
    for (uint32_t i = 0; i < BEGINNERS * LIVES; i++)
        incomplete += drained[i] != RECORDS;
    CHECK_EQUAL(incomplete, 0);
}

int main(int argc, char **argv)
{
    static const struct check_case cases[] = {{"churn", churn}};
    return check_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
