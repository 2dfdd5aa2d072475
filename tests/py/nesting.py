# SPDX-License-Identifier: MIT
"""The grammar of tests/programs/nest.py, and a checker that a sample's stack is a path of it.

The program's functions name the C entry they are called through, so a stack proves itself:

    <module> -> main -> descend -> through_WAY =C entry of WAY=> by_WAY -> descend -> ...

and `work` below descend and by_WAY. Between two Python frames lies a run of native frames: it must hold
exactly the C entry that the two names demand, and no other; after the last Python frame it may hold only an
entry that this function uses. `through_WAY` must stand on the line of its call. A stack may end at any level.
"""

import os
import re
from collections import Counter

WAYS = ("sort", "qsort", "sre", "sqlite", "reduce", "map", "thread")

# Where the C code of a way is seen: a symbol, or for sqlite (stripped on most systems) its library.
ENTRY_SYMBOLS = {
    "list_sort_impl": "sort",
    "list_sort": "sort",
    "nest_qsort": "qsort",
    "pattern_subx": "sre",
    "functools_reduce": "reduce",
    "_functools_reduce": "reduce",
    "map_next": "map",
    "nest_thread_main": "thread",
}
LIBRARY_ENTRY = ("libsqlite3", "sqlite")

# Flags of samples that say of themselves that something is missing.
DEGRADED = {"native_cut", "in_transit", "python_only", "python_torn", "walk_limit"}

# After main() begins, native_cut samples are the price of meeting libraries for the first time: their tables are
# built off the hot path. Counted apart for so long (ns).
WARMING = 400_000_000

# What else a function may call that leads into a way's library without a callback.
LEAF_USES = {"connection": {"sqlite"}, "by_thread": {"sqlite"}}


def way_lines(source_path):
    """The line of each way's call into C, from its mark in the source."""
    lines = {}
    with open(source_path) as source:
        for number, text in enumerate(source, 1):
            mark = re.search(r"# way: (\w+)$", text)
            if mark:
                lines[mark.group(1)] = number
    return lines


def successors(name):
    """Python functions that may run directly above `name`, each with the way between them (None: none)."""
    if name == "<module>":
        return {"main": None}
    if name == "main":
        return {"descend": None}
    if name == "descend":
        return dict.fromkeys(["work"] + ["through_" + way for way in WAYS])
    if name.startswith("by_"):
        return {"work": None, "descend": None}
    if name == "through_sqlite":
        return {"by_sqlite": "sqlite", "connection": None}
    if name.startswith("through_") and name != "through_thread":
        way = name[len("through_") :]
        return {"by_" + way: way}
    return {}


def entry_of(frame):
    """The way whose C code this native frame is, or None."""
    way = ENTRY_SYMBOLS.get(frame.function.split(".")[0])
    if way is None and os.path.basename(frame.module).startswith(LIBRARY_ENTRY[0]):
        way = LIBRARY_ENTRY[1]
    return way


class Checker:
    """Judges samples one by one; `wrong` holds a reason for each bad one."""

    def __init__(self, source_path, lines_known=True, symbols_known=True, warming=WARMING):
        self.source = os.path.basename(source_path)
        self.lines = way_lines(source_path) if lines_known else {}
        self.symbols_known = symbols_known  # False: a stripped interpreter, only library entries are seen
        self.warming = warming
        self.counts = Counter()
        self.wrong = []
        self.depths = Counter()  # Python -> C -> Python changes seen in a stack

    def is_ours(self, frame):
        return frame.kind == "python" and os.path.basename(frame.file) == self.source

    def inside(self, frames):
        return any(self.is_ours(frame) and not frame.function.startswith("<") for frame in frames)

    def check_recording(self, samples, main_thread):
        """All samples of a recording. Outside of main() only the interpreter's start and end may lie."""
        samples = sorted(samples, key=lambda sample: sample.time)
        in_main = [s.time for s in samples if s.thread == main_thread and self.inside(s.frames)]
        first, last = (in_main[0], in_main[-1]) if in_main else (0, 0)
        for sample in samples:
            if not first <= sample.time <= last:
                self.counts["outside"] += 1
            elif "native_cut" in sample.flags and sample.time < first + self.warming:
                self.counts["cut while warming up"] += 1
            elif DEGRADED & sample.flags:
                self.counts["degraded"] += 1
                for flag in sorted(DEGRADED & sample.flags):
                    self.counts[flag] += 1
            elif sample.thread != main_thread and "no_python" in sample.flags:
                self.counts["thread without Python"] += 1
            else:
                self.counts["checked"] += 1
                reason = self.check(sample.frames, sample.thread == main_thread)
                if reason:
                    self.wrong.append((reason, sample))

    def check(self, frames, is_main_thread=True):
        """None when `frames` (root first) is a path of the program, else the reason."""
        above = None  # the Python function so far innermost
        run = []  # native frames since it
        changes = 0
        for frame in frames:
            if frame.kind == "marker":
                return "cut stack"
            if frame.kind == "native":
                run.append(frame)
                continue
            if not self.is_ours(frame):
                if above is not None and above.function == "connection":
                    return None  # sqlite3.connect runs functools.lru_cache: not ours to judge
                return f"foreign Python frame {frame.function} in {frame.file}"
            reason = self.check_step(above, run, frame, is_main_thread)
            if reason:
                return reason
            changes += bool(above and successors(above.function)[frame.function])
            above, run = frame, []
        if above is None:
            # A thread's outermost frame just entered or just left: its C entry stands alone.
            ways = {entry_of(native) for native in run} - {None}
            return None if not is_main_thread and ways <= {"thread"} else "no Python frame"
        self.depths[changes] += 1
        return self.check_leaf(above, run)

    def check_step(self, above, run, frame, is_main_thread):
        ways = {entry_of(native) for native in run} - {None}
        if above is None:
            root = "<module>" if is_main_thread else "by_thread"
            wanted = None if is_main_thread else "thread"
            if frame.function != root:
                return f"the stack starts with {frame.function}, not {root}"
        else:
            following = successors(above.function)
            if frame.function not in following:
                return f"{above.function} called {frame.function}"
            wanted = following[frame.function]
            if not self.symbols_known and wanted not in ("qsort", "sqlite"):
                ways &= {"qsort", "sqlite", "thread"}
                wanted = None
        if ways != ({wanted} - {None}):
            names = " ".join(native.function or "?" for native in run)
            where = above.function if above else "the root"
            return f"between {where} and {frame.function} lies {sorted(ways)}, not {wanted}: {names}"
        if wanted and above and self.lines and above.line != self.lines[wanted]:
            return f"{above.function} stands on line {above.line}, its call on {self.lines[wanted]}"
        return None

    def check_leaf(self, above, run):
        ways = {entry_of(native) for native in run} - {None}
        allowed = set(LEAF_USES.get(above.function, ()))
        if above.function.startswith("through_"):
            allowed.add(above.function[len("through_") :])
        if ways - allowed:
            return f"below {above.function} lies {sorted(ways - allowed)}"
        return None

    def report(self):
        text = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        depths = " ".join(f"{depth}:{count}" for depth, count in sorted(self.depths.items()))
        lines = [f"{text}; wrong {len(self.wrong)}; changes Python-C-Python {depths}"]
        for reason, count in Counter(reason for reason, _ in self.wrong).most_common(8):
            lines.append(f"    {count} x {reason}")
        return "\n".join(lines)
