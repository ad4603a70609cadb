#include "postgres/conninfo.h"

#include <ctype.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Options of which Pangea has its own opinion in every session. */
static const char *const own_options[] = {"replication", "application_name", "fallback_application_name", "client_encoding"};

static bool is_secret(const PQconninfoOption *o)
{
        return o->dispchar[0] == '*' || strstr(o->keyword, "password") || strstr(o->keyword, "secret") ||
               strcmp(o->keyword, "scram_client_key") == 0;
}

static const char *value_of(const PQconninfoOption *list, const char *keyword)
{
        for (; list && list->keyword; list++)
                if (strcmp(list->keyword, keyword) == 0 && list->val && *list->val)
                        return list->val;
        return NULL;
}

static bool may_hold_secret(const char *conninfo)
{
        return strcasestr(conninfo, "pass") || strcasestr(conninfo, "secret") || strstr(conninfo, "://");
}

static enum status unreadable(const char *conninfo, char *libpq_says, struct arena *a, struct conninfo *out, struct err *e)
{
        static const char invalid[] = "invalid connection option \"";
        char *name = strncmp(libpq_says, invalid, sizeof invalid - 1) == 0 ? libpq_says + sizeof invalid - 1 : NULL;
        char *end = name ? strchr(name, '"') : NULL;
        if (end && !may_hold_secret(conninfo)) {
                out->unknown = arena_strndup(a, name, (size_t)(end - name));
                return err_set(e, ST_CONFIG, "libpq knows no option %s", out->unknown);
        }
        if (strncmp(libpq_says, "missing \"=\"", 11) == 0)
                return err_set(e, ST_CONFIG, "a word without \"=\"; write key=value pairs, and values with blanks as key='a b'");
        /* libpq quotes what it could not read, and that may be half of a password */
        libpq_says[strcspn(libpq_says, "\"\n")] = 0;
        return err_set(e, ST_CONFIG, "libpq cannot read it: %s..", libpq_says);
}

/* The nth part of a comma-separated list, in lower case; "" behind its end. */
static char *part(struct arena *a, const char *list, size_t n)
{
        while (n > 0 && (list = strchr(list, ',')) != NULL) {
                list++;
                n--;
        }
        if (!list)
                return arena_strdup(a, "");
        char *s = arena_strndup(a, list, strcspn(list, ","));
        for (char *c = s; *c; c++)
                *c = (char)tolower((unsigned char)*c);
        return s;
}

static size_t count_parts(const char *list)
{
        size_t n = 1;
        while ((list = strchr(list, ',')) != NULL) {
                list++;
                n++;
        }
        return n;
}

static bool port_ok(const char *s)
{
        size_t n = strspn(s, "0123456789");
        return n > 0 && n < 6 && !s[n] && atoi(s) >= 1 && atoi(s) <= 65535;
}

static enum status read_hosts(const char *hosts, const char *ports, struct arena *a, struct conninfo *out, struct err *e)
{
        size_t nhosts = count_parts(hosts), nports = count_parts(ports);
        const char **list = ARENA_ARRAY(a, const char *, nhosts);
        if (nports != 1 && nports != nhosts)
                return err_set(e, ST_CONFIG, "%zu hosts but %zu ports; give one port, or one for each host", nhosts, nports);
        for (size_t i = 0; i < nhosts; i++) {
                const char *port = part(a, ports, nports == 1 ? 0 : i);
                if (!*port)
                        port = "5432";
                if (!port_ok(port))
                        return err_set(e, ST_CONFIG, "port is not a number from 1 to 65535");
                list[i] = arena_printf(a, "%s:%s", part(a, hosts, i), port);
        }
        out->hosts = list;
        out->nhosts = nhosts;
        return ST_OK;
}

static enum status read_options(const PQconninfoOption *list, const PQconninfoOption *standard, struct arena *a,
                                struct conninfo *out, struct err *e)
{
        for (size_t i = 0; i < sizeof own_options / sizeof *own_options; i++)
                if (value_of(list, own_options[i]))
                        return err_set(e, ST_CONFIG, "%s is set by Pangea itself; remove it", own_options[i]);
        for (const PQconninfoOption *o = list; o->keyword; o++)
                out->has_password = out->has_password || (is_secret(o) && o->val && *o->val);

        const char *dbname = value_of(list, "dbname"), *user = value_of(list, "user"), *service = value_of(list, "service");
        const char *host = value_of(list, "hostaddr"), *port = value_of(list, "port");
        if (!dbname)
                dbname = value_of(standard, "dbname");
        if (!dbname)
                dbname = user ? user : value_of(standard, "user");
        out->dbname = arena_strdup(a, dbname ? dbname : "");
        if (!host)
                host = value_of(list, "host");
        if (!host && service) { /* the file it names is on the machine that runs, not here */
                const char **one = ARENA_NEW(a, const char *);
                *one = arena_printf(a, "service %s", service);
                out->hosts = one;
                out->nhosts = 1;
                return ST_OK;
        }
        if (!host)
                host = value_of(standard, "host");
        if (!port)
                port = value_of(standard, "port");
        return read_hosts(host ? host : "", port ? port : "5432", a, out, e);
}

enum status pg_conninfo_check(const char *conninfo, struct arena *a, struct conninfo *out, struct err *e)
{
        char *says = NULL;
        PQconninfoOption *list = PQconninfoParse(conninfo, &says), *standard = NULL;
        enum status s;
        memset(out, 0, sizeof *out);
        if (list) {
                standard = PQconndefaults();
                s = read_options(list, standard, a, out, e);
        } else if (says) {
                s = unreadable(conninfo, says, a, out, e);
        } else {
                s = err_set(e, ST_FATAL, "out of memory");
        }
        PQfreemem(says);
        PQconninfoFree(standard);
        PQconninfoFree(list);
        return s;
}

size_t pg_conninfo_options(struct arena *a, const char *const **names)
{
        PQconninfoOption *all = PQconndefaults();
        size_t n = 0, i = 0;
        while (all && all[n].keyword)
                n++;
        const char **list = ARENA_ARRAY(a, const char *, n);
        for (; i < n; i++)
                list[i] = arena_strdup(a, all[i].keyword);
        PQconninfoFree(all);
        *names = list;
        return n;
}

static void put_value(struct buf *out, const char *value)
{
        bool plain = *value && !strpbrk(value, " \t\r\n'\\");
        buf_put_str(out, plain ? "" : "'");
        for (; *value; value++) {
                if (*value == '\'' || *value == '\\')
                        buf_put_str(out, "\\");
                buf_put(out, value, 1);
        }
        buf_put_str(out, plain ? "" : "'");
}

void pg_conninfo_mask(const char *conninfo, struct buf *out)
{
        PQconninfoOption *list = PQconninfoParse(conninfo, NULL);
        bool secret = false;
        const char *blank = "";
        if (!list) {
                buf_put_str(out, "****");
                return;
        }
        for (const PQconninfoOption *o = list; o->keyword; o++)
                secret = secret || (is_secret(o) && o->val && *o->val);
        if (!secret)
                buf_put_str(out, conninfo);
        for (const PQconninfoOption *o = list; secret && o->keyword; o++) {
                if (!o->val || !*o->val)
                        continue;
                buf_printf(out, "%s%s=", blank, o->keyword);
                put_value(out, is_secret(o) ? "****" : o->val);
                blank = " ";
        }
        PQconninfoFree(list);
}
