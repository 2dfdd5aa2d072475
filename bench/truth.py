# SPDX-License-Identifier: MIT
"""How far the profile's shares are from the truth: programs that time their own parts, on every clock, as
root and as an ordinary user.

    truth.py [--runs 9] [--samples 6000] [--rate 1000] [--clocks ...] [--programs ...] [--users root,nobody]

For each: the total variation distance of every run, the median, and beside it what perfect independent
sampling with as many samples gives. The exit status is 1 when a median is above --limit (default 1.5 %).
"""

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "py"))

import harness  # noqa: E402
import truth_check  # noqa: E402

PROGRAMS = ("compute", "kernel", "threads", "sleeper")


def one_run(program, clock, rate, seconds, seed, python, nobody):
    """(distance, samples in parts, distance of perfect sampling, booked CPU / measured CPU)"""
    argv = [python, harness.PROGRAMS / f"truth_{program}.py", seconds, seed]
    done = harness.profile(argv, rate=rate, clock=clock, nobody=nobody, timeout=600)
    truth, found = truth_check.taken(done.result.stdout), truth_check.booked(done.samples)
    count = sum(1 for sample in done.samples if any(frame.function in truth for frame in sample.frames))
    expected = truth_check.expected_distance(truth, max(count, 1), rounds=300, seed=seed)
    return truth_check.distance(truth, found), count, expected, sum(found.values()) / sum(truth.values())


def judge(program, clock, user, options):
    nobody = user == "nobody"
    python = "/usr/bin/python3" if nobody else (options.python or sys.executable)
    # The posix clock ticks at the kernel's HZ at most: more CPU time for as many samples.
    rate = min(options.rate, 250) if clock == "posix" else options.rate
    seconds = options.samples / rate
    runs = [
        one_run(program, clock, rate, seconds, seed, python, nobody) for seed in range(1, options.runs + 1)
    ]
    distances = [run[0] for run in runs]
    middle, perfect = statistics.median(distances), statistics.median(run[2] for run in runs)
    good = middle <= options.limit
    count, booked = statistics.median(run[1] for run in runs), statistics.median(run[3] for run in runs)
    each = " ".join(f"{distance:.2%}" for distance in sorted(distances))
    print(f"{'ok ' if good else 'BAD'} {program:8} {clock:6} {user:7} median {middle:6.2%}", end="  ")
    print(f"perfect {perfect:6.2%}  samples {count:.0f}  CPU booked {booked:.3f}  runs {each}", flush=True)
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--samples", type=int, default=6000)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--limit", type=float, default=0.015)
    parser.add_argument("--clocks", default=",".join(harness.CLOCKS))
    parser.add_argument("--programs", default=",".join(PROGRAMS))
    parser.add_argument("--users", default="root,nobody" if harness.can_be_nobody() == "" else "here")
    parser.add_argument("--python", default=None)
    options = parser.parse_args()
    results = []
    for user in options.users.split(","):
        for clock in options.clocks.split(","):
            refused = harness.clock_refused(clock, nobody=user == "nobody")
            if refused:
                print(f"skipped {clock} as {user}: {refused.splitlines()[0]}")
                continue
            for program in options.programs.split(","):
                results.append(judge(program, clock, user, options))
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return not all(results)


if __name__ == "__main__":
    sys.exit(main())
