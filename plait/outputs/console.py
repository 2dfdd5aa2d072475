# SPDX-License-Identifier: MIT
"""The console report: a verdict on the recording, the hottest lines, the hottest paths.

With rich it is coloured and fitted to the terminal; without it the same lines are plain text.
"""

import io
import os
import shlex
import sys
from collections import Counter
from typing import Any, Dict, List, Optional, Sequence, TextIO, Tuple

from ..recording import MARKER, NATIVE, Recording
from ..tree import Hot, Path, Tree
from ..waits import NOBODY, is_wall, waits

_DEGRADED = ("native_cut", "in_transit", "python_only", "python_torn", "walk_limit")
_SHORT_LINES = 8
_PATHS = 5
_PATH_FRAMES = 8
_COMMAND = 90
Row = Tuple[str, str, str, str]


def write(recording: Recording, path: Optional[str], options: Any) -> None:
    if path is not None:
        with open(path, "w", encoding="utf-8") as stream:
            _report(recording, stream, options.hidden, options.limit, _PATHS)
        return
    _report(recording, sys.stdout, options.hidden, options.limit, _PATHS)


def write_short(path: str, stream: TextIO) -> None:
    """What `plait run` says at the end: the hottest lines and what to type next."""
    with Recording(path, children=True) as recording:
        _report(recording, stream, False, _SHORT_LINES, 0)
    shown = shlex.quote(os.path.relpath(path))
    lines = (
        ("plait report %s" % shown, "the hottest paths too"),
        ("plait report %s -o stacks.folded" % shown, "for flamegraph.pl or speedscope"),
        ("plait report %s -o profile.json" % shown, "for programs"),
    )
    width = max(len(command) for command, _ in lines)
    _print(stream, ["", "Type next:"] + ["  %s  %s" % (command.ljust(width), why) for command, why in lines])


def _report(recording: Recording, stream: TextIO, hidden: bool, limit: int, paths: int) -> None:
    tree = Tree(recording, hidden)
    lines = verdict(recording, tree)
    _print(stream, [""] + lines)
    if recording.table.process_count > 1:
        _print(stream, process_lines(recording, limit))
    if tree.count and sum(tree.count):
        _table(stream, "Lines of Python, with the native code they call", line_rows(recording, tree, limit))
        _table(stream, "Functions, by themselves", function_rows(recording, tree, limit))
        if is_wall(recording):
            _print(stream, wait_lines(recording, limit))
        if paths:
            _print(stream, path_lines(recording, tree, paths))


def verdict(recording: Recording, tree: Tree) -> List[str]:
    """How much was measured and how well, then the recording's own remarks."""
    table = recording.table
    fields = dict(recording.fields())
    elapsed, weight = table.elapsed / 1e9, table.total_weight / 1e9
    if not table.total_count:
        return [
            "plait: no samples in %.3f s: the program used almost no CPU time" % elapsed
        ] + recording.notes()
    rate = table.total_count / weight if weight else 0.0
    asked = fields.get("rate", "")
    words = [
        "plait: %s samples over %.2f s of %s in %.2f s"
        % (_grouped(table.total_count), weight, "all threads" if is_wall(recording) else "CPU", elapsed),
        "%.0f Hz%s" % (rate, " of %s" % asked if asked else ""),
        "clock %s" % fields.get("clock", "unknown"),
        *(["%d processes" % table.process_count] if table.process_count > 1 else []),
        "%d threads" % table.thread_count if table.thread_count != 1 else "1 thread",
        "%s lost" % _share(table.lost, table.lost + table.total_count),
        "%s degraded" % _share(flagged(recording, _DEGRADED), table.total_count),
    ]
    jit = flagged(recording, ("jit",))
    unnamed = (
        []
        if not table.unnamed
        else ["%s samples in Python functions without a name" % _grouped(table.unnamed)]
    )
    approximate = []
    if jit:
        approximate = ["%s samples with approximate lines (JIT)" % _share(jit, table.total_count)]
    return [", ".join(words)] + unnamed + approximate + recording.notes()


def flagged(recording: Recording, wanted: Sequence[str]) -> int:
    """Samples of which one of these flags is true."""
    bits = 0
    names = _flag_bits(recording)
    for name in wanted:
        bits |= names.get(name, 0)
    if not any(recording.table.flag_count):
        return 0
    found = Counter(recording.column("samples", "flags"))
    return sum(count for flags, count in found.items() if flags & bits)


def _flag_bits(recording: Recording) -> Dict[str, int]:
    return {name: 1 << bit for bit, name in recording.flag_names().items()}


def process_lines(recording: Recording, limit: int) -> List[str]:
    """The processes with most CPU time; one that executed another program has a line for each."""
    rows = sorted(recording.rows("processes"), key=lambda row: -row.weight)
    whole = sum(row.weight for row in rows) or 1
    lines = ["", "Processes:", "   self    CPU s  %9s  command" % "pid"]
    for row in rows[:limit]:
        command = printable(_command(recording, row))
        share = 100 * row.weight / whole
        lines.append("%6.1f%% %8.2f  %9d  %s" % (share, row.weight / 1e9, row.pid, command))
    if len(rows) > limit:
        lines.append("        ... %d more" % (len(rows) - limit))
    return lines


def _command(recording: Recording, row: Any) -> str:
    """The program's name with its arguments, cut to a line."""
    _, _, arguments = recording.string(row.command).partition(" ")
    words = ("%s %s" % (recording.string(row.name), arguments)).strip()
    return words if len(words) <= _COMMAND else words[: _COMMAND - 3] + "..."


def wait_lines(recording: Recording, limit: int) -> List[str]:
    """What the threads waited for: share of all their time, kind, system call and line."""
    whole = recording.table.total_weight or 1
    rows = waits(recording)
    if not rows:
        return []
    places = recording.rows("places")
    shares = ["%.1f%%" % (100 * row.weight / whole) for row in rows[:limit]]
    lines = ["", "Waiting (%.1f%% of all threads' time):" % (100 * sum(row.weight for row in rows) / whole)]
    for row, share in zip(rows, shares):
        function, where = describe(recording, places[row.place]) if row.place != NOBODY else ("", "")
        lines.append("%7s  %-13s  %-15s  %s  %s" % (share, row.kind or "?", row.call or "?", function, where))
    if len(rows) > limit:
        lines.append("         ... %d more" % (len(rows) - limit))
    return lines


def line_rows(recording: Recording, tree: Tree, limit: int) -> List[Row]:
    """The hottest lines of Python."""
    hot = tree.hottest(tree.python_lines(recording))
    return _rows(recording, tree, hot[:limit], [item.owner for item in hot])


def function_rows(recording: Recording, tree: Tree, limit: int) -> List[Row]:
    """The hottest functions of both kinds; each with the line of it that weighs most."""
    hot = tree.hottest(tree.functions(recording))
    rows = _rows(recording, tree, hot[:limit], [item.place for item in hot])
    places = recording.rows("places")
    for number, item in enumerate(hot[: len(rows)]):
        place = places[item.place]
        if place.kind == NATIVE and recording.is_unnamed(place.function, place.module):
            own, total, _, module = rows[number]
            rows[number] = (own, total, "(no symbols)", module)
    return rows


def _rows(recording: Recording, tree: Tree, hot: List[Hot], shown: List[int]) -> List[Row]:
    whole = sum(tree.weight) or 1
    places = recording.rows("places")
    rows = []
    for item, place in zip(hot, shown):
        if item.weight:
            own, total = 100 * item.weight / whole, 100 * item.total / whole
            rows.append(("%.1f%%" % own, "%.1f%%" % total, *describe(recording, places[place])))
    return rows


def describe(recording: Recording, place: Any) -> Tuple[str, str]:
    """A place as its function and where that is."""
    name = recording.string(place.function)
    file, module = recording.string(place.file), recording.string(place.module)
    if place.kind == MARKER:
        return name, ""
    if place.kind == NATIVE and not name:
        name = "%s+0x%x" % (os.path.basename(module) or "?", place.address)
    if file:
        line = "".join(":%d" % number for number in (place.line, place.column) if number)
        return printable(name), printable(_short(file) + line)
    return printable(name), printable(os.path.basename(module))


def path_lines(recording: Recording, tree: Tree, limit: int) -> List[str]:
    whole = sum(tree.weight) or 1
    places = recording.rows("places")
    lines = ["", "Hottest paths (leaf first):"]
    for rank, path in enumerate(tree.paths(limit), 1):
        lines.append(
            "%3d. [%.1f%%] %s samples%s"
            % (rank, 100 * path.weight / whole, _grouped(path.samples), _extras(recording, path))
        )
        for place in path.places[:_PATH_FRAMES]:
            lines.append("       -> %s  %s" % describe(recording, places[place]))
        if len(path.places) > _PATH_FRAMES:
            lines.append("       -> ... %d more" % (len(path.places) - _PATH_FRAMES))
    return lines


def _extras(recording: Recording, path: Path) -> str:
    words = ""
    if recording.table.has_instructions:
        words += " | %s instr" % _grouped(path.instructions)
    if path.memory:
        words += " | %+.1f KB" % (path.memory / 1024)
    return words


def printable(text: str) -> str:
    """Names come from the profiled program: no control character of theirs reaches the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _short(file: str) -> str:
    """The path relative to the current folder where it lies in it, else the last three parts."""
    relative = os.path.relpath(file) if file.startswith(os.getcwd() + os.sep) else file
    parts = relative.split(os.sep)
    return relative if len(parts) <= 4 else os.sep.join(["..."] + parts[-3:])


def _grouped(number: int) -> str:
    return "{:,}".format(number)


def _share(part: int, whole: int) -> str:
    if not part:
        return "0"
    return "%s (%.2f%%)" % (_grouped(part), 100 * part / whole)


def _table(stream: TextIO, title: str, rows: List[Row]) -> None:
    if not rows:
        return
    header: Row = ("self", "total", "function", "where")
    width = min(60, max(len(row[2]) for row in [*rows, header]))
    plain = ["%7s %7s  %s  %s" % (a, b, name.ljust(width), where) for a, b, name, where in [header, *rows]]
    if not _rich_table(stream, title, header, rows):
        _print(stream, ["", title + ":", *plain])


def _rich_table(stream: TextIO, title: str, header: Row, rows: List[Row]) -> bool:
    """Draws with rich on a terminal; False where there is no rich or no terminal."""
    if not stream.isatty():
        return False
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for name, justify in zip(header, ("right", "right", "left", "left")):
        table.add_column(name, justify=justify, style="bold cyan" if name == "function" else "")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(file=stream)
    console.print()
    console.print(Text(title, style="bold"))
    console.print(table)
    return True


def _print(stream: TextIO, lines: List[str]) -> None:
    """Lines in the stream's own encoding; what it can't show is escaped."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = "".join(line + "\n" for line in lines)
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    if not isinstance(stream, io.StringIO):
        stream.flush()
