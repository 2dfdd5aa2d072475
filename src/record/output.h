/* SPDX-License-Identifier: MIT */
/* output.h - report files: buffered text, numbers free of the locale, one error at the end. */
#ifndef PLAIT_OUTPUT_H
#define PLAIT_OUTPUT_H

#include "../core/error.h"
#include <stdint.h>
#include <stdio.h>

struct output {
    FILE *file;
    const char *path;
};

/* Creates or replaces the file: 0, or PROFILER_FILE (published too, like output_close's). */
int output_open(struct output *output, const char *path);
/* Flushes and closes; says what went wrong in any write since open. `code` of a caller that failed before is
 * published instead. */
int output_close(struct output *output, int code);

void output_text(struct output *output, const char *text);
void output_number(struct output *output, uint64_t value);
void output_signed(struct output *output, int64_t value);
/* value / 10^digits as a decimal fraction. */
void output_fraction(struct output *output, uint64_t value, unsigned digits);
void output_hex(struct output *output, uint64_t value);
/* A JSON string with its quotes. */
void output_json(struct output *output, const char *text);
/* Per mille of a part, rounded: 423 is 42.3 %. */
uint64_t output_permille(uint64_t part, uint64_t whole);
/* The file's name without its folders. */
const char *output_base(const char *path);

#endif
