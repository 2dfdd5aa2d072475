# SPDX-License-Identifier: MIT
"""numpy, sqlite3 and zlib at work, on the main thread, a Python thread and OpenBLAS's own threads.

    complete.py CPU_SECONDS

Runs until the process has used CPU_SECONDS, then prints how often each part ran.
"""

import hashlib
import json
import sqlite3
import sys
import threading
import time
import zlib

import numpy

done = dict.fromkeys(("algebra", "sorting", "table", "packing", "text"), 0)
numbers = numpy.random.RandomState(1).rand(300, 300)


def algebra():
    product = numbers @ numbers.T + numpy.eye(300)
    numpy.linalg.solve(product, numbers[0])
    numpy.linalg.svd(numbers[:60, :60])
    numpy.fft.fft2(numbers)


def sorting():
    flat = numbers.ravel()
    order = numpy.argsort(flat, kind="stable")
    numpy.unique((flat[order] * 1000).astype(numpy.int32))
    numpy.exp(numpy.sin(flat)).cumsum()
    numpy.einsum("ij,jk->ik", numbers[:40, :40], numbers[:40, :40])
    numpy.where(flat > 0.5, numpy.sqrt(flat), numpy.power(flat, 1.5)).std()


def table():
    connection = sqlite3.connect(":memory:")
    connection.create_function("twice", 1, lambda value: 2 * value)
    connection.execute("create table t (a integer primary key, b text, c real)")
    rows = ((i, "row %d" % (i * 7919 % 1000), i * 0.5) for i in range(1500))
    connection.executemany("insert into t values (?, ?, ?)", rows)
    connection.execute("create index i on t (b)")
    connection.execute("select b, sum(twice(c)) from t group by b order by 2 desc").fetchall()
    connection.close()


def packing():
    data = numbers[:60].tobytes()
    assert zlib.decompress(zlib.compress(data, 6)) == data
    zlib.crc32(data)
    hashlib.sha256(data).digest()


def text():
    values = [{"n": i, "s": str(i)} for i in range(400)]
    json.loads(json.dumps(values))
    sorted(values, key=lambda value: value["s"])


PARTS = {"algebra": algebra, "sorting": sorting, "table": table, "packing": packing, "text": text}


def turns(seconds):
    while time.process_time() < seconds:
        for name, part in PARTS.items():
            part()
            done[name] += 1


def main():
    seconds = float(sys.argv[1])
    other = threading.Thread(target=turns, args=(seconds,))
    other.start()
    turns(seconds)
    other.join()
    print(*(done[name] for name in PARTS))


if __name__ == "__main__":
    main()
