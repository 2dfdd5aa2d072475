/* SPDX-License-Identifier: MIT */
/* program.h - what would run if a path were executed: whether the library can be preloaded into it. A loader
 * that can't preload us says so on the program's stderr, or refuses to start, so it must not be asked to. */
#ifndef PLAIT_PROGRAM_H
#define PLAIT_PROGRAM_H

enum program {
    PROGRAM_FITS,       /* glibc's dynamic loader for this architecture, or not to be told */
    PROGRAM_ABSENT,     /* nothing that can be executed */
    PROGRAM_STATIC,     /* no dynamic loader */
    PROGRAM_FOREIGN,    /* another architecture or another libc */
    PROGRAM_PRIVILEGED, /* set-user-id or set-group-id: its loader ignores LD_PRELOAD */
};

/* Looks at the file that `path` (relative to the open folder `folder`, AT_FDCWD = the current one) names;
 * with `path` "" at the open file `folder` itself. Scripts lead to their interpreters. System calls only, no
 * memory but 1 KB of stack: also in the child of a vfork. */
enum program program_at(int folder, const char *path);

/* What execvp would run: the first of PATH's files named `file` that is there, in `path`, which has `size`
 * bytes. 1, or 0 where there is none. Reads the environment, changes nothing. */
int program_search(const char *file, char *path, unsigned long size);

#endif
