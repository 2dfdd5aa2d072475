/* SPDX-License-Identifier: MIT */
/* cfi.h - the unwind rules of one library: `.eh_frame` compiled to sorted rows of 8 bytes.
 * A decoder of untrusted bytes: every read is bounded, corrupt input gives fewer rows and never a fault. */
#ifndef PLAIT_CFI_H
#define PLAIT_CFI_H

#include <stddef.h>
#include <stdint.h>

/* A rule packed in 32 bits (unwind_<arch>.c knows the packing; cfi.c makes it): how to find the CFA (register
 * and offset, or one of a few known expressions), where the saved frame pointer is, and the special cases:
 * no rule here, end of the stack, PLT, signal frame, escape into `extra`. */
struct cfi_row {
    uint32_t pc; /* offset from cfi_table.base */
    uint32_t rule;
};

struct cfi_table {
    uint64_t base; /* ELF address of the first row */
    uint32_t count;
    uint32_t extra_count;
    const struct cfi_row *rows; /* sorted by pc */
    const uint64_t *extra;      /* rules too large for a row */
};

/* Memory for tables: returns `size` zeroed bytes aligned to 16, or NULL. */
typedef void *cfi_alloc(void *context, size_t size);

/* Compiles the `.eh_frame` section (`size` bytes at `eh_frame`, whose ELF address is `address`). Returns 0,
 * or a negative errno: -ENOMEM, -EINVAL for a section without one usable entry. */
int cfi_compile(const unsigned char *eh_frame, size_t size, uint64_t address, cfi_alloc *alloc, void *context,
                struct cfi_table *table);

/* The rule at ELF address `pc`, or 0 (= no rule). Async-signal-safe. */
uint32_t cfi_find(const struct cfi_table *table, uint64_t pc);

#endif
