/* SPDX-License-Identifier: MIT */
/* proc.c - see proc.h. */
#include "proc.h"

#include "../os/os.h"
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

static int digit(char letter)
{
    return letter >= '0' && letter <= '9' ? letter - '0' : -1;
}

int proc_is_foreign(void)
{
    char text[32];
    int number = 0;
    long size = os_call3(SYS_readlink, "/proc/self", text, sizeof text);
    for (long i = 0; i < size && digit(text[i]) >= 0; i++)
        number = number * 10 + digit(text[i]);
    return size > 0 && number != os_process_id();
}

int proc_open(int number, const char *name)
{
    char path[64] = "/proc/self/task/", digits[16];
    unsigned length = 0, at = (unsigned)strlen(path);
    for (unsigned left = (unsigned)number; left > 0 || length == 0; left /= 10)
        digits[length++] = (char)('0' + left % 10);
    while (length > 0)
        path[at++] = digits[--length];
    memcpy(path + at, name, strlen(name) + 1);
    return os_open(path, O_RDONLY, 0);
}

long proc_read(int number, const char *name, char *to, size_t size)
{
    int fd = proc_open(number, name);
    long got = fd < 0 ? fd : os_read(fd, to, size - 1);
    if (fd >= 0)
        os_close(fd);
    to[got > 0 ? got : 0] = 0;
    return got;
}

const char *proc_behind(const char *text, const char *label)
{
    size_t size = strlen(label), left = strlen(text);
    for (; left >= size; text++, left--)
        if (memcmp(text, label, size) == 0)
            return text + size;
    return "";
}

int proc_own_number(int number)
{
    char text[4096];
    int last = 0;
    proc_read(number, "/status", text, sizeof text);
    for (const char *at = proc_behind(text, "\nNSpid:"); *at != 0 && *at != '\n'; at++)
        last = digit(*at) < 0 ? 0 : last * 10 + digit(*at); /* the innermost namespace comes last */
    return last;
}

uint64_t proc_blocked(int number)
{
    char text[4096];
    uint64_t mask = 0;
    proc_read(number, "/status", text, sizeof text);
    for (const char *at = proc_behind(text, "\nSigBlk:\t"); *at != 0 && *at != '\n'; at++)
        mask = mask << 4 | (uint64_t)(digit(*at) >= 0 ? digit(*at) : *at - 'a' + 10);
    return mask;
}
