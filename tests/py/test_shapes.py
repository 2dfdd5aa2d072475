# SPDX-License-Identifier: MIT
"""Every shape of Python program: each sample's stack is a path that the program's own source allows (shapes.py).

In `make test` each program runs on every interpreter with one of the clocks; PLAIT_SHAPES=all (`make soak`)
runs all of them, longer.
"""

import os

import harness
import pytest
import shapes
from harness import PROGRAMS, Frame

ALL = os.environ.get("PLAIT_SHAPES") == "all"
SECONDS = 3 if ALL else 0.6
CLOCKS = ("poll", "perf")
PURE = PROGRAMS / "shape_pure.py"
MODULES = ("shape_zipped.py", "shape_reloaded.py")
# 3.9 makes a generator current without its callers while a throw() is delegated: said, and native only.
UNSOUND = ("in_transit", "python_torn", "python_only")
TORN_SHARE = {9: 0.03}


def clocks_of(number):
    """The clocks for the case with this number."""
    usable = [clock for clock in CLOCKS if not harness.clock_refused(clock)]
    if not usable:
        pytest.skip("; ".join(harness.clock_refused(clock) for clock in CLOCKS))
    return usable if ALL else [usable[number % len(usable)]]


def judge(python, done, checker, least=150, native=0.995, torn=0.001, **options):
    checker.check_recording(done.samples, done.main_thread, **options)
    print(checker.report())
    checker.show()
    counts, total = checker.counts, checker.counts["inside"]
    assert not checker.reasons, checker.report()
    assert counts["checked"] >= least
    assert done.totals["lost"] == 0
    assert counts["native_cut"] <= (1 - native) * total, checker.report()
    share = max(TORN_SHARE.get(harness.minor(python), 0), torn)
    assert sum(counts[flag] for flag in UNSOUND) <= share * total, checker.report()
    assert counts["walk_limit"] + counts["stack_cut"] == 0, checker.report()
    assert done.totals["unnamed"] == 0


def run(python, clock, program, *arguments, **options):
    return harness.profile(
        [harness.PYTHONS[python], program, SECONDS, *arguments], rate=3000, clock=clock, **options
    )


# ---- the checker itself ----


def frame(name, line, first, file=str(PURE)):
    return Frame("python", name, file, "", line, first, 0)


def line_with(text):
    with open(PURE, encoding="utf-8") as source:
        return next(number for number, line in enumerate(source, 1) if text in line)


def test_checker_tells_right_from_wrong():
    checker = shapes.Checker(PURE)
    path = [
        frame("<module>", line_with("main()  # -> main"), 1),
        frame("main", line_with("classes()  # -> classes"), line_with("def main")),
        frame("classes", line_with("pair.sort()"), line_with("def classes")),
        frame("Counted.__lt__", line_with("return work() < 0"), line_with("def __lt__")),
        frame("work", line_with("total += i & 3"), line_with("def work")),
    ]
    native = Frame("native", "_PyEval_EvalFrameDefault", "", "python3", 0, 0, 0)
    foreign = frame("sort", 5, 1, "/usr/lib/other.py")
    assert checker.check(path) is None
    assert checker.check([native, *path[:3], native, foreign, native, *path[3:]]) is None
    assert all(checker.check(path[:end]) is None for end in range(1, 5))
    assert checker.check(path[1:]), "the root is missing"
    assert checker.check(path[:2] + path[3:]), "a frame is missing"
    assert checker.check([*path[:3], path[4], path[3]]), "order"
    assert checker.check([*path[:2], path[2]._replace(line=path[2].line + 1), *path[3:]]), "a caller's line"
    assert checker.check([*path[:4], path[4]._replace(first_line=3)]), "a first line"
    assert checker.check([native]), "no Python at all"
    assert checker.check([*path[:2], Frame("marker", "", "", "", 0, 0, 0), *path[3:]]), "a cut"


# ---- pure Python ----


def hooks_of(python):
    """Ways in which the interpreter calls back: its tracers, sys.monitoring, a frame evaluation function."""
    hooks = ["", "trace", "profile"]
    if harness.minor(python) >= 12:
        hooks.append("monitor")
    if harness.minor(python) >= 9:
        hooks.append(harness.build("shape_hook", shared=True))
    return hooks


@pytest.mark.matrix("shapes")
def test_pure_python(python, library, tmp_path):
    number = list(harness.PYTHONS).index(python)
    hooks = hooks_of(python)
    for at, hook in enumerate(hooks):
        if not ALL and at not in (0, 1 + number % (len(hooks) - 1)):
            continue
        for clock in clocks_of(number + at):
            print(f"{python} {clock} {hook or 'no hook'}")
            done = run(python, clock, PURE, tmp_path, hook)
            judge(python, done, shapes.Checker(PURE, ours=MODULES))
            odd = {f.function for s in done.samples for f in s.frames if f.file.startswith("/tmp/shape")}
            assert {name[:7] for name in odd} <= {"odd_new", "odd_\ufffd_h", "odd_\ufffd_n", "odd_lon"}


# ---- depth ----


def test_recursion_keeps_both_ends(python, library):
    """20,000 calls deep: a walk takes longer than a period, and the program must get on all the same."""
    program, calls = PROGRAMS / "shape_deep.py", 20000
    truth = shapes.Truth(program)
    truth.roots.add("down")  # of the part above the cut
    for clock in clocks_of(list(harness.PYTHONS).index(python)):
        done = harness.profile(
            [harness.PYTHONS[python], program, 1, calls], rate=10000, clock=clock, depth=128, timeout=120
        )
        deep = [s for s in done.samples if "stack_cut" in s.flags and s.thread != done.main_thread]
        print(f"{python} {clock}: {len(deep)} deep of {len(done.samples)}, flags {done.totals['flags']}")
        assert len(deep) >= 5
        for sample in deep:
            cut = [frame.kind for frame in sample.frames].index("marker")
            outer, inner = sample.frames[:cut], sample.frames[cut + 1 :]
            assert not shapes.DEGRADED - {"stack_cut"} & sample.flags, sample.flags
            assert any(shapes.short(frame.function) == "main" for frame in outer)
            assert shapes.Checker(program, truth=truth).check(outer) is None
            assert shapes.Checker(program, truth=truth).check(inner) is None
        assert done.totals["lost"] == 0
