/* SPDX-License-Identifier: MIT */
/* harm_load.c - what programs do to signals, stacks, threads and libraries while they are sampled. Knows nothing
 * of the profiler; prints what must be the same without it.
 *
 *   harm_load handlers      a handler for every signal that can be caught, on an alternate stack, sent many times
 *   harm_load threads N     N threads at once, then as many that end at once, by return, exit and cancellation
 *   harm_load libraries FILE...   the libraries are loaded, called and unloaded in a loop, by two threads */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 8, STACK = 64 << 10 };

static volatile unsigned sink;

static void burn(long microseconds)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    long long end = now.tv_sec * 1000000000LL + now.tv_nsec + microseconds * 1000LL;
    do {
        for (unsigned i = 0; i < 1000; i++)
            sink += i;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    } while (now.tv_sec * 1000000000LL + now.tv_nsec < end);
}

/* ---- handlers ---- */

static volatile int counts[65], off_the_stack;
static char alternate[STACK];

__attribute__((noinline)) static void burn_on_the_alternate_stack(void)
{
    burn(300);
    sink++;
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    char here;
    (void)info;
    (void)context;
    if (&here < alternate || &here >= alternate + STACK)
        off_the_stack = off_the_stack + 1;
    burn_on_the_alternate_stack();
    counts[number] = counts[number] + 1;
}

static int handlers(void)
{
    stack_t stack = {.ss_sp = alternate, .ss_size = STACK};
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    int caught = 0, wrong = 0;
    sigaltstack(&stack, NULL);
    for (int number = 1; number <= 64; number++)
        caught += sigaction(number, &action, NULL) == 0;
    for (int round = 0; round < ROUNDS; round++)
        for (int number = 1; number <= 64; number++)
            if (number != SIGKILL && number != SIGSTOP && number != 32 && number != 33) {
                burn(20);
                raise(number);
            }
    for (int number = 1; number <= 64; number++)
        if (number != SIGKILL && number != SIGSTOP && number != 32 && number != 33)
            wrong += counts[number] != ROUNDS;
    printf("caught %d, wrong counts %d, off the alternate stack %d\n", caught, wrong, off_the_stack);
    return 0;
}

/* ---- threads ---- */

static pthread_barrier_t barrier;
static int ran, cancelled;

static void *at_once(void *argument)
{
    (void)argument;
    pthread_barrier_wait(&barrier);
    burn(300);
    __atomic_fetch_add(&ran, 1, __ATOMIC_RELAXED);
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void count_cancelled(void *argument)
{
    (void)argument;
    __atomic_fetch_add(&cancelled, 1, __ATOMIC_RELAXED);
}

static void *until_cancelled(void *argument)
{
    pthread_cleanup_push(count_cancelled, NULL);
    pthread_setcanceltype(argument == NULL ? PTHREAD_CANCEL_DEFERRED : PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    for (;;) {
        burn(50);
        pthread_testcancel();
    }
    pthread_cleanup_pop(0);
    return NULL;
}

static void *exits(void *argument)
{
    burn((long)argument);
    pthread_exit(argument);
}

static void run(int count, void *(*begin)(void *), int cancel)
{
    pthread_t *threads = calloc((size_t)count, sizeof *threads);
    pthread_attr_t attributes;
    int refused = 0;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    for (int i = 0; i < count; i++)
        refused += pthread_create(&threads[i], &attributes, begin, (void *)(long)(i % 3)) != 0;
    for (int i = 0; i < count && cancel; i++) {
        burn(30);
        pthread_cancel(threads[i]);
    }
    for (int i = 0; i < count && refused == 0; i++)
        pthread_join(threads[i], NULL);
    if (refused != 0)
        printf("%d threads were refused\n", refused);
    free(threads);
}

static int many_threads(int count)
{
    pthread_barrier_init(&barrier, NULL, (unsigned)count);
    run(count, at_once, 0);
    run(count, exits, 0);
    for (int i = 0; i < count; i += 20)
        run(20, until_cancelled, 1);
    printf("ran %d, cancelled %d\n", ran, cancelled);
    return 0;
}

/* ---- libraries ---- */

struct loading {
    char **files;
    int count, rounds, failed;
};

static void *load_and_unload(void *argument)
{
    struct loading *work = argument;
    for (int i = 0; i < work->rounds; i++) {
        void *library = dlopen(work->files[i % work->count], RTLD_NOW | RTLD_LOCAL);
        unsigned (*function)(unsigned);
        void *address = library != NULL ? dlsym(library, "harm_work") : NULL;
        memcpy(&function, &address, sizeof address);
        if (address == NULL || function(20000) != 20000)
            work->failed++;
        if (library != NULL && dlclose(library) != 0)
            work->failed++;
    }
    return NULL;
}

static int libraries(char **files, int count)
{
    struct loading work[2] = {{files, count, 300, 0}, {files + 1, count - 1, 300, 0}};
    pthread_t thread;
    pthread_create(&thread, NULL, load_and_unload, &work[1]);
    load_and_unload(&work[0]);
    pthread_join(thread, NULL);
    printf("failed %d\n", work[0].failed + work[1].failed);
    return 0;
}

/* A library is this file too. */
unsigned harm_work(unsigned rounds);
__attribute__((noinline)) unsigned harm_work(unsigned rounds)
{
    volatile unsigned count = 0;
    for (unsigned i = 0; i < rounds; i++)
        count++;
    return count;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "handlers") == 0)
        return handlers();
    if (argc > 2 && strcmp(argv[1], "threads") == 0)
        return many_threads(atoi(argv[2]));
    if (argc > 3 && strcmp(argv[1], "libraries") == 0)
        return libraries(argv + 2, argc - 2);
    return 2;
}
