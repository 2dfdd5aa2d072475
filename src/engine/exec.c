/* SPDX-License-Identifier: MIT */
/* exec.c - interposed under preload: the functions that execute another program, which is to find us in its
 * environment, and those that end this one without destructors. libc's own functions do the work.
 *
 * They may run in the child of a vfork, which owns nothing but its stack and its descriptors: so what is
 * added to the environment lies on the stack, and nothing here changes memory that is shared. A process that
 * executes a program in its own place first has its recording written out. */
#include "engine.h"

#include "../os/os.h"
#include "follow.h"
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef char *const strings[];
typedef int exec_function(const char *, strings, strings);
typedef int fexec_function(int, strings, strings);
typedef int execat_function(int, const char *, strings, strings, int);
typedef int spawn_function(pid_t *, const char *, const posix_spawn_file_actions_t *,
                           const posix_spawnattr_t *, strings, strings);

static exec_function *real_execve, *real_execvpe;
static fexec_function *real_fexecve;
static execat_function *real_execveat;
static spawn_function *real_spawn, *real_spawnp;

void exec_prepare(void)
{
    guest_resolve("execve", &real_execve);
    guest_resolve("execvpe", &real_execvpe);
    guest_resolve("fexecve", &real_fexecve);
    guest_resolve("execveat", &real_execveat);
    guest_resolve("posix_spawn", &real_spawn);
    guest_resolve("posix_spawnp", &real_spawnp);
}

static void need(const void *function)
{
    if (function == NULL)
        exec_prepare();
}

/* ---- the environment that a program gets ---- */

/* Declares `passed`, the environment for `path` below `folder`, on the caller's stack. */
#define PASS_ON(program, path, environment)                                                                  \
    size_t words = follow_words(program, path, environment);                                                 \
    char *room[words + 1];                                                                                   \
    char *const *passed = words != 0 ? follow_environment(room, environment) : (environment)

static enum program search(const char *file)
{
    char path[4096];
    return program_search(file, path, sizeof path) ? program_at(AT_FDCWD, path) : PROGRAM_ABSENT;
}

/* ---- in this process's place ---- */

EXPORTED int execve(const char *path, strings argv, strings environment)
{
    need(real_execve);
    enum program program = program_at(AT_FDCWD, path);
    PASS_ON(program, path, environment);
    int detached = program != PROGRAM_ABSENT && api_before_exec(path);
    int result = real_execve(path, argv, passed);
    if (detached)
        api_exec_failed();
    return result;
}

EXPORTED int execvpe(const char *file, strings argv, strings environment)
{
    need(real_execvpe);
    enum program program = search(file);
    PASS_ON(program, file, environment);
    int detached = program != PROGRAM_ABSENT && api_before_exec(file);
    int result = real_execvpe(file, argv, passed);
    if (detached)
        api_exec_failed();
    return result;
}

EXPORTED int fexecve(int file, strings argv, strings environment)
{
    need(real_fexecve);
    enum program program = program_at(file, "");
    PASS_ON(program, "", environment);
    int detached = program != PROGRAM_ABSENT && api_before_exec("");
    int result = real_fexecve(file, argv, passed);
    if (detached)
        api_exec_failed();
    return result;
}

/* In glibc from 2.34 on. */
EXPORTED int execveat(int folder, const char *path, strings argv, strings environment, int flags)
{
    need(real_execve);
    enum program program = program_at(folder, path);
    PASS_ON(program, path, environment);
    int detached = program != PROGRAM_ABSENT && api_before_exec(path), result;
    if (real_execveat != NULL) {
        result = real_execveat(folder, path, argv, passed, flags);
    } else {
        long answer = os_call5(SYS_execveat, folder, path, argv, passed, flags);
        errno = (int)-answer;
        result = -1;
    }
    if (detached)
        api_exec_failed();
    return result;
}

EXPORTED int execv(const char *path, strings argv)
{
    return execve(path, argv, environ);
}

EXPORTED int execvp(const char *file, strings argv)
{
    return execvpe(file, argv, environ);
}

/* How many arguments there are, the NULL at their end included. */
static size_t count_arguments(va_list list)
{
    size_t count = 2;
    while (va_arg(list, char *) != NULL)
        count++;
    return count;
}

/* Declares `argv`, the arguments from `first` on, on the caller's stack; `list` stands behind their NULL. */
#define GATHER(first, list)                                                                                  \
    va_start(list, first);                                                                                   \
    size_t count = (first) != NULL ? count_arguments(list) : 1;                                              \
    va_end(list);                                                                                            \
    char *argv[count];                                                                                       \
    memcpy(argv, &(first), sizeof *argv);                                                                    \
    va_start(list, first);                                                                                   \
    for (size_t i = 1; i < count; i++)                                                                       \
    argv[i] = va_arg(list, char *)

EXPORTED int execl(const char *path, const char *first, ...)
{
    va_list list;
    GATHER(first, list);
    va_end(list);
    return execve(path, argv, environ);
}

EXPORTED int execlp(const char *file, const char *first, ...)
{
    va_list list;
    GATHER(first, list);
    va_end(list);
    return execvpe(file, argv, environ);
}

EXPORTED int execle(const char *path, const char *first, ...)
{
    va_list list;
    GATHER(first, list);
    char *const *environment = va_arg(list, char *const *);
    va_end(list);
    return execve(path, argv, environment);
}

/* ---- in a new process ---- */

EXPORTED int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                         const posix_spawnattr_t *attributes, strings argv, strings environment)
{
    need(real_spawn);
    PASS_ON(program_at(AT_FDCWD, path), path, environment);
    return real_spawn(pid, path, actions, attributes, argv, passed);
}

EXPORTED int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                          const posix_spawnattr_t *attributes, strings argv, strings environment)
{
    need(real_spawnp);
    PASS_ON(search(file), file, environment);
    return real_spawnp(pid, file, actions, attributes, argv, passed);
}

/* ---- the end without destructors ---- */

_Noreturn static void end(int status)
{
    api_end_now();
    for (;;)
        os_call1(SYS_exit_group, status);
}

EXPORTED void _exit(int status)
{
    end(status);
}

EXPORTED void _Exit(int status)
{
    end(status);
}
