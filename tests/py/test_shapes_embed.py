# SPDX-License-Identifier: MIT
"""Interpreters in C programs, threads of C that enter them, and subinterpreters. As test_shapes.py."""

import json
import os
import subprocess
from collections import Counter

import harness
import pytest
from harness import PROGRAMS
from test_shapes import ALL, clocks_of, run
from test_shapes_packages import chosen

BROKEN = {"in_transit", "python_torn", "python_only", "walk_limit", "stack_cut"}
WAYS = {"run_from_main": "in_main", "run_from_thread": "in_thread", "run_from_sub": "in_sub"}


def embedding(python):
    """(program, environment): shape_embed linked with this interpreter's shared library."""
    code = (
        "import json, sys, sysconfig as s; print(json.dumps([s.get_config_var('LIBDIR'), "
        "s.get_config_var('INSTSONAME'), sys.base_prefix]))"
    )
    said = subprocess.run([harness.PYTHONS[python], "-c", code], stdout=subprocess.PIPE, check=True).stdout
    folder, name, prefix = json.loads(said)
    library = os.path.join(folder, name or "")
    if ".so" not in library or not os.path.exists(library):
        pytest.skip(f"{python} has no shared library here")
    flags = [library, f"-Wl,-rpath,{folder}"]
    program = harness.build("shape_embed", flags=flags, folder=harness.BUILD / "programs" / python)
    return program, dict(os.environ, PYTHONHOME=prefix)


def judge_ways(samples):
    """Counter of (C function, Python function) met together, root-most of each; and what is wrong."""
    pairs, wrong = Counter(), Counter()
    for sample in samples:
        c = [f.function for f in sample.frames if f.kind == "native" and f.function.startswith("run_from")]
        python = [f.function for f in sample.frames if f.kind == "python"]
        python = [name.split(".")[0] for name in python if name.startswith("in_")]
        if BROKEN & sample.flags:
            wrong[str(sorted(sample.flags))] += 1
        if len(c) > 1 or len(set(python)) > 1 or (python and (not c or WAYS[c[0]] != python[0])):
            wrong[f"{c} with {python}"] += 1
        if c and python:
            pairs[c[0]] += 1
    return pairs, wrong


def check_totals(done):
    total = len(done.samples)
    cut = sum("native_cut" in sample.flags for sample in done.samples)
    print(f"{total} samples, {cut} cut, totals {done.totals}")
    assert done.totals["lost"] == 0 and done.totals["unnamed"] == 0
    assert cut <= max(1, 0.005 * total)


@pytest.mark.parametrize("python", chosen(8, 12, 13))
def test_embedded(python, library):
    """Started, ended and started anew; its Python functions are named after the C functions that run them."""
    program, base = embedding(python)
    for clock in clocks_of(harness.minor(python)):
        print(f"{python} {clock}")
        done = harness.profile([program, 6 if ALL else 2], rate=3000, clock=clock, base=base)
        pairs, wrong = judge_ways(done.samples)
        print(pairs, wrong)
        assert not wrong
        assert set(pairs) == set(WAYS) and min(pairs.values()) >= 30, pairs
        check_totals(done)


@pytest.mark.parametrize("python", chosen(10, 12, 13))
def test_subinterpreters(python, library):
    """One on each thread: its frames are those of its own text, and begin at its <module>."""
    for clock in clocks_of(harness.minor(python) + 1):
        print(f"{python} {clock}")
        done = run(python, clock, PROGRAMS / "shape_sub.py")
        owners, wrong = {}, Counter()
        for sample in done.samples:
            names = [frame.function for frame in sample.frames if frame.kind == "python"]
            inside = {name.split(".")[0] for name in names if name.startswith("in_sub")}
            wrong[str(sorted(sample.flags))] += bool(BROKEN & sample.flags)
            if inside:
                at = next(number for number, name in enumerate(names) if name.split(".")[0] in inside)
                wrong[f"begins with {names[: at + 1]}"] += names[:at] != ["<module>"]
                owners.setdefault(sample.thread, Counter()).update(inside)
        print({thread: dict(met) for thread, met in owners.items()})
        assert not +wrong, wrong
        assert owners and all(len(met) == 1 for met in owners.values())
        assert sum(sum(met.values()) for met in owners.values()) >= 100
        check_totals(done)
