#include "apply/rulebooks.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "topology/rules_said.h"

#define PER_REGION_MAX 1000 /* changes of rules that one region's log tells; above it the oldest are forgotten */

struct history {
        size_t n, cap;
        struct rulebook_at **at; /* ascending by after */
};

struct rulebooks {
        const struct regset *regs;
        struct arena arena;                     /* all books: they are few */
        struct rulebook_at silent[MAX_REGIONS]; /* generation 0 */
        struct history of[MAX_REGIONS];
};

struct rulebooks *rulebooks_new(const struct regset *regs)
{
        struct rulebooks *b = MEM_NEW(struct rulebooks);
        b->regs = regs;
        arena_init(&b->arena);
        for (unsigned i = 0; i < MAX_REGIONS; i++)
                b->silent[i] = (struct rulebook_at){.from = {(uint8_t)i}, .book = {.standard = {.row = RULE_LAST_WRITE_WINS}}};
        return b;
}

void rulebooks_free(struct rulebooks *b)
{
        if (!b)
                return;
        for (unsigned i = 0; i < MAX_REGIONS; i++)
                free(b->of[i].at);
        arena_release(&b->arena);
        free(b);
}

/* By `after`; the same place again replaces it: a region that changed its mind before it wrote anything. */
static void put(struct rulebooks *b, struct rulebook_at *a)
{
        struct history *h = &b->of[a->from.i];
        size_t i = h->n;
        while (i && h->at[i - 1]->after.v > a->after.v)
                i--;
        if (i && h->at[i - 1]->after.v == a->after.v) {
                h->at[i - 1] = a;
                return;
        }
        if (h->n == PER_REGION_MAX) {
                memmove(h->at, h->at + 1, sizeof(struct rulebook_at *) * --h->n);
                i -= i > 0;
        }
        if (h->n == h->cap) {
                h->cap = h->cap ? 2 * h->cap : 4;
                h->at = mem_realloc(h->at, sizeof(struct rulebook_at *) * h->cap);
        }
        memmove(h->at + i + 1, h->at + i, sizeof(struct rulebook_at *) * (h->n - i));
        h->at[i] = a;
        h->n++;
}

static enum status read_book(struct rulebooks *b, region_id from, uint64_t after, uint32_t generation, const char *doc,
                             struct rulebook_at **out, struct err *e)
{
        struct rulebook_at *a = ARENA_NEW(&b->arena, struct rulebook_at);
        *a = (struct rulebook_at){.generation = generation, .from = from, .after = {after}};
        *out = a;
        enum status s = rulebook_parse(doc, strlen(doc), &b->arena, &a->book, e);
        return s == ST_OK ? s : err_wrap(e, "log of %s", regset_name(b->regs, from));
}

enum status rulebooks_load(struct rulebooks *b, struct pg *side, struct err *e)
{
        struct pgres *r = NULL;
        enum status s = pg_exec(side, "SELECT region, from_hlc, generation, doc::text FROM pangea.rules", &r, e);
        for (int i = 0; s == ST_OK && i < pgres_rows(r); i++) {
                const char *region = pgres_text(r, i, 0);
                region_id id = regset_find(b->regs, region, strlen(region));
                struct rulebook_at *a = NULL;
                if (id.i == REGION_NONE.i)
                        continue;
                s = read_book(b, id, (uint64_t)pgres_i64(r, i, 1), (uint32_t)pgres_i64(r, i, 2), pgres_text(r, i, 3), &a, e);
                if (s == ST_OK && a)
                        put(b, a);
        }
        pgres_free(r);
        return s;
}

static bool known(const struct rulebooks *b, const struct rulebook_at *a)
{
        const struct history *h = &b->of[a->from.i];
        for (size_t i = 0; i < h->n; i++)
                if (h->at[i]->after.v == a->after.v && h->at[i]->generation == a->generation)
                        return true;
        return false;
}

enum status rulebooks_marker(struct rulebooks *b, struct pg *side, region_id from, const char *text, bool *changed, struct err *e)
{
        json_t *root = json_loads(text, 0, NULL);
        char *doc = json_dumps(json_object_get(root, "rules"), JSON_COMPACT);
        json_int_t generation = json_integer_value(json_object_get(root, "generation"));
        json_int_t after = json_integer_value(json_object_get(root, "from_hlc"));
        struct rulebook_at *a = NULL;
        enum status s;
        *changed = false;
        if (!doc || generation < 1 || generation > INT32_MAX || after < 0)
                s = err_named(e, ST_DATA, "rules_unknown", "log of %s: a MARKER about rules that cannot be read: %.200s",
                              regset_name(b->regs, from), text);
        else
                s = read_book(b, from, (uint64_t)after, (uint32_t)generation, doc, &a, e);
        if (s == ST_OK && a && !known(b, a)) {
                s = rules_said_note(side, regset_name(b->regs, from), a->after.v, a->generation, doc, e);
                if (s == ST_OK)
                        put(b, a);
                *changed = s == ST_OK;
                if (s == ST_OK)
                        log_event(LOG_INFO, "apply.rules", "origin=%s\tgeneration=%u\tafter=%" PRIu64, regset_name(b->regs, from),
                                  a->generation, a->after.v);
        }
        free(doc);
        json_decref(root);
        return s;
}

const struct rulebook_at *rulebooks_at(const struct rulebooks *b, struct dot dot)
{
        const struct history *h = &b->of[dot.region.i];
        size_t i = h->n;
        while (i && h->at[i - 1]->after.v >= dot.hlc.v)
                i--;
        return i ? h->at[i - 1] : &b->silent[dot.region.i];
}

const struct rulebook_at *rulebooks_newest(const struct rulebooks *b, region_id from)
{
        const struct history *h = &b->of[from.i];
        return h->n ? h->at[h->n - 1] : &b->silent[from.i];
}

static bool needs(const struct rulebook *book, const char *schema, const char *table)
{
        const struct rule_spec *s = rulebook_rule(book, schema, table);
        return s->row != RULE_LAST_WRITE_WINS || rule_spec_needs_full(s);
}

bool rulebooks_need_siblings(const struct rulebooks *b, const struct vector *stable, const char *schema, const char *table)
{
        for (unsigned r = 0; r < b->regs->n; r++) {
                const struct history *h = &b->of[r];
                for (size_t i = h->n; i-- > 0;) {
                        if (needs(&h->at[i]->book, schema, table))
                                return true;
                        if (h->at[i]->after.v <= stable->at[r].v)
                                break; /* whatever was written before it is stable */
                }
        }
        return false;
}
