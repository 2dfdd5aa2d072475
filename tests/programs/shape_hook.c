/* SPDX-License-Identifier: MIT */
/* shape_hook.c - a frame evaluation function (PEP 523) as debuggers and compilers set one: every call of a
 * Python function passes through C. Needs no header of Python's: all it touches is opaque. */
#include <dlfcn.h>
#include <stddef.h>

typedef void *evaluate(void *, void *, int);

static evaluate *next;

void *shape_hook(void *thread, void *frame, int throwing);
int set_eval_hook(void);

__attribute__((noinline)) void *shape_hook(void *thread, void *frame, int throwing)
{
    void *volatile result = next(thread, frame, throwing);
    return result;
}

/* From 3.9 on; 0 = set. */
int set_eval_hook(void)
{
    void *(*interpreter)(void) = (void *(*)(void))dlsym(RTLD_DEFAULT, "PyInterpreterState_Get");
    void (*set)(void *, evaluate *) =
        (void (*)(void *, evaluate *))dlsym(RTLD_DEFAULT, "_PyInterpreterState_SetEvalFrameFunc");
    next = (evaluate *)dlsym(RTLD_DEFAULT, "_PyEval_EvalFrameDefault");
    if (interpreter == NULL || set == NULL || next == NULL)
        return -1;
    set(interpreter(), shape_hook);
    return 0;
}
