/* SPDX-License-Identifier: MIT */
/* fuzz_cfi.c - libFuzzer: any bytes as `.eh_frame`. Invariants: rows ascend strictly, every rule can be
 * widened, and a look-up gives the row that a linear search gives. Build and run:
 * clang -g -O1 -fsanitize=fuzzer,address,undefined -std=c11 -D_GNU_SOURCE -Isrc tests/fuzz/fuzz_cfi.c \
 *     src/native/cfi.c src/native/cfi_program.c src/os/os_linux.c src/os/os_linux_x86_64.c */
#include "native/cfi.h"
#include "native/rule.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *allocated;

static void *take(void *context, size_t size)
{
    (void)context;
    return allocated = calloc(1, size > 0 ? size : 1);
}

static void check_table(const struct cfi_table *table)
{
    for (uint32_t i = 0; i < table->count; i++) {
        uint64_t pc = table->base + table->rows[i].pc;
        if (i > 0 && table->rows[i].pc <= table->rows[i - 1].pc)
            abort();
        if (cfi_find(table, pc) != table->rows[i].rule)
            abort();
        if (rule_widen(table, table->rows[i].rule) == 0 && table->rows[i].rule != 0)
            abort();
    }
    if (cfi_find(table, table->base - 1) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cfi_table table;
    uint64_t address = size > 0 ? (uint64_t)data[0] << 12 : 0;
    allocated = NULL;
    if (cfi_compile(data, size, address, take, NULL, &table) == 0)
        check_table(&table);
    free(allocated);
    return 0;
}
