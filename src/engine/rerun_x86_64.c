/* SPDX-License-Identifier: MIT */
/* rerun_x86_64.c - see rerun.h.
 *
 * Interrupted: RAX is -EINTR and the two bytes before RIP are `syscall`. The kernel keeps every other
 * register, so setting RAX to the call's number and stepping RIP back runs it again with the same arguments.
 * The number is known only where the instruction before is `mov $nr,%eax`, `mov %reg,%eax` or a load from the
 * stack, which is how glibc, musl and inlined calls do it, and in the function by which glibc makes its
 * cancellable calls (from 2.41 on); any other shape keeps its EINTR.
 *
 * About to be restarted by the kernel (SA_RESTART): RIP is at `syscall` and RAX is the number already. */
#include "rerun.h"

#include "../os/os.h"
#include "partial.h"
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

/* Calls that end with EINTR under SA_RESTART too and lose nothing when they run again. ppoll, pselect6,
 * select, sleeps with a place for the rest, absolute sleeps and absolute futex waits keep their end exactly
 * (the kernel writes the rest back, or it is a point in time); the others may wait longer by what passed
 * before the tick: one look of the poll clock at most. A connect that has begun is waited for, as where the
 * kernel restarts it itself (without a time limit). io_uring_enter says EINTR only where it has submitted
 * nothing. Left out: close (running it again means something else). */
static const uint16_t again[] = {
    SYS_poll,
    SYS_ppoll,
    SYS_select,
    SYS_pselect6,
    SYS_epoll_wait,
    SYS_epoll_pwait,
    441 /* epoll_pwait2 */,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_futex,
    449 /* futex_waitv */,
    SYS_rt_sigtimedwait,
    SYS_rt_sigsuspend,
    SYS_pause,
    SYS_semop,
    SYS_semtimedop,
    SYS_msgrcv,
    SYS_msgsnd,
    SYS_io_getevents,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_sendto,
    SYS_sendmsg,
    SYS_accept,
    SYS_accept4,
    SYS_read,
    SYS_readv,
    SYS_write,
    SYS_writev,
    SYS_mq_timedreceive,
    SYS_mq_timedsend,
    SYS_recvmmsg,
    SYS_connect,
    426 /* io_uring_enter */,
};

/* Calls that the kernel restarts under SA_RESTART and that may return EINTR to a program. */
static const uint16_t restartable[] = {
    SYS_read,    SYS_readv,           SYS_write,        SYS_writev,  SYS_recvfrom,
    SYS_recvmsg, SYS_recvmmsg,        SYS_sendto,       SYS_sendmsg, SYS_sendmmsg,
    SYS_accept,  SYS_accept4,         SYS_connect,      SYS_wait4,   SYS_waitid,
    SYS_open,    SYS_openat,          SYS_flock,        SYS_fcntl,   SYS_ioctl,
    SYS_futex,   SYS_mq_timedreceive, SYS_mq_timedsend,
};

static int listed(const uint16_t *list, unsigned count, uint64_t number)
{
    for (unsigned i = 0; i < count; i++)
        if (list[i] == number)
            return 1;
    return 0;
}
#define LISTED(list, number) listed(list, sizeof(list) / sizeof *(list), number)

/* ModRM register numbers to places in the saved context. */
static const int saved_as[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                 REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static uint64_t word_at(uint64_t address)
{
    uint64_t word;
    memcpy(&word, (const void *)(uintptr_t)address, sizeof word);
    return word;
}

/* Where the direct call that returns to `back` leads, 0 when there is no such call. */
static uint64_t called_by(uint64_t back)
{
    int32_t distance;
    if (*(const unsigned char *)(uintptr_t)(back - 5) != 0xe8)
        return 0;
    memcpy(&distance, (const void *)(uintptr_t)(back - 4), sizeof distance);
    return back + (uint64_t)(int64_t)distance;
}

/* glibc from 2.41 on, in a program with threads: a leaf function of assembly makes the call, and its number
 * is in no register any more. But the function that called it was given the number as its seventh argument,
 * so it lies above the return address that leads out of that function: the one whose call led to just before
 * the leaf's. */
static long number_of_cancellable(uint64_t code, const greg_t *registers)
{
    enum { LEAF = 64, MIDDLE = 256, LIBRARY = 1 << 22, NUMBERS = 512, WORDS = 24 };
    static const unsigned char leaf[] = {0x4c, 0x8b, 0x4c, 0x24, 0x10,  /* mov 16(%rsp),%r9 */
                                         0x4c, 0x89, 0x5c, 0x24, 0x08}; /* mov %r11,8(%rsp) */
    const unsigned char *end = (const unsigned char *)(uintptr_t)code;
    uint64_t stack = (uint64_t)registers[REG_RSP];
    if ((code & 4095) < sizeof leaf || memcmp(end - sizeof leaf, leaf, sizeof leaf) != 0)
        return -1;
    uint64_t inside = word_at(stack), start = called_by(inside);
    if (code - start > LEAF)
        return -1;
    for (int i = 1; i < WORDS; i++) {
        uint64_t back = word_at(stack + 8 * (uint64_t)i);
        if (back - inside + LIBRARY > 2 * LIBRARY || !os_readable(back - 5) || !os_readable(back - 1))
            continue;
        uint64_t middle = called_by(back), number = word_at(stack + 8 * (uint64_t)i + 8);
        if (middle != 0 && inside - middle < MIDDLE)
            return number < NUMBERS ? (long)number : -1;
    }
    return -1;
}

/* The number loaded from the stack right before the `syscall` at `code`, or -1; it is an argument there. */
static long number_on_stack(const unsigned char *code, unsigned room, const greg_t *registers)
{
    uint64_t stack = (uint64_t)registers[REG_RSP], base = (uint64_t)registers[REG_RBP];
    if (room >= 5 && code[-5] == 0x48 && code[-4] == 0x8b && code[-3] == 0x44 && code[-2] == 0x24)
        return (long)(uint32_t)word_at(stack + (code[-1] & 127));
    if (room >= 4 && code[-4] == 0x48 && code[-3] == 0x8b && code[-2] == 0x45 && base - stack < 4096)
        return (long)(uint32_t)word_at(base + (code[-1] & 127));
    return -1;
}

/* The number that our own syscall(2) keeps in a vector register: movd %xmm0, %eax. */
static int is_kept(const unsigned char *code)
{
    return code[-4] == 0x66 && code[-3] == 0x0f && code[-2] == 0x7e && code[-1] == 0xc0;
}

/* The number loaded right before the `syscall` at `code`, or -1. Bytes before it on its page are mapped; the
 * look never goes further back than 5 bytes, and not over the page's start. */
static long number_before(const unsigned char *code, const ucontext_t *context)
{
    const greg_t *registers = context->uc_mcontext.gregs;
    unsigned room = (unsigned)((uintptr_t)code & 4095);
    if (room >= 4 && is_kept(code) && context->uc_mcontext.fpregs != NULL)
        return (long)context->uc_mcontext.fpregs->_xmm[0].element[0];
    if (room >= 6 && code[-5] == 0xb8 && code[-6] != 0x41) /* 41 b8 loads r8 */
        return (long)(code[-4] | (uint32_t)code[-3] << 8 | (uint32_t)code[-2] << 16 |
                      (uint32_t)code[-1] << 24);
    if (room >= 3 && code[-2] == 0x89 && (code[-1] & 0xc7) == 0xc0 && (code[-3] & 0xfb) == 0x40) {
        int source = ((code[-1] >> 3) & 7) | ((code[-3] & 4) << 1);
        return (long)(uint32_t)registers[saved_as[source]];
    }
    if (room >= 2 && code[-2] == 0x89 && (code[-1] & 0xc7) == 0xc0) {
        int source = (code[-1] >> 3) & 7;
        if (source == 1) /* the kernel overwrites rcx */
            return -1;
        return (long)(uint32_t)registers[saved_as[source]];
    }
    long number = number_on_stack(code, room, registers);
    return number >= 0 ? number : number_of_cancellable((uint64_t)(uintptr_t)code, registers);
}

static uint64_t mask_of(const ucontext_t *context)
{
    return *(const uint64_t *)(const void *)&context->uc_sigmask;
}

/* 1 when a handler of the program is about to run (`interrupting`: only one without SA_RESTART): a signal
 * that it handles is waiting. What it ignores waits too, since everything is blocked now, and interrupts
 * nothing. */
static int handler_waits(const ucontext_t *context, int interrupting)
{
    struct {
        uint64_t handler, flags, restorer, mask;
    } action;
    uint64_t pending = 0;
    os_call2(SYS_rt_sigpending, &pending, 8);
    pending &= ~mask_of(context) & ~(1ULL << (SIGURG - 1));
    for (int signal = 1; signal <= 64 && pending >> (signal - 1) != 0; signal++) {
        if (!(pending >> (signal - 1) & 1))
            continue;
        if (os_call4(SYS_rt_sigaction, signal, 0, &action, 8) == 0 && action.handler > 1 &&
            !(interrupting && (action.flags & SA_RESTART)))
            return 1;
    }
    return 0;
}

/* A relative sleep with a place for the rest starts again with the rest, which the kernel has written. */
static void sleep_the_rest(greg_t *registers, long number)
{
    if (number == SYS_nanosleep && registers[REG_RSI] != 0)
        registers[REG_RDI] = registers[REG_RSI];
    if (number == SYS_clock_nanosleep && registers[REG_RSI] == 0 && registers[REG_R10] != 0)
        registers[REG_RDX] = registers[REG_R10];
}

static int is_syscall(const unsigned char *code)
{
    return code[0] == 0x0f && code[1] == 0x05;
}

int rerun_interrupted(const void *argument, uint64_t *pc, uint64_t *sp)
{
    const ucontext_t *context = argument;
    *pc = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
    *sp = (uint64_t)context->uc_mcontext.gregs[REG_RSP];
    int64_t result = context->uc_mcontext.gregs[REG_RAX];
    return (result == -EINTR || result > 0) && (*pc & 4095) >= 2 &&
           is_syscall((const unsigned char *)(uintptr_t)*pc - 2);
}

void rerun_call(const void *argument, struct rerun_call *call)
{
    const ucontext_t *context = argument;
    const greg_t *registers = context->uc_mcontext.gregs;
    const unsigned char *pc = (const unsigned char *)(uintptr_t)registers[REG_RIP];
    unsigned place = (unsigned)((uintptr_t)pc & 4095);
    call->argument = (uint64_t)registers[REG_RDI];
    call->number = -1;
    if (place <= 4094 && is_syscall(pc))
        call->number = (long)registers[REG_RAX];
    else if (place >= 2 && is_syscall(pc - 2))
        call->number = number_before(pc - 2, context);
}

enum rerun rerun_check(void *context)
{
    return rerun_check_unless(context, 0);
}

enum rerun rerun_check_unless(void *argument, int own)
{
    ucontext_t *context = argument;
    greg_t *registers = context->uc_mcontext.gregs;
    const unsigned char *pc = (const unsigned char *)(uintptr_t)registers[REG_RIP];
    unsigned place = (unsigned)((uintptr_t)pc & 4095);

    if (registers[REG_RAX] == -EINTR && place >= 2 && is_syscall(pc - 2)) {
        long number = number_before(pc - 2, context);
        if (own || number < 0 || !LISTED(again, (uint64_t)number) || handler_waits(context, 0))
            return RERUN_LEFT;
        sleep_the_rest(registers, number);
        registers[REG_RAX] = number;
        registers[REG_RIP] -= 2;
        return RERUN_AGAIN;
    }
    if (registers[REG_RAX] > 0 && registers[REG_RAX] < registers[REG_RDX] && place >= 2 &&
        is_syscall(pc - 2) && !own && !partial_is_inside(context)) {
        long number = number_before(pc - 2, context);
        if (number > 0 && !handler_waits(context, 0))
            partial_go_on(context, number);
        return RERUN_NONE;
    }
    if (place <= 4094 && is_syscall(pc)) {
        if (LISTED(restartable, (uint64_t)registers[REG_RAX]) && handler_waits(context, 1))
            rerun_refuse(context);
        return RERUN_RESTARTED;
    }
    return RERUN_NONE;
}

void rerun_refuse(void *argument)
{
    ucontext_t *context = argument;
    greg_t *registers = context->uc_mcontext.gregs;
    const unsigned char *pc = (const unsigned char *)(uintptr_t)registers[REG_RIP];
    if (((uintptr_t)pc & 4095) <= 4094 && is_syscall(pc) &&
        LISTED(restartable, (uint64_t)registers[REG_RAX])) {
        registers[REG_RAX] = -EINTR;
        registers[REG_RIP] += 2;
    }
}
