/* SPDX-License-Identifier: MIT */
/* proc.h - what /proc says of this process's threads. It may be another pid namespace's, where threads have
 * other numbers, or not be there. Helper only. */
#ifndef PLAIT_PROC_H
#define PLAIT_PROC_H

#include <stddef.h>
#include <stdint.h>

/* 1 when /proc numbers this process otherwise than the kernel does for ourselves. */
int proc_is_foreign(void);
/* Opens the file `name` ("/comm", at most 16 characters) of the thread that has `number` in /proc, for
 * reading: descriptor or negative errno. */
int proc_open(int number, const char *name);
/* Reads the file `name` of the thread that has `number` in /proc: bytes read, or negative errno.
 * `to` is ended by a 0. */
long proc_read(int number, const char *name, char *to, size_t size);
/* The number that system calls take for a thread of a foreign /proc; 0 when it is gone. */
int proc_own_number(int number);
/* The thread's mask of blocked signals, 0 when it is gone. */
uint64_t proc_blocked(int number);

/* What follows the first `label` in the text, or "". */
const char *proc_behind(const char *text, const char *label);

#endif
