# cython: language_level=3
"""Cython: def, cpdef, cdef, a class, a generator, and a callback into Python."""


cpdef long cy_work(long rounds):
    cdef long total = 0, i
    for i in range(rounds):
        total += (i * 7) & 3
    return total


cdef object inner(object callback, int level):
    cy_work(2000)
    return callback(level)


def cy_call(callback, int level):
    return inner(callback, level)


def cy_generator(callback, int limit):
    for i in range(limit):
        yield callback(i)


cdef class Caller:
    cdef object callback

    def __init__(self, callback):
        self.callback = callback

    def __call__(self, level):
        return inner(self.callback, level)
