# SPDX-License-Identifier: MIT
"""A thread that computes in Python while the main thread holds the interpreter's lock in C for a while, and lets it
go for a while. Argument: seconds. Prints nanoseconds as JSON: how long it held the lock within the call, and how long
all took."""

import ctypes
import json
import sys
import threading
import time

LIBRARY = ctypes.PyDLL(None)  # calls through it keep the lock
STOP = []


def computes():
    total = 0
    while not STOP:
        total += sum(range(100))
    return total


def holding():
    LIBRARY.usleep(20000)


def letting():
    time.sleep(0.02)


def main():
    calls = 0
    other = threading.Thread(target=computes)
    end = time.perf_counter() + float(sys.argv[1])
    other.start()
    before = time.perf_counter_ns()
    while time.perf_counter() < end:
        holding()
        letting()
        calls += 1
    whole = time.perf_counter_ns() - before
    STOP.append(1)
    other.join()
    print(json.dumps({"holding": calls * 20000000, "whole": whole}))


main()
