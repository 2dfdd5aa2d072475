/* SPDX-License-Identifier: MIT */
/* libs.h - what code is mapped where, and its unwind tables: an immutable sorted snapshot that the helper
 * replaces and the handler searches.
 *
 * The helper owns and writes everything. Libraries and tables once published are never freed while sampling
 * runs (a handler may be reading them), so a library that comes back must be the same object. A snapshot's
 * memory serves again when it has been out of use for a while. The helper learns by /proc/self/maps (no
 * dl_iterate_phdr: its lock belongs to the program). ELF data is read from the file (pread), or from memory
 * through os_peek where the file is gone (vdso, deleted files). */
#ifndef PLAIT_LIBS_H
#define PLAIT_LIBS_H

#include "../core/error.h"
#include "cfi.h"
#include "sight.h"
#include <stddef.h>
#include <stdint.h>

/* One executable mapping range of one file. */
struct library {
    uint64_t start, end;           /* executable addresses in this process */
    uint64_t bias;                 /* address in memory = address in the ELF file + bias */
    const struct cfi_table *table; /* NULL until built; atomic, published with release */
    uint32_t wanted;               /* atomic: a handler met the library without its table */
    uint32_t id;                   /* index in order of first sight, the same in every snapshot */
    uint32_t
        frame_pointers; /* 1: code without a rule here (JIT, anonymous) may be stepped by frame pointer */
    uint32_t switches;  /* 1: it is the module that switches stacks below a thread's feet (greenlet.h) */
    uint32_t build_id_size;
    unsigned char build_id[32];
    const char *path; /* as in maps; "[vdso]", "" for anonymous code */
    uint64_t device, inode;
};

struct libs {
    uint64_t generation;     /* grows with each snapshot */
    sight_find *first_sight; /* for code that has no library or no table here; may be NULL */
    uint32_t switches;       /* 1: one of them does */
    uint32_t count;
    struct library *library[]; /* sorted by start, not overlapping */
};

/* The library of `pc`, or NULL. Async-signal-safe. */
struct library *libs_find(const struct libs *libs, uint64_t pc);

/* Helper side. */
struct libs_state; /* opaque; one per process, lives in mapped memory */
struct libs_state *libs_new(void);

/* Reads the maps again and publishes a new snapshot if anything executable changed: 1 changed, 0 same,
 * negative errno. */
int libs_refresh(struct libs_state *state);

/* Builds the tables that handlers asked for (`wanted`), at most `limit` of them; returns how many were built.
 * libs_want_all marks every library of the present snapshot whose text is at most `max_text` bytes. */
int libs_build(struct libs_state *state, int limit);
void libs_want_all(struct libs_state *state, uint64_t max_text);

/* The present snapshot (acquire). Async-signal-safe. Never NULL after libs_new. */
const struct libs *libs_current(const struct libs_state *state);

/* Libraries ever seen: `id` 0 .. libs_count()-1, for the recording. */
uint32_t libs_count(const struct libs_state *state);
const struct library *libs_get(const struct libs_state *state, uint32_t id);

/* Bytes of memory that tables and snapshots take. */
uint64_t libs_memory(const struct libs_state *state);

#endif
