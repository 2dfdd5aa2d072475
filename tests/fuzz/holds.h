/* SPDX-License-Identifier: MIT */
/* holds.h - what every fuzzer says when something is not as it must be. */
#ifndef PLAIT_FUZZ_HOLDS_H
#define PLAIT_FUZZ_HOLDS_H

#include <stdio.h>
#include <stdlib.h>

#define HOLDS(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                    \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

#endif
