# SPDX-License-Identifier: MIT
"""`plait report FILE`: a recording as console text, JSON, summary or folded stacks."""

import argparse
import os
import sys
from typing import List

from .. import outputs
from ..recording import Recording

HELP = "show a recording, or write it in another format"


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="plait report", description="Reports on a recording.")
    result.add_argument("recording", metavar="FILE", help="with FILE.d/ if it is there: its children")
    result.add_argument("--pid", type=int, default=0, metavar="PID", help="this process of the tree alone")
    result.add_argument("-o", "--output", metavar="OUT", help="write here; its extension chooses the format")
    result.add_argument("-f", "--format", choices=sorted(outputs.FORMATS))
    result.add_argument("--hidden", action="store_true", help="show interpreter plumbing too")
    result.add_argument("--columns", action="store_true", help="tell places in a line apart (from 3.11 on)")
    result.add_argument("-n", "--limit", type=int, default=20, metavar="N", help="lines to show (20)")
    return result


def main(words: List[str]) -> int:
    chosen = parser().parse_args(words)
    name = chosen.format or outputs.format_of(chosen.output)
    if chosen.output and os.path.exists(chosen.output) and os.path.samefile(chosen.output, chosen.recording):
        raise ValueError("the report would replace the recording: choose another -o")
    with Recording(chosen.recording, columns=chosen.columns, children=True, pid=chosen.pid) as recording:
        outputs.write(name, recording, chosen.output, hidden=chosen.hidden, limit=chosen.limit)
    if chosen.output:
        print("wrote %s" % chosen.output, file=sys.stderr)
    return 0
