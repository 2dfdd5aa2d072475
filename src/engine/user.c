/* SPDX-License-Identifier: MIT */
/* user.c - see user.h. */
#include "user.h"

#include "../core/decimal.h"
#include "../os/os.h"
#include "proc.h"
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { GROUPS_MAX = 256, REAL = 0, EFFECTIVE = 1, SAVED = 2 };

/* The numbers that follow `label` on its line. */
static unsigned numbers(const char *text, const char *label, uint32_t *to, unsigned most)
{
    unsigned count = 0;
    for (const char *at = proc_behind(text, label); *at != 0 && *at != '\n' && count < most;) {
        uint64_t number;
        const char *behind = decimal_get(at, &number);
        if (behind != at)
            to[count++] = (uint32_t)number;
        at = behind != at ? behind : at + 1;
    }
    return count;
}

static int differ(const uint32_t *left, const uint32_t *right)
{
    return left[REAL] != right[REAL] || left[EFFECTIVE] != right[EFFECTIVE] || left[SAVED] != right[SAVED];
}

void user_follow(struct writer *writer)
{
    char text[8192];
    uint32_t user[3], group[3], own_user[3], own_group[3], groups[GROUPS_MAX];
    long size = os_read_file("/proc/self/status", text, sizeof text - 1);
    text[size > 0 ? size : 0] = 0;
    if (numbers(text, "\nUid:", user, 3) != 3 || numbers(text, "\nGid:", group, 3) != 3 ||
        os_call3(SYS_getresuid, &own_user[REAL], &own_user[EFFECTIVE], &own_user[SAVED]) < 0 ||
        os_call3(SYS_getresgid, &own_group[REAL], &own_group[EFFECTIVE], &own_group[SAVED]) < 0 ||
        user[EFFECTIVE] != user[SAVED] || group[EFFECTIVE] != group[SAVED] ||
        (!differ(user, own_user) && !differ(group, own_group)))
        return;
    writer_give(writer, user[EFFECTIVE], group[EFFECTIVE]);
    unsigned count = numbers(text, "\nGroups:", groups, GROUPS_MAX);
    long dumpable = os_call5(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0);
    os_call2(SYS_setgroups, count, groups);
    os_call3(SYS_setresgid, group[REAL], group[EFFECTIVE], group[SAVED]);
    os_call3(SYS_setresuid, user[REAL], user[EFFECTIVE], user[SAVED]);
    /* A change of user makes the memory undumpable, which the program may have undone after its own. */
    if (dumpable == 1)
        os_call5(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
}
