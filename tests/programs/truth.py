# SPDX-License-Identifier: MIT
"""What the truth programs share: parts that time themselves by their thread's CPU clock.

A part is a function named `part_...`. `Parts.run` calls them in slices, in random order, until the process
has used so many seconds; each slice is timed by the calling thread's CPU clock, so what the profile says of a
part can be compared with what the part took. `report` prints the nanoseconds of each as JSON.
"""

import json
import random
import sys
import threading
import time


class Parts:
    def __init__(self, parts, rest=0):
        self.parts = parts  # {function: share of the slices}
        self.rest = rest  # seconds asleep after each slice, on average
        self.taken = dict.fromkeys((part.__name__ for part in parts), 0)
        self.lock = threading.Lock()

    def run(self, seconds, seed):
        """Slices in random order until this thread has used `seconds`."""
        chance = random.Random(seed)
        functions = list(self.parts)
        weights = [self.parts[function] for function in functions]
        taken = dict.fromkeys((function.__name__ for function in functions), 0)
        end = time.thread_time_ns() + int(seconds * 1e9)
        now = time.thread_time_ns()
        while now < end:
            function = chance.choices(functions, weights)[0]
            size = chance.uniform(0.5, 1.5)
            before = time.thread_time_ns()
            function(size)
            now = time.thread_time_ns()
            taken[function.__name__] += now - before
            if self.rest:
                time.sleep(self.rest * chance.uniform(0.5, 1.5))
        with self.lock:
            for name, nanoseconds in taken.items():
                self.taken[name] += nanoseconds

    def report(self):
        json.dump(self.taken, sys.stdout)
        print()


def seconds_asked(default=2.0):
    return float(sys.argv[1]) if len(sys.argv) > 1 else default


def seed_asked():
    return int(sys.argv[2]) if len(sys.argv) > 2 else 1
