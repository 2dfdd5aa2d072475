/* SPDX-License-Identifier: MIT */
/* format.h - the numbers of the recording that writer and reader share; docs/recording.md has the prose. */
#ifndef PLAIT_FORMAT_H
#define PLAIT_FORMAT_H

#include <stdint.h>

/* The file starts with the magic, the version and a zero (both u32, little-endian), then come chunks: tag,
 * payload length and checksum (u32 each), payload. The magic's odd bytes betray text-mode damage. */
#define FORMAT_MAGIC "plait\r\n\x1a"
enum { FORMAT_VERSION = 1, FORMAT_HEADER = 16, FORMAT_CHUNK = 12 };

/* name, tag, what its payload holds. In this order within one flush: what is used is defined before. */
#define FORMAT_CHUNKS(X)                                                                                     \
    X(HEAD, "head", "the recording's start")                                                                 \
    X(STRINGS, "strg", "strings, numbered on from 1")                                                        \
    X(FIELDS, "fiel", "key and value")                                                                       \
    X(LIBRARIES, "libr", "mapped code")                                                                      \
    X(THREADS, "thrd", "threads: tid and name")                                                              \
    X(CODES, "code", "Python code objects")                                                                  \
    X(FRAMES, "fram", "frames, numbered on from 0")                                                          \
    X(NODES, "node", "stack nodes, numbered on from 1")                                                      \
    X(LOST, "lost", "ticks without a sample")                                                                \
    X(COUNTERS, "coun", "counters")                                                                          \
    X(SAMPLES, "samp", "samples, and up to which time they are complete")                                    \
    X(DONE, "done", "the clean end")

enum format_chunk {
#define X(name, tag, text) CHUNK_##name,
    FORMAT_CHUNKS(X)
#undef X
        CHUNK_COUNT
};

#define FORMAT_TAG(text)                                                                                     \
    ((uint32_t)(text)[0] | (uint32_t)(text)[1] << 8 | (uint32_t)(text)[2] << 16 | (uint32_t)(text)[3] << 24)

/* A sample's first number: which fields follow because they differ from what is expected. FORMAT_SYNC alone
 * is no sample: the time units since the sync before it follow. */
enum {
    FORMAT_HAS_THREAD = 1,
    FORMAT_HAS_NODE = 2,
    FORMAT_HAS_WEIGHT = 4,
    FORMAT_HAS_FLAGS = 8,
    FORMAT_HAS_MEMORY = 16,
    FORMAT_HAS_INSTRUCTIONS = 32,
    FORMAT_SYNC = 64,
    FORMAT_HAS_WALL = 128,
    FORMAT_HAS_STATE = 256,
    FORMAT_HAS_ALL = 511 - FORMAT_SYNC,
};
enum { FORMAT_THREADS = 1 << 22 }; /* their numbers are below */
enum { FORMAT_TIME_UNIT = 1000 };  /* ns of a time unit in samples */

/* A frame's first byte: kind in the low two bits, then flags. */
enum {
    FORMAT_FRAME_NATIVE = 0,
    FORMAT_FRAME_PYTHON = 1,
    FORMAT_FRAME_CUT = 2,
    FORMAT_FRAME_KIND = 3,
    FORMAT_FRAME_EXACT = 4, /* native: the address is the instruction itself, not a return address */
    FORMAT_FRAME_EVAL = 8,  /* native: runs the Python frames directly above */
};

/* How a string's bytes are to be read; the number is also the bytes a character takes, but for UTF8. */
enum { FORMAT_UTF8 = 0, FORMAT_LATIN1 = 1, FORMAT_UCS2 = 2, FORMAT_UCS4 = 4, FORMAT_STRING_CUT = 8 };

#endif
