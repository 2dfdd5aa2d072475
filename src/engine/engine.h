/* SPDX-License-Identifier: MIT */
/* engine.h - the state that handler, helper, clocks and interface share. One sampler per process.
 *
 * Who writes what: the interface (api.c, under its mutex) the settings before the helper starts and the
 * requests; the helper everything about threads but what stands under "handler"; the handler its own thread's
 * part. Words read across actors are atomic (__atomic builtins) and marked so. */
#ifndef PLAIT_ENGINE_H
#define PLAIT_ENGINE_H

#include "../core/core.h"
#include "../core/error.h"
#include "../core/ring.h"
#include "../native/unwind.h"
#include "../python/python.h"
#include "../record/writer.h"
#include "clock.h"
#include "counter.h"
#include "look.h"
#include "profiler.h"
#include <signal.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ENGINE_SIGNAL = SIGURG, /* ignored by default: a stray one after exec kills nobody */
    ENGINE_THREADS = 16384, /* at one time */
    ENGINE_CODE_SETS = 2048,
    ENGINE_CODE_WAYS = 8, /* one cache line a set */
    ENGINE_DRAIN_NS = 20 * 1000 * 1000,
    ENGINE_DELAY_NS = 150 * 1000, /* poll: how much later a tick may come that had no random place */
};

/* What a signal of ours is for; travels in si_value as ENGINE_TAG | purpose << 16 | slot. */
enum engine_purpose { PURPOSE_TICK = 1, PURPOSE_PUT_OFF = 2, PURPOSE_RESTART = 3, PURPOSE_LOOK = 4 };
#define ENGINE_TAG                  0x506c616900000000ULL
#define ENGINE_TAG_MASK             0xffffffff00000000ULL
#define ENGINE_VALUE(purpose, slot) (ENGINE_TAG | (uint64_t)(purpose) << 16 | (slot))

/* A slot's life: FREE -> CLAIMED (being filled) -> LIVE -> GONE (thread ended; ring still to drain) -> FREE
 */
enum in_wait { IN_WAIT = 1, IN_WAIT_RECORDED = 2 }; /* the latter with a sample in the ring */

enum thread_state { THREAD_FREE, THREAD_CLAIMED, THREAD_LIVE, THREAD_GONE };

struct thread {
    uint32_t state;  /* enum thread_state, atomic */
    uint32_t slot;   /* index in engine.threads */
    uint32_t number; /* in the recording */
    int tid;         /* atomic, for those who search */
    int task;        /* its number in a foreign /proc, 0 = none known */

    /* handler */
    uint64_t pointer;                /* its thread pointer; 0 until first met; atomic */
    uint32_t busy;                   /* handlers that run on it; never given away meanwhile; atomic */
    uint32_t in_wait;                /* enum in_wait of the last look's tick; atomic */
    uint64_t heard;                  /* looks' ticks so far; atomic */
    uint64_t ticks;                  /* handler runs so far; atomic */
    uint64_t carry, carry_wall;      /* what a tick that was put off stands for; atomic */
    uint64_t carry_time;             /* and its time */
    int cpu;                         /* where its last tick ran, -1 none yet; atomic */
    uint32_t tries;                  /* how often it was */
    uint64_t rest_until;             /* os_now() up to which ticks only add to the next sample's weight */
    uint64_t lost, lost_weight;      /* ring full; atomic, taken by the helper */
    uint64_t given;                  /* weight of all ticks so far, lost ones included; atomic */
    uint64_t time;                   /* ns spent in the handler; atomic */
    uint64_t reruns, put_off, calls; /* atomic */
    uint64_t unwound_at;             /* pc where a walk missed a library; atomic, 0 = none */
    struct ring ring;
    struct guard guard;
    struct unwind_cache cache;
    struct native_frame *native; /* scratch of the walks: mapped, touched as far as used */
    struct py_frame *python;
    struct py_segment *segments;
    struct frame *braided;
    uint32_t python_count, native_count; /* frames in `python` and `native` of the last walk */
    size_t mapped;                       /* bytes of this thread's memory, this struct at its start */

    /* helper to handler */
    uint64_t aimed; /* poll: os_now() for which its signal was meant, 0 = none; atomic */
    int aimed_cpu;  /* poll: where the helper was when it sent it, -1 for a timer's; atomic */
    uint64_t owed;  /* weight for the thread's next tick: found missing (perf), all of it (poll); atomic */
    uint64_t owed_wall; /* wall mode: real time that the next look's tick stands for, ns; atomic */

    void *(*begin)(void *); /* a hooked thread's start routine and argument */
    void *argument;
    int mask_flag; /* that of its creator (mask.h) */

    /* clock, helper's but where the clock's file says otherwise */
    struct clock_thread clock;
    struct look look;
    struct counter instructions;
    int timer;          /* one-shot for put-offs, -1 none */
    uint64_t uncharged; /* its CPU clock before it was attached: at a fork's start, 0 at its birth;
                           UINT64_MAX = time before the attaching is not ours to count */
    uint64_t lost_seen, lost_weight_seen;
    uint64_t answered_ticks, answered_cpu; /* at the last look that found new ticks */
    uint64_t suspected; /* roster: CPU clock when it was first seen to block our signal, 0 = not */
    int blocks;         /* it blocks our signal: no clock, its time is lost */
    char name[16];
};

/* STOPPED: the helper has closed the recording; FAILED: it gave up, and a stop will say why. */
enum engine_status {
    ENGINE_OFF,
    ENGINE_STARTING,
    ENGINE_RUNNING,
    ENGINE_STOPPING,
    ENGINE_STOPPED,
    ENGINE_FAILED
};

struct engine {
    uint32_t status;     /* enum engine_status, atomic */
    uint32_t resting;    /* 1: helper up, clocks off; atomic */
    uint32_t generation; /* of starts: slots of an older one are nobody's */

    /* settings, fixed while running */
    uint32_t rate, depth;
    uint64_t period;   /* ns */
    int empty_handler; /* bench: the handler returns at once */
    int only_tid;      /* 0 = all threads */
    int wall;          /* 1: wall mode */
    int overwrite, temporary;
    int in_folder; /* the recording is a child's: follow.c names it */
    const struct clock_ops *clock;
    const char *wanted_clock; /* NULL = choose */
    char output[4096];
    const char *fields[64]; /* header of the recording: key, value, ..., NULL */
    uint64_t start, stop;   /* os_now() */
    uint32_t unborn;        /* 1: armed; the helper's first start will open the recording; atomic */
    uint64_t armed_cpu;     /* CPU time of the process then */

    /* threads */
    struct thread
        *threads[ENGINE_THREADS]; /* atomic pointers; memory of a slot is kept for its next thread */
    uint32_t thread_limit;        /* slots used so far; atomic */
    uint32_t thread_numbers;
    uint32_t fresh;   /* a hook added a thread; atomic */
    uint32_t scanned; /* 1: threads found from now on were born under our clock; atomic */

    /* this process */
    int64_t data_offset; /* python.h */
    uint64_t main_stack_end;
    int pid;
    int starter; /* the thread that asked for the start */
    struct py_runtime python;
    int python_state; /* 1 attached, 0 absent, -1 refused */
    struct error python_error;
    struct libs_state *libs;
    uint32_t missed;   /* a walk met code that is not in the snapshot, or has no table yet; atomic */
    uint64_t unmapped; /* guard generation; atomic */
    uint64_t codes[ENGINE_CODE_SETS]
                  [ENGINE_CODE_WAYS]; /* keys copied; atomic, lossy: a second copy harms nobody */
    int64_t memory_delta;             /* bytes not yet charged; atomic */

    /* helper */
    uint32_t helper_tid; /* 0 = none; cleared by the kernel */
    int helper_last;     /* number of the helper that was started last, until it is joined; atomic */
    uint32_t bell;       /* grows to wake the helper; atomic */
    uint32_t detach;     /* the helper shall end and leave everything to be taken up again; atomic */
    uint32_t drain_asked, drain_done; /* atomic, the latter with a wake */
    uint32_t ready;                   /* 1 up, 2 failed; atomic, with a wake */
    struct writer *writer;
    struct error error;                       /* of the helper, once `ready` is 2 or status FAILED */
    uint64_t helper_time, helper_time_before; /* ns of CPU: of the present helper, of those before it */
    int prompt;           /* 1: it gets its CPU as soon as it wakes, so its looks come at any moment */
    uint32_t clocks_off;  /* 1: no thread ticks (resting) */
    int restart_timer;    /* below zero: none */
    uint32_t restart_set; /* 1: its signal is yet to come; atomic */
    uint64_t forked_cpu;  /* CPU time of the process at its last fork */
    int signal_lost;      /* 1: the handler is not ours any more; said once */
    int counting;         /* 1: threads count instructions */
    const char *executes; /* what an exec is about to put in our place, NULL = none */
    const char *errors;   /* preload: file that gets the line when start or stop fails, NULL none */
    uint64_t handler_time, reruns, put_off, calls; /* of threads that have ended */
};

extern struct engine engine;

/* ---- threads.c ---- */

/* A claimed slot with its memory, or NULL (no memory, no slot). Any thread but the handler. */
struct thread *threads_claim(void);
/* The claimed slot now stands for the thread `tid`. */
void threads_live(struct thread *thread, int tid);
/* The same on the thread itself, at its start. */
void threads_begin(struct thread *thread, int tid);
void threads_release(struct thread *thread);
/* The slot's thread, or NULL. Async-signal-safe. */
struct thread *threads_at(uint32_t slot);
/* The live slot of the thread `tid`, but for `but`; or NULL. Async-signal-safe. */
struct thread *threads_of_tid(int tid, const struct thread *but);
/* At the helper's start: whose numbers /proc has. */
void threads_look_at_proc(void);
/* Reads the task folder: new threads get slots, ended ones become GONE. Helper. */
void threads_scan(void);
uint32_t threads_in_task_folder(void);
void threads_reset(void);
/* The put-offs' timers of all slots. With the interface's lock held, when no handler runs any more. */
void threads_drop_timers(void);
/* Deletes those dropped more than a second ago. With the lock held, no helper running. */
void threads_sweep(uint64_t now);
void threads_after_fork(void); /* in the child */

/* ---- handler.c ---- */

/* Installs the handler for ENGINE_SIGNAL (once); 0 or negative errno. */
int handler_install(void);
void handler_on_signal(int signal, siginfo_t *info, void *context);
/* The thread this call runs on, by its thread-local word; set by hooks and by the first tick. */
struct thread *handler_self(void);
void handler_set_self(struct thread *thread);

/* ---- helper.c ---- */
void helper_main(void *argument); /* the thread */
/* Writes all that the thread's ring holds. Helper. */
void helper_drain_thread(struct thread *thread);

/* ---- roster.c: the helper's ---- */
/* At the helper's start; `first`: of the recording. */
void roster_begin(int first);
/* Finds threads that came and went, about once a second and when their number has changed. */
void roster_scan(uint64_t now);
void roster_attach_all(void);
/* `keep_time`: the sampler goes on (a fork, another clock), and what its threads use meanwhile is counted. */
void roster_detach_all(int keep_time);
/* Before the end: what threads that can't tick have used. */
void roster_last_look(void);
/* The clock's ticks on the thread, and looks where they are needed; 0 or negative errno. */
int roster_start_clock(struct thread *thread);
void roster_stop_clock(struct thread *thread);
/* Gives the thread its one-shot, if it has none: 1 when it has one now. Its signal's purpose is
 * PURPOSE_PUT_OFF. */
int roster_give_timer(struct thread *thread);
/* The thread's number in /proc. */
int roster_task(const struct thread *thread);
/* Nobody reads the thread's mapped pages any more: 1, or 0 where its handler is stuck (stopped, out of CPU)
 * for longer than `patience` ns. */
int roster_is_idle(const struct thread *thread, uint64_t patience);
/* CPU time whose tick never came, since its thread or the recording ended first. */
void roster_write_off(struct thread *thread, const char *cause);

/* ---- life.c ---- */
int helper_start(void);    /* with the lock held: starts the raw thread where none is; 0 or negative errno */
void helper_restart(void); /* the same after a fork, while running; async-signal-safe */
void helper_ring(void);    /* wakes it */
void helper_join(void);    /* wakes it, and waits until it has ended, which something must have told it to */
void helper_detach(void);  /* ends it for a fork: everything flushed; none can start until helper_release */
void helper_release(void);
/* In 10 ms of CPU time, by a timer's signal, if that is not under way; 0 or negative errno;
 * async-signal-safe. */
int helper_restart_later(void);
void helper_timer_fired(void); /* the signal: handler only */

/* ---- api.c ---- */

/* The lock of the interface, taken over a fork. */
void api_lock(void);
void api_unlock(void);
void api_after_fork(void); /* in the child: nothing runs, nothing is open, the recording is the parent's */
/* Starts with the lock held: 0 or the code in *error. */
int api_start_locked(const struct profiler_options *options, struct error *error);
int api_stop_locked(struct error *error);
/* Everything of a start but the helper: the sampler counts as running, and begins its recording once the
 * process has used 10 ms of CPU time, or as soon as it is asked for anything. With the lock held. */
int api_arm_locked(const struct profiler_options *options, struct error *error);
/* The same in the child of a fork, with the settings as they are and the output set. */
void api_arm_forked(void);
/* An armed sampler begins now: 0 or a code. With the lock held. */
int api_begin_locked(struct error *error);
/* Around an exec in this process's place: everything is written out and the helper ended (1; 0 = nothing to
 * do); it goes on where the exec failed. The lock is held in between; errno is kept. In the child of a vfork
 * too, where they do nothing. */
int api_before_exec(const char *path);
void api_exec_failed(void);
/* The process ends without destructors; in any state, also in a signal handler. */
void api_end_now(void);
/* Everything sampled up to now is in the recording when this returns. */
void api_drain(void);
/* Leaves the line in the file that the preloading side named, if it did. */
void api_say(const char *text);
int api_fail(const struct error *error); /* keeps it for profiler_error(), returns its code */

/* ---- guest.c: what the program sees of us ---- */

/* Once per process, before the first start. */
void guest_prepare(void);
/* Where the library was not preloaded: points the modules' slots at the interposers. At each start, since
 * modules come and go. */
void guest_redirect(void);
/* Installs our handler, keeping the program's disposition of ENGINE_SIGNAL as it was before. */
int guest_take_signal(void);

/* The program's own disposition of ENGINE_SIGNAL gets a signal that is not ours. Async-signal-safe. */
void guest_pass_on(int signal, siginfo_t *info, void *context);
/* The lock over what is kept of the program's dispositions, with every signal blocked: `mask` takes the
 * caller's and gives it back. Not recursive; held for some instructions; in the program's handlers too, not
 * in ours. */
void guest_hold(uint64_t *mask);
void guest_let_go(const uint64_t *mask);
/* An interposer: found by the program before libc's own function. */
#define EXPORTED __attribute__((visibility("default")))
/* Fills the function pointer at `function` with libc's own function, NULL where there is none. */
void guest_resolve(const char *name, void *function);
/* The real functions behind the interposers. */
int guest_real_sigaction(int signal, const struct sigaction *action, struct sigaction *old);

/* ---- profiles.c ---- */
void profiles_after_fork(void);
/* The sampler was started by profiler_start: it does not rest when the last profile has ended. */
void profiles_leave_running(void);
/* 1 while a profile not yet forgotten has its samples in the recording at `path`. With the lock held. */
int profiles_need(const char *path);
/* At the end of the process: temporary recordings that were kept for profiles go. With the lock held. */
void profiles_forget_all(void);

#endif
