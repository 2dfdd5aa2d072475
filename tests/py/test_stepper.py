# SPDX-License-Identifier: MIT
"""The Python walk at every instruction of a load that enters and leaves Python frames in every way, against a
shadow stack: no fault, no wrong chain, and every degraded state counted and bounded."""

import pytest
import stepper
from harness import PYTHONS, minor

# The longest stretch measured is 77 instructions (tens of nanoseconds); other compilers get some room.
LONGEST_PUT_OFF = 200
SHARE_PUT_OFF = 0.05
# 3.9 loses the outer frames while a generator passes a throw() on, for as long as the throw runs.
SHARE_CUT = 0.001
SHARE_TORN = {9: 0.05, 10: 0.0002}


@pytest.mark.matrix("stepper")
@pytest.mark.parametrize("name", PYTHONS)
def test_every_instruction(name):
    result = stepper.run(PYTHONS[name], "stepper_load.py")
    assert "failed" not in result, result["failed"]
    steps = result["steps"]
    print(
        "\n%s: %d steps, put off %d (longest %d), torn %d (longest %d) %s, eval without entry object %d, "
        "entry object without frame %d; braided %d, native cut %d; %d instructions for a warm walk of 10 frames"
        % (name, steps, result["put_off"], result["longest_put_off"], result["torn"],
           result["longest_torn"], result["torns"], result["bare_evals"], result["empty_tops"], result["braided"],
           result["cut"], result["cost"])
    )
    assert result["compare"]["differ"] == []
    assert result["compare"]["compared"] >= 20 and result["compare"]["frames"] >= 100
    assert steps > 300_000
    assert result["wrongs"] == {}
    assert result["none"] == 0
    assert result["ok"] + result["put_off"] + result["torn"] == steps
    assert result["longest_put_off"] <= LONGEST_PUT_OFF
    assert result["put_off"] <= SHARE_PUT_OFF * steps
    assert result["torn"] <= SHARE_TORN.get(minor(name), 0) * steps
    assert result["braided"] + result["cut"] >= result["ok"] - 1000  # the last steps lead out by libffi
    assert result["cut"] <= SHARE_CUT * steps
    assert result["bare_evals"] > 0, "the load never met an eval activation without an entry object"
    if minor(name) >= 12:
        assert result["empty_tops"] > 0
    if minor(name) >= 11 and not result["debug"]:
        assert result["bare_calls"] == 0
    if minor(name) in (11, 12):
        assert result["put_off"] > 0, "the pre-check never fired: is the eval function known?"
