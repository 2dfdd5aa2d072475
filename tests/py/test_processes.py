# SPDX-License-Identifier: MIT
"""The process tree under `plait run`: every process has its recording, with the CPU time that it used."""

import json
import os
import signal
import subprocess
import sys
import time

import harness
import pytest

pytestmark = pytest.mark.usefixtures("library")
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD" and not key.startswith("PLAIT_")}
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
        unsampled = tmp_path / "a.plait.d" / "unsampled"
        said = unsampled.read_text() if unsampled.exists() else ""
        assert pid in found, (role, pid, own, sorted(found), said, sorted(os.listdir(tmp_path / "a.plait.d")))
        read = [read for read in found[pid] if weight_in(read, role)]
        assert len(read) == 1, role
        samples, totals, fields = read[0]
        before = totals["lost_weight"] / 1e9
        assert weight_in(read[0], role) + before > own - 0.01, role
        counted = totals["total_weight"] / 1e9 + before + int(fields["helper_ns"][0]) / 1e9
        assert whole - 0.03 < counted < whole + 0.08, (role, counted, whole)  # it ends a little later
        seen = {f.function for sample in samples for f in sample.frames if f.file == "<string>"}
        assert not (seen & roles) - {role}, "samples of another process"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree")
    lines = record_tree(sys.executable, folder)
    wait_for(lambda: all(r[1]["clean"] for reads in recordings(folder).values() for r in reads))
    return folder, lines, report(folder, "a.plait")


def report(folder, *options):
    done = plait("report", *options, "-f", "json", folder=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def weights(document, key):
    """{key(stack): weight}"""
    found = {}
    for stack in document["stacks"]:
        found[key(stack)] = found.get(key(stack), 0) + stack["weight"]
    return found


def test_one_report_on_the_tree(tree):
    folder, lines, document = tree
    assert document == report(folder, "a.plait.d"), "the folder stands for the tree"
    rows = {row["pid"]: row for row in document["processes"]}
    assert {pid for _, pid, *_ in lines} <= set(rows) and len(rows) == len(document["processes"])
    by_pid = weights(document, lambda stack: stack["pid"])
    assert by_pid == {pid: row["weight"] for pid, row in rows.items() if row["weight"]}
    assert sum(by_pid.values()) == document["total_weight"]
    ids = {role: pid for role, pid, *_ in lines}
    assert rows[ids["grandchild"]]["parent"] == ids["forked"]
    assert rows[ids["spawned"]]["parent"] == rows[ids["executed"]]["parent"] == ids["root"]
    assert rows[ids["spawned"]]["command"].endswith("tree.py spawned")
    for role, pid, own, _ in lines:
        in_role = [s for s in document["stacks"] if any(f["symbol"] == role for f in s["frames"])]
        in_role = [s for s in in_role if any(f.get("file") == "<string>" for f in s["frames"])]
        assert {stack["pid"] for stack in in_role} == {pid}, role
        weight = sum(stack["weight"] for stack in in_role) + rows[pid]["lost_weight"]
        assert weight / 1e9 > own - 0.01, role
        assert 0 <= rows[pid]["start_seconds"] < rows[pid]["end_seconds"] <= document["elapsed_seconds"] + 1


def test_a_process_of_the_tree(tree):
    folder, lines, document = tree
    pid = next(pid for role, pid, *_ in lines if role == "spawned")
    alone = report(folder, "a.plait", "--pid", pid)
    assert [row["pid"] for row in alone["processes"]] == [pid]
    assert alone["total_weight"] == weights(document, lambda stack: stack["pid"])[pid]
    refused = plait("report", "a.plait", "--pid", 1, folder=folder)
    assert (refused.returncode, refused.stdout) == (2, "") and "no process 1" in refused.stderr
    console = plait("report", "a.plait", folder=folder).stdout
    assert "Processes:" in console and "tree.py spawned" in console


def test_the_program_alone(tmp_path):
    record_tree(sys.executable, tmp_path, "--no-children")
    assert [path.name for path in tmp_path.glob("a.plait*")] == ["a.plait"]
    assert len(report(tmp_path, "a.plait")["processes"]) == 1


MANY = """
import os, subprocess, sys, time
for i in range(100):
    subprocess.run(["/bin/true"])
    if os.fork() == 0:
        os._exit(i % 7)
    assert os.wait()[1] >> 8 == i % 7
if os.fork() == 0:  # killed while it burns
    end = time.thread_time() + 0.2
    while time.thread_time() < end: sum(range(999))
    os.kill(os.getpid(), 9)
assert os.wait()[1] == 9
print(os.listdir("/proc/self/fd"), open("/proc/self/stat").read().split()[19])
"""


def test_many_short_children_and_one_that_is_killed(tmp_path):
    alone = subprocess.run([sys.executable, "-c", MANY], env=ENVIRONMENT, capture_output=True, text=True)
    run = plait("run", "-q", "-o", "a.plait", "--", sys.executable, "-c", MANY, folder=tmp_path)
    assert (run.returncode, run.stderr) == (alone.returncode, alone.stderr) == (0, "")
    assert run.stdout.split("]")[0] == alone.stdout.split("]")[0], "descriptors"
    document = report(tmp_path, "a.plait")
    counts = (tmp_path / "a.plait.d" / "unsampled").read_text().splitlines()
    children = [row for row in document["processes"] if row["end"] != "none"][1:]
    assert len([line for line in counts if line.startswith("short ")]) + len(children) == 200
    assert any("200 processes ended before they were sampled" in note for note in document["notes"]) or children
    (killed,) = [row for row in document["processes"] if row["end"] == "none"]
    assert killed["weight"] > 0.1e9
    assert any("1 of " in note and str(killed["pid"]) in note for note in document["notes"])


def test_nothing_where_nothing_is_started(tmp_path):
    plait("run", "-q", "-o", "a.plait", "--", sys.executable, "-c", "pass", folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.plait"]


# The child says what it sees, and burns as long as it takes to be sampled.
SCRIPT = """#!{python}
import os, sys, time
print(sys.argv[1], sorted(os.environ.items()), sorted(os.listdir("/proc/self/fd")), flush=True)
end = time.thread_time() + 0.1
while time.thread_time() < end: sum(range(999))
sys.exit(7)
"""
WAYS = (
    "execv execve execve-few execve-null execvp execvpe execl execlp execle fexecve posix_spawn posix_spawnp vfork "
    "system popen-r popen-w"
).split()


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A folder in PATH with a script, which leads to an interpreter by its first line."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "started"
    script.write_text(SCRIPT.format(python=os.path.realpath(sys.executable)))
    script.chmod(0o755)
    return script


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_start_a_program(started, tmp_path, way):
    program = harness.build("execs")
    file = started.name if way in ("execvp", "execvpe", "execlp", "posix_spawnp") else str(started)
    environment = {"PATH": "%s:%s" % (started.parent, os.environ["PATH"]), "LD_PRELOAD": "libm.so.6"}
    given = dict(ENVIRONMENT, **environment)
    alone = subprocess.run(
        [program, way, file], env=given, cwd=str(tmp_path), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert alone.returncode == 7, alone.stderr
    run = plait("run", "-q", "-o", "a.plait", "--", program, way, file, folder=tmp_path, environment=environment)
    assert (run.returncode, run.stdout, run.stderr) == (alone.returncode, alone.stdout, alone.stderr)
    seen = [read[2]["argv"][0].split("\x1f") for reads in recordings(tmp_path).values() for read in reads]
    assert any("python" in argv[0] and argv[-1] == way for argv in seen), seen


OTHERS = {
    "static": ["-static"],
    "foreign": ["-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1"],
}


@pytest.mark.parametrize("kind", sorted(OTHERS))
def test_programs_that_can_not_be_followed(tmp_path, kind):
    """They start as they would without plait, with nothing of it in their environment, and are counted."""
    (tmp_path / "other.c").write_text("int main(void) { return 5; }\n")
    other = tmp_path / "other"
    made = subprocess.run(["cc", "-o", str(other), str(tmp_path / "other.c"), *OTHERS[kind]], capture_output=True)
    if made.returncode != 0:
        pytest.skip("cc can't make it: " + made.stderr.decode()[-100:])
    code = "import os, subprocess, sys\ntry: print(subprocess.run([%r]).returncode)\nexcept OSError as e: print(e)"
    words = [sys.executable, "-c", code % str(other)]
    alone = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True)
    run = plait("run", "-q", "-o", "a.plait", "--", *words, folder=tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (0, alone.stdout, alone.stderr)
    (line,) = (tmp_path / "a.plait.d" / "unsampled").read_text().splitlines()
    assert line.split()[0] == "unfollowed" and line.split()[2:] == [kind, "other"]
    assert any("could not be followed (%s): other" % kind in note for note in report(tmp_path, "a.plait")["notes"])


def test_a_program_that_takes_its_own_place(tmp_path):
    """What came before the exec is written out; a failing exec goes on as before."""
    code = """
import os, sys, time
def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end: sum(range(999))
def first(): burn(0.15)
def second(): burn(0.15)
if len(sys.argv) == 1:
    first()
    try: os.execv("/does/not/exist", ["x"])
    except OSError: pass
    try: os.execv("/etc/passwd", ["x"])
    except OSError: first()
    os.execv(sys.executable, [sys.executable, __file__, "again"])
second()
"""
    (tmp_path / "replaced.py").write_text(code)
    run = plait("run", "-q", "-o", "a.plait", "replaced.py", folder=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    document = report(tmp_path, "a.plait")
    before, after = document["processes"]
    assert before["pid"] == after["pid"] and (before["end"], after["end"]) == ("exec", "stop")
    assert before["weight"] + before["lost_weight"] > 0.29e9
    assert not any("no end" in note for note in document["notes"])
    found = {f["symbol"] for s in document["stacks"] for f in s["frames"]}
    assert {"first", "second"} <= found


def test_an_interrupted_tree_ends_as_it_would(tmp_path):
    """A terminal's signal and a child's death by it: the exit code is the program's."""
    code = "import os, signal, subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', %r]).returncode + 20)"
    child = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    run = plait("run", "-q", "-o", "a.plait", "--", sys.executable, "-c", code % child, folder=tmp_path)
    assert run.returncode == 20 - signal.SIGTERM


def test_names_of_trees(tmp_path):
    (tmp_path / "a.plait.d").mkdir()
    (tmp_path / "a.plait.d" / "mine").write_text("kept")
    run = plait("run", "-q", "-o", "a.plait", "--", "true", folder=tmp_path)
    assert run.returncode == 2 and "a.plait.d exists already" in run.stderr
    run = plait("run", "-q", "--force", "-o", "a.plait", "--", "true", folder=tmp_path)
    assert run.returncode == 2 and (tmp_path / "a.plait.d" / "mine").exists(), "only a run's own files go"
    (tmp_path / "a.plait.d" / "mine").unlink()
    (tmp_path / "a.plait.d" / "1-2-00.plait").write_text("old")
    run = plait("run", "-q", "--force", "-o", "a.plait", "--", "true", folder=tmp_path)
    assert run.returncode == 0 and not (tmp_path / "a.plait.d").exists()


IN_PROCESS = """
import os, time, plait
from plait import _library
def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end: sum(range(999))
profiler = plait.Profiler().start()
burn(0.05)
descriptors = sorted(os.listdir("/proc/self/fd"))
if os.fork() == 0:
    state = _library.load().state()
    assert (state.running, state.samples, state.output) == (0, 0, b""), "nothing runs in the child"
    assert sorted(os.listdir("/proc/self/fd")) == descriptors and len(os.listdir("/proc/self/task")) == 1
    with plait.Profiler() as own: burn(0.1)
    own.write_folded("child.folded")
    os._exit(3)
assert os.wait()[1] >> 8 == 3
burn(0.05)
profiler.stop()
assert _library.load().state().samples > 20
"""


def test_a_fork_of_a_program_with_a_profiler_of_its_own(tmp_path):
    """The child has no profiler until it starts one; the parent's goes on."""
    words = [sys.executable, "-c", IN_PROCESS]
    run = subprocess.run(words, cwd=str(tmp_path), env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert ";burn" in (tmp_path / "child.folded").read_text()
