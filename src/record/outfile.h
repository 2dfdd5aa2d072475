/* SPDX-License-Identifier: MIT */
/* outfile.h - the recording's file: bytes wait in memory until the system has taken them, exactly once and
 * in order, whatever fails in between. Helper-safe: only os_*. */
#ifndef PLAIT_OUTFILE_H
#define PLAIT_OUTFILE_H

#include "../core/error.h"
#include "buffer.h"

struct outfile {
    int fd;                 /* -1: closed */
    uint64_t device, inode; /* so that attach can't take another file for ours */
    uint64_t written;       /* bytes in the file */
    int regular;
    struct buffer waiting;
    size_t done; /* of `waiting`: bytes written already */
    char path[4096];
};

/* Creates the file; a relative path is made absolute now, for the program may change its directory. Returns
 * 0 or an error's code. */
int outfile_create(struct outfile *file, const char *path, int overwrite, struct error *error);
/* Opens it again for appending; refuses a file that was replaced or cut meanwhile. */
int outfile_attach(struct outfile *file, struct error *error);
void outfile_close(struct outfile *file);

/* Writes what waits: 0, or negative errno (the rest stays and its start is remembered). */
int outfile_write(struct outfile *file);

#endif
