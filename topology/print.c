#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/scalar.h"
#include "postgres/conninfo.h"
#include "topology/build.h"

/* The effective topology, defaults filled in and secrets masked: one walk, written as YAML or as JSON. */

#define MASK "****"

struct printer {
        struct buf *out;
        const struct topology *t;
        bool json;
        int depth;
        bool first;   /* nothing stands in this map or list yet */
        bool inline_; /* YAML: the first key of a list's map follows "- " */
};

static void indent(struct printer *p)
{
        if (!p->inline_)
                for (int i = 0; i < p->depth; i++)
                        buf_put_str(p->out, "  ");
        p->inline_ = false;
}

/* Would YAML read it as text, and as this text, without quotes? */
static bool plain_ok(const char *s)
{
        static const char *const not_text[] = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
        size_t n = strlen(s);
        for (size_t i = 0; i < sizeof not_text / sizeof *not_text; i++)
                if (strcasecmp(s, not_text[i]) == 0)
                        return false;
        if (n == 0 || !(isalnum((unsigned char)s[0]) || s[0] == '/' || s[0] == '_') || s[n - 1] == ':' || s[n - 1] == ' ')
                return false;
        return !s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:@=+- ")] && !strstr(s, ": ");
}

static void put_text(struct printer *p, const char *s)
{
        if (p->json) {
                problem_json_string(p->out, s);
                return;
        }
        struct buf escaped; /* so that it can be read again: ${ is $${ in the file */
        buf_init(&escaped, 0);
        for (const char *at; (at = strstr(s, "${")) != NULL; s = at + 2) {
                buf_put(&escaped, s, (size_t)(at - s));
                buf_put_str(&escaped, "$${");
        }
        buf_put_str(&escaped, s);
        if (plain_ok(buf_cstr(&escaped)))
                buf_put_str(p->out, buf_cstr(&escaped));
        else
                problem_json_string(p->out, buf_cstr(&escaped));
        buf_release(&escaped);
}

static void put_key(struct printer *p, const char *key)
{
        if (p->json) {
                buf_put_str(p->out, p->first ? "" : ",");
                problem_json_string(p->out, key);
        } else {
                indent(p);
                if (plain_ok(key))
                        buf_put_str(p->out, key);
                else
                        problem_json_string(p->out, key);
        }
        buf_put_str(p->out, ":");
        p->first = false;
}

static void open_map(struct printer *p, const char *key)
{
        put_key(p, key);
        buf_put_str(p->out, p->json ? "{" : "\n");
        p->depth++;
        p->first = true;
}

static void close_map(struct printer *p)
{
        buf_put_str(p->out, p->json ? "}" : "");
        p->depth--;
        p->first = false;
}

static void put_string(struct printer *p, const char *key, const char *value)
{
        put_key(p, key);
        buf_put_str(p->out, p->json ? "" : " ");
        put_text(p, value);
        buf_put_str(p->out, p->json ? "" : "\n");
}

static void put_number(struct printer *p, const char *key, int64_t value)
{
        put_key(p, key);
        buf_printf(p->out, "%s%" PRId64 "%s", p->json ? "" : " ", value, p->json ? "" : "\n");
}

static void put_bool(struct printer *p, const char *key, bool value)
{
        put_key(p, key);
        buf_printf(p->out, "%s%s%s", p->json ? "" : " ", value ? "true" : "false", p->json ? "" : "\n");
}

static void put_quantity(struct printer *p, const char *key, int64_t value, const struct unit *units)
{
        char text[SCALAR_HINT];
        put_string(p, key, quantity_str(text, value, units));
}

static void open_list(struct printer *p, const char *key)
{
        put_key(p, key);
        buf_put_str(p->out, p->json ? "[" : " [");
        p->first = true;
}

static void put_item(struct printer *p, const char *value)
{
        buf_put_str(p->out, p->first ? "" : p->json ? "," : ", ");
        put_text(p, value);
        p->first = false;
}

static void close_list(struct printer *p)
{
        buf_put_str(p->out, p->json ? "]" : "]\n");
        p->first = false;
}

static void print_regions_of(struct printer *p, const char *key, uint32_t bits)
{
        open_list(p, key);
        for (size_t i = 0; i < p->t->nregions; i++)
                if (bits & region_bit(p->t->regions[i].id))
                        put_item(p, p->t->regions[i].name);
        close_list(p);
}

static void print_brokers(struct printer *p, const char *brokers)
{
        open_list(p, "brokers");
        while (*brokers) {
                char one[512];
                size_t n = strcspn(brokers, ",");
                snprintf(one, sizeof one, "%.*s", (int)n, brokers);
                put_item(p, one);
                brokers += n + (brokers[n] == ',');
        }
        close_list(p);
}

static void print_region(struct printer *p, const struct region *r)
{
        struct buf conninfo;
        buf_init(&conninfo, 0);
        pg_conninfo_mask(r->conninfo, &conninfo);
        open_map(p, r->name);
        put_string(p, "role", r->role == ROLE_LEADER ? "leader" : "follower");
        open_map(p, "postgres");
        put_string(p, "conninfo", buf_cstr(&conninfo));
        if (r->password_file)
                put_string(p, "password_file", r->password_file);
        if (r->nwait > 0) {
                open_list(p, "wait_for_standbys");
                for (size_t i = 0; i < r->nwait; i++)
                        put_item(p, r->wait[i]);
                close_list(p);
        }
        close_map(p);
        open_map(p, "kafka");
        print_brokers(p, r->kafka.brokers);
        if (r->kafka.nprops > 0) {
                open_map(p, "properties");
                for (size_t i = 0; i < r->kafka.nprops; i++)
                        put_string(p, r->kafka.prop_keys[i],
                                   property_is_secret(r->kafka.prop_keys[i]) ? MASK : r->kafka.prop_values[i]);
                close_map(p);
        }
        close_map(p);
        if (r->http.listen) {
                open_map(p, "http");
                put_string(p, "listen", r->http.listen);
                put_string(p, "url", r->http.url);
                put_bool(p, "rows", r->http.rows);
                close_map(p);
        }
        close_map(p);
        buf_release(&conninfo);
}

static void print_route(struct printer *p, const struct route *r)
{
        struct arena a;
        arena_init(&a);
        open_list(p, "tables");
        for (size_t i = 0; i < r->ntables; i++)
                put_item(p, pattern_str(&a, &r->tables[i]));
        close_list(p);
        print_regions_of(p, "from", r->from);
        print_regions_of(p, "to", r->to);
        if (r->where)
                put_string(p, "where", r->where);
        if (r->ncolumns > 0) {
                open_list(p, "columns");
                for (size_t i = 0; i < r->ncolumns; i++)
                        put_item(p, r->columns[i]);
                close_list(p);
        }
        put_bool(p, "insert_only", r->insert_only);
        arena_release(&a);
}

static void print_routes(struct printer *p)
{
        put_key(p, "routes");
        buf_put_str(p->out, p->json ? "[" : "\n");
        p->depth += 2;
        for (size_t i = 0; i < p->t->nroutes; i++) {
                buf_put_str(p->out, !p->json ? "  - " : i ? ",{" : "{");
                p->inline_ = true;
                p->first = true;
                print_route(p, &p->t->routes[i]);
                buf_put_str(p->out, p->json ? "}" : "");
        }
        p->depth -= 2;
        p->first = false;
        buf_put_str(p->out, p->json ? "]" : "");
}

static void print_link(struct printer *p, const struct link *l)
{
        put_string(p, "log", regset_name(&p->t->names, l->log));
        put_string(p, "at", regset_name(&p->t->names, l->at));
        if (l->via.i != REGION_NONE.i)
                put_string(p, "via", regset_name(&p->t->names, l->via));
        if (l->topic)
                put_string(p, "topic", l->topic);
        put_bool(p, "mirror", l->mirror);
}

static void print_links(struct printer *p)
{
        if (p->t->nlinks == 0)
                return;
        put_key(p, "links");
        buf_put_str(p->out, p->json ? "[" : "\n");
        p->depth += 2;
        for (size_t i = 0; i < p->t->nlinks; i++) {
                buf_put_str(p->out, !p->json ? "  - " : i ? ",{" : "{");
                p->inline_ = true;
                p->first = true;
                print_link(p, &p->t->links[i]);
                buf_put_str(p->out, p->json ? "}" : "");
        }
        p->depth -= 2;
        p->first = false;
        buf_put_str(p->out, p->json ? "]" : "");
}

static void print_names(struct printer *p, const char *key, size_t n, const char *const *names)
{
        if (!n)
                return;
        open_list(p, key);
        for (size_t i = 0; i < n; i++)
                put_item(p, names[i]);
        close_list(p);
}

static void print_rule(struct printer *p, const struct rule_spec *s)
{
        put_string(p, "resolver", row_rule_name(s->row));
        print_names(p, "order", s->norder, s->order);
        if (s->nby) {
                struct buf by;
                buf_init(&by, 0);
                for (size_t i = 0; i < s->nby; i++)
                        buf_printf(&by, "%s%s", i ? ", " : "", s->by[i]);
                put_string(p, "by", buf_cstr(&by));
                buf_release(&by);
        }
        if (s->function)
                put_string(p, "function", s->function);
        if (s->path)
                put_string(p, "path", s->path);
        put_string(p, "delete", s->delete_wins ? "delete_wins" : "later_wins");
        if (!s->ncolumns)
                return;
        open_map(p, "columns");
        for (size_t i = 0; i < s->ncolumns; i++)
                put_string(p, s->columns[i].name, column_rule_name(s->columns[i].rule));
        close_map(p);
}

static void print_rules(struct printer *p)
{
        struct arena a;
        if (!p->t->rules.n)
                return;
        arena_init(&a);
        open_map(p, "tables");
        for (size_t i = 0; i < p->t->rules.n; i++) {
                open_map(p, pattern_str(&a, &p->t->rules.tables[i].table));
                print_rule(p, &p->t->rules.tables[i].spec);
                close_map(p);
        }
        close_map(p);
        arena_release(&a);
}

static void print_limits(struct printer *p)
{
        const struct topology *t = p->t;
        open_map(p, "conflicts");
        put_string(p, "default", row_rule_name(t->rules.standard.row));
        print_rules(p);
        put_quantity(p, "keep", t->conflict_keep_us, duration_units);
        close_map(p);
        open_map(p, "clock");
        put_quantity(p, "max_skew", t->max_skew_us, duration_units);
        close_map(p);
        open_map(p, "group");
        put_number(p, "max_rows", t->group_max_rows);
        put_quantity(p, "max_bytes", (int64_t)t->group_max_bytes, size_units);
        close_map(p);
        open_map(p, "log");
        put_number(p, "replication", t->log_replication);
        put_number(p, "min_insync", t->log_min_insync);
        put_quantity(p, "retention", t->log_retention_us, duration_units);
        close_map(p);
        put_quantity(p, "drain_timeout", t->drain_timeout_us, duration_units);
}

static void print(struct printer *p)
{
        put_number(p, "version", 1);
        put_string(p, "cluster", p->t->cluster);
        open_map(p, "regions");
        for (size_t i = 0; i < p->t->nregions; i++)
                print_region(p, &p->t->regions[i]);
        close_map(p);
        print_routes(p);
        print_links(p);
        print_limits(p);
}

void topology_print(const struct topology *t, struct buf *out)
{
        struct printer p = {.out = out, .t = t, .first = true};
        print(&p);
}

void topology_print_json(const struct topology *t, struct buf *out)
{
        struct printer p = {.out = out, .t = t, .json = true, .first = true};
        buf_put_str(out, "{");
        print(&p);
        buf_put_str(out, "}");
}
