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
