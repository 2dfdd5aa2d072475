/* SPDX-License-Identifier: MIT */
/* life.c - when the helper exists.
 *
 * Not when fork() returns (Python 3.12+ counts threads and warns): the prepare handler makes it write
 * everything out and end, a timer's signal starts it again 10 ms after the last fork. So starts come from the
 * interface (its lock held), from signal handlers and from whoever waits for a drain, and never may two of
 * them make two helpers, nor one make a helper where a fork or a stop has just ended it. Async-signal-safe,
 * but for the waits of helper_start, helper_join and helper_detach. */
#include "engine.h"

#include "../os/os.h"
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

/* After the last fork, in CPU time of the process: one that lost its CPU between fork() and its look at the
 * thread count must not find us back already. */
enum { RESTART_NS = 10 * 1000 * 1000 };

static unsigned char stack[256 << 10] __attribute__((aligned(4096)));

void helper_ring(void)
{
    __atomic_fetch_add(&engine.bell, 1, __ATOMIC_RELEASE);
    os_wake(&engine.bell);
}

/* The word holds RESERVED while somebody is about to start the helper; no thread of ours has that number. */
enum { RESERVED = 1 };

/* The kernel's own wake at a thread's end, which os_join waits for, is of the shared kind. */
static void helper_unreserve(void)
{
    __atomic_store_n(&engine.helper_tid, 0, __ATOMIC_SEQ_CST);
    os_call3(SYS_futex, &engine.helper_tid, FUTEX_WAKE, INT32_MAX);
}

static int spawn_reserved(void)
{
    int result = os_spawn(helper_main, NULL, stack, sizeof stack, &engine.helper_tid);
    if (result != 0)
        helper_unreserve();
    return result;
}

int helper_start(void)
{
    uint32_t present = 0;
    while (!__atomic_compare_exchange_n(&engine.helper_tid, &present, RESERVED, 0, __ATOMIC_SEQ_CST,
                                        __ATOMIC_ACQUIRE)) {
        if (present != RESERVED)
            return 0;
        os_wait(NULL, 0, os_now() + 50000); /* a restart on another thread makes up its mind */
        present = 0;
    }
    return spawn_reserved();
}

/* The reservation comes before the look at what it must not disturb: a fork or a stop that begins meanwhile
 * waits for the word to clear. */
void helper_restart(void)
{
    uint32_t none = 0;
    if (!__atomic_compare_exchange_n(&engine.helper_tid, &none, RESERVED, 0, __ATOMIC_SEQ_CST,
                                     __ATOMIC_RELAXED))
        return;
    if (__atomic_load_n(&engine.detach, __ATOMIC_SEQ_CST) != 0 ||
        __atomic_load_n(&engine.status, __ATOMIC_SEQ_CST) != ENGINE_RUNNING)
        helper_unreserve();
    else if (spawn_reserved() != 0)
        helper_restart_later();
}

void helper_detach(void)
{
    __atomic_store_n(&engine.detach, 1, __ATOMIC_SEQ_CST);
    helper_join();
}

void helper_join(void)
{
    helper_ring();
    os_join(&engine.helper_tid);
    int last = __atomic_exchange_n(&engine.helper_last, 0, __ATOMIC_ACQ_REL);
    if (last != 0)
        os_wait_gone(last);
}

void helper_release(void)
{
    __atomic_store_n(&engine.detach, 0, __ATOMIC_SEQ_CST);
}

/* Never set again while its signal is to come: the kernel (6.13+) would drop one that has ended a wait. */
int helper_restart_later(void)
{
    struct itimerspec later = {{0, 0}, {0, RESTART_NS}};
    if (engine.restart_timer < 0)
        return -ENOSYS;
    if (__atomic_exchange_n(&engine.restart_set, 1, __ATOMIC_SEQ_CST))
        return 0;
    int result = (int)os_call4(SYS_timer_settime, engine.restart_timer, 0, &later, 0);
    if (result < 0)
        __atomic_store_n(&engine.restart_set, 0, __ATOMIC_SEQ_CST);
    return result;
}

/* Does the interpreter count the process's threads when fork() has returned? */
static int counts_threads(void)
{
    return engine.python_state == 1 && engine.python.minor >= 12;
}

/* A process that forks all the time is sampled between its forks, unless it would see the helper. */
void helper_timer_fired(void)
{
    __atomic_store_n(&engine.restart_set, 0, __ATOMIC_SEQ_CST);
    if (counts_threads() && engine.forked_cpu != 0 && os_process_cpu() - engine.forked_cpu < RESTART_NS)
        helper_restart_later();
    else
        helper_restart();
}
