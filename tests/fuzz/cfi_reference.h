/* SPDX-License-Identifier: MIT */
/* cfi_reference.h - what the entries of `.eh_frame` mean, by the book and without any regard to speed: for
 * one pc the programs are run from their first byte, all registers are kept, and expressions are evaluated on
 * made-up registers and memory. What a compiled rule gives on the same machine must be the same.
 * Nothing is shared with src/native but the numbers of rule.h. */
#ifndef PLAIT_FUZZ_CFI_REFERENCE_H
#define PLAIT_FUZZ_CFI_REFERENCE_H

#include "native/rule.h"
#include <stdint.h>
#include <string.h>

enum { REFERENCE_REGISTERS = 17, REFERENCE_DEPTH = 8, REFERENCE_STACK = 16, REFERENCE_LEB = 10 };

/* How a register of the caller is found. */
enum reference_how { HOW_UNSPECIFIED, HOW_SAME, HOW_UNDEFINED, HOW_AT_CFA, HOW_AT_EXPRESSION, HOW_OTHER };
/* CFA_OPAQUE: an expression of which a change of the offset or register makes no sense. */
enum reference_cfa { CFA_NONE, CFA_REGISTER, CFA_EXPRESSION };

struct reference_bytes {
    const unsigned char *at, *end;
    int bad;
};

struct reference_place {
    enum reference_how how;
    __int128 offset;
    struct reference_bytes expression;
};

struct reference_row {
    enum reference_cfa kind;
    uint64_t reg;
    __int128 offset;
    struct reference_bytes expression;
    struct reference_place place[REFERENCE_REGISTERS];
};

/* What one FDE is about. */
struct reference_entry {
    uint64_t code_factor, start, end;
    int64_t data_factor;
    const unsigned char *cie, *program;
    size_t cie_size, program_size;
};

struct reference_run {
    const struct reference_entry *entry;
    struct reference_row row, initial, kept[REFERENCE_DEPTH];
    unsigned depth;
    uint64_t at;
};

static inline uint64_t reference_fixed(struct reference_bytes *bytes, size_t size)
{
    uint64_t value = 0;
    if ((size_t)(bytes->end - bytes->at) < size) {
        bytes->bad = 1;
        bytes->at = bytes->end;
        return 0;
    }
    memcpy(&value, bytes->at, size);
    bytes->at += size;
    return value;
}

static inline uint64_t reference_leb(struct reference_bytes *bytes, int is_signed)
{
    unsigned __int128 value = 0;
    for (unsigned i = 0; i < REFERENCE_LEB; i++) {
        uint64_t byte = reference_fixed(bytes, 1);
        value |= (unsigned __int128)(byte & 127) << (7 * i);
        if (bytes->bad)
            return 0;
        if (byte & 128)
            continue;
        if (is_signed && byte & 64)
            value |= ~(unsigned __int128)0 << (7 * (i + 1));
        return (uint64_t)value;
    }
    bytes->bad = 1;
    return 0;
}

static inline __int128 reference_unsigned(struct reference_bytes *bytes)
{
    return (__int128)reference_leb(bytes, 0);
}

static inline __int128 reference_signed(struct reference_bytes *bytes)
{
    return (__int128)(int64_t)reference_leb(bytes, 1);
}

static inline struct reference_bytes reference_block(struct reference_bytes *bytes)
{
    uint64_t size = reference_leb(bytes, 0);
    struct reference_bytes block = *bytes;
    if (bytes->bad || size > (uint64_t)(bytes->end - bytes->at)) {
        bytes->bad = 1;
        return block;
    }
    bytes->at += size;
    block.end = bytes->at;
    return block;
}

static inline void reference_set(struct reference_run *run, uint64_t reg, enum reference_how how,
                                 __int128 offset)
{
    if (reg < REFERENCE_REGISTERS)
        run->row.place[reg] = (struct reference_place){.how = how, .offset = offset};
}

static inline void reference_restore(struct reference_run *run, uint64_t reg)
{
    if (reg < REFERENCE_REGISTERS)
        run->row.place[reg] = run->initial.place[reg];
}

/* A lone `register + constant` is no other than the CFA by register. */
static inline void reference_cfa_expression(struct reference_row *row, struct reference_bytes block)
{
    struct reference_bytes copy = block;
    uint64_t op = reference_fixed(&copy, 1);
    __int128 offset = reference_signed(&copy);
    row->kind = CFA_EXPRESSION;
    row->expression = block;
    if (op < 0x70 || op > 0x8f || copy.bad || copy.at != copy.end)
        return;
    row->kind = CFA_REGISTER;
    row->reg = op - 0x70;
    row->offset = offset;
}

static inline uint64_t reference_after(const struct reference_run *run, uint64_t units)
{
    unsigned __int128 next = run->at + (unsigned __int128)units * run->entry->code_factor;
    return next > UINT64_MAX ? UINT64_MAX : (uint64_t)next;
}

/* One instruction, after which the row holds from *next on; 0 = it can't be told what the row is from here
 * on. */
static inline int reference_step(struct reference_run *run, struct reference_bytes *in, uint64_t *next)
{
    struct reference_row *row = &run->row;
    __int128 factor = run->entry->data_factor;
    unsigned op = (unsigned)reference_fixed(in, 1), low = op & 63;
    uint64_t reg, place;
    *next = run->at;
    if (op >> 6 == 1)
        *next = reference_after(run, low);
    else if (op >> 6 == 2)
        reference_set(run, low, HOW_AT_CFA, reference_unsigned(in) * factor);
    else if (op >> 6 == 3)
        reference_restore(run, low);
    else if (op == 0x00 || op == 0x2d)
        ;
    else if (op == 0x01) { /* to a place relative to itself; never back */
        place = (uint64_t)(uintptr_t)in->at;
        place += (uint64_t)(int64_t)(int32_t)(uint32_t)reference_fixed(in, 4);
        *next = !in->bad && place > run->at ? place : run->at;
    } else if (op >= 0x02 && op <= 0x04)
        *next = reference_after(run, reference_fixed(in, (size_t)1 << (op - 2)));
    else if (op == 0x06)
        reference_restore(run, reference_leb(in, 0));
    else if (op == 0x07)
        reference_set(run, reference_leb(in, 0), HOW_UNDEFINED, 0);
    else if (op == 0x08)
        reference_set(run, reference_leb(in, 0), HOW_SAME, 0);
    else if (op == 0x0a) {
        if (run->depth == REFERENCE_DEPTH)
            return 0;
        run->kept[run->depth++] = *row;
    } else if (op == 0x0b) {
        if (run->depth == 0)
            return 0;
        *row = run->kept[--run->depth];
    } else if (op == 0x0d) {
        row->reg = reference_leb(in, 0);
        row->kind = row->kind == CFA_REGISTER ? CFA_REGISTER : CFA_NONE;
    } else if (op == 0x0e || op == 0x13) {
        row->offset = op == 0x0e ? reference_unsigned(in) : reference_signed(in) * factor;
        row->kind = row->kind == CFA_REGISTER ? CFA_REGISTER : CFA_NONE;
    } else if (op == 0x0f)
        reference_cfa_expression(row, reference_block(in));
    else if (op == 0x2e)
        reference_leb(in, 0);
    else if (op == 0x05 || (op >= 0x09 && op <= 0x16) || op == 0x2f) {
        reg = reference_leb(in, 0);
        if (op == 0x05)
            reference_set(run, reg, HOW_AT_CFA, reference_unsigned(in) * factor);
        else if (op == 0x11)
            reference_set(run, reg, HOW_AT_CFA, reference_signed(in) * factor);
        else if (op == 0x2f)
            reference_set(run, reg, HOW_AT_CFA, -(reference_unsigned(in) * factor));
        else if (op == 0x0c || op == 0x12) {
            row->kind = CFA_REGISTER;
            row->reg = reg;
            row->offset = op == 0x0c ? reference_unsigned(in) : reference_signed(in) * factor;
        } else if (op == 0x10) {
            struct reference_bytes block = reference_block(in);
            reference_set(run, reg, HOW_AT_EXPRESSION, 0);
            if (reg < REFERENCE_REGISTERS)
                row->place[reg].expression = block;
        } else { /* register, val_offset, val_offset_sf, val_expression */
            if (op == 0x16)
                reference_block(in);
            else
                reference_leb(in, 0);
            reference_set(run, reg, HOW_OTHER, 0);
        }
    } else
        return 0;
    return !in->bad;
}

/* Runs a program until it goes beyond `pc`; 0 where the row there can't be told. */
static inline int reference_program(struct reference_run *run, const unsigned char *bytes, size_t size,
                                    uint64_t pc)
{
    struct reference_bytes in = {bytes, bytes + size, 0};
    while (in.at < in.end) {
        uint64_t next;
        if (!reference_step(run, &in, &next))
            return 0;
        if (next > pc)
            return 1;
        run->at = next;
    }
    return 1;
}

/* The row at pc; 0 = none. A CIE whose program moves has none. */
static inline int reference_row_at(const struct reference_entry *entry, uint64_t pc,
                                   struct reference_row *row)
{
    static struct reference_run run;
    struct reference_bytes in = {entry->cie, entry->cie + entry->cie_size, 0};
    memset(&run.row, 0, sizeof run.row);
    run.initial = run.row;
    run.depth = 0;
    run.entry = entry;
    run.at = entry->start;
    while (in.at < in.end) {
        uint64_t next;
        if (!reference_step(&run, &in, &next) || next != entry->start)
            return 0;
    }
    run.initial = run.row;
    if (!reference_program(&run, entry->program, entry->program_size, pc))
        return 0;
    *row = run.row;
    return 1;
}

/* ---- the machine that both are tried on ---- */

static inline uint64_t reference_register(uint64_t number, uint64_t pc)
{
    return number == RULE_REG_RETURN ? pc : 0x7000000000u + number * 0x1234567890u;
}

static inline uint64_t reference_memory(uint64_t address)
{
    return (address ^ address >> 29) * 0x9e3779b97f4a7c15u;
}

/* The value of an expression, in the operations that linkers and compilers use; 0 = another one. */
static inline int reference_value(struct reference_bytes in, uint64_t pc, uint64_t *value)
{
    uint64_t stack[REFERENCE_STACK], top;
    unsigned used = 0;
    while (in.at < in.end && used < REFERENCE_STACK) {
        unsigned op = (unsigned)reference_fixed(&in, 1);
        if (op >= 0x30 && op <= 0x4f)
            stack[used++] = op - 0x30;
        else if (op >= 0x70 && op <= 0x80) {
            stack[used++] = reference_register(op - 0x70, pc) + (uint64_t)reference_signed(&in);
        } else if (op == 0x06 && used >= 1)
            stack[used - 1] = reference_memory(stack[used - 1]);
        else if (op == 0x23 && used >= 1)
            stack[used - 1] += (uint64_t)reference_unsigned(&in);
        else if (used >= 2) {
            top = stack[--used];
            if (op == 0x1a)
                stack[used - 1] &= top;
            else if (op == 0x22)
                stack[used - 1] += top;
            else if (op == 0x24)
                stack[used - 1] = top < 64 ? stack[used - 1] << top : 0;
            else if (op == 0x2a)
                stack[used - 1] = (int64_t)stack[used - 1] >= (int64_t)top;
            else
                return 0;
        } else
            return 0;
        if (in.bad)
            return 0;
    }
    if (in.at < in.end || used == 0)
        return 0;
    *value = stack[used - 1];
    return 1;
}

/* The CFA of a row; 0 = it can't be told. */
static inline int reference_cfa(const struct reference_row *row, uint64_t pc, uint64_t *cfa)
{
    if (row->kind == CFA_REGISTER && row->reg < REFERENCE_REGISTERS) {
        *cfa = reference_register(row->reg, pc) + (uint64_t)row->offset;
        return 1;
    }
    return row->kind == CFA_EXPRESSION && reference_value(row->expression, pc, cfa);
}

/* Where the caller's register is in memory; 0 = not in memory or unknown. */
static inline int reference_address(const struct reference_place *place, uint64_t cfa, uint64_t pc,
                                    uint64_t *address)
{
    if (place->how == HOW_AT_CFA) {
        *address = cfa + (uint64_t)place->offset;
        return 1;
    }
    return place->how == HOW_AT_EXPRESSION && reference_value(place->expression, pc, address);
}

#endif
