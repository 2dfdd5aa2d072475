/* SPDX-License-Identifier: MIT */
/* test_libs.c - snapshots of what is mapped: against the linker's own word, through loading, unloading and
 * deleting; and the unwinder's edges on hand-made stacks. */
#include "check.h"
#include "native/rule.h"
#include "native/unwind.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CHURN = 200 };

static const struct library *named(const struct libs_state *state, const char *part)
{
    const struct libs *libs = libs_current(state);
    for (uint32_t i = 0; i < libs->count; i++)
        if (strstr(libs->library[i]->path, part) != NULL)
            return libs->library[i];
    return NULL;
}

static void build_all(struct libs_state *state)
{
    libs_want_all(state, UINT64_MAX);
    libs_build(state, INT32_MAX);
}

/* Every executable segment that the linker knows must be found with its bias and its table. */
static int check_segment(struct dl_phdr_info *info, size_t size, void *context)
{
    const struct libs_state *state = context;
    (void)size;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uint64_t start = info->dlpi_addr + header->p_vaddr;
        const struct library *first, *last;
        if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
            continue;
        first = libs_find(libs_current(state), start);
        last = libs_find(libs_current(state), start + header->p_memsz - 1);
        CHECK(first != NULL && first == last);
        if (first == NULL)
            continue;
        CHECK_EQUAL(first->bias, info->dlpi_addr);
        CHECK(first->table != NULL && first->table->count > 1);
        CHECK(first->build_id_size == 20 || first->build_id_size == 0);
    }
    return 0;
}

static void as_the_linker_says(void)
{
    struct libs_state *state = libs_new();
    dlopen("libm.so.6", RTLD_LAZY);
    CHECK(libs_current(state) != NULL && libs_current(state)->count == 0);
    CHECK_EQUAL(libs_refresh(state), 1);
    build_all(state);
    dl_iterate_phdr(check_segment, state);
    CHECK(libs_find(libs_current(state), 0) == NULL);
    CHECK(libs_find(libs_current(state), UINT64_MAX) == NULL);
    CHECK(libs_find(libs_current(state), (uint64_t)&state) == NULL);
    CHECK(libs_memory(state) > 100000 && libs_memory(state) < 8 << 20);
}

static void vdso(void)
{
    struct libs_state *state = libs_new();
    uint64_t address = getauxval(AT_SYSINFO_EHDR);
    const struct library *library;
    if (address == 0)
        SKIP("no vdso");
    CHECK_EQUAL(libs_refresh(state), 1);
    build_all(state);
    library = libs_find(libs_current(state), address + 0x100);
    CHECK(library != NULL && strcmp(library->path, "[vdso]") == 0);
    CHECK(library != NULL && library->table->count > 5);
}

static void copy_file(const char *from, const char *to)
{
    static char buffer[1 << 16];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0700);
    ssize_t got;
    while ((got = read(in, buffer, sizeof buffer)) > 0)
        CHECK_EQUAL(write(out, buffer, (size_t)got), got);
    close(in);
    close(out);
}

/* The path of a library of the system, for copies that may be deleted and cut. */
static const char *some_library(void)
{
    static char path[4096];
    struct link_map *map;
    void *handle = dlopen("libm.so.6", RTLD_LAZY);
    if (handle == NULL || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0)
        return NULL;
    snprintf(path, sizeof path, "%s", map->l_name);
    return path;
}

static void loaded_and_unloaded(void)
{
    struct libs_state *state = libs_new();
    char path[] = "/tmp/plait-libs-XXXXXX";
    const struct library *before, *during, *again;
    const struct cfi_table *table;
    uint64_t generation;
    void *handle;
    int fd = mkstemp(path);
    CHECK(fd >= 0 && some_library() != NULL);
    close(fd);
    copy_file(some_library(), path);
    CHECK_EQUAL(libs_refresh(state), 1);
    before = named(state, "libc.so.6");
    generation = libs_current(state)->generation;
    handle = dlopen(path, RTLD_LAZY);
    CHECK(handle != NULL);
    CHECK_EQUAL(libs_refresh(state), 1);
    CHECK_EQUAL(libs_refresh(state), 0);
    CHECK_EQUAL(libs_current(state)->generation, generation + 1);
    CHECK(named(state, "libc.so.6") == before);
    during = named(state, path);
    CHECK(during != NULL && libs_get(state, during->id) == during);
    build_all(state);
    table = during->table;
    CHECK(table != NULL && table->count > 100);
    CHECK(libs_get(state, libs_count(state)) == NULL);
    dlclose(handle);
    CHECK_EQUAL(libs_refresh(state), 1);
    CHECK(named(state, path) == NULL);
    CHECK(libs_get(state, during->id) == during && during->table == table);
    handle = dlopen(path, RTLD_LAZY);
    CHECK_EQUAL(libs_refresh(state), 1);
    again = named(state, path);
    build_all(state);
    CHECK(again != NULL && (again == during || again->start != during->start) && again->table == table);
    dlclose(handle);
    unlink(path);
}

/* Loading and unloading for ever costs nothing but what snapshots take that are not yet out of use. */
static void churn(void)
{
    struct libs_state *state = libs_new();
    char path[] = "/tmp/plait-libs-XXXXXX";
    uint32_t count = 0;
    uint64_t memory = 0;
    int fd = mkstemp(path);
    close(fd);
    copy_file(some_library(), path);
    for (int i = 0; i < CHURN; i++) {
        void *handle = dlopen(path, RTLD_LAZY);
        CHECK_EQUAL(libs_refresh(state), 1);
        build_all(state);
        dlclose(handle);
        CHECK_EQUAL(libs_refresh(state), 1);
        if (i == CHURN / 2) {
            struct timespec pause = {1, 100000000}; /* then all snapshots but two serve again */
            count = libs_count(state);
            memory = libs_memory(state);
            nanosleep(&pause, NULL);
        }
    }
    CHECK(libs_count(state) < count + 10);
    CHECK_EQUAL(libs_memory(state), memory);
    unlink(path);
}

static void deleted_file(void)
{
    struct libs_state *from_file = libs_new(), *from_memory = libs_new();
    char path[] = "/tmp/plait-libs-XXXXXX";
    const struct library *file, *memory;
    void *handle;
    int fd = mkstemp(path);
    close(fd);
    copy_file(some_library(), path);
    handle = dlopen(path, RTLD_LAZY);
    CHECK_EQUAL(libs_refresh(from_file), 1);
    build_all(from_file);
    unlink(path);
    CHECK_EQUAL(libs_refresh(from_memory), 1);
    build_all(from_memory);
    file = named(from_file, path);
    memory = named(from_memory, path);
    CHECK(file != NULL && memory != NULL && strstr(memory->path, " (deleted)") != NULL);
    CHECK_EQUAL(memory->bias, file->bias);
    CHECK_EQUAL(memory->build_id_size, file->build_id_size);
    CHECK_EQUAL(memory->table->count, file->table->count);
    CHECK(memcmp(memory->table->rows, file->table->rows, file->table->count * sizeof *file->table->rows) ==
          0);
    dlclose(handle);
}

/* Files cut at many lengths, mapped executable: no fault, at worst no rules. */
static void truncated_files(void)
{
    char path[] = "/tmp/plait-libs-XXXXXX";
    int fd = mkstemp(path);
    struct stat status;
    void *mapped;
    close(fd);
    copy_file(some_library(), path);
    CHECK_EQUAL(stat(path, &status), 0);
    fd = open(path, O_RDONLY);
    mapped = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    CHECK(mapped != MAP_FAILED);
    for (long size = status.st_size; size > 0; size = size * 2 / 3) {
        struct libs_state *state = libs_new();
        CHECK_EQUAL(truncate(path, size), 0);
        CHECK_EQUAL(libs_refresh(state), 1);
        build_all(state);
        CHECK(named(state, path) != NULL);
    }
    munmap(mapped, (size_t)status.st_size);
    close(fd);
    unlink(path);
}

/* What tables say, at each change and before and behind it, is what first sight says. */
static void first_sight(void)
{
    static const char *const more[] = {"libstdc++.so.6", "libcrypto.so.3", "libpython3.11.so.1.0"};
    struct libs_state *state = libs_new();
    const struct libs *libs;
    sight_find *find = sight_finder();
    unsigned long compared = 0, differ = 0;
    struct sight_object object;
    if (find == NULL)
        SKIP("no _dl_find_object");
    for (unsigned i = 0; i < sizeof more / sizeof *more; i++)
        dlopen(more[i], RTLD_LAZY);
    CHECK_EQUAL(libs_refresh(state), 1);
    build_all(state);
    libs = libs_current(state);
    for (uint32_t i = 0; i < libs->count; i++) {
        const struct library *library = libs->library[i];
        for (uint32_t row = 0; row < library->table->count; row++) {
            uint64_t start = library->table->base + library->table->rows[row].pc + library->bias;
            for (uint64_t pc = start - 1; pc <= start + 1; pc++) {
                uint64_t rule = 1, expected;
                if (pc < library->start || pc >= library->end || find((void *)pc, &object) != 0)
                    continue;
                expected = rule_widen(library->table, cfi_find(library->table, pc - library->bias));
                compared++;
                if (sight_rule(find, pc, &rule) && rule == expected)
                    continue;
                if (differ++ < 5)
                    printf("  %s %#" PRIx64 ": %#" PRIx64 ", table %#" PRIx64 "\n", library->path,
                           pc - library->bias, rule, expected);
            }
        }
    }
    printf("  %lu places compared\n", compared);
    CHECK(compared > 10000);
    CHECK_EQUAL(differ, 0);
}

static struct sight_object damaged;

static int find_damaged(void *address, struct sight_object *object)
{
    (void)address;
    *object = damaged;
    return 0;
}

/* A copy of a library, ending where memory ends, with bytes changed: any rule, and no fault. */
static void first_sight_of_damage(void)
{
    sight_find *find = sight_finder();
    struct link_map *map;
    struct sight_object object;
    size_t size, whole, kept, header;
    unsigned char *copy;
    uint64_t random = 1, found = 0, rule;
    void *handle = dlopen("libm.so.6", RTLD_LAZY);
    if (find == NULL)
        SKIP("no _dl_find_object");
    CHECK(handle != NULL && dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0);
    CHECK_EQUAL(find(dlsym(handle, "sin"), &object), 0);
    size = (size_t)((char *)object.end - (char *)object.start);
    header = (size_t)((char *)object.header - (char *)object.start);
    whole = (size + 4095) & ~(size_t)4095;
    copy = mmap(NULL, whole + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(copy != MAP_FAILED && mprotect(copy + whole, 4096, PROT_NONE) == 0);
    memcpy(copy, object.start, size);
    damaged = object;
    damaged.start = copy;
    damaged.end = copy + whole;
    damaged.header = copy + header;
    kept = size - header < 1 << 17 ? size - header : 1 << 17;
    for (int i = 0; i < 200000; i++) {
        size_t at;
        unsigned char old;
        random = random * 6364136223846793005u + 1442695040888963407u;
        at = (random >> 33) % (i % 2 ? 4 : i % 3 ? kept : 1024);
        at += i % 7 == 0 ? 0 : header;
        old = copy[at];
        copy[at] = (unsigned char)(random >> 24);
        found += sight_rule(find_damaged, (uint64_t)copy + (random >> 20) % header, &rule) && rule != 0;
        copy[at] = i % 5 == 0 && at > header + 12 ? copy[at] : old; /* some damage stays */
    }
    printf("  %" PRIu64 " rules\n", found);
    CHECK(found > 1000);
    munmap(copy, whole + 4096);
}

/* Hand-made code at CODE..CODE + 0x1000 whose rules are `rows`, and code without rules behind it. */
enum { CODE = 0x100000, BARE = 0x200000 };

static struct {
    struct libs libs;
    struct library *library[2];
} snapshot;

static struct library code, bare;
static struct cfi_table table;
static const struct cfi_table empty_table;
static struct unwind_cache cache;
static uint64_t stack_words[64];
static struct native_frame frames[33];

static struct native_stack walk(const struct cfi_row *rows, uint32_t count, struct regs regs)
{
    struct native_stack stack = {.frames = frames, .capacity = 32};
    struct stack_span span = {(uint64_t)stack_words, (uint64_t)(stack_words + 64), 0, 0};
    table = (struct cfi_table){.base = 0, .count = count, .rows = rows};
    code = (struct library){
        .start = CODE, .end = CODE + 0x1000, .bias = CODE, .table = &table, .frame_pointers = 1, .path = ""};
    bare = (struct library){
        .start = BARE, .end = BARE + 0x1000, .table = &empty_table, .frame_pointers = 1, .path = ""};
    snapshot.libs.generation++;
    snapshot.libs.count = 2;
    snapshot.library[0] = &code;
    snapshot.library[1] = &bare;
    unwind_stack(&snapshot.libs, &cache, &regs, &span, &stack);
    return stack;
}

static struct regs at(uint64_t pc, unsigned sp, uint64_t fp)
{
    return (struct regs){.pc = pc, .sp = (uint64_t)(stack_words + sp), .fp = fp, .known = 0xffff};
}

static uint32_t sp_rule(unsigned offset)
{
    return rule_pack(rule_wide(RULE_REGISTER, RULE_REG_SP, offset, 0, 0));
}

static void ends_of_stacks(void)
{
    struct cfi_row rows[] = {{0, sp_rule(16)}, {0x100, sp_rule(8)}, {0x200, sp_rule(16384 - 8200)}};
    struct native_stack stack;
    memset(stack_words, 0, sizeof stack_words);
    stack_words[1] = CODE + 0x10; /* return addresses of frames of 16 bytes */
    stack_words[3] = CODE + 0x20;
    stack = walk(rows, 3, at(CODE + 5, 0, 0));
    CHECK_EQUAL(stack.end, UNWIND_COMPLETE); /* a return address of 0 */
    CHECK_EQUAL(stack.count, 3);
    CHECK_EQUAL(stack.frames[0].flags, FRAME_EXACT_PC);
    CHECK_EQUAL(stack.frames[1].flags, 0);
    CHECK_EQUAL(stack.frames[2].pc, CODE + 0x20);
    CHECK_EQUAL(stack.frames[3].sp, (uint64_t)(stack_words + 6));
    stack_words[5] = 0x666000;
    stack = walk(rows, 3, at(CODE + 5, 0, 0));
    CHECK_EQUAL(stack.end, UNWIND_NO_LIBRARY);
    CHECK_EQUAL(stack.missed, 0x666000 - 1);
    stack_words[5] = CODE + 0x100; /* a call that is the last instruction: the rule of the call itself */
    stack_words[6] = 0x666000;
    stack_words[7] = 0;
    stack = walk(rows, 3, at(CODE + 5, 0, 0));
    CHECK_EQUAL(stack.end, UNWIND_COMPLETE);
    CHECK_EQUAL(stack.count, 4);
    stack = walk(rows, 3, at(CODE + 0x200, 0, 0)); /* a frame larger than the stack */
    CHECK_EQUAL(stack.end, UNWIND_BAD_STACK);
    stack = walk(rows, 3, at(CODE, 64, 0));
    CHECK_EQUAL(stack.end, UNWIND_BAD_STACK);
    code.table = NULL;
    {
        struct native_stack unbuilt = {.frames = frames, .capacity = 32};
        struct stack_span span = {(uint64_t)stack_words, (uint64_t)(stack_words + 64), 0, 0};
        struct regs regs = at(CODE + 5, 0, 0);
        snapshot.libs.generation++;
        unwind_stack(&snapshot.libs, &cache, &regs, &span, &unbuilt);
        CHECK_EQUAL(unbuilt.end, UNWIND_NO_TABLE);
        CHECK_EQUAL(unbuilt.missed, CODE + 5);
        CHECK_EQUAL(code.wanted, 1);
    }
}

static void limit(void)
{
    struct cfi_row rows[] = {{0, sp_rule(8)}};
    struct native_stack stack;
    for (unsigned i = 0; i < 64; i++)
        stack_words[i] = CODE + 1;
    stack = walk(rows, 1, at(CODE + 5, 0, 0));
    CHECK_EQUAL(stack.end, UNWIND_LIMIT);
    CHECK_EQUAL(stack.count, 32);
    CHECK_EQUAL(stack.frames[32].sp, (uint64_t)(stack_words + 32));
}

/* Code without rules, with frame pointers: two such frames, then one with a rule. */
static void by_frame_pointer(void)
{
    struct cfi_row rows[] = {{0, sp_rule(16)}};
    struct native_stack stack;
    memset(stack_words, 0, sizeof stack_words);
    stack_words[4] = (uint64_t)(stack_words + 10);
    stack_words[5] = BARE + 0x20;
    stack_words[10] = 0;
    stack_words[11] = CODE + 0x30;
    stack = walk(rows, 1, at(BARE + 0x10, 1, (uint64_t)(stack_words + 4)));
    CHECK_EQUAL(stack.end, UNWIND_COMPLETE);
    CHECK_EQUAL(stack.count, 3);
    CHECK_EQUAL(stack.guessed, 2);
    CHECK_EQUAL(stack.frames[1].pc, BARE + 0x20);
    CHECK_EQUAL(stack.frames[2].pc, CODE + 0x30);
    CHECK_EQUAL(stack.frames[2].sp, (uint64_t)(stack_words + 12));
    /* a leaf that set up nothing: the caller's frame pointer must not skip the caller */
    stack_words[1] = CODE + 0x40;
    stack_words[3] = CODE + 0x50;
    stack = walk(rows, 1, at(BARE + 0x10, 1, (uint64_t)(stack_words + 4)));
    CHECK_EQUAL(stack.frames[1].pc, CODE + 0x40);
    /* a frame pointer that leads nowhere */
    memset(stack_words, 0, sizeof stack_words);
    stack_words[0] = 5;
    stack = walk(rows, 1, at(BARE + 0x10, 0, 0x1234));
    CHECK_EQUAL(stack.end, UNWIND_NO_RULE);
    CHECK_EQUAL(stack.missed, 0);
    /* an entry without rules whose return address is 0 */
    stack_words[62] = 0;
    stack = walk(rows, 1, at(BARE + 0x10, 62, 0));
    CHECK_EQUAL(stack.end, UNWIND_COMPLETE);
}

/* The same pc after the libraries changed has the new rule. */
static void cache_and_generations(void)
{
    struct cfi_row one[] = {{0, sp_rule(16)}}, other[] = {{0, sp_rule(32)}};
    memset(stack_words, 0, sizeof stack_words);
    walk(one, 1, at(CODE + 5, 0, 0));
    CHECK_EQUAL(frames[1].sp, (uint64_t)(stack_words + 2));
    walk(other, 1, at(CODE + 5, 0, 0));
    CHECK_EQUAL(frames[1].sp, (uint64_t)(stack_words + 4));
}

int main(int argc, char **argv)
{
    static const struct check_case cases[] = {
        {"as_the_linker_says", as_the_linker_says},
        {"vdso", vdso},
        {"loaded_and_unloaded", loaded_and_unloaded},
        {"churn", churn},
        {"deleted_file", deleted_file},
        {"truncated_files", truncated_files},
        {"first_sight", first_sight},
        {"first_sight_of_damage", first_sight_of_damage},
        {"ends_of_stacks", ends_of_stacks},
        {"limit", limit},
        {"by_frame_pointer", by_frame_pointer},
        {"cache_and_generations", cache_and_generations},
    };
    return check_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
