# SPDX-License-Identifier: MIT
"""The documented decorator, context manager and commands. Thin over `plait` and profiler_binding.

    python profiler_cli.py run SCRIPT [ARGS]            profile a script, write the three files
    python profiler_cli.py analyze FILE.json            print a profile
    python profiler_cli.py flamegraph FILE.json OUT.txt folded stacks for flamegraph.pl
    python profiler_cli.py interactive                  the same, asked for line by line

Standard library only: profiled programs import it.
"""

import os
import re
import shlex
import sys
import tempfile
import time
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Type, TypeVar, overload

import profiler_binding
from plait import ProfilerError
from plait.profiler import Profile, wrap

OUTPUT_DIR = "profiler_output"
Function = TypeVar("Function", bound=Callable[..., Any])


class Files(NamedTuple):
    """What one profile was written to."""

    json: str
    summary: str
    flamegraph: str


def claim(name: str, output_dir: Any = OUTPUT_DIR) -> Files:
    """Three file names that nobody has: profile_TIMESTAMP_NAME, with _2, _3 ... within one second.

    The JSON file is created here (O_EXCL), so that no other thread or process gets the same name.
    """
    folder = os.fspath(output_dir)
    os.makedirs(folder, exist_ok=True)
    safe = re.sub(r"[^\w.-]+", "_", name).strip("._") or "profile"
    stem = os.path.join(folder, "profile_%s_%s" % (time.strftime("%Y%m%d_%H%M%S"), safe[:100]))
    number = 1
    while True:
        base = stem if number == 1 else "%s_%d" % (stem, number)
        files = Files(base + ".json", base + ".txt", base + "_flamegraph.txt")
        number += 1
        if os.path.lexists(files.summary) or os.path.lexists(files.flamegraph):
            continue
        try:
            os.close(os.open(files.json, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        except FileExistsError:
            continue
        return files


class Session:
    """One profile with a name; close() ends it and writes its files. Saving never breaks the program: what
    goes wrong is one line on stderr."""

    def __init__(self, name: str, output_dir: Any = OUTPUT_DIR) -> None:
        self.name = name
        self.files: Optional[Files] = None
        self._output_dir = output_dir
        self._profile = Profile()
        self._opened = False
        self._refused = False

    def resume(self) -> None:
        if self._refused:
            return
        try:
            self._profile.resume()
            self._opened = True
        except ProfilerError as error:
            self._refused = True
            self._complain(error)

    def pause(self) -> None:
        if self._opened:
            self._quietly(self._profile.pause)

    def close(self) -> None:
        if not self._opened:
            return
        self._opened = False
        self._quietly(self._profile.close)
        self._quietly(self._save)
        self._profile.forget()

    def _save(self) -> None:
        files = claim(self.name, self._output_dir)
        self._profile.write_json(files.json)
        self._profile.write_summary(files.summary)
        self._profile.write_folded(files.flamegraph)
        self.files = files

    def _quietly(self, action: Callable[[], None]) -> None:
        try:
            action()
        except (ProfilerError, OSError, ValueError) as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        print("profiler: %s: %s" % (self.name, error), file=sys.stderr)


@overload
def profile_function(function: Function) -> Function: ...


@overload
def profile_function(*, output_dir: Any = OUTPUT_DIR) -> Callable[[Function], Function]: ...


def profile_function(function: Any = None, *, output_dir: Any = OUTPUT_DIR) -> Any:
    """Profiles each call of a function, coroutine, generator or async generator, and writes its files."""

    def decorate(target: Function) -> Function:
        name = getattr(target, "__name__", type(target).__name__)
        return wrap(target, lambda: Session(name, output_dir))

    return decorate if function is None else decorate(function)


class profiler_context:  # noqa: N801 - the documented name
    """`with profiler_context(name):` profiles its body and writes its files; nests and overlaps."""

    def __init__(self, name: str = "context", output_dir: Any = OUTPUT_DIR) -> None:
        self._session = Session(name, output_dir)

    @property
    def files(self) -> Optional[Files]:
        """The files written, after the end."""
        return self._session.files

    def __enter__(self) -> "profiler_context":
        self._session.resume()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._session.pause()
        self._session.close()


# ---- commands ----


@contextmanager
def _scratch() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="plait-") as folder:
        yield os.path.join(folder, "run.plait")


def command_run(words: List[str]) -> int:
    """A script that died by a signal takes this process with it: as a shell sees it without the profiler."""
    from plait.cli import run

    return run.leave(_record_script(words))


def _record_script(words: List[str]) -> int:
    """The script runs by itself, as `plait run` does it; the files appear when it ends. waitpid's status."""
    from plait.cli import run
    from plait.recording import Recording

    if not words:
        raise ValueError("run needs a script: profiler_cli.py run SCRIPT [ARGS]")
    if not os.path.isfile(words[0]):
        raise ValueError("no such script: %s" % words[0])
    with _scratch() as recorded:
        status, missing = run.record([sys.executable] + words, recorded, {})
        if missing:
            print("profiler: %s" % missing, file=sys.stderr)
            return status
        files = claim(os.path.splitext(os.path.basename(words[0]))[0])
        with Recording(recorded) as recording:
            recording.write_json(files.json)
            recording.write_summary(files.summary)
            recording.write_folded(files.flamegraph)
    for path in files:
        print("wrote %s" % path, file=sys.stderr)
    return status


def command_analyze(words: List[str]) -> int:
    if len(words) != 1:
        raise ValueError("analyze needs one profile: profiler_cli.py analyze FILE.json")
    report = profiler_binding.ProfileReport(words[0])
    report.print_summary()
    print()
    report.print_hot_paths()
    print()
    report.print_memory_stats()
    print()
    report.print_instruction_stats()
    return 0


def command_flamegraph(words: List[str]) -> int:
    if len(words) != 2:
        raise ValueError("flamegraph needs two files: profiler_cli.py flamegraph FILE.json OUT.txt")
    profiler_binding.FlameGraphConverter.convert(words[0], words[1])
    print("wrote %s" % words[1])
    return 0


def command_interactive(words: List[str]) -> int:
    """Reads commands until `quit` or the end of the input."""
    names = ", ".join(name for name in COMMANDS if name != "interactive")
    print("Commands: %s, quit" % names)
    while True:
        try:
            typed = shlex.split(input("profiler> "))
        except EOFError:
            print()
            return 0
        except ValueError as error:
            print("profiler: %s" % error)
            continue
        if not typed:
            continue
        if typed[0] in ("quit", "exit", "q"):
            return 0
        if typed[0] not in COMMANDS or typed[0] == "interactive":
            print("no such command: %s (there are %s, quit)" % (typed[0], names))
            continue
        try:
            if typed[0] == "run":
                _record_script(typed[1:])
            else:
                COMMANDS[typed[0]](typed[1:])
        except (ProfilerError, OSError, ValueError) as error:
            print("profiler: %s" % error)


COMMANDS: Dict[str, Callable[[List[str]], int]] = {
    "run": command_run,
    "analyze": command_analyze,
    "flamegraph": command_flamegraph,
    "interactive": command_interactive,
}


def main(words: Optional[List[str]] = None) -> int:
    words = sys.argv[1:] if words is None else words
    if not words or words[0] not in COMMANDS:
        print((__doc__ or "").strip(), file=sys.stderr)
        return 0 if words and words[0] in ("-h", "--help") else 2
    try:
        return COMMANDS[words[0]](words[1:])
    except (ProfilerError, OSError, ValueError) as error:
        print("profiler: %s" % error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
