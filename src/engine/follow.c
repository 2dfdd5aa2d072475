/* SPDX-License-Identifier: MIT */
/* follow.c - see follow.h. */
#include "follow.h"

#include "../core/decimal.h"
#include "../os/os.h"
#include "engine.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define RUN     "PLAIT_RUN="
#define PRELOAD "LD_PRELOAD="

enum { ENTRIES_MAX = 8192, LINE = 512, COUNTER_MAX = 99 };

static struct {
    char run[8192 + sizeof RUN]; /* NAME=TEXT; empty: nothing is passed on */
    char library[4096];
    char folder[4096];
    int tree;
    int process; /* that loaded this image */
} follow;

/* ---- text without libc's help ---- */

static char *put_text(char *at, const char *end, const char *text)
{
    while (*text != 0 && at < end)
        *at++ = *text++;
    return at;
}

static char *put_number(char *at, const char *end, uint64_t number)
{
    char digits[DECIMAL_MAX + 1];
    *decimal_put(digits, number) = 0;
    return put_text(at, end, digits);
}

/* ---- what is kept ---- */

void follow_keep(const char *run, const char *library, const char *output, int tree)
{
    size_t length = output != NULL ? strlen(output) : 0;
    if (library[0] != '/' || strlen(library) >= sizeof follow.library || length == 0 ||
        length + sizeof ".d/0-0-00.plait" + 40 >= sizeof follow.folder)
        return;
    strcpy(follow.library, library);
    memcpy(follow.folder, output, length);
    strcpy(follow.folder + length, ".d");
    strcpy(follow.run, RUN);
    strcpy(follow.run + strlen(RUN), run);
    follow.tree = tree;
    follow.process = os_process_id();
    exec_prepare();
}

/* ---- names and counts ---- */

/* FOLDER/PID-MICROSECONDS-00.plait */
static void name_recording(char *at, size_t size)
{
    const char *end = at + size - 1;
    at = put_text(at, end, follow.folder);
    at = put_text(at, end, "/");
    at = put_number(at, end, (uint64_t)os_process_id());
    at = put_text(at, end, "-");
    at = put_number(at, end, os_wall() / 1000);
    at = put_text(at, end, "-00.plait");
    *at = 0;
}

void follow_take_name(void)
{
    size_t length = strlen(engine.output);
    if (!engine.in_folder || length < sizeof "00.plait")
        return;
    os_call2(SYS_mkdir, follow.folder, 0777);
    char *digits = engine.output + length - strlen("00.plait");
    for (int counter = 1; counter <= COUNTER_MAX && os_call2(SYS_access, engine.output, 0) == 0; counter++) {
        digits[0] = (char)('0' + counter / 10);
        digits[1] = (char)('0' + counter % 10);
    }
}

/* One write to the end of the file: lines of several processes don't mix. */
static void count_line(const char *line, size_t size)
{
    char path[sizeof follow.folder + 16];
    strcpy(path, follow.folder);
    strcat(path, "/unsampled");
    int flags = O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY;
    int file = os_open(path, flags, 0666);
    if (file == -ENOENT) {
        os_call2(SYS_mkdir, follow.folder, 0777);
        file = os_open(path, flags, 0666);
    }
    if (file < 0)
        return;
    os_write(file, line, size);
    os_close(file);
}

static void count(const char *what, uint64_t number, const char *why, const char *name)
{
    char line[LINE];
    const char *end = line + sizeof line - 1;
    char *at = put_text(line, end, what);
    at = put_text(at, end, " ");
    at = put_number(at, end, (uint64_t)os_process_id());
    at = put_text(at, end, " ");
    at = why != NULL ? put_text(at, end, why) : put_number(at, end, number);
    at = put_text(at, end, " ");
    char *text = at;
    at = put_text(at, end, name);
    for (; text < at; text++)
        if ((unsigned char)*text < ' ')
            *text = '?';
    *at++ = '\n';
    count_line(line, (size_t)(at - line));
}

void follow_count_end(const char *what, uint64_t cpu, const char *name)
{
    char comm[17] = "";
    if (follow.run[0] == 0)
        return;
    if (name == NULL)
        os_call5(SYS_prctl, PR_GET_NAME, comm, 0, 0, 0);
    count(what, cpu, NULL, name != NULL ? name : comm);
}

/* ---- arming ---- */

void follow_arm(const struct profiler_options *options, const char *output)
{
    static char name[sizeof engine.output];
    struct error error = {0, 0, ""};
    struct profiler_options own = *options;
    api_lock();
    engine.in_folder = output == NULL;
    if (engine.in_folder)
        name_recording(name, sizeof name);
    own.output = engine.in_folder ? name : output;
    if (api_arm_locked(&own, &error) != 0)
        api_say(error.text);
    api_unlock();
}

void follow_forked(void)
{
    if (follow.run[0] == 0 || !follow.tree || engine.rate == 0)
        return;
    engine.pid = os_process_id();
    engine.in_folder = 1;
    engine.overwrite = 0;
    engine.errors = NULL;
    name_recording(engine.output, sizeof engine.output);
    api_arm_forked();
}

/* ---- what a program is given ---- */

static int is_named(const char *entry, const char *name)
{
    return strncmp(entry, name, strlen(name)) == 0;
}

int follow_is_on(void)
{
    return follow.run[0] != 0 && (follow.tree || os_process_id() == follow.process);
}

static void count_unfollowed(enum program program, const char *path)
{
    static const char *const why[] = {
        [PROGRAM_STATIC] = "static", [PROGRAM_FOREIGN] = "foreign", [PROGRAM_PRIVILEGED] = "privileged"};
    const char *slash = strrchr(path, '/');
    if (follow.tree)
        count("unfollowed", 0, why[program], slash != NULL ? slash + 1 : path);
}

size_t follow_words(enum program program, const char *path, char *const *given)
{
    size_t entries = 0, bytes = sizeof PRELOAD + strlen(follow.library) + 2;
    if (!follow_is_on() || program == PROGRAM_ABSENT)
        return 0;
    for (; given != NULL && given[entries] != NULL; entries++) {
        if (is_named(given[entries], RUN)) /* another plait, with a tree of its own */
            return 0;
        if (is_named(given[entries], PRELOAD))
            bytes += strlen(given[entries]);
    }
    if (program != PROGRAM_FITS) {
        count_unfollowed(program, path);
        return 0;
    }
    /* Another root folder, or another user: its loader would complain about a library that it can't read. */
    if (entries > ENTRIES_MAX || bytes > sizeof follow.library * 4 ||
        os_call3(SYS_access, follow.library, 4, 0) < 0)
        return 0;
    return entries + 3 + bytes / sizeof(char *) + 1;
}

/* Ours is the first word of the value; a colon follows only where the program has a value itself. */
char *const *follow_environment(char **room, char *const *given)
{
    size_t entries = 0, used = 0, preload = SIZE_MAX;
    for (; given != NULL && given[entries] != NULL; entries++) {
        if (is_named(given[entries], PRELOAD) && preload == SIZE_MAX)
            preload = used;
        room[used++] = given[entries];
    }
    const char *own = preload != SIZE_MAX ? room[preload] + strlen(PRELOAD) : NULL;
    if (own == NULL)
        preload = used++;
    room[used++] = follow.run;
    room[used++] = NULL;
    char *text = (char *)(room + used);
    room[preload] = text;
    text = stpcpy(stpcpy(text, PRELOAD), follow.library);
    if (own != NULL)
        stpcpy(stpcpy(text, ":"), own);
    return room;
}
