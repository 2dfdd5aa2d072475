/* SPDX-License-Identifier: MIT */
/* program.c - see program.h. The file is untrusted: it is read in pieces into fixed room. */
#include "program.h"

#include "../os/os.h"
#include "program_x86_64.h"
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { HEAD = 256, SEGMENTS = 64, SCRIPTS = 5 };

static int starts_with(const unsigned char *bytes, long size, const char *text)
{
    size_t length = strlen(text);
    return size >= (long)length && memcmp(bytes, text, length) == 0;
}

/* By the loader's name in the file. */
static enum program by_loader(int file, uint64_t offset, uint64_t size)
{
    char name[HEAD];
    long got = os_pread(file, name, sizeof name - 1, offset);
    if (got <= 0 || size < 2 || (long)size > got)
        return PROGRAM_FOREIGN;
    name[size - 1] = 0;
    const char *slash = strrchr(name, '/');
    return strcmp(slash != NULL ? slash + 1 : name, PROGRAM_LOADER) == 0 ? PROGRAM_FITS : PROGRAM_FOREIGN;
}

static enum program by_elf(int file, const Elf64_Ehdr *head)
{
    if (head->e_ident[EI_CLASS] != PROGRAM_CLASS || head->e_machine != PROGRAM_MACHINE)
        return PROGRAM_FOREIGN;
    for (unsigned i = 0; i < head->e_phnum && i < SEGMENTS; i++) {
        Elf64_Phdr segment;
        uint64_t at = head->e_phoff + i * (uint64_t)head->e_phentsize;
        if (os_pread(file, &segment, sizeof segment, at) != (long)sizeof segment)
            return PROGRAM_ABSENT;
        if (segment.p_type == PT_INTERP)
            return by_loader(file, segment.p_offset, segment.p_filesz);
    }
    return PROGRAM_STATIC;
}

/* The interpreter's path in a script's first line, cut out in place; NULL where there is none. */
static const char *interpreter(char *line, long size)
{
    char *start = line + 2, *end;
    line[size] = 0;
    start += strspn(start, " \t");
    end = start + strcspn(start, " \t\n\r");
    *end = 0;
    return start[0] != 0 ? start : NULL;
}

static int is_privileged(const struct stat *status)
{
    int group = (status->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);
    return ((status->st_mode & S_ISUID) != 0 && (long)status->st_uid != os_call0(SYS_getuid)) ||
           (group && (long)status->st_gid != os_call0(SYS_getgid));
}

/* 1 when `head` holds the start of a script, whose interpreter decides; else *found is the answer. */
static int look(int folder, const char *path, char *head, long *size, enum program *found)
{
    struct stat status;
    long flags = path[0] == 0 ? AT_EMPTY_PATH : 0;
    *found = PROGRAM_ABSENT;
    if (os_call4(SYS_newfstatat, folder, path, &status, flags) < 0 || !S_ISREG(status.st_mode) ||
        (status.st_mode & 0111) == 0)
        return 0;
    *found = is_privileged(&status) ? PROGRAM_PRIVILEGED : PROGRAM_FITS;
    int file = path[0] == 0 ? folder : (int)os_call4(SYS_openat, folder, path, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0) /* to be executed only */
        return 0;
    *size = os_pread(file, head, HEAD, 0);
    int script = *size > 2 && starts_with((const unsigned char *)head, *size, "#!");
    if (*found == PROGRAM_FITS && *size >= (long)sizeof(Elf64_Ehdr) &&
        starts_with((const unsigned char *)head, *size, ELFMAG)) {
        Elf64_Ehdr header;
        memcpy(&header, head, sizeof header);
        *found = by_elf(file, &header);
    }
    if (file != folder)
        os_close(file);
    return script;
}

enum program program_at(int folder, const char *path)
{
    char heads[2][HEAD + 1]; /* the path in one's line names the other */
    enum program found = PROGRAM_ABSENT;
    for (unsigned i = 0; path != NULL && i < SCRIPTS; i++) {
        long size;
        if (!look(folder, path, heads[i & 1], &size, &found))
            return found;
        path = interpreter(heads[i & 1], size);
    }
    return PROGRAM_ABSENT;
}

int program_search(const char *file, char *path, unsigned long size)
{
    size_t length = strlen(file);
    if (length == 0 || length >= size)
        return 0;
    if (strchr(file, '/') != NULL) {
        memcpy(path, file, length + 1);
        return 1;
    }
    const char *folders = getenv("PATH");
    for (const char *at = folders != NULL ? folders : "/bin:/usr/bin"; at != NULL;) {
        size_t folder = strcspn(at, ":");
        if (folder + 1 + length < size) {
            memcpy(path, at, folder);
            path[folder] = '/';
            memcpy(path + folder + (folder != 0), file, length + 1);
            if (program_at(AT_FDCWD, path) != PROGRAM_ABSENT)
                return 1;
        }
        at = at[folder] == ':' ? at + folder + 1 : NULL;
    }
    return 0;
}
