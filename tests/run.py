# SPDX-License-Identifier: MIT
"""All the tests: C programs, fuzzing for a moment, style and types, pytest. Ends with `N passed, N failed`.

Goes on after a failure, so that one run shows them all. Run by `make test`, inside .venv. The tests that run once
per interpreter run again in a Debian sid with the newest ones, where it can be made (scripts/make_sid.sh;
PLAIT_NO_SID=1: don't), and their results are printed as a matrix.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from glob import glob
from typing import Dict, List, Optional

import matrix

FUZZ_SECONDS = 10
STEP_SECONDS = 1200
# Long, and busy with one core all the time: the other lane takes it.
STEADY = ["tests/py/test_stepper.py"]
PYTEST = ["-q", "-rsfE", "--tb=short", "--durations=5"]
_SANITIZER = "detect_leaks=0"  # at exit it finds libFuzzer's own main
PYTHON_FILES = ["plait", "tests", "tools", "demo", "bench", "scripts"] + sorted(glob("*.py"))
TYPED = ["plait", "profiler_binding.py", "profiler_cli.py", "example_usage.py", "test_profiler.py"]


class Tally:
    def __init__(self) -> None:
        self.passed = self.failed = self.skipped = 0
        self.failures: List[str] = []
        self._lock = threading.Lock()

    def add(self, name: str, passed: int, failed: int, skipped: int = 0) -> None:
        with self._lock:
            self.passed += passed
            self.failed += failed
            self.skipped += skipped
            if failed:
                self.failures.append("FAILED " + name)

    def skip(self, name: str, why: str) -> None:
        self.add(name, 0, 0, 1)
        print("skipped %s: %s" % (name, why), flush=True)


def call(
    command: List[str], environment: Optional[Dict[str, str]] = None, folder: Optional[str] = None
) -> "subprocess.CompletedProcess[str]":
    """Output and status of a command; one that hangs is ended and has failed, with what it said so far."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        cwd=folder,
    )
    try:
        output, _ = process.communicate(timeout=STEP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        output += "\nended after %d s" % STEP_SECONDS
    return subprocess.CompletedProcess(command, process.returncode, output)


def counted(output: str, word: str) -> int:
    found = re.findall(r"(\d+) %s" % word, output.strip().splitlines()[-1] if output.strip() else "")
    return int(found[-1]) if found else 0


def run(tally: Tally, name: str, command: List[str], counts: bool = False) -> None:
    """One step: silent when all is well; its output when not. `counts`: it says itself how many passed."""
    start = time.monotonic()
    done = call(command, dict(os.environ, PYTHONPATH=".", ASAN_OPTIONS=_SANITIZER))
    output = done.stdout
    bad = done.returncode not in (0, 5)  # 5: pytest found no test
    lines = ["== %s (%.0f s)" % (name, time.monotonic() - start)]
    lines += [line for line in output.splitlines() if bad or line.lower().startswith("skipped")]
    print("\n".join(lines) + "\n", end="", flush=True)
    tally.failures += [line for line in output.splitlines() if bad and line.startswith("FAILED ")]
    if not counts:
        tally.add(name, int(not bad), int(bad))
        return
    failed = counted(output, "failed") + counted(output, "errors?")
    tally.add(name, counted(output, "passed"), max(failed, int(bad)), counted(output, "skipped"))


def c_tests(tally: Tally, build: str) -> None:
    for source in sorted(glob("tests/c/test_*.c")):
        name = os.path.basename(source)[:-2]
        run(tally, name, [os.path.join(build, name)], counts=True)


def fuzzing(tally: Tally, build: str, seconds: int) -> None:
    """Each fuzz target for a moment, with clang's libFuzzer and the address sanitizer."""
    folder = os.path.join(build, "fuzz")
    objects = os.path.join(folder, "obj")
    os.makedirs(objects, exist_ok=True)
    clang = shutil.which("clang")
    probe = os.path.join(folder, "probe.c")
    with open(probe, "w") as file:
        file.write("int LLVMFuzzerTestOneInput(const char *d, long n) { return n < 0 && d; }\n")
    here = os.getcwd()
    flags = ["-g", "-O1", "-std=c11", "-D_GNU_SOURCE"]
    flags += ["-I" + os.path.join(here, path) for path in ("include", "src", "tests/c")]
    whole = [clang or "clang", *flags, "-fsanitize=fuzzer,address", "-o"]
    if clang is None or call([*whole, probe[:-2], probe]).returncode != 0:
        tally.skip("fuzzing", "clang with libFuzzer is not here")
        return
    sources = [os.path.join(here, path) for path in glob("src/*.c") + glob("src/*/*.c")]
    sources = [path for path in sources if "/src/symbols/" not in path]
    parts = [os.path.join(objects, os.path.basename(path)[:-2] + ".o") for path in sources]
    made = call([clang, *flags, "-fsanitize=fuzzer-no-link,address", "-c", *sources], folder=objects)
    for target in sorted(glob("tests/fuzz/fuzz_*.c")):
        name = os.path.basename(target)[:-2]
        program = os.path.join(folder, name)
        corpus = program + ".corpus"
        os.makedirs(corpus, exist_ok=True)
        if made.returncode == 0:
            made = call([*whole, program, target, *parts, "-lm", "-lpthread", "-ldl"])
        if made.returncode != 0:
            print(made.stdout)
            tally.add(name, 0, 1)
            return
        limit = ["-max_total_time=%d" % seconds, "-rss_limit_mb=2048", "-timeout=10", "-verbosity=0"]
        run(tally, name, [program, corpus, *limit, "-artifact_prefix=%s." % program])


class Sid:
    """The Debian sid: made beside the other tests, since most of it is waiting for the network."""

    RUNNER = "python3.13"
    PYTHONS = ["/usr/bin/python3.%d" % minor for minor in (13, 14, 15)]

    def __init__(self) -> None:
        self.reason = "PLAIT_NO_SID is set" if os.environ.get("PLAIT_NO_SID") else ""
        self.seconds = 0.0
        self._making = threading.Thread(target=self._make)
        self._making.start()

    def _make(self) -> None:
        if self.reason:
            return
        start = time.monotonic()
        done = call(["scripts/make_sid.sh"])
        self.seconds = time.monotonic() - start
        if done.returncode != 0:
            self.reason = (done.stdout.strip() or "make_sid.sh failed").splitlines()[-1]

    def pytest(self, tally: Tally, build: str) -> None:
        """Those tests in it, by its own Python with .venv's pytest; helper programs are built in it, too."""
        self._making.join()
        if self.reason:
            tally.skip("the interpreters of Debian sid", self.reason)
            return
        if self.seconds > 1:
            print("== Debian sid made (%.0f s, beside the other tests)" % self.seconds, flush=True)
        packages = [path for path in sys.path if path.endswith("site-packages")]
        settings = {
            "PYTHONPATH": ":".join([*packages, "."]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PLAIT_PYTHONS": ":".join(self.PYTHONS),
            "PLAIT_HELPERS": os.path.join(build, "programs-sid"),
        }
        words = ["%s=%s" % item for item in settings.items()]
        command = ["scripts/in_sid.sh", "/usr/bin/env", *words, self.RUNNER, "-m", "pytest", *PYTEST]
        run(tally, "pytest in Debian sid", [*command, "-p", "no:cacheprovider", "-m", "matrix", "tests/py"], counts=True)


def style(tally: Tally) -> None:
    bin_folder = os.path.dirname(sys.executable)
    present = [path for path in PYTHON_FILES if os.path.exists(path)]
    run(tally, "ruff", [sys.executable, "-m", "ruff", "check", "--quiet", *present])
    run(tally, "mypy", [sys.executable, "-m", "mypy", "--strict", *[p for p in TYPED if os.path.exists(p)]])
    formatter = os.path.join(bin_folder, "clang-format")
    if not os.path.exists(formatter):
        tally.skip("clang-format", "not in .venv")
        return
    files = sorted(glob("src/**/*.[ch]", recursive=True) + glob("include/*.h") + glob("tests/c/*.[ch]"))
    run(tally, "clang-format", [formatter, "--dry-run", "--Werror", *files])


def analysis(tally: Tally) -> None:
    """clang-tidy where it is installed, over the code that reads untrusted bytes or allocates. Without the null
    checks: they don't see that a code of 0 means a pointer."""
    tidy = shutil.which("clang-tidy")
    if tidy is None:
        tally.skip("clang-tidy", "not installed")
        return
    checks = "-checks=-*,clang-analyzer-core.uninitialized.*,clang-analyzer-unix.*,bugprone-suspicious-*"
    flags = ["-std=c11", "-D_GNU_SOURCE", "-Iinclude", "-Isrc"]
    files = sorted(path for room in ("core", "record", "symbols") for path in glob("src/%s/*.c" % room))
    run(tally, "clang-tidy", [tidy, "--quiet", "--warnings-as-errors=*", checks, *files, "--", *flags])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--only", choices=("c", "fuzz", "style", "py", "sid"))
    parser.add_argument("--fuzz-seconds", type=int, default=FUZZ_SECONDS)
    chosen = parser.parse_args()
    tally = Tally()
    results = os.path.join(tempfile.mkdtemp(prefix="plait-matrix-"), "results")
    os.environ["PLAIT_MATRIX"] = results

    def asked(name: str) -> bool:
        return chosen.only in (None, name)

    def pytest(name: str, *what: str) -> None:
        run(tally, name, [sys.executable, "-m", "pytest", *PYTEST, *what], counts=True)

    def python_lane() -> None:
        if asked("py"):
            pytest("pytest", "tests/py", *["--ignore=" + path for path in STEADY])
            run(tally, "test_profiler.py", [sys.executable, "test_profiler.py"], counts=True)

    sid = Sid() if asked("py") or asked("sid") else None
    # Side by side: two cores halve the wait, and no test depends on how fast it runs.
    lane = threading.Thread(target=python_lane)
    lane.start()
    if asked("c"):
        c_tests(tally, chosen.build)
    if asked("style"):
        style(tally)
        analysis(tally)
    if asked("fuzz"):
        fuzzing(tally, chosen.build, chosen.fuzz_seconds)
    if asked("py"):
        pytest("pytest, the steady ones", *STEADY)
    if sid is not None:
        sid.pytest(tally, chosen.build)
    lane.join()
    if matrix.read(results):
        print(matrix.text(matrix.read(results)))
    shutil.rmtree(os.path.dirname(results))
    for line in tally.failures:
        print(line)
    print("%d passed, %d failed, %d skipped" % (tally.passed, tally.failed, tally.skipped))
    return int(tally.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
