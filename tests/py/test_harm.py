# SPDX-License-Identifier: MIT
"""No harm done: what a sampler could break in a program that uses signals, limits and privileges of its own.
Each case of harm_cases.txt runs plain and profiled; whatever differs is an error."""

import functools
import sys

import harness
import pytest
from harness import PROGRAMS
from test_guest import read_cases

CASES = read_cases(PROGRAMS / "harm_cases.txt")


@functools.lru_cache(maxsize=None)
def plain(name):
    return harness.run([sys.executable, "-c", CASES[name]])


@pytest.mark.parametrize("name", list(CASES))
def test_same_as_plain(name, harm_clock):
    done = harness.profile([sys.executable, "-c", CASES[name]], rate=2000, clock=harm_clock, check=False)
    assert done.result == plain(name)


@pytest.fixture(params=["poll", "perf"])
def harm_clock(request):
    refused = harness.clock_refused(request.param)
    if refused:
        pytest.skip(refused)
    return request.param


# What can be sampled, although the program made it difficult; and what can't, and is counted as lost.
SAMPLED = ["plain", "all_blocked", "pending_limit", "files_limit"]
LOST = {"sigurg_blocked": 300, "sigurg_blocked_for_good": 300}


@pytest.mark.parametrize("what", SAMPLED + list(LOST))
def test_all_cpu_time_is_sampled_or_said_to_be_lost(what, harm_clock):
    done = harness.profile([sys.executable, PROGRAMS / "harm_cpu.py", what], clock=harm_clock)
    used = int(done.result.stdout) / 1e6
    sampled = sum(sample.weight for sample in done.samples) / 1e6
    lost = done.totals["lost_weight"] / 1e6
    notes = done.fields.get("note", [])
    print(f"{what} {harm_clock}: used {used:.0f} ms, sampled {sampled:.0f}, lost {lost:.0f}: {notes}")
    assert used * 0.8 < sampled + lost < used * 1.1
    wanted = LOST.get(what, 0)
    assert wanted * 0.8 - 20 < lost < wanted * 1.2 + 20
    assert any("blocks SIGURG" in note for note in notes) == (wanted != 0)
