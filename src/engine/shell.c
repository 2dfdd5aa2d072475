/* SPDX-License-Identifier: MIT */
/* shell.c - interposed under preload: system and popen, which start a shell by calls inside libc that nobody
 * can stand in front of. Where children are followed they are made here, of posix_spawn (exec.c); else libc's
 * own do it. */
#include "engine.h"

#include "follow.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STREAMS = 64 };

typedef int system_function(const char *);
typedef FILE *popen_function(const char *, const char *);
typedef int pclose_function(FILE *);

static int start_shell(pid_t *child, const char *command, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes)
{
    char name[] = "sh", option[] = "-c", end_of_options[] = "--";
    char *text = strdup(command);
    if (text == NULL)
        return ENOMEM;
    /* A command that begins with - or + is no option: what libc does, too. */
    char *argv[] = {name, option, end_of_options, text, NULL};
    if (text[0] != '-' && text[0] != '+') {
        argv[2] = text;
        argv[3] = NULL;
    }
    int result = posix_spawn(child, "/bin/sh", actions, attributes, argv, environ);
    free(text);
    return result;
}

/* The status of a child that has ended, whatever signals arrive meanwhile; -1 and errno where it is gone. */
static int wait_for(pid_t child)
{
    int status;
    pid_t found;
    do
        found = waitpid(child, &status, 0);
    while (found < 0 && errno == EINTR);
    return found == child ? status : -1;
}

/* ---- system: meanwhile SIGINT and SIGQUIT are ignored and SIGCHLD is blocked ---- */

static pthread_mutex_t system_mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned system_calls; /* under way */
static struct sigaction before_int, before_quit;

static void ignore_keys(void)
{
    struct sigaction ignore;
    memset(&ignore, 0, sizeof ignore);
    ignore.sa_handler = SIG_IGN;
    pthread_mutex_lock(&system_mutex);
    if (system_calls++ == 0) {
        guest_real_sigaction(SIGINT, &ignore, &before_int);
        guest_real_sigaction(SIGQUIT, &ignore, &before_quit);
    }
    pthread_mutex_unlock(&system_mutex);
}

static void bring_back_keys(void)
{
    pthread_mutex_lock(&system_mutex);
    if (--system_calls == 0) {
        guest_real_sigaction(SIGINT, &before_int, NULL);
        guest_real_sigaction(SIGQUIT, &before_quit, NULL);
    }
    pthread_mutex_unlock(&system_mutex);
}

static int run_shell(const char *command, const sigset_t *mask)
{
    posix_spawnattr_t attributes;
    sigset_t defaults;
    pid_t child;
    sigemptyset(&defaults);
    if (before_int.sa_handler != SIG_IGN)
        sigaddset(&defaults, SIGINT);
    if (before_quit.sa_handler != SIG_IGN)
        sigaddset(&defaults, SIGQUIT);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setsigmask(&attributes, mask);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    int result = start_shell(&child, command, NULL, &attributes);
    posix_spawnattr_destroy(&attributes);
    return result == 0 ? wait_for(child) : W_EXITCODE(127, 0);
}

EXPORTED int system(const char *command)
{
    static system_function *real;
    if (command == NULL || !follow_is_on()) {
        if (real == NULL)
            guest_resolve("system", &real);
        return real(command);
    }
    sigset_t children, mask;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    ignore_keys();
    pthread_sigmask(SIG_BLOCK, &children, &mask);
    int status = run_shell(command, &mask), saved = errno;
    bring_back_keys();
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    errno = saved;
    return status;
}

/* ---- popen ---- */

static pthread_mutex_t streams_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    FILE *stream; /* NULL: free */
    pid_t child;
} streams[STREAMS];

static int find_stream(const FILE *wanted)
{
    for (int i = 0; i < STREAMS; i++)
        if (streams[i].stream == wanted)
            return i;
    return -1;
}

/* Gives the shell its end of the pipe as 0 or 1, and none of the streams that were opened before. */
static int start_piped(pid_t *child, const char *command, int end, int target)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, end, target);
    for (int i = 0; i < STREAMS; i++)
        if (streams[i].stream != NULL && fileno(streams[i].stream) != target)
            posix_spawn_file_actions_addclose(&actions, fileno(streams[i].stream));
    int result = start_shell(child, command, &actions, NULL);
    posix_spawn_file_actions_destroy(&actions);
    return result;
}

/* In the slot, with the lock held; NULL and errno on failure. */
static FILE *open_stream(int slot, const char *command, const char *mode)
{
    int reads = mode[0] == 'r', ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return NULL;
    int own = ends[reads ? 0 : 1], other = ends[reads ? 1 : 0];
    FILE *stream = fdopen(own, reads ? "r" : "w");
    pid_t child = -1;
    int result = stream == NULL ? errno : start_piped(&child, command, other, reads ? 1 : 0);
    close(other);
    if (result != 0) {
        if (stream != NULL)
            fclose(stream);
        else
            close(own);
        errno = result;
        return NULL;
    }
    if (strchr(mode, 'e') == NULL)
        fcntl(own, F_SETFD, 0);
    streams[slot].stream = stream;
    streams[slot].child = child;
    return stream;
}

static int is_mode(const char *mode)
{
    return (mode[0] == 'r' || mode[0] == 'w') && (mode[1] == 0 || (mode[1] == 'e' && mode[2] == 0));
}

EXPORTED FILE *popen(const char *command, const char *mode)
{
    static popen_function *real;
    FILE *stream = NULL;
    pthread_mutex_lock(&streams_mutex);
    int slot = follow_is_on() && is_mode(mode) ? find_stream(NULL) : -1;
    if (slot >= 0)
        stream = open_stream(slot, command, mode);
    pthread_mutex_unlock(&streams_mutex);
    if (slot >= 0)
        return stream;
    if (real == NULL)
        guest_resolve("popen", &real);
    return real(command, mode);
}

EXPORTED int pclose(FILE *stream)
{
    static pclose_function *real;
    pid_t child = -1;
    pthread_mutex_lock(&streams_mutex);
    int slot = stream != NULL ? find_stream(stream) : -1;
    if (slot >= 0) {
        child = streams[slot].child;
        streams[slot].stream = NULL;
    }
    pthread_mutex_unlock(&streams_mutex);
    if (slot >= 0) {
        fclose(stream);
        return wait_for(child);
    }
    if (real == NULL)
        guest_resolve("pclose", &real);
    return real(stream);
}
