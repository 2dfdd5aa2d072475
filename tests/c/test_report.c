/* SPDX-License-Identifier: MIT */
/* test_report.c - the documented outputs of a recording whose content is known, hostile names included, and
 * names from ELF symbol tables. */
#include "check.h"
#include "profiler.h"
#include "record/elfsyms.h"
#include "record/plumbing.h"
#include "recording_sample.h"
#include <dlfcn.h>
#include <unistd.h>

static char folder[256];
static char text[1 << 16]; /* the report under test */

static const char *in_folder(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void load(const char *name)
{
    FILE *file = fopen(in_folder(name), "rb");
    CHECK(file != NULL);
    size_t size = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
    text[size] = '\0';
    if (file != NULL)
        fclose(file);
}

static void has(const char *wanted)
{
    if (strstr(text, wanted) == NULL)
        CHECK_STRING(text, wanted);
}

static int count_of(const char *wanted)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, wanted)) != NULL; at++)
        count++;
    return count;
}

/* One JSON value: the position after it, or NULL where the text is no JSON. */
static const char *json_value(const char *at);

static const char *json_space(const char *at)
{
    return at == NULL ? NULL : at + strspn(at, " \n\t\r");
}

static const char *json_string(const char *at)
{
    if (*at++ != '"')
        return NULL;
    for (; *at != '"'; at++) {
        if ((unsigned char)*at < 0x20)
            return NULL;
        if (*at != '\\')
            continue;
        at++;
        if (*at == 'u' ? strspn(at + 1, "0123456789abcdefABCDEF") < 4 : strchr("\"\\/bfnrt", *at) == NULL)
            return NULL;
    }
    return at + 1;
}

static const char *json_members(const char *at, char end, int keys)
{
    at = json_space(at + 1);
    if (*at == end)
        return at + 1;
    for (;; at++) {
        if (keys) {
            at = json_string(json_space(at));
            at = json_space(at);
            if (at == NULL || *at++ != ':')
                return NULL;
        }
        at = json_space(json_value(json_space(at)));
        if (at == NULL || (*at != ',' && *at != end))
            return NULL;
        if (*at == end)
            return at + 1;
    }
}

static const char *json_value(const char *at)
{
    if (*at == '{')
        return json_members(at, '}', 1);
    if (*at == '[')
        return json_members(at, ']', 0);
    if (*at == '"')
        return json_string(at);
    if (strncmp(at, "null", 4) == 0)
        return at + 4;
    size_t number = strspn(at, "-0123456789.");
    return number != 0 ? at + number : NULL;
}

static struct profiler_recording *known(struct profiler_symbolizer *symbolizer)
{
    struct error error = {0};
    struct writer *writer = writer_new();
    CHECK_EQUAL(sample_write(writer, in_folder("known.plait"), 1, &error), 0);
    writer_free(writer);
    struct profiler_recording *recording = profiler_recording_open(in_folder("known.plait"), symbolizer);
    CHECK(recording != NULL);
    return recording;
}

static void json(void)
{
    struct profiler_recording *recording = known(NULL);
    CHECK_EQUAL(profiler_recording_json(recording, in_folder("out.json")), 0);
    load("out.json");
    const char *end = json_space(json_value(text));
    CHECK(end != NULL && *end == '\0');
    has("{\"version\": 1, \"elapsed_seconds\": 0.041000000, \"total_samples\": 40,");
    has("\"instructions_note\": \"not counted: the recording does not say why\"");
    has("\"clock\": \"poll\"");
    has("{\"count\": 20, \"instructions\": null, \"memory_delta\": 0, \"weight\": 20000000, \"thread\": "
        "{\"tid\": 11, \"name\": \"main\"}, \"pid\": 0, \"frames\": [{\"addr\": \"0x123\", \"symbol\": "
        "\"libwork.so+0x123\", \"kind\": \"native\", \"module\": \"/usr/lib/libwork.so\"}, "
        "{\"addr\": \"0xc0de\", \"symbol\": \"work\", \"kind\": \"python\", \"file\": \"/src/app.py\", "
        "\"line\": 21}, {\"addr\": \"0x999\", ");
    CHECK_EQUAL(count_of("\"count\": 10,"), 2);
    CHECK_EQUAL(count_of("\"frames\""), 3);
    CHECK_EQUAL(count_of("libpython"), 0); /* the eval frame is plumbing */
    profiler_recording_close(recording);
}

static void summary(void)
{
    struct profiler_recording *recording = known(NULL);
    CHECK_EQUAL(profiler_recording_summary(recording, in_folder("out.txt")), 0);
    load("out.txt");
    CHECK(strncmp(text, "=== CPU PROFILER SUMMARY ===\n", 29) == 0);
    has("Total runtime: 0.041000 seconds\n");
    has("Total samples: 40\n");
    has("Unique stacks: 3\n");
    has("HOT PATHS (Top 20)\n Samples       %    Instructions  Function\n");
    has("      20   50.0%               -  libwork.so+0x123 [libwork.so] < work (app.py:21) < ");
    has("Note: 3 ticks gave no sample (0.003 s of CPU time)\n");
    profiler_recording_close(recording);
}

static void folded(void)
{
    struct profiler_recording *recording = known(NULL);
    CHECK_EQUAL(profiler_recording_folded(recording, in_folder("out.folded"), 0), 0);
    load("out.folded");
    has("libwork.so+0x999;work (app.py);libwork.so+0x123 20\n");
    has("libwork.so+0x999;work (app.py);libwork.so+0x124 10\n");
    has("libwork.so+0x999 10\n");
    CHECK_EQUAL(count_of("\n"), 3);
    CHECK_EQUAL(profiler_recording_folded(recording, in_folder("out.folded"), 1), 0);
    load("out.folded");
    has("libwork.so+0x999;libpython3.9.so.1.0+0x456;work (app.py);libwork.so+0x123 20\n");
    profiler_recording_close(recording);
}

static void unwritable(void)
{
    struct profiler_recording *recording = known(NULL);
    struct error error;
    CHECK_EQUAL(profiler_recording_json(recording, in_folder("no/such.json")), PROFILER_FILE);
    error_last(&error);
    CHECK(strstr(error.text, "such.json") != NULL && strstr(error.text, "no such file") != NULL);
    CHECK_EQUAL(profiler_recording_summary(recording, "/dev/full"), PROFILER_FILE);
    error_last(&error);
    CHECK(strstr(error.text, "no space left") != NULL);
    CHECK_EQUAL(profiler_recording_folded(recording, "/dev/full", 0), PROFILER_FILE);
    profiler_recording_close(recording);
}

/* Names that could break a line, a join or a string; each output keeps its form. */
static void hostile_names(void)
{
    struct error error = {0};
    struct writer *writer = writer_new();
    CHECK_EQUAL(writer_open(writer, in_folder("bad.plait"), 1, START, NULL, &error), 0);
    writer_field(writer, "argv", "bytes \xff\xfe \"quoted\" \\ \x01");
    writer_field(writer, "instructions", "no counter\there");
    writer_field(writer, "note", "one");
    writer_field(writer, "note", "two");
    writer_field(writer, "late", "no");
    writer_field(writer, "late", "yes");
    writer_thread(writer, 0, 5, "na\nme");
    sample_code(writer, 1, "a;b\n.py", "<lambda>;\n\"\\\x7f\xe9", NULL, 1, "", 0, 0);
    struct frame frame = sample_python(1, -1);
    sample_put(writer, 0, START, 1000, 0, &frame, 1);
    CHECK_EQUAL(writer_close(writer, START, &error), 0);
    writer_free(writer);
    struct profiler_recording *recording = profiler_recording_open(in_folder("bad.plait"), NULL);
    CHECK(recording != NULL);
    if (recording == NULL)
        return;
    CHECK_EQUAL(profiler_recording_json(recording, in_folder("out.json")), 0);
    load("out.json");
    const char *end = json_space(json_value(text));
    CHECK(end != NULL && *end == '\0');
    has("\"symbol\": \"<lambda>;\\u000a\\\"\\\\\\u007f\xc3\xa9\"");
    has("\"notes\": [\"one\", \"two\"]");
    has("\"late\": \"yes\"");
    has("\"instructions_note\": \"no counter\\u0009here\"");
    CHECK_EQUAL(count_of("\"late\""), 1);
    has("bytes \xef\xbf\xbd\xef\xbf\xbd \\\"quoted\\\" \\\\ \\u0001");
    CHECK_EQUAL(profiler_recording_folded(recording, in_folder("out.folded"), 0), 0);
    load("out.folded");
    CHECK_STRING(text, "<lambda>: \"\\ \xc3\xa9 (a:b .py) 1\n");
    CHECK_EQUAL(profiler_recording_summary(recording, in_folder("out.txt")), 0);
    load("out.txt");
    has("<lambda>; \"\\ \xc3\xa9 (a;b .py:1)\n");
    has("\nInstructions: no counter here\n");
    profiler_recording_close(recording);
}

/* Inlined levels nest, the outer on the root side; equal places of different addresses are one node. */
static int fake_resolve(void *context, const char *path, const unsigned char *build_id,
                        uint32_t build_id_size, uint64_t offset, struct profiler_symbol *out, int capacity)
{
    (void)context;
    if (strcmp(path, "/usr/lib/libwork.so") != 0 || capacity < 2)
        return 0;
    CHECK(build_id_size == 0 && build_id != NULL);
    /* The exact address as it is, a return address less one. */
    CHECK(offset == 0x123 || offset == 0x124 || offset == 0x998);
    out[0] = (struct profiler_symbol){"inner", "work.c", 5};
    out[1] = (struct profiler_symbol){"outer", "work.c", 9};
    return offset == 0x998 ? 1 : 2;
}

static void inlined(void)
{
    struct profiler_symbolizer symbolizer = {NULL, fake_resolve, "a note"};
    struct profiler_recording *recording = known(&symbolizer);
    CHECK_EQUAL(profiler_recording_folded(recording, in_folder("out.folded"), 0), 0);
    load("out.folded");
    CHECK_STRING(text, "inner;work (app.py);outer;inner 30\ninner 10\n");
    CHECK_EQUAL(profiler_recording_summary(recording, in_folder("out.txt")), 0);
    load("out.txt");
    has("Note: a note\n");
    has("inner (work.c:5) < outer (work.c:9) < work (app.py:21) < inner (work.c:5)\n");
    profiler_recording_close(recording);
}

/* A stripped libc: the two functions that start a thread are hidden, the end of a stack that was cut is not.
 */
static void nameless_start(void)
{
    const struct frame thread[] = {sample_native(0x500123, FRAME_EXACT_PC), sample_native(0x400200, 0),
                                   sample_native(0x400100, 0)};
    const struct frame cut[] = {sample_native(0x500123, FRAME_EXACT_PC), sample_native(0x400400, 0),
                                sample_native(0x400300, 0)};
    const struct frame whole[] = {sample_native(0x500123, FRAME_EXACT_PC), sample_native(0x400300, 0),
                                  sample_native(0x500999, 0)};
    struct error error = {0};
    struct writer *writer = writer_new();
    CHECK_EQUAL(writer_open(writer, in_folder("start.plait"), 1, START, NULL, &error), 0);
    writer_library(writer, 0, 0x400000, 0x500000, 0x400000, NULL, 0, "/none/libc.so.6");
    writer_library(writer, 1, 0x500000, 0x600000, 0x500000, NULL, 0, "/none/libwork.so");
    writer_thread(writer, 0, 5, "thread");
    sample_put(writer, 0, START + 1, 1000, 0, thread, 3);
    sample_put(writer, 0, START + 2, 1000, 0, cut, 3);
    sample_put(writer, 0, START + 3, 1000, 0, whole, 3);
    CHECK_EQUAL(writer_close(writer, START + 4, &error), 0);
    writer_free(writer);
    struct profiler_recording *recording = profiler_recording_open(in_folder("start.plait"), NULL);
    CHECK(recording != NULL);
    if (recording == NULL)
        return;
    CHECK_EQUAL(profiler_recording_folded(recording, in_folder("out.folded"), 0), 0);
    load("out.folded");
    has("libc.so.6+0x300;libc.so.6+0x400;libwork.so+0x123 1\n");
    has("libwork.so+0x999;libc.so.6+0x300;libwork.so+0x123 1\n");
    CHECK(strncmp(text, "libwork.so+0x123 1\n", 19) == 0 || strstr(text, "\nlibwork.so+0x123 1\n") != NULL);
    profiler_recording_close(recording);
}

static void plumbing(void)
{
    const char *python = "/opt/lib/libpython3.12.so.1.0", *program = "/usr/bin/python3.11";
    CHECK(plumbing_is(python, "_PyEval_EvalFrameDefault"));
    CHECK(plumbing_is(python, "_PyEval_EvalFrameDefault.cold"));
    CHECK(plumbing_is(program, "PyObject_Vectorcall"));
    CHECK(plumbing_is(program, "cfunction_vectorcall_FASTCALL_KEYWORDS"));
    CHECK(plumbing_is("/lib/x86_64-linux-gnu/libc.so.6", "__libc_start_main_impl"));
    CHECK(plumbing_is("/lib/x86_64-linux-gnu/libc.so.6", "start_thread"));
    CHECK(plumbing_is("/any/libprofiler.so", NULL));
    CHECK(!plumbing_is(python, "list_sort_impl"));
    CHECK(!plumbing_is(python, "sre_ucs1_match"));
    CHECK(!plumbing_is(python, NULL));
    CHECK(!plumbing_is("/lib/x86_64-linux-gnu/libc.so.6", "malloc"));
    CHECK(!plumbing_is("/home/me/program", "run_mod"));
    CHECK(!plumbing_is("/home/me/program", "main"));
    CHECK(!plumbing_is("", NULL));
    CHECK(plumbing_is("/home/me/program", "_start"));
    CHECK(plumbing_is_start("__libc_start_main_impl") && plumbing_is_start("clone3"));
    CHECK(!plumbing_is_start("malloc"));
    CHECK(plumbing_is_libc("/usr/lib/libc.so.6") && !plumbing_is_libc("/usr/lib/libcrypto.so.3"));
}

int test_report_landmark(int value);
__attribute__((noinline)) int test_report_landmark(int value)
{
    return value * 3 + (int)strlen(folder);
}

static void elf_symbols(void)
{
    Dl_info info;
    void *landmark;
    int (*function)(int) = test_report_landmark;
    memcpy(&landmark, &function, sizeof landmark);
    if (dladdr(landmark, &info) == 0 || test_report_landmark(1) == 0)
        SKIP("dladdr does not know this program");
    uint64_t offset = (uint64_t)((char *)landmark - (char *)info.dli_fbase);
    struct profiler_symbolizer *elf = profiler_symbolizer_elf();
    struct profiler_symbol symbol = {0};
    CHECK_EQUAL(elf->resolve(elf->context, "/proc/self/exe", NULL, 0, offset, &symbol, 1), 1);
    CHECK_STRING(symbol.function, "test_report_landmark");
    CHECK_EQUAL(elf->resolve(elf->context, "/proc/self/exe", NULL, 0, offset + 1, &symbol, 4), 1);
    CHECK_STRING(symbol.function, "test_report_landmark");
    CHECK_EQUAL(elf->resolve(elf->context, "/proc/self/exe", NULL, 0, 8, &symbol, 1), 0);
    CHECK_EQUAL(elf->resolve(elf->context, "/proc/self/exe", NULL, 0, UINT64_MAX, &symbol, 1), 0);
    CHECK_EQUAL(elf->resolve(elf->context, in_folder("none"), NULL, 0, offset, &symbol, 1), 0);
    CHECK_EQUAL(elf->resolve(elf->context, "/dev/null", NULL, 0, offset, &symbol, 1), 0);
    CHECK_EQUAL(
        elf->resolve(elf->context, "/proc/self/exe", (const unsigned char *)"xyz", 3, offset, &symbol, 1), 0);
    CHECK(strstr(elf->note, "another build") != NULL);
}

/* The ELF reader meets this program's own file cut and damaged: no crash, and only names that are in it. */
static void damaged_elf(void)
{
    FILE *file = fopen("/proc/self/exe", "rb");
    unsigned char *bytes = calloc(1, 8 << 20);
    size_t size = file != NULL && bytes != NULL ? fread(bytes, 1, 8 << 20, file) : 0;
    CHECK(size > 1000);
    struct profiler_symbolizer *elf = profiler_symbolizer_elf();
    struct profiler_symbol symbol;
    uint64_t state = 1;
    for (int round = 0; round < 300; round++) {
        char name[64];
        snprintf(name, sizeof name, "damaged-%d", round);
        FILE *out = fopen(in_folder(name), "wb");
        CHECK(out != NULL);
        if (out == NULL)
            break;
        size_t kept = round % 3 == 0 ? size * (size_t)round / 300 : size;
        unsigned char *copy = malloc(size);
        memcpy(copy, bytes, size);
        for (int i = 0; i < round % 50; i++) { /* in the headers, and anywhere */
            state = state * 6364136223846793005u + 1442695040888963407u;
            size_t at = i % 2 ? (state >> 20) % 64 : size - 1 - (state >> 20) % (i % 4 ? size : 2000);
            copy[at] = (unsigned char)(state >> 56);
        }
        fwrite(copy, 1, kept, out);
        fclose(out);
        free(copy);
        for (uint64_t offset = 0; offset < size; offset += 997)
            if (elfsyms_start(in_folder(name), NULL, 0, offset, &state) >= 0 &&
                elf->resolve(elf->context, in_folder(name), NULL, 0, offset, &symbol, 1) == 1)
                CHECK(strlen(symbol.function) < size);
        unlink(in_folder(name));
    }
    free(bytes);
    if (file != NULL)
        fclose(file);
}

int main(int argc, char **argv)
{
    static const struct check_case cases[] = {
        {"json", json},
        {"summary", summary},
        {"folded", folded},
        {"unwritable", unwritable},
        {"hostile_names", hostile_names},
        {"inlined", inlined},
        {"nameless_start", nameless_start},
        {"plumbing", plumbing},
        {"elf_symbols", elf_symbols},
        {"damaged_elf", damaged_elf},
    };
    const char *temporary = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/plait-test-XXXXXX", temporary != NULL ? temporary : "/tmp");
    if (mkdtemp(folder) == NULL)
        return 2;
    int status = check_main(argc, argv, cases, sizeof cases / sizeof *cases);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) != 0 ? 2 : status;
}
