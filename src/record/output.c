/* SPDX-License-Identifier: MIT */
/* output.c - see output.h. */
#include "output.h"
#include "profiler.h"
#include <errno.h>
#include <string.h>

int output_open(struct output *output, const char *path)
{
    struct error error;
    output->path = path;
    output->file = fopen(path, "we");
    if (output->file != NULL)
        return 0;
    error_set(&error, PROFILER_FILE, errno, "open of %s to write the report", path);
    return error_publish(&error);
}

int output_close(struct output *output, int code)
{
    struct error error;
    int failed = ferror(output->file), sys = failed ? EIO : 0;
    errno = 0;
    if (fclose(output->file) != 0 || failed) {
        sys = errno != 0 ? errno : sys;
        error_set(&error, PROFILER_FILE, sys, "write of the report %s", output->path);
        return error_publish(&error);
    }
    if (code == 0)
        return 0;
    error_set(&error, code, 0, "no memory for the report %s", output->path);
    return error_publish(&error);
}

void output_text(struct output *output, const char *text)
{
    fputs(text, output->file);
}

void output_number(struct output *output, uint64_t value)
{
    fprintf(output->file, "%llu", (unsigned long long)value);
}

void output_signed(struct output *output, int64_t value)
{
    fprintf(output->file, "%lld", (long long)value);
}

void output_fraction(struct output *output, uint64_t value, unsigned digits)
{
    uint64_t one = 1;
    for (unsigned i = 0; i < digits; i++)
        one *= 10;
    fprintf(output->file, "%llu.%0*llu", (unsigned long long)(value / one), (int)digits,
            (unsigned long long)(value % one));
}

void output_hex(struct output *output, uint64_t value)
{
    fprintf(output->file, "0x%llx", (unsigned long long)value);
}

void output_json(struct output *output, const char *text)
{
    fputc('"', output->file);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(output->file, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(output->file, "\\u%04x", c);
        else
            fputc(c, output->file);
    }
    fputc('"', output->file);
}

uint64_t output_permille(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (part * 2000 + whole) / (2 * whole);
}

const char *output_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}
