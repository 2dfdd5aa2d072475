/* SPDX-License-Identifier: MIT */
/* demangle.h - readable names of C++ functions, by libstdc++'s own demangler where it can be loaded. */
#ifndef PLAIT_DEMANGLE_H
#define PLAIT_DEMANGLE_H

/* A set of demangled names; they live until demangle_free. */
struct demangle;

struct demangle *demangle_new(void); /* NULL without memory */
void demangle_free(struct demangle *names);

/* The readable form of `name`, or `name` itself where it isn't mangled or nothing can demangle it. */
const char *demangle_name(struct demangle *names, const char *name);

#endif
