#include "config/scalar.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "config/utf8.h"

#define EXPANDED_MAX ((size_t)64 * 1024)
#define SCALAR_MAX ((size_t)8 << 20)

const struct unit duration_units[] = {
        {"ms", INT64_C(1000), NULL},
        {"s", INT64_C(1000000), NULL},
        {"min", INT64_C(60000000), NULL},
        {"h", INT64_C(3600000000), NULL},
        {"d", INT64_C(86400000000), NULL},
        {"m", 0, "min"},
        {"mins", 0, "min"},
        {"minute", 0, "min"},
        {"minutes", 0, "min"},
        {"sec", 0, "s"},
        {"secs", 0, "s"},
        {"second", 0, "s"},
        {"seconds", 0, "s"},
        {"", 0, "s"},
        {"hour", 0, "h"},
        {"hours", 0, "h"},
        {"day", 0, "d"},
        {"days", 0, "d"},
        {NULL, 0, NULL},
};

const struct unit size_units[] = {
        {"B", 1, NULL},
        {"kB", INT64_C(1) << 10, NULL},
        {"MB", INT64_C(1) << 20, NULL},
        {"GB", INT64_C(1) << 30, NULL},
        {"", 0, "B"},
        {"b", 0, "B"},
        {"k", 0, "kB"},
        {"K", 0, "kB"},
        {"KB", 0, "kB"},
        {"kb", 0, "kB"},
        {"Kb", 0, "kB"},
        {"KiB", 0, "kB"},
        {"Ki", 0, "kB"},
        {"M", 0, "MB"},
        {"m", 0, "MB"},
        {"mb", 0, "MB"},
        {"Mb", 0, "MB"},
        {"MiB", 0, "MB"},
        {"Mi", 0, "MB"},
        {"G", 0, "GB"},
        {"gb", 0, "GB"},
        {"GiB", 0, "GB"},
        {"Gi", 0, "GB"},
        {NULL, 0, NULL},
};

bool scalar_int(const char *s, int64_t *out)
{
        const char *digits = s + (*s == '-');
        size_t n = strspn(digits, "0123456789");
        if (n == 0 || n > 18 || digits[n] || (digits[0] == '0' && n > 1))
                return false;
        *out = strtoll(s, NULL, 10);
        return true;
}

bool scalar_bool(const char *s, bool *out)
{
        *out = strcmp(s, "true") == 0;
        return *out || strcmp(s, "false") == 0;
}

static const struct unit *find_unit(const struct unit *units, const char *name)
{
        for (; units->name; units++)
                if (strcmp(units->name, name) == 0)
                        return units;
        return NULL;
}

bool scalar_quantity(const char *s, const struct unit *units, int64_t *out, char *hint)
{
        char number[20];
        size_t n = strspn(s, "0123456789");
        *hint = 0;
        if (n == 0 || n > 18)
                return false;
        memcpy(number, s, n);
        number[n] = 0;
        const char *name = s + n + strspn(s + n, " ");
        const struct unit *u = find_unit(units, name);
        int64_t v;
        if (!u || !scalar_int(number, &v))
                return false;
        if (u->instead || name != s + n) {
                snprintf(hint, SCALAR_HINT, "%s%s", number, u->instead ? u->instead : u->name);
                return false;
        }
        return !__builtin_mul_overflow(v, u->factor, out);
}

const char *quantity_str(char *buf, int64_t v, const struct unit *units)
{
        const struct unit *best = units;
        for (; units->name; units++)
                if (units->factor > best->factor && v != 0 && v % units->factor == 0)
                        best = units;
        snprintf(buf, SCALAR_HINT, "%" PRId64 "%s", v / best->factor, best->name);
        return buf;
}

static size_t name_len(const char *s)
{
        size_t n = 0;
        while (isalnum((unsigned char)s[n]) || s[n] == '_')
                n++;
        return n && !isdigit((unsigned char)s[0]) ? n : 0;
}

static bool usable(const char *value)
{
        size_t len = strlen(value);
        if (len > EXPANDED_MAX)
                return false;
        for (size_t i = 0; i < len;) {
                size_t n = utf8_len(value + i, len - i);
                if (n == 0)
                        return false;
                i += n;
        }
        return true;
}

/* s points behind "${"; appends the value and returns what follows "}", or NULL. */
static const char *expand_one(struct arena *a, const char *s, struct buf *out, const char **why)
{
        size_t n = name_len(s);
        if (n == 0 || s[n] != '}') {
                *why = "\"${\" begins ${NAME}, a name of letters, digits and _; write $${ for the text ${ itself";
                return NULL;
        }
        char *name = arena_strndup(a, s, n);
        const char *value = getenv(name);
        if (!value) {
                *why = arena_printf(a, "${%s} is not set in the environment", name);
                return NULL;
        }
        if (!usable(value)) {
                *why = arena_printf(a, "${%s} is not UTF-8 or too long", name);
                return NULL;
        }
        buf_put_str(out, value);
        return s + n + 1;
}

const char *scalar_expand(struct arena *a, const char *raw, const char **why)
{
        if (!strstr(raw, "${"))
                return raw;
        struct buf out;
        const char *s = raw, *text = NULL;
        buf_init(&out, SCALAR_MAX);
        while (s && *s) {
                if (strncmp(s, "$${", 3) == 0) {
                        buf_put_str(&out, "${");
                        s += 3;
                } else if (strncmp(s, "${", 2) == 0) {
                        s = expand_one(a, s + 2, &out, why);
                } else {
                        buf_put(&out, s++, 1);
                }
        }
        if (s && out.full)
                *why = "is too long once its ${NAME}s are expanded";
        else if (s)
                text = arena_strdup(a, buf_cstr(&out));
        buf_release(&out);
        return text;
}
