/* SPDX-License-Identifier: MIT */
/* wrap.c - see wrap.h. The kernel keeps flags and masks, and says which function is installed; the table here
 * only remembers what our function stands for. */
#include "wrap.h"

#include "../os/os.h"
#include "engine.h"
#include "partial.h"
#include "rerun.h"
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

enum { SIGNALS = 65 };

typedef void handler_function(int, siginfo_t *, void *);
typedef sighandler_t signal_function(int, sighandler_t);

static handler_function *program[SIGNALS]; /* atomic */
static int owner;                          /* the process whose handlers are wrapped, 0 = none yet */

static __thread struct {
    uint64_t pc, sp, time;
} last;

/* The program's handler may leave by longjmp: nothing after it is relied on. */
static void wrapper(int signal, siginfo_t *info, void *context)
{
    handler_function *function = __atomic_load_n(&program[signal], __ATOMIC_ACQUIRE);
    partial_end(context);
    if (function != NULL)
        function(signal, info, context);
    uint64_t pc, sp;
    if (rerun_interrupted(context, &pc, &sp)) {
        last.pc = pc;
        last.sp = sp;
        last.time = os_now();
    }
}

int wrap_is_own(uint64_t pc, uint64_t sp, uint64_t now)
{
    return last.pc == pc && last.sp == sp && now - last.time < WRAP_NS;
}

void wrap_begin(void)
{
    owner = os_process_id();
}

static int is_wrapped(int signal)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGKILL, SIGSTOP};
    if (signal < 1 || signal >= SIGNALS || signal == ENGINE_SIGNAL)
        return 0;
    for (unsigned i = 0; i < sizeof faults / sizeof *faults; i++)
        if (faults[i] == signal)
            return 0;
    return 1;
}

static int is_function(sighandler_t handler)
{
    return handler != SIG_DFL && handler != SIG_IGN && handler != SIG_ERR;
}

static handler_function *as_function(sighandler_t handler)
{
    return (handler_function *)(uintptr_t)handler;
}

int wrap_sigaction(int signal, const struct sigaction *action, struct sigaction *old)
{
    if (!is_wrapped(signal) || owner == 0)
        return guest_real_sigaction(signal, action, old);
    uint64_t mask;
    guest_hold(&mask);
    handler_function *before = program[signal];
    struct sigaction changed, present;
    const struct sigaction *given = action;
    /* A child of vfork shares this table with its parent, but not the dispositions: it sets its own
     * unwrapped. */
    if (action != NULL && is_function(action->sa_handler) && owner == os_process_id()) {
        changed = *action;
        changed.sa_sigaction = wrapper;
        __atomic_store_n(&program[signal], as_function(action->sa_handler), __ATOMIC_RELEASE);
        given = &changed;
    }
    int result = guest_real_sigaction(signal, given, &present);
    if (result < 0)
        __atomic_store_n(&program[signal], before, __ATOMIC_RELEASE);
    else if (present.sa_sigaction == wrapper)
        present.sa_sigaction = before;
    guest_let_go(&mask);
    if (result == 0 && old != NULL)
        *old = present;
    return result;
}

sighandler_t wrap_signal(int signal, sighandler_t handler)
{
    static signal_function *real;
    if (real == NULL)
        guest_resolve("signal", &real);
    if (!is_wrapped(signal) || handler == SIG_ERR || owner == 0)
        return real(signal, handler);
    uint64_t mask;
    guest_hold(&mask);
    handler_function *before = program[signal];
    sighandler_t given = handler;
    if (is_function(handler) && owner == os_process_id()) {
        __atomic_store_n(&program[signal], as_function(handler), __ATOMIC_RELEASE);
        given = (sighandler_t)(uintptr_t)wrapper;
    }
    sighandler_t result = real(signal, given);
    if (result == SIG_ERR)
        __atomic_store_n(&program[signal], before, __ATOMIC_RELEASE);
    else if (result == (sighandler_t)(uintptr_t)wrapper)
        result = (sighandler_t)(uintptr_t)before;
    guest_let_go(&mask);
    return result;
}

void wrap_present(void)
{
    for (int signal = 1; signal < SIGNALS; signal++) {
        struct sigaction present;
        if (guest_real_sigaction(signal, NULL, &present) == 0 && is_function(present.sa_handler) &&
            present.sa_sigaction != wrapper)
            wrap_sigaction(signal, &present, NULL);
    }
}
