/* SPDX-License-Identifier: MIT */
/* check.h - the C tests' runner: each test program is one file with a table of cases. A check prints both
 * sides when they differ; a case that can't run here says why. The last line is "N passed, N failed". */
#ifndef PLAIT_CHECK_H
#define PLAIT_CHECK_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_failures; /* of the running case */
static const char *check_skipped;

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            check_failures++;                                                                                \
            printf("%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                             \
        }                                                                                                    \
    } while (0)

#define CHECK_EQUAL(left, right)                                                                             \
    do {                                                                                                     \
        long long check_l = (long long)(left), check_r = (long long)(right);                                 \
        if (check_l != check_r) {                                                                            \
            check_failures++;                                                                                \
            printf("%s:%d: %s is %lld, %s is %lld\n", __FILE__, __LINE__, #left, check_l, #right, check_r);  \
        }                                                                                                    \
    } while (0)

#define CHECK_STRING(left, right)                                                                            \
    do {                                                                                                     \
        const char *check_l = (left), *check_r = (right);                                                    \
        if (strcmp(check_l ? check_l : "", check_r ? check_r : "") != 0) {                                   \
            check_failures++;                                                                                \
            printf("%s:%d: %s is \"%s\", expected \"%s\"\n", __FILE__, __LINE__, #left,                      \
                   check_l ? check_l : "(null)", check_r ? check_r : "(null)");                              \
        }                                                                                                    \
    } while (0)

/* Leaves the case: it can't run here. */
#define SKIP(reason)                                                                                         \
    do {                                                                                                     \
        check_skipped = (reason);                                                                            \
        return;                                                                                              \
    } while (0)

struct check_case {
    const char *name;
    void (*run)(void);
};

/* Runs the cases (those named in argv, or all) and returns the exit status. */
static inline int check_main(int argc, char **argv, const struct check_case *cases, size_t count)
{
    int passed = 0, failed = 0, skipped = 0;
    for (size_t i = 0; i < count; i++) {
        int asked = argc < 2;
        for (int a = 1; a < argc; a++)
            asked |= strcmp(argv[a], cases[i].name) == 0;
        if (!asked)
            continue;
        check_failures = 0;
        check_skipped = NULL;
        cases[i].run();
        if (check_failures > 0) {
            failed++;
            printf("FAILED %s\n", cases[i].name);
        } else if (check_skipped != NULL) {
            skipped++;
            printf("skipped %s: %s\n", cases[i].name, check_skipped);
        } else {
            passed++;
        }
        fflush(stdout);
    }
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed > 0;
}

#endif
