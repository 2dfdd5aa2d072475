# SPDX-License-Identifier: MIT
"""harm_churn.py CLOCK ROUNDS SECONDS: many short recordings in one process, while threads and forks come and go;
then what an hour of use would have leaked. Prints "rounds N" and, for each count, its value after a tenth of the
rounds and at the end, as "name before after"."""

import ctypes
import gc
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from plait import _library  # noqa: E402

STARTERS = 3
libc = ctypes.CDLL(None)


def spin(count):
    for _ in range(count):
        pass


def one_round(library, clock, number):
    """A short recording with a thread in it; now and then a fork, a profile, a start that fails. Other threads do
    the same, so each call may find that another one was faster."""
    options = _library.Options(size=ctypes.sizeof(_library.Options), rate=5000, clock=clock)
    library.start(ctypes.byref(options))
    spin(1000)
    if number % 4 == 0:
        thread = threading.Thread(target=spin, args=(1000,))
        thread.start()
        thread.join()
    if number % 16 == 1:
        child = os.fork()
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    if number % 8 == 2:
        profile = library.open(None, 1)
        assert profile > 0, library.error()
        spin(1000)
        assert library.close(profile) == 0 and library.forget(profile) == 0
    if number % 64 == 3:
        wrong = _library.Options(size=ctypes.sizeof(_library.Options), output=b"/nonexistent/folder/x.plait")
        assert library.start(ctypes.byref(wrong)) != 0
    library.stop()


def churn(library, clock, rounds, end):
    done = [0] * STARTERS

    def work(index):
        while sum(done) < rounds and time.monotonic() < end:
            one_round(library, clock, done[index])
            done[index] += 1

    threads = [threading.Thread(target=work, args=(index,)) for index in range(STARTERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done)


def counts():
    time.sleep(1.2)  # a timer may serve for a second after its recording
    _start_and_stop()
    gc.collect()
    libc.malloc_trim(0)
    with open("/proc/self/status") as status:
        memory = next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
    with open("/proc/self/timers") as timers:
        timer_count = sum(line.startswith("ID:") for line in timers)
    with open("/proc/self/maps") as maps:
        mappings = sum(1 for _ in maps)
    return {
        "memory_kb": memory,
        "mappings": mappings,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "timers": timer_count,
        "threads": len(os.listdir("/proc/self/task")),
        "files": len(os.listdir(os.environ["TMPDIR"])),
    }


def _start_and_stop():
    library.start(None)
    library.stop()


clock, rounds, seconds = sys.argv[1].encode(), int(sys.argv[2]), float(sys.argv[3])
library = _library.load()
with tempfile.TemporaryDirectory() as folder:
    os.environ["TMPDIR"] = folder
    start = time.monotonic()
    done = churn(library, clock, rounds // 10, start + seconds / 10)
    before = counts()
    done += churn(library, clock, rounds - done, start + seconds)
    after = counts()
    os.environ["TMPDIR"] = "/tmp"
    _start_and_stop()
print("rounds", done)
for name in before:
    print(name, before[name], after[name])
