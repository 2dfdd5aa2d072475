# SPDX-License-Identifier: MIT
"""The table of src/python/offsets.h against the headers of each interpreter found, and of the Debian sid that
scripts/make_sid.sh makes; from 3.13 on also against what the same headers say of the free-threaded build."""

import ctypes
import importlib.util
import subprocess
from pathlib import Path

import pytest
import stepper
from harness import PYTHONS, ROOT, minor

SID_MINORS = (13, 14, 15)


def _measurer():
    spec = importlib.util.spec_from_file_location("measure_offsets", ROOT / "scripts" / "measure_offsets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _table(version_minor, free_threaded):
    """{field: (number, places in the debug offsets of 3.13, 3.14, 3.15)}"""
    library = ctypes.CDLL(str(stepper.library()))
    library.stepper_offset.restype = ctypes.c_char_p
    value, places, rows = ctypes.c_int64(), (ctypes.c_int32 * 3)(), {}
    while True:
        name = library.stepper_offset(version_minor, free_threaded, len(rows), ctypes.byref(value), places)
        if name is None:
            return rows
        rows[name.decode()] = value.value, tuple(places)


def _check(folder, version_minor):
    measurer = _measurer()
    for free_threaded in (0, 1) if version_minor >= measurer.DEBUG_SINCE else (0,):
        measured = measurer.measure_headers(str(folder), version_minor, free_threaded)
        table = _table(version_minor, free_threaded)
        described = {field: value for field, value in measured.items() if field.startswith("debug_")}
        assert {field: number for field, (number, _) in table.items()} == {
            field: value for field, value in measured.items() if field not in described}
        if not described:
            continue
        same = {"code_size": "code_bytes"}
        for field, (_, places) in table.items():
            place = places[version_minor - measurer.DEBUG_SINCE]
            assert place == described.get("debug_" + same.get(field, field), 0), field


@pytest.mark.matrix("offsets")
@pytest.mark.parametrize("name", PYTHONS)
def test_table_is_what_the_headers_say(name):
    folder = _measurer().include_folder(PYTHONS[name])
    if folder is None:
        pytest.skip(f"{name} has no internal headers installed")
    if not (Path(folder) / "pyconfig.h").exists():
        pytest.skip(f"{name} runs where it was built: its headers are not in one folder")
    _check(folder, minor(name))


@pytest.mark.parametrize("version_minor", SID_MINORS)
def test_table_is_what_sids_headers_say(version_minor):
    sid = subprocess.run([ROOT / "scripts" / "make_sid.sh", "--path"], capture_output=True, text=True, check=True)
    folder = Path(sid.stdout.strip()) / "usr" / "include" / f"python3.{version_minor}"
    if not (folder / "internal").is_dir():
        pytest.skip(f"no headers of 3.{version_minor}: scripts/make_sid.sh has not made a Debian sid")
    _check(folder, version_minor)
