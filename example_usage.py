# SPDX-License-Identifier: MIT
"""Four ways to profile a part of a program: python example_usage.py 1|2|3|4|all

1 decorator, 2 context manager, 3 by hand, 4 several segments.
"""

import hashlib
import os
import sys
import tempfile
from typing import List

from profiler_binding import CPUProfiler, FlameGraphConverter, ProfileReport
from profiler_cli import profile_function, profiler_context


def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def sort_numbers(count: int) -> List[int]:
    return sorted((number * 7919 % 10007 for number in range(count)), key=lambda number: -number)


def hash_blocks(count: int) -> str:
    digest = hashlib.sha256()
    for _ in range(count):
        digest.update(b"plait" * 20000)
    return digest.hexdigest()


@profile_function
def decorated() -> int:
    return fibonacci(25)


@profile_function(output_dir="profiler_output")
def decorated_with_folder() -> int:
    return len(sort_numbers(300000))


def example_decorator() -> None:
    print("fibonacci(25) = %d" % decorated())
    print("sorted %d numbers" % decorated_with_folder())
    print("see profiler_output/")


def example_context() -> None:
    with profiler_context("mixed_work") as context:
        fibonacci(23)
        hash_blocks(300)
    for path in context.files or ():
        print("wrote %s" % path)


def example_manual() -> None:
    profiler = CPUProfiler()
    if not profiler.start():
        raise SystemExit("can't profile: %s" % profiler.last_error)
    fibonacci(24)
    sort_numbers(200000)
    profiler.stop()
    with tempfile.TemporaryDirectory() as folder:
        profile = os.path.join(folder, "manual.json")
        profiler.save_json(profile)
        report = ProfileReport(profile)
        report.print_summary()
        report.print_hot_paths()
        print("%d folded lines" % len(FlameGraphConverter.to_folded(profile)))


def example_segments() -> None:
    """Segments are intervals of one sampler: they may lie inside each other."""
    with profiler_context("whole"):
        with profiler_context("recursion"):
            fibonacci(24)
        with profiler_context("sorting"):
            sort_numbers(300000)
        with profiler_context("hashing"):
            hash_blocks(500)
    print("four profiles in profiler_output/: three segments and the whole")


EXAMPLES = {
    "1": ("decorator", example_decorator),
    "2": ("context manager", example_context),
    "3": ("by hand", example_manual),
    "4": ("several segments", example_segments),
}


def main(words: List[str]) -> int:
    chosen = words[0] if len(words) == 1 else ""
    if chosen != "all" and chosen not in EXAMPLES:
        print("usage: python example_usage.py 1|2|3|4|all", file=sys.stderr)
        return 2
    for number, (title, example) in EXAMPLES.items():
        if chosen in ("all", number):
            print("--- %s: %s" % (number, title))
            example()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
