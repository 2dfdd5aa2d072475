# SPDX-License-Identifier: MIT
"""Packages from PyPI for the interpreters under test, each in a folder of its own below build/packages."""

import os
import shutil
import subprocess
import sys

import harness

_missing = {}


def folder_with(python, *names):
    """(folder, ""): for PYTHONPATH, with these packages for the interpreter of this name, installed at the first
    call; or (None, why not)."""
    key = (python, names)
    folder = harness.BUILD / "packages" / "-".join([python, *names]).replace("=", "")
    if folder.is_dir():
        return str(folder), ""
    if key not in _missing:
        _missing[key] = _install(python, names, folder)
    return (None, _missing[key]) if _missing[key] else (str(folder), "")


def _install(python, names, folder):
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
    command = [harness.PYTHONS[python], "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-warn-script-location", "--target", str(fresh), *names]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=180)
        said = done.stdout.decode(errors="replace").strip().splitlines()
        why = "" if done.returncode == 0 else (said or ["pip failed"])[-1][:200]
    except subprocess.TimeoutExpired:
        why = "pip did not end in 180 s"
    if why:
        shutil.rmtree(fresh, ignore_errors=True)
        return f"{' and '.join(names)} can't be installed for {python}: {why}"
    try:
        os.replace(fresh, folder)
    except OSError:  # another test was faster
        shutil.rmtree(fresh, ignore_errors=True)
    return ""


def environment(python, *names):
    """(environment, "") or (None, why not)."""
    folder, why = folder_with(python, *names)
    return (None, why) if why else (dict(os.environ, PYTHONPATH=folder), "")


if __name__ == "__main__":
    print(environment(*sys.argv[1:])[1] or "installed")
