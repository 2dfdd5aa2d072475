/* SPDX-License-Identifier: MIT */
/* recording.c - the recordings part of profiler.h: open, table, fields, close; and the report's strings. */
#include "recording.h"
#include "../core/core.h"
#include "format.h"
#include "text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORDING_BLOCK = 64 << 10 };

const char *profiler_flag_name(unsigned bit)
{
    static const char *const names[] = {
#define X(number, name, text, meaning) [number] = text,
        SAMPLE_FLAGS(X)
#undef X
    };
    return bit < sizeof names / sizeof *names && names[bit] != NULL ? names[bit] : "";
}

const char *profiler_state_name(unsigned bit)
{
    static const char *const names[] = {
#define X(number, name, text, meaning) [number] = text,
        SAMPLE_STATES(X)
#undef X
    };
    return bit < sizeof names / sizeof *names && names[bit] != NULL ? names[bit] : "";
}

/* ---- strings ---- */

const char *recording_text(const struct profiler_recording *recording, uint32_t number)
{
    return number < COUNT(recording->strings, const char *) ? ITEMS(recording->strings, const char *)[number]
                                                            : "";
}

/* A copy that stays until close. */
static char *recording_copy(struct profiler_recording *recording, const unsigned char *bytes, size_t size)
{
    if (size + 1 > recording->text_left) {
        size_t room = size + 1 > RECORDING_BLOCK / 4 ? size + 1 : RECORDING_BLOCK;
        char *block = malloc(room);
        if (block == NULL || !buffer_add(&recording->text, &block, sizeof block)) {
            free(block);
            return NULL;
        }
        recording->text_at = block;
        recording->text_left = room;
    }
    char *copy = recording->text_at;
    if (size != 0)
        memcpy(copy, bytes, size);
    copy[size] = '\0';
    recording->text_at += size + 1;
    recording->text_left -= size + 1;
    return copy;
}

uint32_t recording_string_of(struct profiler_recording *recording, const void *bytes, size_t size,
                             uint32_t kind)
{
    struct buffer *utf8 = &recording->scratch;
    uint32_t number = 0;
    int fresh = 0;
    utf8->used = 0;
    int fits = text_utf8(utf8, bytes, size, kind);
    if (fits) {
        uint64_t key[2] = {intern_hash(utf8->bytes, utf8->used, 1), intern_hash(utf8->bytes, utf8->used, 2)};
        number = intern_add(&recording->string_set, key, &fresh);
    }
    char *copy = fresh ? recording_copy(recording, utf8->bytes, utf8->used) : NULL;
    if (!fits || number == INTERN_NONE ||
        (fresh && (copy == NULL || !buffer_add(&recording->strings, &copy, sizeof copy)))) {
        recording->no_memory = 1;
        number = 0;
    }
    return number;
}

uint32_t recording_string(struct profiler_recording *recording, const char *text)
{
    return recording_string_of(recording, text, strlen(text), FORMAT_UTF8);
}

/* ---- fields ---- */

static void recording_show(struct profiler_recording *recording, const char *key, uint32_t value)
{
    struct recording_pair pair = {recording_string(recording, key), value};
    if (!buffer_add(&recording->shown, &pair, sizeof pair))
        recording->no_memory = 1;
}

static void recording_show_text(struct profiler_recording *recording, const char *key, const char *value)
{
    recording_show(recording, key, recording_string(recording, value));
}

static void recording_show_number(struct profiler_recording *recording, const char *key, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    recording_show_text(recording, key, text);
}

static const char *recording_find(const struct profiler_recording *recording, const char *key)
{
    const struct recording_pair *fields = ITEMS(recording->fields, struct recording_pair);
    for (size_t i = 0; i < COUNT(recording->fields, struct recording_pair); i++)
        if (strcmp(recording_text(recording, fields[i].key), key) == 0)
            return recording_text(recording, fields[i].value);
    return "";
}

/* The minor version out of "3.12.1", or -1. */
static int recording_minor(const struct profiler_recording *recording)
{
    const char *version = recording_find(recording, "python");
    if (strncmp(version, "3.", 2) != 0 || version[2] < '0' || version[2] > '9')
        return -1;
    return atoi(version + 2) < 100 ? atoi(version + 2) : -1;
}

/* A single recording without an end. That of a program which executed another in its place has none. */
static void recording_show_end(struct profiler_recording *recording)
{
    char note[256];
    unsigned long long seconds = recording->complete / 1000000000,
                       millis = recording->complete / 1000000 % 1000;
    const char *next = recording_find(recording, "exec");
    if (recording->damage != NULL)
        snprintf(note, sizeof note,
                 "the recording is %s: its last %u bytes were left out; complete up to %llu.%03llu s",
                 recording->damage, (unsigned)recording->torn, seconds, millis);
    else if (next[0] != '\0')
        snprintf(note, sizeof note, "after %llu.%03llu s the process executed another program: %.150s",
                 seconds, millis, next);
    else
        snprintf(note, sizeof note,
                 "the recording has no end (killed, or still running): complete up to %llu.%03llu s", seconds,
                 millis);
    if (!recording->clean)
        recording_show_text(recording, "note", note);
    if (!recording->clean && recording->damage == NULL)
        recording->endless = (uint32_t)COUNT(recording->shown, struct recording_pair);
}

static void recording_show_notes(struct profiler_recording *recording)
{
    char note[256];
    const struct recording_lost *losses = ITEMS(recording->losses, struct recording_lost);
    for (size_t i = 0; i < COUNT(recording->losses, struct recording_lost); i++) {
        if (strcmp(recording_text(recording, losses[i].cause), "before sampling began") != 0)
            continue;
        snprintf(note, sizeof note,
                 "%llu.%03llu s of CPU time came before sampling began: a child is sampled "
                 "once it has used 10 ms",
                 (unsigned long long)(losses[i].weight / 1000000000),
                 (unsigned long long)(losses[i].weight / 1000000 % 1000));
        recording_show_text(recording, "note", note);
    }
    if (recording->lost != 0) {
        snprintf(note, sizeof note, "%llu ticks gave no sample (%llu.%03llu s of CPU time)",
                 (unsigned long long)recording->lost,
                 (unsigned long long)(recording->lost_weight / 1000000000),
                 (unsigned long long)(recording->lost_weight / 1000000 % 1000));
        recording_show_text(recording, "note", note);
    }
    if (recording->symbolizer != NULL && recording->symbolizer->note != NULL &&
        recording->symbolizer->note[0] != '\0')
        recording_show_text(recording, "note", recording->symbolizer->note);
}

void recording_show_all(struct profiler_recording *recording)
{
    const struct recording_pair *fields = ITEMS(recording->fields, struct recording_pair);
    for (size_t i = 0; i < COUNT(recording->fields, struct recording_pair); i++)
        recording_show(recording, recording_text(recording, fields[i].key), fields[i].value);
    recording_show_number(recording, "start_ns", recording->start);
    recording_show_number(recording, "wall_start_ns", recording->wall);
    recording_show_number(recording, "complete_ns", recording->complete);
    const struct recording_counter *counters = ITEMS(recording->counters, struct recording_counter);
    for (size_t i = 0; i < COUNT(recording->counters, struct recording_counter); i++)
        recording_show_number(recording, recording_text(recording, (uint32_t)counters[i].name),
                              counters[i].value);
    const struct recording_lost *losses = ITEMS(recording->losses, struct recording_lost);
    for (size_t i = 0; i < COUNT(recording->losses, struct recording_lost); i++) {
        char key[128];
        snprintf(key, sizeof key, "lost: %.100s", recording_text(recording, losses[i].cause));
        recording_show_number(recording, key, losses[i].ticks);
    }
    if (recording->bytes != NULL) /* not that of several */
        recording_show_end(recording);
    recording_show_notes(recording);
}

int profiler_recording_note(struct profiler_recording *recording, const char *text)
{
    struct error error;
    recording_show_text(recording, "note", text);
    if (!recording->no_memory)
        return 0;
    error_set(&error, PROFILER_NO_MEMORY, 0, "no memory for a remark");
    return error_publish(&error);
}

int profiler_recording_field(struct profiler_recording *recording, uint32_t index, const char **key,
                             const char **value)
{
    /* What is selected has an end, also where the recording goes on. */
    if (recording->selected && recording->endless != 0 && index + 1 >= recording->endless)
        index++;
    if (index >= COUNT(recording->shown, struct recording_pair))
        return 0;
    const struct recording_pair *pair = &ITEMS(recording->shown, struct recording_pair)[index];
    *key = recording_text(recording, pair->key);
    *value = recording_text(recording, pair->value);
    return 1;
}

const char *recording_no_instructions(struct profiler_recording *recording)
{
    const char *key, *value;
    for (uint32_t i = 0; profiler_recording_field(recording, i, &key, &value); i++)
        if (strcmp(key, "instructions") == 0)
            return strcmp(value, "counted") == 0 ? "counted, but none in these samples" : value;
    return "not counted: the recording does not say why";
}

/* ---- open, close, table ---- */

void recording_begin(struct profiler_recording *recording)
{
    intern_init(&recording->string_set, 2);
    recording_string(recording, "");
}

static uint32_t recording_number(const struct profiler_recording *recording, const char *key)
{
    return (uint32_t)strtoul(recording_find(recording, key), NULL, 10);
}

/* The one row of the recording's own process. */
static void recording_describe_process(struct profiler_recording *recording)
{
    char command[256];
    snprintf(command, sizeof command, "%s", recording_find(recording, "argv"));
    size_t first = strcspn(command, "\x1f");
    for (char *at = command; *at != '\0'; at++)
        *at = *at == '\x1f' ? ' ' : *at;
    struct profiler_process process = {
        .pid = recording_number(recording, "pid"),
        .parent = recording_number(recording, "parent"),
        .command = recording_string(recording, command),
        .python = recording_string(recording, recording_find(recording, "python")),
        .end = recording->complete,
        .lost_weight = recording->lost_weight,
    };
    process.ended = recording->clean                               ? PROFILER_ENDED
                    : recording_find(recording, "exec")[0] != '\0' ? PROFILER_REPLACED
                                                                   : PROFILER_ENDLESS;
    command[first] = '\0';
    const char *slash = strrchr(command, '/');
    process.name = recording_string(recording, slash != NULL ? slash + 1 : command);
    if (!buffer_add(&recording->processes, &process, sizeof process))
        recording->no_memory = 1;
}

static int recording_fill(struct profiler_recording *recording, const char *path, struct error *error)
{
    recording_begin(recording);
    int code = reader_run(recording, path, error);
    if (code != 0)
        return code;
    recording->minor = recording_minor(recording);
    recording_describe_process(recording);
    code = aggregate_tree(recording);
    recording_show_all(recording);
    if (code != 0 || recording->no_memory)
        return error_set(error, PROFILER_NO_MEMORY, 0, "no memory for the report on %s", path);
    return 0;
}

static struct profiler_recording *recording_open(const char *path, struct profiler_symbolizer *symbolizer,
                                                 uint32_t columns)
{
    struct error error = {0};
    struct profiler_recording *recording = calloc(1, sizeof *recording);
    if (recording == NULL) {
        error_set(&error, PROFILER_NO_MEMORY, 0, "no memory to open %s", path);
    } else {
        recording->symbolizer = symbolizer;
        recording->columns = columns;
        if (recording_fill(recording, path, &error) == 0)
            return recording;
        profiler_recording_close(recording);
    }
    error_publish(&error);
    return NULL;
}

struct profiler_recording *profiler_recording_open(const char *path, struct profiler_symbolizer *symbolizer)
{
    return recording_open(path, symbolizer, 0);
}

struct profiler_recording *profiler_recording_open_columns(const char *path,
                                                           struct profiler_symbolizer *symbolizer)
{
    return recording_open(path, symbolizer, 1);
}

void profiler_recording_close(struct profiler_recording *recording)
{
    if (recording == NULL)
        return;
    char **blocks = ITEMS(recording->text, char *);
    for (size_t i = 0; i < COUNT(recording->text, char *); i++)
        free(blocks[i]);
    struct buffer *const buffers[] = {
        &recording->scratch,         &recording->text,
        &recording->strings,         &recording->file_strings,
        &recording->libraries,       &recording->codes,
        &recording->frames,          &recording->nodes,
        &recording->threads,         &recording->extras,
        &recording->fields,          &recording->counters,
        &recording->losses,          &recording->selected_samples,
        &recording->node_unnamed,    &recording->frame_places,
        &recording->places,          &recording->report_nodes,
        &recording->samples,         &recording->report_threads,
        &recording->selected_extras, &recording->thread_map,
        &recording->shown,           &recording->processes,
    };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        buffer_free(buffers[i]);
    intern_free(&recording->string_set);
    intern_free(&recording->place_set);
    intern_free(&recording->node_set);
    free(recording->bytes);
    free(recording);
}

int profiler_recording_table(struct profiler_recording *recording, struct profiler_table *table)
{
    struct profiler_table full = {
        .size = table->size,
        .strings = ITEMS(recording->strings, const char *const),
        .places = ITEMS(recording->places, struct profiler_place),
        .nodes = ITEMS(recording->report_nodes, struct profiler_node),
        .samples = ITEMS(*select_shown(recording), struct profiler_sample),
        .threads = ITEMS(recording->report_threads, struct profiler_thread),
        .string_count = COUNT(recording->strings, const char *),
        .place_count = COUNT(recording->places, struct profiler_place),
        .node_count = COUNT(recording->report_nodes, struct profiler_node),
        .sample_count = COUNT(*select_shown(recording), struct profiler_sample),
        .thread_count = COUNT(recording->report_threads, struct profiler_thread),
        .total_count = recording->total_count,
        .total_weight = recording->total_weight,
        .elapsed = recording->elapsed,
        .lost = recording->lost,
        .lost_weight = recording->lost_weight,
        .unnamed = recording->unnamed,
        .has_instructions = recording->has_instructions,
        .clean = recording->clean,
        .processes = ITEMS(recording->processes, struct profiler_process),
        .process_count = COUNT(recording->processes, struct profiler_process),
    };
    memcpy(full.flag_count, recording->flag_count, sizeof full.flag_count);
    if (table->size < sizeof table->size || table->size > sizeof full) {
        struct error error;
        error_set(&error, PROFILER_BAD_OPTION, 0,
                  "profiler_recording_table: table.size is not set, or newer");
        return error_publish(&error);
    }
    memcpy(table, &full, table->size);
    return 0;
}

int profiler_recording_select(struct profiler_recording *recording, const uint64_t *intervals, uint32_t count)
{
    int code = select_samples(recording, intervals, count);
    struct error error;
    if (code == 0)
        return 0;
    error_set(&error, code, 0, "no memory to select samples");
    return error_publish(&error);
}
