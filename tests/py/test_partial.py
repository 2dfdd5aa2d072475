# SPDX-License-Identifier: MIT
"""A tick never cuts a transfer short: large writes, sends and whole receives pass on everything, while a signal of
the program's own still ends them."""

import harness
import pytest

PROGRAM = "partial"


@pytest.mark.matrix("partial")  # no column: it is the C library that matters
def test_nothing_is_cut_short(clock):
    program = harness.build(PROGRAM)
    plain = harness.run([program, 8])
    assert plain == (0, b"8 rounds whole, 2 of 2 ended by the program's signal\n", b"")
    done = harness.profile([program, 8], rate=10000, clock=clock, timeout=60)
    assert done.result == plain
    inside = [sample for sample in done.samples if any(frame.function == "main" for frame in sample.frames)]
    print(f"{len(done.samples)} samples, {len(inside)} below main", done.totals)
    assert len(inside) > (2 if clock == "posix" else 20)
