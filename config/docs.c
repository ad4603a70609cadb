#include "config/check.h"

#include <inttypes.h>

/* One table per map, deeper maps below it, in the order of the tables. */

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
        buf_printf(out, " | %s", k->doc);
        if (k->later_words) {
                buf_put_str(out, " Not supported yet:");
                for (const char *const *w = k->later_words; *w; w++)
                        buf_printf(out, "%s `%s`", w == k->later_words ? "" : ",", *w);
                buf_put_str(out, ".");
        }
        for (const struct cfg_refused *r = k->refused; r && r->word; r++)
                buf_printf(out, "%s `%s` (%s)%s", r == k->refused ? " Refused:" : ";", r->word, r->why, r[1].word ? "" : ".");
        buf_put_str(out, " |\n");
}

static void put_table(const char *path, const struct cfg_key *keys, struct buf *out)
{
        buf_printf(out, "\n### %s%s%s\n\n| key | value | default | |\n|---|---|---|---|\n", *path ? "`" : "",
                   *path ? path : "Top level", *path ? "`" : "");
        for (const struct cfg_key *k = keys; k->name; k++)
                put_row(k, out);
        for (const struct cfg_key *k = keys; k->name; k++) {
                const struct cfg_key *map = k->type == CFG_LIST || k->type == CFG_NAMED || k->type == CFG_KEYED ? k->of : k;
                if (k->later || !map || map->type != CFG_MAP)
                        continue;
                struct buf below;
                buf_init(&below, 0);
                buf_printf(&below, "%s%s%s%s%s%s", path, *path ? "." : "", k->name,
                           k->type == CFG_LIST    ? "[]"
                           : k->type == CFG_NAMED ? ".<name>"
                           : k->type == CFG_KEYED ? ".<"
                                                  : "",
                           k->type == CFG_KEYED ? k->key : "", k->type == CFG_KEYED ? ">" : "");
                put_table(buf_cstr(&below), map->of, out);
                buf_release(&below);
        }
}

void config_print_docs(const struct cfg_key *keys, struct buf *out)
{
        put_table("", keys, out);
}
