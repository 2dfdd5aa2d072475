# SPDX-License-Identifier: MIT
"""The process tree under `plait run`: every process has its recording, with the CPU time that it used."""

import os
import subprocess
import sys
import time

import harness
import pytest

pytestmark = pytest.mark.usefixtures("library")
ENVIRONMENT = {key: value for key, value in os.environ.items() if key not in ("LD_PRELOAD", "PLAIT_RUN")}
ENVIRONMENT["PYTHONPATH"] = str(harness.ROOT)


def plait(*words, folder, environment=None, timeout=120):
    return subprocess.run(
        [sys.executable, "-m", "plait", *map(str, words)],
        cwd=str(folder),
        env=dict(ENVIRONMENT, **(environment or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def recordings(folder):
    """{pid: [(samples, totals, fields)]} of the root's recording and its children's."""
    found = {}
    for path in [folder / "a.plait", *sorted((folder / "a.plait.d").glob("*.plait"))]:
        read = harness.read(path)
        found.setdefault(int(read[2]["pid"][0]), []).append(read)
    return found


def weight_in(read, function):
    return sum(s.weight for s in read[0] if any(f.function == function for f in s.frames)) / 1e9


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def record_tree(python, folder, *options):
    """Runs the tree: [(role, pid, CPU in its function, CPU of the process)], once all have ended."""
    log = folder / "log"
    log.touch()
    words = ("run", "-q", "-o", "a.plait", "--python", python, *options, harness.PROGRAMS / "tree.py")
    run = plait(*words, folder=folder, environment={"TREE_LOG": str(log)})
    assert (run.returncode, run.stdout, run.stderr) == (0, "tree []\n", "")
    assert wait_for(lambda: "daemon" in log.read_text()), "the daemon may outlive the tree"
    lines = [line.split() for line in log.read_text().splitlines()]
    assert len(lines) == 13
    return [(role, int(pid), float(own), float(whole)) for role, pid, own, whole in lines]


@pytest.mark.parametrize("minor", [8, 11, 12, 13])
def test_every_process_of_a_tree(minor, tmp_path):
    """Each has a recording of its own, in which its function has its CPU time, less what it used before."""
    python = harness.newest_of(minor)
    if python is None:
        pytest.skip(f"there is no Python 3.{minor} here")
    lines = record_tree(python, tmp_path)
    assert wait_for(lambda: all(r[1]["clean"] for reads in recordings(tmp_path).values() for r in reads))
    found, roles = recordings(tmp_path), {role for role, *_ in lines}
    for role, pid, own, whole in lines:
        read = [read for read in found[pid] if weight_in(read, role)]
        assert len(read) == 1, role
        samples, totals, fields = read[0]
        before = totals["lost_weight"] / 1e9
        assert weight_in(read[0], role) + before > own - 0.01, role
        counted = totals["total_weight"] / 1e9 + before + int(fields["helper_ns"][0]) / 1e9
        assert whole - 0.03 < counted < whole + 0.08, (role, counted, whole)  # it ends a little later
        seen = {f.function for sample in samples for f in sample.frames if f.file == "<string>"}
        assert not (seen & roles) - {role}, "samples of another process"
