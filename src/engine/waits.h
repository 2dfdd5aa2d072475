/* SPDX-License-Identifier: MIT */
/* waits.h - what a thread waits for, by the system call it sleeps in. */
#ifndef PLAIT_WAITS_H
#define PLAIT_WAITS_H

#include <stdint.h>

/* Fills the call's name ("" unknown) and the kind of what it waits for: lock, sleep, events, socket, pipe,
 * terminal, file, child process, signal, queue, or
 * "". `argument` is the call's first one: a descriptor of the
 * program is looked up now. Static strings. Helper. */
void waits_name(long number, uint32_t argument, const char **call, const char **kind);

#endif
