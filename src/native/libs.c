/* SPDX-License-Identifier: MIT */
/* libs.c - the snapshot of executable mappings and the tables behind it.
 *
 * One writer (the helper). A library object, once published, never moves and changes only in `table` and
 * `wanted`; a snapshot does not change while it can be read. Both live in an arena until the process ends. An
 * object is reused as long as the same part of the same file stays mapped at the same place, and a file that
 * comes back elsewhere shares its table. */
#include "libs.h"
#include "arena.h"
#include "elf.h"
#include "maps.h"
#include <errno.h>
#include <string.h>

enum { KNOWN_FIRST = 256, SPARE_LIBRARIES = 64 };

/* How long nobody may have got a snapshot for its memory to serve again. A handler takes microseconds; should
 * one have been stopped for longer than this, it reads libraries of another snapshot, which never go away. */
#define RETIRED_NS 1000000000ULL

/* A library with what only the helper needs. `library` is first: the two convert. */
struct known {
    struct library library;
    uint64_t offset; /* of the mapping in the file */
    uint64_t image;  /* where the file's first byte is mapped, 0 = nowhere */
};

/* Behind each snapshot. */
struct retired {
    struct retired *next; /* all there are */
    struct libs *libs;
    uint32_t capacity;
    uint64_t since; /* os_now() when another one took its place */
};

struct libs_state {
    struct libs *current; /* atomic */
    struct retired *snapshots, *in_use;
    sight_find *first_sight;
    struct arena arena;
    struct known **known; /* by id */
    uint32_t known_count, known_capacity;
    uint64_t digest; /* of the executable lines behind `current` */
};

static const struct cfi_table no_table;

struct library *libs_find(const struct libs *libs, uint64_t pc)
{
    uint32_t low = 0, high = libs->count;
    while (low < high) { /* the first library that starts above pc */
        uint32_t middle = low + (high - low) / 2;
        if (libs->library[middle]->start <= pc)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && pc < libs->library[low - 1]->end ? libs->library[low - 1] : NULL;
}

struct libs_state *libs_new(void)
{
    struct libs_state *state = os_map(sizeof *state);
    struct libs *empty;
    if (state == NULL)
        return NULL;
    empty = arena_take(&state->arena, sizeof *empty);
    if (empty == NULL) {
        os_unmap(state, sizeof *state);
        return NULL;
    }
    state->first_sight = empty->first_sight = sight_finder();
    state->current = empty;
    return state;
}

const struct libs *libs_current(const struct libs_state *state)
{
    return __atomic_load_n(&state->current, __ATOMIC_ACQUIRE);
}

uint32_t libs_count(const struct libs_state *state)
{
    return state->known_count;
}

const struct library *libs_get(const struct libs_state *state, uint32_t id)
{
    return id < state->known_count ? &state->known[id]->library : NULL;
}

uint64_t libs_memory(const struct libs_state *state)
{
    return sizeof *state + state->arena.used;
}

static uint64_t mix(uint64_t digest, uint64_t value)
{
    digest = (digest ^ value) * 0x9e3779b97f4a7c15u;
    return digest ^ digest >> 29;
}

static int is_named(const struct map_line *line, const char *name)
{
    size_t size = strlen(name);
    return line->path_size == size && memcmp(line->path, name, size) == 0;
}

/* Code that this process's threads can be in. */
static int is_code(const struct map_line *line)
{
    return line->executable && (int64_t)line->end > 0 && !is_named(line, "[vsyscall]");
}

/* The executable lines in order, each joined with those that continue it; *image gets the place of the
 * file's first byte. */
struct scan {
    const struct maps *maps;
    size_t at;
    uint64_t last_end;
    struct map_line first; /* the last line at offset 0 of a file */
    struct map_line ahead; /* a line that was read too far */
    int has_ahead;
};

static int same_file(const struct map_line *left, const struct map_line *right)
{
    return left->device == right->device && left->inode == right->inode &&
           left->path_size == right->path_size && memcmp(left->path, right->path, left->path_size) == 0;
}

static int next_line(struct scan *scan, struct map_line *line)
{
    if (scan->has_ahead) {
        *line = scan->ahead;
        scan->has_ahead = 0;
        return 1;
    }
    return maps_next(scan->maps, &scan->at, line);
}

static int next_code(struct scan *scan, struct map_line *line, uint64_t *image)
{
    struct map_line more;
    do {
        if (!next_line(scan, line))
            return 0;
        if (line->offset == 0 && line->path_size > 0)
            scan->first = *line;
    } while (!is_code(line) || line->start < scan->last_end); /* an overlap: mappings changed meanwhile */
    *image = scan->first.path_size > 0 && same_file(&scan->first, line) ? scan->first.start : 0;
    while (maps_next(scan->maps, &scan->at, &more)) {
        int continues = is_code(&more) && more.start == line->end && same_file(&more, line) &&
                        (line->inode == 0 || more.offset == line->offset + (line->end - line->start));
        if (!continues || is_named(line, "[vdso]")) {
            scan->ahead = more;
            scan->has_ahead = 1;
            break;
        }
        line->end = more.end;
    }
    scan->last_end = line->end;
    return 1;
}

static uint64_t digest_of(const struct maps *maps, uint32_t *count)
{
    struct scan scan = {.maps = maps};
    struct map_line line;
    uint64_t digest = 1, image;
    *count = 0;
    while (next_code(&scan, &line, &image)) {
        digest =
            mix(mix(mix(mix(digest, line.start), line.end), line.offset), line.inode ^ line.device << 20);
        for (size_t i = 0; i < line.path_size; i++)
            digest = mix(digest, (unsigned char)line.path[i]);
        ++*count;
    }
    return digest;
}

static int is_library(const struct known *known, const struct map_line *line)
{
    const struct library *library = &known->library;
    return library->start == line->start && library->end == line->end && library->device == line->device &&
           library->inode == line->inode && known->offset == line->offset &&
           strlen(library->path) == line->path_size &&
           memcmp(library->path, line->path, line->path_size) == 0;
}

/* The file's path where it can still be opened by it; NULL where its memory must serve. */
static const char *file_path(const struct library *library)
{
    static const char deleted[] = " (deleted)";
    size_t size = strlen(library->path), suffix = sizeof deleted - 1;
    if (library->path[0] != '/' || library->inode == 0)
        return NULL;
    return size > suffix && memcmp(library->path + size - suffix, deleted, suffix) == 0 ? NULL
                                                                                        : library->path;
}

static int open_elf(const struct known *known, struct elf *elf)
{
    const struct library *library = &known->library;
    const char *path = file_path(library);
    int result = -ENOENT;
    if (path != NULL)
        result = elf_open(elf, path, known->image, library->start, known->offset);
    if (result < 0)
        result = elf_open(elf, NULL, known->image, library->start, known->offset);
    return result;
}

/* .../greenlet/_greenlet.cpython-312-x86_64-linux-gnu.so, and greenlet.cpython-... of old ones */
static uint32_t is_greenlet(const char *path)
{
    const char *name = path;
    for (const char *at = path; *at != 0; at++)
        if (*at == '/')
            name = at + 1;
    name += *name == '_';
    return memcmp(name, "greenlet.", strlen(name) < 9 ? strlen(name) : 9) == 0 && strlen(name) > 9;
}

static struct known *add_known(struct libs_state *state, const struct map_line *line, uint64_t image)
{
    struct known *known = arena_take(&state->arena, sizeof *known);
    char *path = arena_take(&state->arena, line->path_size + 1);
    struct library *library;
    struct elf elf;
    if (known == NULL || path == NULL)
        return NULL;
    if (state->known_count == state->known_capacity) {
        uint32_t capacity = state->known_capacity > 0 ? state->known_capacity * 2 : KNOWN_FIRST;
        struct known **grown = arena_take(&state->arena, capacity * sizeof *grown);
        if (grown == NULL)
            return NULL;
        if (state->known_count > 0)
            memcpy(grown, state->known, state->known_count * sizeof *grown);
        state->known = grown;
        state->known_capacity = capacity;
    }
    memcpy(path, line->path, line->path_size);
    library = &known->library;
    *library = (struct library){.start = line->start,
                                .end = line->end,
                                .id = state->known_count,
                                .frame_pointers = 1,
                                .switches = is_greenlet(path),
                                .path = path,
                                .device = line->device,
                                .inode = line->inode};
    known->offset = line->offset;
    known->image = image;
    if (open_elf(known, &elf) == 0) {
        library->bias = elf.bias;
        library->build_id_size = elf_build_id(&elf, library->build_id);
        elf_close(&elf);
    } else {
        library->table = &no_table;
    }
    state->known[state->known_count++] = known;
    return known;
}

/* Whether the file is still the one that the object was made from. */
static int same_build(const struct known *known)
{
    const struct library *library = &known->library;
    unsigned char id[ELF_BUILD_ID];
    struct elf elf;
    uint32_t size;
    if (open_elf(known, &elf) < 0)
        return library->table == &no_table;
    size = elf_build_id(&elf, id);
    elf_close(&elf);
    return size > 0 && size == library->build_id_size && memcmp(id, library->build_id, size) == 0;
}

/* A library that was unloaded and came back to its place, or NULL: a program that loads and unloads one
 * for ever must not fill the memory. */
static struct known *find_returned(const struct libs_state *state, const struct map_line *line)
{
    for (uint32_t i = state->known_count; i-- > 0;)
        if (is_library(state->known[i], line))
            return same_build(state->known[i]) ? state->known[i] : NULL;
    return NULL;
}

/* A snapshot to be filled, with room for `count` libraries: one that has been out of use for long, or a new
 * one. */
static struct retired *snapshot_for(struct libs_state *state, uint32_t count)
{
    uint64_t now = os_now();
    struct retired *snapshot;
    uint32_t capacity = count + SPARE_LIBRARIES;
    for (snapshot = state->snapshots; snapshot != NULL; snapshot = snapshot->next)
        if (snapshot != state->in_use && snapshot->capacity >= count && now - snapshot->since >= RETIRED_NS &&
            state->current->generation - snapshot->libs->generation >= 2)
            return snapshot;
    snapshot = arena_take(&state->arena, sizeof *snapshot);
    if (snapshot == NULL)
        return NULL;
    snapshot->libs = arena_take(&state->arena, sizeof *snapshot->libs + capacity * sizeof(struct library *));
    if (snapshot->libs == NULL)
        return NULL;
    snapshot->capacity = capacity;
    snapshot->libs->first_sight = state->first_sight;
    snapshot->next = state->snapshots;
    state->snapshots = snapshot;
    return snapshot;
}

static int publish(struct libs_state *state, const struct maps *maps, uint32_t count)
{
    const struct libs *old = state->current;
    struct retired *snapshot = snapshot_for(state, count);
    struct libs *libs = snapshot != NULL ? snapshot->libs : NULL;
    struct scan scan = {.maps = maps};
    struct map_line line;
    uint64_t image;
    if (libs == NULL)
        return -ENOMEM;
    libs->generation = old->generation + 1;
    __atomic_store_n(&libs->count, 0, __ATOMIC_RELAXED);
    libs->switches = 0;
    while (libs->count < count && next_code(&scan, &line, &image)) {
        struct library *library = libs_find(old, line.start);
        struct known *known = (struct known *)(void *)library;
        if (known == NULL || !is_library(known, &line))
            known = find_returned(state, &line);
        if (known == NULL)
            known = add_known(state, &line, image);
        if (known == NULL)
            return -ENOMEM;
        libs->switches |= known->library.switches;
        libs->library[libs->count++] = &known->library;
    }
    if (state->in_use != NULL)
        state->in_use->since = os_now();
    state->in_use = snapshot;
    __atomic_store_n(&state->current, libs, __ATOMIC_RELEASE);
    return 1;
}

int libs_refresh(struct libs_state *state)
{
    struct maps maps;
    uint64_t digest;
    uint32_t count;
    int result = maps_read(&maps);
    if (result < 0)
        return result;
    digest = digest_of(&maps, &count);
    if (digest != state->digest) {
        result = publish(state, &maps, count);
        if (result > 0)
            state->digest = digest;
    }
    maps_free(&maps);
    return result;
}

/* The table of the same file seen before, or NULL. */
static const struct cfi_table *shared_table(const struct libs_state *state, const struct library *library)
{
    for (uint32_t i = 0; i < state->known_count; i++) {
        const struct library *other = &state->known[i]->library;
        if (other->table != NULL && other->table != &no_table && library->build_id_size > 0 &&
            other->build_id_size == library->build_id_size &&
            memcmp(other->build_id, library->build_id, library->build_id_size) == 0)
            return other->table;
    }
    return NULL;
}

static void *take(void *context, size_t size)
{
    return arena_take(context, size);
}

static int compile(struct libs_state *state, const struct elf *elf, struct cfi_table *table)
{
    uint64_t address, size;
    unsigned char *section;
    int result = elf_eh_frame(elf, &address, &size);
    if (result < 0)
        return result;
    section = os_map((size_t)size);
    if (section == NULL)
        return -ENOMEM;
    result = elf_read(elf, address, section, (size_t)size);
    if (result == 0)
        result = cfi_compile(section, (size_t)size, address, take, &state->arena, table);
    os_unmap(section, (size_t)size);
    return result;
}

static const struct cfi_table *make_table(struct libs_state *state, const struct known *known)
{
    const struct cfi_table *shared = shared_table(state, &known->library);
    struct cfi_table *table;
    struct elf elf;
    int result;
    if (shared != NULL)
        return shared;
    if (open_elf(known, &elf) < 0)
        return &no_table;
    table = arena_take(&state->arena, sizeof *table);
    result = table != NULL ? compile(state, &elf, table) : -ENOMEM;
    elf_close(&elf);
    return result == 0 ? table : &no_table;
}

int libs_build(struct libs_state *state, int limit)
{
    const struct libs *libs = state->current;
    int built = 0;
    for (uint32_t i = 0; i < libs->count && built < limit; i++) {
        struct library *library = libs->library[i];
        const struct cfi_table *table;
        if (library->table != NULL || __atomic_load_n(&library->wanted, __ATOMIC_RELAXED) == 0)
            continue;
        table = make_table(state, (const struct known *)(const void *)library);
        __atomic_store_n(&library->table, table, __ATOMIC_RELEASE);
        built++;
    }
    return built;
}

void libs_want_all(struct libs_state *state, uint64_t max_text)
{
    const struct libs *libs = state->current;
    for (uint32_t i = 0; i < libs->count; i++)
        if (libs->library[i]->end - libs->library[i]->start <= max_text)
            __atomic_store_n(&libs->library[i]->wanted, 1, __ATOMIC_RELAXED);
}
