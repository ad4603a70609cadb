#include "config/check.h"

#include <inttypes.h>
#include <string.h>

#include "config/suggest.h"

/* What every step of the walk needs. */
struct walk {
        struct arena *arena;
        struct problems *p;
};

static void check(const struct walk *w, struct node *n, const struct cfg_key *k);

static const struct cfg_key *find_key(const struct cfg_key *keys, const char *name)
{
        for (; keys->name; keys++)
                if (strcmp(keys->name, name) == 0)
                        return keys;
        return NULL;
}

static void unknown_key(const struct walk *w, const struct node *n, const struct cfg_key *keys)
{
        struct suggestion s = {.written = n->name};
        struct buf all;
        buf_init(&all, 0);
        for (const char *comma = ""; keys->name; keys++) {
                suggest_offer(&s, keys->name);
                if (!keys->later) {
                        buf_printf(&all, "%s%s", comma, keys->name);
                        comma = ", ";
                }
        }
        problem_error(w->p, n->name_at, node_path(w->arena, n), "is no key of this map; allowed are %s%s%s%s", buf_cstr(&all),
                      s.best ? "; did you mean " : "", s.best ? s.best : "", s.best ? "?" : "");
        buf_release(&all);
}

static struct node *append(const struct walk *w, struct node *map, const char *name, enum node_kind kind, const char *text)
{
        struct node proto = {.kind = kind, .at = map->at, .parent = map, .index = map->n, .name = name, .name_at = map->at};
        proto.raw = proto.text = text;
        proto.filled = true;
        struct node *n = arena_copy(w->arena, &proto, sizeof proto);
        map->items[map->n++] = n;
        return n;
}

/* A key that is not in the file: its default, an empty map (for the defaults in it), an error, or nothing. */
static void fill(const struct walk *w, struct node *map, const struct cfg_key *k)
{
        struct buf allowed;
        if (k->later)
                return;
        if (k->required) {
                buf_init(&allowed, 0);
                config_allowed(k, &allowed);
                problem_error(w->p, map->name ? map->name_at : map->at, node_path_of(w->arena, map, k->name),
                              "is missing; it must be %s", buf_cstr(&allowed));
                buf_release(&allowed);
        } else if (k->standard) {
                check(w, append(w, map, k->name, NODE_SCALAR, k->standard), k);
        } else if (k->type == CFG_MAP) {
                check(w, append(w, map, k->name, NODE_MAP, ""), k);
        }
}

static size_t count_keys(const struct cfg_key *keys)
{
        size_t n = 0;
        while (keys[n].name)
                n++;
        return n;
}

static bool mentioned(const struct node *map, size_t n, const char *name)
{
        for (size_t i = 0; i < n; i++)
                if (strcmp(map->items[i]->name, name) == 0)
                        return true;
        return false;
}

static void check_map(const struct walk *w, struct node *n, const struct cfg_key *keys)
{
        size_t given = n->n, room = n->n + count_keys(keys);
        struct node **items = ARENA_ARRAY(w->arena, struct node *, room);
        if (given)
                memcpy(items, n->items, given * sizeof *items);
        n->items = items;
        for (size_t i = 0; i < given; i++) {
                const struct cfg_key *k = find_key(keys, items[i]->name);
                if (k)
                        check(w, items[i], k);
                else
                        unknown_key(w, items[i], keys);
        }
        for (; keys->name; keys++)
                if (!mentioned(n, given, keys->name))
                        fill(w, n, keys);
}

static void count_range(const struct walk *w, struct node *n, const struct cfg_key *k)
{
        int64_t count = (int64_t)n->n;
        if (count >= k->min && count <= k->max)
                return;
        n->bad = true;
        if (count == 0)
                problem_error(w->p, n->at, node_path(w->arena, n), "is empty, but %" PRId64 " or more are wanted", k->min);
        else
                problem_error(w->p, n->at, node_path(w->arena, n), "has %" PRId64 " entries, but at most %" PRId64 " are supported",
                              count, k->max);
}

static void check_named(const struct walk *w, struct node *n, const struct cfg_key *k)
{
        for (size_t i = 0; i < n->n; i++) {
                struct node *item = n->items[i];
                check(w, item, k->of);
                if (config_name_ok(item->name, k->max_name))
                        continue;
                problem_error(w->p, item->name_at, node_path(w->arena, item),
                              "the name is not allowed; a name is of a-z, 0-9 and _, at most %" PRId64 " bytes", k->max_name);
                item->bad = true;
        }
}

static void check_pairs(const struct walk *w, struct node *n)
{
        static const struct cfg_key text = {.name = "", .type = CFG_TEXT};
        for (size_t i = 0; i < n->n; i++)
                check(w, n->items[i], &text);
}

static enum node_kind kind_of(enum cfg_type t)
{
        switch (t) {
        case CFG_LIST: return NODE_LIST;
        case CFG_MAP:
        case CFG_NAMED:
        case CFG_KEYED:
        case CFG_PAIRS: return NODE_MAP;
        case CFG_TEXT:
        case CFG_NAME:
        case CFG_INT:
        case CFG_BOOL:
        case CFG_DURATION:
        case CFG_SIZE:
        case CFG_WORD: break;
        }
        return NODE_SCALAR;
}

/* The right kind of node at all? The text itself is not shown: who puts a conninfo in the wrong place puts its password there too. */
static bool fits(const struct walk *w, struct node *n, const struct cfg_key *k)
{
        enum node_kind want = kind_of(k->type);
        const char *path = node_path(w->arena, n);
        if (n->bad)
                return false;
        n->bad = true;
        if (k->later) {
                problem_error(w->p, n->name ? n->name_at : n->at, path, "is not supported yet; remove it");
        } else if (n->kind == NODE_SCALAR && n->null) {
                problem_error(w->p, n->at, path, "has no value; give it one, or remove it to have the default");
        } else if (n->kind != want) {
                problem_error(w->p, n->at, path, "is %s, but %s is wanted%s", node_kind_name(n->kind), node_kind_name(want),
                              n->kind == NODE_SCALAR && want == NODE_LIST ? ": write [..] around it" : "");
        } else {
                n->bad = false;
        }
        return !n->bad;
}

static void check(const struct walk *w, struct node *n, const struct cfg_key *k)
{
        if (!fits(w, n, k))
                return;
        switch (k->type) {
        case CFG_LIST:
                count_range(w, n, k);
                for (size_t i = 0; i < n->n; i++)
                        check(w, n->items[i], k->of);
                break;
        case CFG_MAP: check_map(w, n, k->of); break;
        case CFG_NAMED:
                count_range(w, n, k);
                check_named(w, n, k);
                break;
        case CFG_KEYED:
                for (size_t i = 0; i < n->n; i++)
                        check(w, n->items[i], k->of);
                break;
        case CFG_PAIRS: check_pairs(w, n); break;
        case CFG_TEXT:
        case CFG_NAME:
        case CFG_INT:
        case CFG_BOOL:
        case CFG_DURATION:
        case CFG_SIZE:
        case CFG_WORD: (void)config_check_scalar(n, k, w->arena, w->p); break;
        }
}

void config_check(struct node *root, const struct cfg_key *keys, struct arena *arena, struct problems *p)
{
        struct walk w = {.arena = arena, .p = p};
        struct cfg_key whole = {.name = "", .type = CFG_MAP, .of = keys};
        check(&w, root, &whole);
}
