# SPDX-License-Identifier: MIT
"""What is left when things go wrong: a killed program, a cut or damaged recording, a disk that is full, a path
that can't be written. A recording is read up to where it is sound, and never crashes the reader."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import harness
import pytest

BUSY = """
import sys, time
while True:
    for i in range(20000): pass
    print(time.process_time_ns(), flush=True)
"""


def kill_in_the_middle(folder, clock, after_ns):
    """Kills a busy program once it has used so much CPU; returns (recording, CPU it said it had used)."""
    output = os.path.join(folder, "killed.plait")
    env = harness.environment(output, clock=clock)
    process = subprocess.Popen([sys.executable, "-c", BUSY], env=env, stdout=subprocess.PIPE)
    used = 0
    while used < after_ns:
        used = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split(b"\n")
    process.wait()
    whole = [int(line) for line in rest[:-1] if line]
    return output, max(whole + [used])


def test_killed_program_leaves_its_recording(clock, tmp_path):
    """Complete up to the last drain: what is missing is far less than what is there, and the report says
    that the end is missing."""
    output, used = kill_in_the_middle(tmp_path, clock, 1_500_000_000)
    samples, totals, fields = harness.read(output)
    weight = sum(sample.weight for sample in samples)
    print(
        f"{clock}: used {used / 1e6:.1f} ms, recorded {weight / 1e6:.1f} ms, missing {(used - weight) / 1e6:.1f}"
    )
    assert totals["clean"] == 0
    assert any(sample.frames for sample in samples)
    assert weight > used / 2
    assert "note" in fields, "the report does not say that the end is missing"
    run = harness.run([sys.executable, "-m", "plait", "report", output], cwd=harness.ROOT)
    assert run.status == 0, run.stderr.decode()


# Opens every file named on stdin's lines; prints samples, clean and notes, or the error's text.
READER = """
import sys
sys.path[:0] = sys.argv[1:2]
from plait import _library
from plait.recording import Recording
for path in sys.stdin.read().splitlines():
    try:
        with Recording(path, names=False) as recording:
            table = recording.table
            for node in recording.rows("nodes"): node.parent
            print(table.sample_count, table.clean, len([1 for k, v in recording.fields() if k == "note"]))
    except _library.ProfilerError as error:
        print("error", error.code, error)
"""


def open_all(paths):
    """One line per file, from a process of its own: a crash of the reader is a failure here."""
    run = harness.run([sys.executable, "-c", READER, harness.ROOT], stdin="\n".join(map(str, paths)).encode())
    assert run.status == 0, run.stderr.decode()[-2000:]
    lines = run.stdout.decode().splitlines()
    assert len(lines) == len(paths)
    return lines


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    if not harness.LIBRARY.exists():
        pytest.skip("build/libprofiler.so is not built")
    folder = tmp_path_factory.mktemp("whole")
    code = "import json, re\nfor i in range(150): json.dumps([[str(i)] * 500]); re.sub('a', lambda m: 'b', 'a' * 800)"
    done = harness.profile([sys.executable, "-c", code], rate=5000, keep=str(folder))
    return Path(done.path)


def test_cut_at_any_byte(recording, tmp_path):
    data = recording.read_bytes()
    chance = random.Random(3)
    cuts = sorted(
        set(range(0, min(300, len(data)), 3))
        | {chance.randrange(len(data)) for _ in range(150)}
        | {len(data) - 1, len(data)}
    )
    paths = []
    for cut in cuts:
        path = tmp_path / f"{cut}.plait"
        path.write_bytes(data[:cut])
        paths.append(path)
    before = 0
    for cut, line in zip(cuts, open_all(paths)):
        words = line.split()
        if words[0] == "error":
            assert before == 0, f"cut at {cut}: {line}"
            assert len(words) > 4, f"cut at {cut}: no clear text: {line}"
            continue
        samples, clean, notes = map(int, words)
        assert samples >= before, f"cut at {cut}: {samples} samples, a shorter file had {before}"
        assert clean == (cut == len(data)), f"cut at {cut}: clean {clean}"
        if not clean:
            assert notes > 0, f"cut at {cut}: nothing says that the end is missing"
        before = samples
    assert before > 50


def test_damaged_bytes(recording, tmp_path):
    """Any byte may be wrong: an error or a shorter recording, never a crash and never more samples."""
    data = recording.read_bytes()
    whole = int(open_all([recording])[0].split()[0])
    chance = random.Random(5)
    paths = []
    for number in range(150):
        damaged = bytearray(data)
        for _ in range(chance.choice([1, 1, 4, 50])):
            damaged[chance.randrange(len(data))] = chance.randrange(256)
        path = tmp_path / f"{number}.plait"
        path.write_bytes(damaged)
        paths.append(path)
    for line in open_all(paths):
        assert line.startswith("error") or int(line.split()[0]) <= whole


def test_other_files_are_refused(tmp_path):
    if not harness.LIBRARY.exists():
        pytest.skip("build/libprofiler.so is not built")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("not a recording\n" * 1000)
    shutil.copy(harness.LIBRARY, tmp_path / "elf")
    paths = [tmp_path / name for name in ("empty", "text", "elf", "missing")] + [tmp_path]
    for path, line in zip(paths, open_all(paths)):
        assert line.startswith("error") and len(line.split()) > 4, f"{path}: {line}"


SMALL = "for i in range(4000000): pass\nprint('done')"


@pytest.mark.parametrize("output", ["/dev/full", "/nonexistent/folder/x.plait", "/proc/x.plait", "/"])
def test_program_runs_when_the_recording_cant_be_written(output, library):
    """The program itself must not notice: the same output and exit code, nothing on its stderr."""
    plain = harness.run([sys.executable, "-c", SMALL])
    assert harness.run([sys.executable, "-c", SMALL], env=harness.environment(output)) == plain


def test_file_size_limit_does_not_kill(library, tmp_path):
    """RLIMIT_FSIZE sends SIGXFSZ to a writer: the program would die of our writing. What fits is read."""
    code = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n" + SMALL * 1
    output = tmp_path / "limited.plait"
    result = harness.run([sys.executable, "-c", code], env=harness.environment(output, rate=10000))
    assert result == (0, b"done\n", b"")


def test_recording_removed_while_running(library, tmp_path):
    output = tmp_path / "gone.plait"
    code = f"import os\nfor i in range(2000000): pass\nos.unlink({str(output)!r})\n" + SMALL
    assert harness.run([sys.executable, "-c", code], env=harness.environment(output)) == (0, b"done\n", b"")


def test_existing_file_is_not_replaced(library, tmp_path):
    output = tmp_path / "mine.plait"
    output.write_text("precious")
    harness.run([sys.executable, "-c", SMALL], env=harness.environment(output))
    assert output.read_text() == "precious"
