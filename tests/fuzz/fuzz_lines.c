/* SPDX-License-Identifier: MIT */
/* fuzz_lines.c - libFuzzer: any bytes as a line table of any version. Invariants: no read outside the table,
 * a result of -1 or more, and a table cut short never gives another line, only -1 (or, up to 3.9, whose
 * tables don't say where they end, the last line reached). Build and run:
 * clang -g -O1 -fsanitize=fuzzer,address,undefined -std=c11 -D_GNU_SOURCE -Iinclude -Isrc \
 *     tests/fuzz/fuzz_lines.c src/python/lines.c */
#include "python/python.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 8 };

static int line_of(int minor, const uint8_t *table, size_t size, int32_t first, int32_t unit)
{
    uint8_t *copy = malloc(size > 0 ? size : 1); /* so that the sanitizer sees its end */
    if (copy == NULL)
        abort();
    if (size > 0)
        memcpy(copy, table, size);
    int line = py_line(minor, copy, (uint32_t)size, first, unit);
    free(copy);
    if (line < -1)
        abort();
    return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int32_t first, unit;
    if (size < HEAD)
        return 0;
    memcpy(&first, data, 4);
    memcpy(&unit, data + 4, 4);
    data += HEAD;
    size -= HEAD;
    for (int minor = 8; minor <= 13; minor++) {
        int whole = line_of(minor, data, size, first, unit);
        int near = line_of(minor, data, size, 1, unit & 255);
        for (size_t cut = 0; cut < size && cut < 64 && minor >= 10; cut++) {
            int line = line_of(minor, data, cut, first, unit);
            if (line != -1 && line != whole)
                abort();
        }
        if (unit < 0 && whole != (first >= 0 ? first : -1))
            abort();
        (void)near;
    }
    return 0;
}
