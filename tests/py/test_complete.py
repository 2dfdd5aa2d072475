# SPDX-License-Identifier: MIT
"""Nothing dropped, every native frame, all Python frames: the oldest and the newest interpreter here, shortly.
tests/soak/complete.py has all of them."""

import completeness
import harness
import pytest

CHOICE = [list(harness.PYTHONS)[index] for index in (0, -1)] if harness.PYTHONS else []


@pytest.mark.parametrize("name", CHOICE)
def test_numpy_program_is_complete(name, library):
    clock = ("poll", "perf")[CHOICE.index(name)]
    refused = harness.clock_refused(clock)
    if refused:
        pytest.skip(refused)
    row, why = completeness.measure(name, clock, seconds=2, rate=3000)
    if why:
        pytest.skip(why)
    print(completeness.describe(name, clock, row))
    assert completeness.is_good(row, least=1000), completeness.describe(name, clock, row)
