# SPDX-License-Identifier: MIT
"""Programs that need a package: greenlet and gevent, Cython, pybind11. As test_shapes.py."""

import os

import harness
import packages
import pytest
import shapes
from harness import PROGRAMS
from test_shapes import ALL, clocks_of, judge, run


def chosen(*minors):
    """Names of the interpreters that a package is tried on: these minors, in the full run all."""
    return [name for name in harness.PYTHONS if ALL or harness.minor(name) in minors]


def environment(python, *names):
    base, why = packages.environment(python, *names)
    if why:
        pytest.skip(why)
    return base


def starts_in_greenlet(sample):
    return any("greenlet" in os.path.basename(frame.module) for frame in sample.frames[:1])


def never_sorts(sample):
    """1 when no sort is on this stack but by the one function that sorts: two greenlets' frames never mix."""
    names = {frame.function for frame in sample.frames if frame.kind == "python"}
    sorts = any(frame.kind == "native" and "list_sort" in frame.function for frame in sample.frames)
    return not sorts or "pong" in names or names.isdisjoint({"ping", "producer", "consume", "kill", "killed"})


@pytest.mark.parametrize("python", chosen(8, 11, 13))
def test_greenlets(python, library):
    base = environment(python, "greenlet")
    program = PROGRAMS / "shape_greenlet.py"
    for clock in clocks_of(harness.minor(python)):
        print(f"{python} {clock}")
        done = run(python, clock, program, base=base)
        checker = shapes.Checker(program)
        checker.native_only = starts_in_greenlet
        # Within a switch there is no telling whose frames they are: native only, and said. Up to 3.9 all of
        # the switching module's time counts as such.
        judge(python, done, checker, torn=0.2 if harness.minor(python) < 10 else 0.08)
        assert checker.counts["in_transit"] > 0
        assert all(never_sorts(sample) for sample in done.samples)


@pytest.mark.parametrize("python", chosen(12))
def test_gevent(python, library):
    base = environment(python, "gevent")
    program = PROGRAMS / "shape_gevent.py"
    for clock in clocks_of(harness.minor(python)):
        print(f"{python} {clock}")
        done = run(python, clock, program, base=base)
        assert done.result.stdout.split() == [b"ok"], done.result
        checker = shapes.Checker(program)
        checker.native_only = starts_in_greenlet
        judge(python, done, checker, need_all=False, torn=0.1)
        assert {"serve", "ask", "ticking", "handle"} <= set(checker.met)
