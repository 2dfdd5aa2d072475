# SPDX-License-Identifier: MIT
"""The documented JSON (docs/interface.md), written by the C library."""

from typing import Any, Optional

from ..recording import Recording
from ._file import emit


def write(recording: Recording, path: Optional[str], options: Any) -> None:
    emit(recording.write_json, path)
