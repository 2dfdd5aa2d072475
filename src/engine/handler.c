/* SPDX-License-Identifier: MIT */
/* handler.c - the tick, on the interrupted thread.
 *
 * Rules, checked by a test over this object's imports:
 *   - no system call but the guard's probe of a page met for the first time, the put-off below, and what a
 * wait that was interrupted needs (rerun); warm, a tick makes none;
 *   - no lock, no allocation, no stdio, no errno, no lazy thread-local (one word, initial-exec), no symbol
 * that is still to be bound (linked -z now);
 *   - every loop bounded; buffers in the thread's own mapped memory; under 2 KB of stack;
 *   - the frames below cannot change while it runs: it stands on them.
 * The signal mask is full meanwhile, so a handler is never interrupted by another. */
#include "engine.h"

#include "../braid.h"
#include "../greenlet.h"
#include "../os/os.h"
#include "partial.h"
#include "rerun.h"
#include "wrap.h"
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>

/* A put-off must outlast the way back to the program, or it finds the same instruction: 10 us, doubled each
 * time. */
enum { PUT_OFF_NS = 10000, PUT_OFF_TRIES = 6, TORN_TRIES = 3 };

/* Stacks larger than this are not believed when only the thread pointer tells their end. */
#define STACK_SPAN_MAX (1ULL << 30)

static __thread struct thread *self_thread;

struct thread *handler_self(void)
{
    return self_thread;
}

void handler_set_self(struct thread *thread)
{
    self_thread = thread;
}

static uint64_t load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void add(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, load(word) + value, __ATOMIC_RELAXED);
}

/* ---- whose tick ---- */

static int is_self(struct thread *thread)
{
    uint64_t known = load(&thread->pointer), pointer = (uint64_t)(uintptr_t)__builtin_thread_pointer();
    if (known != 0 || thread->tid != os_thread_id())
        return known == pointer;
    __atomic_store_n(&thread->pointer, pointer, __ATOMIC_RELAXED); /* asked once per thread */
    add(&thread->calls, 1);
    return 1;
}

/* 1 when this thread may write to the slot, until leave(). A signal can be late: its slot may be nobody's by
 * now, or another thread's. `busy` stands before the look at the state, and a slot is not given away while
 * busy, so one of the two sides sees the other. */
static int enter(struct thread *thread)
{
    __atomic_fetch_add(&thread->busy, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&engine.status, __ATOMIC_SEQ_CST) == ENGINE_RUNNING &&
        __atomic_load_n(&thread->state, __ATOMIC_SEQ_CST) == THREAD_LIVE && is_self(thread))
        return 1;
    __atomic_fetch_sub(&thread->busy, 1, __ATOMIC_RELEASE);
    return 0;
}

static void leave(struct thread *thread)
{
    __atomic_fetch_sub(&thread->busy, 1, __ATOMIC_RELEASE);
}

/* An event's signal tells its descriptor, which is one of the helper's. */
static struct thread *enter_by_event(int fd)
{
    struct thread *thread = self_thread;
    if (thread != NULL && threads_at(thread->slot) == thread &&
        __atomic_load_n(&thread->clock.fd, __ATOMIC_ACQUIRE) == fd)
        return enter(thread) ? thread : NULL;
    uint32_t limit = __atomic_load_n(&engine.thread_limit, __ATOMIC_ACQUIRE);
    for (uint32_t slot = 0; slot < limit; slot++) {
        thread = threads_at(slot);
        if (thread != NULL && __atomic_load_n(&thread->clock.fd, __ATOMIC_ACQUIRE) == fd && enter(thread))
            return thread;
    }
    return NULL;
}

/* A signal for which the kernel's queue had no room (RLIMIT_SIGPENDING) comes without its value, as if nobody
 * had sent it. It is a tick where one was sent not long ago. */
static struct thread *enter_without_value(void)
{
    enum { LATE_NS = 100 * 1000 * 1000 };
    struct thread *thread = self_thread;
    if (engine.clock != &clock_poll && !engine.wall)
        return NULL;
    if (thread == NULL || threads_at(thread->slot) != thread)
        thread = threads_of_tid(os_thread_id(), NULL);
    if (thread == NULL || (load(&thread->owed) == 0 && load(&thread->owed_wall) == 0 &&
                           load(&thread->aimed) + LATE_NS < os_now()))
        return NULL;
    return enter(thread) ? thread : NULL;
}

/* The purpose of a signal that is ours, else 0; and the thread whose tick it is, entered, NULL when it came
 * too late for anybody. */
static unsigned purpose_of(const siginfo_t *info, struct thread **thread)
{
    uint64_t value = (uint64_t)(uintptr_t)info->si_value.sival_ptr;
    *thread = NULL;
    if (info->si_code == SI_QUEUE || info->si_code == SI_TIMER) {
        if ((value & ENGINE_TAG_MASK) != ENGINE_TAG)
            return 0;
        unsigned purpose = (unsigned)(value >> 16) & 0xff;
        struct thread *aimed = purpose == PURPOSE_RESTART ? NULL : threads_at((uint32_t)(value & 0xffff));
        if (aimed != NULL && enter(aimed))
            *thread = aimed;
        return purpose;
    }
    if (info->si_code == SI_USER && info->si_pid == 0 && info->si_uid == 0)
        return (*thread = enter_without_value()) != NULL ? PURPOSE_LOOK : 0;
    if (info->si_code < POLL_IN || info->si_code > POLL_HUP)
        return 0;
    if ((*thread = enter_by_event(info->si_fd)) != NULL)
        return PURPOSE_TICK;
    /* Of an event that is closed by now, or of a descriptor for which the program asked for this signal. */
    return os_call3(SYS_fcntl, info->si_fd, F_GETSIG, 0) == ENGINE_SIGNAL ? 0 : PURPOSE_TICK;
}

/* ---- where the stack may be read ---- */

static void span_of(const struct thread *thread, const struct regs *regs, uint64_t pointer,
                    const ucontext_t *context, struct stack_span *span)
{
    /* A thread's descriptor lies just above its stack; the main thread's lies far below, among the mappings.
     * On an alternate stack, which may lie anywhere, the stack pointer does not tell the two apart. */
    uint64_t high = regs->sp < pointer ? pointer : engine.main_stack_end;
    int inside = regs->sp < high && high - regs->sp < STACK_SPAN_MAX;
    span->low = regs->sp;
    span->high = inside ? high : regs->sp;
    span->alt_low = span->alt_high = 0;
    if (context == NULL || (context->uc_stack.ss_flags & SS_DISABLE) || context->uc_stack.ss_size == 0)
        return;
    uint64_t alternate = (uint64_t)(uintptr_t)context->uc_stack.ss_sp;
    if (regs->sp >= alternate && regs->sp < alternate + context->uc_stack.ss_size) {
        high = thread->tid == engine.pid ? engine.main_stack_end : pointer;
        span->alt_low = alternate;
        span->alt_high = alternate + context->uc_stack.ss_size;
        span->low = high > STACK_SPAN_MAX ? high - STACK_SPAN_MAX : 0;
        span->high = high;
    }
}

/* ---- one stack ---- */

/* Between two ticks at 1 kHz the program evicts nearly everything that the last one read, and the walks that
 * follow are chains of dependent loads. Most frames are still those of the last tick: asking now for all that
 * they led to makes the misses overlap. Only a hint: a wrong address costs nothing. */
static void warm_up(const struct thread *thread)
{
    enum { FRAMES = 48 };
    uint32_t python = thread->python_count < FRAMES ? thread->python_count : FRAMES;
    for (uint32_t i = 0; i < python; i++) {
        uint64_t code = thread->python[i].code;
        __builtin_prefetch((const void *)(uintptr_t)code);
        __builtin_prefetch((const void *)(uintptr_t)(code + 64));
        __builtin_prefetch(engine.codes[thread->python[i].key % ENGINE_CODE_SETS]);
        uint64_t lines = thread->python[i].lines;
        if (lines != 0) {
            __builtin_prefetch((const void *)(uintptr_t)(code + 128));
            __builtin_prefetch((const void *)(uintptr_t)lines);
            __builtin_prefetch((const void *)(uintptr_t)(lines + 64));
        }
    }
    uint32_t native = thread->native_count < FRAMES ? thread->native_count : FRAMES;
    for (uint32_t i = 0; i < native; i++) {
        __builtin_prefetch(&thread->cache.entry[unwind_cache_slot(thread->native[i].pc - 1)]);
        __builtin_prefetch((const void *)(uintptr_t)(thread->native[i].sp - 8));
    }
    const unsigned char *next = thread->ring.bytes + (thread->ring.head & (thread->ring.size - 1));
    for (uint32_t line = 0; line < FRAMES * sizeof(struct frame) / 64; line++)
        __builtin_prefetch(next + 64UL * line, 1);
}

/* The helper shall look at the maps again, at its next wake. */
static void miss(struct thread *thread, uint64_t pc)
{
    __atomic_store_n(&thread->unwound_at, pc, __ATOMIC_RELAXED);
    __atomic_store_n(&engine.missed, 1, __ATOMIC_RELEASE);
}

struct stacks {
    struct native_stack native;
    struct py_stack python;
    int has_python;
};

/* Both walks; -1 when the tick is to be put off. */
static int take_stacks(struct thread *thread, const struct regs *regs, const ucontext_t *context,
                       int last_try, struct stacks *stacks, uint32_t *flags)
{
    uint64_t pointer = (uint64_t)(uintptr_t)__builtin_thread_pointer();
    struct py_stack *python = &stacks->python;
    struct native_stack *native = &stacks->native;
    *python = (struct py_stack){.frames = thread->python,
                                .segments = thread->segments,
                                .frame_capacity = STACK_WALK_MAX,
                                .segment_capacity = STACK_WALK_MAX};
    enum py_status status = PY_NONE;
    if (engine.python_state == 1)
        status = py_walk(&engine.python, pointer, regs->sp, regs->pc, last_try, &thread->guard, python);
    if (status == PY_PUT_OFF)
        return -1;
    stacks->has_python = status == PY_OK;
    thread->python_count = status == PY_OK ? python->frame_count : 0;

    struct stack_span span;
    span_of(thread, regs, pointer, context, &span);
    *native = (struct native_stack){.frames = thread->native, .capacity = NATIVE_WALK_MAX};
    const struct libs *libs = libs_current(engine.libs);
    unwind_stack(libs, &thread->cache, regs, &span, native);
    int switching = greenlet_trim(libs, &engine.python, python, native) == GREENLET_SWITCHING;
    /* A chain torn for another reason may be whole soon; a switch takes its time, and that is to be seen. */
    if (status == PY_TORN && !switching && !last_try && thread->tries < TORN_TRIES)
        return -1;
    stacks->has_python &= !switching;
    thread->native_count = native->count;
    if (native->missed != 0)
        miss(thread, native->missed);

    *flags |= native->end != UNWIND_COMPLETE ? SAMPLE_NATIVE_CUT : 0;
    *flags |= native->guessed ? SAMPLE_GUESSED : 0;
    *flags |= python->jit ? SAMPLE_JIT : 0;
    *flags |= native->end == UNWIND_LIMIT || python->cut ? SAMPLE_WALK_LIMIT : 0;
    *flags |= status == PY_NONE ? SAMPLE_NO_PYTHON : 0;
    if (status == PY_TORN || (status == PY_OK && switching))
        *flags |= python->in_transit || switching ? SAMPLE_IN_TRANSIT : SAMPLE_PYTHON_TORN;
    return 0;
}

/* ---- code objects, copied the first time they are met ---- */

static int code_known(uint64_t key)
{
    const uint64_t *set = engine.codes[key % ENGINE_CODE_SETS];
    for (unsigned way = 0; way < ENGINE_CODE_WAYS; way++)
        if (load(&set[way]) == key)
            return 1;
    return 0;
}

static void code_remember(uint64_t key)
{
    uint64_t *set = engine.codes[key % ENGINE_CODE_SETS];
    unsigned way = 0;
    while (way < ENGINE_CODE_WAYS - 1 && load(&set[way]) != 0)
        way++;
    if (load(&set[way]) != 0)
        way = (unsigned)(key >> 32) % ENGINE_CODE_WAYS;
    __atomic_store_n(&set[way], key, __ATOMIC_RELAXED);
}

/* Of a stack that will be cut only both ends are looked at. */
static void copy_codes(struct thread *thread)
{
    uint32_t count = thread->python_count;
    for (uint32_t i = 0; i < count; i++) {
        if (i == engine.depth && count > 2 * engine.depth)
            i = count - engine.depth;
        const struct py_frame *frame = &thread->python[i];
        if (!code_known(frame->key) &&
            py_code_copy(&engine.python, frame, &thread->guard, &thread->ring) == 1)
            code_remember(frame->key);
    }
}

/* ---- the sample ---- */

/* What a tick stands for: ns of CPU time, and in wall mode of real time. */
struct amount {
    uint64_t cpu, wall;
};

static void lose(struct thread *thread, const struct amount *amount)
{
    add(&thread->lost, 1);
    add(&thread->lost_weight, amount->cpu);
}

/* The braided stack into the sample, straight where it fits; of a deeper one both ends. */
static void braid_into(struct thread *thread, const struct stacks *stacks, struct sample *sample,
                       uint32_t *flags)
{
    uint32_t most = stacks->native.count + stacks->python.frame_count;
    int fits = most <= engine.depth;
    struct frame *out = fits ? sample->frames : thread->braided;
    uint32_t depth = braid(&stacks->native, &engine.python, stacks->has_python ? &stacks->python : NULL, out,
                           NATIVE_WALK_MAX + STACK_WALK_MAX, flags);
    uint32_t count = depth > engine.depth ? engine.depth : depth;
    uint32_t near = depth == count ? count : count - count / 2;
    if (!fits) {
        memcpy(sample->frames, out, near * sizeof(struct frame));
        memcpy(sample->frames + near, out + (depth - (count - near)), (count - near) * sizeof(struct frame));
    }
    if (depth > count)
        *flags |= SAMPLE_STACK_CUT;
    sample->depth = depth;
    sample->count = count;
    sample->cut_at = near;
    sample->zero = 0;
}

/* 1, or 0 where the ring is full. */
static int record(struct thread *thread, const struct stacks *stacks, uint32_t flags, uint64_t time,
                  const struct amount *amount, const struct rerun_call *call)
{
    uint32_t most = stacks->native.count + stacks->python.frame_count;
    uint32_t room = most < engine.depth ? most : engine.depth;
    struct sample *sample =
        ring_reserve(&thread->ring, (uint32_t)(sizeof(struct sample) + room * sizeof(struct frame)));
    if (sample == NULL) {
        lose(thread, amount);
        return 0;
    }
    braid_into(thread, stacks, sample, &flags);
    sample->record.kind = RECORD_SAMPLE;
    sample->record.flags = (uint16_t)flags;
    sample->time = time;
    sample->weight = amount->cpu;
    sample->wall = amount->wall;
    sample->state = call->number >= 0 ? STATE_WAITING : 0;
    if (engine.wall && engine.python_state == 1)
        sample->state |= (uint16_t)py_gil(&engine.python, stacks->python.thread,
                                          call->number == SYS_futex ? call->argument : 0, &thread->guard);
    sample->call = (uint16_t)(call->number + 1);
    sample->argument = (uint32_t)call->argument;
    sample->memory = 0;
    if (__atomic_load_n(&engine.memory_delta, __ATOMIC_RELAXED) != 0)
        sample->memory = __atomic_exchange_n(&engine.memory_delta, 0, __ATOMIC_RELAXED);
    sample->instructions = counter_delta(&thread->instructions);
    ring_commit(&thread->ring, &sample->record,
                (uint32_t)(sizeof(struct sample) + sample->count * sizeof(struct frame)));
    return 1;
}

/* Arms the thread's one-shot: the tick comes back after `delay` ns (below a second), with what it stands for.
 */
static int put_off(struct thread *thread, uint64_t time, const struct amount *amount, uint64_t delay)
{
    if (thread->timer < 0 || thread->tries >= PUT_OFF_TRIES)
        return 0;
    struct itimerspec soon = {{0, 0}, {0, (long)delay}};
    if (os_call4(SYS_timer_settime, thread->timer, 0, &soon, 0) < 0)
        return 0;
    __atomic_store_n(&thread->carry, amount->cpu, __ATOMIC_RELAXED);
    __atomic_store_n(&thread->carry_wall, amount->wall, __ATOMIC_RELAXED);
    thread->carry_time = time;
    thread->tries++;
    add(&thread->put_off, 1);
    add(&thread->calls, 1);
    return 1;
}

/* A signal that waited for the thread to get a CPU, or that was sent by a helper which had just taken this
 * CPU from it, meets the thread where the scheduler had stopped it, mostly at the end of a system call: no
 * random place. The delay after which the thread has moved on, or 0 for a tick in time. */
static uint64_t stale_for(const struct thread *thread, uint64_t now)
{
    enum { STALE_NS = 150 * 1000, STALE_TRIES = 4 };
    uint64_t aimed = __atomic_load_n(&thread->aimed, __ATOMIC_RELAXED);
    if (aimed == 0 || thread->tries >= STALE_TRIES ||
        (now < aimed + STALE_NS && thread->cpu != __atomic_load_n(&thread->aimed_cpu, __ATOMIC_RELAXED)))
        return 0;
    uint64_t longest = engine.period / 2 < ENGINE_DELAY_NS ? engine.period / 2 : ENGINE_DELAY_NS;
    return longest / 30 + (now * 0x9e3779b97f4a7c15ULL >> 32) * longest / UINT32_MAX;
}

static uint64_t take(uint64_t *word)
{
    return load(word) != 0 ? __atomic_exchange_n(word, 0, __ATOMIC_RELAXED) : 0;
}

static void amount_of(struct thread *thread, const siginfo_t *info, unsigned purpose, struct amount *amount,
                      uint32_t *flags)
{
    const struct clock_ops *clock = engine.clock;
    *amount = (struct amount){take(&thread->carry), take(&thread->carry_wall)};
    if (amount->cpu != 0 || amount->wall != 0)
        *flags |= SAMPLE_PUT_OFF;
    if (purpose == PURPOSE_TICK && clock != NULL)
        amount->cpu += clock->weight(thread, info);
    else
        amount->wall += take(&thread->owed_wall);
    if (purpose != PURPOSE_LOOK || clock->by_time)
        amount->cpu += take(&thread->owed);
    if (amount->cpu > engine.period + engine.period / 2)
        *flags |= SAMPLE_LATE;
}

/* Runs an interrupted wait again, and says whether there was one. */
static int check_wait(struct thread *thread, const struct regs *regs, void *context, uint64_t now,
                      struct rerun_call *call, uint32_t *flags)
{
    enum rerun rerun = rerun_check_unless(context, wrap_is_own(regs->pc, regs->sp, now));
    if (rerun == RERUN_AGAIN) {
        *flags |= SAMPLE_RERUN;
        add(&thread->reruns, 1);
    }
    if (rerun != RERUN_NONE)
        add(&thread->calls, rerun != RERUN_RESTARTED);
    *call = (struct rerun_call){.number = -1};
    if (rerun != RERUN_NONE)
        rerun_call(context, call);
    return rerun != RERUN_NONE;
}

static void tick(struct thread *thread, const siginfo_t *info, void *context, unsigned purpose, uint64_t now)
{
    uint32_t flags = 0;
    struct amount amount;
    uint64_t time = load(&thread->carry) != 0 || load(&thread->carry_wall) != 0 ? thread->carry_time : now;
    amount_of(thread, info, purpose, &amount, &flags);
    warm_up(thread);
    struct regs regs;
    struct rerun_call call;
    unwind_regs_of_signal(&regs, context);
    partial_origin(context, &regs);
    int waits = check_wait(thread, &regs, context, now, &call, &flags);
    if (purpose != PURPOSE_TICK)
        __atomic_store_n(&thread->in_wait, waits ? IN_WAIT : 0, __ATOMIC_RELAXED);
    if (waits && engine.clock->by_time) { /* what the thread used before is not the wait's */
        if (!thread->clock.attached)      /* around a fork no account knows of it: it is still owed */
            __atomic_fetch_add(&thread->owed, amount.cpu, __ATOMIC_RELAXED);
        amount.cpu = 0;
    }
    if (amount.cpu == 0 && amount.wall == 0) {
        thread->tries = 0; /* among others a put-off's timer after its tick was taken with another one */
        return;
    }
    if (now < thread->rest_until) {
        thread->tries = 0;
        __atomic_fetch_add(&thread->owed, amount.cpu, __ATOMIC_RELAXED);
        __atomic_fetch_add(&thread->owed_wall, amount.wall, __ATOMIC_RELAXED);
        return;
    }

    int looked = amount.wall != 0 || engine.clock->by_time; /* a look's, not a tick of CPU time */
    uint64_t stale = looked && !waits ? stale_for(thread, now) : 0;
    if (stale != 0 && put_off(thread, time, &amount, stale)) {
        __atomic_store_n(&thread->aimed, now + stale, __ATOMIC_RELAXED);
        __atomic_store_n(&thread->aimed_cpu, -1, __ATOMIC_RELAXED);
        return;
    }
    struct stacks stacks;
    if (take_stacks(thread, &regs, context, 0, &stacks, &flags) < 0) {
        /* The chain is being relinked and will be whole in nanoseconds. */
        if (put_off(thread, time, &amount, (uint64_t)PUT_OFF_NS << thread->tries))
            return;
        take_stacks(thread, &regs, context, 1, &stacks, &flags);
    }
    thread->tries = 0;
    add(&thread->given, amount.cpu);
    copy_codes(thread);
    if (record(thread, &stacks, flags, time, &amount, &call) && waits && purpose != PURPOSE_TICK)
        __atomic_store_n(&thread->in_wait, IN_WAIT_RECORDED, __ATOMIC_RELAXED);
}

/* The walk of a very deep stack can take longer than a period; with a tick after each the program would stand
 * still. What comes while the thread rests is the next sample's weight. */
static void rest(struct thread *thread, uint64_t begin)
{
    enum { DEEP = 1000, REST = 8, PART = 8 };
    uint64_t now = os_now(), took = now - begin;
    add(&thread->time, took);
    if (thread->native_count + thread->python_count > DEEP && took > engine.period / PART)
        thread->rest_until = now + REST * took;
}

void handler_on_signal(int signal, siginfo_t *info, void *context)
{
    uint64_t begin = os_now();
    struct thread *thread;
    unsigned purpose = purpose_of(info, &thread);
    if (purpose == 0) {
        guest_pass_on(signal, info, context);
        return;
    }
    if (purpose == PURPOSE_RESTART)
        helper_timer_fired();
    if (thread == NULL) { /* it has interrupted the program all the same */
        rerun_check(context);
        return;
    }
    self_thread = thread;
    __atomic_store_n(&thread->cpu, os_cpu(), __ATOMIC_RELAXED);
    if (engine.empty_handler)
        rerun_check(context);
    else
        tick(thread, info, context, purpose, begin);
    rest(thread, begin);
    if (purpose != PURPOSE_TICK)
        __atomic_store_n(&thread->heard, load(&thread->heard) + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&thread->ticks, load(&thread->ticks) + 1, __ATOMIC_RELEASE);
    leave(thread);
}

int handler_install(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler_on_signal;
    action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    memset(&action.sa_mask, 0xff, sizeof action.sa_mask);
    return guest_real_sigaction(ENGINE_SIGNAL, &action, NULL);
}
