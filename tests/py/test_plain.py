# SPDX-License-Identifier: MIT
"""C programs without Python: linked against the library, and preloaded without recompiling."""

import sys

import harness
import pytest
import truth_check


def linked():
    return harness.build("plain", flags=[f"-L{harness.BUILD}", "-lprofiler", f"-Wl,-rpath,{harness.BUILD}"])


def test_linked(clock, tmp_path):
    result = harness.run([linked(), tmp_path, clock])
    print(result.stdout.decode())
    assert result.stdout.decode().splitlines()[-1] == "plain: 0 failed"
    assert (result.status, result.stderr) == (0, b"")
    names = {frame.function for sample in harness.read(tmp_path / "last.plait")[0] for frame in sample.frames}
    assert {"main", "busy", "busy_outer", "busy_inner"} & names >= {"main", "busy_inner"}
    assert "busy_inner" in (tmp_path / "whole.txt").read_text()
    assert "=== CPU PROFILER SUMMARY ===" in (tmp_path / "whole.txt").read_text()


def test_linked_as_an_ordinary_user(nobody):
    folder = harness.scratch(nobody=True)
    result = harness.run([linked(), folder, "poll"], nobody=True, cwd="/")
    assert result.stdout.decode().splitlines()[-1] == "plain: 0 failed", result


def shares_of(samples):
    """Weight per function of interest at the leaf's side."""
    weights = {}
    for sample in samples:
        for frame in reversed(sample.frames):
            if frame.function in ("spin_often", "spin_seldom"):
                weights[frame.function] = weights.get(frame.function, 0) + sample.weight
                break
    return weights


def test_preloaded(clock):
    """The shares of two functions in two threads, against the program's own clock."""
    done = harness.profile([harness.build("preloaded"), 1], rate=1000, clock=clock)
    truth, found = truth_check.taken(done.result.stdout), shares_of(done.samples)
    print(truth, found, done.totals)
    assert truth_check.distance(truth, found) < 0.08
    assert 0.85 < sum(found.values()) / sum(truth.values()) < 1.15
    assert len({sample.thread for sample in done.samples}) == 2
    whole = [s for s in done.samples if any(frame.function in ("main", "turns") for frame in s.frames)]
    assert len(whole) >= 0.99 * len(done.samples), "stacks that do not reach the program's own functions"


@pytest.mark.parametrize(
    "argv", [["/bin/true"], ["/bin/false"], ["/bin/sh", "-c", "kill -9 $$"], ["/bin/echo", "hello"]]
)
def test_short_programs(argv, library):
    plain = harness.run(argv)
    assert harness.profile(argv, check=False).result == plain


def test_python_is_found_late(library, tmp_path):
    """A program that loads libpython itself, after it was started: here the shell that execs an interpreter."""
    argv = ["/bin/sh", "-c", f"exec {sys.executable} -c 'for i in range(10**7): pass'"]
    result = harness.profile(argv, check=False).result
    assert result == (0, b"", b"")
