# SPDX-License-Identifier: MIT
"""What threads waited for, in a recording of mode wall."""

from typing import Dict, List, NamedTuple, Tuple

from . import recording as recordings


class Wait(NamedTuple):
    """One kind of wait in one line of Python."""

    kind: str  # lock, sleep, events, socket, pipe, terminal, file, child process, signal, queue or ""
    call: str  # the system call, "" unknown
    place: int  # the innermost Python line, NOBODY (-1) where there is none
    weight: int  # ns


NOBODY = -1


def is_wall(recording: recordings.Recording) -> bool:
    return dict(recording.fields()).get("mode") == "wall"


def waits(recording: recordings.Recording) -> List[Wait]:
    """All waits, longest first."""
    waiting = sum(1 << bit for bit, name in recording.state_names().items() if name == "waiting")
    lines = _lines(recording)
    found: Dict[Tuple[int, int, int], int] = {}
    names = ("state", "wait_kind", "wait_call", "node", "weight")
    columns = [recording.column("samples", name) for name in names]
    for state, kind, call, node, weight in zip(*columns):
        if state & waiting:
            key = (kind, call, lines[node])
            found[key] = found.get(key, 0) + weight
    text = recording.string
    rows = [Wait(text(kind), text(call), place, weight) for (kind, call, place), weight in found.items()]
    return sorted(rows, key=lambda row: (-row.weight, row))


def _lines(recording: recordings.Recording) -> List[int]:
    """Each node's innermost Python place."""
    kinds = recording.column("places", "kind")
    lines = [NOBODY]
    pairs = zip(recording.column("nodes", "parent").tolist(), recording.column("nodes", "place").tolist())
    for number, (parent, place) in enumerate(pairs):
        if number:
            lines.append(place if kinds[place] == recordings.PYTHON else lines[parent])
    return lines
