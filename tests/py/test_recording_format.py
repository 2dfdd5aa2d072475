# SPDX-License-Identifier: MIT
"""A second reader, written from docs/recording.md alone: it must see what the library's reader sees."""

import struct
import sys
import zlib

import harness
import pytest

PROGRAM = """
import threading, time
def leaf(n):
    return sum(i * i for i in range(n))
def caf\xe9(until):
    while time.thread_time() < until:
        sorted(range(500), key=lambda value: -leaf(5))
other = threading.Thread(target=caf\xe9, args=(0.3,), name="other")
other.start()
caf\xe9(0.5)
other.join()
"""


class Payload:
    """A chunk's payload, entry by entry."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def __bool__(self):
        return self.at < len(self.data)

    def byte(self):
        self.at += 1
        return self.data[self.at - 1]

    def int(self):
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def sint(self):
        value = self.int()
        return -(value // 2) - 1 if value & 1 else value // 2

    def bytes(self, size):
        self.at += size
        assert self.at <= len(self.data)
        return self.data[self.at - size : self.at]


class Reader:
    def __init__(self, data):
        self.strings, self.fields, self.libraries, self.threads, self.codes = [""], {}, {}, {}, {}
        self.frames, self.nodes, self.samples, self.counters, self.lost = [], [(0, None)], [], {}, 0
        self.complete, self.done, self.last, self.thread = 0, None, {}, 0
        assert data[:8] == b"plait\r\n\x1a" and struct.unpack("<II", data[8:16]) == (1, 0)
        at = 16
        while at < len(data):
            tag, length, check = struct.unpack("<4sII", data[at : at + 12])
            payload = data[at + 12 : at + 12 + length]
            assert zlib.crc32(payload, zlib.crc32(data[at : at + 8])) == check
            entries, decode = Payload(payload), getattr(self, "read_" + tag.decode())
            while entries:
                decode(entries)
            at += 12 + length

    def str(self, p):
        return self.strings[p.int()]

    def read_head(self, p):
        self.start, self.wall = p.int(), p.int()

    def read_strg(self, p):
        kind = p.int()
        size = p.int()
        form = {0: "utf-8", 1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}[kind & 7]
        self.strings.append(p.bytes(size).decode(form, "replace"))

    def read_fiel(self, p):
        key = self.str(p)
        self.fields[key] = self.str(p)

    def read_libr(self, p):
        number, path = p.int(), self.str(p)
        self.libraries[number] = (path, p.int(), p.int(), p.int(), p.bytes(p.int()))

    def read_thrd(self, p):
        number = p.int()
        self.threads[number] = (p.sint(), self.str(p))

    def read_code(self, p):
        number, key = p.int(), p.int()
        self.codes[number] = None
        if p.byte():
            file, name, qualname = self.str(p), self.str(p), self.str(p)
            first, total = p.sint(), p.int()
            table = p.bytes(p.int())
            assert len(table) <= total
            self.codes[number] = (file, qualname or name, first)
        assert key

    def read_fram(self, p):
        head = p.byte()
        if head & 3 == 0:
            self.frames.append(("native", p.int() - 1, p.int()))
        elif head & 3 == 1:
            self.frames.append(("python", p.int(), p.sint()))
        else:
            self.frames.append(("cut", p.int()))

    def read_node(self, p):
        parent = len(self.nodes) - p.int()
        assert parent >= 0
        self.nodes.append((parent, self.frames[p.int()]))

    def read_lost(self, p):
        p.int(), self.str(p)
        self.lost += p.int()
        p.int()

    def read_coun(self, p):
        name = self.str(p)
        self.counters[name] = p.int()

    def read_samp(self, p):
        bits = p.int()
        if bits == 64:
            self.complete += p.int()
            return
        if bits & 1:
            self.thread = p.int()
        before_time, node, weight, state = self.last.get(self.thread, (0, 0, 0, (0, "", "")))
        late = p.sint()
        node = p.int() if bits & 2 else node
        weight += p.sint() if bits & 4 else 0
        flags = p.int() if bits & 8 else 0
        p.sint() if bits & 16 else 0  # memory
        p.int() if bits & 32 else 0  # instructions
        wall = p.int() if bits & 128 else 0
        state = (p.int(), self.strings[p.int()], self.strings[p.int()]) if bits & 256 else state
        time = before_time + (wall or weight) // 1000 + late
        self.last[self.thread] = (time, node, weight, state)
        self.samples.append((time * 1000, weight, self.thread, flags, node, wall, state))

    def read_done(self, p):
        self.done = (p.int(), p.int())

    def functions(self, node):
        """Names and files of the stack's Python frames, root first."""
        found = []
        while node:
            node, frame = self.nodes[node]
            if frame[0] == "python":
                code = self.codes[frame[1]]
                found.append(("(unnamed code)", "") if code is None else (code[1], code[0]))
        return found[::-1]


@pytest.mark.parametrize("minor, mode", [(9, "cpu"), (12, "cpu"), (12, "wall")])
def test_a_second_reader_agrees(library, tmp_path, minor, mode):
    python = harness.newest_of(minor)
    if python is None:
        pytest.skip(f"no Python 3.{minor} here")
    script = tmp_path / "program.py"
    script.write_text(PROGRAM, encoding="utf-8")
    harness.profile([python, str(script)], keep=str(tmp_path), mode=mode)
    path = tmp_path / "run.plait"
    mine = Reader(path.read_bytes())
    samples, totals, fields = harness.read(str(path))

    assert len(mine.samples) == len(samples) == totals["total_count"] == mine.done[1] > 200
    assert totals["lost"] == mine.lost
    assert totals["elapsed"] == mine.done[0] >= mine.complete * 1000
    assert totals["unnamed"] == sum(("(unnamed code)", "") in mine.functions(s[4]) for s in mine.samples)
    assert fields["start_ns"] == [str(mine.start)] and fields["python"] == [mine.fields["python"]]
    for name, value in mine.counters.items():
        assert fields[name] == [str(value)]
    seen = set()
    for (time, cpu, thread, _, node, wall, state), theirs in zip(mine.samples, samples):
        assert (time, cpu, mine.threads[thread][0]) == (theirs.time, theirs.cpu, theirs.thread)
        assert (wall if mode == "wall" else cpu) == theirs.weight
        assert ("waiting" in theirs.states, *theirs.wait) == (bool(state[0] & 1), *state[1:])
        functions = mine.functions(node)
        assert functions == [(f.function, f.file) for f in theirs.frames if f.kind == "python"]
        seen.update(name for name, file in functions if file == str(script))
    assert "caf\xe9" in seen and any("lambda" in name for name in seen)
    native = [frame for frame in mine.frames if frame[0] == "native" and frame[1] >= 0]
    assert native and all(frame[1] in mine.libraries for frame in native)


def test_cut_and_skipped(library, tmp_path):
    """What a reader must do with an unknown chunk: go on; the format can grow."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM, encoding="utf-8")
    harness.profile([sys.executable, str(script)], keep=str(tmp_path))
    data = (tmp_path / "run.plait").read_bytes()
    whole = harness.read(str(tmp_path / "run.plait"))[1]["total_count"]
    first = 16 + 12 + struct.unpack("<I", data[20:24])[0]
    head = struct.pack("<4sI", b"news", 5)
    extra = head + struct.pack("<I", zlib.crc32(b"hello", zlib.crc32(head))) + b"hello"
    grown = tmp_path / "grown.plait"
    grown.write_bytes(data[:first] + extra + data[first:])
    _, totals, _ = harness.read(str(grown))
    assert totals["total_count"] == whole and totals["clean"] == 1
