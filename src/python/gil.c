/* SPDX-License-Identifier: MIT */
/* gil.c - who holds the interpreter's lock and who waits for it; see python.h. No field says that a thread
 * waits: its futex does, which lies in the lock's own structure. */
#include "offsets.h"
#include "read.h"

/* The lock of the interpreter that the thread belongs to, 0 without one. */
static uint64_t find_lock(const struct py_runtime *py, uint64_t interp, struct guard *guard)
{
    const struct py_offsets *o = py->offsets;
    uint64_t lock = 0;
    if (o->runtime_gil != PY_ABSENT)
        lock = py->symbols.runtime + (uint64_t)o->runtime_gil;
    else if (o->interp_gil != PY_ABSENT && guard_has(guard, interp + (uint64_t)o->interp_gil, 8))
        lock = load_word(interp + (uint64_t)o->interp_gil);
    return lock != 0 && lock % 8 == 0 && guard_has(guard, lock, (uint32_t)o->gil_size) ? lock : 0;
}

static int is_collecting(const struct py_runtime *py, uint64_t interp, struct guard *guard)
{
    const struct py_offsets *o = py->offsets;
    uint64_t place = o->runtime_collecting != PY_ABSENT
                         ? py->symbols.runtime + (uint64_t)o->runtime_collecting
                         : interp + (uint64_t)o->interp_collecting;
    return guard_has(guard, place, 4) && load_int(place) == 1;
}

int py_has_gil(const struct py_runtime *py)
{
    return py->offsets != NULL && py->offsets->gil_size != PY_ABSENT;
}

uint32_t py_gil(const struct py_runtime *py, uint64_t thread, uint64_t futex, struct guard *guard)
{
    const struct py_offsets *o = py->offsets;
    if (thread == 0 || !py_has_gil(py) || !guard_has(guard, thread + (uint64_t)o->thread_interp, 8))
        return 0;
    uint64_t interp = load_word(thread + (uint64_t)o->thread_interp);
    uint64_t lock = interp != 0 && interp % 8 == 0 ? find_lock(py, interp, guard) : 0;
    if (lock == 0)
        return 0;
    int holds =
        load_int(lock + (uint64_t)o->gil_locked) == 1 && load_word(lock + (uint64_t)o->gil_holder) == thread;
    if (holds)
        return STATE_GIL | (is_collecting(py, interp, guard) ? STATE_COLLECTING : 0);
    return futex - lock < (uint64_t)o->gil_size ? STATE_GIL_WAIT : 0;
}
