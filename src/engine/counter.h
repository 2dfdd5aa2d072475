/* SPDX-License-Identifier: MIT */
/* counter.h - instructions retired by a thread, read in the handler without a system call. One file per
 * architecture; where the machine has no counter (or lends none to a virtual machine) everything here is a
 * no. */
#ifndef PLAIT_COUNTER_H
#define PLAIT_COUNTER_H

#include <stdint.h>

struct counter {
    int fd;              /* helper: -1 none */
    volatile void *page; /* mapped; what the handler reads; NULL none; atomic */
    uint64_t last;       /* handler: value at the last sample; 0 = not read yet */
};

/* Helper. 0 when this process can count instructions, else the negative errno of the call that refused;
 * -ENOTSUP when the event opens and can't be read from user space. */
int counter_probe(void);
/* Helper: begins counting on the thread `tid`. A thread that can't be counted has none. */
void counter_attach(struct counter *counter, int tid);
/* Ends it: the page, now out of a later handler's sight, is to be unmapped once none can be reading it. */
volatile void *counter_hide(struct counter *counter);
void counter_unmap(volatile void *page);

/* Handler: instructions since the last call for this counter, 0 when it can't be told (no counter, first
 * call, the counter is lent to someone else just now). Async-signal-safe, bounded. */
uint64_t counter_delta(struct counter *counter);

#endif
