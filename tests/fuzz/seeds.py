# SPDX-License-Identifier: MIT
"""The corpus of the fuzzers, kept as text: one input a line, in hex, in corpus/NAME.hex.

seeds.py unpack NAME FOLDER    a file for each line, for libFuzzer to begin with
seeds.py keep NAME FOLDER      the smallest inputs of a folder (as `-merge=1` leaves it) replace the lines
seeds.py first NAME FOLDER     what a corpus begins with when there is none: inputs that are mostly well-formed
"""

import hashlib
import os
import struct
import sys
import zlib
from typing import Callable, Dict, List

HERE = os.path.dirname(os.path.abspath(__file__))
KEPT_BYTES = 12000  # of one fuzzer's inputs


def corpus_file(name: str) -> str:
    return os.path.join(HERE, "corpus", name + ".hex")


def write(folder: str, inputs: List[bytes]) -> None:
    os.makedirs(folder, exist_ok=True)
    for data in inputs:
        with open(os.path.join(folder, hashlib.sha1(data).hexdigest()), "wb") as file:
            file.write(data)


def unpack(name: str, folder: str) -> None:
    if os.path.exists(corpus_file(name)):
        with open(corpus_file(name)) as file:
            write(folder, [bytes.fromhex(line) for line in file if not line.startswith("#")])


def keep(name: str, folder: str) -> None:
    found = []
    for entry in os.listdir(folder):
        with open(os.path.join(folder, entry), "rb") as file:
            found.append(file.read())
    kept, size = [], 0
    for data in sorted(found, key=lambda data: (len(data), data)):
        size += len(data)
        if size > KEPT_BYTES:
            break
        kept.append(data)
    os.makedirs(os.path.dirname(corpus_file(name)), exist_ok=True)
    with open(corpus_file(name), "w") as file:
        file.write("# inputs of %s, made by tests/fuzz/seeds.py\n" % name)
        file.writelines(data.hex() + "\n" for data in kept if data)


# ---- what a corpus begins with ----


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def chunk(tag: bytes, *entries: bytes) -> bytes:
    head = tag + struct.pack("<I", sum(map(len, entries)))
    payload = b"".join(entries)
    return head + struct.pack("<I", zlib.crc32(head + payload)) + payload


def string(text: bytes, kind: int = 0) -> bytes:
    return bytes([kind]) + varint(len(text)) + text


def recordings() -> List[bytes]:
    strings = [b"python", b"3.12.1", b"/lib/libwork.so", b"main", b"/src/app.py", b"work", b"App.work"]
    table = bytes([0x80 | 10 << 3 | 1, 0, 5, 0x80 | 11 << 3 | 3, 2, 9])
    code = b"\0" + varint(77) + b"\1" + bytes([5, 6, 7, 40]) + varint(len(table)) + varint(len(table)) + table
    parts = [
        chunk(b"head", varint(1000) + varint(2000)),
        chunk(b"strg", *map(string, strings), string(b"a\0b\0", 2), string(b'a;\n"', 1)),
        chunk(b"fiel", bytes([1, 2]), bytes([9, 8])),
        chunk(b"libr", bytes([0, 3]) + varint(1 << 22) + varint(1 << 23) + varint(1 << 22) + b"\x05build"),
        chunk(b"thrd", b"\0\x16\4", b"\1\x18\0"),
        chunk(b"code", code, b"\1\7\0"),
        chunk(
            b"fram", b"\x04\1" + varint(0x123), b"\1\0\4", b"\1\1\1", b"\x08\1\x40", b"\2\x09", b"\0\0\x63"
        ),
        chunk(b"node", b"\1\5", b"\1\3", b"\1\1", b"\1\0", b"\2\4", b"\1\2"),
        chunk(b"lost", b"\0\6\3" + varint(3000000)),
        chunk(b"coun", b"\4\7"),
        chunk(b"samp", b"\6\0\4" + varint(2000), b"\0\0", b"\x3b\1\0\6\1\x40\x90\x4e", b"\x40\x64"),
        chunk(b"done", varint(5000000) + b"\3"),
    ]
    head = b"plait\r\n\x1a" + struct.pack("<II", 1, 0)
    return [head + b"".join(parts), head + b"".join(parts[:-1]), head + b"".join(parts[:3])]


def elf(symbols: bool, index: bool) -> bytes:
    """A library of one page: code, a build id, unwind data, symbols."""
    note = struct.pack("<III", 4, 8, 3) + b"GNU\0" + b"buildid!"
    index_at, index_bytes = (
        0x200,
        struct.pack("<BBBBiIiiii", 1, 0x1B, 3, 0x3B, 0x3C, 2, 0x100, 0x70, 0x140, 0x80),
    )
    names = b"\0first\0_ZN1a1bEv\0.text\0.eh_frame\0"
    table = struct.pack("<IBBHQQ", 0, 0, 0, 0, 0, 0)
    table += struct.pack("<IBBHQQ", 1, 0x12, 0, 1, 0x300, 16) + struct.pack(
        "<IBBHQQ", 7, 0x22, 0, 1, 0x340, 0
    )
    sections = [
        (0, 0, 0, 0, 0, 0, 0, 0),
        (17, 1, 6, 0x300, 0x300, 0x100, 0, 0),
        (0, 2, 0, 0, 0x400, len(table), 3, 24),
        (0, 3, 0, 0, 0x500, len(names), 0, 0),
        (0, 7, 2, 0x180, 0x180, len(note), 0, 0),
        (23, 1, 2, 0x240, 0x240, 0x40, 0, 0),
    ]
    parts = [(1, 5, 0, 0, 0x700), (4, 4, 0x180, 0x180, len(note))]
    parts += [(0x6474E550, 4, index_at, index_at, len(index_bytes))] if index else []
    out = bytearray(0x700)
    out[:64] = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\2\1\1", 3, 62, 1, 0, 64, 0x560 if symbols else 0, 0, 64, 56, len(parts), 64,
        len(sections) if symbols else 0, 3,
    )  # fmt: skip
    for i, (kind, flags, offset, address, size) in enumerate(parts):
        put = struct.pack("<IIQQQQQQ", kind, flags, offset, address, address, size, size, 0)
        out[64 + 56 * i : 64 + 56 * (i + 1)] = put
    for at, data in ((0x180, note), (index_at, index_bytes), (0x400, table), (0x500, names)):
        out[at : at + len(data)] = data
    for i, (name, kind, flags, address, offset, size, link, entry) in enumerate(sections):
        put = struct.pack("<IIQQQQIIQQ", name, kind, flags, address, offset, size, link, 0, 0, entry)
        out[0x560 + 64 * i : 0x560 + 64 * (i + 1)] = put
    return struct.pack("<QQQ", 0x308, 0x10000, 0) + bytes(out)


def maps() -> List[bytes]:
    first = (
        b"555000-556000 r--p 00000000 08:01 77 /bin/program\n555600-557000 r-xp 00000600 08:01 77 /bin/program\n"
        b"7f0000-7f1000 r-xp 00000000 00:00 0 \n7f1000-7f2000 r-xp 00000000 00:00 0 \n"
        b"7ff000-7ff100 r-xp 00000000 00:00 0                  [vdso]\n"
        b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n"
    )
    later = first.replace(b"7f0000", b"7e0000") + b"8000000-8001000 r-xp 00001000 fd:00 9 /a b (deleted)\n"
    return [first, first + b"\0" + later, later + b"\0" + first]


def cfi() -> List[bytes]:
    push = bytes([0x41, 0x0E, 16, 0x86, 2, 0x43, 0x0D, 6, 0x0A, 0x44, 0x0C, 7, 8, 0x0B, 0x83, 3])
    plt = bytes([0x0F, 11, 0x77, 8, 0x80, 0, 0x3F, 0x1A, 0x3B, 0x2A, 0x33, 0x24, 0x22])
    realigned = bytes(
        [0x0C, 10, 0, 0x10, 6, 2, 0x76, 0, 0x0F, 3, 0x76, 0x78, 6, 0x41, 0x10, 3, 2, 0x76, 0x70]
    )
    return [bytes([2, factor << 2, 60, 0, 0]) + (push + plt + realigned) * 2 for factor in range(8)]


FIRST: Dict[str, Callable[[], List[bytes]]] = {
    "fuzz_cfi": cfi,
    "fuzz_core": lambda: [bytes([1] + [10, 60, 120, 0, 200, 99] * 40), b"\0\x80\x01\xff\x7f\x05" * 8],
    "fuzz_elf": lambda: [elf(True, True), elf(True, False), elf(False, True)],
    "fuzz_lines": lambda: [
        struct.pack("<ii", 10, 3) + bytes([0xD0, 0, 5, 0xDB, 2, 9, 0x80, 0x41, 0xF0, 2, 1, 1, 1])
    ],
    "fuzz_maps": maps,
    "fuzz_recording": recordings,
    "fuzz_report": lambda: [bytes(range(1, 250)) * 2, bytes([4, 7, 1, 9, 3, 5, 1, 0]) * 60],
}


def main() -> None:
    what, name, folder = sys.argv[1:4]
    if what == "first":
        write(folder, FIRST[name]() if name in FIRST else [])
    else:
        {"unpack": unpack, "keep": keep}[what](name, folder)


if __name__ == "__main__":
    main()
