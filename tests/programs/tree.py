"""A tree of processes whose truth is known: each burns CPU time in a function named after its role and says, at
its end, in TREE_LOG: role, pid, CPU time in that function, CPU time of the whole process (seconds)."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
import warnings

SECONDS = 0.12


def burn():
    begin = time.thread_time()
    while time.thread_time() < begin + SECONDS:
        sum(range(2000))
    return time.thread_time() - begin


def say(role, own):
    line = "%s %d %.6f %.6f\n" % (role, os.getpid(), own, time.process_time())
    log = os.open(os.environ["TREE_LOG"], os.O_WRONLY | os.O_APPEND)
    os.write(log, line.encode())
    os.close(log)


# Not one function with a parameter: the name is what the recording must show.
for role in ("root forked grandchild in_thread daemon executed spawned environmentless posix_spawned by_system pool "
             "mp_fork mp_forkserver mp_spawn").split():  # fmt: skip
    exec("def %s():\n    own = burn()\n    say('%s', own)\n" % (role, role))


def be(role):
    globals()[role]()


def fork(role, then=None):
    child = os.fork()
    if child == 0:
        if role:
            be(role)
        if then:
            then()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def become_daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.closerange(0, 256)
        be("daemon")
    os._exit(0)


def argv(role):
    return [sys.executable, __file__, role]


def whole_tree():
    fork("forked", lambda: fork("grandchild"))
    fork("", become_daemon)
    fork("", lambda: os.execv(sys.executable, argv("executed")))
    subprocess.run(argv("spawned"), check=True)
    subprocess.run(argv("environmentless"), check=True, env={"TREE_LOG": os.environ["TREE_LOG"]})
    child = os.posix_spawn(sys.executable, argv("posix_spawned"), os.environ)
    assert os.waitpid(child, 0)[1] == 0
    assert os.system(" ".join(argv("by_system"))) == 0
    for way in ("fork", "forkserver", "spawn"):
        process = multiprocessing.get_context(way).Process(target=globals()["mp_" + way])
        process.start()
        process.join()
        assert process.exitcode == 0
    # From 3.12 on fork() warns of other threads; this one is the program's own, and may be there a little longer.
    warnings.simplefilter("ignore", DeprecationWarning)
    thread = threading.Thread(target=fork, args=("in_thread",))
    thread.start()
    thread.join()
    be("root")
    print("tree", sorted(key for key in os.environ if "PLAIT" in key or "PRELOAD" in key))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        be(sys.argv[1])
    else:
        whole_tree()
