/* SPDX-License-Identifier: MIT */
/* profiler.h - plait's library: samples every thread of this process, braids Python and native frames into
 * one stack, and writes the recording and its reports.
 *
 * Errors: functions return 0 (PROFILER_OK) or a PROFILER_* code, unless their comment says otherwise;
 * profiler_error() gives the line that says what failed (with the system call), why, and what to do.
 * Threads: every function may be called from any thread at any time, also concurrently; none may be called
 * from a signal handler. Strings passed in are copied; strings handed out belong to the library and stay
 * valid until the same kind of call is made again in the same thread, unless said otherwise. The library
 * prints nothing and changes no disposition but that of SIGURG. */
#ifndef PROFILER_H
#define PROFILER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PROFILER_API __attribute__((visibility("default")))

/* code, name, what it means. */
#define PROFILER_ERRORS(X)                                                                                   \
    X(0, OK, "no error")                                                                                     \
    X(1, ALREADY_RUNNING, "the profiler is running already")                                                 \
    X(2, NOT_RUNNING, "the profiler is not running")                                                         \
    X(3, BAD_OPTION, "an option is out of range or contradicts the running profiler")                        \
    X(4, NO_CLOCK, "no clock can sample this process")                                                       \
    X(5, NO_MEMORY, "no memory")                                                                             \
    X(6, FILE, "a file can't be opened, written or read")                                                    \
    X(7, FORMAT, "not a recording, or of an unknown version")                                                \
    X(8, PYTHON_UNKNOWN, "this Python version or build is not supported: native frames only")                \
    X(9, SYSTEM, "a system call failed")                                                                     \
    X(10, NO_PROFILE, "no such profile")

enum profiler_code {
#define X(code, name, text) PROFILER_##name = code,
    PROFILER_ERRORS(X)
#undef X
};

/* The last error of the process as one line; "" when there was none. */
PROFILER_API const char *profiler_error(void);
PROFILER_API const char *profiler_version(void);

/* ---- sampling ---- */

struct profiler_options {
    size_t size;         /* sizeof(struct profiler_options); so that fields can be added */
    uint32_t rate;       /* Hz, 1 to 20000; 0 = 1000 */
    uint32_t depth;      /* frames kept of a stack, 2 to 4096; 0 = 128; of deeper ones both ends are kept */
    const char *clock;   /* "perf", "poll", "posix"; NULL or "auto" = the best one that works here */
    const char *mode;    /* "cpu": what threads do on a CPU; "wall": that and their waits; NULL = "cpu" */
    const char *output;  /* recording to write (created; an existing file is an error); NULL = a temporary
                            file that goes when the process ends or the next start replaces it */
    const char *threads; /* "all" (NULL), or "current": only the thread that calls profiler_start */
    uint32_t overwrite;  /* 1: an existing output file is replaced */
    uint32_t zero;
};

/* Starts sampling; NULL takes every default. ALREADY_RUNNING leaves the running one untouched. */
PROFILER_API int profiler_start(const struct profiler_options *options);

/* Stops, waits until everything sampled before is in the recording, and closes it. It stays the subject of
 * profiler_write_* until the next start. Under 1 ms but for what is left to write. */
PROFILER_API int profiler_stop(void);

struct profiler_state {
    size_t size;      /* set by the caller: sizeof(struct profiler_state) */
    uint32_t running; /* 1 while sampling */
    uint32_t rate;    /* asked for, Hz */
    uint32_t depth;
    uint32_t threads;  /* seen so far */
    const char *clock; /* in use, or "" */
    const char *mode;
    const char *output;     /* path of the recording, or "" */
    uint64_t elapsed;       /* ns since start (until stop) */
    uint64_t samples;       /* in the recording */
    uint64_t weight;        /* CPU time they stand for, ns */
    uint64_t lost;          /* ticks whose sample did not fit the ring */
    uint64_t lost_weight;   /* ns */
    uint64_t degraded;      /* samples with native cut, in transit, torn or Python only */
    uint64_t unnamed;       /* samples with a code object that was never copied */
    uint64_t reruns;        /* interrupted waits that were run again */
    uint64_t put_off;       /* ticks taken some microseconds late */
    uint64_t handler_time;  /* ns in the handler, all threads */
    uint64_t helper_time;   /* ns of CPU of the helper */
    uint64_t handler_calls; /* system calls made in the handler (page probes, put-offs) */
    int python;             /* minor version of the interpreter found (3.x), 0 = none, -1 = refused */
};
PROFILER_API int profiler_get_state(struct profiler_state *state);

/* Reports on the last stopped recording, or on the running one up to now. JSON as docs/interface.md says, the
 * text summary (top 20), folded stacks (root first). */
PROFILER_API int profiler_write_json(const char *path);
PROFILER_API int profiler_write_summary(const char *path);
PROFILER_API int profiler_write_folded(const char *path);

/* ---- profiles: intervals of the one running sampler ---- */

/* Opens a profile: it gets the samples from now on (of all threads, or of the calling thread with
 * current_thread = 1). Starts the sampler with `options` if none runs; another rate, clock, mode or depth
 * than the running one's is BAD_OPTION (0 and NULL agree with everything). Returns the profile's number
 * (1 and up), or the negative PROFILER_* code. */
PROFILER_API int64_t profiler_open(const struct profiler_options *options, int current_thread);

/* A profile pauses and resumes any number of times (generators, coroutines), and ends with profiler_close.
 * When the last profile has ended and nobody called profiler_start, the sampler rests. */
PROFILER_API int profiler_pause(int64_t profile);
PROFILER_API int profiler_resume(int64_t profile);
PROFILER_API int profiler_close(int64_t profile);
PROFILER_API int profiler_profile_json(int64_t profile, const char *path);
PROFILER_API int profiler_profile_summary(int64_t profile, const char *path);
PROFILER_API int profiler_profile_folded(int64_t profile, const char *path);
/* Forgets a closed profile. */
PROFILER_API int profiler_forget(int64_t profile);

/* ---- recordings ---- */

/* An opened recording, read as far as it is sound: aggregated and column-wise. Every pointer stays valid
 * until profiler_recording_close. One thread at a time per recording. */
struct profiler_recording;

struct profiler_symbol {  /* one level of inlining of a native address; innermost first */
    const char *function; /* demangled; NULL unknown */
    const char *file;     /* NULL unknown */
    uint32_t line;        /* 0 unknown */
};
/* Names native addresses. `resolve` fills at most `capacity` levels for the ELF address `offset` of a file
 * and returns how many (0 = nothing known). Strings stay valid as long as the symbolizer. */
struct profiler_symbolizer {
    void *context;
    int (*resolve)(void *context, const char *path, const unsigned char *build_id, uint32_t build_id_size,
                   uint64_t offset, struct profiler_symbol *out, int capacity);
    const char *note; /* what reports say about it, e.g. that only symbol tables were read; "" = nothing */
};
/* Reads ELF symbol tables only; no dependency. For the full one: libprofiler-symbols.so. */
PROFILER_API struct profiler_symbolizer *profiler_symbolizer_elf(void);

/* NULL on failure (profiler_error says why). A torn tail is skipped and said in `notes`. `symbolizer` may be
 * NULL (module+offset) and must outlive the recording. */
PROFILER_API struct profiler_recording *profiler_recording_open(const char *path,
                                                                struct profiler_symbolizer *symbolizer);
/* The same, where two places of Python in one line are told apart by their columns, and say them. */
PROFILER_API struct profiler_recording *
profiler_recording_open_columns(const char *path, struct profiler_symbolizer *symbolizer);
/* The recordings of a process tree as one, which no longer needs them; the first one's fields hold. NULL
 * without memory. */
PROFILER_API struct profiler_recording *profiler_recording_merge(struct profiler_recording *const *parts,
                                                                 uint32_t count);
/* Adds a remark of the caller's to the fields. */
PROFILER_API int profiler_recording_note(struct profiler_recording *recording, const char *text);
PROFILER_API void profiler_recording_close(struct profiler_recording *recording);

/* A distinct place in the program: what one frame of a report shows. */
struct profiler_place {
    uint32_t kind;       /* 0 native, 1 python, 2 marker (e.g. "... 912 frames cut ...") */
    uint32_t hidden;     /* 1: interpreter plumbing or profiler's own, left out of reports by default */
    uint32_t function;   /* string numbers; 0 = "" */
    uint32_t file;       /* source file */
    uint32_t module;     /* library path for native */
    uint32_t line;       /* line executed, 0 unknown */
    uint32_t first_line; /* of a Python function */
    uint32_t library;    /* library number, UINT32_MAX for Python */
    uint64_t address;    /* native: ELF address in the library; python: key */
    /* Of a recording opened with columns: where the instruction's source ends, and its columns: bytes of
     * UTF-8 from 1, the end one past the last. 0: unknown, as all of them are before Python 3.11. */
    uint32_t end_line, column, end_column, zero;
};
struct profiler_node { /* of the stack tree, root side first: parent < own number; node 0 is the root */
    uint32_t parent, place;
    uint64_t count;        /* samples that end here (self) */
    uint64_t weight;       /* ns, self */
    uint64_t instructions; /* self */
    int64_t memory;        /* bytes, self */
};
struct profiler_sample {
    uint64_t time;   /* ns since the recording's start; of a repeat, the end of its span */
    uint64_t weight; /* ns of the recording's mode: CPU time, or in wall mode real time */
    uint64_t cpu;    /* ns of CPU time */
    uint32_t node, thread;
    uint32_t flags;                /* profiler_flag_name names the bits */
    uint32_t state;                /* wall mode: profiler_state_name names the bits */
    uint32_t wait_call, wait_kind; /* waiting: string numbers: the system call, what it waits for */
};
struct profiler_thread {
    uint32_t tid, name; /* string number */
    uint64_t count, weight;
    uint32_t process, zero; /* index in the table's processes */
};
enum profiler_end {
    PROFILER_ENDLESS = 0,  /* killed, or still running */
    PROFILER_ENDED = 1,    /* it stopped */
    PROFILER_REPLACED = 2, /* it executed another program in its place */
};
/* A program that ran in a process. One that executes another in its own place is followed by a row of the
 * same pid. */
struct profiler_process {
    uint32_t pid, parent;           /* parent 0: not known */
    uint32_t name, command, python; /* string numbers: program, its arguments, version of Python or "" */
    uint32_t ended;                 /* enum profiler_end */
    uint64_t start, end;            /* ns since the report's start */
    uint64_t count, weight;         /* of the selected samples */
    uint64_t lost_weight;           /* ns of CPU time that no sample stands for */
};
/* All of it as arrays: pointer, count. `strings[i]` are UTF-8, NUL-terminated. */
struct profiler_table {
    size_t size; /* set by the caller */
    const char *const *strings;
    const struct profiler_place *places;
    const struct profiler_node *nodes;
    const struct profiler_sample *samples;
    const struct profiler_thread *threads;
    uint64_t string_count, place_count, node_count, sample_count, thread_count;
    uint64_t total_count, total_weight; /* samples, ns */
    uint64_t elapsed;                   /* ns */
    uint64_t flag_count[32];            /* samples with each flag */
    uint64_t lost, lost_weight;         /* ticks without a sample */
    uint64_t unnamed;                   /* samples with an unnamed code object */
    uint32_t has_instructions, clean;   /* clean: 1 = it ends with a stop */
    const struct profiler_process *processes;
    uint64_t process_count;
};
PROFILER_API int profiler_recording_table(struct profiler_recording *recording, struct profiler_table *table);
PROFILER_API const char *profiler_flag_name(unsigned bit);
PROFILER_API const char *profiler_state_name(unsigned bit);

/* Header fields, counters and remarks as text, in order: key and value; 0 past the end, else 1. Keys: see
 * docs/recording.md. Key "note" may come several times: one line each, worth showing to the user. */
PROFILER_API int profiler_recording_field(struct profiler_recording *recording, uint32_t index,
                                          const char **key, const char **value);

/* Restricts everything that follows to samples inside any of the `count` intervals [from, to) (ns since the
 * recording's start) and of thread `tid` (0 = all): `intervals` holds from, to, tid triples. 0 intervals =
 * everything. The tables' self numbers are recomputed. */
PROFILER_API int profiler_recording_select(struct profiler_recording *recording, const uint64_t *intervals,
                                           uint32_t count);

PROFILER_API int profiler_recording_json(struct profiler_recording *recording, const char *path);
PROFILER_API int profiler_recording_summary(struct profiler_recording *recording, const char *path);
PROFILER_API int profiler_recording_folded(struct profiler_recording *recording, const char *path,
                                           int with_hidden);

#ifdef __cplusplus
}
#endif
#endif
