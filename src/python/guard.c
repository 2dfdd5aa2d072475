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

int guard_ok(struct guard *guard, uint64_t address, uint32_t size)
{
    if (address < LOWEST || address >= highest || size > GUARD_PAGE)
        return 0;
    guard_refresh(guard);
    uint64_t last = (address + size - (size > 0)) >> GUARD_SHIFT;
    for (uint64_t page = address >> GUARD_SHIFT; page <= last; page++) {
        uint64_t *known = &guard->page[page & (GUARD_PAGES - 1)];
        if (*known == ~page)
            continue;
        guard->probes++;
        if (!os_readable(page << GUARD_SHIFT))
            return 0;
        *known = ~page;
    }
    return 1;
}
