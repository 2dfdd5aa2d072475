# SPDX-License-Identifier: MIT
"""The files of a process tree: NAME.plait is the first process's, NAME.plait.d/ holds those of the others.

In the folder: PID-MICROSECONDS-COUNTER.plait, one for each program that ran in a process, and `unsampled`, a
line for each that left none (src/engine/follow.h).
"""

import os
from collections import Counter
from typing import Any, Dict, List, Tuple

_ENDING = ".d"
_COUNTS = "unsampled"


def folder_of(path: Any) -> str:
    return str(os.fspath(path)) + _ENDING


def _split(path: Any) -> Tuple[str, str]:
    """The first process's file and the folder, whichever of them is named."""
    name = str(os.fspath(path))
    if os.path.isdir(name):
        folder = name.rstrip("/")
        return folder[: -len(_ENDING)] if folder.endswith(_ENDING) else "", folder
    return name, folder_of(name)


def has_folder(path: Any) -> bool:
    return os.path.isdir(_split(path)[1])


def recordings(path: Any) -> List[str]:
    """The first process's, then the others by the time of their start."""
    root, folder = _split(path)
    found = [root] if os.path.exists(root) else []
    if os.path.isdir(folder):
        names = [name for name in os.listdir(folder) if name.endswith(".plait")]
        found += [os.path.join(folder, name) for name in sorted(names, key=_start)]
    return found


def _start(name: str) -> Tuple[int, str]:
    parts = name.split("-")
    return (int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0, name)


def unsampled(path: Any) -> List[str]:
    """Remarks on the processes that left no recording."""
    try:
        with open(os.path.join(_split(path)[1], _COUNTS), encoding="utf-8", errors="replace") as file:
            lines = [line.rstrip("\n").split(" ", 3) for line in file]
    except OSError:
        return []
    by_kind: Dict[str, List[List[str]]] = {}
    for line in lines:
        if len(line) == 4:
            by_kind.setdefault(line[0], []).append(line)
    notes = []
    short = by_kind.get("short", [])
    if short:
        used = sum(int(line[2]) for line in short if line[2].isdigit()) / 1e9
        notes.append(
            "%d processes ended before they were sampled, with %.3f s of CPU time: %s"
            % (len(short), used, _names(short))
        )
    for line in by_kind.get("failed", [])[:1]:
        notes.append("%d processes could not be sampled: %s" % (len(by_kind["failed"]), line[3]))
    for why in ("static", "foreign", "privileged"):
        programs = [line for line in by_kind.get("unfollowed", []) if line[2] == why]
        if programs:
            found = (len(programs), why, _names(programs))
            notes.append("%d programs could not be followed (%s): %s" % found)
    return notes


def _names(lines: List[List[str]]) -> str:
    """The most frequent programs."""
    found = Counter(line[3] for line in lines).most_common(4)
    words = ["%d x %s" % (count, name) if count > 1 else name for name, count in found[:3]]
    return ", ".join(words) + (" ..." if len(found) > 3 else "")


def remove(path: Any) -> None:
    """The folder of an earlier run, where nothing but a run's files is in it."""
    folder = folder_of(path)
    names = os.listdir(folder) if os.path.isdir(folder) else []
    foreign = [name for name in names if not name.endswith(".plait") and name != _COUNTS]
    if foreign:
        raise ValueError("%s holds %s, which is not plait's: choose another -o" % (folder, foreign[0]))
    for name in names:
        os.unlink(os.path.join(folder, name))
    if os.path.isdir(folder):
        os.rmdir(folder)
