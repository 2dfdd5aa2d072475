/* SPDX-License-Identifier: MIT */
/* demangle.c - libstdc++ (or libc++abi) is loaded when the first mangled name appears, so that nothing here
 * depends on C++; without it names stay as the compiler wrote them. Results are kept in a search tree: the
 * same few functions are asked for again and again. */
#include "demangle.h"
#include <dlfcn.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

typedef char *demangle_function(const char *mangled, char *buffer, size_t *length, int *status);

struct known_name {
    char *mangled; /* the key */
    char *readable;
};

struct demangle {
    void *library;
    demangle_function *function;
    int tried;
    void *entries; /* tsearch tree of struct known_name */
};

struct demangle *demangle_new(void)
{
    return calloc(1, sizeof(struct demangle));
}

static void free_entry(void *item)
{
    struct known_name *entry = item;
    free(entry->mangled);
    free(entry->readable);
    free(entry);
}

void demangle_free(struct demangle *names)
{
    if (names == NULL)
        return;
    tdestroy(names->entries, free_entry);
    if (names->library != NULL)
        dlclose(names->library);
    free(names);
}

static int compare(const void *left, const void *right)
{
    return strcmp(((const struct known_name *)left)->mangled, ((const struct known_name *)right)->mangled);
}

static void load(struct demangle *names)
{
    static const char *const libraries[] = {"libstdc++.so.6", "libc++abi.so.1"};
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries && names->function == NULL; i++) {
        void *library = dlopen(libraries[i], RTLD_LAZY | RTLD_LOCAL);
        void *found = library != NULL ? dlsym(library, "__cxa_demangle") : NULL;
        if (found != NULL) {
            names->library = library;
            memcpy(&names->function, &found, sizeof found);
        } else if (library != NULL) {
            dlclose(library);
        }
    }
    names->tried = 1;
}

const char *demangle_name(struct demangle *names, const char *name)
{
    if (strncmp(name, "_Z", 2) != 0)
        return name;
    if (!names->tried)
        load(names);
    if (names->function == NULL)
        return name;
    struct known_name *entry = calloc(1, sizeof *entry);
    if (entry == NULL || (entry->mangled = strdup(name)) == NULL) {
        free(entry);
        return name;
    }
    struct known_name **slot = tsearch(entry, &names->entries, compare);
    if (slot == NULL) {
        free_entry(entry);
        return name;
    }
    if (*slot != entry) {
        free_entry(entry);
    } else {
        int status = 0;
        entry->readable = names->function(name, NULL, NULL, &status);
    }
    return (*slot)->readable != NULL ? (*slot)->readable : (*slot)->mangled;
}
