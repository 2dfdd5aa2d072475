/* SPDX-License-Identifier: MIT */
/* writer_stack.c - from a sample's frames to a node of the recording's tree: code objects by key, frames by
 * what they are, nodes by parent and frame, each written when it is first seen. Helper-safe. */
#include "../core/varint.h"
#include "writer_state.h"
#include <string.h>

enum code_state { CODE_UNNAMED, CODE_CUT, CODE_WHOLE };

/* ---- code objects ---- */

/* The code's number, with an unnamed entry at first sight; INTERN_NONE without memory. */
static uint32_t writer_code_number(struct writer *writer, uint64_t key)
{
    uint32_t number = intern_find(&writer->codes, &key);
    if (number != INTERN_NONE)
        return number;
    unsigned char *at = writer_begin(writer, CHUNK_CODES, 0);
    if (at == NULL ||
        writer_element(&writer->code_states, writer->codes.count, sizeof(struct writer_code_state)) == NULL)
        return INTERN_NONE;
    number = intern_add(&writer->codes, &key, NULL);
    if (number == INTERN_NONE)
        return INTERN_NONE;
    at = varint_put(at, number);
    at = varint_put(at, key);
    *at++ = 0;
    writer_end(writer, CHUNK_CODES, at);
    return number;
}

static struct writer_code_state *writer_code_state(const struct writer *writer, uint32_t number)
{
    return (struct writer_code_state *)(void *)writer->code_states.bytes + number;
}

static size_t writer_text_bytes(const struct code_text *text)
{
    return (size_t)text->length * text->kind;
}

static uint32_t writer_code_text(struct writer *writer, const struct code_text *text,
                                 const unsigned char **data)
{
    const unsigned char *bytes = *data;
    *data += writer_text_bytes(text);
    uint32_t kind = text->kind | (text->cut ? FORMAT_STRING_CUT : 0);
    return writer_string(writer, bytes, writer_text_bytes(text), kind);
}

void writer_code(struct writer *writer, const struct code *code)
{
    size_t texts =
        writer_text_bytes(&code->file) + writer_text_bytes(&code->name) + writer_text_bytes(&code->qualname);
    if (sizeof *code + texts + code->lines_size > code->record.size ||
        writer_waiting(writer) > WRITER_CODE_BACKLOG)
        return;
    int cut = code->file.cut || code->name.cut || code->qualname.cut || code->lines_size < code->lines_total;
    uint32_t number = writer_code_number(writer, code->key);
    uint32_t state = cut ? CODE_CUT : CODE_WHOLE;
    if (number == INTERN_NONE || writer_code_state(writer, number)->state >= state)
        return;
    const unsigned char *data = code->data;
    uint32_t file = writer_code_text(writer, &code->file, &data);
    uint32_t name = writer_code_text(writer, &code->name, &data);
    uint32_t qualname = writer_code_text(writer, &code->qualname, &data);
    unsigned char *at = writer_begin(writer, CHUNK_CODES, code->lines_size);
    if (at == NULL || name == 0)
        return;
    struct writer_code_state *known = writer_code_state(writer, number);
    writer->level_count = 0; /* the stack before may count as unnamed for this code */
    writer->totals.unnamed -= known->unnamed_samples;
    known->unnamed_samples = 0;
    known->state = state;
    at = varint_put(at, number);
    at = varint_put(at, code->key);
    *at++ = 1;
    at = varint_put(at, file);
    at = varint_put(at, name);
    at = varint_put(at, qualname);
    at = varint_put_signed(at, code->first_line);
    at = varint_put(at, code->lines_total);
    at = varint_put(at, code->lines_size);
    memcpy(at, data, code->lines_size);
    writer_end(writer, CHUNK_CODES, at + code->lines_size);
}

/* ---- stacks ---- */

/* The number of a frame; `head` is its first byte as in format.h. INTERN_NONE without memory. */
static uint32_t writer_frame(struct writer *writer, uint32_t head, int32_t unit, uint32_t library,
                             uint64_t value)
{
    unsigned char *at = writer_begin(writer, CHUNK_FRAMES, 0);
    if (at == NULL)
        return INTERN_NONE;
    uint64_t key[3] = {head | (uint64_t)(uint32_t)unit << 32, library, value};
    int fresh;
    uint32_t number = intern_add(&writer->frames, key, &fresh);
    if (!fresh)
        return number;
    *at++ = (unsigned char)head;
    if ((head & FORMAT_FRAME_KIND) == FORMAT_FRAME_NATIVE)
        at = varint_put(at, library + 1u);
    at = varint_put(at, value);
    if ((head & FORMAT_FRAME_KIND) == FORMAT_FRAME_PYTHON)
        at = varint_put_signed(at, unit);
    writer_end(writer, CHUNK_FRAMES, at);
    return number;
}

/* The node of `frame` on `parent`; INTERN_NONE without memory, also when an argument is that. */
static uint32_t writer_node(struct writer *writer, uint32_t parent, uint32_t frame)
{
    unsigned char *at = writer_begin(writer, CHUNK_NODES, 0);
    if (at == NULL || parent == INTERN_NONE || frame == INTERN_NONE)
        return INTERN_NONE;
    uint64_t key = (uint64_t)parent << 32 | frame;
    int fresh;
    uint32_t number = intern_add(&writer->nodes, &key, &fresh);
    if (number == INTERN_NONE)
        return INTERN_NONE;
    if (fresh) {
        at = varint_put(at, number + 1 - parent);
        writer_end(writer, CHUNK_NODES, varint_put(at, frame));
    }
    return number + 1;
}

struct writer_stack {
    struct writer *writer;
    writer_library_of *library_of;
    void *context;
    uint32_t node;
    uint32_t unnamed; /* a code without a name in the stack, or INTERN_NONE */
};

static void writer_push(struct writer_stack *stack, const struct frame *frame)
{
    struct writer *writer = stack->writer;
    uint32_t number;
    if (frame->kind == FRAME_PYTHON) {
        uint32_t code = writer_code_number(writer, frame->id);
        if (code != INTERN_NONE && writer_code_state(writer, code)->state == CODE_UNNAMED)
            stack->unnamed = code;
        number = code == INTERN_NONE ? INTERN_NONE
                                     : writer_frame(writer, FORMAT_FRAME_PYTHON, frame->unit, 0, code);
    } else {
        uint32_t exact = frame->flags & FRAME_EXACT_PC;
        uint64_t bias = 0;
        uint32_t library = stack->library_of(stack->context, frame->id - (exact ? 0 : 1), &bias);
        uint32_t head = FORMAT_FRAME_NATIVE | (exact ? FORMAT_FRAME_EXACT : 0u) |
                        (frame->flags & FRAME_EVAL ? FORMAT_FRAME_EVAL : 0u);
        number = writer_frame(writer, head, 0, library, library == UINT32_MAX ? frame->id : frame->id - bias);
    }
    stack->node = writer_node(writer, stack->node, number);
}

static void writer_push_cut(struct writer_stack *stack, uint32_t frames)
{
    uint32_t number = writer_frame(stack->writer, FORMAT_FRAME_CUT, 0, 0, frames);
    stack->node = writer_node(stack->writer, stack->node, number);
}

/* A stack with a gap: the marker goes between its ends. */
static void writer_push_ends(struct writer_stack *stack, const struct sample *sample)
{
    uint32_t cut = sample->depth - sample->count;
    for (uint32_t i = sample->count; i-- > 0;) {
        if (i + 1 == sample->cut_at)
            writer_push_cut(stack, cut);
        writer_push(stack, &sample->frames[i]);
    }
    if (sample->cut_at == 0)
        writer_push_cut(stack, cut);
}

/* How many frames, from the root, the stack has in common with the one before; the rest is forgotten. */
static uint32_t writer_share(struct writer_stack *stack, const struct sample *sample)
{
    const struct writer_level *levels = (struct writer_level *)(void *)stack->writer->levels.bytes;
    uint32_t shared = 0, most = stack->writer->level_count;
    most = most < sample->count ? most : sample->count;
    while (shared < most && memcmp(&levels[shared].frame, &sample->frames[sample->count - 1 - shared],
                                   sizeof levels->frame) == 0)
        shared++;
    if (shared != 0) {
        stack->node = levels[shared - 1].node;
        stack->unnamed = levels[shared - 1].unnamed;
    }
    return shared;
}

static void writer_push_whole(struct writer_stack *stack, const struct sample *sample)
{
    struct writer *writer = stack->writer;
    uint32_t shared = writer_share(stack, sample), known = shared;
    for (uint32_t i = shared; i < sample->count && stack->node != INTERN_NONE; i++) {
        const struct frame *frame = &sample->frames[sample->count - 1 - i];
        writer_push(stack, frame);
        struct writer_level *level = writer_element(&writer->levels, i, sizeof *level);
        if (level == NULL || known != i || stack->node == INTERN_NONE)
            continue;
        *level = (struct writer_level){*frame, stack->node, stack->unnamed};
        known = i + 1;
    }
    writer->level_count = known;
}

uint32_t writer_stack_node(struct writer *writer, const struct sample *sample, writer_library_of *library_of,
                           void *context, uint32_t *unnamed)
{
    struct writer_stack stack = {writer, library_of, context, 0, INTERN_NONE};
    if (sample->depth > sample->count)
        writer_push_ends(&stack, sample);
    else
        writer_push_whole(&stack, sample);
    *unnamed = stack.unnamed;
    return stack.node;
}

void writer_stack_wait(struct writer *writer, uint32_t number)
{
    writer_code_state(writer, number)->unnamed_samples++;
    writer->totals.unnamed++;
}
