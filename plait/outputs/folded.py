# SPDX-License-Identifier: MIT
"""Folded stacks, root first, as flamegraph.pl and speedscope read them; written by the C library."""

from typing import Any, Optional

from ..recording import Recording
from ._file import emit


def write(recording: Recording, path: Optional[str], options: Any) -> None:
    emit(lambda target: recording.write_folded(target, options.hidden), path)
