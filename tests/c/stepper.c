/* SPDX-License-Identifier: MIT */
/* stepper.c - single-steps an interpreter in process: the trap flag raises SIGTRAP after every instruction,
 * and the handler takes the walk that a tick at that instruction would take. A shared object, loaded by
 * ctypes from tests/programs/stepper_load.py.
 *
 * The truth: a shadow stack of every call since stepper_begin (exact, no unwinder) says which eval
 * activations exist and where; the Python chain may only grow or shrink at its inner end from one step to the
 * next; code objects that were deallocated may not appear; a living code object keeps its key. */
#include "braid.h"
#include "native/unwind.h"
#include "python/offsets.h"
#include "python/python.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#define EXPORT __attribute__((visibility("default")))

enum {
    TRAP_FLAG = 0x100,
    CALLS = 8192,
    FRAMES = 4096,
    DEAD = 512,
    KEYS_KNOWN = 16384,
    REASONS = 16,
    JUMP_MOST = 3,        /* entries that one instruction may add or take away */
    HIDDEN_JUMP_MOST = 8, /* the same across steps without a usable chain */
    CODE_DEALLOC = 40,    /* bytes from ob_type to tp_dealloc in a type object */
};

struct call {
    uint64_t cfa;
    uint64_t code; /* of the frame that an eval activation was given */
    int is_eval;
};

struct reason {
    char text[96];
    uint64_t count;
};

/* Read by the load through ctypes: keep in step with it. */
struct counts {
    uint64_t steps, ok, none, put_off, torn, wrong;
    uint64_t longest_put_off, longest_torn;
    uint64_t bare_evals;   /* steps with an eval activation that has no entry object */
    uint64_t bare_calls;   /* of these, those where it has called a function */
    uint64_t empty_tops;   /* steps with an entry object without a frame on top */
    uint64_t before_first; /* steps whose top frame has executed nothing yet */
    uint64_t most_frames, probes;
    uint64_t braided, cut; /* steps whose native stack was compared; those whose unwinding ended early */
    struct reason wrongs[REASONS], torns[REASONS];
};

static struct py_runtime py;
static uint64_t generation = 1;
static struct guard guard = {.current = &generation};
static struct counts counts;
static struct py_frame frames[FRAMES];
static struct py_segment segments[FRAMES];
static struct py_stack stack = {
    .frames = frames, .segments = segments, .frame_capacity = FRAMES, .segment_capacity = FRAMES};
static struct call calls[CALLS];
static int call_count;
static uint64_t last_pc, last_sp, first_sp, library;
static volatile int stopping;
static uint64_t run_put_off, run_torn;

/* The chain of the last step that had one, outermost first: codes and markers. */
static uint64_t chain[2][2 * FRAMES];
static uint32_t chain_count[2], chain_now;
static int chain_hidden;

static uint64_t code_dealloc, dead[DEAD];
static int dead_count;
static struct {
    uint64_t code, key;
} known[KEYS_KNOWN];

/* Of each reason, the place of its first sight. */
static void note(struct reason *reasons, const char *text, uint64_t pc)
{
    char line[sizeof reasons->text];
    Dl_info info;
    memset(line, 0, sizeof line);
    size_t length = (size_t)snprintf(line, sizeof line, "%s", text);
    for (int i = 0; i < REASONS; i++)
        if (strncmp(reasons[i].text, line, length) == 0 && reasons[i].count > 0) {
            reasons[i].count++;
            return;
        }
    if (dladdr((const void *)(uintptr_t)pc, &info) != 0)
        snprintf(line + length, sizeof line - length, " at %s+0x%lx",
                 info.dli_sname != NULL ? info.dli_sname : strrchr(info.dli_fname, '/'),
                 (unsigned long)(pc - (uint64_t)(uintptr_t)(info.dli_sname != NULL ? info.dli_saddr
                                                                                   : info.dli_fbase)));
    for (int i = 0; i < REASONS; i++)
        if (reasons[i].count == 0) {
            memcpy(reasons[i].text, line, sizeof line);
            reasons[i].count = 1;
            return;
        }
}

static void wrong(const char *text, uint64_t pc)
{
    counts.wrong++;
    note(counts.wrongs, text, pc);
}

/* ---- the native truth ---- */

static void follow_calls(uint64_t pc, uint64_t sp, uint64_t frame)
{
    while (call_count > 0 && sp >= calls[call_count - 1].cfa)
        call_count--;
    if (last_sp - 8 == sp && call_count < CALLS) {
        uint64_t back = *(const uint64_t *)(uintptr_t)sp;
        if (back - last_pc >= 2 && back - last_pc <= 8) {
            calls[call_count].cfa = sp + 8;
            calls[call_count++].is_eval = 0;
        }
    }
    if (pc == py.symbols.eval && call_count > 0) {
        calls[call_count - 1].is_eval = 1;
        calls[call_count - 1].code =
            *(const uint64_t *)(uintptr_t)(frame + (uint64_t)py.offsets->frame_code) &
            ~(uint64_t)py.offsets->frame_tags;
    }
    last_pc = pc;
    last_sp = sp;
}

/* Every marker lies in an eval activation of its own; activations without one are the innermost only. */
static void check_markers(uint64_t pc, uint64_t sp)
{
    uint32_t next = stack.segment_count > 0 && segments[0].marker == 0 ? 1 : 0;
    int bare = 0, evals = 0;
    for (int i = call_count - 1; i >= 0; i--) {
        uint64_t low = i == call_count - 1 ? sp : calls[i + 1].cfa, high = calls[i].cfa;
        uint32_t held = 0;
        for (; next < stack.segment_count && segments[next].marker < high; next++) {
            if (segments[next].marker < low)
                wrong("a marker lies below its frame", pc);
            const struct py_segment *segment = &segments[next];
            if (segment->count > 0 && frames[segment->first + segment->count - 1].code != calls[i].code)
                wrong("a segment that is not its activation's", pc);
            held++;
        }
        if (held > 0 && !calls[i].is_eval)
            wrong("a marker in a frame that is not eval", pc);
        if (held > 1)
            wrong("two markers in one frame", pc);
        if (calls[i].is_eval && held == 0) {
            bare++;
            if (evals > 0)
                wrong("an outer eval activation without a marker", pc);
            counts.bare_calls += i != call_count - 1;
        }
        evals += calls[i].is_eval;
    }
    if (bare > 0)
        counts.bare_evals++;
}

static uint32_t base_frames; /* 3.8, 3.9: Python frames there were at stepper_begin */

/* 3.8, 3.9: every frame is one activation's; the innermost activation may have none. */
static void check_pairs(uint64_t pc)
{
    uint32_t at = stack.frame_count - base_frames;
    for (int i = 0; i < call_count && at > 0; i++)
        if (calls[i].is_eval && frames[--at].code != calls[i].code)
            wrong("a frame that is not its activation's", pc);
}

static void check_counts(uint64_t pc)
{
    uint32_t evals = base_frames;
    for (int i = 0; i < call_count; i++)
        evals += (uint32_t)calls[i].is_eval;
    if (stack.frame_count > evals)
        wrong("more Python frames than eval activations", pc);
    if (stack.frame_count + 1 < evals)
        wrong("two eval activations without a Python frame", pc);
    counts.bare_evals += stack.frame_count < evals;
}

/* ---- the Python truth ---- */

static void forget_dead(uint64_t code)
{
    for (int i = 0; i < dead_count; i++)
        if (dead[i] == code)
            dead[i--] = dead[--dead_count];
}

static void note_dead(uint64_t code)
{
    if (dead_count < DEAD)
        dead[dead_count++] = code;
    for (int i = 0; i < KEYS_KNOWN; i++)
        if (known[i].code == code)
            known[i].key = 0;
}

static void check_key(const struct py_frame *frame, uint64_t pc)
{
    uint32_t at = (uint32_t)(frame->code * 0x9e3779b97f4a7c15u >> 50);
    while (known[at].code != 0 && known[at].code != frame->code)
        at = (at + 1) % KEYS_KNOWN;
    known[at].code = frame->code;
    if (known[at].key != 0 && known[at].key != frame->key)
        wrong("a living code object changed its key", pc);
    known[at].key = frame->key;
    if (frame->key == 0)
        wrong("a key is 0", pc);
}

static uint32_t build_chain(uint64_t *out)
{
    uint32_t count = 0;
    for (uint32_t s = stack.segment_count; s-- > 0;) {
        if (segments[s].marker != 0)
            out[count++] = segments[s].marker;
        for (uint32_t i = segments[s].count; i-- > 0;)
            out[count++] = frames[segments[s].first + i].code;
    }
    return count;
}

static void check_chain(uint64_t pc)
{
    uint32_t now = chain_now ^ 1, old = chain_now, same = 0;
    chain_count[now] = build_chain(chain[now]);
    while (same < chain_count[now] && same < chain_count[old] && chain[now][same] == chain[old][same])
        same++;
    uint32_t added = chain_count[now] - same, taken = chain_count[old] - same;
    uint32_t most = chain_hidden ? HIDDEN_JUMP_MOST : JUMP_MOST;
    if (chain_count[old] > 0) {
        /* 3.10 moves the innermost frame between "without" and "with a marker" */
        int moves = added > 0 && taken > 0 && !chain_hidden && (py.minor != 10 || added + taken > 3);
        if (moves)
            wrong("the chain was replaced", pc);
        else if (added > most || taken > most)
            wrong("the chain jumped", pc);
    }
    for (uint32_t i = same; i < chain_count[now]; i++)
        forget_dead(chain[now][i]);
    for (uint32_t i = 0; i < stack.frame_count; i++) {
        for (int d = 0; d < dead_count; d++)
            if (dead[d] == frames[i].code)
                wrong("a deallocated code object", pc);
        if (i < 4)
            check_key(&frames[i], pc);
    }
    chain_now = now;
}

/* ---- the native stack and the braid ---- */

static struct libs_state *libraries;
static const struct library *bridge; /* libffi, by which the load calls us: it moves the stack pointer up */
static int is_leaving; /* the call of stepper_end has begun there; the shadow is no truth any more */
static struct unwind_cache cache;
static struct stack_span span;
static struct native_frame natives[FRAMES + 1];
static struct native_stack native = {.frames = natives, .capacity = FRAMES};
static struct frame braided[2 * FRAMES];

/* The shadow's call that native frame `i` is the activation of, or NULL: outside of what was stepped. */
static const struct call *call_of(uint32_t i)
{
    return i < (uint32_t)call_count ? &calls[(uint32_t)call_count - 1 - i] : NULL;
}

static void check_native(uint64_t pc)
{
    for (uint32_t i = 0; i < native.count && call_of(i) != NULL; i++)
        if (natives[i + 1].sp != call_of(i)->cfa) {
            wrong("a native frame that the shadow stack does not have", pc);
            return;
        }
}

/* Both stacks whole and in order, and every run of Python frames directly above its own activation. */
static void check_braid(uint64_t pc)
{
    uint32_t flags = 0, at_native = 0, at_python = 0, run = 0;
    uint32_t count = braid(&native, &py, &stack, braided, 2 * FRAMES, &flags);
    if (flags != 0)
        wrong("markers and native frames disagree", pc);
    for (uint32_t i = 0; i < count; i++) {
        const struct frame *frame = &braided[i];
        if (frame->kind == FRAME_PYTHON) {
            if (at_python >= stack.frame_count || frame->id != frames[at_python].key)
                wrong("a Python frame is out of order", pc);
            at_python++;
            run++;
            continue;
        }
        const struct call *call = call_of(at_native);
        int is_eval = (frame->flags & FRAME_EVAL) != 0;
        if (frame->id != natives[at_native].pc)
            wrong("a native frame is out of order", pc);
        if (run > 0 && !is_eval)
            wrong("Python frames above a frame that is not eval", pc);
        if (call != NULL && is_eval &&
            (!call->is_eval || (run > 0 && call->code != frames[at_python - 1].code)))
            wrong("Python frames above another activation", pc);
        run = 0;
        at_native++;
    }
    if (at_native != native.count || at_python != stack.frame_count)
        wrong("frames got lost in the braid", pc);
}

static void braid_step(const void *context, uint64_t pc)
{
    struct regs regs;
    is_leaving |= bridge != NULL && pc >= bridge->start && pc < bridge->end && call_count > 0;
    if (is_leaving)
        return;
    unwind_regs_of_signal(&regs, context);
    span.low = regs.sp;
    unwind_stack(libs_current(libraries), &cache, &regs, &span, &native);
    if (native.end != UNWIND_COMPLETE) {
        counts.cut++;
        return;
    }
    counts.braided++;
    check_native(pc);
    check_braid(pc);
}

static int find_libraries(void)
{
    pthread_attr_t attributes;
    void *low;
    size_t size;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return 0;
    pthread_attr_getstack(&attributes, &low, &size);
    pthread_attr_destroy(&attributes);
    span.high = (uint64_t)(uintptr_t)low + size;
    libraries = libs_new();
    if (libraries == NULL || libs_refresh(libraries) < 0)
        return 0;
    libs_want_all(libraries, UINT64_MAX);
    libs_build(libraries, INT32_MAX);
    return 1;
}

static void longest(uint64_t *run, uint64_t *most, int here)
{
    *run = here ? *run + 1 : 0;
    if (*run > *most)
        *most = *run;
}

static void step(uint64_t pc, uint64_t sp, const void *context)
{
    enum py_status status =
        py_walk(&py, (uint64_t)(uintptr_t)__builtin_thread_pointer(), sp, pc, 0, &guard, &stack);
    longest(&run_put_off, &counts.longest_put_off, status == PY_PUT_OFF);
    longest(&run_torn, &counts.longest_torn, status == PY_TORN);
    counts.put_off += status == PY_PUT_OFF;
    counts.none += status == PY_NONE;
    if (status == PY_TORN) {
        counts.torn++;
        note(counts.torns, stack.torn, pc);
    }
    if (status == PY_NONE)
        wrong("no Python frames", pc);
    if (status != PY_OK) {
        chain_hidden = 1;
        return;
    }
    counts.ok++;
    if (stack.frame_count > counts.most_frames)
        counts.most_frames = stack.frame_count;
    counts.empty_tops += stack.segment_count > 0 && segments[0].count == 0;
    counts.before_first += stack.frame_count > 0 && frames[0].unit < 0;
    if (py.minor >= 10)
        check_markers(pc, sp);
    else
        check_counts(pc), check_pairs(pc);
    check_chain(pc);
    chain_hidden = 0;
    braid_step(context, pc);
}

static void on_trap(int signal_number, siginfo_t *info, void *context)
{
    (void)signal_number;
    (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    uint64_t pc = (uint64_t)registers[REG_RIP], sp = (uint64_t)registers[REG_RSP];
    if (stopping) {
        registers[REG_EFL] &= ~TRAP_FLAG;
        return;
    }
    counts.steps++;
    follow_calls(pc, sp, (uint64_t)registers[py.minor == 8 ? REG_RDI : REG_RSI]);
    if (pc == code_dealloc)
        note_dead((uint64_t)registers[REG_RDI]);
    step(pc, sp, context);
}

/* ---- for the load ---- */

static uint64_t find_symbol(const char *name, uint64_t *size)
{
    void *address = dlsym(RTLD_DEFAULT, name);
    Dl_info info;
    const ElfW(Sym) *symbol = NULL;
    if (address != NULL && size != NULL && dladdr1(address, &info, (void **)&symbol, RTLD_DL_SYMENT) != 0) {
        *size = symbol != NULL ? symbol->st_size : 0;
        library = (uint64_t)(uintptr_t)info.dli_fbase;
    }
    return (uint64_t)(uintptr_t)address;
}

/* "" or what failed. In a Python thread. */
EXPORT const char *stepper_attach(void)
{
    static struct error error;
    struct py_symbols symbols;
    memset(&symbols, 0, sizeof symbols);
    symbols.runtime = find_symbol("_PyRuntime", NULL);
    symbols.version = find_symbol("Py_Version", NULL);
    symbols.get_version = find_symbol("Py_GetVersion", NULL);
    symbols.code_type = find_symbol("PyCode_Type", NULL);
    symbols.frame_type = find_symbol("PyFrame_Type", NULL);
    symbols.eval = find_symbol("_PyEval_EvalFrameDefault", &symbols.eval_size);
    symbols.current_thread = find_symbol("PyThreadState_GetUnchecked", NULL);
    symbols.this_thread = find_symbol("PyGILState_GetThisThreadState", NULL);
    if (symbols.current_thread == 0)
        symbols.current_thread = find_symbol("_PyThreadState_UncheckedGet", NULL);
    if (py_attach(&py, &symbols, &error) != 0)
        return error.text;
    if (!py_find_slot(&py, (uint64_t)(uintptr_t)__builtin_thread_pointer(), py_data_offset()))
        return "the thread's slot was not found";
    code_dealloc =
        *(const uint64_t *)(uintptr_t)(symbols.code_type + (uint64_t)py.offsets->object_type + CODE_DEALLOC);
    return "";
}

/* Walks from here: code addresses, units and segment numbers of the caller's frames, innermost first. Returns
 * how many, or minus the status. */
EXPORT int stepper_walk(uint64_t *codes, int32_t *units, int32_t *parts, uint64_t *markers, int capacity)
{
    uint64_t sp = (uint64_t)(uintptr_t)__builtin_frame_address(0);
    enum py_status status =
        py_walk(&py, (uint64_t)(uintptr_t)__builtin_thread_pointer(), sp, 0, 0, &guard, &stack);
    if (status != PY_OK)
        return -(int)status;
    int count = 0;
    for (uint32_t s = 0; s < stack.segment_count; s++)
        for (uint32_t i = 0; i < segments[s].count && count < capacity; i++, count++) {
            const struct py_frame *frame = &frames[segments[s].first + i];
            codes[count] = frame->code;
            units[count] = frame->unit;
            parts[count] = (int32_t)s;
            markers[count] = segments[s].marker;
        }
    return count;
}

/* Instructions of one warm walk from here. */
static volatile int costing;
static uint64_t cost;
static void on_cost(int signal_number, siginfo_t *info, void *context)
{
    (void)signal_number;
    (void)info;
    cost++;
    if (!costing)
        ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
}

static void set_trap(void (*handler)(int, siginfo_t *, void *))
{
    static unsigned char alternate[1 << 17];
    stack_t place = {.ss_sp = alternate, .ss_size = sizeof alternate};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigaltstack(&place, NULL);
    sigaction(SIGTRAP, &action, NULL);
}

static void raise_flag(void)
{
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
}

EXPORT uint64_t stepper_cost(void)
{
    uint64_t sp = (uint64_t)(uintptr_t)__builtin_frame_address(0);
    uint64_t self = (uint64_t)(uintptr_t)__builtin_thread_pointer();
    set_trap(on_cost);
    py_walk(&py, self, sp, 0, 0, &guard, &stack);
    cost = 0;
    costing = 1;
    raise_flag();
    py_walk(&py, self, sp, 0, 0, &guard, &stack);
    costing = 0;
    __asm__ volatile("nop");
    return cost;
}

/* "" or what failed. After everything is loaded that the stepped code uses. */
EXPORT const char *stepper_begin(void)
{
    if (libraries == NULL && !find_libraries())
        return "the libraries of this process can't be read";
    bridge = libs_find(libs_current(libraries), (uint64_t)(uintptr_t)__builtin_return_address(0));
    is_leaving = 0;
    set_trap(on_trap);
    memset(&counts, 0, sizeof counts);
    call_count = 0;
    last_sp = 0;
    first_sp = (uint64_t)(uintptr_t)__builtin_frame_address(0) + 16;
    py_walk(&py, (uint64_t)(uintptr_t)__builtin_thread_pointer(), first_sp, 0, 0, &guard, &stack);
    base_frames = stack.frame_count;
    chain_count[chain_now] = build_chain(chain[chain_now]);
    stopping = 0;
    raise_flag();
    return "";
}

EXPORT void stepper_end(void)
{
    stopping = 1;
    __asm__ volatile("nop");
    counts.probes = guard.probes;
}

EXPORT const struct counts *stepper_counts(void)
{
    return &counts;
}

/* Row `index` of the table for a minor version: its name (NULL past the end), its number in *value, and where
 * the debug offsets of 3.13, 3.14 and 3.15 hold it in places[3]. */
EXPORT const char *stepper_offset(int minor, int free_threaded, int index, int64_t *value, int32_t *places)
{
    const struct py_offsets *row = free_threaded ? py_offsets_free_threaded(minor) : py_offsets_of(minor);
    int at = 0;
#define X(field, m, n, a, b, c, d, e, f, g, h, i, j, k, p, q, r)                                             \
    if (at++ == index) {                                                                                     \
        *value = row->field;                                                                                 \
        places[0] = p, places[1] = q, places[2] = r;                                                         \
        return #field;                                                                                       \
    }
    PY_FIELDS(X)
#undef X
    return NULL;
}

EXPORT int stepper_line(int minor, const unsigned char *table, uint32_t size, int32_t first_line,
                        int32_t unit)
{
    return py_line(minor, table, size, first_line, unit);
}

/* The positions of the first `count` units: four numbers each. */
EXPORT void stepper_positions(int minor, const unsigned char *table, uint32_t size, int32_t first_line,
                              int32_t count, struct py_position *positions)
{
    for (int32_t unit = 0; unit < count; unit++)
        py_position(minor, table, size, first_line, unit, &positions[unit]);
}
