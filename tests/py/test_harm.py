# SPDX-License-Identifier: MIT
"""No harm done: what a sampler could break in a program that uses signals, limits and privileges of its own.
Each case of harm_cases.txt runs plain and profiled; whatever differs is an error."""

import functools
import os
import shutil
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "soak"))

import churn  # of tests/soak
import harness
import pytest
from harness import PROGRAMS
from test_guest import read_cases

CASES = read_cases(PROGRAMS / "harm_cases.txt")


@functools.lru_cache(maxsize=None)
def plain(name):
    return harness.run([sys.executable, "-c", CASES[name]])


# Both clocks interrupt alike; on perf a choice, of what descriptors, threads and users change.
ON_PERF = [
    "traceback_later",
    "sigwait",
    "everything_blocked",
    "a_signal_thread",
    "signalfd_of_sigurg",
    "itimers",
    "close_all_and_dup_over",
    "daemon",
    "setuid",
    "files_limit_0",
    "pending_limit_0",
    "file_limit",
    "stray_after_exec",
]


@pytest.mark.parametrize("name", list(CASES))
def test_same_as_plain(name, harm_clock):
    if harm_clock == "perf" and name not in ON_PERF:
        pytest.skip("clock perf runs a choice of the cases")
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


def load(words, clock, folder):
    """harm_load plain and profiled, which print the same."""
    argv = [str(word) for word in [harness.build("harm_load"), *words]]
    done = harness.profile(argv, rate=2000, clock=clock, keep=str(folder))
    assert done.result == harness.run(argv) and done.samples
    return done


def test_handlers_of_every_signal_on_another_stack(harm_clock, tmp_path):
    done = load(["handlers"], harm_clock, tmp_path)
    assert b"caught 60, wrong counts 0, off the alternate stack 0" in done.result.stdout
    there = [s for s in done.samples if any(f.function == "burn_on_the_alternate_stack" for f in s.frames)]
    through = [s for s in there if any(f.function == "main" for f in s.frames)]
    print(f"{len(there)} samples on the alternate stack, {len(through)} of them through to main()")
    assert len(through) >= 0.99 * len(there) > 20


def test_a_thousand_threads_and_their_ends(harm_clock, tmp_path):
    done = load(["threads", 1000], harm_clock, tmp_path)
    assert done.result.stdout == b"ran 1000, cancelled 1000\n"


def test_libraries_come_and_go(harm_clock, tmp_path):
    library = harness.build("harm_load", shared=True)
    copies = [shutil.copy(library, tmp_path / f"copy{number}.so") for number in range(4)]
    done = load(["libraries", *copies], harm_clock, tmp_path)
    assert done.result.stdout == b"failed 0\n"


def test_starts_and_stops_leave_nothing(harm_clock):
    """The short form of tests/soak/churn.py."""
    done, counts, grown = churn.growth(harm_clock, 300, 10)
    print(done, counts)
    assert done > 30 and not grown
