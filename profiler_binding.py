# SPDX-License-Identifier: MIT
"""The documented interface: CPUProfiler measures, FlameGraphConverter folds, ProfileReport prints.

Thin over `plait`; docs/interface.md describes it. Standard library only: profiled programs import it.
"""

import json
import os
from collections import defaultdict
from typing import Any, Dict, List, Optional, Tuple, Union

from plait import ProfilerError, _library
from plait.profiler import Profile

HOT_PATHS = 15
_PATH_FRAMES = 10


class CPUProfiler:
    """A profile of this process between start() and stop(); it may be started again after that.

    start() and stop() give False where there is nothing to start or stop, and `last_error` says why.
    Profilers nest and overlap: each is an interval of one running sampler. `lib_path` names another
    libprofiler.so than plait's own; it counts where no library is loaded yet.
    """

    def __init__(self, lib_path: Optional[str] = None) -> None:
        self.last_error = ""
        self._library = _library.load(lib_path)
        self._profile: Optional[Profile] = None
        self._running = False

    def start(self) -> bool:
        if self._running:
            return self._failed("this profiler is running already")
        profile = Profile()
        try:
            profile.resume()
        except ProfilerError as error:
            return self._failed(str(error))
        if self._profile is not None:
            self._profile.forget()
        self._profile, self._running = profile, True
        return True

    def stop(self) -> bool:
        if self._profile is None or not self._running:
            return self._failed("this profiler is not running")
        self._running = False
        try:
            self._profile.close()
        except ProfilerError as error:
            return self._failed(str(error))
        return True

    def save_json(self, path: Any) -> None:
        """Writes the profile as JSON; raises plait.ProfilerError where it can't."""
        self._written().write_json(path)

    def save_summary(self, path: Any) -> None:
        """Writes the text summary (top 20); raises plait.ProfilerError where it can't."""
        self._written().write_summary(path)

    def _written(self) -> Profile:
        if self._profile is None:
            raise ProfilerError(10, "nothing was profiled: call start() and stop() first")
        return self._profile

    def _failed(self, why: str) -> bool:
        self.last_error = why
        return False


def load_profile(source: Union[str, "os.PathLike[str]", Dict[str, Any]]) -> Dict[str, Any]:
    """The profile in a JSON file (or already loaded); ValueError for anything else."""
    if isinstance(source, dict):
        data: Any = source
    else:
        with open(source, encoding="utf-8") as file:
            data = json.load(file)
    if not isinstance(data, dict) or not isinstance(data.get("stacks"), list):
        raise ValueError("%s is not a profile: it has no stacks" % source)
    return data


class FlameGraphConverter:
    """A JSON profile as folded stacks, root first: one `root;...;leaf count` a line, for flamegraph.pl."""

    @staticmethod
    def to_folded(source: Union[str, "os.PathLike[str]", Dict[str, Any]]) -> List[str]:
        counts: Dict[str, int] = defaultdict(int)
        for stack in load_profile(source)["stacks"]:
            names = [FlameGraphConverter._safe(frame["symbol"]) for frame in reversed(stack["frames"])]
            counts[";".join(names) or "(no frames)"] += stack["count"]
        return ["%s %d" % item for item in sorted(counts.items())]

    @staticmethod
    def convert(source: Union[str, "os.PathLike[str]", Dict[str, Any]], output: Any) -> None:
        lines = FlameGraphConverter.to_folded(source)
        with open(output, "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)

    @staticmethod
    def _safe(name: str) -> str:
        """A folded line's own separators can't stand in a name."""
        return " ".join(name.replace(";", ":").split()) or "?"


class ProfileReport:
    """A JSON profile on the console."""

    def __init__(self, source: Union[str, "os.PathLike[str]", Dict[str, Any]]) -> None:
        self.data = load_profile(source)
        self.stacks: List[Dict[str, Any]] = sorted(
            self.data["stacks"], key=lambda stack: -int(stack.get("count") or 0)
        )
        self.total = int(self.data.get("total_samples") or 0)

    def print_summary(self) -> None:
        print("=== PROFILE REPORT ===")
        print("Elapsed time:  %.3f s" % float(self.data.get("elapsed_seconds") or 0))
        print("Total samples: %d" % self.total)
        print("Unique stacks: %d" % len(self.stacks))

    def print_hot_paths(self, limit: int = HOT_PATHS) -> None:
        print("=== HOT PATHS (Top %d) ===" % limit)
        for rank, stack in enumerate(self.stacks[:limit], 1):
            count = int(stack["count"])
            share = 100.0 * count / self.total if self.total else 0.0
            print(
                "%d. [%.1f%%]  %d samples | %s instr | %.1fKB"
                % (rank, share, count, _number(stack.get("instructions")), _memory(stack) / 1024)
            )
            for frame in stack["frames"][:_PATH_FRAMES]:
                print("      -> %s" % _frame(frame))
            if len(stack["frames"]) > _PATH_FRAMES:
                print("      -> ... %d more" % (len(stack["frames"]) - _PATH_FRAMES))

    def print_memory_stats(self) -> None:
        grown = sum(max(0, _memory(stack)) for stack in self.stacks)
        shrunk = sum(min(0, _memory(stack)) for stack in self.stacks)
        print("=== MEMORY (change of the resident set) ===")
        print("Grown:  %.1fKB" % (grown / 1024))
        print("Shrunk: %.1fKB" % (shrunk / 1024))
        self._print_top("Most growth", [(_memory(stack), stack) for stack in self.stacks], "%.1fKB", 1024)

    def print_instruction_stats(self) -> None:
        counted = [
            (int(stack["instructions"]), stack)
            for stack in self.stacks
            if stack.get("instructions") is not None
        ]
        print("=== INSTRUCTIONS ===")
        if not counted:
            print(self.data.get("instructions_note") or "not counted: no hardware counter here")
            return
        total = sum(number for number, _ in counted)
        print("Total: %d" % total)
        if self.total:
            print("Per sample: %d" % (total // self.total))
        self._print_top("Most instructions", counted, "%d", 1)

    @staticmethod
    def _print_top(title: str, items: List[Tuple[int, Dict[str, Any]]], form: str, unit: int) -> None:
        top = sorted((item for item in items if item[0] > 0), key=lambda item: -item[0])[:5]
        if top:
            print(title + ":")
        for number, stack in top:
            leaf = _frame(stack["frames"][0]) if stack["frames"] else "(no frames)"
            print(("  " + form + "  %s") % (number / unit if unit > 1 else number, leaf))


def _memory(stack: Dict[str, Any]) -> int:
    return int(stack.get("memory_delta") or 0)


def _number(value: Any) -> str:
    return "n/a" if value is None else str(int(value))


def _frame(frame: Dict[str, Any]) -> str:
    """One frame on one line; control characters of the program's names stay off the terminal."""
    text = str(frame["symbol"])
    if frame.get("file"):
        text += " (%s:%s)" % (frame["file"], frame.get("line") or "?")
    return "".join(c if c.isprintable() else "?" for c in text)
