# SPDX-License-Identifier: MIT
"""The library as a file: what the handler's objects import, what the library exports, needs and weighs."""

import re
import shutil
import subprocess

import harness
import pytest

# Objects whose code runs in the signal handler.
HANDLER_OBJECTS = [
    "engine/handler*.o",
    "engine/partial*.o",
    "engine/rerun*.o",
    "engine/wrap*.o",
    "native/unwind*.o",
    "native/sight*.o",
    "native/kernel*.o",
    "native/cfi*.o",
    "python/*.o",
    "braid.o",
    "greenlet.o",
    "core/*.o",
]
# Objects whose code runs in the raw helper thread, which has no libc state.
HELPER_OBJECTS = [
    "engine/helper*.o",
    "engine/life*.o",
    "engine/clock*.o",
    "engine/look*.o",
    "engine/waits*.o",
    "engine/threads*.o",
    "native/*.o",
    "os/os_linux*.o",
]

# libc functions that are pure: they touch their arguments only. All are bound at load (-z now).
PURE = {"memcpy", "memset", "memmove", "memcmp", "memchr", "strlen", "strcmp", "_GLOBAL_OFFSET_TABLE_"}
# Functions of the same objects that run at start (py_attach, sight_finder, wrap) and never in handler or helper, each by its object.
OUTSIDE = {
    "python/attach.o": {"snprintf"},
    "python/slot.o": {"pthread_key_create", "pthread_key_delete", "pthread_setspecific", "dl_iterate_phdr"},
    "python/eval.o": {"dl_iterate_phdr"},
    "native/sight.o": {"dlsym"},
    "engine/wrap.o": {"dlsym"},
}
OURS = re.compile(
    r"(os|ring|varint|checksum|decimal|error|libs|maps|elf|sight|kernel|cfi|unwind|py|guard|offsets|code|line|walk|rule|braid|greenlet|writer"
    r"|intern|engine|handler|helper|clock|threads|guest|partial|rerun|profiles|counter|api|hooks|process|arena|fork|wrap|roster|proc|look|waits|user|follow)(_\w+)?$"
)

INTERPOSED = "pthread_create|sigaction|signal|pthread_sigmask|sigprocmask|sigwait|sigwaitinfo|sigtimedwait|sigpending|signalfd|syscall"
EXECUTING = "exec(l|lp|le|v|ve|vp|vpe|veat)|fexecve|posix_spawnp?|_exit|_Exit|system|popen|pclose"
EXPORTS = re.compile(rf"(profiler_\w+|{INTERPOSED}|{EXECUTING})$")
NEEDED = {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"}
SIZE_LIMIT = 200 * 1024


def undefined(path):
    listed = subprocess.run(["nm", "-u", str(path)], stdout=subprocess.PIPE, check=True).stdout.decode()
    return {line.split()[-1].split("@")[0] for line in listed.splitlines()}


def foreign(patterns):
    """{object: symbols} that are neither ours nor pure."""
    found = {}
    folder = harness.BUILD / "obj"
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            name = str(path.relative_to(folder))
            rest = {symbol for symbol in undefined(path) if symbol not in PURE and not OURS.match(symbol)}
            rest -= OUTSIDE.get(name, set())
            if rest:
                found[name] = sorted(rest)
    return found


@pytest.fixture(autouse=True)
def tools(library):
    if shutil.which("nm") is None:
        pytest.skip("nm (binutils) is not installed")


@pytest.mark.parametrize("patterns", [HANDLER_OBJECTS, HELPER_OBJECTS], ids=["handler", "helper"])
def test_imports(patterns):
    folder = harness.BUILD / "obj"
    assert any(list(folder.glob(pattern)) for pattern in patterns)
    assert foreign(patterns) == {}


def test_the_check_sees_a_forbidden_import(tmp_path):
    """The check itself can fail: an object that calls malloc is foreign."""
    source = tmp_path / "bad.c"
    source.write_text("#include <stdlib.h>\nvoid *f(void); void *f(void) { return malloc(7); }\n")
    subprocess.run(["cc", "-c", "-o", str(tmp_path / "bad.o"), str(source)], check=True)
    rest = {
        symbol for symbol in undefined(tmp_path / "bad.o") if symbol not in PURE and not OURS.match(symbol)
    }
    assert rest == {"malloc"}


def test_no_thread_local_storage_is_lazy():
    """Dynamic thread-locals may allocate at first use in the handler."""
    listed = subprocess.run(["readelf", "-rW", str(harness.LIBRARY)], stdout=subprocess.PIPE).stdout.decode()
    assert "DTPMOD" not in listed and "TLSDESC" not in listed
    assert "__tls_get_addr" not in undefined(harness.LIBRARY)


def test_everything_is_bound_at_load():
    listed = subprocess.run(["readelf", "-dW", str(harness.LIBRARY)], stdout=subprocess.PIPE).stdout.decode()
    assert re.search(r"\bNOW\b", listed)
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", listed))
    assert needed <= NEEDED


def test_exports():
    command = ["nm", "-D", "--defined-only", str(harness.LIBRARY)]
    listed = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()
    names = [line.split()[-1].split("@")[0] for line in listed.splitlines()]
    assert [name for name in names if not EXPORTS.match(name)] == []
    header = (harness.ROOT / "include" / "profiler.h").read_text()
    declared = set(re.findall(r"PROFILER_API[^;(]*?\b(profiler_\w+)\(", header))
    assert declared - set(names) == set(), "declared, but not exported"
    assert {
        name for name in names if name.startswith("profiler_")
    } - declared == set(), "exported, not declared"


def test_size_stripped(tmp_path):
    stripped = tmp_path / "libprofiler.so"
    subprocess.run(["strip", "-o", str(stripped), str(harness.LIBRARY)], check=True)
    size = stripped.stat().st_size
    print(f"stripped: {size} bytes")
    assert size <= SIZE_LIMIT
