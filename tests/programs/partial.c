/* SPDX-License-Identifier: MIT */
/* partial.c - large transfers by one call each, to a reader that takes them in pieces. Without signals each call
 * passes on everything; a signal of the program's own ends one early. Prints how many calls were short by
 * themselves, and whether the one that the program's signal ended returned what had been passed on.
 *     partial ROUNDS */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SIZE = 4 << 20, PIECE = 4096 };

static char out[SIZE], in[SIZE];
static pthread_t main_thread;
static volatile sig_atomic_t handled;

struct job {
    int fd;
    size_t size;
    int writes; /* 1: it writes, 0: it reads */
    int knocks; /* 1: signals the main thread at its end */
    int differ;
};

static void on_signal(int signal)
{
    handled = signal;
}

static void *other_end(void *argument)
{
    struct job *job = argument;
    for (size_t done = 0; done < job->size;) {
        size_t piece = job->size - done < PIECE ? job->size - done : PIECE;
        ssize_t got = job->writes ? write(job->fd, out + done, piece) : read(job->fd, in + done, piece);
        if (got <= 0)
            abort();
        if (!job->writes && memcmp(in + done, out + done, (size_t)got) != 0)
            job->differ = 1;
        done += (size_t)got;
    }
    if (job->knocks) {
        usleep(300000);
        pthread_kill(main_thread, SIGUSR1);
    }
    return NULL;
}

/* One call of `kind` on the pair; returns whether it was short or wrong. */
static int whole(int kind, const int *pair)
{
    struct job job = {.fd = pair[kind == 2], .size = SIZE, .writes = kind == 2};
    ssize_t got;
    if (kind < 2)
        job.fd = pair[0];
    pthread_t thread;
    pthread_create(&thread, NULL, other_end, &job);
    if (kind == 0)
        got = write(pair[1], out, SIZE);
    else if (kind == 1)
        got = send(pair[1], out, SIZE, MSG_NOSIGNAL);
    else
        got = recv(pair[0], in, SIZE, MSG_WAITALL);
    if (got != SIZE)
        return 1; /* the other end waits for ever: the caller leaves */
    pthread_join(thread, NULL);
    return job.differ || (kind == 2 && memcmp(in, out, SIZE) != 0);
}

/* 1 when a write that the program's signal ends says how much of it is in the pipe. */
static int ended(const int *pair)
{
    struct job job = {.fd = pair[0], .size = SIZE / 2, .knocks = 1};
    pthread_t thread;
    pthread_create(&thread, NULL, other_end, &job);
    ssize_t got = write(pair[1], out, SIZE);
    pthread_join(thread, NULL);
    if (got <= SIZE / 2 || got >= SIZE || !handled)
        return 0;
    for (ssize_t left = got - SIZE / 2; left > 0;) {
        ssize_t piece = read(pair[0], in, (size_t)left < PIECE ? (size_t)left : PIECE);
        if (piece <= 0 || memcmp(in, out + got - left, (size_t)piece) != 0)
            return 0;
        left -= piece;
    }
    return 1;
}

int main(int count, char **words)
{
    int rounds = count > 1 ? atoi(words[1]) : 10, flags = 0, tube[2], sockets[2], good = 0;
    main_thread = pthread_self();
    for (int i = 0; i < SIZE; i++)
        out[i] = (char)(i ^ i >> 9 ^ i >> 17);
    if (pipe(tube) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) < 0)
        return 1;
    for (int round = 0; round < rounds; round++)
        for (int kind = 0; kind < 3; kind++)
            if (whole(kind, kind == 0 ? tube : sockets)) {
                fprintf(stderr, "short: kind %d in round %d\n", kind, round);
                return 1;
            }
    for (flags = 0; flags <= SA_RESTART; flags += SA_RESTART) {
        struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
        sigaction(SIGUSR1, &action, NULL);
        handled = 0;
        good += ended(tube);
    }
    printf("%d rounds whole, %d of 2 ended by the program's signal\n", rounds, good);
    return 0;
}
