/* SPDX-License-Identifier: MIT */
/* partial_x86_64.c - see partial.h. The frame lies below the red zone of the code that made the call; the
 * kernel keeps all registers of a call but rax, rcx and r11, and so do the instructions here. */
#include "partial.h"

#include "../os/os.h"
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>

struct partial {
    uint64_t done; /* bytes */
    uint64_t back; /* the address behind the call */
    uint64_t stop; /* 1: a handler of the program ran meanwhile */
    uint64_t number;
};
enum { FRAME = 160 }; /* struct partial and the red zone: as below */

extern const char partial_code[] __attribute__((visibility("hidden")));
extern const char partial_call[] __attribute__((visibility("hidden")));
extern const char partial_finish[] __attribute__((visibility("hidden")));
extern const char partial_leave[] __attribute__((visibility("hidden")));

__asm__(".text\n"
        ".p2align 4\n"
        ".hidden partial_code, partial_call, partial_finish, partial_leave\n"
        ".globl partial_code, partial_call, partial_finish, partial_leave\n"
        ".type partial_code, @function\n"
        "partial_code:\n"
        ".cfi_startproc\n"
        ".cfi_signal_frame\n"
        ".cfi_def_cfa rsp, 160\n"
        ".cfi_offset rip, -152\n"
        "    mov 24(%rsp), %rax\n"
        "partial_call:\n"
        "    syscall\n"
        "    test %rax, %rax\n"
        "    jle partial_finish\n"
        "    add %rax, (%rsp)\n"
        "    add %rax, %rsi\n"
        "    sub %rax, %rdx\n"
        "    jz partial_finish\n"
        "    cmpq $0, 16(%rsp)\n"
        "    je partial_code\n"
        "partial_finish:\n"
        "    mov (%rsp), %rax\n"
        "    sub %rax, %rsi\n"
        "    add %rax, %rdx\n"
        "    mov 8(%rsp), %rcx\n"
        "    lea 160(%rsp), %rsp\n"
        ".cfi_def_cfa rsp, 0\n"
        ".cfi_register rip, rcx\n"
        "partial_leave:\n"
        "    jmp *%rcx\n"
        ".cfi_endproc\n"
        ".size partial_code, . - partial_code\n");

static greg_t *registers_of(const void *context)
{
    return ((ucontext_t *)(uintptr_t)context)->uc_mcontext.gregs;
}

static uint64_t address(const char *code)
{
    return (uint64_t)(uintptr_t)code;
}

static struct partial *frame_at(uint64_t stack)
{
    return (struct partial *)(uintptr_t)stack;
}

/* Calls with their bytes in rsi and rdx that pass on all of them unless a signal comes or they must not wait.
 */
static int is_whole(long number, uint64_t flags)
{
    if (number == SYS_sendto)
        return (flags & ~(uint64_t)(MSG_NOSIGNAL | MSG_MORE | MSG_DONTWAIT)) == 0;
    if (number == SYS_recvfrom)
        return (flags & ~(uint64_t)MSG_NOSIGNAL) == MSG_WAITALL;
    return number == SYS_write;
}

/* Files on a disk are not cut short by signals but by their limits, and to meet those again may mean
 * something else. */
static __attribute__((noinline)) int is_stream(int fd)
{
    struct stat status;
    if (os_call3(SYS_fcntl, fd, F_GETPIPE_SZ, 0) > 0)
        return 1;
    if (os_call2(SYS_fstat, fd, &status) != 0)
        return 0;
    return S_ISSOCK(status.st_mode) || S_ISCHR(status.st_mode);
}

int partial_is_inside(const void *context)
{
    uint64_t pc = (uint64_t)registers_of(context)[REG_RIP];
    return pc >= address(partial_code) && pc <= address(partial_leave);
}

int partial_go_on(void *context, long number)
{
    greg_t *registers = registers_of(context);
    if (!is_whole(number, (uint32_t)registers[REG_R10]) || !is_stream((int)registers[REG_RDI]))
        return 0;
    uint64_t done = (uint64_t)registers[REG_RAX], stack = (uint64_t)registers[REG_RSP] - FRAME;
    *frame_at(stack) = (struct partial){done, (uint64_t)registers[REG_RIP], 0, (uint64_t)number};
    registers[REG_RSI] += (greg_t)done;
    registers[REG_RDX] -= (greg_t)done;
    registers[REG_RSP] = (greg_t)stack;
    registers[REG_RIP] = (greg_t)address(partial_code);
    return 1;
}

void partial_origin(const void *context, struct regs *regs)
{
    if (!partial_is_inside(context))
        return;
    if (regs->pc == address(partial_leave)) {
        regs->pc = (uint64_t)registers_of(context)[REG_RCX];
        return;
    }
    regs->pc = frame_at(regs->sp)->back;
    regs->sp += FRAME;
}

void partial_end(void *context)
{
    greg_t *registers = registers_of(context);
    uint64_t pc = (uint64_t)registers[REG_RIP];
    if (!partial_is_inside(context) || pc == address(partial_leave))
        return;
    frame_at((uint64_t)registers[REG_RSP])->stop = 1;
    if (pc <= address(partial_call))
        registers[REG_RIP] = (greg_t)address(partial_finish);
}
