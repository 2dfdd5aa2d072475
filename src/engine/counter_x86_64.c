/* SPDX-License-Identifier: MIT */
/* counter_x86_64.c - see counter.h. The kernel maps a page per event that says in which hardware register the
 * event counts now and what to add to it; rdpmc reads the register (the protocol stands in perf_event_open(2)
 * under `cap_user_rdpmc`). rdpmc faults where the kernel has not allowed it: it is executed only while the
 * page says that it may be and that the event is in a register. */
#include "counter.h"

#include "../os/os.h"
#include <errno.h>
#include <linux/perf_event.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { PAGE = 4096, TRIES = 8 };

static int event_open(int tid)
{
    struct perf_event_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.size = sizeof attr;
    attr.type = PERF_TYPE_HARDWARE;
    attr.config = PERF_COUNT_HW_INSTRUCTIONS;
    attr.exclude_kernel = 1;
    attr.exclude_hv = 1;
    return (int)os_call5(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static volatile struct perf_event_mmap_page *event_map(int fd)
{
    long page = os_call6(SYS_mmap, 0, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    return page < 0 && page > -PAGE ? NULL : (volatile struct perf_event_mmap_page *)page;
}

int counter_probe(void)
{
    int fd = event_open(0);
    if (fd < 0)
        return fd;
    volatile struct perf_event_mmap_page *page = event_map(fd);
    int usable = page != NULL && page->cap_user_rdpmc;
    if (page != NULL)
        os_call2(SYS_munmap, page, PAGE);
    os_close(fd);
    return usable ? 0 : -ENOTSUP;
}

void counter_attach(struct counter *counter, int tid)
{
    counter->last = 0;
    counter->page = NULL;
    counter->fd = event_open(tid);
    if (counter->fd >= 0)
        __atomic_store_n(&counter->page, (volatile void *)event_map(counter->fd), __ATOMIC_RELEASE);
}

volatile void *counter_hide(struct counter *counter)
{
    volatile void *page = counter->page;
    __atomic_store_n(&counter->page, NULL, __ATOMIC_SEQ_CST);
    if (counter->fd >= 0)
        os_close(counter->fd);
    counter->fd = -1;
    return page;
}

void counter_unmap(volatile void *page)
{
    if (page != NULL)
        os_call2(SYS_munmap, page, PAGE);
}

static uint64_t rdpmc(uint32_t index)
{
    uint32_t low, high;
    __asm__ volatile("rdpmc" : "=a"(low), "=d"(high) : "c"(index));
    return (uint64_t)high << 32 | low;
}

/* 1 and the value, or 0: not in a register now, or it changed under every look. */
static int read_page(volatile struct perf_event_mmap_page *page, uint64_t *value)
{
    for (int i = 0; i < TRIES; i++) {
        uint32_t lock = page->lock;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        uint32_t index = page->index;
        uint64_t offset = (uint64_t)page->offset;
        if (!page->cap_user_rdpmc || index == 0)
            return 0;
        unsigned unused = 64U - page->pmc_width;
        int64_t count = (int64_t)(rdpmc(index - 1) << unused) >> unused;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        if (page->lock == lock) {
            *value = offset + (uint64_t)count;
            return 1;
        }
    }
    return 0;
}

uint64_t counter_delta(struct counter *counter)
{
    volatile struct perf_event_mmap_page *page = __atomic_load_n(&counter->page, __ATOMIC_SEQ_CST);
    uint64_t value;
    if (page == NULL || !read_page(page, &value))
        return 0;
    uint64_t delta = counter->last != 0 && value > counter->last ? value - counter->last : 0;
    counter->last = value;
    return delta;
}
