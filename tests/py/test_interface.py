# SPDX-License-Identifier: MIT
"""plait.Profiler and the documented modules: what a profile holds, and that its files are never replaced."""

import asyncio
import json
import subprocess
import sys
import threading
import time

import pytest
from harness import LIBRARY, ROOT

import plait
from plait.profiler import wrap

pytestmark = pytest.mark.skipif(not LIBRARY.exists(), reason="build/libprofiler.so is not built")


def burn_a(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(200))


def burn_b(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(200))


def shares(path):
    """Samples under burn_a and burn_b, and all of them."""
    data = json.loads(path.read_text())
    count = {"burn_a": 0, "burn_b": 0, "all": data["total_samples"]}
    for stack in data["stacks"]:
        for name in ("burn_a", "burn_b"):
            count[name] += stack["count"] * any(name in frame["symbol"] for frame in stack["frames"])
    return count


class Session:
    """A session that notes what is done to it; its steps must alternate."""

    def __init__(self):
        self.log = ""

    def resume(self):
        assert not self.log.endswith("r")
        self.log += "r"

    def pause(self):
        assert self.log.endswith("r")
        self.log += "p"

    def close(self):
        assert not self.log.endswith("r")
        self.log += "c"


def test_a_generator_runs_inside_only_while_it_runs():
    session = Session()

    def numbers():
        assert session.log.endswith("r")
        try:
            got = yield 1
            assert got == "sent" and session.log.endswith("r")
            yield 2
        except ValueError:
            assert session.log.endswith("r")
            yield "caught"
        return "end"

    made = wrap(numbers, lambda: session)()
    assert session.log == ""
    assert next(made) == 1 and session.log == "rp"
    assert made.send("sent") == 2
    assert made.throw(ValueError()) == "caught"
    with pytest.raises(StopIteration) as stop:
        next(made)
    assert stop.value.value == "end" and session.log == "rprprprpc"


def test_a_generator_closed_early_ends_its_session():
    session, seen = Session(), []

    def numbers():
        try:
            yield 1
        finally:
            seen.append(session.log)

    made = wrap(numbers, lambda: session)()
    next(made)
    made.close()
    assert seen == ["rpr"] and session.log == "rprpc"


def test_coroutines_and_async_generators():
    session, others = Session(), []

    async def other():
        for _ in range(5):
            others.append(session.log[-1:])
            await asyncio.sleep(0)

    async def body(fail):
        await asyncio.sleep(0)
        assert session.log.endswith("r")
        if fail:
            raise KeyError("mine")
        return "value"

    async def items():
        got = yield 1
        assert got == "sent"
        await asyncio.sleep(0)
        try:
            yield 2
        except ValueError:
            yield 3

    async def main():
        task = asyncio.ensure_future(other())
        assert await wrap(body, lambda: session)(False) == "value"
        with pytest.raises(KeyError):
            await wrap(body, lambda: session)(True)
        made = wrap(items, lambda: session)()
        assert await made.__anext__() == 1
        assert await made.asend("sent") == 2
        assert await made.athrow(ValueError()) == 3
        with pytest.raises(StopAsyncIteration):
            await made.__anext__()
        await task

    asyncio.run(main())
    assert "r" not in others and session.log.endswith("c")


def test_kinds_and_names_are_kept():
    import inspect

    async def coroutine():
        """Text."""

    async def async_generator():
        yield

    def generator():
        yield

    assert inspect.iscoroutinefunction(wrap(coroutine, Session))
    assert inspect.isasyncgenfunction(wrap(async_generator, Session))
    assert inspect.isgeneratorfunction(wrap(generator, Session))
    assert wrap(coroutine, Session).__name__ == "coroutine" and wrap(coroutine, Session).__doc__ == "Text."


def test_nested_profiles_hold_their_own_interval(tmp_path):
    outer, inner = plait.Profiler(), plait.Profiler()
    with outer:
        burn_a(0.3)
        with inner:
            burn_b(0.3)
    outer.write_json(tmp_path / "outer.json")
    inner.write_json(tmp_path / "inner.json")
    assert "no end" not in (tmp_path / "inner.json").read_text(), "a profile is whole although the sampler goes on"
    whole, part = shares(tmp_path / "outer.json"), shares(tmp_path / "inner.json")
    assert whole["burn_a"] > 0 and whole["burn_b"] > 0
    assert part["burn_a"] == 0 and part["burn_b"] > 0
    assert part["burn_b"] <= whole["burn_b"]


def test_decorated_calls_add_up_and_recursion_counts_once(tmp_path):
    profiler = plait.Profiler()

    @profiler
    def work(depth):
        burn_a(0.1)
        if depth:
            work(depth - 1)

    work(1)
    burn_b(0.2)
    work(0)
    profiler.write_json(tmp_path / "calls.json")
    found = shares(tmp_path / "calls.json")
    assert found["burn_a"] > 0 and found["burn_b"] == 0
    assert found["burn_a"] <= found["all"]


def test_current_thread_only(tmp_path):
    stop = threading.Event()

    def other():
        while not stop.is_set():
            burn_b(0.01)

    thread = threading.Thread(target=other)
    thread.start()
    mine, every = plait.Profiler(threads="current"), plait.Profiler()
    try:
        with every, mine:
            burn_a(0.3)
    finally:
        stop.set()
        thread.join()
    mine.write_json(tmp_path / "mine.json")
    every.write_json(tmp_path / "every.json")
    assert shares(tmp_path / "mine.json")["burn_b"] == 0 < shares(tmp_path / "mine.json")["burn_a"]
    assert shares(tmp_path / "every.json")["burn_b"] > 0


def test_errors_have_words(tmp_path):
    profiler = plait.Profiler()
    with pytest.raises(plait.ProfilerError):
        profiler.stop()
    with pytest.raises(plait.ProfilerError):
        profiler.write_json(tmp_path / "none.json")
    with profiler:
        with pytest.raises(plait.ProfilerError, match="missing"):
            profiler.write_json(tmp_path / "missing" / "a.json")
        with pytest.raises(plait.ProfilerError, match="777"), plait.Profiler(rate=777):
            pass
    profiler.write_json(tmp_path / "later.json")


def test_files_are_never_replaced_by_threads_and_processes(tmp_path):
    code = (
        "import sys, threading; sys.path.insert(0, %r)\n"
        "import profiler_cli\n"
        "def many():\n"
        "    for _ in range(20): sys.stdout.write(profiler_cli.claim('same', 'out').json + chr(10))\n"
        "threads = [threading.Thread(target=many) for _ in range(3)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n" % str(ROOT)
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], cwd=str(tmp_path), stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    names = [name for process in processes for name in process.communicate()[0].split()]
    assert len(names) == 180 == len(set(names))


def test_decorator_and_context_write_three_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    import profiler_cli

    @profiler_cli.profile_function
    def one():
        burn_a(0.05)
        return "result"

    @profiler_cli.profile_function(output_dir="elsewhere")
    def two():
        burn_a(0.05)
        raise KeyError("kept")

    assert one() == "result" and one() == "result"
    with pytest.raises(KeyError):
        two()
    with profiler_cli.profiler_context("a/strange name;") as context:
        burn_b(0.05)
    assert len(list((tmp_path / "profiler_output").glob("profile_*_one*.json"))) == 2
    assert len(list((tmp_path / "elsewhere").glob("profile_*_two*"))) == 3
    for path in context.files:
        assert (tmp_path / path).stat().st_size > 0
    assert "a_strange_name" in context.files.json


def test_an_unwritable_folder_costs_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    import profiler_cli

    (tmp_path / "file").write_text("")

    @profiler_cli.profile_function(output_dir="file")
    def work():
        return 5

    assert work() == 5
    assert capsys.readouterr().err.count("\n") == 1


def test_only_the_standard_library_is_imported():
    code = (
        "import sys; before = set(sys.modules); import plait, profiler_binding, profiler_cli;"
        "profiler_binding.CPUProfiler();"
        "print([m for m in set(sys.modules) - before if 'site-packages' in (getattr(sys.modules[m], "
        "'__file__', '') or '')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=str(ROOT), stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
