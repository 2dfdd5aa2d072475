/* SPDX-License-Identifier: MIT */
/* got.h - the same interposition as preloading gives, for a library that came by dlopen: the slots through
 * which the loaded modules call a few functions are pointed at ours. */
#ifndef PLAIT_GOT_H
#define PLAIT_GOT_H

struct got_patch {
    const char *name;  /* of the function */
    void *replacement; /* called instead */
};

/* Redirects every module that is loaded now, but this library, the loader and libc's own inner calls. A slot
 * that can't be written (mprotect refused) stays as it is. Returns how many slots were redirected. Not in a
 * signal handler; takes the loader's lock. */
int got_redirect(const struct got_patch *patches, int count);

#endif
