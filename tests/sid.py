# SPDX-License-Identifier: MIT
"""The interpreters of Debian sid, the newest there are: makes the sid where it is missing (scripts/make_sid.sh) and
runs in it, by its own Python with .venv's pytest, the tests that have one result per interpreter; and those of
test_engine that wait, since its libc makes such calls in another way than older ones."""

import os
import subprocess
import sys
import time
from typing import List

from tally import Tally, call, run

RUNNER = "python3.13"
PYTHONS = ["/usr/bin/python3.%d" % minor for minor in (13, 14, 15)]
WAITS = ("waits_see_no_signal_of_ours", "waits_see_no_late_signal", "own_signals_end_waits")
WAITS += ("ignored_sigurg_ends_no_wait",)
OFF = ("PLAIT_NO_SID", "PLAIT_NO_APT")


def make() -> str:
    """ "" when it is there, else why it is not."""
    off = [name for name in OFF if os.environ.get(name)]
    if off:
        return "%s is set" % off[0]
    start = time.monotonic()
    done = call(["scripts/make_sid.sh"])
    if done.returncode != 0:
        return (done.stdout.strip() or "make_sid.sh failed").splitlines()[-1]
    if done.stdout:
        print("== Debian sid made (%.0f s, beside the tests)" % (time.monotonic() - start), flush=True)
    return ""


def tests(tally: Tally, build: str, pytest: List[str]) -> None:
    reason = make()
    if reason:
        tally.skip("the interpreters of Debian sid", reason)
        return
    matrix_tests(tally, build, pytest, PYTHONS)
    waits = ["%s_poll" % name for name in WAITS]
    run(tally, "waits in Debian sid", ["scripts/in_sid.sh", os.path.join(build, "test_engine"), *waits], counts=True)


def special_tests(tally: Tally, build: str, pytest: List[str]) -> None:
    """Builds that nobody uses by chance: Debian's debug builds, and those that scripts/make_builds.sh makes."""
    done = subprocess.run(["scripts/make_builds.sh"], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        tally.skip("special builds", "scripts/make_builds.sh said why")
        return
    matrix_tests(tally, build, pytest, [path + "d" for path in PYTHONS] + done.stdout.split())


def matrix_tests(tally: Tally, build: str, pytest: List[str], pythons: List[str]) -> None:
    packages = [path for path in sys.path if path.endswith("site-packages")]
    settings = {
        "PYTHONPATH": ":".join([*packages, "."]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PLAIT_PYTHONS": ":".join(pythons),
        "PLAIT_HELPERS": os.path.join(build, "programs-sid"),  # helper programs are built by its own compiler
    }
    words = ["%s=%s" % item for item in settings.items()]
    command = ["scripts/in_sid.sh", "/usr/bin/env", *words, RUNNER, "-m", "pytest", *pytest]
    command += ["-p", "no:cacheprovider", "-m", "matrix", "tests/py"]
    run(tally, "pytest in Debian sid", command, counts=True)
