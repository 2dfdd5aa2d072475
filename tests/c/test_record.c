/* SPDX-License-Identifier: MIT */
/* test_record.c - recordings written and read back: what comes out is what went in; a file cut at any byte or
 * damaged in any byte reads up to there; a file that takes no more loses nothing that fits the backlog. */
#include "check.h"
#include "profiler.h"
#include "record/format.h"
#include "recording_sample.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[256];

static const char *in_folder(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static unsigned char *load(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    unsigned char *bytes = calloc(1, 1 << 20);
    *size = file != NULL ? fread(bytes, 1, (1 << 20) - 1, file) : 0;
    if (file != NULL)
        fclose(file);
    return bytes;
}

static void store(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL && fwrite(bytes, 1, size, file) == size);
    if (file != NULL)
        fclose(file);
}

/* Writes the known recording and gives its bytes. */
static unsigned char *known(size_t *size)
{
    struct error error = {0};
    struct writer *writer = writer_new();
    CHECK_EQUAL(sample_write(writer, in_folder("known.plait"), 1, &error), 0);
    CHECK_STRING(error.text, "");
    writer_free(writer);
    return load(in_folder("known.plait"), size);
}

static struct profiler_table table_of(struct profiler_recording *recording)
{
    struct profiler_table table = {.size = sizeof table};
    CHECK_EQUAL(profiler_recording_table(recording, &table), 0);
    return table;
}

static const char *field(struct profiler_recording *recording, const char *wanted)
{
    const char *key, *value;
    for (uint32_t i = 0; profiler_recording_field(recording, i, &key, &value); i++)
        if (strcmp(key, wanted) == 0)
            return value;
    return "";
}

static const char *name_of(const struct profiler_table *table, uint32_t node)
{
    return table->strings[table->places[table->nodes[node].place].function];
}

static void round_trip(void)
{
    size_t size;
    free(known(&size));
    struct profiler_recording *recording = profiler_recording_open(in_folder("known.plait"), NULL);
    CHECK(recording != NULL);
    if (recording == NULL)
        return;
    struct profiler_table table = table_of(recording);
    CHECK_EQUAL(table.total_count, 40);
    CHECK_EQUAL(table.total_weight, 30 * 1000000 + 10 * 500000);
    CHECK_EQUAL(table.elapsed, 41 * 1000000);
    CHECK_EQUAL(table.sample_count, 40);
    CHECK_EQUAL(table.clean, 1);
    CHECK_EQUAL(table.lost, 3);
    CHECK_EQUAL(table.lost_weight, 3000000);
    CHECK_EQUAL(table.unnamed, 0);
    CHECK_EQUAL(table.has_instructions, 0);
    CHECK_EQUAL(table.flag_count[1], 10);
    CHECK_STRING(profiler_flag_name(1), "no_python");
    CHECK_STRING(profiler_flag_name(31), "");
    CHECK_EQUAL(table.thread_count, 2);
    CHECK_EQUAL(table.threads[0].tid, 11);
    CHECK_EQUAL(table.threads[1].count, 10);
    CHECK_STRING(table.strings[table.threads[1].name], "other");
    CHECK_STRING(field(recording, "clock"), "poll");
    CHECK_STRING(field(recording, "probes"), "7");
    CHECK_STRING(field(recording, "lost: ring full"), "3");
    /* Root, libwork+0x999, eval, work, two leaves. */
    CHECK_EQUAL(table.node_count, 6);
    for (uint64_t i = 0; i < table.sample_count; i++) {
        const struct profiler_sample *sample = &table.samples[i];
        CHECK_EQUAL(sample->time, (i + 1) * 1000000);
        uint32_t leaf = sample->node, up = table.nodes[leaf].parent;
        if (i % 4 == 3) {
            CHECK_STRING(name_of(&table, leaf), "libwork.so+0x999");
            CHECK_EQUAL(up, 0);
            continue;
        }
        CHECK_STRING(name_of(&table, leaf), i % 2 ? "libwork.so+0x124" : "libwork.so+0x123");
        const struct profiler_place *work = &table.places[table.nodes[up].place];
        CHECK_STRING(table.strings[work->function], "work");
        CHECK_STRING(table.strings[work->file], "/src/app.py");
        CHECK_EQUAL(work->line, 21);
        CHECK_EQUAL(work->first_line, 20);
        CHECK_EQUAL(work->kind, 1);
        const struct profiler_place *eval = &table.places[table.nodes[table.nodes[up].parent].place];
        CHECK_EQUAL(eval->hidden, 1);
        CHECK_EQUAL(eval->address, 0x456);
    }
    profiler_recording_close(recording);
}

static void selection(void)
{
    size_t size;
    free(known(&size));
    struct profiler_recording *recording = profiler_recording_open(in_folder("known.plait"), NULL);
    CHECK(recording != NULL);
    if (recording == NULL)
        return;
    /* Samples stand at 1 ms, 2 ms ... ; thread 12 has every fourth. The two spans overlap. */
    uint64_t spans[] = {3000000, 9000000, 0, 5000000, 11000000, 0};
    CHECK_EQUAL(profiler_recording_select(recording, spans, 2), 0);
    struct profiler_table table = table_of(recording);
    CHECK_EQUAL(table.total_count, 8);
    CHECK_EQUAL(table.sample_count, 8);
    CHECK_EQUAL(table.elapsed, 8000000);
    CHECK_EQUAL(table.threads[1].count, 2);
    uint64_t other[] = {0, UINT64_MAX, 12};
    CHECK_EQUAL(profiler_recording_select(recording, other, 1), 0);
    table = table_of(recording);
    CHECK_EQUAL(table.total_count, 10);
    CHECK_EQUAL(table.total_weight, 5000000);
    CHECK_EQUAL(table.elapsed, 41000000);
    uint64_t self = 0;
    for (uint64_t i = 0; i < table.node_count; i++)
        self += table.nodes[i].count;
    CHECK_EQUAL(self, 10);
    /* Many spans, unordered, of both kinds, some empty, against the plain rule. */
    uint64_t many[3 * 60], state = 3;
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 60; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            many[3 * i] = (state >> 33) % 80 * 500000;
            many[3 * i + 1] = many[3 * i] + (state >> 50) % 4 * 500000;
            many[3 * i + 2] = (uint64_t)(round % 3 == 0 ? 0 : 10 + (state >> 40) % 3);
        }
        uint32_t count = (uint32_t)(1 + round);
        uint64_t expected = 0;
        for (uint64_t ms = 1; ms <= 40; ms++) {
            int within = 0;
            for (uint32_t i = 0; i < count; i++)
                within |= ms * 1000000 >= many[3 * i] && ms * 1000000 < many[3 * i + 1] &&
                          (many[3 * i + 2] == 0 || many[3 * i + 2] == (ms % 4 ? 11 : 12));
            expected += (uint64_t)within;
        }
        CHECK_EQUAL(profiler_recording_select(recording, many, count), 0);
        CHECK_EQUAL(table_of(recording).total_count, expected);
    }
    CHECK_EQUAL(profiler_recording_select(recording, NULL, 0), 0);
    CHECK_EQUAL(table_of(recording).total_count, 40);
    profiler_recording_close(recording);
}

/* Opens bytes as a recording: how many samples it has, or -1 when refused; checks that they are the first of
 * the known ones, that the loss is said, and that the tree is sound. */
static int samples_in(const void *bytes, size_t size, int *clean)
{
    store(in_folder("part.plait"), bytes, size);
    struct profiler_recording *recording = profiler_recording_open(in_folder("part.plait"), NULL);
    *clean = 0;
    if (recording == NULL)
        return -1;
    struct profiler_table table = table_of(recording);
    *clean = table.clean != 0;
    for (uint64_t i = 0; i < table.sample_count; i++)
        CHECK(table.samples[i].time == (i + 1) * 1000000 && table.samples[i].node < table.node_count);
    for (uint64_t i = 1; i < table.node_count; i++)
        CHECK(table.nodes[i].parent < i && table.nodes[i].place < table.place_count);
    CHECK(*clean || strstr(field(recording, "note"), "complete up to") != NULL);
    int count = (int)table.sample_count;
    profiler_recording_close(recording);
    return count;
}

static void cut_anywhere(void)
{
    size_t size;
    unsigned char *bytes = known(&size);
    int last = -1, clean, jumps = 0;
    for (size_t cut = 0; cut < size; cut++) {
        int count = samples_in(bytes, cut, &clean);
        CHECK(count >= last && clean == 0);
        jumps += count > last;
        last = count;
    }
    CHECK_EQUAL(samples_in(bytes, size, &clean), 40);
    CHECK_EQUAL(clean, 1);
    CHECK_EQUAL(last, 40);
    CHECK_EQUAL(jumps, 6); /* opens at all, then once a flush */
    free(bytes);
}

static void damaged_anywhere(void)
{
    size_t size;
    unsigned char *bytes = known(&size);
    int clean;
    for (size_t at = 0; at < size; at++) {
        bytes[at] ^= 0x55;
        int count = samples_in(bytes, size, &clean);
        CHECK(count <= 40);
        CHECK(clean == 0 || (at >= 12 && at < 16));
        bytes[at] ^= 0x55;
    }
    free(bytes);
}

static void refused(const char *name, const char *why, int code)
{
    struct error error;
    CHECK(profiler_recording_open(in_folder(name), NULL) == NULL);
    error_last(&error);
    CHECK_EQUAL(error.code, code);
    if (strstr(error.text, why) == NULL)
        CHECK_STRING(error.text, why);
}

static void not_recordings(void)
{
    size_t size;
    unsigned char *bytes = known(&size);
    refused("none.plait", "no such file", PROFILER_FILE);
    store(in_folder("empty.plait"), "", 0);
    refused("empty.plait", "empty", PROFILER_FORMAT);
    store(in_folder("text.plait"), "hello, world, how are you", 25);
    refused("text.plait", "not a plait recording", PROFILER_FORMAT);
    store(in_folder("head.plait"), bytes, 11);
    refused("head.plait", "cut within its header", PROFILER_FORMAT);
    store(in_folder("head.plait"), bytes, 20);
    refused("head.plait", "within its header", PROFILER_FORMAT);
    bytes[8] = 2;
    store(in_folder("two.plait"), bytes, size);
    refused("two.plait", "version 2", PROFILER_FORMAT);
    refused(".", "", PROFILER_FILE);
    free(bytes);
}

static void repeated_sample_is_small(void)
{
    enum { REPEATS = 20000 };
    struct error error = {0};
    struct writer *writer = writer_new();
    CHECK_EQUAL(writer_open(writer, in_folder("small.plait"), 1, START, NULL, &error), 0);
    struct frame frames[] = {sample_python(1, 4), sample_native(0x400000, FRAME_EVAL)};
    struct writer_totals before, after;
    uint64_t time = START;
    for (uint64_t i = 0; i < REPEATS; i++) {
        time += 997003 + i * 7919 % 20000; /* the tick of a busy thread, up to 20 us late */
        sample_put(writer, 0, time, 997003, 0, frames, 2);
        if (i % 20 == 19)
            writer_flush(writer, time);
        if (i == REPEATS / 2 - 1)
            writer_get_totals(writer, &before);
    }
    writer_get_totals(writer, &after);
    CHECK_EQUAL(after.samples, REPEATS);
    uint64_t bytes = after.bytes - before.bytes;
    printf("a repeated sample takes %.2f bytes, chunks included (20 a flush)\n", (double)bytes * 2 / REPEATS);
    CHECK(bytes * 2 < REPEATS * 3);
    CHECK_EQUAL(after.nodes, 2);
    CHECK_EQUAL(writer_close(writer, time, &error), 0);
    writer_free(writer);
}

static void many_stacks(void)
{
    enum { STACKS = 20000, DEPTH = 50 };
    struct error error = {0};
    struct writer *writer = writer_new();
    struct frame frames[DEPTH];
    CHECK_EQUAL(writer_open(writer, in_folder("many.plait"), 1, START, NULL, &error), 0);
    for (uint32_t i = 0; i < STACKS; i++) {
        for (uint32_t d = 0; d < DEPTH; d++) /* the root side parts: nothing is shared but the leaf frames */
            frames[d] = sample_python(d == DEPTH - 1 ? 1000 + i : d, 0);
        sample_put(writer, 0, START + i * 1000u, 1000, 0, frames, DEPTH);
        if (i % 1000 == 999)
            CHECK_EQUAL(writer_flush(writer, START + i * 1000u), 0);
    }
    struct writer_totals totals;
    writer_get_totals(writer, &totals);
    CHECK_EQUAL(totals.nodes, STACKS * DEPTH);
    CHECK_EQUAL(totals.lost, 0);
    CHECK_EQUAL(totals.unnamed, STACKS);
    printf("%d nodes: %d KB of memory, %d KB of file\n", (int)totals.nodes, (int)(totals.memory >> 10),
           (int)(totals.bytes >> 10));
    CHECK(totals.memory < 40u << 20);
    CHECK_EQUAL(writer_close(writer, START, &error), 0);
    writer_free(writer);
    struct profiler_recording *recording = profiler_recording_open(in_folder("many.plait"), NULL);
    CHECK(recording != NULL);
    if (recording == NULL)
        return;
    struct profiler_table table = table_of(recording);
    CHECK_EQUAL(table.total_count, STACKS);
    CHECK_EQUAL(table.node_count, STACKS * DEPTH + 1);
    CHECK_EQUAL(table.unnamed, STACKS);
    profiler_recording_close(recording);
}

static void cut_stacks(void)
{
    struct error error = {0};
    struct writer *writer = writer_new();
    CHECK_EQUAL(writer_open(writer, in_folder("deep.plait"), 1, START, NULL, &error), 0);
    union {
        struct sample sample;
        unsigned char room[sizeof(struct sample) + 4 * sizeof(struct frame)];
    } deep = {.sample = {.time = START, .weight = 1000, .depth = 916, .count = 4}};
    for (uint32_t cut_at = 0; cut_at <= 4; cut_at++) {
        deep.sample.cut_at = cut_at;
        for (uint32_t i = 0; i < 4; i++)
            deep.sample.frames[i] = sample_native(0x10 + i, FRAME_EXACT_PC);
        writer_sample(writer, 0, &deep.sample, sample_library_of, NULL);
    }
    CHECK_EQUAL(writer_close(writer, START, &error), 0);
    writer_free(writer);
    struct profiler_recording *recording = profiler_recording_open(in_folder("deep.plait"), NULL);
    CHECK(recording != NULL);
    if (recording == NULL)
        return;
    struct profiler_table table = table_of(recording);
    for (uint32_t cut_at = 0; cut_at <= 4; cut_at++) {
        uint32_t node = table.samples[cut_at].node;
        for (uint32_t i = 0; i < 5; i++, node = table.nodes[node].parent) {
            static const char *const names[] = {"0x10", "0x11", "0x12", "0x13"};
            CHECK_STRING(name_of(&table, node), i == cut_at ? "... frames cut ..." : names[i - (i > cut_at)]);
        }
        CHECK_EQUAL(node, 0);
    }
    profiler_recording_close(recording);
}

/* Stacks that share some of their root side with the one before, on several threads: each comes back whole.
 */
static void random_stacks(void)
{
    enum { STACKS = 3000, DEEPEST = 12 };
    static struct frame stacks[STACKS][DEEPEST];
    static uint32_t counts[STACKS];
    struct error error = {0};
    struct writer *writer = writer_new();
    CHECK_EQUAL(writer_open(writer, in_folder("random.plait"), 1, START, NULL, &error), 0);
    uint64_t state = 7;
    for (uint32_t i = 0; i < STACKS; i++) {
        counts[i] = (uint32_t)(state >> 40) % (DEEPEST + 1);
        for (uint32_t d = 0; d < counts[i]; d++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            uint32_t pick = (uint32_t)(state >> 60) % 3;
            stacks[i][d] = pick == 0 ? sample_python(state >> 62, 2)
                                     : sample_native(0x10 + pick, pick == 1 ? FRAME_EXACT_PC : 0);
        }
        state = state * 6364136223846793005u + 1442695040888963407u;
        if (i % 500 == 250)
            writer_library(writer, 9, 0, 0, 0, NULL, 0, "");
        if (i % 700 == 300)
            sample_code(writer, i / 700, "f.py", "named", NULL, 1, "", 0, 0);
        sample_put(writer, i % 3, START + i * 1000, i, (uint16_t)(i % 5), stacks[i], counts[i]);
    }
    CHECK_EQUAL(writer_close(writer, START, &error), 0);
    writer_free(writer);
    struct profiler_recording *recording = profiler_recording_open(in_folder("random.plait"), NULL);
    CHECK(recording != NULL);
    if (recording == NULL)
        return;
    struct profiler_table table = table_of(recording);
    CHECK_EQUAL(table.sample_count, STACKS);
    uint64_t wrong = 0;
    for (uint32_t i = 0; i < STACKS && i < table.sample_count; i++) {
        const struct profiler_sample *sample = &table.samples[i];
        wrong += sample->time != i * 1000 || sample->weight != i || sample->flags != i % 5 ||
                 sample->thread != i % 3;
        uint32_t node = sample->node, d = 0;
        for (; d < counts[i] && node != 0; d++, node = table.nodes[node].parent) {
            const struct profiler_place *place = &table.places[table.nodes[node].place];
            wrong += place->kind != stacks[i][d].kind;
            /* Named code objects are one place here: they have one function, file and line. */
            wrong +=
                place->address != stacks[i][d].id && strcmp(table.strings[place->function], "named") != 0;
        }
        wrong += d != counts[i] || node != 0;
    }
    CHECK_EQUAL(wrong, 0);
    profiler_recording_close(recording);
}

/* Names come late, in pieces, or never; strings are not always text. */
static void code_objects(void)
{
    struct error error = {0};
    struct writer *writer = writer_new();
    CHECK_EQUAL(writer_open(writer, in_folder("code.plait"), 1, START, NULL, &error), 0);
    for (uint64_t key = 1; key <= 3; key++) {
        struct frame frame = sample_python(key, -1);
        sample_put(writer, 0, START, 1000, 0, &frame, 1);
    }
    struct writer_totals totals;
    writer_get_totals(writer, &totals);
    CHECK_EQUAL(totals.unnamed, 3);
    CHECK_EQUAL(writer_flush(writer, START), 0);
    sample_code(writer, 1, "f.py", "first", "Class.first", 5, "", 0, 0);
    sample_code(writer, 1, "f.py", "ignored", NULL, 5, "", 0, 0);
    sample_code(writer, 2, "f.py", "cut", NULL, 6, "", 0, 1);
    sample_code(writer, 2, "f.py",
                "n\xe9"
                "e",
                NULL, 7, "", 0, 0);
    sample_code(writer, 2, "f.py", "ignored", NULL, 8, "", 0, 1);
    writer_get_totals(writer, &totals);
    CHECK_EQUAL(totals.unnamed, 1);
    CHECK_EQUAL(writer_close(writer, START, &error), 0);
    writer_free(writer);
    struct profiler_recording *recording = profiler_recording_open(in_folder("code.plait"), NULL);
    CHECK(recording != NULL);
    if (recording == NULL)
        return;
    struct profiler_table table = table_of(recording);
    CHECK_EQUAL(table.unnamed, 1);
    CHECK_STRING(name_of(&table, table.samples[0].node), "Class.first");
    CHECK_STRING(name_of(&table, table.samples[1].node), "n\xc3\xa9"
                                                         "e");
    CHECK_STRING(name_of(&table, table.samples[2].node), "(unnamed code)");
    CHECK_EQUAL(table.places[table.nodes[table.samples[1].node].place].line, 7);
    profiler_recording_close(recording);
}

static void file_errors(void)
{
    struct error error = {0};
    struct writer *writer = writer_new();
    store(in_folder("there.plait"), "mine", 4);
    CHECK_EQUAL(writer_open(writer, in_folder("there.plait"), 0, START, NULL, &error), PROFILER_FILE);
    CHECK(strstr(error.text, "exists") != NULL && strstr(error.text, "there.plait") != NULL);
    size_t size;
    unsigned char *bytes = load(in_folder("there.plait"), &size);
    CHECK(size == 4 && memcmp(bytes, "mine", 4) == 0);
    free(bytes);
    CHECK_EQUAL(writer_open(writer, in_folder("no/such/folder.plait"), 0, START, NULL, &error),
                PROFILER_FILE);
    CHECK(strstr(error.text, "no such file or directory") != NULL);
    CHECK_EQUAL(writer_open(writer, "/dev/full", 1, START, NULL, &error), PROFILER_FILE);
    CHECK(strstr(error.text, "no space left") != NULL);
    writer_free(writer);
}

/* The disk fills in the middle of a chunk and is freed later: the file is the one a large disk gives. */
static void full_disk(void)
{
    size_t size;
    unsigned char *bytes = known(&size);
    struct rlimit usual, tight;
    signal(SIGXFSZ, SIG_IGN);
    CHECK_EQUAL(getrlimit(RLIMIT_FSIZE, &usual), 0);
    int clean, most = 0;
    for (rlim_t limit = size / 4; limit < size; limit += 37) {
        tight = (struct rlimit){limit, usual.rlim_max};
        struct error error = {0};
        struct writer *writer = writer_new();
        setrlimit(RLIMIT_FSIZE, &tight);
        int code = sample_write(writer, in_folder("tight.plait"), 1, &error);
        setrlimit(RLIMIT_FSIZE, &usual);
        CHECK_EQUAL(code, PROFILER_FILE);
        CHECK(strstr(error.text, "file-size limit") != NULL);
        size_t got;
        unsigned char *written = load(in_folder("tight.plait"), &got);
        CHECK(got == limit && memcmp(written + 40, bytes + 40, got - 40) == 0);
        int count = samples_in(written, got, &clean);
        most = count > most ? count : most;
        free(written);
        CHECK_EQUAL(writer_attach(writer, &error), 0);
        CHECK_EQUAL(writer_flush(writer, START), 0);
        written = load(in_folder("tight.plait"), &got);
        CHECK(got >= size && memcmp(written + 40, bytes + 40, size - 40) == 0);
        CHECK_EQUAL(samples_in(written, got, &clean), 40);
        CHECK_EQUAL(clean, 1);
        free(written);
        writer_free(writer);
    }
    CHECK(most > 20);
    free(bytes);
}

/* A file that never takes anything: memory stays bounded and every tick is counted. */
static void backlog_is_bounded(void)
{
    struct error error = {0};
    struct writer *writer = writer_new();
    CHECK_EQUAL(writer_open(writer, in_folder("stuck.plait"), 1, START, NULL, &error), 0);
    writer_detach(writer);
    enum { TICKS = 1500000 };
    struct frame frames[2] = {sample_native(0x10, 0), sample_native(0x20, 0)};
    for (uint64_t i = 0; i < TICKS; i++) {
        sample_put(writer, 0, START + i * i * 1000, 1000 + i % 2 * 100000000, (uint16_t)(i % 2), frames, 2);
        if (i % 1000 == 0)
            CHECK(writer_flush(writer, START) < 0);
    }
    struct writer_totals totals;
    writer_get_totals(writer, &totals);
    CHECK_EQUAL(totals.samples + totals.lost, TICKS);
    CHECK(totals.lost > 0 && totals.samples > 500000);
    CHECK(totals.memory < 4u * WRITER_BACKLOG);
    CHECK_EQUAL(writer_attach(writer, &error), 0);
    CHECK_EQUAL(writer_flush(writer, START), 0);
    CHECK_EQUAL(writer_close(writer, START, &error), 0);
    writer_free(writer);
    struct profiler_recording *recording = profiler_recording_open(in_folder("stuck.plait"), NULL);
    CHECK(recording != NULL);
    if (recording == NULL)
        return;
    CHECK_EQUAL(table_of(recording).total_count, totals.samples);
    CHECK_EQUAL(table_of(recording).lost, totals.lost);
    profiler_recording_close(recording);
}

static void detach_and_attach(void)
{
    struct error error = {0};
    struct writer *writer = writer_new();
    struct frame frame = sample_native(0x10, 0);
    char here[512];
    CHECK(getcwd(here, sizeof here) != NULL && chdir(folder) == 0);
    CHECK_EQUAL(writer_open(writer, "moved.plait", 1, START, NULL, &error), 0);
    CHECK(chdir("/") == 0);
    for (int i = 0; i < 5; i++) {
        sample_put(writer, 0, START, 1000, 0, &frame, 1);
        writer_flush(writer, START);
        writer_detach(writer);
        sample_put(writer, 0, START, 1000, 0, &frame, 1);
        CHECK_EQUAL(writer_attach(writer, &error), 0);
    }
    CHECK_EQUAL(writer_flush(writer, START), 0);
    writer_detach(writer);
    store(in_folder("moved.plait"), "other", 5);
    CHECK_EQUAL(writer_attach(writer, &error), PROFILER_FILE);
    CHECK(strstr(error.text, "changed") != NULL);
    CHECK(chdir(here) == 0);
    writer_free(writer);
}

static void extras(void)
{
    struct error error = {0};
    struct writer *writer = writer_new();
    CHECK_EQUAL(writer_open(writer, in_folder("extra.plait"), 1, START, NULL, &error), 0);
    union {
        struct sample sample;
        unsigned char room[sizeof(struct sample) + sizeof(struct frame)];
    } tick = {.sample = {.weight = 1000, .depth = 1, .count = 1}};
    tick.sample.frames[0] = sample_native(0x10, FRAME_EXACT_PC);
    for (int i = 0; i < 6; i++) {
        tick.sample.time = START + (uint64_t)i * 1000;
        tick.sample.memory = i % 2 ? -4096 * i : 0;
        tick.sample.instructions = i == 4 ? 1u << 20 : 0;
        writer_sample(writer, (uint32_t)i % 3, &tick.sample, sample_library_of, NULL);
    }
    CHECK_EQUAL(writer_close(writer, START, &error), 0);
    writer_free(writer);
    struct profiler_recording *recording = profiler_recording_open(in_folder("extra.plait"), NULL);
    CHECK(recording != NULL);
    if (recording == NULL)
        return;
    struct profiler_table table = table_of(recording);
    CHECK_EQUAL(table.has_instructions, 1);
    CHECK_EQUAL(table.nodes[1].memory, -4096 * 9);
    CHECK_EQUAL(table.nodes[1].instructions, 1 << 20);
    uint64_t late[] = {2000, 4000, 0};
    CHECK_EQUAL(profiler_recording_select(recording, late, 1), 0);
    CHECK_EQUAL(table_of(recording).nodes[1].memory, -4096 * 3);
    profiler_recording_close(recording);
}

/* A program that has started millions of threads: what the writer takes the reader takes; the rest is lost,
 * and said. */
static void many_threads(void)
{
    const uint32_t numbers[] = {3, FORMAT_THREADS - 1, FORMAT_THREADS, UINT32_MAX};
    struct frame frame = sample_native(0x500123, FRAME_EXACT_PC);
    struct error error = {0};
    struct writer_totals totals;
    struct writer *writer = writer_new();
    CHECK_EQUAL(writer_open(writer, in_folder("threads.plait"), 1, START, NULL, &error), 0);
    for (unsigned i = 0; i < 4; i++) {
        writer_thread(writer, numbers[i], (int)(100 + i), "thread");
        sample_put(writer, numbers[i], START + 1000, 500, 0, &frame, 1);
    }
    CHECK_EQUAL(writer_close(writer, START + 4000, &error), 0);
    writer_get_totals(writer, &totals);
    CHECK_EQUAL(totals.samples, 2);
    CHECK_EQUAL(totals.lost, 2);
    writer_free(writer);
    struct profiler_table table = {.size = sizeof table};
    struct profiler_recording *recording = profiler_recording_open(in_folder("threads.plait"), NULL);
    CHECK(recording != NULL && profiler_recording_table(recording, &table) == 0);
    CHECK_EQUAL(table.sample_count, 2);
    CHECK_EQUAL(table.thread_count, 2);
    CHECK(table.clean && table.lost == 2);
    profiler_recording_close(recording);
}

int main(int argc, char **argv)
{
    static const struct check_case cases[] = {
        {"round_trip", round_trip},
        {"many_threads", many_threads},
        {"selection", selection},
        {"cut_anywhere", cut_anywhere},
        {"damaged_anywhere", damaged_anywhere},
        {"not_recordings", not_recordings},
        {"repeated_sample_is_small", repeated_sample_is_small},
        {"many_stacks", many_stacks},
        {"cut_stacks", cut_stacks},
        {"random_stacks", random_stacks},
        {"code_objects", code_objects},
        {"file_errors", file_errors},
        {"full_disk", full_disk},
        {"backlog_is_bounded", backlog_is_bounded},
        {"detach_and_attach", detach_and_attach},
        {"extras", extras},
    };
    const char *temporary = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/plait-test-XXXXXX", temporary != NULL ? temporary : "/tmp");
    if (mkdtemp(folder) == NULL)
        return 2;
    int status = check_main(argc, argv, cases, sizeof cases / sizeof *cases);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) != 0 ? 2 : status;
}
