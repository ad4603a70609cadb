/* conflict: losers are kept in pangea.conflict, by their dot, in the transaction that discards them (C9). */
#include "apply/applier.h"

#include <string.h>

#include "change/json.h"
#include "change/key.h"

/* Images come as values by column in text ($6, $9: rows of the log and of rules with siblings), or as the row stood here ($7, $10). The key of
 * a row that a TRUNCATE discarded is taken out of its image.  OFFSET 0 keeps the look for an earlier record a look-up by the whole index key (the
 * hash agrees with =, which md5 of the text does not: 1.0 and 1.00 are equal): as a join it was planned, while the table was small, as a scan
 * of all records of the table concerned. $15 leaves out the days in which nothing of these dots can have been recorded. */
static const char record_head[] =
        "INSERT INTO pangea.conflict (rel, key, region, hlc, kind, rule, winner, image, involved, xids, stands)"
        " SELECT $1, x.key, x.region, x.hlc, x.kind, x.rule, x.winner, x.image, x.involved, x.xids, x.stands FROM ("
        "SELECT COALESCE(s.key::jsonb, (SELECT jsonb_object_agg(i.key, i.value) FROM jsonb_each(s.theirs::jsonb) i WHERE i.key = ANY ($14))) AS key,"
        " s.region, s.hlc, s.kind, s.rule, s.winner::jsonb, s.involved::jsonb, s.xids::jsonb,"
        " COALESCE(s.theirs::jsonb, CASE WHEN s.mine IS NOT NULL THEN to_jsonb(jsonb_populate_record(NULL::";
static const char record_middle[] =
        ", s.mine::jsonb)) END) AS image,"
        " COALESCE(s.stands::jsonb, CASE WHEN s.stands_text IS NOT NULL THEN to_jsonb(jsonb_populate_record(NULL::";
static const char record_tail[] =
        ", s.stands_text::jsonb)) END) AS stands"
        " FROM ROWS FROM (unnest($2::text[]), unnest($3::text[]), unnest($4::int8[]), unnest($5::text[]), unnest($6::text[]),"
        " unnest($7::text[]), unnest($8::text[]), unnest($9::text[]), unnest($10::text[]), unnest($11::text[]), unnest($12::text[]),"
        " unnest($13::text[])) AS s(key, region, hlc, kind, mine, theirs, winner, stands_text, stands, rule, involved, xids) OFFSET 0) x"
        " WHERE NOT EXISTS (SELECT FROM pangea.conflict c WHERE c.rel = $1 AND c.region = x.region AND c.hlc = x.hlc"
        " AND jsonb_hash_extended(c.key, 0) = jsonb_hash_extended(x.key, 0) AND c.key = x.key"
        " AND c.at >= $15 OFFSET 0)";

/* No clock is followed further than a day (max_skew): nothing is recorded that long before its HLC; and as much for a clock that was set. */
#define RECORDED_BEFORE_US (2 * INT64_C(86400000000))

struct columns {
        struct buf key, region, hlc, kind, mine, theirs, winner, stands_text, stands, rule, involved, xids;
};
#define COLUMNS 12

static void add_text(struct buf *b, const char *s)
{
        array_add(b, s, s ? strlen(s) : 0);
}

static void open_dot(struct buf *out, struct dot dot, bool known, const struct regset *regs)
{
        buf_printf(out, "{\"region\": \"%s\", \"hlc\": ", regset_name(regs, dot.region));
        if (known)
                buf_printf(out, "%" PRIu64, dot.hlc.v);
        else
                buf_put_str(out, "null");
}

static void put_dot(struct buf *out, struct dot dot, bool known, const struct regset *regs)
{
        open_dot(out, dot, known, regs);
        buf_put_u8(out, '}');
}

/* Of a unique conflict also which row it is, and in what. */
static void put_winner(struct buf *out, const struct loser *l, const struct regset *regs)
{
        open_dot(out, l->winner, l->winner_known, regs);
        if (l->constraint) {
                buf_put_str(out, ", \"constraint\": ");
                json_put_cstr(out, l->constraint);
                buf_printf(out, ", \"key\": %s", l->holder);
        }
        buf_put_u8(out, '}');
}

/* A row of the log as JSON of texts; NULL when there is none. */
static void add_row(struct buf *out, struct buf *json, const struct relation *rel, const struct value *row)
{
        buf_reset(json);
        if (row)
                row_json(json, rel, row);
        array_add(out, row ? json->data : NULL, json->len);
}

static void add_images(struct columns *c, struct buf *json, const struct loser *l)
{
        const struct relation *rel = l->table->rel;
        bool took = l->image != NULL; /* last write wins: the incoming one stands */
        if (l->by_text)
                add_text(&c->mine, l->text);
        else
                add_row(&c->mine, json, rel, took ? NULL : l->net->row);
        add_text(&c->theirs, l->by_text ? NULL : l->image);
        if (l->by_text)
                add_text(&c->stands_text, l->stands_text);
        else
                add_row(&c->stands_text, json, rel, took ? l->net->row : NULL);
        add_text(&c->stands, l->stands);
}

/* Who was in it, and the transaction that brought it here. */
static void add_circumstances(struct columns *c, struct buf *json, const struct loser *l, const struct work *w)
{
        const struct regset *regs = &w->a->regs;
        add_text(&c->rule, l->rule ? l->rule : "last_write_wins");
        buf_reset(json);
        buf_put_u8(json, '[');
        for (size_t i = 0; i < l->ninvolved; i++) {
                buf_put_str(json, i ? ", " : "");
                put_dot(json, l->involved[i], l->involved[i].hlc.v != 0, regs);
        }
        if (!l->ninvolved) {
                put_dot(json, l->dot, true, regs);
                buf_put_str(json, ", ");
                put_dot(json, l->winner, l->winner_known, regs);
        }
        buf_put_u8(json, ']');
        array_add(&c->involved, json->data, json->len);
        buf_reset(json);
        if (w->g) /* else a row that came back: no transaction of a log */
                buf_printf(json, "{\"region\": \"%s\", \"xids\": [%" PRIu64 "]}", regset_name(regs, w->dot.region),
                           w->g->txs[l->net->tx].xid.v);
        array_add(&c->xids, json->len ? json->data : NULL, json->len);
}

static void add_loser(struct columns *c, const struct loser *l, const struct work *w)
{
        struct buf json;
        const struct regset *regs = &w->a->regs;
        buf_init(&json, 0);
        if (l->net->key)
                key_json(&json, l->table->rel, l->net->key);
        array_add(&c->key, l->net->key ? json.data : NULL, json.len);
        add_text(&c->region, regset_name(regs, l->dot.region));
        buf_put_u32(&c->hlc, 8);
        buf_put_u64(&c->hlc, l->dot.hlc.v);
        add_text(&c->kind, conflict_kind_name(l->kind));
        add_images(c, &json, l);
        buf_reset(&json);
        if (l->winner.region.i != REGION_NONE.i) /* else a row that a resolver made of several */
                put_winner(&json, l, regs);
        array_add(&c->winner, json.len ? json.data : NULL, json.len);
        add_circumstances(c, &json, l, w);
        buf_release(&json);
}

static enum status record_table(const struct work *w, const struct loser *l, size_t n, const struct fold_table *t, struct err *e)
{
        struct columns c;
        struct buf *all[COLUMNS] = {&c.key,    &c.region,      &c.hlc,    &c.kind, &c.mine,     &c.theirs,
                                    &c.winner, &c.stands_text, &c.stands, &c.rule, &c.involved, &c.xids};
        struct buf sql, keycols;
        const struct target *target = t->map.target;
        struct stmt *st = target_stmt(t->map.target, "conflict", 8);
        uint32_t count = 0;
        uint64_t oldest = UINT64_MAX;
        uint8_t room[8];
        if (!st)
                return err_set(e, ST_RETRY, "table %s: too many prepared statements; beginning anew", target->name);
        for (size_t i = 0; i < COLUMNS; i++)
                array_begin(all[i], all[i] == &c.hlc ? 20 : 25);
        for (size_t i = 0; i < n; i++) {
                if (l[i].table->map.target != target)
                        continue;
                add_loser(&c, &l[i], w);
                oldest = l[i].dot.hlc.v < oldest ? l[i].dot.hlc.v : oldest;
                meter_lost(&w->a->meter, target->name, conflict_kind_name(l[i].kind), l[i].label ? l[i].label : "last_write_wins");
                count++;
        }
        array_begin(&keycols, 25);
        for (uint16_t k = 0; k < target->nkeys; k++)
                add_text(&keycols, target->cols[target->keys[k]].name);
        buf_init(&sql, 0);
        buf_printf(&sql, "%s%s%s%s%s", record_head, target->qualified, record_middle, target->qualified, record_tail);
        struct pg_param p[COLUMNS + 3] = {param_text(target->name)};
        for (int i = 0; i < COLUMNS; i++)
                p[i + 1] = array_end(all[i], count, all[i] == &c.hlc ? 1016 : 1009);
        p[COLUMNS + 1] = array_end(&keycols, target->nkeys, 1009);
        p[COLUMNS + 2] = param_ts(room, (int64_t)oldest - RECORDED_BEFORE_US);
        enum status s = session_send(w->a->db, st, buf_cstr(&sql), COLUMNS + 3, p, NULL, NULL, e);
        for (size_t i = 0; i < COLUMNS; i++)
                buf_release(all[i]);
        buf_release(&keycols);
        buf_release(&sql);
        return s;
}

enum status losers_record(const struct work *w, const struct loser *l, size_t n, struct err *e)
{
        enum status s = ST_OK;
        for (size_t i = 0; i < n && s == ST_OK; i++) {
                bool first = true;
                for (size_t k = 0; k < i && first; k++)
                        first = l[k].table->map.target != l[i].table->map.target;
                if (first)
                        s = record_table(w, l + i, n - i, l[i].table, e);
        }
        return s;
}
