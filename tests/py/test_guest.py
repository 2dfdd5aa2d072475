# SPDX-License-Identifier: MIT
"""A guest's manners: the profiled program's output, exit code, exceptions, signals, descriptors, dispositions
and environment are those of the plain program. Each case runs plain and under the preloaded library; whatever
differs is an error."""

import os
import sys

import pytest

import harness
from harness import PROGRAMS

SPIN = "def spin(n=400000):\n    for i in range(n): pass\n"

# name: (source, standard input or None). Each shall use some CPU, so that it is being sampled.
CASES = {
    "output": ("import sys; spin(); print('out'); print('err', file=sys.stderr); sys.stdout.write('no newline')", None),
    "exit_code": ("import sys; spin(); sys.exit(7)", None),
    "exit_text": ("import sys; spin(); sys.exit('a reason')", None),
    "exit_in_thread": ("import sys, threading; t = threading.Thread(target=lambda: (spin(), sys.exit(3))); t.start(); t.join()", None),
    "os_exit": ("import os, atexit; atexit.register(print, 'never'); spin(); os._exit(9)", None),
    "os_exit_thread": ("import os, threading; t = threading.Thread(target=lambda: (spin(), os._exit(4))); t.start(); t.join(); spin(10**9)", None),
    "atexit": ("import atexit; atexit.register(lambda: (spin(), print('atexit'))); spin()", None),
    "traceback": ("def inner(x):\n    spin()\n    return 1 / x\ndef outer():\n    try:\n        inner(0)\n    except ZeroDivisionError as e:\n        raise ValueError('outer') from e\nouter()", None),
    "recursion_error": ("import sys\ndef f(n):\n    return f(n + 1)\nfor i in range(30):\n    try:\n        f(0)\n    except RecursionError as e:\n        spin(20000)\n        print(e)", None),
    "deep_recursion": ("import sys\nsys.setrecursionlimit(6000)\ndef f(n):\n    return n and 1 + f(n - 1)\nfor i in range(60): print(f(4000))", None),
    "syntax_error": ("spin(); exec('def')", None),
    "warning": ("import warnings; spin(); warnings.warn('careful')", None),
    "killed": ("import os, signal; spin(); os.kill(os.getpid(), signal.SIGKILL)", None),
    "terminated": ("import os, signal; spin(); os.kill(os.getpid(), signal.SIGTERM); spin(10**8)", None),
    "segfault": ("import ctypes; spin(); ctypes.string_at(0)", None),
    "abort": ("import os; spin(); os.abort()", None),
    "faulthandler": ("import faulthandler, ctypes; faulthandler.enable(all_threads=False); spin(); ctypes.string_at(0)", None),
    "keyboard_interrupt": ("import os, signal; spin(); os.kill(os.getpid(), signal.SIGINT); spin(10**8)", None),
    "handler": ("import os, signal\nseen = []\nsignal.signal(signal.SIGUSR1, lambda *a: seen.append(a[0]))\nfor i in range(50):\n    spin(20000)\n    os.kill(os.getpid(), signal.SIGUSR1)\nspin()\nprint(len(seen))", None),
    "own_sigurg": ("import os, signal\nseen = []\nsignal.signal(signal.SIGURG, lambda *a: seen.append(a[0]))\nfor i in range(50):\n    spin(20000)\n    os.kill(os.getpid(), signal.SIGURG)\nspin(4000000)\nprint(len(seen), signal.getsignal(signal.SIGURG) is not None)\nprint(signal.signal(signal.SIGURG, signal.SIG_DFL) is not None, signal.getsignal(signal.SIGURG))\nos.kill(os.getpid(), signal.SIGURG)\nspin()\nprint(len(seen), signal.signal(signal.SIGURG, signal.SIG_IGN), signal.getsignal(signal.SIGURG))", None),
    "ignored_sigurg_default": ("import os, signal\nos.kill(os.getpid(), signal.SIGURG)\nspin()\nprint('alive')", None),
    "alarm": ("import signal, time\nsignal.signal(signal.SIGALRM, lambda *a: print('alarm'))\nsignal.setitimer(signal.ITIMER_REAL, 0.05)\nspin()\nprint(signal.sigwait([signal.SIGUSR2]) if 0 else 'end'); time.sleep(0.1)", None),
    "sigprof_itimer": ("import signal\nn = []\nsignal.signal(signal.SIGPROF, lambda *a: n.append(1))\nsignal.setitimer(signal.ITIMER_PROF, 0.01, 0.01)\nspin(6000000)\nsignal.setitimer(signal.ITIMER_PROF, 0)\nprint(len(n) > 3)", None),
    "siginterrupt": ("import os, signal, threading, time\nsignal.signal(signal.SIGUSR1, lambda *a: None)\nr, w = os.pipe()\nt = threading.Timer(0.1, lambda: (os.kill(os.getpid(), signal.SIGUSR1), time.sleep(0.1), os.write(w, b'x')))\nt.start(); spin(); print(os.read(r, 1))", None),
    "blocked_signals": ("import os, signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\nspin(3000000)\nprint(sorted(signal.sigpending()))", None),
    "stdin": ("import sys; spin(); data = sys.stdin.read(); print(len(data), data[:20])", b"some input\n" * 5000),
    "threads_at_exit": ("import threading, time\nfor i in range(4): threading.Thread(target=lambda: (spin(), time.sleep(0.05), spin())).start()\nprint('main ends')", None),
    "daemon_threads": ("import threading\nfor i in range(4): threading.Thread(target=lambda: spin(10**9), daemon=True).start()\nspin(); print('main ends')", None),
    "thread_churn": ("import threading\nfor i in range(400):\n    t = threading.Thread(target=spin, args=(2000,)); t.start(); t.join()\nprint(threading.active_count())", None),
    "thread_names": ("import threading\nprint(threading.current_thread(). name, [t.name for t in threading.enumerate()]); spin()", None),
    "fork": ("import os\nfor i in range(20):\n    p = os.fork()\n    if p == 0:\n        spin(); os._exit(i)\n    print(os.waitpid(p, 0)[1])\nspin(); print('parent')", None),
    "fork_returns": ("import os, sys\np = os.fork()\nspin()\nif p: os.waitpid(p, 0)\nprint('child' if p == 0 else 'parent', flush=True)", None),
    "subprocess": ("import subprocess, sys\nspin()\nprint(subprocess.run([sys.executable, '-c', 'import os; print(os.environ.get(\"LD_PRELOAD\"), os.environ.get(\"PLAIT_RUN\")); print(len(os.listdir(\"/proc/self/fd\")))'], stdout=subprocess.PIPE).stdout)\nprint(subprocess.run(['false']).returncode, subprocess.getoutput('echo x; exit 3'))", None),
    "multiprocessing": ("import multiprocessing as m\nif __name__ == '__main__':\n    with m.get_context('fork').Pool(2) as p: print(p.map(abs, range(-50, 0)))\n    spin()", None),
    "exec": ("import os, sys; spin(); sys.stdout.flush(); os.execv(sys.executable, [sys.executable, '-c', 'print(\"execed\"); import sys; sys.exit(5)'])", None),
    "close_everything": ("import os\nspin(); os.closerange(3, 1000); fd = os.open('/dev/null', 0); spin(2000000); print(fd, os.readlink('/proc/self/fd/%d' % fd))\nfds = [os.dup(0) for i in range(30)]\nspin(2000000)\nprint(fds)", None),
    "close_range_all": ("import ctypes, os\nspin(); print(ctypes.CDLL(None).syscall(436, 3, 1 << 31, 0)); spin(3000000); print(sorted(os.listdir('/proc/self/fd')))", None),
    "chdir_and_umask": ("import os; os.chdir('/'); os.umask(0o777); spin(3000000); print(os.getcwd())", None),
    "asyncio": ("import asyncio\nasync def one(n):\n    for i in range(20):\n        spin(2000); await asyncio.sleep(0)\n    return n\nasync def main():\n    print(await asyncio.gather(*(one(n) for n in range(20))))\n    print(await asyncio.wait_for(asyncio.sleep(0.05, 'slept'), 5))\nasyncio.run(main())", None),
    "generators": ("def gen(n):\n    for i in range(n):\n        x = yield i\nprint(sum(sum(gen(2000)) for i in range(60)))", None),
    "settrace": ("import sys\nn = 0\ndef trace(*a):\n    global n\n    n += 1\n    return trace\nsys.settrace(trace)\nspin(30000)\nsys.settrace(None)\nprint(n)", None),
    "setprofile": ("import cProfile, pstats, io\np = cProfile.Profile(); p.runcall(spin, 300000); print(pstats.Stats(p, stream=io.StringIO()).total_calls)", None),
    "memory_pressure": ("import gc\nfor i in range(40):\n    x = [bytes(100000) for _ in range(100)]; del x; gc.collect(0)\nprint('done')", None),
    "mmap_churn": ("import mmap\nfor i in range(3000):\n    m = mmap.mmap(-1, 1 << 16); m[0] = 1; m.close()\nspin(); print('done')", None),
    "sched_and_limits": ("import resource, os\nresource.setrlimit(resource.RLIMIT_NOFILE, (16, 16)); spin(2000000); print(resource.getrlimit(resource.RLIMIT_NOFILE), os.dup(0))", None),
}


def compare(argv, clock, rate=2000, stdin=None, nobody=False, **more):
    """Runs argv plain and profiled and returns both results, which must be equal."""
    plain = harness.run(argv, stdin=stdin, nobody=nobody, **more)
    done = harness.profile(argv, rate=rate, clock=clock, stdin=stdin, nobody=nobody, check=False, **more)
    assert done.result == plain
    return plain


def names_for(clock):
    """perf and poll take every case; posix, which no user gets who has another, a choice."""
    if clock != "posix":
        return list(CASES)
    return ["output", "traceback", "own_sigurg", "fork", "close_everything", "threads_at_exit", "exec"]


@pytest.mark.parametrize("name", list(CASES))
def test_same_as_plain(name, clock):
    if name not in names_for(clock):
        pytest.skip("the posix clock runs a choice of the cases")
    source, stdin = CASES[name]
    compare([sys.executable, "-c", SPIN + source], clock, stdin=stdin)


CHOICE = ["traceback", "own_sigurg", "fork", "exec", "threads_at_exit", "recursion_error", "asyncio", "os_exit"]


@pytest.mark.parametrize("name", CHOICE)
def test_same_as_plain_on_each_python(name, python, library):
    source, stdin = CASES[name]
    compare([harness.PYTHONS[python], "-c", SPIN + source], "auto", stdin=stdin)


@pytest.mark.parametrize("name", CHOICE)
def test_same_as_plain_as_an_ordinary_user(name, nobody):
    source, stdin = CASES[name]
    compare([nobody, "-c", SPIN + source], "auto", stdin=stdin, nobody=True, cwd="/")


def test_state_is_untouched(python, clock):
    """Descriptors, signals, mask, timers, environment, limits as the program sees them."""
    plain = compare([harness.PYTHONS[python], PROGRAMS / "guest_state.py", "a", "b"], clock)
    assert plain.status == 0 and plain.stdout.count(b"\n") > 70


def test_state_is_untouched_with_descriptors_passed_in(library):
    """What the program was started with stays open, what was closed stays closed."""
    read_end, write_end = os.pipe()
    try:
        argv = [sys.executable, PROGRAMS / "guest_state.py"]
        compare(argv, "auto", pass_fds=(read_end,))
    finally:
        os.close(read_end)
        os.close(write_end)


def test_previous_preload_stays(library, tmp_path):
    """A program's own LD_PRELOAD is kept and what it sees."""
    other = harness.build("nest", shared=True)
    base = dict(os.environ, LD_PRELOAD=str(other))
    argv = [sys.executable, "-c", "import os; print(os.environ['LD_PRELOAD']); print('nest.so' in open('/proc/self/maps').read())"]
    plain = harness.run(argv, env=base)
    env = harness.environment(tmp_path / "r.plait", preload=str(other))
    env["LD_PRELOAD"] = f"{library}:{other}"
    assert harness.run(argv, env=env) == plain


FORKS = """
import os, sys, warnings
for i in range(50):
    pid = os.fork()
    if pid == 0:
        spin(3000)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    spin(30000)
print("50 forks")
"""


def test_forks_without_a_warning(python, clock):
    """Python 3.12 counts the threads when os.fork() returns: no thread of ours may be there."""
    argv = [harness.PYTHONS[python], "-W", "error", "-c", SPIN + FORKS]
    done = harness.profile(argv, clock=clock)
    assert done.result == (0, b"50 forks\n", b"")
    assert done.samples, "nothing was sampled between the forks"


def waits_lines(result):
    return {line.split()[0]: [int(word) for word in line.split()[1:]] for line in result.stdout.decode().splitlines()}


def test_no_interrupted_wait_is_seen(clock):
    """No EINTR of ours at 10 kHz, in each kind of wait; the samples show that there were ticks."""
    done = harness.profile([harness.build("waits"), 400], rate=10000, clock=clock)
    lines = waits_lines(done.result)
    print(lines, done.totals)
    assert len(lines) == 17
    assert {name: (eintr, wrong) for name, (_, eintr, wrong) in lines.items() if eintr or wrong} == {}
    assert done.samples


def test_own_signals_still_interrupt(clock):
    done = harness.profile([harness.build("waits"), "own", 1500], rate=10000, clock=clock)
    assert waits_lines(done.result) == {"own": [1500, 1500, 0]}


def test_no_interrupted_wait_is_seen_by_an_ordinary_user(nobody):
    done = harness.profile([harness.build("waits"), 150], rate=10000, nobody=True)
    assert {name: rest[1:] for name, rest in waits_lines(done.result).items() if any(rest[1:])} == {}
