# SPDX-License-Identifier: MIT
"""Calls out of every kind of instruction, spread over lines so that call, arguments and end are told apart.

    callers.py SECONDS      prints, as JSON, the chains of frames that called leaf(), which spins: outermost first,
                            [function, line, end line, column, end column] each, as the interpreter's own frames
                            said; columns in bytes from 1, 0 where there is none.
Standard library only, 3.8 and later."""

import asyncio
import functools
import itertools
import json
import sys
import time

HERE = __file__
chains = set()


def spin():
    for _ in range(20000):
        pass


def position(frame):
    line, code = frame.f_lineno, frame.f_code
    if sys.version_info < (3, 11):
        return line, 0, 0, 0
    at = next(itertools.islice(code.co_positions(), frame.f_lasti // 2, None))
    if at[0] != line:
        raise AssertionError("f_lineno and co_positions() disagree")
    return (line, 0, 0, 0) if at[2] is None else (line, at[1], at[2] + 1, at[3] + 1)


def leaf(*_, **__):
    chain, frame = [], sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == HERE:
            chain.append((frame.f_code.co_name, *position(frame)))
        frame = frame.f_back
    chains.add(tuple(reversed(chain)))
    spin()
    return 1


class Thing:
    def __init__(self, *_):
        leaf()

    def method(
        self, *_, **__
    ):
        leaf()
        return self

    __call__ = __enter__ = __getitem__ = __add__ = __radd__ = __neg__ = __lt__ = __iadd__ = method

    def __exit__(self, *_):
        leaf()

    def __contains__(self, _):
        return leaf()

    def __iter__(self):
        leaf()
        return self

    def __next__(self):
        leaf()
        raise StopIteration

    def __format__(self, _):
        leaf()
        return ""

    def __bool__(self):
        leaf()
        return True

    def __getattr__(self, name):
        leaf()
        return name

    def __setitem__(self, _, __):
        leaf()

    def __delattr__(self, _):
        leaf()

    prop = property(method)


def case_calls(thing):
    leaf(
        1,
        2,
    )
    thing.method(
        1,
        key=leaf(
            2,
            3),
    ).method(
        *(4,
          5),
        **{"a":  # noqa: PIE804
           6}
    )
    thing(
        thing
        .prop,
    )
    Thing(
        1,
        2)
    return (
        leaf(
            7
        )
    )


def case_operators(thing):
    first = (
        thing
        +
        1)
    second = (1 +
              thing)
    third = -(
        thing)
    fourth = (thing
              <
              first)
    fifth = (2
             in
             thing)
    sixth = thing[
        second:
        third
    ]
    sixth += (
        fourth,
        fifth)
    thing[
        1
    ] = \
        2
    del (
        thing
        .gone)
    return (
        thing
        .other)


def case_flow(thing):
    with thing \
            as first, \
            thing:
        leaf(
            first)
    for _ in (
        thing
    ):
        pass
    if (thing
            and
            thing):
        pass
    while not (
            thing):
        pass
    try:
        raise KeyError(
            leaf(
                1))
    except (
        KeyError,
        leaf() and ValueError
    ):
        leaf(
            2)
    finally:
        leaf(
            3)
    assert thing, (
        leaf())
    a, b = (1,
            leaf(
                4))
    return a, b, f"{thing}", format(
        thing,
        "")


def case_comprehensions(thing):
    found = [
        leaf(
            x)
        for x in (1,
                  2)
        if leaf(
            x)
    ]
    found += {
        x: leaf(
            x) for x in (1,)}
    found += list(
        leaf(x
             ) for x in (1,)
    )
    return sorted(
        [1],
        key=lambda x:
        leaf(
            x)
    ) + list(map(
        functools.partial(
            leaf,
            1),
        (2,
         3)))


def case_generators(thing):
    def inner():
        yield leaf(
            1)
        yield (
            leaf(
                2))

    def outer():
        yield from (
            inner()
        )

    for _ in outer(
    ):
        leaf(
            3)
    generator = inner()
    next(
        generator)
    generator.close(
    )


def case_asyncio(thing):
    class Context:
        async def __aenter__(self):
            leaf()

        async def __aexit__(self, *_):
            leaf()

    async def deep():
        leaf(
            1)
        await asyncio.sleep(
            0)
        return leaf(
            2)

    async def shallow():
        async with \
                Context():
            return await (
                deep(
                ))

    asyncio.run(
        shallow(
        ))


def case_definitions(thing):
    def decorator(*_):
        leaf()
        return leaf

    @decorator
    @decorator(
        1)
    def decorated(
            a=leaf(
                1),
            b=2,
            *, c=leaf()):
        pass

    class Made(
            object,  # noqa: UP004
            metaclass=decorator(
            ) and type):
        here = leaf(
            1)
    return decorated(
        Made)


def main():
    end = time.process_time() + float(sys.argv[1])
    cases = [value for name, value in sorted(globals().items()) if name.startswith("case_")]
    while time.process_time() < end:
        for case in cases:
            case(
                Thing(
                ))
    print(json.dumps(sorted(chains)))


main()
