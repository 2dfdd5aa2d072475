/* SPDX-License-Identifier: MIT */
/* test_python.c - the Python room without a Python: refusals, the guard, line tables written by hand, and
 * walks over made-up chains that no interpreter could be brought to have. What real ones have is the
 * stepper's. */
#include "check.h"
#include "profiler.h"
#include "python/offsets.h"
#include "python/python.h"
#include <sys/mman.h>

/* ---- versions ---- */

static unsigned char fake_runtime[4096] __attribute__((aligned(16)));
static uint64_t fake_type[64], fake_code_type[64], fake_frame_type[64];

static int attach(uint64_t hex, struct py_runtime *py, struct error *error)
{
    static uint64_t version;
    struct py_symbols symbols;
    memset(&symbols, 0, sizeof symbols);
    memset(error, 0, sizeof *error);
    version = hex;
    fake_type[168 / 8] = 1ull << 31;
    fake_code_type[1] = (uint64_t)(uintptr_t)fake_type;
    symbols.runtime = (uint64_t)(uintptr_t)fake_runtime;
    symbols.version = (uint64_t)(uintptr_t)&version;
    symbols.code_type = (uint64_t)(uintptr_t)fake_code_type;
    symbols.frame_type = (uint64_t)(uintptr_t)fake_frame_type;
    return py_attach(py, &symbols, error);
}

static void test_versions(void)
{
    static const struct {
        uint64_t hex;
        const char *name; /* NULL: accepted */
    } cases[] = {
        {0x030801f0, NULL},        {0x030c07f0, NULL},        {0x030bfff0, NULL},
        {0x031000f0, "3.16.0 "},   {0x030f00a1, "3.15.0a1 "}, {0x030e00c3, "3.14.0rc3 "},
        {0x030711f0, "3.7.17 "},   {0x02071200, "2.7.18"},    {0x030d00c2, "3.13.0rc2 "},
        {0x030c00b1, "3.12.0b1 "}, {0x030b00a7, "3.11.0a7 "}, {0, "0.0.0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct py_runtime py;
        struct error error;
        int code = attach(cases[i].hex, &py, &error);
        CHECK_EQUAL(code, cases[i].name != NULL ? PROFILER_PYTHON_UNKNOWN : PROFILER_OK);
        CHECK((py.offsets != NULL) == (cases[i].name == NULL));
        if (cases[i].name != NULL && strstr(error.text, cases[i].name) == NULL) {
            CHECK_STRING(error.text, cases[i].name);
        }
    }
}

static void test_unlike_types(void)
{
    struct py_runtime py;
    struct error error;
    CHECK_EQUAL(attach(0x030b01f0, &py, &error), PROFILER_OK);
    fake_code_type[1] = 0;
    struct py_symbols symbols = py.symbols;
    CHECK_EQUAL(py_attach(&py, &symbols, &error), PROFILER_PYTHON_UNKNOWN);
    CHECK(strstr(error.text, "3.11") != NULL);
    symbols.runtime = 0;
    CHECK_EQUAL(py_attach(&py, &symbols, &error), PROFILER_PYTHON_UNKNOWN);
}

static uint32_t hex_of(int minor)
{
    return 0x030000f0u | (uint32_t)minor << 16;
}

static void put_word(unsigned char *bytes, uint32_t at, uint64_t word)
{
    memcpy(bytes + at, &word, sizeof word);
}

/* What the version's interpreter has there; the free-threaded one where asked. */
static void make_debug(unsigned char *debug, int minor, int free_threaded)
{
    const struct py_offsets *row = free_threaded ? py_offsets_free_threaded(minor) : py_offsets_of(minor);
    memset(debug, 0, py_debug_size(PY_MINOR_HIGH));
    memcpy(debug, "xdebugpy", 8);
    put_word(debug, 8, hex_of(minor));
    put_word(debug, 16, (uint64_t)free_threaded);
#define X(field, m, n, a, b, c, d, e, f, g, h, i, j, k, ...)                                                 \
    {                                                                                                        \
        const uint32_t places[] = {__VA_ARGS__};                                                             \
        if (places[minor - PY_DEBUG_LOW] != 0)                                                               \
            put_word(debug, places[minor - PY_DEBUG_LOW], row->field > 0 ? (uint64_t)row->field : 0);        \
    }
    PY_FIELDS(X)
#undef X
}

static void test_debug_offsets(void)
{
    unsigned char debug[1024];
    struct py_offsets out;
    struct error error;
    for (int minor = PY_DEBUG_LOW; minor <= PY_MINOR_HIGH; minor++) {
        uint32_t size = py_debug_size(minor), hex = hex_of(minor);
        make_debug(debug, minor, 0);
        CHECK_EQUAL(py_offsets_read(&out, debug, size, hex, &error), 0);
        CHECK(memcmp(&out, py_offsets_of(minor), sizeof out) == 0);
        CHECK(py_offsets_read(&out, debug, size - 1, hex, &error) != 0);
        CHECK(py_offsets_read(&out, debug, size, hex + 256, &error) != 0);
        make_debug(debug, minor, 1);
        CHECK_EQUAL(py_offsets_read(&out, debug, size, hex, &error), 0);
        CHECK(memcmp(&out, py_offsets_free_threaded(minor), sizeof out) == 0);
    }
    CHECK(py_offsets_of(PY_MINOR_HIGH + 1) == NULL && py_offsets_free_threaded(PY_DEBUG_LOW - 1) == NULL);
    CHECK(py_offsets_read(&out, debug, sizeof debug, hex_of(PY_MINOR_HIGH + 1), &error) != 0);
    make_debug(debug, 14, 0);
    put_word(debug, 208, 80); /* thread_frame moved: followed */
    CHECK_EQUAL(py_offsets_read(&out, debug, sizeof debug, hex_of(14), &error), 0);
    CHECK_EQUAL(out.thread_frame, 80);
}

static void test_bad_debug_offsets(void)
{
    static const struct {
        int minor;
        uint32_t at;
        uint64_t word;
        const char *says;
    } bad[] = {
        {13, 0, 0, "debug offsets"},      {13, 184, 1 << 20, "thread_frame"},
        {13, 184, 71, "thread_frame"},    {13, 232, UINT64_MAX, "frame_previous"},
        {13, 64, 1 << 30, "interp_next"}, {14, 304, 72, "frame_copy"}, /* this build has none */
        {15, 216, 81, "thread_base"},     {15, 328, 4096, "frame_code"},
        {13, 184, 512, "thread_frame"},   {15, 328, 128, "frame_code"}, /* beyond what the walk may read */
        {14, 320, 248, "code_file"},      {14, 632, 56, "text_length"},
    };
    unsigned char debug[1024];
    struct py_offsets out;
    struct error error;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        make_debug(debug, bad[i].minor, 0);
        put_word(debug, bad[i].at, bad[i].word);
        CHECK_EQUAL(py_offsets_read(&out, debug, sizeof debug, hex_of(bad[i].minor), &error),
                    PROFILER_PYTHON_UNKNOWN);
        if (strstr(error.text, bad[i].says) == NULL) {
            CHECK_STRING(error.text, bad[i].says);
        }
    }
}

/* ---- the guard ---- */

static void test_guard(void)
{
    static struct guard guard;
    static uint64_t generation = 7;
    guard.current = &generation;
    unsigned char *pages = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t base = (uint64_t)(uintptr_t)pages;
    CHECK(pages != MAP_FAILED);
    CHECK(mprotect(pages + 2 * 4096, 4096, PROT_NONE) == 0);
    CHECK(guard_ok(&guard, base, 4096));
    CHECK(guard_ok(&guard, base + 4000, 200));
    uint64_t probes = guard.probes;
    CHECK(guard_ok(&guard, base + 100, 4096) && guard_ok(&guard, base + 8191, 1));
    CHECK_EQUAL(guard.probes, probes);
    CHECK(!guard_ok(&guard, base + 8000, 200));
    CHECK(!guard_ok(&guard, base + 2 * 4096 + 8, 8));
    CHECK(!guard_ok(&guard, 0, 8) && !guard_ok(&guard, 4096, 8));
    CHECK(!guard_ok(&guard, UINT64_MAX - 3, 8) && !guard_ok(&guard, 1ull << 47, 8));
    munmap(pages, 4096);
    CHECK(guard_ok(&guard, base + 8, 8)); /* remembered, until the generation grows */
    generation++;
    CHECK(!guard_ok(&guard, base + 8, 8));
    CHECK(guard_ok(&guard, base + 4096, 8));
    munmap(pages + 4096, 3 * 4096);
}

/* Pages that want the same place live side by side: no probe once each was seen. */
static void test_guard_ways(void)
{
    static struct guard guard;
    enum { WANT = 6, STRIDE = GUARD_PAGES * 4096 };
    unsigned char *pages =
        mmap(NULL, (size_t)WANT * STRIDE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(pages != MAP_FAILED);
    for (int round = 0; round < 3; round++)
        for (uint64_t i = 0; i < WANT; i++)
            CHECK(guard_ok(&guard, (uint64_t)(uintptr_t)pages + i * STRIDE, 8));
    CHECK_EQUAL(guard.probes, WANT);
    munmap(pages, (size_t)WANT * STRIDE);
}

/* ---- line tables ---- */

static void test_lines_lnotab(void)
{
    static const unsigned char table[] = {0, 1, 4, 1, 255, 0, 1, 2, 6, 0xff};
    CHECK_EQUAL(py_line(8, table, sizeof table, 10, -1), 10);
    CHECK_EQUAL(py_line(8, table, sizeof table, 10, 0), 11);
    CHECK_EQUAL(py_line(8, table, sizeof table, 10, 1), 11);
    CHECK_EQUAL(py_line(9, table, sizeof table, 10, 2), 12);
    CHECK_EQUAL(py_line(9, table, sizeof table, 10, 129), 12);
    CHECK_EQUAL(py_line(9, table, sizeof table, 10, 130), 14);
    CHECK_EQUAL(py_line(9, table, sizeof table, 10, 133), 13);
    CHECK_EQUAL(py_line(9, table, sizeof table - 1, 10, 133), -1);
    CHECK_EQUAL(py_line(8, NULL, 0, 10, 3), 10);
}

static void test_lines_ranges(void)
{
    static const unsigned char table[] = {4, 1, 2, 0x80, 254, 0, 2, 0xff};
    CHECK_EQUAL(py_line(10, table, sizeof table, 10, -1), 10);
    CHECK_EQUAL(py_line(10, table, sizeof table, 10, 1), 11);
    CHECK_EQUAL(py_line(10, table, sizeof table, 10, 2), 0);
    CHECK_EQUAL(py_line(10, table, sizeof table, 10, 3), 11);
    CHECK_EQUAL(py_line(10, table, sizeof table, 10, 130), 10);
    CHECK_EQUAL(py_line(10, table, sizeof table, 10, 131), -1);
    CHECK_EQUAL(py_line(10, table, 1, 10, 0), -1);
}

static void test_lines_locations(void)
{
    static const unsigned char table[] = {
        0x80 | 0 << 3 | 1,  0x12,             /* two units, short form: same line */
        0x80 | 11 << 3 | 0, 1,    2,          /* one unit, next line */
        0x80 | 15 << 3 | 7,                   /* eight units without a place */
        0x80 | 13 << 3 | 0, 0x41, 0x03,       /* step -96 (0xc1) */
        0x80 | 14 << 3 | 0, 0x08, 0,    1, 1, /* step +4, end line, columns */
    };
    CHECK_EQUAL(py_line(11, table, sizeof table, 100, -1), 100);
    CHECK_EQUAL(py_line(11, table, sizeof table, 100, 1), 100);
    CHECK_EQUAL(py_line(12, table, sizeof table, 100, 2), 101);
    CHECK_EQUAL(py_line(12, table, sizeof table, 100, 3), 0);
    CHECK_EQUAL(py_line(12, table, sizeof table, 100, 10), 0);
    CHECK_EQUAL(py_line(15, table, sizeof table, 100, 11), 5);
    CHECK_EQUAL(py_line(13, table, sizeof table, 100, 12), 9);
    CHECK_EQUAL(py_line(13, table, sizeof table, 100, 13), -1);
    CHECK_EQUAL(py_line(13, table, sizeof table - 1, 100, 12), -1);
    CHECK_EQUAL(py_line(13, table, sizeof table, 1, 11), -1); /* a line below 0 */
    static const unsigned char not_a_start[] = {0x00, 0x12};
    CHECK_EQUAL(py_line(13, not_a_start, sizeof not_a_start, 1, 0), -1);
}

int main(int argc, char **argv)
{
    static const struct check_case cases[] = {
        {"versions", test_versions},
        {"unlike_types", test_unlike_types},
        {"debug_offsets", test_debug_offsets},
        {"bad_debug_offsets", test_bad_debug_offsets},
        {"guard", test_guard},
        {"guard_ways", test_guard_ways},
        {"lines_lnotab", test_lines_lnotab},
        {"lines_ranges", test_lines_ranges},
        {"lines_locations", test_lines_locations},
    };
    return check_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
