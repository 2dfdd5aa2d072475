/* SPDX-License-Identifier: MIT */
/* preload.c - the start under LD_PRELOAD. PLAIT_RUN holds the settings, a line each, key=value: output, rate,
 * depth, clock, mode, threads, overwrite, pid (of the tree's first process: `output` is its recording;
 * absent: whoever reads this records), children (1: the others of the tree record too, into OUTPUT.d), errors
 * (a file that gets the line when start or stop fails), handler (bench: "empty").
 *
 * The program sees its environment as if plait were not there. What it executes is given the two variables
 * again (exec.c): with children=1 always, else only by a launcher in its own place: a program that executes
 * the one that is meant (a shell, env, an interpreter's shim, which is a shell's script). Launchers are known
 * by name. With children=1 a launcher's recording begins as late as a child's: mostly never, so that the file
 * is left to the program. */
#include "engine.h"

#include "../os/os.h"
#include "follow.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct settings {
    struct profiler_options options;
    const char *errors;
    int pid, children, empty;
};

/* The next line of the text, cut off in place; NULL at its end. */
static char *take_line(char **text)
{
    char *line = *text;
    if (line == NULL || *line == 0)
        return NULL;
    char *end = strchr(line, '\n');
    if (end != NULL)
        *end++ = 0;
    *text = end;
    return line;
}

static void apply(struct settings *settings, const char *key, const char *value)
{
    if (strcmp(key, "output") == 0)
        settings->options.output = value;
    else if (strcmp(key, "rate") == 0)
        settings->options.rate = (uint32_t)strtoul(value, NULL, 10);
    else if (strcmp(key, "depth") == 0)
        settings->options.depth = (uint32_t)strtoul(value, NULL, 10);
    else if (strcmp(key, "clock") == 0)
        settings->options.clock = value;
    else if (strcmp(key, "mode") == 0)
        settings->options.mode = value;
    else if (strcmp(key, "threads") == 0)
        settings->options.threads = value;
    else if (strcmp(key, "overwrite") == 0)
        settings->options.overwrite = value[0] == '1';
    else if (strcmp(key, "children") == 0)
        settings->children = value[0] == '1';
    else if (strcmp(key, "pid") == 0)
        settings->pid = (int)strtol(value, NULL, 10);
    else if (strcmp(key, "errors") == 0)
        settings->errors = value;
    else if (strcmp(key, "handler") == 0)
        settings->empty = strcmp(value, "empty") == 0;
}

static int is_launcher(void)
{
    static const char *const names[] = {"sh",        "bash", "dash",   "zsh",     "ksh",     "busybox",
                                        "coreutils", "env",  "nice",   "nohup",   "setsid",  "stdbuf",
                                        "taskset",   "chrt", "ionice", "setpriv", "prlimit", "numactl"};
    char path[4096];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    path[size > 0 ? size : 0] = 0;
    const char *slash = strrchr(path, '/');
    for (size_t i = 0; slash != NULL && i < sizeof names / sizeof *names; i++)
        if (strcmp(slash + 1, names[i]) == 0)
            return 1;
    return 0;
}

/* Takes us out of LD_PRELOAD: a colon or space after our name means that the program has a value of its own.
 * Returns our name there, NULL when we are not in it. */
static const char *restore_environment(void)
{
    static char library[4096];
    char *value = getenv("LD_PRELOAD"), *start = value;
    size_t length = 0;
    unsetenv("PLAIT_RUN");
    for (; start != NULL; start = start[length] != 0 ? start + length + 1 : NULL) {
        length = strcspn(start, " :");
        if (length < sizeof library) {
            memcpy(library, start, length);
            library[length] = 0;
            if (strstr(library, "profiler.so") != NULL)
                break;
        }
    }
    if (start == NULL)
        return NULL;
    if (start == value && start[length] == 0)
        unsetenv("LD_PRELOAD");
    else if (start[length] != 0)
        memmove(start, start + length + 1, strlen(start + length + 1) + 1);
    else
        start[-1] = 0;
    return library;
}

static void record_at_once(const struct settings *settings)
{
    if (profiler_start(&settings->options) != 0)
        api_say(profiler_error());
}

/* Which recording this process makes, and when. */
static void begin(struct settings *settings, int launcher)
{
    int first = settings->pid == 0 || settings->pid == os_process_id();
    const char *output = settings->options.output;
    if (first && !(settings->children && launcher) &&
        !(settings->children && output != NULL && access(output, F_OK) == 0)) {
        engine.errors = settings->errors;
        record_at_once(settings);
        return;
    }
    if (!settings->children)
        return;
    settings->options.overwrite = 0;
    /* A process keeps its number when another program takes its place. */
    follow_arm(&settings->options, first && access(output, F_OK) != 0 ? output : NULL);
}

__attribute__((constructor)) static void at_load(void)
{
    static char text[8192];
    const char *run = getenv("PLAIT_RUN");
    if (run == NULL || strlen(run) >= sizeof text)
        return;
    strcpy(text, run);
    struct settings settings = {.options = {.size = sizeof settings.options}};
    char *rest = text, *line;
    while ((line = take_line(&rest)) != NULL) {
        char *value = strchr(line, '=');
        if (value == NULL)
            continue;
        *value++ = 0;
        apply(&settings, line, value);
    }
    int launcher = is_launcher(), own = settings.pid == os_process_id();
    const char *library = restore_environment();
    if (library != NULL && settings.pid != 0 && (settings.children || (own && launcher)))
        follow_keep(run, library, settings.options.output, settings.children);
    engine.empty_handler = settings.empty;
    begin(&settings, launcher);
}
