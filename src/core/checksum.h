/* SPDX-License-Identifier: MIT */
/* checksum.h - CRC-32 as in zlib, gzip and PNG (polynomial 0xedb88320, reflected). Async-signal-safe. */
#ifndef PLAIT_CHECKSUM_H
#define PLAIT_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Continues `sum` (0 at first) over `size` bytes. */
uint32_t checksum(uint32_t sum, const void *bytes, size_t size);

#endif
