/* SPDX-License-Identifier: MIT */
/* cfi.c - `.eh_frame` to rows: find the FDEs, sort them, run their programs, keep what differs.
 *
 * Scratch memory is mapped and given back; the table itself comes from the caller's allocator. Runs in the
 * helper; cfi_find also in the handler. Sections above 1 GB and code above 4 GB are not supported: rows
 * hold 32-bit offsets. */
#include "cfi.h"
#include "../os/os.h"
#include "cfi_program.h"
#include "rule.h"
#include <errno.h>

enum {
    ENTRY_MIN = 10, /* bytes a usable FDE takes at least */
    EXTRA_MAX = 1 << 15,
    EXTRA_SLOTS = 1 << 16,
};

/* One FDE before sorting. */
struct index_entry {
    uint64_t start;
    size_t offset;
};

struct compiler {
    const unsigned char *bytes;
    size_t size;
    uint64_t address;
    struct index_entry *index;
    size_t index_count;
    struct cfi_row *rows;
    size_t row_count, row_capacity;
    uint64_t *extra;
    uint32_t extra_count, *extra_slots;
    uint64_t base, limit; /* pcs of the FDE being run stay below limit */
    size_t cie_offset;    /* of the CIE in `cie`; SIZE_MAX = none */
    int cie_usable;
    struct cfi_cie cie;
};

static int entry_at(const struct compiler *compiler, size_t offset, struct cfi_entry *entry)
{
    struct cfi_reader reader =
        cfi_reader(compiler->bytes + offset, compiler->size - offset, compiler->address + offset);
    return cfi_next_entry(&reader, compiler->bytes, entry);
}

/* The FDE of an entry with its CIE, which stays in compiler->cie. */
static int fde_of(struct compiler *compiler, const struct cfi_entry *entry, struct cfi_fde *fde)
{
    struct cfi_entry cie;
    if (entry->cie == SIZE_MAX)
        return 0;
    if (compiler->cie_offset != entry->cie) {
        compiler->cie_offset = entry->cie;
        compiler->cie_usable = entry_at(compiler, entry->cie, &cie) && cfi_parse_cie(&cie, &compiler->cie);
    }
    return compiler->cie_usable && cfi_parse_fde(entry, &compiler->cie, fde);
}

static void index_entries(struct compiler *compiler)
{
    struct cfi_reader section = cfi_reader(compiler->bytes, compiler->size, compiler->address);
    struct cfi_entry entry;
    struct cfi_fde fde;
    while (cfi_next_entry(&section, compiler->bytes, &entry)) {
        if (!fde_of(compiler, &entry, &fde))
            continue;
        compiler->index[compiler->index_count++] = (struct index_entry){fde.start, entry.offset};
    }
}

static int is_before(const struct index_entry *left, const struct index_entry *right)
{
    return left->start != right->start ? left->start < right->start : left->offset < right->offset;
}

static void sift(struct index_entry *index, size_t root, size_t count)
{
    struct index_entry moving = index[root];
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && is_before(&index[child], &index[child + 1]))
            child++;
        if (!is_before(&moving, &index[child]))
            break;
        index[root] = index[child];
    }
    index[root] = moving;
}

/* Heap sort: in place, no recursion, no bad case. */
static void sort_index(struct index_entry *index, size_t count)
{
    size_t sorted = 1;
    while (sorted < count && !is_before(&index[sorted], &index[sorted - 1]))
        sorted++;
    if (sorted >= count)
        return;
    for (size_t root = count / 2; root-- > 0;)
        sift(index, root, count);
    while (count-- > 1) {
        struct index_entry last = index[count];
        index[count] = index[0];
        index[0] = last;
        sift(index, 0, count);
    }
}

/* The row form of a rule; equal wide rules share a place. 0 where there is no room for another. */
static uint32_t row_of(struct compiler *compiler, uint64_t rule)
{
    uint32_t packed = rule == 0 ? 0 : rule_pack(rule), slot, place;
    if (packed != 0 || rule == 0)
        return packed;
    slot = (uint32_t)((rule * 0x9e3779b97f4a7c15u) >> 48) & (EXTRA_SLOTS - 1);
    while ((place = compiler->extra_slots[slot]) != 0 && compiler->extra[place - 1] != rule)
        slot = (slot + 1) & (EXTRA_SLOTS - 1);
    if (place == 0) {
        if (compiler->extra_count == EXTRA_MAX)
            return 0;
        compiler->extra[compiler->extra_count] = rule;
        place = compiler->extra_slots[slot] = ++compiler->extra_count;
    }
    return place * 2;
}

static void add_row(void *context, uint64_t pc, uint64_t rule)
{
    struct compiler *compiler = context;
    size_t count = compiler->row_count;
    struct cfi_row row;
    if (pc >= compiler->limit || pc - compiler->base > UINT32_MAX)
        return;
    row = (struct cfi_row){(uint32_t)(pc - compiler->base), row_of(compiler, rule)};
    if (count > 0 && compiler->rows[count - 1].pc >= row.pc) /* the same pc again: the later word counts */
        compiler->rows[count - 1].rule = row.rule;
    else if ((count == 0 || compiler->rows[count - 1].rule != row.rule) && count < compiler->row_capacity)
        compiler->rows[compiler->row_count++] = row;
}

/* Runs all FDEs in order of address. Where they overlap, the next one's start ends the one before. */
static void make_rows(struct compiler *compiler)
{
    struct cfi_entry entry;
    struct cfi_fde fde;
    for (size_t i = 0; i < compiler->index_count; i++) {
        int last = i + 1 == compiler->index_count;
        uint64_t next = last ? UINT64_MAX : compiler->index[i + 1].start;
        if (!entry_at(compiler, compiler->index[i].offset, &entry) || !fde_of(compiler, &entry, &fde) ||
            next == fde.start)
            continue;
        compiler->limit = next;
        cfi_run(&compiler->cie, &fde, add_row, compiler);
        if (last || (next > fde.end && next - fde.end >= CFI_PADDING_MAX))
            add_row(compiler, fde.end, 0);
    }
}

static int copy_table(const struct compiler *compiler, cfi_alloc *alloc, void *context,
                      struct cfi_table *table)
{
    size_t rows_size = compiler->row_count * sizeof *compiler->rows;
    size_t extra_size = compiler->extra_count * sizeof *compiler->extra;
    unsigned char *memory = alloc(context, rows_size + extra_size);
    if (memory == NULL)
        return -ENOMEM;
    memcpy(memory, compiler->rows, rows_size);
    memcpy(memory + rows_size, compiler->extra, extra_size);
    *table = (struct cfi_table){.base = compiler->base,
                                .count = (uint32_t)compiler->row_count,
                                .extra_count = compiler->extra_count,
                                .rows = (const struct cfi_row *)(const void *)memory,
                                .extra = (const uint64_t *)(const void *)(memory + rows_size)};
    return 0;
}

int cfi_compile(const unsigned char *eh_frame, size_t size, uint64_t address, cfi_alloc *alloc, void *context,
                struct cfi_table *table)
{
    struct compiler compiler = {.bytes = eh_frame, .size = size, .address = address, .cie_offset = SIZE_MAX};
    size_t entries = size / ENTRY_MIN + 1, index_size = entries * sizeof *compiler.index, rows_size,
           scratch_size;
    unsigned char *scratch;
    int result = -EINVAL;
    if (size > 1u << 30)
        return -EINVAL;
    /* a row costs at least an advance and a change, or is one of two that an FDE brings without */
    compiler.row_capacity = size / 2 + 2 * entries;
    rows_size = compiler.row_capacity * sizeof *compiler.rows;
    scratch_size = index_size + rows_size + EXTRA_MAX * sizeof *compiler.extra +
                   EXTRA_SLOTS * sizeof *compiler.extra_slots;
    scratch = os_map(scratch_size);
    if (scratch == NULL)
        return -ENOMEM;
    compiler.index = (struct index_entry *)(void *)scratch;
    compiler.rows = (struct cfi_row *)(void *)(scratch + index_size);
    compiler.extra = (uint64_t *)(void *)(scratch + index_size + rows_size);
    compiler.extra_slots = (uint32_t *)(void *)(compiler.extra + EXTRA_MAX);
    index_entries(&compiler);
    sort_index(compiler.index, compiler.index_count);
    if (compiler.index_count > 0) {
        compiler.base = compiler.index[0].start;
        make_rows(&compiler);
    }
    if (compiler.row_count > 0)
        result = copy_table(&compiler, alloc, context, table);
    os_unmap(scratch, scratch_size);
    return result;
}

uint32_t cfi_find(const struct cfi_table *table, uint64_t pc)
{
    const struct cfi_row *row = table->rows;
    uint64_t offset = pc - table->base;
    uint32_t count = table->count;
    if (count == 0 || pc < table->base || offset > UINT32_MAX)
        return 0;
    while (count > 1) {
        uint32_t half = count / 2;
        row += row[half].pc <= offset ? half : 0;
        count -= half;
    }
    return row->rule;
}
