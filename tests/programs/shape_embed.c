/* SPDX-License-Identifier: MIT */
/* shape_embed.c - a C program with an interpreter in it, and without Python's headers: it starts one, runs
 * text from C, lets threads of its own enter by PyGILState_Ensure, makes subinterpreters, ends it all and
 * begins anew. What each Python function is called from is in its name.
 *
 *     shape_embed ROUNDS */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

void Py_InitializeEx(int signals);
int Py_FinalizeEx(void);
int PyRun_SimpleStringFlags(const char *text, void *flags);
int PyGILState_Ensure(void);
void PyGILState_Release(int state);
void *PyEval_SaveThread(void);
void PyEval_RestoreThread(void *thread);
void *Py_NewInterpreter(void);
void Py_EndInterpreter(void *thread);
void *PyThreadState_Get(void);
void *PyThreadState_Swap(void *thread);

#define TEXT(name)                                                                                           \
    "def work():\n"                                                                                          \
    "    total = 0\n"                                                                                        \
    "    for i in range(20000): total += i & 3\n"                                                            \
    "    return total\n"                                                                                     \
    "def " name "(level):\n"                                                                                 \
    "    work()\n"                                                                                           \
    "    return sorted([level], key=lambda level: " name "(level - 1) if level else work())\n"               \
    "for _ in range(8): " name "(2)\n"

__attribute__((noinline)) int run_from_main(void);
__attribute__((noinline)) int run_from_thread(void);
__attribute__((noinline)) int run_from_sub(void);
void *thread_main(void *unused);

/* The sum keeps the call from being the function's last act, and its frame on the stack. */
static volatile int failures;

int run_from_main(void)
{
    failures += PyRun_SimpleStringFlags(TEXT("in_main"), NULL) != 0;
    return failures;
}

int run_from_thread(void)
{
    failures += PyRun_SimpleStringFlags(TEXT("in_thread"), NULL) != 0;
    return failures;
}

int run_from_sub(void)
{
    failures += PyRun_SimpleStringFlags(TEXT("in_sub"), NULL) != 0;
    return failures;
}

void *thread_main(void *unused)
{
    int state = PyGILState_Ensure();
    run_from_thread();
    PyGILState_Release(state);
    return unused;
}

static void subinterpreters(void)
{
    void *main_thread = PyThreadState_Get(), *subs[2];
    for (int i = 0; i < 2; i++) {
        subs[i] = Py_NewInterpreter();
        if (subs[i] == NULL)
            abort();
        run_from_sub();
        PyThreadState_Swap(main_thread);
        run_from_main();
    }
    for (int i = 0; i < 2; i++) {
        PyThreadState_Swap(subs[i]);
        run_from_sub();
        Py_EndInterpreter(subs[i]);
        PyThreadState_Swap(main_thread);
    }
}

static void threads(void)
{
    pthread_t ids[3];
    void *saved = PyEval_SaveThread();
    for (int i = 0; i < 3; i++)
        if (pthread_create(&ids[i], NULL, thread_main, NULL) != 0)
            abort();
    for (int i = 0; i < 3; i++)
        pthread_join(ids[i], NULL);
    PyEval_RestoreThread(saved);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 3;
    for (int i = 0; i < rounds; i++) {
        Py_InitializeEx(0);
        run_from_main();
        threads();
        subinterpreters();
        run_from_main();
        if (Py_FinalizeEx() != 0)
            return 1;
    }
    printf("%d\n", failures);
    return failures != 0;
}
