/* SPDX-License-Identifier: MIT */
/* clock_perf.c - a software cpu-clock event per thread that signals its thread at each period of CPU time.
 *
 * Only where the event may include the kernel: without it, ticks that fall into system calls are dropped and
 * their time goes to the wrong stacks. Never IOC_REFRESH (hangs Linux 6.16 and 6.17), never attr.sigtrap (a
 * tick within execve kills the new program). The period is odd (997 us for 1 kHz): no program runs in step
 * with it.
 *
 * Several overflows may merge into one signal (a long system call): the event's mapped buffer gets a record
 * for each, so the handler sees how many there were without a system call. Overflows that the kernel itself
 * missed are found from the event's count. */
#include "engine.h"

#include "../os/os.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { PAGES = 2, RECORD_BYTES = 8 };

static uint64_t event_period(void)
{
    return engine.period * 997003 / 1000000;
}

static int event_open(int tid)
{
    struct perf_event_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.size = sizeof attr;
    attr.type = PERF_TYPE_SOFTWARE;
    attr.config = PERF_COUNT_SW_CPU_CLOCK;
    attr.sample_period = event_period();
    attr.exclude_hv = 1;
    attr.wakeup_events = 1;
    attr.disabled = 1;
    return (int)os_call5(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static int probe(struct error *error)
{
    int fd = event_open(0);
    if (fd < 0)
        return error_set(error, 4, -fd,
                         "clock perf: perf_event_open of a cpu-clock that includes the kernel (needs root, "
                         "CAP_PERFMON or perf_event_paranoid <= 1; clock poll needs nothing)");
    os_close(fd);
    return 0;
}

static int direct_signals(int fd, int tid)
{
    struct f_owner_ex owner = {F_OWNER_TID, tid};
    long result = os_call3(SYS_fcntl, fd, F_SETFL, O_ASYNC);
    if (result >= 0)
        result = os_call3(SYS_fcntl, fd, F_SETSIG, ENGINE_SIGNAL);
    if (result >= 0)
        result = os_call3(SYS_fcntl, fd, F_SETOWN_EX, &owner);
    if (result >= 0)
        result = os_call3(SYS_ioctl, fd, PERF_EVENT_IOC_ENABLE, 0);
    return (int)result;
}

/* CPU time that ticks have stood for so far, or will when they come. */
static uint64_t standing_for(struct thread *thread)
{
    return __atomic_load_n(&thread->given, __ATOMIC_RELAXED) +
           __atomic_load_n(&thread->owed, __ATOMIC_RELAXED) +
           __atomic_load_n(&thread->carry, __ATOMIC_RELAXED);
}

/* Overflows of which the handler has not heard yet: their signal is on its way. */
static uint64_t overflows_waiting(const struct clock_thread *clock)
{
    volatile struct perf_event_mmap_page *page = clock->page;
    return page != NULL ? (page->data_head - __atomic_load_n(&clock->head, __ATOMIC_RELAXED)) / RECORD_BYTES
                        : 0;
}

static int attach(struct thread *thread)
{
    struct clock_thread *clock = &thread->clock;
    int fd = event_open(thread->tid);
    if (fd < 0)
        return fd;
    /* Mapped for reading only: the kernel overwrites old records and its head runs on. */
    long page = os_call6(SYS_mmap, 0, PAGES * 4096, PROT_READ, MAP_SHARED, fd, 0);
    clock->page = page < 0 && page > -4096 ? NULL : (volatile void *)page;
    clock->head = 0;
    clock->base = standing_for(thread);
    __atomic_store_n(&clock->fd, fd, __ATOMIC_RELEASE);
    int result = direct_signals(fd, thread->tid);
    if (result < 0)
        clock_perf.detach(thread);
    return result;
}

static void detach(struct thread *thread)
{
    struct clock_thread *clock = &thread->clock;
    volatile void *page = clock->page;
    int fd = clock->fd;
    if (fd >= 0)
        os_call3(SYS_ioctl, fd, PERF_EVENT_IOC_DISABLE, 0);
    __atomic_store_n(&clock->fd, -1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&clock->page, NULL, __ATOMIC_SEQ_CST);
    uint64_t patience = os_now() + 2000000, counted = 0;
    while (__atomic_load_n(&thread->busy, __ATOMIC_SEQ_CST) && os_now() < patience)
        os_wait(NULL, 0, os_now() + 50000);
    int idle = !__atomic_load_n(&thread->busy, __ATOMIC_SEQ_CST);
    if (page != NULL && idle)
        os_call2(SYS_munmap, page, PAGES * 4096);
    /* The sampler goes on without this event (a fork), or the thread let no signal in: the part of a period
     * that it had begun, and overflows whose signal is still under way, are owed. */
    uint64_t given = standing_for(thread) - clock->base;
    int goes_on = __atomic_load_n(&engine.status, __ATOMIC_ACQUIRE) == ENGINE_RUNNING || thread->blocks;
    if (idle && fd >= 0 && goes_on && os_read(fd, &counted, sizeof counted) == sizeof counted &&
        counted > given)
        __atomic_fetch_add(&thread->owed, counted - given, __ATOMIC_RELAXED);
    os_close(fd);
}

static uint64_t turn(uint64_t now)
{
    (void)now;
    return UINT64_MAX;
}

/* What the event counted and no tick stands for, above one period, goes to the thread's next tick. Not while
 * a handler runs: its weight is in none of the sums. */
static void settle(struct thread *thread)
{
    struct clock_thread *clock = &thread->clock;
    uint64_t counted = 0;
    if (clock->fd < 0)
        return;
    uint64_t ticks = __atomic_load_n(&thread->ticks, __ATOMIC_ACQUIRE);
    if (__atomic_load_n(&thread->busy, __ATOMIC_SEQ_CST) != 0 ||
        os_read(clock->fd, &counted, sizeof counted) != sizeof counted)
        return;
    uint64_t given = standing_for(thread) - clock->base + overflows_waiting(clock) * event_period();
    if (__atomic_load_n(&thread->busy, __ATOMIC_SEQ_CST) != 0 || counted < given ||
        ticks != __atomic_load_n(&thread->ticks, __ATOMIC_ACQUIRE))
        return;
    if (counted - given > 2 * event_period())
        __atomic_fetch_add(&thread->owed, counted - given - event_period(), __ATOMIC_RELAXED);
}

static uint64_t weight(struct thread *thread, const siginfo_t *info)
{
    (void)info;
    struct clock_thread *clock = &thread->clock;
    volatile struct perf_event_mmap_page *page = __atomic_load_n(&clock->page, __ATOMIC_SEQ_CST);
    uint64_t overflows = 1;
    if (page != NULL) {
        uint64_t head = page->data_head;
        overflows = (head - clock->head) / RECORD_BYTES;
        __atomic_store_n(&clock->head, head, __ATOMIC_RELAXED);
    }
    return overflows * event_period();
}

const struct clock_ops clock_perf = {"perf", "", 0, probe, attach, detach, turn, settle, weight, NULL};
