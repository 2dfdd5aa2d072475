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
from collections import deque
from functools import partial
from glob import glob
from typing import Callable, Deque, List

import matrix
import sid
from sanitized import FUZZ_SECONDS, fuzzing, keep_corpus
from tally import Tally, run

# The long ones first, so that both lanes end at the same time.
LONG = ["harm", "stepper", "processes", "cpython_suite", "shapes", "guest", "truth", "complete", "nesting"]
LANES = 2
PYTEST = ["-q", "-rsfE", "--tb=short", "--durations=5"]
PYTHON_FILES = ["plait", "tests", "tools", "demo", "bench", "scripts"] + sorted(glob("*.py"))
TYPED = ["plait", "profiler_binding.py", "profiler_cli.py", "example_usage.py", "test_profiler.py"]


def python_tests() -> List[str]:
    """The files of tests/py, the long ones first."""
    first = ["tests/py/test_%s.py" % name for name in LONG]
    return first + sorted(path for path in glob("tests/py/test_*.py") if path not in first)


def c_tests(tally: Tally, build: str) -> None:
    for source in sorted(glob("tests/c/test_*.c")):
        name = os.path.basename(source)[:-2]
        run(tally, name, [os.path.join(build, name)], counts=True)


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
    parser.add_argument("--only", choices=("c", "fuzz", "style", "py", "sid", "special"))
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

    def sid_lane() -> None:
        if asked("py") or asked("sid"):
            sid.tests(tally, chosen.build, PYTEST)
        if chosen.only == "special":
            sid.special_tests(tally, chosen.build, PYTEST)

    jobs: Deque[Callable[[], None]] = deque()
    if asked("py"):
        jobs += [partial(pytest, os.path.basename(path)[:-3], path) for path in python_tests()]
        profiler = [sys.executable, "test_profiler.py"]
        jobs.append(partial(run, tally, "test_profiler.py", profiler, counts=True))
    if asked("style"):
        jobs.appendleft(partial(analysis, tally))
        jobs.append(partial(style, tally))
    if asked("c"):
        jobs.append(partial(c_tests, tally, chosen.build))
    if asked("fuzz"):
        jobs.append(partial(fuzzing, tally, chosen.build, chosen.fuzz_seconds))

    def work() -> None:
        while jobs:
            try:
                job = jobs.popleft()
            except IndexError:
                return
            job()

    # Side by side: two cores halve the wait, and no test depends on how fast it runs.
    lanes = [threading.Thread(target=lane) for lane in [work] * LANES + [sid_lane]]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    if asked("fuzz") and chosen.keep_corpus:
        keep_corpus(chosen.build)
    if matrix.read(results):
        print(matrix.text(matrix.read(results)))
    shutil.rmtree(os.path.dirname(results))
    for line in tally.failures:
        print(line)
    print("%d passed, %d failed, %d skipped" % (tally.passed, tally.failed, tally.skipped))
    return int(tally.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
