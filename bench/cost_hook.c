/* SPDX-License-Identifier: MIT */
/* cost_hook.c - the library with functions more, for bench/cost.py: a handler that returns at once, and a handler
 * timed from its first to its last instruction. Built with the objects of libprofiler.a into a library of its
 * own. */
#include "../src/engine/engine.h"
#include "../src/os/os.h"
#include <string.h>

#define BENCH __attribute__((visibility("default")))

enum { TIMES = 1 << 16 };

BENCH void bench_empty_handler(int empty);
BENCH void bench_timed_handler(int timed);
BENCH uint32_t bench_times(uint32_t *out, uint32_t capacity);

static uint32_t times[TIMES], count;

void bench_empty_handler(int empty)
{
    engine.empty_handler = empty;
}

static void timed_handler(int signal, siginfo_t *info, void *context)
{
    uint64_t begin = os_now();
    handler_on_signal(signal, info, context);
    uint64_t took = os_now() - begin;
    uint32_t at = __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
    if (at < TIMES)
        times[at] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
}

/* After a start with 1, before the stop with 0: the engine must find its own handler when it starts. */
void bench_timed_handler(int timed)
{
    struct sigaction action;
    guest_real_sigaction(ENGINE_SIGNAL, NULL, &action);
    action.sa_sigaction = timed ? timed_handler : handler_on_signal;
    guest_real_sigaction(ENGINE_SIGNAL, &action, NULL);
}

/* The times since the last call, ns; how many were copied. */
uint32_t bench_times(uint32_t *out, uint32_t capacity)
{
    uint32_t have = __atomic_exchange_n(&count, 0, __ATOMIC_RELAXED);
    have = have < TIMES ? have : TIMES;
    have = have < capacity ? have : capacity;
    memcpy(out, times, have * sizeof *out);
    return have;
}
