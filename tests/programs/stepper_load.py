# SPDX-License-Identifier: MIT
"""The load of tests/c/stepper.c: every way into and out of a Python frame, under the trap flag.

Run as `python3 stepper_load.py STEPPER.SO`; prints one JSON object. Standard library only, 3.8 to 3.15.
"""

import ctypes
import dis
import functools
import gc
import json
import marshal
import re
import sys
from itertools import repeat

REASONS = 16


class Reason(ctypes.Structure):
    _fields_ = [("text", ctypes.c_char * 96), ("count", ctypes.c_uint64)]


class Counts(ctypes.Structure):
    """struct counts of stepper.c."""

    numbers = ("steps", "ok", "none", "put_off", "torn", "wrong", "longest_put_off", "longest_torn",
               "bare_evals", "bare_calls", "empty_tops", "before_first", "most_frames", "probes", "braided", "cut")
    _fields_ = [(name, ctypes.c_uint64) for name in numbers]
    _fields_ += [("wrongs", Reason * REASONS), ("torns", Reason * REASONS)]


def leaf(x):
    return x + 1


def keywords(a, b=2, *rest, **named):
    return leaf(a) + b + len(rest) + len(named)


def recurse(n):
    return 0 if n == 0 else 1 + recurse(n - 1)


def count_up(n):
    for i in range(n):
        yield leaf(i)


def delegate(n):
    yield from count_up(n)
    yield leaf(7)


def catch_inside():
    while True:
        try:
            yield 1
        except ValueError:
            leaf(2)
            sorted([2, 1], key=leaf)


def delegate_twice():
    yield from delegate_once()


def delegate_once():
    yield from catch_inside()


class Wait:
    def __await__(self):
        got = yield 1
        return got


async def inner_wait(n):
    total = 0
    for i in range(n):
        total += (await Wait()) or leaf(i)
    return total


async def outer_wait(n):
    return await inner_wait(n)


async def produce(n):
    for i in range(n):
        yield i


async def consume(n):
    return [x async for x in produce(n)]


async def shielded():
    try:
        await inner_wait(5)
    except KeyError:
        leaf(3)
        await Wait()


async def shielded_outer():
    await shielded()


def raise_deep(n):
    if n == 0:
        raise KeyError("deep")
    try:
        return raise_deep(n - 1)
    finally:
        leaf(n)


class Slots:
    def __init__(self, value):
        self.value = value

    def __del__(self):
        leaf(1)

    def __add__(self, other):
        return Slots(leaf(self.value))

    @property
    def twice(self):
        return leaf(self.value)

    def __getattr__(self, name):
        return leaf(3)

    def __getitem__(self, index):
        return leaf(index)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return True


def make_wide():
    """A function of many locals: new chunks of the data stack under recursion."""
    names = "\n".join("        x%d = 1" % i for i in range(900))
    found = {}
    exec("def wide(n):\n    if n < 0:\n%s\n    return 0 if n == 0 else wide(n - 1) + 1" % names, found)
    return found["wide"]


wide = make_wide()
SHORT_LIVED = marshal.dumps(compile("def gone():\n  return 1\ngone()\ndel gone\n", "gone", "exec"))


def drops():
    held, more = Slots(1), [Slots(2)]
    return None


def drive(coroutine):
    try:
        while True:
            coroutine.send(None)
    except StopIteration:
        pass


def generators():
    sum(count_up(3))
    list(delegate(3))
    sum(x for x in range(3))
    for _ in count_up(2):
        pass
    one = count_up(5)
    next(one)
    one.close()
    one = count_up(5)
    next(one)
    try:
        one.throw(ValueError)
    except ValueError:
        pass
    del one
    for through in (delegate_once(), delegate_twice()):
        next(through)
        through.throw(ValueError)
        through.close()
    next((x for x in ()), None)


def coroutines():
    drive(outer_wait(2))
    drive(consume(2))
    left = outer_wait(3)
    left.send(None)
    left.close()
    cancelled = shielded_outer()
    cancelled.send(None)
    cancelled.throw(KeyError)
    cancelled.close()


def callbacks():
    sorted([3, 1, 2], key=leaf)
    sorted([3, 1, 2], key=lambda x: -x)
    re.sub("a", lambda match: str(leaf(1)), "xaya")
    functools.reduce(keywords, [1, 2, 3])
    list(map(leaf, [1, 2]))
    try:
        sorted([2, 1], key=lambda x: raise_deep(3))
    except KeyError:
        pass


def objects():
    thing = Slots(1)
    thing = thing + 1
    thing.twice
    thing.absent
    thing[1]
    drops()
    with Slots(3):
        raise ValueError

    class Local:
        value = leaf(1)

        def method(self):
            return super().__init__()

    Local().method()


def dynamic():
    exec(marshal.loads(SHORT_LIVED))
    exec(marshal.loads(SHORT_LIVED))

    def keep():
        return sys._getframe()

    keep().f_lineno


def errors():
    try:
        raise_deep(4)
    except KeyError:
        pass
    try:
        1 / 0
    except ZeroDivisionError as error:
        error.with_traceback(None)
    try:
        leaf()
    except TypeError:
        pass


def calls():
    keywords(1)
    keywords(1, 2, 3, k=4)
    recurse(15)
    [leaf(x) for x in range(2)]
    {leaf(x): 1 for x in range(2)}
    wide(2)


def work():
    for part in (calls, generators, coroutines, callbacks, objects, dynamic, errors):
        part()


def through_c(n):
    return 0 if n == 0 else sorted([0], key=lambda x: through_c(n - 1))[0]


def depth():
    frame, count = sys._getframe(), 0
    while frame:
        frame, count = frame.f_back, count + 1
    return count


def overflow():
    def endless(n):
        return endless(n + 1)

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth() + 25)
    try:
        endless(0)
    except RecursionError:
        pass
    sys.setrecursionlimit(limit)


# ---- the walk against sys._getframe, where the program knows its own stack ----

def line_of(library, code, unit):
    table = code.co_linetable if sys.version_info >= (3, 10) else code.co_lnotab
    return library.stepper_line(sys.version_info[1], table, len(table), code.co_firstlineno, unit)


def compare(library, found):
    """Appends (what differs) to `found`: codes, units, lines of all frames of the caller."""
    codes, units = (ctypes.c_uint64 * 4096)(), (ctypes.c_int32 * 4096)()
    parts, markers = (ctypes.c_int32 * 4096)(), (ctypes.c_uint64 * 4096)()
    count = library.stepper_walk(codes, units, parts, markers, 4096)
    frame, i = sys._getframe(), 0
    found["compared"] += 1
    while frame is not None and i < count:
        code = frame.f_code
        if codes[i] != id(code):
            found["differ"].append("frame %d is not %s" % (i, code.co_name))
            return
        if i > 0 and frame.f_lineno is not None and line_of(library, code, units[i]) != frame.f_lineno:
            found["differ"].append("line of %s: %d, not %d (unit %d)" % (
                code.co_name, line_of(library, code, units[i]), frame.f_lineno, units[i]))
        frame, i = frame.f_back, i + 1
    if frame is not None or i != count:
        found["differ"].append("%d frames, not %s" % (count, i if frame is None else "more"))
    found["frames"] += count
    found["segments"] = max(found["segments"], parts[count - 1] + 1 if count > 0 else 0)


def compare_all(library):
    found = {"compared": 0, "frames": 0, "segments": 0, "differ": []}
    check = functools.partial(compare, library, found)

    def gen(n):
        for _ in repeat(None, n):
            check()
            yield n

    def through(n):
        check()
        return 0 if n == 0 else sorted([0, 1], key=lambda x: through(n - 1) if x == 0 else 1)[0]

    def lines(n):
        return [
            check(),
            n if n == 0 else lines(
                n - 1
            ),
        ]

    async def waits():
        check()
        await Wait()
        check()

    async def waits_outer():
        await waits()

    class Deleted:
        def __del__(self):
            check()

    list(gen(2))
    through(4)
    lines(5)
    drive(waits_outer())
    re.sub("a", lambda match: str(check()), "aba")
    Deleted()
    exec("def made():\n\n  check()\nmade()", {"check": check})
    list(map(lambda x: list(gen(x)), [1, 2]))
    back = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda a, b: check() or 0)
    ctypes.CDLL(None).qsort((ctypes.c_int * 3)(3, 1, 2), 3, 4, back)
    return found


def main():
    library = ctypes.PyDLL(sys.argv[1])
    library.stepper_attach.restype = ctypes.c_char_p
    library.stepper_counts.restype = ctypes.POINTER(Counts)
    library.stepper_cost.restype = ctypes.c_uint64
    failure = library.stepper_attach().decode()
    if failure:
        print(json.dumps({"failed": failure}))
        return
    result = {"compare": compare_all(library), "debug": hasattr(sys, "gettotalrefcount")}

    def ten(n):
        return library.stepper_cost() if n == 0 else ten(n - 1)

    result["cost"] = ten(10 - depth() - 1)

    def stepped(_):
        library.stepper_begin()
        try:
            work()
            through_c(4)
            overflow()
        finally:
            library.stepper_end()
        return 0

    for _ in range(30):
        work()
    gc.disable()
    sorted([0], key=stepped)
    counts = library.stepper_counts().contents
    result.update((name, getattr(counts, name)) for name in Counts.numbers)
    for name in ("wrongs", "torns"):
        result[name] = {row.text.decode(): row.count for row in getattr(counts, name) if row.count}
    print(json.dumps(result))


main()
