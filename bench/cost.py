# SPDX-License-Identifier: MIT
"""What sampling costs: one process, slices of fixed work alternating three states in random order: off, an
empty handler on the same clock, full sampling.

    cost.py [--clock poll] [--rounds 60] [--slice 0.2] [--python EXE] [--what cold,warm]

    cold  1 kHz; between ticks the work walks through 8 MB of memory, so that the handler finds cold caches
    warm  10 kHz; small work, caches warm

The stack is about 30 mixed frames deep: Python functions under sort keys (Python -> list.sort -> Python). A
slice is timed by its thread's CPU clock, the process's (the helper's time included) and the wall clock. Printed:
the ratio of each state to off as the median of rounds [quartiles] and as sums trimmed by 5 %, and microseconds
per sample above the empty handler; and quantiles of the time between the handler's first and last instruction,
which preemption reaches only in its upper tail. These machines are noisy by a factor of two: trust the ratios.
"""

import argparse
import ctypes
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from plait import _library  # noqa: E402

STATES = ("off", "empty", "full")
# thread: the program's own thread, the handler included; process: the helper too.
CLOCKS = {"thread": time.thread_time, "process": time.process_time, "wall": time.perf_counter}
KINDS = {"cold": (1000, 8 << 20), "warm": (10000, 1 << 14)}  # rate, bytes that the work walks through


# ---- the work: 30 frames deep, a fixed amount ----


class Work:
    def __init__(self, size):
        self.memory = bytearray(size)
        self.view = memoryview(self.memory)

    def leaf(self, steps):
        """Touches a byte of every cache line once and computes a little, in pieces."""
        view, total = self.view, 0
        for _ in range(steps):
            total += sum(view[::64])
            for i in range(300):
                total += i & 7
        return total

    def down(self, level, steps):
        """Python -> Python -> list.sort -> Python: three frames a level."""
        if level == 0:
            return self.leaf(steps)
        return self.across(level, steps)

    def across(self, level, steps):
        return sorted((level,), key=lambda level: self.down(level - 1, steps))[0]

    def slice(self, steps):
        self.down(3, steps)


def calibrate(work, seconds):
    """Steps of a slice of about so many seconds."""
    steps = 8
    while True:
        before = time.process_time()
        work.slice(steps)
        took = time.process_time() - before
        if took > seconds / 4:
            return max(1, int(steps * seconds / took))
        steps *= 2


# ---- one round: each state once, in random order ----


def bench_library(cc="cc"):
    """The library with one function more (cost_hook.c): a handler that returns at once."""
    target = ROOT / "build" / "libprofiler-bench.so"
    archive = ROOT / "build" / "libprofiler.a"
    subprocess.run(["make", "-s", "build/libprofiler.a"], cwd=str(ROOT), check=True)
    command = [os.environ.get("CC", cc), "-std=c11", "-D_GNU_SOURCE", "-O2", "-fPIC", "-shared", "-Wl,-z,now"]
    command += [f"-I{ROOT / 'include'}", "-o", str(target), str(ROOT / "bench" / "cost_hook.c")]
    command += ["-Wl,--whole-archive", str(archive), "-Wl,--no-whole-archive", "-lm", "-lpthread", "-ldl"]
    subprocess.run(command, check=True)
    return str(target)


class Sampler:
    """profiler_start and profiler_stop, full or with the handler that returns at once."""

    def __init__(self, clock, rate):
        path = bench_library()
        self.library = _library.Library(path)
        self.hook = ctypes.CDLL(path)
        self.times = {state: [] for state in STATES}  # ns in the handler, each tick
        self.make_options = lambda: _library.options(rate=rate, clock=clock)

    def start(self, state):
        if state != "off":
            self.hook.bench_empty_handler(int(state == "empty"))
            self.library.check(self.library.start(ctypes.byref(self.make_options())))
            self.hook.bench_timed_handler(1)

    def stop(self, state):
        """Samples of the slice."""
        if state == "off":
            return 0
        self.hook.bench_timed_handler(0)
        self.library.check(self.library.stop())
        buffer = (ctypes.c_uint32 * 65536)()
        self.times[state] += buffer[: self.hook.bench_times(buffer, len(buffer))]
        return int(self.library.state().samples)


def one_slice(sampler, work, steps, state):
    """Seconds by each of CLOCKS, and samples, of one slice; start and stop are not in it."""
    sampler.start(state)
    work.slice(max(1, steps // 20))  # the first ticks build tables
    if state != "off":
        sampler.hook.bench_times((ctypes.c_uint32 * 65536)(), 0)
    begin = [clock() for clock in CLOCKS.values()]
    work.slice(steps)
    took = [clock() - start for clock, start in zip(CLOCKS.values(), begin)]
    return took + [sampler.stop(state)]


def measure(clock, kind, rounds, seconds, seed=1):
    rate, size = KINDS[kind]
    work, sampler, chance = Work(size), Sampler(clock, rate), random.Random(seed)
    steps = calibrate(work, seconds)
    found = {state: [] for state in STATES}
    for _ in range(rounds + 1):
        for state in chance.sample(STATES, len(STATES)):
            found[state].append(one_slice(sampler, work, steps, state))
    return rate, {state: slices[1:] for state, slices in found.items()}, sampler.times


# ---- figures ----


def trimmed(values, share=0.05):
    values = sorted(values)
    cut = int(len(values) * share)
    return sum(values[cut : len(values) - cut or None])


def quantiles(values):
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.4f} [{low:.4f} {high:.4f}]"


def report(clock, kind, rate, found, times):
    seconds = statistics.median(took[-2] for took in found["off"])
    samples = statistics.median(took[-1] for took in found["full"]) * 20 / 21
    print(
        f"{kind}: {rate} Hz on {clock}, {len(found['off'])} rounds of {seconds:.3f} s, {samples:.0f} samples a slice"
    )
    for column, name in enumerate(CLOCKS):
        off, empty, full = ([took[column] for took in found[state]] for state in STATES)
        for state, here in (("empty", empty), ("full", full)):
            pairs = quantiles([b / a for a, b in zip(off, here)])
            sums = trimmed(here) / trimmed(off)
            print(f"  {name:7} {state:5} / off: median of rounds {pairs}, trimmed sums {sums:.4f}")
        extra = [(b - a) / max(samples, 1) * 1e6 for a, b in zip(empty, full)]
        error = 1.25 * statistics.stdev(extra) / len(extra) ** 0.5
        print(
            f"  {name:7} above the empty handler: {statistics.median(extra):.2f} us a sample (+- {error:.2f})"
        )
    marks = {state: statistics.quantiles(times[state], n=20) for state in ("empty", "full")}
    for state, cuts in marks.items():
        low, middle, high, most = (cuts[i] / 1000 for i in (4, 9, 14, 18))
        print(f"  handler {state:5}: median {middle:.2f} us [{low:.2f} {high:.2f}], 95 % below {most:.2f}")
    print(f"  handler full above empty, medians: {(marks['full'][9] - marks['empty'][9]) / 1000:.2f} us a sample")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clock", default="poll,perf")
    parser.add_argument("--what", default="cold,warm")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--slice", type=float, default=0.2)
    parser.add_argument("--python", default=None)
    options = parser.parse_args()
    if options.python and os.path.realpath(options.python) != os.path.realpath(sys.executable):
        words = sys.argv[1:]
        at = words.index("--python")
        return subprocess.run([options.python, __file__, *words[:at], *words[at + 2 :]]).returncode
    for clock in options.clock.split(","):
        for kind in options.what.split(","):
            report(clock, kind, *measure(clock, kind, options.rounds, options.slice))
    return 0


if __name__ == "__main__":
    sys.exit(main())
