# SPDX-License-Identifier: MIT
"""A checker for programs that say in their source who may call whom: every sample's stack is a path of that.

    work()  # -> work             on a line: the function may stand here while these functions run above it
    x = f()  # -> <listcomp>, g   names as co_name has them; what lies between (C, the library) is not judged
    run(f)  # => f                f is the outermost function of a thread, or of whatever has a stack of its own
    def hook():  # from anywhere  may stand above every function

So each caller's line is checked against the source, each first line, each order, and that nothing is missing.
Text given to exec() or written to files as a module is cut from the same source with its line numbers kept.
"""

import os
import re
from collections import Counter

DEGRADED = {"native_cut", "in_transit", "python_only", "python_torn", "walk_limit", "stack_cut"}


class Truth:
    """What the marks of one source file say."""

    def __init__(self, path):
        self.calls, self.first, self.roots, self.anywhere = {}, {}, {"<module>"}, set()
        with open(path, encoding="utf-8") as source:
            for number, line in enumerate(source, 1):
                self._read(number, line)

    def _read(self, number, line):
        found = re.search(r"# (->|=>) (.+)$", line.rstrip())
        if found:
            names = {name.strip() for name in found.group(2).split(",")}
            if found.group(1) == "=>":
                self.roots |= names
            else:
                self.calls[number] = names
        defined = re.match(r"\s*(?:async )?def (\w+)", line)
        if defined:
            self.first.setdefault(defined.group(1), set()).add(number)
            if line.rstrip().endswith("# from anywhere"):
                self.anywhere.add(defined.group(1))
        elif re.match(r"\s*@", line):
            self.first.setdefault("@", set()).add(number)


    def may_begin(self, name, line):
        return name not in self.first or line in self.first[name] | self.first.get("@", set())

    def may_call(self, line, name):
        return any(
            name == known or (known.endswith("*") and name.startswith(known[:-1]))
            for known in self.calls.get(line, ())
        )


def short(name):
    """co_name, from a name that may be qualified."""
    return name.rsplit(".", 1)[-1] if not name.startswith(".") else name


class Checker:
    def __init__(self, path, ours=(), truth=None):
        self.truth = truth or Truth(path)
        self.names = {os.path.basename(str(path)), *ours}
        self.native_only = lambda sample: False  # which samples may have no Python
        self.counts, self.reasons, self.met = Counter(), Counter(), Counter()
        self.cuts, self.examples = Counter(), []

    def is_ours(self, frame):
        return frame.kind == "python" and os.path.basename(frame.file) in self.names

    def check(self, frames):
        """None when these frames (root first) are a path, else the reason."""
        above = None
        for frame in frames:
            if frame.kind == "marker":
                return "cut stack"
            if not self.is_ours(frame):
                continue
            name = short(frame.function)
            self.met[name] += 1
            if not self.truth.may_begin(name, frame.first_line):
                return f"{name} begins on line {frame.first_line}"
            if name in self.truth.anywhere:
                pass
            elif above is None:
                if name not in self.truth.roots:
                    return f"the stack starts with {name}"
            elif not self.truth.may_call(above.line, name):
                return f"{short(above.function)} on line {above.line} runs {name}"
            above = frame
        return None if above is not None else "no Python frame of ours"

    def check_recording(self, samples, main_thread, need_all=True):
        """`need_all`: between the main thread's first and last frame of `main` nothing may lack Python. Without,
        only stacks with frames of ours are judged, from the first to the last of these."""
        samples = sorted(samples, key=lambda sample: sample.time)
        inside = [
            s.time
            for s in samples
            if s.thread == main_thread and any(self.is_ours(f) and self.is_begin(f, need_all) for f in s.frames)
        ]
        first, last = (inside[0], inside[-1]) if inside else (0, 0)
        for sample in samples:
            if not first <= sample.time <= last:
                self.counts["outside"] += 1
                continue
            self.counts["inside"] += 1
            self.count_cut(sample)
            for flag in DEGRADED & sample.flags:
                self.counts[flag] += 1
            if {"in_transit", "python_torn"} & sample.flags:
                continue
            if "no_python" in sample.flags and sample.thread != main_thread:
                self.counts["thread without Python"] += 1
                continue
            if self.native_only(sample) and not any(frame.kind == "python" for frame in sample.frames):
                self.counts["native only"] += 1
                continue
            self.counts["checked"] += 1
            reason = self.check(sample.frames)
            if reason and (need_all or any(self.is_ours(f) for f in sample.frames)):
                self.reasons[reason] += 1
                if len(self.examples) < 400 and self.reasons[reason] <= 2:
                    self.examples.append((reason, sample))

    @staticmethod
    def is_begin(frame, need_all):
        name = short(frame.function)
        return name == "main" if need_all else not name.startswith("<")

    def count_cut(self, sample):
        if "native_cut" not in sample.flags:
            return
        for frame in sample.frames:
            if frame.kind == "native":
                self.cuts[f"{frame.function or '?'} ({os.path.basename(frame.module)})"] += 1
                return

    def report(self):
        lines = [", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))]
        lines += [f"    {count} x {reason}" for reason, count in self.reasons.most_common(12)]
        lines += [f"    cut at {where}: {count}" for where, count in self.cuts.most_common(8)]
        return "\n".join(lines)

    def show(self, most=3):
        for reason, sample in self.examples[:most]:
            print(f"  {reason}; flags {sorted(sample.flags)}")
            for frame in sample.frames:
                where = f"{frame.line} ({frame.first_line}) {os.path.basename(frame.file or frame.module)}"
                print(f"    {frame.kind} {frame.function or '?'} {where}")
