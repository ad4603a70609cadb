#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {
        [ST_OK] = "ok", [ST_RETRY] = "retry", [ST_DATA] = "data", [ST_CONFIG] = "config", [ST_FATAL] = "fatal", [ST_STOP] = "stop",
};
_Static_assert(sizeof names / sizeof *names == ST_COUNT, "a status without a name");

const char *status_name(enum status s)
{
        return names[s];
}

void err_clear(struct err *e)
{
        if (e)
                memset(e, 0, sizeof *e);
}

static void one_line(char *s)
{
        size_t n = strlen(s);
        while (n > 0 && (s[n - 1] == '\n' || s[n - 1] == ' '))
                s[--n] = 0;
        for (; *s; s++)
                if (*s == '\n' || *s == '\r' || *s == '\t')
                        *s = ' ';
}

static void fill(struct err *e, enum status code, const char *name, const char *fmt, va_list ap)
{
        e->code = code;
        e->sqlstate[0] = 0;
        snprintf(e->name, sizeof e->name, "%s", name);
        vsnprintf(e->msg, sizeof e->msg, fmt, ap);
        one_line(e->msg);
}

enum status err_set(struct err *e, enum status code, const char *fmt, ...)
{
        if (e) {
                va_list ap;
                va_start(ap, fmt);
                fill(e, code, "", fmt, ap);
                va_end(ap);
        }
        return code;
}

enum status err_named(struct err *e, enum status code, const char *name, const char *fmt, ...)
{
        if (e) {
                va_list ap;
                va_start(ap, fmt);
                fill(e, code, name, fmt, ap);
                va_end(ap);
        }
        return code;
}

enum status err_wrap(struct err *e, const char *fmt, ...)
{
        char context[sizeof e->msg], whole[sizeof e->msg];
        va_list ap;
        if (!e)
                return ST_FATAL;
        va_start(ap, fmt);
        vsnprintf(context, sizeof context, fmt, ap);
        va_end(ap);
        /* the context may be cut, never the cause: half of the room for either */
        snprintf(whole, sizeof whole, "%.*s: %.*s", (int)(sizeof whole / 2 - 3), context, (int)(sizeof whole / 2), e->msg);
        memcpy(e->msg, whole, sizeof e->msg);
        return e->code;
}
