/* SPDX-License-Identifier: MIT */
/* unwind.h - native frames of the interrupted thread, exact at any instruction.
 * Pure: registers, tables and readable stack in, frames out. unwind_<arch>.c holds the step. */
#ifndef PLAIT_UNWIND_H
#define PLAIT_UNWIND_H

#include "../core/core.h"
#include "libs.h"
#include "rule_x86_64.h"

/* The registers of a frame. `pc`, `sp` and `fp` always; `r` holds all general registers in DWARF numbering
 * (x86_64: 0 rax .. 7 rsp .. 15 r15), of which those not in `known` (a bit each) are lost. Several of these
 * stand on the handler's stack at a time. */
struct regs {
    uint64_t pc, sp, fp;
    uint64_t r[RULE_REGISTERS];
    uint32_t known;
};

/* Memory that may be read without a guard: [sp of the interrupted frame, high). A frame whose sp leaves
 * [low, high) ends the walk, unless it lies in the alternate signal stack [alt_low, alt_high). */
struct stack_span {
    uint64_t low, high;
    uint64_t alt_low, alt_high; /* 0, 0 when there is none */
};

struct native_frame {
    uint64_t
        pc; /* interrupted instruction for frame 0 and for what a signal interrupted, else return address */
    uint64_t sp;    /* stack pointer in that frame; the next frame's sp is this frame's CFA */
    uint32_t flags; /* FRAME_EXACT_PC */
    uint32_t zero;
};

enum unwind_end {
    UNWIND_COMPLETE = 0, /* reached the thread's start (return address undefined, or 0) */
    UNWIND_NO_LIBRARY,   /* pc in no known mapping, and nothing to be learnt at first sight (sight.h) */
    UNWIND_NO_TABLE,     /* the same, of a known library whose table is not built yet: it was queued */
    UNWIND_NO_RULE,      /* the library has no rule for the pc and the frame pointer led nowhere */
    UNWIND_BAD_STACK,    /* sp left the span, was not aligned or did not grow */
    UNWIND_LIMIT,        /* `capacity` frames */
};

struct native_stack {
    struct native_frame *frames; /* given by the caller: capacity + 1 entries; the entry after the last holds
                                    the CFA of the last frame as its sp, pc 0 */
    uint32_t capacity, count;
    uint32_t guessed; /* frames that were stepped by frame pointer without a rule */
    enum unwind_end end;
    uint64_t missed; /* the first pc looked up that has no library or no table yet, whether or not the walk
                        went on at first sight: the helper shall look again. 0 = none */
};

/* A small per-thread cache of recent rules, by pc; forgotten when the libraries' generation changes. Zeroed
 * memory is a valid empty cache. */
enum { UNWIND_CACHE_BITS = 9, UNWIND_CACHE = 1 << UNWIND_CACHE_BITS };
struct unwind_cache {
    uint64_t generation;
    struct {
        uint64_t pc, rule;
    } entry[UNWIND_CACHE];
};

/* Where the rule of `pc` is kept: return addresses are aligned in many ways, a product spreads them all. */
static inline uint64_t unwind_cache_slot(uint64_t pc)
{
    return pc * 0x9e3779b97f4a7c15u >> (64 - UNWIND_CACHE_BITS);
}

/* One step: replaces `regs` by the caller's. `exact` is 1 when regs->pc is the instruction itself (frame 0,
 * and after a signal frame), and is updated. Returns -1 to go on, else the enum unwind_end. Sets *guessed.
 * Reads only [regs->sp, span->high), library tables, and the
 * unwind data of a library that has none yet. Async-signal-safe. */
int unwind_step(const struct libs *libs, struct unwind_cache *cache, struct regs *regs,
                const struct stack_span *span, int *exact, int *guessed);

/* All frames from `regs` outwards. Async-signal-safe, bounded by stack->capacity. */
void unwind_stack(const struct libs *libs, struct unwind_cache *cache, const struct regs *regs,
                  const struct stack_span *span, struct native_stack *stack);

/* The registers of the signal's victim, from the handler's third argument; and of the caller of this
 * function itself (tests, probes: unwinding starts in the caller). */
void unwind_regs_of_signal(struct regs *regs, const void *ucontext);
void unwind_regs_here(struct regs *regs);

#endif
