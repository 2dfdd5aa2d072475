/* SPDX-License-Identifier: MIT */
/* cfi_program.h - the entries of `.eh_frame` and their little programs: from bytes to (pc, rule) pairs. */
#ifndef PLAIT_CFI_PROGRAM_H
#define PLAIT_CFI_PROGRAM_H

#include "cfi_reader.h"

/* A gap below this between entries is alignment, never code: it may keep the rule before it. */
enum { CFI_PADDING_MAX = 16 };

/* A common information entry. */
struct cfi_cie {
    uint64_t code_factor;
    int64_t data_factor;
    unsigned encoding; /* of its FDEs' addresses */
    int augmented;     /* its FDEs carry a length-prefixed augmentation */
    int signal;        /* its FDEs describe signal frames */
    struct cfi_reader program;
};

/* A frame description entry: rules for [start, end). */
struct cfi_fde {
    uint64_t start, end;
    struct cfi_reader program;
};

/* One entry of the section: `body` runs from the id field to the entry's end. */
struct cfi_entry {
    size_t offset; /* of its length field, in the section */
    size_t cie;    /* FDE: offset of its CIE; CIE: SIZE_MAX */
    struct cfi_reader body;
};

/* Takes the entry at the front of `section` (whose first byte is section_start) and moves past it. 0 at the
 * terminator, at the end, or where the bytes make no sense. */
int cfi_next_entry(struct cfi_reader *section, const unsigned char *section_start, struct cfi_entry *entry);

/* Parse one entry; 0 where it can't be used. */
int cfi_parse_cie(const struct cfi_entry *entry, struct cfi_cie *cie);
int cfi_parse_fde(const struct cfi_entry *entry, const struct cfi_cie *cie, struct cfi_fde *fde);

/* Runs the programs of `cie` and `fde`, calling `emit` with the first pc of each range and its wide rule
 * (rule.h), in ascending order; ranges may repeat a rule. */
typedef void cfi_emit(void *context, uint64_t pc, uint64_t rule);
void cfi_run(const struct cfi_cie *cie, const struct cfi_fde *fde, cfi_emit *emit, void *context);

#endif
