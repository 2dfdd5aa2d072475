/* SPDX-License-Identifier: MIT */
/* kernel_x86_64.c - OpenBLAS's kernels are written to one pattern:
 *
 *     sub $SIZE,%rsp;  mov %reg,N(%rsp) ...;  mov %rsp,%rbx;  sub $BUFFER,%rsp;  and $-4096,%rsp
 *     the body
 *     mov %rbx,%rsp;  [emms|vzeroupper];  mov N(%rsp),%reg ...;  add $SIZE,%rsp;  ret
 *
 * They use the frame pointer for numbers, and between the saved registers and the return address lies what
 * earlier calls have left, return addresses too, so that nothing less than the code tells their frame. */
#include "kernel.h"

#include "rule.h"
#include <string.h>

enum {
    WORD = 8,
    REX_W = 0x48,
    REX_R = 0x04, /* the fourth bit of the register's number */
    OPCODE_LOAD = 0x8b,
    OPCODE_RETURN = 0xc3,
    MODRM_SP = 0x04, /* memory by a SIB byte, which is sp alone */
    MODRM_BYTE = 0x40,
    SIB_SP = 0x24,
    CODED_RBX = 3, /* registers' numbers in instructions */
    CODED_RBP = 5,
    LARGEST = 128, /* bytes of a frame: SIZE is one signed byte */
    BEGINNING = 96,
};

static const unsigned char allocate[] = {0x48, 0x83, 0xec};                      /* sub $byte,%rsp */
static const unsigned char keep[] = {0x48, 0x89, 0xe3, 0x48, 0x81, 0xec};        /* and `sub $int` */
static const unsigned char align[] = {0x48, 0x81, 0xe4, 0x00, 0xf0, 0xff, 0xff}; /* and $-4096,%rsp */
static const unsigned char emms[] = {0x0f, 0x77}, vzeroupper[] = {0xc5, 0xf8, 0x77};
static const unsigned char restore[] = {0x48, 0x89, 0xdc}, release[] = {0x48, 0x83, 0xc4};

/* The code not yet read. */
struct rest {
    const unsigned char *at, *end;
};

static int starts(struct rest rest, const unsigned char *bytes, size_t size)
{
    return (size_t)(rest.end - rest.at) >= size && memcmp(rest.at, bytes, size) == 0;
}

/* `mov offset(%rsp), %reg`, with a byte of offset or none. */
static int take_load(struct rest *rest, unsigned *reg, unsigned *offset)
{
    const unsigned char *at = rest->at;
    if (rest->end - at < 5 || (at[0] & ~REX_R) != REX_W || at[1] != OPCODE_LOAD || at[3] != SIB_SP)
        return 0;
    unsigned mode = at[2] & 0xc7u;
    if (mode != MODRM_SP && mode != (MODRM_SP | MODRM_BYTE))
        return 0;
    *reg = (at[2] >> 3 & 7u) | (at[0] & REX_R ? 8u : 0u);
    *offset = mode == MODRM_SP ? 0 : at[4];
    rest->at += mode == MODRM_SP ? 4 : 5;
    return 1;
}

/* The rule of code that now reloads its registers by sp, frees its frame and returns; the frame is at `base`.
 * Registers that are not reloaded any more have the caller's value. */
static uint64_t ending(struct rest rest, unsigned base)
{
    unsigned saved[RULE_REGISTERS] = {0}, reg, offset;
    if (starts(rest, emms, sizeof emms))
        rest.at += sizeof emms;
    else if (starts(rest, vzeroupper, sizeof vzeroupper))
        rest.at += sizeof vzeroupper;
    while (take_load(&rest, &reg, &offset))
        saved[reg] = offset + WORD; /* 0: not met */
    if (!starts(rest, release, sizeof release) || rest.end - rest.at < 5)
        return 0;
    unsigned size = rest.at[3], place[2] = {saved[CODED_RBP], saved[CODED_RBX]};
    if (rest.at[4] != OPCODE_RETURN || size >= LARGEST || size % WORD != 0)
        return 0;
    for (int i = 0; i < 2; i++) {
        if (place[i] % WORD != 0 || place[i] > size)
            return 0;
        place[i] = place[i] == 0 ? RULE_SAME : (size + 2 * WORD - place[i]) / WORD;
    }
    return rule_wide(RULE_REGISTER, base, (int64_t)size + WORD, place[0], place[1]);
}

/* From the body, which knows its frame by rbx. */
static uint64_t search_ending(struct rest rest)
{
    for (; (size_t)(rest.end - rest.at) >= sizeof restore; rest.at++) {
        if (rest.at[2] != restore[2] || !starts(rest, restore, sizeof restore))
            continue;
        struct rest next = {rest.at + sizeof restore, rest.end};
        uint64_t rule = ending(next, RULE_REG_EXTRA);
        if (rule != 0 && rule_extra(rule) != RULE_SAME)
            return rule;
    }
    return 0;
}

/* While the registers are being saved they still have their values. */
static uint64_t beginning(struct rest rest, const unsigned char *code)
{
    unsigned size = 0;
    for (const unsigned char *at = rest.at; at + 4 <= code; at++)
        if (memcmp(at, allocate, sizeof allocate) == 0)
            size = at[3];
    if (size == 0 || size >= LARGEST || size % WORD != 0)
        return 0;
    uint64_t by_sp = rule_wide(RULE_REGISTER, RULE_REG_SP, (int64_t)size + WORD, RULE_SAME, RULE_SAME);
    if (code - rest.at >= 10 && starts((struct rest){code - 10, rest.end}, keep, sizeof keep) &&
        starts((struct rest){code, rest.end}, align, sizeof align))
        return rule_wide(RULE_REGISTER, RULE_REG_EXTRA, (int64_t)size + WORD, RULE_SAME,
                         (size + WORD) / WORD);
    /* at the `sub` rbx is the frame's already, and saved where all of these kernels save it: at sp */
    if (code - rest.at >= 3 && starts((struct rest){code - 3, rest.end}, keep, sizeof keep))
        return rule_wide(RULE_REGISTER, RULE_REG_SP, (int64_t)size + WORD, RULE_SAME, (size + WORD) / WORD);
    for (rest.at = code; rest.at - code < BEGINNING && rest.at < rest.end; rest.at++)
        if (starts(rest, keep, sizeof keep) && rest.end - rest.at > 10 &&
            starts((struct rest){rest.at + 10, rest.end}, align, sizeof align))
            return by_sp;
    return 0;
}

uint64_t kernel_rule(const unsigned char *code, size_t before, size_t after, int aligned)
{
    struct rest rest = {code, code + after};
    uint64_t rule = 0;
    if (aligned)
        rule = search_ending(rest);
    if (rule == 0)
        rule = ending(rest, RULE_REG_SP);
    if (rule == 0)
        rule = beginning((struct rest){code - before, rest.end}, code);
    return rule;
}
