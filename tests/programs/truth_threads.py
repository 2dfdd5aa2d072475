# SPDX-License-Identifier: MIT
"""Five parts in four threads at once: two in Python (which share the GIL), two in C that release it, one
that waits often."""

import hashlib
import threading
import time
import zlib

import truth

BYTES = bytes(range(256)) * 256


def part_loop(size):
    total = 0
    for i in range(int(20000 * size)):
        total += i * i & 7
    return total


def part_text(size):
    for i in range(int(3000 * size)):
        "%d %s" % (i, "x".join("abc"))


def part_hash(size):
    for _ in range(int(40 * size)):
        hashlib.sha256(BYTES).digest()


def part_crc(size):
    for _ in range(int(60 * size)):
        zlib.adler32(BYTES)


def part_waits(size):
    for _ in range(int(4 * size)):
        sum(range(8000))
        time.sleep(0.0002)


def main():
    groups = (
        {part_loop: 1, part_text: 1},
        {part_text: 1, part_hash: 1},
        {part_crc: 1, part_hash: 1},
        {part_waits: 1},
    )
    everyone = [truth.Parts(group) for group in groups]
    seconds, seed = truth.seconds_asked() / len(groups), truth.seed_asked()
    threads = [
        threading.Thread(target=parts.run, args=(seconds, seed + number), name=f"truth-{number}")
        for number, parts in enumerate(everyone)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = truth.Parts({})
    for parts in everyone:
        for name, taken in parts.taken.items():
            total.taken[name] = total.taken.get(name, 0) + taken
    total.report()


main()
