/* SPDX-License-Identifier: MIT */
/* buffer.h - bytes that grow, in mapped memory: for the helper, which has no malloc. Doubling; a buffer that
 * can't grow says so before anything was written to it. */
#ifndef PLAIT_BUFFER_H
#define PLAIT_BUFFER_H

#include <stddef.h>
#include <stdint.h>

struct buffer {
    unsigned char *bytes; /* NULL while empty */
    size_t used, room;
};

/* Makes room for `more` bytes behind those used: 1, or 0 without memory. */
int buffer_room(struct buffer *buffer, size_t more);
/* Appends `size` bytes: 1, or 0 without memory. */
int buffer_add(struct buffer *buffer, const void *bytes, size_t size);
/* Appends `size` zero bytes and returns where they are (valid until the buffer grows), or NULL. */
void *buffer_new(struct buffer *buffer, size_t size);
/* Forgets the content; large buffers give their memory back. */
void buffer_clear(struct buffer *buffer);
void buffer_free(struct buffer *buffer);

#endif
