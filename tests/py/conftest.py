# SPDX-License-Identifier: MIT
"""Fixtures of the end-to-end tests: a clock that works here, an interpreter, a scratch folder. And the matrix:
what became of the tests that run once per interpreter goes to the file PLAIT_MATRIX (tests/matrix.py)."""

import json
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import harness  # noqa: E402


def pytest_report_header():
    found = ", ".join(harness.PYTHONS) or "none"
    return f"interpreters: {found}; library: {'built' if harness.LIBRARY.exists() else 'missing'}"


def pytest_configure(config):
    config.addinivalue_line("markers", "matrix(column): one result per interpreter; in every system's run")
    for name in harness.UNSERVED:
        note(name, "", "not served")


def note(name, column, outcome):
    """One line of the matrix: an interpreter, a column, an outcome."""
    path = os.environ.get("PLAIT_MATRIX")
    if path:
        with open(path, "a") as file:
            file.write(json.dumps([name.split("-")[0], harness.BUILDS[name], column, outcome]) + "\n")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    mark, case = item.get_closest_marker("matrix"), getattr(item, "callspec", None)
    if mark is None or case is None or (report.when != "call" and report.passed):
        return
    name = case.params.get("python", case.params.get("name"))
    if name in harness.BUILDS:
        tried = [case.params["tried"]] if "tried" in case.params else []  # a clock with a column of its own
        note(name, " ".join([*mark.args, *tried]), report.outcome)


def require_library():
    if not harness.LIBRARY.exists():
        pytest.skip("build/libprofiler.so is not built")


@pytest.fixture
def library():
    require_library()
    return harness.LIBRARY


@pytest.fixture(params=harness.CLOCKS)
def clock(request):
    """Each clock that samples this process here."""
    require_library()
    refused = harness.clock_refused(request.param)
    if refused:
        pytest.skip(refused)
    return request.param


@pytest.fixture(params=sorted(harness.PYTHONS, key=lambda name: harness.minor(name)))
def python(request):
    """Each interpreter found, by name; harness.PYTHONS[name] is its path."""
    return request.param


@pytest.fixture
def nobody(library):
    """Skips where programs can't be run as an ordinary user from here."""
    reason = harness.can_be_nobody()
    if reason:
        pytest.skip(reason)
    if not harness.nobody_can_run("/usr/bin/python3"):
        pytest.skip("an ordinary user can't run /usr/bin/python3 here")
    return "/usr/bin/python3"
