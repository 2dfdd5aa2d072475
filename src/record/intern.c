/* SPDX-License-Identifier: MIT */
/* intern.c - open addressing with linear probing over an array of keys; nothing is ever removed. */
#include "intern.h"
#include "../os/os.h"
#include <string.h>

enum { INTERN_FIRST = 512 };

/* Multiply and fold: every input bit reaches every output bit in two rounds. */
static uint64_t intern_mix(uint64_t value)
{
    value ^= value >> 32;
    value *= 0xd6e8feb86659fd93u;
    value ^= value >> 32;
    value *= 0xd6e8feb86659fd93u;
    return value ^ value >> 32;
}

uint64_t intern_hash(const void *bytes, size_t size, uint64_t seed)
{
    const unsigned char *at = bytes;
    uint64_t hash = intern_mix(seed + size);
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        hash = intern_mix(hash ^ word) + seed;
    }
    uint64_t word = 0;
    memcpy(&word, at, size);
    return intern_mix(hash ^ word);
}

static uint64_t intern_hash_key(const struct intern *set, const uint64_t *key)
{
    uint64_t hash = 0x9e3779b97f4a7c15u;
    for (uint32_t i = 0; i < set->words; i++)
        hash = intern_mix(hash + key[i]);
    return hash;
}

void intern_init(struct intern *set, uint32_t words)
{
    memset(set, 0, sizeof *set);
    set->words = words;
}

void intern_free(struct intern *set)
{
    if (set->keys != NULL)
        os_unmap(set->keys, (size_t)set->key_room * set->words * 8);
    if (set->slots != NULL)
        os_unmap(set->slots, (size_t)set->slot_room * 4);
    intern_init(set, set->words);
}

/* The slot that holds the key, or the free one where it belongs. */
static uint32_t intern_slot(const struct intern *set, const uint64_t *key)
{
    uint32_t mask = set->slot_room - 1;
    uint32_t slot = (uint32_t)intern_hash_key(set, key) & mask;
    while (set->slots[slot] != 0) {
        const uint64_t *other = set->keys + (size_t)(set->slots[slot] - 1) * set->words;
        if (memcmp(other, key, (size_t)set->words * 8) == 0)
            break;
        slot = (slot + 1) & mask;
    }
    return slot;
}

static int intern_grow_keys(struct intern *set)
{
    uint32_t room = set->key_room == 0 ? INTERN_FIRST : set->key_room * 2;
    size_t bytes = (size_t)room * set->words * 8, old = (size_t)set->key_room * set->words * 8;
    uint64_t *keys = room > set->key_room ? os_map(bytes) : NULL;
    if (keys == NULL)
        return 0;
    if (set->keys != NULL) {
        memcpy(keys, set->keys, old);
        os_unmap(set->keys, old);
    }
    set->keys = keys;
    set->key_room = room;
    return 1;
}

static int intern_grow_slots(struct intern *set)
{
    uint32_t room = set->slot_room == 0 ? INTERN_FIRST * 2 : set->slot_room * 2;
    uint32_t *slots = room > set->slot_room ? os_map((size_t)room * 4) : NULL;
    if (slots == NULL)
        return 0;
    if (set->slots != NULL)
        os_unmap(set->slots, (size_t)set->slot_room * 4);
    set->slots = slots;
    set->slot_room = room;
    for (uint32_t i = 0; i < set->count; i++)
        set->slots[intern_slot(set, set->keys + (size_t)i * set->words)] = i + 1;
    return 1;
}

uint32_t intern_find(const struct intern *set, const uint64_t *key)
{
    return set->count == 0 ? INTERN_NONE : set->slots[intern_slot(set, key)] - 1;
}

uint32_t intern_add(struct intern *set, const uint64_t *key, int *fresh)
{
    if (fresh != NULL)
        *fresh = 0;
    uint32_t known = intern_find(set, key);
    if (known != INTERN_NONE)
        return known;
    if (set->count >= set->key_room && !intern_grow_keys(set))
        return INTERN_NONE;
    if (set->count >= set->slot_room / 4 * 3 && !intern_grow_slots(set))
        return INTERN_NONE;
    memcpy(set->keys + (size_t)set->count * set->words, key, (size_t)set->words * 8);
    set->slots[intern_slot(set, key)] = set->count + 1;
    if (fresh != NULL)
        *fresh = 1;
    return set->count++;
}

size_t intern_memory(const struct intern *set)
{
    return (size_t)set->key_room * set->words * 8 + (size_t)set->slot_room * 4;
}
