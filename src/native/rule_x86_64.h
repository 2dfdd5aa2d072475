/* SPDX-License-Identifier: MIT */
/* rule_x86_64.h - DWARF register numbers of x86_64 and the registers whose saved places rules remember.
 *
 * Besides the frame pointer only rbx is tracked: glibc's lazy-binding trampoline finds its frame by rbx
 * while C code runs above it. No other callee-saved register is a frame's base across a call. */
#ifndef PLAIT_RULE_X86_64_H
#define PLAIT_RULE_X86_64_H

enum {
    RULE_REG_FP = 6,
    RULE_REG_SP = 7,
    RULE_REG_EXTRA = 3, /* the second tracked register */
    RULE_REG_RETURN = 16,
    RULE_REGISTERS = 16, /* general registers */
};

#endif
