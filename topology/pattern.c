#include <string.h>

#include "topology/build.h"
#include "topology/spec.h"

/* Patterns of tables: schema.table, each half a name, a glob, or a name in double quotes. */

bool schema_is_reserved(const char *schema)
{
        return strncmp(schema, "pg_", 3) == 0 || strcmp(schema, "information_schema") == 0 || strcmp(schema, "pangea") == 0;
}

bool glob_match(const char *glob, const char *text)
{
        const char *star = NULL, *retry = NULL;
        while (*text) {
                if (*glob == '*') {
                        star = glob++;
                        retry = text;
                } else if (*glob == *text) {
                        glob++;
                        text++;
                } else if (star) { /* let the last star eat one more */
                        glob = star + 1;
                        text = ++retry;
                } else {
                        return false;
                }
        }
        while (*glob == '*')
                glob++;
        return !*glob;
}

/* Reads one half at *s, leaves *s behind it. NULL when there is none or a quote is open. */
static char *half(struct arena *a, const char **s, bool *wild)
{
        const char *p = *s;
        char *out = arena_alloc(a, strlen(p) + 1);
        size_t n = 0;
        *wild = false;
        if (*p != '"') {
                n = strcspn(p, ". \t\r\n\",");
                memcpy(out, p, n);
                *wild = memchr(p, '*', n) != NULL;
                *s = p + n;
                return n ? out : NULL;
        }
        for (p++; *p; p++) {
                if (*p == '"' && p[1] != '"')
                        break;
                p += *p == '"';
                out[n++] = *p;
        }
        *s = p + (*p == '"');
        return *p && n ? out : NULL;
}

bool pattern_parse(struct arena *a, const char *text, struct table_pattern *out, const char **why)
{
        const char *s = text;
        memset(out, 0, sizeof *out);
        char *schema = half(a, &s, &out->schema_wild);
        if (schema && !*s) {
                *why = "has no schema; a table is written schema.table, such as public.accounts";
                return false;
        }
        bool dot = schema && *s == '.';
        s += dot;
        char *name = dot ? half(a, &s, &out->name_wild) : NULL;
        if (!name || *s) {
                *why = "is no table; a table is written schema.table or \"my schema\".\"my.table\", with * for any text";
                return false;
        }
        if (strlen(schema) > PG_NAME_MAX || strlen(name) > PG_NAME_MAX) {
                *why = "holds a name of more than 63 bytes, which PostgreSQL does not have";
                return false;
        }
        if (!out->schema_wild && schema_is_reserved(schema)) {
                *why = "is in a schema of PostgreSQL or of Pangea itself, which are not replicated";
                return false;
        }
        out->schema = schema;
        out->name = name;
        out->wildcard = out->schema_wild || out->name_wild;
        return true;
}

bool pattern_match(const struct table_pattern *p, const char *schema, const char *name)
{
        return (p->schema_wild ? glob_match(p->schema, schema) : strcmp(p->schema, schema) == 0) &&
               (p->name_wild ? glob_match(p->name, name) : strcmp(p->name, name) == 0);
}

static const char *half_str(struct arena *a, const char *name, bool wild)
{
        if (wild || !name[strcspn(name, ". \t\r\n\",*")])
                return name;
        char *out = arena_alloc(a, 2 * strlen(name) + 3), *to = out;
        *to++ = '"';
        for (; *name; name++) {
                if (*name == '"')
                        *to++ = '"';
                *to++ = *name;
        }
        *to = '"';
        return out;
}

const char *pattern_str(struct arena *a, const struct table_pattern *p)
{
        return arena_printf(a, "%s.%s", half_str(a, p->schema, p->schema_wild), half_str(a, p->name, p->name_wild));
}
