# SPDX-License-Identifier: MIT
"""docs/system_calls.md names every system call that the library makes by itself."""

import re

import harness

# Named in the sources only to be told apart in the program's own contexts (rerun_*.c).
RECOGNISED = "rerun_x86_64.c"


def test_every_call_is_documented():
    text = (harness.ROOT / "docs" / "system_calls.md").read_text()
    documented = set(re.findall(r"`(\w+)`", text))
    called = set()
    for source in (harness.ROOT / "src").rglob("*.[ch]"):
        found = set(re.findall(r"\bSYS_(\w+)", source.read_text()))
        if source.name == RECOGNISED:
            found &= {"rt_sigpending", "rt_sigaction"}
        called |= found
    assert len(called) > 30
    assert called - documented == set(), "called, but not in docs/system_calls.md"
