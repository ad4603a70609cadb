/* table: rows and columns of text that fit the terminal: the widest of those that may be cut is cut first, then the least important column goes,
 * then the last one is cut.
 * Owner: whoever called text_table_init.  Main thread. */
#ifndef PANGEA_DAEMON_TABLE_H
#define PANGEA_DAEMON_TABLE_H

#include <stdio.h>

#include "base/arena.h"
#include "daemon/term.h"

#define TABLE_COLUMNS 40
#define KEEP_ALWAYS 100

struct text_column {
        const char *title;
        bool right; /* aligned */
        int keep;   /* when there is no room the least goes first; KEEP_ALWAYS: never */
};

struct text_cell {
        const char *text;
        enum term_style style;
};

struct text_table {
        struct arena arena;
        size_t ncolumns, nrows, cap;
        struct text_column columns[TABLE_COLUMNS];
        size_t cut[TABLE_COLUMNS]; /* 0: never cut */
        struct text_cell *cells;
        bool full_last; /* the last column is never cut (what is to be copied) */
};

void text_table_init(struct text_table *t, const struct text_column *columns, size_t n);
/* When there is no room the cells of this column are cut, to so many at least, before another column goes. */
void text_table_cut(struct text_table *t, size_t column, size_t cells);
void text_table_release(struct text_table *t);
/* Begins a row; its cells are empty until they are set. */
void text_table_row(struct text_table *t);
void text_table_cell(struct text_table *t, size_t column, enum term_style style, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
/* width 0: no limit. Returns how many columns were left out. */
size_t text_table_print(const struct text_table *t, int width, bool colour, FILE *out);
/* The same to stdout as the terminal wants it; says on stderr what was left out. */
void text_table_show(const struct text_table *t);
/* Cells that this text takes on a terminal. */
size_t text_width(const char *s);

#endif
