/* SPDX-License-Identifier: MIT */
/* decimal.h - numbers in text, where libc may not be called. Pure, async-signal-safe. */
#ifndef PLAIT_DECIMAL_H
#define PLAIT_DECIMAL_H

#include <stdint.h>

enum { DECIMAL_MAX = 20 }; /* digits of a 64-bit number */

/* Writes the digits (no 0 at their end) and returns the place behind them. */
char *decimal_put(char *at, uint64_t number);

/* Reads the digits that stand at `at` (0 where none do) and returns the place behind them. What overflows
 * wraps. */
const char *decimal_get(const char *at, uint64_t *number);

#endif
