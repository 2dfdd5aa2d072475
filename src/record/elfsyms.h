/* SPDX-License-Identifier: MIT */
/* elfsyms.h - what a file without symbols still tells: where its functions start. */
#ifndef PLAIT_ELFSYMS_H
#define PLAIT_ELFSYMS_H

#include <stdint.h>

/* The start of the function that holds ELF address `offset`, by the file's unwind index: 1, or 0 when it is
 * not known. Nothing about a file of another build than `build_id` (size 0: any). */
int elfsyms_start(const char *path, const unsigned char *build_id, uint32_t build_id_size, uint64_t offset,
                  uint64_t *start);

#endif
