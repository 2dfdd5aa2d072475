/* SPDX-License-Identifier: MIT */
/* writer.h - the recording as the helper writes it: chunks appended, everything interned as it appears.
 * The helper is a raw thread: only os_* and pure functions here; memory by os_map. The format:
 * docs/recording.md and format.h.
 *
 * A file error never loses what was sampled before: chunks wait in memory (up to WRITER_BACKLOG bytes) and
 * are tried again at each flush; beyond that samples are counted as lost, and writer_error says what
 * happened. */
#ifndef PLAIT_WRITER_H
#define PLAIT_WRITER_H

#include "../core/core.h"
#include "../core/error.h"
#include <stddef.h>

enum { WRITER_BACKLOG = 8 << 20 };

struct writer; /* opaque, in mapped memory */

/* Memory for a writer; NULL without memory. One writer writes one recording. */
struct writer *writer_new(void);
void writer_free(struct writer *writer);

/* Creates the file (flags: replace an existing one or fail) and writes the header chunk: `fields` is a list
 * of key, value strings ended by NULL. `start` is the recording's zero of time (os_now()). */
int writer_open(struct writer *writer, const char *path, int overwrite, uint64_t start,
                const char *const *fields, struct error *error);

/* The helper's descriptors die with it: writer_detach closes the descriptor after a flush, writer_attach
 * opens the same file again for appending (O_APPEND, never created). */
void writer_detach(struct writer *writer);
int writer_attach(struct writer *writer, struct error *error);
/* The file's new owner; no matter where the system refuses. */
void writer_give(struct writer *writer, uint32_t user, uint32_t group);

/* A header-like field that became known later (same key: the later one holds). */
void writer_field(struct writer *writer, const char *key, const char *value);
void writer_library(struct writer *writer, uint32_t id, uint64_t start, uint64_t end, uint64_t bias,
                    const unsigned char *build_id, uint32_t build_id_size, const char *path);
/* Thread numbers are given by the caller, 0 and up; a new tid or name for a number overrides. */
void writer_thread(struct writer *writer, uint32_t thread, int tid, const char *name);
/* Interned by key; a key seen before is ignored, except that an uncut copy replaces a cut one. */
void writer_code(struct writer *writer, const struct code *code);
/* `library_of(context, pc)` gives the library id of a native pc (UINT32_MAX: none) and its bias. A pc of a
 * caller is looked up as pc - 1. */
typedef uint32_t writer_library_of(void *context, uint64_t pc, uint64_t *bias);
void writer_sample(struct writer *writer, uint32_t thread, const struct sample *sample,
                   writer_library_of *library_of, void *context);
/* The wait that the thread's last sample met has lasted `wall` ns more, until `time`. */
void writer_repeat(struct writer *writer, uint32_t thread, uint64_t time, uint64_t wall);
/* How waits are called: fills the names of a system call and of what its first argument is (static strings).
 */
typedef void writer_wait_of(long number, uint32_t argument, const char **call, const char **kind);
void writer_set_waits(struct writer *writer, writer_wait_of *wait_of);
/* Ticks lost on a thread since the last call, by cause ("ring full", ...). */
void writer_lost(struct writer *writer, uint32_t thread, const char *cause, uint64_t ticks, uint64_t weight);
/* A named counter's present value (probes, reruns, handler time ...): the last one holds. */
void writer_counter(struct writer *writer, const char *name, uint64_t value);

/* Everything pending goes out in one write, ended by a chunk that gives `now` as the time up to which the
 * recording is complete. 0 or negative errno (kept and tried again). */
int writer_flush(struct writer *writer, uint64_t now);

/* Flush, final chunk (clean end), close. */
int writer_close(struct writer *writer, uint64_t now, struct error *error);

/* Totals so far. */
struct writer_totals {
    uint64_t samples, weight, lost, lost_weight, degraded, unnamed, bytes, memory, nodes;
    uint64_t flags[32];
};
void writer_get_totals(const struct writer *writer, struct writer_totals *totals);

#endif
