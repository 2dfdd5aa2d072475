# SPDX-License-Identifier: MIT
"""harm_cpu.py WHAT: lets threads use CPU time under some condition, and prints the CPU time of the process in ns.
What a sampler counts, as samples or as lost, must add up to about that."""

import ctypes
import os
import resource
import signal
import sys
import threading
import time

libc = ctypes.CDLL(None)


def burn(milliseconds):
    end = time.thread_time() + milliseconds / 1000
    while time.thread_time() < end:
        sum(range(100))


def in_a_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    thread.join()


def block_all_and_burn(milliseconds):
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    burn(milliseconds)


def block_sigurg_and_burn(milliseconds):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGURG])
    burn(milliseconds)


def all_blocked():
    in_a_thread(block_all_and_burn, 300)
    burn(100)


def sigurg_blocked():
    in_a_thread(block_sigurg_and_burn, 300)
    burn(100)


def sigurg_blocked_for_good():
    burn(100)
    block_sigurg_and_burn(300)


def pending_limit():
    """The kernel then delivers signals without their value. A handler of the program sees none of them."""
    urgent = []
    signal.signal(signal.SIGURG, lambda *a: urgent.append(a[0]))
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, 0))
    in_a_thread(burn, 200)
    burn(200)
    assert not urgent, f"{len(urgent)} signals that nobody sent"


def files_limit():
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    for _ in range(4):
        in_a_thread(burn, 80)
    burn(80)


def users_of_threads():
    users = set()
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/status") as status:
            users |= {line for line in status if line.startswith(("Uid:", "Gid:", "Groups:"))}
    return users


def set_user():
    """No thread of the process may keep the old user's rights; then a fork."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        libc.prctl(4, 1, 0, 0, 0)
    for _ in range(200):
        burn(20)
        if len(users_of_threads()) == 3:
            break
    assert len(users_of_threads()) == 3, users_of_threads()
    assert libc.prctl(3, 0, 0, 0, 0) == 1, "dumpable"
    in_a_thread(burn, 100)
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    burn(200)


def undumpable():
    libc.prctl(4, 0, 0, 0, 0)
    burn(100)
    in_a_thread(burn, 100)
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    burn(200)


def new_root():
    """A root without /proc."""
    if os.geteuid() == 0:
        import tempfile

        os.chroot(tempfile.mkdtemp())
        os.chdir("/")
    in_a_thread(burn, 200)
    burn(200)


def plain():
    in_a_thread(burn, 200)
    burn(200)


globals()[sys.argv[1]]()
print(time.process_time_ns())
