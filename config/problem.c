#include "config/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/utf8.h"

#define QUOTE_MAX 64

void problems_init(struct problems *p, const char *file)
{
        memset(p, 0, sizeof *p);
        arena_init(&p->arena);
        p->file = arena_strdup(&p->arena, file);
}

void problems_release(struct problems *p)
{
        arena_release(&p->arena);
        memset(p, 0, sizeof *p);
}

/* A key of the file may hold a newline: a message stays one line whatever is in it. */
static void one_line(char *s)
{
        for (; *s; s++)
                if ((unsigned char)*s < 0x20 || *s == 0x7f)
                        *s = '?';
}

static void add(struct problems *p, struct problem new, const char *path, const char *fmt, va_list ap)
{
        char message[1000];
        if (!new.warning)
                p->errors++;
        if (p->n == PROBLEMS_MAX) {
                p->dropped++;
                return;
        }
        vsnprintf(message, sizeof message, fmt, ap);
        one_line(message);
        char *where = arena_strdup(&p->arena, path);
        one_line(where);
        new.path = where;
        new.message = arena_strdup(&p->arena, message);
        p->list[p->n++] = new;
}

void problem_error(struct problems *p, struct place at, const char *path, const char *fmt, ...)
{
        va_list ap;
        va_start(ap, fmt);
        add(p, (struct problem){.warning = false, .at = at}, path, fmt, ap);
        va_end(ap);
}

void problem_warn(struct problems *p, struct place at, const char *path, const char *fmt, ...)
{
        va_list ap;
        va_start(ap, fmt);
        add(p, (struct problem){.warning = true, .at = at}, path, fmt, ap);
        va_end(ap);
}

static bool before(const struct problem *a, const struct problem *b)
{
        return a->at.line != b->at.line ? a->at.line < b->at.line : a->at.column < b->at.column;
}

/* Insertion: there are few, and those of one place must stay in the order in which they were found. */
void problems_sort(struct problems *p)
{
        for (size_t i = 1; i < p->n; i++) {
                struct problem moving = p->list[i];
                size_t at = i;
                for (; at > 0 && before(&moving, &p->list[at - 1]); at--)
                        p->list[at] = p->list[at - 1];
                p->list[at] = moving;
        }
}

void problems_print(const struct problems *p, bool warnings, struct buf *out)
{
        for (size_t i = 0; i < p->n; i++) {
                const struct problem *q = &p->list[i];
                if (q->warning && !warnings)
                        continue;
                buf_put_str(out, p->file);
                if (q->at.line)
                        buf_printf(out, ":%d:%d", q->at.line, q->at.column);
                buf_printf(out, ": %s%s%s%s\n", q->warning ? "warning: " : "", q->path, *q->path ? ": " : "", q->message);
        }
        if (p->dropped)
                buf_printf(out, "%s: and %zu more; mend these first\n", p->file, p->dropped);
}

void problems_print_json(const struct problems *p, bool warnings, struct buf *out)
{
        const char *comma = "";
        buf_put_str(out, "[");
        for (size_t i = 0; i < p->n; i++) {
                const struct problem *q = &p->list[i];
                if (q->warning != warnings)
                        continue;
                buf_printf(out, "%s{\"file\":", comma);
                problem_json_string(out, p->file);
                buf_printf(out, ",\"line\":%d,\"column\":%d,\"path\":", q->at.line, q->at.column);
                problem_json_string(out, q->path);
                buf_put_str(out, ",\"message\":");
                problem_json_string(out, q->message);
                buf_put_str(out, "}");
                comma = ",";
        }
        buf_put_str(out, "]");
}

void problem_json_string(struct buf *out, const char *s)
{
        const char *end = s + strlen(s);
        buf_put_str(out, "\"");
        while (s < end) {
                unsigned char c = (unsigned char)*s;
                size_t n = utf8_len(s, (size_t)(end - s));
                if (c == '"' || c == '\\')
                        buf_printf(out, "\\%c", c);
                else if (c == '\n')
                        buf_put_str(out, "\\n");
                else if (c == '\t')
                        buf_put_str(out, "\\t");
                else if (c < 0x20 || c == 0x7f)
                        buf_printf(out, "\\u%04x", c);
                else if (n)
                        buf_put(out, s, n);
                else
                        buf_put_str(out, "\\ufffd");
                s += n ? n : 1;
        }
        buf_put_str(out, "\"");
}

const char *problem_quote(struct problems *p, const char *s)
{
        size_t len = strlen(s), n = 0;
        while (n < len && n < QUOTE_MAX) {
                size_t step = utf8_len(s + n, len - n);
                n += step ? step : 1;
        }
        char *text = arena_printf(&p->arena, "\"%.*s%s\"", (int)n, s, n < len ? ".." : "");
        one_line(text);
        return text;
}
