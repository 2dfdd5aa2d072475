# SPDX-License-Identifier: MIT
"""Replays py_position over every instruction of the library's own modules, against the interpreter's own answer.

Run as `python3 lines_load.py STEPPER.SO`; prints one JSON object. Standard library only, 3.8 and later.
"""

import ctypes
import dis
import importlib
import json
import sys
import types

MINOR = sys.version_info[1]
MODULES = ("argparse", "asyncio.tasks", "subprocess", "typing", "_pydecimal", "dataclasses", "difflib", "tarfile",
           "inspect", "enum", "functools", "textwrap", "contextlib", "pickle", "statistics", "ast", "json.decoder",
           "urllib.request", "ipaddress", "unittest.mock")
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
def far(): return %s f(a,
                b)
def wörter(straße): return "äöü€😀", straße . größe (straße , 'ß'), "a" + straße
def call(x): return x.first(
        1, *x,
        second=x
    ).second(
        x,
    )
class C: a = 1; b = [i for i in range(3) if
  i]
""" % ("\n" * 300, "+".join("x%d" % i for i in range(400)), " " * 500)
NO_COLUMN = -1


def codes_of(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes_of(constant)


def known(position):
    """As py_position gives it: 0 for no line, -1 for no column."""
    line, end_line, column, end_column = position
    return (line or 0, end_line or 0, NO_COLUMN if column is None else column,
            NO_COLUMN if end_column is None else end_column)


def line_starts(code):
    """Each unit's line as dis tells it."""
    units = len(code.co_code) // 2
    lines, starts = [], list(dis.findlinestarts(code))
    for index, (start, line) in enumerate(starts):
        end = starts[index + 1][0] // 2 if index + 1 < len(starts) else units
        lines += [0] * (start // 2 - len(lines)) + [line] * (end - start // 2)
    return lines


def truth(code):
    """(line, end line, column, end column) of each unit."""
    units = len(code.co_code) // 2
    if MINOR >= 11:
        return [known(position) for position in code.co_positions()]
    if MINOR == 10:
        lines = [0] * units
        for start, end, line in code.co_lines():
            lines[start // 2:end // 2] = [line or 0] * ((end - start) // 2)
    else:
        address_to_line = ctypes.pythonapi.PyCode_Addr2Line
        lines = [address_to_line(ctypes.py_object(code), 2 * unit) for unit in range(units)]
        if line_starts(code) != lines:
            raise AssertionError("dis and PyCode_Addr2Line disagree on %s" % code.co_name)
    return [(line, line, NO_COLUMN, NO_COLUMN) for line in lines]


def decoded(library, code, table, units):
    numbers = (ctypes.c_int32 * (4 * units))()
    library.stepper_positions(MINOR, table, len(table), code.co_firstlineno, units, numbers)
    return [tuple(numbers[4 * unit:4 * unit + 4]) for unit in range(units)]


def sources():
    yield ODD, "odd"
    for name in MODULES:
        path = importlib.import_module(name).__file__
        with open(path, encoding="utf-8") as source:
            yield source.read(), path


def main():
    library = ctypes.CDLL(sys.argv[1])
    result = {"instructions": 0, "tables": 0, "with_columns": 0, "over_lines": 0, "differ": []}
    for text, path in sources():
        for code in codes_of(compile(text, path, "exec")):
            table = code.co_linetable if MINOR >= 10 else code.co_lnotab
            expected = truth(code)
            found = decoded(library, code, table, len(expected))
            result["tables"] += 1
            result["instructions"] += len(expected)
            result["with_columns"] += sum(position[3] > 0 for position in expected)
            result["over_lines"] += sum(position[1] > position[0] for position in expected)
            if found != expected:
                unit = next(i for i, pair in enumerate(zip(found, expected)) if pair[0] != pair[1])
                result["differ"].append([path, code.co_name, unit, found[unit], expected[unit]])
            first = library.stepper_line(MINOR, table, len(table), code.co_firstlineno, -1)
            last = expected[-1][0]
            if first != code.co_firstlineno:
                result["differ"].append([path, code.co_name, -1])
            if MINOR >= 10 and len(table) > 1 and library.stepper_line(
                    MINOR, table, len(table) - 1, code.co_firstlineno, len(expected) - 1) not in (-1, last):
                result["differ"].append([path, code.co_name, "a cut table gives another line"])
    result["differ"] = result["differ"][:20]
    print(json.dumps(result))


main()
