/* execs.c - every way in which a C program starts another: `execs WAY FILE` starts FILE (a name in PATH for the
 * ways that search) with the argument "WAY"; the way decides about the environment. Ends as the child ended. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static const char *way;

static int is(const char *name)
{
    return strcmp(way, name) == 0;
}

static void in_place(char *file)
{
    char *argv[] = {file, (char *)way, NULL}, *few[] = {"ONLY=this", NULL};
    if (is("execv") || is("vfork"))
        execv(file, argv);
    if (is("execve"))
        execve(file, argv, environ);
    if (is("execve-few"))
        execve(file, argv, few);
    if (is("execve-null"))
        execve(file, argv, NULL);
    if (is("execvp"))
        execvp(file, argv);
    if (is("execvpe"))
        execvpe(file, argv, few);
    if (is("execl"))
        execl(file, file, way, (char *)NULL);
    if (is("execlp"))
        execlp(file, file, way, (char *)NULL);
    if (is("execle"))
        execle(file, file, way, (char *)NULL, few);
    if (is("fexecve"))
        fexecve(open(file, O_RDONLY), argv, environ);
    _exit(100 + errno);
}

static int status_of(pid_t child)
{
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 99;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int by_popen(const char *command, const char *mode)
{
    char line[4096];
    FILE *pipe = popen(command, mode);
    if (pipe == NULL)
        return 98;
    if (mode[0] == 'w')
        fputs("said to it\n", pipe);
    while (mode[0] == 'r' && fgets(line, sizeof line, pipe) != NULL)
        fputs(line, stdout);
    return WEXITSTATUS(pclose(pipe));
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    way = argv[1];
    char *file = argv[2], *child_argv[] = {file, argv[1], NULL}, command[4096];
    pid_t child = -1;
    setvbuf(stdout, NULL, _IONBF, 0);
    snprintf(command, sizeof command, "%s %s; exit $?", file, way);
    if (is("system"))
        return WEXITSTATUS(system(command));
    if (is("popen-r") || is("popen-w"))
        return by_popen(command, way + strlen("popen-"));
    if (is("posix_spawn"))
        return posix_spawn(&child, file, NULL, NULL, child_argv, environ) == 0 ? status_of(child) : 97;
    if (is("posix_spawnp"))
        return posix_spawnp(&child, file, NULL, NULL, child_argv, environ) == 0 ? status_of(child) : 97;
    if (is("vfork")) {
        child = vfork();
        if (child == 0) {
            execv(file, child_argv);
            _exit(100 + errno);
        }
        return status_of(child);
    }
    if (is("alone")) {
        in_place(file);
        return 96;
    }
    child = fork();
    if (child == 0)
        in_place(file);
    return status_of(child);
}
