/* SPDX-License-Identifier: MIT */
/* walk.c - the frame chain of the interrupted thread, read on that thread: nothing in it can move meanwhile,
 * but the tick may have come between two stores that belong together. What is normal then and what is not was
 * found by single-stepping interpreters and is checked by tests/c/stepper.c:
 *   - 3.11 and 3.12: while eval is being entered, a frame pushed or a generator switched, the chain is
 * garbage; the pre-check tells these moments from the pc and the top frame alone, and the tick is put off;
 *   - second line, every version: types, ranges, entry objects on the stack at rising addresses from sp on,
 * and all lists ending together. What fails is PY_TORN and none of it is used;
 *   - odd and right: an entry object without a frame, an instruction one unit before the code, a generator
 *     being entered or left.
 *   - greenlets have lists of their own; while one switches to another, stack and lists belong to two of
 * them: PY_TORN, PY_NONE, or another's frames (greenlet.h).
 *   - each interpreter has lists of its own: a thread that runs a subinterpreter shows its frames alone, not
 * those of the code that entered it.
 * Async-signal-safe: bounded, guarded, no system call but the guard's probes. */
#include "code.h"
#include "../os/os.h"

#include <stddef.h>

enum {
    EXECUTING = 0, /* 3.10: f_state */
    OWNER_GENERATOR = 1,
    OWNER_ENTRY = 3,      /* from 3.12: no Python frame, but the entry object of an eval activation */
    EVAL_ENTRY = 256,     /* bytes of the eval function in which the entry object may be half built */
    EVAL_ENTRY_10 = 1024, /* 3.10: in which cframe and frame are linked, one after the other */
    SHIM_DISTANCE = 4096, /* 3.12: entry object and cframe are locals of one C frame */
    THREAD_SPAN = 512,    /* 3.10: the outermost entry object lies within so many bytes of its thread state */
    CHUNK_HEADER = 24,    /* bytes of a data-stack chunk before its first frame */
};

struct walk {
    const struct py_runtime *py;
    const struct py_offsets *o;
    struct guard *guard;
    struct py_stack *stack;
    uint64_t sp;
    uint64_t code_type;
    uint64_t base;    /* 3.15: the frame that ends a thread's chain; before, and in a greenlet, 0 does */
    uint64_t marker;  /* the last one met: markers rise */
    uint32_t room;    /* frames that may still be stored, with those stored */
    uint32_t frames;  /* Python frames met, stored or not */
    uint32_t passing; /* of these, generators that pass a throw() on (3.10), but for the innermost */
    int top_passing;  /* the innermost may be one */
    uint32_t closed;  /* those in finished segments */
    uint32_t objects; /* frames and entry objects met */
    int64_t distance; /* 3.12: entry object - cframe, 0 = not known yet */
};

static uint64_t field(uint64_t object, int64_t offset)
{
    return load_word(object + (uint64_t)offset);
}

static enum py_status torn(struct py_stack *stack, const char *why)
{
    stack->frame_count = stack->segment_count = 0;
    stack->torn = why;
    return PY_TORN;
}

static int is_thread(const struct py_offsets *o, uint64_t thread, uint64_t thread_pointer,
                     struct guard *guard)
{
    return thread != 0 && (thread & 7) == 0 && guard_has(guard, thread, PY_THREAD_SIZE) &&
           field(thread, o->thread_id) == thread_pointer;
}

/* This thread's PyThreadState, or 0. The current one is preferred, since it may be a subinterpreter's: up
 * to 3.11 the runtime names the holder of the GIL. */
static uint64_t find_thread(const struct py_runtime *py, uint64_t thread_pointer, struct guard *guard)
{
    const struct py_offsets *o = py->offsets;
    uint64_t runtime = py->symbols.runtime;
    if (!guard_has(guard, runtime + (uint64_t)o->runtime_main, 8) || field(runtime, o->runtime_main) == 0)
        return 0; /* not initialised yet, or finalised */
    if (o->runtime_current >= 0 && guard_has(guard, runtime + (uint64_t)o->runtime_current, 8)) {
        uint64_t current = field(runtime, o->runtime_current);
        if (is_thread(o, current, thread_pointer, guard))
            return current;
    }
    int64_t slot = __atomic_load_n(&py->slot, __ATOMIC_RELAXED);
    if (slot == 0)
        return 0;
    uint64_t thread = py->current != 0 ? load_word(thread_pointer + (uint64_t)py->current) : 0;
    if (thread == 0)
        thread = load_word(thread_pointer + (uint64_t)slot);
    return is_thread(o, thread, thread_pointer, guard) ? thread : 0;
}

/* 3.10: 1 for a generator that passes a throw() on to the one it delegates to: it is linked into the list
 * without an activation, its operand stack saved, the next instruction YIELD_FROM. The innermost is told by
 * counting. */
static int is_passing(const struct walk *walk, uint64_t frame, uint64_t code, int32_t unit)
{
    const struct py_offsets *o = walk->o;
    if (o->frame_depth < 0 || load_int(frame + (uint64_t)o->frame_depth) < 0 ||
        field(frame, o->frame_generator) == 0 || load_byte(frame + (uint64_t)o->frame_state) != EXECUTING)
        return 0;
    uint64_t next = field(code, o->code_object) + (uint64_t)o->bytes_data + 2 * ((uint64_t)unit + 1);
    return guard_has(walk->guard, next, 1) && load_byte(next) == (uint32_t)o->op_yield_from;
}

/* 3.8 to 3.10: checks a frame object, whose memory is readable, and stores it. NULL, or why not. */
static const char *add_object(struct walk *walk, uint64_t frame)
{
    const struct py_offsets *o = walk->o;
    if (field(frame, o->object_type) != walk->py->symbols.frame_type)
        return "not a frame object";
    uint64_t code = field(frame, o->frame_code);
    if ((code & 7) != 0 || !guard_has(walk->guard, code, (uint32_t)o->code_size) ||
        field(code, o->object_type) != walk->code_type)
        return "not a code object";
    int32_t last = load_int(frame + (uint64_t)o->frame_instr);
    int32_t unit = last < 0 ? -1 : walk->py->minor < 10 ? last / 2 : last;
    struct py_stack *stack = walk->stack;
    int passing = is_passing(walk, frame, code, unit);
    if (stack->frame_count < walk->room) {
        struct py_frame *out = &stack->frames[stack->frame_count++];
        out->code = code;
        out->key = py_code_key(o, code, walk->guard);
        out->lines = o->code_version < 0 ? field(code, o->code_lines) : 0;
        out->unit = unit;
        out->owner = passing ? OWNER_GENERATOR : 0;
    } else {
        stack->cut = 1;
    }
    if (walk->frames++ > 0)
        walk->passing += (uint32_t)passing;
    else
        walk->top_passing = passing;
    return NULL;
}

/* Free-threaded from 3.14 on: a thread's own copy of the code's bytecode, that `frame` executes; 0 = none. */
static uint64_t copy_of_bytecode(const struct py_offsets *o, struct guard *guard, uint64_t frame,
                                 uint64_t code)
{
    if (o->frame_copy < 0)
        return 0;
    uint64_t copies = field(code, o->code_copies);
    int64_t index = load_int(frame + (uint64_t)o->frame_copy);
    if ((copies & 7) != 0 || index < 0 || !guard_has(guard, copies, 8) || index >= (int64_t)load_word(copies))
        return 0;
    uint64_t entry = copies + 8 + 8 * (uint64_t)index;
    return guard_has(guard, entry, 8) ? load_word(entry) : 0;
}

/* From 3.11 on: a frame and its code, checked. The hot path: everything it needs is in registers or one cache
 * line of offsets. NULL, or why not. */
static inline const char *read_frame(const struct py_offsets *o, struct guard *guard, uint64_t code_type,
                                     uint64_t frame, uint32_t owner, struct py_frame *out)
{
    uint64_t code = field(frame, o->frame_code) & ~(uint64_t)o->frame_tags;
    if ((code & 7) != 0 || !guard_has(guard, code, (uint32_t)o->code_size) ||
        field(code, o->object_type) != code_type)
        return "not a code object";
    uint64_t instr = field(frame, o->frame_instr);
    uint64_t bytes = instr - code - (uint64_t)o->code_bytes;
    int64_t unit = (int64_t)bytes >> 1, units = (int64_t)field(code, o->code_units);
    if (unit >= units || unit < -1)
        bytes = instr - copy_of_bytecode(o, guard, frame, code), unit = (int64_t)bytes >> 1;
    if ((bytes & 1) != 0 || unit < -1 || unit >= units)
        return "instruction outside its code";
    out->code = code;
    out->key = py_code_key(o, code, guard);
    out->lines = o->code_version < 0 ? field(code, o->code_lines) : 0;
    out->unit = (int32_t)unit;
    out->owner = owner;
    return NULL;
}

static int is_rising(struct walk *walk, uint64_t marker)
{
    if (marker < walk->sp || marker <= walk->marker)
        return 0;
    walk->marker = marker;
    return 1;
}

/* Ends the segment of the frames since the last one. */
static void close_segment(struct walk *walk, uint64_t marker)
{
    struct py_stack *stack = walk->stack;
    uint32_t from = walk->closed < stack->frame_count ? walk->closed : stack->frame_count;
    if (stack->segment_count < stack->segment_capacity) {
        struct py_segment *out = &stack->segments[stack->segment_count++];
        out->marker = marker;
        out->first = from;
        out->count = stack->frame_count - from;
    } else {
        stack->frame_count = walk->room = from; /* frames of no segment are of no use */
        stack->cut = 1;
    }
    walk->closed = walk->frames;
}

/* 3.11, 3.12: the cframe outside `cframe`, whose activation was entered from the frame `previous`; 0 = the
 * two lists disagree. On 3.12 the entry object lies at a constant distance from its cframe. */
static uint64_t outer_cframe(struct walk *walk, uint64_t cframe, uint64_t entry, uint64_t previous)
{
    const struct py_offsets *o = walk->o;
    if (o->frame_entry < 0) {
        int64_t distance = (int64_t)(entry - cframe);
        if (walk->distance == 0 && distance > -SHIM_DISTANCE && distance < SHIM_DISTANCE)
            walk->distance = distance;
        if (distance != walk->distance)
            return 0;
    }
    uint64_t outer = field(cframe, o->cframe_previous);
    if ((outer & 7) != 0 || !guard_has(walk->guard, outer, 24) || field(outer, o->cframe_current) != previous)
        return 0;
    uint64_t next = field(outer, o->cframe_previous);
    if (previous != 0)
        return next != 0 && outer > cframe ? outer : 0;
    /* Both lists must end here: the thread state's own cframe, or a greenlet's, just inside it. */
    if (next != 0 &&
        ((next & 7) != 0 || !guard_has(walk->guard, next, 24) || field(next, o->cframe_previous) != 0))
        return 0;
    return outer;
}

/* 3.11: 1 when the frame was entered from C. A generator that passes a throw() on to the one it delegates to
 * is linked in without an activation of its own, with the flag of its last one. */
static int is_entered(const struct walk *walk, uint64_t frame, uint64_t cframe, uint64_t previous)
{
    const struct py_offsets *o = walk->o;
    uint64_t outer = field(cframe, o->cframe_previous);
    return load_byte(frame + (uint64_t)o->frame_owner) != OWNER_GENERATOR || (outer & 7) != 0 ||
           !guard_has(walk->guard, outer, 24) || field(outer, o->cframe_current) == previous;
}

/* From 3.11 on: what walk_run stopped at. */
struct entry {
    uint64_t
        object; /* the frame or entry object that was entered from C; 0 = the chain's end, or its bound */
    uint64_t previous; /* the frame outside it */
    uint64_t marker;
};

/* Stores the frames from `frame` outwards up to the next entry. Returns NULL, or why the chain is torn. */
static const char *walk_run(struct walk *walk, uint64_t frame, uint64_t cframe, struct entry *entry)
{
    const struct py_offsets *o = walk->o;
    struct guard *guard = walk->guard;
    struct py_frame *out = &walk->stack->frames[walk->stack->frame_count], spare;
    struct py_frame *end = &walk->stack->frames[walk->room];
    uint64_t code_type = walk->code_type;
    const int has_flag = o->frame_entry >= 0;
    uint32_t left = STACK_WALK_MAX - walk->objects, frames = 0;
    const char *why = NULL;
    for (; frame != 0 && left > 0; left--) {
        if ((frame & 7) != 0 || !guard_has(guard, frame, (uint32_t)o->frame_size)) {
            why = "frame not readable";
            break;
        }
        uint64_t previous = field(frame, o->frame_previous);
        uint32_t owner = load_byte(frame + (uint64_t)o->frame_owner);
        int is_shim = owner >= OWNER_ENTRY && !has_flag;
        if (!is_shim) {
            why = read_frame(o, guard, code_type, frame, owner, out < end ? out : &spare);
            if (why != NULL)
                break;
            out += out < end;
            frames++;
        }
        if (is_shim || (has_flag && load_byte(frame + (uint64_t)o->frame_entry) != 0 &&
                        is_entered(walk, frame, cframe, previous))) {
            *entry = (struct entry){frame, previous, is_shim ? frame : cframe};
            left--;
            break;
        }
        frame = previous;
    }
    uint32_t stored = (uint32_t)(out - walk->stack->frames) - walk->stack->frame_count;
    walk->stack->cut |= stored < frames;
    walk->stack->frame_count += stored;
    walk->frames += frames;
    walk->objects = STACK_WALK_MAX - left;
    return why;
}

/* From 3.11 on. `cframe` is 0 from 3.13 on. */
static enum py_status walk_entries(struct walk *walk, uint64_t frame, uint64_t cframe)
{
    if (frame == walk->base || frame == 0)
        return PY_NONE;
    while (frame != walk->base && frame != 0) {
        struct entry entry = {0, 0, 0};
        const char *why = walk_run(walk, frame, cframe, &entry);
        if (why != NULL)
            return torn(walk->stack, why);
        if (walk->objects >= STACK_WALK_MAX) {
            walk->stack->cut = 1;
            close_segment(walk, entry.object != 0 ? entry.marker : 0);
            return PY_OK;
        }
        if (entry.object == 0)
            return torn(walk->stack, "no entry object below the last frame");
        if (!is_rising(walk, entry.marker))
            return torn(walk->stack, "entry objects do not rise");
        close_segment(walk, entry.marker);
        if (cframe != 0 && (cframe = outer_cframe(walk, cframe, entry.object, entry.previous)) == 0)
            return torn(walk->stack, "frames and entry objects disagree");
        frame = entry.previous;
    }
    return PY_OK;
}

/* 3.8 to 3.10: the list of frame objects. A generator that passes a throw() on to the one it delegates to is
 * made current without its f_back: the list then ends at it and the frames outside are lost. */
static const char *walk_objects(struct walk *walk, uint64_t frame)
{
    uint64_t outermost = 0;
    for (; frame != 0; outermost = frame, frame = field(frame, walk->o->frame_previous)) {
        if (walk->objects++ >= STACK_WALK_MAX) {
            walk->stack->cut = 1;
            return NULL;
        }
        if ((frame & 7) != 0 || !guard_has(walk->guard, frame, (uint32_t)walk->o->frame_size))
            return "frame not readable";
        const char *why = add_object(walk, frame);
        if (why != NULL)
            return why;
    }
    if (outermost != 0 && field(outermost, walk->o->frame_generator) != 0)
        return "a generator ends the list";
    return NULL;
}

/* 3.10: the entry objects, into the segments' markers. Sets *count to how many there are. The outermost is
 * part of the PyThreadState, and its `previous` is never initialised. */
static const char *walk_markers(struct walk *walk, uint64_t thread, uint64_t cframe, uint32_t *count)
{
    struct py_stack *stack = walk->stack;
    *count = 0;
    for (;;) {
        if ((cframe & 7) != 0 || !guard_has(walk->guard, cframe, 24))
            return "entry object not readable";
        uint64_t outer = field(cframe, walk->o->cframe_previous);
        if (cframe - thread < THREAD_SPAN || *count >= STACK_WALK_MAX)
            return NULL;
        if (!is_rising(walk, cframe))
            return "entry objects do not rise";
        if (*count < stack->segment_capacity)
            stack->segments[*count].marker = cframe;
        ++*count;
        cframe = outer;
    }
}

/* 3.10: a few instructions in which the chain has two readings; 3.11 and 3.12: it is not linked yet. */
static enum py_status put_off(struct py_stack *stack, int last_try)
{
    stack->in_transit = last_try;
    return last_try ? torn(stack, "in transit") : PY_PUT_OFF;
}

/* 3.10: segments of one activation each, from the innermost: its frame, behind those that only pass a throw()
 * on to it. */
static void build_segments(struct walk *walk)
{
    struct py_stack *stack = walk->stack;
    uint32_t count = 0, first = 0;
    for (uint32_t i = 0; i < stack->frame_count && count < stack->segment_capacity; i++) {
        if (stack->frames[i].owner == OWNER_GENERATOR)
            continue;
        stack->segments[count].first = first;
        stack->segments[count++].count = i + 1 - first;
        first = i + 1;
    }
    stack->segment_count = count;
    stack->frame_count = first;
    stack->cut |= first < walk->frames;
}

/* 3.10: gives the entry objects to the frames. On leaving, the cframe goes some instructions before the
 * frame: the innermost frame then has the marker 0. On entering it comes some instructions before, but a
 * greenlet has one cframe more than frames, too, at its outer end: near the function's entry the two can't be
 * told apart. */
static enum py_status pair_markers(struct walk *walk, uint32_t markers, uint64_t pc, int last_try)
{
    struct py_stack *stack = walk->stack;
    uint64_t eval = walk->py->symbols.eval;
    uint32_t active = walk->frames - walk->passing;
    if (walk->objects > STACK_WALK_MAX || markers >= STACK_WALK_MAX)
        active = markers; /* neither outer end is known */
    else if (walk->top_passing && active == markers)
        return put_off(stack, last_try); /* entered itself, or entering the one that it delegates to? */
    else if (walk->top_passing)
        active--;
    if (active < markers && eval != 0 && pc - eval < EVAL_ENTRY_10)
        return put_off(stack, last_try);
    if (active > markers + 1 || active + 1 < markers)
        return torn(stack, "frames and entry objects disagree");
    if (active > markers && stack->segment_capacity > 0) {
        uint32_t last = markers < stack->segment_capacity - 1 ? markers : stack->segment_capacity - 1;
        for (uint32_t i = last; i > 0; i--)
            stack->segments[i].marker = stack->segments[i - 1].marker;
        stack->segments[0].marker = 0;
    }
    build_segments(walk);
    return walk->frames > 0 ? PY_OK : PY_NONE;
}

static enum py_status walk_old(struct walk *walk, uint64_t thread, uint64_t pc, int last_try)
{
    const struct py_offsets *o = walk->o;
    uint64_t frame = field(thread, o->thread_frame);
    const char *why = walk_objects(walk, frame);
    if (why != NULL)
        return torn(walk->stack, why);
    if (o->thread_cframe < 0) {
        if (walk->frames > 0)
            close_segment(walk, 0);
        return walk->frames > 0 ? PY_OK : PY_NONE;
    }
    uint32_t markers;
    why = walk_markers(walk, thread, field(thread, o->thread_cframe), &markers);
    return why != NULL ? torn(walk->stack, why) : pair_markers(walk, markers, pc, last_try);
}

/* 3.11, 3.12: 1 when the top frame may be half linked. Follows no `previous`. */
static int is_in_transit(const struct walk *walk, uint64_t pc, uint64_t frame)
{
    const struct py_offsets *o = walk->o;
    const struct py_runtime *py = walk->py;
    int in_eval = py_in_eval(py, pc);
    if (frame == 0)
        return in_eval;
    if (!in_eval && py->eval_ranges > 0)
        return 0;
    if ((frame & 7) != 0 || !guard_has(walk->guard, frame, (uint32_t)o->frame_size))
        return 1;
    uint32_t owner = load_byte(frame + (uint64_t)o->frame_owner);
    if (o->frame_entry < 0 && owner >= OWNER_ENTRY)
        return 0;
    uint64_t before_first = field(frame, o->frame_code) + (uint64_t)o->code_bytes - 2;
    return field(frame, o->frame_instr) == before_first ||
           (owner == OWNER_GENERATOR && field(frame, o->frame_previous) == 0);
}

/* A sound walk over several entry objects teaches 3.12's distance. The object behind the const is the
 * engine's own writable one; the word is atomic and takes one value only. */
static void learn_distance(const struct walk *walk)
{
    if (walk->distance != 0 && walk->stack->segment_count > 1)
        __atomic_store_n((int64_t *)&walk->py->shim_distance, walk->distance, __ATOMIC_RELAXED);
}

/* From 3.11 on: the first frame of a data-stack chunk stays current while it is popped, and the chunk is
 * unmapped meanwhile: what the guard remembers of its page is no longer true, so it is asked again. */
static int is_popped(uint64_t frame)
{
    return (frame & (GUARD_PAGE - 1)) == CHUNK_HEADER && !os_readable(frame & ~(uint64_t)(GUARD_PAGE - 1));
}

static enum py_status walk_new(struct walk *walk, uint64_t thread, uint64_t pc, int last_try)
{
    const struct py_offsets *o = walk->o;
    if (o->thread_base >= 0)
        walk->base = field(thread, o->thread_base);
    if (o->thread_cframe < 0) {
        uint64_t top = field(thread, o->thread_frame);
        return is_popped(top) ? put_off(walk->stack, last_try) : walk_entries(walk, top, 0);
    }
    uint64_t eval = walk->py->symbols.eval;
    if (eval != 0 && pc - eval < EVAL_ENTRY)
        return put_off(walk->stack, last_try); /* the cframe is not written yet */
    uint64_t cframe = field(thread, o->thread_cframe);
    if ((cframe & 7) != 0 || !guard_has(walk->guard, cframe, 24))
        return torn(walk->stack, "entry object not readable");
    uint64_t frame = field(cframe, o->cframe_current);
    if (is_popped(frame) || is_in_transit(walk, pc, frame))
        return put_off(walk->stack, last_try);
    walk->distance = __atomic_load_n(&walk->py->shim_distance, __ATOMIC_RELAXED);
    int64_t known = walk->distance;
    enum py_status status = walk_entries(walk, frame, cframe);
    if (status == PY_OK && known == 0)
        learn_distance(walk);
    return status;
}

enum py_status py_walk(const struct py_runtime *py, uint64_t thread_pointer, uint64_t sp, uint64_t pc,
                       int last_try, struct guard *guard, struct py_stack *stack)
{
    const struct py_offsets *o = py->offsets;
    stack->frame_count = stack->segment_count = 0;
    stack->cut = stack->jit = stack->in_transit = 0;
    stack->torn = NULL;
    stack->thread = 0;
    stack->minor = py->minor;
    if (o == NULL)
        return PY_NONE;
    guard_refresh(guard);
    uint64_t thread = find_thread(py, thread_pointer, guard);
    stack->thread = thread;
    if (thread == 0)
        return PY_NONE;
    struct walk walk = {.py = py, .o = o, .guard = guard, .stack = stack, .sp = sp};
    walk.code_type = py->symbols.code_type;
    walk.room = stack->frame_capacity;
    if (o->frame_owner < 0)
        return walk_old(&walk, thread, pc, last_try);
    enum py_status status = walk_new(&walk, thread, pc, last_try);
    if (o->code_executors >= 0 && status == PY_OK && stack->frame_count > 0)
        stack->jit = field(stack->frames[0].code, o->code_executors) != 0;
    return status;
}

int py_in_eval(const struct py_runtime *py, uint64_t pc)
{
    for (int i = 0; i < py->eval_ranges; i++)
        if (pc >= py->eval_low[i] && pc < py->eval_high[i])
            return 1;
    return 0;
}
