/* SPDX-License-Identifier: MIT */
/* preloaded.c - a C program that knows nothing of the profiler: two functions with a known share of the CPU
 * time, 3 to 1, in the main thread and in a second one. Prints the nanoseconds of each. A turn takes many
 * milliseconds, for a busy machine likes to take the CPU from a thread at its system calls, and there it is
 * sampled then. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static volatile unsigned sink;
static long long taken[2][2];
static double seconds;

__attribute__((noinline)) void spin_often(unsigned rounds);
__attribute__((noinline)) void spin_seldom(unsigned rounds);

void spin_often(unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++)
        sink += i;
}

void spin_seldom(unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++)
        sink ^= i;
}

static long long thread_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void *turns(void *slot)
{
    long long *mine = slot, start = thread_ns(), before = start;
    while (before - start < (long long)(seconds * 1e9)) {
        spin_often(30000000);
        long long middle = thread_ns();
        spin_seldom(10000000);
        long long after = thread_ns();
        mine[0] += middle - before;
        mine[1] += after - middle;
        before = after;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t other;
    seconds = argc > 1 ? atof(argv[1]) : 1;
    pthread_create(&other, NULL, turns, taken[1]);
    turns(taken[0]);
    pthread_join(other, NULL);
    printf("{\"spin_often\": %lld, \"spin_seldom\": %lld}\n", taken[0][0] + taken[1][0],
           taken[0][1] + taken[1][1]);
    return 0;
}
