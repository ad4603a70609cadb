#include "base/failpoint.h"

#ifdef PANGEA_FAILPOINTS

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_POINTS 64

/* test builds only: how often each step was passed */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
        char name[64];
        unsigned passed;
} points[MAX_POINTS];

static unsigned count(const char *name)
{
        unsigned n = 0;
        pthread_mutex_lock(&lock);
        for (size_t i = 0; i < MAX_POINTS; i++) {
                if (points[i].name[0] == 0)
                        snprintf(points[i].name, sizeof points[i].name, "%s", name);
                if (strcmp(points[i].name, name) == 0) {
                        n = ++points[i].passed;
                        break;
                }
        }
        pthread_mutex_unlock(&lock);
        return n;
}

static void act(const char *name, const char *what, const char *file)
{
        fprintf(stderr, "failpoint %s: %s\n", name, what);
        if (strncmp(what, "exit", 4) == 0)
                kill(getpid(), SIGKILL);
        if (strncmp(what, "pause", 5) == 0) {
                if (*file) {
                        int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
                        if (fd >= 0)
                                close(fd);
                }
                raise(SIGSTOP); /* to this very thread: another one might be scheduled late, and this one go on meanwhile */
        }
}

void failpoint_hit(const char *name)
{
        const char *env = getenv("PANGEA_FAILPOINT");
        if (!env || !*env)
                return;
        unsigned nth = count(name);
        char all[1024], *save = NULL;
        snprintf(all, sizeof all, "%s", env);
        for (char *one = strtok_r(all, ",", &save); one; one = strtok_r(NULL, ",", &save)) {
                char *eq = strchr(one, '=');
                if (!eq)
                        continue;
                *eq = 0;
                if (strcmp(one, name) != 0)
                        continue;
                char *file = strchr(eq + 1, ':'), *at;
                if (file)
                        *file++ = 0;
                at = strchr(eq + 1, '@');
                unsigned want = at ? (unsigned)strtoul(at + 1, NULL, 10) : 1;
                if (nth == want)
                        act(name, eq + 1, file ? file : "");
        }
}
#else
typedef int failpoint_unused; /* ISO C wants a declaration in every file */
#endif
