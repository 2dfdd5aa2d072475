# SPDX-License-Identifier: MIT
"""What clang's sanitizers watch: the fuzzers of tests/fuzz."""

import os
import shutil
import subprocess
import sys
from glob import glob
from typing import List, Optional

from tally import SANITIZER, Tally, call, run_all

FUZZ_SECONDS = 20
_FLAGS = ["-g", "-O1", "-std=c11", "-D_GNU_SOURCE", "-fno-sanitize-recover=undefined"]
_WATCH = "address,undefined"


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


def fuzzing(tally: Tally, build: str, seconds: int) -> None:
    """Each fuzzer for so long, all at the same time and with what the other tests leave of the machine."""
    folder = os.path.join(build, "fuzz")
    clang = _clang(folder)
    if clang is None:
        tally.skip("fuzzing", "clang with libFuzzer is not here")
        return
    made = _library(clang, folder)
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
        call([program, "-merge=1", "-verbosity=0", merged, program + ".corpus"], dict(os.environ, **SANITIZER))
        call([sys.executable, "tests/fuzz/seeds.py", "keep", os.path.basename(program), merged])
