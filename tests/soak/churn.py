# SPDX-License-Identifier: MIT
"""What an hour of use would leak: many short recordings in one process, while threads and forks come and go.

    churn.py [--rounds 10000] [--seconds 400] [--clocks poll,perf,posix]

Each clock gets so many starts and stops, or so many seconds. Between a tenth of them and the end the process may
not have grown: memory, mappings, descriptors, timers, threads, temporary files.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

import harness  # noqa: E402

CHURN = harness.PROGRAMS / "harm_churn.py"
# What may differ by where the last threads happened to be; memory besides by what allocators keep.
SLACK = {"memory_kb": 600, "mappings": 16, "descriptors": 0, "timers": 8, "threads": 0, "files": 0}
BYTES_A_ROUND = 20


def growth(clock, rounds, seconds):
    """(rounds done, {count: (before, after)}, the names of those that grew)."""
    argv = [sys.executable, "-W", "ignore", CHURN, clock, rounds, seconds]
    result = harness.run(argv, timeout=seconds * 3 + 120)
    assert result.status == 0 and not result.stderr, result.stderr.decode()[-2000:]
    words = [line.split() for line in result.stdout.decode().splitlines()]
    done = int(words[0][1])
    counts = {name: (int(before), int(after)) for name, before, after in words[1:]}
    allowed = dict(SLACK, memory_kb=SLACK["memory_kb"] + done * BYTES_A_ROUND // 1024)
    return done, counts, [name for name, (a, b) in counts.items() if b - a > allowed[name]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10000)
    parser.add_argument("--seconds", type=float, default=400)
    parser.add_argument("--clocks", default=",".join(harness.CLOCKS))
    chosen = parser.parse_args()
    failed = 0
    for clock in chosen.clocks.split(","):
        refused = harness.clock_refused(clock)
        if refused:
            print(f"skipped: {refused}")
            continue
        done, counts, grown = growth(clock, chosen.rounds, chosen.seconds)
        failed += bool(grown)
        shown = ", ".join(f"{name} {before} -> {after}" for name, (before, after) in counts.items())
        print(
            f"{'BAD' if grown else 'ok '} {clock}: {done} rounds: {shown}; grew: {grown or 'nothing'}",
            flush=True,
        )
    return failed


if __name__ == "__main__":
    sys.exit(main())
