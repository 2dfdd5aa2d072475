/* SPDX-License-Identifier: MIT */
/* os_linux_x86_64.c - the two things that only assembly can do: a raw system call, and a raw thread that owns
 * nothing of libc but the address space. */
#include "os.h"

#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <asm/prctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

long os_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

int os_cpu(void)
{
    /* Linux keeps node and CPU in the limit of this segment, for its own vdso. */
    enum { CPU_NODE_SEGMENT = 0x7b, CPU_BITS = 0xfff };
    unsigned limit;
    __asm__("lsl %1, %0" : "=r"(limit) : "r"(CPU_NODE_SEGMENT));
    return (int)(limit & CPU_BITS);
}

/* What the thread finds at the top of its stack; the thread pointer points at it. Its first word must point
 * to itself (the ABI's way to read the thread pointer); errno and other thread-locals of libc would lie below
 * it and fall into the untouched part of the block. */
struct raw_thread {
    void *self;
    unsigned char pad[248];
    void (*body)(void *);
    void *argument;
};

enum { THREAD_LOCALS = 4096 };

__attribute__((noreturn, used)) static void raw_main(struct raw_thread *thread)
{
    thread->body(thread->argument);
    os_end();
}

int os_spawn(void (*body)(void *), void *argument, void *stack, size_t stack_size, uint32_t *tid)
{
    if (stack_size < 4 * THREAD_LOCALS)
        return -22;
    unsigned char *end = (unsigned char *)stack + stack_size;
    struct raw_thread *thread = (struct raw_thread *)(void *)(end - 1024);
    memset(thread, 0, sizeof *thread);
    thread->self = thread;
    thread->body = body;
    thread->argument = argument;
    unsigned char *top = end - 1024 - THREAD_LOCALS;

    uint64_t all = ~0ULL, old = 0;
    os_call4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8);
    long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                 CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    register long r10 __asm__("r10") = (long)tid;
    register long r8 __asm__("r8") = (long)thread;
    long result;
    __asm__ volatile("syscall\n\t"
                     "testq %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xorl %%ebp, %%ebp\n\t"
                     "movq %%r8, %%rdi\n\t"
                     "pushq $0\n\t"
                     "jmp *%[entry]\n\t"
                     "1:"
                     : "=a"(result)
                     : "a"(SYS_clone), "D"(flags), "S"(top), "d"(tid), "r"(r10),
                       "r"(r8), [entry] "b"(raw_main)
                     : "rcx", "r11", "memory");
    os_call4(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, 8);
    return result < 0 ? (int)result : 0;
}

void os_end(void)
{
    for (;;)
        os_call1(SYS_exit, 0);
}
