/* SPDX-License-Identifier: MIT */
/* offsets.c - one set of numbers per minor version of CPython: a table for 3.8 to 3.12, _Py_DebugOffsets for
 * 3.13 (whose own description starts _PyRuntime). Nothing outside 3.8-3.13 is guessed. The rows are X-macros
 * in offsets.h; tests/py/test_offsets.py holds them against the headers of each interpreter found. Pure. */
#include "offsets.h"
#include "profiler.h"

#include <stddef.h>
#include <string.h>

#define ROW_8(a, b, c, d, e, f)  a
#define ROW_9(a, b, c, d, e, f)  b
#define ROW_10(a, b, c, d, e, f) c
#define ROW_11(a, b, c, d, e, f) d
#define ROW_12(a, b, c, d, e, f) e
#define ROW_13(a, b, c, d, e, f) f

static const struct py_offsets rows[] = {
#define X(field, most, align, a, b, c, d, e, f, place) .field = ROW_8(a, b, c, d, e, f),
    {PY_FIELDS(X)},
#undef X
#define X(field, most, align, a, b, c, d, e, f, place) .field = ROW_9(a, b, c, d, e, f),
    {PY_FIELDS(X)},
#undef X
#define X(field, most, align, a, b, c, d, e, f, place) .field = ROW_10(a, b, c, d, e, f),
    {PY_FIELDS(X)},
#undef X
#define X(field, most, align, a, b, c, d, e, f, place) .field = ROW_11(a, b, c, d, e, f),
    {PY_FIELDS(X)},
#undef X
#define X(field, most, align, a, b, c, d, e, f, place) .field = ROW_12(a, b, c, d, e, f),
    {PY_FIELDS(X)},
#undef X
#define X(field, most, align, a, b, c, d, e, f, place) .field = ROW_13(a, b, c, d, e, f),
    {PY_FIELDS(X)},
#undef X
};

/* What a value must satisfy, whoever said it; also true of every row of the table, by assertion. */
struct limit {
    const char *name;
    uint32_t field; /* offset in struct py_offsets */
    uint32_t place; /* in the debug offsets, 0 = not there */
    uint64_t most, align;
};
static const struct limit limits[] = {
#define X(field, most, align, a, b, c, d, e, f, place)                                                       \
    {#field, (uint32_t)offsetof(struct py_offsets, field), place, most, align},
    PY_FIELDS(X)
#undef X
};

#define SOUND(value, most, align) ((value) == PY_ABSENT || ((value) <= (most) && (value) % (align) == 0))
#define X(field, most, align, a, b, c, d, e, f, place)                                                       \
    _Static_assert(SOUND(a, most, align) && SOUND(b, most, align) && SOUND(c, most, align) &&                \
                       SOUND(d, most, align) && SOUND(e, most, align) && SOUND(f, most, align),              \
                   #field " is out of its range");
PY_FIELDS(X)
#undef X

enum { DEBUG_VERSION = 8, DEBUG_FREE_THREADED = 16 };

const struct py_offsets *py_offsets_of(int minor)
{
    if (minor < PY_MINOR_LOW || minor > PY_MINOR_HIGH)
        return NULL;
    return &rows[minor - PY_MINOR_LOW];
}

static uint64_t word_at(const unsigned char *bytes, uint32_t offset)
{
    uint64_t word;
    memcpy(&word, bytes + offset, sizeof word);
    return word;
}

int py_offsets_read(struct py_offsets *out, const unsigned char *debug, uint32_t size, uint32_t hex,
                    struct error *error)
{
    if (size < PY_DEBUG_SIZE || memcmp(debug, "xdebugpy", 8) != 0)
        return error_set(error, PROFILER_PYTHON_UNKNOWN, 0,
                         "Python 3.13 without its debug offsets is not supported: native frames only");
    if (word_at(debug, DEBUG_FREE_THREADED) != 0)
        return error_set(error, PROFILER_PYTHON_UNKNOWN, 0,
                         "Python 3.13 free-threaded is not supported: native frames only");
    if (word_at(debug, DEBUG_VERSION) != hex)
        return error_set(error, PROFILER_PYTHON_UNKNOWN, 0,
                         "Python's debug offsets are of version %x, not %x: native frames only",
                         (unsigned long)word_at(debug, DEBUG_VERSION), (unsigned long)hex);
    *out = rows[13 - PY_MINOR_LOW];
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        const struct limit *limit = &limits[i];
        if (limit->place == 0)
            continue;
        uint64_t value = word_at(debug, limit->place);
        if (value > limit->most || value % limit->align != 0)
            return error_set(error, PROFILER_PYTHON_UNKNOWN, 0,
                             "Python's debug offset %s is out of range (%x): native frames only", limit->name,
                             (unsigned long)value);
        int64_t number = (int64_t)value;
        memcpy((unsigned char *)out + limit->field, &number, sizeof number);
    }
    return 0;
}
