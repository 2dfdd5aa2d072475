/* SPDX-License-Identifier: MIT */
/* maps.c - reads and splits /proc/self/maps.
 *
 * The kernel hands out whole lines but may let mappings change between two reads; callers must expect
 * lines that overlap. Helper side: os_* only, memory is mapped and given back. */
#include "maps.h"
#include "../os/os.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { CAPACITY_FIRST = 1 << 18, CAPACITY_MAX = 1 << 28 };

/* 1 everything read, 0 the memory was too small, negative errno. */
static int read_into(struct maps *maps)
{
    int fd = os_open("/proc/thread-self/maps", O_RDONLY | O_CLOEXEC, 0);
    long got;
    if (fd < 0)
        fd = os_open("/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    maps->size = 0;
    do {
        got = os_read(fd, maps->text + maps->size, maps->capacity - maps->size);
        maps->size += got > 0 ? (size_t)got : 0;
    } while ((got > 0 && maps->size < maps->capacity) || got == -EINTR);
    os_close(fd);
    return got < 0 ? (int)got : maps->size < maps->capacity;
}

int maps_read(struct maps *maps)
{
    int done = 0;
    for (size_t capacity = CAPACITY_FIRST; capacity <= CAPACITY_MAX; capacity *= 4) {
        *maps = (struct maps){.text = os_map(capacity), .capacity = capacity};
        if (maps->text == NULL)
            return -ENOMEM;
        done = read_into(maps);
        if (done > 0)
            return 0;
        maps_free(maps);
        if (done < 0)
            return done;
    }
    return -ENOMEM;
}

void maps_free(struct maps *maps)
{
    if (maps->text != NULL)
        os_unmap(maps->text, maps->capacity);
    *maps = (struct maps){0};
}

/* A number at *at and the separator after it; 0 where either is missing. */
static int number(const char **at, const char *end, unsigned base, char separator, uint64_t *value)
{
    const char *from = *at;
    for (*value = 0; *at < end; ++*at) {
        unsigned digit = (unsigned char)**at;
        digit = digit >= 'a' ? digit - 'a' + 10 : digit <= '9' ? digit - '0' : base;
        if (digit >= base)
            break;
        *value = *value * base + digit;
    }
    if (*at == from)
        return 0;
    if (*at == end) /* the line may end after the inode */
        return separator == ' ';
    return *(*at)++ == separator;
}

static int parse(const char *at, const char *end, struct map_line *line)
{
    uint64_t major, minor;
    if (!number(&at, end, 16, '-', &line->start) || !number(&at, end, 16, ' ', &line->end) || end - at < 5)
        return 0;
    line->executable = at[2] == 'x';
    at += 5; /* "r-xp " */
    if (!number(&at, end, 16, ' ', &line->offset) || !number(&at, end, 16, ':', &major) ||
        !number(&at, end, 16, ' ', &minor) || !number(&at, end, 10, ' ', &line->inode))
        return 0;
    line->device = major << 32 | minor;
    while (at < end && *at == ' ')
        at++;
    line->path = at;
    line->path_size = (size_t)(end - at);
    return line->end > line->start;
}

int maps_next(const struct maps *maps, size_t *at, struct map_line *line)
{
    while (*at < maps->size) {
        const char *from = maps->text + *at, *stop = memchr(from, '\n', maps->size - *at);
        if (stop == NULL)
            stop = maps->text + maps->size;
        *at += (size_t)(stop - from) + 1;
        if (parse(from, stop, line))
            return 1;
    }
    return 0;
}
