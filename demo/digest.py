# SPDX-License-Identifier: MIT
"""The demo's program: what is in the interpreter's own standard library? It tokenises, parses, hashes and
compresses every module and loads the result into sqlite3: Python calling C calling Python.

usage: digest.py [SECONDS]   the time to spend, at most (8)
"""

import ast
import hashlib
import io
import os
import re
import sqlite3
import sys
import sysconfig
import time
import tokenize
import zlib
from collections import Counter
from typing import Iterator, List, Tuple

WORD = re.compile(r"[a-z]+|[A-Z][a-z]*")


def modules(folder: str) -> Iterator[Tuple[str, str]]:
    """Every module's path and text, in a fixed order."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - {"site-packages", "dist-packages", "test"})
        for name in sorted(files):
            if name.endswith(".py"):
                path = os.path.join(place, name)
                with open(path, encoding="utf-8", errors="replace") as file:
                    yield os.path.relpath(path, folder), file.read()


def count_tokens(text: str) -> "Counter[str]":
    found: "Counter[str]" = Counter()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            found[token.string] += 1
    return found


def functions(text: str) -> List[Tuple[str, int]]:
    """Names and sizes of a module's functions, largest first."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    sizes = [(node.name, (node.end_lineno or node.lineno) - node.lineno + 1) for node in nodes]
    return sorted(sizes, key=lambda item: (-item[1], item[0]))


def fingerprint(text: str) -> Tuple[str, int]:
    data = text.encode("utf-8", "replace")
    return hashlib.sha256(data * 20).hexdigest(), len(zlib.compress(data, 9))


def shout(text: str) -> int:
    """A regular expression whose replacement is a Python function: C calls back into Python."""
    return len(WORD.sub(lambda word: word.group().upper(), text))


def vowels(word: str) -> int:
    """Called by sqlite3, for each row of a query."""
    return sum(letter in "aeiou" for letter in word)


def main(seconds: float) -> None:
    limit = time.monotonic() + seconds
    base = sqlite3.connect(":memory:")
    base.create_function("vowels", 1, vowels)
    base.executescript(
        "create table module (path text, sha text, packed int, letters int);"
        "create table word (path text, word text, count int);"
        "create table function (path text, name text, lines int);"
    )
    done = 0
    for path, text in modules(sysconfig.get_paths()["stdlib"]):
        try:
            words, defined = count_tokens(text), functions(text)
        except (SyntaxError, tokenize.TokenError, RecursionError):
            continue  # a module written to fail
        base.execute("insert into module values (?, ?, ?, ?)", (path, *fingerprint(text), shout(text)))
        base.executemany("insert into word values (?, ?, ?)", [(path, w, n) for w, n in words.items()])
        base.executemany("insert into function values (?, ?, ?)", [(path, *item) for item in defined])
        done += 1
        if time.monotonic() > limit:
            break
    print("%d modules of Python %s" % (done, sys.version.split()[0]))
    for question in (
        "select word, sum(count) n from word group by word order by n desc limit 3",
        "select name, lines from function order by lines desc, name limit 3",
        "select vowels(word) v, count(*) from word group by v order by v limit 3",
    ):
        print("  ", base.execute(question).fetchall())


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 8)
