/* SPDX-License-Identifier: MIT */
/* test_walk.c - the Python walk over made-up chains that no interpreter could be brought to have, the copies
 * of code objects, and their keys. What real interpreters have is the stepper's (stepper.c). */
#include "check.h"
#include "python/code.h"
#include "python/offsets.h"
#include "python/python.h"
#include "python/read.h"
#include <sys/mman.h>

static unsigned char fake_runtime[4096] __attribute__((aligned(16)));
static uint64_t fake_type[64], fake_code_type[64], fake_frame_type[64];

enum { OBJECTS = 64, WORDS = 64 };

/* The "stack" on which entry objects lie, a thread, frames, and code objects. */
static struct {
    uint64_t stack[OBJECTS * WORDS];
    uint64_t thread[64];
    uint64_t frames[OBJECTS][WORDS];
    uint64_t codes[OBJECTS][WORDS];
    uint64_t opcodes[WORDS];
} world;

static struct py_runtime py;
static struct guard guard;
static struct py_frame frames[OBJECTS];
static struct py_segment segments[OBJECTS];
static struct py_stack stack;

static uint64_t at(const void *object)
{
    return (uint64_t)(uintptr_t)object;
}

static void put(void *object, int64_t offset, uint64_t value)
{
    memcpy((unsigned char *)object + offset, &value, sizeof value);
}

/* The thread pointer is the thread's own address, the slot the word behind its last one. */
static void make_world_of(int minor, const struct py_offsets *offsets)
{
    memset(&world, 0, sizeof world);
    memset(&py, 0, sizeof py);
    py.minor = minor;
    py.offsets = offsets;
    py.symbols.runtime = at(fake_runtime);
    py.symbols.code_type = at(fake_code_type);
    py.symbols.frame_type = at(fake_frame_type);
    memset(fake_runtime, 0, sizeof fake_runtime);
    put(fake_runtime, py.offsets->runtime_main, 1);
    put(world.thread, py.offsets->thread_id, at(world.thread));
    put(world.thread, 480, at(world.thread));
    py.slot = 480;
    stack = (struct py_stack){
        .frames = frames, .segments = segments, .frame_capacity = OBJECTS, .segment_capacity = OBJECTS};
}

static void make_world(int minor)
{
    make_world_of(minor, py_offsets_of(minor));
}

/* Python frame `i`, executing unit 3 of code object `i`. */
static void *make_frame(int i, uint64_t previous)
{
    const struct py_offsets *o = py.offsets;
    put(world.frames[i], o->frame_code, at(world.codes[i]));
    put(world.frames[i], o->frame_previous, previous);
    put(world.codes[i], o->object_type, at(fake_code_type));
    if (o->code_bytes >= 0) {
        put(world.codes[i], o->code_units, 10);
        put(world.frames[i], o->frame_instr, at(world.codes[i]) + (uint64_t)o->code_bytes + 6);
    } else {
        put(world.frames[i], o->object_type, at(fake_frame_type));
        int last = py.minor < 10 ? 6 : 3;
        memcpy((unsigned char *)world.frames[i] + o->frame_instr, &last, sizeof last);
    }
    return world.frames[i];
}

/* Entry object `i` on the stack; the higher, the further out. 3.12 and 3.13: a shim. */
static void *make_shim(int i, uint64_t previous)
{
    void *shim = &world.stack[i * WORDS];
    put(shim, py.offsets->frame_previous, previous);
    ((unsigned char *)shim)[py.offsets->frame_owner] = 3;
    return shim;
}

/* 3.10 to 3.12: cframe `i`, half a place above its shim; the outermost one is part of the thread. */
static void *cframe_at(int i)
{
    return i < 0 ? (void *)&world.thread[20] : (void *)&world.stack[i * WORDS + WORDS / 2];
}

static void make_cframe(int i, int outer, uint64_t current)
{
    put(cframe_at(i), py.offsets->cframe_previous, at(cframe_at(outer)));
    if (py.offsets->cframe_current >= 0)
        put(cframe_at(i), py.offsets->cframe_current, current);
}

/* What the guard has learned by now stays known. */
static enum py_status walk_again(int last_try)
{
    return py_walk(&py, at(world.thread), at(world.stack), 0, last_try, &guard, &stack);
}

static enum py_status walk_at(uint64_t pc, int last_try)
{
    guard = (struct guard){.generation = 0};
    return py_walk(&py, at(world.thread), at(world.stack), pc, last_try, &guard, &stack);
}

static enum py_status walk(void)
{
    return walk_at(0, 0);
}

static void check_segment(uint32_t index, const void *marker, uint32_t first, uint32_t count)
{
    CHECK(index < stack.segment_count);
    CHECK_EQUAL(segments[index].marker, at(marker));
    CHECK_EQUAL(segments[index].first, first);
    CHECK_EQUAL(segments[index].count, count);
}

static void check_torn(const char *why)
{
    CHECK_EQUAL(walk(), PY_TORN);
    CHECK_STRING(stack.torn, why);
    CHECK_EQUAL(stack.frame_count, 0);
    CHECK_EQUAL(stack.segment_count, 0);
}

/* frame 0, frame 1, shim 0, frame 2, shim 1, nothing */
static void make_chain_13(void)
{
    make_world(13);
    void *outer = make_frame(2, at(make_shim(1, 0)));
    void *top = make_frame(0, at(make_frame(1, at(make_shim(0, at(outer))))));
    put(world.thread, py.offsets->thread_frame, at(top));
}

static void test_walk_13(void)
{
    make_chain_13();
    CHECK_EQUAL(walk(), PY_OK);
    CHECK_EQUAL(stack.segment_count, 2);
    CHECK_EQUAL(stack.frame_count, 3);
    check_segment(0, &world.stack[0], 0, 2);
    check_segment(1, &world.stack[WORDS], 2, 1);
    CHECK(!stack.cut);
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(frames[i].code, at(world.codes[i]));
        CHECK_EQUAL(frames[i].unit, 3);
        CHECK(frames[i].key != 0 && frames[i].key != frames[(i + 1) % 3].key);
    }
    put(world.thread, py.offsets->thread_frame,
        at(&world.stack[0])); /* a shim on top: it has just returned */
    CHECK_EQUAL(walk(), PY_OK);
    check_segment(0, &world.stack[0], 0, 0);
    check_segment(1, &world.stack[WORDS], 0, 1);
}

/* frame 0, shim 0, frame 1, shim 1, the base frame, which is on no stack; references are tagged */
static void make_chain_15(const struct py_offsets *offsets)
{
    make_world_of(15, offsets);
    make_frame(1, at(make_shim(1, at(world.frames[2]))));
    make_frame(0, at(make_shim(0, at(world.frames[1]))));
    for (int i = 0; i < 2; i++)
        put(world.frames[i], offsets->frame_code, at(world.codes[i]) | (uint64_t)(i & offsets->frame_tags));
    put(world.thread, offsets->thread_frame, at(world.frames[0]));
    put(world.thread, offsets->thread_base, at(world.frames[2]));
}

static void test_walk_15(void)
{
    make_chain_15(py_offsets_of(15));
    CHECK_EQUAL(walk(), PY_OK);
    CHECK_EQUAL(stack.segment_count, 2);
    check_segment(1, &world.stack[WORDS], 1, 1);
    CHECK_EQUAL(frames[1].code, at(world.codes[1]));
    put(world.thread, py.offsets->thread_frame, at(world.frames[2])); /* C code alone */
    CHECK_EQUAL(walk(), PY_NONE);
    make_chain_15(py_offsets_of(15));
    make_shim(1, 0); /* a greenlet: the end is not the base frame */
    CHECK_EQUAL(walk(), PY_OK);
    CHECK_EQUAL(stack.frame_count, 2);
    make_chain_15(py_offsets_of(15));
    make_frame(1, 0);
    check_torn("no entry object below the last frame");
}

/* Of a function that the JIT has compiled in part the line lags; that of a caller does not. */
static void test_jit(void)
{
    make_chain_15(py_offsets_of(15));
    put(world.codes[1], py.offsets->code_executors, 1);
    CHECK_EQUAL(walk(), PY_OK);
    CHECK(!stack.jit);
    put(world.codes[0], py.offsets->code_executors, 1);
    CHECK_EQUAL(walk(), PY_OK);
    CHECK(stack.jit);
}

/* The state that is current comes before the thread's own; a detached thread has none. */
static void test_current(void)
{
    make_chain_15(py_offsets_of(15));
    put(world.thread, 480, at(world.codes[0]));
    put(world.thread, 472, at(world.thread));
    py.current = 472;
    CHECK_EQUAL(walk(), PY_OK);
    py.current = 464;
    CHECK_EQUAL(walk(), PY_NONE);
    put(world.thread, 480, at(world.thread));
    CHECK_EQUAL(walk(), PY_OK);
}

/* A free-threaded build: each thread executes its own copy of the bytecode. */
static void test_copies(void)
{
    static uint64_t copies[4] = {2, 0, 0, 0}, copy[8];
    make_chain_15(py_offsets_free_threaded(15));
    const struct py_offsets *o = py.offsets;
    CHECK_EQUAL(walk(), PY_OK); /* the code's own bytecode */
    CHECK_EQUAL(frames[0].unit, 3);
    int one = 1;
    copies[2] = at(copy);
    put(world.codes[0], o->code_copies, at(copies));
    put(world.frames[0], o->frame_instr, at(copy) + 8);
    check_torn("instruction outside its code"); /* the frame does not say that it is this copy */
    memcpy((unsigned char *)world.frames[0] + o->frame_copy, &one, sizeof one);
    CHECK_EQUAL(walk(), PY_OK);
    CHECK_EQUAL(frames[0].unit, 4);
    copies[0] = 1;
    check_torn("instruction outside its code");
    copies[0] = 2;
    put(world.codes[0], o->code_copies, 4096);
    check_torn("instruction outside its code");
}

static void test_no_frames(void)
{
    make_world(13);
    CHECK_EQUAL(walk(), PY_NONE);
    make_chain_13();
    put(fake_runtime, py.offsets->runtime_main, 0); /* finalised */
    CHECK_EQUAL(walk(), PY_NONE);
    make_chain_13();
    put(world.thread, py.offsets->thread_id, 4711); /* somebody else's */
    CHECK_EQUAL(walk(), PY_NONE);
    make_chain_13();
    py.slot = 0;
    CHECK_EQUAL(walk(), PY_NONE);
    py.offsets = NULL;
    CHECK_EQUAL(walk(), PY_NONE);
}

static void test_torn_13(void)
{
    make_chain_13();
    make_frame(2, 0);
    check_torn("no entry object below the last frame");
    make_chain_13();
    make_frame(2, at(&world.stack[0]));
    check_torn("entry objects do not rise");
    make_chain_13();
    make_frame(1, 4096);
    check_torn("frame not readable");
    make_chain_13();
    make_frame(1, at(world.frames[2]) + 4);
    check_torn("frame not readable");
    make_chain_13();
    put(world.codes[1], py.offsets->object_type, at(fake_type));
    check_torn("not a code object");
    make_chain_13();
    put(world.frames[1], py.offsets->frame_code, 0);
    check_torn("not a code object");
    make_chain_13();
    put(world.frames[0], py.offsets->frame_instr, at(world.codes[0]) + (uint64_t)py.offsets->code_bytes + 20);
    check_torn("instruction outside its code");
    make_chain_13();
    make_frame(1, at(world.frames[0])); /* a cycle ends at the walk's bound */
    CHECK_EQUAL(walk(), PY_OK);
    CHECK(stack.cut);
    CHECK_EQUAL(stack.frame_count, OBJECTS);
}

static void test_capacity(void)
{
    make_chain_13();
    stack.frame_capacity = 2;
    CHECK_EQUAL(walk(), PY_OK);
    CHECK(stack.cut);
    CHECK_EQUAL(stack.frame_count, 2);
    check_segment(0, &world.stack[0], 0, 2);
    check_segment(1, &world.stack[WORDS], 2, 0);
    make_chain_13();
    stack.segment_capacity = 1;
    CHECK_EQUAL(walk(), PY_OK);
    CHECK(stack.cut);
    CHECK_EQUAL(stack.segment_count, 1);
    CHECK_EQUAL(stack.frame_count, 2);
}

/* frame 0, shim 0 / cframe 0, frame 1, shim 1 / cframe 1, root */
static void make_chain_12(void)
{
    make_world(12);
    put(cframe_at(-1), py.offsets->cframe_previous, 0);
    make_frame(1, at(make_shim(1, 0)));
    make_frame(0, at(make_shim(0, at(world.frames[1]))));
    make_cframe(0, 1, at(world.frames[0]));
    make_cframe(1, -1, at(world.frames[1]));
    put(world.thread, py.offsets->thread_cframe, at(cframe_at(0)));
    py.symbols.eval = 1 << 20;
    py.eval_low[0] = 1 << 20;
    py.eval_high[0] = 2 << 20;
    py.eval_ranges = 1;
}

static void test_walk_12(void)
{
    make_chain_12();
    CHECK_EQUAL(walk(), PY_OK);
    check_segment(0, &world.stack[0], 0, 1);
    check_segment(1, &world.stack[WORDS], 1, 1);
    CHECK_EQUAL(py.shim_distance, -WORDS / 2 * 8);
    py.shim_distance = 8;
    check_torn("frames and entry objects disagree");
    make_chain_12();
    make_cframe(1, -1, at(world.frames[0]));
    check_torn("frames and entry objects disagree");
    make_chain_12();
    make_cframe(0, -1, at(world.frames[0])); /* one cframe too few */
    check_torn("frames and entry objects disagree");
    make_chain_12();
    make_cframe(1, 2, at(world.frames[1])); /* a greenlet has a cframe of its own below */
    make_cframe(2, -1, 0);
    CHECK_EQUAL(walk(), PY_OK);
    make_cframe(2, 3, 0);
    make_cframe(3, -1, 0);
    check_torn("frames and entry objects disagree");
}

static void test_put_off_12(void)
{
    make_chain_12();
    CHECK_EQUAL(walk_at((1 << 20) + 255, 0), PY_PUT_OFF);
    CHECK_EQUAL(walk_at((1 << 20) + 255, 1), PY_TORN);
    CHECK_STRING(stack.torn, "in transit");
    CHECK_EQUAL(walk_at((1 << 20) + 256, 0), PY_OK);
    uint64_t first = at(world.codes[0]) + (uint64_t)py.offsets->code_bytes;
    put(world.frames[0], py.offsets->frame_instr, first - 2);
    CHECK_EQUAL(walk_at((1 << 20) + 256, 0), PY_PUT_OFF);
    CHECK_EQUAL(walk_at(0, 0), PY_OK); /* in a callee of eval it is what it looks like */
    CHECK_EQUAL(frames[0].unit, -1);
    py.eval_ranges = 0; /* the pc is no argument then */
    CHECK_EQUAL(walk_at(0, 0), PY_PUT_OFF);
    make_chain_12();
    put(world.frames[0], py.offsets->frame_previous, 0);
    ((unsigned char *)world.frames[0])[py.offsets->frame_owner] = 1;
    CHECK_EQUAL(walk_at((1 << 20) + 256, 0), PY_PUT_OFF);
    make_cframe(0, 1, 0);
    CHECK_EQUAL(walk_at((1 << 20) + 256, 0), PY_PUT_OFF);
}

/* frame 0 (cframe 0), frame 1 (cframe 1), root */
static void make_chain_11(void)
{
    make_world(11);
    put(cframe_at(-1), py.offsets->cframe_previous, 0);
    make_frame(0, at(make_frame(1, 0)));
    for (int i = 0; i < 2; i++)
        ((unsigned char *)world.frames[i])[py.offsets->frame_entry] = 1;
    make_cframe(0, 1, at(world.frames[0]));
    make_cframe(1, -1, at(world.frames[1]));
    put(world.thread, py.offsets->thread_cframe, at(cframe_at(0)));
}

static void test_walk_11(void)
{
    make_chain_11();
    CHECK_EQUAL(walk(), PY_OK);
    check_segment(0, cframe_at(0), 0, 1);
    check_segment(1, cframe_at(1), 1, 1);
    ((unsigned char *)world.frames[0])[py.offsets->frame_entry] = 0; /* more cframes than entered frames */
    check_torn("frames and entry objects disagree");
    /* a generator that passes a throw() on: frame 2, between 0 and 1, with the flag of its last activation */
    make_chain_11();
    make_frame(0, at(make_frame(2, at(world.frames[1]))));
    ((unsigned char *)world.frames[2])[py.offsets->frame_entry] = 1;
    make_cframe(1, -1, at(world.frames[2]));
    check_torn("frames and entry objects disagree");
    ((unsigned char *)world.frames[2])[py.offsets->frame_owner] = 1;
    CHECK_EQUAL(walk(), PY_OK);
    check_segment(0, cframe_at(0), 0, 1);
    check_segment(1, cframe_at(1), 1, 2);
}

/* frames 0, 1, 2 and as many cframes as asked for */
static void make_chain_10(int cframes)
{
    make_world(10);
    make_frame(0, at(make_frame(1, at(make_frame(2, 0)))));
    put(cframe_at(-1), py.offsets->cframe_previous, 0);
    for (int i = 0; i < cframes; i++)
        make_cframe(i, i + 1 < cframes ? i + 1 : -1, 0);
    put(world.thread, py.offsets->thread_frame, at(world.frames[0]));
    put(world.thread, py.offsets->thread_cframe, at(cframe_at(cframes > 0 ? 0 : -1)));
    for (int i = 0; i < 3; i++)
        memset((unsigned char *)world.frames[i] + py.offsets->frame_depth, 0xff, 4); /* -1: executing */
}

/* Frame `i` passes a throw() on. */
static void make_passing(int i)
{
    const struct py_offsets *o = py.offsets;
    memset((unsigned char *)world.frames[i] + o->frame_depth, 0, 4);
    put(world.frames[i], o->frame_generator, 1);
    put(world.codes[i], o->code_object, at(world.opcodes));
    ((unsigned char *)world.opcodes)[o->bytes_data + 8] = (unsigned char)o->op_yield_from;
}

static void test_walk_10(void)
{
    make_chain_10(3);
    CHECK_EQUAL(walk(), PY_OK);
    for (int i = 0; i < 3; i++)
        check_segment((uint32_t)i, cframe_at(i), (uint32_t)i, 1);
    make_chain_10(4); /* a greenlet: an outermost cframe without a frame */
    CHECK_EQUAL(walk(), PY_OK);
    CHECK_EQUAL(stack.segment_count, 3);
    for (int i = 0; i < 3; i++)
        check_segment((uint32_t)i, cframe_at(i), (uint32_t)i, 1);
    py.symbols.eval = 1 << 20; /* or the innermost is entered, its frame not linked yet */
    CHECK_EQUAL(walk_at((1 << 20) + 200, 0), PY_PUT_OFF);
    CHECK_EQUAL(walk_at((1 << 20) + 200, 1), PY_TORN);
    make_chain_10(2); /* the innermost is left: its cframe is gone already */
    CHECK_EQUAL(walk(), PY_OK);
    check_segment(0, NULL, 0, 1);
    check_segment(1, cframe_at(0), 1, 1);
    check_segment(2, cframe_at(1), 2, 1);
    make_chain_10(5);
    check_torn("frames and entry objects disagree");
    make_chain_10(1);
    check_torn("frames and entry objects disagree");
}

static void test_passing_10(void)
{
    make_chain_10(2);
    make_passing(1);
    CHECK_EQUAL(walk(), PY_OK);
    CHECK_EQUAL(stack.segment_count, 2);
    check_segment(0, cframe_at(0), 0, 1);
    check_segment(1, cframe_at(1), 1, 2);
    make_chain_10(2);
    make_passing(0);
    CHECK_EQUAL(walk(), PY_OK);
    CHECK_EQUAL(stack.segment_count, 2);
    check_segment(0, cframe_at(0), 0, 2);
    make_chain_10(3);
    make_passing(0); /* entering itself, or the one that it delegates to? */
    CHECK_EQUAL(walk(), PY_PUT_OFF);
    CHECK_EQUAL(walk_at(0, 1), PY_TORN);
    make_chain_10(3);
    put(world.frames[2], py.offsets->frame_generator, 1);
    check_torn("a generator ends the list");
}

static void test_walk_8(void)
{
    make_world(8);
    make_frame(0, at(make_frame(1, 0)));
    put(world.thread, py.offsets->thread_frame, at(world.frames[0]));
    CHECK_EQUAL(walk(), PY_OK);
    CHECK_EQUAL(stack.segment_count, 1);
    check_segment(0, NULL, 0, 2);
    CHECK_EQUAL(frames[1].unit, 3);
    put(world.frames[1], py.offsets->object_type, 0);
    check_torn("not a frame object");
}

/* The interpreter unmaps a data-stack chunk while the chunk's first frame is still current: a page that the
 * guard has known for long. */
static void check_popped(int minor)
{
    unsigned char *chunk = mmap(NULL, GUARD_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(chunk != MAP_FAILED);
    if (minor == 13)
        make_chain_13();
    else if (minor == 12)
        make_chain_12();
    else
        make_chain_11();
    void *first = chunk + 24;
    memcpy(first, world.frames[0], sizeof world.frames[0]);
    if (minor == 13)
        put(world.thread, py.offsets->thread_frame, at(first));
    else
        make_cframe(0, 1, at(first));
    CHECK_EQUAL(walk(), PY_OK);
    CHECK_EQUAL(frames[0].code, at(world.codes[0]));
    CHECK_EQUAL(munmap(chunk, GUARD_PAGE), 0);
    CHECK_EQUAL(walk_again(0), PY_PUT_OFF); /* a walk that believes the guard dies here */
    CHECK_EQUAL(walk_again(1), PY_TORN);
    CHECK_STRING(stack.torn, "in transit");
}

static void test_popped(void)
{
    for (int minor = 11; minor <= 13; minor++)
        check_popped(minor);
}

/* ---- copies ---- */

static uint64_t text_object[32], lines_object[32], text_type[64], bytes_type[64];

static void make_code(void)
{
    const struct py_offsets *o = py.offsets;
    text_type[o->type_flags / 8] = 1ull << 28;
    bytes_type[o->type_flags / 8] = 1ull << 27;
    memset(text_object, 0, sizeof text_object);
    put(text_object, o->object_type, at(text_type));
    put(text_object, o->text_length, 5);
    put(text_object, o->text_state, 1 << 2 | 1 << 5 | 1 << 6);
    memcpy((unsigned char *)text_object + o->text_ascii, "hello", 5);
    put(lines_object, o->object_type, at(bytes_type));
    put(lines_object, o->bytes_length, 3);
    memcpy((unsigned char *)lines_object + o->bytes_data, "xyz", 3);
    put(world.codes[0], o->code_file, at(text_object));
    put(world.codes[0], o->code_name, at(text_object));
    put(world.codes[0], o->code_qualname, at(text_object));
    put(world.codes[0], o->code_lines, at(lines_object));
    put(world.codes[0], o->code_first_line, 42);
}

static void test_copy(void)
{
    static unsigned char room[4096] __attribute__((aligned(8)));
    struct ring ring;
    ring_init(&ring, room, sizeof room);
    make_chain_13();
    make_code();
    CHECK_EQUAL(walk(), PY_OK);
    CHECK_EQUAL(py_code_copy(&py, &frames[0], &guard, &ring), 1);
    const struct code *code = (const struct code *)(const void *)ring_peek(&ring);
    CHECK(code != NULL);
    CHECK_EQUAL(code->record.kind, RECORD_CODE);
    CHECK_EQUAL(code->key, frames[0].key);
    CHECK_EQUAL(code->first_line, 42);
    CHECK_EQUAL(code->file.length, 5);
    CHECK_EQUAL(code->qualname.kind, 1);
    CHECK_EQUAL(code->lines_size, 3);
    CHECK(memcmp(code->data, "hellohellohelloxyz", 18) == 0);
    put(text_object, py.offsets->text_length,
        1 << 20); /* longer than what is mapped, or cut: never a fault */
    CHECK(py_code_copy(&py, &frames[0], &guard, &ring) != 1 || code->name.cut);
    make_code();
    text_type[py.offsets->type_flags / 8] = 0;
    CHECK_EQUAL(py_code_copy(&py, &frames[0], &guard, &ring), -1);
    make_code();
    put(lines_object, py.offsets->bytes_length, UINT64_MAX);
    CHECK_EQUAL(py_code_copy(&py, &frames[0], &guard, &ring), -1);
    make_code();
    int copies = 0;
    while (copies < 1000 && py_code_copy(&py, &frames[0], &guard, &ring) == 1)
        copies++;
    CHECK(copies > 10 && copies < 100);
    CHECK_EQUAL(py_code_copy(&py, &frames[0], &guard, &ring), 0);
}

/* A line table that differs in one place gives another key, wherever that is in its first bytes. */
static void test_keys(void)
{
    make_world(11);
    make_code();
    memset(lines_object, 0, sizeof lines_object);
    put(lines_object, py.offsets->bytes_length, 70);
    guard = (struct guard){.generation = 0};
    uint64_t keys[KEY_SUM + 1];
    for (int i = 0; i <= KEY_SUM; i++) {
        unsigned char *byte = (unsigned char *)lines_object + py.offsets->bytes_data + i;
        *byte = i < KEY_SUM;
        keys[i] = py_code_key(py.offsets, at(world.codes[0]), &guard);
        *byte = 0;
        for (int j = 0; j < i; j++)
            CHECK(keys[i] != keys[j]);
    }
    put(lines_object, py.offsets->bytes_length, 69);
    CHECK(py_code_key(py.offsets, at(world.codes[0]), &guard) != keys[KEY_SUM]);
    make_world(12);
    put(world.codes[0], py.offsets->code_version, 5);
    uint64_t five = py_code_key(py.offsets, at(world.codes[0]), &guard);
    put(world.codes[0], py.offsets->code_version, 6);
    CHECK(py_code_key(py.offsets, at(world.codes[0]), &guard) != five);
}

int main(int argc, char **argv)
{
    static const struct check_case cases[] = {
        {"walk_13", test_walk_13},
        {"no_frames", test_no_frames},
        {"torn_13", test_torn_13},
        {"capacity", test_capacity},
        {"walk_12", test_walk_12},
        {"put_off_12", test_put_off_12},
        {"walk_11", test_walk_11},
        {"walk_10", test_walk_10},
        {"passing_10", test_passing_10},
        {"walk_15", test_walk_15},
        {"jit", test_jit},
        {"current", test_current},
        {"copies", test_copies},
        {"walk_8", test_walk_8},
        {"popped", test_popped},
        {"copy", test_copy},
        {"keys", test_keys},
    };
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
