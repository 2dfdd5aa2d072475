/* SPDX-License-Identifier: MIT */
/* arena.h - memory that is only ever added to: what handlers may be reading is never given back.
 * Helper side; one owner. */
#ifndef PLAIT_ARENA_H
#define PLAIT_ARENA_H

#include "../os/os.h"

enum { ARENA_CHUNK = 1 << 20, ARENA_LARGE = 1 << 18, ARENA_ALIGN = 16 };

struct arena {
    unsigned char *at;
    size_t left;
    uint64_t used; /* bytes handed out */
};

/* `size` zeroed bytes aligned to 16, or NULL. Large pieces get pages of their own. */
static inline void *arena_take(struct arena *arena, size_t size)
{
    void *taken;
    size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (size >= ARENA_LARGE) {
        taken = os_map(size);
        arena->used += taken != NULL ? size : 0;
        return taken;
    }
    if (size > arena->left) {
        unsigned char *chunk = os_map(ARENA_CHUNK);
        if (chunk == NULL)
            return NULL;
        arena->at = chunk;
        arena->left = ARENA_CHUNK;
    }
    taken = arena->at;
    arena->at += size;
    arena->left -= size;
    arena->used += size;
    return taken;
}

#endif
