/* SPDX-License-Identifier: MIT */
/* proc.c - see proc.h. */
#include "proc.h"

#include "../core/decimal.h"
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
    uint64_t number;
    long size = os_call3(SYS_readlink, "/proc/self", text, sizeof text - 1);
    text[size > 0 ? size : 0] = 0;
    decimal_get(text, &number);
    return size > 0 && (int)number != os_process_id();
}

int proc_open(int number, const char *name)
{
    char path[64] = "/proc/self/task/";
    char *at = decimal_put(path + strlen(path), (unsigned)number);
    memcpy(at, name, strlen(name) + 1);
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
