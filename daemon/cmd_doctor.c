/* pangea doctor: findings of several regions that are the same are shown as one. */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/doctor.h"
#include "daemon/term.h"

struct merged {
        const struct finding *f;
        uint32_t regions; /* 0: it is between regions */
};

struct merge {
        struct arena arena;
        struct merged *list;
        size_t n, count[SEVERITY_COUNT];
};

static bool same_text(const char *a, const char *b)
{
        return a == b || (a && b && strcmp(a, b) == 0);
}

static void merge_one(struct merge *m, const struct finding *f)
{
        uint32_t region = f->region ? UINT32_C(1) << f->region->id.i : 0;
        for (size_t i = 0; i < m->n; i++) {
                const struct finding *g = m->list[i].f;
                if (f->check == g->check && f->severity == g->severity && same_text(f->object, g->object) &&
                    same_text(f->what, g->what) && same_text(f->todo, g->todo)) {
                        m->list[i].regions |= region;
                        return;
                }
        }
        m->list[m->n++] = (struct merged){.f = f, .regions = region};
        m->count[f->severity]++;
}

static void merge_all(const struct doctor *d, struct merge *m)
{
        size_t most = 0;
        for (size_t i = 0; i <= d->t->nregions; i++) {
                const struct patient *p = i < d->t->nregions ? &d->patients[i] : &d->together;
                for (int s = 0; s < SEVERITY_COUNT; s++)
                        most += p->count[s];
        }
        arena_init(&m->arena);
        m->list = ARENA_ARRAY(&m->arena, struct merged, most);
        /* by check, so that one subject stands together; the printer takes the worst first */
        for (size_t c = 0; c < doctor_check_count; c++)
                for (size_t i = 0; i <= d->t->nregions; i++)
                        for (const struct finding *f = (i < d->t->nregions ? &d->patients[i] : &d->together)->first; f; f = f->next)
                                if (f->check == &doctor_checks[c])
                                        merge_one(m, f);
}

/* ---- for people ---------------------------------------------------------------------------------------------------------------------- */
#define MARGIN 9

/* Broken at words when there is a width; a line of its own for each line of it. */
static void paragraph(const char *label, const char *text, int width, bool wrap)
{
        int at = 0, room = wrap && width > 40 ? width - MARGIN : 0, gap = 0;
        printf("%-*s", MARGIN, label);
        for (const char *p = text; *p; p += gap) {
                int word = (int)strcspn(p, " \n");
                bool full = room && at && at + gap + word > room;
                if (full) /* the blanks before it end the line */
                        printf("\n%*s%.*s", MARGIN, "", word, p);
                else
                        printf("%*s%.*s", gap, "", word, p);
                at = (full ? 0 : at + gap) + word;
                p += word;
                if (*p == '\n') {
                        printf("\n%*s", MARGIN, "");
                        at = 0;
                        p++;
                }
                gap = (int)strspn(p, " ");
        }
        putchar('\n');
}

static void print_finding(const struct doctor *d, const struct merged *m, int width, bool colour)
{
        static const enum term_style styles[SEVERITY_COUNT] = {
                [SEVERITY_NOTE] = STYLE_FAINT, [SEVERITY_WARNING] = STYLE_WARN, [SEVERITY_ERROR] = STYLE_BAD};
        const char *between = "";
        printf("%s%-7s%s  ", term_style(styles[m->f->severity], colour), severity_name(m->f->severity),
               term_style(STYLE_NONE, colour));
        for (size_t i = 0; i < d->t->nregions; i++)
                if (m->regions >> i & 1) {
                        printf("%s%s", between, d->t->regions[i].name);
                        between = ", ";
                }
        printf("%s%s%s%s\n", *between ? ": " : "", m->f->check->name, m->f->object ? ": " : "", m->f->object ? m->f->object : "");
        paragraph("", m->f->what, width, true);
        paragraph("  why", m->f->check->why, width, true);
        if (*m->f->todo)
                paragraph("  do", m->f->todo, width, false); /* to be copied */
        putchar('\n');
}

static size_t regions_seen(const struct doctor *d)
{
        size_t n = 0;
        for (size_t i = 0; i < d->t->nregions; i++)
                n += d->patients[i].region != NULL;
        return n;
}

static void print_text(const struct doctor *d, const struct merge *m)
{
        int width = term_width();
        bool colour = term_colour();
        for (int s = SEVERITY_ERROR; s >= SEVERITY_NOTE; s--)
                for (size_t i = 0; i < m->n; i++)
                        if (m->list[i].f->severity == (enum severity)s)
                                print_finding(d, &m->list[i], width, colour);
        size_t e = m->count[SEVERITY_ERROR], w = m->count[SEVERITY_WARNING], n = m->count[SEVERITY_NOTE], r = regions_seen(d);
        printf("cluster %s, %zu region%s: %zu error%s, %zu warning%s, %zu note%s%s\n", d->t->cluster, r, r == 1 ? "" : "s", e,
               e == 1 ? "" : "s", w, w == 1 ? "" : "s", n, n == 1 ? "" : "s", e || w ? "" : ": healthy");
}

/* ---- for programs -------------------------------------------------------------------------------------------------------------------- */
static json_t *finding_json(const struct doctor *d, const struct merged *m)
{
        json_t *regions = json_array();
        for (size_t i = 0; i < d->t->nregions; i++)
                if (m->regions >> i & 1)
                        json_array_append_new(regions, json_string(d->t->regions[i].name));
        return json_pack("{s:s, s:s, s:o, s:s?, s:s, s:s, s:s}", "check", m->f->check->name, "severity",
                         severity_name(m->f->severity), "regions", regions, "object", m->f->object, "what", m->f->what, "why",
                         m->f->check->why, "todo", m->f->todo);
}

static void print_json(const struct doctor *d, const struct merge *m)
{
        json_t *list = json_array(), *regions = json_array();
        for (int s = SEVERITY_ERROR; s >= SEVERITY_NOTE; s--)
                for (size_t i = 0; i < m->n; i++)
                        if (m->list[i].f->severity == (enum severity)s)
                                json_array_append_new(list, finding_json(d, &m->list[i]));
        for (size_t i = 0; i < d->t->nregions; i++)
                if (d->patients[i].region)
                        json_array_append_new(regions, json_string(d->t->regions[i].name));
        json_t *o = json_pack("{s:s, s:b, s:I, s:I, s:I, s:o, s:o}", "cluster", d->t->cluster, "healthy",
                              m->count[SEVERITY_ERROR] + m->count[SEVERITY_WARNING] == 0, "errors",
                              (json_int_t)m->count[SEVERITY_ERROR], "warnings", (json_int_t)m->count[SEVERITY_WARNING], "notes",
                              (json_int_t)m->count[SEVERITY_NOTE], "regions", regions, "findings", list);
        json_dumpf(o, stdout, JSON_INDENT(2));
        puts("");
        json_decref(o);
}

int cmd_doctor(struct invocation *in)
{
        int code;
        const struct region *only;
        struct doctor d;
        struct merge m = {0};
        struct topology *t = invocation_regions(in, &only, &code);
        if (!t)
                return code;
        signal(SIGPIPE, SIG_IGN);
        log_setup(t->cluster, only ? only->name : "", LOG_ERROR, !isatty(STDERR_FILENO));
        doctor_run(&d, t, only);
        merge_all(&d, &m);
        if (in->json)
                print_json(&d, &m);
        else
                print_text(&d, &m);
        code = m.count[SEVERITY_ERROR] + m.count[SEVERITY_WARNING] ? EXIT_DEGRADED : EXIT_DONE;
        arena_release(&m.arena);
        doctor_free(&d);
        topology_free(t);
        return code;
}
