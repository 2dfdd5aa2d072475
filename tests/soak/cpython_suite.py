# SPDX-License-Identifier: MIT
"""CPython's own tests under the preloaded library, compared with their plain results, test by test.

    cpython_suite.py [--python EXE] [--clocks perf,poll] [--rate 1000] [TEST ...]

Every test runs plain twice (what differs there is flaky and is not judged), then once per clock. Prints each
difference; the exit status is 1 when there is one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

import harness  # noqa: E402

TESTS = "test_signal test_os test_posix test_subprocess test_threading test_fork1 test_faulthandler".split()


def outcomes(python, test, env, match=()):
    """{test case: outcome} of one module, from the run's JUnit file."""
    with tempfile.TemporaryDirectory(prefix="plait-suite-") as folder:
        report = os.path.join(folder, "report.xml")
        command = [python, "-m", "test", "--junit-xml", report, "--timeout", "300", test]
        for pattern in match:
            command += ["-m", pattern]
        run = subprocess.run(
            command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
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
    """Lines of what differs; the output's end is shown, not compared."""
    lines = []
    for name in sorted(set(plain) | set(other)):
        if name != "output's end" and plain.get(name) != other.get(name):
            lines.append(f"{name}: plain {plain.get(name)}, profiled {other.get(name)}")
    if lines and "output's end" in other:
        lines.append(other["output's end"])
    return lines


def profiled(python, test, clock, rate, match=()):
    folder = harness.scratch()
    return outcomes(python, test, harness.environment(os.path.join(folder, "r.plait"), clock=clock, rate=rate), match)


def compare(python, test, clocks, rate=1000, match=()):
    """{clock: differences} of one module; cases that differ between two plain runs are left out."""
    first, second = (outcomes(python, test, dict(os.environ), match) for _ in range(2))
    flaky = {name for name in set(first) | set(second) if first.get(name) != second.get(name)} - {"output's end"}
    plain = {name: outcome for name, outcome in first.items() if name not in flaky}
    result = {}
    for clock in clocks:
        other = profiled(python, test, clock, rate, match)
        result[clock] = differences(plain, {name: out for name, out in other.items() if name not in flaky})
    return len(plain), sorted(flaky), result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=harness.newest_of(12))
    parser.add_argument("--clocks", default="perf,poll")
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("tests", nargs="*", default=TESTS)
    options = parser.parse_args()
    if not options.python:
        print("skipped: no Python 3.12 found")
        return 0
    bad = 0
    for test in options.tests:
        cases, flaky, result = compare(options.python, test, options.clocks.split(","), options.rate)
        for clock, lines in result.items():
            print(f"{test} on {clock}: {cases} cases, {len(flaky)} flaky, {len(lines)} differences", flush=True)
            for line in lines:
                print("    " + line)
            bad += bool(lines)
    print(f"{len(options.tests)} modules, {bad} with differences")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
