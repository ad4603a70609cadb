/* What init and deinit say, and the SQL that they print: as lines, or gathered for --json. */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/init.h"

void init_say(const struct init *i, const char *fmt, ...)
{
        char text[2000];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
        fprintf(stderr, "%s: %s\n", i->r->name, text);
        if (i->said)
                json_array_append_new(i->said, json_string(text));
}

void init_print(const struct init *i, const char *fmt, ...)
{
        struct buf text;
        va_list ap, again;
        va_start(ap, fmt);
        va_copy(again, ap);
        int n = vsnprintf(NULL, 0, fmt, ap);
        va_end(ap);
        buf_init(&text, 0);
        uint8_t *room = buf_reserve(&text, (size_t)n + 1);
        if (room) {
                vsnprintf((char *)room, (size_t)n + 1, fmt, again);
                if (i->sql)
                        buf_put(i->sql, room, (size_t)n);
                else
                        fwrite(room, 1, (size_t)n, stdout);
        }
        va_end(again);
        buf_release(&text);
}

void init_report_begin(struct init *i, struct buf *sql)
{
        buf_init(sql, 0);
        i->sql = sql;
        i->said = json_array();
}

json_t *init_report_end(struct init *i, const struct err *e)
{
        json_t *o = json_pack("{s:s, s:b, s:b}", "region", i->r->name, "done", e == NULL, "dry_run", i->dry_run);
        json_object_set_new(o, "error",
                            e ? json_pack("{s:s?, s:s}", "name", *e->name ? e->name : NULL, "message", e->msg) : json_null());
        json_object_set_new(o, "sql", json_string(buf_cstr(i->sql)));
        json_object_set_new(o, "said", i->said);
        buf_release(i->sql);
        i->sql = NULL;
        i->said = NULL;
        return o;
}
