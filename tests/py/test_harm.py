# SPDX-License-Identifier: MIT
"""No harm done: what a sampler could break in a program that uses signals, limits and privileges of its own.
Each case of harm_cases.txt runs plain and profiled; whatever differs is an error."""

import functools
import os
import shutil
import sys

import harness
import pytest
from harness import PROGRAMS
from test_guest import read_cases

CASES = read_cases(PROGRAMS / "harm_cases.txt")


@functools.lru_cache(maxsize=None)
def plain(name):
    return harness.run([sys.executable, "-c", CASES[name]])


@pytest.mark.parametrize("name", list(CASES))
def test_same_as_plain(name, harm_clock):
    done = harness.profile([sys.executable, "-c", CASES[name]], rate=2000, clock=harm_clock, check=False)
    assert done.result == plain(name)


@pytest.fixture(params=["poll", "perf"])
def harm_clock(request):
    refused = harness.clock_refused(request.param)
    if refused:
        pytest.skip(refused)
    return request.param


# What can be sampled, although the program made it difficult; and what can't, and is counted as lost.
SAMPLED = ["plain", "all_blocked", "pending_limit", "files_limit", "undumpable", "new_root"]
LOST = {"sigurg_blocked": 300, "sigurg_blocked_for_good": 300}


def account(done):
    """(used, sampled, lost) ms of CPU time of harm_cpu.py, which must add up."""
    used = int(done.result.stdout) / 1e6
    sampled = sum(sample.weight for sample in done.samples) / 1e6
    lost = done.totals["lost_weight"] / 1e6
    print(f"used {used:.0f} ms, sampled {sampled:.0f}, lost {lost:.0f}: {done.fields.get('note')}")
    assert used * 0.8 < sampled + lost < used * 1.1
    return used, sampled, lost


@pytest.mark.parametrize("what", SAMPLED + list(LOST))
def test_all_cpu_time_is_sampled_or_said_to_be_lost(what, harm_clock):
    done = harness.profile([sys.executable, PROGRAMS / "harm_cpu.py", what], clock=harm_clock)
    lost = account(done)[2]
    wanted = LOST.get(what, 0)
    assert wanted * 0.8 - 20 < lost < wanted * 1.2 + 20
    said = any("blocks SIGURG" in note for note in done.fields.get("note", []))
    assert said == (wanted != 0)


def wrapped(command, clock, folder, what="plain"):
    """harm_cpu.py under another command, which is not to be sampled itself."""
    output = os.path.join(folder, "run.plait")
    env = harness.environment(output, clock=clock)
    variables = [f"{name}={env[name]}" for name in ("LD_PRELOAD", "PLAIT_RUN")]
    argv = [*command, "/usr/bin/env", *variables, sys.executable, PROGRAMS / "harm_cpu.py", what]
    return harness.Profile(output, harness.run(argv))


NAMESPACES = {
    "another namespace's /proc": ["unshare", "--pid", "--fork", "--"],
    "no /proc": ["unshare", "-m", "sh", "-c", 'umount -l /proc && exec "$@"', "sh"],
}


@pytest.mark.parametrize("kind", list(NAMESPACES))
def test_without_a_proc_of_its_own(kind, harm_clock, tmp_path):
    command = NAMESPACES[kind]
    if harness.run([*command, "true"]).status != 0:
        pytest.skip("no right to make namespaces here")
    done = wrapped(command, harm_clock, tmp_path)
    assert done.result.status == 0 and account(done)[2] < 20
    assert len({sample.thread for sample in done.samples}) == 2


# What a container's filter may refuse, what clock then runs, and what the recording or the error line says.
REFUSED = {
    "perf_event_open": ("poll", ""),
    "process_vm_readv": (None, ""),
    "timer_create": (None, ""),
    "timer_settime": (None, ""),
    "perf_event_open,rt_tgsigqueueinfo": ("posix", "HZ"),
    "close_range": (None, ""),
}


@pytest.mark.parametrize("calls", list(REFUSED))
def test_refused_system_calls(calls, library, tmp_path):
    clock, note = REFUSED[calls]
    action = "ENOSYS" if calls == "perf_event_open" else "EPERM"
    command = [sys.executable, PROGRAMS / "harm_seccomp.py", "before", action, calls]
    done = wrapped(command, "auto" if clock else "poll", tmp_path)
    assert done.result.status == 0 and account(done)[2] < 20
    assert done.fields["clock"] == [clock or "poll"]
    assert note in " ".join(done.fields["note"])
    assert done.totals["flags"].get("guessed", 0) < 10


def test_no_clock_at_all_is_said(library, tmp_path):
    calls = "perf_event_open,rt_tgsigqueueinfo,timer_create"
    env = harness.environment(tmp_path / "run.plait", errors=str(tmp_path / "error"))
    variables = [f"{name}={env[name]}" for name in ("LD_PRELOAD", "PLAIT_RUN")]
    argv = [
        sys.executable,
        PROGRAMS / "harm_seccomp.py",
        "before",
        "EPERM",
        calls,
        "/usr/bin/env",
        *variables,
    ]
    assert harness.run([*argv, sys.executable, "-c", "print(1)"]) == (0, b"1\n", b"")
    assert "timer_create" in (tmp_path / "error").read_text()


def test_a_filter_that_comes_later(library):
    """The program refuses new perf events to all its threads, ours included."""
    argv = [sys.executable, PROGRAMS / "harm_seccomp.py", "after", "EPERM", "perf_event_open"]
    clock = "poll" if harness.clock_refused("perf") else "perf"
    done = harness.profile([*argv, PROGRAMS / "harm_cpu.py", "plain"], clock=clock)
    assert account(done)[2] < 20
    assert clock == "poll" or any("clock poll went on" in note for note in done.fields["note"])


def test_program_that_gives_up_its_user(library, harm_clock):
    folder = harness.scratch(nobody=True)
    try:
        done = harness.profile(
            [sys.executable, PROGRAMS / "harm_cpu.py", "set_user"], clock=harm_clock, keep=folder
        )
        assert account(done)[2] < 20 and done.totals["clean"]
    finally:
        shutil.rmtree(folder)
