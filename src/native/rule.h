/* SPDX-License-Identifier: MIT */
/* rule.h - one unwind rule: 64 bits wide when used, 32 bits when stored in a row.
 *
 * Wide: bits 0-3 kind, 4-7 CFA register, 8-31 CFA offset in bytes (signed), 32-47 where the caller's frame
 * pointer is, 48-63 where the caller's second tracked register is (rule_<arch>.h).
 * Row, odd: the common rule itself. Bit 1 base (0 sp, 1 fp), 2-11 CFA offset / 8, 12-21 and 22-31 the two
 * places (0 as before, n at CFA - 8n). Row, even: index + 1 into the table's wide rules, times 2; 0 no rule.
 * Pure functions of numbers; async-signal-safe. */
#ifndef PLAIT_RULE_H
#define PLAIT_RULE_H

#include "cfi.h"
#include "rule_x86_64.h"

enum rule_kind {
    RULE_NONE = 0,
    RULE_REGISTER, /* CFA = register + offset */
    RULE_DEREF,    /* CFA = *(register + offset) + words: realigned stacks */
    RULE_PLT,      /* CFA = sp + 8, and 8 more where (pc & 15) >= offset */
    RULE_SIGNAL,   /* the kernel's signal frame is at sp */
    RULE_END,      /* the outermost frame */
};

/* Where a register of the caller is. RULE_AT(n): in memory at CFA - 8n, 1 <= n < RULE_BY_FP. RULE_BY_FP and
 * up: at fp + 8 * (place - RULE_FP_ZERO), fp being the frame pointer of this frame. */
enum {
    RULE_SAME = 0,
    RULE_BY_FP = 0x8000,
    RULE_FP_ZERO = 0xc000,
    RULE_LOST = 0xffff,
};

static inline uint64_t rule_wide(enum rule_kind kind, unsigned reg, int64_t offset, unsigned fp,
                                 unsigned extra)
{
    return (uint64_t)kind | (uint64_t)reg << 4 | ((uint64_t)offset & 0xffffff) << 8 | (uint64_t)fp << 32 |
           (uint64_t)extra << 48;
}

static inline enum rule_kind rule_kind(uint64_t rule)
{
    return (enum rule_kind)(rule & 15);
}

static inline unsigned rule_register(uint64_t rule)
{
    return rule >> 4 & 15;
}

static inline int64_t rule_offset(uint64_t rule)
{
    return (int32_t)(uint32_t)rule >> 8;
}

static inline unsigned rule_fp(uint64_t rule)
{
    return rule >> 32 & 0xffff;
}

static inline unsigned rule_extra(uint64_t rule)
{
    return (unsigned)(rule >> 48);
}

/* What RULE_DEREF has in the place of the offset: 16 bits of offset, 8 bits of words to be added. */
static inline int64_t rule_deref(int64_t offset, unsigned words)
{
    return (offset & 0xffff) | (int64_t)words << 16;
}

static inline int64_t rule_deref_offset(uint64_t rule)
{
    return (int16_t)(uint16_t)(rule >> 8);
}

static inline unsigned rule_deref_words(uint64_t rule)
{
    return rule >> 24 & 255;
}

/* The row form of a wide rule, or 0 where it needs a place among the table's wide rules. */
static inline uint32_t rule_pack(uint64_t rule)
{
    unsigned reg = rule_register(rule), fp = rule_fp(rule), extra = rule_extra(rule);
    int64_t offset = rule_offset(rule);
    if (rule_kind(rule) != RULE_REGISTER || (reg != RULE_REG_SP && reg != RULE_REG_FP) || offset < 0 ||
        offset > 1023 * 8 || offset % 8 != 0 || fp > 1023 || extra > 1023)
        return 0;
    return 1 | (uint32_t)(reg == RULE_REG_FP) << 1 | (uint32_t)(offset / 8) << 2 | fp << 12 | extra << 22;
}

/* The wide form of a row; 0 = no rule. */
static inline uint64_t rule_widen(const struct cfi_table *table, uint32_t row)
{
    if (row & 1)
        return rule_wide(RULE_REGISTER, row & 2 ? RULE_REG_FP : RULE_REG_SP, (int64_t)(row >> 2 & 1023) * 8,
                         row >> 12 & 1023, row >> 22);
    return row == 0 || row / 2 > table->extra_count ? 0 : table->extra[row / 2 - 1];
}

#endif
