# SPDX-License-Identifier: MIT
"""`plait run`: starts the program itself, as a child, with the library preloaded, and reports at its end.

The child is what the user typed: nothing of plait is imported into it. It gets LD_PRELOAD and PLAIT_RUN; the
library's constructor takes both out of the environment before the program sees it; only a launcher, which
becomes the program that is meant, keeps them (preload.c). plait forwards signals sent to it alone and ends as
the program ended: same exit code, or killed by the same signal.
"""

import argparse
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from typing import Dict, List, Optional, Set, Tuple

from .. import _library, processes

HELP = "profile a program: plait run [OPTIONS] script.py ARGS | -m MODULE ARGS | PROGRAM ARGS"

_WITH_VALUE = {"-o", "--output", "-r", "--rate", "-d", "--depth", "--clock", "--mode", "--python"}
_FORWARDED = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "WINCH", "IO", "PWR")
_PYTHON_ENDINGS = (".py", ".pyw", ".pyc", ".pyz")
_SETTINGS_MAX = 8000  # the library reads no more
_SI_KERNEL = 0x80  # a signal of the terminal: the whole foreground group got it, the child included


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="plait run",
        usage="plait run [-o FILE] [-r RATE] [--mode MODE] [--clock CLOCK] [--depth FRAMES] [--python EXE]\n"
        "                 [--no-children] [-q] [--force] [--] script.py ARGS | -m MODULE ARGS | PROGRAM ARGS",
        description="Runs a program under the profiler and says where its time went.",
    )
    result.add_argument(
        "-o", "--output", metavar="FILE", help="the recording (PROGRAM-TIME-PID.plait); children's: FILE.d/"
    )
    result.add_argument("-r", "--rate", default="0", metavar="HZ", help="samples a second (1000; also 1khz)")
    result.add_argument(
        "--mode",
        choices=("cpu", "wall"),
        default="cpu",
        help="cpu: what threads do on a CPU; wall: that and their waits",
    )
    result.add_argument("--clock", choices=("auto", "perf", "poll", "posix"), default="auto")
    result.add_argument(
        "-d", "--depth", type=int, default=0, metavar="FRAMES", help="frames of a stack (128)"
    )
    result.add_argument("--python", metavar="EXE", help="the interpreter for scripts and modules")
    result.add_argument(
        "--no-children", action="store_true", help="record the program alone, not the processes it starts"
    )
    result.add_argument("-q", "--quiet", action="store_true", help="print nothing of plait's own")
    result.add_argument("--force", action="store_true", help="replace an existing FILE")
    return result


def main(words: List[str]) -> int:
    own, target = split(words)
    as_it_is = target[:1] == ["--"]
    target = target[1:] if as_it_is else target
    chosen = parser().parse_args(own)
    if not target:
        raise ValueError("what should run? plait run script.py ARGS | -m MODULE ARGS | PROGRAM ARGS")
    command = command_line(target, chosen.python, as_it_is)
    rate = parse_rate(chosen.rate)
    if chosen.depth and not 2 <= chosen.depth <= 4096:
        raise ValueError("--depth takes 2 to 4096 frames, not %d" % chosen.depth)
    output = output_path(chosen.output, target, chosen.force)
    settings = {"clock": chosen.clock, "mode": chosen.mode}
    settings.update({} if chosen.no_children else {"children": "1"})
    settings.update({"rate": str(rate)} if rate else {})
    settings.update({"depth": str(chosen.depth)} if chosen.depth else {})
    status, missing = record(command, output, settings)
    if missing:
        print("plait: %s" % missing, file=sys.stderr)
    elif not chosen.quiet:
        show(output)
    return leave(status)


def split(words: List[str]) -> Tuple[List[str], List[str]]:
    """plait's own options; then the program with its arguments, after "--" if that was typed."""
    index = 0
    while index < len(words):
        word = words[index]
        if word == "--":
            return words[:index], words[index:]
        if word == "-m" or not word.startswith("-") or word == "-":
            return words[:index], words[index:]
        index += 2 if word in _WITH_VALUE else 1
    return words, []


def command_line(target: List[str], python: Optional[str], as_it_is: bool) -> List[str]:
    """What to execute; its first word is a path. What can't run is an error before anything starts."""
    name = target[0]
    if name == "-m":
        if len(target) < 2:
            raise ValueError("-m needs the name of a module")
        return [interpreter(python)] + target
    executable = os.path.isfile(name) and os.access(name, os.X_OK)
    script = name.endswith(_PYTHON_ENDINGS) or os.path.isdir(name) or os.path.isfile(name) and not executable
    if script and not (as_it_is and executable):
        if not os.path.exists(name):
            raise ValueError("no such script: %s" % name)
        if not os.access(name, os.R_OK):
            raise ValueError("can't read the script %s" % name)
        return [interpreter(python)] + target
    path = shutil.which(name)
    if path is None:
        raise ValueError("no such program or script: %s" % name)
    return [path] + target[1:]


def interpreter(python: Optional[str]) -> str:
    if python is None:
        return sys.executable
    path = shutil.which(python)
    if path is None:
        raise ValueError("no such interpreter: %s" % python)
    return path


def parse_rate(word: str) -> int:
    """Hz: 1000, 1khz, 1k."""
    number, factor = word.lower(), 1
    for ending, value in (("khz", 1000), ("hz", 1), ("k", 1000)):
        if number.endswith(ending):
            number, factor = number[: -len(ending)], value
            break
    try:
        rate = int(float(number) * factor)
    except (ValueError, OverflowError):
        raise ValueError("--rate takes samples a second, like 1000 or 1khz, not %r" % word) from None
    if word != "0" and not 1 <= rate <= 20000:
        raise ValueError("--rate takes 1 to 20000 samples a second, not %s" % word)
    return rate


def output_path(asked: Optional[str], target: List[str], force: bool) -> str:
    """The recording's absolute path, found writable by creating and removing it."""
    if asked is None:
        program = target[1] if target[0] == "-m" else os.path.basename(os.path.abspath(target[0]))
        stem = os.path.splitext(program)[0] if program.endswith(_PYTHON_ENDINGS) else program
        asked = "%s-%s-%d.plait" % (stem, time.strftime("%Y%m%d-%H%M%S"), os.getpid())
    path = os.path.abspath(asked)
    if "\n" in path:
        raise ValueError("the path of a recording can't hold a line break")
    if os.path.isdir(path):
        raise ValueError("%s is a folder; -o takes a file" % asked)
    if force and os.path.lexists(path):
        os.unlink(path)
    if force:
        processes.remove(path)
    elif os.path.lexists(processes.folder_of(path)):
        raise ValueError("%s exists already: choose another -o, or add --force" % processes.folder_of(asked))
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    except FileExistsError:
        raise ValueError("%s exists already: choose another -o, or add --force" % asked) from None
    except OSError as error:
        raise ValueError("can't write the recording %s: %s" % (asked, error.strerror)) from None
    os.unlink(path)
    return path


class Workshop:
    """What lives as long as a run: the preloaded library's path, and the file for the library's complaint."""

    def __init__(self) -> None:
        path = _library.find("libprofiler.so")
        if path is None:
            raise ValueError("libprofiler.so is neither in the package nor in build/: type `make`")
        self._folder = tempfile.mkdtemp(prefix="plait-")
        self.errors = os.path.join(self._folder, "errors")
        self.library = path
        if any(character in path for character in " :\t$"):  # LD_PRELOAD would split or expand it
            self.library = os.path.join(self._folder, "libprofiler.so")
            os.symlink(path, self.library)

    def complaint(self) -> str:
        try:
            with open(self.errors, encoding="utf-8", errors="replace") as file:
                return file.read().strip()
        except OSError:
            return ""

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def record(command: List[str], output: str, settings: Dict[str, str]) -> Tuple[int, str]:
    """Runs a command into a new recording: waitpid's status, and what went wrong or ''."""
    workshop = Workshop()
    try:
        given = {"output": output, "mode": "cpu", "overwrite": "1", "errors": workshop.errors}
        given.update(settings)
        given["pid"] = ""  # the child fills in its own
        status = execute(command, environment(workshop.library, given))
        if processes.recordings(output):
            return status, ""
        return status, workshop.complaint() or (
            "the program left no recording (a static or set-user-id program, or it never began)"
        )
    finally:
        workshop.close()


def environment(library: str, settings: Dict[str, str]) -> Dict[str, str]:
    """The program's environment, with the two variables that the library takes out of it again."""
    result = dict(os.environ)
    before = result.get("LD_PRELOAD")
    if any("\n" in value for value in settings.values()):
        raise ValueError("LD_PRELOAD or the recording's path holds a line break")
    result["LD_PRELOAD"] = library if before is None else library + ":" + before
    result["PLAIT_RUN"] = "\n".join("%s=%s" % pair for pair in settings.items())
    if len(os.fsencode(result["PLAIT_RUN"])) > _SETTINGS_MAX:
        raise ValueError("LD_PRELOAD or the recording's path is too long")
    return result


def execute(command: List[str], variables: Dict[str, str]) -> int:
    """Runs the command to its end, forwarding signals; returns the status of waitpid."""
    forwarded = {getattr(signal, "SIG" + name) for name in _FORWARDED}
    child_disposition = signal.getsignal(signal.SIGCHLD)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Blocked, not handled: what arrives between fork and wait stays pending.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, forwarded | {signal.SIGCHLD})
    try:
        child = start(command, variables, mask, child_disposition)
        return wait(child, forwarded)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def start(command: List[str], variables: Dict[str, str], mask: Set[int], disposition: object) -> int:
    """Forks and executes; a failing execve is an OSError here."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for name in ("SIGPIPE", "SIGXFSZ"):  # the interpreter that runs plait ignores them
                signal.signal(getattr(signal, name), signal.SIG_DFL)
            if disposition == signal.SIG_IGN:
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            variables["PLAIT_RUN"] = variables["PLAIT_RUN"].replace("\npid=", "\npid=%d" % os.getpid())
            os.execve(command[0], command, variables)
        except OSError as error:
            os.write(writer, b"%d" % (error.errno or 0))
        finally:
            os._exit(127)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    if answer:
        os.waitpid(child, 0)
        raise ValueError("can't run %s: %s" % (command[0], os.strerror(int(answer))))
    return child


def wait(child: int, forwarded: Set[signal.Signals]) -> int:
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found == child:
            return status
        information = signal.sigwaitinfo(forwarded | {signal.SIGCHLD})
        if information.si_signo != signal.SIGCHLD and information.si_code != _SI_KERNEL:
            os.kill(child, information.si_signo)


def show(output: str) -> None:
    """The report on stderr; a failure of it never changes how the run ended."""
    from ..outputs import console

    try:
        console.write_short(output, sys.stderr)
    except (_library.ProfilerError, OSError, ValueError) as error:
        print("plait: %s" % error, file=sys.stderr)


def leave(status: int) -> int:
    """The exit code, or the same death."""
    if os.WIFSIGNALED(status):
        die_by(os.WTERMSIG(status))
    return exit_code(status)


def exit_code(status: int) -> int:
    """What a shell shows for waitpid's status."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def die_by(number: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.flush()
    sys.stderr.flush()
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
