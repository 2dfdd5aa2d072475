# SPDX-License-Identifier: MIT
"""What clang's sanitizers watch: the fuzzers of tests/fuzz, and C tests: memory and undefined behaviour in those
of the decoders and the reports, races in those of the ring and the registry of threads."""

import os
import shutil
import subprocess
import sys
from glob import glob
from typing import Dict, List, Optional

from tally import SANITIZER, Tally, call, run, run_all

FUZZ_SECONDS = 20
_FLAGS = ["-g", "-O1", "-std=c11", "-D_GNU_SOURCE", "-fno-sanitize-recover=undefined"]
_WATCH = "address,undefined"
# Not unwind and engine: they step through machine code, and run handlers and threads without libc, where a
# sanitizer's own code has no place. The long ones are the soak's.
_WATCHED: Dict[str, List[str]] = {  # the cases, where not all
    "core": [],
    "cfi": [],
    "python": [],
    "walk": [],
    "report": [],
    "shortage": ["reports", "writers", "tables"],
}
_WATCHED_LONG: Dict[str, List[str]] = {**_WATCHED, "libs": [], "record": []}
_WRAP = "-Wl," + ",".join("--wrap=" + name for name in ("os_map", "os_unmap"))
_WRAP_ALL = _WRAP + "".join(",--wrap=" + name for name in ("malloc", "calloc", "realloc", "free", "os_grow"))
# What the race detector watches: a test, and all that it runs of the library.
_RACES = {
    "ring": ["src/core/ring.c"],
    "threads": ["src/engine/threads.c", "src/engine/proc.c", *glob("src/core/*.c"), *glob("src/os/*.c")],
}


def _clang(folder: str) -> Optional[str]:
    """A clang that can make a fuzzer, or None."""
    os.makedirs(folder, exist_ok=True)
    clang = shutil.which("clang")
    probe = os.path.join(folder, "probe.c")
    with open(probe, "w") as file:
        file.write("int LLVMFuzzerTestOneInput(const char *d, long n) { return n < 0 && d; }\n")
    if clang and call([clang, "-fsanitize=fuzzer," + _WATCH, "-o", probe[:-2], probe]).returncode == 0:
        return clang
    return None


def _library(clang: str, folder: str) -> "subprocess.CompletedProcess[str]":
    """libplait.a in the folder: all of the library, watched. An archive, so that a fuzzer may bring some of it
    along itself."""
    here, objects = os.getcwd(), os.path.join(folder, "obj")
    archive = os.path.join(folder, "libplait.a")
    shutil.rmtree(objects, ignore_errors=True)
    os.makedirs(objects)
    if os.path.exists(archive):
        os.remove(archive)
    sources = [os.path.join(here, path) for path in glob("src/*.c") + glob("src/*/*.c")]
    sources = [path for path in sources if "/src/symbols/" not in path]
    flags = _FLAGS + ["-I" + os.path.join(here, path) for path in ("include", "src")]
    done = call([clang, *flags, "-fsanitize=fuzzer-no-link," + _WATCH, "-c", *sources], folder=objects)
    return done if done.returncode != 0 else call(["ar", "rcs", archive] + glob(objects + "/*.o"))


def _targets() -> List[str]:
    return sorted(glob("tests/fuzz/fuzz_*.c"))


def _watched_tests(tally: Tally, clang: str, folder: str, tests: Dict[str, List[str]]) -> None:
    """C tests of the watched library, and those that look for races."""
    include = ["-w", "-Iinclude", "-Isrc", "-Itests/c"]
    library = [os.path.join(folder, "libplait.a"), "-lm", "-lpthread", "-ldl"]
    plain = [flag for flag in _FLAGS if "sanitize" not in flag]
    commands: Dict[str, List[str]] = {}
    for name in tests:
        flags = [*_FLAGS, *include, "-fsanitize=fuzzer-no-link," + _WATCH]
        flags += [_WRAP_ALL] if name == "shortage" else []
        commands["watched_" + name] = [clang, *flags, "tests/c/test_%s.c" % name, *library]
    for name, sources in _RACES.items():
        flags = [*plain, *include, "-fsanitize=thread"] + ([_WRAP] if name == "threads" else [])
        commands["races_" + name] = [clang, *flags, "tests/c/test_%s.c" % name, *sources, "-lpthread"]
    for name, command in commands.items():
        program = os.path.join(folder, name)
        made = call([*command, "-o", program])
        if made.returncode == 0:
            run(tally, name, [program, *tests.get(name.replace("watched_", ""), [])], counts=True)
        else:
            print(made.stdout)
            tally.add(name, 0, 1)


def fuzzing(tally: Tally, build: str, seconds: int) -> None:
    """C tests that are watched; then each fuzzer for so long, all at the same time and with what the other tests
    leave of the machine."""
    folder = os.path.join(build, "fuzz")
    clang = _clang(folder)
    if clang is None:
        tally.skip("fuzzing", "clang with libFuzzer is not here")
        return
    made = _library(clang, folder)
    if made.returncode == 0:
        _watched_tests(tally, clang, folder, _WATCHED_LONG if seconds > FUZZ_SECONDS else _WATCHED)
    commands = {}
    for target in _targets():
        name = os.path.basename(target)[:-2]
        program = os.path.join(folder, name)
        corpus = program + ".corpus"
        if made.returncode == 0:
            flags = [*_FLAGS, "-Iinclude", "-Isrc", "-fsanitize=fuzzer," + _WATCH]
            parts = [os.path.join(folder, "libplait.a"), "-lm", "-lpthread", "-ldl"]
            made = call([clang, *flags, "-o", program, target, *parts])
        if made.returncode != 0:
            print(made.stdout)
            tally.add(name, 0, 1)
            return
        call([sys.executable, "tests/fuzz/seeds.py", "unpack", name, corpus])
        limit = ["-max_total_time=%d" % seconds, "-rss_limit_mb=2048", "-timeout=60", "-verbosity=0"]
        commands[name] = ["nice", "-n", "19", program, corpus, *limit, "-artifact_prefix=%s." % program]
    run_all(tally, commands)


def keep_corpus(build: str) -> None:
    """Replaces tests/fuzz/corpus by the smallest inputs that reach all that was reached."""
    for target in _targets():
        program = os.path.join(build, "fuzz", os.path.basename(target)[:-2])
        merged = program + ".merged"
        shutil.rmtree(merged, ignore_errors=True)
        os.makedirs(merged)
        call(
            [program, "-merge=1", "-verbosity=0", merged, program + ".corpus"], dict(os.environ, **SANITIZER)
        )
        call([sys.executable, "tests/fuzz/seeds.py", "keep", os.path.basename(program), merged])
