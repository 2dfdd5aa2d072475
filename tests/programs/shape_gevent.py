# SPDX-License-Identifier: MIT
"""gevent with everything patched: sockets, sleeps, locks, a thread pool. Marks: tests/py/shapes.py.

    shape_gevent.py CPU_SECONDS
"""

from gevent import monkey

monkey.patch_all()

import queue  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402
from gevent.pool import Pool  # noqa: E402
from gevent.server import StreamServer  # noqa: E402


def work(rounds=200):
    total = 0
    for i in range(rounds):
        total += i & 3
    return total


def handle(connection, address):
    while True:
        data = connection.recv(100)
        if not data:
            return
        connection.sendall(serve(data))  # -> serve


def serve(data):
    work()  # -> work
    return data[::-1]


def ask(port, times):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for number in range(times):
            work()  # -> work
            sent = b"%d" % number
            connection.sendall(sent)
            if connection.recv(100) != sent[::-1]:
                raise SystemExit("wrong answer")


def ticking(stop, ticks):
    while not stop:
        work()  # -> work
        time.sleep(0.001)
        ticks.append(1)


def worker(jobs, done):
    while True:
        job = jobs.get()
        if job is None:
            return
        done.append(job + work() * 0)  # -> work


signals = []


def on_alarm(number, frame):  # from anywhere
    signals.append(number)


def main():
    server = StreamServer(("127.0.0.1", 0), handle)  # => handle
    server.start()
    stop, ticks, jobs, done = [], [], queue.Queue(), []
    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    threads = [threading.Thread(target=ticking, args=(stop, ticks))]  # => ticking
    threads.append(threading.Thread(target=worker, args=(jobs, done)))  # => worker
    for thread in threads:
        thread.start()
    asked, end = 0, time.process_time() + float(sys.argv[1])
    while time.process_time() < end:
        pool = Pool(8)
        for _ in range(8):
            pool.spawn(ask, server.server_port, 10)  # => ask
        pool.join()
        jobs.put(asked)
        asked += 1
        work()  # -> work
    said = subprocess.run([sys.executable, "-c", "print(6 * 7)"], stdout=subprocess.PIPE).stdout
    signal.setitimer(signal.ITIMER_REAL, 0)
    stop.append(1)
    jobs.put(None)
    gevent.get_hub().threadpool.apply(work)  # => work
    for thread in threads:
        thread.join()
    good = asked == len(done) and ticks and signals and said == b"42\n"
    print("ok" if good else (asked, len(done), len(ticks), len(signals), said))


if __name__ == "__main__":
    main()  # -> main
