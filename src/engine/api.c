/* SPDX-License-Identifier: MIT */
/* api.c - start, stop and state: include/profiler.h over the engine. One mutex orders all calls; the handler
 * and the helper never take it. */
#include "engine.h"

#include "../os/os.h"
#include "follow.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define VERSION "0.1.0"

struct engine engine; /* zero: 300 KB that the file need not hold */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char field_text[8192];

void api_lock(void)
{
    pthread_mutex_lock(&mutex);
    /* A child that came without the fork handlers (_Fork, clone). */
    if (engine.status != ENGINE_OFF && engine.pid != os_process_id()) {
        api_after_fork();
        engine.libs = NULL; /* its helper may have been at work on it */
    }
}

void api_unlock(void)
{
    pthread_mutex_unlock(&mutex);
}

int api_fail(const struct error *error)
{
    return error_publish(error);
}

const char *profiler_error(void)
{
    static struct error shown; /* not per thread: a loaded library gets little static thread-local memory */
    error_last(&shown);
    return shown.text;
}

const char *profiler_version(void)
{
    return VERSION;
}

/* ---- settings ---- */

static int same(const char *asked, const char *running)
{
    return asked == NULL || strcmp(asked, "auto") == 0 || strcmp(asked, running) == 0;
}

static int check_options(const struct profiler_options *o, struct error *error)
{
    if (o->size != sizeof *o)
        return error_set(error, PROFILER_BAD_OPTION, 0, "options.size is not the size of this version");
    if (o->rate > 20000)
        return error_set(error, PROFILER_BAD_OPTION, 0, "rate %d Hz: it must be 1 to 20000", (int)o->rate);
    if (o->depth == 1 || o->depth > STACK_DEPTH_MAX)
        return error_set(error, PROFILER_BAD_OPTION, 0, "depth %d: it must be 2 to %d", (int)o->depth,
                         STACK_DEPTH_MAX);
    if (!same(o->clock, "perf") && !same(o->clock, "poll") && !same(o->clock, "posix"))
        return error_set(error, PROFILER_BAD_OPTION, 0, "clock %s: there are perf, poll, posix and auto",
                         o->clock);
    if (!same(o->mode, "cpu") && !same(o->mode, "wall"))
        return error_set(error, PROFILER_BAD_OPTION, 0, "mode %s: there are cpu and wall", o->mode);
    if (o->threads != NULL && strcmp(o->threads, "all") != 0 && strcmp(o->threads, "current") != 0)
        return error_set(error, PROFILER_BAD_OPTION, 0, "threads %s: there are all and current", o->threads);
    return 0;
}

static int set_output(const struct profiler_options *o, struct error *error)
{
    static unsigned counter;
    engine.temporary = o->output == NULL;
    engine.overwrite = o->overwrite != 0;
    const char *folder = getenv("TMPDIR");
    int length;
    if (o->output != NULL && o->output[0] == '/')
        length = snprintf(engine.output, sizeof engine.output, "%s", o->output);
    else if (o->output != NULL) {
        char here[2048];
        if (getcwd(here, sizeof here) == NULL)
            return error_set(error, PROFILER_FILE, errno, "getcwd, for the path of the recording");
        length = snprintf(engine.output, sizeof engine.output, "%s/%s", here, o->output);
    } else {
        length = snprintf(engine.output, sizeof engine.output, "%s/plait-%d-%llx-%u.plait",
                          folder != NULL && folder[0] ? folder : "/tmp", (int)getpid(),
                          (unsigned long long)os_wall(), counter++);
    }
    if (length < 0 || (size_t)length >= sizeof engine.output)
        return error_set(error, PROFILER_FILE, ENAMETOOLONG, "the path of the recording");
    return 0;
}

static const char *argv_text(char *to, size_t size)
{
    long length = os_read_file("/proc/self/cmdline", to, size - 1);
    if (length <= 0)
        length = 0;
    while (length > 0 && to[length - 1] == 0)
        length--;
    for (long i = 0; i < length; i++)
        if (to[i] == 0)
            to[i] = '\x1f'; /* the unit separator: arguments may hold anything else */
    to[length] = 0;
    return to;
}

static char *next_text; /* room left in field_text */

static void field(const char *key, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void field(const char *key, const char *format, ...)
{
    unsigned at = 0;
    while (engine.fields[at] != NULL)
        at += 2;
    size_t room = (size_t)(field_text + sizeof field_text - next_text);
    va_list list;
    va_start(list, format);
    int length = vsnprintf(next_text, room, format, list);
    va_end(list);
    if (length < 0 || (size_t)length >= room || at + 3 > sizeof engine.fields / sizeof *engine.fields)
        return;
    engine.fields[at] = key;
    engine.fields[at + 1] = next_text;
    engine.fields[at + 2] = NULL;
    next_text += length + 1;
}

static void describe(void)
{
    static char arguments[4096];
    struct utsname host;
    memset(engine.fields, 0, sizeof engine.fields);
    next_text = field_text;
    field("plait", "%s", VERSION);
    field("pid", "%d", engine.pid);
    field("parent", "%d", (int)os_call0(SYS_getppid));
    field("started", "%llu", (unsigned long long)os_wall());
    field("mode", engine.wall ? "wall" : "cpu");
    field("rate", "%u", engine.rate);
    field("depth", "%u", engine.depth);
    field("argv", "%s", argv_text(arguments, sizeof arguments));
    if (uname(&host) == 0) {
        field("host", "%s", host.nodename);
        field("system", "%s %s %s", host.sysname, host.release, host.machine);
    }
    if (engine.python_state != 0)
        field("python", "%u.%u.%u", engine.python.hex >> 24, engine.python.hex >> 16 & 0xff,
              engine.python.hex >> 8 & 0xff);
    if (engine.python_state < 0)
        field("note", "%s", engine.python_error.text);
}

/* ---- the interpreter ---- */

static uint64_t address_of(const char *name)
{
    return (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, name);
}

static void find_python(void)
{
    struct py_symbols symbols = {.runtime = address_of("_PyRuntime"),
                                 .version = address_of("Py_Version"),
                                 .get_version = address_of("Py_GetVersion"),
                                 .code_type = address_of("PyCode_Type"),
                                 .frame_type = address_of("PyFrame_Type"),
                                 .eval = address_of("_PyEval_EvalFrameDefault"),
                                 .current_thread = address_of("PyThreadState_GetUnchecked"),
                                 .this_thread = address_of("PyGILState_GetThisThreadState")};
    if (symbols.current_thread == 0)
        symbols.current_thread = address_of("_PyThreadState_UncheckedGet");
    if (engine.python_state == 1 && engine.python.symbols.runtime == symbols.runtime)
        return;
    engine.python_state = 0;
    if (symbols.runtime == 0 || (symbols.version == 0 && symbols.get_version == 0))
        return;
    Dl_info info;
    const ElfW(Sym) *symbol = NULL;
    if (symbols.eval != 0 &&
        dladdr1((void *)(uintptr_t)symbols.eval, &info, (void **)(uintptr_t)&symbol, RTLD_DL_SYMENT) != 0 &&
        symbol != NULL)
        symbols.eval_size = symbol->st_size;
    engine.python_state = py_attach(&engine.python, &symbols, &engine.python_error) == 0 ? 1 : -1;
    if (engine.python_state == 1)
        py_find_slot(&engine.python, (uint64_t)(uintptr_t)__builtin_thread_pointer(), engine.data_offset);
}

/* ---- start and stop ---- */

static int make_restart_timer(void)
{
    return os_timer(CLOCK_PROCESS_CPUTIME_ID, 0, ENGINE_SIGNAL, ENGINE_VALUE(PURPOSE_RESTART, 0));
}

static int prepare(struct error *error)
{
    guest_prepare();
    if (engine.pid != os_process_id()) { /* the first start in this process */
        engine.restart_timer = -1;
        engine.unmapped = 1;
        engine.pid = os_process_id();
    }
    if (engine.data_offset == 0)
        engine.data_offset = py_data_offset();
    void **stack_end = dlsym(RTLD_DEFAULT, "__libc_stack_end");
    engine.main_stack_end = stack_end != NULL ? (uint64_t)(uintptr_t)*stack_end : 0;
    find_python();
    if (engine.libs == NULL && (engine.libs = libs_new()) == NULL)
        return error_set(error, PROFILER_NO_MEMORY, ENOMEM, "mmap for the library list");
    if (engine.restart_timer < 0)
        engine.restart_timer = make_restart_timer();
    guest_redirect();
    int result = guest_take_signal();
    if (result < 0)
        return error_set(error, PROFILER_SYSTEM, -result, "sigaction for SIGURG");
    return 0;
}

/* The stopped recording that reports are about: it stays so when the next start fails. */
static struct {
    char output[sizeof engine.output];
    int temporary, wall;
    uint32_t rate, depth, thread_numbers;
    uint64_t start, stop;
    const struct clock_ops *clock;
    struct writer *writer;
} last;

static void keep_last(void)
{
    memcpy(last.output, engine.output, sizeof last.output);
    last.temporary = engine.temporary;
    last.wall = engine.wall;
    last.rate = engine.rate;
    last.depth = engine.depth;
    last.thread_numbers = engine.thread_numbers;
    last.start = engine.start;
    last.stop = engine.stop;
    last.clock = engine.clock;
    last.writer = engine.writer;
    engine.writer = NULL;
}

static void bring_back_last(void)
{
    writer_free(engine.writer);
    memcpy(engine.output, last.output, sizeof last.output);
    engine.temporary = last.temporary;
    engine.wall = last.wall;
    engine.rate = last.rate;
    engine.depth = last.depth;
    engine.thread_numbers = last.thread_numbers;
    engine.start = last.start;
    engine.stop = last.stop;
    engine.clock = last.clock;
    engine.writer = last.writer;
    last.writer = NULL;
}

static void forget_recording(const char *path, int temporary)
{
    if (temporary && path[0] != 0 && !profiles_need(path))
        unlink(path);
}

static void forget_last(void)
{
    forget_recording(last.output, last.temporary);
    writer_free(last.writer);
    last.writer = NULL;
}

static int wait_until_up(struct error *error)
{
    uint32_t ready;
    while ((ready = __atomic_load_n(&engine.ready, __ATOMIC_ACQUIRE)) == 0)
        os_wait(&engine.ready, 0, os_now() + 1000000000);
    if (ready == 1)
        return 0;
    helper_join();
    *error = engine.error;
    return error->code;
}

static void reset_counts(void)
{
    memset(engine.codes, 0, sizeof engine.codes);
    memset(&engine.error, 0, sizeof engine.error);
    engine.handler_time = engine.helper_time = engine.helper_time_before = 0;
    engine.reruns = engine.put_off = engine.calls = 0;
    engine.memory_delta = 0;
    engine.signal_lost = 0;
    engine.resting = engine.ready = engine.scanned = engine.unborn = 0;
    engine.generation++;
    engine.starter = os_thread_id();
    engine.start = os_now();
    engine.stop = 0;
}

/* Everything of a start but the helper. */
static int set_up(const struct profiler_options *o, struct error *error)
{
    int code;
    engine.rate = o->rate != 0 ? o->rate : 1000;
    engine.depth = o->depth != 0 ? o->depth : STACK_DEPTH_DEFAULT;
    engine.period = 1000000000ULL / engine.rate;
    engine.clock = NULL;
    engine.wanted_clock = o->clock != NULL && strcmp(o->clock, "auto") != 0 ? o->clock : NULL;
    engine.wall = o->mode != NULL && strcmp(o->mode, "wall") == 0;
    engine.only_tid = o->threads != NULL && strcmp(o->threads, "current") == 0 ? os_thread_id() : 0;
    if ((code = set_output(o, error)) != 0 || (code = prepare(error)) != 0)
        return code;
    threads_drop_timers();
    threads_reset();
    describe();
    reset_counts();
    return 0;
}

static int start(const struct profiler_options *o, struct error *error)
{
    int code = set_up(o, error);
    if (code != 0)
        return code;
    engine.in_folder = 0;
    __atomic_store_n(&engine.status, ENGINE_STARTING, __ATOMIC_SEQ_CST);
    int result = helper_start();
    if (result != 0)
        return error_set(error, PROFILER_SYSTEM, -result, "clone for the helper thread");
    return wait_until_up(error);
}

int api_start_locked(const struct profiler_options *options, struct error *error)
{
    static const struct profiler_options defaults = {.size = sizeof defaults};
    const struct profiler_options *o = options != NULL ? options : &defaults;
    int code = check_options(o, error);
    if (code == 0 && engine.status == ENGINE_RUNNING && engine.resting)
        code = api_stop_locked(error); /* it served profiles that have all ended */
    if (code == 0 && engine.status == ENGINE_RUNNING)
        code = error_set(error, PROFILER_ALREADY_RUNNING, 0,
                         "the profiler is running already; profiler_stop() first, or open a profile");
    if (code != 0)
        return code;
    keep_last();
    if ((code = start(o, error)) == 0) {
        forget_last();
    } else {
        __atomic_store_n(&engine.status, ENGINE_OFF, __ATOMIC_RELEASE);
        bring_back_last();
    }
    return code;
}

static void arm(void)
{
    engine.armed_cpu = os_process_cpu();
    engine.forked_cpu = 0;
    __atomic_store_n(&engine.unborn, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&engine.status, ENGINE_RUNNING, __ATOMIC_SEQ_CST);
    if (helper_restart_later() < 0)
        helper_start(); /* no timer: it begins at once */
}

int api_arm_locked(const struct profiler_options *o, struct error *error)
{
    int code = check_options(o, error);
    if (code == 0 && (code = set_up(o, error)) == 0)
        arm();
    return code;
}

void api_arm_forked(void)
{
    engine.restart_timer = make_restart_timer();
    engine.restart_set = 0;
    engine.clock = NULL; /* what the parent could open, a child may be refused */
    if (engine.only_tid != 0)
        engine.only_tid = os_thread_id();
    engine.thread_numbers = 0;
    describe();
    reset_counts();
    arm();
}

int api_begin_locked(struct error *error)
{
    if (!__atomic_load_n(&engine.unborn, __ATOMIC_ACQUIRE))
        return 0;
    int result = helper_start();
    if (result != 0)
        return error_set(error, PROFILER_SYSTEM, -result, "clone for the helper thread");
    return wait_until_up(error);
}

int api_stop_locked(struct error *error)
{
    if (engine.status != ENGINE_RUNNING && engine.status != ENGINE_FAILED)
        return error_set(error, PROFILER_NOT_RUNNING, 0,
                         "the profiler is not running; profiler_start() first");
    engine.stop = os_now();
    uint32_t running = ENGINE_RUNNING;
    __atomic_compare_exchange_n(&engine.status, &running, ENGINE_STOPPING, 0, __ATOMIC_SEQ_CST,
                                __ATOMIC_SEQ_CST);
    int result = 0;
    do { /* there may be none, shortly after a fork; it may be one that is just giving up */
        if (engine.status == ENGINE_STOPPING)
            result = helper_start();
        helper_join();
    } while (result == 0 && engine.status == ENGINE_STOPPING);
    __atomic_store_n(&engine.status, ENGINE_OFF, __ATOMIC_SEQ_CST);
    if (result != 0 && engine.error.code == 0)
        return error_set(error, PROFILER_SYSTEM, -result,
                         "clone for the helper thread, to end the recording");
    *error = engine.error;
    return error->code;
}

void api_drain(void)
{
    if (__atomic_load_n(&engine.status, __ATOMIC_ACQUIRE) != ENGINE_RUNNING)
        return;
    uint32_t asked = __atomic_add_fetch(&engine.drain_asked, 1, __ATOMIC_ACQ_REL), done;
    uint64_t patience = os_now() + 5000000000ULL;
    helper_restart();
    helper_ring();
    while (__atomic_load_n(&engine.status, __ATOMIC_ACQUIRE) == ENGINE_RUNNING &&
           (int32_t)((done = __atomic_load_n(&engine.drain_done, __ATOMIC_ACQUIRE)) - asked) < 0 &&
           os_now() < patience)
        os_wait(&engine.drain_done, done, os_now() + 100000000);
}

void api_after_fork(void)
{
    threads_after_fork();
    engine.status = ENGINE_OFF;
    engine.helper_tid = 0;
    engine.helper_last = 0;
    engine.detach = 0;
    engine.writer = NULL; /* the parent's; its pages here are a copy nobody writes to */
    engine.restart_timer = -1;
    engine.restart_set = 0;
    engine.temporary = 0;
    engine.output[0] = 0;
    engine.thread_limit = 0;
    memset(engine.threads, 0, sizeof engine.threads);
    profiles_after_fork();
}

int profiler_start(const struct profiler_options *options)
{
    struct error error = {0, 0, ""};
    api_lock();
    int code = api_start_locked(options, &error);
    if (code == 0)
        profiles_leave_running();
    else
        api_fail(&error);
    api_unlock();
    return code;
}

int profiler_stop(void)
{
    struct error error = {0, 0, ""};
    api_lock();
    int code = api_stop_locked(&error);
    if (code != 0)
        api_fail(&error);
    api_unlock();
    return code;
}

/* ---- state ---- */

static void add_threads(struct profiler_state *state)
{
    for (uint32_t slot = 0; slot < __atomic_load_n(&engine.thread_limit, __ATOMIC_ACQUIRE); slot++) {
        const struct thread *thread = threads_at(slot);
        if (thread == NULL)
            continue;
        state->handler_time += __atomic_load_n(&thread->time, __ATOMIC_RELAXED);
        state->reruns += __atomic_load_n(&thread->reruns, __ATOMIC_RELAXED);
        state->put_off += __atomic_load_n(&thread->put_off, __ATOMIC_RELAXED);
        state->handler_calls += __atomic_load_n(&thread->calls, __ATOMIC_RELAXED) + thread->guard.probes;
    }
}

static void fill_state(struct profiler_state *state)
{
    size_t size = state->size;
    memset(state, 0, sizeof *state);
    state->size = size;
    state->running = engine.status == ENGINE_RUNNING;
    state->rate = engine.rate;
    state->depth = engine.depth;
    state->threads = engine.thread_numbers;
    state->clock = engine.clock != NULL ? engine.clock->name : "";
    state->mode = engine.wall ? "wall" : "cpu";
    state->output = engine.output;
    state->elapsed = engine.start == 0 ? 0 : (engine.stop != 0 ? engine.stop : os_now()) - engine.start;
    state->python = engine.python_state > 0 ? engine.python.minor : engine.python_state;
    state->handler_time = engine.handler_time;
    state->helper_time = engine.helper_time;
    state->reruns = engine.reruns;
    state->put_off = engine.put_off;
    state->handler_calls = engine.calls;
    add_threads(state);
    if (engine.writer == NULL)
        return;
    struct writer_totals totals;
    writer_get_totals(engine.writer, &totals);
    state->samples = totals.samples;
    state->weight = totals.weight;
    state->lost = totals.lost;
    state->lost_weight = totals.lost_weight;
    state->degraded = totals.degraded;
    state->unnamed = totals.unnamed;
}

int profiler_get_state(struct profiler_state *state)
{
    struct error error;
    if (state == NULL || state->size != sizeof *state)
        return api_fail((
            error_set(&error, PROFILER_BAD_OPTION, 0, "state.size is not the size of this version"), &error));
    api_drain();
    api_lock();
    fill_state(state);
    api_unlock();
    return 0;
}

void api_say(const char *text)
{
    int fd = engine.errors != NULL ? os_open(engine.errors, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
    if (fd < 0)
        return;
    os_write(fd, text, strlen(text));
    os_close(fd);
}

/* ---- the end of the process, or of its program ---- */

/* Where the calling thread may hold the lock itself (in a signal handler) waiting is bounded. */
static int try_lock(void)
{
    uint64_t patience = os_now() + 100000000;
    while (pthread_mutex_trylock(&mutex) != 0) {
        if (os_now() > patience)
            return 0;
        os_wait(NULL, 0, os_now() + 100000);
    }
    return 1;
}

/* 1: the process ends before its recording was begun, and was counted. */
static int end_unborn(void)
{
    if (engine.status != ENGINE_RUNNING || !engine.in_folder)
        return 0;
    helper_detach(); /* a start that is under way is over now */
    if (__atomic_load_n(&engine.unborn, __ATOMIC_ACQUIRE)) {
        __atomic_store_n(&engine.status, ENGINE_OFF, __ATOMIC_SEQ_CST);
        follow_count_end("short", os_process_cpu() - engine.armed_cpu, NULL);
    }
    helper_release();
    return engine.status == ENGINE_OFF;
}

static void end_locked(void)
{
    struct error error;
    if (end_unborn() || (engine.status != ENGINE_RUNNING && engine.status != ENGINE_FAILED))
        return;
    if (api_stop_locked(&error) == 0)
        return;
    api_say(error.text);
    if (engine.in_folder)
        follow_count_end("failed", os_process_cpu() - engine.armed_cpu, error.text);
}

void api_end_now(void)
{
    if (engine.status == ENGINE_OFF || engine.pid != os_process_id() || !try_lock())
        return;
    end_locked();
    api_unlock();
}

int api_before_exec(const char *path)
{
    if (__atomic_load_n(&engine.status, __ATOMIC_ACQUIRE) != ENGINE_RUNNING || engine.unborn ||
        engine.pid != os_process_id() || !try_lock())
        return 0;
    engine.executes = path;
    helper_start(); /* there may be none, shortly after a fork */
    helper_detach();
    return 1;
}

void api_exec_failed(void)
{
    int saved = errno;
    engine.executes = NULL;
    helper_release();
    if (engine.status == ENGINE_RUNNING)
        helper_start();
    api_unlock();
    errno = saved;
}

__attribute__((destructor)) static void at_unload(void)
{
    if (engine.pid != os_process_id())
        return;
    api_lock();
    end_locked();
    profiles_forget_all();
    forget_recording(engine.output, engine.temporary);
    api_unlock();
}
