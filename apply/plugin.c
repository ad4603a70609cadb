#include "apply/plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define PLUGINS_MAX 64

struct loaded {
        char *path;
        const struct pangea_plugin *plugin;
};

struct plugins {
        char *dir;
        size_t n;
        struct loaded at[PLUGINS_MAX];
};

struct plugins *plugins_new(const char *dir)
{
        struct plugins *p = MEM_NEW(struct plugins);
        p->dir = dir ? mem_strdup(dir) : NULL;
        return p;
}

void plugins_free(struct plugins *p)
{
        if (!p)
                return;
        for (size_t i = 0; i < p->n; i++)
                free(p->at[i].path);
        free(p->dir);
        free(p);
}

/* Can anybody but root and ourselves change it? */
static enum status check_owner(int fd, const char *what, struct err *e)
{
        struct stat st;
        if (fstat(fd, &st) != 0)
                return err_set(e, ST_CONFIG, "%s: %s", what, strerror(errno));
        if (st.st_uid != 0 && st.st_uid != geteuid())
                return err_set(e, ST_CONFIG, "%s belongs to user %u; it must belong to root or to the user of the daemon", what,
                               st.st_uid);
        if (st.st_mode & (S_IWGRP | S_IWOTH))
                return err_set(e, ST_CONFIG, "%s can be written by others; run chmod go-w %s", what, what);
        return ST_OK;
}

static enum status check_folder(const struct plugins *p, const char *path, struct err *e)
{
        char dir[PATH_MAX], real[PATH_MAX];
        if (!p->dir)
                return err_set(e, ST_CONFIG,
                               "this daemon loads no plug-ins; start it with `pangea run --allow-plugins DIR` when %s may be "
                               "loaded",
                               path);
        if (!realpath(p->dir, dir))
                return err_set(e, ST_CONFIG, "--allow-plugins %s: %s", p->dir, strerror(errno));
        if (!realpath(path, real))
                return err_set(e, ST_CONFIG, "%s: %s", path, strerror(errno));
        size_t n = strlen(dir);
        if (strncmp(real, dir, n) != 0 || real[n] != '/' || strchr(real + n + 1, '/'))
                return err_set(e, ST_CONFIG, "%s is not in the folder that --allow-plugins names (%s)", path, dir);
        int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return err_set(e, ST_CONFIG, "%s: %s", dir, strerror(errno));
        enum status s = check_owner(fd, dir, e);
        close(fd);
        return s;
}

static enum status check_interface(const char *path, const struct pangea_plugin *plugin, struct err *e)
{
        if (!plugin)
                return err_set(e, ST_CONFIG, "%s exports no object pangea_plugin (conflict/plugin.h)", path);
        if (plugin->abi != PANGEA_PLUGIN_ABI)
                return err_set(e, ST_CONFIG,
                               "%s was built for interface %u, this daemon has %u; build it anew with this version's plugin.h",
                               path, plugin->abi, PANGEA_PLUGIN_ABI);
        if (!plugin->name || !plugin->settle)
                return err_set(e, ST_CONFIG, "%s: its pangea_plugin has no name or no settle", path);
        return ST_OK;
}

/* By its open descriptor: what was checked is what is loaded. */
static enum status load(const char *path, const struct pangea_plugin **out, struct err *e)
{
        char by_fd[40];
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return err_set(e, ST_CONFIG, "%s: %s", path, strerror(errno));
        enum status s = check_owner(fd, path, e);
        snprintf(by_fd, sizeof by_fd, "/proc/self/fd/%d", fd);
        void *so = s == ST_OK ? dlopen(by_fd, RTLD_NOW | RTLD_LOCAL) : NULL;
        if (s == ST_OK && !so)
                s = err_set(e, ST_CONFIG, "%s: %s", path, dlerror());
        close(fd);
        if (s != ST_OK || !so)
                return s;
        *out = dlsym(so, "pangea_plugin");
        s = check_interface(path, *out, e);
        if (s != ST_OK)
                dlclose(so);
        return s;
}

enum status plugin_load(struct plugins *p, const char *path, const struct pangea_plugin **out, struct err *e)
{
        for (size_t i = 0; i < p->n; i++)
                if (strcmp(p->at[i].path, path) == 0) {
                        *out = p->at[i].plugin;
                        return ST_OK;
                }
        enum status s = check_folder(p, path, e);
        if (s == ST_OK && p->n == PLUGINS_MAX)
                s = err_set(e, ST_CONFIG, "more than %d plug-ins", PLUGINS_MAX);
        if (s == ST_OK)
                s = load(path, out, e);
        if (s != ST_OK || !*out)
                return s;
        p->at[p->n++] = (struct loaded){mem_strdup(path), *out};
        log_event(LOG_INFO, "apply.plugin", "path=%s\tname=%s", path, (*out)->name);
        return ST_OK;
}
