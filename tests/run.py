# SPDX-License-Identifier: MIT
"""All the tests: C programs, fuzzing for a moment, style and types, pytest. Ends with `N passed, N failed`.

Goes on after a failure, so that one run shows them all. Run by `make test`, inside .venv. The tests that run once
per interpreter run again in a Debian sid with the newest ones, where it can be made (scripts/make_sid.sh;
PLAIT_NO_SID=1 or PLAIT_NO_APT=1: don't), and their results are printed as a matrix.
"""

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from glob import glob

import matrix
from sanitized import FUZZ_SECONDS, fuzzing, keep_corpus
from tally import Tally, call, run

# Long, and busy with one core all the time: the other lane takes it.
STEADY = ["tests/py/test_stepper.py"]
PYTEST = ["-q", "-rsfE", "--tb=short", "--durations=5"]
PYTHON_FILES = ["plait", "tests", "tools", "demo", "bench", "scripts"] + sorted(glob("*.py"))
TYPED = ["plait", "profiler_binding.py", "profiler_cli.py", "example_usage.py", "test_profiler.py"]


def c_tests(tally: Tally, build: str) -> None:
    for source in sorted(glob("tests/c/test_*.c")):
        name = os.path.basename(source)[:-2]
        run(tally, name, [os.path.join(build, name)], counts=True)


class Sid:
    """The Debian sid: made beside the other tests, since most of it is waiting for the network."""

    RUNNER = "python3.13"
    PYTHONS = ["/usr/bin/python3.%d" % minor for minor in (13, 14, 15)]

    def __init__(self) -> None:
        off = [name for name in ("PLAIT_NO_SID", "PLAIT_NO_APT") if os.environ.get(name)]
        self.reason = "%s is set" % off[0] if off else ""
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
        command += ["-p", "no:cacheprovider", "-m", "matrix", "tests/py"]
        run(tally, "pytest in Debian sid", command, counts=True)


def style(tally: Tally) -> None:
    bin_folder = os.path.dirname(sys.executable)
    present = [path for path in PYTHON_FILES if os.path.exists(path)]
    run(tally, "ruff", [sys.executable, "-m", "ruff", "check", "--quiet", *present])
    run(tally, "mypy", [sys.executable, "-m", "mypy", "--strict", *[p for p in TYPED if os.path.exists(p)]])
    formatter = os.path.join(bin_folder, "clang-format")
    if not os.path.exists(formatter):
        tally.skip("clang-format", "not in .venv")
        return
    files = sorted(glob("src/**/*.[ch]", recursive=True) + glob("include/*.h") + glob("tests/[cf]*/*.[ch]"))
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
    parser.add_argument(
        "--keep-corpus", action="store_true", help="what fuzzing found stays in tests/fuzz/corpus"
    )
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
        if chosen.keep_corpus:
            keep_corpus(chosen.build)
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
