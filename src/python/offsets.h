/* SPDX-License-Identifier: MIT */
/* offsets.h - the numbers that tell one CPython from another; private to src/python. The table is in
 * offsets.c, scripts/measure_offsets.py measures it anew from an interpreter's headers. */
#ifndef PLAIT_PYTHON_OFFSETS_H
#define PLAIT_PYTHON_OFFSETS_H

#include "../core/error.h"
#include <stdint.h>

enum { PY_MINOR_LOW = 8, PY_MINOR_HIGH = 13, PY_ABSENT = -1 };

/* Every row: field, largest sound value, alignment, its value in 3.8 3.9 3.10 3.11 3.12 3.13, and the place
 * in 3.13's _Py_DebugOffsets that holds it (0: it is not described there). Offsets in bytes; "_size" rows are
 * how many bytes of such an object the walk reads; "_bit(s)" rows are masks of the word at text_state. */
#define PY_FIELDS(X)                                                                                         \
    X(thread_frame, 1024, 8, 24, 24, 24, -1, -1, 72, 184)                                                    \
    X(thread_cframe, 1024, 8, -1, -1, 48, 56, 56, -1, 0)                                                     \
    X(thread_id, 1024, 8, 176, 176, 176, 152, 136, 152, 192)                                                 \
    X(thread_interp, 1024, 8, 16, 16, 16, 16, 16, 16, 176)                                                   \
    X(cframe_current, 64, 8, -1, -1, -1, 8, 0, -1, 0)                                                        \
    X(cframe_previous, 64, 8, -1, -1, 8, 16, 8, -1, 0)                                                       \
    X(frame_code, 256, 8, 32, 32, 32, 32, 0, 0, 240)                                                         \
    X(frame_previous, 256, 8, 24, 24, 24, 48, 8, 8, 232)                                                     \
    X(frame_instr, 256, 4, 104, 104, 96, 56, 56, 56, 248)                                                    \
    X(frame_owner, 256, 1, -1, -1, -1, 69, 70, 70, 264)                                                      \
    X(frame_entry, 256, 1, -1, -1, -1, 68, -1, -1, 0)                                                        \
    X(frame_generator, 256, 8, 96, 96, 88, -1, -1, -1, 0)                                                    \
    X(frame_depth, 256, 4, -1, -1, 80, -1, -1, -1, 0)                                                        \
    X(code_object, 256, 8, -1, -1, 48, -1, -1, -1, 0)                                                        \
    X(op_yield_from, 255, 1, -1, -1, 72, -1, -1, -1, 0)                                                      \
    X(frame_state, 256, 1, -1, -1, 108, -1, -1, -1, 0)                                                       \
    X(frame_size, 256, 1, 108, 108, 109, 72, 72, 72, 256)                                                    \
    X(code_bytes, 512, 8, -1, -1, -1, 184, 192, 200, 344)                                                    \
    X(code_units, 64, 8, -1, -1, -1, 16, 16, 16, 0)                                                          \
    X(code_version, 256, 4, -1, -1, -1, -1, 92, 92, 0)                                                       \
    X(code_size, 512, 8, 176, 176, 176, 184, 192, 200, 344)                                                  \
    X(code_first_line, 256, 4, 40, 40, 40, 72, 68, 68, 312)                                                  \
    X(code_file, 256, 8, 104, 104, 104, 112, 112, 112, 280)                                                  \
    X(code_name, 256, 8, 112, 112, 112, 120, 120, 120, 288)                                                  \
    X(code_qualname, 256, 8, -1, -1, -1, 128, 128, 128, 296)                                                 \
    X(code_lines, 256, 8, 120, 120, 120, 136, 136, 136, 304)                                                 \
    X(object_type, 64, 8, 8, 8, 8, 8, 8, 8, 360)                                                             \
    X(type_flags, 512, 8, 168, 168, 168, 168, 168, 168, 392)                                                 \
    X(bytes_length, 64, 8, 16, 16, 16, 16, 16, 16, 520)                                                      \
    X(bytes_data, 64, 8, 32, 32, 32, 32, 32, 32, 528)                                                        \
    X(text_length, 64, 8, 16, 16, 16, 16, 16, 16, 552)                                                       \
    X(text_state, 64, 4, 32, 32, 32, 32, 32, 32, 544)                                                        \
    X(text_ascii, 128, 8, 48, 48, 48, 48, 40, 40, 560)                                                       \
    X(text_compact, 128, 8, 72, 72, 72, 72, 56, 56, 0)                                                       \
    X(text_kind_bits, 65535, 1, 28, 28, 28, 28, 28, 28, 0)                                                   \
    X(text_compact_bit, 65535, 1, 32, 32, 32, 32, 32, 32, 0)                                                 \
    X(text_ascii_bit, 65535, 1, 64, 64, 64, 64, 64, 64, 0)                                                   \
    X(runtime_main, 4096, 8, 40, 40, 40, 48, 48, 640, 0)                                                     \
    X(runtime_head, 4096, 8, 32, 32, 32, 40, 40, 632, 40)                                                    \
    X(runtime_current, 4096, 8, 1368, 568, 568, 576, -1, -1, 0)                                              \
    X(runtime_key, 8192, 4, 1396, 588, 588, 596, 1548, 2164, 0)                                              \
    X(interp_next, 65536, 8, 0, 0, 0, 0, 0, 7264, 64)

struct py_offsets {
#define X(field, ...) int64_t field; /* as wide as the addresses they are added to */
    PY_FIELDS(X)
#undef X
};

/* The table's row of a minor version, or NULL; 3.13's are those of its headers. */
const struct py_offsets *py_offsets_of(int minor);

/* Fills `out` for 3.13 from the debug offsets (the first `size` bytes of _PyRuntime), range-checked; `hex` is
 * the version that they must name. 0, or PROFILER_PYTHON_UNKNOWN. Pure. */
int py_offsets_read(struct py_offsets *out, const unsigned char *debug, uint32_t size, uint32_t hex,
                    struct error *error);

enum { PY_DEBUG_SIZE = 584 }; /* bytes of 3.13's _Py_DebugOffsets */

#endif
