/* SPDX-License-Identifier: MIT */
/* kernel.h - the rule of assembly kernels without unwind data, read from their code: those of OpenBLAS (dgemm
 * and its kind), in which numpy spends its time. kernel_<arch>.c. */
#ifndef PLAIT_KERNEL_H
#define PLAIT_KERNEL_H

#include <stddef.h>
#include <stdint.h>

enum {
    KERNEL_BEFORE = 64,   /* bytes looked at before the pc: a beginning */
    KERNEL_AFTER = 65536, /* and after it: the end; the longest kernel of OpenBLAS has 44,000 */
};

/* The wide rule (rule.h) at `code`, or 0 when this is no such kernel. `before` and `after` bytes may be read
 * on its two sides. `aligned`: 1 when the stack pointer is at the start of a page, as it is in the body. The
 * rule is what the code says, not a proof: the caller checks that it leads to a return address. Pure;
 * async-signal-safe. */
uint64_t kernel_rule(const unsigned char *code, size_t before, size_t after, int aligned);

#endif
