# SPDX-License-Identifier: MIT
"""Greenlets: switches in the middle of calls, through C, between greenlets of several depths, and death by an
exception. Marks: tests/py/shapes.py.

    shape_greenlet.py CPU_SECONDS
"""

import sys
import time

from greenlet import GreenletExit, getcurrent, greenlet

ROUNDS = 100


def work(rounds=ROUNDS):
    total = 0
    for i in range(rounds):
        total += i & 3
    return total


# ---- ping and pong: deep in their own calls ----


def ping(level):
    if level > 0:
        ping(level - 1)  # -> ping
        return work()  # -> work
    for _ in range(4):
        work()  # -> work
        partner[1].switch(3)
    return work()  # -> work


def pong(level):
    if level > 0:
        return sorted([level], key=by_key)  # -> by_key
    for _ in range(4):
        work()  # -> work
        partner[0].switch(3)
    return work()  # -> work


def by_key(level):
    work()  # -> work
    return pong(level - 1)  # -> pong


# ---- a generator made of a greenlet, resumed at several depths ----


def producer(limit):
    for i in range(limit):
        work()  # -> work
        getcurrent().parent.switch(i)
        deeper(i)  # -> deeper
    return None


def deeper(level):
    work()  # -> work
    if level > 0:
        deeper(level - 1)  # -> deeper
    else:
        getcurrent().parent.switch(-1)
        work()  # -> work


def take(source, level):
    work()  # -> work
    if level > 0:
        return list(map(lambda _: take(source, level - 1), [0]))[0]  # -> <lambda>, take
    value = source.switch(5)
    work()  # -> work
    return value


def consume():
    source = greenlet(producer)  # => producer
    value, level = 0, 0
    while value is not None:
        value = take(source, level % 5)  # -> take
        level += 1


def killed():
    try:
        while True:
            work()  # -> work
            getcurrent().parent.switch()
    except GreenletExit:
        work()  # -> work


def kill():
    victims = [greenlet(killed) for _ in range(3)]  # -> <listcomp>
    # => killed
    for victim in victims:
        victim.switch()
    for victim in victims:
        victim.throw()
    work()  # -> work


partner = []


def main():
    turns = 0
    while time.process_time() < float(sys.argv[1]):
        partner[:] = [greenlet(ping), greenlet(pong)]  # => ping, pong
        partner[0].switch(3)
        consume()  # -> consume
        kill()  # -> kill
        turns += 1
    print(turns)


if __name__ == "__main__":
    main()  # -> main
