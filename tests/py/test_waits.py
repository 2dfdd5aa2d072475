# SPDX-License-Identifier: MIT
"""Wall mode: how long the parts of a program took by its own clock, what they waited for, and in which call."""

import sys
from collections import Counter

import harness
import truth_check
from harness import PROGRAMS

# One run; perfect sampling once a millisecond stays below 2 %. What this is to catch (waits on the line before
# them, a wait taken for the one before it) is 10 % and more.
BOUND = 0.08

WAITS = {
    "part_sleep": {("clock_nanosleep", "sleep"), ("select", "sleep"), ("pselect6", "sleep")},
    "part_lock": {("futex", "lock")},
    "part_queue": {("futex", "lock")},
    "part_socket": {("poll", "events"), ("ppoll", "events")},
    "part_select": {("select", "events"), ("pselect6", "events")},
    "part_child": {("wait4", "child process")},
    "alternate_second": {("clock_nanosleep", "sleep"), ("select", "sleep"), ("pselect6", "sleep")},
}


def part_of(sample):
    """The innermost part on the stack: the second of the alternating waits stands within the first's part."""
    for frame in reversed(sample.frames):
        if frame.kind == "python" and frame.function.rsplit(".")[-1].startswith(
            ("part_", "alternate_second")
        ):
            return frame.function
    return ""


def one_run(clock, seed):
    argv = [sys.executable, PROGRAMS / "truth_waits.py", 4, seed]
    done = harness.profile(argv, clock=clock, mode="wall")
    truth = truth_check.taken(done.result.stdout)
    booked, waits = Counter(), {}
    for sample in done.samples:
        booked[part_of(sample)] += sample.weight
        if "waiting" in sample.states:
            waits.setdefault(part_of(sample), Counter())[sample.wait] += sample.weight
    print(clock, {part: (truth[part] // 10**6, booked[part] // 10**6) for part in truth})
    return truth, booked, waits, done


def test_waits(clock):
    for seed in (1, 2, 3):
        truth, booked, waits, done = one_run(clock, seed)
        off = truth_check.distance(truth, {part: booked[part] for part in truth})
        print(f"distance {off:.4f}", done.totals)
        if off <= BOUND:
            break
    assert off <= BOUND
    assert done.fields["mode"] == ["wall"]
    main = sum(sample.weight for sample in done.samples if sample.thread == done.main_thread)
    assert 0.85 < main / done.totals["elapsed"] < 1.02
    for part, expected in WAITS.items():
        found = waits[part].most_common(1)[0]
        assert found[0] in expected, (part, found)
        assert found[1] > 0.6 * truth[part]
    assert sum(waits.get("part_compute", Counter()).values()) < 0.1 * truth["part_compute"]
