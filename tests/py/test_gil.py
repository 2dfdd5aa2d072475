# SPDX-License-Identifier: MIT
"""Wall mode: who holds the interpreter's lock and who waits for it."""

import json

import harness
import pytest
from harness import PROGRAMS

# Of the time: the moments between two timed waits for the lock, and sleeps that take longer than asked for.
BOUND = 0.08


def share(samples, function, state):
    """ns of the samples whose innermost own function is this one, and of those in the state."""
    whole = part = 0
    for sample in samples:
        names = [frame.function for frame in sample.frames if frame.kind == "python"]
        if names and names[-1] == function:
            whole += sample.weight
            part += sample.weight if state in sample.states else 0
    return part, whole


@pytest.mark.matrix("gil")
@pytest.mark.parametrize("name", list(harness.PYTHONS))
def test_holder_and_waiter(name):
    python = harness.PYTHONS[name]
    for _ in range(3):
        done = harness.profile([python, PROGRAMS / "gil_load.py", 2], mode="wall", clock="poll")
        truth = json.loads(done.result.stdout.decode())
        waits, whole = share(done.samples, "computes", "gil_wait")
        held, holding = share(done.samples, "holding", "gil")
        expected = truth["holding"] / truth["whole"]
        print(name, f"waits {waits / whole:.3f}, held {held / whole:.3f}, expected {expected:.3f}", done.totals)
        if abs(waits - held) < BOUND * whole and abs(held / whole - expected) < BOUND:
            break
    assert abs(waits - held) < BOUND * whole
    assert abs(held / whole - expected) < BOUND
    lost, _ = share(done.samples, "holding", "gil_wait")  # at its end the other thread's turn has come
    assert held + lost > 0.9 * holding
    held, letting = share(done.samples, "letting", "gil")
    assert held < 0.15 * letting
    assert not any({"gil", "gil_wait"} <= sample.states for sample in done.samples)
    works = share(done.samples, "computes", "gil")[0] / whole
    assert works + waits / whole > 0.9
