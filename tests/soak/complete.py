# SPDX-License-Identifier: MIT
"""What is complete: a numpy, sqlite3, zlib and json program with threads on every interpreter and clock.

    complete.py [--seconds 6] [--rate 2000] [--clocks poll,perf] [PYTHON NAME ...]

A line per run: samples, ticks lost, samples whose native stack ends at the thread's start, and those whose
Python stack begins where it must. None may be lost, 99.5 % native and 100 % Python are asked for.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

import completeness  # noqa: E402
import harness  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--clocks", default="poll,perf")
    parser.add_argument("pythons", nargs="*", default=list(harness.PYTHONS))
    options = parser.parse_args()
    results = []
    for clock in options.clocks.split(","):
        refused = harness.clock_refused(clock)
        if refused:
            print(f"skipped: {refused}")
            continue
        for name in options.pythons:
            row, why = completeness.measure(name, clock, options.seconds, options.rate)
            print(f"skipped: {why}" if why else completeness.describe(name, clock, row), flush=True)
            results.append(None if why else completeness.is_good(row))
    print(f"{results.count(True)} passed, {results.count(False)} failed, {results.count(None)} skipped")
    return False in results


if __name__ == "__main__":
    sys.exit(main())
