/* SPDX-License-Identifier: MIT */
/* os.h - everything plait asks of the system. One file per system implements it (os_linux_x86_64.c ...);
 * os_null.c reports ENOSYS, so that every build links and every caller has one path.
 *
 * Rules for every function, unless its comment says otherwise:
 *   - async-signal-safe: usable in the handler, in the raw helper thread and after fork;
 *   - touches neither errno nor thread-local storage, allocates nothing, takes no lock;
 *   - a result below zero is a negative errno.
 */
#ifndef PLAIT_OS_H
#define PLAIT_OS_H

#include <stddef.h>
#include <stdint.h>

/* The raw system call: `number` and six arguments in the kernel's order. */
long os_syscall(long number, long a, long b, long c, long d, long e, long f);
#define os_call0(n)                os_syscall((n), 0, 0, 0, 0, 0, 0)
#define os_call1(n, a)             os_syscall((n), (long)(a), 0, 0, 0, 0, 0)
#define os_call2(n, a, b)          os_syscall((n), (long)(a), (long)(b), 0, 0, 0, 0)
#define os_call3(n, a, b, c)       os_syscall((n), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define os_call4(n, a, b, c, d)    os_syscall((n), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define os_call5(n, a, b, c, d, e) os_syscall((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define os_call6(n, a, b, c, d, e, f)                                                                        \
    os_syscall((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* Identity of the caller: kernel thread id, process id. */
int os_thread_id(void);
int os_process_id(void);

/* The CPU the caller runs on, without a system call. */
int os_cpu(void);

/* Clocks in nanoseconds. os_now: monotonic, through the vdso (about 30 ns, no system call where the
 * clock source allows). os_wall: since 1970. os_thread_cpu: CPU time of any thread of this process
 * (a system call); negative errno once the thread is gone. os_process_cpu: of all threads, those that have
 * ended included. */
uint64_t os_now(void);
uint64_t os_wall(void);
int64_t os_thread_cpu(int tid);
uint64_t os_process_cpu(void);

/* A timer on `clock` (a CLOCK_ number; os_thread_clock gives that of a thread's CPU time) whose signals carry
 * `value` and go to the thread `tid`, or to any thread of the process where `tid` is 0. Not armed yet.
 * Returns its number. */
int os_thread_clock(int tid);
int os_timer(int clock, int tid, int signal, uint64_t value);

/* Sleep until os_now() passes `deadline` or the 32-bit word at `word` (may be NULL) no longer holds
 * `value`; os_wake wakes the sleepers on a word. Raw futexes. */
void os_wait(const uint32_t *word, uint32_t value, uint64_t deadline);
void os_wake(const uint32_t *word);

/* Fresh zeroed pages, readable and writable, not counted until touched; NULL when there are none.
 * `size` is rounded up to pages. os_unmap gives them back. */
void *os_map(size_t size);
void os_unmap(void *memory, size_t size);
/* The same pages, and more behind them, perhaps elsewhere; not copied where the system can move them. NULL:
 * all is as it was. */
void *os_grow(void *memory, size_t size, size_t larger);

/* 1 when the 8 bytes at `address` can be read, else 0. One system call (never a fault), or 0 where the
 * system has no such call. */
int os_readable(uint64_t address);

/* Copies up to `size` bytes of this process's memory at `address`: bytes copied, or negative errno.
 * Survives memory that is not (or no longer) mapped. Helper and API threads only: seccomp may refuse it, and
 * then it opens a file. */
long os_peek(uint64_t address, void *to, size_t size);

/* Files, for the helper: open(2), read, pread, write, close. os_read_file reads a whole small file (procfs)
 * into `to`, returns the bytes read (at most `size`). os_write writes all or returns the negative errno. */
int os_open(const char *path, int flags, int mode);
long os_read(int fd, void *to, size_t size);
long os_pread(int fd, void *to, size_t size, uint64_t offset);
long os_write(int fd, const void *from, size_t size);
void os_close(int fd);
long os_read_file(const char *path, void *to, size_t size);

/* The raw helper thread: own stack of `stack_size` bytes at `stack`, all signals blocked, an empty
 * thread-local block of its own, no libc state; so `body` may call os_* and pure functions only.
 * `*tid` holds the thread's id while it lives and becomes 0 (with a futex wake) when it has ended.
 * Returns 0 or negative errno. Async-signal-safe. */
int os_spawn(void (*body)(void *), void *argument, void *stack, size_t stack_size, uint32_t *tid);

/* Asks the scheduler that the calling thread gets its CPU soon after it wakes, in return for short turns: 1
 * from Linux 6.12 on, elsewhere 0 and nothing changes. */
int os_be_prompt(void);

/* Waits until the raw thread behind `tid` has ended. The kernel counts it among the process's threads for
 * some microseconds more: os_wait_gone, with its number, outlasts them (at most 100 ms). */
void os_join(const uint32_t *tid);
void os_wait_gone(int tid);

/* Ends the calling raw thread. */
_Noreturn void os_end(void);

#endif
