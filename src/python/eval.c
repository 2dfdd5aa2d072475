/* SPDX-License-Identifier: MIT */
/* eval.c - the address ranges of the eval function. Compilers split it: its symbol may cover a few hundred
 * bytes while the body lies elsewhere under no name. The library's own unwind table bounds both parts, and
 * the direct jumps of the first part lead to the second. Limits: one far part, x86 jumps, the usual encodings
 * of .eh_frame_hdr; else the symbol's size alone counts. Outside the handler. */
#include "eval.h"

#include <link.h>
#include <stddef.h>
#include <string.h>

enum {
    HEADER_TABLE = 12,    /* where the sorted table starts: after version, encodings, two numbers */
    ENTRY = 8,            /* function start, description */
    PER_VOTE = 16 * 1024, /* bytes of code in which one jump may look like one by chance */
    TARGETS_MOST = 64,    /* different functions that jumps may lead to */
};

struct tables {
    uint64_t function; /* an address in the library looked for */
    uint64_t header;   /* its .eh_frame_hdr, 0 = not found */
    uint64_t header_size;
    uint64_t text_low, text_high;
};

struct range {
    uint64_t low, high;
};

static int find_tables(struct dl_phdr_info *info, size_t size, void *context)
{
    struct tables *tables = context;
    uint64_t header = 0, header_size = 0;
    int found = 0;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uint64_t low = info->dlpi_addr + segment->p_vaddr, high = low + segment->p_memsz;
        if (segment->p_type == PT_GNU_EH_FRAME) {
            header = low;
            header_size = segment->p_memsz;
        }
        if (segment->p_type == PT_LOAD && tables->function >= low && tables->function < high) {
            found = 1;
            tables->text_low = low;
            tables->text_high = high;
        }
    }
    if (found) {
        tables->header = header;
        tables->header_size = header_size;
    }
    return found;
}

static int32_t signed_at(uint64_t address)
{
    int32_t value;
    memcpy(&value, (const void *)(uintptr_t)address, sizeof value);
    return value;
}

static uint64_t relative(uint64_t base, uint64_t address)
{
    return base + (uint64_t)(int64_t)signed_at(address);
}

/* Entries of the sorted table, 0 when it is not encoded as linkers do it. */
static uint32_t count_entries(const struct tables *tables)
{
    static const unsigned char usual[4] = {1, 0x1b, 0x03, 0x3b};
    if (tables->header == 0 || tables->header_size < HEADER_TABLE ||
        memcmp((const void *)(uintptr_t)tables->header, usual, sizeof usual) != 0)
        return 0;
    uint64_t count = (uint32_t)signed_at(tables->header + 8);
    return count * ENTRY + HEADER_TABLE <= tables->header_size ? (uint32_t)count : 0;
}

static uint64_t start_of(const struct tables *tables, uint32_t entry)
{
    return relative(tables->header, tables->header + HEADER_TABLE + (uint64_t)entry * ENTRY);
}

/* The described range around `address`; 1 when there is one. */
static int find_range(const struct tables *tables, uint32_t count, uint64_t address, struct range *range)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (start_of(tables, middle) <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return 0;
    uint64_t start = start_of(tables, low - 1);
    uint64_t description = relative(tables->header, tables->header + HEADER_TABLE + (low - 1ull) * ENTRY + 4);
    if (relative(description + 8, description + 8) != start) /* length, CIE, start, size */
        return 0;
    range->low = start;
    range->high = start + (uint32_t)signed_at(description + 12);
    return address < range->high;
}

struct votes {
    struct range range[TARGETS_MOST];
    uint32_t votes[TARGETS_MOST];
    uint32_t count;
};

static void vote(struct votes *votes, const struct range *range)
{
    uint32_t i = 0;
    while (i < votes->count && votes->range[i].low != range->low)
        i++;
    if (i == TARGETS_MOST)
        return;
    votes->range[i] = *range;
    votes->votes[i]++;
    votes->count += i == votes->count;
}

/* The function part that jumps of `near` lead into the middle of; jumps to a start are tail calls. */
static int find_far_part(const struct tables *tables, uint32_t count, const struct range *near,
                         struct range *far)
{
    struct votes votes;
    memset(&votes, 0, sizeof votes);
    const unsigned char *code = (const unsigned char *)(uintptr_t)near->low;
    uint64_t size = near->high - near->low;
    for (uint64_t i = 0; i + 6 <= size; i++) {
        int is_jump = code[i] == 0xe9;
        int is_branch = code[i] == 0x0f && (code[i + 1] & 0xf0) == 0x80;
        if (!is_jump && !is_branch)
            continue;
        uint64_t operand = near->low + i + (is_branch ? 2 : 1);
        uint64_t target = relative(operand + 4, operand);
        struct range range;
        if (target >= tables->text_low && target < tables->text_high &&
            (target < near->low || target >= near->high) && find_range(tables, count, target, &range) &&
            target > range.low)
            vote(&votes, &range);
    }
    uint32_t best = 0;
    for (uint32_t i = 1; i < votes.count; i++)
        if (votes.votes[i] > votes.votes[best])
            best = i;
    if (votes.count == 0 || votes.votes[best] < size / PER_VOTE + 1)
        return 0;
    *far = votes.range[best];
    return 1;
}

static void add_range(struct py_runtime *py, uint64_t low, uint64_t high)
{
    py->eval_low[py->eval_ranges] = low;
    py->eval_high[py->eval_ranges++] = high;
}

void py_eval_ranges(struct py_runtime *py)
{
    struct tables tables = {.function = py->symbols.eval};
    struct range near = {py->symbols.eval, py->symbols.eval + py->symbols.eval_size}, far;
    py->eval_ranges = 0;
    if (py->symbols.eval == 0)
        return;
    dl_iterate_phdr(find_tables, &tables);
    uint32_t count = count_entries(&tables);
    struct range described;
    if (count > 0 && find_range(&tables, count, near.low, &described) && described.low == near.low)
        near = described;
    if (near.high == near.low)
        return;
    add_range(py, near.low, near.high);
    if (count > 0 && find_far_part(&tables, count, &near, &far))
        add_range(py, far.low, far.high);
}
