# SPDX-License-Identifier: MIT
"""Every instruction of twenty modules gets the lines and columns that the interpreter itself gives it."""

import pytest
import stepper
from harness import PYTHONS, minor


@pytest.mark.matrix("lines")
@pytest.mark.parametrize("name", PYTHONS)
def test_every_instruction(name):
    result = stepper.run(PYTHONS[name], "lines_load.py")
    print("\n%s: %d instructions of %d code objects, %d with columns, %d over several lines"
          % (name, *(result[key] for key in ("instructions", "tables", "with_columns", "over_lines"))))
    assert result["differ"] == []
    assert result["instructions"] > 90_000 and result["tables"] > 2_000
    if minor(name) >= 11:
        assert result["with_columns"] > 90_000 and result["over_lines"] > 3_000
