# SPDX-License-Identifier: MIT
"""libprofiler-symbols.so against programs that know their own lines: functions, inlining, C++, fallbacks."""

import ctypes
import os
import re
import shutil
import subprocess
from typing import Any, List, NamedTuple, Optional

import pytest

from plait import _library

C_SOURCE = """\
int sink;
__attribute__((noinline)) void marked(int n) { sink += n; __asm__ volatile("" ::: "memory"); }
static inline __attribute__((always_inline)) void inner(int n) {
    __asm__ volatile(".globl at_inner\\nat_inner: nop" ::: "memory"); /* LINE inner */
    sink += n;
}
static inline __attribute__((always_inline)) void middle(int n) {
    inner(n + 1); /* LINE middle */
}
__attribute__((noinline)) void outer(int n) {
    middle(n + 2); /* LINE outer */
    marked(n);
}
int main(void) { outer(1); return sink == 0; }
"""
CXX_SOURCE = """\
namespace deep { struct Box { __attribute__((noinline)) int lift(int, const char *); }; }
int deep::Box::lift(int n, const char *) { __asm__ volatile("" ::: "memory"); return n; }
int main() { return deep::Box().lift(0, ""); }
"""


class Level(NamedTuple):
    function: Optional[str]
    file: Optional[str]
    line: int


class Symbol(ctypes.Structure):
    _fields_ = [("function", ctypes.c_char_p), ("file", ctypes.c_char_p), ("line", ctypes.c_uint32)]


RESOLVE = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_uint32,
    ctypes.c_uint64,
    ctypes.POINTER(Symbol),
    ctypes.c_int,
)


class Symbolizer(ctypes.Structure):
    _fields_ = [("context", ctypes.c_void_p), ("resolve", RESOLVE), ("note", ctypes.c_char_p)]


class Symbols:
    def __init__(self) -> None:
        path = _library.find("libprofiler-symbols.so")
        if path is None:
            pytest.skip("libprofiler-symbols.so was not built: libdw's headers are missing")
        self.dll = ctypes.CDLL(path)
        self.dll.profiler_symbols_open.restype = ctypes.POINTER(Symbolizer)
        self.dll.profiler_symbols_close.argtypes = [ctypes.POINTER(Symbolizer)]
        self.handle = self.dll.profiler_symbols_open()

    def levels(self, path: str, address: int, build_id: bytes = b"") -> List[Level]:
        out = (Symbol * 16)()
        it = self.handle.contents
        count = it.resolve(it.context, path.encode(), build_id, len(build_id), address, out, 16)

        def text(value: Optional[bytes]) -> Optional[str]:
            return None if value is None else value.decode()

        return [Level(text(s.function), text(s.file), s.line) for s in out[:count]]


@pytest.fixture()
def symbols() -> Any:
    opened = Symbols()
    yield opened
    opened.dll.profiler_symbols_close(opened.handle)


def build(folder: Any, source: str, name: str, *flags: str) -> str:
    compiler = "c++" if name.endswith(".cc") else "cc"
    if shutil.which(compiler) is None:
        pytest.skip("no " + compiler)
    (folder / name).write_text(source)
    program = str(folder / "program")
    subprocess.run([compiler, "-O2", *flags, "-o", program, str(folder / name)], check=True)
    return program


def address_of(program: str, symbol: str) -> int:
    table = subprocess.run(["nm", program], check=True, stdout=subprocess.PIPE, text=True).stdout
    found = re.search(r"^([0-9a-f]+) \w %s$" % re.escape(symbol), table, re.M)
    assert found, table
    return int(found.group(1), 16)


def line_of(mark: str) -> int:
    return next(n for n, text in enumerate(C_SOURCE.splitlines(), 1) if "LINE " + mark in text)


@pytest.mark.parametrize("dwarf", ["-gdwarf-5", "-gdwarf-4"])
def test_inlined_levels_innermost_first(symbols: Symbols, tmp_path: Any, dwarf: str) -> None:
    program = build(tmp_path, C_SOURCE, "inlined.c", dwarf)
    levels = symbols.levels(program, address_of(program, "at_inner"))
    assert [(level.function, level.line) for level in levels] == [
        (name, line_of(name)) for name in ("inner", "middle", "outer")
    ]
    assert all(level.file and level.file.endswith("inlined.c") for level in levels)


def test_units_without_address_ranges(symbols: Symbols, tmp_path: Any) -> None:
    program = build(tmp_path, C_SOURCE, "inlined.c", "-g")
    bare = program + ".bare"
    subprocess.run(["objcopy", "--remove-section=.debug_aranges", program, bare], check=True)
    assert [level.function for level in symbols.levels(bare, address_of(program, "at_inner"))] == [
        "inner",
        "middle",
        "outer",
    ]


def test_without_debug_information_the_symbol_that_covers_it(symbols: Symbols, tmp_path: Any) -> None:
    program = build(tmp_path, C_SOURCE, "plain.c")
    assert symbols.levels(program, address_of(program, "marked")) == [Level("marked", None, 0)]


def test_nothing_known_is_no_level(symbols: Symbols, tmp_path: Any) -> None:
    program = build(tmp_path, C_SOURCE, "plain.c")
    address = address_of(program, "marked")
    subprocess.run(["strip", program], check=True)
    assert symbols.levels(program, address) == []
    assert symbols.levels(program, 1 << 40) == []
    assert symbols.levels(str(tmp_path / "missing"), address) == []
    assert symbols.levels("[vdso]", address) == []


def test_separate_debug_file(symbols: Symbols, tmp_path: Any) -> None:
    program = build(tmp_path, C_SOURCE, "inlined.c", "-g")
    address = address_of(program, "at_inner")
    subprocess.run(["objcopy", "--only-keep-debug", program, program + ".debug"], check=True)
    subprocess.run(["strip", program], check=True)
    subprocess.run(["objcopy", "--add-gnu-debuglink=%s.debug" % program, program], check=True)
    assert [level.function for level in symbols.levels(program, address)] == ["inner", "middle", "outer"]


def test_demangled(symbols: Symbols, tmp_path: Any) -> None:
    program = build(tmp_path, CXX_SOURCE, "box.cc", "-g")
    address = address_of(program, "_ZN4deep3Box4liftEiPKc")
    assert symbols.levels(program, address)[-1].function == "deep::Box::lift(int, char const*)"


def test_a_changed_file_names_nothing(symbols: Symbols, tmp_path: Any) -> None:
    program = build(tmp_path, C_SOURCE, "inlined.c", "-g", "-Wl,--build-id=0x0123456789abcdef")
    address = address_of(program, "at_inner")
    assert symbols.levels(program, address, bytes(8)) == []
    assert b"changed" in symbols.handle.contents.note


def test_the_profiled_file_by_its_build_id(symbols: Symbols, tmp_path: Any) -> None:
    program = build(tmp_path, C_SOURCE, "inlined.c", "-g", "-Wl,--build-id=0x0123456789abcdef")
    build_id = bytes.fromhex("0123456789abcdef")
    assert len(symbols.levels(program, address_of(program, "at_inner"), build_id)) == 3


def test_damaged_files_are_refused_quietly(symbols: Symbols, tmp_path: Any) -> None:
    program = build(tmp_path, C_SOURCE, "inlined.c", "-g")
    address = address_of(program, "at_inner")
    with open(program, "rb") as file:
        whole = file.read()
    for size in (0, 3, 64, 1000, len(whole) // 2, len(whole) - 500):
        cut = str(tmp_path / ("cut%d" % size))
        with open(cut, "wb") as file:
            file.write(whole[:size])
        symbols.levels(cut, address)


def test_it_exports_two_functions_and_needs_no_cxx() -> None:
    path = _library.find("libprofiler-symbols.so")
    if path is None:
        pytest.skip("libprofiler-symbols.so was not built: libdw's headers are missing")
    table = subprocess.run(
        ["nm", "-D", "--defined-only", path], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    assert sorted(line.split()[-1] for line in table.splitlines()) == [
        "profiler_symbols_close",
        "profiler_symbols_open",
    ]
    needed = subprocess.run(["ldd", path], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert "libstdc++" not in needed
    assert os.path.basename(path) == "libprofiler-symbols.so"
