# SPDX-License-Identifier: MIT
"""The nesting check over many samples: every interpreter found, every clock.

    nesting.py [--samples 20000] [--rate 10000] [--clocks poll,perf,posix] [PYTHON NAME ...]

Runs nest.py until so many samples were judged. At most one sample in a thousand may be degraded, none wrong.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

import harness  # noqa: E402
from nesting import Checker  # noqa: E402

NEST = harness.PROGRAMS / "nest.py"


def judge(name, clock, wanted, rate):
    python, helper = harness.PYTHONS[name], harness.build("nest", shared=True)
    checker = Checker(NEST, symbols_known=harness.has_symbols(python), warming=0)
    lost, seconds = 0, 3
    for _ in range(40):
        done = harness.profile([python, NEST, helper, seconds], rate=rate, clock=clock)
        checker.check_recording(done.samples, done.main_thread)
        lost += done.totals["lost"]
        if checker.counts["checked"] >= wanted:
            break
        seconds = 10
    total = checker.counts["checked"] + checker.counts["degraded"]
    good = (
        not checker.wrong
        and checker.counts["degraded"] <= 0.001 * total
        and checker.counts["checked"] >= wanted
    )
    print(f"{'ok ' if good else 'BAD'} {name} {clock}: lost ticks {lost}; {checker.report()}", flush=True)
    for reason, sample in checker.wrong[:3]:
        print(f"      {reason}; flags {sorted(sample.flags)}")
        for frame in sample.frames:
            print(f"        {frame.kind} {frame.function or '?'} {frame.line} {frame.module}")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=20000)
    parser.add_argument("--rate", type=int, default=10000)
    parser.add_argument("--clocks", default=",".join(harness.CLOCKS))
    parser.add_argument("pythons", nargs="*", default=list(harness.PYTHONS))
    options = parser.parse_args()
    results = []
    for clock in options.clocks.split(","):
        refused = harness.clock_refused(clock)
        if refused:
            print(f"skipped: {refused}")
            continue
        results += [judge(name, clock, options.samples, options.rate) for name in options.pythons]
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return not all(results)


if __name__ == "__main__":
    sys.exit(main())
