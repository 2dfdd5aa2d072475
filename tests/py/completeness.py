# SPDX-License-Identifier: MIT
"""Measures what is complete in the samples of tests/programs/complete.py: numpy, sqlite3, zlib, json, threads."""

import os
from collections import Counter, namedtuple

import harness
import packages

PROGRAM = harness.PROGRAMS / "complete.py"
BROKEN = {"in_transit", "python_torn", "python_only", "walk_limit", "stack_cut"}

Row = namedtuple("Row", "total lost native python guessed cuts broken")


def is_programs(frame):
    return frame.kind == "python" and os.path.basename(frame.file) == PROGRAM.name


def is_whole(sample, main_thread):
    """1 when the Python part begins where its thread does; a thread that OpenBLAS made has none."""
    roots = [frame.function for frame in sample.frames if frame.kind == "python"][:1]
    if BROKEN & sample.flags:
        return False
    if sample.thread == main_thread:
        return roots == ["<module>"]
    if any(frame.function == "blas_thread_server" for frame in sample.frames):
        return not roots
    return not roots or roots[0] in ("_bootstrap", "Thread._bootstrap")


def measure(name, clock, seconds, rate):
    """(Row, "") of one run, or (None, why not). Python is judged while the main thread is in main()."""
    environment, why = packages.environment(name, "numpy")
    if why:
        return None, why
    done = harness.profile(
        [harness.PYTHONS[name], PROGRAM, seconds], rate=rate, clock=clock, base=environment, timeout=600
    )
    main_thread = done.main_thread
    times = [
        s.time
        for s in done.samples
        if s.thread == main_thread and any(is_programs(f) and f.function == "main" for f in s.frames)
    ]
    inside = [s for s in done.samples if times and min(times) <= s.time <= max(times)]
    broken = [sample for sample in inside if not is_whole(sample, main_thread)]
    cuts = Counter()
    for sample in done.samples:
        if "native_cut" in sample.flags:
            frame = next((frame for frame in sample.frames if frame.kind == "native"), None)
            cuts[f"{frame.function} ({os.path.basename(frame.module)})" if frame else "nothing"] += 1
    total = max(len(done.samples), 1)
    return (
        Row(
            len(inside),
            done.totals["lost"],
            100 - 100 * sum(cuts.values()) / total,
            100 - 100 * len(broken) / max(len(inside), 1),
            100 * sum("guessed" in sample.flags for sample in done.samples) / total,
            cuts,
            broken,
        ),
        "",
    )


def is_good(row, least=100):
    return row.lost == 0 and row.native >= 99.5 and not row.broken and row.total >= least


def describe(name, clock, row):
    lines = [
        f"{'ok ' if is_good(row) else 'BAD'} {name:8} {clock:5} {row.total:6} samples, lost {row.lost}, native "
        f"{row.native:7.3f} %, Python {row.python:7.3f} %, guessed {row.guessed:.2f} %"
    ]
    lines += [f"      cut at {place}: {count}" for place, count in row.cuts.most_common(5)]
    for sample in row.broken[:3]:
        lines.append(f"      {sorted(sample.flags)}: {' '.join(frame.function for frame in sample.frames)}")
    return "\n".join(lines)
