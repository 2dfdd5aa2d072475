/* SPDX-License-Identifier: MIT */
/* fuzz_maps.c - libFuzzer: any text as /proc/self/maps. The text up to a NUL is what a process has at first,
 * the rest is what it has later. Every line that is taken says what sscanf reads in it; the snapshots made of
 * both are sorted, do not overlap, and are searched right; a library that stays is the same object. */
#include "holds.h"
#include "os/os.h"
#include <stdint.h>
#include <string.h>

/* libs.c with this text for the system's, memory that goes away, and no ELF file: none of the paths in the
 * text may be opened. */
#define maps_read fuzz_maps_read
#define elf_open  fuzz_elf_open
#define os_map    fuzz_os_map
void *fuzz_os_map(size_t size);
#include "native/libs.c"
#undef os_map

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BLOCKS = 4096 };

static struct {
    void *memory;
    size_t size;
} blocks[BLOCKS];
static unsigned block_count;
static char *text;
static size_t text_size;

void *fuzz_os_map(size_t size)
{
    if (block_count == BLOCKS || size > 1 << 26)
        return NULL;
    void *memory = os_map(size);
    blocks[block_count].memory = memory;
    blocks[block_count++].size = size;
    return memory;
}

int fuzz_maps_read(struct maps *maps)
{
    *maps = (struct maps){.text = malloc(text_size > 0 ? text_size : 1), .size = text_size};
    HOLDS(maps->text != NULL);
    memcpy(maps->text, text, text_size);
    return 0;
}

int fuzz_elf_open(struct elf *elf, const char *path, uint64_t image, uint64_t start, uint64_t offset)
{
    HOLDS(path == NULL || strlen(path) < text_size);
    *elf = (struct elf){.fd = -1, .image = image, .bias = start - offset};
    return path == NULL && image == 0 ? -ENOEXEC : 0;
}

/* 1 when a number but the last one, the inode, has more digits than sscanf is told to take. */
static int has_long_number(const char *line)
{
    for (size_t digits = 0; *line != 0; line += digits > 0 ? digits : 1) {
        digits = strspn(line, "0123456789abcdefABCDEF");
        if (digits > 16 && line[digits] != 0 && line[digits + strspn(line + digits, " ")] != 0)
            return 1;
    }
    return 0;
}

/* sscanf is more lenient: what is taken here must be read the same by it, where no number overflows. */
static void check_lines(void)
{
    struct maps maps = {.text = text, .size = text_size};
    struct map_line line;
    size_t at = 0, from = 0;
    while (from = at, maps_next(&maps, &at, &line)) {
        HOLDS(at > from && at <= text_size + 1 && line.end > line.start);
        HOLDS(line.path >= text && line.path + line.path_size <= text + text_size);
        HOLDS(memchr(line.path, '\n', line.path_size) == NULL);
        const char *begin = line.path;
        while (begin > text && begin[-1] != '\n')
            begin--;
        char copy[512], flags[8] = "";
        unsigned long long start, end, offset, major, minor, inode;
        size_t length = (size_t)(line.path - begin);
        if (length >= sizeof copy || memchr(begin, 0, length) != NULL)
            continue;
        memcpy(copy, begin, length);
        copy[length] = 0;
        if (has_long_number(copy))
            continue;
        if (sscanf(copy, "%16llx-%16llx %4c %16llx %16llx:%16llx %llu", &start, &end, flags, &offset, &major,
                   &minor, &inode) != 7)
            continue;
        int whole = strspn(copy, "0123456789abcdef") <= 16;
        HOLDS(!whole || line.start == start);
        if (strspn(flags, "rwxps-") >= 4) /* else sscanf has passed over a space */
            HOLDS(line.executable == (flags[2] == 'x'));
        if (length < 70) { /* no number can have overflowed, but the first ones */
            HOLDS(line.inode == inode || inode > UINT32_MAX);
        }
    }
    HOLDS(at >= text_size);
}

static void check_snapshot(const struct libs_state *state)
{
    const struct libs *libs = libs_current(state);
    for (uint32_t i = 0; i < libs->count; i++) {
        struct library *library = libs->library[i];
        HOLDS(library->end > library->start && library->path != NULL);
        HOLDS(i == 0 || library->start >= libs->library[i - 1]->end);
        HOLDS(libs_find(libs, library->start) == library && libs_find(libs, library->end - 1) == library);
        HOLDS(i == 0 || library->start == libs->library[i - 1]->end ||
              libs_find(libs, library->start - 1) == NULL);
        HOLDS(libs_get(state, library->id) == library);
    }
    HOLDS(libs_find(libs, 0) == NULL || libs->library[0]->start == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    size_t split = zero != NULL ? (size_t)(zero - data) : size;
    struct libs_state *state = libs_new();
    HOLDS(state != NULL);
    for (int part = 0; part < 2; part++) {
        const uint8_t *from = part == 0 || zero == NULL ? data : zero + 1;
        text_size = part == 0 || zero == NULL ? split : size - split - 1;
        text = malloc(text_size + 1);
        HOLDS(text != NULL);
        memcpy(text, from, text_size);
        check_lines();
        uint64_t generation = libs_current(state)->generation;
        int changed = libs_refresh(state);
        HOLDS(changed >= 0 && libs_current(state)->generation == generation + (unsigned)changed);
        check_snapshot(state);
        HOLDS(libs_refresh(state) == 0); /* the same text again: nothing new */
        libs_want_all(state, UINT64_MAX);
        free(text);
        text = NULL;
    }
    while (block_count > 0) {
        block_count--;
        os_unmap(blocks[block_count].memory, blocks[block_count].size);
    }
    return 0;
}
