/* SPDX-License-Identifier: MIT */
/* test_cfi.c - the compiler of `.eh_frame`: hand-made sections whose rules are known, and every row of some
 * system libraries against what readelf makes of the same bytes. */
#include "check.h"
#include "native/libs.h"
#include "native/rule.h"
#include <dlfcn.h>
#include <errno.h>

enum { SECTION = 4096, ADDRESS = 0x10000, CODE = 0x20000 };

/* A section being written. */
static unsigned char section[SECTION];
static size_t written, entry_start;
static int entry_wide;

static void bytes(const void *from, size_t size)
{
    memcpy(section + written, from, size);
    written += size;
}

static void fixed(uint64_t value, size_t size)
{
    bytes(&value, size);
}

static void open_entry(int wide, uint64_t id)
{
    entry_start = written;
    entry_wide = wide;
    fixed(0xffffffff, 4);
    if (wide)
        fixed(0, 8);
    fixed(id, 4);
}

static void close_entry(void)
{
    size_t header = entry_wide ? 12 : 4;
    uint64_t length;
    while ((written - entry_start) % 8 != 0)
        fixed(0, 1);
    length = written - entry_start - header;
    memcpy(section + entry_start + header - (entry_wide ? 8 : 4), &length, entry_wide ? 8 : 4);
}

/* CFA = sp + 8, return address at CFA - 8. */
static size_t cie(const char *augmentation, const void *data, size_t size)
{
    static const unsigned char program[] = {0x0c, 7, 8, 0x90, 1};
    size_t at = written;
    open_entry(0, 0);
    fixed(1, 1);
    bytes(augmentation, strlen(augmentation) + 1);
    fixed(1, 1);    /* code factor */
    fixed(0x78, 1); /* data factor -8 */
    fixed(16, 1);
    if (augmentation[0] == 'z') {
        fixed(size, 1);
        bytes(data, size);
    }
    bytes(program, sizeof program);
    close_entry();
    return at;
}

static void fde(int wide, size_t of, unsigned encoding, uint64_t start, uint64_t size, const void *program,
                size_t program_size)
{
    static const size_t sizes[16] = {8, 0, 2, 4, 8, 0, 0, 0, 8, 0, 2, 4, 8, 0, 0, 0};
    size_t width = sizes[encoding & 15];
    open_entry(wide, 0);
    {
        size_t id = written - 4;
        uint32_t back = (uint32_t)(id - of);
        memcpy(section + id, &back, 4);
    }
    fixed((encoding & 0x70) == 0x10 ? start - (ADDRESS + written) : start, width);
    fixed(size, width);
    fixed(0, 1); /* augmentation data */
    bytes(program, program_size);
    close_entry();
}

static unsigned char memory[1 << 16] __attribute__((aligned(16)));

static void *take(void *context, size_t size)
{
    (void)context;
    return size <= sizeof memory ? memset(memory, 0, sizeof memory) : NULL;
}

static struct cfi_table table;

static int compile(void)
{
    fixed(0, 4);
    return cfi_compile(section, written, ADDRESS, take, NULL, &table);
}

static uint64_t rule_at(uint64_t pc)
{
    return rule_widen(&table, cfi_find(&table, pc));
}

#define CHECK_RULE(pc, kind, reg, offset, fp, extra)                                                         \
    CHECK_EQUAL(rule_at(pc), rule_wide((kind), (reg), (offset), (fp), (extra)))

static void begin(void)
{
    written = 0;
    memset(section, 0, sizeof section);
}

static void encodings(void)
{
    static const unsigned char encoding[] = {0x00, 0x03, 0x04, 0x0b, 0x0c, 0x1b, 0x1c};
    static const unsigned char push[] = {0x41, 0x0e, 16, 0x86, 2}; /* push rbp */
    begin();
    for (unsigned i = 0; i < sizeof encoding; i++) {
        size_t of = cie("zR", &encoding[i], 1);
        fde(i & 1, of, encoding[i], CODE + 64 * (uint64_t)i, 32, push, sizeof push);
    }
    CHECK_EQUAL(compile(), 0);
    for (unsigned i = 0; i < sizeof encoding; i++) {
        uint64_t pc = CODE + 64 * (uint64_t)i;
        CHECK_RULE(pc, RULE_REGISTER, 7, 8, 0, 0);
        CHECK_RULE(pc + 1, RULE_REGISTER, 7, 16, 2, 0);
        CHECK_RULE(pc + 31, RULE_REGISTER, 7, 16, 2, 0);
        CHECK_EQUAL(rule_at(pc + 32), 0); /* the gap */
        CHECK_EQUAL(rule_at(pc + 63), 0);
    }
    CHECK_EQUAL(rule_at(CODE - 1), 0);
    CHECK_EQUAL(rule_at(CODE + (1ull << 32)), 0);
}

static void augmentations(void)
{
    static const unsigned char personality[] = {0x9b, 1, 2, 3, 4, 0x1b, 0x1b}, pc_relative[] = {0x1b};
    static const unsigned char push[] = {0x41, 0x0e, 16};
    begin();
    fde(0, cie("zPLR", personality, sizeof personality), 0x1b, CODE, 16, push, sizeof push);
    fde(0, cie("zRS", pc_relative, 1), 0x1b, CODE + 64, 16, push, sizeof push);
    fde(0, cie("zRB", pc_relative, 1), 0x1b, CODE + 128, 16, push, sizeof push);
    CHECK_EQUAL(compile(), 0);
    CHECK_RULE(CODE + 1, RULE_REGISTER, 7, 16, 0, 0);
    CHECK_RULE(CODE + 64, RULE_SIGNAL, 0, 0, 0, 0);
    CHECK_RULE(CODE + 128 + 1, RULE_REGISTER, 7, 16, 0, 0);
}

/* One FDE of 256 bytes with the program given. */
static int one(const void *program, size_t size)
{
    static const unsigned char pc_relative[] = {0x1b};
    begin();
    fde(0, cie("zR", pc_relative, 1), 0x1b, CODE, 256, program, size);
    return compile();
}

static void operations(void)
{
    static const unsigned char program[] = {
        0x41, 0x0e, 16,   0x83, 2,                               /* +1: push rbx */
        0x02, 2,    0x0e, 24,   0x05, 6,    3,                   /* +3: push rbp by offset_extended */
        0x03, 2,    0,    0x0d, 6,                               /* +5: CFA = rbp + 24 */
        0x0a, 0x04, 2,    0,    0,    0,    0x0c, 7,    8, 0xc6, /* +7: an early epilogue */
        0x0a, 0x41, 0x06, 3,    0x41, 0x0b, 0x41,                /* +8: restore_extended rbx, +9: back, +10 */
        0x0b, 0x41,                                              /* +10: back in the body */
        0x2e, 16,   0x2f, 3,    2,                               /* +11: args_size; rbx at CFA + 16: lost */
        0x41, 0x11, 3,    4,    0x12, 7,    0x7c,                /* +12: rbx at CFA - 32; CFA = rsp + 32 */
        0x41, 0x13, 0x7b, 0x08, 3,    0x09, 6,    0,    /* +13: CFA = rsp + 40; same_value; register */
        0x41, 0x14, 3,    1,    0x16, 6,    1,    0x96, /* +14: val_offset, val_expression */
        0x41, 0x07, 16,                                 /* +15: the end of the stack */
    };
    CHECK_EQUAL(one(program, sizeof program), 0);
    CHECK_RULE(CODE, RULE_REGISTER, 7, 8, 0, 0);
    CHECK_RULE(CODE + 1, RULE_REGISTER, 7, 16, 0, 2);
    CHECK_RULE(CODE + 3, RULE_REGISTER, 7, 24, 3, 2);
    CHECK_RULE(CODE + 5, RULE_REGISTER, 6, 24, 3, 2);
    CHECK_RULE(CODE + 7, RULE_REGISTER, 7, 8, 0, 2);
    CHECK_RULE(CODE + 8, RULE_REGISTER, 7, 8, 0, 0);
    CHECK_RULE(CODE + 9, RULE_REGISTER, 7, 8, 0, 2);
    CHECK_RULE(CODE + 10, RULE_REGISTER, 6, 24, 3, 2);
    CHECK_RULE(CODE + 11, RULE_REGISTER, 6, 24, 3, RULE_LOST);
    CHECK_RULE(CODE + 12, RULE_REGISTER, 7, 32, 3, 4);
    CHECK_RULE(CODE + 13, RULE_REGISTER, 7, 40, RULE_LOST, 0);
    CHECK_RULE(CODE + 14, RULE_REGISTER, 7, 40, RULE_LOST, RULE_LOST);
    CHECK_RULE(CODE + 15, RULE_END, 0, 0, 0, 0);
    CHECK_RULE(CODE + 255, RULE_END, 0, 0, 0, 0);
    CHECK_EQUAL(rule_at(CODE + 256), 0);
}

static void expressions(void)
{
    static const unsigned char program[] = {
        0x0f, 11,   0x77, 8,    0x80, 0,    0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22, /* PLT */
        0x41, 0x0c, 10,   0,    0x10, 6,    2,    0x76, 0,                /* +1: CFA = r10, fp at *rbp */
        0x41, 0x0f, 3,    0x76, 0x78, 0x06, 0x10, 3,    2,    0x76, 0x70, /* +2: CFA = *(rbp - 8) */
        0x41, 0x0f, 5,    0x77, 24,   0x06, 0x23, 8,                      /* +3: CFA = *(rsp + 24) + 8 */
        0x41, 0x0f, 2,    0x77, 48,                                       /* +4: CFA = rsp + 48 */
        0x41, 0x0f, 1,    0x50,                                           /* +5: something else */
        0x41, 0x0c, 7,    0x80, 0x80, 0x40,                               /* +6: a large frame */
    };
    unsigned by_fp = RULE_FP_ZERO;
    CHECK_EQUAL(one(program, sizeof program), 0);
    CHECK_RULE(CODE, RULE_PLT, 7, 11, 0, 0);
    CHECK_RULE(CODE + 1, RULE_REGISTER, 10, 0, by_fp, 0);
    CHECK_RULE(CODE + 2, RULE_DEREF, 6, rule_deref(-8, 0), by_fp, by_fp - 2);
    CHECK_RULE(CODE + 3, RULE_DEREF, 7, rule_deref(24, 1), by_fp, by_fp - 2);
    CHECK_RULE(CODE + 4, RULE_REGISTER, 7, 48, by_fp, by_fp - 2);
    CHECK_EQUAL(rule_at(CODE + 5), 0);
    CHECK_RULE(CODE + 6, RULE_REGISTER, 7, 1 << 20, by_fp, by_fp - 2);
}

static void broken_programs(void)
{
    static const unsigned char unknown[] = {0x41, 0x0e, 16, 0x41, 0x3f, 0x41}, unbalanced[] = {0x41, 0x0b},
                               cut[] = {0x41, 0x0f, 100};
    CHECK_EQUAL(one(unknown, sizeof unknown), 0);
    CHECK_RULE(CODE, RULE_REGISTER, 7, 8, 0, 0);
    CHECK_RULE(CODE + 1, RULE_REGISTER, 7, 16, 0, 0);
    CHECK_EQUAL(rule_at(CODE + 2), 0);
    CHECK_EQUAL(one(unbalanced, sizeof unbalanced), 0);
    CHECK_EQUAL(rule_at(CODE + 1), 0);
    CHECK_EQUAL(one(cut, sizeof cut), 0);
    CHECK_EQUAL(rule_at(CODE + 1), 0);
    begin();
    CHECK_EQUAL(compile(), -EINVAL);
}

/* Programs that no compiler writes, and that mean nothing: no rule rather than a wrong one. */
static void senseless_programs(void)
{
    static const unsigned char offset_alone[] = {0x0f, 2, 0x77, 48,   0x41, 0x0f, 3,
                                                 0x77, 8, 6,    0x41, 0x0e, 64};
    static const unsigned char register_alone[] = {0x0f, 3, 0x77, 8, 6, 0x41, 0x0d, 6};
    static const unsigned char too_far[] = {0x41, 0x0e, 0x90, 0x80, 0x80, 0x80, 0x08};
    static const unsigned char endless[] = {0x41, 0x0e, 0x90, 0x80, 0x80, 0x80, 0x80,
                                            0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
    static const unsigned char moving[] = {0x41, 0x0e, 32, 0x43, 0x0e, 8}, pc_relative[] = {0x1b};
    CHECK_EQUAL(one(offset_alone, sizeof offset_alone), 0);
    CHECK_RULE(CODE, RULE_REGISTER, 7, 48, 0, 0);
    CHECK_EQUAL(rule_at(CODE + 2), 0);
    CHECK_EQUAL(one(register_alone, sizeof register_alone), 0);
    CHECK_EQUAL(rule_at(CODE + 1), 0);
    CHECK_EQUAL(one(too_far, sizeof too_far), 0);
    CHECK_RULE(CODE, RULE_REGISTER, 7, 8, 0, 0);
    CHECK_EQUAL(rule_at(CODE + 1), 0);
    CHECK_EQUAL(one(endless, sizeof endless), 0);
    CHECK_RULE(CODE, RULE_REGISTER, 7, 8, 0, 0);
    CHECK_EQUAL(rule_at(CODE + 1), 0);
    begin(); /* a CIE that leaves the entry's first pc */
    size_t of = cie("zR", pc_relative, 1);
    section[of + 22] = 0x41; /* in its padding */
    fde(0, of, 0x1b, CODE, 64, moving, sizeof moving);
    CHECK_EQUAL(compile(), 0);
    CHECK_EQUAL(rule_at(CODE), 0);
    CHECK_EQUAL(rule_at(CODE + 10), 0);
}

static void order_and_padding(void)
{
    static const unsigned char pc_relative[] = {0x1b}, push[] = {0x41, 0x0e, 16}, leaf[] = {0};
    size_t of;
    begin();
    of = cie("zR", pc_relative, 1);
    fde(0, of, 0x1b, CODE + 512, 16, leaf, 1);
    fde(0, of, 0x1b, CODE + 32, 16, push, sizeof push);
    fde(0, of, 0x1b, CODE, 20, leaf, 1);      /* 12 bytes of padding follow */
    fde(0, of, 0x1b, CODE + 40, 24, leaf, 1); /* overlaps the one before */
    CHECK_EQUAL(compile(), 0);
    CHECK_RULE(CODE + 20, RULE_REGISTER, 7, 8, 0, 0);
    CHECK_RULE(CODE + 39, RULE_REGISTER, 7, 16, 0, 0);
    CHECK_RULE(CODE + 40, RULE_REGISTER, 7, 8, 0, 0);
    CHECK_EQUAL(rule_at(CODE + 64), 0);
    CHECK_RULE(CODE + 512, RULE_REGISTER, 7, 8, 0, 0);
    CHECK_EQUAL(table.count, 6);
}

static const struct library *library_named(const struct libs *libs, const char *part)
{
    for (uint32_t i = 0; i < libs->count; i++)
        if (strstr(libs->library[i]->path, part) != NULL)
            return libs->library[i];
    return NULL;
}

/* readelf's word for a place: "u", "c-16", "exp", "r3 (rbx)". */
static int same_place(const char *word, unsigned place)
{
    int offset;
    if (strcmp(word, "u") == 0 || strcmp(word, "s") == 0)
        return place == RULE_SAME;
    if (sscanf(word, "c%d", &offset) == 1)
        return offset < 0 ? place == (unsigned)(-offset / 8) : place == RULE_LOST;
    return place == RULE_LOST || place >= RULE_BY_FP;
}

static int register_named(const char *name)
{
    static const char *const names[] = {"rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    for (int i = 0; i < 16; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

static int same_cfa(const char *word, uint64_t rule)
{
    char name[8];
    int offset;
    if (strcmp(word, "exp") == 0)
        return rule_kind(rule) != RULE_END;
    if (sscanf(word, "%7[a-z0-9]%d", name, &offset) != 2)
        return 0;
    return rule_kind(rule) == RULE_REGISTER && (int)rule_register(rule) == register_named(name) &&
           rule_offset(rule) == offset;
}

struct columns {
    int rbx, rbp, ra;
};

/* Splits a line in words; "r8 (r8)" counts as one. */
static int split(char *line, char **word, int max)
{
    int count = 0;
    for (char *at = strtok(line, " \n"); at != NULL && count < max; at = strtok(NULL, " \n"))
        if (at[0] != '(')
            word[count++] = at;
    return count;
}

static int same_row(const struct library *library, uint64_t pc, char **word, const struct columns *columns)
{
    uint64_t rule = rule_widen(library->table, cfi_find(library->table, pc));
    const char *ra = columns->ra > 0 ? word[columns->ra] : "c-8";
    if (rule_kind(rule) == RULE_SIGNAL)
        return strcmp(word[1], "exp") == 0;
    if (strcmp(ra, "u") == 0)
        return rule_kind(rule) == RULE_END;
    if (strcmp(ra, "c-8") != 0)
        return rule == 0;
    if (rule == 0)
        return strcmp(word[1], "exp") == 0;
    return same_cfa(word[1], rule) && (columns->rbp == 0 || same_place(word[columns->rbp], rule_fp(rule))) &&
           (columns->rbx == 0 || same_place(word[columns->rbx], rule_extra(rule)));
}

static long compare_with_readelf(const struct library *library)
{
    char command[512], line[512], copy[512], *word[32];
    struct columns columns = {0, 0, 0};
    long rows = 0, wrong = 0;
    FILE *readelf;
    snprintf(command, sizeof command, "readelf --debug-dump=frames-interp '%s' 2>/dev/null", library->path);
    readelf = popen(command, "r");
    while (readelf != NULL && fgets(line, sizeof line, readelf) != NULL) {
        int count;
        uint64_t pc;
        strcpy(copy, line);
        count = split(copy, word, 32);
        if (count >= 2 && strcmp(word[0], "LOC") == 0) {
            columns = (struct columns){0, 0, 0};
            for (int i = 2; i < count; i++) {
                columns.rbx = strcmp(word[i], "rbx") == 0 ? i : columns.rbx;
                columns.rbp = strcmp(word[i], "rbp") == 0 ? i : columns.rbp;
                columns.ra = strcmp(word[i], "ra") == 0 ? i : columns.ra;
            }
            continue;
        }
        if (count < 2 || strlen(word[0]) != 16 || strspn(word[0], "0123456789abcdef") != 16 ||
            (strpbrk(word[1], "+-") == NULL && strcmp(word[1], "exp") != 0))
            continue;
        pc = strtoull(word[0], NULL, 16);
        if (pc == 0) /* a CIE's own row */
            continue;
        rows++;
        if (!same_row(library, pc, word, &columns) && wrong++ < 5)
            printf("%s: rule %#" PRIx64 " for %s", library->path,
                   rule_widen(library->table, cfi_find(library->table, pc)), line);
    }
    if (readelf != NULL)
        pclose(readelf);
    CHECK_EQUAL(wrong, 0);
    return rows;
}

static void system_libraries(void)
{
    static const char *const names[] = {"libc.so.6",      "ld-linux-x86-64.so.2", "libm.so.6",
                                        "libstdc++.so.6", "libcrypto.so.3",       "libsqlite3.so.0"};
    struct libs_state *state = libs_new();
    long rows = 0;
    if (system("readelf --version >/dev/null 2>&1") != 0)
        SKIP("no readelf");
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        dlopen(names[i], RTLD_LAZY);
    CHECK_EQUAL(libs_refresh(state), 1);
    CHECK_EQUAL(libs_refresh(state), 0);
    libs_want_all(state, UINT64_MAX);
    CHECK(libs_build(state, 1000) > 0);
    CHECK_EQUAL(libs_build(state, 1000), 0);
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        const struct library *library = library_named(libs_current(state), names[i]);
        if (library != NULL)
            rows += compare_with_readelf(library);
    }
    printf("  %ld rows as readelf has them\n", rows);
    CHECK(rows > 10000);
}

int main(int argc, char **argv)
{
    static const struct check_case cases[] = {
        {"encodings", encodings},
        {"augmentations", augmentations},
        {"operations", operations},
        {"expressions", expressions},
        {"broken_programs", broken_programs},
        {"senseless_programs", senseless_programs},
        {"order_and_padding", order_and_padding},
        {"system_libraries", system_libraries},
    };
    return check_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
