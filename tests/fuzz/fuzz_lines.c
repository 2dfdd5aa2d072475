/* SPDX-License-Identifier: MIT */
/* fuzz_lines.c - libFuzzer: any bytes as a line table of any version. No read outside the table, and for
 * every instruction the lines and columns that the table gives when it is written out whole, as the
 * interpreters' own co_positions() does it. A table cut short never gives another line, only -1 (or, up to
 * 3.9, whose tables don't say where they end, the last line reached). */
#include "holds.h"
#include "python/python.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 8, UNITS = 600 };

static const struct py_position nothing = {-1, -1, -1, -1}, no_line = {0, 0, -1, -1};

static struct py_position position_of(int minor, const uint8_t *table, size_t size, int32_t first,
                                      int32_t unit)
{
    struct py_position found;
    int line = py_position(minor, table, (uint32_t)size, first, unit, &found);
    HOLDS(line == found.line && line >= -1 && line == py_line(minor, table, (uint32_t)size, first, unit));
    return found;
}

static int same(struct py_position left, struct py_position right)
{
    return left.line == right.line && left.end_line == right.end_line && left.column == right.column &&
           left.end_column == right.end_column;
}

/* ---- tables written out: what holds at each unit, `nothing` where the table has ended or is broken ---- */

static struct py_position units[UNITS];

static int sound(int64_t number)
{
    return number >= 0 && number <= INT32_MAX ? (int)number : -1;
}

/* Both count in bytes; instructions are at the even ones. */
static void write_out_pairs(int minor, const uint8_t *table, size_t size, int64_t line)
{
    static int64_t bytes[2 * UNITS];
    int64_t at = 0;
    for (int64_t i = 0; i < 2 * UNITS; i++)
        bytes[i] = -1;
    for (; size >= 2; table += 2, size -= 2) {
        int step = table[1] < 128 ? table[1] : table[1] - 256;
        if (minor >= 10 && step != -128)
            line += step;
        for (int i = 0; i < table[0] && at < 2 * UNITS; i++)
            bytes[at++] = minor >= 10 && step == -128 ? 0 : sound(line);
        if (minor < 10)
            line += step;
    }
    while (minor < 10 && size == 0 && at < 2 * UNITS)
        bytes[at++] = sound(line);
    for (int64_t i = 0; i < UNITS; i++)
        units[i] = (struct py_position){(int)bytes[2 * i], (int)bytes[2 * i], -1, -1};
}

/* The numbers of an entry whose kind has them in full; 0 = they are cut. */
static int numbers(const uint8_t **table, const uint8_t *end, int count, uint64_t *to)
{
    for (int i = 0; i < count; i++) {
        unsigned shift = 0, byte = 64;
        for (to[i] = 0; byte & 64 && *table < end && shift <= 30; shift += 6) {
            byte = *(*table)++;
            to[i] |= (uint64_t)(byte & 63) << shift;
        }
        if (byte & 64)
            return 0;
    }
    return 1;
}

/* 3.11 and later: the kind of an entry says how many bytes follow and what they are. */
static void write_out_locations(const uint8_t *table, size_t size, int64_t line)
{
    const uint8_t *end = table + size;
    for (int at = 0; table < end && *table >= 128;) {
        unsigned kind = *table >> 3 & 15, length = (*table & 7) + 1u;
        uint64_t number[4] = {0, 0, 0, 0};
        struct py_position here = no_line;
        int64_t last = line;
        table++;
        if (kind < 13) { /* short: the columns are in one byte, or in two */
            if (end - table < (kind < 10 ? 1 : 2))
                return;
            line += kind < 10 ? 0 : (int64_t)kind - 10;
            last = line;
            here.column = kind < 10 ? (int)(kind * 8 | table[0] / 16) : table[0];
            here.end_column = kind < 10 ? here.column + table[0] % 16 : table[1];
            table += kind < 10 ? 1 : 2;
        } else if (kind < 15) {
            if (!numbers(&table, end, kind == 13 ? 1 : 4, number))
                return;
            line += number[0] & 1 ? -(int64_t)(number[0] >> 1) : (int64_t)(number[0] >> 1);
            last = line + (int64_t)number[1];
            here.column = sound((int64_t)number[2] - 1);
            here.end_column = sound((int64_t)number[3] - 1);
        }
        here.line = kind == 15 ? 0 : sound(line);
        here.end_line = kind == 15 ? 0 : sound(last);
        if (here.line < 0 || here.end_line < 0)
            here = nothing;
        for (; length > 0 && at < UNITS; length--)
            units[at++] = here;
    }
}

static void check_whole(int minor, const uint8_t *table, size_t size, int32_t first)
{
    for (int i = 0; i < UNITS; i++)
        units[i] = nothing;
    if (minor <= 10)
        write_out_pairs(minor, table, size, first);
    else
        write_out_locations(table, size, first);
    for (int32_t unit = 0; unit < UNITS; unit += unit < 64 ? 1 : 7)
        HOLDS(same(position_of(minor, table, size, first, unit), units[unit]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int minors[] = {8, 9, 10, 11, 13};
    int32_t first, unit;
    if (size < HEAD)
        return 0;
    memcpy(&first, data, 4);
    memcpy(&unit, data + 4, 4);
    data += HEAD;
    size -= HEAD;
    for (size_t i = 0; i < sizeof minors / sizeof *minors; i++) {
        int minor = minors[i];
        struct py_position whole = position_of(minor, data, size, first, unit);
        HOLDS(unit >= 0 || whole.line == (first >= 0 ? first : -1));
        for (size_t cut = 0; cut < size && cut < 64 && minor >= 10; cut++) {
            struct py_position found = position_of(minor, data, cut, first, unit);
            HOLDS(found.line == -1 || same(found, whole));
        }
        check_whole(minor, data, size, first);
    }
    return 0;
}
