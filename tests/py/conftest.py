# SPDX-License-Identifier: MIT
"""Fixtures of the end-to-end tests: a clock that works here, an interpreter, a scratch folder."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import harness  # noqa: E402


def pytest_report_header():
    found = ", ".join(harness.PYTHONS) or "none"
    return f"interpreters: {found}; library: {'built' if harness.LIBRARY.exists() else 'missing'}"


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
