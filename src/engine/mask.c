/* SPDX-License-Identifier: MIT */
/* mask.c - see mask.h. What is kept is one word per thread; the kernel's mask says whether it still holds,
 * since handlers and longjmp bring back masks that nobody showed us. */
#include "mask.h"

#include "../os/os.h"
#include "engine.h"
#include "rerun.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>

#define OURS (1ULL << (ENGINE_SIGNAL - 1))
/* glibc's own two: it takes them out of every mask. */
#define LIBC_OWN (3ULL << 31)

/* So many signals beside ours are "every signal". */
enum { MANY = 16 };

typedef int timedwait_function(const sigset_t *, siginfo_t *, const struct timespec *);
typedef int signalfd_function(int, const sigset_t *, int);
static timedwait_function *real_timedwait;
static signalfd_function *real_signalfd;

static __thread struct {
    int hidden;  /* our signal was left out of the thread's mask */
    int waiting; /* in a wait for signals without it */
} self;

/* Also before any start: the interposers stand in every program that has the library loaded. */
void mask_prepare(void)
{
    guest_resolve("signalfd", &real_signalfd);
    guest_resolve("sigtimedwait", &real_timedwait);
}

int mask_flag(void)
{
    return self.hidden;
}

void mask_set_flag(int flag)
{
    self.hidden = flag;
}

static int is_running(void)
{
    return __atomic_load_n(&engine.status, __ATOMIC_ACQUIRE) == ENGINE_RUNNING;
}

static int is_everything(uint64_t mask)
{
    return __builtin_popcountll(mask & ~OURS) >= MANY;
}

static uint64_t word_of(const sigset_t *set)
{
    uint64_t word;
    memcpy(&word, set, sizeof word);
    return word;
}

static uint64_t present_mask(void)
{
    uint64_t mask = 0;
    os_call4(SYS_rt_sigprocmask, SIG_BLOCK, 0, &mask, 8);
    return mask;
}

/* 1 where the kernel's mask lacks our signal only because it was left out. */
static int is_hidden(uint64_t mask)
{
    return self.hidden && !(mask & OURS) && is_everything(mask);
}

/* ---- the mask ---- */

static int change(int how, const sigset_t *set, sigset_t *old)
{
    uint64_t present = present_mask(), seen = present | (is_hidden(present) ? OURS : 0);
    if (set != NULL) {
        uint64_t given = word_of(set) & ~LIBC_OWN;
        uint64_t wanted = how == SIG_BLOCK ? seen | given : how == SIG_UNBLOCK ? seen & ~given : given;
        if (how != SIG_BLOCK && how != SIG_UNBLOCK && how != SIG_SETMASK)
            return EINVAL;
        int hide = (wanted & OURS) && is_everything(wanted) && is_running();
        if (hide) {
            self.hidden = 1;
            wanted &= ~OURS;
        }
        long result = os_call4(SYS_rt_sigprocmask, SIG_SETMASK, &wanted, 0, 8);
        if (result < 0)
            return (int)-result;
        self.hidden = hide;
    }
    if (old != NULL)
        memcpy(old, &seen, sizeof seen);
    return 0;
}

EXPORTED int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    return change(how, set, old);
}

EXPORTED int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
    int error = change(how, set, old);
    if (error == 0)
        return 0;
    errno = error;
    return -1;
}

/* ---- signals that are taken without a handler ---- */

static int is_a_tick(const siginfo_t *info)
{
    if (info->si_code == SI_QUEUE || info->si_code == SI_TIMER)
        return ((uint64_t)(uintptr_t)info->si_value.sival_ptr & ENGINE_TAG_MASK) == ENGINE_TAG;
    return info->si_code >= POLL_IN && info->si_code <= POLL_HUP &&
           os_call3(SYS_fcntl, info->si_fd, F_GETSIG, 0) != ENGINE_SIGNAL;
}

/* A tick was taken out of the queue: what it stands for goes to the thread's next one. */
static void miss_tick(void)
{
    struct thread *thread = handler_self();
    if (thread == NULL)
        return;
    __atomic_fetch_add(&thread->owed, __atomic_exchange_n(&thread->carry, 0, __ATOMIC_RELAXED),
                       __ATOMIC_RELAXED);
    __atomic_fetch_add(&thread->owed_wall, __atomic_exchange_n(&thread->carry_wall, 0, __ATOMIC_RELAXED),
                       __ATOMIC_RELAXED);
}

/* A signal that was taken goes back to where it waited: to this thread, or to the process. Only its sender's
 * number may be lost, since a thread can't speak for others to the whole process. */
static void send_again(const siginfo_t *info)
{
    int process = os_process_id();
    if (info->si_code == SI_TKILL)
        os_call4(SYS_rt_tgsigqueueinfo, process, os_thread_id(), ENGINE_SIGNAL, info);
    else if (os_call3(SYS_rt_sigqueueinfo, process, ENGINE_SIGNAL, info) < 0)
        os_call2(SYS_kill, process, ENGINE_SIGNAL);
}

int mask_gives_back(const siginfo_t *info, void *argument)
{
    ucontext_t *context = argument;
    uint64_t mask = word_of(&context->uc_sigmask);
    if (!is_hidden(mask))
        return 0;
    self.hidden = 0;
    mask |= OURS;
    memcpy(&context->uc_sigmask, &mask, sizeof mask);
    if (!self.waiting)
        rerun_check(context);
    send_again(info);
    return 1;
}

static uint64_t nanoseconds(const struct timespec *time)
{
    return (uint64_t)time->tv_sec * 1000000000 + (uint64_t)time->tv_nsec;
}

/* sigtimedwait(2), in which neither a tick is taken for a signal nor a signal for a tick. */
static int take(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
    siginfo_t own;
    struct timespec rest = {0, 0};
    uint64_t end = timeout != NULL ? os_now() + nanoseconds(timeout) : 0;
    const struct timespec *limit = timeout;
    if (real_timedwait == NULL)
        mask_prepare();
    info = info != NULL ? info : &own;
    for (;;) {
        sigset_t given = *set;
        int hidden = is_hidden(present_mask());
        if (hidden)
            sigdelset(&given, ENGINE_SIGNAL);
        self.waiting = hidden;
        int result = real_timedwait(&given, info, limit);
        self.waiting = 0;
        int is_tick = result == ENGINE_SIGNAL && is_a_tick(info);
        if (!is_tick && !(result < 0 && errno == EINTR && hidden && !self.hidden))
            return result;
        if (is_tick)
            miss_tick();
        uint64_t now = os_now(), left = end > now ? end - now : 0;
        rest = (struct timespec){(time_t)(left / 1000000000), (long)(left % 1000000000)};
        limit = timeout != NULL ? &rest : NULL;
    }
}

EXPORTED int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
    return take(set, info, timeout);
}

EXPORTED int sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
    return take(set, info, NULL);
}

EXPORTED int sigwait(const sigset_t *set, int *number)
{
    int before = errno, result;
    while ((result = take(set, NULL, NULL)) < 0 && errno == EINTR)
        ;
    int error = result < 0 ? errno : 0;
    errno = before;
    if (error == 0)
        *number = result;
    return error;
}

EXPORTED int sigpending(sigset_t *set)
{
    static const struct timespec now = {0, 0};
    uint64_t pending = 0, ours = OURS;
    siginfo_t info;
    long result = os_call2(SYS_rt_sigpending, &pending, 8);
    if (result < 0) {
        errno = (int)-result;
        return -1;
    }
    /* The thread may have a tick waiting, and the process a signal of the program. */
    while ((pending & OURS) && is_running()) {
        if (os_call4(SYS_rt_sigtimedwait, &ours, &info, &now, 8) != ENGINE_SIGNAL) {
            pending &= ~OURS;
        } else if (!is_a_tick(&info)) {
            send_again(&info);
            break;
        } else {
            miss_tick();
        }
    }
    memcpy(set, &pending, sizeof pending);
    return 0;
}

EXPORTED int signalfd(int fd, const sigset_t *mask, int flags)
{
    sigset_t given = *mask;
    if (real_signalfd == NULL)
        mask_prepare();
    if (is_everything(word_of(mask)) && is_running())
        sigdelset(&given, ENGINE_SIGNAL);
    return real_signalfd(fd, &given, flags);
}
