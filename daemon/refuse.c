#include "daemon/refuse.h"

#include <stdarg.h>
#include <stdio.h>

#include "config/suggest.h"
#include "daemon/errors.h"

int refuse(const char *name, const char *fmt, ...)
{
        const struct error_row *row = error_find(name);
        va_list ap;
        fprintf(stderr, "pangea: %s: ", name);
        va_start(ap, fmt);
        vfprintf(stderr, fmt, ap);
        va_end(ap);
        fputc('\n', stderr);
        return row ? (int)row->exit : EXIT_USAGE;
}

int refuse_for(const char *command, const struct err *e)
{
        int code = exit_code_of(e);
        fprintf(stderr, "pangea: %s: %s: %s\n", command, error_name(e), e->msg);
        return code ? code : EXIT_RUNTIME;
}

const char *refuse_meant(const struct suggestion *s, char room[REFUSE_MEANT])
{
        *room = 0;
        if (s->best)
                snprintf(room, REFUSE_MEANT, ": did you mean '%s'?", s->best);
        return room;
}
