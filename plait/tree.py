# SPDX-License-Identifier: MIT
"""What the outputs share: own and total weight of lines and functions, hottest paths, plumbing left out.

A hidden frame's own weight goes to the nearest visible frame below it (towards the root): a tick inside the
eval loop belongs to the Python function it runs.
"""

from typing import Dict, List, NamedTuple, Tuple

from . import recording as recordings

NOBODY = -1


class Hot(NamedTuple):
    """One owner of weight (a line, a function): its own and that of everything it called; ns."""

    owner: int
    weight: int
    total: int
    place: int  # of the owner's places, the one that weighs most


class Path(NamedTuple):
    """One distinct visible stack, leaf first."""

    places: Tuple[int, ...]
    weight: int
    samples: int
    instructions: int
    memory: int


class Tree:
    """The visible stack tree of a recording, in plain lists; node 0 is the root."""

    def __init__(self, recording: recordings.Recording, hidden: bool = False) -> None:
        shown = [hidden or not flag for flag in recording.column("places", "hidden")]
        self.parent: List[int] = [0]
        self.place: List[int] = [0]
        self.weight: List[int] = [0]
        self.count: List[int] = [0]
        self.instructions: List[int] = [0]
        self.memory: List[int] = [0]
        known: Dict[Tuple[int, int], int] = {}
        merged: List[int] = []
        columns = [
            recording.column("nodes", name).tolist()
            for name in ("parent", "place", "weight", "count", "instructions", "memory")
        ]
        for number, (parent, place, weight, count, instructions, memory) in enumerate(zip(*columns)):
            if number == 0:
                node = 0
            elif not shown[place]:
                node = merged[parent]
            else:
                key = (merged[parent], place)
                node = known.get(key, 0)
                if node == 0:
                    node = known[key] = len(self.parent)
                    self.parent.append(key[0])
                    self.place.append(place)
                    for column in (self.weight, self.count, self.instructions, self.memory):
                        column.append(0)
            merged.append(node)
            self.weight[node] += weight
            self.count[node] += count
            self.instructions[node] += instructions
            self.memory[node] += memory

    def python_lines(self, recording: recordings.Recording) -> List[int]:
        """Each node's owner: the Python line that runs it, with the native code that the line calls."""
        kinds = recording.column("places", "kind")
        owners = [NOBODY]
        for node in range(1, len(self.parent)):
            python = kinds[self.place[node]] == recordings.PYTHON
            owners.append(self.place[node] if python else owners[self.parent[node]])
        return owners

    def functions(self, recording: recordings.Recording) -> List[int]:
        """Each node's owner: its function; code without a name belongs to its library."""
        numbers: Dict[Tuple[int, ...], int] = {}
        names = ("kind", "function", "file", "module", "first_line")
        rows = zip(*(recording.column("places", name) for name in names))
        by_place = []
        for kind, function, file, module, first_line in rows:
            unnamed = kind == recordings.NATIVE and recording.is_unnamed(function, module)
            key = (kind, 0, 0, module, 0) if unnamed else (kind, function, file, module, first_line)
            by_place.append(numbers.setdefault(key, len(numbers)))
        return [NOBODY] + [by_place[place] for place in self.place[1:]]

    def hottest(self, owners: List[int]) -> List[Hot]:
        """Every owner of weight, most of its own first. In recursion an owner's total counts once."""
        subtree = list(self.weight)
        for node in range(len(self.parent) - 1, 0, -1):
            subtree[self.parent[node]] += subtree[node]
        places: Dict[int, Dict[int, int]] = {}
        for node in range(1, len(self.parent)):
            weights = places.setdefault(owners[node], {})
            weights[self.place[node]] = weights.get(self.place[node], 0) + self.weight[node]
        places.pop(NOBODY, None)
        totals = dict.fromkeys(places, 0)
        for node in self._outermost(owners):
            totals[owners[node]] += subtree[node]
        found = [
            Hot(owner, sum(weights.values()), totals[owner], max(weights, key=lambda place: weights[place]))
            for owner, weights in places.items()
        ]
        found.sort(key=lambda hot: (-hot.weight, -hot.total, hot.owner))
        return found

    def _outermost(self, owners: List[int]) -> List[int]:
        """The nodes with no other of their owner between them and the root."""
        children: List[List[int]] = [[] for _ in self.parent]
        for node in range(1, len(self.parent)):
            children[self.parent[node]].append(node)
        found = []
        depth: Dict[int, int] = {}
        stack = list(children[0])
        while stack:
            node = stack.pop()
            if node < 0:
                depth[owners[-node]] -= 1
                continue
            owner = owners[node]
            if owner != NOBODY and not depth.get(owner):
                found.append(node)
            depth[owner] = depth.get(owner, 0) + 1
            stack.append(-node)
            stack.extend(children[node])
        return found

    def paths(self, limit: int) -> List[Path]:
        """The heaviest distinct stacks."""
        nodes = [node for node in range(1, len(self.parent)) if self.count[node]]
        nodes.sort(key=lambda node: (-self.weight[node], node))
        found = []
        for node in nodes[:limit]:
            places = []
            at = node
            while at:
                places.append(self.place[at])
                at = self.parent[at]
            found.append(
                Path(
                    tuple(places),
                    self.weight[node],
                    self.count[node],
                    self.instructions[node],
                    self.memory[node],
                )
            )
        return found

    def distinct(self) -> int:
        return sum(1 for node in range(1, len(self.parent)) if self.count[node])
