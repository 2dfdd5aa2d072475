/* SPDX-License-Identifier: MIT */
/* maps.h - the lines of /proc/self/maps. Helper side. */
#ifndef PLAIT_MAPS_H
#define PLAIT_MAPS_H

#include <stddef.h>
#include <stdint.h>

struct maps {
    char *text;
    size_t size;     /* bytes read */
    size_t capacity; /* bytes mapped */
};

struct map_line {
    uint64_t start, end, offset, inode;
    uint64_t device; /* major << 32 | minor */
    int executable;
    const char *path; /* in the text, not terminated */
    size_t path_size;
};

/* Reads all lines: 0 or negative errno. maps_free gives the memory back. */
int maps_read(struct maps *maps);
void maps_free(struct maps *maps);

/* The line at *at (0 to begin with) and moves past it; 0 at the end. A line that is not well-formed is
 * skipped. */
int maps_next(const struct maps *maps, size_t *at, struct map_line *line);

#endif
