# SPDX-License-Identifier: MIT
"""What the outputs share: self and total weight of each place, and the hottest paths, plumbing left out.

A hidden frame's own weight goes to the nearest visible frame below it (towards the root): a tick inside the
eval loop belongs to the Python function it runs.
"""

from typing import Dict, List, NamedTuple, Tuple

from . import recording as recordings


class Hot(NamedTuple):
    """A place with what it cost itself and with everything it called; ns and samples."""

    place: int
    weight: int
    samples: int
    total_weight: int


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

    def hottest(self) -> List[Hot]:
        """Every place that cost something, most self weight first. A recursive place's total counts once."""
        subtree = list(self.weight)
        for node in range(len(self.parent) - 1, 0, -1):
            subtree[self.parent[node]] += subtree[node]
        own: Dict[int, List[int]] = {}
        for node in range(1, len(self.parent)):
            cell = own.setdefault(self.place[node], [0, 0, 0])
            cell[0] += self.weight[node]
            cell[1] += self.count[node]
        for node in self._outermost():
            own[self.place[node]][2] += subtree[node]
        found = [Hot(place, *cell) for place, cell in own.items()]
        found.sort(key=lambda hot: (-hot.weight, -hot.total_weight, hot.place))
        return found

    def _outermost(self) -> List[int]:
        """The nodes with no other of their place between them and the root."""
        children: List[List[int]] = [[] for _ in self.parent]
        for node in range(1, len(self.parent)):
            children[self.parent[node]].append(node)
        found = []
        depth: Dict[int, int] = {}
        stack = list(children[0])
        while stack:
            node = stack.pop()
            if node < 0:
                depth[self.place[-node]] -= 1
                continue
            place = self.place[node]
            if not depth.get(place):
                found.append(node)
            depth[place] = depth.get(place, 0) + 1
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
