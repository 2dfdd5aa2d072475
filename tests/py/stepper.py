# SPDX-License-Identifier: MIT
"""Builds tests/c/stepper.c with the product's own Python walk into one shared object, for the tests that drive
the walk, the table of offsets and the line decoder from inside an interpreter."""

import functools
import json
import os
import subprocess

from harness import HELPERS, PROGRAMS, ROOT

FOLDERS = ("core", "os", "native", "python")


def _sources():
    found = [ROOT / "tests" / "c" / "stepper.c", ROOT / "src" / "braid.c"]
    for folder in FOLDERS:
        found += sorted((ROOT / "src" / folder).glob("*.c"))
    return found


@functools.lru_cache(maxsize=None)
def library():
    """Path of the built stepper."""
    target = HELPERS / "stepper.so"
    target.parent.mkdir(parents=True, exist_ok=True)
    headers = list((ROOT / "src").rglob("*.h"))
    newest = max(path.stat().st_mtime for path in [*_sources(), *headers])
    if target.exists() and target.stat().st_mtime > newest:
        return target
    fresh = target.with_suffix(f".{os.getpid()}")
    command = [os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-O2", "-g", "-shared", "-fPIC"]
    command += ["-fvisibility=hidden", f"-I{ROOT / 'include'}", f"-I{ROOT / 'src'}", "-o", str(fresh)]
    command += [*map(str, _sources()), "-lpthread", "-ldl"]
    subprocess.run(command, check=True)
    os.replace(fresh, target)
    return target


def run(python, program, *arguments, timeout=300):
    """Runs tests/programs/PROGRAM under the interpreter with the stepper's path; its JSON object."""
    command = [python, str(PROGRAMS / program), str(library()), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
    assert done.returncode == 0, f"{python}: status {done.returncode}\n{done.stderr.decode()[-2000:]}"
    return json.loads(done.stdout)
