/* SPDX-License-Identifier: MIT */
/* program_x86_64.h - what a program must be for this library to be loaded into it. */
#ifndef PLAIT_PROGRAM_X86_64_H
#define PLAIT_PROGRAM_X86_64_H

#include <elf.h>

#define PROGRAM_MACHINE EM_X86_64
#define PROGRAM_CLASS   ELFCLASS64
#define PROGRAM_LOADER  "ld-linux-x86-64.so.2" /* glibc's; another libc's refuses to start with us */

#endif
