/* SPDX-License-Identifier: MIT */
/* buffer.c - see buffer.h. */
#include "buffer.h"
#include "../os/os.h"
#include <string.h>

enum { BUFFER_FIRST = 4096, BUFFER_KEEP = 256 << 10 };

int buffer_room(struct buffer *buffer, size_t more)
{
    if (more <= buffer->room - buffer->used)
        return 1;
    size_t need = buffer->used + more, room = buffer->room == 0 ? BUFFER_FIRST : buffer->room;
    if (need < more)
        return 0;
    while (room < need && room <= SIZE_MAX / 2)
        room *= 2;
    if (room < need)
        return 0;
    unsigned char *bytes = buffer->bytes == NULL ? os_map(room) : os_grow(buffer->bytes, buffer->room, room);
    if (bytes == NULL)
        return 0;
    buffer->bytes = bytes;
    buffer->room = room;
    return 1;
}

int buffer_add(struct buffer *buffer, const void *bytes, size_t size)
{
    if (!buffer_room(buffer, size))
        return 0;
    if (size != 0)
        memcpy(buffer->bytes + buffer->used, bytes, size);
    buffer->used += size;
    return 1;
}

void *buffer_new(struct buffer *buffer, size_t size)
{
    if (!buffer_room(buffer, size))
        return NULL;
    unsigned char *bytes = buffer->bytes + buffer->used;
    buffer->used += size;
    return memset(bytes, 0, size);
}

void buffer_clear(struct buffer *buffer)
{
    if (buffer->room > BUFFER_KEEP)
        buffer_free(buffer);
    buffer->used = 0;
}

void buffer_free(struct buffer *buffer)
{
    if (buffer->bytes != NULL)
        os_unmap(buffer->bytes, buffer->room);
    memset(buffer, 0, sizeof *buffer);
}
