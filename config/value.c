#include "config/check.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "config/scalar.h"
#include "config/suggest.h"

/* What one scalar may be, and whether it is that. */

bool config_name_ok(const char *s, int64_t max)
{
        size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_");
        return n > 0 && !s[n] && (int64_t)n <= max;
}

static void put_words(struct buf *out, const char *const *words)
{
        for (const char *comma = ""; words && *words; words++, comma = ", ")
                buf_printf(out, "%s%s", comma, *words);
}

static void put_range(struct buf *out, const struct cfg_key *k, const struct unit *units)
{
        char lo[SCALAR_HINT], hi[SCALAR_HINT];
        buf_printf(out, "from %s to %s", quantity_str(lo, k->min, units), quantity_str(hi, k->max, units));
}

void config_allowed(const struct cfg_key *k, struct buf *out)
{
        switch (k->type) {
        case CFG_TEXT: buf_put_str(out, "text"); break;
        case CFG_NAME: buf_printf(out, "a name of a-z, 0-9 and _, at most %" PRId64 " bytes", k->max); break;
        case CFG_INT: buf_printf(out, "a whole number from %" PRId64 " to %" PRId64, k->min, k->max); break;
        case CFG_BOOL: buf_put_str(out, "true or false"); break;
        case CFG_DURATION:
                buf_put_str(out, "a duration ");
                put_range(out, k, duration_units);
                buf_put_str(out, " (ms s min h d)");
                break;
        case CFG_SIZE:
                buf_put_str(out, "a size ");
                put_range(out, k, size_units);
                buf_put_str(out, " (B kB MB GB)");
                break;
        case CFG_WORD:
                buf_put_str(out, k->words[1] ? "one of " : "");
                put_words(out, k->words);
                break;
        case CFG_LIST:
                buf_put_str(out, "a list, each entry ");
                config_allowed(k->of, out);
                break;
        case CFG_MAP: buf_put_str(out, "a map"); break;
        case CFG_NAMED: buf_printf(out, "a map of names (a-z, 0-9 and _, at most %" PRId64 " bytes)", k->max_name); break;
        case CFG_KEYED: buf_printf(out, "a map, a key for each %s", k->key); break;
        case CFG_PAIRS: buf_put_str(out, "a map of text to text"); break;
        }
}

static bool word_index(const char *const *words, const char *text, int64_t *at)
{
        for (*at = 0; words && words[*at]; ++*at)
                if (strcmp(words[*at], text) == 0)
                        return true;
        return false;
}

static const char *meant_bool(const char *s)
{
        static const char *const words[] = {"yes", "no", "on", "off", "y", "n", "1", "0", "True", "False", "TRUE", "FALSE"};
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
                if (strcasecmp(words[i], s) == 0)
                        return i % 2 ? "false" : "true";
        return NULL;
}

struct verdict {
        bool ok;
        char hint[SCALAR_HINT]; /* what was meant, "" when nobody knows */
};

static void hint(struct verdict *v, const char *word)
{
        if (word && strlen(word) < sizeof v->hint)
                memcpy(v->hint, word, strlen(word) + 1);
}

static struct verdict judge(struct node *n, const struct cfg_key *k)
{
        struct verdict v = {.ok = false};
        bool b = false;
        switch (k->type) {
        case CFG_TEXT: v.ok = n->text[0] != 0; break;
        case CFG_NAME: v.ok = config_name_ok(n->text, k->max); break;
        case CFG_INT: v.ok = scalar_int(n->text, &n->num); break;
        case CFG_BOOL:
                v.ok = scalar_bool(n->text, &b);
                n->num = b;
                hint(&v, meant_bool(n->text));
                break;
        case CFG_DURATION: v.ok = scalar_quantity(n->text, duration_units, &n->num, v.hint); break;
        case CFG_SIZE: v.ok = scalar_quantity(n->text, size_units, &n->num, v.hint); break;
        case CFG_WORD: {
                struct suggestion s = {.written = n->text};
                v.ok = word_index(k->words, n->text, &n->num);
                for (size_t i = 0; !v.ok && k->words[i]; i++)
                        suggest_offer(&s, k->words[i]);
                hint(&v, s.best);
                break;
        }
        case CFG_LIST:
        case CFG_MAP:
        case CFG_NAMED:
        case CFG_KEYED:
        case CFG_PAIRS: break;
        }
        return v;
}

static bool has_range(enum cfg_type t)
{
        return t == CFG_INT || t == CFG_DURATION || t == CFG_SIZE;
}

static void refuse(struct node *n, const struct cfg_key *k, const char *meant, struct arena *arena, struct problems *p)
{
        struct buf allowed;
        buf_init(&allowed, 0);
        config_allowed(k, &allowed);
        const char *path = node_path(arena, n);
        if (k->type == CFG_TEXT)
                problem_error(p, n->at, path, "is empty, but text is wanted");
        else /* raw, not text: what came from the environment may be a secret */
                problem_error(p, n->at, path, "%s is not allowed; it must be %s%s%s%s", problem_quote(p, n->raw),
                              buf_cstr(&allowed), *meant ? "; did you mean " : "", meant, *meant ? "?" : "");
        buf_release(&allowed);
}

bool config_check_scalar(struct node *n, const struct cfg_key *k, struct arena *arena, struct problems *p)
{
        const char *why = NULL;
        int64_t later;
        n->text = scalar_expand(arena, n->raw, &why);
        n->bad = true;
        if (!n->text) {
                n->text = "";
                problem_error(p, n->at, node_path(arena, n), "%s", why);
                return false;
        }
        if (k->type == CFG_WORD && word_index(k->later_words, n->text, &later)) {
                problem_error(p, n->at, node_path(arena, n), "%s is not supported yet; use %s", problem_quote(p, n->raw),
                              k->words[0]);
                return false;
        }
        for (const struct cfg_refused *r = k->refused; r && r->word; r++)
                if (strcmp(r->word, n->text) == 0) {
                        problem_error(p, n->at, node_path(arena, n), "%s is refused: %s", problem_quote(p, n->raw), r->why);
                        return false;
                }
        struct verdict v = judge(n, k);
        if (!v.ok || (has_range(k->type) && (n->num < k->min || n->num > k->max))) {
                refuse(n, k, v.ok ? "" : v.hint, arena, p);
                return false;
        }
        n->bad = false;
        return true;
}
