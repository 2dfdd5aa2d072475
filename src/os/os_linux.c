/* SPDX-License-Identifier: MIT */
/* os_linux.c - os.h by Linux system calls. Architecture: os_linux_<arch>.c. */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#define NANOSECONDS 1000000000ULL

enum { GONE_PATIENCE_NS = 100 * 1000 * 1000, GONE_NAP_NS = 10 * 1000 };

int os_thread_id(void)
{
    return (int)os_call0(SYS_gettid);
}

int os_process_id(void)
{
    return (int)os_call0(SYS_getpid);
}

static uint64_t to_ns(const struct timespec *time)
{
    return (uint64_t)time->tv_sec * NANOSECONDS + (uint64_t)time->tv_nsec;
}

uint64_t os_now(void)
{
    struct timespec time = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return to_ns(&time);
}

uint64_t os_wall(void)
{
    struct timespec time = {0, 0};
    clock_gettime(CLOCK_REALTIME, &time);
    return to_ns(&time);
}

int os_thread_clock(int tid)
{
    return (int)((~(unsigned)tid << 3) | 6);
}

int64_t os_thread_cpu(int tid)
{
    struct timespec time = {0, 0};
    long result = os_call2(SYS_clock_gettime, os_thread_clock(tid), &time);
    return result < 0 ? result : (int64_t)to_ns(&time);
}

int os_be_prompt(void)
{
    /* struct sched_attr; a SCHED_OTHER thread's runtime is the length of its turns. */
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
        uint32_t least, most;
    } attributes;
    memset(&attributes, 0, sizeof attributes);
    if (os_call4(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) < 0 || attributes.policy != 0)
        return 0;
    attributes.runtime = 100 * 1000;
    if (os_call3(SYS_sched_setattr, 0, &attributes, 0) < 0)
        return 0;
    /* Older kernels take the call and change nothing. */
    attributes.runtime = 0;
    return os_call4(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) == 0 &&
           attributes.runtime == 100 * 1000;
}

int os_timer(int clock, int tid, int signal, uint64_t value)
{
    struct sigevent event;
    memset(&event, 0, sizeof event);
    event.sigev_notify = tid != 0 ? SIGEV_THREAD_ID : SIGEV_SIGNAL;
    event.sigev_signo = signal;
    event.sigev_value.sival_ptr = (void *)(uintptr_t)value;
    /* The field of the thread's id has no public name in glibc; it follows sigev_notify. */
    memcpy((char *)&event + offsetof(struct sigevent, sigev_notify) + sizeof(int), &tid, sizeof tid);
    int timer = -1;
    long result = os_call3(SYS_timer_create, clock, &event, &timer);
    return result < 0 ? (int)result : timer;
}

uint64_t os_process_cpu(void)
{
    struct timespec time = {0, 0};
    os_call2(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, &time);
    return to_ns(&time);
}

void os_wait(const uint32_t *word, uint32_t value, uint64_t deadline)
{
    struct timespec until = {(time_t)(deadline / NANOSECONDS), (long)(deadline % NANOSECONDS)};
    if (word == NULL)
        os_call4(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &until, 0);
    else
        os_call6(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, &until, 0, FUTEX_BITSET_MATCH_ANY);
}

void os_wake(const uint32_t *word)
{
    os_call3(SYS_futex, word, FUTEX_WAKE_PRIVATE, 0x7fffffff);
}

void *os_map(size_t size)
{
    long result = os_call6(SYS_mmap, 0, size, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return result < 0 && result > -4096 ? NULL : (void *)result;
}

void os_unmap(void *memory, size_t size)
{
    if (memory != NULL)
        os_call2(SYS_munmap, memory, size);
}

void *os_grow(void *memory, size_t size, size_t larger)
{
    long result = os_call4(SYS_mremap, memory, size, larger, MREMAP_MAYMOVE);
    if (result >= 0 || result <= -4096)
        return (void *)result;
    void *moved = os_map(larger); /* a filter may know mmap and not mremap */
    if (moved != NULL) {
        memcpy(moved, memory, size);
        os_unmap(memory, size);
    }
    return moved;
}

void os_join(const uint32_t *tid)
{
    uint32_t now; /* the kernel clears the word at the thread's end and wakes by a shared futex */
    while ((now = __atomic_load_n(tid, __ATOMIC_ACQUIRE)) != 0)
        os_call4(SYS_futex, tid, FUTEX_WAIT, now, 0);
}

void os_wait_gone(int tid)
{
    uint64_t patience = os_now() + GONE_PATIENCE_NS;
    while (os_call3(SYS_tgkill, os_process_id(), tid, 0) == 0 && os_now() < patience)
        os_wait(NULL, 0, os_now() + GONE_NAP_NS);
}

/* rt_sigprocmask with a `how` that does not exist: the kernel reads the set first, so it says EFAULT for
 * memory that can't be read and EINVAL for memory that can, and changes nothing. */
int os_readable(uint64_t address)
{
    return os_call4(SYS_rt_sigprocmask, ~0L, address, 0, 8) == -EINVAL;
}

/* Filters refuse the first way more often than the second, which takes three calls. */
long os_peek(uint64_t address, void *to, size_t size)
{
    struct iovec local = {to, size};
    struct iovec remote = {(void *)(uintptr_t)address, size};
    long got = os_call6(SYS_process_vm_readv, os_process_id(), &local, 1, &remote, 1, 0);
    if (got != -EPERM && got != -ENOSYS)
        return got;
    int fd = os_open("/proc/self/mem", O_RDONLY, 0);
    if (fd < 0)
        return got;
    got = os_pread(fd, to, size, address);
    os_close(fd);
    return got == -EIO ? -EFAULT : got;
}

int os_open(const char *path, int flags, int mode)
{
    return (int)os_call4(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
}

long os_read(int fd, void *to, size_t size)
{
    long result;
    do
        result = os_call3(SYS_read, fd, to, size);
    while (result == -EINTR);
    return result;
}

long os_pread(int fd, void *to, size_t size, uint64_t offset)
{
    long result;
    do
        result = os_call4(SYS_pread64, fd, to, size, offset);
    while (result == -EINTR);
    return result;
}

long os_write(int fd, const void *from, size_t size)
{
    const unsigned char *next = from;
    size_t left = size;
    while (left > 0) {
        long result = os_call3(SYS_write, fd, next, left);
        if (result == -EINTR)
            continue;
        if (result < 0)
            return result;
        next += result;
        left -= (size_t)result;
    }
    return (long)size;
}

void os_close(int fd)
{
    os_call1(SYS_close, fd);
}

long os_read_file(const char *path, void *to, size_t size)
{
    int fd = os_open(path, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    size_t total = 0;
    long result = 0;
    while (total < size && (result = os_read(fd, (unsigned char *)to + total, size - total)) > 0)
        total += (size_t)result;
    os_close(fd);
    return result < 0 ? result : (long)total;
}
