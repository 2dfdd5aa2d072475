/* SPDX-License-Identifier: MIT */
/* core.h - the few data structures that every room shares. Data only; no room is included from here. */
#ifndef PLAIT_CORE_H
#define PLAIT_CORE_H

#include <stdint.h>

enum {
    STACK_WALK_MAX = 32768,  /* Python frames that one walk may meet; the rest is cut, and said */
    NATIVE_WALK_MAX = 98304, /* native frames: up to 3.10 each Python call is three or four of them */
    STACK_DEPTH_DEFAULT = 128,
    STACK_DEPTH_MAX = 4096,
};

/* A frame of the braided stack, leaf first. */
enum frame_kind { FRAME_NATIVE = 0, FRAME_PYTHON = 1 };

struct frame {
    uint64_t id;   /* native: the program counter (as found: callers' are return addresses);
                      python: the code object's key (code.h) */
    int32_t unit;  /* python: executed instruction in 2-byte units from the code's start, -1 = before the
                      first; native: 0 */
    uint8_t kind;  /* enum frame_kind */
    uint8_t flags; /* FRAME_* */
    uint16_t zero;
};
enum {
    FRAME_EXACT_PC = 1, /* native: pc is the interrupted instruction itself, not a return address */
    FRAME_EVAL = 2,     /* native: this frame runs the Python frames directly above (leafward of) it */
};

/* What is true of one sample. A table, so that names, counters and documents have one source. */
#define SAMPLE_FLAGS(X)                                                                                      \
    X(0, NATIVE_CUT, "native_cut", "the native stack ends before the thread's start")                        \
    X(1, NO_PYTHON, "no_python", "the thread has no Python frames")                                          \
    X(2, IN_TRANSIT, "in_transit", "a frame was in transit: native frames only")                             \
    X(3, PYTHON_ONLY, "python_only", "markers and native frames disagree: Python frames only")               \
    X(4, PYTHON_TORN, "python_torn", "the Python chain failed its checks: native frames only")               \
    X(5, STACK_CUT, "stack_cut", "more frames than the depth limit: both ends kept")                         \
    X(6, PUT_OFF, "put_off", "taken some microseconds late, with the same weight")                           \
    X(7, RERUN, "rerun", "an interrupted wait was run again")                                                \
    X(8, LATE, "late", "stands for more than one period: ticks before it were merged into it")               \
    X(9, GUESSED, "guessed", "a native frame without unwind tables was stepped by its frame pointer")        \
    X(10, WALK_LIMIT, "walk_limit", "the walk met its bound: the outer end is missing")                      \
    X(11, JIT, "jit", "the JIT has compiled parts of the innermost function: its line is approximate")       \
    X(12, REPEAT, "repeat", "a wait that lasts: its stack was taken before, no tick")

enum sample_flag {
#define X(bit, name, text, meaning) SAMPLE_##name = 1 << (bit),
    SAMPLE_FLAGS(X)
#undef X
};

/* What the thread did, in wall mode. */
#define SAMPLE_STATES(X)                                                                                     \
    X(0, WAITING, "waiting", "asleep in a system call")                                                      \
    X(1, GIL, "gil", "holds the interpreter's lock")                                                         \
    X(2, GIL_WAIT, "gil_wait", "waits for the interpreter's lock")                                           \
    X(3, COLLECTING, "collecting", "holds it and collects garbage")

enum sample_state {
#define X(bit, name, text, meaning) STATE_##name = 1 << (bit),
    SAMPLE_STATES(X)
#undef X
};

/* Ring records (ring.h): every record starts with this, and is a multiple of 8 bytes long. */
enum record_kind { RECORD_PAD = 0, RECORD_SAMPLE = 1, RECORD_CODE = 2 };

struct record {
    uint32_t size;  /* bytes, this header included */
    uint16_t kind;  /* enum record_kind */
    uint16_t flags; /* samples: enum sample_flag */
};

struct sample {
    struct record record;
    uint64_t time;         /* os_now() of the tick, ns */
    uint64_t weight;       /* CPU time it stands for, ns */
    uint64_t wall;         /* wall mode: real time it stands for, ns */
    int64_t memory;        /* change of the resident set since the sample before it, bytes */
    uint64_t instructions; /* since the thread's sample before it; 0 without a counter */
    uint32_t depth;        /* frames that the braided stack had */
    uint32_t count;        /* frames recorded here: all, or both ends (count < depth) */
    uint32_t cut_at;       /* when cut: index of the first frame after the gap */
    uint16_t state;        /* enum sample_state */
    uint16_t call;         /* waiting: the system call's number + 1, 0 unknown */
    uint32_t argument;     /* waiting: the call's first argument, a descriptor where it takes one */
    uint32_t zero;
    struct frame frames[];
};

/* A code object as the handler copied it; the parts follow in this order without gaps, each as stored in
 * the interpreter. Strings: `kind` 1, 2 or 4 bytes a character (Latin-1 or ASCII, UCS-2, UCS-4). */
struct code_text {
    uint32_t length; /* characters */
    uint8_t kind;    /* bytes a character */
    uint8_t cut;     /* 1: longer than what was copied */
    uint16_t zero;
};

struct code {
    struct record record;
    uint64_t key;
    uint64_t address;
    int32_t first_line;
    uint32_t lines_size;  /* bytes of the line table copied */
    uint32_t lines_total; /* bytes it has; more than lines_size when cut */
    uint32_t zero;
    struct code_text file, name, qualname; /* qualname.length 0 before 3.11: there is none */
    unsigned char data[];                  /* file, name, qualname, line table */
};

#endif
