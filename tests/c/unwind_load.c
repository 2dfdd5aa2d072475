/* SPDX-License-Identifier: MIT */
/* unwind_load.c - what code does to a stack: test_unwind.c compiles this file in several ways, loads it with
 * lazy binding and single-steps through it. */
#include "unwind_load.h"
#include <alloca.h>
#include <immintrin.h>
#include <math.h>
#include <regex.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NOINLINE __attribute__((noinline))

static load_entered *signal_entered;
static volatile unsigned long sum;

static int compare(const void *left, const void *right)
{
    int l = *(const int *)left, r = *(const int *)right;
    return (l > r) - (l < r);
}

static NOINLINE void sorting(void)
{
    int numbers[40];
    for (unsigned i = 0; i < 40; i++)
        numbers[i] = (int)((i * 7919u) % 101u);
    qsort(numbers, 40, sizeof *numbers, compare);
    sum += (unsigned long)numbers[7];
}

static NOINLINE int variadic(char *to, size_t size, const char *format, ...)
{
    va_list list;
    int length;
    va_start(list, format);
    length = vsnprintf(to, size, format, list);
    va_end(list);
    return length;
}

static NOINLINE void formatting(void)
{
    char text[256];
    sum += (unsigned long)variadic(text, sizeof text, "%s %d %5.3f %Lg %p %zu", "word", -7, 3.25, 1.5L, text,
                                   sizeof text);
    sum += (unsigned long)strtod("2.718281828459045e2", NULL);
    sum += strtoul("123456", NULL, 10) + strlen(text);
    sum += (unsigned long)(pow(1.5, 2.5) * sin(0.3) * exp(0.2) * fmod(7.5, 2.0));
}

static NOINLINE void moving(unsigned size)
{
    char *from = malloc(size), *to = calloc(1, size);
    if (from == NULL || to == NULL)
        abort();
    memset(from, 'x', size);
    memcpy(to, from, size);
    memmove(to + 1, to, size - 1);
    to = realloc(to, size * 3);
    if (to == NULL)
        abort();
    to[size - 1] = 0;
    sum += strlen(to) + (memchr(to, 'y', size - 1) != NULL) + (strchr(to, 'z') != NULL) +
           (unsigned)memcmp(from, to, 8);
    free(from);
    free(to);
}

static NOINLINE unsigned variable(unsigned size)
{
    unsigned char *room = alloca(size);
    unsigned total = 0;
    memset(room, (int)size, size);
    for (unsigned i = 0; i < size; i += 16)
        total += room[i];
    return total + (size > 16 ? variable(size / 2) : 0);
}

static NOINLINE unsigned large(unsigned seed)
{
    volatile unsigned char room[100000];
    room[0] = (unsigned char)seed;
    room[sizeof room - 1] = (unsigned char)(seed + 1);
    return room[0] + room[sizeof room - 1] + variable(32);
}

/* A vector local and an unknown amount of stack: the compiler realigns the stack and finds the frame through
 * a saved pointer. */
__attribute__((target("avx2"))) static NOINLINE double realigned(unsigned size, double seed, ...)
{
    volatile __m256d values[2];
    double *room = alloca(size * sizeof *room);
    values[0] = _mm256_set1_pd(seed);
    values[1] = _mm256_add_pd(values[0], values[0]);
    for (unsigned i = 0; i < size; i++)
        room[i] = seed * i;
    sum += variable(24);
    return room[size - 1] + ((volatile double *)values)[5];
}

__attribute__((target("avx2"))) static NOINLINE double realigned_many(double a, double b, double c, double d,
                                                                      double e, double f, double g, double h,
                                                                      double i, double j, double k)
{
    volatile __m256d values[3];
    values[0] = _mm256_set_pd(a, b, c, d);
    values[1] = _mm256_set_pd(e, f, g, h);
    values[2] = values[0] + values[1];
    sum += variable(17);
    return ((volatile double *)values)[9] + i + j + k;
}

static NOINLINE unsigned last(unsigned value)
{
    return value * 3 + (unsigned)sum;
}

static unsigned (*volatile tail)(unsigned) = last;

static NOINLINE unsigned tail_calls(unsigned depth)
{
    if (depth == 0)
        return tail(depth);
    return depth & 1 ? tail_calls(depth - 1) : tail(depth);
}

static jmp_buf place;

static NOINLINE void leave(unsigned depth)
{
    if (depth == 0)
        longjmp(place, 1);
    leave(depth - 1);
    sum++;
}

static NOINLINE void jumping(void)
{
    volatile unsigned tries = 0;
    if (setjmp(place) == 0) {
        tries++;
        leave(5);
    }
    sum += tries;
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)info;
    signal_entered(__builtin_dwarf_cfa(), __builtin_return_address(0), context);
    sum += (unsigned long)number + variable(40);
}

static NOINLINE void signals(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGUSR1, &action, NULL);
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGUSR2, &action, NULL);
    raise(SIGUSR1);
    raise(SIGUSR2);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
}

static NOINLINE void clocks(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    sum += (unsigned long)now.tv_nsec & 1;
    sum += (unsigned long)time(NULL) & 1;
}

static NOINLINE void matching(void)
{
    regex_t expression;
    regmatch_t match[2];
    if (regcomp(&expression, "a(b+)c$", REG_EXTENDED) != 0)
        return;
    sum += (unsigned long)regexec(&expression, "xxabbbc", 2, match, 0);
    regfree(&expression);
}

static NOINLINE unsigned recursion(unsigned n)
{
    return n < 2 ? n : recursion(n - 1) + recursion(n - 2);
}

static NOINLINE void jumps(unsigned value)
{
    switch (value % 6) {
    case 0:
        sum += variable(18);
        break;
    case 1:
        sum += last(value);
        break;
    case 2:
        sum ^= value;
        break;
    case 3:
        sum += 3;
        break;
    case 4:
        sum += tail_calls(4);
        break;
    default:
        return;
    }
    sum++;
}

/* load_litter leaves return addresses below the stack pointer; load_kernel is built like OpenBLAS's kernels:
 * no unwind data, the frame pointer used for numbers, and a frame that it fills in part. */
__asm__(".text\n"
        ".type load_litter, @function\n"
        "load_litter:\n\t.cfi_startproc\n"
        "\tmovq (%rsp), %rax\n"
        "\t.rept 40\n\tpushq %rax\n\t.cfi_adjust_cfa_offset 8\n\t.endr\n"
        "\taddq $320, %rsp\n\t.cfi_adjust_cfa_offset -320\n\tret\n\t.cfi_endproc\n"
        ".size load_litter, . - load_litter\n"
        ".type load_kernel, @function\n"
        "load_kernel:\n"
        "\tsubq $0x60, %rsp\n\tmovq %rbx, (%rsp)\n\tmovq %rbp, 8(%rsp)\n\tmovq %r12, 16(%rsp)\n"
        "\tmovq %r15, 40(%rsp)\n\tmovq %rsp, %rbx\n\tsubq $0x7080, %rsp\n\tandq $-4096, %rsp\n"
        "\tmovl $5, %ebp\n\tmovq %rdi, 0x28(%rsp)\n"
        "1:\n\taddq 0x28(%rsp), %rax\n\tmovq %rax, %r15\n\tdecq %rbp\n\tjne 1b\n"
        "\tmovq %rbx, %rsp\n\temms\n\tmovq (%rsp), %rbx\n\tmovq 8(%rsp), %rbp\n\tmovq 16(%rsp), %r12\n"
        "\tmovq 40(%rsp), %r15\n\taddq $0x60, %rsp\n\tret\n"
        ".size load_kernel, . - load_kernel\n");

void load_litter(void) __attribute__((visibility("hidden")));
unsigned long load_kernel(unsigned long) __attribute__((visibility("hidden")));

static NOINLINE unsigned long kernels(unsigned size)
{
    unsigned char *room = alloca(size); /* the frame is found by the frame pointer */
    memset(room, 1, size);
    load_litter();
    return load_kernel(room[size - 1]) + (sum & 1);
}

unsigned long load_thread(load_entered *entered)
{
    signal_entered = entered;
    sum += variable(64);
    sorting();
    moving(64);
    return sum;
}

unsigned long load_run(load_entered *entered)
{
    signal_entered = entered;
    sorting();
    formatting();
    moving(100);
    moving(20000);
    sum += variable(200) + large(3) + tail_calls(5) + recursion(7);
    if (__builtin_cpu_supports("avx2")) {
        sum += (unsigned long)realigned(9, 1.5, 2, 3);
        sum += (unsigned long)realigned_many(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
    }
    jumping();
    signals();
    clocks();
    matching();
    sum += kernels(40) + kernels(100);
    for (unsigned i = 0; i < 6; i++)
        jumps(i);
    return sum;
}
