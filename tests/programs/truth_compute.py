# SPDX-License-Identifier: MIT
"""Five parts: Python loops, short calls, recursion 50 deep, C time in hashlib, C time in sorting."""

import hashlib
import random

import truth

NUMBERS = [random.Random(7).random() for _ in range(4000)]
BYTES = bytes(range(256)) * 64


def part_loop(size):
    total = 0
    for i in range(int(20000 * size)):
        total += i * i & 7
    return total


def short(a, b):
    return a + b


def part_calls(size):
    total = 0
    for _ in range(int(9000 * size)):
        total = short(total, 1)
    return total


def deeper(level):
    total = 0
    for _ in range(3):
        total += level
    return total if level == 0 else total + deeper(level - 1)


def part_recursion(size):
    for _ in range(int(60 * size)):
        deeper(50)


def part_hash(size):
    for _ in range(int(150 * size)):
        hashlib.sha256(BYTES).digest()


def part_sort(size):
    for _ in range(max(1, int(9 * size))):
        sorted(NUMBERS)


def main():
    parts = truth.Parts({part_loop: 3, part_calls: 3, part_recursion: 2, part_hash: 2, part_sort: 3})
    parts.run(truth.seconds_asked(), truth.seed_asked())
    parts.report()


main()
