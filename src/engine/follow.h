/* SPDX-License-Identifier: MIT */
/* follow.h - the process tree: what makes the children of a recorded process recorded too.
 *
 * A program that is executed finds PLAIT_RUN and LD_PRELOAD in its environment again (exec.c puts them there,
 * preload.c takes them out). A child of fork goes on by itself. Either is armed only: nothing is opened or
 * started before it has used 10 ms of CPU time, and one that ends before is counted in the folder's file
 * `unsampled`, a line each:
 *     short PID CPU_NS NAME          ended before it was sampled
 *     failed PID CPU_NS REASON       could not be sampled
 *     unfollowed PID WHY NAME        executed a program that can't be preloaded (static, foreign, privileged)
 * The folder is OUTPUT.d; a recording in it is PID-MICROSECONDS-COUNTER.plait (the time since 1970). */
#ifndef PLAIT_FOLLOW_H
#define PLAIT_FOLLOW_H

#include "program.h"
#include <stddef.h>
#include <stdint.h>

struct profiler_options;

/* At load: keeps what is to be passed on. `run` is PLAIT_RUN's text, `library` what LD_PRELOAD called us,
 * `output` the recording of the tree's first process. `tree`: 0 = only what this very process executes (a
 * launcher), 1 = every child. */
void follow_keep(const char *run, const char *library, const char *output, int tree);

/* At load, in a process that records of its own accord only later: armed. `output` NULL: in the folder. */
void follow_arm(const struct profiler_options *options, const char *output);

/* In the child of a fork, with the interface's lock held: armed with the settings of the parent, where the
 * tree is followed. Takes no other lock, allocates nothing. */
void follow_forked(void);

/* The process ends unborn, or never could record: counted. No lock. */
void follow_count_end(const char *what, uint64_t cpu, const char *name);

/* 1 where a program that this process executes is to find us. */
int follow_is_on(void);

/* For a program about to be executed with the environment `given` (NULL = empty): how many words of room
 * follow_environment needs, 0 = it gets `given` as it is. A program that can't be followed is counted. Both
 * change no memory but the caller's: also in the child of a vfork. */
size_t follow_words(enum program program, const char *path, char *const *given);
char *const *follow_environment(char **room, char *const *given);

/* Takes `engine.output` to the next free name in the folder, which it makes. Helper. */
void follow_take_name(void);

/* exec.c: finds libc's own functions, before anybody calls ours. */
void exec_prepare(void);

#endif
