# SPDX-License-Identifier: MIT
"""The table of src/python/offsets.h against the headers of each interpreter found."""

import ctypes
import importlib.util

import pytest
import stepper
from harness import PYTHONS, ROOT, minor


def _measurer():
    spec = importlib.util.spec_from_file_location("measure_offsets", ROOT / "scripts" / "measure_offsets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _table(version_minor):
    library = ctypes.CDLL(str(stepper.library()))
    library.stepper_offset.restype = ctypes.c_char_p
    value, rows = ctypes.c_int64(), {}
    while True:
        name = library.stepper_offset(version_minor, len(rows), ctypes.byref(value))
        if name is None:
            return rows
        rows[name.decode()] = value.value


@pytest.mark.parametrize("name", PYTHONS)
def test_table_is_what_the_headers_say(name):
    measured = _measurer().measure(PYTHONS[name])
    if measured is None:
        pytest.skip(f"{name} has no internal headers installed")
    table = _table(minor(name))
    measured = {field: value for field, value in measured.items() if not field.startswith("debug_")}
    assert table == measured


def test_places_in_the_debug_offsets():
    """Column `place` of the table, for each 3.13 found."""
    found = [python for name, python in PYTHONS.items() if minor(name) == 13]
    rows = [row for row in map(_measurer().measure, found) if row is not None]
    if not rows:
        pytest.skip("no 3.13 with internal headers")
    text = (ROOT / "src" / "python" / "offsets.h").read_text()
    places = {}
    for line in text.splitlines():
        if line.strip().startswith("X(") and line.count(",") >= 9:
            cells = line.strip()[2:].split(")")[0].split(",")
            places[cells[0]] = int(cells[9])
    assert len(places) == len(_table(13))
    same = {"code_size": "code_bytes"}
    for row in rows:
        for field, place in places.items():
            assert place == row.get("debug_" + same.get(field, field), 0), field
