#include "daemon/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/term.h"

static const char *const results[] = {
        [VERIFY_IDENTICAL] = "identical",
        [VERIFY_DIFFERENT] = "different",
        [VERIFY_UNSETTLED] = "unsettled",
        [VERIFY_SKIPPED] = "skipped",
};

const char *vresult_name(enum vresult r)
{
        return results[r];
}

json_t *verify_text(const char *s)
{
        json_t *j = json_stringn(s, strlen(s));
        return j ? j : json_null();
}

static size_t count(const struct vreport *r, enum vresult what)
{
        size_t n = 0;
        for (size_t i = 0; i < r->nplan; i++)
                n += r->answers[i].result == what;
        return n;
}

/* "us, eu, ap": the regions of a bit mask, in the order of the topology. */
static const char *regions_str(const struct vreport *r, uint32_t mask, char *buf, size_t size)
{
        size_t n = 0;
        buf[0] = 0;
        for (size_t i = 0; i < r->topology->nregions && n < size; i++)
                if (mask >> i & 1)
                        n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "", r->topology->regions[i].name);
        return buf;
}

/* ---- for people --------------------------------------------------------------------------------------------------------------------- */
#define SHOWN_CHARS 120

/* A value, cut at a character's beginning (UTF-8). */
static void print_value(const json_t *v)
{
        const char *s = json_string_value(v);
        if (!s) {
                fputs("NULL", stdout);
                return;
        }
        size_t n = strlen(s), cut = n;
        if (n > SHOWN_CHARS)
                for (cut = SHOWN_CHARS; cut > 0 && ((unsigned char)s[cut] & 0xc0) == 0x80;)
                        cut--;
        printf("'%.*s'%s", (int)cut, s, cut < n ? ".." : "");
}

/* Does this column differ between the regions that have the row? */
static bool column_differs(json_t *rows, const char *column)
{
        json_t *first = NULL, *row;
        const char *region;
        json_object_foreach(rows, region, row)
        {
                json_t *here = json_object_get(row, column);
                if (!json_is_object(row))
                        continue;
                if (first && !json_equal(first, here))
                        return true;
                first = here;
        }
        return false;
}

static size_t rows_there(json_t *rows)
{
        size_t n = 0;
        json_t *row;
        const char *region;
        json_object_foreach(rows, region, row)
        {
                n += json_is_object(row);
        }
        return n;
}

static void print_row(json_t *rows, const char *region, json_t *row)
{
        const char *column, *sep = "";
        json_t *value;
        size_t there = rows_there(rows), shown = 0;
        printf("      %-8s ", region);
        if (!json_is_object(row)) {
                puts("no such row");
                return;
        }
        json_object_foreach(row, column, value)
        {
                if (there > 1 && !column_differs(rows, column))
                        continue;
                if (shown++ == 8) {
                        fputs(", ..", stdout);
                        break;
                }
                printf("%s%s=", sep, column);
                if (json_is_integer(value))
                        printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
                else
                        print_value(value);
                sep = ", ";
        }
        puts(shown ? "" : "there");
}

static void print_differences(const struct vplan *p, const struct vanswer *x)
{
        size_t i;
        json_t *d, *row;
        const char *region;
        json_array_foreach(x->differences, i, d)
        {
                json_t *key = json_object_get(d, "key"), *rows = json_object_get(d, "rows");
                fputs("    ", stdout);
                for (size_t k = 0; k < p->nkeys; k++) {
                        printf("%s%s=", k ? ", " : "", p->keys[k]);
                        print_value(json_object_get(key, p->keys[k]));
                }
                puts(p->nkeys ? "" : "a row (the table has no key)");
                json_object_foreach(rows, region, row)
                {
                        print_row(rows, region, row);
                }
        }
        if (x->followed && x->suspects.n > json_array_size(x->differences))
                printf("    and %zu more keys\n", x->suspects.n - json_array_size(x->differences));
        else if (!x->followed && json_array_size(x->differences))
                puts("    and more");
}

/* A name that does not fit has a line of its own. */
static void print_name(int width, const char *name)
{
        bool fits = (int)strlen(name) <= width;
        printf("%s%s%*s", name, fits ? "" : "\n", fits ? width - (int)strlen(name) : width, "");
}

static void print_table(const struct vreport *r, size_t i, int width)
{
        const struct vplan *p = &r->plan[i];
        const struct vanswer *x = &r->answers[i];
        char name[256], who[512];
        snprintf(name, sizeof name, "%s.%s", p->schema, p->name);
        if (x->result == VERIFY_SKIPPED) {
                print_name(width, name);
                printf("  %12s  not compared: %s\n", "", p->skipped);
                return;
        }
        uint32_t routed = p->present & ~p->apart; /* rows of their own are not counted */
        const char *rows = x->rows[__builtin_ctz(routed ? routed : p->present)];
        print_name(width, name);
        if (x->result == VERIFY_IDENTICAL) {
                printf("  %12s  identical in %s\n", rows, regions_str(r, p->present, who, sizeof who));
        } else {
                printf("  %12s  %s:", "", x->result == VERIFY_DIFFERENT ? "DIFFERENT" : "still moving");
                for (size_t g = 0, n = 0; g < r->topology->nregions; g++)
                        if (x->rows[g])
                                printf("%s %s has %s rows", n++ ? "," : "", r->topology->regions[g].name, x->rows[g]);
                puts("");
                print_differences(p, x);
        }
        if (p->present != p->regions)
                printf("    %s.%s does not exist in %s: create it there\n", p->schema, p->name,
                       regions_str(r, p->regions & ~p->present, who, sizeof who));
        if (p->note)
                printf("    %s\n", p->note);
}

static void print_sum(const struct vreport *r)
{
        char who[512];
        size_t same = count(r, VERIFY_IDENTICAL), differ = count(r, VERIFY_DIFFERENT), moving = count(r, VERIFY_UNSETTLED);
        size_t skipped = count(r, VERIFY_SKIPPED);
        if (!r->nplan) {
                puts("there is no replicated table to compare");
                return;
        }
        printf("%zu table%s identical", same, same == 1 ? "" : "s");
        if (differ || moving)
                printf(", %zu different, %zu still moving", differ, moving);
        else
                printf(" in %s", regions_str(r, (uint32_t)((UINT64_C(1) << r->topology->nregions) - 1), who, sizeof who));
        if (skipped)
                printf(", %zu not compared", skipped);
        printf(" (%.1f s%s)\n", r->seconds, r->waited || r->timed_out ? "" : ", without waiting for anything in flight");
}

#define FOR_THE_REST 44 /* rows, result and some names of regions */

void verify_print_text(const struct vreport *r)
{
        int width = 5, most = term_width() - FOR_THE_REST;
        for (size_t i = 0; i < r->nplan; i++) {
                int n = (int)(strlen(r->plan[i].schema) + 1 + strlen(r->plan[i].name));
                width = n > width && (n <= most || !term_width()) ? n : width;
        }
        if (r->nplan)
                printf("%-*s  %12s  RESULT\n", width, "TABLE", "ROWS");
        for (size_t i = 0; i < r->nplan; i++)
                print_table(r, i, width);
        print_sum(r);
        if (r->timed_out)
                printf("time is out: %s\n", r->why);
}

/* ---- for programs ------------------------------------------------------------------------------------------------------------------- */
static json_t *per_region(const struct vreport *r, const struct vplan *p, const struct vanswer *x, bool rows)
{
        json_t *o = json_object();
        for (size_t g = 0; g < r->topology->nregions; g++) {
                if (!(p->regions >> g & 1))
                        continue;
                const char *s = rows ? x->rows[g] : x->total[g];
                json_object_set_new(o, r->topology->regions[g].name,
                                    !s     ? json_null()
                                    : rows ? json_integer(atoll(s))
                                           : verify_text(s));
        }
        return o;
}

static json_t *table_json(const struct vreport *r, size_t i)
{
        const struct vplan *p = &r->plan[i];
        const struct vanswer *x = &r->answers[i];
        char name[256];
        json_t *keys = json_array();
        snprintf(name, sizeof name, "%s.%s", p->schema, p->name);
        for (size_t k = 0; k < p->nkeys; k++)
                json_array_append_new(keys, verify_text(p->keys[k]));
        json_t *o = json_pack("{s:s, s:s, s:s?, s:s?, s:o}", "table", name, "result", vresult_name(x->result), "why", p->skipped,
                              "note", p->note, "key", keys);
        if (x->result != VERIFY_SKIPPED) {
                json_object_set_new(o, "rows", per_region(r, p, x, true));
                json_object_set_new(o, "hash", per_region(r, p, x, false));
        }
        if (x->result == VERIFY_DIFFERENT || x->result == VERIFY_UNSETTLED) {
                json_object_set_new(o, "differing_keys", x->followed ? json_integer((json_int_t)x->suspects.n) : json_null());
                if (x->differences)
                        json_object_set(o, "differences", x->differences);
        }
        return o;
}

void verify_print_json(const struct vreport *r)
{
        json_t *tables = json_array(), *regions = json_array();
        for (size_t i = 0; i < r->nplan; i++)
                json_array_append_new(tables, table_json(r, i));
        for (size_t g = 0; g < r->topology->nregions; g++)
                json_array_append_new(regions, verify_text(r->topology->regions[g].name));
        const char *result = count(r, VERIFY_DIFFERENT) ? "different" : r->timed_out ? "timeout" : "identical";
        json_t *o =
                json_pack("{s:s, s:s, s:b, s:f, s:s?, s:o, s:O, s:o}", "cluster", r->topology->cluster, "result", result, "waited",
                          r->waited, "seconds", r->seconds, "why", r->why, "regions", regions, "notes", r->notes, "tables", tables);
        json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        puts("");
        json_decref(o);
}

void verify_print_failure(const struct topology *t, const struct err *e)
{
        json_t *o = json_pack("{s:s, s:s, s:s?, s:o}", "cluster", t->cluster, "result", "error", "error", *e->name ? e->name : NULL,
                              "why", verify_text(e->msg));
        json_dumpf(o, stdout, JSON_INDENT(2));
        puts("");
        json_decref(o);
}
