/* SPDX-License-Identifier: MIT */
/* report_check.h - what must hold of every recording that could be opened, whatever its bytes: the table's
 * numbers refer to something and add up, every report is well-formed, and all of them count the same samples.
 * Reports go to a file in memory. No path of the input is opened: names come from a symbolizer of our own. */
#ifndef PLAIT_FUZZ_REPORT_CHECK_H
#define PLAIT_FUZZ_REPORT_CHECK_H

#include "holds.h"
#include "profiler.h"
#include "record/elfsyms.h"
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { REPORT_DEPTH = 8 };

int elfsyms_start(const char *path, const unsigned char *build_id, uint32_t build_id_size, uint64_t offset,
                  uint64_t *start)
{
    (void)path, (void)build_id, (void)build_id_size;
    *start = offset & ~15ull;
    return offset % 3 == 0;
}

/* No name, one name, or several levels with names that no compiler gives. */
static int report_resolve(void *context, const char *path, const unsigned char *build_id,
                          uint32_t build_id_size, uint64_t offset, struct profiler_symbol *out, int capacity)
{
    static const char *const names[] = {"plain", "a;b c\n", "\x7f\x01\"\\", "\xff\xfe", NULL, "", "_start"};
    (void)context, (void)path, (void)build_id, (void)build_id_size;
    int count = (int)(offset % 4) < capacity ? (int)(offset % 4) : capacity;
    for (int i = 0; i < count; i++)
        out[i] = (struct profiler_symbol){.function = names[(offset + (unsigned)i) % 7],
                                          .file = names[(offset / 7 + (unsigned)i) % 7],
                                          .line = (uint32_t)offset};
    return count;
}

static struct profiler_symbolizer report_symbolizer = {NULL, report_resolve, "a \"note\"\n"};

struct profiler_symbolizer *profiler_symbolizer_elf(void)
{
    return &report_symbolizer;
}

/* A file in memory and its path. */
static inline int report_file(const char *name, char path[64])
{
    int fd = memfd_create(name, 0);
    HOLDS(fd >= 0);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

static char *report_text; /* the report that was written last */
static size_t report_size;

static inline void report_load(int fd)
{
    off_t end = lseek(fd, 0, SEEK_END);
    HOLDS(end >= 0);
    free(report_text);
    report_size = (size_t)end;
    report_text = malloc(report_size + 1);
    HOLDS(report_text != NULL && pread(fd, report_text, report_size, 0) == end);
    report_text[report_size] = '\0';
    HOLDS(strlen(report_text) == report_size);
}

/* ---- text ---- */

/* Whether all of it is UTF-8 in its shortest form, without surrogates. */
static inline int report_is_utf8(const char *text, size_t size)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + size;
    while (at < end) {
        unsigned first = *at++, more = first < 0x80 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
        uint32_t c = more == 0 ? first : first & (0x3fu >> more);
        if ((first >= 0x80 && first < 0xc0) || first > 0xf4 || (size_t)(end - at) < more)
            return 0;
        for (unsigned i = 0; i < more; i++, at++) {
            if ((*at & 0xc0) != 0x80)
                return 0;
            c = c << 6 | (*at & 0x3fu);
        }
        if ((more == 1 && c < 0x80) || (more == 2 && c < 0x800) || (more == 3 && c < 0x10000) ||
            c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            return 0;
    }
    return 1;
}

/* ---- JSON, by its grammar ---- */

struct report_json {
    const char *at;
    int in_stacks;
    uint64_t total, counted, weight, total_weight; /* "total_samples"; the sum of the stacks' "count" ... */
};

static inline void report_space(struct report_json *json)
{
    while (*json->at == ' ' || *json->at == '\n')
        json->at++;
}

static inline void report_string(struct report_json *json)
{
    HOLDS(*json->at == '"');
    for (json->at++; *json->at != '"'; json->at++) {
        HOLDS((unsigned char)*json->at >= 0x20);
        if (*json->at != '\\')
            continue;
        json->at++;
        HOLDS(*json->at != '\0' && strchr("\"\\/bfnrtu", *json->at) != NULL);
        if (*json->at == 'u') {
            HOLDS(strspn(json->at + 1, "0123456789abcdef") >= 4);
            json->at += 4;
        }
    }
    json->at++;
}

static inline void report_number(struct report_json *json, const char *key, int depth)
{
    char *end;
    const char *from = json->at;
    uint64_t value = strtoull(from, &end, 10);
    HOLDS(end > from && *from != '+' && *from != ' ');
    HOLDS(from[0] != '0' || end == from + 1);
    if (*end == '.') {
        from = end + 1;
        end += strspn(from, "0123456789") + 1;
        HOLDS(end > from);
    }
    json->at = end;
    if (depth == 1 && strncmp(key, "\"total_samples\"", 15) == 0)
        json->total = value;
    if (depth == 1 && strncmp(key, "\"total_weight\"", 14) == 0)
        json->total_weight = value;
    if (depth == 3 && json->in_stacks && strncmp(key, "\"count\"", 7) == 0)
        json->counted += value;
    if (depth == 3 && json->in_stacks && strncmp(key, "\"weight\"", 8) == 0)
        json->weight += value;
}

static inline void report_value(struct report_json *json, const char *key, int depth)
{
    HOLDS(depth < REPORT_DEPTH);
    if (depth == 1)
        json->in_stacks = strncmp(key, "\"stacks\"", 8) == 0;
    report_space(json);
    char open = *json->at, close = open == '{' ? '}' : ']';
    if (open == '"')
        report_string(json);
    else if (strncmp(json->at, "null", 4) == 0)
        json->at += 4;
    else if (open != '{' && open != '[')
        report_number(json, key, depth);
    else {
        json->at++;
        report_space(json);
        for (int first = 1; *json->at != close; first = 0) {
            const char *name = "";
            HOLDS(first || *json->at == ',');
            json->at += !first;
            report_space(json);
            if (open == '{') {
                name = json->at;
                report_string(json);
                HOLDS(*json->at == ':');
                json->at++;
            }
            report_value(json, name, depth + 1);
            report_space(json);
        }
        json->at++;
    }
}

/* ---- all of it ---- */

static inline void report_check_table(struct profiler_recording *recording, struct profiler_table *table)
{
    uint64_t count = 0, weight = 0, samples = 0, threads = 0;
    *table = (struct profiler_table){.size = sizeof *table};
    HOLDS(profiler_recording_table(recording, table) == 0);
    for (uint64_t i = 0; i < table->string_count; i++)
        HOLDS(report_is_utf8(table->strings[i], strlen(table->strings[i])));
    for (uint64_t i = 0; i < table->place_count; i++) {
        const struct profiler_place *place = &table->places[i];
        HOLDS(place->kind <= 2 && place->function < table->string_count &&
              place->file < table->string_count && place->module < table->string_count);
    }
    for (uint64_t i = 0; i < table->node_count; i++) {
        HOLDS(i == 0 || (table->nodes[i].parent < i && table->nodes[i].place < table->place_count));
        count += table->nodes[i].count;
        weight += table->nodes[i].weight;
    }
    HOLDS(count == table->total_count && weight == table->total_weight);
    for (uint64_t i = 0; i < table->sample_count; i++) {
        HOLDS(table->samples[i].node < table->node_count && table->samples[i].thread < table->thread_count);
        samples += table->samples[i].weight;
    }
    HOLDS(table->sample_count == table->total_count && samples == table->total_weight);
    for (uint64_t i = 0; i < table->thread_count; i++)
        threads += table->threads[i].count;
    HOLDS(threads == table->total_count && table->unnamed <= table->total_count);
}

static inline void report_check_outputs(struct profiler_recording *recording,
                                        const struct profiler_table *table)
{
    static char path[64];
    static int fd = -1;
    char total[64];
    if (fd < 0)
        fd = report_file("report", path);
    HOLDS(profiler_recording_json(recording, path) == 0);
    report_load(fd);
    HOLDS(report_is_utf8(report_text, report_size));
    struct report_json json = {.at = report_text};
    report_value(&json, "", 0);
    report_space(&json);
    HOLDS(*json.at == '\0' && json.total == table->total_count && json.counted == json.total);
    HOLDS(json.total_weight == table->total_weight && json.weight == json.total_weight);
    HOLDS(profiler_recording_summary(recording, path) == 0);
    report_load(fd);
    snprintf(total, sizeof total, "\nTotal samples: %llu\n", (unsigned long long)table->total_count);
    HOLDS(report_is_utf8(report_text, report_size) && strstr(report_text, total) != NULL);
    for (int hidden = 0; hidden < 2; hidden++) {
        uint64_t folded = 0;
        HOLDS(profiler_recording_folded(recording, path, hidden) == 0);
        report_load(fd);
        HOLDS(report_is_utf8(report_text, report_size));
        for (char *line = report_text, *end; *line != '\0'; line = end + 1) {
            HOLDS((end = strchr(line, '\n')) != NULL);
            *end = '\0';
            char *space = strrchr(line, ' ');
            HOLDS(space != NULL && space > line &&
                  strspn(space + 1, "0123456789") == (size_t)(end - space - 1));
            folded += strtoull(space + 1, NULL, 10);
        }
        HOLDS(folded == table->total_count);
    }
}

/* An opened recording, as it is, with a selection, and as it was. */
static inline void report_check(struct profiler_recording *recording)
{
    const uint64_t spans[] = {0, 20000000, 0, 10000000, UINT64_MAX, 11, 5, 6, 12, 0, 9000000, 11};
    struct profiler_table all, some;
    const char *key, *value;
    report_check_table(recording, &all);
    report_check_outputs(recording, &all);
    for (uint32_t i = 0; profiler_recording_field(recording, i, &key, &value); i++)
        HOLDS(report_is_utf8(key, strlen(key)) && report_is_utf8(value, strlen(value)));
    HOLDS(profiler_recording_select(recording, spans, 4) == 0);
    report_check_table(recording, &some);
    HOLDS(some.total_count <= all.total_count);
    report_check_outputs(recording, &some);
    HOLDS(profiler_recording_select(recording, NULL, 0) == 0);
    report_check_table(recording, &some);
    HOLDS(some.total_count == all.total_count && some.total_weight == all.total_weight &&
          some.elapsed == all.elapsed);
}

#endif
