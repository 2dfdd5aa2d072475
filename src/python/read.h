/* SPDX-License-Identifier: MIT */
/* read.h - reads of the interpreter's memory, private to src/python. `guard_has` is guard_ok with the common
 * case inline; the loads below are only for addresses that it (or the caller's own knowledge) vouches for. */
#ifndef PLAIT_PYTHON_READ_H
#define PLAIT_PYTHON_READ_H

#include "python.h"

enum {
    GUARD_SHIFT = 12,
    GUARD_PAGE = 1 << GUARD_SHIFT,
    GUARD_WAYS = 8, /* places of a page: one cache line */
};

static inline uint64_t guard_home(uint64_t page)
{
    return page & (GUARD_PAGES - 1);
}

static inline int guard_has(struct guard *guard, uint64_t address, uint32_t size)
{
    uint64_t page = address >> GUARD_SHIFT;
    if ((address & (GUARD_PAGE - 1)) + size <= GUARD_PAGE && guard->page[guard_home(page)] == ~page)
        return 1;
    return guard_ok(guard, address, size);
}

/* Forgets the pages when the process's generation has grown; once per walk is enough. */
static inline void guard_refresh(struct guard *guard)
{
    uint64_t now = guard->current != NULL ? __atomic_load_n(guard->current, __ATOMIC_ACQUIRE) : 0;
    if (now == guard->generation)
        return;
    for (uint32_t i = 0; i < GUARD_PAGES; i++)
        guard->page[i] = 0;
    guard->generation = now;
}

/* Atomic: the interpreter's memory changes under the compiler's eyes (the interrupted code, other threads),
 * and a value must be read once, then checked, then used. */
static inline uint64_t load_word(uint64_t address)
{
    return __atomic_load_n((const uint64_t *)(uintptr_t)address, __ATOMIC_RELAXED);
}

static inline int32_t load_int(uint64_t address)
{
    return __atomic_load_n((const int32_t *)(uintptr_t)address, __ATOMIC_RELAXED);
}

static inline uint32_t load_byte(uint64_t address)
{
    return __atomic_load_n((const unsigned char *)(uintptr_t)address, __ATOMIC_RELAXED);
}

#endif
