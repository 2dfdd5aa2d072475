# SPDX-License-Identifier: MIT
"""What became of the tests that run once per interpreter: version x build x test. conftest.py writes a line of
JSON per result: [version, build, column, outcome]; column "" speaks of the interpreter itself."""

import json
import os
from typing import Dict, List, Tuple

Row = Tuple[str, str]
_ORDER = ("offsets", "lines", "callers", "stepper", "nesting")
_WORDS = {"passed": "ok", "failed": "FAIL", "skipped": "skip"}
_WORST = ("failed", "passed", "skipped")  # of several tests in one cell the first that occurs


def read(path: str) -> List[List[str]]:
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [json.loads(line) for line in file]


def text(results: List[List[str]]) -> str:
    """The table, one line per interpreter; "" without results."""
    cells: Dict[Row, Dict[str, str]] = {}
    columns: List[str] = []
    for version, build, column, outcome in results:
        row = cells.setdefault((version, build), {})
        if column and column not in columns:
            columns.append(column)
        row[column] = min(row.get(column, outcome), outcome, key=_rank)
    columns.sort(key=_place)
    lines = [["interpreter", *columns]]
    for version, build in sorted(cells, key=lambda row: ([int(n) for n in row[0].split(".")], row[1])):
        row = cells[version, build]
        words = [_WORDS.get(row.get(column, ""), "-") for column in columns]
        lines.append(["%s %s" % (version, build), *(words if "" not in row else [row[""]])])
    if len(lines) == 1:
        return ""
    widths = [max(len(line[i]) for line in lines if i < len(line)) for i in range(len(lines[0]))]
    padded = ([word.ljust(width) for word, width in zip(line, widths)] for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in padded)


def _rank(outcome: str) -> int:
    return _WORST.index(outcome) if outcome in _WORST else -1


def _place(column: str) -> Tuple[int, str]:
    first = column.split()[0]
    return _ORDER.index(first) if first in _ORDER else len(_ORDER), column
