# SPDX-License-Identifier: MIT
"""Measures the numbers of src/python/offsets.c: compiles a tiny C program against an interpreter's headers.

    measure_offsets.py PYTHON...    prints a column per interpreter, from 3.13 on two: "t" is its free-threaded build
    measure_offsets.py FOLDER...    likewise for a folder of headers: /usr/include/python3.14

The library itself uses no Python header; this is the proof that its table is right (tests/py/test_offsets.py).
"""

import os
import subprocess
import sys
import tempfile

# field: C expression for each minor version where it exists; "{8,9,...}" by predicates on the minor.
HEAD = r"""
#define Py_BUILD_CORE 1
#include <Python.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "frameobject.h"
#include "opcode.h"
#define MINOR PY_MINOR_VERSION
#include "internal/pycore_pystate.h"
#if MINOR >= 9
# include "internal/pycore_interp.h"
# include "internal/pycore_runtime.h"
#endif
#if MINOR >= 14
# include "internal/pycore_interpframe_structs.h"
#elif MINOR >= 11
# include "internal/pycore_frame.h"
#endif
#if MINOR >= 14
# include "internal/pycore_debug_offsets.h"
# include "internal/pycore_stackref.h"
#endif
#if MINOR >= 13
# define FRAME _PyInterpreterFrame
#elif MINOR >= 11
# define FRAME struct _PyInterpreterFrame
#else
# define FRAME struct _frame
#endif
#define OUT(name, value) printf("%s %ld\n", #name, (long)(value))
#define AT(type, field) offsetof(type, field)
#ifdef Py_GIL_DISABLED
# define AT_TLBC(type, field) offsetof(type, field)
# define AT_GIL(type, field) -1
# define SIZE_GIL(type) -1
#else
# define AT_TLBC(type, field) -1
# define AT_GIL(type, field) offsetof(type, field)
# define SIZE_GIL(type) sizeof(type)
#endif
static unsigned bits(int which)
{
    union { PyASCIIObject o; unsigned char b[sizeof(PyASCIIObject)]; } u;
    unsigned word;
    memset(&u, 0, sizeof u);
    if (which == 0) u.o.state.kind = 7;
    if (which == 1) u.o.state.compact = 1;
    if (which == 2) u.o.state.ascii = 1;
    memcpy(&word, u.b + offsetof(PyASCIIObject, state), 4);
    return word;
}
int main(void)
{
"""

# name: (first minor, last minor, expression)
FIELDS = [
    ("runtime_main", [(8, 15, "AT(_PyRuntimeState, interpreters.main)")]),
    ("runtime_head", [(8, 15, "AT(_PyRuntimeState, interpreters.head)")]),
    ("runtime_current", [(8, 11, "AT(_PyRuntimeState, gilstate.tstate_current)")]),
    ("runtime_key", [(8, 11, "AT(_PyRuntimeState, gilstate.autoTSSkey._key)"),
                     (12, 14, "AT(_PyRuntimeState, autoTSSkey._key)")]),
    ("runtime_gil", [(8, 11, "AT(_PyRuntimeState, ceval.gil)")]),
    ("interp_gil", [(12, 15, "AT_GIL(PyInterpreterState, ceval.gil)")]),
    ("gil_locked", [(8, 15, "AT_GIL(struct _gil_runtime_state, locked)")]),
    ("gil_holder", [(8, 15, "AT_GIL(struct _gil_runtime_state, last_holder)")]),
    ("gil_size", [(8, 12, "sizeof(struct _gil_runtime_state)"), (13, 15, "SIZE_GIL(struct _gil_runtime_state)")]),
    ("runtime_collecting", [(8, 8, "AT(_PyRuntimeState, gc.collecting)")]),
    ("interp_collecting", [(9, 15, "AT(PyInterpreterState, gc.collecting)")]),
    ("interp_next", [(8, 8, "AT(struct _is, next)"), (9, 15, "AT(PyInterpreterState, next)")]),
    ("thread_interp", [(8, 15, "AT(PyThreadState, interp)")]),
    ("thread_id", [(8, 15, "AT(PyThreadState, thread_id)")]),
    ("thread_frame", [(8, 10, "AT(PyThreadState, frame)"), (13, 15, "AT(PyThreadState, current_frame)")]),
    ("thread_base", [(15, 15, "AT(PyThreadState, base_frame)")]),
    ("thread_cframe", [(10, 12, "AT(PyThreadState, cframe)")]),
    ("cframe_current", [(11, 11, "AT(_PyCFrame, current_frame)"), (12, 12, "AT(_PyCFrame, current_frame)")]),
    ("cframe_previous", [(10, 10, "AT(CFrame, previous)"), (11, 12, "AT(_PyCFrame, previous)")]),
    ("frame_code", [(8, 12, "AT(FRAME, f_code)"), (13, 15, "AT(FRAME, f_executable)")]),
    ("frame_previous", [(8, 10, "AT(FRAME, f_back)"), (11, 15, "AT(FRAME, previous)")]),
    ("frame_instr", [(8, 10, "AT(FRAME, f_lasti)"), (11, 12, "AT(FRAME, prev_instr)"),
                     (13, 15, "AT(FRAME, instr_ptr)")]),
    ("frame_owner", [(11, 15, "AT(FRAME, owner)")]),
    ("frame_tags", [(8, 13, "0"), (14, 15, "Py_TAG_BITS")]),
    ("frame_copy", [(14, 15, "AT_TLBC(FRAME, tlbc_index)")]),
    ("frame_entry", [(11, 11, "AT(FRAME, is_entry)")]),
    ("frame_generator", [(8, 10, "AT(FRAME, f_gen)")]),
    ("frame_depth", [(10, 10, "AT(FRAME, f_stackdepth)")]),
    ("code_object", [(10, 10, "AT(PyCodeObject, co_code)")]),
    ("op_yield_from", [(10, 10, "YIELD_FROM")]),
    ("frame_state", [(10, 10, "AT(FRAME, f_state)")]),
    ("frame_size", [(8, 9, "AT(FRAME, f_lasti) + sizeof(int)"), (10, 10, "AT(FRAME, f_state) + 1"), (11, 15, "AT(FRAME, localsplus)")]),
    ("code_copies", [(14, 15, "AT_TLBC(PyCodeObject, co_tlbc)")]),
    ("code_first_line", [(8, 15, "AT(PyCodeObject, co_firstlineno)")]),
    ("code_file", [(8, 15, "AT(PyCodeObject, co_filename)")]),
    ("code_name", [(8, 15, "AT(PyCodeObject, co_name)")]),
    ("code_qualname", [(11, 15, "AT(PyCodeObject, co_qualname)")]),
    ("code_lines", [(8, 9, "AT(PyCodeObject, co_lnotab)"), (10, 15, "AT(PyCodeObject, co_linetable)")]),
    ("code_executors", [(13, 15, "AT(PyCodeObject, co_executors)")]),
    ("code_bytes", [(11, 15, "AT(PyCodeObject, co_code_adaptive)")]),
    ("code_version", [(12, 15, "AT(PyCodeObject, co_version)")]),
    ("code_units", [(11, 15, "AT(PyVarObject, ob_size)")]),
    ("code_size", [(8, 10, "sizeof(PyCodeObject)"), (11, 15, "AT(PyCodeObject, co_code_adaptive)")]),
    ("object_type", [(8, 15, "AT(PyObject, ob_type)")]),
    ("type_flags", [(8, 15, "AT(PyTypeObject, tp_flags)")]),
    ("bytes_length", [(8, 15, "AT(PyVarObject, ob_size)")]),
    ("bytes_data", [(8, 15, "AT(PyBytesObject, ob_sval)")]),
    ("text_length", [(8, 15, "AT(PyASCIIObject, length)")]),
    ("text_state", [(8, 15, "AT(PyASCIIObject, state)")]),
    ("text_ascii", [(8, 15, "sizeof(PyASCIIObject)")]),
    ("text_compact", [(8, 15, "sizeof(PyCompactUnicodeObject)")]),
    ("text_kind_bits", [(8, 15, "bits(0)")]),
    ("text_compact_bit", [(8, 15, "bits(1)")]),
    ("text_ascii_bit", [(8, 15, "bits(2)")]),
]

# Where the debug offsets hold the fields that they describe; since which minor version, where not since 3.13.
DEBUG = [
    ("debug_size", "sizeof(_Py_DebugOffsets)"),
    ("debug_version", "AT(_Py_DebugOffsets, version)"),
    ("debug_free_threaded", "AT(_Py_DebugOffsets, free_threaded)"),
    ("debug_runtime_head", "AT(_Py_DebugOffsets, runtime_state.interpreters_head)"),
    ("debug_interp_next", "AT(_Py_DebugOffsets, interpreter_state.next)"),
    ("debug_thread_interp", "AT(_Py_DebugOffsets, thread_state.interp)"),
    ("debug_thread_frame", "AT(_Py_DebugOffsets, thread_state.current_frame)"),
    ("debug_thread_id", "AT(_Py_DebugOffsets, thread_state.thread_id)"),
    ("debug_thread_base", "AT(_Py_DebugOffsets, thread_state.base_frame)", 15),
    ("debug_frame_copy", "AT(_Py_DebugOffsets, interpreter_frame.tlbc_index)", 14),
    ("debug_code_copies", "AT(_Py_DebugOffsets, code_object.co_tlbc)", 14),
    ("debug_text_compact", "AT(_Py_DebugOffsets, unicode_object.compactunicodeobject_size)", 15),
    ("debug_frame_code", "AT(_Py_DebugOffsets, interpreter_frame.executable)"),
    ("debug_frame_previous", "AT(_Py_DebugOffsets, interpreter_frame.previous)"),
    ("debug_frame_instr", "AT(_Py_DebugOffsets, interpreter_frame.instr_ptr)"),
    ("debug_frame_owner", "AT(_Py_DebugOffsets, interpreter_frame.owner)"),
    ("debug_frame_size", "AT(_Py_DebugOffsets, interpreter_frame.localsplus)"),
    ("debug_code_first_line", "AT(_Py_DebugOffsets, code_object.firstlineno)"),
    ("debug_code_file", "AT(_Py_DebugOffsets, code_object.filename)"),
    ("debug_code_name", "AT(_Py_DebugOffsets, code_object.name)"),
    ("debug_code_qualname", "AT(_Py_DebugOffsets, code_object.qualname)"),
    ("debug_code_lines", "AT(_Py_DebugOffsets, code_object.linetable)"),
    ("debug_code_bytes", "AT(_Py_DebugOffsets, code_object.co_code_adaptive)"),
    ("debug_object_type", "AT(_Py_DebugOffsets, pyobject.ob_type)"),
    ("debug_type_flags", "AT(_Py_DebugOffsets, type_object.tp_flags)"),
    ("debug_bytes_length", "AT(_Py_DebugOffsets, bytes_object.ob_size)"),
    ("debug_bytes_data", "AT(_Py_DebugOffsets, bytes_object.ob_sval)"),
    ("debug_text_length", "AT(_Py_DebugOffsets, unicode_object.length)"),
    ("debug_text_state", "AT(_Py_DebugOffsets, unicode_object.state)"),
    ("debug_text_ascii", "AT(_Py_DebugOffsets, unicode_object.asciiobject_size)"),
]

ABSENT = -1
DEBUG_SINCE = 13


def include_folder(python):
    """The interpreter's header folder, or None when its headers are not installed."""
    code = "import sysconfig; print(sysconfig.get_paths()['include'])"
    folder = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    return folder if os.path.exists(os.path.join(folder, "internal", "pycore_pystate.h")) else None


def minor_version(python):
    code = "import sys; print(sys.version_info[1])"
    return int(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout)


def program(minor):
    lines = [HEAD]
    for name, choices in FIELDS:
        expression = next((text for low, high, text in choices if low <= minor <= high), str(ABSENT))
        lines.append(f"    OUT({name}, {expression});\n")
    for name, expression, *since in DEBUG:
        if minor >= (since[0] if since else DEBUG_SINCE):
            lines.append(f"    OUT({name}, {expression});\n")
    lines.append("    return 0;\n}\n")
    return "".join(lines)


def measure_headers(folder, minor, free_threaded=False):
    """{field: number} as the headers in the folder (.../include/python3.14) have it. What they include of the
    machine they come from is looked for beside them, after this machine's own."""
    with tempfile.TemporaryDirectory() as scratch:
        source, binary = os.path.join(scratch, "row.c"), os.path.join(scratch, "row")
        with open(source, "w", encoding="ascii") as out:
            out.write(program(minor))
        command = [os.environ.get("CC", "cc"), "-std=gnu11", "-w", "-I", folder, "-I",
                   os.path.join(folder, "internal"), "-idirafter", os.path.dirname(folder), "-o", binary, source]
        if free_threaded:
            command.insert(1, "-DPy_GIL_DISABLED=1")
        subprocess.run(command, check=True)
        text = subprocess.run([binary], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


def measure(python, free_threaded=False):
    """The same for an interpreter's own headers; None without them."""
    folder = include_folder(python)
    return measure_headers(folder, minor_version(python), free_threaded) if folder else None


def main():
    rows = {}
    for argument in sys.argv[1:]:
        folder = argument if os.path.isdir(argument) else include_folder(argument)
        if folder is None:
            print(f"{argument}: no headers", file=sys.stderr)
            continue
        minor = int(os.path.basename(folder).partition(".")[2].rstrip("dtm"))
        rows[minor, ""] = measure_headers(folder, minor)
        if minor >= DEBUG_SINCE:
            rows[minor, "t"] = measure_headers(folder, minor, free_threaded=True)
    names = [name for name, _ in FIELDS] + [name for name, *_ in DEBUG]
    print(f"{'':24s}" + "".join(f"{'3.%d%s' % key:>8s}" for key in sorted(rows)))
    for name in names:
        print(f"{name:24s}" + "".join(f"{rows[key].get(name, ''):>8}" for key in sorted(rows)))


if __name__ == "__main__":
    main()
