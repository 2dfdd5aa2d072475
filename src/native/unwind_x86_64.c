/* SPDX-License-Identifier: MIT */
/* unwind_x86_64.c - the step from a frame to its caller.
 *
 * Tables rule. Code without a rule (just-in-time compilers, assembly) is stepped by what its stack shows,
 * counted as guessed, and only where the result passes every check. Reads nothing but the stack from the
 * frame's sp upwards, what sight.h reads of a library that has no table yet, and the code that is running, so
 * nothing can fault. Async-signal-safe: no calls out of this room but that of sight.h. */
#include "kernel.h"
#include "rule.h"
#include "unwind.h"
#include <stddef.h>
#include <ucontext.h>

enum {
    WORD = 8,
    SIGNAL_REGISTERS = 40, /* gregs in the kernel's ucontext */
    SCAN_WORDS = 64,       /* how far a frame without rule and frame pointer is searched */
    SCAN_WORDS_CALLER = 2, /* and that of a caller: such as _init, which makes room for one word */
    TRIAL_STEPS = 4,       /* callers that must follow from a word taken for a return address */
    RED_ZONE = 128,        /* bytes below sp that a handler leaves alone */
    PAGE = 4096,
    OUTERMOST = 8192, /* a thread's start lies this close below its stack's end */
    KNOWN_ALL = 0xffff,
    KNOWN_CALLER = 1 << RULE_REG_SP | 1 << RULE_REG_FP | 1 << RULE_REG_EXTRA,
};

struct walk {
    const struct libs *libs;
    struct unwind_cache *cache;
    const struct stack_span *span;
    uint64_t missed; /* as in struct native_stack */
    /* A guess stands below: pcs may be stale words of the stack, and their libraries may be going away, so
     * that tables alone are asked. */
    int doubtful;
};

static inline uint64_t word_at(uint64_t address)
{
    return *(const uint64_t *)address; /* NOLINT: the interrupted thread's stack */
}

static inline int is_known(const struct regs *regs, unsigned reg)
{
    return (regs->known >> reg & 1) != 0;
}

static inline uint64_t value_of(const struct regs *regs, unsigned reg)
{
    return reg == RULE_REG_SP ? regs->sp : reg == RULE_REG_FP ? regs->fp : regs->r[reg];
}

/* The end of the stack that sp lies on, or 0. An alternate stack may be a part of the other one. */
static inline uint64_t stack_end(const struct stack_span *span, uint64_t sp)
{
    if (sp >= span->alt_low && sp < span->alt_high)
        return span->alt_high;
    return sp >= span->low && sp < span->high ? span->high : 0;
}

/* Whether a word may be read at `address` for a frame with this sp. */
static inline int is_readable(uint64_t address, uint64_t sp, uint64_t end)
{
    return address >= sp && address % WORD == 0 && address < end && end - address >= WORD;
}

/* A caller's register. A place just below sp was popped already, or the stack pointer was moved past it first
 * (libffi): within the red zone it still holds the value. One farther below, and one that the frame pointer
 * puts outside of this frame (compilers let the last rule stand in epilogues): the register has its old
 * value. */
static inline void recover(struct regs *regs, unsigned reg, unsigned place, uint64_t cfa, uint64_t end,
                           uint64_t *value)
{
    uint64_t address;
    if (place == RULE_SAME)
        return;
    if (place == RULE_LOST || (place >= RULE_BY_FP && !is_known(regs, RULE_REG_FP))) {
        regs->known &= ~(1u << reg);
        return;
    }
    if (place < RULE_BY_FP)
        address = cfa - WORD * (uint64_t)place;
    else
        address = regs->fp + WORD * (uint64_t)((int64_t)place - RULE_FP_ZERO);
    if (address < regs->sp - RED_ZONE || (place >= RULE_BY_FP && (address < regs->sp || address >= cfa)))
        return;
    if (!is_readable(address, regs->sp - RED_ZONE, end)) {
        regs->known &= ~(1u << reg);
        return;
    }
    *value = word_at(address);
    regs->known |= 1u << reg;
}

static inline int find_cfa(uint64_t rule, const struct regs *regs, const struct stack_span *span,
                           uint64_t end, uint64_t *cfa)
{
    enum rule_kind kind = rule_kind(rule);
    unsigned reg = rule_register(rule);
    uint64_t base, low;
    if (!is_known(regs, reg))
        return 0;
    base = value_of(regs, reg);
    if (kind == RULE_PLT) {
        *cfa = base + WORD + ((regs->pc & 15) >= (uint64_t)rule_offset(rule) ? WORD : 0);
        return 1;
    }
    if (kind == RULE_REGISTER) {
        *cfa = base + (uint64_t)rule_offset(rule);
        return 1;
    }
    *cfa = base + (uint64_t)rule_deref_offset(rule);
    low = end == span->high ? span->low : span->alt_low;
    if (regs->sp - low > RED_ZONE) /* epilogues use what they have just popped */
        low = regs->sp - RED_ZONE;
    if (!is_readable(*cfa, low, end))
        return 0;
    *cfa = word_at(*cfa) + WORD * (uint64_t)rule_deref_words(rule);
    return 1;
}

/* The return address lies just below the CFA. */
static inline int is_cfa(uint64_t cfa, uint64_t sp, uint64_t end)
{
    return cfa > sp && cfa - sp >= WORD && cfa <= end && cfa % WORD == 0;
}

static inline int enter_caller(struct regs *regs, uint64_t cfa, int *exact)
{
    regs->pc = word_at(cfa - WORD);
    regs->sp = cfa;
    regs->known &= KNOWN_CALLER;
    *exact = 0;
    return regs->pc == 0 ? UNWIND_COMPLETE : -1;
}

static int step_signal(struct regs *regs, const struct stack_span *span, uint64_t end, int *exact)
{
    static const unsigned char order[] = {8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7};
    uint64_t at = regs->sp + SIGNAL_REGISTERS, sp = regs->sp;
    int on_alternate = end == span->alt_high && end != span->high;
    if (!is_readable(at + WORD * sizeof order, sp, end))
        return UNWIND_BAD_STACK;
    for (unsigned i = 0; i < sizeof order; i++)
        regs->r[order[i]] = word_at(at + WORD * (uint64_t)i);
    regs->pc = word_at(at + WORD * sizeof order);
    regs->sp = regs->r[RULE_REG_SP];
    regs->fp = regs->r[RULE_REG_FP];
    regs->known = KNOWN_ALL;
    *exact = 1;
    if (stack_end(span, regs->sp) == 0 || (!on_alternate && regs->sp <= sp))
        return UNWIND_BAD_STACK;
    return -1;
}

static int step(struct walk *walk, struct regs *regs, int *exact, int *guessed, int may_guess);

/* Whether the word at cfa - 8 is a return address as far as tables can tell: it lies in code with a rule,
 * and so do the callers that follow from it. */
static int is_return(const struct walk *walk, const struct regs *regs, uint64_t cfa)
{
    struct walk doubtful = *walk;
    struct regs trial;
    int exact, guessed, answer = -1;
    unsigned steps = 0;
    if (libs_find(walk->libs, word_at(cfa - WORD) - 1) == NULL)
        return 0;
    doubtful.doubtful = 1;
    trial = *regs;
    enter_caller(&trial, cfa, &exact);
    while (steps < TRIAL_STEPS && answer < 0) {
        answer = step(&doubtful, &trial, &exact, &guessed, 0);
        steps++;
    }
    return answer < 0 || answer == UNWIND_COMPLETE || (answer == UNWIND_NO_RULE && steps > 2);
}

/* The frame of an interrupted function without rule or frame pointer, or of such a caller: its CFA lies above
 * the first word of its stack that is a return address, or 0. */
static uint64_t scan(const struct walk *walk, const struct regs *regs, uint64_t limit, int exact)
{
    uint64_t at = regs->sp;
    unsigned words = exact ? SCAN_WORDS : SCAN_WORDS_CALLER;
    for (unsigned i = 0; i < words && at < limit; i++, at += WORD)
        if (is_return(walk, regs, at + WORD))
            return at + WORD;
    return 0;
}

/* What the code at the interrupted pc says itself, or 0. Kept in the cache under the inverse of the pc, where
 * nothing else is. */
static uint64_t rule_of_kernel(const struct walk *walk, const struct regs *regs)
{
    const struct library *library = libs_find(walk->libs, regs->pc);
    uint64_t key = ~regs->pc, slot = unwind_cache_slot(key), before, after;
    if (library == NULL || library->path[0] != '/')
        return 0;
    if (walk->cache->entry[slot].pc != key) {
        before = regs->pc - library->start;
        after = library->end - regs->pc;
        walk->cache->entry[slot].rule = kernel_rule(
            (const unsigned char *)regs->pc, before < KERNEL_BEFORE ? before : KERNEL_BEFORE, /* NOLINT */
            after < KERNEL_AFTER ? after : KERNEL_AFTER, regs->sp % PAGE == 0);
        walk->cache->entry[slot].pc = key;
    }
    return walk->cache->entry[slot].rule;
}

/* One step by that rule; 0 where it leads to no return address. */
static int step_kernel(const struct walk *walk, struct regs *regs, uint64_t end, int *exact)
{
    struct regs caller = *regs;
    uint64_t rule = rule_of_kernel(walk, regs), cfa;
    if (rule == 0 || !find_cfa(rule, regs, walk->span, end, &cfa) || !is_cfa(cfa, regs->sp, end))
        return 0;
    recover(&caller, RULE_REG_EXTRA, rule_extra(rule), cfa, end, &caller.r[RULE_REG_EXTRA]);
    recover(&caller, RULE_REG_FP, rule_fp(rule), cfa, end, &caller.fp);
    if (!is_return(walk, &caller, cfa))
        return 0;
    *regs = caller;
    enter_caller(regs, cfa, exact);
    return 1;
}

/* No rule for the pc: by the frame pointer if it leads to a return address, but for the interrupted function
 * itself, which may not have set it up, first by what its stack shows. */
static __attribute__((noinline)) int step_guess(const struct walk *walk, struct regs *regs, uint64_t end,
                                                int *exact)
{
    uint64_t fp = regs->fp, sp = regs->sp, cfa = 0;
    if (*exact && step_kernel(walk, regs, end, exact))
        return -1;
    int framed = is_known(regs, RULE_REG_FP) && is_readable(fp, sp, end) && is_readable(fp + WORD, sp, end) &&
                 libs_find(walk->libs, word_at(fp + WORD) - 1) != NULL;
    if (*exact || !framed)
        cfa = scan(walk, regs, framed ? fp : end, *exact);
    if (cfa != 0)
        return enter_caller(regs, cfa, exact);
    if (framed) {
        regs->fp = word_at(fp);
        regs->known &= ~(1u << RULE_REG_EXTRA);
        return enter_caller(regs, fp + 2 * WORD, exact);
    }
    if ((is_known(regs, RULE_REG_FP) && fp == 0) || (is_readable(sp, sp, end) && word_at(sp) == 0))
        return end - sp <= OUTERMOST ? UNWIND_COMPLETE : UNWIND_NO_RULE;
    return UNWIND_NO_RULE;
}

/* No table yet: what first sight tells. Outside of the snapshot nothing would make us forget a rule, so that
 * it is not kept. */
static int look_without_table(struct walk *walk, struct library *library, uint64_t pc, uint64_t *rule,
                              int *keep)
{
    if (library != NULL)
        __atomic_store_n(&library->wanted, 1, __ATOMIC_RELAXED);
    if (walk->missed == 0)
        walk->missed = pc;
    *keep = library != NULL;
    if (!walk->doubtful && sight_rule(walk->libs->first_sight, pc, rule))
        return -1;
    return library != NULL ? UNWIND_NO_TABLE : UNWIND_NO_LIBRARY;
}

/* The rule of `pc` into *rule (0 = none there) and into the cache; -1, or why there is no answer. */
static __attribute__((noinline)) int look_up(struct walk *walk, uint64_t pc, uint64_t *rule)
{
    struct library *library = libs_find(walk->libs, pc);
    const struct cfi_table *table = NULL;
    uint64_t slot = unwind_cache_slot(pc);
    int keep = 1, answer = -1;
    if (library != NULL)
        table = __atomic_load_n(&library->table, __ATOMIC_ACQUIRE);
    if (table == NULL) {
        answer = look_without_table(walk, library, pc, rule, &keep);
    } else {
        *rule = rule_widen(table, cfi_find(table, pc - library->bias));
        if (*rule == 0 && !library->frame_pointers)
            answer = UNWIND_NO_RULE;
    }
    if (answer >= 0 || !keep)
        return answer;
    walk->cache->entry[slot].pc = pc;
    walk->cache->entry[slot].rule = *rule;
    return -1;
}

/* Rules are good for one generation of libraries. */
static inline void check_cache(const struct libs *libs, struct unwind_cache *cache)
{
    if (cache->generation == libs->generation)
        return;
    for (unsigned i = 0; i < UNWIND_CACHE; i++)
        cache->entry[i].pc = 0;
    cache->generation = libs->generation;
}

static int step(struct walk *walk, struct regs *regs, int *exact, int *guessed, int may_guess)
{
    const struct stack_span *span = walk->span;
    const struct unwind_cache *cache = walk->cache;
    uint64_t end = stack_end(span, regs->sp), pc, slot, rule, cfa, fp, extra;
    *guessed = 0;
    if (end == 0 || regs->sp % WORD != 0)
        return UNWIND_BAD_STACK;
    pc = regs->pc - (*exact ? 0 : 1);
    slot = unwind_cache_slot(pc);
    rule = cache->entry[slot].rule;
    if (cache->entry[slot].pc != pc || pc == 0) {
        int answer = look_up(walk, pc, &rule);
        if (answer >= 0)
            return answer;
    }
    switch (rule_kind(rule)) {
    case RULE_NONE:
        *guessed = 1;
        walk->doubtful = 1;
        return may_guess ? step_guess(walk, regs, end, exact) : UNWIND_NO_RULE;
    case RULE_SIGNAL:
        return step_signal(regs, span, end, exact);
    case RULE_END:
        regs->pc = 0;
        regs->sp = end;
        return UNWIND_COMPLETE;
    default:
        break;
    }
    if (!find_cfa(rule, regs, span, end, &cfa))
        return UNWIND_NO_RULE;
    if (!is_cfa(cfa, regs->sp, end))
        return UNWIND_BAD_STACK;
    fp = regs->fp;
    extra = regs->r[RULE_REG_EXTRA];
    recover(regs, RULE_REG_EXTRA, rule_extra(rule), cfa, end, &extra);
    recover(regs, RULE_REG_FP, rule_fp(rule), cfa, end, &fp);
    regs->fp = fp;
    regs->r[RULE_REG_EXTRA] = extra;
    return enter_caller(regs, cfa, exact);
}

int unwind_step(const struct libs *libs, struct unwind_cache *cache, struct regs *regs,
                const struct stack_span *span, int *exact, int *guessed)
{
    struct walk walk = {.libs = libs, .cache = cache, .span = span};
    check_cache(libs, cache);
    return step(&walk, regs, exact, guessed, 1);
}

void unwind_stack(const struct libs *libs, struct unwind_cache *cache, const struct regs *start,
                  const struct stack_span *span, struct native_stack *stack)
{
    struct walk walk = {.libs = libs, .cache = cache, .span = span};
    struct regs regs = *start;
    int exact = 1, guessed, end = -1;
    check_cache(libs, cache);
    stack->count = 0;
    stack->guessed = 0;
    while (end < 0 && stack->count < stack->capacity) {
        struct native_frame *frame = &stack->frames[stack->count++];
        frame->pc = regs.pc;
        frame->sp = regs.sp;
        frame->flags = exact ? FRAME_EXACT_PC : 0;
        frame->zero = 0;
        end = step(&walk, &regs, &exact, &guessed, 1);
        stack->guessed += (uint32_t)guessed;
    }
    stack->missed = walk.missed;
    stack->end = end < 0 ? UNWIND_LIMIT : (enum unwind_end)end;
    stack->frames[stack->count] = (struct native_frame){.sp = regs.sp};
}

void unwind_regs_of_signal(struct regs *regs, const void *context)
{
    static const unsigned char order[] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                          REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                          REG_R12, REG_R13, REG_R14, REG_R15};
    const greg_t *gregs = ((const ucontext_t *)context)->uc_mcontext.gregs;
    for (unsigned i = 0; i < sizeof order; i++)
        regs->r[i] = (uint64_t)gregs[order[i]];
    regs->pc = (uint64_t)gregs[REG_RIP];
    regs->sp = regs->r[RULE_REG_SP];
    regs->fp = regs->r[RULE_REG_FP];
    regs->known = KNOWN_ALL;
}

_Static_assert(offsetof(struct regs, pc) == 0 && offsetof(struct regs, sp) == 8 &&
                   offsetof(struct regs, fp) == 16 && offsetof(struct regs, r) == 24 &&
                   offsetof(struct regs, known) == 152,
               "unwind_regs_here writes by these offsets");

/* At entry: the return address at sp, the caller's registers untouched but for the argument. */
__attribute__((naked)) void unwind_regs_here(__attribute__((unused)) struct regs *regs)
{
    __asm__("movq (%rsp), %rax\n\t"
            "movq %rax, (%rdi)\n\t"
            "leaq 8(%rsp), %rax\n\t"
            "movq %rax, 8(%rdi)\n\t"
            "movq %rax, 24+7*8(%rdi)\n\t"
            "movq %rbp, 16(%rdi)\n\t"
            "movq %rbp, 24+6*8(%rdi)\n\t"
            "movq %rbx, 24+3*8(%rdi)\n\t"
            "movq %r12, 24+12*8(%rdi)\n\t"
            "movq %r13, 24+13*8(%rdi)\n\t"
            "movq %r14, 24+14*8(%rdi)\n\t"
            "movq %r15, 24+15*8(%rdi)\n\t"
            "movl $0xf0c8, 152(%rdi)\n\t"
            "ret");
}
