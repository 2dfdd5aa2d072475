/* SPDX-License-Identifier: MIT */
/* test_shortage.c - the Nth allocation fails, for every N, alone or with all after it: what is asked for is
 * then done right or refused with a clear line, nothing is left behind, and it works again afterwards. The
 * linker puts our functions before malloc's and os_map's (--wrap). */
#include "check.h"
#include "engine/engine.h"
#include "native/libs.h"
#include "profiler.h"
#include "recording_sample.h"
#include <time.h>
#include <unistd.h>

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void __wrap_free(void *block);
void *__wrap_os_map(size_t size);
void __wrap_os_unmap(void *memory, size_t size);
void *__wrap_os_grow(void *memory, size_t size, size_t larger);
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void __real_free(void *block);
void *__real_os_map(size_t size);
void __real_os_unmap(void *memory, size_t size);
void *__real_os_grow(void *memory, size_t size, size_t larger);

enum { ROUNDS_MOST = 3000 };

/* The helper is a thread without libc: no locks, no thread-locals here. */
static long fail_at, fail_on; /* the allocation that fails, 0 = none; 1: all after it, too */
static long asked;            /* allocations since arm() */
static long held_blocks, held_bytes;
static int refused;
static int maps_alone; /* 1: only os_map fails, which is all that the target has; the test has malloc, too */

static int refuse(void)
{
    long number = __atomic_add_fetch(&asked, 1, __ATOMIC_RELAXED);
    int fails = fail_at != 0 && (number == fail_at || (fail_on && number > fail_at));
    if (fails)
        __atomic_store_n(&refused, 1, __ATOMIC_RELAXED);
    return fails;
}

static void hold(long blocks, long bytes)
{
    __atomic_fetch_add(&held_blocks, blocks, __ATOMIC_RELAXED);
    __atomic_fetch_add(&held_bytes, bytes, __ATOMIC_RELAXED);
}

void *__wrap_malloc(size_t size)
{
    void *block = !maps_alone && refuse() ? NULL : __real_malloc(size);
    hold(block != NULL, 0);
    return block;
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *block = !maps_alone && refuse() ? NULL : __real_calloc(count, size);
    hold(block != NULL, 0);
    return block;
}

void *__wrap_realloc(void *block, size_t size)
{
    void *moved = !maps_alone && refuse() ? NULL : __real_realloc(block, size);
    hold(block == NULL && moved != NULL, 0);
    return moved;
}

void __wrap_free(void *block)
{
    hold(-(block != NULL), 0);
    __real_free(block);
}

void *__wrap_os_map(size_t size)
{
    void *memory = refuse() ? NULL : __real_os_map(size);
    hold(0, memory != NULL ? (long)size : 0);
    return memory;
}

void __wrap_os_unmap(void *memory, size_t size)
{
    hold(0, memory != NULL ? -(long)size : 0);
    __real_os_unmap(memory, size);
}

void *__wrap_os_grow(void *memory, size_t size, size_t larger)
{
    void *grown = refuse() ? NULL : __real_os_grow(memory, size, larger);
    hold(0, grown != NULL ? (long)(larger - size) : 0);
    return grown;
}

static void arm(long at, long on)
{
    fail_at = at;
    fail_on = on;
    asked = 0;
    refused = 0;
}

static void disarm(void)
{
    fail_at = 0;
}

static char folder[256];

static const char *in_folder(const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

/* ---- reports ---- */

enum { TEXT_MOST = 1 << 16 };

static size_t load(const char *name, char *text)
{
    FILE *file = fopen(in_folder(name), "rb");
    size_t size = file != NULL ? fread(text, 1, TEXT_MOST - 1, file) : 0;
    if (file != NULL)
        fclose(file);
    text[size] = '\0';
    return size;
}

static int refusals(int code)
{
    if (code == 0)
        return 0;
    CHECK(code == PROFILER_NO_MEMORY || code == PROFILER_FILE);
    CHECK(strstr(profiler_error(), "no memory") != NULL);
    return 1;
}

/* Everything that a report does; what was written is the same as without a shortage, or was refused. */
static void report(const char *known)
{
    static char text[TEXT_MOST];
    const uint64_t spans[] = {0, 20000000, 0, 5, 30000000, 11};
    struct profiler_recording *recording = profiler_recording_open(in_folder("known.plait"), NULL);
    if (recording == NULL) {
        CHECK(strstr(profiler_error(), "no memory") != NULL);
        return;
    }
    int codes[] = {profiler_recording_json(recording, in_folder("json")),
                   profiler_recording_summary(recording, in_folder("summary")),
                   profiler_recording_folded(recording, in_folder("folded"), 1)};
    static const char *const names[] = {"json", "summary", "folded"};
    for (int i = 0; i < 3; i++) {
        if (refusals(codes[i]))
            continue;
        load(names[i], text);
        CHECK_STRING(text, known + i * TEXT_MOST);
    }
    int code = profiler_recording_select(recording, spans, 2);
    struct profiler_table table = {.size = sizeof table};
    CHECK_EQUAL(profiler_recording_table(recording, &table), 0);
    if (!refusals(code))
        CHECK_EQUAL(table.sample_count, 26);
    refusals(profiler_recording_json(recording, in_folder("json")));
    disarm();
    profiler_recording_close(recording);
}

static void reports(void)
{
    static char known[3 * TEXT_MOST];
    struct error error = {0};
    struct writer *writer = writer_new();
    CHECK_EQUAL(sample_write(writer, in_folder("known.plait"), 1, &error), 0);
    writer_free(writer);
    struct profiler_recording *recording = profiler_recording_open(in_folder("known.plait"), NULL);
    CHECK(recording != NULL);
    if (recording == NULL)
        return;
    profiler_recording_json(recording, in_folder("json"));
    profiler_recording_summary(recording, in_folder("summary"));
    profiler_recording_folded(recording, in_folder("folded"), 1);
    load("json", known);
    load("summary", known + TEXT_MOST);
    load("folded", known + 2 * TEXT_MOST);
    CHECK(strlen(known) > 1000 && strlen(known + TEXT_MOST) > 100 && strlen(known + 2 * TEXT_MOST) > 50);
    profiler_recording_close(recording);
    int rounds = 0;
    for (long at = 1; at < ROUNDS_MOST && check_failures == 0; at++, rounds++) {
        for (long on = 0; on < 2; on++) {
            long blocks = held_blocks, bytes = held_bytes;
            arm(at, on);
            report(known);
            disarm();
            CHECK_EQUAL(held_blocks, blocks);
            CHECK_EQUAL(held_bytes, bytes);
        }
        if (!refused)
            break;
    }
    printf("  %d allocations of a report, each refused\n", rounds);
    CHECK(rounds > 20 && rounds < ROUNDS_MOST);
}

/* ---- the writer ---- */

/* All names are there, or a note says that some are not. */
static void check_complete(struct profiler_recording *recording, const struct profiler_table *table,
                           const struct writer_totals *totals)
{
    const char *key, *value, *probes = "";
    int said = 0, work = 0, library = 0;
    for (uint32_t i = 0; profiler_recording_field(recording, i, &key, &value); i++) {
        said |= strcmp(key, "note") == 0 && strstr(value, "memory ran out") != NULL;
        probes = strcmp(key, "probes") == 0 ? value : probes;
    }
    for (uint64_t i = 0; i < table->place_count; i++) {
        work |= strcmp(table->strings[table->places[i].function], "work") == 0;
        library |= strcmp(table->strings[table->places[i].module], "/usr/lib/libwork.so") == 0;
    }
    CHECK(work || table->unnamed > 0 || said);
    CHECK(said || (library && table->thread_count == 2 && strcmp(probes, "7") == 0));
    CHECK(said || table->lost == totals->lost);
}

/* What can be read of a recording that was written with too little memory: every sample is there or lost. */
static void check_recording(const char *path, const struct writer_totals *totals, int code)
{
    struct profiler_table table = {.size = sizeof table};
    struct profiler_recording *recording = profiler_recording_open(path, NULL);
    if (recording == NULL) { /* nothing but a part of the header came into the file */
        CHECK(code != 0);
        return;
    }
    CHECK_EQUAL(profiler_recording_table(recording, &table), 0);
    CHECK(code != 0 || table.clean);
    CHECK(table.sample_count <= totals->samples);
    if (code == 0) {
        CHECK_EQUAL(table.sample_count, totals->samples);
        CHECK_EQUAL(totals->samples + totals->lost, 40 + 3);
        check_complete(recording, &table, totals);
    }
    profiler_recording_close(recording);
}

static void writers(void)
{
    maps_alone = 1;
    long at = 1;
    for (; at < ROUNDS_MOST && check_failures == 0; at++) {
        int refused_once = 0;
        for (long on = 0; on < 2; on++) {
            long bytes = held_bytes;
            struct error error = {0};
            struct writer_totals totals = {0};
            arm(at, on);
            struct writer *writer = writer_new();
            if (writer == NULL)
                continue;
            int code = sample_write(writer, in_folder("short.plait"), 1, &error);
            refused_once |= refused;
            disarm();
            CHECK(code == 0 || strstr(error.text, "no memory") != NULL);
            writer_get_totals(writer, &totals);
            writer_free(writer);
            CHECK_EQUAL(held_bytes, bytes);
            check_recording(in_folder("short.plait"), &totals, code);
        }
        if (!refused_once && at > 1)
            break;
    }
    printf("  %ld allocations of a writer, each refused\n", at - 1);
    CHECK(at > 10 && at < ROUNDS_MOST);
}

/* ---- unwind tables ---- */

static void tables(void)
{
    maps_alone = 1;
    long at = 1;
    for (; at < ROUNDS_MOST && check_failures == 0; at++) {
        struct libs_state *state;
        arm(at, 0);
        if ((state = libs_new()) == NULL)
            continue;
        int code = libs_refresh(state);
        CHECK(code == 1 || code == -12);
        libs_want_all(state, UINT64_MAX);
        libs_build(state, 1000);
        int was_refused = refused;
        disarm();
        CHECK(libs_refresh(state) >= 0);
        libs_want_all(state, UINT64_MAX);
        libs_build(state, 1000);
        const struct libs *libs = libs_current(state);
        CHECK(libs->count > 2 && libs_find(libs, (uint64_t)(uintptr_t)(void *)&tables) != NULL);
        for (uint32_t i = 0; i < libs->count; i++)
            CHECK(libs->library[i]->table != NULL);
        if (!was_refused)
            break;
    }
    printf("  %ld allocations for tables, each refused\n", at - 1);
    CHECK(at > 5 && at < ROUNDS_MOST);
}

/* ---- the sampler ---- */

static uint64_t burn(uint64_t ns)
{
    uint64_t value = 1, until = 0;
    struct timespec now;
    do {
        for (int i = 0; i < 1000; i++)
            value = value * 6364136223846793005u + 1;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
        uint64_t time = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
        until = until == 0 ? time + ns : until;
        if (time >= until)
            return value;
    } while (1);
}

/* A start under shortage succeeds or says why; then one without it works. */
static void sampler(void)
{
    maps_alone = 1;
    const char *path = in_folder("sampler.plait");
    struct profiler_options options = {
        .size = sizeof options, .rate = 5000, .clock = "poll", .output = path, .overwrite = 1};
    long at = 1;
    for (; at < 400 && check_failures == 0; at++) {
        arm(at, at % 2);
        int code = profiler_start(&options);
        CHECK(code == 0 || strstr(profiler_error(), "no memory") != NULL);
        if (code == 0)
            burn(3000000);
        int was_refused = refused;
        int stopped = profiler_stop();
        disarm();
        CHECK(stopped == 0 || code != 0 || strstr(profiler_error(), "no memory") != NULL);
        if (!was_refused && at > 10)
            break;
    }
    CHECK_EQUAL(profiler_start(&options), 0);
    burn(20000000);
    CHECK_EQUAL(profiler_stop(), 0);
    struct profiler_recording *recording = profiler_recording_open(path, NULL);
    struct profiler_table table = {.size = sizeof table};
    CHECK(recording != NULL && profiler_recording_table(recording, &table) == 0 && table.sample_count > 3);
    profiler_recording_close(recording);
    printf("  %ld allocations of a start, each refused\n", at - 1);
}

int main(int argc, char **argv)
{
    static const struct check_case cases[] = {
        {"reports", reports}, {"writers", writers}, {"tables", tables}, {"sampler", sampler}};
    const char *temporary = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/plait-test-XXXXXX", temporary != NULL ? temporary : "/tmp");
    if (mkdtemp(folder) == NULL)
        return 2;
    int status = check_main(argc, argv, cases, sizeof cases / sizeof *cases);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) != 0 ? 2 : status;
}
