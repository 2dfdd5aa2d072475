# SPDX-License-Identifier: MIT
"""Four parts, two of which spend their time in system calls (about a third of all)."""

import hashlib
import os

import truth

BYTES = bytes(range(256)) * 64
ZERO = os.open("/dev/zero", os.O_RDONLY)
ROOM = bytearray(1 << 20)


def part_read(size):
    for _ in range(int(25 * size)):
        os.readv(ZERO, [ROOM])


def part_stat(size):
    for _ in range(int(250 * size)):
        os.stat("/proc/self")
        os.getppid()


def part_loop(size):
    total = 0
    for i in range(int(20000 * size)):
        total += i * i & 7
    return total


def part_hash(size):
    for _ in range(int(90 * size)):
        hashlib.sha256(BYTES).digest()


def main():
    parts = truth.Parts({part_read: 3, part_stat: 2, part_loop: 2, part_hash: 3})
    parts.run(truth.seconds_asked(), truth.seed_asked())
    parts.report()
    used = os.times()
    print(used.system / (used.system + used.user))


main()
