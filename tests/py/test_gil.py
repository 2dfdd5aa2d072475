# SPDX-License-Identifier: MIT
"""Wall mode: who holds the interpreter's lock and who waits for it."""

import json

import harness
import pytest
from harness import PROGRAMS

# The moments between two timed waits for it.
BOUND = 0.06


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
        expected = truth["holding"] / truth["whole"]
        print(name, f"waits {waits / whole:.3f} of {whole / 1e9:.2f} s, expected {expected:.3f}", done.totals)
        if abs(waits / whole - expected) < BOUND:
            break
    assert abs(waits / whole - expected) < BOUND
    held, holding = share(done.samples, "holding", "gil")
    lost, _ = share(done.samples, "holding", "gil_wait")  # at its end the other thread's turn has come
    assert abs(held / truth["holding"] - 1) < 2 * BOUND and held + lost > 0.9 * holding
    held, letting = share(done.samples, "letting", "gil")
    assert held < 0.1 * letting
    assert not any({"gil", "gil_wait"} <= sample.states for sample in done.samples)
    works = share(done.samples, "computes", "gil")[0] / whole
    assert works + waits / whole > 0.9
