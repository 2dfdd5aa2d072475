# SPDX-License-Identifier: MIT
"""The command `plait`: a verb is a file of this folder with `HELP` and `main(words)`.

A mistake of the user's is one line on stderr and exit code 2, never a traceback.
"""

import argparse
import os
import sys
from types import ModuleType
from typing import Dict, List, Optional

from .._library import ProfilerError
from . import report, run

VERBS: Dict[str, ModuleType] = {"run": run, "record": run, "report": report, "view": report}
ALIASES = {"record": "run", "view": "report"}


def main(arguments: Optional[List[str]] = None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return _dispatch(words)
    except BrokenPipeError:  # whoever read the report has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ProfilerError, OSError, ValueError) as error:
        print("plait: %s" % error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _dispatch(words: List[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="plait", description="Profiles Python programs and the native code inside them, in one stack."
    )
    parser.add_argument("--version", action="store_true", help="print the version and leave")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for name, verb in VERBS.items():
        if name not in ALIASES:
            verbs.add_parser(name, help=verb.HELP, add_help=False)
    if words and words[0] in VERBS:
        return int(VERBS[words[0]].main(words[1:]))
    chosen = parser.parse_args(words)
    if chosen.version:
        from .. import __version__

        print("plait " + __version__)
        return 0
    parser.print_help(sys.stderr)
    return 2
