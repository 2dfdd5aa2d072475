# SPDX-License-Identifier: MIT
"""What the end-to-end tests and benchmarks share: the interpreters found, running a program under the
preloaded library, building helper programs, and reading a recording back as plain samples."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("PLAIT_BUILD") or ROOT / "build")
LIBRARY = BUILD / "libprofiler.so"
PROGRAMS = ROOT / "tests" / "programs"
HELPERS = Path(os.environ.get("PLAIT_HELPERS") or BUILD / "programs")
CLOCKS = ("poll", "perf", "posix")
NOBODY = 65534

sys.path.insert(0, str(ROOT))

Frame = namedtuple(
    "Frame", "kind function file module line first_line hidden end_line column end_column", defaults=(0, 0, 0)
)
Sample = namedtuple(
    "Sample", "time weight thread flags frames cpu states wait", defaults=(0, frozenset(), ("", ""))
)
Result = namedtuple("Result", "status stdout stderr")


# ---- interpreters ----


def _about(path):
    """(version, folder of its installation, what is special in its build), or None: not an interpreter of a
    release. A virtual environment has the folder of the interpreter that it was made from."""
    code = "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.base_exec_prefix, sep='\\n'); "
    code += "print(*['debug'] * hasattr(sys, 'gettotalrefcount'), *['free-threaded'] * ('t' in sys.abiflags))"
    try:
        run = subprocess.run(
            [path, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60
        )
    except OSError:
        return None
    lines = run.stdout.decode().splitlines()
    return (lines[0], lines[1], lines[2]) if run.returncode == 0 and len(lines) == 3 else None


def _served():
    """The lowest and highest minor version that the library serves."""
    text = (ROOT / "src" / "python" / "offsets.h").read_text()
    return tuple(int(re.search(r"PY_MINOR_%s = (\d+)" % end, text).group(1)) for end in ("LOW", "HIGH"))


def _system():
    """This system's name and version: Debian 12, Debian sid."""
    try:
        pairs = [line.strip().split("=", 1) for line in open("/etc/os-release") if "=" in line]
    except OSError:
        return "Linux"
    about = {key: value.strip('"') for key, value in pairs}
    version = "sid" if "/sid" in about.get("PRETTY_NAME", "") else about.get("VERSION_ID", "")
    return f"{about.get('NAME', 'Linux').split()[0]} {version}".strip()


def _find_pythons():
    """{name: path}: PLAIT_PYTHONS (paths joined by ':') if set, else pyenv's, /usr/bin/python3 and the one that
    runs this. Also {name: whose build it is}, and the names of those found that the library does not serve."""
    named = os.environ.get("PLAIT_PYTHONS")
    pyenv = os.environ.get("PYENV_ROOT") or str(Path.home() / ".pyenv")
    if named:
        paths = named.split(":")
    else:
        paths = [str(path) for path in sorted(Path(pyenv).glob("versions/3.*/bin/python3"))]
        paths += ["/usr/bin/python3", os.path.realpath(sys.executable)]
    found, builds, unserved, seen = {}, {}, [], set()
    low, high = _served()
    for path in paths:
        about = _about(path) if os.access(path, os.X_OK) else None
        if about is None or about in seen:
            continue
        seen.add(about)
        version, folder, special = about
        name = version if version not in builds else f"{version}-{len(builds)}"
        whose = "pyenv" if folder.startswith(pyenv) else _system() if folder == "/usr" else folder
        builds[name] = f"{whose} {special}".strip()
        if low <= int(version.split(".")[1]) <= high:
            found[name] = path
        elif int(version.split(".")[1]) > high:
            unserved.append(name)
    return dict(sorted(found.items(), key=lambda item: release(item[0]))), builds, unserved


def release(name):
    """The numbers of a name, for sorting."""
    return [int(number) for number in name.split("-")[0].split(".")]


PYTHONS, BUILDS, UNSERVED = _find_pythons()


def minor(name):
    return int(name.split(".")[1])


def newest_of(version_minor):
    """A found interpreter of 3.`version_minor`, or None."""
    names = [name for name in PYTHONS if minor(name) == version_minor]
    return PYTHONS[names[0]] if names else None


def has_symbols(python):
    """1 when the interpreter's own C functions can be named: it is not stripped."""
    shared = subprocess.run(
        [
            python,
            "-c",
            "import sysconfig as s; print(s.get_config_var('LIBDIR'), s.get_config_var('LDLIBRARY'))",
        ],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.decode()
    folder, _, library = shared.strip().partition(" ")
    path = os.path.join(folder, library)
    if not library.endswith(".so") or not os.path.exists(path):
        path = os.path.realpath(python)
    listed = subprocess.run(["nm", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return b"list_sort_impl" in listed


# ---- building helpers ----


def build(name, shared=False, flags=(), folder=None):
    """Compiles tests/programs/NAME.c with cc into HELPERS and returns the path."""
    folder = Path(folder or HELPERS)
    folder.mkdir(parents=True, exist_ok=True)
    source, target = PROGRAMS / f"{name}.c", folder / (f"{name}.so" if shared else name)
    if target.exists() and target.stat().st_mtime > source.stat().st_mtime:
        return target
    fresh = target.with_suffix(f".{os.getpid()}")
    command = [os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra"]
    command += ["-shared", "-fPIC"] if shared else []
    command += [f"-I{ROOT / 'include'}", "-o", str(fresh), str(source), *flags, "-lpthread", "-lm"]
    subprocess.run(command, check=True)
    os.replace(fresh, target)
    return target


# ---- users ----


def can_be_nobody():
    """ "" when this process can run programs as an ordinary user that reaches our files; else why not."""
    if os.geteuid() != 0:
        return "not root: the tests run as an ordinary user already"

    probe = ["/bin/sh", "-c", f"test -r {LIBRARY} && test -r {PROGRAMS}/nest.py"]
    try:
        run = subprocess.run(probe, preexec_fn=become_nobody, stderr=subprocess.PIPE)
    except (OSError, subprocess.SubprocessError) as error:
        return f"can't switch to user {NOBODY}: {error}"
    return "" if run.returncode == 0 else f"user {NOBODY} can't read {ROOT}"


def become_nobody():
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def nobody_can_run(python):
    run = subprocess.run(
        ["/bin/sh", "-c", f"exec {python} -c pass"], preexec_fn=become_nobody, stderr=subprocess.DEVNULL
    )
    return run.returncode == 0


# ---- running ----


def settings(output, rate=1000, clock="auto", depth=512, **more):
    """PLAIT_RUN's text."""
    values = {"output": output, "rate": rate, "clock": clock, "depth": depth, "mode": "cpu"}
    values.update(more)
    return "\n".join(f"{key}={value}" for key, value in values.items() if value is not None)


def environment(output, base=None, **options):
    env = dict(os.environ if base is None else base)
    env["LD_PRELOAD"] = str(LIBRARY)
    env["PLAIT_RUN"] = settings(output, **options)
    return env


def scratch(nobody=False):
    """A new folder for recordings, that the other user can write where asked."""
    folder = tempfile.mkdtemp(prefix="plait-test-")
    if nobody:
        os.chmod(folder, 0o777)
    return folder


def run(argv, env=None, stdin=None, timeout=300, nobody=False, cwd=None, pass_fds=()):
    """Runs to the end; output as bytes."""
    process = subprocess.run(
        [str(word) for word in argv],
        env=dict(os.environ) if env is None else env,
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=timeout,
        preexec_fn=become_nobody if nobody else None,
        cwd=cwd,
        pass_fds=pass_fds,
    )
    return Result(process.returncode, process.stdout, process.stderr)


class Profile:
    """A finished run: `result`, and the recording as `samples`, `fields`, `notes`, `table` numbers."""

    def __init__(self, path, result, columns=False):
        self.path, self.result, self.columns = path, result, columns
        self._read = None

    def _data(self):
        if self._read is None:
            self._read = read(self.path, columns=self.columns)
        return self._read

    @property
    def samples(self):
        return self._data()[0]

    @property
    def totals(self):
        return self._data()[1]

    @property
    def fields(self):
        return self._data()[2]

    @property
    def main_thread(self):
        """The thread of the first sample: the one that starts the interpreter."""
        pid = self.fields.get("pid", [None])[0]
        if pid is not None:
            return int(pid)
        return min(self.samples, key=lambda sample: sample.time).thread


def profile(
    argv,
    rate=1000,
    clock="auto",
    depth=512,
    nobody=False,
    check=True,
    base=None,
    keep=None,
    columns=False,
    mode="cpu",
    **more,
):
    """Runs argv under the preloaded library and returns its Profile. `keep`: the folder for the recording,
    else one that is removed once it is read. `columns`: frames say theirs."""
    folder = keep or scratch(nobody)
    output = os.path.join(folder, "run.plait")
    try:
        env = environment(output, base=base, rate=rate, clock=clock, depth=depth, mode=mode)
        result = run(argv, env=env, nobody=nobody, **more)
        if check and result.status != 0:
            raise AssertionError(f"{argv} ended with {result.status}: {result.stderr.decode()[-2000:]}")
        if check and not os.path.exists(output):
            raise AssertionError(f"{argv} left no recording; stderr: {result.stderr.decode()[-2000:]}")
        done = Profile(output, result, columns)
        if check and keep is None:
            done._data()
        return done
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


# ---- reading ----


def read(path, quick=True, columns=False):
    """(samples, totals, fields) of a recording: frames root first, hidden ones included; totals: the table's
    numbers by name; fields: lists of values by key. `quick`: native names from symbol tables, without libdw."""
    from plait import _library
    from plait import recording as recordings
    from plait.recording import Recording

    library = _library.load()
    recordings._symbols[:] = [(library.symbolizer_elf(), "")] if quick else []

    kinds = ("native", "python", "marker")
    with Recording(path, columns=columns) as recording:
        text = recording.string
        places = [
            Frame(
                kinds[place.kind],
                text(place.function),
                text(place.file),
                text(place.module),
                place.line,
                place.first_line,
                place.hidden,
                place.end_line,
                place.column,
                place.end_column,
            )
            for place in recording.rows("places")
        ]
        stacks = []  # root first; node 0 is the root itself
        for number, node in enumerate(recording.rows("nodes")):
            stacks.append((stacks[node.parent] + (places[node.place],)) if number else ())
        names = {flag: recording_flags(recording, flag) for flag in set(recording.column("samples", "flags"))}
        states = {
            state: recording_states(recording, state) for state in set(recording.column("samples", "state"))
        }
        tids = [thread.tid for thread in recording.rows("threads")]
        samples = [
            Sample(
                row.time,
                row.weight,
                tids[row.thread],
                names[row.flags],
                stacks[row.node],
                row.cpu,
                states[row.state],
                (text(row.wait_call), text(row.wait_kind)),
            )
            for row in recording.rows("samples")
        ]
        table = recording.table
        numbers = ["total_count", "total_weight", "elapsed", "lost", "lost_weight", "unnamed", "clean"]
        totals = {name: getattr(table, name) for name in numbers}
        totals["flags"] = recording.flags()
        fields = {}
        for key, value in recording.fields():
            fields.setdefault(key, []).append(value)
    return samples, totals, fields


def recording_flags(recording, bits):
    """The names of a sample's flag bits."""
    name = recording._library.flag_name
    return frozenset(name(bit).decode() for bit in range(32) if bits >> bit & 1 and name(bit))


def recording_states(recording, bits):
    """The names of a sample's state bits."""
    return frozenset(name for bit, name in recording.state_names().items() if bits >> bit & 1)


_refused = {}


def clock_refused(clock, nobody=False):
    """ "" when this forced clock samples here, else one line that says why not."""
    key = (clock, nobody)
    if key not in _refused:
        python = "/usr/bin/python3" if nobody else sys.executable
        code = "for i in range(3 * 10**6): pass"
        try:
            done = profile([python, "-c", code], clock=clock, nobody=nobody)
            _refused[key] = "" if done.samples else f"clock {clock} gave no sample here"
        except AssertionError as error:
            _refused[key] = f"clock {clock} can't be used here: {str(error)[-300:]}"
    return _refused[key]
