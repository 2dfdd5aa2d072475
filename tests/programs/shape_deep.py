# SPDX-License-Identifier: MIT
"""A recursion of 20,000 calls, the work at its bottom. Marks: tests/py/shapes.py.

    shape_deep.py CPU_SECONDS DEPTH
"""

import sys
import threading
import time


def work(rounds=20000):
    total = 0
    for i in range(rounds):
        total += i & 3
    return total


def down(level):
    if level > 0:
        return down(level - 1)  # -> down
    while time.process_time() < float(sys.argv[1]):
        work()  # -> work
    return bottom()  # -> bottom


def bottom():
    return work()  # -> work


def main():
    down(int(sys.argv[2]))  # -> down


if __name__ == "__main__":
    sys.setrecursionlimit(int(sys.argv[2]) + 1000)
    threading.stack_size(512 << 20)
    thread = threading.Thread(target=main)  # => main
    thread.start()
    thread.join()
    print("done")
