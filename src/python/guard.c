/* SPDX-License-Identifier: MIT */
/* guard.c - "may I read this?" without a fault: a page is probed by one system call, then remembered until
 * the process's generation grows. A page that another thread unmaps between two generations is not noticed:
 * only pointers of a chain that passed the pre-check are followed, and what they point to is alive.
 * Async-signal-safe. */
#include "read.h"

#include "../os/os.h"
#include <stddef.h>

enum { LOWEST = 65536 };                    /* vm.mmap_min_addr; small numbers are no pointers */
static const uint64_t highest = 1ull << 47; /* user addresses end below */

/* Where the page is known, or NULL. A page may stand at its home or at any other place of its home's line. */
static uint64_t *find_page(struct guard *guard, uint64_t page)
{
    uint64_t home = guard_home(page);
    for (uint64_t i = 0; i < GUARD_WAYS; i++)
        if (guard->page[home ^ i] == ~page)
            return &guard->page[home ^ i];
    return NULL;
}

/* At its home; who lived there moves on, and the line forgets the one that moved longest ago. */
static void add_page(struct guard *guard, uint64_t page)
{
    uint64_t home = guard_home(page), moving = ~page;
    for (uint64_t i = 0; i < GUARD_WAYS && moving != 0; i++) {
        uint64_t next = guard->page[home ^ i];
        guard->page[home ^ i] = moving;
        moving = next;
    }
}

int guard_ok(struct guard *guard, uint64_t address, uint32_t size)
{
    if (address < LOWEST || address >= highest || size > GUARD_PAGE)
        return 0;
    guard_refresh(guard);
    uint64_t last = (address + size - (size > 0)) >> GUARD_SHIFT;
    for (uint64_t page = address >> GUARD_SHIFT; page <= last; page++) {
        if (find_page(guard, page) != NULL)
            continue;
        guard->probes++;
        if (!os_readable(page << GUARD_SHIFT))
            return 0;
        add_page(guard, page);
    }
    return 1;
}
