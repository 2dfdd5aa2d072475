/* SPDX-License-Identifier: MIT */
/* fuzz_cfi.c - libFuzzer: unwind tables. The first byte chooses one of three:
 *   - any bytes as `.eh_frame`: rows ascend strictly, every rule can be widened, a look-up finds what a
 * linear search finds;
 *   - any bytes as programs of a few well-formed entries: at every pc the compiled rule, and the one that
 *     sight.c finds in memory, give what the reference interpreter gives;
 *   - any bytes as a loaded object with `.eh_frame_hdr`: sight.c stays inside of it. */
#include "cfi_reference.h"
#include "holds.h"
#include "native/cfi.h"
#include "native/rule.h"
#include "native/sight.h"
#include <elf.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    PAGE = 4096,
    ENTRIES = 4,
    SPAN = 96,      /* from one entry's start to the next one's */
    CODE = 1 << 24, /* ELF address of the first entry's code */
    HEADER = PAGE,  /* of the object: ELF headers, then .eh_frame_hdr and .eh_frame */
    IMAGE = 4 * PAGE
};

static void *allocated;

static void *take(void *context, size_t size)
{
    (void)context;
    return allocated = calloc(1, size > 0 ? size : 1);
}

/* ---- any bytes as a section ---- */

static void check_table(const struct cfi_table *table)
{
    for (uint32_t i = 0; i < table->count; i++) {
        uint64_t pc = table->base + table->rows[i].pc;
        HOLDS(i == 0 || table->rows[i].pc > table->rows[i - 1].pc);
        HOLDS(cfi_find(table, pc) == table->rows[i].rule);
        HOLDS(i + 1 == table->count ||
              cfi_find(table, table->base + table->rows[i + 1].pc - 1) == table->rows[i].rule);
        HOLDS(table->rows[i].rule == 0 || rule_widen(table, table->rows[i].rule) != 0);
    }
    HOLDS(cfi_find(table, table->base - 1) == 0);
}

static void any_section(const uint8_t *data, size_t size)
{
    struct cfi_table table;
    uint64_t address = size > 0 ? (uint64_t)data[0] << 12 : 0;
    allocated = NULL;
    if (cfi_compile(data, size, address, take, NULL, &table) == 0)
        check_table(&table);
    free(allocated);
}

/* ---- any programs ---- */

static unsigned char *image; /* what a loader would have mapped */
static struct sight_object object;

static int find_image(void *address, struct sight_object *found)
{
    (void)address;
    *found = object;
    return 0;
}

static void put(size_t *at, uint64_t value, size_t size)
{
    memcpy(image + *at, &value, size);
    *at += size;
}

static void pad_entry(size_t start, size_t *at)
{
    while ((*at - start) % 4 != 0)
        image[(*at)++] = 0;
    uint32_t length = (uint32_t)(*at - start - 4);
    memcpy(image + start, &length, sizeof length);
}

/* The segment of an object at `image`: everything, so that reads past its end are past the allocation. */
static void put_headers(size_t end)
{
    Elf64_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB},
                         .e_phoff = sizeof header,
                         .e_phentsize = sizeof(Elf64_Phdr),
                         .e_phnum = 1};
    Elf64_Phdr part = {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_filesz = end, .p_memsz = end};
    memcpy(image, &header, sizeof header);
    memcpy(image + sizeof header, &part, sizeof part);
    object = (struct sight_object){.start = image, .end = image + end, .header = image + HEADER};
}

static struct reference_entry entries[ENTRIES];
static size_t fde_at[ENTRIES];

/* The CIE: what follows the return address's rule is the input's. */
static size_t put_cie(size_t at, const uint8_t *data, size_t size, int signal, int given)
{
    size_t start = at, program;
    put(&at, 0, 8);
    put(&at, 1, 1);
    memcpy(image + at, signal ? "zRS" : "zR", signal ? 4 : 3);
    at += signal ? 4 : 3;
    put(&at, (uint64_t)entries[0].code_factor & 127, 1);
    put(&at, (uint64_t)entries[0].data_factor & 127, 1);
    put(&at, RULE_REG_RETURN, 1);
    put(&at, 1, 1);
    put(&at, 0x1b, 1);
    program = at;
    if (!given) { /* or the input says it all */
        static const unsigned char usual[] = {0x0c, 7, 8, 0x90, 1};
        memcpy(image + at, usual, sizeof usual);
        at += sizeof usual;
    }
    memcpy(image + at, data, size);
    at += size;
    pad_entry(start, &at);
    for (unsigned i = 0; i < ENTRIES; i++) {
        entries[i].cie = image + program;
        entries[i].cie_size = at - program;
    }
    return at;
}

static size_t put_fde(size_t at, size_t cie, struct reference_entry *entry, const uint8_t *data, size_t size)
{
    size_t start = at;
    put(&at, 0, 4);
    put(&at, at - cie, 4);
    put(&at, entry->start - (uint64_t)(uintptr_t)(image + at), 4);
    put(&at, entry->end - entry->start, 4);
    put(&at, 0, 1);
    memcpy(image + at, data, size);
    entry->program = image + at;
    at += size;
    pad_entry(start, &at);
    entry->program_size = (size_t)(image + at - entry->program);
    return at;
}

/* On the made-up machine, the rule and the row lead to the same CFA and the same places. */
static void check_place(const struct reference_place *place, unsigned compiled, uint64_t cfa, uint64_t pc)
{
    uint64_t address = 0;
    int known = reference_address(place, cfa, pc, &address);
    int simple = place->how == HOW_AT_CFA && place->offset < 0 && place->offset % 8 == 0 &&
                 place->offset > -8 * RULE_BY_FP;
    if (compiled == RULE_LOST)
        HOLDS(!simple && place->how != HOW_UNSPECIFIED && place->how != HOW_SAME);
    else if (compiled == RULE_SAME)
        HOLDS(place->how == HOW_UNSPECIFIED || place->how == HOW_SAME);
    else if (compiled < RULE_BY_FP)
        HOLDS(known && address == cfa - 8 * (uint64_t)compiled);
    else
        HOLDS(known && address == reference_register(RULE_REG_FP, pc) +
                                      8 * (uint64_t)((int64_t)compiled - RULE_FP_ZERO));
}

static uint64_t rule_cfa(uint64_t rule, uint64_t pc)
{
    uint64_t base = reference_register(rule_register(rule), pc);
    if (rule_kind(rule) == RULE_REGISTER)
        return base + (uint64_t)rule_offset(rule);
    if (rule_kind(rule) == RULE_DEREF)
        return reference_memory(base + (uint64_t)rule_deref_offset(rule)) + 8 * rule_deref_words(rule);
    HOLDS(rule_kind(rule) == RULE_PLT);
    return base + 8 + ((pc & 15) >= (uint64_t)rule_offset(rule) ? 8 : 0);
}

static void check_rule(const struct reference_entry *entry, uint64_t pc, uint64_t rule, int signal)
{
    static struct reference_row row;
    uint64_t cfa = 0;
    if (!reference_row_at(entry, pc, &row)) {
        HOLDS(rule == 0);
        return;
    }
    const struct reference_place *ret = &row.place[RULE_REG_RETURN];
    int returns = ret->how == HOW_AT_CFA && ret->offset == -8;
    if (signal || ret->how == HOW_UNDEFINED) {
        HOLDS(rule_kind(rule) == (signal ? RULE_SIGNAL : RULE_END));
        return;
    }
    if (rule == 0) { /* never where it is simple */
        HOLDS(!returns || row.kind != CFA_REGISTER || row.reg >= RULE_REGISTERS || row.offset < -0x800000 ||
              row.offset > 0x7fffff);
        return;
    }
    HOLDS(returns && reference_cfa(&row, pc, &cfa));
    HOLDS(rule_cfa(rule, pc) == cfa);
    check_place(&row.place[RULE_REG_FP], rule_fp(rule), cfa, pc);
    check_place(&row.place[RULE_REG_EXTRA], rule_extra(rule), cfa, pc);
}

/* .eh_frame_hdr for the entries, at the start of its page. */
static void put_index(size_t eh_frame)
{
    size_t at = HEADER;
    put(&at, 0x3b031b01, 4);
    put(&at, (uint64_t)(eh_frame - at), 4);
    put(&at, ENTRIES, 4);
    for (unsigned i = 0; i < ENTRIES; i++) {
        put(&at, entries[i].start - (uint64_t)(uintptr_t)(image + HEADER), 4);
        put(&at, fde_at[i] - HEADER, 4);
    }
}

static void check_entries(size_t eh_frame, size_t size, int signal)
{
    struct cfi_table table;
    allocated = NULL;
    int code =
        cfi_compile(image + eh_frame, size, (uint64_t)(uintptr_t)(image + eh_frame), take, NULL, &table);
    HOLDS(code == 0);
    check_table(&table);
    for (unsigned i = 0; i < ENTRIES; i++) {
        for (uint64_t pc = entries[i].start; pc < entries[i].end; pc++) {
            uint64_t rule = rule_widen(&table, cfi_find(&table, pc)), seen = 1;
            check_rule(&entries[i], pc, rule, signal);
            HOLDS(sight_rule(find_image, pc, &seen) == 1 && seen == rule);
        }
        HOLDS(rule_widen(&table, cfi_find(&table, entries[i].end)) == 0);
    }
    free(allocated);
}

static void any_programs(const uint8_t *data, size_t size)
{
    if (size < 4 || size > PAGE)
        return;
    int signal = data[0] & 1, given = data[0] & 2;
    static const int64_t factors[] = {-8, -4, 1, 8, -1, 0, 63, -64};
    for (unsigned i = 0; i < ENTRIES; i++)
        entries[i] = (struct reference_entry){
            .code_factor = data[0] >> 5 == 0 ? 1 : data[0] >> 5,
            .data_factor = factors[data[0] >> 2 & 7],
            .start = (uint64_t)(uintptr_t)image + CODE + i * SPAN,
            .end = (uint64_t)(uintptr_t)image + CODE + i * SPAN + 1 + data[1] % (SPAN - 32),
        };
    size_t common = data[2] < size - 4 ? data[2] : size - 4, each = (size - 4 - common) / ENTRIES;
    size_t at = HEADER + 64, eh_frame = at;
    data += 4;
    at = put_cie(at, data, common, signal, given);
    for (unsigned i = 0; i < ENTRIES; i++) {
        fde_at[i] = at;
        at = put_fde(at, eh_frame, &entries[i], data + common + i * each, each);
    }
    put(&at, 0, 4);
    put_headers(at);
    put_index(eh_frame);
    check_entries(eh_frame, at - eh_frame, signal);
}

/* ---- any object ---- */

static void any_object(const uint8_t *data, size_t size)
{
    if (size > IMAGE - HEADER)
        return;
    unsigned char *exact = aligned_alloc(PAGE, HEADER + (size + PAGE - 1) / PAGE * PAGE);
    unsigned char *usual = image;
    HOLDS(exact != NULL);
    size_t slack = (PAGE - size % PAGE) % PAGE; /* the object's end is the allocation's */
    image = exact;
    memset(image, 0, HEADER + slack);
    memcpy(image + HEADER + slack, data, size);
    put_headers(HEADER + slack + size);
    object.header = image + HEADER + slack;
    for (uint64_t pc = 0; pc < 64; pc++) {
        uint64_t rule;
        sight_rule(find_image, (uint64_t)(uintptr_t)image + pc * 97, &rule);
    }
    free(exact);
    image = usual;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (image == NULL)
        image = aligned_alloc(PAGE, IMAGE);
    if (image == NULL || size == 0)
        return 0;
    if (data[0] % 4 == 0)
        any_section(data + 1, size - 1);
    else if (data[0] % 4 == 1)
        any_object(data + 1, size - 1);
    else
        any_programs(data + 1, size - 1);
    return 0;
}
