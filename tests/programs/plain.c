/* SPDX-License-Identifier: MIT */
/* plain.c - a C program that uses the library by its header, without Python. Each check prints what failed.
 *
 *   plain FOLDER CLOCK     all checks, files into FOLDER; the last line is "plain: N failed" */
#include "profiler.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int failed;
static const char *folder, *clock_name;
static volatile unsigned sink;

#define EXPECT(condition)                                                                                    \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            failed++;                                                                                        \
            printf("line %d: %s does not hold; last error: %s\n", __LINE__, #condition, profiler_error());   \
        }                                                                                                    \
    } while (0)

__attribute__((noinline)) unsigned busy_inner(unsigned rounds);
__attribute__((noinline)) unsigned busy_outer(unsigned rounds);

unsigned busy_inner(unsigned rounds)
{
    unsigned total = 0;
    for (unsigned i = 0; i < rounds; i++)
        total += i * sink;
    return total;
}

unsigned busy_outer(unsigned rounds)
{
    unsigned total = busy_inner(rounds);
    sink += total;
    return total + 1;
}

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void busy(double seconds)
{
    for (double end = cpu_seconds() + seconds; cpu_seconds() < end;)
        busy_outer(20000);
}

static char *in_folder(const char *name)
{
    static char paths[8][4096];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static long long size_of(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? (long long)status.st_size : -1;
}

static struct profiler_state state_now(void)
{
    struct profiler_state state = {.size = sizeof state};
    EXPECT(profiler_get_state(&state) == PROFILER_OK);
    return state;
}

static struct profiler_options options_for(const char *output)
{
    struct profiler_options options = {.size = sizeof options, .rate = 2000, .clock = clock_name};
    options.output = output;
    return options;
}

/* The whole way once: start, work, state, stop, three reports. */
static void whole_way(void)
{
    struct profiler_options options = options_for(in_folder("whole.plait"));
    EXPECT(state_now().running == 0);
    EXPECT(profiler_start(&options) == PROFILER_OK);
    EXPECT(state_now().running == 1);
    EXPECT(strcmp(state_now().clock, clock_name) == 0);
    busy(0.5);
    EXPECT(profiler_start(&options) == PROFILER_ALREADY_RUNNING);
    EXPECT(profiler_error()[0] != '\0');
    EXPECT(state_now().running == 1);
    busy(0.1);
    EXPECT(profiler_stop() == PROFILER_OK);
    struct profiler_state state = state_now();
    EXPECT(state.running == 0);
    EXPECT(state.samples > 20);
    EXPECT(state.python == 0);
    EXPECT(state.weight > 300000000 && state.weight < 900000000);
    EXPECT(profiler_write_json(in_folder("whole.json")) == PROFILER_OK);
    EXPECT(profiler_write_summary(in_folder("whole.txt")) == PROFILER_OK);
    EXPECT(profiler_write_folded(in_folder("whole_flamegraph.txt")) == PROFILER_OK);
    EXPECT(size_of(in_folder("whole.json")) > 200);
    EXPECT(size_of(in_folder("whole.txt")) > 100);
    EXPECT(size_of(in_folder("whole_flamegraph.txt")) > 20);
    printf("whole: %llu samples, lost %llu, degraded %llu\n", (unsigned long long)state.samples,
           (unsigned long long)state.lost, (unsigned long long)state.degraded);
}

/* After whole_way: its recording is the file that must not be lost. */
static void clear_errors(void)
{
    EXPECT(profiler_stop() == PROFILER_NOT_RUNNING);
    EXPECT(strlen(profiler_error()) > 5);

    struct profiler_options options = options_for("/nonexistent/folder/x.plait");
    EXPECT(profiler_start(&options) == PROFILER_FILE);
    EXPECT(strstr(profiler_error(), "/nonexistent/folder/x.plait") != NULL);
    EXPECT(strstr(profiler_error(), "open") != NULL);
    EXPECT(state_now().running == 0);

    /* A recording that is there already is not overwritten unless asked. */
    options = options_for(in_folder("whole.plait"));
    long long before = size_of(options.output);
    EXPECT(profiler_start(&options) == PROFILER_FILE);
    EXPECT(size_of(options.output) == before);
    EXPECT(profiler_write_json("/nonexistent/folder/x.json") == PROFILER_FILE);
    EXPECT(profiler_write_json(in_folder("again.json")) == PROFILER_OK); /* nothing was lost */

    options = options_for(NULL);
    options.rate = 20001;
    EXPECT(profiler_start(&options) == PROFILER_BAD_OPTION);
    options = options_for(NULL);
    options.clock = "sundial";
    EXPECT(profiler_start(&options) == PROFILER_BAD_OPTION);
    EXPECT(strstr(profiler_error(), "sundial") != NULL);
    options = options_for(NULL);
    options.depth = 1;
    EXPECT(profiler_start(&options) == PROFILER_BAD_OPTION);
    EXPECT(state_now().running == 0);
}

static void many_times(void)
{
    struct profiler_options options = options_for(NULL);
    for (int i = 0; i < 100; i++) {
        EXPECT(profiler_start(&options) == PROFILER_OK);
        busy_outer(1000);
        EXPECT(profiler_stop() == PROFILER_OK);
    }
    options = options_for(in_folder("last.plait"));
    EXPECT(profiler_start(&options) == PROFILER_OK);
    busy(0.3);
    EXPECT(profiler_stop() == PROFILER_OK);
    EXPECT(state_now().samples > 10);
}

static void *start_elsewhere(void *options)
{
    EXPECT(profiler_start(options) == PROFILER_OK);
    return NULL;
}

static void *busy_thread(void *unused)
{
    busy(0.3);
    return unused;
}

/* Started in a thread that ends, stopped in another; threads born later are sampled. */
static void any_thread(void)
{
    struct profiler_options options = options_for(in_folder("threads.plait"));
    pthread_t starter, worker[3];
    EXPECT(pthread_create(&starter, NULL, start_elsewhere, &options) == 0);
    pthread_join(starter, NULL);
    for (int i = 0; i < 3; i++)
        EXPECT(pthread_create(&worker[i], NULL, busy_thread, NULL) == 0);
    for (int i = 0; i < 3; i++)
        pthread_join(worker[i], NULL);
    EXPECT(profiler_stop() == PROFILER_OK);
    EXPECT(state_now().threads >= 3);
    EXPECT(state_now().samples > 20);
}

/* Profiles are intervals of the one sampler. */
static void profiles(void)
{
    struct profiler_options options = options_for(NULL), other = options_for(NULL);
    other.rate = 500;
    int64_t outer = profiler_open(&options, 0);
    EXPECT(outer >= 1);
    busy(0.1);
    int64_t inner = profiler_open(NULL, 1);
    EXPECT(inner >= 1 && inner != outer);
    EXPECT(profiler_open(&other, 0) == -PROFILER_BAD_OPTION);
    busy(0.1);
    EXPECT(profiler_close(outer) == PROFILER_OK);
    EXPECT(profiler_pause(inner) == PROFILER_OK);
    busy(0.05);
    EXPECT(profiler_resume(inner) == PROFILER_OK);
    EXPECT(profiler_close(inner) == PROFILER_OK);
    EXPECT(profiler_close(inner) != PROFILER_OK);
    EXPECT(profiler_profile_json(outer, in_folder("outer.json")) == PROFILER_OK);
    EXPECT(profiler_profile_summary(inner, in_folder("inner.txt")) == PROFILER_OK);
    EXPECT(profiler_profile_folded(inner, in_folder("inner_flamegraph.txt")) == PROFILER_OK);
    EXPECT(profiler_forget(outer) == PROFILER_OK);
    EXPECT(profiler_profile_json(outer, in_folder("outer2.json")) == PROFILER_NO_PROFILE);
    EXPECT(profiler_forget(inner) == PROFILER_OK);
    EXPECT(profiler_close(12345) == PROFILER_NO_PROFILE);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    folder = argv[1];
    clock_name = argv[2];
    setvbuf(stdout, NULL, _IOLBF, 0);
    EXPECT(profiler_stop() == PROFILER_NOT_RUNNING);
    whole_way();
    clear_errors();
    many_times();
    any_thread();
    profiles();
    printf("plain: %d failed\n", failed);
    return failed > 0;
}
