/* SPDX-License-Identifier: MIT */
/* got.c - see got.h. A module's dynamic section lists its slots as relocations with symbols: JUMP_SLOT
 * (calls) and GLOB_DAT (addresses taken). Read from memory, where the loader keeps them; the modules are held
 * by the loader's lock meanwhile. */
#include "got.h"

#include <elf.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct search {
    const struct got_patch *patches;
    int count, done;
    uintptr_t own; /* an address inside this library */
};

struct module {
    uintptr_t base;
    const ElfW(Sym) * symbols;
    const char *strings;
    const ElfW(Rela) * tables[2];
    size_t sizes[2];
    uintptr_t relro_start, relro_end;
};

/* The loader has made these entries absolute in most modules, but not in the vdso and on some systems. */
static uintptr_t absolute(const struct module *module, uintptr_t value)
{
    return value < module->base ? module->base + value : value;
}

static void read_dynamic(struct module *module, const ElfW(Dyn) * entry)
{
    for (; entry->d_tag != DT_NULL; entry++) {
        uintptr_t value = (uintptr_t)entry->d_un.d_ptr;
        switch (entry->d_tag) {
        case DT_SYMTAB:
            module->symbols = (const void *)absolute(module, value);
            break;
        case DT_STRTAB:
            module->strings = (const void *)absolute(module, value);
            break;
        case DT_JMPREL:
            module->tables[0] = (const void *)absolute(module, value);
            break;
        case DT_PLTRELSZ:
            module->sizes[0] = value / sizeof(ElfW(Rela));
            break;
        case DT_RELA:
            module->tables[1] = (const void *)absolute(module, value);
            break;
        case DT_RELASZ:
            module->sizes[1] = value / sizeof(ElfW(Rela));
            break;
        default:
            break;
        }
    }
}

static int write_slot(const struct module *module, void **slot, void *value)
{
    uintptr_t page = (uintptr_t)slot & ~(uintptr_t)(sysconf(_SC_PAGESIZE) - 1);
    size_t size = (uintptr_t)(slot + 1) - page;
    int relro = (uintptr_t)slot >= module->relro_start && (uintptr_t)slot < module->relro_end;
    if (relro && mprotect((void *)page, size, PROT_READ | PROT_WRITE) < 0)
        return 0;
    __atomic_store_n(slot, value, __ATOMIC_RELEASE);
    if (relro)
        mprotect((void *)page, size, PROT_READ);
    return 1;
}

static void redirect_table(struct search *search, const struct module *module, int which)
{
    for (size_t i = 0; i < module->sizes[which]; i++) {
        const ElfW(Rela) *entry = &module->tables[which][i];
        unsigned long type = ELF64_R_TYPE(entry->r_info);
        if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT)
            continue;
        const char *name = module->strings + module->symbols[ELF64_R_SYM(entry->r_info)].st_name;
        for (int p = 0; p < search->count; p++) {
            void **slot = (void **)(module->base + entry->r_offset);
            if (strcmp(name, search->patches[p].name) == 0 && *slot != search->patches[p].replacement)
                search->done += write_slot(module, slot, search->patches[p].replacement);
        }
    }
}

static int redirect_module(struct dl_phdr_info *info, size_t size, void *argument)
{
    (void)size;
    struct search *search = argument;
    struct module module = {.base = info->dlpi_addr};
    const ElfW(Dyn) *dynamic = NULL;
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *file = slash != NULL ? slash + 1 : info->dlpi_name;
    if (strncmp(file, "libc.so", 7) == 0 || strncmp(file, "ld-linux", 8) == 0 ||
        strncmp(file, "linux-vdso", 10) == 0)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && search->own - start < segment->p_memsz)
            return 0;
        if (segment->p_type == PT_DYNAMIC)
            dynamic = (const void *)start;
        if (segment->p_type == PT_GNU_RELRO) {
            module.relro_start = start;
            module.relro_end = start + segment->p_memsz;
        }
    }
    if (dynamic == NULL)
        return 0;
    read_dynamic(&module, dynamic);
    for (int which = 0; which < 2; which++)
        if (module.symbols != NULL && module.strings != NULL && module.tables[which] != NULL)
            redirect_table(search, &module, which);
    return 0;
}

int got_redirect(const struct got_patch *patches, int count)
{
    struct search search = {patches, count, 0, (uintptr_t)&got_redirect};
    dl_iterate_phdr(redirect_module, &search);
    return search.done;
}
