# SPDX-License-Identifier: MIT
"""A program whose nesting Python -> C -> Python -> C is known: tests/py/nesting.py holds the grammar.

    nest.py HELPER.so CPU_SECONDS [DEPTH] [probe]

`descend` picks a way, `through_WAY` calls into C on the line marked with the way's name, the C code calls
`by_WAY`, which works and descends again. So the names on a stack alone tell whether it is a path of the
program. Runs until the process has used CPU_SECONDS, then prints what it did.
"""

import ctypes
import functools
import re
import sqlite3
import sys
import threading
import time

WAYS = ("sort", "qsort", "sre", "sqlite", "reduce", "map", "thread")
COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
LEVEL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
NUMBER = re.compile(r"\d+")

helper = ctypes.CDLL(sys.argv[1])
helper.nest_qsort.argtypes = (ctypes.POINTER(ctypes.c_int), ctypes.c_size_t, COMPARE)
helper.nest_thread.argtypes = (LEVEL, ctypes.c_int)
depth = int(sys.argv[3]) if len(sys.argv) > 3 else 5
connections = {}
calls = dict.fromkeys(WAYS, 0)
turn = 0


def work(rounds):
    total = 0
    for i in range(rounds):
        total += i & 3
    return total


def descend(level):
    global turn
    work(20)
    if level >= depth:
        return work(60)
    turn += 1
    way = WAYS[(turn * 5 + level) % len(WAYS)]
    calls[way] += 1
    return THROUGH[way](level + 1)


def by_sort(level):
    work(10)
    descend(level)
    work(10)
    return level


def through_sort(level):
    result = sorted((level, level), key=by_sort)  # way: sort
    return result[0]


@COMPARE
def by_qsort(left, right):
    work(10)
    descend(left[0])
    return left[0] - right[0]


def through_qsort(level):
    values = (ctypes.c_int * 2)(level, level)
    return helper.nest_qsort(values, 2, by_qsort)  # way: qsort


def by_sre(match):
    work(10)
    descend(int(match.group()))
    return match.group()


def through_sre(level):
    return int(NUMBER.sub(by_sre, str(level)))  # way: sre


def by_sqlite(level):
    work(10)
    descend(level)
    return level


def connection():
    me = threading.get_ident()
    if me not in connections:
        connections[me] = sqlite3.connect(":memory:")
        connections[me].create_function("by_sqlite", 1, by_sqlite)
    return connections[me]


def through_sqlite(level):
    cursor = connection().cursor()
    cursor.execute("select by_sqlite(?)", (level,))  # way: sqlite
    return cursor.fetchone()[0]


def by_reduce(total, level):
    work(10)
    descend(level)
    return total


def through_reduce(level):
    return functools.reduce(by_reduce, (level, level))  # way: reduce


def by_map(level):
    work(10)
    descend(level)
    return level


def through_map(level):
    return list(map(by_map, (level,)))[0]  # way: map


@LEVEL
def by_thread(level):
    work(200)
    descend(level)
    lost = connections.pop(threading.get_ident(), None)
    if lost is not None:
        lost.close()
    return level


def through_thread(level):
    return helper.nest_thread(by_thread, level)  # way: thread


THROUGH = {way: globals()["through_" + way] for way in WAYS}


def main():
    seconds = float(sys.argv[2])
    while time.process_time() < seconds:
        descend(0)
    print(sum(calls.values()) > 0, min(calls.values()) > 0)


if __name__ == "__main__":
    main()
