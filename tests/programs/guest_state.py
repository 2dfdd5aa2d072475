# SPDX-License-Identifier: MIT
"""Prints everything of its process that a guest must not change, one line each. Two runs are compared."""

import ctypes
import os
import resource
import signal
import sys
import threading
import zlib

SIGNALS = [number for number in range(1, 65) if number not in (32, 33)]
libc = ctypes.CDLL(None, use_errno=True)


class Sigaction(ctypes.Structure):
    _fields_ = [
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ulong * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    ]


def disposition(number):
    action = Sigaction()
    status = libc.sigaction(number, None, ctypes.byref(action))
    known = {None: "default", 1: "ignored"}.get(action.handler, "handler")
    return f"{status} {known} {action.flags:x} {action.mask[0]:x}"  # the kernel knows 64 signals


def status_field(name):
    with open("/proc/self/status") as status:
        return next(line.split()[1] for line in status if line.startswith(name + ":"))


def descriptors():
    return {
        fd: os.readlink(f"/proc/self/fd/{fd}")
        for fd in sorted(map(int, os.listdir("/proc/self/fd")))
        if fd > 2 and os.path.lexists(f"/proc/self/fd/{fd}")
    }


def main():
    for i in range(300000):  # time for a sampler to settle
        pass
    print("argv", sys.argv[1:], sys.flags)
    print("open descriptors", descriptors())
    print("next descriptor", os.dup(0))
    for number in SIGNALS:
        print("signal", number, signal.getsignal(number), disposition(number))
    print("SIGURG again", signal.signal(signal.SIGURG, signal.getsignal(signal.SIGURG)))
    print("blocked", sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), status_field("SigBlk"))
    print("ignored", status_field("SigIgn"), "pending", sorted(signal.sigpending()))
    print("timers", [signal.getitimer(which) for which in range(3)])
    print("environment", zlib.crc32(repr(sorted(os.environ.items())).encode()), sorted(os.environ))
    libc.getenv.restype = ctypes.c_char_p
    print("LD_PRELOAD", libc.getenv(b"LD_PRELOAD"), libc.getenv(b"PLAIT_RUN"))
    print("threads", threading.active_count(), threading.current_thread().name, status_field("Name"))
    print("folder", os.getcwd(), "umask", oct(os.umask(0o22)))
    print("limits", [resource.getrlimit(which) for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_STACK)])
    print("nice", os.nice(0), "affinity", sorted(os.sched_getaffinity(0)))
    print("dumpable", libc.prctl(3, 0, 0, 0, 0), "parent's death", status_field("CapEff"))
    try:
        print("child", os.waitpid(-1, os.WNOHANG))
    except ChildProcessError as error:
        print("child", error.errno)
    print("modules", sorted(name for name in sys.modules if "plait" in name or "profiler" in name))


main()
