# SPDX-License-Identifier: MIT
"""Parts that wait, each for something else, and one that computes: by the wall clock, in random order. Arguments:
seconds, seed. Prints the nanoseconds of each as JSON."""

import json
import os
import queue
import random
import select
import socket
import subprocess
import sys
import threading
import time

LEFT, RIGHT = socket.socketpair()
READ, WRITE = os.pipe()
LOCK = threading.Lock()
LOCK.acquire()
QUEUE = queue.Queue()


def part_compute(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def part_sleep(seconds):
    time.sleep(seconds)


def part_lock(seconds):
    LOCK.acquire(timeout=seconds)


def part_queue(seconds):
    try:
        QUEUE.get(timeout=seconds)
    except queue.Empty:
        pass


def part_socket(seconds):
    LEFT.settimeout(seconds)
    try:
        LEFT.recv(1)
    except socket.timeout:
        pass


def part_select(seconds):
    select.select([READ], [], [], seconds)


def part_child(seconds):
    subprocess.call(["/bin/sleep", f"{seconds:.4f}"])


def alternate_first(seconds):
    time.sleep(seconds)


def alternate_second(seconds):
    time.sleep(seconds)


def part_first(seconds):
    """Two waits in turn, with a few microseconds in between."""
    took = 0
    for _ in range(3):
        alternate_first(seconds / 9)
        before = time.perf_counter_ns()
        alternate_second(2 * seconds / 9)
        took += time.perf_counter_ns() - before
    return took


PARTS = [part_compute, part_sleep, part_lock, part_queue, part_socket, part_select, part_child, part_first]


def main():
    seconds, seed = float(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(seed)
    taken = dict.fromkeys([part.__name__ for part in PARTS] + ["alternate_second"], 0)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        part = chance.choice(PARTS)
        size = chance.uniform(0.002, 0.02)
        before = time.perf_counter_ns()
        second = part(size) or 0
        taken[part.__name__] += time.perf_counter_ns() - before - second
        taken["alternate_second"] += second
    print(json.dumps(taken))


main()
