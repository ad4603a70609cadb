/* Records as JSON for people. */
#include <time.h>

#include "change/binary.h"
#include "change/json.h"
#include "change/wire.h"

static const char *const kind_names[] = {
        [RECORD_EPOCH] = "epoch",
        [RECORD_GROUP] = "group",
        [RECORD_PROGRESS] = "progress",
        [RECORD_MARKER] = "marker",
};

static void put_name(struct buf *out, const char *name)
{
        buf_put_u8(out, ',');
        json_put_cstr(out, name);
        buf_put_u8(out, ':');
}

static void put_string(struct buf *out, const char *name, const char *value)
{
        put_name(out, name);
        json_put_cstr(out, value);
}

static void put_number(struct buf *out, const char *name, uint64_t value)
{
        put_name(out, name);
        buf_printf(out, "%" PRIu64, value);
}

static void put_bool(struct buf *out, const char *name, bool value)
{
        put_name(out, name);
        buf_put_str(out, value ? "true" : "false");
}

static void put_lsn(struct buf *out, const char *name, lsn_t lsn)
{
        char s[LSN_STRLEN];
        put_string(out, name, lsn_str(s, lsn));
}

/* Microseconds since 1970 as ISO 8601; null where no calendar goes. */
static void put_time(struct buf *out, const char *name, int64_t us)
{
        time_t s = (time_t)(us / 1000000);
        long rest = (long)(us % 1000000);
        struct tm tm;
        put_name(out, name);
        if (us < 0 || s > INT64_C(253402300799) || !gmtime_r(&s, &tm))
                buf_put_str(out, "null");
        else
                buf_printf(out, "\"%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ\"", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                           tm.tm_hour, tm.tm_min, tm.tm_sec, rest);
}

static void put_vector(struct buf *out, const char *name, const struct vector *v, const struct regset *regs)
{
        const char *comma = "";
        put_name(out, name);
        buf_put_u8(out, '{');
        for (unsigned i = 0; i < regs->n; i++) {
                if (!v->at[i].v)
                        continue;
                buf_put_str(out, comma);
                json_put_cstr(out, regs->name[i]);
                buf_printf(out, ":%" PRIu64, v->at[i].v);
                comma = ",";
        }
        buf_put_u8(out, '}');
}

/* Text is a string; binary {"hex":..,"text":..}, the text where the type is known. */
static void put_value(struct buf *out, const char *type, const struct value *v)
{
        switch (v->kind) {
        case VALUE_NULL: buf_put_str(out, "null"); return;
        case VALUE_UNSENT: buf_put_str(out, "{\"unsent\":true}"); return;
        case VALUE_TEXT: json_put_string(out, v->data, v->len); return;
        case VALUE_BINARY: break;
        }
        struct buf text;
        buf_init(&text, 0);
        buf_put_str(out, "{\"hex\":");
        json_put_hex(out, v->data, v->len);
        if (binary_to_text(binary_type_of(type), v->data, v->len, &text)) {
                put_name(out, "text");
                json_put_string(out, text.data, text.len);
        }
        buf_put_u8(out, '}');
        buf_release(&text);
}

static void put_row(struct buf *out, const char *name, const struct relation *rel, const struct value *row)
{
        if (!row)
                return;
        put_name(out, name);
        buf_put_u8(out, '{');
        for (unsigned i = 0; i < rel->ncols; i++) {
                buf_put_str(out, i ? "," : "");
                json_put_cstr(out, rel->cols[i].name);
                buf_put_u8(out, ':');
                put_value(out, rel->cols[i].type, &row[i]);
        }
        buf_put_u8(out, '}');
}

static void put_relation(struct buf *out, const struct relation *rel)
{
        buf_put_str(out, "{\"schema\":");
        json_put_cstr(out, rel->schema);
        put_string(out, "name", rel->name);
        if (rel->leaf_name) {
                put_string(out, "leaf_schema", rel->leaf_schema);
                put_string(out, "leaf_name", rel->leaf_name);
        }
        put_bool(out, "full", rel->full);
        put_name(out, "key");
        buf_put_u8(out, '[');
        for (unsigned i = 0; i < rel->nkeys; i++) {
                buf_put_str(out, i ? "," : "");
                json_put_cstr(out, rel->cols[rel->keys[i]].name);
        }
        buf_put_str(out, "]");
        put_name(out, "columns");
        buf_put_u8(out, '[');
        for (unsigned i = 0; i < rel->ncols; i++) {
                buf_put_str(out, i ? ",{\"name\":" : "{\"name\":");
                json_put_cstr(out, rel->cols[i].name);
                put_string(out, "type", rel->cols[i].type);
                buf_put_u8(out, '}');
        }
        buf_put_str(out, "]}");
}

static void put_txn(struct buf *out, const struct txn *x, const struct regset *regs)
{
        buf_printf(out, "{\"xid\":%" PRIu64, x->xid.v);
        put_lsn(out, "commit_lsn", x->commit_lsn);
        put_lsn(out, "end_lsn", x->end_lsn);
        put_time(out, "commit_time", x->commit_us);
        put_vector(out, "vector", x->vec, regs);
        buf_put_u8(out, '}');
}

static void put_change(struct buf *out, const struct change *c)
{
        buf_printf(out, "{\"tx\":%" PRIu32, c->tx);
        put_string(out, "op", change_op_name(c->op));
        put_string(out, "schema", c->rel->schema);
        put_string(out, "table", c->rel->name);
        put_row(out, "row", c->rel, c->row);
        put_row(out, "old", c->rel, c->old);
        buf_put_u8(out, '}');
}

static void put_group(struct buf *out, const struct group *g, const struct regset *regs)
{
        put_number(out, "hlc", g->hlc.v);
        put_time(out, "hlc_time", (int64_t)g->hlc.v);
        put_number(out, "chunk", g->chunk);
        put_bool(out, "last", g->last);
        put_name(out, "transactions");
        for (uint32_t i = 0; i < g->ntxs; i++) {
                buf_put_u8(out, i ? ',' : '[');
                put_txn(out, &g->txs[i], regs);
        }
        buf_put_str(out, g->ntxs ? "]" : "[]");
        if (g->frag) {
                put_name(out, "fragment");
                buf_printf(out, "{\"at\":%" PRIu64 ",\"bytes\":%" PRIu32 ",\"total\":%" PRIu64 "}", g->frag_at, g->frag_len,
                           g->frag_total);
                return;
        }
        put_name(out, "relations");
        for (uint32_t i = 0; i < g->nrels; i++) {
                buf_put_u8(out, i ? ',' : '[');
                put_relation(out, &g->rels[i]);
        }
        buf_put_str(out, g->nrels ? "]" : "[]");
        put_name(out, "changes");
        for (uint32_t i = 0; g->changes && i < g->nchanges; i++) {
                buf_put_u8(out, i ? ',' : '[');
                put_change(out, &g->changes[i]);
        }
        buf_put_str(out, g->changes && g->nchanges ? "]" : "[]");
}

static void put_epoch(struct buf *out, const struct record_epoch *r)
{
        put_number(out, "writes", r->writes);
        put_number(out, "reads_min", r->reads_min);
        put_number(out, "reads_max", r->reads_max);
        put_string(out, "system_id", r->system_id);
        put_number(out, "timeline", r->timeline);
        put_string(out, "database", r->database);
        put_string(out, "slot", r->slot);
        put_time(out, "wall_time", r->wall_us);
}

static void put_progress(struct buf *out, const struct record_progress *r, const struct regset *regs)
{
        put_vector(out, "vector", &r->vec, regs);
        put_lsn(out, "decoded_lsn", r->decoded);
        put_number(out, "xmin", r->xmin.v);
        put_lsn(out, "xmin_lsn", r->xmin_lsn);
        put_time(out, "wall_time", r->wall_us);
}

void wire_print(const struct record *r, const struct regset *regs, struct buf *out)
{
        buf_put_str(out, "{\"kind\":");
        json_put_cstr(out, kind_names[r->head.kind]);
        put_number(out, "epoch", r->head.epoch);
        put_number(out, "seq", r->head.seq);
        put_string(out, "region", regset_name(regs, r->head.region));
        put_number(out, "incarnation", r->head.incarnation);
        put_number(out, "generation", r->head.generation);
        switch (r->head.kind) {
        case RECORD_EPOCH: put_epoch(out, &r->u.epoch); break;
        case RECORD_GROUP: put_group(out, &r->u.group, regs); break;
        case RECORD_PROGRESS: put_progress(out, &r->u.progress, regs); break;
        case RECORD_MARKER:
                put_string(out, "what", r->u.marker.what);
                put_string(out, "text", r->u.marker.text);
                break;
        }
        buf_put_u8(out, '}');
}
