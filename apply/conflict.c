/* conflict: losers are kept in pangea.conflict, by their dot, in the transaction that discards them (C9). */
#include "apply/applier.h"

#include <string.h>

#include "change/key.h"

/* $6 is the image of an incoming row (values as text), $7 of a local one (as it stood). The key of a row that a TRUNCATE discarded is taken
 * out of its image.  OFFSET 0 keeps the look for an earlier record a look-up by the whole index key: as a join it was planned, while the table
 * was small, as a scan of all records of the table concerned. */
static const char record_head[] =
        "INSERT INTO pangea.conflict (rel, key, region, hlc, kind, rule, winner, image)"
        " SELECT $1, x.key, x.region, x.hlc, x.kind, 'last_write_wins', x.winner, x.image FROM ("
        "SELECT COALESCE(s.key::jsonb, (SELECT jsonb_object_agg(i.key, i.value) FROM jsonb_each(s.theirs::jsonb) i WHERE i.key = ANY ($9))) AS key,"
        " s.region, s.hlc, s.kind, s.winner::jsonb,"
        " COALESCE(s.theirs::jsonb, CASE WHEN s.mine IS NOT NULL THEN to_jsonb(jsonb_populate_record(NULL::";
static const char record_tail[] =
        ", s.mine::jsonb)) END) AS image"
        " FROM ROWS FROM (unnest($2::text[]), unnest($3::text[]), unnest($4::int8[]), unnest($5::text[]), unnest($6::text[]),"
        " unnest($7::text[]), unnest($8::text[])) AS s(key, region, hlc, kind, mine, theirs, winner)) x"
        " WHERE NOT EXISTS (SELECT FROM pangea.conflict c WHERE c.rel = $1 AND c.region = x.region AND c.hlc = x.hlc AND c.key = x.key OFFSET 0)";

struct columns {
        struct buf key, region, hlc, kind, mine, theirs, winner, keycols;
};

static void add_text(struct buf *b, const char *s)
{
        array_add(b, s, s ? strlen(s) : 0);
}

static void add_loser(struct columns *c, const struct loser *l, const struct regset *regs)
{
        struct buf json;
        const struct relation *rel = l->table->rel;
        buf_init(&json, 0);
        if (l->net->key) {
                key_json(&json, rel, l->net->key);
                array_add(&c->key, json.data, json.len);
        } else {
                array_add(&c->key, NULL, 0);
        }
        add_text(&c->region, regset_name(regs, l->dot.region));
        buf_put_u32(&c->hlc, 8);
        buf_put_u64(&c->hlc, l->dot.hlc.v);
        add_text(&c->kind, conflict_kind_name(l->kind));
        buf_reset(&json);
        if (!l->image && l->net->row)
                row_json(&json, rel, l->net->row);
        array_add(&c->mine, json.len ? json.data : NULL, json.len);
        add_text(&c->theirs, l->image);
        buf_reset(&json);
        buf_printf(&json, "{\"region\": \"%s\", \"hlc\": ", regset_name(regs, l->winner.region));
        if (l->winner_known)
                buf_printf(&json, "%" PRIu64 "}", l->winner.hlc.v);
        else
                buf_put_str(&json, "null}");
        array_add(&c->winner, json.data, json.len);
        buf_release(&json);
}

static enum status record_table(struct applier *a, const struct loser *l, size_t n, const struct fold_table *t,
                                const struct regset *regs, struct err *e)
{
        struct columns c;
        struct buf *all[] = {&c.key, &c.region, &c.hlc, &c.kind, &c.mine, &c.theirs, &c.winner, &c.keycols};
        struct buf sql;
        struct stmt *st = target_stmt(t->map.target, "conflict", 8);
        uint32_t count = 0;
        if (!st)
                return err_set(e, ST_RETRY, "table %s: too many prepared statements; beginning anew", t->map.target->name);
        for (size_t i = 0; i < 8; i++)
                array_begin(all[i], all[i] == &c.hlc ? 20 : 25);
        for (size_t i = 0; i < n; i++) {
                if (l[i].table->map.target != t->map.target)
                        continue;
                add_loser(&c, &l[i], regs);
                meter_lost(&a->meter, t->map.target->name, conflict_kind_name(l[i].kind), "last_write_wins");
                count++;
        }
        for (uint16_t k = 0; k < t->map.target->nkeys; k++)
                add_text(&c.keycols, t->map.target->cols[t->map.target->keys[k]].name);
        buf_init(&sql, 0);
        buf_printf(&sql, "%s%s%s", record_head, t->map.target->qualified, record_tail);
        struct pg_param p[9] = {param_text(t->map.target->name)};
        for (int i = 0; i < 7; i++)
                p[i + 1] = array_end(all[i], count, all[i] == &c.hlc ? 1016 : 1009);
        p[8] = array_end(&c.keycols, t->map.target->nkeys, 1009);
        enum status s = session_send(a->db, st, buf_cstr(&sql), 9, p, NULL, NULL, e);
        for (size_t i = 0; i < 8; i++)
                buf_release(all[i]);
        buf_release(&sql);
        return s;
}

enum status losers_record(struct applier *a, const struct loser *l, size_t n, const struct regset *regs, struct err *e)
{
        enum status s = ST_OK;
        for (size_t i = 0; i < n && s == ST_OK; i++) {
                bool first = true;
                for (size_t k = 0; k < i && first; k++)
                        first = l[k].table->map.target != l[i].table->map.target;
                if (first)
                        s = record_table(a, l + i, n - i, l[i].table, regs, e);
        }
        return s;
}
