/* SPDX-License-Identifier: MIT */
/* waits.c - short waits in every call that a signal ends with EINTR, each after some CPU time so that a
 * sampler's ticks fall into them. Knows nothing of the profiler.
 *
 *   waits ROUNDS       per call: "name ROUNDS eintr wrong", wrong = another result than the wait must have
 *   waits own ROUNDS   a signal of the program's own must still end a wait: "own ROUNDS interrupted missed"
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_NS = 300 * 1000, BURN_NS = 120 * 1000 };

static const struct timespec span = {.tv_sec = 0, .tv_nsec = WAIT_NS};
static int pipe_ends[2], pair[2], epoll_fd, timer_fd, semaphore_set;
static struct sockaddr_un listener = {.sun_family = AF_UNIX};
static socklen_t listener_size;
static int ring; /* -1: the system has none for us */
static const struct __kernel_timespec ring_span = {.tv_nsec = WAIT_NS};
static sem_t semaphore;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static volatile unsigned sink;

static void burn(long nanoseconds)
{
    struct timespec now, end;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    end.tv_nsec += nanoseconds;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    do {
        for (unsigned i = 0; i < 2000; i++)
            sink += i;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    } while (now.tv_sec < end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec));
}

static struct timespec deadline(clockid_t clock)
{
    struct timespec at;
    clock_gettime(clock, &at);
    at.tv_nsec += WAIT_NS;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    return at;
}

/* Each returns 0 for the result that an undisturbed wait has, else the errno or -1. */
static int result_is(long result, long wanted)
{
    return result == wanted ? 0 : (result < 0 ? errno : -1);
}

static int failed_with(long result, int wanted)
{
    return result < 0 && errno == wanted ? 0 : (result < 0 ? errno : -1);
}

static int wait_poll(void)
{
    struct pollfd set = {.fd = pipe_ends[0], .events = POLLIN};
    return result_is(poll(&set, 1, 1), 0);
}
static int wait_ppoll(void)
{
    struct pollfd set = {.fd = pipe_ends[0], .events = POLLIN};
    return result_is(ppoll(&set, 1, &span, NULL), 0);
}
static int wait_select(void)
{
    struct timeval limit = {.tv_usec = WAIT_NS / 1000};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pipe_ends[0], &set);
    return result_is(select(pipe_ends[0] + 1, &set, NULL, NULL, &limit), 0);
}
static int wait_pselect(void)
{
    sigset_t none;
    sigemptyset(&none);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pipe_ends[0], &set);
    return result_is(pselect(pipe_ends[0] + 1, &set, NULL, NULL, &span, &none), 0);
}
static int wait_epoll(void)
{
    struct epoll_event event;
    return result_is(epoll_wait(epoll_fd, &event, 1, 1), 0);
}
static int wait_epoll_pwait(void)
{
    struct epoll_event event;
    sigset_t none;
    sigemptyset(&none);
    return result_is(epoll_pwait(epoll_fd, &event, 1, 1, &none), 0);
}
static int wait_nanosleep(void)
{
    struct timespec rest;
    return result_is(nanosleep(&span, &rest), 0);
}
static int wait_clock_nanosleep(void)
{
    struct timespec at = deadline(CLOCK_MONOTONIC);
    return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}
static int wait_usleep(void)
{
    return result_is(usleep(WAIT_NS / 1000), 0);
}
static int wait_recv(void)
{
    char byte;
    return failed_with(recv(pair[0], &byte, 1, 0), EAGAIN);
}
static int wait_recvmsg(void)
{
    char byte;
    struct iovec room = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &room, .msg_iovlen = 1};
    return failed_with(recvmsg(pair[0], &message, 0), EAGAIN);
}
static int wait_recvmmsg(void)
{
    char byte;
    struct iovec room = {.iov_base = &byte, .iov_len = 1};
    struct mmsghdr message = {.msg_hdr = {.msg_iov = &room, .msg_iovlen = 1}};
    return failed_with(recvmmsg(pair[0], &message, 1, 0, NULL), EAGAIN);
}
static int wait_connect(void) /* to a socket whose queue is full */
{
    struct timeval limit = {.tv_usec = WAIT_NS / 1000};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    int failed = failed_with(connect(fd, (struct sockaddr *)&listener, listener_size), EAGAIN);
    close(fd);
    return failed;
}
static int wait_futex(void)
{
    static int word;
    return failed_with(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &span, NULL, 0), ETIMEDOUT);
}
static int wait_io_uring(void)
{
    struct {
        unsigned long long mask;
        unsigned size, pad;
        unsigned long long time;
    } argument = {.time = (unsigned long long)(size_t)&ring_span};
    return ring < 0 ? 0
                    : failed_with(syscall(SYS_io_uring_enter, ring, 0, 1,
                                          IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument,
                                          sizeof argument),
                                  ETIME);
}
static int wait_read_timer(void)
{
    struct itimerspec once = {.it_value = span};
    unsigned long long ticks;
    timerfd_settime(timer_fd, 0, &once, NULL);
    return result_is(read(timer_fd, &ticks, sizeof ticks), sizeof ticks);
}
static int wait_semaphore(void)
{
    struct timespec at = deadline(CLOCK_REALTIME);
    return failed_with(sem_timedwait(&semaphore, &at), ETIMEDOUT);
}
static int wait_condition(void)
{
    struct timespec at = deadline(CLOCK_REALTIME);
    pthread_mutex_lock(&mutex);
    int status = pthread_cond_timedwait(&condition, &mutex, &at);
    pthread_mutex_unlock(&mutex);
    return status == ETIMEDOUT ? 0 : status;
}
static int wait_sigtimedwait(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    return failed_with(sigtimedwait(&set, NULL, &span), EAGAIN);
}
static int wait_semtimedop(void)
{
    struct sembuf take = {.sem_num = 0, .sem_op = -1};
    return failed_with(semtimedop(semaphore_set, &take, 1, &span), EAGAIN);
}
static int wait_child(void)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        nanosleep(&span, NULL);
        _exit(3);
    }
    int failed = result_is(waitpid(child, &status, 0), child);
    if (failed != 0) /* leave no zombie for the next one */
        waitpid(child, &status, 0);
    return failed;
}

static const struct {
    const char *name;
    int (*wait)(void);
    int divisor; /* of the rounds: forks are slow */
} waits[] = {
    {"poll", wait_poll, 1},
    {"ppoll", wait_ppoll, 1},
    {"select", wait_select, 1},
    {"pselect", wait_pselect, 1},
    {"epoll_wait", wait_epoll, 1},
    {"epoll_pwait", wait_epoll_pwait, 1},
    {"nanosleep", wait_nanosleep, 1},
    {"clock_nanosleep", wait_clock_nanosleep, 1},
    {"usleep", wait_usleep, 1},
    {"recv", wait_recv, 1},
    {"recvmsg", wait_recvmsg, 1},
    {"recvmmsg", wait_recvmmsg, 1},
    {"connect", wait_connect, 1},
    {"futex", wait_futex, 1},
    {"io_uring", wait_io_uring, 1},
    {"read_timer", wait_read_timer, 1},
    {"sem_timedwait", wait_semaphore, 1},
    {"cond_timedwait", wait_condition, 1},
    {"sigtimedwait", wait_sigtimedwait, 1},
    {"semtimedop", wait_semtimedop, 1},
    {"waitpid", wait_child, 10},
};

static void set_up(void)
{
    struct timeval limit = {.tv_usec = WAIT_NS / 1000};
    struct epoll_event event = {.events = EPOLLIN};
    sigset_t blocked;
    if (pipe(pipe_ends) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        exit(2);
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pipe_ends[0], &event);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    semaphore_set = semget(IPC_PRIVATE, 1, 0600);
    /* Its name is the system's choice; the first connection fills its queue. */
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    listener_size = sizeof(sa_family_t);
    bind(listening, (struct sockaddr *)&listener, listener_size);
    listener_size = sizeof listener;
    getsockname(listening, (struct sockaddr *)&listener, &listener_size);
    listen(listening, 0);
    connect(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), (struct sockaddr *)&listener, listener_size);
    struct io_uring_params parameters = {0};
    ring = (int)syscall(SYS_io_uring_setup, 2, &parameters);
    sem_init(&semaphore, 0, 0);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
}

static void ignore(int number)
{
    (void)number;
}

/* The alarm is blocked but for the time of the ppoll, so it can only come inside the wait. */
static int own_signals(int rounds)
{
    struct sigaction action = {.sa_handler = ignore};
    sigset_t alarm_only, none;
    int interrupted = 0, missed = 0;
    sigaction(SIGALRM, &action, NULL);
    sigemptyset(&none);
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    sigprocmask(SIG_BLOCK, &alarm_only, NULL);
    for (int i = 0; i < rounds; i++) {
        struct itimerval once = {.it_value = {.tv_usec = 200 + i % 7 * 40}};
        struct timespec limit = {.tv_sec = 2};
        setitimer(ITIMER_REAL, &once, NULL);
        burn(BURN_NS);
        int result = ppoll(NULL, 0, &limit, &none);
        interrupted += result < 0 && errno == EINTR;
        missed += result == 0;
    }
    printf("own %d %d %d\n", rounds, interrupted, missed);
    return 0;
}

int main(int argc, char **argv)
{
    set_up();
    if (argc > 2 && strcmp(argv[1], "own") == 0)
        return own_signals(atoi(argv[2]));
    int rounds = argc > 1 ? atoi(argv[1]) : 100;
    for (size_t w = 0; w < sizeof waits / sizeof waits[0]; w++) {
        int count = rounds / waits[w].divisor, interrupted = 0, wrong = 0;
        for (int i = 0; i < count; i++) {
            burn(BURN_NS + i % 10 * 10000);
            int failed = waits[w].wait();
            interrupted += failed == EINTR;
            wrong += failed != 0 && failed != EINTR;
        }
        printf("%s %d %d %d\n", waits[w].name, count, interrupted, wrong);
        fflush(stdout);
    }
    semctl(semaphore_set, 0, IPC_RMID);
    return 0;
}
