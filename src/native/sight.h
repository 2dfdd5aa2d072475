/* SPDX-License-Identifier: MIT */
/* sight.h - the rule of a pc at the first sight of its library, before the helper has made a table.
 *
 * The C library knows what is loaded (`_dl_find_object`, glibc 2.35, async-signal-safe); the library's own
 * `.eh_frame_hdr` leads to the one entry that covers the pc. Slower than a table by two orders, and good for
 * the milliseconds until there is one. */
#ifndef PLAIT_SIGHT_H
#define PLAIT_SIGHT_H

#include <stdint.h>

/* What `_dl_find_object` fills in: glibc's struct dl_find_object where it has no optional members (x86_64,
 * aarch64). */
struct sight_object {
    unsigned long long flags;
    void *start, *end; /* all that is mapped of the object, gaps included */
    void *link_map;
    void *header; /* its .eh_frame_hdr, NULL = none */
    unsigned long long reserved[7];
};

/* 0 = found. */
typedef int sight_find(void *address, struct sight_object *object);

/* The C library's function, or NULL where it has none. Not async-signal-safe. */
sight_find *sight_finder(void);

/* The wide rule (rule.h) at `pc` to *rule, 0 = the library has none there. Returns 1, or 0 where nothing can
 * be told: no library, or no search table; `find` may be NULL. Reads the memory of the object that holds pc,
 * which must therefore stay loaded meanwhile: so does one that is on the thread's stack. Async-signal-safe,
 * no system call; some 600 bytes of stack. */
int sight_rule(sight_find *find, uint64_t pc, uint64_t *rule);

#endif
