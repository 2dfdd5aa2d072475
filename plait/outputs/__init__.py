# SPDX-License-Identifier: MIT
"""What a recording can become: an output is a file of this folder with `write(recording, path, options)`."""

import os
from typing import Any, Callable, Dict, NamedTuple, Optional

from ..recording import Recording
from . import console, folded, json, summary


class Options(NamedTuple):
    hidden: bool = False
    limit: int = 20


Writer = Callable[[Recording, Optional[str], Any], None]
FORMATS: Dict[str, Writer] = {
    "console": console.write,
    "folded": folded.write,
    "json": json.write,
    "summary": summary.write,
}
_EXTENSIONS = {".json": "json", ".folded": "folded", ".collapsed": "folded", ".txt": "summary"}


def format_of(path: Optional[str]) -> str:
    """The format that a file's name asks for."""
    if path is None:
        return "console"
    ending = os.path.splitext(path)[1].lower()
    if ending not in _EXTENSIONS:
        raise ValueError("no format is known for %r: add -f %s" % (path, "|".join(sorted(FORMATS))))
    return _EXTENSIONS[ending]


def write(
    name: str, recording: Recording, path: Optional[str], hidden: bool = False, limit: int = 20
) -> None:
    FORMATS[name](recording, path, Options(hidden, limit))
