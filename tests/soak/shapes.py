# SPDX-License-Identifier: MIT
"""tests/py/test_shapes*.py in full: every program on every interpreter and clock, for longer."""

import os
import subprocess
import sys
from glob import glob
from pathlib import Path

HERE = Path(__file__).resolve().parent

if __name__ == "__main__":
    tests = sorted(glob(str(HERE.parent / "py" / "test_shapes*.py")))
    command = [sys.executable, "-m", "pytest", "-q", "-rsfE", "--tb=short", *tests, *sys.argv[1:]]
    sys.exit(subprocess.run(command, env=dict(os.environ, PLAIT_SHAPES="all")).returncode)
