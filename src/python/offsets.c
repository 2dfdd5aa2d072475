/* SPDX-License-Identifier: MIT */
/* offsets.c - one set of numbers per minor version of CPython: a table for 3.8 to 3.12, _Py_DebugOffsets from
 * 3.13 on (whose own description starts _PyRuntime, and whose list of fields is the minor version's). Nothing
 * outside 3.8-3.15 is guessed. The rows are X-macros in offsets.h; tests/py/test_offsets.py holds them
 * against the headers of each interpreter found. Pure. */
#include "offsets.h"
#include "profiler.h"

#include <stddef.h>
#include <string.h>

#define ROW_8(a, b, c, d, e, f, g, h, i, j, k, ...)   a
#define ROW_9(a, b, c, d, e, f, g, h, i, j, k, ...)   b
#define ROW_10(a, b, c, d, e, f, g, h, i, j, k, ...)  c
#define ROW_11(a, b, c, d, e, f, g, h, i, j, k, ...)  d
#define ROW_12(a, b, c, d, e, f, g, h, i, j, k, ...)  e
#define ROW_13(a, b, c, d, e, f, g, h, i, j, k, ...)  f
#define ROW_14(a, b, c, d, e, f, g, h, i, j, k, ...)  g
#define ROW_15(a, b, c, d, e, f, g, h, i, j, k, ...)  h
#define ROW_13T(a, b, c, d, e, f, g, h, i, j, k, ...) i
#define ROW_14T(a, b, c, d, e, f, g, h, i, j, k, ...) j
#define ROW_15T(a, b, c, d, e, f, g, h, i, j, k, ...) k

static const struct py_offsets rows[] = {
#define X(field, most, align, ...) .field = ROW_8(__VA_ARGS__),
    {PY_FIELDS(X)},
#undef X
#define X(field, most, align, ...) .field = ROW_9(__VA_ARGS__),
    {PY_FIELDS(X)},
#undef X
#define X(field, most, align, ...) .field = ROW_10(__VA_ARGS__),
    {PY_FIELDS(X)},
#undef X
#define X(field, most, align, ...) .field = ROW_11(__VA_ARGS__),
    {PY_FIELDS(X)},
#undef X
#define X(field, most, align, ...) .field = ROW_12(__VA_ARGS__),
    {PY_FIELDS(X)},
#undef X
#define X(field, most, align, ...) .field = ROW_13(__VA_ARGS__),
    {PY_FIELDS(X)},
#undef X
#define X(field, most, align, ...) .field = ROW_14(__VA_ARGS__),
    {PY_FIELDS(X)},
#undef X
#define X(field, most, align, ...) .field = ROW_15(__VA_ARGS__),
    {PY_FIELDS(X)},
#undef X
};
static const struct py_offsets free_threaded_rows[] = {
#define X(field, most, align, ...) .field = ROW_13T(__VA_ARGS__),
    {PY_FIELDS(X)},
#undef X
#define X(field, most, align, ...) .field = ROW_14T(__VA_ARGS__),
    {PY_FIELDS(X)},
#undef X
#define X(field, most, align, ...) .field = ROW_15T(__VA_ARGS__),
    {PY_FIELDS(X)},
#undef X
};

enum { DESCRIBED = PY_MINOR_HIGH - PY_DEBUG_LOW + 1 };

/* What a value must satisfy, whoever said it; also true of every row of the table, by assertion. */
struct limit {
    const char *name;
    uint32_t field;            /* offset in struct py_offsets */
    uint32_t place[DESCRIBED]; /* in the debug offsets, 0 = not there */
    uint64_t most, align;
};
static const struct limit limits[] = {
#define X(field, most, align, a, b, c, d, e, f, g, h, i, j, k, ...)                                          \
    {#field, (uint32_t)offsetof(struct py_offsets, field), {__VA_ARGS__}, most, align},
    PY_FIELDS(X)
#undef X
};

#define SOUND(value, most, align) ((value) == PY_ABSENT || ((value) <= (most) && (value) % (align) == 0))
#define X(field, m, n, a, b, c, d, e, f, g, h, i, j, k, ...)                                                 \
    _Static_assert(SOUND(a, m, n) && SOUND(b, m, n) && SOUND(c, m, n) && SOUND(d, m, n) && SOUND(e, m, n) && \
                       SOUND(f, m, n) && SOUND(g, m, n) && SOUND(h, m, n) && SOUND(i, m, n) &&               \
                       SOUND(j, m, n) && SOUND(k, m, n),                                                     \
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

const struct py_offsets *py_offsets_free_threaded(int minor)
{
    if (minor < PY_DEBUG_LOW || minor > PY_MINOR_HIGH)
        return NULL;
    return &free_threaded_rows[minor - PY_DEBUG_LOW];
}

uint32_t py_debug_size(int minor)
{
    static const uint32_t sizes[DESCRIBED] = {584, 760, 888};
    return minor < PY_DEBUG_LOW || minor > PY_MINOR_HIGH ? 0 : sizes[minor - PY_DEBUG_LOW];
}

static uint64_t word_at(const unsigned char *bytes, uint32_t offset)
{
    uint64_t word;
    memcpy(&word, bytes + offset, sizeof word);
    return word;
}

/* The field's own number, where the debug offsets have a sound one. What a build does not have is 0 there. */
static int read_field(struct py_offsets *out, const struct limit *limit, uint64_t value)
{
    int64_t number;
    memcpy(&number, (const unsigned char *)out + limit->field, sizeof number);
    if (number == PY_ABSENT)
        return value == 0;
    if (value > limit->most || value % limit->align != 0)
        return 0;
    number = (int64_t)value;
    memcpy((unsigned char *)out + limit->field, &number, sizeof number);
    return 1;
}

/* What the walk reads of an object it has found readable as far as the "_size" row says. */
static int fits(const struct py_offsets *out, const struct limit *limit)
{
    static const struct {
        const char *prefix;
        uint32_t size; /* offset in struct py_offsets of the row that bounds it */
    } objects[] = {
        {"frame_", (uint32_t)offsetof(struct py_offsets, frame_size)},
        {"code_", (uint32_t)offsetof(struct py_offsets, code_size)},
        {"text_", (uint32_t)offsetof(struct py_offsets, text_compact)},
    };
    int64_t value, size = PY_THREAD_SIZE; /* no name is shorter than a prefix */
    memcpy(&value, (const unsigned char *)out + limit->field, sizeof value);
    int bounded = memcmp(limit->name, "thread_", 7) == 0;
    for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++) {
        if (memcmp(limit->name, objects[i].prefix, strlen(objects[i].prefix)) != 0)
            continue;
        memcpy(&size, (const unsigned char *)out + objects[i].size, sizeof size);
        bounded = limit->field != objects[i].size && limit->most <= 256 && limit->align > 1;
    }
    return !bounded || value == PY_ABSENT || value + (int64_t)limit->align <= size;
}

int py_offsets_read(struct py_offsets *out, const unsigned char *debug, uint32_t size, uint32_t hex,
                    struct error *error)
{
    int minor = (int)(hex >> 16 & 255);
    if (py_debug_size(minor) == 0 || size < py_debug_size(minor) || memcmp(debug, "xdebugpy", 8) != 0)
        return error_set(error, PROFILER_PYTHON_UNKNOWN, 0,
                         "Python 3.%d without its debug offsets is not supported: native frames only", minor);
    if (word_at(debug, DEBUG_VERSION) != hex)
        return error_set(error, PROFILER_PYTHON_UNKNOWN, 0,
                         "Python's debug offsets are of version %x, not %x: native frames only",
                         (unsigned long)word_at(debug, DEBUG_VERSION), (unsigned long)hex);
    int free_threaded = word_at(debug, DEBUG_FREE_THREADED) != 0;
    *out = *(free_threaded ? py_offsets_free_threaded(minor) : py_offsets_of(minor));
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        uint32_t place = limits[i].place[minor - PY_DEBUG_LOW];
        if (place != 0 && !read_field(out, &limits[i], word_at(debug, place)))
            return error_set(error, PROFILER_PYTHON_UNKNOWN, 0,
                             "Python's debug offset %s is out of range (%x): native frames only",
                             limits[i].name, (unsigned long)word_at(debug, place));
    }
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        if (!fits(out, &limits[i]))
            return error_set(error, PROFILER_PYTHON_UNKNOWN, 0,
                             "Python's debug offset %s lies outside of its object: native frames only",
                             limits[i].name);
    return 0;
}
