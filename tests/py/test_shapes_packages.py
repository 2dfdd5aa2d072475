# SPDX-License-Identifier: MIT
"""Programs that need a package: greenlet and gevent, Cython, pybind11. As test_shapes.py."""

import json
import os
import shutil
import subprocess
from collections import Counter

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


def is_in_greenlet(sample):
    """A greenlet that begins or ends has no Python frames; where it was switched from is beneath it."""
    return any("greenlet" in os.path.basename(frame.module) for frame in sample.frames)


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
        checker.native_only = is_in_greenlet
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
        checker.native_only = is_in_greenlet
        judge(python, done, checker, need_all=False, torn=0.1)
        assert {"serve", "ask", "ticking", "handle"} <= set(checker.met)


# ---- extensions that are compiled here ----


def compiled(python, kind):
    """Builds shape_cython or shape_pybind into build/extensions/PYTHON; returns the environment to import it."""
    code = (
        "import json, sysconfig as s; "
        "print(json.dumps([s.get_path('include'), s.get_config_var('EXT_SUFFIX')]))"
    )
    said = subprocess.run([harness.PYTHONS[python], "-c", code], stdout=subprocess.PIPE, check=True).stdout
    include, suffix = json.loads(said)
    compiler = shutil.which("cc" if kind == "cython" else "c++")
    if compiler is None or not os.path.exists(os.path.join(include, "Python.h")):
        pytest.skip(f"{python}: no compiler, or no Python.h in {include}")
    base = environment(python, "cython" if kind == "cython" else "pybind11")
    folder = harness.BUILD / "extensions" / python
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"shape_{kind}{suffix}"
    source = PROGRAMS / ("shape_cython.pyx" if kind == "cython" else "shape_pybind.cpp")
    command = [compiler, "-O0", "-g", "-w", "-shared", "-fPIC", f"-I{include}", "-o", target]
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        if kind == "cython":
            made = folder / "shape_cython.c"
            translate = [harness.PYTHONS[python], "-m", "cython", "-3", "-o", made, source]
            subprocess.run(translate, check=True, env=base, timeout=120)
            command.append(made)
        else:
            command += ["-std=c++17", f"-I{base['PYTHONPATH']}/pybind11/include", source]
        subprocess.run(command, check=True, timeout=300)
    return dict(base, PYTHONPATH=f"{folder}:{base['PYTHONPATH']}")


# What lies between two Python functions: the extension's own code, by the Python function above it.
BETWEEN = {
    "cython": {"by_call": {"inner"}, "by_map": {"cy_generator", "gen"}},
    "pybind": {"by_call": {"pb_call"}, "by_map": {"pb_map"}, "by_throw": {"pb_throw"}},
}


def missing_between(sample, kind):
    """The first Python function whose way through the extension is not on the stack, or None."""
    run_of = []
    for frame in sample.frames:
        if frame.kind == "native":
            run_of.append(frame.function)
            continue
        wanted = BETWEEN[kind].get(frame.function)
        if wanted and not any(word in name for word in wanted for name in run_of):
            return frame.function
        run_of = []
    return None


@pytest.mark.parametrize("kind", ["cython", "pybind"])
@pytest.mark.parametrize("python", chosen(12))
def test_extensions(python, kind, library):
    base = compiled(python, kind)
    program = PROGRAMS / "shape_extension.py"
    for clock in clocks_of(harness.minor(python) + (kind == "pybind")):
        print(f"{python} {clock} {kind}")
        done = run(python, clock, program, kind, base=base)
        checker = shapes.Checker(program)
        judge(python, done, checker)
        missing = Counter(missing_between(sample, kind) for sample in done.samples)
        print(missing)
        assert not +Counter({name: count for name, count in missing.items() if name}), missing
