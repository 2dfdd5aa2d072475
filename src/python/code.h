/* SPDX-License-Identifier: MIT */
/* code.h - the key that names a code object for ever; private to src/python. */
#ifndef PLAIT_PYTHON_CODE_H
#define PLAIT_PYTHON_CODE_H

#include "offsets.h"
#include "read.h"

enum { KEY_SUM = 64 }; /* bytes of the line table that count */

#define KEY_FACTOR 0x9e3779b97f4a7c15u

static inline uint64_t key_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * KEY_FACTOR;
    return hash ^ (hash >> 29);
}

/* The key of versions without co_version, and of code without one: what the object holds, down to the start
 * of its line table. */
uint64_t code_key_by_content(const struct py_offsets *offsets, uint64_t code, struct guard *guard);

/* The caller has made sure that code_size bytes at `code` are readable. From 3.12 on a co_version is never
 * given twice; the address tells apart what several interpreters count. Never 0. */
static inline uint64_t py_code_key(const struct py_offsets *offsets, uint64_t code, struct guard *guard)
{
    if (offsets->code_version >= 0) {
        uint64_t version = (uint32_t)load_int(code + (uint64_t)offsets->code_version);
        if (version != 0) {
            uint64_t hash = key_mix(code, version << 32 ^ version * 0x2545f491);
            return hash != 0 ? hash : 1;
        }
    }
    return code_key_by_content(offsets, code, guard);
}

#endif
