/* SPDX-License-Identifier: MIT */
/* test_engine.c - the sampler inside a process that does what sampled processes do: threads that come and go,
 * forks, waits, signals of its own, starts and stops from anywhere. Each case runs on every clock that works
 * here. No time decides: what is compared are counts, errnos and sums of CPU time with generous bounds. */
#include "check.h"

#include "profiler.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000LL

static const char *clock_name; /* of the running case */

static int begin_at(uint32_t rate)
{
    struct profiler_options options = {.size = sizeof options, .rate = rate, .clock = clock_name};
    int code = profiler_start(&options);
    if (code != 0)
        printf("%s: %s\n", clock_name, profiler_error());
    return code;
}

static struct profiler_state state_now(void)
{
    struct profiler_state state = {.size = sizeof state};
    CHECK_EQUAL(profiler_get_state(&state), 0);
    return state;
}

static int stop(void)
{
    int code = profiler_stop();
    if (code != 0)
        printf("%s: %s\n", clock_name, profiler_error());
    return code;
}

static long long cpu_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000 * MS + now.tv_nsec;
}

static volatile unsigned sink;

static void burn(long long nanoseconds)
{
    long long end = cpu_of(CLOCK_THREAD_CPUTIME_ID) + nanoseconds;
    do
        for (unsigned i = 0; i < 2000; i++)
            sink += i;
    while (cpu_of(CLOCK_THREAD_CPUTIME_ID) < end);
}

static int entries(const char *folder)
{
    int count = 0;
    DIR *list = opendir(folder);
    while (list != NULL && readdir(list) != NULL)
        count++;
    if (list != NULL)
        closedir(list);
    return count;
}

/* ---- is CPU time conserved? ---- */

static void weight_is_conserved(void)
{
    CHECK_EQUAL(begin_at(1000), 0);
    long long before = cpu_of(CLOCK_THREAD_CPUTIME_ID);
    burn(300 * MS);
    long long own = cpu_of(CLOCK_THREAD_CPUTIME_ID) - before;
    CHECK_EQUAL(stop(), 0);
    struct profiler_state state = state_now();
    long long counted = (long long)(state.weight + state.lost_weight);
    if (counted < own - 20 * MS || counted > own + 30 * MS)
        printf("%s: %lld of %lld us\n", clock_name, counted / 1000, own / 1000);
    CHECK(counted >= own - 20 * MS);
    CHECK(counted <= own + 30 * MS);
    CHECK(state.samples > 10);
}

/* System calls that no signal cuts short merge ticks: they count once, not twice. */
static void kernel_time_is_counted_once(void)
{
    enum { BYTES = 64 << 20 };
    CHECK_EQUAL(begin_at(5000), 0);
    long long before = cpu_of(CLOCK_THREAD_CPUTIME_ID);
    while (cpu_of(CLOCK_THREAD_CPUTIME_ID) - before < 400 * MS) {
        void *memory =
            mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        CHECK(memory != MAP_FAILED);
        munmap(memory, BYTES);
    }
    long long own = cpu_of(CLOCK_THREAD_CPUTIME_ID) - before;
    CHECK_EQUAL(stop(), 0);
    struct profiler_state state = state_now();
    long long counted = (long long)(state.weight + state.lost_weight);
    if (counted < own - 60 * MS || counted > own + own / 2)
        printf("%s: %lld of %lld us\n", clock_name, counted / 1000, own / 1000);
    CHECK(counted >= own - 60 * MS);
    CHECK(counted <= own + own / 2); /* cpu-clock counts the timer's own interrupts, too: up to 25 % here */
}

static void *burn_a_little(void *argument)
{
    burn(*(const long long *)argument);
    return NULL;
}

static void fork_once(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    CHECK(child > 0);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        CHECK(!"waitpid saw EINTR");
}

static void forks_lose_no_time(void)
{
    CHECK_EQUAL(begin_at(1000), 0);
    long long before = cpu_of(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < 25; i++) {
        fork_once();
        burn(15 * MS);
    }
    long long own = cpu_of(CLOCK_PROCESS_CPUTIME_ID) - before;
    CHECK_EQUAL(stop(), 0);
    struct profiler_state state = state_now();
    own -= (long long)state.helper_time;
    long long counted = (long long)(state.weight + state.lost_weight);
    if (counted < own * 7 / 10 || counted > own * 12 / 10)
        printf("%s: %lld of %lld us\n", clock_name, counted / 1000, own / 1000);
    CHECK(counted >= own * 7 / 10);
    CHECK(counted <= own * 12 / 10);
}

/* ---- threads ---- */

static void run_threads(int count, long long each, size_t stack)
{
    static pthread_t threads[512];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, stack);
    for (int i = 0; i < count; i++)
        if (pthread_create(&threads[i], &attributes, burn_a_little, &each) != 0)
            threads[i] = 0;
    for (int i = 0; i < count; i++)
        if (threads[i] != 0)
            pthread_join(threads[i], NULL);
    pthread_attr_destroy(&attributes);
}

static void threads_come_and_go(void)
{
    CHECK_EQUAL(begin_at(1000), 0);
    long long before = cpu_of(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < 50; i++)
        run_threads(40, MS / 10, 64 << 10);
    long long own = cpu_of(CLOCK_PROCESS_CPUTIME_ID) - before;
    CHECK_EQUAL(stop(), 0);
    struct profiler_state state = state_now();
    long long counted = (long long)(state.weight + state.lost_weight);
    if (counted > own * 11 / 10)
        printf("%s: %lld of %lld us\n", clock_name, counted / 1000, own / 1000);
    CHECK(counted <= own * 11 / 10); /* found by the hook and in the task folder: counted once */
    CHECK(state.threads > 2000);
}

static void many_threads_at_once(void)
{
    CHECK_EQUAL(begin_at(1000), 0);
    long long before = cpu_of(CLOCK_PROCESS_CPUTIME_ID);
    run_threads(320, 2 * MS, 64 << 10);
    long long own = cpu_of(CLOCK_PROCESS_CPUTIME_ID) - before;
    CHECK_EQUAL(stop(), 0);
    struct profiler_state state = state_now();
    CHECK(state.threads >= 320);
    long long counted = (long long)(state.weight + state.lost_weight);
    if (counted > own * 11 / 10)
        printf("%s: %lld of %lld us\n", clock_name, counted / 1000, own / 1000);
    CHECK(counted <= own * 11 / 10);
}

/* ---- starts and stops ---- */

static void starts_and_stops_leave_nothing(void)
{
    char maps[64];
    CHECK_EQUAL(begin_at(1000), 0);
    CHECK_EQUAL(stop(), 0);
    snprintf(maps, sizeof maps, "/proc/%d/task", (int)getpid());
    int files = entries("/proc/self/fd"), threads = entries(maps);
    for (int i = 0; i < 300; i++) {
        if (begin_at(1000) != 0 || profiler_start(NULL) != PROFILER_ALREADY_RUNNING || stop() != 0) {
            CHECK(!"start and stop");
            break;
        }
        CHECK_EQUAL(profiler_stop(), PROFILER_NOT_RUNNING);
    }
    CHECK_EQUAL(entries("/proc/self/fd"), files);
    CHECK_EQUAL(entries(maps), threads);
}

static int keep_going;

static void *start_and_stop(void *argument)
{
    (void)argument;
    while (__atomic_load_n(&keep_going, __ATOMIC_RELAXED)) {
        struct profiler_options options = {.size = sizeof options, .rate = 5000, .clock = clock_name};
        int code = profiler_start(&options);
        CHECK(code == 0 || code == PROFILER_ALREADY_RUNNING);
        int64_t profile = profiler_open(NULL, 1);
        CHECK(profile > 0);
        burn(MS / 5);
        CHECK_EQUAL(profiler_close(profile), 0);
        CHECK_EQUAL(profiler_forget(profile), 0);
        code = profiler_stop();
        CHECK(code == 0 || code == PROFILER_NOT_RUNNING);
    }
    return NULL;
}

static void starts_from_many_threads_during_forks(void)
{
    pthread_t threads[4];
    keep_going = 1;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, start_and_stop, NULL);
    for (int i = 0; i < 60; i++) {
        fork_once();
        burn(MS);
    }
    __atomic_store_n(&keep_going, 0, __ATOMIC_RELAXED);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    profiler_stop();
}

static void a_failed_start_loses_nothing(void)
{
    CHECK_EQUAL(begin_at(1000), 0);
    burn(20 * MS);
    CHECK_EQUAL(stop(), 0);
    struct profiler_state before = state_now();
    char path[4096];
    snprintf(path, sizeof path, "%s", before.output);
    struct profiler_options options = {.size = sizeof options, .output = "/nowhere/at/all.plait"};
    CHECK_EQUAL(profiler_start(&options), PROFILER_FILE);
    CHECK_EQUAL(profiler_stop(), PROFILER_NOT_RUNNING);
    struct profiler_state after = state_now();
    CHECK_STRING(after.output, path);
    CHECK_EQUAL(after.samples, before.samples);
    CHECK_EQUAL(profiler_write_folded("/dev/null"), 0);
    options.output = "/dev/full";
    options.overwrite = 1;
    CHECK_EQUAL(profiler_start(&options), PROFILER_FILE);
    CHECK_EQUAL(access(path, R_OK), 0);
    CHECK_EQUAL(begin_at(1000), 0);
    CHECK(access(path, F_OK) != 0); /* the next start replaces it */
    CHECK_EQUAL(stop(), 0);
}

/* The sampler cannot go on after a fork when its file is gone: the stop says so, and a start works again. */
static void a_deleted_recording_is_said(void)
{
    CHECK_EQUAL(begin_at(1000), 0);
    CHECK_EQUAL(unlink(state_now().output), 0);
    fork_once();
    burn(30 * MS);
    CHECK_EQUAL(profiler_stop(), PROFILER_FILE);
    CHECK_EQUAL(profiler_stop(), PROFILER_NOT_RUNNING);
    CHECK_EQUAL(begin_at(1000), 0);
    CHECK_EQUAL(stop(), 0);
}

/* ---- forks ---- */

static void *fork_many(void *argument)
{
    for (int i = 0; i < 25; i++)
        fork_once();
    return argument;
}

static void forks_from_many_threads(void)
{
    pthread_t threads[3];
    CHECK_EQUAL(begin_at(10000), 0);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, fork_many, NULL);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQUAL(stop(), 0);
}

static int counting, most_threads;

/* Fork handlers from before the library's own: the first after the fork, the last before it. */
static void count_threads(void)
{
    int now = counting ? entries("/proc/self/task") - 2 : 0;
    most_threads = now > most_threads ? now : most_threads;
}

static void no_thread_of_ours_while_fork_returns(void)
{
    CHECK_EQUAL(begin_at(10000), 0);
    counting = 1;
    most_threads = 0;
    for (int i = 0; i < 60; i++) {
        fork_once();
        burn((i % 4) * 6 * MS); /* the helper comes back in between */
    }
    counting = 0;
    CHECK_EQUAL(most_threads, 1);
    CHECK_EQUAL(stop(), 0);
}

static int in_child(void)
{
    int failed = profiler_stop() != PROFILER_NOT_RUNNING;
    failed |= begin_at(1000) != 0;
    burn(30 * MS);
    failed |= profiler_stop() != 0;
    struct profiler_state state = {.size = sizeof state};
    failed |= profiler_get_state(&state) != 0 || state.samples == 0;
    failed |= unlink(state.output) != 0; /* _exit leaves it */
    return failed;
}

static void a_child_samples_itself(void)
{
    CHECK_EQUAL(begin_at(1000), 0);
    burn(10 * MS);
    for (int raw = 0; raw < 2; raw++) {
        pid_t child = raw ? (pid_t)syscall(SYS_fork) : fork();
        if (child == 0)
            _exit(in_child());
        int status = 1;
        CHECK_EQUAL(waitpid(child, &status, 0), child);
        CHECK_EQUAL(status, 0);
    }
    CHECK_EQUAL(stop(), 0);
}

static void vfork_and_exec(void)
{
    CHECK_EQUAL(begin_at(10000), 0);
    for (int i = 0; i < 30; i++) {
        burn(MS);
        pid_t child = vfork();
        if (child == 0) {
            execl("/bin/true", "true", (char *)NULL);
            _exit(127);
        }
        int status = 1;
        CHECK_EQUAL(waitpid(child, &status, 0), child);
        CHECK_EQUAL(status, 0);
    }
    CHECK_EQUAL(stop(), 0);
}

/* ---- waits ---- */

enum { WAIT_NS = 300 * 1000 };
static const struct timespec span = {.tv_nsec = WAIT_NS};
static int ends[2], sockets[2], epoll;
static sem_t never;

static struct timespec later(void)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_nsec += WAIT_NS;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    return at;
}

/* Every wait of this list ends with EINTR when a handler runs, whatever SA_RESTART says. */
static int wait_in(unsigned which)
{
    struct pollfd set = {.fd = ends[0], .events = POLLIN};
    struct timeval limit = {.tv_usec = WAIT_NS / 1000};
    struct timespec rest = span, at;
    struct epoll_event event;
    fd_set read_set;
    char byte;
    switch (which % 6) {
    case 0:
        return ppoll(&set, 1, &span, NULL);
    case 1:
        return epoll_wait(epoll, &event, 1, 1);
    case 2:
        return nanosleep(&span, &rest);
    case 3:
        FD_ZERO(&read_set);
        FD_SET(ends[0], &read_set);
        return select(ends[0] + 1, &read_set, NULL, NULL, &limit);
    case 4:
        return (int)recv(sockets[0], &byte, 1, 0);
    default:
        at = later();
        return sem_timedwait(&never, &at);
    }
}

static void open_waits(void)
{
    struct timeval limit = {.tv_usec = WAIT_NS / 1000};
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll > 0)
        return;
    CHECK_EQUAL(pipe(ends), 0);
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    setsockopt(sockets[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
    sem_init(&never, 0, 0);
}

static void waits_see_no_signal_of_ours(void)
{
    open_waits();
    CHECK_EQUAL(begin_at(10000), 0);
    int interrupted[6] = {0};
    for (unsigned i = 0; i < 600; i++) {
        burn(WAIT_NS / 3);
        interrupted[i % 6] += wait_in(i) < 0 && errno == EINTR;
    }
    for (int i = 0; i < 6; i++)
        CHECK_EQUAL(interrupted[i], 0);
    CHECK_EQUAL(stop(), 0);
}

static void *toggle(void *argument)
{
    while (__atomic_load_n(&keep_going, __ATOMIC_RELAXED)) {
        CHECK_EQUAL(begin_at(20000), 0);
        burn(MS / 2);
        CHECK_EQUAL(stop(), 0);
    }
    return argument;
}

/* Ticks that come after the stop, or for a slot that is another's by now, interrupt waits too. */
static void waits_see_no_late_signal(void)
{
    pthread_t thread;
    int interrupted = 0;
    open_waits();
    keep_going = 1;
    pthread_create(&thread, NULL, toggle, NULL);
    for (unsigned i = 0; i < 1200; i++) {
        burn(WAIT_NS / 6);
        interrupted += wait_in(i) < 0 && errno == EINTR;
    }
    __atomic_store_n(&keep_going, 0, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    CHECK_EQUAL(interrupted, 0);
}

/* The signal that brings the helper back after a fork is aimed at the process: any wait may meet it. */
static void waits_see_no_restart_signal(void)
{
    int interrupted = 0;
    open_waits();
    CHECK_EQUAL(begin_at(1000), 0);
    for (unsigned i = 0; i < 24; i++) {
        fork_once();
        for (unsigned j = 0; j < 40; j++)
            interrupted += wait_in(i) < 0 && errno == EINTR;
    }
    CHECK_EQUAL(interrupted, 0);
    CHECK_EQUAL(stop(), 0);
}

static volatile int caught, caught_errno;

static void on_signal(int number)
{
    (void)number;
    caught++;
    errno = caught_errno;
}

/* Every EINTR has a signal of the program behind it; and where only its signal can end a wait, it does. */
static void own_signals_end_waits(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct itimerval every = {.it_interval = {.tv_usec = 700}, .it_value = {.tv_usec = 700}}, none = {0};
    open_waits();
    for (int restart = 0; restart < 2; restart++) {
        char byte;
        action.sa_flags = restart ? SA_RESTART : 0;
        sigaction(SIGALRM, &action, NULL);
        CHECK_EQUAL(begin_at(10000), 0);
        setitimer(ITIMER_REAL, &every, NULL);
        for (int i = 0; i < 200; i++) {
            int before = caught;
            burn(MS / 10);
            int result = wait_in((unsigned)i);
            if (result < 0 && errno == EINTR)
                CHECK(caught > before);
        }
        for (int i = 0; i < 100 && !restart; i++) {
            int before = caught;
            burn(MS / 10);
            errno = 0;
            CHECK_EQUAL(read(ends[0], &byte, 1), -1); /* an empty pipe: only the alarm can end it */
            CHECK_EQUAL(errno, EINTR);
            CHECK(caught > before);
        }
        setitimer(ITIMER_REAL, &none, NULL);
        CHECK_EQUAL(stop(), 0);
    }
    signal(SIGALRM, SIG_DFL);
}

static void *write_later(void *argument)
{
    burn(20 * MS);
    CHECK_EQUAL(write(ends[1], "x", 1), 1);
    return argument;
}

static void a_restarting_read_goes_on(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct itimerval every = {.it_interval = {.tv_usec = 700}, .it_value = {.tv_usec = 700}}, none = {0};
    pthread_t thread;
    char byte = 0;
    open_waits();
    sigaction(SIGALRM, &action, NULL);
    CHECK_EQUAL(begin_at(10000), 0);
    setitimer(ITIMER_REAL, &every, NULL);
    pthread_create(&thread, NULL, write_later, NULL);
    CHECK_EQUAL(read(ends[0], &byte, 1), 1);
    CHECK_EQUAL(byte, 'x');
    pthread_join(thread, NULL);
    setitimer(ITIMER_REAL, &none, NULL);
    CHECK_EQUAL(stop(), 0);
    signal(SIGALRM, SIG_DFL);
}

/* ---- the program's own SIGURG ---- */

static volatile int urgent, urgent_code, foreign;

static void on_urgent(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    urgent++;
    urgent_code = info->si_code;
    foreign += info->si_code != SI_USER && info->si_code != SI_QUEUE && info->si_code != SI_TKILL &&
               info->si_code != SI_KERNEL;
    errno = E2BIG;
}

static void wait_for(volatile int *counter, int value)
{
    for (int i = 0; i < 2000 && *counter < value; i++)
        usleep(1000);
}

static void send_out_of_band(void)
{
    int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr name = {.sa_family = AF_INET};
    socklen_t size = sizeof name;
    int ready = bind(server, &name, size) == 0 && listen(server, 1) == 0 &&
                getsockname(server, &name, &size) == 0 && connect(client, &name, size) == 0;
    int accepted = ready ? accept(server, NULL, NULL) : -1;
    if (accepted >= 0) {
        CHECK_EQUAL(fcntl(accepted, F_SETOWN, getpid()), 0);
        CHECK_EQUAL(send(client, "!", 1, MSG_OOB), 1);
        wait_for(&urgent, 1);
        CHECK_EQUAL(urgent, 1);
        close(accepted);
    } else {
        printf("no loopback network: out-of-band data not tried\n");
    }
    close(server);
    close(client);
}

static void own_sigurg_before_and_after_start(void)
{
    struct sigaction before = {.sa_sigaction = on_urgent, .sa_flags = SA_SIGINFO | SA_RESTART}, seen;
    sigaddset(&before.sa_mask, SIGUSR1);
    CHECK_EQUAL(sigaction(SIGURG, &before, NULL), 0);
    CHECK_EQUAL(begin_at(10000), 0);
    CHECK_EQUAL(sigaction(SIGURG, NULL, &seen), 0);
    CHECK(seen.sa_sigaction == on_urgent);
    CHECK_EQUAL(seen.sa_flags & ~0x4000000, before.sa_flags);
    CHECK(sigismember(&seen.sa_mask, SIGUSR1) == 1);
    urgent = foreign = 0;
    send_out_of_band();
    urgent = 0;
    for (int i = 1; i <= 50; i++) {
        burn(MS / 5);
        errno = ENOTTY;
        CHECK_EQUAL(kill(getpid(), SIGURG), 0);
        wait_for(&urgent, i);
        CHECK_EQUAL(urgent, i);
    }
    union sigval value = {.sival_int = 77};
    CHECK_EQUAL(sigqueue(getpid(), SIGURG, value), 0);
    wait_for(&urgent, 51);
    CHECK_EQUAL(urgent, 51);
    CHECK_EQUAL(urgent_code, SI_QUEUE);
    CHECK(signal(SIGURG, on_signal) != SIG_ERR);
    caught = 0;
    CHECK_EQUAL(raise(SIGURG), 0);
    CHECK_EQUAL(caught, 1);
    CHECK(signal(SIGURG, SIG_IGN) == on_signal);
    CHECK_EQUAL(raise(SIGURG), 0);
    CHECK(signal(SIGURG, SIG_DFL) == SIG_IGN);
    burn(5 * MS);
    CHECK_EQUAL(stop(), 0);
    CHECK_EQUAL(urgent, 51);
    CHECK_EQUAL(caught, 1);
    CHECK_EQUAL(foreign, 0); /* none of ours came through */
}

/* Late ticks, after each stop, are not the program's signals. */
static void own_sigurg_sees_no_late_tick(void)
{
    struct sigaction action = {.sa_sigaction = on_urgent, .sa_flags = SA_SIGINFO | SA_RESTART};
    CHECK_EQUAL(sigaction(SIGURG, &action, NULL), 0);
    urgent = 0;
    sigset_t urgent_only;
    sigemptyset(&urgent_only);
    sigaddset(&urgent_only, SIGURG);
    for (int i = 0; i < 60; i++) {
        CHECK_EQUAL(begin_at(20000), 0);
        sigprocmask(SIG_BLOCK, &urgent_only, NULL);
        burn(MS);
        CHECK_EQUAL(stop(), 0);
        if (i % 2)
            CHECK_EQUAL(begin_at(20000), 0);
        sigprocmask(SIG_UNBLOCK, &urgent_only, NULL); /* what waited comes now */
        if (i % 2)
            CHECK_EQUAL(stop(), 0);
    }
    CHECK_EQUAL(urgent, 0);
    signal(SIGURG, SIG_DFL);
}

/* A signal that the program ignores does not end a wait, though the library has a handler for it. */
static void ignored_sigurg_ends_no_wait(void)
{
    open_waits();
    CHECK_EQUAL(begin_at(1000), 0);
    int interrupted = 0;
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        for (int i = 0; i < 400; i++) {
            kill(parent, SIGURG);
            usleep(200);
        }
        _exit(0);
    }
    for (unsigned i = 0; i < 180; i++)
        interrupted += wait_in(i) < 0 && errno == EINTR;
    while (waitpid(child, NULL, 0) < 0)
        interrupted++;
    CHECK_EQUAL(interrupted, 0);
    CHECK_EQUAL(stop(), 0);
}

static void errno_is_kept(void)
{
    CHECK_EQUAL(begin_at(20000), 0);
    long long end = cpu_of(CLOCK_THREAD_CPUTIME_ID) + 50 * MS;
    int wrong = 0;
    do {
        errno = EXDEV;
        for (unsigned i = 0; i < 2000; i++)
            sink += i;
        wrong += errno != EXDEV;
    } while (cpu_of(CLOCK_THREAD_CPUTIME_ID) < end);
    CHECK_EQUAL(wrong, 0);
    CHECK_EQUAL(stop(), 0);
}

static void no_descriptor_of_ours(void)
{
    int before = entries("/proc/self/fd");
    CHECK_EQUAL(begin_at(1000), 0);
    burn(5 * MS);
    CHECK_EQUAL(entries("/proc/self/fd"), before);
    fork_once();
    burn(20 * MS);
    CHECK_EQUAL(entries("/proc/self/fd"), before);
    CHECK_EQUAL(stop(), 0);
    CHECK_EQUAL(entries("/proc/self/fd"), before);
}

/* ---- limits ---- */

static void at_its_limits(void)
{
    struct rlimit files, tight;
    getrlimit(RLIMIT_NOFILE, &files);
    tight = (struct rlimit){.rlim_cur = 16, .rlim_max = files.rlim_max};
    setrlimit(RLIMIT_NOFILE, &tight);
    CHECK_EQUAL(begin_at(1000), 0);
    run_threads(32, 2 * MS, 64 << 10);
    CHECK_EQUAL(stop(), 0);
    setrlimit(RLIMIT_NOFILE, &files);
}

/* ---- every case on every clock ---- */

#define CASES(X)                                                                                             \
    X(weight_is_conserved)                                                                                   \
    X(kernel_time_is_counted_once)                                                                           \
    X(forks_lose_no_time)                                                                                    \
    X(threads_come_and_go)                                                                                   \
    X(many_threads_at_once)                                                                                  \
    X(starts_and_stops_leave_nothing)                                                                        \
    X(starts_from_many_threads_during_forks)                                                                 \
    X(a_failed_start_loses_nothing)                                                                          \
    X(a_deleted_recording_is_said)                                                                           \
    X(forks_from_many_threads)                                                                               \
    X(no_thread_of_ours_while_fork_returns)                                                                  \
    X(a_child_samples_itself)                                                                                \
    X(vfork_and_exec)                                                                                        \
    X(waits_see_no_signal_of_ours)                                                                           \
    X(waits_see_no_late_signal)                                                                              \
    X(waits_see_no_restart_signal)                                                                           \
    X(own_signals_end_waits)                                                                                 \
    X(a_restarting_read_goes_on)                                                                             \
    X(own_sigurg_before_and_after_start)                                                                     \
    X(own_sigurg_sees_no_late_tick)                                                                          \
    X(ignored_sigurg_ends_no_wait)                                                                           \
    X(errno_is_kept)                                                                                         \
    X(no_descriptor_of_ours)                                                                                 \
    X(at_its_limits)

#define X(name)                                                                                              \
    static void name##_perf(void)                                                                            \
    {                                                                                                        \
        clock_name = "perf";                                                                                 \
        struct profiler_options options = {.size = sizeof options, .clock = clock_name};                     \
        if (profiler_start(&options) != 0)                                                                   \
            SKIP("clock perf cannot sample here");                                                           \
        profiler_stop();                                                                                     \
        name();                                                                                              \
    }                                                                                                        \
    static void name##_poll(void)                                                                            \
    {                                                                                                        \
        clock_name = "poll";                                                                                 \
        name();                                                                                              \
    }                                                                                                        \
    static void name##_posix(void)                                                                           \
    {                                                                                                        \
        clock_name = "posix";                                                                                \
        name();                                                                                              \
    }
CASES(X)
#undef X

int main(int argc, char **argv)
{
    static const struct check_case cases[] = {
#define X(name) {#name "_perf", name##_perf}, {#name "_poll", name##_poll}, {#name "_posix", name##_posix},
        CASES(X)
#undef X
    };
    pthread_atfork(count_threads, count_threads, NULL);
    return check_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
