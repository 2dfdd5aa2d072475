/* SPDX-License-Identifier: MIT */
/* writer.c - the recording as the helper writes it. What is new since the last flush gathers in one buffer
 * per chunk kind; a flush seals them in the order of FORMAT_CHUNKS into the file's waiting bytes. Numbers of
 * strings, frames and nodes are implicit in their order, so room in the buffer is made before a number is
 * given: a definition is never numbered and then not written.
 * Helper-safe: only os_*, memcpy, memset, strlen. */
#include "../core/checksum.h"
#include "../core/varint.h"
#include "../os/os.h"
#include "profiler.h"
#include "writer_state.h"
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

struct writer *writer_new(void)
{
    struct writer *writer = os_map(sizeof *writer);
    if (writer == NULL)
        return NULL;
    writer->file.fd = -1;
    intern_init(&writer->strings, 2);
    intern_init(&writer->codes, 1);
    intern_init(&writer->frames, 3);
    intern_init(&writer->nodes, 1);
    return writer;
}

void writer_free(struct writer *writer)
{
    if (writer == NULL)
        return;
    outfile_close(&writer->file);
    buffer_free(&writer->file.waiting);
    for (int i = 0; i < CHUNK_COUNT; i++)
        buffer_free(&writer->chunk[i]);
    intern_free(&writer->strings);
    intern_free(&writer->codes);
    intern_free(&writer->frames);
    intern_free(&writer->nodes);
    buffer_free(&writer->code_states);
    buffer_free(&writer->levels);
    buffer_free(&writer->threads);
    buffer_free(&writer->counters);
    os_unmap(writer, sizeof *writer);
}

size_t writer_waiting(const struct writer *writer)
{
    size_t waiting = writer->file.waiting.used - writer->file.done;
    for (int i = 0; i < CHUNK_COUNT; i++)
        waiting += writer->chunk[i].used;
    return waiting;
}

static void writer_left_out(struct writer *writer)
{
    if (writer->gap == WRITER_GAP_NONE)
        writer->gap = WRITER_GAP;
}

unsigned char *writer_begin(struct writer *writer, enum format_chunk kind, size_t more)
{
    struct buffer *chunk = &writer->chunk[kind];
    if (buffer_room(chunk, WRITER_ENTRY + more))
        return chunk->bytes + chunk->used;
    writer_left_out(writer);
    return NULL;
}

void writer_end(struct writer *writer, enum format_chunk kind, const unsigned char *end)
{
    writer->chunk[kind].used = (size_t)(end - writer->chunk[kind].bytes);
}

void *writer_element(struct buffer *array, size_t index, size_t size)
{
    size_t need = (index + 1) * size;
    if (need > array->used) {
        if (!buffer_room(array, need - array->used))
            return NULL;
        memset(array->bytes + array->used, 0, need - array->used);
        array->used = need;
    }
    return array->bytes + index * size;
}

uint32_t writer_string(struct writer *writer, const void *bytes, size_t size, uint32_t kind)
{
    unsigned char *at = size == 0 ? NULL : writer_begin(writer, CHUNK_STRINGS, size);
    if (at == NULL)
        return 0;
    uint64_t key[2] = {intern_hash(bytes, size, kind), intern_hash(bytes, size, ~(uint64_t)kind)};
    int fresh;
    uint32_t number = intern_add(&writer->strings, key, &fresh);
    if (number == INTERN_NONE)
        writer_left_out(writer);
    if (fresh) {
        *at++ = (unsigned char)kind;
        at = varint_put(at, size);
        memcpy(at, bytes, size);
        writer_end(writer, CHUNK_STRINGS, at + size);
    }
    return number + 1; /* INTERN_NONE + 1 is 0 */
}

uint32_t writer_text(struct writer *writer, const char *text)
{
    return text == NULL ? 0 : writer_string(writer, text, strlen(text), FORMAT_UTF8);
}

void writer_field(struct writer *writer, const char *key, const char *value)
{
    uint32_t key_number = writer_text(writer, key), value_number = writer_text(writer, value);
    unsigned char *at = writer_begin(writer, CHUNK_FIELDS, 0);
    if (at == NULL || key_number == 0)
        return;
    at = varint_put(at, key_number);
    writer_end(writer, CHUNK_FIELDS, varint_put(at, value_number));
}

void writer_library(struct writer *writer, uint32_t id, uint64_t start, uint64_t end, uint64_t bias,
                    const unsigned char *build_id, uint32_t build_id_size, const char *path)
{
    uint32_t path_number = writer_text(writer, path);
    unsigned char *at = writer_begin(writer, CHUNK_LIBRARIES, build_id_size);
    if (at == NULL)
        return;
    writer->level_count = 0; /* an address may be another library's from now on */
    at = varint_put(at, id);
    at = varint_put(at, path_number);
    at = varint_put(at, start);
    at = varint_put(at, end);
    at = varint_put(at, bias);
    at = varint_put(at, build_id_size);
    if (build_id_size != 0)
        memcpy(at, build_id, build_id_size);
    writer_end(writer, CHUNK_LIBRARIES, at + build_id_size);
}

void writer_thread(struct writer *writer, uint32_t thread, int tid, const char *name)
{
    uint32_t name_number = writer_text(writer, name);
    unsigned char *at = writer_begin(writer, CHUNK_THREADS, 0);
    if (at == NULL || thread >= FORMAT_THREADS)
        return;
    at = varint_put(at, thread);
    at = varint_put_signed(at, tid);
    writer_end(writer, CHUNK_THREADS, varint_put(at, name_number));
}

/* ---- samples ---- */

/* What is known of a sample besides the stack. */
static uint32_t writer_has(const struct writer *writer, uint32_t thread, const struct sample *sample,
                           const struct writer_thread_state *before, const struct writer_state *next)
{
    const struct writer_state *last = &before->now;
    return (thread != writer->last_thread ? FORMAT_HAS_THREAD : 0u) |
           (next->node != last->node ? FORMAT_HAS_NODE : 0u) |
           (sample->weight != before->weight ? FORMAT_HAS_WEIGHT : 0u) |
           (sample->record.flags != 0 ? FORMAT_HAS_FLAGS : 0u) |
           (sample->memory != 0 ? FORMAT_HAS_MEMORY : 0u) |
           (sample->instructions != 0 ? FORMAT_HAS_INSTRUCTIONS : 0u) |
           (sample->wall != 0 ? FORMAT_HAS_WALL : 0u) |
           (next->state != last->state || next->call != last->call || next->kind != last->kind
                ? FORMAT_HAS_STATE
                : 0u);
}

static int writer_put_sample(struct writer *writer, uint32_t thread, const struct sample *sample,
                             const struct writer_state *next)
{
    unsigned char *at = writer_begin(writer, CHUNK_SAMPLES, 0);
    struct writer_thread_state *last = writer_element(&writer->threads, thread, sizeof *last);
    if (at == NULL || last == NULL)
        return 0;
    uint64_t time = sample->time > writer->start ? (sample->time - writer->start) / FORMAT_TIME_UNIT : 0;
    uint64_t length = sample->wall != 0 ? sample->wall : sample->weight;
    uint32_t has = writer_has(writer, thread, sample, last, next);
    at = varint_put(at, has);
    if (has & FORMAT_HAS_THREAD)
        at = varint_put(at, thread);
    at = varint_put_signed(at, (int64_t)(time - last->time - length / FORMAT_TIME_UNIT));
    if (has & FORMAT_HAS_NODE)
        at = varint_put(at, next->node);
    if (has & FORMAT_HAS_WEIGHT)
        at = varint_put_signed(at, (int64_t)(sample->weight - last->weight));
    if (has & FORMAT_HAS_FLAGS)
        at = varint_put(at, sample->record.flags);
    if (has & FORMAT_HAS_MEMORY)
        at = varint_put_signed(at, sample->memory);
    if (has & FORMAT_HAS_INSTRUCTIONS)
        at = varint_put(at, sample->instructions);
    if (has & FORMAT_HAS_WALL)
        at = varint_put(at, sample->wall);
    if (has & FORMAT_HAS_STATE) {
        at = varint_put(at, next->state);
        at = varint_put(at, next->call);
        at = varint_put(at, next->kind);
    }
    writer_end(writer, CHUNK_SAMPLES, at);
    writer->last_thread = thread;
    last->now = *next;
    if (sample->wall != 0 && (next->state & STATE_WAITING))
        last->wait = *next;
    last->weight = sample->weight;
    last->time = time;
    return 1;
}

static void writer_count(struct writer *writer, const struct sample *sample)
{
    struct writer_totals *totals = &writer->totals;
    totals->samples++;
    totals->weight += sample->weight;
    const uint32_t degraded = SAMPLE_NATIVE_CUT | SAMPLE_IN_TRANSIT | SAMPLE_PYTHON_ONLY | SAMPLE_PYTHON_TORN;
    totals->degraded += (sample->record.flags & degraded) != 0;
    for (unsigned bit = 0; bit < 16; bit++)
        totals->flags[bit] += sample->record.flags >> bit & 1;
}

void writer_set_waits(struct writer *writer, writer_wait_of *wait_of)
{
    writer->wait_of = wait_of;
}

void writer_sample(struct writer *writer, uint32_t thread, const struct sample *sample,
                   writer_library_of *library_of, void *context)
{
    if (writer_waiting(writer) > WRITER_BACKLOG) {
        writer_lost(writer, thread, "the file took no more", 1, sample->weight);
        return;
    }
    if (thread >= FORMAT_THREADS) {
        writer_lost(writer, 0, "more threads than a recording can tell apart", 1, sample->weight);
        return;
    }
    uint32_t unnamed, node = writer_stack_node(writer, sample, library_of, context, &unnamed);
    struct writer_state next = {.node = node, .state = sample->state};
    if ((sample->state & STATE_WAITING) && writer->wait_of != NULL) {
        const char *call, *kind;
        writer->wait_of((long)sample->call - 1, sample->argument, &call, &kind);
        next.call = writer_text(writer, call);
        next.kind = writer_text(writer, sample->state & STATE_GIL_WAIT ? "GIL" : kind);
    }
    if (node == INTERN_NONE || !writer_put_sample(writer, thread, sample, &next)) {
        writer_lost(writer, thread, "no memory", 1, sample->weight);
        return;
    }
    writer_count(writer, sample);
    if (unnamed != INTERN_NONE)
        writer_stack_wait(writer, unnamed);
}

void writer_repeat(struct writer *writer, uint32_t thread, uint64_t time, uint64_t wall)
{
    const struct writer_thread_state *last =
        thread < FORMAT_THREADS ? writer_element(&writer->threads, thread, sizeof *last) : NULL;
    if (last == NULL || last->wait.node == 0 || writer_waiting(writer) > WRITER_BACKLOG)
        return;
    struct writer_state next = last->wait; /* the buffer may move */
    struct sample sample = {.record.flags = SAMPLE_REPEAT, .time = time, .wall = wall};
    if (writer_put_sample(writer, thread, &sample, &next))
        writer_count(writer, &sample);
}

void writer_lost(struct writer *writer, uint32_t thread, const char *cause, uint64_t ticks, uint64_t weight)
{
    if (ticks == 0 && weight == 0)
        return;
    writer->totals.lost += ticks;
    writer->totals.lost_weight += weight;
    uint32_t cause_number = writer_text(writer, cause);
    unsigned char *at = writer_begin(writer, CHUNK_LOST, 0);
    if (at == NULL)
        return;
    at = varint_put(at, thread);
    at = varint_put(at, cause_number);
    at = varint_put(at, ticks);
    writer_end(writer, CHUNK_LOST, varint_put(at, weight));
}

void writer_counter(struct writer *writer, const char *name, uint64_t value)
{
    struct writer_counter_state *counter =
        writer_element(&writer->counters, writer_text(writer, name), sizeof *counter);
    if (counter != NULL)
        counter->value = value;
    else
        writer_left_out(writer);
}

/* Counters change with every flush: their values go out once in a while, and at the end. */
static void writer_put_counters(struct writer *writer)
{
    struct writer_counter_state *counters = (struct writer_counter_state *)(void *)writer->counters.bytes;
    for (size_t i = 1; i < writer->counters.used / sizeof *counters; i++) {
        unsigned char *at = writer_begin(writer, CHUNK_COUNTERS, 0);
        if (at == NULL || counters[i].value == counters[i].written)
            continue;
        counters[i].written = counters[i].value;
        at = varint_put(at, i);
        writer_end(writer, CHUNK_COUNTERS, varint_put(at, counters[i].value));
    }
}

/* ---- the file ---- */

/* Moves the gathered payload of one kind, as a chunk, to the bytes that wait for the file. */
static int writer_seal(struct writer *writer, enum format_chunk kind)
{
    static const char tags[CHUNK_COUNT][5] = {
#define X(name, tag, text) tag,
        FORMAT_CHUNKS(X)
#undef X
    };
    struct buffer *chunk = &writer->chunk[kind], *waiting = &writer->file.waiting;
    if (chunk->used == 0)
        return 1;
    if (!buffer_room(waiting, FORMAT_CHUNK + chunk->used))
        return 0;
    uint32_t head[3] = {FORMAT_TAG(tags[kind]), (uint32_t)chunk->used, 0};
    head[2] = checksum(checksum(0, head, 8), chunk->bytes, chunk->used);
    buffer_add(waiting, head, sizeof head);
    buffer_add(waiting, chunk->bytes, chunk->used);
    buffer_clear(chunk);
    return 1;
}

static int writer_seal_all(struct writer *writer)
{
    for (int kind = 0; kind < CHUNK_COUNT; kind++)
        if (!writer_seal(writer, (enum format_chunk)kind))
            return -ENOMEM;
    return 0;
}

static uint64_t writer_since_start(const struct writer *writer, uint64_t now)
{
    return now > writer->start ? now - writer->start : 0;
}

/* The chunks that hold a time and one more number: 0, or -ENOMEM. */
static int writer_put_times(struct writer *writer, enum format_chunk kind, uint64_t first, uint64_t second)
{
    unsigned char *at = writer_begin(writer, kind, 0);
    if (at == NULL)
        return -ENOMEM;
    writer_end(writer, kind, varint_put(varint_put(at, first), second));
    return 0;
}

/* Says that something is missing, once there is memory to say it. */
static void writer_put_gap(struct writer *writer)
{
    size_t before = writer->chunk[CHUNK_FIELDS].used;
    if (writer->gap != WRITER_GAP)
        return;
    writer_field(writer, "note", "memory ran out while this was recorded: some names or counts are missing");
    if (writer->chunk[CHUNK_FIELDS].used != before)
        writer->gap = WRITER_GAP_SAID;
}

int writer_open(struct writer *writer, const char *path, int overwrite, uint64_t start,
                const char *const *fields, struct error *error)
{
    int code = outfile_create(&writer->file, path, overwrite, error);
    if (code != 0)
        return code;
    writer->start = start;
    uint32_t version[2] = {FORMAT_VERSION, 0};
    int room = buffer_add(&writer->file.waiting, FORMAT_MAGIC, 8) &&
               buffer_add(&writer->file.waiting, version, sizeof version);
    room = room && writer_put_times(writer, CHUNK_HEAD, start, os_wall() - (os_now() - start)) == 0;
    for (; fields != NULL && fields[0] != NULL && fields[1] != NULL; fields += 2)
        writer_field(writer, fields[0], fields[1]);
    int sys = room ? writer_flush(writer, start) : -ENOMEM;
    if (sys == 0)
        return 0;
    outfile_close(&writer->file);
    return error_set(error, PROFILER_FILE, -sys, "write of the recording %s", writer->file.path);
}

void writer_detach(struct writer *writer)
{
    outfile_write(&writer->file);
    outfile_close(&writer->file);
}

void writer_give(struct writer *writer, uint32_t user, uint32_t group)
{
    if (writer->file.fd >= 0)
        os_call3(SYS_fchown, writer->file.fd, user, group);
}

int writer_attach(struct writer *writer, struct error *error)
{
    return outfile_attach(&writer->file, error);
}

/* The entry that says up to which time the samples are complete. */
static void writer_put_sync(struct writer *writer, uint64_t time)
{
    unsigned char *at = writer_begin(writer, CHUNK_SAMPLES, 0);
    uint64_t units = time / FORMAT_TIME_UNIT;
    writer->last_sync = time;
    if (at == NULL || units < writer->synced)
        return;
    *at++ = FORMAT_SYNC;
    writer_end(writer, CHUNK_SAMPLES, varint_put(at, units - writer->synced));
    writer->synced = units;
}

int writer_flush(struct writer *writer, uint64_t now)
{
    uint64_t time = writer_since_start(writer, now);
    writer_put_gap(writer);
    if (time - writer->last_counters >= WRITER_REST) {
        writer_put_counters(writer);
        writer->last_counters = time;
    }
    if (writer_waiting(writer) != 0 || time - writer->last_sync >= WRITER_REST)
        writer_put_sync(writer, time);
    int sealed = writer_seal_all(writer);
    int written = outfile_write(&writer->file);
    writer->totals.bytes = writer->file.written;
    return sealed != 0 ? sealed : written;
}

int writer_close(struct writer *writer, uint64_t now, struct error *error)
{
    writer_put_counters(writer);
    writer_put_gap(writer);
    int sys = writer_seal_all(writer);
    if (sys == 0)
        sys = writer_put_times(writer, CHUNK_DONE, writer_since_start(writer, now), writer->totals.samples);
    sys = sys != 0 ? sys : writer_seal_all(writer);
    int written = outfile_write(&writer->file);
    sys = sys != 0 ? sys : written;
    writer->totals.bytes = writer->file.written;
    outfile_close(&writer->file);
    if (sys == 0)
        return 0;
    return error_set(error, PROFILER_FILE, -sys,
                     "write of the end of the recording %s (%d bytes are missing)", writer->file.path,
                     (int)(writer->file.waiting.used - writer->file.done));
}

void writer_get_totals(const struct writer *writer, struct writer_totals *totals)
{
    *totals = writer->totals;
    totals->nodes = writer->nodes.count;
    totals->memory = sizeof *writer + intern_memory(&writer->strings) + intern_memory(&writer->codes) +
                     intern_memory(&writer->frames) + intern_memory(&writer->nodes) +
                     writer->file.waiting.room + writer->code_states.room + writer->levels.room +
                     writer->threads.room + writer->counters.room;
    for (int i = 0; i < CHUNK_COUNT; i++)
        totals->memory += writer->chunk[i].room;
}
