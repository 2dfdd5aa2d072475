/* SPDX-License-Identifier: MIT */
/* decimal.c - see decimal.h. */
#include "decimal.h"

char *decimal_put(char *at, uint64_t number)
{
    char digits[DECIMAL_MAX];
    unsigned count = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    while (count > 0)
        *at++ = digits[--count];
    return at;
}

const char *decimal_get(const char *at, uint64_t *number)
{
    for (*number = 0; *at >= '0' && *at <= '9'; at++)
        *number = *number * 10 + (uint64_t)(*at - '0');
    return at;
}
