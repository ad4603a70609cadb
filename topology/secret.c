#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "topology/build.h"

#define SECRET_MAX ((size_t)64 * 1024)

/* Cuts one newline; false when a 0 byte is in it or nothing is left. */
static bool trim(char *s, size_t n)
{
        s[n] = 0;
        if (strlen(s) != n)
                return false;
        if (n > 0 && s[n - 1] == '\n')
                s[--n] = 0;
        if (n > 0 && s[n - 1] == '\r')
                s[--n] = 0;
        return n > 0;
}

enum status secret_read(const char *file, char **out, struct err *e)
{
        enum status s = ST_OK;
        char *text = mem_alloc(SECRET_MAX + 2);
        FILE *f = fopen(file, "rbe");
        size_t n = 0;
        *out = NULL;
        if (!f) {
                s = err_set(e, ST_CONFIG, "%s: cannot be opened: %s", file, strerror(errno));
                goto out;
        }
        n = fread(text, 1, SECRET_MAX + 1, f);
        if (ferror(f))
                s = err_set(e, ST_CONFIG, "%s: cannot be read: %s", file, strerror(errno));
        else if (n > SECRET_MAX)
                s = err_set(e, ST_CONFIG, "%s: is larger than %zu kB, which no secret is", file, SECRET_MAX / 1024);
        else if (!trim(text, n))
                s = err_set(e, ST_CONFIG, "%s: is empty or holds a 0 byte; put the secret into it, as text", file);
        if (s == ST_OK)
                *out = mem_strdup(text);
        fclose(f);
out:
        explicit_bzero(text, SECRET_MAX + 2);
        free(text);
        return s;
}

enum status region_password(const struct region *r, char **out, struct err *e)
{
        *out = NULL;
        if (!r->password_file)
                return ST_OK;
        if (secret_read(r->password_file, out, e) != ST_OK)
                return err_wrap(e, "regions.%s.postgres.password_file", r->name);
        return ST_OK;
}

bool property_is_secret(const char *key)
{
        return strstr(key, "password") || strstr(key, "secret") || strcmp(key, "ssl.key.pem") == 0 ||
               strcmp(key, "sasl.oauthbearer.config") == 0;
}

const char *path_beside(struct arena *a, const char *file, const char *path)
{
        const char *slash = strrchr(file, '/');
        if (path[0] == '/' || !slash)
                return arena_strdup(a, path);
        return arena_printf(a, "%.*s/%s", (int)(slash - file), file, path);
}
