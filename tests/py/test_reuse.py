# SPDX-License-Identifier: MIT
"""Code objects that come and go at the same addresses: every sampled name and line is right, or the sample
is counted as unnamed. The truth is in the names (tests/programs/reuse.py)."""

import re
from collections import Counter

import harness
import pytest
from harness import PROGRAMS, Frame

REUSE = PROGRAMS / "reuse.py"
NAMED = re.compile(r"named_(\d+)_(\d+)_(\d+)$")
ALIKE_FIRST = 3


def judge_frame(frame, caller):
    """ "" when this frame tells the truth about itself, else the reason. Not judged: None."""
    if frame.file != "<reuse>":
        return None
    named = NAMED.match(frame.function)
    if named:
        first, body = int(named.group(1)), int(named.group(2))
        number = int(named.group(3))
        if (first, body) != (1 + number * 7 % 997, first + 1 + number * 3 % 11):
            return f"no such function: {frame.function}"
    elif frame.function == "alike":
        step = re.match(r"call_(\d+)$", caller.function if caller else "")
        if not step:
            return f"alike was called by {caller}"
        first, body = ALIKE_FIRST, ALIKE_FIRST + int(step.group(1))
    else:
        return None
    if frame.first_line != first:
        return f"{frame.function} starts on line {frame.first_line}, not {first}"
    if frame.line not in (first, body):
        return f"{frame.function} of lines {first} and {body} stands on {frame.line}"
    return ""


def judge(samples):
    """Counter of verdicts over all frames of generated functions."""
    verdicts = Counter()
    for sample in samples:
        python = [frame for frame in sample.frames if frame.kind == "python"]
        for at, frame in enumerate(python):
            verdict = judge_frame(frame, python[at - 1] if at else None)
            if verdict is not None:
                verdicts[verdict or "right"] += 1
    return verdicts


def frame(name, line, first):
    return Frame("python", name, "<reuse>", "", line, first, 0)


def test_judge_tells_right_from_wrong():
    caller = frame("call_4", 2, 1)
    name = "named_1_2_0"
    assert judge_frame(frame(name, 2, 1), None) == ""
    assert judge_frame(frame(name, 1, 1), None) == ""
    assert judge_frame(frame("alike", 7, 3), caller) == ""
    assert judge_frame(frame("main", 7, 3), caller) is None
    assert judge_frame(frame("alike", 7, 3)._replace(file="reuse.py"), None) is None
    for wrong in (frame(name, 3, 1), frame(name, 2, 2), frame("named_1_3_0", 3, 1), frame("alike", 8, 3)):
        assert judge_frame(wrong, caller)
    assert judge_frame(frame("alike", 7, 3), None)


@pytest.mark.matrix("reuse")
def test_reused_addresses_are_named_rightly(python, library):
    count = 20000 if harness.minor(python) == 12 else 6000
    verdicts, samples, unnamed = Counter(), 0, 0
    for _ in range(5):  # fast interpreters and busy machines give few samples
        done = harness.profile([harness.PYTHONS[python], REUSE, count, 2000], rate=10000, clock="poll")
        made, again = (int(word) for word in done.result.stdout.split())
        assert made == count and again > count / 4, "the program itself reused too few addresses"
        verdicts += judge(done.samples)
        samples, unnamed = samples + len(done.samples), unnamed + done.totals["unnamed"]
        if verdicts["right"] >= 1000:
            break
    print(verdicts.most_common(8), "unnamed samples:", unnamed, "reused:", again)
    right = verdicts.pop("right", 0)
    assert not verdicts, verdicts.most_common(5)
    assert right >= 1000
    assert unnamed <= max(2, 0.01 * samples)
