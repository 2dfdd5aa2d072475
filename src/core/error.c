/* SPDX-License-Identifier: MIT */
/* error.c - builds the one line of an error without libc formatting, and keeps the last one for
 * profiler_error. The words for errno values are our own table: strerror takes locks and locales. A number
 * missing from it is shown as "errno N". Async-signal-safe, except error_publish and error_last. */
#include "error.h"
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#define ERROR_WORDS(X)                                                                                       \
    X(EPERM, "not permitted")                                                                                \
    X(ENOENT, "no such file or directory")                                                                   \
    X(ESRCH, "no such process or thread")                                                                    \
    X(EINTR, "interrupted")                                                                                  \
    X(EIO, "input/output error")                                                                             \
    X(ENXIO, "no such device")                                                                               \
    X(EBADF, "not an open file")                                                                             \
    X(EAGAIN, "temporarily unavailable, or a limit is reached")                                              \
    X(ENOMEM, "no memory")                                                                                   \
    X(EACCES, "permission denied")                                                                           \
    X(EFAULT, "bad address")                                                                                 \
    X(EBUSY, "busy")                                                                                         \
    X(EEXIST, "it exists already")                                                                           \
    X(ENODEV, "not supported by the device")                                                                 \
    X(ENOTDIR, "not a directory")                                                                            \
    X(EISDIR, "it is a directory")                                                                           \
    X(EINVAL, "invalid argument")                                                                            \
    X(ENFILE, "too many open files in the system")                                                           \
    X(EMFILE, "too many open files")                                                                         \
    X(ETXTBSY, "the file is being executed")                                                                 \
    X(EFBIG, "the file-size limit is reached")                                                               \
    X(ENOSPC, "no space left on the device")                                                                 \
    X(EROFS, "read-only file system")                                                                        \
    X(EPIPE, "broken pipe")                                                                                  \
    X(ENAMETOOLONG, "the name is too long")                                                                  \
    X(ENOSYS, "the system has no such call")                                                                 \
    X(ELOOP, "too many symbolic links")                                                                      \
    X(EOVERFLOW, "value too large")                                                                          \
    X(EOPNOTSUPP, "not supported")                                                                           \
    X(ETIMEDOUT, "timed out")                                                                                \
    X(EDQUOT, "the disk quota is used up")                                                                   \
    X(ESTALE, "stale file handle")

struct error_line {
    char *text;
    size_t used, size;
};

static void error_put(struct error_line *line, const char *word)
{
    for (word = word != NULL ? word : "(null)"; *word != '\0' && line->used + 1 < line->size; word++)
        line->text[line->used++] = (char)(*word == '\n' || *word == '\r' ? ' ' : *word);
    line->text[line->used] = '\0';
}

static void error_put_number(struct error_line *line, uint64_t value, unsigned base)
{
    char digits[24], *at = digits + sizeof digits - 1;
    *at = '\0';
    do {
        *--at = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    error_put(line, at);
}

static void error_put_sys(struct error_line *line, int sys)
{
    error_put(line, ": ");
    switch (sys) {
#define X(number, word)                                                                                      \
    case number:                                                                                             \
        error_put(line, word);                                                                               \
        return;
        ERROR_WORDS(X)
#undef X
    default:
        error_put(line, "errno ");
        error_put_number(line, (uint64_t)(sys < 0 ? -(int64_t)sys : sys), 10);
    }
}

static void error_put_int(struct error_line *line, int value)
{
    if (value < 0)
        error_put(line, "-");
    error_put_number(line, value < 0 ? (uint64_t) - (int64_t)value : (uint64_t)value, 10);
}

int error_set(struct error *error, int code, int sys, const char *format, ...)
{
    if (error == NULL)
        return code;
    struct error_line line = {error->text, 0, sizeof error->text};
    error->code = code;
    error->sys = sys;
    error->text[0] = '\0';
    va_list list;
    va_start(list, format);
    for (const char *at = format; *at != '\0'; at++) {
        if (*at != '%' || at[1] == '\0') {
            char letter[2] = {*at, '\0'};
            error_put(&line, letter);
            continue;
        }
        switch (*++at) {
        case 's':
            error_put(&line, va_arg(list, const char *));
            break;
        case 'd':
            error_put_int(&line, va_arg(list, int));
            break;
        case 'x':
            error_put_number(&line, va_arg(list, unsigned long), 16);
            break;
        default:
            error_put(&line, "%");
        }
    }
    va_end(list);
    if (sys != 0)
        error_put_sys(&line, sys);
    return code;
}

static struct error error_kept;
static uint32_t error_lock;

static void error_copy(struct error *to, const struct error *from)
{
    while (__atomic_exchange_n(&error_lock, 1, __ATOMIC_ACQUIRE) != 0)
        ;
    *to = *from;
    __atomic_store_n(&error_lock, 0, __ATOMIC_RELEASE);
}

int error_publish(const struct error *error)
{
    error_copy(&error_kept, error);
    return error->code;
}

void error_last(struct error *error)
{
    error_copy(error, &error_kept);
}
