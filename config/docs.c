#include "config/check.h"

#include <inttypes.h>

/* One table per map, deeper maps below it, in the order of the tables. */

/* What stands behind a key's name when its map is meant: "[]", ".<name>", ".<table>". */
static void put_below(const char *path, const struct cfg_key *k, struct buf *out)
{
        bool keyed = k->type == CFG_KEYED;
        buf_printf(out, "%s%s%s%s%s%s", path, *path ? "." : "", k->name,
                   k->type == CFG_LIST    ? "[]"
                   : k->type == CFG_NAMED ? ".<name>"
                   : keyed                ? ".<"
                                          : "",
                   keyed ? k->key : "", keyed ? ">" : "");
}

/* The map below a key; NULL: there is none. */
static const struct cfg_key *map_of(const struct cfg_key *k)
{
        const struct cfg_key *map = k->type == CFG_LIST || k->type == CFG_NAMED || k->type == CFG_KEYED ? k->of : k;
        return !k->later && map && map->type == CFG_MAP ? map : NULL;
}

static void put_doc(const struct cfg_key *k, struct buf *out)
{
        buf_put_str(out, k->doc);
        if (k->later_words) {
                buf_put_str(out, " Not supported yet:");
                for (const char *const *w = k->later_words; *w; w++)
                        buf_printf(out, "%s `%s`", w == k->later_words ? "" : ",", *w);
                buf_put_str(out, ".");
        }
        for (const struct cfg_refused *r = k->refused; r && r->word; r++)
                buf_printf(out, "%s `%s` (%s)%s", r == k->refused ? " Refused:" : ";", r->word, r->why, r[1].word ? "" : ".");
}

static void put_row(const struct cfg_key *k, struct buf *out)
{
        buf_printf(out, "| `%s` | ", k->name);
        if (k->later)
                buf_put_str(out, "*not supported yet*");
        else
                config_allowed(k, out);
        buf_put_str(out, " | ");
        if (k->standard)
                buf_printf(out, "`%s`", k->standard);
        else if (k->required)
                buf_put_str(out, "**required**");
        buf_put_str(out, " | ");
        put_doc(k, out);
        buf_put_str(out, " |\n");
}

static void put_table(const char *path, const struct cfg_key *keys, struct buf *out)
{
        buf_printf(out, "\n### %s%s%s\n\n| key | value | default | |\n|---|---|---|---|\n", *path ? "`" : "",
                   *path ? path : "Top level", *path ? "`" : "");
        for (const struct cfg_key *k = keys; k->name; k++)
                put_row(k, out);
        for (const struct cfg_key *k = keys; k->name; k++) {
                const struct cfg_key *map = map_of(k);
                struct buf below;
                if (!map)
                        continue;
                buf_init(&below, 0);
                put_below(path, k, &below);
                put_table(buf_cstr(&below), map->of, out);
                buf_release(&below);
        }
}

static void each_key(const char *path, const struct cfg_key *keys, config_key_seen *seen, void *ctx)
{
        for (const struct cfg_key *k = keys; k->name; k++) {
                const struct cfg_key *map = map_of(k);
                struct buf full;
                buf_init(&full, 0);
                buf_printf(&full, "%s%s%s", path, *path ? "." : "", k->name);
                seen(ctx, buf_cstr(&full), k);
                buf_reset(&full);
                put_below(path, k, &full);
                if (map)
                        each_key(buf_cstr(&full), map->of, seen, ctx);
                buf_release(&full);
        }
}

void config_each_key(const struct cfg_key *keys, config_key_seen *seen, void *ctx)
{
        each_key("", keys, seen, ctx);
}

void config_key_doc(const struct cfg_key *k, struct buf *out)
{
        put_doc(k, out);
}

void config_print_docs(const struct cfg_key *keys, struct buf *out)
{
        put_table("", keys, out);
}
