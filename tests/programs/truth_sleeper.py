# SPDX-License-Identifier: MIT
"""Four parts that use the CPU in bursts of 0.3 to 4 ms, each followed by a sleep."""

import os
import time

import truth

ZERO = os.open("/dev/zero", os.O_RDONLY)
ROOM = bytearray(1 << 18)


def busy(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def part_tiny(size):
    busy(0.0003 * size)


def part_short(size):
    busy(0.001 * size)


def part_long(size):
    busy(0.004 * size)


def part_read(size):
    for _ in range(int(60 * size)):
        os.readv(ZERO, [ROOM])


def main():
    bursts = [part_tiny, part_short, part_long, part_read]
    parts = truth.Parts(dict.fromkeys(bursts, 1), rest=0.002)
    parts.run(truth.seconds_asked(), truth.seed_asked())
    parts.report()


main()
