# SPDX-License-Identifier: MIT
"""The ctypes binding of include/profiler.h: structures, prototypes, and where the libraries are.

The only file that knows the C layout. Standard library only: profiled programs import it.
"""

import ctypes
import os
from ctypes import (
    POINTER,
    Structure,
    c_char_p,
    c_int,
    c_int64,
    c_size_t,
    c_uint,
    c_uint32,
    c_uint64,
    c_void_p,
    sizeof,
)
from typing import Any, List, Optional, Tuple

OK, ALREADY_RUNNING, NOT_RUNNING = 0, 1, 2
CODE_NAMES = (
    "OK",
    "ALREADY_RUNNING",
    "NOT_RUNNING",
    "BAD_OPTION",
    "NO_CLOCK",
    "NO_MEMORY",
    "FILE",
    "FORMAT",
    "PYTHON_UNKNOWN",
    "SYSTEM",
    "NO_PROFILE",
)


class ProfilerError(Exception):
    """What the library refused, in its own words; `code` is the PROFILER_* number."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        name = CODE_NAMES[code] if 0 <= code < len(CODE_NAMES) else str(code)
        super().__init__(text or name)


class Options(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("rate", c_uint32),
        ("depth", c_uint32),
        ("clock", c_char_p),
        ("mode", c_char_p),
        ("output", c_char_p),
        ("threads", c_char_p),
        ("overwrite", c_uint32),
        ("zero", c_uint32),
    ]


class State(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("running", c_uint32),
        ("rate", c_uint32),
        ("depth", c_uint32),
        ("threads", c_uint32),
        ("clock", c_char_p),
        ("mode", c_char_p),
        ("output", c_char_p),
        ("elapsed", c_uint64),
        ("samples", c_uint64),
        ("weight", c_uint64),
        ("lost", c_uint64),
        ("lost_weight", c_uint64),
        ("degraded", c_uint64),
        ("unnamed", c_uint64),
        ("reruns", c_uint64),
        ("put_off", c_uint64),
        ("handler_time", c_uint64),
        ("helper_time", c_uint64),
        ("handler_calls", c_uint64),
        ("python", c_int),
    ]


class Place(Structure):
    _fields_ = [
        ("kind", c_uint32),
        ("hidden", c_uint32),
        ("function", c_uint32),
        ("file", c_uint32),
        ("module", c_uint32),
        ("line", c_uint32),
        ("first_line", c_uint32),
        ("library", c_uint32),
        ("address", c_uint64),
        ("end_line", c_uint32),
        ("column", c_uint32),
        ("end_column", c_uint32),
        ("zero", c_uint32),
    ]


class Node(Structure):
    _fields_ = [
        ("parent", c_uint32),
        ("place", c_uint32),
        ("count", c_uint64),
        ("weight", c_uint64),
        ("instructions", c_uint64),
        ("memory", c_int64),
    ]


class Sample(Structure):
    _fields_ = [
        ("time", c_uint64),
        ("weight", c_uint64),
        ("cpu", c_uint64),
        ("node", c_uint32),
        ("thread", c_uint32),
        ("flags", c_uint32),
        ("state", c_uint32),
        ("wait_call", c_uint32),
        ("wait_kind", c_uint32),
    ]


class Thread(Structure):
    _fields_ = [
        ("tid", c_uint32),
        ("name", c_uint32),
        ("count", c_uint64),
        ("weight", c_uint64),
        ("process", c_uint32),
        ("zero", c_uint32),
    ]


class Process(Structure):
    _fields_ = [
        ("pid", c_uint32),
        ("parent", c_uint32),
        ("name", c_uint32),
        ("command", c_uint32),
        ("python", c_uint32),
        ("ended", c_uint32),
        ("start", c_uint64),
        ("end", c_uint64),
        ("count", c_uint64),
        ("weight", c_uint64),
        ("lost_weight", c_uint64),
    ]


class Table(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("strings", c_void_p),
        ("places", c_void_p),
        ("nodes", c_void_p),
        ("samples", c_void_p),
        ("threads", c_void_p),
        ("string_count", c_uint64),
        ("place_count", c_uint64),
        ("node_count", c_uint64),
        ("sample_count", c_uint64),
        ("thread_count", c_uint64),
        ("total_count", c_uint64),
        ("total_weight", c_uint64),
        ("elapsed", c_uint64),
        ("flag_count", c_uint64 * 32),
        ("lost", c_uint64),
        ("lost_weight", c_uint64),
        ("unnamed", c_uint64),
        ("has_instructions", c_uint32),
        ("clean", c_uint32),
        ("processes", c_void_p),
        ("process_count", c_uint64),
    ]


_PROTOTYPES: Tuple[Tuple[str, Any, Tuple[Any, ...]], ...] = (
    ("error", c_char_p, ()),
    ("version", c_char_p, ()),
    ("start", c_int, (POINTER(Options),)),
    ("stop", c_int, ()),
    ("get_state", c_int, (POINTER(State),)),
    ("write_json", c_int, (c_char_p,)),
    ("write_summary", c_int, (c_char_p,)),
    ("write_folded", c_int, (c_char_p,)),
    ("open", c_int64, (POINTER(Options), c_int)),
    ("pause", c_int, (c_int64,)),
    ("resume", c_int, (c_int64,)),
    ("close", c_int, (c_int64,)),
    ("profile_json", c_int, (c_int64, c_char_p)),
    ("profile_summary", c_int, (c_int64, c_char_p)),
    ("profile_folded", c_int, (c_int64, c_char_p)),
    ("forget", c_int, (c_int64,)),
    ("symbolizer_elf", c_void_p, ()),
    ("recording_open", c_void_p, (c_char_p, c_void_p)),
    ("recording_open_columns", c_void_p, (c_char_p, c_void_p)),
    ("recording_merge", c_void_p, (POINTER(c_void_p), c_uint32)),
    ("recording_note", c_int, (c_void_p, c_char_p)),
    ("recording_close", None, (c_void_p,)),
    ("recording_table", c_int, (c_void_p, POINTER(Table))),
    ("flag_name", c_char_p, (c_uint,)),
    ("state_name", c_char_p, (c_uint,)),
    ("recording_field", c_int, (c_void_p, c_uint32, POINTER(c_char_p), POINTER(c_char_p))),
    ("recording_select", c_int, (c_void_p, POINTER(c_uint64), c_uint32)),
    ("recording_json", c_int, (c_void_p, c_char_p)),
    ("recording_summary", c_int, (c_void_p, c_char_p)),
    ("recording_folded", c_int, (c_void_p, c_char_p, c_int)),
)

_PACKAGE = os.path.dirname(os.path.abspath(__file__))


def find(name: str) -> Optional[str]:
    """The path of one of plait's libraries: inside the package (an installed plait), else in build/."""
    for folder in (_PACKAGE, os.path.join(os.path.dirname(_PACKAGE), "build")):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
    return None


class Library:
    """libprofiler.so with its prototypes set; attribute `x` is the function `profiler_x`."""

    def __init__(self, path: Optional[str] = None) -> None:
        self.path = path
        self._dll = _preloaded()
        if self._dll is None:
            self.path = path or find("libprofiler.so")
            if self.path is None:
                raise ProfilerError(6, "libprofiler.so is neither in the package nor in build/: type `make`")
            try:
                self._dll = ctypes.CDLL(self.path)
            except OSError as error:
                raise ProfilerError(6, "can't load the profiler's library: %s" % error) from None
        for name, result, arguments in _PROTOTYPES:
            function = getattr(self._dll, "profiler_" + name)
            function.restype = result
            function.argtypes = arguments
            setattr(self, name, function)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def fail(self, code: int) -> ProfilerError:
        text: bytes = self.error() or b""
        return ProfilerError(code, text.decode("utf-8", "replace"))

    def check(self, code: int) -> None:
        if code != OK:
            raise self.fail(code)

    def state(self) -> State:
        state = State(size=sizeof(State))
        self.check(self.get_state(ctypes.byref(state)))
        return state


def _preloaded() -> Optional[ctypes.CDLL]:
    """The library that `plait run` preloaded: profiles are then intervals of its recording."""
    program = ctypes.CDLL(None)
    return program if hasattr(program, "profiler_recording_table") else None


_loaded: List[Library] = []


def load(path: Optional[str] = None) -> Library:
    """The process's library, loaded at the first call; there is one sampler, so the first `path` counts."""
    if not _loaded:
        _loaded.append(Library(path))
    return _loaded[0]


def text(path: Any) -> bytes:
    """A path or string as the library takes it."""
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError("a path can't hold a NUL character")
    return encoded


def options(
    rate: int = 0,
    depth: int = 0,
    clock: Optional[str] = None,
    mode: Optional[str] = None,
    output: Any = None,
    threads: Optional[str] = None,
    overwrite: bool = False,
) -> Options:
    """The options of profiler_start and profiler_open; 0 and None are the library's defaults."""

    def optional(value: Any) -> Optional[bytes]:
        return None if value is None else text(value)

    return Options(
        size=sizeof(Options),
        rate=rate,
        depth=depth,
        clock=optional(clock),
        mode=optional(mode),
        output=optional(output),
        threads=optional(threads),
        overwrite=int(overwrite),
    )
