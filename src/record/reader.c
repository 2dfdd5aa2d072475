/* SPDX-License-Identifier: MIT */
/* reader.c - decodes a recording: untrusted bytes. Every number that refers to something must refer to what
 * came before it; the first chunk that is cut, has a wrong checksum or makes no sense ends the reading, and
 * what came before stands. Nothing recurses and no size comes from the file unchecked. */
#include "../core/checksum.h"
#include "../core/varint.h"
#include "format.h"
#include "recording.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    READER_LIBRARIES = 1 << 20,
    READER_BUILD_ID = 64,
    READER_KEYS = 4096, /* distinct fields, counters, causes: they are looked up one by one */
};

/* The element `index` of an array, grown to it. */
static void *reader_element(struct profiler_recording *recording, struct buffer *array, uint32_t index,
                            size_t size)
{
    size_t need = ((size_t)index + 1) * size;
    if (need > array->used && buffer_new(array, need - array->used) == NULL) {
        recording->no_memory = 1;
        return NULL;
    }
    return array->bytes + (size_t)index * size;
}

static void *reader_new(struct profiler_recording *recording, struct buffer *array, size_t size)
{
    void *item = buffer_new(array, size);
    if (item == NULL)
        recording->no_memory = 1;
    return item;
}

/* A string reference: the report's number. */
static uint32_t reader_string(struct profiler_recording *recording, struct varint_reader *in)
{
    uint32_t number = varint_get_limited(in, (uint32_t)COUNT(recording->file_strings, uint32_t));
    return number == 0 ? 0 : ITEMS(recording->file_strings, uint32_t)[number - 1];
}

static void reader_strings(struct profiler_recording *recording, struct varint_reader *in)
{
    uint32_t kind = varint_get_limited(in, FORMAT_STRING_CUT + FORMAT_UCS4);
    uint32_t width = kind & ~(uint32_t)FORMAT_STRING_CUT;
    uint64_t size = varint_get(in);
    const unsigned char *bytes = varint_get_bytes(in, size);
    if (width > FORMAT_UCS4 || width == 3)
        in->bad = 1;
    if (in->bad)
        return;
    uint32_t number = recording_string_of(recording, bytes, size, kind);
    uint32_t *slot = reader_new(recording, &recording->file_strings, sizeof number);
    if (slot != NULL)
        *slot = number;
}

static void reader_field(struct profiler_recording *recording, struct varint_reader *in)
{
    uint32_t key = reader_string(recording, in), value = reader_string(recording, in);
    if (in->bad)
        return;
    struct recording_pair *fields = ITEMS(recording->fields, struct recording_pair);
    int several = strcmp(recording_text(recording, key), "note") == 0;
    for (size_t i = 0; !several && i < COUNT(recording->fields, struct recording_pair); i++) {
        if (fields[i].key == key) {
            fields[i].value = value;
            return;
        }
    }
    if (COUNT(recording->fields, struct recording_pair) >= READER_KEYS) {
        in->bad = 1;
        return;
    }
    struct recording_pair *field = reader_new(recording, &recording->fields, sizeof *field);
    if (field != NULL)
        *field = (struct recording_pair){key, value};
}

static void reader_library(struct profiler_recording *recording, struct varint_reader *in)
{
    uint32_t id = varint_get_limited(in, READER_LIBRARIES);
    struct recording_library library = {.known = 1};
    library.path = reader_string(recording, in);
    library.start = varint_get(in);
    library.end = varint_get(in);
    library.bias = varint_get(in);
    library.build_id_size = varint_get_limited(in, READER_BUILD_ID);
    library.build_id = varint_get_bytes(in, library.build_id_size);
    if (in->bad)
        return;
    struct recording_library *slot = reader_element(recording, &recording->libraries, id, sizeof *slot);
    if (slot != NULL)
        *slot = library;
}

static struct recording_thread *reader_thread_slot(struct profiler_recording *recording, uint32_t number)
{
    struct recording_thread *thread = reader_element(recording, &recording->threads, number, sizeof *thread);
    if (thread != NULL)
        thread->known = 1;
    return thread;
}

static void reader_thread(struct profiler_recording *recording, struct varint_reader *in)
{
    uint32_t number = varint_get_limited(in, FORMAT_THREADS - 1);
    int64_t tid = varint_get_signed(in);
    uint32_t name = reader_string(recording, in);
    struct recording_thread *thread = in->bad ? NULL : reader_thread_slot(recording, number);
    if (thread == NULL)
        return;
    thread->out.tid = (uint32_t)tid;
    thread->out.name = name;
}

static void reader_code(struct profiler_recording *recording, struct varint_reader *in)
{
    uint32_t number = varint_get_limited(in, (uint32_t)COUNT(recording->codes, struct recording_code));
    struct recording_code code = {.key = varint_get(in)};
    code.named = varint_get_limited(in, 1);
    if (code.named) {
        code.file = reader_string(recording, in);
        code.name = reader_string(recording, in);
        code.qualname = reader_string(recording, in);
        code.first_line = (int32_t)varint_get_signed(in);
        varint_get(in);
        code.lines_size = varint_get_limited(in, UINT32_MAX);
        code.lines = varint_get_bytes(in, code.lines_size);
    }
    if (in->bad)
        return;
    struct recording_code *slot = reader_element(recording, &recording->codes, number, sizeof *slot);
    if (slot != NULL)
        *slot = code;
}

static void reader_frame(struct profiler_recording *recording, struct varint_reader *in)
{
    struct recording_frame frame = {.library = UINT32_MAX};
    frame.head = varint_get_limited(in, FORMAT_FRAME_KIND | FORMAT_FRAME_EXACT | FORMAT_FRAME_EVAL);
    uint32_t kind = frame.head & FORMAT_FRAME_KIND;
    if (kind == FORMAT_FRAME_NATIVE)
        frame.library = varint_get_limited(in, READER_LIBRARIES) - 1;
    frame.value = varint_get(in);
    if (kind == FORMAT_FRAME_PYTHON) {
        frame.unit = (int32_t)varint_get_signed(in);
        if (frame.value >= COUNT(recording->codes, struct recording_code))
            in->bad = 1;
    }
    if (kind > FORMAT_FRAME_CUT)
        in->bad = 1;
    struct recording_frame *slot = in->bad ? NULL : reader_new(recording, &recording->frames, sizeof *slot);
    if (slot != NULL)
        *slot = frame;
}

static void reader_node(struct profiler_recording *recording, struct varint_reader *in)
{
    uint32_t number = (uint32_t)COUNT(recording->nodes, struct recording_node);
    uint32_t up = varint_get_limited(in, number);
    uint32_t frame = varint_get_limited(in, UINT32_MAX);
    if (up == 0 || frame >= COUNT(recording->frames, struct recording_frame))
        in->bad = 1;
    struct recording_node *slot = in->bad ? NULL : reader_new(recording, &recording->nodes, sizeof *slot);
    if (slot != NULL)
        *slot = (struct recording_node){.parent = number - up, .frame = frame};
}

static void reader_extra(struct profiler_recording *recording, struct varint_reader *in, uint32_t has)
{
    struct recording_extra extra = {.sample = COUNT(recording->samples, struct profiler_sample)};
    extra.memory = has & FORMAT_HAS_MEMORY ? varint_get_signed(in) : 0;
    extra.instructions = has & FORMAT_HAS_INSTRUCTIONS ? varint_get(in) : 0;
    struct recording_extra *slot = in->bad ? NULL : reader_new(recording, &recording->extras, sizeof *slot);
    if (slot != NULL)
        *slot = extra;
}

static void reader_sample(struct profiler_recording *recording, struct varint_reader *in)
{
    uint32_t has = varint_get_limited(in, FORMAT_HAS_ALL);
    if (has == FORMAT_SYNC) {
        recording->complete += varint_get(in) * FORMAT_TIME_UNIT;
        return;
    }
    uint32_t number =
        has & FORMAT_HAS_THREAD ? varint_get_limited(in, FORMAT_THREADS - 1) : recording->last_thread;
    int64_t late = varint_get_signed(in);
    struct recording_thread *thread = in->bad ? NULL : reader_thread_slot(recording, number);
    if (thread == NULL)
        return;
    struct profiler_sample sample = thread->last;
    sample.thread = number;
    sample.weight = sample.flags = 0;
    if (has & FORMAT_SYNC)
        in->bad = 1;
    if (has & FORMAT_HAS_NODE)
        sample.node = varint_get_limited(in, UINT32_MAX);
    if (has & FORMAT_HAS_WEIGHT)
        sample.cpu += (uint64_t)varint_get_signed(in);
    if (has & FORMAT_HAS_FLAGS)
        sample.flags = varint_get_limited(in, UINT32_MAX);
    if (sample.node >= COUNT(recording->nodes, struct recording_node))
        in->bad = 1;
    if (has & (FORMAT_HAS_MEMORY | FORMAT_HAS_INSTRUCTIONS))
        reader_extra(recording, in, has);
    if (has & FORMAT_HAS_WALL)
        sample.weight = varint_get(in);
    if (has & FORMAT_HAS_STATE) {
        sample.state = varint_get_limited(in, UINT32_MAX);
        sample.wait_call = reader_string(recording, in);
        sample.wait_kind = reader_string(recording, in);
    }
    if (in->bad)
        return;
    uint64_t length = sample.weight != 0 ? sample.weight : sample.cpu;
    uint64_t time = thread->time + length / FORMAT_TIME_UNIT + (uint64_t)late;
    sample.time = time * FORMAT_TIME_UNIT;
    thread->time = time;
    thread->last = sample;
    recording->last_thread = number;
    struct profiler_sample *slot = reader_new(recording, &recording->samples, sizeof *slot);
    if (slot != NULL)
        *slot = sample;
}

static void reader_lost(struct profiler_recording *recording, struct varint_reader *in)
{
    varint_get(in);
    struct recording_lost lost = {.cause = reader_string(recording, in)};
    lost.ticks = varint_get(in);
    lost.weight = varint_get(in);
    if (in->bad)
        return;
    recording->lost += lost.ticks;
    recording->lost_weight += lost.weight;
    struct recording_lost *known = ITEMS(recording->losses, struct recording_lost);
    for (size_t i = 0; i < COUNT(recording->losses, struct recording_lost); i++) {
        if (known[i].cause == lost.cause) {
            known[i].ticks += lost.ticks;
            known[i].weight += lost.weight;
            return;
        }
    }
    if (COUNT(recording->losses, struct recording_lost) >= READER_KEYS) {
        in->bad = 1;
        return;
    }
    struct recording_lost *slot = reader_new(recording, &recording->losses, sizeof *slot);
    if (slot != NULL)
        *slot = lost;
}

static void reader_counter(struct profiler_recording *recording, struct varint_reader *in)
{
    struct recording_counter counter = {.name = reader_string(recording, in)};
    counter.value = varint_get(in);
    if (in->bad)
        return;
    struct recording_counter *known = ITEMS(recording->counters, struct recording_counter);
    for (size_t i = 0; i < COUNT(recording->counters, struct recording_counter); i++) {
        if (known[i].name == counter.name) {
            known[i].value = counter.value;
            return;
        }
    }
    if (COUNT(recording->counters, struct recording_counter) >= READER_KEYS) {
        in->bad = 1;
        return;
    }
    struct recording_counter *slot = reader_new(recording, &recording->counters, sizeof *slot);
    if (slot != NULL)
        *slot = counter;
}

static void reader_head(struct profiler_recording *recording, struct varint_reader *in)
{
    recording->start = varint_get(in);
    recording->wall = varint_get(in);
}

static void reader_done(struct profiler_recording *recording, struct varint_reader *in)
{
    uint64_t time = varint_get(in);
    varint_get(in);
    if (in->bad)
        return;
    recording->complete = time;
    recording->clean = 1;
}

static void (*const reader_entry[CHUNK_COUNT])(struct profiler_recording *, struct varint_reader *) = {
    [CHUNK_HEAD] = reader_head,         [CHUNK_STRINGS] = reader_strings,  [CHUNK_FIELDS] = reader_field,
    [CHUNK_LIBRARIES] = reader_library, [CHUNK_THREADS] = reader_thread,   [CHUNK_CODES] = reader_code,
    [CHUNK_FRAMES] = reader_frame,      [CHUNK_NODES] = reader_node,       [CHUNK_SAMPLES] = reader_sample,
    [CHUNK_LOST] = reader_lost,         [CHUNK_COUNTERS] = reader_counter, [CHUNK_DONE] = reader_done,
};

static int reader_kind(uint32_t tag)
{
    static const uint32_t tags[CHUNK_COUNT] = {
#define X(name, tag, text) FORMAT_TAG(tag),
        FORMAT_CHUNKS(X)
#undef X
    };
    for (int kind = 0; kind < CHUNK_COUNT; kind++)
        if (tags[kind] == tag)
            return kind;
    return -1;
}

/* Decodes the chunk at `offset` and returns where the next starts, or 0 when it is not sound. */
static size_t reader_chunk(struct profiler_recording *recording, size_t offset)
{
    uint32_t head[3];
    size_t left = recording->size - offset;
    recording->damage = "cut";
    if (left < FORMAT_CHUNK)
        return 0;
    memcpy(head, recording->bytes + offset, sizeof head);
    if (head[1] > left - FORMAT_CHUNK)
        return 0;
    const unsigned char *payload = recording->bytes + offset + FORMAT_CHUNK;
    recording->damage = "damaged (wrong checksum)";
    if (checksum(checksum(0, head, 8), payload, head[1]) != head[2])
        return 0;
    recording->damage = "damaged (it contradicts itself)";
    struct varint_reader in = {payload, payload + head[1], 0};
    int kind = reader_kind(head[0]);
    while (kind >= 0 && in.at < in.end && !in.bad && !recording->no_memory)
        reader_entry[kind](recording, &in);
    if (in.bad || recording->no_memory)
        return 0;
    recording->damage = NULL;
    return offset + FORMAT_CHUNK + head[1];
}

static int reader_load(struct profiler_recording *recording, const char *path, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) {
        int sys = errno;
        if (fd >= 0)
            close(fd);
        return error_set(error, PROFILER_FILE, sys, "open of %s", path);
    }
    size_t size = status.st_size > 0 ? (size_t)status.st_size : 0;
    recording->bytes = malloc(size + 1);
    ssize_t got = 1;
    errno = 0;
    while (recording->bytes != NULL && recording->size < size && got > 0) {
        got = read(fd, recording->bytes + recording->size, size - recording->size);
        if (got > 0)
            recording->size += (size_t)got;
        else if (got < 0 && errno == EINTR)
            got = 1;
    }
    int sys = errno;
    close(fd);
    if (recording->bytes == NULL)
        return error_set(error, PROFILER_NO_MEMORY, 0, "no memory for the %s of %s", "bytes", path);
    if (got < 0)
        return error_set(error, PROFILER_FILE, sys, "read of %s", path);
    return 0;
}

static int reader_check_header(struct profiler_recording *recording, const char *path, struct error *error)
{
    size_t magic = recording->size < 8 ? recording->size : 8;
    if (recording->size == 0)
        return error_set(error, PROFILER_FORMAT, 0, "%s is empty: not a recording", path);
    if (memcmp(recording->bytes, FORMAT_MAGIC, magic) != 0)
        return error_set(error, PROFILER_FORMAT, 0, "%s is not a plait recording", path);
    if (recording->size < FORMAT_HEADER)
        return error_set(error, PROFILER_FORMAT, 0, "%s is a recording cut within its header", path);
    uint32_t version;
    memcpy(&version, recording->bytes + 8, sizeof version);
    if (version != FORMAT_VERSION)
        return error_set(error, PROFILER_FORMAT, 0,
                         "%s is a recording of version %d, this library reads version %d: use a plait that "
                         "fits it",
                         path, (int)version, FORMAT_VERSION);
    return 0;
}

/* What a sample weighs: until here it is the real time that it stands for. */
static void reader_weigh(struct profiler_recording *recording)
{
    const struct recording_pair *fields = ITEMS(recording->fields, struct recording_pair);
    for (size_t i = 0; i < COUNT(recording->fields, struct recording_pair); i++)
        if (strcmp(recording_text(recording, fields[i].key), "mode") == 0 &&
            strcmp(recording_text(recording, fields[i].value), "wall") == 0)
            return;
    struct profiler_sample *samples = ITEMS(recording->samples, struct profiler_sample);
    for (size_t i = 0; i < COUNT(recording->samples, struct profiler_sample); i++)
        samples[i].weight = samples[i].cpu;
}

int reader_run(struct profiler_recording *recording, const char *path, struct error *error)
{
    int code = reader_load(recording, path, error);
    if (code == 0)
        code = reader_check_header(recording, path, error);
    if (code != 0)
        return code;
    if (reader_new(recording, &recording->nodes, sizeof(struct recording_node)) == NULL)
        return error_set(error, PROFILER_NO_MEMORY, 0, "no memory to read %s", path);
    size_t offset = FORMAT_HEADER;
    while (offset < recording->size && !recording->clean) {
        size_t next = reader_chunk(recording, offset);
        if (next == 0)
            break;
        offset = next;
    }
    if (recording->no_memory)
        return error_set(error, PROFILER_NO_MEMORY, 0, "no memory to read %s", path);
    if (offset == FORMAT_HEADER)
        return error_set(error, PROFILER_FORMAT, 0, "%s is a recording cut or damaged within its header",
                         path);
    reader_weigh(recording);
    size_t torn = recording->size - offset;
    recording->torn = recording->damage == NULL ? 0 : torn > UINT32_MAX ? UINT32_MAX : (uint32_t)torn;
    return 0;
}
