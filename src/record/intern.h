/* SPDX-License-Identifier: MIT */
/* intern.h - a set of fixed-size keys that numbers them 0, 1, 2 ... in order of first sight. Memory by
 * os_map, doubling as it fills; used by the writer in the helper and by the reader. */
#ifndef PLAIT_INTERN_H
#define PLAIT_INTERN_H

#include <stddef.h>
#include <stdint.h>

enum { INTERN_NONE = UINT32_MAX };

struct intern {
    uint64_t *keys;     /* `words` each */
    uint32_t *slots;    /* number + 1; 0 = free */
    uint32_t words;     /* 64-bit words of a key */
    uint32_t count;     /* keys held */
    uint32_t key_room;  /* keys that fit */
    uint32_t slot_room; /* a power of two, at least 4/3 of count */
};

/* An empty set; takes no memory before the first key. */
void intern_init(struct intern *set, uint32_t words);
void intern_free(struct intern *set);

/* The key's number; *fresh (may be NULL) is 1 when it was new. INTERN_NONE without memory. */
uint32_t intern_add(struct intern *set, const uint64_t *key, int *fresh);
/* The key's number, or INTERN_NONE. */
uint32_t intern_find(const struct intern *set, const uint64_t *key);

/* Bytes of memory held. */
size_t intern_memory(const struct intern *set);

/* A 64-bit hash of bytes; different seeds give independent values. */
uint64_t intern_hash(const void *bytes, size_t size, uint64_t seed);

#endif
