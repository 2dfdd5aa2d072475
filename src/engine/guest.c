/* SPDX-License-Identifier: MIT */
/* guest.c - the manners of a guest: what the program would notice of us, and what we need of it.
 *
 * Interposed: under preload by name; where the library came by dlopen, by the slots of the modules loaded
 * then: sigaction, signal   for our signal the program sees and sets its own disposition, which gets every
 * signal that is not ours; all other signals pass through; pthread_create      a new thread is known from its
 * first instruction; masks and waits for signals: mask.h. Around fork: no helper may exist when fork()
 * returns, and our signal is held back from the forking thread (a clone that takes longer than the period
 * would restart for ever). */
#include "engine.h"

#include "../os/os.h"
#include "follow.h"
#include "got.h"
#include "mask.h"
#include "partial.h"
#include "rerun.h"
#include "wrap.h"
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef int sigaction_function(int, const struct sigaction *, struct sigaction *);
typedef int create_function(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

/* dlsym gives an object pointer where a function is wanted; POSIX has it work, ISO C needs the detour. */
void guest_resolve(const char *name, void *function)
{
    void *address = dlsym(RTLD_NEXT, name);
    memcpy(function, &address, sizeof address);
}

/* ---- the program's disposition of our signal ---- */

/* Two copies, one of them current: the handler reads without a lock. The lock is held for some instructions,
 * with every signal blocked, since sigaction may be called by handlers. */
static struct sigaction guest_action[2];
static uint32_t guest_current, guest_held;

void guest_hold(uint64_t *mask)
{
    uint64_t all = ~0ULL;
    os_call4(SYS_rt_sigprocmask, SIG_SETMASK, &all, mask, 8);
    while (__atomic_exchange_n(&guest_held, 1, __ATOMIC_ACQUIRE) != 0)
        os_call0(SYS_sched_yield);
}

void guest_let_go(const uint64_t *mask)
{
    __atomic_store_n(&guest_held, 0, __ATOMIC_RELEASE);
    os_call4(SYS_rt_sigprocmask, SIG_SETMASK, mask, 0, 8);
}

int guest_real_sigaction(int signal, const struct sigaction *action, struct sigaction *old)
{
    static sigaction_function *real;
    if (real == NULL)
        guest_resolve("sigaction", &real);
    return real(signal, action, old) < 0 ? -errno : 0;
}

static int is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == handler_on_signal;
}

static void keep(const struct sigaction *action)
{
    guest_action[guest_current ^ 1] = *action;
    __atomic_store_n(&guest_current, guest_current ^ 1, __ATOMIC_RELEASE);
}

int guest_take_signal(void)
{
    struct sigaction present;
    uint64_t mask;
    guest_hold(&mask);
    if (guest_real_sigaction(ENGINE_SIGNAL, NULL, &present) == 0 && !is_ours(&present))
        keep(&present);
    int result = handler_install();
    guest_let_go(&mask);
    return result;
}

/* 1 when the signal is ours now, so that the program's disposition is the one kept here. */
static int guest_exchange(const struct sigaction *action, struct sigaction *old)
{
    struct sigaction present;
    uint64_t mask;
    guest_hold(&mask);
    int ours = guest_real_sigaction(ENGINE_SIGNAL, NULL, &present) == 0 && is_ours(&present);
    if (ours) {
        struct sigaction before = guest_action[guest_current];
        if (action != NULL)
            keep(action);
        if (old != NULL)
            *old = before;
    }
    guest_let_go(&mask);
    return ours;
}

EXPORTED int sigaction(int signal, const struct sigaction *action, struct sigaction *old)
{
    /* Python asks for every signal while it starts: by then its thread state is in its slot. */
    if (engine.python_state == 1 && __atomic_load_n(&engine.python.slot, __ATOMIC_RELAXED) == 0)
        py_find_slot(&engine.python, (uint64_t)(uintptr_t)__builtin_thread_pointer(), engine.data_offset);
    if (signal == ENGINE_SIGNAL && guest_exchange(action, old))
        return 0;
    int result = wrap_sigaction(signal, action, old);
    if (result == 0)
        return 0;
    errno = -result;
    return -1;
}

EXPORTED sighandler_t signal(int number, sighandler_t handler)
{
    if (number != ENGINE_SIGNAL || handler == SIG_ERR)
        return wrap_signal(number, handler);
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    if (sigaction(number, &action, &old) < 0)
        return SIG_ERR;
    return old.sa_handler;
}

void guest_pass_on(int number, siginfo_t *info, void *context)
{
    if (mask_gives_back(info, context))
        return;
    struct sigaction action = guest_action[__atomic_load_n(&guest_current, __ATOMIC_ACQUIRE)];
    if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) {
        rerun_check(context); /* without us the kernel had dropped it, and nothing were interrupted */
        return;
    }
    if (!(action.sa_flags & SA_RESTART))
        rerun_refuse(context);
    partial_end(context);
    int saved = errno;
    if (action.sa_flags & (int)SA_RESETHAND)
        guest_action[guest_current].sa_handler = SIG_DFL;
    /* The program's handler runs under the mask it asked for. */
    uint64_t mask, before, own;
    memcpy(&mask, &action.sa_mask, sizeof mask);
    memcpy(&own, &((ucontext_t *)context)->uc_sigmask, sizeof own);
    mask |= own | (action.sa_flags & SA_NODEFER ? 0 : 1ULL << (ENGINE_SIGNAL - 1));
    os_call4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &before, 8);
    if (action.sa_flags & SA_SIGINFO)
        action.sa_sigaction(number, info, context);
    else
        action.sa_handler(number);
    os_call4(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, 8);
    errno = saved;
}

/* ---- new threads ---- */

static int is_sampling(void)
{
    return __atomic_load_n(&engine.status, __ATOMIC_ACQUIRE) == ENGINE_RUNNING &&
           !__atomic_load_n(&engine.unborn, __ATOMIC_ACQUIRE);
}

static void *thread_begin(void *argument)
{
    struct thread *thread = argument;
    void *(*begin)(void *) = thread->begin;
    void *given = thread->argument;
    __atomic_store_n(&thread->pointer, (uint64_t)(uintptr_t)__builtin_thread_pointer(), __ATOMIC_RELAXED);
    handler_set_self(thread);
    mask_set_flag(thread->mask_flag);
    if (is_sampling() && !__atomic_load_n(&engine.resting, __ATOMIC_ACQUIRE))
        thread->uncharged = 0;
    threads_begin(thread, os_thread_id());
    __atomic_store_n(&engine.fresh, 1, __ATOMIC_RELEASE);
    helper_ring();
    return begin(given);
}

EXPORTED int pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*begin)(void *),
                            void *argument)
{
    static create_function *real;
    if (real == NULL)
        guest_resolve("pthread_create", &real);
    struct thread *thread = NULL;
    if (is_sampling() && engine.only_tid == 0)
        thread = threads_claim();
    if (thread == NULL)
        return real(id, attributes, begin, argument);
    thread->begin = begin;
    thread->argument = argument;
    thread->mask_flag = mask_flag();
    int result = real(id, attributes, thread_begin, thread);
    if (result != 0)
        threads_release(thread);
    return result;
}

/* ---- fork ---- */

static uint64_t mask_before_fork;

static void before_fork(void)
{
    api_lock();
    uint64_t ours = 1ULL << (ENGINE_SIGNAL - 1);
    os_call4(SYS_rt_sigprocmask, SIG_BLOCK, &ours, &mask_before_fork, 8);
    if (__atomic_load_n(&engine.status, __ATOMIC_ACQUIRE) == ENGINE_RUNNING)
        helper_detach();
}

static void after_fork(void)
{
    os_call4(SYS_rt_sigprocmask, SIG_SETMASK, &mask_before_fork, 0, 8);
    api_unlock();
}

static void after_fork_parent(void)
{
    engine.forked_cpu = os_process_cpu();
    helper_release();
    if (__atomic_load_n(&engine.status, __ATOMIC_ACQUIRE) == ENGINE_RUNNING && helper_restart_later() < 0)
        helper_start(); /* no timer: better seen by one fork than gone for good */
    after_fork();
}

static void after_fork_child(void)
{
    handler_set_self(NULL);
    guest_held = 0;
    wrap_begin();
    api_after_fork();
    follow_forked();
    after_fork();
}

void guest_redirect(void)
{
#define PATCH(name)                                                                                          \
    {                                                                                                        \
#        name, (void *)(uintptr_t)name                                                                       \
    }
    static const struct got_patch patches[] = {
        PATCH(sigaction),   PATCH(signal),   PATCH(pthread_create), PATCH(pthread_sigmask),
        PATCH(sigprocmask), PATCH(sigwait),  PATCH(sigwaitinfo),    PATCH(sigtimedwait),
        PATCH(sigpending),  PATCH(signalfd), PATCH(syscall)};
#undef PATCH
    /* The program's own scope: this library, linked -Bsymbolic, finds itself first in the default one. */
    void *program = dlopen(NULL, RTLD_LAZY);
    if (program == NULL)
        return;
    if (dlsym(program, "sigaction") != (void *)(uintptr_t)sigaction)
        got_redirect(patches, sizeof patches / sizeof *patches);
    wrap_present();
    dlclose(program);
}

void guest_prepare(void)
{
    static int done;
    if (done)
        return;
    done = 1;
    wrap_begin();
    mask_prepare();
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}
