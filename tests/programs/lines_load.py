# SPDX-License-Identifier: MIT
"""Replays py_line over every instruction of the library's own modules, against the interpreter's own answer.

Run as `python3 lines_load.py STEPPER.SO`; prints one JSON object. Standard library only, 3.8 to 3.13.
"""

import ctypes
import importlib
import json
import sys
import types

MODULES = ("argparse", "asyncio.tasks", "subprocess", "typing", "dataclasses", "difflib", "tarfile", "inspect",
           "enum", "functools", "textwrap", "contextlib", "pickle", "decimal", "statistics", "ast", "json.decoder")
ODD = """
def empty(): pass
def long_jump(x):
    if x:
        return [
            x,
%s
            x ** 2,
        ]
    try:
        x(
            1,
            2)
    except (KeyError,
            ValueError) as e:
        raise (
            e)
    finally:
        for i in range(
            3
        ): yield i
    return (lambda: x)()
async def waits(x):
    async with x as y:
        await y
    async for z in y: print(z,
        y)
def wide(): return %s
class C: a = 1; b = [i for i in range(3) if
  i]
""" % ("\n" * 300, "+".join("x%d" % i for i in range(400)))


def codes_of(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes_of(constant)


def truth(code):
    """The line of each unit; 0 = none."""
    units = len(code.co_code) // 2
    if sys.version_info >= (3, 11):
        return [position[0] or 0 for position in code.co_positions()]
    if sys.version_info >= (3, 10):
        lines = [0] * units
        for start, end, line in code.co_lines():
            lines[start // 2:end // 2] = [line or 0] * ((end - start) // 2)
        return lines
    address_to_line = ctypes.pythonapi.PyCode_Addr2Line
    return [address_to_line(ctypes.py_object(code), 2 * unit) for unit in range(units)]


def main():
    library = ctypes.CDLL(sys.argv[1])
    line_of = library.stepper_line
    minor, checked, tables, differ = sys.version_info[1], 0, 0, []
    sources = [(ODD, "odd")]
    for name in MODULES:
        path = importlib.import_module(name).__file__
        with open(path, encoding="utf-8") as source:
            sources.append((source.read(), path))
    for text, path in sources:
        for code in codes_of(compile(text, path, "exec")):
            table = code.co_linetable if minor >= 10 else code.co_lnotab
            expected = truth(code)
            tables += 1
            found = [line_of(minor, table, len(table), code.co_firstlineno, unit) for unit in range(len(expected))]
            checked += len(expected)
            if found != expected:
                unit = next(i for i, pair in enumerate(zip(found, expected)) if pair[0] != pair[1])
                differ.append([path, code.co_name, unit, found[unit], expected[unit]])
            if line_of(minor, table, len(table), code.co_firstlineno, -1) != code.co_firstlineno:
                differ.append([path, code.co_name, -1])
            if minor >= 10 and len(table) > 1 and line_of(minor, table, len(table) - 1, code.co_firstlineno,
                                                           len(expected) - 1) not in (-1, expected[-1]):
                differ.append([path, code.co_name, "a cut table gives another line"])
    print(json.dumps({"instructions": checked, "tables": tables, "differ": differ[:20]}))


main()
