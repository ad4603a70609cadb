#include "daemon/explain.h"

#include <stdio.h>
#include <string.h>

#include "config/suggest.h"
#include "daemon/commands.h"
#include "daemon/doctor.h"
#include "daemon/errors.h"
#include "topology/metrics.h"
#include "topology/spec.h"

struct search {
        const char *word;
        struct arena *arena;
        struct explanation *first, **end;
        struct suggestion suggestion;
};

static void add(struct search *s, const char *kind, const char *name, struct buf *text)
{
        struct explanation *x = ARENA_NEW(s->arena, struct explanation);
        *x = (struct explanation){
                .kind = kind, .name = arena_strdup(s->arena, name), .text = arena_strdup(s->arena, buf_cstr(text))};
        *s->end = x;
        s->end = &x->next;
}

static bool is_it(struct search *s, const char *name)
{
        suggest_offer(&s->suggestion, name);
        return strcmp(s->word, name) == 0;
}

/* ---- keys of the topology ------------------------------------------------------------------------------------------------------------- */
/* The last component of a path before `end`, without its [..]. */
static const char *component_before(const char *path, const char *end, size_t *len)
{
        const char *from = end;
        while (from > path && from[-1] != '.')
                from--;
        *len = (size_t)(end - from);
        const char *bracket = memchr(from, '[', *len);
        if (bracket)
                *len = (size_t)(bracket - from);
        return from;
}

/* Component by component from the right, as far as the word goes; <name> and <table> stand for any. */
static bool path_ends_with(const char *path, const char *word)
{
        const char *p = path + strlen(path), *w = word + strlen(word);
        if (!*word)
                return false;
        while (w > word) {
                size_t np, nw;
                if (p <= path)
                        return false;
                const char *cp = component_before(path, p, &np), *cw = component_before(word, w, &nw);
                if (*cp != '<' && (np != nw || strncmp(cp, cw, np) != 0))
                        return false;
                if (nw == 0)
                        return false;
                p = cp > path ? cp - 1 : path;
                w = cw > word ? cw - 1 : word;
        }
        return true;
}

static void key_seen(void *ctx, const char *path, const struct cfg_key *k)
{
        struct search *s = ctx;
        struct buf text;
        suggest_offer(&s->suggestion, arena_strdup(s->arena, k->name));
        suggest_offer(&s->suggestion, arena_strdup(s->arena, path));
        if (!path_ends_with(path, s->word))
                return;
        buf_init(&text, 0);
        config_key_doc(k, &text);
        buf_put_str(&text, "\n\nValue: ");
        config_allowed(k, &text);
        if (k->standard)
                buf_printf(&text, "\nDefault: %s", k->standard);
        else if (k->required)
                buf_put_str(&text, "\nIt must be there.");
        if (k->later)
                buf_put_str(&text, "\nNot supported yet: it is refused.");
        buf_put_str(&text, "\nAll keys: docs/topology.md");
        add(s, "topology key", path, &text);
        buf_release(&text);
}

/* ---- the other tables ---------------------------------------------------------------------------------------------------------------- */
static void look_at_errors(struct search *s)
{
        for (size_t i = 0; i < error_count; i++) {
                struct buf text;
                if (!is_it(s, error_table[i].name))
                        continue;
                buf_init(&text, 0);
                buf_printf(&text, "%s\n\nTo do: %s\nExit code: %d\nAll named stops: docs/errors.md", error_table[i].cause,
                           error_table[i].cure, (int)error_table[i].exit);
                add(s, "named stop", error_table[i].name, &text);
                buf_release(&text);
        }
}

static void look_at_checks(struct search *s)
{
        for (size_t i = 0; i < doctor_check_count; i++) {
                struct buf text;
                if (!is_it(s, doctor_checks[i].name))
                        continue;
                buf_init(&text, 0);
                buf_printf(&text, "pangea doctor looks at: %s\n\nWhy it matters: %s\nCan find: %s\nAll checks: docs/doctor.md",
                           doctor_checks[i].line, doctor_checks[i].why, doctor_checks[i].severities);
                add(s, "check of doctor", doctor_checks[i].name, &text);
                buf_release(&text);
        }
}

static void look_at_commands(struct search *s)
{
        for (size_t i = 0; i < command_count; i++) {
                struct buf text;
                if (!is_it(s, command_table[i].name))
                        continue;
                buf_init(&text, 0);
                command_help(&command_table[i], &text);
                add(s, "command", command_table[i].name, &text);
                buf_release(&text);
        }
}

static void look_at_metrics(struct search *s)
{
        static const char *const kinds[] = {
                [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_AGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
        for (size_t i = 0; i < METRIC_COUNT; i++) {
                const struct metric_row *m = &metric_table[i];
                struct buf text;
                if (!is_it(s, m->name))
                        continue;
                buf_init(&text, 0);
                buf_printf(&text, "%s\n\nKind: %s\nLabels: region", m->help, kinds[m->kind]);
                for (size_t k = 0; k < METRICS_LABELS_MAX && m->labels[k]; k++)
                        buf_printf(&text, ", %s", m->labels[k]);
                buf_put_str(&text, "\nAll metrics: docs/metrics.md");
                add(s, "metric", m->name, &text);
                buf_release(&text);
        }
}

static void look_at_options(struct search *s)
{
        for (size_t i = 0; i < OPT_COUNT; i++) {
                struct buf text;
                char name[64];
                snprintf(name, sizeof name, "--%s", option_table[i].name);
                if (!is_it(s, option_table[i].name) && strcmp(s->word, name) != 0)
                        continue;
                buf_init(&text, 0);
                buf_printf(&text, "%s\n\nOf:", option_table[i].line);
                for (size_t c = 0; c < command_count; c++)
                        if (i == OPT_HELP || (command_table[c].options >> i & 1))
                                buf_printf(&text, " %s", command_table[c].name);
                add(s, "option", name, &text);
                buf_release(&text);
        }
}

struct explanation *explain(const char *word, struct arena *a, const char **nearest)
{
        struct search s = {.word = word, .arena = a, .suggestion = {.written = word}};
        s.end = &s.first;
        look_at_commands(&s);
        look_at_options(&s);
        look_at_errors(&s);
        look_at_checks(&s);
        look_at_metrics(&s);
        config_each_key(topology_keys, key_seen, &s);
        *nearest = s.first ? NULL : s.suggestion.best;
        return s.first;
}
