# SPDX-License-Identifier: MIT
"""Every instruction of a dozen modules gets the line that the interpreter itself gives it."""

import pytest
import stepper
from harness import PYTHONS


@pytest.mark.parametrize("name", PYTHONS)
def test_every_line(name):
    result = stepper.run(PYTHONS[name], "lines_load.py")
    print("\n%s: %d instructions of %d code objects" % (name, result["instructions"], result["tables"]))
    assert result["differ"] == []
    assert result["instructions"] > 50_000 and result["tables"] > 1_000
