/* SPDX-License-Identifier: MIT */
/* slot.c - where a thread keeps its PyThreadState. Up to 3.14 a thread-specific value of libc holds the state
 * that was the thread's first; from 3.15 on a thread-local variable does. From 3.12 on another variable holds
 * the state that is current, and nothing while the thread is detached from the interpreter. A stripped
 * library does not say where these variables lie, but two functions return them. py_find_slot also runs in
 * the raw helper and uses os_* only; the rest is for normal threads. */
#include "slot.h"
#include "offsets.h"
#include "read.h"

#include "../os/os.h"
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>

enum {
    KEYS = 32,               /* thread-specific values that lie inside a thread's own block */
    KEY_STRIDE = 16,         /* a sequence number and a value each */
    BLOCK_SCAN = 0x900,      /* bytes from the thread pointer in which that block starts */
    INTERPRETERS_MOST = 256, /* in the list that makes a thread state plausible */
    LOCALS_MOST = 65536,     /* bytes before the thread pointer in which thread-local variables may lie */
};

static const uint64_t magic = 0x70b1a17d5eed5ee8u;

/* A word of this process that may go away at any moment. 1 = read. */
static int peek_word(uint64_t address, uint64_t *word)
{
    long got = os_peek(address, word, sizeof *word);
    if (got == (long)sizeof *word)
        return 1;
    if (!os_readable(address)) /* os_peek may be forbidden */
        return 0;
    *word = load_word(address);
    return 1;
}

static int is_interpreter(const struct py_runtime *py, uint64_t interpreter)
{
    const struct py_offsets *o = py->offsets;
    uint64_t at;
    if (interpreter == 0 || !peek_word(py->symbols.runtime + (uint64_t)o->runtime_head, &at))
        return 0;
    for (int i = 0; i < INTERPRETERS_MOST && at != 0; i++) {
        if (at == interpreter)
            return 1;
        if ((at & 7) != 0 || !peek_word(at + (uint64_t)o->interp_next, &at))
            return 0;
    }
    return 0;
}

static int is_slot(const struct py_runtime *py, uint64_t thread_pointer, uint64_t address)
{
    uint64_t thread, id, interpreter;
    return peek_word(address, &thread) && thread != 0 && (thread & 7) == 0 &&
           peek_word(thread + (uint64_t)py->offsets->thread_id, &id) && id == thread_pointer &&
           peek_word(thread + (uint64_t)py->offsets->thread_interp, &interpreter) &&
           is_interpreter(py, interpreter);
}

int py_find_slot(struct py_runtime *py, uint64_t thread_pointer, int64_t data_offset)
{
    if (py->offsets == NULL)
        return 0;
    if (__atomic_load_n(&py->slot, __ATOMIC_RELAXED) != 0)
        return 1;
    if (data_offset == 0 || py->offsets->runtime_key < 0)
        return 0;
    /* The runtime's own key first: extensions keep thread states in keys of theirs, too. */
    uint64_t key;
    if (!peek_word(py->symbols.runtime + (uint64_t)py->offsets->runtime_key, &key))
        return 0;
    key &= UINT32_MAX;
    for (int64_t i = -1; i < KEYS; i++) {
        int64_t slot = data_offset + KEY_STRIDE * (i < 0 ? (int64_t)key : i);
        if ((i >= 0 || key < KEYS) && is_slot(py, thread_pointer, thread_pointer + (uint64_t)slot)) {
            __atomic_store_n(&py->slot, slot, __ATOMIC_RELAXED);
            return 1;
        }
    }
    return 0;
}

int64_t py_data_offset(void)
{
    uint64_t thread_pointer = (uint64_t)(uintptr_t)__builtin_thread_pointer();
    const uint64_t value = magic ^ thread_pointer;
    pthread_key_t key;
    int64_t found = 0;
    if (pthread_key_create(&key, NULL) != 0)
        return 0;
    if (key < KEYS && pthread_setspecific(key, (const void *)(uintptr_t)value) == 0) {
        for (int64_t at = 0; at < BLOCK_SCAN && found == 0; at += 8)
            if (load_word(thread_pointer + (uint64_t)at) == value)
                found = at - KEY_STRIDE * (int64_t)key;
        pthread_setspecific(key, NULL);
    }
    pthread_key_delete(key);
    return found;
}

struct locals {
    uint64_t runtime;  /* an address in the library looked for */
    int64_t low, high; /* its thread-local variables, from the thread pointer on; equal when there are none
                          that lie at the same distance in every thread */
};

/* Those of the program, and of libraries that were there at the start, lie just before the thread pointer. */
static int find_locals(struct dl_phdr_info *info, size_t size, void *context)
{
    struct locals *locals = context;
    const ElfW(Phdr) *variables = NULL;
    int found = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_TLS)
            variables = segment;
        found |= segment->p_type == PT_LOAD &&
                 locals->runtime - info->dlpi_addr - segment->p_vaddr < segment->p_memsz;
    }
    if (!found || variables == NULL || size < sizeof *info || info->dlpi_tls_data == NULL)
        return found;
    int64_t low =
        (int64_t)((uint64_t)(uintptr_t)info->dlpi_tls_data - (uint64_t)(uintptr_t)__builtin_thread_pointer());
    if (low < 0 && low >= -LOCALS_MOST) {
        locals->low = (low + 7) & -8;
        locals->high = low + (int64_t)variables->p_memsz;
    }
    return 1;
}

/* The variable of this thread that the function returns, tried out by writing into one after the other:
 * nothing else runs on this thread meanwhile, and no other thread uses them. 0 = none. */
static int64_t find_variable(const struct locals *locals, uint64_t function)
{
    void *(*get)(void) = (void *(*)(void))(uintptr_t)function;
    int64_t found = 0;
    for (int64_t at = locals->low; function != 0 && at + 8 <= locals->high && found == 0; at += 8) {
        volatile uint64_t *variable =
            (volatile uint64_t *)((uintptr_t)__builtin_thread_pointer() + (uintptr_t)at);
        uint64_t kept = *variable;
        *variable = magic;
        if ((uint64_t)(uintptr_t)get() == magic)
            found = at;
        *variable = kept;
    }
    return found;
}

void py_thread_locals(struct py_runtime *py)
{
    struct locals locals = {py->symbols.runtime, 0, 0};
    const uint64_t all = UINT64_MAX;
    uint64_t before = 0;
    if (py->minor < 12)
        return;
    dl_iterate_phdr(find_locals, &locals);
    if (os_call4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, 8) != 0)
        return;
    py->current = find_variable(&locals, py->symbols.current_thread);
    if (py->offsets->runtime_key < 0)
        py->slot = find_variable(&locals, py->symbols.this_thread);
    os_call4(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, 8);
}
