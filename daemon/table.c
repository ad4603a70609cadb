#include "daemon/table.h"

#include <stdarg.h>
#include <string.h>

#include "base/buf.h"

#define GAP 2

void text_table_init(struct text_table *t, const struct text_column *columns, size_t n)
{
        *t = (struct text_table){.ncolumns = n < TABLE_COLUMNS ? n : TABLE_COLUMNS};
        arena_init(&t->arena);
        memcpy(t->columns, columns, t->ncolumns * sizeof *columns);
}

void text_table_cut(struct text_table *t, size_t column, size_t cells)
{
        t->cut[column] = cells;
}

void text_table_release(struct text_table *t)
{
        arena_release(&t->arena);
}

void text_table_row(struct text_table *t)
{
        if (t->nrows == t->cap) {
                size_t cap = t->cap ? 2 * t->cap : 16;
                struct text_cell *cells = ARENA_ARRAY(&t->arena, struct text_cell, cap * t->ncolumns);
                if (t->nrows)
                        memcpy(cells, t->cells, t->nrows * t->ncolumns * sizeof *cells);
                t->cells = cells;
                t->cap = cap;
        }
        t->nrows++;
        for (size_t i = 0; i < t->ncolumns; i++)
                t->cells[(t->nrows - 1) * t->ncolumns + i] = (struct text_cell){.text = "", .style = STYLE_NONE};
}

void text_table_cell(struct text_table *t, size_t column, enum term_style style, const char *fmt, ...)
{
        char text[4000];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
        if (column < t->ncolumns && t->nrows)
                t->cells[(t->nrows - 1) * t->ncolumns + column] =
                        (struct text_cell){.text = arena_strdup(&t->arena, text), .style = style};
}

/* Continuation bytes of UTF-8 take no cell; names are not of scripts whose letters take two. */
size_t text_width(const char *s)
{
        size_t n = 0;
        for (; *s; s++)
                n += ((unsigned char)*s & 0xc0) != 0x80;
        return n;
}

static const struct text_cell *cell_at(const struct text_table *t, size_t row, size_t column)
{
        return &t->cells[row * t->ncolumns + column];
}

struct layout {
        size_t width[TABLE_COLUMNS];
        bool shown[TABLE_COLUMNS];
        size_t total, left_out, last; /* last: of those shown */
};

static void measure(const struct text_table *t, struct layout *l)
{
        *l = (struct layout){.total = 0};
        for (size_t c = 0; c < t->ncolumns; c++) {
                l->shown[c] = true;
                l->width[c] = text_width(t->columns[c].title);
                for (size_t r = 0; r < t->nrows; r++) {
                        size_t n = text_width(cell_at(t, r, c)->text);
                        l->width[c] = n > l->width[c] ? n : l->width[c];
                }
        }
}

static void sum_up(const struct text_table *t, struct layout *l)
{
        l->total = 0;
        for (size_t c = 0; c < t->ncolumns; c++)
                if (l->shown[c]) {
                        l->total += l->width[c] + (l->total ? GAP : 0);
                        l->last = c;
                }
}

/* False: nothing more may go. */
static bool leave_one_out(const struct text_table *t, struct layout *l)
{
        size_t least = t->ncolumns;
        for (size_t c = 0; c < t->ncolumns; c++)
                if (l->shown[c] && t->columns[c].keep < KEEP_ALWAYS &&
                    (least == t->ncolumns || t->columns[c].keep < t->columns[least].keep))
                        least = c;
        if (least == t->ncolumns)
                return false;
        l->shown[least] = false;
        l->left_out++;
        return true;
}

/* Cells that could be cut off. */
static size_t to_spare(const struct text_table *t, const struct layout *l, size_t c)
{
        size_t cut = t->cut[c];
        return l->shown[c] && cut && l->width[c] > cut ? l->width[c] - cut : 0;
}

static bool has_room(const struct text_table *t, const struct layout *l, size_t width)
{
        size_t spare = 0;
        for (size_t c = 0; c < t->ncolumns; c++)
                spare += to_spare(t, l, c);
        return l->total <= width + spare;
}

/* A cell off the widest, as long as there is one. */
static void narrow(const struct text_table *t, struct layout *l, size_t width)
{
        for (; l->total > width; l->total--) {
                size_t widest = t->ncolumns;
                for (size_t c = 0; c < t->ncolumns; c++)
                        if (to_spare(t, l, c) && (widest == t->ncolumns || l->width[c] > l->width[widest]))
                                widest = c;
                if (widest == t->ncolumns)
                        return;
                l->width[widest]--;
        }
}

static void fit(const struct text_table *t, struct layout *l, size_t width)
{
        measure(t, l);
        sum_up(t, l);
        while (width && !has_room(t, l, width) && leave_one_out(t, l))
                sum_up(t, l);
        if (width)
                narrow(t, l, width);
        if (width && l->total > width && !t->full_last) {
                size_t over = l->total - width, least = 8;
                l->width[l->last] = l->width[l->last] > over + least ? l->width[l->last] - over : least;
        }
}

static void put_text(struct buf *line, const char *text, size_t room)
{
        size_t cells = text_width(text), n = 0;
        const char *p = text;
        if (cells <= room) {
                buf_put_str(line, text);
                return;
        }
        for (; *p; p++) {
                n += ((unsigned char)*p & 0xc0) != 0x80;
                if (n + 1 >= room)
                        break;
        }
        buf_put(line, text, (size_t)(p - text));
        buf_put_str(line, "..");
}

static void put_cell(const struct text_table *t, const struct layout *l, size_t column, const struct text_cell *cell, bool colour,
                     struct buf *line)
{
        size_t room = t->full_last && column == l->last ? SIZE_MAX : l->width[column], n = text_width(cell->text);
        int pad = n < l->width[column] ? (int)(l->width[column] - n) : 0;
        bool styled = colour && cell->style != STYLE_NONE;
        if (t->columns[column].right)
                buf_printf(line, "%*s", pad, "");
        if (styled)
                buf_put_str(line, term_style(cell->style, true));
        put_text(line, cell->text, room);
        if (styled)
                buf_put_str(line, term_style(STYLE_NONE, true));
        if (!t->columns[column].right)
                buf_printf(line, "%*s", pad, "");
}

static void put_row(const struct text_table *t, const struct layout *l, const struct text_cell *cells, bool colour, FILE *out)
{
        struct buf line;
        buf_init(&line, 1u << 20);
        for (size_t c = 0; c < t->ncolumns; c++) {
                if (!l->shown[c])
                        continue;
                if (line.len)
                        buf_printf(&line, "%*s", GAP, "");
                put_cell(t, l, c, &cells[c], colour, &line);
        }
        while (line.len && line.data[line.len - 1] == ' ') /* an empty last cell leaves nothing behind */
                line.len--;
        fprintf(out, "%s\n", buf_cstr(&line));
        buf_release(&line);
}

size_t text_table_print(const struct text_table *t, int width, bool colour, FILE *out)
{
        struct layout l;
        struct text_cell head[TABLE_COLUMNS];
        fit(t, &l, width > 0 ? (size_t)width : 0);
        for (size_t c = 0; c < t->ncolumns; c++)
                head[c] = (struct text_cell){.text = t->columns[c].title, .style = STYLE_FAINT};
        put_row(t, &l, head, colour, out);
        for (size_t r = 0; r < t->nrows; r++)
                put_row(t, &l, &t->cells[r * t->ncolumns], colour, out);
        return l.left_out;
}

void text_table_show(const struct text_table *t)
{
        size_t out = text_table_print(t, term_width(), term_colour(), stdout);
        if (out)
                fprintf(stderr, "(%zu column%s left out: the terminal is too narrow; --json has everything)\n", out,
                        out == 1 ? "" : "s");
}
