# SPDX-License-Identifier: MIT
"""The lines and columns of callers: every sample's frames below a call stand where the interpreter's own frames said, for calls
by every kind of instruction, spread over several lines (tests/programs/callers.py)."""

import json
import os
import sys

import harness
import pytest
from harness import PROGRAMS, ROOT

CALLERS = PROGRAMS / "callers.py"


def chain_of(frames):
    """(function, line, columns) of the program's own frames, outermost first."""
    ours = [f for f in frames if f.kind == "python" and os.path.basename(f.file) == CALLERS.name]
    return [(f.function.rsplit(".", 1)[-1], f.line, f.end_line, f.column, f.end_column) for f in ours]


@pytest.mark.matrix("callers")
def test_lines_of_callers(python, library):
    done = harness.profile([harness.PYTHONS[python], CALLERS, 0.7], rate=5000, clock="poll", columns=True)
    truth = {tuple(map(tuple, chain)) for chain in json.loads(done.result.stdout)}
    met, wrong = set(), []
    for sample in done.samples:
        chain = chain_of(sample.frames)
        if [place[0] for place in chain[-2:]] != ["leaf", "spin"]:
            continue
        met.add(tuple(chain[:-2]))
        if tuple(chain[:-2]) not in truth:
            wrong.append(chain)
    print(f"{len(truth)} chains, {len(met)} met by {len(done.samples)} samples")
    assert not wrong, wrong[:5]
    with_columns = sum(place[3] > 0 for chain in met for place in chain)
    assert with_columns > 150 if harness.minor(python) >= 11 else with_columns == 0, with_columns
    assert len(truth) > 50 and len(met) > 0.5 * len(truth)


def test_json_says_columns(library, tmp_path):
    if sys.version_info < (3, 11):
        pytest.skip("no columns before Python 3.11")
    done = harness.profile([sys.executable, CALLERS, 0.2], clock="poll", keep=str(tmp_path))
    chains = json.loads(done.result.stdout)
    places = {tuple(place[1:]) for chain in chains for place in chain}
    command = [sys.executable, "-m", "plait", "report", "--columns", done.path, "-o", tmp_path / "report.json"]
    result = harness.run(command, cwd=ROOT)
    assert result.status == 0, result.stderr
    with open(tmp_path / "report.json") as file:
        stacks = json.load(file)["stacks"]
    keys = ("line", "end_line", "column", "end_column")
    found = {
        tuple(caller.get(key, 0) for key in keys)
        for stack in stacks
        for called, caller in zip(stack["frames"], stack["frames"][1:])
        if called["symbol"] == "leaf" and caller["symbol"].startswith("case_")
    }
    assert len(found) > 5 and found <= places
