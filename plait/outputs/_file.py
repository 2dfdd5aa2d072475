# SPDX-License-Identifier: MIT
"""A C report as a file or, without a path, on stdout."""

import os
import shutil
import sys
import tempfile
from typing import Callable, Optional


def emit(write: Callable[[str], None], path: Optional[str]) -> None:
    if path is not None:
        write(path)
        return
    with tempfile.TemporaryDirectory(prefix="plait-") as folder:
        name = os.path.join(folder, "report")
        write(name)
        with open(name, encoding="utf-8", errors="replace") as text:
            shutil.copyfileobj(text, sys.stdout)
    sys.stdout.flush()
