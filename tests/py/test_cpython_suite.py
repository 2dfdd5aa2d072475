# SPDX-License-Identifier: MIT
"""A short choice of CPython's own tests under the library; all of them run in tests/soak/cpython_suite.py."""

import sys

import harness
import pytest

sys.path.insert(0, str(harness.ROOT / "tests" / "soak"))

import cpython_suite  # noqa: E402

# Quick ones that meet what a guest can spoil: forks, dispositions, masks, interrupted calls, descriptors.
CHOICE = {
    "test_fork1": [],
    "test_signal": ["PosixTests", "WakeupFDTests", "PendingSignalsTests"],
    "test_posix": ["test_close_file", "test_pidfd_open", "TestPosixSpawn"],
    "test_subprocess": ["test_pass_fds*", "test_close_fds*", "test_restore_signals*"],
    "test_threading": ["test_main_thread_after_fork*", "test_daemon_threads*", "test_finalize*"],
}


WAYS = {12: ("poll", 1000), 13: ("poll", 10000)}


@pytest.mark.parametrize("minor", list(WAYS))
@pytest.mark.parametrize("test", list(CHOICE))
def test_same_results(test, minor, library):
    python = harness.newest_of(minor)
    if python is None or not cpython_suite.has_test_package(python):
        pytest.skip(f"no Python 3.{minor} with its test package found")
    cases, flaky, result = cpython_suite.compare(python, test, [WAYS[minor]], match=CHOICE[test])
    assert cases > 1 and not result[WAYS[minor]], result
    print(test, cases, "cases; flaky:", flaky)
