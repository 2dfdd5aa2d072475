# SPDX-License-Identifier: MIT
"""CPython's own tests under the preloaded library, compared with their plain results, test by test.

    cpython_suite.py [--python EXE] [--clocks perf,poll] [--rate 1000] [TEST ...]

Every test runs plain and once per clock; what differs is run again, and counts when it differs again while the
plain results agree. Prints each difference; the exit status is 1 when there is one.
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

TESTS = [
    "test_signal",
    "test_os",
    "test_posix",
    "test_subprocess",
    "test_threading",
    "test_fork1",
    "test_faulthandler",
]


def outcomes(python, test, env, match=()):
    """{test case: outcome} of one module, from the run's JUnit file."""
    with tempfile.TemporaryDirectory(prefix="plait-suite-") as folder:
        report = os.path.join(folder, "report.xml")
        command = [python, "-m", "test", "--junit-xml", report, "--timeout", "300", test]
        for pattern in match:
            command += ["-m", pattern]
        run = subprocess.run(
            command,
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
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
    folder = harness.scratch()
    return outcomes(
        python, test, harness.environment(os.path.join(folder, "r.plait"), clock=clock, rate=rate), match
    )


def compare(python, test, clocks, rate=1000, match=()):
    """(cases, flaky cases, {clock: differences}) of one module. Where results differ, both runs are done once
    more: only what differs again, while the plain results agree, is a difference."""
    plain, flaky, result = outcomes(python, test, dict(os.environ), match), set(), {}
    for clock in clocks:
        lines = differences(plain, profiled(python, test, clock, rate, match))
        if lines:
            again = outcomes(python, test, dict(os.environ), match)
            flaky |= {name for name in set(plain) | set(again) if plain.get(name) != again.get(name)}
            second = differences(plain, profiled(python, test, clock, rate, match))
            judged = {name: outcome for name, outcome in plain.items() if name not in flaky}
            lines = [line for line in second if line in lines and line.split(":")[0] in judged]
        result[clock] = lines
    return len(plain), sorted(flaky - {"output's end"}), result


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
            print(
                f"{test} on {clock}: {cases} cases, {len(flaky)} flaky, {len(lines)} differences", flush=True
            )
            for line in lines:
                print("    " + line)
            bad += bool(lines)
    print(f"{len(options.tests)} modules, {bad} with differences")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
