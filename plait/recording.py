# SPDX-License-Identifier: MIT
"""A recording (.plait file) as columns over the C reader's memory: nothing is copied sample by sample.

`Recording(path)` gives tables (`places`, `nodes`, `samples`, `threads`); `column("samples", "time")` is a
memoryview with a stride, which numpy takes as it is. Columns keep their recording open; after close() none
may be used.
"""

import ctypes
import os
from types import TracebackType
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple, Type

from . import _library, processes

PYTHON, NATIVE, MARKER = 1, 0, 2
_TABLES: Dict[str, Tuple[Any, str]] = {
    "places": (_library.Place, "place_count"),
    "nodes": (_library.Node, "node_count"),
    "samples": (_library.Sample, "sample_count"),
    "threads": (_library.Thread, "thread_count"),
    "processes": (_library.Process, "process_count"),
}
_FORMATS: Dict[Any, Any] = {ctypes.c_uint32: "I", ctypes.c_uint64: "Q", ctypes.c_int64: "q"}

_symbols: List[Tuple[Any, str]] = []


def symbolizer(library: _library.Library) -> Tuple[Any, str]:
    """The best symbolizer here and a remark about it: libdw's where it was built, else symbol tables."""
    if not _symbols:
        _symbols.append(_open_symbolizer(library))
    return _symbols[0]


def _open_symbolizer(library: _library.Library) -> Tuple[Any, str]:
    path = _library.find("libprofiler-symbols.so")
    reason = "plait was built without libdw"
    if path is not None:
        try:
            dll = ctypes.CDLL(path)
            dll.profiler_symbols_open.restype = ctypes.c_void_p
            handle = dll.profiler_symbols_open()
            if handle:
                return handle, ""
            reason = "no memory for libdw"
        except OSError as error:
            reason = str(error)
    return library.symbolizer_elf(), reason  # that symbol tables alone have no lines is a note of its own


def _text(value: Optional[bytes]) -> str:
    return (value or b"").decode("utf-8", "replace")


class Recording:
    """An opened .plait file. One thread at a time. `columns`: Python's places in one line are told apart.

    `children`: with the recordings of the processes that it started, as one (processes.py says which files
    those are; `path` may be their folder); `pid`: of these only the programs that ran in that process.
    """

    def __init__(
        self, path: Any, names: bool = True, columns: bool = False, children: bool = False, pid: int = 0
    ) -> None:
        self._library = _library.load()
        self._handle: Optional[int] = None
        self.path = path
        self.symbols_note = ""
        self._resolver: Any = None
        self._open = self._library.recording_open_columns if columns else self._library.recording_open
        if names:
            self._resolver, self.symbols_note = symbolizer(self._library)
        self._handle = self._open_tree(path, pid) if children else self._open_file(path)
        self._strings: Any = None
        self.table = _library.Table()
        self._read_table()

    def _open_file(self, path: Any) -> int:
        handle = self._open(_library.text(path), self._resolver)
        if not handle:
            raise self._library.fail(7)
        return int(handle)

    def _open_tree(self, path: Any, pid: int) -> int:
        files = processes.recordings(path)
        if not files or (len(files) == 1 and not pid and not processes.has_folder(path)):
            return self._open_file(files[0] if files else path)
        files = [file for file in files if not pid or self._pid(file) == pid]
        parts: List[int] = []
        notes = [] if pid else processes.unsampled(path)
        unread: List[str] = []
        try:
            for file in files:
                try:
                    parts.append(self._open_file(file))
                except _library.ProfilerError as error:
                    unread.append(str(error))
            if not parts:
                what = "process %d" % pid if pid else "recording that can be read"
                raise ValueError(": ".join(["there is no %s in %s" % (what, path), *unread[:1]]))
            whole = self._library.recording_merge((ctypes.c_void_p * len(parts))(*parts), len(parts))
        finally:
            for part in parts:
                self._library.recording_close(part)
        if not whole:
            raise self._library.fail(5)
        if unread:
            notes.append("%d recordings can't be read; %s" % (len(unread), unread[0]))
        for note in notes:
            self._library.check(self._library.recording_note(whole, _library.text(note)))
        return int(whole)

    def _pid(self, path: str) -> int:
        """The process of a recording, read without names; 0 where it can't be read."""
        handle = self._library.recording_open(_library.text(path), None)
        if not handle:
            return 0
        try:
            table = _library.Table(size=ctypes.sizeof(_library.Table))
            self._library.check(self._library.recording_table(handle, ctypes.byref(table)))
            return int(_library.Process.from_address(table.processes).pid)
        finally:
            self._library.recording_close(handle)

    def __enter__(self) -> "Recording":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        handle, self._handle = getattr(self, "_handle", None), None
        if handle:
            self._library.recording_close(handle)

    def _opened(self) -> int:
        if not self._handle:
            raise ValueError("the recording is closed")
        return self._handle

    def _read_table(self) -> None:
        self.table = _library.Table(size=ctypes.sizeof(_library.Table))
        self._library.check(self._library.recording_table(self._opened(), ctypes.byref(self.table)))
        pointers = ctypes.c_char_p * self.table.string_count
        self._strings = pointers.from_address(self.table.strings) if self.table.strings else ()
        self._decoded: Dict[int, str] = {}

    def string(self, number: int) -> str:
        known = self._decoded.get(number)
        if known is None:
            self._opened()
            known = _text(self._strings[number])
            self._decoded[number] = known
        return known

    def is_unnamed(self, function: int, module: int) -> bool:
        """Whether a native place has no name but its address in its library."""
        name = self.string(function)
        return not name or name.startswith(os.path.basename(self.string(module)) + "+0x")

    def rows(self, table: str) -> Any:
        """A table as a ctypes array of structures, in the reader's memory."""
        structure, counter = _TABLES[table]
        self._opened()
        count, address = getattr(self.table, counter), getattr(self.table, table)
        if not count:
            return (structure * 0)()
        array = (structure * count).from_address(address)
        array.recording = self
        return array

    def column(self, table: str, name: str) -> memoryview:
        """One field of every row, in place."""
        structure = _TABLES[table][0]
        array = self.rows(table)
        kind = dict(field[:2] for field in structure._fields_)[name]
        item = ctypes.sizeof(kind)
        cells = memoryview(array).cast("B").cast(_FORMATS[kind]) if len(array) else memoryview(b"")
        return cells[getattr(structure, name).offset // item :: ctypes.sizeof(structure) // item]

    def fields(self) -> Iterator[Tuple[str, str]]:
        """Header fields, counters and notes, in the file's order."""
        key, value = ctypes.c_char_p(), ctypes.c_char_p()
        index = 0
        while self._library.recording_field(self._opened(), index, ctypes.byref(key), ctypes.byref(value)):
            yield _text(key.value), _text(value.value)
            index += 1

    def notes(self) -> List[str]:
        """What a user should know of this recording, one line each."""
        found = [value for key, value in self.fields() if key == "note"]
        return found + [self.symbols_note] if self.symbols_note else found

    def flags(self) -> Dict[str, int]:
        """How many samples carry each flag, by name."""
        return {
            name: int(self.table.flag_count[bit])
            for bit, name in self.flag_names().items()
            if self.table.flag_count[bit]
        }

    def flag_names(self) -> Dict[int, str]:
        """The samples' flags: bit and name."""
        names = ((bit, self._library.flag_name(bit)) for bit in range(32))
        return {bit: name.decode() for bit, name in names if name}

    def state_names(self) -> Dict[int, str]:
        """What a thread did, in wall mode: bit and name."""
        names = ((bit, self._library.state_name(bit)) for bit in range(32))
        return {bit: name.decode() for bit, name in names if name}

    def select(self, intervals: Iterable[Tuple[int, int, int]]) -> None:
        """Keeps only samples inside [from, to) of a thread (0 = all); nothing = everything."""
        triples = [number for interval in intervals for number in interval]
        array = (ctypes.c_uint64 * len(triples))(*triples)
        self._library.check(self._library.recording_select(self._opened(), array, len(triples) // 3))
        self._read_table()

    def write_json(self, path: Any) -> None:
        self._library.check(self._library.recording_json(self._opened(), _library.text(path)))

    def write_summary(self, path: Any) -> None:
        self._library.check(self._library.recording_summary(self._opened(), _library.text(path)))

    def write_folded(self, path: Any, hidden: bool = False) -> None:
        self._library.check(self._library.recording_folded(self._opened(), _library.text(path), int(hidden)))
