/* SPDX-License-Identifier: MIT */
/* attach.c - which interpreter is in this process, and with which numbers it is read. Runs outside the
 * handler: libc is allowed. Only released versions 3.8 to 3.15 are accepted; everything else is refused by
 * name. */
#include "offsets.h"
#include "read.h"

#include "../os/os.h"
#include "eval.h"
#include "profiler.h"
#include "slot.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum {
    FINAL = 0xf0,       /* PY_VERSION_HEX: release level and serial of a final release */
    TYPE_OF_TYPES = 31, /* Py_TPFLAGS_TYPE_SUBCLASS, its bit */
};

/* "3.10.13 (main, ...)", "3.9.0rc1+ ..." as PY_VERSION_HEX; 0 when it is not like that. */
static uint32_t parse_version(const char *text)
{
    unsigned part[3] = {0, 0, 0};
    for (int i = 0; i < 3; i++) {
        if (*text < '0' || *text > '9')
            return 0;
        for (; *text >= '0' && *text <= '9' && part[i] < 256; text++)
            part[i] = part[i] * 10 + (unsigned)(*text - '0');
        if (i < 2 && *text++ != '.')
            return 0;
    }
    uint32_t level = *text == 'a' ? 0xa0 : *text == 'b' ? 0xb0 : *text == 'r' ? 0xc0 : FINAL;
    return (part[0] & 255) << 24 | (part[1] & 255) << 16 | (part[2] & 255) << 8 | level;
}

static uint32_t find_version(const struct py_symbols *symbols)
{
    if (symbols->version != 0)
        return (uint32_t)load_word(symbols->version);
    if (symbols->get_version == 0)
        return 0;
    const char *(*get_version)(void) = (const char *(*)(void))(uintptr_t)symbols->get_version;
    return parse_version(get_version());
}

static int refuse(struct error *error, uint32_t hex)
{
    static const char *const levels[16] = {[10] = "a", [11] = "b", [12] = "rc", [15] = ""};
    char name[64], serial[16] = "";
    uint32_t level = hex >> 4 & 15;
    if (level != 15)
        snprintf(serial, sizeof serial, "%u", hex & 15);
    snprintf(name, sizeof name, "%u.%u.%u%s%s", hex >> 24, hex >> 16 & 255, hex >> 8 & 255,
             levels[level] != NULL ? levels[level] : "?", serial);
    return error_set(error, PROFILER_PYTHON_UNKNOWN, 0,
                     "Python %s is not supported (final releases of 3.8 to 3.15 are): native frames only",
                     name);
}

/* The layout that all of it rests on, seen in objects that are always there. */
static int is_sound(const struct py_symbols *symbols, const struct py_offsets *offsets)
{
    uint64_t type = load_word(symbols->code_type + (uint64_t)offsets->object_type);
    if (type == 0 || (type & 7) != 0 || !os_readable(type + (uint64_t)offsets->type_flags))
        return 0;
    return (load_word(type + (uint64_t)offsets->type_flags) >> TYPE_OF_TYPES & 1) != 0;
}

static int choose_offsets(struct py_runtime *py, struct error *error)
{
    py->offsets = py_offsets_of(py->minor);
    if (py->minor < PY_DEBUG_LOW)
        return 0;
    struct py_offsets numbers;
    _Static_assert(sizeof numbers <= sizeof py->words, "the numbers must fit");
    int code = py_offsets_read(&numbers, (const unsigned char *)(uintptr_t)py->symbols.runtime,
                               py_debug_size(py->minor), py->hex, error);
    memcpy(py->words, &numbers, sizeof numbers);
    py->offsets = code == 0 ? (const struct py_offsets *)(const void *)py->words : NULL;
    return code;
}

int py_attach(struct py_runtime *py, const struct py_symbols *symbols, struct error *error)
{
    memset(py, 0, sizeof *py);
    py->symbols = *symbols;
    if (symbols->runtime == 0 || symbols->code_type == 0)
        return error_set(error, PROFILER_PYTHON_UNKNOWN, 0,
                         "no Python interpreter with _PyRuntime and PyCode_Type: native frames only");
    py->hex = find_version(symbols);
    py->minor = (int)(py->hex >> 16 & 255);
    if (py->hex >> 24 != 3 || py->minor < PY_MINOR_LOW || py->minor > PY_MINOR_HIGH ||
        (py->hex & 0xf0) != FINAL)
        return refuse(error, py->hex);
    int code = choose_offsets(py, error);
    if (code != 0)
        return code;
    if (!is_sound(symbols, py->offsets) || (py->minor <= 10 && symbols->frame_type == 0)) {
        py->offsets = NULL;
        return error_set(error, PROFILER_PYTHON_UNKNOWN, 0,
                         "this build of Python 3.%d lays its objects out in another way: native frames only",
                         py->minor);
    }
    py_eval_ranges(py);
    py_thread_locals(py);
    return 0;
}
