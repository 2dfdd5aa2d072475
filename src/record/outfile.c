/* SPDX-License-Identifier: MIT */
/* outfile.c - open, append, retry. A full disk may take a part of a write: `done` moves by what was taken, so
 * the next attempt goes on at the very byte. */
#include "outfile.h"
#include "../os/os.h"
#include "profiler.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static int outfile_path(struct outfile *file, const char *path, struct error *error)
{
    size_t length = strlen(path), used = 0;
    if (path[0] != '/') {
        long got = os_call2(SYS_getcwd, file->path, sizeof file->path);
        if (got < 1)
            return error_set(error, PROFILER_FILE, (int)-got, "the recording %s: getcwd", path);
        used = (size_t)got - 1;
        file->path[used++] = '/';
    }
    if (used + length >= sizeof file->path)
        return error_set(error, PROFILER_FILE, ENAMETOOLONG, "the recording %s", path);
    memcpy(file->path + used, path, length + 1);
    return 0;
}

/* The kernel's struct stat is libc's on all 64-bit Linux. */
static int outfile_stat(const struct outfile *file, struct stat *status)
{
    return (int)os_call2(SYS_fstat, file->fd, status);
}

int outfile_create(struct outfile *file, const char *path, int overwrite, struct error *error)
{
    int code = outfile_path(file, path, error);
    if (code != 0)
        return code;
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND | (overwrite ? O_TRUNC : O_EXCL);
    file->fd = os_open(file->path, flags, 0666);
    if (file->fd == -EEXIST)
        return error_set(error, PROFILER_FILE, EEXIST,
                         "open of the recording %s (choose another name, or ask to overwrite)", file->path);
    if (file->fd < 0) {
        int sys = -file->fd;
        file->fd = -1;
        return error_set(error, PROFILER_FILE, sys, "open of the recording %s", file->path);
    }
    struct stat status;
    memset(&status, 0, sizeof status);
    outfile_stat(file, &status);
    file->device = status.st_dev;
    file->inode = status.st_ino;
    file->regular = S_ISREG(status.st_mode);
    file->written = 0;
    return 0;
}

int outfile_attach(struct outfile *file, struct error *error)
{
    if (file->fd >= 0)
        return 0;
    int fd = os_open(file->path, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
    if (fd < 0)
        return error_set(error, PROFILER_FILE, -fd, "open of the recording %s to go on with it", file->path);
    struct stat status;
    memset(&status, 0, sizeof status);
    file->fd = fd;
    if (outfile_stat(file, &status) == 0 && status.st_dev == file->device && status.st_ino == file->inode &&
        (!file->regular || (uint64_t)status.st_size == file->written))
        return 0;
    outfile_close(file);
    return error_set(error, PROFILER_FILE, 0,
                     "the recording %s was replaced or changed by someone else while it was being written",
                     file->path);
}

void outfile_close(struct outfile *file)
{
    if (file->fd >= 0)
        os_close(file->fd);
    file->fd = -1;
}

int outfile_write(struct outfile *file)
{
    if (file->done < file->waiting.used && file->fd < 0)
        return -EBADF;
    while (file->done < file->waiting.used) {
        long taken =
            os_call3(SYS_write, file->fd, file->waiting.bytes + file->done, file->waiting.used - file->done);
        if (taken == -EINTR)
            continue;
        if (taken <= 0)
            return taken == 0 ? -ENOSPC : (int)taken;
        file->done += (size_t)taken;
        file->written += (uint64_t)taken;
    }
    buffer_clear(&file->waiting);
    file->done = 0;
    return 0;
}
