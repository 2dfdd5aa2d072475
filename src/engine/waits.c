/* SPDX-License-Identifier: MIT */
/* waits.c - see waits.h. */
#include "waits.h"

#include "../core/decimal.h"
#include "../os/os.h"
#include <string.h>
#include <sys/syscall.h>

/* "fd": told by the descriptor. */
static const struct {
    short number;
    const char *call, *kind;
} waits[] = {
    {SYS_futex, "futex", "lock"},
    {449, "futex_waitv", "lock"},
    {SYS_semop, "semop", "lock"},
    {SYS_semtimedop, "semtimedop", "lock"},
    {SYS_flock, "flock", "lock"},
    {SYS_fcntl, "fcntl", "lock"},
    {SYS_nanosleep, "nanosleep", "sleep"},
    {SYS_clock_nanosleep, "clock_nanosleep", "sleep"},
    {SYS_poll, "poll", "events"},
    {SYS_ppoll, "ppoll", "events"},
    {SYS_select, "select", "events"},
    {SYS_pselect6, "pselect6", "events"},
    {SYS_epoll_wait, "epoll_wait", "events"},
    {SYS_epoll_pwait, "epoll_pwait", "events"},
    {441, "epoll_pwait2", "events"},
    {SYS_io_getevents, "io_getevents", "file"},
    {426, "io_uring_enter", "file"},
    {SYS_connect, "connect", "socket"},
    {SYS_accept, "accept", "socket"},
    {SYS_accept4, "accept4", "socket"},
    {SYS_recvfrom, "recvfrom", "socket"},
    {SYS_recvmsg, "recvmsg", "socket"},
    {SYS_recvmmsg, "recvmmsg", "socket"},
    {SYS_sendto, "sendto", "socket"},
    {SYS_sendmsg, "sendmsg", "socket"},
    {SYS_sendmmsg, "sendmmsg", "socket"},
    {SYS_read, "read", "fd"},
    {SYS_readv, "readv", "fd"},
    {SYS_pread64, "pread64", "fd"},
    {SYS_preadv, "preadv", "fd"},
    {SYS_write, "write", "fd"},
    {SYS_writev, "writev", "fd"},
    {SYS_pwrite64, "pwrite64", "fd"},
    {SYS_pwritev, "pwritev", "fd"},
    {SYS_sendfile, "sendfile", "fd"},
    {SYS_ioctl, "ioctl", "fd"},
    {SYS_fsync, "fsync", "file"},
    {SYS_fdatasync, "fdatasync", "file"},
    {SYS_open, "open", "file"},
    {SYS_openat, "openat", "file"},
    {SYS_wait4, "wait4", "child process"},
    {SYS_waitid, "waitid", "child process"},
    {SYS_rt_sigtimedwait, "rt_sigtimedwait", "signal"},
    {SYS_rt_sigsuspend, "rt_sigsuspend", "signal"},
    {SYS_pause, "pause", "signal"},
    {SYS_msgrcv, "msgrcv", "queue"},
    {SYS_msgsnd, "msgsnd", "queue"},
    {SYS_mq_timedreceive, "mq_timedreceive", "queue"},
    {SYS_mq_timedsend, "mq_timedsend", "queue"},
};

static int begins(const char *text, const char *with)
{
    return memcmp(text, with, strlen(with)) == 0; /* a target has room for every prefix */
}

/* The helper has a descriptor table of its own: /proc/self is the process, whose table is its first
 * thread's. */
static const char *kind_of(uint32_t descriptor)
{
    char path[32] = "/proc/self/fd/", target[64] = "";
    *decimal_put(path + strlen(path), descriptor) = 0;
    long size = os_call3(SYS_readlink, path, target, sizeof target - 1);
    if (size <= 0)
        return "";
    target[size] = 0;
    if (begins(target, "socket:"))
        return "socket";
    if (begins(target, "pipe:"))
        return "pipe";
    if (begins(target, "anon_inode:"))
        return "events";
    return begins(target, "/dev/pts/") || begins(target, "/dev/tty") ? "terminal" : "file";
}

void waits_name(long number, uint32_t argument, const char **call, const char **kind)
{
    *call = *kind = "";
    for (unsigned i = 0; i < sizeof waits / sizeof *waits; i++) {
        if (waits[i].number != number)
            continue;
        *call = waits[i].call;
        *kind = waits[i].kind;
        if (strcmp(*kind, "fd") == 0)
            *kind = kind_of(argument);
        /* A select of nothing is a sleep: time.sleep() before Python 3.11. */
        if ((number == SYS_select || number == SYS_pselect6) && argument == 0)
            *kind = "sleep";
        return;
    }
}
