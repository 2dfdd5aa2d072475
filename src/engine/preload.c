/* SPDX-License-Identifier: MIT */
/* preload.c - the start under LD_PRELOAD. PLAIT_RUN holds the settings, a line each, key=value: output, rate,
 * depth, clock, mode, threads, overwrite, preload (LD_PRELOAD as it was, absent if it was not set), pid (only
 * this process records), errors (a file that gets the line when start or stop fails), handler (bench:
 * "empty").
 *
 * The program sees its environment as if plait were not there. Only a launcher, which executes the program
 * that is meant in its own process (a shell, env, an interpreter's shim, which is a shell's script), keeps
 * the two variables, and only in the process that was asked for. Launchers are known by name. */
#include "engine.h"

#include "../os/os.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct settings {
    struct profiler_options options;
    const char *preload, *errors;
    int pid, empty;
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
    else if (strcmp(key, "preload") == 0)
        settings->preload = value;
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

static void restore_environment(const struct settings *settings)
{
    unsetenv("PLAIT_RUN");
    if (settings->preload != NULL)
        setenv("LD_PRELOAD", settings->preload, 1);
    else
        unsetenv("LD_PRELOAD");
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
    int mine = settings.pid == 0 || settings.pid == os_process_id();
    if (!mine || settings.pid == 0 || !is_launcher())
        restore_environment(&settings);
    if (!mine)
        return;
    engine.empty_handler = settings.empty;
    engine.errors = settings.errors;
    if (profiler_start(&settings.options) != 0)
        api_say(profiler_error());
}
