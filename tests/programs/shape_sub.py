# SPDX-License-Identifier: MIT
"""Subinterpreters run by Python code, on the main thread and on threads of their own.

    shape_sub.py CPU_SECONDS
"""

import sys
import threading
import time

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

TEXT = """
def work(rounds=3000):
    total = 0
    for i in range(rounds):
        total += i & 3
    return total

def in_sub_%d(level):
    work()
    return sorted([level], key=lambda level: in_sub_%d(level - 1) if level else work())

for _ in range(30):
    in_sub_%d(2)
"""


def work(rounds=3000):
    total = 0
    for i in range(rounds):
        total += i & 3
    return total


def enter(sub, number):
    work()
    interpreters.run_string(sub, TEXT % (number, number, number))
    work()


def on_a_thread(number, end):
    sub = interpreters.create()
    while time.process_time() < end:
        enter(sub, number)
    interpreters.destroy(sub)


def main():
    end = float(sys.argv[1])
    threads = [threading.Thread(target=on_a_thread, args=(number, end)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    on_a_thread(3, end)
    for thread in threads:
        thread.join()
    print("ok")


if __name__ == "__main__":
    main()
