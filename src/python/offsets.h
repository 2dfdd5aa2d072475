/* SPDX-License-Identifier: MIT */
/* offsets.h - the numbers that tell one CPython from another; private to src/python. The table is in
 * offsets.c, scripts/measure_offsets.py measures it anew from an interpreter's headers. */
#ifndef PLAIT_PYTHON_OFFSETS_H
#define PLAIT_PYTHON_OFFSETS_H

#include "../core/error.h"
#include <stdint.h>

enum {
    PY_MINOR_LOW = 8,
    PY_MINOR_HIGH = 15,
    PY_DEBUG_LOW = 13, /* the first that describes itself, and that has free-threaded builds */
    PY_ABSENT = -1,
    PY_THREAD_SIZE = 192, /* bytes of a PyThreadState that the walk reads, at most */
};

/* Every row: field, largest sound value, alignment; its value in 3.8 to 3.15 and in the free-threaded 3.13,
 * 3.14, 3.15; the place in the _Py_DebugOffsets of 3.13, 3.14, 3.15 that holds it (0: it is not described
 * there). Offsets in bytes; "_size" rows are how many bytes of such an object the walk reads; "_bit(s)" rows
 * are masks of the word at text_state; frame_tags are the bits of the word at frame_code that are no address.
 * frame_copy and code_copies: the frame's copy of the bytecode, in a free-threaded build; code_executors:
 * what the JIT has made of parts of the code, NULL before. */
#define PY_FIELDS(X)                                                                                         \
    X(thread_frame, 1024, 8, 24, 24, 24, -1, -1, 72, 72, 72, 72, 72, 72, 184, 208, 208)                      \
    X(thread_base, 1024, 8, -1, -1, -1, -1, -1, -1, -1, 80, -1, -1, 80, 0, 0, 216)                           \
    X(thread_cframe, 1024, 8, -1, -1, 48, 56, 56, -1, -1, -1, -1, -1, -1, 0, 0, 0)                           \
    X(thread_id, 1024, 8, 176, 176, 176, 152, 136, 152, 152, 176, 152, 152, 176, 192, 216, 240)              \
    X(thread_interp, 1024, 8, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 176, 200, 200)                     \
    X(cframe_current, 64, 8, -1, -1, -1, 8, 0, -1, -1, -1, -1, -1, -1, 0, 0, 0)                              \
    X(cframe_previous, 64, 8, -1, -1, 8, 16, 8, -1, -1, -1, -1, -1, -1, 0, 0, 0)                             \
    X(frame_code, 256, 8, 32, 32, 32, 32, 0, 0, 0, 0, 0, 0, 0, 240, 264, 328)                                \
    X(frame_tags, 3, 1, 0, 0, 0, 0, 0, 0, 3, 3, 0, 1, 3, 0, 0, 0)                                            \
    X(frame_copy, 256, 4, -1, -1, -1, -1, -1, -1, -1, -1, -1, 72, 72, 0, 304, 368)                           \
    X(frame_previous, 256, 8, 24, 24, 24, 48, 8, 8, 8, 8, 8, 8, 8, 232, 256, 320)                            \
    X(frame_instr, 256, 4, 104, 104, 96, 56, 56, 56, 56, 56, 56, 56, 56, 248, 272, 336)                      \
    X(frame_owner, 256, 1, -1, -1, -1, 69, 70, 70, 74, 74, 70, 78, 78, 264, 288, 352)                        \
    X(frame_entry, 256, 1, -1, -1, -1, 68, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0)                              \
    X(frame_generator, 256, 8, 96, 96, 88, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0)                          \
    X(frame_depth, 256, 4, -1, -1, 80, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0)                              \
    X(code_object, 256, 8, -1, -1, 48, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0)                              \
    X(op_yield_from, 255, 1, -1, -1, 72, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0)                            \
    X(frame_state, 256, 1, -1, -1, 108, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0)                             \
    X(frame_size, 256, 1, 108, 108, 109, 72, 72, 72, 80, 80, 72, 80, 80, 256, 280, 344)                      \
    X(code_bytes, 512, 8, -1, -1, -1, 184, 192, 200, 208, 208, 216, 232, 232, 344, 384, 448)                 \
    X(code_units, 64, 8, -1, -1, -1, 16, 16, 16, 16, 16, 32, 32, 32, 0, 0, 0)                                \
    X(code_copies, 512, 8, -1, -1, -1, -1, -1, -1, -1, -1, -1, 224, 224, 0, 392, 456)                        \
    X(code_version, 256, 4, -1, -1, -1, -1, 92, 92, 92, 92, 108, 108, 108, 0, 0, 0)                          \
    X(code_executors, 256, 8, -1, -1, -1, -1, -1, 152, 152, 152, 168, 168, 168, 0, 0, 0)                     \
    X(code_size, 512, 8, 176, 176, 176, 184, 192, 200, 208, 208, 216, 232, 232, 344, 384, 448)               \
    X(code_first_line, 256, 4, 40, 40, 40, 72, 68, 68, 68, 68, 84, 84, 84, 312, 352, 416)                    \
    X(code_file, 256, 8, 104, 104, 104, 112, 112, 112, 112, 112, 128, 128, 128, 280, 320, 384)               \
    X(code_name, 256, 8, 112, 112, 112, 120, 120, 120, 120, 120, 136, 136, 136, 288, 328, 392)               \
    X(code_qualname, 256, 8, -1, -1, -1, 128, 128, 128, 128, 128, 144, 144, 144, 296, 336, 400)              \
    X(code_lines, 256, 8, 120, 120, 120, 136, 136, 136, 136, 136, 152, 152, 152, 304, 344, 408)              \
    X(object_type, 64, 8, 8, 8, 8, 8, 8, 8, 8, 8, 24, 24, 24, 360, 408, 472)                                 \
    X(type_flags, 512, 8, 168, 168, 168, 168, 168, 168, 168, 168, 184, 184, 184, 392, 440, 504)              \
    X(bytes_length, 64, 8, 16, 16, 16, 16, 16, 16, 16, 16, 32, 32, 32, 520, 600, 696)                        \
    X(bytes_data, 64, 8, 32, 32, 32, 32, 32, 32, 32, 32, 48, 48, 48, 528, 608, 704)                          \
    X(text_length, 64, 8, 16, 16, 16, 16, 16, 16, 16, 16, 32, 32, 32, 552, 632, 728)                         \
    X(text_state, 64, 4, 32, 32, 32, 32, 32, 32, 32, 32, 48, 48, 48, 544, 624, 720)                          \
    X(text_ascii, 128, 8, 48, 48, 48, 48, 40, 40, 40, 40, 56, 56, 56, 560, 640, 736)                         \
    X(text_compact, 128, 8, 72, 72, 72, 72, 56, 56, 56, 56, 72, 72, 72, 0, 0, 744)                           \
    X(text_kind_bits, 65535, 1, 28, 28, 28, 28, 28, 28, 28, 28, 28, 1792, 1792, 0, 0, 0)                     \
    X(text_compact_bit, 65535, 1, 32, 32, 32, 32, 32, 32, 32, 32, 32, 2048, 2048, 0, 0, 0)                   \
    X(text_ascii_bit, 65535, 1, 64, 64, 64, 64, 64, 64, 64, 64, 64, 4096, 4096, 0, 0, 0)                     \
    X(runtime_main, 4096, 8, 40, 40, 40, 48, 48, 640, 816, 944, 640, 816, 944, 0, 0, 0)                      \
    X(runtime_head, 4096, 8, 32, 32, 32, 40, 40, 632, 808, 936, 632, 808, 936, 40, 40, 40)                   \
    X(runtime_current, 4096, 8, 1368, 568, 568, 576, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0)                    \
    X(runtime_key, 8192, 4, 1396, 588, 588, 596, 1548, 2164, 2340, -1, 2164, 2340, -1, 0, 0, 0)              \
    X(runtime_gil, 4096, 8, 1152, 352, 352, 360, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0)                        \
    X(runtime_collecting, 4096, 4, 544, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0)                     \
    X(interp_gil, 65536, 8, -1, -1, -1, -1, 384, 16, 16, 16, -1, -1, -1, 0, 0, 0)                            \
    X(interp_collecting, 65536, 4, -1, 816, 816, 848, 312, 7600, 7600, 7512, 7600, 7600, 7512, 0, 0, 0)      \
    X(gil_locked, 256, 4, 16, 16, 16, 16, 16, 16, 16, 16, -1, -1, -1, 0, 0, 0)                               \
    X(gil_holder, 256, 8, 8, 8, 8, 8, 8, 8, 8, 8, -1, -1, -1, 0, 0, 0)                                       \
    X(gil_size, 512, 8, 208, 208, 208, 208, 208, 208, 208, 208, -1, -1, -1, 0, 0, 0)                         \
    X(interp_next, 65536, 8, 0, 0, 0, 0, 0, 7264, 7272, 7264, 7264, 7272, 7264, 64, 64, 64)

struct py_offsets {
#define X(field, ...) int64_t field; /* as wide as the addresses they are added to */
    PY_FIELDS(X)
#undef X
};

/* The table's row of a minor version, or NULL; from 3.13 on those of its headers. */
const struct py_offsets *py_offsets_of(int minor);

/* The same of its free-threaded build; NULL before 3.13. */
const struct py_offsets *py_offsets_free_threaded(int minor);

/* Fills `out` for 3.13 and later from the debug offsets (the first `size` bytes of _PyRuntime),
 * range-checked; `hex` is the version that they must name. What they do not describe is the table's. 0, or
 * PROFILER_PYTHON_UNKNOWN. Pure. */
int py_offsets_read(struct py_offsets *out, const unsigned char *debug, uint32_t size, uint32_t hex,
                    struct error *error);

/* Bytes of the _Py_DebugOffsets of a minor version from 3.13 on. */
uint32_t py_debug_size(int minor);

#endif
