/* SPDX-License-Identifier: MIT */
/* nest.c - the C entries of nest.py that are our own: a sort and a thread, both calling back.
 * Loaded by ctypes; no Python headers. The functions named in nesting.py must stay on the native stack while
 * the callback runs: each does something after the call, so that no compiler makes it a tail call. */
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default"), noinline))

typedef int compare_function(const void *left, const void *right);
typedef int level_function(int level);

struct thread_call {
    level_function *callback;
    int level, result;
};

EXPORT int nest_qsort(int *values, size_t count, compare_function *compare);
EXPORT void *nest_thread_main(void *argument);
EXPORT int nest_thread(level_function *callback, int level);

int nest_qsort(int *values, size_t count, compare_function *compare)
{
    qsort(values, count, sizeof *values, compare);
    return count > 0 ? values[0] : 0;
}

void *nest_thread_main(void *argument)
{
    struct thread_call *call = argument;
    call->result = call->callback(call->level);
    return call;
}

int nest_thread(level_function *callback, int level)
{
    struct thread_call call = {.callback = callback, .level = level};
    pthread_t thread;
    if (pthread_create(&thread, NULL, nest_thread_main, &call) != 0)
        return -1;
    pthread_join(thread, NULL);
    return call.result;
}
