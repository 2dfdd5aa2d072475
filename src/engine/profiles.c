/* SPDX-License-Identifier: MIT */
/* profiles.c - profiles are intervals of the one running sampler: opening and closing only note the time, so
 * they nest, overlap and run in several threads. A report on a profile reads the recording back and selects.
 */
#include "engine.h"

#include "../os/os.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct profile {
    struct profile *next;
    int64_t id;
    int tid; /* 0 = all threads */
    int closed;
    uint64_t open_since; /* os_now(), 0 while paused or closed */
    uint64_t *intervals; /* from, to, tid; ns since the recording's start */
    uint32_t count, capacity;
    uint64_t start; /* the recording's zero */
    int temporary;
    char path[]; /* the recording */
};

static struct profile *profiles;
static int64_t last_id;
static int started_here; /* the sampler runs for profiles only */

static struct profile *find(int64_t id)
{
    struct profile *profile = profiles;
    while (profile != NULL && profile->id != id)
        profile = profile->next;
    return profile;
}

static int any_open(void)
{
    for (const struct profile *profile = profiles; profile != NULL; profile = profile->next)
        if (!profile->closed)
            return 1;
    return 0;
}

int profiles_need(const char *path)
{
    for (const struct profile *profile = profiles; profile != NULL; profile = profile->next)
        if (strcmp(profile->path, path) == 0)
            return 1;
    return 0;
}

void profiles_leave_running(void)
{
    started_here = 0;
}

static int no_profile(struct error *error, int64_t id)
{
    return error_set(error, PROFILER_NO_PROFILE, 0, "there is no open profile %d", (int)id);
}

/* ---- the sampler behind them ---- */

static int differs(const char *asked, const char *running)
{
    return asked != NULL && strcmp(asked, "auto") != 0 && strcmp(asked, running) != 0;
}

static int agree(const struct profiler_options *o, struct error *error)
{
    if (o == NULL)
        return 0;
    if (o->rate != 0 && o->rate != engine.rate)
        return error_set(error, PROFILER_BAD_OPTION, 0,
                         "rate %d Hz: another profile runs at %d Hz, and one sampler serves all",
                         (int)o->rate, (int)engine.rate);
    if (o->depth != 0 && o->depth != engine.depth)
        return error_set(error, PROFILER_BAD_OPTION, 0,
                         "depth %d: another profile runs with depth %d, and one sampler serves all",
                         (int)o->depth, (int)engine.depth);
    if (differs(o->clock, engine.clock->name))
        return error_set(error, PROFILER_BAD_OPTION, 0,
                         "clock %s: another profile runs on clock %s, and one sampler serves all", o->clock,
                         engine.clock->name);
    if (differs(o->mode, engine.wall ? "wall" : "cpu"))
        return error_set(error, PROFILER_BAD_OPTION, 0,
                         "mode %s: another profile runs in mode %s, and one sampler serves all", o->mode,
                         engine.wall ? "wall" : "cpu");
    return 0;
}

static int need_sampler(const struct profiler_options *options, struct error *error)
{
    int running = engine.status == ENGINE_RUNNING;
    int code = running ? api_begin_locked(error) : 0;
    if (running && code == 0)
        code = agree(options, error);
    if (running && code != 0 && engine.resting) {
        if ((code = api_stop_locked(error)) != 0)
            return code;
        running = 0;
    }
    if (code != 0)
        return code;
    if (!running) {
        code = api_start_locked(options, error);
        started_here = code == 0;
        return code;
    }
    if (engine.resting) {
        __atomic_store_n(&engine.resting, 0, __ATOMIC_RELEASE);
        helper_ring();
    }
    return 0;
}

/* ---- intervals ---- */

static void begin_interval(struct profile *profile)
{
    if (profile->open_since == 0)
        profile->open_since = os_now();
}

static int end_interval(struct profile *profile, struct error *error)
{
    if (profile->open_since == 0)
        return 0;
    if (profile->count == profile->capacity) {
        uint32_t capacity = profile->capacity ? 2 * profile->capacity : 4;
        uint64_t *larger = realloc(profile->intervals, capacity * 3 * sizeof *larger);
        if (larger == NULL)
            return error_set(error, PROFILER_NO_MEMORY, 0, "no memory for the intervals of a profile");
        profile->intervals = larger;
        profile->capacity = capacity;
    }
    uint64_t *interval = profile->intervals + 3UL * profile->count++;
    interval[0] = profile->open_since - profile->start;
    interval[1] = os_now() - profile->start;
    interval[2] = (uint64_t)profile->tid;
    profile->open_since = 0;
    return 0;
}

static struct profile *new_profile(int current_thread)
{
    size_t length = strlen(engine.output) + 1;
    struct profile *profile = calloc(1, sizeof *profile + length);
    if (profile == NULL)
        return NULL;
    memcpy(profile->path, engine.output, length);
    profile->start = engine.start;
    profile->temporary = engine.temporary;
    profile->tid = current_thread ? os_thread_id() : 0;
    profile->id = ++last_id;
    profile->next = profiles;
    profiles = profile;
    return profile;
}

int64_t profiler_open(const struct profiler_options *options, int current_thread)
{
    struct error error = {0, 0, ""};
    struct profile *profile = NULL;
    api_lock();
    int code = need_sampler(options, &error);
    if (code == 0 && (profile = new_profile(current_thread)) == NULL)
        code = error_set(&error, PROFILER_NO_MEMORY, 0, "no memory for a profile");
    if (code != 0)
        api_fail(&error);
    else
        begin_interval(profile);
    int64_t id = profile != NULL ? profile->id : -code;
    api_unlock();
    return id;
}

enum change { PAUSE, RESUME, CLOSE };

static int change(int64_t id, enum change what)
{
    struct error error = {0, 0, ""};
    api_lock();
    struct profile *profile = find(id);
    int code = 0;
    if (profile == NULL || profile->closed)
        code = no_profile(&error, id);
    else if (what == RESUME)
        begin_interval(profile);
    else
        code = end_interval(profile, &error);
    if (code == 0 && what == CLOSE) {
        profile->closed = 1;
        if (started_here && !any_open() && engine.status == ENGINE_RUNNING) {
            __atomic_store_n(&engine.resting, 1, __ATOMIC_RELEASE);
            helper_ring();
        }
    }
    if (code != 0)
        api_fail(&error);
    api_unlock();
    return code;
}

int profiler_pause(int64_t profile)
{
    return change(profile, PAUSE);
}

int profiler_resume(int64_t profile)
{
    return change(profile, RESUME);
}

int profiler_close(int64_t profile)
{
    return change(profile, CLOSE);
}

static void release(struct profile *profile)
{
    struct profile **link = &profiles;
    while (*link != profile)
        link = &(*link)->next;
    *link = profile->next;
    if (profile->temporary && strcmp(profile->path, engine.output) != 0 && !profiles_need(profile->path))
        unlink(profile->path);
    free(profile->intervals);
    free(profile);
}

int profiler_forget(int64_t id)
{
    struct error error = {0, 0, ""};
    api_lock();
    struct profile *profile = find(id);
    int code = profile == NULL ? api_fail((no_profile(&error, id), &error)) : 0;
    if (profile != NULL)
        release(profile);
    api_unlock();
    return code;
}

void profiles_forget_all(void)
{
    while (profiles != NULL)
        release(profiles);
}

/* In the child the samples are the parent's business; its profiles stay known so that closing them is no
 * error. */
void profiles_after_fork(void)
{
    for (struct profile *profile = profiles; profile != NULL; profile = profile->next)
        profile->temporary = 0;
    started_here = 0;
}

/* ---- reports ---- */

typedef int write_function(struct profiler_recording *recording, const char *path);

static int write_folded(struct profiler_recording *recording, const char *path)
{
    return profiler_recording_folded(recording, path, 0);
}

static int report(const char *recording_path, const uint64_t *intervals, uint32_t count, const char *path,
                  write_function *write)
{
    struct profiler_recording *recording = profiler_recording_open(recording_path, profiler_symbolizer_elf());
    if (recording == NULL)
        return PROFILER_FILE;
    int code = count > 0 ? profiler_recording_select(recording, intervals, count) : 0;
    if (code == 0)
        code = write(recording, path);
    profiler_recording_close(recording);
    return code;
}

static int report_profile(int64_t id, const char *path, write_function *write)
{
    struct error error = {0, 0, ""};
    char recording[sizeof engine.output];
    uint64_t *intervals = NULL;
    uint32_t count = 0;
    int code = 0;
    api_drain();
    api_lock();
    struct profile *profile = find(id);
    if (profile == NULL)
        code = no_profile(&error, id);
    else if ((intervals = calloc(profile->count + 1U, 3 * sizeof *intervals)) == NULL)
        code = error_set(&error, PROFILER_NO_MEMORY, 0, "no memory for the intervals of a profile");
    if (code == 0) {
        count = profile->count;
        if (count > 0)
            memcpy(intervals, profile->intervals, count * 3 * sizeof *intervals);
        if (profile->open_since != 0) {
            uint64_t *last = intervals + 3UL * count++;
            last[0] = profile->open_since - profile->start;
            last[1] = os_now() - profile->start;
            last[2] = (uint64_t)profile->tid;
        }
        memcpy(recording, profile->path, strlen(profile->path) + 1);
    } else {
        api_fail(&error);
    }
    api_unlock();
    if (code == 0) {
        uint32_t selected = count > 0 ? count : 1; /* never resumed: an empty interval, not everything */
        code = report(recording, intervals, selected, path, write);
    }
    free(intervals);
    return code;
}

static int report_all(const char *path, write_function *write)
{
    struct error error = {0, 0, ""};
    char recording[sizeof engine.output];
    api_drain();
    api_lock();
    memcpy(recording, engine.output, sizeof recording);
    if (recording[0] == 0)
        api_fail(
            (error_set(&error, PROFILER_NOT_RUNNING, 0, "there is no recording yet; profiler_start() first"),
             &error));
    api_unlock();
    return recording[0] != 0 ? report(recording, NULL, 0, path, write) : error.code;
}

int profiler_profile_json(int64_t profile, const char *path)
{
    return report_profile(profile, path, profiler_recording_json);
}

int profiler_profile_summary(int64_t profile, const char *path)
{
    return report_profile(profile, path, profiler_recording_summary);
}

int profiler_profile_folded(int64_t profile, const char *path)
{
    return report_profile(profile, path, write_folded);
}

int profiler_write_json(const char *path)
{
    return report_all(path, profiler_recording_json);
}

int profiler_write_summary(const char *path)
{
    return report_all(path, profiler_recording_summary);
}

int profiler_write_folded(const char *path)
{
    return report_all(path, write_folded);
}
