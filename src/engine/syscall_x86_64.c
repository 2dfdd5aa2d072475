/* SPDX-License-Identifier: MIT */
/* syscall_x86_64.c - syscall(2), interposed. libc's overwrites the number's register with the first argument,
 * so a wait that a tick interrupts in it could not be run again: nothing says which call it was. Here the
 * number stays in a register that the kernel keeps and no caller minds (rerun_x86_64.c knows the
 * instruction). No word of stack is used: the call may come back on another one (clone). */
#include "engine.h"

#include <errno.h>

__attribute__((visibility("hidden"), used)) long syscall_failed(long result);
long syscall_failed(long result)
{
    errno = (int)-result;
    return -1;
}

__asm__(".text\n\t"
        ".globl syscall\n\t"
        ".type syscall, @function\n"
        "syscall:\n\t"
        ".cfi_startproc\n\t"
        "endbr64\n\t"
        "movd %edi, %xmm0\n\t"
        "movq %rsi, %rdi\n\t"
        "movq %rdx, %rsi\n\t"
        "movq %rcx, %rdx\n\t"
        "movq %r8, %r10\n\t"
        "movq %r9, %r8\n\t"
        "movq 8(%rsp), %r9\n\t"
        "movd %xmm0, %eax\n\t"
        "syscall\n\t"
        "cmpq $-4095, %rax\n\t"
        "jae 1f\n\t"
        "ret\n"
        "1:\n\t"
        "movq %rax, %rdi\n\t"
        "jmp syscall_failed\n\t"
        ".cfi_endproc\n\t"
        ".size syscall, . - syscall");
