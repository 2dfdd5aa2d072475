/* SPDX-License-Identifier: MIT */
/* python.h - the Python frames of the interrupted thread, for CPython 3.8 to 3.15 with one binary.
 * All version knowledge lives in offsets.c; the walk is written once over its numbers.
 *
 * Who calls what: py_attach and py_find_slot outside the handler (start, helper); py_walk and py_code_copy in
 * the handler. Reads of Python memory go through the guard, which never faults. */
#ifndef PLAIT_PYTHON_H
#define PLAIT_PYTHON_H

#include "../core/core.h"
#include "../core/error.h"
#include "../core/ring.h"
#include <stdint.h>

/* ---- guarded reads: a page is probed (one system call) the first time, then remembered ---- */
enum { GUARD_PAGES = 1024 };
struct guard {
    uint64_t generation;        /* of the entries below; differs from *current: forget all */
    const uint64_t *current;    /* the process's generation, grown by the helper when memory was unmapped */
    uint64_t probes;            /* system calls made, for the counters */
    uint64_t page[GUARD_PAGES]; /* private: the pages known to be readable */
};
/* 1 when [address, address + size) can be read. `size` at most one page. Async-signal-safe. */
int guard_ok(struct guard *guard, uint64_t address, uint32_t size);

/* ---- the interpreter in this process ---- */
struct py_symbols {       /* addresses in this process, 0 = absent; found by dlsym outside the handler */
    uint64_t runtime;     /* _PyRuntime */
    uint64_t version;     /* Py_Version (3.11+) */
    uint64_t get_version; /* Py_GetVersion: called by py_attach where `version` is 0 */
    uint64_t code_type;   /* PyCode_Type */
    uint64_t frame_type;  /* PyFrame_Type (3.8-3.10) */
    uint64_t eval;        /* _PyEval_EvalFrameDefault */
    uint64_t eval_size;   /* bytes of its symbol, 0 unknown */
    uint64_t
        current_thread;   /* PyThreadState_GetUnchecked, _PyThreadState_UncheckedGet: called by py_attach */
    uint64_t this_thread; /* PyGILState_GetThisThreadState: called by py_attach */
};

struct py_offsets; /* offsets.c: numbers, range-checked, one set per minor version */

struct py_runtime {
    struct py_symbols symbols;
    const struct py_offsets *offsets;
    uint32_t hex;    /* PY_VERSION_HEX of the interpreter */
    int minor;       /* 8 .. 15 */
    int64_t slot;    /* the thread's PyThreadState is at thread pointer + slot; 0 = not yet known;
                        atomic, written by py_find_slot */
    int64_t current; /* from 3.12 on: likewise, the state that is current; 0 unknown. Set by py_attach */
    int64_t shim_distance; /* 3.12: shim address - cframe address; learned outside the handler or at the
                              first sound walk; 0 unknown; atomic */
    uint64_t eval_low[4],
        eval_high[4]; /* address ranges of the eval function, hot and cold parts, when known */
    int eval_ranges;
    int64_t words[64]; /* private: the numbers in use when they come from debug offsets */
};

/* Fills `py` for the interpreter behind `symbols`. 0, or an error: PROFILER_PYTHON_UNKNOWN with the version
 * by name for versions outside 3.8-3.15, pre-releases and failed range checks; sampling then goes on with
 * native frames only. In a normal thread; not in the handler (may call Py_GetVersion). */
int py_attach(struct py_runtime *py, const struct py_symbols *symbols, struct error *error);

/* Learns the slot: the one among this thread's first 32 thread-specific values (the value of key k lies at
 * thread_pointer + data_offset + 16 * k) that points to a PyThreadState whose thread_id is `thread_pointer`.
 * Returns 1 when known; from 3.15 on py_attach has found it or it is not found, which is so where the library
 * came by dlopen. Any context but the handler; never faults. */
int py_find_slot(struct py_runtime *py, uint64_t thread_pointer, int64_t data_offset);

/* The distance from the thread pointer to the value of thread-specific key 0, measured with a key of our own;
 * 0 when it can't be found. In a normal thread with libc state only. */
int64_t py_data_offset(void);

/* ---- the walk ---- */
struct py_frame {
    uint64_t code;  /* address of the code object */
    uint64_t key;   /* names this code object for ever (see py_code_key) */
    uint64_t lines; /* a hint for prefetching: the line table that the key was made from, 0 none */
    int32_t unit;   /* as struct frame */
    uint32_t owner; /* 0 thread, 1 generator, 2 frame object */
};

/* Python frames between two entries from C, innermost segment first. A segment may be empty (a shim on top
 * whose frame has returned). */
struct py_segment {
    uint64_t marker;       /* address of the entry object on the C stack; 0 = none (3.8, 3.9; a sentinel) */
    uint32_t first, count; /* its frames, innermost first */
};

enum py_status {
    PY_OK = 0,
    PY_NONE,    /* no interpreter, no thread state, or no frame on it */
    PY_PUT_OFF, /* 3.10 to 3.12, the chain is being relinked: try again some microseconds later */
    PY_TORN,    /* the chain failed its checks; nothing in it is to be believed */
};

struct py_stack {
    struct py_frame *frames; /* given by the caller, frame_capacity entries; likewise segments */
    struct py_segment *segments;
    uint32_t frame_capacity, segment_capacity;
    uint32_t frame_count, segment_count;
    uint64_t thread;  /* the thread's state, 0 none; also where the walk failed */
    int cut;          /* 1: capacity met, the outer end is missing */
    int jit;          /* 1: the JIT has compiled parts of the innermost frame's code, whose unit may lag */
    int minor;        /* version of the frames, for the braid */
    int in_transit;   /* 1 for PY_TORN where but for `last_try` it were PY_PUT_OFF */
    const char *torn; /* why, a static word, for PY_TORN */
};

/* Walks the chain of the calling thread, which is interrupted at `pc` with stack pointer `sp`.
 * `last_try`: 1 = the pre-check may not put off again (returns PY_TORN with "in transit" instead).
 * Async-signal-safe; no system call but guard probes. */
enum py_status py_walk(const struct py_runtime *py, uint64_t thread_pointer, uint64_t sp, uint64_t pc,
                       int last_try, struct guard *guard, struct py_stack *stack);

/* Bits of enum sample_state for the thread of a state that a walk has just found: whether it holds the
 * interpreter's lock (and collects garbage), or waits for it, which is so when `futex`, the address that it
 * sleeps on (0 none), lies in the lock. 0 in free-threaded builds, where py_has_gil is 0. Async-signal-safe.
 */
uint32_t py_gil(const struct py_runtime *py, uint64_t thread, uint64_t futex, struct guard *guard);
int py_has_gil(const struct py_runtime *py);

/* 1 when pc lies in the eval function as far as its ranges are known (3.8 and 3.9 need it for the braid). */
int py_in_eval(const struct py_runtime *py, uint64_t pc);

/* Writes a RECORD_CODE for the frame's code object into the ring: 1 written, 0 no room (try at the next
 * sight), -1 the object is not sound. Only while the frame is on the chain just walked. Async-signal-safe. */
int py_code_copy(const struct py_runtime *py, const struct py_frame *frame, struct guard *guard,
                 struct ring *ring);

/* ---- report side ---- */
/* Where in the source a unit stands. Lines are 0 where the table gives none. Columns are offsets in bytes of
 * UTF-8, the end one past the last; -1 = none, as always before 3.11. */
struct py_position {
    int line, end_line, column, end_column;
};

/* The position of `unit` of a code object, from its raw line table: exact, per PEP 657 and 626 and before
 * them lnotab. `minor` is the interpreter's; a unit below 0 stands on the first line. Returns the line, or -1
 * when the table is corrupt or cut before it (then both lines are -1). A decoder of untrusted bytes. Pure. */
int py_position(int minor, const unsigned char *table, uint32_t size, int32_t first_line, int32_t unit,
                struct py_position *position);

/* The same for those who ask for the line alone. */
int py_line(int minor, const unsigned char *table, uint32_t size, int32_t first_line, int32_t unit);

#endif
