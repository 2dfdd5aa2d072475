/* SPDX-License-Identifier: MIT */
/* lines.c - what a code object's table says of one unit: the line and, from 3.11 on, the columns. Report
 * side; decodes untrusted bytes: every read is bounded, every number is range-checked. Pure. */
#include "python.h"

enum {
    CORRUPT = -1,
    NO_LINE = 0,
    NO_COLUMN = -1,
    UNIT = 2,           /* bytes of a code unit */
    OLD_NO_LINE = -128, /* 3.10: this range has no line */
    VARINT_SHIFT = 30,  /* the last chunk of a varint that fits 32 bits */
    FORM_ONE_LINE = 10, /* 3.11: the forms below are short, those from here on give line steps 0, 1, 2 */
    FORM_NO_COLUMNS = 13,
    FORM_LONG = 14,
    FORM_NOTHING = 15,
};

struct table {
    const unsigned char *at, *end;
};

/* An entry of 3.11's format: the step from the line before, the lines that it spans, the columns. */
struct entry {
    int64_t step, span, column, end_column;
};

static int sound_line(int64_t line)
{
    return line >= 0 && line <= INT32_MAX ? (int)line : CORRUPT;
}

static int sound_column(int64_t column)
{
    return column >= 0 && column <= INT32_MAX ? (int)column : NO_COLUMN;
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

/* One byte, as a varint would be read. */
static int read_byte(struct table *table, uint64_t *value)
{
    if (table->at == table->end)
        return 0;
    *value = *table->at++;
    return 1;
}

/* An entry whose first byte held `form`, but for FORM_NOTHING's. Returns 0 when the table is cut. */
static int read_entry(struct table *table, unsigned form, struct entry *entry)
{
    uint64_t step, span, column, end;
    *entry = (struct entry){.column = NO_COLUMN, .end_column = NO_COLUMN};
    if (form < FORM_ONE_LINE) {
        if (!read_byte(table, &column))
            return 0;
        entry->column = (int64_t)(form << 3 | column >> 4);
        entry->end_column = entry->column + (int64_t)(column & 15);
        return 1;
    }
    if (form < FORM_NO_COLUMNS) {
        if (!read_byte(table, &column) || !read_byte(table, &end))
            return 0;
        *entry = (struct entry){form - FORM_ONE_LINE, 0, (int64_t)column, (int64_t)end};
        return 1;
    }
    if (!read_varint(table, &step))
        return 0;
    entry->step = (step & 1) != 0 ? -(int64_t)(step >> 1) : (int64_t)(step >> 1);
    if (form == FORM_NO_COLUMNS)
        return 1;
    if (!read_varint(table, &span) || !read_varint(table, &column) || !read_varint(table, &end))
        return 0;
    entry->span = (int64_t)span;
    entry->column = (int64_t)column - 1;
    entry->end_column = (int64_t)end - 1;
    return 1;
}

/* From 3.11 on: entries of one to eight units. */
static int position_of_locations(struct table table, int64_t line, int64_t unit, struct py_position *position)
{
    int64_t end = 0;
    while (table.at < table.end) {
        unsigned first = *table.at++, form = first >> 3 & 15;
        struct entry entry = {.column = NO_COLUMN, .end_column = NO_COLUMN};
        if ((first & 128) == 0 || (form != FORM_NOTHING && !read_entry(&table, form, &entry)))
            return CORRUPT;
        line += entry.step;
        end += (first & 7) + 1;
        if (unit >= end)
            continue;
        position->line = form == FORM_NOTHING ? NO_LINE : sound_line(line);
        position->end_line = form == FORM_NOTHING ? NO_LINE : sound_line(line + entry.span);
        if (position->line == CORRUPT || position->end_line == CORRUPT)
            return CORRUPT;
        position->column = sound_column(entry.column);
        position->end_column = sound_column(entry.end_column);
        return position->line;
    }
    return CORRUPT;
}

int py_position(int minor, const unsigned char *table, uint32_t size, int32_t first_line, int32_t unit,
                struct py_position *position)
{
    struct table bytes = {table, size > 0 ? table + size : table};
    struct py_position found = {.column = NO_COLUMN, .end_column = NO_COLUMN};
    int line;
    if (unit < 0)
        line = sound_line(first_line);
    else if (minor <= 9)
        line = line_of_lnotab(bytes, first_line, (int64_t)unit * UNIT);
    else if (minor == 10)
        line = line_of_ranges(bytes, first_line, (int64_t)unit * UNIT);
    else
        line = position_of_locations(bytes, first_line, unit, &found);
    if (unit < 0 || minor <= 10)
        found.line = found.end_line = line;
    *position = line == CORRUPT ? (struct py_position){CORRUPT, CORRUPT, NO_COLUMN, NO_COLUMN} : found;
    return line;
}

int py_line(int minor, const unsigned char *table, uint32_t size, int32_t first_line, int32_t unit)
{
    struct py_position position;
    return py_position(minor, table, size, first_line, unit, &position);
}
