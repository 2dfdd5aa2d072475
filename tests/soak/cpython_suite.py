# SPDX-License-Identifier: MIT
"""CPython's own tests under `plait run`, their child processes included, compared with their plain results, test
by test.

    cpython_suite.py [--pythons EXE,...] [--ways perf:1000,poll:10000] [TEST ...]

Every test runs plain and once per way, a clock and a rate; what differs is run again, and counts when it differs again
while the plain results agree. Prints each difference; the exit status is 1 when there is one. Without --pythons:
the 3.12 and the 3.13 found that have their test package; without --ways both rates, on each the other clock.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

import harness  # noqa: E402

TESTS = [
    "test_signal",
    "test_os",
    "test_posix",
    "test_subprocess",
    "test_threading",
    "test_fork1",
    "test_faulthandler",
    "test_asyncio",
    "test_socket",
    "test_multiprocessing_fork",
    "test_multiprocessing_spawn",
    "test_concurrent_futures",
    "test_generators",
    "test_re",
    "test_json",
    "test_sqlite3",
    "test_ctypes",
    "test_io",
    "test_gc",
]
WAYS = (("perf:1000", "poll:10000"), ("poll:1000", "perf:10000"))
SAMPLES_LEAST = 30
# Without PYTHONPATH, which the tests would see.
PLAIT = f"import sys; sys.path.insert(0, {str(harness.ROOT)!r}); from plait.cli import main; sys.exit(main())"
SECONDS_MOST = 1800  # of one module; its own --timeout is per test case


def outcomes(python, test, match=(), launcher=()):
    """{test case: outcome} of one module, from the run's JUnit file."""
    with tempfile.TemporaryDirectory(prefix="plait-suite-") as folder:
        report = os.path.join(folder, "report.xml")
        command = [*launcher, python, "-m", "test", "--junit-xml", report, "--timeout", "300", test]
        for pattern in match:
            command += ["-m", pattern]
        run = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS_MOST,
        )
        found = {}
        if os.path.exists(report):
            for case in xml.etree.ElementTree.parse(report).iter("testcase"):
                kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
                found[case.get("name")] = kinds[0] if kinds else "passed"
        found["exit status"] = str(run.returncode)
        if run.returncode != 0:
            found["output's end"] = run.stdout.decode("utf-8", "replace")[-1500:]
        return found


def differences(plain, other):
    """Lines of what differs, but for the output's end."""
    lines = []
    for name in sorted(set(plain) | set(other)):
        if name != "output's end" and plain.get(name) != other.get(name):
            lines.append(f"{name}: plain {plain.get(name)}, profiled {other.get(name)}")
    return lines


def profiled(python, test, clock, rate, match=()):
    """The outcomes under sampling, which must have taken place."""
    folder = harness.scratch()
    try:
        recording = os.path.join(folder, "r.plait")
        options = ["run", "-q", "-o", recording, "--clock", clock, "-r", str(rate), "--"]
        found = outcomes(python, test, match, [sys.executable, "-c", PLAIT, *options])
        samples, _, _ = harness.read(recording)
        seen = sum(any(frame.kind == "python" for frame in sample.frames) for sample in samples)
        if seen < SAMPLES_LEAST:
            raise AssertionError(f"{test} ran with {seen} samples of Python: it was not profiled")
        return found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def has_test(python, test):
    """Some installations leave parts of the package out."""
    return harness.run([python, "-c", f"import test.{test}"]).status == 0


def has_test_package(python):
    run = harness.run([python, "-c", "import test.test_fork1, test.libregrtest"])
    return run.status == 0


def compare(python, test, ways, match=()):
    """(cases, flaky cases, {way: differences}) of one module; a way is (clock, rate). Where results differ, both
    runs are done once more: only what differs again, while the plain results agree, is a difference."""
    plain, flaky, result = outcomes(python, test, match), set(), {}
    for clock, rate in ways:
        lines = differences(plain, profiled(python, test, clock, rate, match))
        if lines:
            again = outcomes(python, test, match)
            flaky |= {name for name in set(plain) | set(again) if plain.get(name) != again.get(name)}
            second = differences(plain, profiled(python, test, clock, rate, match))
            judged = {name: outcome for name, outcome in plain.items() if name not in flaky}
            lines = [line for line in second if line in lines and line.split(":")[0] in judged]
        result[clock, rate] = lines
    return len(plain), sorted(flaky - {"output's end"}), result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pythons")
    parser.add_argument("--ways")
    parser.add_argument("tests", nargs="*", default=TESTS)
    options = parser.parse_args()
    found = options.pythons.split(",") if options.pythons else [harness.newest_of(12), harness.newest_of(13)]
    pythons = [python for python in found if python and has_test_package(python)]
    if not pythons:
        print("skipped: no Python 3.12 or 3.13 with its test package found")
        return 0
    bad = runs = 0
    for number, python in enumerate(pythons):
        named = options.ways.split(",") if options.ways else WAYS[number % len(WAYS)]
        ways = [(clock, int(rate)) for clock, rate in (way.split(":") for way in named)]
        for test in options.tests:
            if not has_test(python, test):
                print(f"skipped: {python} has no {test}", flush=True)
                continue
            cases, flaky, result = compare(python, test, ways)
            for (clock, rate), lines in result.items():
                print(
                    f"{python} {test} on {clock} at {rate} Hz: {cases} cases, {len(flaky)} flaky, "
                    f"{len(lines)} differences",
                    flush=True,
                )
                for line in lines:
                    print("    " + line)
                runs, bad = runs + 1, bad + bool(lines)
    print(f"{runs} runs of modules, {bad} with differences")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
