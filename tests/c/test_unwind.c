/* SPDX-License-Identifier: MIT */
/* test_unwind.c - the unwinder against the processor's own account, instruction by instruction.
 *
 * The trap flag raises SIGTRAP after every instruction; the handler keeps a shadow stack of the calls it saw
 * and compares every return address of our walk with it. The walk at first sight, without libraries or
 * without tables, must find the same. The frames outside of the stepped code come from libgcc's unwinder. The
 * stepped code (unwind_load.c) is compiled here in several ways. */
#include "check.h"
#include "native/unwind.h"
#include "unwind_load.h"
#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

enum {
    DEPTH = 512,
    ALTERNATE = 1 << 18,
    TRAP_FLAG = 0x100,
    SHOWN = 5,
    GUESSED_MAX = 128, /* steps of load_kernel, twice, and a few at a function's edges */
};

/* One call that has not returned. */
struct shadow {
    uint64_t cfa, ret;
};

static struct {
    struct shadow shadow[DEPTH];
    int depth;
    void *base[DEPTH]; /* return addresses outside of the stepped code, leaf first */
    int base_count;
    uint64_t sp;            /* before the last instruction */
    int was_call, was_jump; /* what that instruction was */
    int was_ret, was_syscall;
    int limbo; /* longjmp has changed the stack and has not yet arrived */
    struct stack_span span;
    struct unwind_cache cache, cache_without[2];
    long differ; /* first sight and tables */
    long steps, wrong, unfinished, guessed, limbo_steps;
} stepper;

static struct libs_state *state, *without[2]; /* libraries, tables */
static unsigned char alternate[ALTERNATE] __attribute__((aligned(16)));

static int look_at_libraries(void)
{
    if (state == NULL)
        state = libs_new();
    if (state == NULL || libs_refresh(state) < 0)
        return 0;
    libs_want_all(state, UINT64_MAX);
    libs_build(state, INT32_MAX);
    without[0] = libs_new();
    without[1] = libs_new();
    return without[0] != NULL && without[1] != NULL && libs_refresh(without[1]) == 1;
}

/* Kind of the instruction at pc, as far as it moves the stack. */
static void classify(const unsigned char *code)
{
    while ((*code >= 0x40 && *code <= 0x4f) || *code == 0xf2 || *code == 0xf3 || *code == 0x3e ||
           *code == 0x66)
        code++;
    stepper.was_call = code[0] == 0xe8 || (code[0] == 0xff && (code[1] >> 3 & 7) == 2);
    stepper.was_jump = code[0] == 0xff && (code[1] >> 3 & 7) == 4;
    stepper.was_ret = code[0] == 0xc3 || code[0] == 0xc2;
    stepper.was_syscall = code[0] == 0x0f && code[1] == 0x05;
}

static void follow(uint64_t sp)
{
    int popped = 0;
    if (stepper.was_jump)
        stepper.limbo = 0;
    while (stepper.depth > 0 && sp >= stepper.shadow[stepper.depth - 1].cfa) {
        stepper.depth--;
        popped++;
    }
    if (popped > 0 && !stepper.was_ret && !stepper.was_syscall)
        stepper.limbo = 1;
    if (stepper.was_call && sp == stepper.sp - 8 && stepper.depth < DEPTH)
        stepper.shadow[stepper.depth++] = (struct shadow){sp + 8, *(const uint64_t *)sp};
}

static const char *name_of(uint64_t pc)
{
    static char text[4][256];
    static unsigned next;
    char *to = text[next++ % 4];
    Dl_info info;
    if (dladdr((void *)pc, &info) == 0)
        snprintf(to, 256, "%#" PRIx64, pc);
    else
        snprintf(to, 256, "%s+%#" PRIx64 " (%s %#" PRIx64 ")", info.dli_sname ? info.dli_sname : "?",
                 pc - (uint64_t)info.dli_saddr,
                 strrchr(info.dli_fname, '/') ? strrchr(info.dli_fname, '/') + 1 : "",
                 pc - (uint64_t)info.dli_fbase);
    return to;
}

static void report(const char *what, const struct native_stack *stack)
{
    if (stepper.wrong + stepper.unfinished + stepper.differ > SHOWN)
        return;
    printf("%s, end %d, guessed %u, step %ld:\n", what, stack->end, stack->guessed, stepper.steps);
    for (uint32_t i = 0; i < stack->count && i < 12; i++) {
        int at = stepper.depth - (int)i;
        uint64_t truth = i == 0 || at < 0 ? 0 : stepper.shadow[at].ret;
        printf("  %-60s %s\n", name_of(stack->frames[i].pc), truth ? name_of(truth) : "");
    }
}

static void compare(const struct native_stack *stack)
{
    uint32_t expected = (uint32_t)(1 + stepper.depth + stepper.base_count);
    int wrong = 0;
    for (uint32_t i = 1; i < stack->count && i < expected; i++) {
        uint32_t depth = (uint32_t)stepper.depth;
        uint64_t truth = i <= depth ? stepper.shadow[depth - i].ret : (uint64_t)stepper.base[i - depth - 1];
        wrong |= stack->frames[i].pc != truth;
        wrong |= i <= depth && stack->frames[i].sp != stepper.shadow[depth - i].cfa;
    }
    wrong |= stack->count > expected;
    if (wrong) {
        stepper.wrong++;
        report("wrong", stack);
    } else if (stack->end != UNWIND_COMPLETE || stack->count != expected) {
        stepper.unfinished++;
        report("unfinished", stack);
    }
    stepper.guessed += stack->guessed > 0;
}

/* At first sight nothing can be guessed, since a guess leans on what the snapshot knows. Rules of libraries
 * without tables are remembered, those of unknown libraries are missed each time. */
static void compare_without(const struct regs *regs, const struct native_stack *stack, int which)
{
    static struct native_frame frames[DEPTH + 1];
    struct native_stack other = {.frames = frames, .capacity = DEPTH};
    const struct libs *libs = libs_current(without[which]);
    if (stack->guessed > 0 || libs->first_sight == NULL)
        return;
    unwind_stack(libs, &stepper.cache_without[which], regs, &stepper.span, &other);
    if (other.end == stack->end && other.count == stack->count && (which == 1 || other.missed != 0) &&
        memcmp(other.frames, stack->frames, (stack->count + 1) * sizeof *frames) == 0)
        return;
    stepper.differ++;
    report(which ? "without tables" : "without libraries", &other);
}

static void on_trap(int number, siginfo_t *info, void *context)
{
    static struct native_frame frames[DEPTH + 1];
    struct native_stack stack = {.frames = frames, .capacity = DEPTH};
    struct regs regs;
    (void)number;
    (void)info;
    unwind_regs_of_signal(&regs, context);
    stepper.steps++;
    follow(regs.sp);
    classify((const unsigned char *)regs.pc);
    stepper.sp = regs.sp;
    if (stepper.limbo) {
        stepper.limbo_steps++;
        return;
    }
    unwind_stack(libs_current(state), &stepper.cache, &regs, &stepper.span, &stack);
    compare(&stack);
    compare_without(&regs, &stack, 0);
    compare_without(&regs, &stack, 1);
}

static inline void trap_on(void)
{
    __asm__ volatile(
        "lea -128(%%rsp), %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), %%rsp" ::
            : "memory", "cc");
}

static inline void trap_off(void)
{
    __asm__ volatile(
        "lea -128(%%rsp), %%rsp\n\tpushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), %%rsp" ::
            : "memory", "cc");
}

static void push(uint64_t cfa, uint64_t ret)
{
    stepper.shadow[stepper.depth++] = (struct shadow){cfa, ret};
}

/* In a signal handler of the load: two frames that no call instruction made, and this function's own. */
static __attribute__((noinline)) void entered(void *cfa, void *ret, void *context)
{
    const greg_t *gregs = ((const ucontext_t *)context)->uc_mcontext.gregs;
    push((uint64_t)gregs[REG_RSP], (uint64_t)gregs[REG_RIP]);
    push((uint64_t)cfa, (uint64_t)ret);
    push((uint64_t)__builtin_dwarf_cfa(), (uint64_t)__builtin_return_address(0));
    stepper.was_call = stepper.was_jump = stepper.was_ret = stepper.was_syscall = 0;
    trap_on();
}

typedef unsigned long load(load_entered *);

static __attribute__((noinline)) void step_through(load *run)
{
    void *addresses[DEPTH];
    pthread_attr_t attributes;
    void *low;
    size_t size;
    int count;
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    memset(&stepper, 0, sizeof stepper);
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &low, &size);
    pthread_attr_destroy(&attributes);
    stepper.span = (struct stack_span){(uint64_t)low, (uint64_t)low + size, (uint64_t)alternate,
                                       (uint64_t)alternate + sizeof alternate};
    count = backtrace(addresses, DEPTH);
    stepper.base_count = count - 1;
    memcpy(stepper.base, addresses + 1, (size_t)stepper.base_count * sizeof *addresses);
    sigaltstack(&stack, NULL);
    sigfillset(&action.sa_mask);
    sigaction(SIGTRAP, &action, NULL);
    trap_on();
    run(entered);
    trap_off();
    signal(SIGTRAP, SIG_DFL);
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, NULL);
}

static void judge(const char *name, long at_least)
{
    printf("  %s: %ld steps, %ld wrong, %ld unfinished, %ld guessed, %ld inside longjmp\n", name,
           stepper.steps, stepper.wrong, stepper.unfinished, stepper.guessed, stepper.limbo_steps);
    CHECK(stepper.steps > at_least);
    CHECK_EQUAL(stepper.wrong, 0);
    CHECK_EQUAL(stepper.unfinished, 0);
    CHECK_EQUAL(stepper.differ, 0);
    CHECK(stepper.guessed < GUESSED_MAX);
    /* longjmp's last instructions describe the stack to come */
    CHECK(stepper.limbo_steps < 16);
}

static void *stepping_thread(void *run)
{
    step_through(*(load **)run);
    return NULL;
}

/* Compiles the load with these options, loads it and steps through it; -1 where there is no such compiler. */
static int try_compiler(const char *compiler, const char *options)
{
    char command[1024], path[] = "/tmp/plait-unwind-XXXXXX", name[256];
    void *library;
    load *run, *thread;
    pthread_t id;
    int fd = mkstemp(path);
    const char *slash = strrchr(__FILE__, '/');
    snprintf(command, sizeof command,
             "%s %s -D_GNU_SOURCE -w -shared -fPIC -Wl,-z,lazy -o %s %.*s/unwind_load.c -lm", compiler,
             options, path, (int)(slash - __FILE__), __FILE__);
    if (fd < 0 || system(command) != 0)
        return -1;
    close(fd);
    library = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    CHECK(library != NULL);
    unlink(path);
    if (library == NULL || !look_at_libraries())
        return 0;
    *(void **)&run = dlsym(library, "load_run");
    *(void **)&thread = dlsym(library, "load_thread");
    step_through(run);
    snprintf(name, sizeof name, "%s %s", compiler, options);
    judge(name, 10000);
    CHECK_EQUAL(pthread_create(&id, NULL, stepping_thread, &thread), 0);
    pthread_join(id, NULL);
    judge("  in a thread", 1000);
    dlclose(library);
    return 0;
}

static void with_frame_pointers_or_not(void)
{
    if (try_compiler("cc", "-O2 -fomit-frame-pointer") < 0)
        SKIP("no C compiler");
    try_compiler("cc", "-O2 -fno-omit-frame-pointer");
}

static void unoptimised(void)
{
    if (try_compiler("cc", "-O0") < 0)
        SKIP("no C compiler");
}

static void small(void)
{
    if (try_compiler("cc", "-Os -fno-plt") < 0)
        SKIP("no C compiler");
}

static void by_clang(void)
{
    if (system("clang --version >/dev/null 2>&1") != 0 || try_compiler("clang", "-O2") < 0)
        SKIP("no clang");
    try_compiler("clang", "-O0");
}

static void branch_protection(void)
{
    if (try_compiler("cc", "-O2 -fcf-protection=full -Wl,-z,ibtplt") < 0)
        SKIP("the compiler has no -fcf-protection");
}

int main(int argc, char **argv)
{
    static const struct check_case cases[] = {
        {"with_frame_pointers_or_not", with_frame_pointers_or_not},
        {"unoptimised", unoptimised},
        {"small", small},
        {"by_clang", by_clang},
        {"branch_protection", branch_protection},
    };
    if (sight_finder() == NULL)
        printf("  no _dl_find_object here: nothing is walked at first sight\n");
    setvbuf(stdout, NULL, _IOLBF, 0);
    return check_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
