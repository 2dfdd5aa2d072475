# SPDX-License-Identifier: MIT
"""docs/system_calls.md names every system call that the library makes by itself."""

import re

import harness

# Named in the sources only to be told apart in the program's own contexts; with what they call themselves.
RECOGNISED = {
    "rerun_x86_64.c": {"rt_sigpending", "rt_sigaction"},
    "waits.c": {"readlink"},
    "partial_x86_64.c": {"fstat"},
}


def test_every_call_is_documented():
    text = (harness.ROOT / "docs" / "system_calls.md").read_text()
    documented = set(re.findall(r"`(\w+)`", text))
    called = set()
    for source in (harness.ROOT / "src").rglob("*.[ch]"):
        found = set(re.findall(r"\bSYS_(\w+)", source.read_text()))
        found &= RECOGNISED.get(source.name, found)
        called |= found
    assert len(called) > 30
    assert called - documented == set(), "called, but not in docs/system_calls.md"
