# SPDX-License-Identifier: MIT
"""The documented interface, end to end: python test_profiler.py"""

import contextlib
import io
import json
import os
import re
import sys
import tempfile
import time
import traceback
from typing import Any, Callable, Dict, Tuple

from profiler_binding import CPUProfiler, FlameGraphConverter, ProfileReport


def burn(seconds: float) -> int:
    """CPU time by this thread's own clock, so that a busy machine changes nothing."""
    end = time.thread_time() + seconds
    total = 0
    while time.thread_time() < end:
        total += sum(range(100))
    return total


def profiled(seconds: float = 0.3) -> CPUProfiler:
    profiler = CPUProfiler()
    assert profiler.start(), profiler.last_error
    burn(seconds)
    assert profiler.stop(), profiler.last_error
    return profiler


def saved(profiler: CPUProfiler, folder: str) -> Tuple[str, Dict[str, Any]]:
    path = os.path.join(folder, "profile.json")
    profiler.save_json(path)
    with open(path, encoding="utf-8") as file:
        return path, json.load(file)


def test_basic(folder: str) -> None:
    profiler = CPUProfiler()
    assert profiler.stop() is False, "stop without start"
    assert profiler.start() is True, profiler.last_error
    assert profiler.start() is False, "a second start"
    burn(0.1)
    assert profiler.stop() is True, profiler.last_error
    assert profiler.stop() is False, "a second stop"


def test_json(folder: str) -> None:
    _, data = saved(profiled(), folder)
    assert data["version"] == 1
    assert data["elapsed_seconds"] >= 0.3, data["elapsed_seconds"]
    assert data["total_samples"] == sum(stack["count"] for stack in data["stacks"]) > 0
    for stack in data["stacks"]:
        assert {"count", "instructions", "memory_delta", "frames"} <= set(stack)
        for frame in stack["frames"]:
            assert frame["addr"].startswith("0x") and isinstance(frame["symbol"], str)
    inside = [stack for stack in data["stacks"] if any("burn" in f["symbol"] for f in stack["frames"])]
    assert 2 * sum(stack["count"] for stack in inside) > data["total_samples"], "burn is where the time went"
    names = [frame["symbol"] for frame in max(inside, key=lambda stack: stack["count"])["frames"]]
    burning = next(i for i, name in enumerate(names) if "burn" in name)
    calling = next(i for i, name in enumerate(names) if "test_json" in name)
    assert burning < calling, "frames are leaf first"


def test_summary(folder: str) -> None:
    path = os.path.join(folder, "summary.txt")
    profiled().save_summary(path)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert "=== CPU PROFILER SUMMARY ===" in text
    assert "HOT PATHS (Top 20)" in text
    for word in ("Samples", "%", "Instructions", "Function", "burn"):
        assert word in text, word


def test_flame_graph(folder: str) -> None:
    path, data = saved(profiled(), folder)
    output = os.path.join(folder, "flamegraph.txt")
    FlameGraphConverter.convert(path, output)
    with open(output, encoding="utf-8") as file:
        lines = file.read().splitlines()
    found = [re.fullmatch(r"(.+) (\d+)", line) for line in lines]
    assert all(found), "a line is a stack and a count"
    assert sum(int(line.group(2)) for line in found if line) == data["total_samples"]
    stack = next(line.split(";") for line in lines if "burn" in line)
    caller = next(i for i, name in enumerate(stack) if "test_flame_graph" in name)
    assert caller < next(i for i, name in enumerate(stack) if "burn" in name), "lines are root first"


def test_report(folder: str) -> None:
    path, data = saved(profiled(), folder)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        report = ProfileReport(path)
        report.print_summary()
        report.print_hot_paths()
        report.print_memory_stats()
        report.print_instruction_stats()
    text = printed.getvalue()
    assert str(data["total_samples"]) in text
    first = re.search(r"^1\. \[(\d+\.\d)%\]  (\d+) samples \| (\S+) instr \| (-?[\d.]+)KB$", text, re.M)
    assert first, text
    assert int(first.group(2)) == max(stack["count"] for stack in data["stacks"])
    assert "-> " in text and "burn" in text


def test_reuse(folder: str) -> None:
    profiler = profiled(0.2)
    _, first = saved(profiler, folder)
    assert profiler.start() is True, profiler.last_error
    burn(0.4)
    assert profiler.stop() is True, profiler.last_error
    _, second = saved(profiler, folder)
    assert first["total_samples"] > 0 and second["total_samples"] > 0
    assert second["elapsed_seconds"] >= 0.4, "the second profile is the second interval alone"


TESTS: Tuple[Callable[[str], None], ...] = (
    test_basic,
    test_json,
    test_summary,
    test_flame_graph,
    test_report,
    test_reuse,
)


def main() -> int:
    failed = 0
    for test in TESTS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                test(folder)
                print("ok      %s" % test.__name__)
            except Exception:
                failed += 1
                print("FAILED  %s" % test.__name__)
                traceback.print_exc(file=sys.stdout)
    print("Results: %d passed, %d failed" % (len(TESTS) - failed, failed))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
