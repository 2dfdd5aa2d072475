# SPDX-License-Identifier: MIT
"""Python -> C -> Python -> C: every sample of tests/programs/nest.py is a path of its grammar (nesting.py).

Short here; tests/soak/nesting.py runs the same check over 20,000 samples per interpreter and clock. The first
tests show that the checker itself refuses what is wrong.
"""

import harness
import pytest
from harness import PROGRAMS, Frame, Sample
from nesting import Checker

NEST = PROGRAMS / "nest.py"
# The share of samples that may say of themselves that something is missing.
DEGRADED_SHARE = 0.001


def python_frame(name, line=0):
    return Frame("python", name, str(NEST), "", line, 0, 0)


def native(name, module="libpython3.so"):
    return Frame("native", name, "", module, 0, 0, 0)


def path_to_sort(checker):
    return [
        native("main"),
        python_frame("<module>"),
        python_frame("main"),
        python_frame("descend"),
        python_frame("through_sort", checker.lines["sort"]),
        native("list_sort_impl"),
        native("_PyEval_EvalFrameDefault"),
        python_frame("by_sort"),
        python_frame("work"),
    ]


def test_checker_takes_a_path_at_any_length():
    checker = Checker(NEST)
    path = path_to_sort(checker)
    assert [checker.check(path[:end]) for end in range(2, len(path) + 1)] == [None] * (len(path) - 1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path[:5] + path[6:],  # the C entry is missing
        lambda path: path[:5] + [native("map_next")] + path[6:],  # another one
        lambda path: path[:5] + [native("map_next")] + path[5:],  # one too many
        lambda path: path[:6] + path[7:8] + [native("x")] + [native("list_sort_impl")],  # one below by_sort
        lambda path: path[:3] + path[4:],  # a Python frame is missing
        lambda path: path[:7] + path[8:],
        lambda path: path[:4] + [path[4]._replace(line=path[4].line + 1)] + path[5:],  # a wrong line
        lambda path: path[:2] + path[3:6] + path[2:3] + path[6:],  # order
        lambda path: path[:4] + [path[4]._replace(file="other.py")] + path[5:],
        lambda path: path[:1],
    ],
)
def test_checker_refuses(spoil):
    checker = Checker(NEST)
    assert checker.check(spoil(path_to_sort(checker))) is not None


def test_checker_takes_a_thread_whose_python_just_began_or_ended():
    checker, start = (
        Checker(NEST),
        [native("start_thread", "libc.so.6"), native("nest_thread_main", "nest.so")],
    )
    assert checker.check([*start, native("_PyEval_EvalFrameDefault")], is_main_thread=False) is None
    assert checker.check([*start, native("list_sort_impl")], is_main_thread=False)


def test_checker_counts_degraded_samples_apart():
    checker = Checker(NEST)
    path = tuple(path_to_sort(checker))
    samples = [
        Sample(10, 1, 7, frozenset(), path),
        Sample(20, 1, 7, frozenset(["in_transit"]), path[:1]),
        Sample(25, 1, 7, frozenset(), path[:1]),
        Sample(30, 1, 7, frozenset(), path),
        Sample(40, 1, 7, frozenset(), path[:1]),
    ]
    checker.check_recording(samples, main_thread=7)
    assert checker.counts == {"checked": 3, "degraded": 1, "in_transit": 1, "outside": 1}
    assert len(checker.wrong) == 1


def nest(python, clock, rate, least, seconds=0.9, nobody=False):
    """Profiles nest.py, more than once if one run gives too few samples, and judges every sample."""
    helper = harness.build("nest", shared=True)
    checker = Checker(NEST, symbols_known=harness.has_symbols(python))
    for _ in range(4):
        done = harness.profile([python, NEST, helper, seconds], rate=rate, clock=clock, nobody=nobody)
        checker.check_recording(done.samples, done.main_thread)
        print(done.totals)
        assert done.result.stdout.split()[0] == b"True", "the program itself did not run as meant"
        if checker.counts["checked"] >= least:
            break
    print(checker.report())
    assert not checker.wrong, checker.report()
    assert checker.counts["checked"] >= least
    assert max(checker.depths) >= 3
    # A thousandth of 2,000 samples is two: the exact share is judged by the soak's 20,000.
    total = checker.counts["checked"] + checker.counts["degraded"]
    assert checker.counts["degraded"] <= max(DEGRADED_SHARE * total, 3), checker.report()


@pytest.mark.matrix("nesting")
@pytest.mark.parametrize("tried", harness.CLOCKS)
def test_every_sample_is_a_path(python, tried, library):
    refused = harness.clock_refused(tried)
    if refused:
        pytest.skip(refused)
    if tried == "posix" and harness.minor(python) not in (8, 11, 13):
        pytest.skip("the posix clock runs on a choice of the interpreters")
    # Timers of the posix clock tick at the kernel's HZ: fewer samples in the same time.
    rate, least = (1000, 100) if tried == "posix" else (10000, 2000)
    nest(harness.PYTHONS[python], tried, rate, least)


def test_as_an_ordinary_user(nobody):
    nest(nobody, "poll", 10000, 2000, nobody=True)
