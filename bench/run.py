# SPDX-License-Identifier: MIT
"""`make bench`: what sampling costs and how true its shares are; each script has more options of its own."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main():
    failed = []
    for script in ("cost.py", "truth.py"):
        print(f"== {script}", flush=True)
        if subprocess.run([sys.executable, str(HERE / script)]).returncode != 0:
            failed.append(script)
    print("failed: " + ", ".join(failed) if failed else "done")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
