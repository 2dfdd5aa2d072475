# SPDX-License-Identifier: MIT
"""Pure Python in every shape: generators, coroutines, asyncio, exec, lambdas, comprehensions, modules from zip
files and reloaded ones, names in any script. The marks are read by tests/py/shapes.py.

    shape_pure.py CPU_SECONDS FOLDER [trace|profile|monitor|HOOK.so]
"""

import asyncio
import importlib
import importlib.util
import os
import sys
import time
import zipfile

ROUNDS = 150
HERE = os.path.abspath(__file__)
folder = sys.argv[2]


def work(rounds=ROUNDS):
    total = 0
    for i in range(rounds):
        total += i & 3
    return total


# ---- generators ----


def counting(limit):
    for i in range(limit):
        work()  # -> work
        yield i


def delegating(limit):
    total = yield from counting(limit)  # -> counting
    work()  # -> work
    return total


def outer_delegating(limit):
    yield from delegating(limit)  # -> delegating
    work()  # -> work


def closing():
    try:
        while True:
            try:
                work()  # -> work
                yield 1
            except KeyError:
                work()  # -> work
    finally:
        work()  # -> work


def passing_on():
    yield from closing()  # -> closing


def generators():
    for _ in outer_delegating(4):  # -> outer_delegating
        work()  # -> work
    running = passing_on()  # -> passing_on
    next(running)  # -> passing_on
    running.throw(KeyError("one"))  # -> passing_on, closing
    running.close()  # -> passing_on, closing
    sum(work() + value for value in counting(3))  # -> <genexpr>, work, counting
    sorted(counting(3), key=lambda value: work() + value)  # -> counting, <lambda>, work


# ---- coroutines ----


class Pause:
    def __await__(self):
        work()  # -> work
        yield


async def inner(limit):
    for _ in range(limit):
        await Pause()  # -> __await__
    return work()  # -> work


async def middle(limit):
    work()  # -> work
    return await inner(limit)  # -> inner


async def producing(limit):
    for i in range(limit):
        work()  # -> work
        await asyncio.sleep(0)
        yield i


async def consuming():
    async for _ in producing(3):  # -> producing
        work()  # -> work
    values = [work() + value async for value in producing(2)]  # -> producing, <listcomp>, work
    return sum(values)


async def together():
    tasks = [asyncio.ensure_future(middle_task(i)) for i in range(3)]  # -> <listcomp>, middle_task
    await asyncio.gather(*tasks)
    await consuming()  # -> consuming


async def middle_task(number):
    work()  # -> work
    await asyncio.sleep(0)
    return number + await consuming()  # -> consuming


def coroutines():
    running = middle(3)  # -> middle
    try:
        while True:
            running.send(None)  # -> middle
    except StopIteration:
        work()  # -> work
    loop.run_until_complete(together())  # -> together, middle_task, consuming, producing


# ---- small functions ----


def by_lambda(key):
    return sorted((1, 2), key=lambda value: key(value))  # -> <lambda>, key_of


def key_of(value):
    return work() - value  # -> work


def comprehensions():
    first = [work() for _ in range(2)]  # -> <listcomp>, work
    second = {work() for _ in range(2)}  # -> <setcomp>, work
    third = {work(): [work() for _ in range(2)] for _ in range(2)}  # -> <dictcomp>, <listcomp>, work
    by_lambda(key_of)  # -> by_lambda
    return first, second, third


class Meta(type):
    def __call__(cls, *arguments):
        work()  # -> work
        return super().__call__(*arguments)  # -> __init__


class Counted(metaclass=Meta):
    def __init__(self):
        work()  # -> work

    @property
    def value(self):
        return work()  # -> work

    def __getattr__(self, name):
        return work()  # -> work

    def __lt__(self, other):
        return work() < 0  # -> work

    def __del__(self):
        work()  # -> work


def classes():
    pair = [Counted(), Counted()]  # -> __call__
    pair.sort()  # -> __lt__
    total = pair[0].value + pair[1].missing  # -> value, __getattr__
    pair.clear()  # -> __del__
    return total


# ---- code from text ----

EXECUTED = '''
def executed(key):
    work()  # -> work
    return [key(i) for i in range(2)]  # -> <listcomp>, key_of
work()  # -> work
executed(key_of)  # -> executed
eval("work()")  # -> work
'''

ZIPPED = '''
def zipped(work):
    work()  # -> work
    return work()  # -> work
'''

RELOADED_1 = '''
def reloaded(work):
    return work()  # -> work
'''

RELOADED_2 = '''
def unused():
    pass
def reloaded(work):
    work()  # -> work
    return work()  # -> work
'''

SCRIPTS = '''
def größe_Ⅷ(work):
    return work()  # -> work
def 变量(work):
    return größe_Ⅷ(work)  # -> größe_VIII, größe_Ⅷ
def имя_𐐷(work):
    return 变量(work)  # -> 变量
'''


with open(HERE, encoding="utf-8") as source:
    SOURCE = source.read()


def text_of(name):
    """A text of this file, on the lines on which it stands here."""
    return "\n" * (SOURCE.split("\n%s = '''" % name)[0].count("\n") + 1) + globals()[name]


def write(file, text):
    with open(os.path.join(folder, file), "w", encoding="utf-8") as out:
        out.write(text_of(text))  # -> text_of


def make_modules():
    with zipfile.ZipFile(os.path.join(folder, "modules.zip"), "w") as archive:
        archive.writestr("shape_zipped.py", text_of("ZIPPED"))  # -> text_of
    sys.path.insert(0, os.path.join(folder, "modules.zip"))
    sys.path.insert(0, folder)
    sys.dont_write_bytecode = True
    write("shape_reloaded.py", "RELOADED_1")  # -> write


def texts(turn):
    exec(compile(text_of("EXECUTED"), HERE, "exec"), {"work": work, "key_of": key_of})  # -> <module>, text_of
    space = {}
    exec(compile(text_of("SCRIPTS"), HERE, "exec"), space)  # -> <module>, text_of
    space["имя_𐐷"](work)  # -> имя_𐐷
    write("shape_reloaded.py", "RELOADED_%d" % (1 + turn % 2))  # -> write
    importlib.invalidate_caches()
    module = sys.modules.get("shape_reloaded")
    module = importlib.reload(module) if module else importlib.import_module("shape_reloaded")  # -> <module>
    module.reloaded(work)  # -> reloaded
    sys.modules.pop("shape_zipped", None)
    importlib.import_module("shape_zipped").zipped(work)  # -> zipped, <module>


def rename(function, name, file):
    """The same function under another name and file, which needn't be text that can be printed."""
    code = function.__code__.replace(co_name=name, co_filename=file)
    if hasattr(code, "co_qualname"):
        code = code.replace(co_qualname=name)
    return type(function)(code, globals())


def odd(rounds):
    return work(rounds)  # -> work


ODD = [
    rename(odd, "odd_new\nline", "/tmp/shape\nodd.py"),
    rename(odd, "odd_\ud800_half", "/tmp/shape_\udcff_odd.py"),
    rename(odd, "odd_long_" + "x" * 5000, "/tmp/shape_long_odd.py"),
    rename(odd, "odd_without_a_file", ""),
    rename(odd, "odd_\0_nul", "/tmp/shape_\0_odd.py"),
]


def odd_names():
    for function in ODD:
        function(ROUNDS)  # -> odd_*, work


# ---- callbacks of the interpreter ----


def tracer(frame, event, argument):  # from anywhere
    work(3)  # -> work
    return tracer


def profiler(frame, event, argument):  # from anywhere
    work(3)  # -> work


def on_event(code, offset, *rest):  # from anywhere
    work(3)  # -> work


def set_hook(kind):
    if kind == "trace":
        sys.settrace(tracer)
    elif kind == "profile":
        sys.setprofile(profiler)
    elif kind == "monitor":
        tool = sys.monitoring.PROFILER_ID
        sys.monitoring.use_tool_id(tool, "shape")
        events = sys.monitoring.events
        for event in (events.PY_START, events.LINE, events.PY_RETURN):
            sys.monitoring.register_callback(tool, event, on_event)
        sys.monitoring.set_events(tool, events.PY_START | events.LINE | events.PY_RETURN)
    elif kind:
        import ctypes

        assert ctypes.PyDLL(kind).set_eval_hook() == 0


def main():
    turn = 0
    make_modules()  # -> make_modules
    set_hook(sys.argv[3] if len(sys.argv) > 3 else "")  # -> set_hook
    while time.process_time() < float(sys.argv[1]):
        generators()  # -> generators
        coroutines()  # -> coroutines
        comprehensions()  # -> comprehensions
        classes()  # -> classes
        texts(turn)  # -> texts
        odd_names()  # -> odd_names
        turn += 1
    sys.settrace(None)
    sys.setprofile(None)
    print(turn)


loop = asyncio.new_event_loop()
if __name__ == "__main__":
    main()  # -> main
