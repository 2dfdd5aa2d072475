/* SPDX-License-Identifier: MIT */
/* sight.c - one entry of `.eh_frame`, found through `.eh_frame_hdr` in memory and run up to the pc.
 *
 * Reads only inside of the loaded segment that holds the header, as the program headers tell it; the entries
 * lie in the same one. A library whose header has no search table, or another encoding than all linkers
 * write, has no rule here. */
#include "sight.h"
#include "cfi_program.h"
#include <dlfcn.h>
#include <elf.h>

enum {
    PAGE = 4096, /* headers are looked for in the first one */
    VERSION = 1,
    UDATA4 = 0x03,
    DATAREL_SDATA4 = 0x3b,
    PROGRAM_MAX = 1 << 16, /* an entry's program runs in the handler */
};

/* An entry of the search table: both relative to the header. */
struct pair {
    int32_t start, entry;
};

/* Where the entry of a pc lies. */
struct place {
    struct cfi_reader segment; /* the loaded segment with all unwind data */
    size_t offset;             /* of the entry in it */
    uint64_t next;             /* first pc of the entry after it; 0 = it is the last one */
};

sight_find *sight_finder(void)
{
    sight_find *find;
    *(void **)&find = dlsym(RTLD_DEFAULT, "_dl_find_object");
    return find;
}

/* The file-backed bytes of the segment around the object's unwind header, as far as they are mapped. */
static int find_segment(const struct sight_object *object, struct cfi_reader *segment)
{
    const Elf64_Ehdr *elf = object->start;
    const Elf64_Phdr *part;
    uint64_t start = (uint64_t)object->start, size = (uint64_t)object->end - start;
    uint64_t header = (uint64_t)object->header, bias = 0;
    unsigned loads = 0;
    if (size < PAGE || start % PAGE != 0 || memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0 ||
        elf->e_ident[EI_CLASS] != ELFCLASS64 || elf->e_phentsize != sizeof *part || elf->e_phoff % 8 != 0 ||
        elf->e_phoff > PAGE || elf->e_phnum > (PAGE - elf->e_phoff) / sizeof *part)
        return 0;
    part = (const Elf64_Phdr *)(start + elf->e_phoff);
    for (unsigned i = 0; i < elf->e_phnum; i++, part++) {
        uint64_t low;
        if (part->p_type != PT_LOAD)
            continue;
        if (loads++ == 0)
            bias = start - part->p_vaddr / PAGE * PAGE;
        low = bias + part->p_vaddr;
        if (header < low || header - low >= part->p_filesz || !(part->p_flags & PF_R))
            continue;
        *segment = cfi_reader((const unsigned char *)low, part->p_filesz, low);
        return low >= start && part->p_filesz <= size && low - start <= size - part->p_filesz;
    }
    return 0;
}

static struct pair pair_at(const unsigned char *table, uint32_t i)
{
    struct pair pair;
    memcpy(&pair, table + i * sizeof pair, sizeof pair);
    return pair;
}

/* The last entry of the search table that does not start above pc. 0 where there is no such table. */
static int search(uint64_t header, uint64_t pc, struct place *place)
{
    struct cfi_reader reader = place->segment;
    unsigned encoding, of_count, of_table;
    uint32_t low = 0, high, count;
    uint64_t entry;
    cfi_skip(&reader, header - reader.address);
    if (cfi_fixed(&reader, 1) != VERSION)
        return 0;
    encoding = (unsigned)cfi_fixed(&reader, 1);
    of_count = (unsigned)cfi_fixed(&reader, 1);
    of_table = (unsigned)cfi_fixed(&reader, 1);
    cfi_pointer(&reader, encoding, NULL);
    count = high = (uint32_t)cfi_fixed(&reader, 4);
    if (reader.failed || count == 0 || of_count != UDATA4 || of_table != DATAREL_SDATA4 ||
        count > cfi_left(&reader) / sizeof(struct pair))
        return 0;
    while (low < high) { /* the first entry that starts above pc */
        uint32_t middle = low + (high - low) / 2;
        if (header + (uint64_t)(int64_t)pair_at(reader.at, middle).start <= pc)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0) /* before all of them: the first one will not cover it */
        low = 1;
    place->next = low < count ? header + (uint64_t)(int64_t)pair_at(reader.at, low).start : 0;
    entry = header + (uint64_t)(int64_t)pair_at(reader.at, low - 1).entry;
    place->offset = (size_t)(entry - place->segment.address);
    return entry >= place->segment.address && place->offset < cfi_left(&place->segment);
}

static __attribute__((noinline)) int find_place(sight_find *find, uint64_t pc, struct place *place)
{
    struct sight_object object;
    return find((void *)pc, &object) == 0 && object.header != NULL &&
           find_segment(&object, &place->segment) && search((uint64_t)object.header, pc, place);
}

static int entry_at(const struct cfi_reader *segment, size_t offset, struct cfi_entry *entry)
{
    struct cfi_reader reader = *segment;
    cfi_skip(&reader, offset);
    return cfi_next_entry(&reader, segment->at, entry);
}

/* What covers pc, ended behind pc: its last rule is the one. Returns what sight_rule returns; without a
 * description, *fde is empty. */
static __attribute__((noinline)) int describe(sight_find *find, uint64_t pc, struct cfi_cie *cie,
                                              struct cfi_fde *fde)
{
    struct place place;
    struct cfi_entry entry, common;
    fde->start = fde->end = 0;
    if (!find_place(find, pc, &place))
        return 0;
    if (!entry_at(&place.segment, place.offset, &entry) || entry.cie == SIZE_MAX ||
        !entry_at(&place.segment, entry.cie, &common) || !cfi_parse_cie(&common, cie) ||
        !cfi_parse_fde(&entry, cie, fde) || pc < fde->start || cfi_left(&fde->program) > PROGRAM_MAX ||
        (pc >= fde->end && (place.next == 0 || place.next - fde->end >= CFI_PADDING_MAX)))
        fde->end = fde->start;
    else if (pc < fde->end)
        fde->end = pc + 1;
    return 1;
}

static void keep(void *context, uint64_t pc, uint64_t rule)
{
    uint64_t *last = context;
    (void)pc;
    *last = rule;
}

int sight_rule(sight_find *find, uint64_t pc, uint64_t *rule)
{
    struct cfi_cie cie;
    struct cfi_fde fde;
    *rule = 0;
    if (find == NULL || !describe(find, pc, &cie, &fde))
        return 0;
    if (fde.end > fde.start)
        cfi_run(&cie, &fde, keep, rule);
    return 1;
}
