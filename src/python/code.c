/* SPDX-License-Identifier: MIT */
/* code.c - code objects: their key, and their copy into the ring at first sight. The copy is made while the
 * frame holds the object alive; every read is guarded and every type checked all the same, because the chain
 * may be wrong in ways that its checks miss. Strings and table are bounded, so a record is at most 73 KB.
 * Async-signal-safe. */
#include "code.h"

#include <string.h>

enum {
    TEXT_MOST = 4096,       /* bytes kept of a name */
    LINES_MOST = 60 * 1024, /* bytes kept of a line table */
    TYPE_BYTES = 1 << 27,   /* Py_TPFLAGS_BYTES_SUBCLASS */
    TYPE_TEXT = 1 << 28,    /* Py_TPFLAGS_UNICODE_SUBCLASS */
    LENGTH_MOST = 1 << 30,
};

struct part {
    uint64_t from;  /* bytes in the interpreter */
    uint32_t bytes; /* to copy */
};

static uint64_t field(uint64_t object, int64_t offset)
{
    return load_word(object + (uint64_t)offset);
}

static uint64_t key_of_lines(const struct py_offsets *offsets, uint64_t lines, uint64_t hash,
                             struct guard *guard)
{
    uint64_t data = lines + (uint64_t)offsets->bytes_data;
    if ((lines & 7) != 0 || !guard_has(guard, lines, (uint32_t)offsets->bytes_data + KEY_SUM))
        return hash;
    uint64_t size = field(lines, offsets->bytes_length);
    hash = key_mix(hash, size);
    uint64_t sum = 0;
    if (size >= KEY_SUM) {
#pragma GCC unroll 8
        for (int i = 0; i < KEY_SUM; i += 8)
            sum = sum * KEY_FACTOR + load_word(data + (uint64_t)i);
        return key_mix(hash, sum);
    }
    uint64_t bytes = size;
    for (; bytes >= 8; bytes -= 8, data += 8)
        sum = sum * KEY_FACTOR + load_word(data);
    if (bytes > 0) /* the word's other bytes are not the table's */
        sum = sum * KEY_FACTOR + (load_word(data) & ((1ull << (8 * bytes)) - 1));
    return key_mix(hash, sum);
}

uint64_t code_key_by_content(const struct py_offsets *offsets, uint64_t code, struct guard *guard)
{
    uint64_t lines = field(code, offsets->code_lines);
    uint64_t line = (uint32_t)load_int(code + (uint64_t)offsets->code_first_line);
    uint64_t hash = key_mix(code ^ line << 40, field(code, offsets->code_name));
    hash = key_mix(hash, field(code, offsets->code_file) ^ (lines << 24 | lines >> 40));
    hash = key_of_lines(offsets, lines, hash, guard);
    return hash != 0 ? hash : 1;
}

/* 1 when the object's type has the flag: that is a str, or a bytes. */
static int is_of_type(const struct py_offsets *offsets, uint64_t object, uint64_t flag, struct guard *guard)
{
    if ((object & 7) != 0 || !guard_has(guard, object, (uint32_t)offsets->text_compact))
        return 0;
    uint64_t type = field(object, offsets->object_type);
    if ((type & 7) != 0 || !guard_has(guard, type, (uint32_t)offsets->type_flags + 8))
        return 0;
    return (field(type, offsets->type_flags) & flag) != 0;
}

/* A str in its compact form; others (subclasses with a separate buffer) are left unnamed. */
static int find_text(const struct py_offsets *offsets, uint64_t object, struct guard *guard,
                     struct code_text *text, struct part *part)
{
    if (!is_of_type(offsets, object, TYPE_TEXT, guard))
        return 0;
    uint64_t length = field(object, offsets->text_length);
    uint32_t state = (uint32_t)load_int(object + (uint64_t)offsets->text_state);
    uint32_t unit = (uint32_t)offsets->text_kind_bits;
    uint32_t kind = (state & unit) / (unit & (0u - unit));
    if (length > LENGTH_MOST || (kind != 1 && kind != 2 && kind != 4) ||
        (state & (uint32_t)offsets->text_compact_bit) == 0)
        return 0;
    int ascii = (state & (uint32_t)offsets->text_ascii_bit) != 0;
    uint32_t fit = TEXT_MOST / kind;
    text->length = length < fit ? (uint32_t)length : fit;
    text->kind = (uint8_t)kind;
    text->cut = length > fit;
    part->from = object + (uint64_t)(ascii ? offsets->text_ascii : offsets->text_compact);
    part->bytes = text->length * kind;
    return 1;
}

static int find_lines(const struct py_offsets *offsets, uint64_t object, struct guard *guard,
                      struct code *code, struct part *part)
{
    if (!is_of_type(offsets, object, TYPE_BYTES, guard))
        return 0;
    uint64_t size = field(object, offsets->bytes_length);
    if (size > LENGTH_MOST)
        return 0;
    code->lines_total = (uint32_t)size;
    code->lines_size = size < LINES_MOST ? (uint32_t)size : LINES_MOST;
    part->from = object + (uint64_t)offsets->bytes_data;
    part->bytes = code->lines_size;
    return 1;
}

/* The whole range, page by page. */
static int is_readable(const struct part *part, struct guard *guard)
{
    uint64_t end = part->from + part->bytes;
    for (uint64_t at = part->from; at < end; at = (at | (GUARD_PAGE - 1)) + 1)
        if (!guard_ok(guard, at, 1))
            return 0;
    return 1;
}

int py_code_copy(const struct py_runtime *py, const struct py_frame *frame, struct guard *guard,
                 struct ring *ring)
{
    const struct py_offsets *offsets = py->offsets;
    uint64_t address = frame->code;
    if ((address & 7) != 0 || !guard_has(guard, address, (uint32_t)offsets->code_size) ||
        field(address, offsets->object_type) != py->symbols.code_type)
        return -1;
    struct code head;
    struct part parts[4];
    memset(&head, 0, sizeof head);
    memset(parts, 0, sizeof parts);
    if (!find_text(offsets, field(address, offsets->code_file), guard, &head.file, &parts[0]) ||
        !find_text(offsets, field(address, offsets->code_name), guard, &head.name, &parts[1]) ||
        !find_lines(offsets, field(address, offsets->code_lines), guard, &head, &parts[3]))
        return -1;
    if (offsets->code_qualname >= 0 &&
        !find_text(offsets, field(address, offsets->code_qualname), guard, &head.qualname, &parts[2]))
        return -1;
    uint32_t size = (uint32_t)sizeof head;
    for (int i = 0; i < 4; i++) {
        if (!is_readable(&parts[i], guard))
            return -1;
        size += parts[i].bytes;
    }
    struct code *code = ring_reserve(ring, size);
    if (code == NULL)
        return 0;
    head.key = frame->key;
    head.address = address;
    head.first_line = load_int(address + (uint64_t)offsets->code_first_line);
    head.record.kind = RECORD_CODE;
    *code = head;
    unsigned char *to = code->data;
    for (int i = 0; i < 4; i++) {
        memcpy(to, (const void *)(uintptr_t)parts[i].from, parts[i].bytes);
        to += parts[i].bytes;
    }
    ring_commit(ring, &code->record, size);
    return 1;
}
