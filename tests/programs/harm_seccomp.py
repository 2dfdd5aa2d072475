# SPDX-License-Identifier: MIT
"""harm_seccomp.py before|after ACTION CALL[,CALL] PROGRAM ARGS: a seccomp filter that refuses some system calls.

ACTION: an errno's name, or `kill` (the process). before: installed, then the program is executed (as a container
does). after: the program, a Python script, runs in this process and the filter comes once it has used some CPU time,
for all threads (as a program that confines itself does). Prints nothing."""

import ctypes
import errno
import os
import runpy
import struct
import sys

NUMBERS = {
    "perf_event_open": 298,
    "process_vm_readv": 310,
    "timer_create": 222,
    "timer_settime": 223,
    "rt_tgsigqueueinfo": 297,
    "clone": 56,
    "close_range": 436,
    "unshare": 272,
    "futex": 202,
    "openat": 257,
    "fcntl": 72,
}
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
NO_NEW_PRIVS, TSYNC = 38, 1


def instruction(code, value, if_true=0, if_false=0):
    return struct.pack("HBBI", code, if_true, if_false, value)


def install(action, calls, all_threads):
    verdict = KILL if action == "kill" else ERRNO | getattr(errno, action)
    program = instruction(LOAD, 0)
    for call in calls:
        program += instruction(JUMP_IF_EQUAL, NUMBERS[call], 0, 1) + instruction(RETURN, verdict)
    program += instruction(RETURN, ALLOW)
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    result = libc.syscall(317, 1, TSYNC if all_threads else 0, header)
    assert result == 0, (result, ctypes.get_errno())


def main():
    when, action, calls, *program = sys.argv[1:]
    if when == "after":
        for _ in range(3000000):
            pass
        install(action, calls.split(","), True)
        sys.argv = program
        runpy.run_path(program[0], run_name="__main__")
    else:
        install(action, calls.split(","), False)
        os.execv(program[0], program)


main()
