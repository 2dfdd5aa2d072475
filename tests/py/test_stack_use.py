# SPDX-License-Identifier: MIT
"""The handler runs on the program's stack, maybe a small signal stack: the deepest path of calls below
handler_on_signal, from the compiler's own account of frames and calls."""

import re
import shutil
import subprocess

import harness
import pytest

LIMIT = 2048
ENTRY = "handler_on_signal"
RETURN_ADDRESS = 8
FLAGS = (
    "-std=c11 -D_GNU_SOURCE -O2 -fPIC -fvisibility=hidden -fno-stack-protector -fno-omit-frame-pointer"
    " -ftls-model=initial-exec -Iinclude -Isrc -fcallgraph-info=su"
).split()
SOURCES = ["src/braid.c", "src/core/*.c", "src/engine/*.c", "src/native/*.c", "src/os/*.c", "src/python/*.c"]
# What the handler calls through pointers: the clocks' weight functions (told apart by their files).
INDIRECT = re.compile(r"src/engine/clock_\w+\.c:weight$")
# Called once more from below itself, and then told to go no deeper (may_guess = 0, doubtful = 1).
ONCE_MORE = "src/native/unwind_x86_64.c:step"
NOT_THEN = {"sight_rule"}
UNBOUNDED = 1 << 30  # a frame that grows with its input
NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+) bytes \((\w[\w,]*)\)')
EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')


def account(folder):
    """{function: bytes}, {function: functions called}; a static function is called FILE:NAME."""
    sizes, calls = {}, {}
    for pattern in SOURCES:
        for source in sorted(harness.ROOT.glob(pattern)):
            out = folder / (source.parent.name + "_" + source.stem + ".o")
            command = ["gcc", *FLAGS, "-c", str(source.relative_to(harness.ROOT)), "-o", str(out)]
            subprocess.run(command, cwd=str(harness.ROOT), check=True)
            text = out.with_suffix(".ci").read_text()
            for name, size, kind in NODE.findall(text):
                sizes[name] = UNBOUNDED if kind == "dynamic" else int(size)
            for caller, called in EDGE.findall(text):
                calls.setdefault(caller, set()).add(called)
    return sizes, calls


def deepest(name, sizes, calls, above=()):
    """(bytes, path) of the deepest chain of calls from `name` on."""
    if name == ONCE_MORE and name in above:
        calls = {caller: called - NOT_THEN - set(above) for caller, called in calls.items()}
        above = ()
    assert name not in above, "recursion: " + " ".join([*above, name])
    best = (0, ())
    for called in calls.get(name, ()):
        targets = [n for n in sizes if INDIRECT.search(n)] if called == "__indirect_call" else [called]
        for target in targets:
            best = max(best, deepest(target, sizes, calls, (*above, name)))
    own = sizes.get(name, 0) + RETURN_ADDRESS
    return own + best[0], ((name, own), *best[1])


def test_handler_stack(tmp_path):
    if shutil.which("gcc") is None:
        pytest.skip("no gcc: its -fcallgraph-info gives the account")
    sizes, calls = account(tmp_path)
    assert ENTRY in sizes and any(INDIRECT.search(name) for name in sizes)
    size, path = deepest(ENTRY, sizes, calls)
    print(size, *path, sep="\n")
    assert size < LIMIT
