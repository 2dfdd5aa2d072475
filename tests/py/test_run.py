# SPDX-License-Identifier: MIT
"""`plait run` and `plait report`: the program is itself, mistakes are one line, reports hold what was run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import LIBRARY, ROOT

pytestmark = pytest.mark.skipif(not LIBRARY.exists(), reason="build/libprofiler.so is not built")
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
ENVIRONMENT["PYTHONPATH"] = str(ROOT)

PROGRAM = """\
import os, signal, sys, time
def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sorted(range(300), key=lambda n: -n)
what = sys.argv[1]
if what == "burn": burn(0.4)
if what == "exit": sys.exit(int(sys.argv[2]))
if what == "raise": {}["missing"]
if what == "die": os.kill(os.getpid(), int(sys.argv[2]))
if what == "arguments": print(sys.argv[1:], __name__)
if what == "environment": print(os.environ.get("PLAIT_RUN"), os.environ.get("LD_PRELOAD"))
if what == "dispositions": print([signal.getsignal(n) for n in range(1, 32)], signal.pthread_sigmask(0, []))
if what == "input": print(sys.stdin.read().upper())
if what == "wait":
    def got(number, frame):
        os.write(1, b"got %d\\n" % number)  # print() may be what was interrupted
        sys.exit(3)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1): signal.signal(number, got)
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return str(path)


def plait(*words, folder, stdin="", environment=None):
    return subprocess.run(
        [sys.executable, "-m", "plait", *words],
        cwd=str(folder),
        env=environment or ENVIRONMENT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
    )


def plain(*words, folder, stdin="", environment=None):
    return subprocess.run(
        [sys.executable, *words],
        cwd=str(folder),
        env=environment or ENVIRONMENT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    "words",
    [
        ["exit", "0"],
        ["exit", "7"],
        ["raise"],
        ["die", "15"],
        ["die", "9"],
        ["arguments", "-o", "--", "-m", "x y", ""],
        ["environment"],
        ["dispositions"],
        ["input"],
    ],
    ids=lambda words: "-".join(words[:2]),
)
def test_it_is_the_plain_program(script, tmp_path, words):
    run = plait("run", "-q", "-o", "a.plait", script, *words, folder=tmp_path, stdin="some text\n")
    alone = plain(script, *words, folder=tmp_path, stdin="some text\n")
    assert (run.returncode, run.stdout, run.stderr) == (alone.returncode, alone.stdout, alone.stderr)
    assert (tmp_path / "a.plait").stat().st_size > 0


def test_the_programs_own_preload_is_kept(script, tmp_path):
    environment = dict(ENVIRONMENT, LD_PRELOAD="libm.so.6")
    run = plait("run", "-q", script, "environment", folder=tmp_path, environment=environment)
    assert run.stdout.strip() == "None libm.so.6"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT", "SIGUSR1"])
def test_signals_sent_to_plait_reach_the_program(script, tmp_path, name):
    number = getattr(signal, name)
    process = subprocess.Popen(
        [sys.executable, "-m", "plait", "run", "-q", script, "wait"],
        cwd=str(tmp_path),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert (output, process.returncode) == ("got %d\n" % number, 3)


def test_module_and_plain_program(tmp_path):
    run = plait("run", "-q", "-m", "json.tool", folder=tmp_path, stdin='{"a": 1}')
    assert json.loads(run.stdout) == {"a": 1}
    run = plait("run", "-q", "-o", "b.plait", "--", "sh", "-c", "exit 4", folder=tmp_path)
    assert run.returncode == 4
    assert (tmp_path / "b.plait").exists()


def test_a_launcher_is_followed_to_the_program_it_becomes(script, tmp_path):
    launcher = tmp_path / "launch"
    launcher.write_text('#!/bin/sh\nexec %s %s "$@"\n' % (sys.executable, script))
    launcher.chmod(0o755)
    run = plait("run", "-q", "-o", "a.plait", str(launcher), "burn", folder=tmp_path)
    assert run.returncode == 0, run.stderr
    assert any(f["symbol"].startswith("burn") for s in stacks(tmp_path) for f in s["frames"])
    run = plait("run", "-q", str(launcher), "environment", folder=tmp_path)
    assert run.stdout.strip() == "None None"


@pytest.mark.parametrize(
    "words", [["printenv"], ["env", "sh", "-c", "exec printenv"], ["sh", "-c", "printenv; :"]], ids=" ".join
)
def test_a_program_without_python_sees_its_own_environment(tmp_path, words):
    run = plait("run", "-q", "--", *words, folder=tmp_path)
    alone = subprocess.run(words, cwd=str(tmp_path), env=ENVIRONMENT, capture_output=True, text=True)
    assert run.returncode == alone.returncode == 0
    assert sorted(run.stdout.split("\n")) == sorted(alone.stdout.split("\n"))


def stacks(folder):
    done = plait("report", "a.plait", "-f", "json", folder=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["stacks"]


def test_reports(script, tmp_path):
    run = plait("run", "-o", "a.plait", script, "burn", folder=tmp_path)
    assert run.returncode == 0 and run.stdout == ""
    for expected in ("samples over", "clock ", "burn", "Type next:", "plait report a.plait"):
        assert expected in run.stderr, run.stderr
    found = stacks(tmp_path)
    total = sum(stack["count"] for stack in found)
    assert sum(s["count"] for s in found if any("burn" in f["symbol"] for f in s["frames"])) > total / 2
    console = plait("report", "a.plait", folder=tmp_path).stdout
    assert "<lambda>" in console and "program.py:5" in console
    for name, expected in (("a.json", '"stacks"'), ("a.txt", "HOT PATHS (Top 20)"), ("a.folded", ";burn")):
        done = plait("report", "a.plait", "-o", name, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert expected in (tmp_path / name).read_text()
    folded = (tmp_path / "a.folded").read_text().splitlines()
    assert sum(int(line.rpartition(" ")[2]) for line in folded) == total


def test_default_names_and_existing_files(script, tmp_path):
    for _ in range(2):
        assert plait("run", "-q", script, "exit", "0", folder=tmp_path).returncode == 0
    names = [path.name for path in tmp_path.glob("program-*.plait")]
    assert len(names) == 2
    refused = plait("run", "-o", names[0], script, "arguments", folder=tmp_path)
    assert refused.returncode == 2 and "exists already" in refused.stderr and refused.stdout == ""
    assert plait("run", "-q", "--force", "-o", names[0], script, "exit", "0", folder=tmp_path).returncode == 0


@pytest.mark.parametrize(
    "words, said",
    [
        (["run"], "what should run"),
        (["run", "missing.py"], "no such script"),
        (["run", "--", "no-such-program"], "no such program"),
        (["run", "-o", "missing/a.plait", "program.py", "arguments"], "can't write"),
        (["run", "-r", "0.1", "program.py", "arguments"], "rate"),
        (["run", "-r", "fast", "program.py", "arguments"], "rate"),
        (["run", "--depth", "1", "program.py", "arguments"], "depth"),
        (["run", "--python", "no-such-python", "program.py"], "no such interpreter"),
        (["report", "missing.plait"], "missing.plait"),
        (["report", "program.py"], "program.py"),
        (["report", "program.py", "-o", "x.strange"], "format"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_mistakes_are_one_line_and_exit_code_2(script, tmp_path, words, said):
    done = plait(*words, folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == "", "the program must not have run"
    assert said in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_path_that_ld_preload_would_split(script, tmp_path):
    """The package in a folder with a space in its name."""
    home = tmp_path / "a folder"
    home.mkdir()
    for name in ("plait", "build"):
        os.symlink(str(ROOT / name), str(home / name))
    copy = home / "plait2"
    copy.mkdir()
    os.unlink(str(home / "plait"))
    subprocess.run(["cp", "-r", str(ROOT / "plait"), str(home / "plait")], check=True)
    environment = dict(ENVIRONMENT, PYTHONPATH=str(home))
    run = plait("run", "-q", "-o", "a.plait", script, "environment", folder=tmp_path, environment=environment)
    assert run.stdout.strip() == "None None" and (tmp_path / "a.plait").exists()


def test_columns_are_the_rows(script, tmp_path):
    from plait.recording import Recording

    plait("run", "-q", "-o", "a.plait", script, "burn", folder=tmp_path)
    with Recording(tmp_path / "a.plait") as recording:
        columns = (
            ("samples", "time"),
            ("samples", "flags"),
            ("nodes", "parent"),
            ("places", "line"),
        )
        for table, name in columns:
            rows = recording.rows(table)
            assert list(recording.column(table, name)) == [getattr(row, name) for row in rows]
            assert len(rows) > 0
        parents = recording.column("nodes", "parent")
        assert all(parent < node for node, parent in enumerate(parents) if node)
        assert sum(recording.column("samples", "weight")) == recording.table.total_weight
        assert sum(recording.column("nodes", "count")) == recording.table.total_count
        time.sleep(0)
    with pytest.raises(ValueError):
        recording.rows("samples")
    assert Path(tmp_path / "a.plait").exists()
