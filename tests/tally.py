# SPDX-License-Identifier: MIT
"""Steps of the tests: a command each, what it said when it failed, and the count at the end."""

import os
import re
import subprocess
import threading
import time
from typing import Dict, List, Optional

STEP_SECONDS = 1200
SANITIZER = {"ASAN_OPTIONS": "detect_leaks=0"}  # at exit it finds libFuzzer's own main


class Tally:
    def __init__(self) -> None:
        self.passed = self.failed = self.skipped = 0
        self.failures: List[str] = []
        self._lock = threading.Lock()

    def add(self, name: str, passed: int, failed: int, skipped: int = 0) -> None:
        with self._lock:
            self.passed += passed
            self.failed += failed
            self.skipped += skipped
            if failed:
                self.failures.append("FAILED " + name)

    def skip(self, name: str, why: str) -> None:
        self.add(name, 0, 0, 1)
        print("skipped %s: %s" % (name, why), flush=True)


def call(
    command: List[str], environment: Optional[Dict[str, str]] = None, folder: Optional[str] = None
) -> "subprocess.CompletedProcess[str]":
    """Output and status of a command; one that hangs is ended and has failed, with what it said so far."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        cwd=folder,
    )
    try:
        output, _ = process.communicate(timeout=STEP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        output += "\nended after %d s" % STEP_SECONDS
    return subprocess.CompletedProcess(command, process.returncode, output)


def run_all(tally: Tally, commands: Dict[str, List[str]]) -> None:
    """Steps at the same time."""
    threads = [threading.Thread(target=run, args=(tally, name, commands[name])) for name in sorted(commands)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def counted(output: str, word: str) -> int:
    found = re.findall(r"(\d+) %s" % word, output.strip().splitlines()[-1] if output.strip() else "")
    return int(found[-1]) if found else 0


def run(tally: Tally, name: str, command: List[str], counts: bool = False) -> None:
    """One step: silent when all is well; its output when not. `counts`: it says itself how many passed."""
    start = time.monotonic()
    done = call(command, dict(os.environ, PYTHONPATH=".", **SANITIZER))
    output = done.stdout
    bad = done.returncode not in (0, 5)  # 5: pytest found no test
    lines = ["== %s (%.0f s)" % (name, time.monotonic() - start)]
    lines += [line for line in output.splitlines() if bad or line.lower().startswith("skipped")]
    print("\n".join(lines) + "\n", end="", flush=True)
    tally.failures += [line for line in output.splitlines() if bad and line.startswith("FAILED ")]
    if not counts:
        tally.add(name, int(not bad), int(bad))
        return
    failed = counted(output, "failed") + counted(output, "errors?")
    tally.add(name, counted(output, "passed"), max(failed, int(bad)), counted(output, "skipped"))
