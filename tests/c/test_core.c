/* SPDX-License-Identifier: MIT */
/* test_core.c - errors, varints, the checksum and the interning set. */
#include "check.h"
#include "core/checksum.h"
#include "core/error.h"
#include "core/varint.h"
#include "profiler.h"
#include "record/intern.h"
#include <errno.h>

static void error_lines(void)
{
    struct error error;
    CHECK_EQUAL(error_set(&error, PROFILER_FILE, ENOENT, "open of %s (%d, %x)", "a\nb", -12, 0xbeefUL),
                PROFILER_FILE);
    CHECK_STRING(error.text, "open of a b (-12, beef): no such file or directory");
    CHECK_EQUAL(error.sys, ENOENT);
    error_set(&error, PROFILER_SYSTEM, 9999, "%d%%", INT32_MIN);
    CHECK_STRING(error.text, "-2147483648%: errno 9999");
    char longer[1000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    error_set(&error, PROFILER_SYSTEM, EIO, "%s", longer);
    CHECK_EQUAL(strlen(error.text), sizeof error.text - 1);
    CHECK_EQUAL(error_set(NULL, PROFILER_FORMAT, 0, "nobody listens"), PROFILER_FORMAT);
    struct error last;
    error_set(&error, PROFILER_FORMAT, 0, "kept");
    CHECK_EQUAL(error_publish(&error), PROFILER_FORMAT);
    error_last(&last);
    CHECK_STRING(last.text, "kept");
}

static void varints(void)
{
    unsigned char bytes[VARINT_MAX];
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int64_t near = -1; near <= 1; near++) {
            uint64_t value = ((uint64_t)1 << bit) + (uint64_t)near;
            struct varint_reader in = {bytes, varint_put(bytes, value), 0};
            CHECK(varint_get(&in) == value && !in.bad && in.at == in.end);
            in = (struct varint_reader){bytes, varint_put_signed(bytes, (int64_t)value), 0};
            CHECK(varint_get_signed(&in) == (int64_t)value && !in.bad && in.at == in.end);
            in = (struct varint_reader){bytes, varint_put(bytes, value) - 1, 0};
            varint_get(&in);
            CHECK(in.bad);
        }
    }
    unsigned char overlong[11] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 2, 0};
    struct varint_reader in = {overlong, overlong + 11, 0};
    varint_get(&in);
    CHECK(in.bad);
    in = (struct varint_reader){overlong, overlong + 4, 0};
    CHECK(varint_get_bytes(&in, 5) == NULL && in.bad);
}

static void checksums(void)
{
    CHECK_EQUAL(checksum(0, "123456789", 9), 0xcbf43926);
    CHECK_EQUAL(checksum(checksum(0, "1234", 4), "56789", 5), 0xcbf43926);
    CHECK_EQUAL(checksum(0, "", 0), 0);
}

static void interning(void)
{
    enum { KEYS = 200000 };
    struct intern set;
    intern_init(&set, 2);
    uint64_t missing[2] = {1, 2};
    CHECK_EQUAL(intern_find(&set, missing), INTERN_NONE);
    uint64_t wrong = 0;
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < KEYS; i++) {
            uint64_t key[2] = {i >> 8, i << 40};
            int fresh;
            wrong += intern_add(&set, key, &fresh) != i || fresh != (round == 0);
        }
    }
    CHECK_EQUAL(wrong, 0);
    CHECK_EQUAL(set.count, KEYS);
    CHECK(intern_memory(&set) < KEYS * 16u * 2 + KEYS * 4u * 3);
    intern_free(&set);
    CHECK_EQUAL(intern_memory(&set), 0);
}

int main(int argc, char **argv)
{
    static const struct check_case cases[] = {{"error_lines", error_lines},
                                              {"varints", varints},
                                              {"checksums", checksums},
                                              {"interning", interning}};
    return check_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
