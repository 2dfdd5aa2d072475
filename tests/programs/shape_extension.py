# SPDX-License-Identifier: MIT
"""Python through Cython and pybind11 and back. Marks: tests/py/shapes.py.

    shape_extension.py CPU_SECONDS cython|pybind
"""

import sys
import time


def work(rounds=150):
    total = 0
    for i in range(rounds):
        total += i & 3
    return total


def by_call(level):
    work()  # -> work
    return through(level - 1) if level > 0 else level  # -> through


def by_map(value):
    return work() + value  # -> work


def by_throw(value):
    work()  # -> work
    raise KeyError(value)


def through(level):
    return calls[0](by_call, level)  # -> by_call


def cython():
    through(3)  # -> through
    list(shape_cython.cy_generator(by_map, 4))  # -> by_map
    shape_cython.Caller(by_call)(2)  # -> by_call


def pybind():
    through(3)  # -> through
    shape_pybind.pb_map(by_map, [1, 2, 3])  # -> by_map
    try:
        shape_pybind.pb_throw(by_throw)  # -> by_throw
    except RuntimeError:
        work()  # -> work


def main():
    end = time.process_time() + float(sys.argv[1])
    while time.process_time() < end:
        part()  # -> cython, pybind
    print("ok")


if sys.argv[2] == "cython":
    import shape_cython

    calls, part = [shape_cython.cy_call], cython
else:
    import shape_pybind

    calls, part = [shape_pybind.pb_call], pybind
if __name__ == "__main__":
    main()  # -> main
