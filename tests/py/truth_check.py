# SPDX-License-Identifier: MIT
"""Compares a profile's shares with what a truth program measured of itself (tests/programs/truth_*.py)."""

import json
import random
import statistics
from collections import Counter


def taken(stdout):
    """{part: ns} as the program printed it."""
    return json.loads(stdout.decode().splitlines()[0])


def booked(samples):
    """{part: weight} of the profile: a sample belongs to the part function on its stack. Samples outside of
    every part (start, glue between slices) belong to none."""
    weights = Counter()
    for sample in samples:
        for frame in sample.frames:
            if frame.kind == "python" and frame.function.startswith("part_"):
                weights[frame.function] += sample.weight
                break
    return dict(weights)


def shares(amounts):
    total = sum(amounts.values())
    return {name: amount / total for name, amount in amounts.items()} if total else {}


def distance(left, right):
    """Total variation distance of two {name: amount}: half the sum of the differences of their shares."""
    left, right = shares(left), shares(right)
    return sum(abs(left.get(name, 0) - right.get(name, 0)) for name in set(left) | set(right)) / 2


def expected_distance(amounts, samples, rounds=2000, seed=1):
    """The median distance of perfect independent sampling with so many samples."""
    chance = random.Random(seed)
    names, weights = list(amounts), list(amounts.values())
    found = []
    for _ in range(rounds):
        drawn = Counter(chance.choices(names, weights, k=samples))
        found.append(distance(drawn, amounts))
    return statistics.median(found)
