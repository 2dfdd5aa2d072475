/* SPDX-License-Identifier: MIT */
/* plumbing.c - the names, as tables. A name counts only in the modules it can come from: a program's own
 * `run_mod` shows. A C function that does work (list.sort, _sre, zlib, malloc) is never in here. */
#include "plumbing.h"
#include <stddef.h>
#include <string.h>

/* A trailing '*' stands for any rest. Compiler suffixes (".cold", ".isra.0") are left out of the comparison.
 */
static const char *const plumbing_interpreter[] = {
    "_PyEval_EvalFrameDefault*",
    "_PyEval_EvalFrame",
    "_PyEval_EvalCodeWithName",
    "_PyEval_EvalCode",
    "_PyEval_Vector",
    "PyEval_EvalCode*",
    "PyEval_EvalFrame*",
    "_PyEval_BindArguments*",
    "_PyFunction_Vectorcall*",
    "_PyFunction_FastCall*",
    "function_code_fastcall",
    "call_function",
    "do_call_core",
    "fast_function",
    "_PyObject_Call*",
    "PyObject_Call*",
    "PyObject_Vectorcall*",
    "_PyObject_Vectorcall*",
    "_PyObject_MakeTpCall",
    "_PyObject_FastCall*",
    "object_vacall",
    "_PyVectorcall_*",
    "PyVectorcall_*",
    "vectorcall*",
    "_PyStack_*",
    "callmethod",
    "method_vectorcall*",
    "method_call",
    "methoddescr_call",
    "cfunction_*",
    "_PyCFunction_*",
    "PyCFunction_Call*",
    "_PyMethodDef_RawFastCall*",
    "_PyMethodDescr_FastCall*",
    "_PyMethodDescr_Vectorcall*",
    "classmethoddescr_call",
    "wrapperdescr_call",
    "wrapper_call",
    "wrap_call",
    "wrap_init",
    "wrap_next",
    "wrap_unaryfunc",
    "wrap_binaryfunc*",
    "slot_tp_*",
    "slot_nb_*",
    "slot_sq_*",
    "slot_mp_*",
    "slot_am_*",
    "vectorcall_method",
    "vectorcall_unbound",
    "vectorcall_maybe",
    "lookup_maybe_method",
    "call_method",
    "call_maybe",
    "call_unbound*",
    "type_call",
    "_PyType_Call*",
    "gen_send_ex*",
    "gen_iternext",
    "gen_send",
    "_PyGen_Send",
    "PyIter_Send",
    "trampoline_call",
    "partial_call*",
    "partial_vectorcall*",
    "property_descr_get",
    "func_descr_get",
    "_PyEvalFrame*",
    "initialize_locals",
    "clear_thread_frame",
    "_PyFrame_*",
    "_PyThreadState_PushFrame",
    "_PyArg_*",
    "PyArg_*",
    "vgetargs*",
    "vgetargskeywords*",
    "convertsimple",
    "convertitem",
    "skipitem",
    "builtin_exec",
    "builtin___build_class__",
    "run_mod",
    "run_eval_code_obj",
    "pyrun_*",
    "_PyRun_*",
    "PyRun_*",
    "Py_RunMain",
    "pymain_*",
    "Py_BytesMain",
    "Py_Main",
    "main",
    "_start",
    "thread_run",
    "t_bootstrap",
    "pythread_wrapper",
    "_PyThreadState_*",
    "eval_frame_handle_*",
    "import_find_and_load",
    "PyImport_ImportModuleLevelObject",
    "exec_code_in_module",
};
static const char *const plumbing_start[] = {
    "_start",   "__libc_start_*", "__libc_init_first", "start_thread", "clone*",
    "__clone*", "thread_start",   "call_init",         "_dl_init",     "_dl_start*",
};
static const char *const plumbing_entry[] = {"_start"};
static const char *const plumbing_ctypes[] = {
    "ffi_call*",   "ffi_closure_*",     "PyCFuncPtr_call", "_ctypes_callproc", "_call_function_pointer",
    "closure_fcn", "_CallPythonObject",
};

struct plumbing_rule {
    const char *module; /* how the file's name starts; NULL ends the table */
    const char *const *names;
    size_t count; /* 0 = every function */
};
#define PLUMBING(names) (names), sizeof(names) / sizeof *(names)
static const struct plumbing_rule plumbing_rules[] = {
    {"python", PLUMBING(plumbing_interpreter)},
    {"libpython", PLUMBING(plumbing_interpreter)},
    {"libc.so", PLUMBING(plumbing_start)},
    {"libc-", PLUMBING(plumbing_start)},
    {"libpthread", PLUMBING(plumbing_start)},
    {"ld-linux", PLUMBING(plumbing_start)},
    {"ld-musl", PLUMBING(plumbing_start)},
    {"_ctypes.", PLUMBING(plumbing_ctypes)},
    {"libffi", PLUMBING(plumbing_ctypes)},
    {"libprofiler.so", NULL, 0},
    {"libplait-profiler", NULL, 0},
    {"", PLUMBING(plumbing_entry)},
    {NULL, NULL, 0},
};

static int plumbing_match(const char *pattern, const char *function, size_t length)
{
    size_t size = strlen(pattern);
    if (pattern[size - 1] == '*')
        return length >= size - 1 && memcmp(pattern, function, size - 1) == 0;
    return length == size && memcmp(pattern, function, size) == 0;
}

int plumbing_is(const char *path, const char *function)
{
    const char *slash = strrchr(path, '/');
    const char *module = slash != NULL ? slash + 1 : path;
    size_t length = function == NULL ? 0 : strcspn(function, ".");
    for (const struct plumbing_rule *rule = plumbing_rules; rule->module != NULL; rule++) {
        if (strncmp(module, rule->module, strlen(rule->module)) != 0)
            continue;
        if (rule->count == 0)
            return 1;
        for (size_t i = 0; length != 0 && i < rule->count; i++)
            if (plumbing_match(rule->names[i], function, length))
                return 1;
    }
    return 0;
}

int plumbing_is_start(const char *function)
{
    size_t length = strcspn(function, ".");
    for (size_t i = 0; i < sizeof plumbing_start / sizeof *plumbing_start; i++)
        if (plumbing_match(plumbing_start[i], function, length))
            return 1;
    return 0;
}

int plumbing_is_libc(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *module = slash != NULL ? slash + 1 : path;
    return strncmp(module, "libc.so", 7) == 0 || strncmp(module, "libc-", 5) == 0 ||
           strncmp(module, "libpthread", 10) == 0;
}
