/* SPDX-License-Identifier: MIT */
/* lines.c - the line executed at a unit of a code object, from the three table formats of 3.8 to 3.13. Report
 * side; decodes untrusted bytes: every read is bounded, every number is range-checked. Pure. */
#include "python.h"

enum {
    CORRUPT = -1,
    NO_LINE = 0,
    UNIT = 2,           /* bytes of a code unit */
    OLD_NO_LINE = -128, /* 3.10: this range has no line */
    VARINT_SHIFT = 30,  /* the last chunk of a varint that fits 32 bits */
};

struct table {
    const unsigned char *at, *end;
};

static int sound_line(int64_t line)
{
    return line >= 0 && line <= INT32_MAX ? (int)line : CORRUPT;
}

/* 3.8, 3.9 (lnotab): pairs (address step, signed line step); a line holds from its address on. */
static int line_of_lnotab(struct table table, int64_t line, int64_t address)
{
    int64_t at = 0;
    for (; table.end - table.at >= 2; table.at += 2) {
        at += table.at[0];
        if (at > address)
            return sound_line(line);
        line += (signed char)table.at[1];
    }
    return table.at == table.end ? sound_line(line) : CORRUPT;
}

/* 3.10: pairs (length, signed line step); the step comes before its range. */
static int line_of_ranges(struct table table, int64_t line, int64_t address)
{
    int64_t end = 0;
    for (; table.end - table.at >= 2; table.at += 2) {
        int step = (signed char)table.at[1];
        end += table.at[0];
        if (step != OLD_NO_LINE)
            line += step;
        if (address < end)
            return step != OLD_NO_LINE ? sound_line(line) : NO_LINE;
    }
    return CORRUPT;
}

/* Six bits a byte, lowest first, bit 6 = more follows. Returns 0 at the end of the table or past 32 bits. */
static int read_varint(struct table *table, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift <= VARINT_SHIFT && table->at < table->end; shift += 6) {
        unsigned char byte = *table->at++;
        *value |= (uint64_t)(byte & 63) << shift;
        if ((byte & 64) == 0)
            return 1;
    }
    return 0;
}

/* The line step of an entry of 3.11's format, whose first byte held `form`; the columns are skipped. */
static int read_step(struct table *table, unsigned form, int64_t *step)
{
    uint64_t value = 0;
    int columns = form <= 9 ? 1 : form <= 12 ? 2 : 0;
    *step = form >= 10 && form <= 12 ? (int64_t)form - 10 : 0;
    if (form == 13 || form == 14) {
        if (!read_varint(table, &value))
            return 0;
        *step = (value & 1) != 0 ? -(int64_t)(value >> 1) : (int64_t)(value >> 1);
    }
    for (int i = 0; form == 14 && i < 3; i++)
        if (!read_varint(table, &value))
            return 0;
    if (table->end - table->at < columns)
        return 0;
    table->at += columns;
    return 1;
}

/* 3.11 to 3.13: entries of one to eight units with a line step and columns. */
static int line_of_locations(struct table table, int64_t line, int64_t unit)
{
    int64_t end = 0;
    while (table.at < table.end) {
        unsigned first = *table.at++, form = first >> 3 & 15;
        int64_t step;
        if ((first & 128) == 0 || !read_step(&table, form, &step))
            return CORRUPT;
        line += step;
        end += (first & 7) + 1;
        if (unit < end)
            return form == 15 ? NO_LINE : sound_line(line);
    }
    return CORRUPT;
}

int py_line(int minor, const unsigned char *table, uint32_t size, int32_t first_line, int32_t unit)
{
    struct table bytes = {table, table + size};
    if (unit < 0)
        return sound_line(first_line);
    if (minor <= 9)
        return line_of_lnotab(bytes, first_line, (int64_t)unit * UNIT);
    if (minor == 10)
        return line_of_ranges(bytes, first_line, (int64_t)unit * UNIT);
    return line_of_locations(bytes, first_line, unit);
}
