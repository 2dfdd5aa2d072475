/* SPDX-License-Identifier: MIT */
/* cfi_program.c - decoder of CIEs, FDEs and DW_CFA programs.
 *
 * Only what stepping needs is kept: the CFA, the tracked registers' places (rule_<arch>.h), and whether the
 * return address is there. A CFA of unknown form makes its range rule-less; an unknown place makes that one
 * register lost. Input is untrusted: every read is bounded and every loop consumes bytes. Pure. */
#include "cfi_program.h"
#include "rule.h"

/* A CIE's program runs once for each of its FDEs, so its length is bounded. */
enum { REMEMBER_LEVELS = 8, BASE_REGISTERS = 16, CIE_PROGRAM_MAX = 1024 };

enum return_place { RETURN_AT_CFA, RETURN_UNDEFINED, RETURN_ELSEWHERE };

/* Small: many of them stand on the handler's stack (sight.c). */
struct state {
    int32_t offset;
    uint16_t fp, extra;          /* places */
    uint8_t kind, reg, ret, add; /* enum rule_kind, enum return_place; words added to a fetched CFA */
};

struct machine {
    const struct cfi_cie *cie;
    struct state state, initial;
    struct state remembered[REMEMBER_LEVELS];
    unsigned depth;
    int moved; /* the CIE's program went on to another pc, which makes no sense */
    uint64_t pc, end;
    cfi_emit *emit; /* NULL while the CIE's program runs */
    void *context;
};

int cfi_next_entry(struct cfi_reader *section, const unsigned char *section_start, struct cfi_entry *entry)
{
    uint64_t length, id;
    unsigned id_size = 4;
    size_t id_offset;
    entry->offset = (size_t)(section->at - section_start);
    length = cfi_fixed(section, 4);
    if (length == 0xffffffff) { /* the id stays 4 bytes wide in .eh_frame */
        length = cfi_fixed(section, 8);
    }
    if (section->failed || length < id_size || length > cfi_left(section))
        return 0;
    entry->body = cfi_reader(section->at, (size_t)length, section->address);
    id_offset = (size_t)(section->at - section_start);
    cfi_skip(section, length);
    id = cfi_fixed(&entry->body, id_size);
    if (id == 0)
        entry->cie = SIZE_MAX;
    else if (id <= id_offset)
        entry->cie = id_offset - (size_t)id;
    else
        return 0;
    return 1;
}

/* The augmentation string says what the augmentation data holds, in order. */
static int parse_augmentation(const char *letters, struct cfi_reader *data, struct cfi_cie *cie)
{
    for (; *letters != 0; letters++) {
        switch (*letters) {
        case 'R':
            cie->encoding = (unsigned)cfi_fixed(data, 1);
            break;
        case 'P':
            cfi_pointer(data, (unsigned)cfi_fixed(data, 1), NULL);
            break;
        case 'L':
            cfi_skip(data, 1);
            break;
        case 'S':
            cie->signal = 1;
            break;
        case 'B':
        case 'G':
            break;
        default: /* what follows can't be located; R stood before it or the default holds */
            return !data->failed;
        }
    }
    return !data->failed;
}

int cfi_parse_cie(const struct cfi_entry *entry, struct cfi_cie *cie)
{
    struct cfi_reader body = entry->body, data;
    const char *letters;
    uint64_t version, size, return_register;
    const unsigned char *zero;
    *cie = (struct cfi_cie){0};
    version = cfi_fixed(&body, 1);
    if (entry->cie != SIZE_MAX || (version != 1 && version != 3 && version != 4))
        return 0;
    letters = (const char *)body.at;
    zero = cfi_left(&body) > 0 ? memchr(body.at, 0, cfi_left(&body)) : NULL;
    if (zero == NULL)
        return 0;
    cfi_skip(&body, (uint64_t)(zero - body.at) + 1);
    if (letters[0] == 'e' && letters[1] == 'h') { /* an ancient pointer */
        cfi_skip(&body, 8);
        letters += 2;
    }
    if (version == 4 && (cfi_fixed(&body, 1) != 8 || cfi_fixed(&body, 1) != 0))
        return 0;
    cie->code_factor = cfi_uleb(&body);
    cie->data_factor = cfi_sleb(&body);
    return_register = version == 1 ? cfi_fixed(&body, 1) : cfi_uleb(&body);
    if (letters[0] == 'z') {
        size = cfi_uleb(&body);
        data = body;
        cfi_skip(&body, size);
        data.end = body.at;
        cie->augmented = 1;
        if (body.failed || !parse_augmentation(letters + 1, &data, cie))
            return 0;
    } else if (letters[0] != 0) {
        return 0;
    }
    cie->program = body;
    return !body.failed && return_register == RULE_REG_RETURN && cfi_left(&body) <= CIE_PROGRAM_MAX;
}

int cfi_parse_fde(const struct cfi_entry *entry, const struct cfi_cie *cie, struct cfi_fde *fde)
{
    struct cfi_reader body = entry->body;
    uint64_t size = 0;
    *fde = (struct cfi_fde){0};
    cfi_pointer(&body, cie->encoding, &fde->start);
    cfi_pointer(&body, cie->encoding & 15, &size);
    fde->end = fde->start + size;
    if (cie->augmented)
        cfi_skip(&body, cfi_uleb(&body));
    fde->program = body;
    return !body.failed && cie->encoding != CFI_POINTER_OMIT && fde->end > fde->start;
}

static uint64_t rule_of(const struct machine *machine)
{
    const struct state *state = &machine->state;
    if (machine->cie->signal)
        return rule_wide(RULE_SIGNAL, 0, 0, 0, 0);
    if (state->ret == RETURN_UNDEFINED)
        return rule_wide(RULE_END, 0, 0, 0, 0);
    if (state->ret == RETURN_ELSEWHERE || state->kind == RULE_NONE)
        return 0;
    if (state->reg >= BASE_REGISTERS)
        return 0;
    if (state->kind == RULE_DEREF && state->offset == (int16_t)state->offset)
        return rule_wide(RULE_DEREF, state->reg, rule_deref(state->offset, state->add), state->fp,
                         state->extra);
    if (state->kind == RULE_DEREF || state->offset < -0x800000 || state->offset > 0x7fffff)
        return 0;
    return rule_wide(state->kind, state->reg, state->offset, state->fp, state->extra);
}

/* Ends the current range. */
static void advance(struct machine *machine, uint64_t pc)
{
    if (pc <= machine->pc)
        return;
    if (machine->emit == NULL)
        machine->moved = 1;
    else if (machine->pc < machine->end)
        machine->emit(machine->context, machine->pc, rule_of(machine));
    machine->pc = pc;
}

static void advance_by(struct machine *machine, uint64_t units)
{
    uint64_t bytes;
    if (__builtin_mul_overflow(units, machine->cie->code_factor, &bytes) ||
        bytes > machine->end - (machine->pc < machine->end ? machine->pc : machine->end))
        advance(machine, machine->end);
    else
        advance(machine, machine->pc + bytes);
}

/* An offset in units of the CIE's factor; absurd ones become one that no rule can hold. */
static int64_t factored(const struct machine *machine, int64_t units)
{
    int64_t bytes;
    return __builtin_mul_overflow(units, machine->cie->data_factor, &bytes) ? INT64_MAX : bytes;
}

/* An offset without a sign; absurd ones become one that no rule can hold. */
static int64_t take_offset(struct cfi_reader *program)
{
    uint64_t offset = cfi_uleb(program);
    return offset < INT32_MAX ? (int64_t)offset : INT32_MAX;
}

/* Offsets beyond 32 bits become one that no rule can hold. */
static int32_t narrow(int64_t offset)
{
    return offset == (int32_t)offset ? (int32_t)offset : INT32_MAX;
}

static void set_place(struct state *state, uint64_t reg, unsigned place)
{
    if (reg == RULE_REG_FP)
        state->fp = (uint16_t)place;
    else if (reg == RULE_REG_EXTRA)
        state->extra = (uint16_t)place;
    else if (reg == RULE_REG_RETURN)
        state->ret = place == 1 ? RETURN_AT_CFA : RETURN_ELSEWHERE;
}

static void saved_at(struct state *state, uint64_t reg, int64_t offset)
{
    int fits = offset < 0 && offset % 8 == 0 && offset > -8 * (int64_t)RULE_BY_FP;
    set_place(state, reg, fits ? (unsigned)(-offset / 8) : RULE_LOST);
}

static void set_undefined(struct state *state, uint64_t reg)
{
    set_place(state, reg, RULE_LOST);
    if (reg == RULE_REG_RETURN)
        state->ret = RETURN_UNDEFINED;
}

static void restore(struct machine *machine, uint64_t reg)
{
    if (reg == RULE_REG_FP)
        machine->state.fp = machine->initial.fp;
    else if (reg == RULE_REG_EXTRA)
        machine->state.extra = machine->initial.extra;
    else if (reg == RULE_REG_RETURN)
        machine->state.ret = machine->initial.ret;
}

enum {
    OP_DEREF = 0x06,
    OP_PLUS_CONSTANT = 0x23,
    OP_PLUS = 0x22,
    OP_LITERAL = 0x30,
    OP_REGISTER = 0x70,
};

static struct cfi_reader take_block(struct cfi_reader *program)
{
    struct cfi_reader block;
    uint64_t size = cfi_uleb(program);
    block = *program;
    cfi_skip(program, size);
    block.end = program->at;
    return block;
}

/* The linker's rule for PLT entries: sp + 8 + ((rip & 15) >= N) << 3. */
static int is_plt(struct cfi_reader block, int32_t *limit)
{
    static const unsigned char head[] = {0x77, 8, 0x80, 0, 0x3f, 0x1a}, tail[] = {0x2a, 0x33, 0x24, 0x22};
    if (cfi_left(&block) != sizeof head + 1 + sizeof tail || memcmp(block.at, head, sizeof head) != 0 ||
        memcmp(block.at + sizeof head + 1, tail, sizeof tail) != 0)
        return 0;
    *limit = block.at[sizeof head] - OP_LITERAL;
    return *limit >= 0 && *limit < 32;
}

/* CFA by expression: register + offset, optionally fetched, optionally plus some words. */
static void set_cfa_expression(struct state *state, struct cfi_reader block)
{
    unsigned op = cfi_left(&block) > 0 ? block.at[0] : 0;
    uint64_t plus = 0;
    state->kind = RULE_NONE;
    if (is_plt(block, &state->offset)) {
        state->kind = RULE_PLT;
        state->reg = RULE_REG_SP;
        return;
    }
    if (op < OP_REGISTER || op >= OP_REGISTER + BASE_REGISTERS)
        return;
    cfi_skip(&block, 1);
    state->reg = (uint8_t)(op - OP_REGISTER);
    state->offset = narrow(cfi_sleb(&block));
    if (cfi_left(&block) == 0) {
        state->kind = block.failed ? RULE_NONE : RULE_REGISTER;
        return;
    }
    if (cfi_fixed(&block, 1) != OP_DEREF)
        return;
    if (cfi_left(&block) > 0) {
        op = (unsigned)cfi_fixed(&block, 1);
        if (op == OP_PLUS_CONSTANT)
            plus = cfi_uleb(&block);
        else if (op >= OP_LITERAL && op < OP_LITERAL + 32 && cfi_fixed(&block, 1) == OP_PLUS)
            plus = op - OP_LITERAL;
        else
            return;
    }
    if (block.failed || cfi_left(&block) > 0 || plus % 8 != 0 || plus / 8 > UINT8_MAX)
        return;
    state->kind = RULE_DEREF;
    state->add = (uint8_t)(plus / 8);
}

/* A register saved where an expression says: known if it is relative to the frame pointer. */
static void saved_by_expression(struct state *state, uint64_t reg, struct cfi_reader block)
{
    unsigned op = (unsigned)cfi_fixed(&block, 1);
    int64_t offset = cfi_sleb(&block);
    int known = op == OP_REGISTER + RULE_REG_FP && !block.failed && cfi_left(&block) == 0 &&
                offset % 8 == 0 && offset / 8 >= RULE_BY_FP - RULE_FP_ZERO &&
                offset / 8 < RULE_LOST - RULE_FP_ZERO;
    set_place(state, reg, known ? (unsigned)(RULE_FP_ZERO + offset / 8) : RULE_LOST);
}

static void set_cfa(struct state *state, uint64_t reg, int64_t offset)
{
    state->kind = RULE_REGISTER;
    state->reg = reg < BASE_REGISTERS ? (uint8_t)reg : BASE_REGISTERS;
    state->offset = narrow(offset);
}

/* Its register or offset alone changes: only where it has both. */
static void change_cfa(struct state *state)
{
    if (state->kind != RULE_REGISTER)
        state->kind = RULE_NONE;
}

/* Ops 0x0e and up that deal with the CFA or with expressions. 0 = unknown op. */
static int run_rare(struct machine *machine, unsigned op, struct cfi_reader *program)
{
    struct state *state = &machine->state;
    uint64_t reg;
    switch (op) {
    case 0x0f: /* def_cfa_expression */
        set_cfa_expression(state, take_block(program));
        return 1;
    case 0x10: /* expression */
        reg = cfi_uleb(program);
        saved_by_expression(state, reg, take_block(program));
        return 1;
    case 0x11: /* offset_extended_sf */
        reg = cfi_uleb(program);
        saved_at(state, reg, factored(machine, cfi_sleb(program)));
        return 1;
    case 0x12: /* def_cfa_sf */
        reg = cfi_uleb(program);
        set_cfa(state, reg, factored(machine, cfi_sleb(program)));
        return 1;
    case 0x13: /* def_cfa_offset_sf */
        change_cfa(state);
        state->offset = narrow(factored(machine, cfi_sleb(program)));
        return 1;
    case 0x14: /* val_offset */
    case 0x15: /* val_offset_sf: both operands have the same length either way */
        reg = cfi_uleb(program);
        cfi_uleb(program);
        set_place(state, reg, RULE_LOST);
        return 1;
    case 0x16: /* val_expression */
        reg = cfi_uleb(program);
        take_block(program);
        set_place(state, reg, RULE_LOST);
        return 1;
    case 0x2d: /* GNU_window_save, AARCH64_negate_ra_state */
        return 1;
    case 0x2e: /* GNU_args_size */
        cfi_uleb(program);
        return 1;
    case 0x2f: /* GNU_negative_offset_extended */
        reg = cfi_uleb(program);
        saved_at(state, reg, factored(machine, -take_offset(program)));
        return 1;
    default:
        return 0;
    }
}

/* One op of the extended group (its two high bits are 0). 0 = unknown, the program can't go on. */
static int run_extended(struct machine *machine, unsigned op, struct cfi_reader *program)
{
    struct state *state = &machine->state;
    uint64_t reg, place = 0;
    switch (op) {
    case 0x00: /* nop */
        return 1;
    case 0x01: /* set_loc */
        cfi_pointer(program, machine->cie->encoding, &place);
        if (!program->failed)
            advance(machine, place < machine->end ? place : machine->end);
        return 1;
    case 0x02: /* advance_loc1, 2, 4 */
    case 0x03:
    case 0x04:
        advance_by(machine, cfi_fixed(program, 1u << (op - 2)));
        return 1;
    case 0x05: /* offset_extended */
        reg = cfi_uleb(program);
        saved_at(state, reg, factored(machine, take_offset(program)));
        return 1;
    case 0x06: /* restore_extended */
        restore(machine, cfi_uleb(program));
        return 1;
    case 0x07: /* undefined */
        set_undefined(state, cfi_uleb(program));
        return 1;
    case 0x08: /* same_value */
        set_place(state, cfi_uleb(program), RULE_SAME);
        return 1;
    case 0x09: /* register */
        reg = cfi_uleb(program);
        cfi_uleb(program);
        set_place(state, reg, RULE_LOST);
        return 1;
    case 0x0a: /* remember_state */
        if (machine->depth == REMEMBER_LEVELS)
            return 0;
        machine->remembered[machine->depth++] = *state;
        return 1;
    case 0x0b: /* restore_state */
        if (machine->depth == 0)
            return 0;
        *state = machine->remembered[--machine->depth];
        return 1;
    case 0x0c: /* def_cfa */
        reg = cfi_uleb(program);
        set_cfa(state, reg, take_offset(program));
        return 1;
    case 0x0d: /* def_cfa_register */
        change_cfa(state);
        reg = cfi_uleb(program);
        state->reg = reg < BASE_REGISTERS ? (uint8_t)reg : BASE_REGISTERS;
        return 1;
    case 0x0e: /* def_cfa_offset */
        change_cfa(state);
        state->offset = (int32_t)take_offset(program);
        return 1;
    default:
        return run_rare(machine, op, program);
    }
}

/* 0 where the program makes no sense any more. */
static int run_program(struct machine *machine, struct cfi_reader program)
{
    while (cfi_left(&program) > 0 && machine->pc < machine->end) {
        unsigned byte = (unsigned)cfi_fixed(&program, 1), low = byte & 63;
        int known = 1;
        switch (byte >> 6) {
        case 1:
            advance_by(machine, low);
            break;
        case 2:
            saved_at(&machine->state, low, factored(machine, take_offset(&program)));
            break;
        case 3:
            restore(machine, low);
            break;
        default:
            known = run_extended(machine, low, &program);
        }
        if (!known || program.failed)
            return 0;
    }
    return 1;
}

void cfi_run(const struct cfi_cie *cie, const struct cfi_fde *fde, cfi_emit *emit, void *context)
{
    struct machine machine;
    int sound;
    machine.cie = cie;
    machine.state = (struct state){.ret = RETURN_ELSEWHERE};
    machine.initial = machine.state;
    machine.depth = 0;
    machine.pc = fde->start;
    machine.end = fde->end;
    machine.moved = 0;
    machine.emit = NULL;
    machine.context = context;
    sound = run_program(&machine, cie->program) && !machine.moved;
    machine.initial = machine.state;
    machine.emit = emit;
    machine.pc = fde->start;
    sound = sound && run_program(&machine, fde->program);
    if (!sound) /* nothing may be said of the rest */
        machine.state.kind = RULE_NONE;
    if (machine.pc < machine.end)
        emit(context, machine.pc, sound ? rule_of(&machine) : 0);
}
