/* SPDX-License-Identifier: MIT */
/* symbols.c - one libdwfl session per file, opened when its first address is asked for and kept: debug
 * information is indexed once. Files are reported at base 0, so that libdwfl's addresses are ELF addresses.
 *
 * What is known is given, in this order: the chain of inlined functions from debug information, the
 * subprogram, the symbol whose size covers the address. A symbol that doesn't reach the address is no answer.
 * Report side only: libc is used freely. */
#include "symbols.h"
#include "demangle.h"
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNSIZED_REACH = 4096 }; /* how far a symbol without a size (assembly) is believed */

struct file {
    struct file *next;
    char *path;
    Dwfl *session;
    Dwfl_Module *module; /* NULL: not readable, or not the file that was profiled */
    Dwarf_Die *unit;     /* where the last address was found: the next one often is there too */
    Dwarf_Addr bias;     /* of unit */
    int changed;         /* its build id is not the recording's */
};

struct symbols {
    struct profiler_symbolizer symbolizer; /* first: the handle is its address */
    pthread_mutex_t lock;
    struct file *files;
    struct demangle *names;
    unsigned changed;
    char note[96];
};

static char *debug_path; /* libdwfl's default search for separate debug files */

static const Dwfl_Callbacks callbacks = {
    .find_elf = dwfl_build_id_find_elf,
    .find_debuginfo = dwfl_standard_find_debuginfo,
    .section_address = dwfl_offline_section_address,
    .debuginfo_path = &debug_path,
};

static int is_profiled_one(Dwfl_Module *module, const unsigned char *build_id, uint32_t size)
{
    const unsigned char *found = NULL;
    GElf_Addr address = 0;
    int length = dwfl_module_build_id(module, &found, &address);
    if (size == 0 || length <= 0)
        return 1; /* nothing to compare */
    return (uint32_t)length == size && memcmp(found, build_id, size) == 0;
}

static void open_module(struct symbols *symbols, struct file *file, const unsigned char *build_id,
                        uint32_t size)
{
    if (file->path[0] != '/')
        return; /* [vdso] and the like have no file */
    file->session = dwfl_begin(&callbacks);
    if (file->session == NULL)
        return;
    dwfl_report_begin(file->session);
    Dwfl_Module *module = dwfl_report_elf(file->session, file->path, file->path, -1, 0, true);
    dwfl_report_end(file->session, NULL, NULL);
    if (module == NULL)
        return;
    if (is_profiled_one(module, build_id, size)) {
        file->module = module;
        return;
    }
    file->changed = 1;
    symbols->changed++;
    snprintf(symbols->note, sizeof symbols->note,
             "%u libraries changed since the recording: their names are left out", symbols->changed);
    symbols->symbolizer.note = symbols->note;
}

static struct file *find_file(struct symbols *symbols, const char *path, const unsigned char *build_id,
                              uint32_t size)
{
    for (struct file *file = symbols->files; file != NULL; file = file->next)
        if (strcmp(file->path, path) == 0)
            return file;
    struct file *file = calloc(1, sizeof *file);
    if (file == NULL || (file->path = strdup(path)) == NULL) {
        free(file);
        return NULL;
    }
    open_module(symbols, file, build_id, size);
    file->next = symbols->files;
    symbols->files = file;
    return file;
}

/* The compilation unit of an address: by .debug_aranges, else (clang writes none) by asking each unit. */
static Dwarf_Die *find_unit(struct file *file, Dwarf_Addr address)
{
    if (file->unit != NULL && dwarf_haspc(file->unit, address - file->bias) > 0)
        return file->unit;
    Dwarf_Die *unit = dwfl_module_addrdie(file->module, address, &file->bias);
    if (unit == NULL) {
        while ((unit = dwfl_module_nextcu(file->module, unit, &file->bias)) != NULL)
            if (dwarf_haspc(unit, address - file->bias) > 0)
                break;
    }
    file->unit = unit;
    return unit;
}

static const char *function_name(struct symbols *symbols, Dwarf_Die *die)
{
    Dwarf_Attribute attribute;
    const char *name = NULL;
    if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute) != NULL ||
        dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attribute) != NULL)
        name = dwarf_formstring(&attribute);
    if (name == NULL)
        return dwarf_diename(die);
    return demangle_name(symbols->names, name);
}

/* Where an inlined function was called from. */
static void call_site(Dwarf_Die *unit, Dwarf_Die *inlined, const char **path, uint32_t *line)
{
    Dwarf_Attribute attribute;
    Dwarf_Word value = 0;
    Dwarf_Files *files = NULL;
    size_t count = 0;
    *path = NULL;
    *line = 0;
    if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attribute), &value) == 0)
        *line = (uint32_t)value;
    if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attribute), &value) == 0 &&
        dwarf_getsrcfiles(unit, &files, &count) == 0 && value < count)
        *path = dwarf_filesrc(files, value, NULL, NULL);
}

/* Levels from the innermost scope outward to the function itself; 0 = no function is known here. */
static int resolve_scopes(struct symbols *symbols, Dwarf_Die *unit, Dwarf_Addr address,
                          struct profiler_symbol *out, int capacity)
{
    Dwarf_Die *at = NULL, *scopes = NULL;
    if (dwarf_getscopes(unit, address, &at) <= 0)
        return 0;
    int count = dwarf_getscopes_die(&at[0], &scopes);
    const char *path = NULL;
    int number = 0, levels = 0;
    Dwarf_Line *line = dwarf_getsrc_die(unit, address);
    if (line != NULL) {
        path = dwarf_linesrc(line, NULL, NULL);
        dwarf_lineno(line, &number);
    }
    uint32_t row = number > 0 ? (uint32_t)number : 0;
    for (int i = 0; i < count && levels < capacity; i++) {
        int tag = dwarf_tag(&scopes[i]);
        if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram)
            continue;
        const char *name = function_name(symbols, &scopes[i]);
        out[levels++] = (struct profiler_symbol){name, path, row};
        if (tag == DW_TAG_subprogram)
            break;
        call_site(unit, &scopes[i], &path, &row);
    }
    free(scopes);
    free(at);
    return levels;
}

static const char *symbol_name(struct symbols *symbols, Dwfl_Module *module, Dwarf_Addr address)
{
    GElf_Off offset = 0;
    GElf_Sym symbol;
    const char *name = dwfl_module_addrinfo(module, address, &offset, &symbol, NULL, NULL, NULL);
    if (name == NULL || name[0] == '\0')
        return NULL;
    if (symbol.st_size != 0 ? offset >= symbol.st_size : offset >= UNSIZED_REACH)
        return NULL;
    return demangle_name(symbols->names, name);
}

static int resolve_locked(struct symbols *symbols, struct file *file, Dwarf_Addr address,
                          struct profiler_symbol *out, int capacity)
{
    Dwarf_Die *unit = find_unit(file, address);
    int levels = unit != NULL ? resolve_scopes(symbols, unit, address - file->bias, out, capacity) : 0;
    if (levels > 0 && out[levels - 1].function != NULL)
        return levels;
    const char *name = symbol_name(symbols, file->module, address);
    if (levels > 0) {
        out[levels - 1].function = name;
        return levels;
    }
    out[0] = (struct profiler_symbol){name, NULL, 0};
    Dwarf_Line *line = unit != NULL ? dwarf_getsrc_die(unit, address - file->bias) : NULL;
    int number = 0;
    if (line != NULL && dwarf_lineno(line, &number) == 0 && number > 0) {
        out[0].file = dwarf_linesrc(line, NULL, NULL);
        out[0].line = (uint32_t)number;
    }
    return name != NULL || out[0].file != NULL;
}

static int resolve(void *context, const char *path, const unsigned char *build_id, uint32_t build_id_size,
                   uint64_t offset, struct profiler_symbol *out, int capacity)
{
    struct symbols *symbols = context;
    if (path == NULL || capacity < 1)
        return 0;
    pthread_mutex_lock(&symbols->lock);
    struct file *file = find_file(symbols, path, build_id, build_id_size);
    int levels = 0;
    if (file != NULL && file->module != NULL)
        levels = resolve_locked(symbols, file, offset, out, capacity);
    pthread_mutex_unlock(&symbols->lock);
    return levels;
}

struct profiler_symbolizer *profiler_symbols_open(void)
{
    struct symbols *symbols = calloc(1, sizeof *symbols);
    if (symbols == NULL || (symbols->names = demangle_new()) == NULL) {
        free(symbols);
        return NULL;
    }
    pthread_mutex_init(&symbols->lock, NULL);
    symbols->symbolizer = (struct profiler_symbolizer){symbols, resolve, ""};
    return &symbols->symbolizer;
}

void profiler_symbols_close(struct profiler_symbolizer *symbolizer)
{
    if (symbolizer == NULL)
        return;
    struct symbols *symbols = symbolizer->context;
    struct file *next;
    for (struct file *file = symbols->files; file != NULL; file = next) {
        next = file->next;
        if (file->session != NULL)
            dwfl_end(file->session);
        free(file->path);
        free(file);
    }
    demangle_free(symbols->names);
    pthread_mutex_destroy(&symbols->lock);
    free(symbols);
}
