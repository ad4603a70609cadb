#include "capture/txread.h"

#include <stdlib.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/mem.h"
#include "capture/stops.h"
#include "change/binary.h"

#define CHANGE_SLACK 64 /* of one change in a record, beyond twice what it takes in the stream */
#define BITS_KEPT (16u << 20)
#define UNKNOWN_TABLE (64u << 10)

region_id origin_region(const char *name, const char *prefix, struct regset *regs)
{
        size_t n = strlen(prefix);
        if (strncmp(name, prefix, n) != 0)
                return REGION_NONE;
        return regset_add(regs, name + n, strlen(name + n));
}

void txread_init(struct txread *t, struct groups *g, struct progress *p, struct relcache *tables, struct regset *regs)
{
        memset(t, 0, sizeof *t);
        t->groups = g;
        t->progress = p;
        t->tables = tables;
        t->regs = regs;
        t->max_bytes = g->max_bytes;
        t->txn.vec = &t->txn_vec;
        t->msg = mem_alloc(sizeof *t->msg);
        t->old_memory = mem_alloc(PGOUT_MAX_COLS * sizeof *t->old_memory);
        buf_init(&t->raw, 0);
        buf_init(&t->bits, 0);
}

void txread_release(struct txread *t)
{
        if (!t->msg)
                return;
        free(t->msg);
        free(t->old_memory);
        t->msg = NULL;
        buf_release(&t->raw);
        buf_release(&t->bits);
}

static enum status decode(struct txread *t, const uint8_t *p, size_t n, struct err *e)
{
        struct err why; /* filled only by a failure: clearing a kilobyte for each message was a tenth of capture's work */
        if (pgoutput_decode(p, n, t->msg, &why) == ST_OK)
                return ST_OK;
        return stop_named(e, "stream_unreadable", t->region, "region %s: the slot's stream cannot be read: %s", t->region, why.msg);
}

static enum status out_of_order(struct txread *t, char kind, struct err *e)
{
        return stop_named(e, "stream_unreadable", t->region, "region %s: message '%c' came %s a transaction", t->region, kind,
                          t->mode == TX_NONE ? "outside" : "inside");
}

/* Groups may have been closed inside: then the vector of the group's last transaction has been carried. */
static void carried(struct txread *t, uint64_t groups_before)
{
        if (t->groups->ngroups != groups_before)
                progress_carried(t->progress, t->group_moves);
}

static enum status open_group_tx(struct txread *t, size_t estimate, struct err *e)
{
        uint64_t before = t->groups->ngroups;
        enum status st = groups_begin(t->groups, &t->txn, estimate, e);
        carried(t, before);
        t->group_moves = t->txn_moves;
        return st;
}

enum status txread_close(struct txread *t, struct err *e)
{
        if (t->mode == TX_DIRECT)
                return ST_OK;
        uint64_t before = t->groups->ngroups;
        enum status st = groups_close(t->groups, e);
        carried(t, before);
        relcache_sweep(t->tables);
        return st;
}

void txread_reached(struct txread *t, lsn_t at)
{
        if (t->mode == TX_NONE)
                t->decoded = lsn_max(t->decoded, at);
}

/* ---- one change ---------------------------------------------------------------------------------------------------------------------- */

/* Of an old row that holds the identity's columns only the key is said. */
static const struct value *old_key(struct txread *t, const struct relation *rel, const struct value *old)
{
        for (uint16_t i = 0; i < rel->ncols; i++)
                t->old_memory[i] = rel->cols[i].key ? old[i] : (struct value){.kind = VALUE_UNSENT};
        return t->old_memory;
}

static enum status unfit(struct txread *t, const struct relation *rel, const char *why, struct err *e)
{
        return stop_named(e, "identity_unfit", t->region, "region %s: table %s.%s: %s", t->region, rel->schema, rel->name, why);
}

/* Fills what TOAST left out of the new row from the old one; only a full identity brings it. */
static enum status fill_unsent(struct txread *t, const struct relation *rel, struct value *row, const struct value *old,
                               struct err *e)
{
        for (uint16_t i = 0; i < rel->ncols; i++) {
                if (row[i].kind != VALUE_UNSENT)
                        continue;
                if (!old || old[i].kind == VALUE_UNSENT)
                        return unfit(t, rel, "its identity is FULL, but an old value that lies out of line did not come", e);
                row[i] = old[i];
        }
        return ST_OK;
}

/* Room for every value in binary, so that t->bits does not move while values point into it. */
static bool reserve_bits(struct txread *t, const struct relation *rel, const struct value *const rows[2])
{
        size_t need = 0;
        for (int r = 0; r < 2; r++)
                for (uint16_t i = 0; rows[r] && i < rel->ncols; i++)
                        need += rows[r][i].len + sizeof(uint64_t); /* a short text may be a long integer */
        if (t->bits.cap > BITS_KEPT) {
                buf_release(&t->bits);
                buf_init(&t->bits, 0);
        }
        buf_reset(&t->bits);
        return buf_reserve(&t->bits, need) != NULL;
}

static void to_binary(struct txread *t, const struct captured_table *table, struct value *row)
{
        for (uint16_t i = 0; row && i < table->rel.ncols; i++) {
                size_t at = t->bits.len;
                if (table->binary[i] == BINARY_NONE || row[i].kind != VALUE_TEXT ||
                    !binary_from_text((enum binary_type)table->binary[i], row[i].data, row[i].len, &t->bits))
                        continue;
                row[i] = (struct value){.kind = VALUE_BINARY, .len = (uint32_t)(t->bits.len - at), .data = t->bits.data + at};
        }
}

/* Integers, floats, uuids and the like travel in binary: smaller, and ready for the target. */
static void rows_to_binary(struct txread *t, const struct captured_table *table, const struct change *c)
{
        const struct value *const rows[2] = {c->row, c->old};
        if (!table->binary || !reserve_bits(t, &table->rel, rows))
                return;
        if (c->row)
                to_binary(t, table, t->msg->new_values);
        if (c->old)
                to_binary(t, table, c->old == t->old_memory ? t->old_memory : t->msg->old_values);
}

static enum status one_row(struct txread *t, const struct pgout_msg *m, struct err *e)
{
        struct captured_table *table = relcache_get(t->tables, m->u.change.oid);
        if (!table)
                return stop_named(e, "stream_unreadable", t->region, "region %s: a change of the unannounced relation %u",
                                  t->region, m->u.change.oid);
        const struct relation *rel = &table->rel;
        const struct pgout_row *row = &m->u.change.row, *old = &m->u.change.old;
        if ((row->values && row->ncols != rel->ncols) || (old->values && old->ncols != rel->ncols))
                return stop_named(e, "stream_unreadable", t->region,
                                  "region %s: a row of %s.%s has not as many columns as announced", t->region, rel->schema,
                                  rel->name);
        if (m->kind != PGOUT_INSERT && !rel->full && !table->identity_holds_key)
                return unfit(t, rel, "its replica identity does not hold its key", e);
        struct change c = {.rel = rel, .row = row->values, .tx = wire_group_txs(t->groups->wire) - 1};
        if (old->values)
                c.old = rel->full ? old->values : old_key(t, rel, old->values);
        if (m->kind == PGOUT_INSERT) {
                c.op = CHANGE_INSERT;
        } else if (m->kind == PGOUT_DELETE) {
                c.op = CHANGE_DELETE;
        } else {
                c.op = CHANGE_UPDATE;
                enum status st = rel->full ? fill_unsent(t, rel, t->msg->new_values, c.old, e) : ST_OK;
                if (st != ST_OK)
                        return st;
        }
        rows_to_binary(t, table, &c);
        FAILPOINT("capture.midtx");
        return groups_change(t->groups, &c, e);
}

static bool root_is_truncated_too(struct txread *t, const struct pgout_msg *m, const struct relation *leaf)
{
        for (uint32_t i = 0; i < m->u.truncate.n; i++) {
                const struct captured_table *other = relcache_get(t->tables, pgout_truncated(m, i));
                if (other && !other->rel.leaf_name && strcmp(other->rel.name, leaf->name) == 0 &&
                    strcmp(other->rel.schema, leaf->schema) == 0)
                        return true;
        }
        return false;
}

static enum status truncates(struct txread *t, const struct pgout_msg *m, struct err *e)
{
        for (uint32_t i = 0; i < m->u.truncate.n; i++) {
                struct captured_table *table = relcache_get(t->tables, pgout_truncated(m, i));
                if (!table)
                        return stop_named(e, "stream_unreadable", t->region, "region %s: a truncate of the unannounced relation %u",
                                          t->region, pgout_truncated(m, i));
                if (table->rel.leaf_name && root_is_truncated_too(t, m, &table->rel))
                        continue;
                struct change c = {.op = CHANGE_TRUNCATE, .rel = &table->rel, .tx = wire_group_txs(t->groups->wire) - 1};
                enum status st = groups_change(t->groups, &c, e);
                if (st != ST_OK)
                        return st;
        }
        return ST_OK;
}

/* A message from inside a transaction that is encoded now. */
static enum status encode(struct txread *t, const uint8_t *p, size_t n, struct err *e)
{
        enum status st = decode(t, p, n, e);
        if (st != ST_OK)
                return st;
        switch (t->msg->kind) {
        case PGOUT_RELATION: return relcache_announce(t->tables, t->msg, e);
        case PGOUT_INSERT:
        case PGOUT_UPDATE:
        case PGOUT_DELETE: return one_row(t, t->msg, e);
        case PGOUT_TRUNCATE: return truncates(t, t->msg, e);
        case PGOUT_BEGIN:
        case PGOUT_COMMIT:
        case PGOUT_ORIGIN:
        case PGOUT_TYPE:
        case PGOUT_MESSAGE: break;
        }
        return ST_OK;
}

/* ---- a transaction ------------------------------------------------------------------------------------------------------------------- */

static enum status encode_kept(struct txread *t, size_t estimate, struct err *e)
{
        enum status st = open_group_tx(t, estimate, e);
        for (size_t at = 0; st == ST_OK && at < t->raw.len;) {
                uint32_t n;
                memcpy(&n, t->raw.data + at, sizeof n);
                st = encode(t, t->raw.data + at + sizeof n, n, e);
                at += sizeof n + n;
        }
        buf_reset(&t->raw);
        return st;
}

/* How much a change adds to the record beside its bytes: the description of its table, once for a transaction. */
static void estimate_table(struct txread *t, const uint8_t *p, size_t n)
{
        if (n < 5 || p[0] == PGOUT_TRUNCATE || p[0] == PGOUT_RELATION) {
                t->described += UNKNOWN_TABLE; /* rare: no need to be exact */
                return;
        }
        uint32_t oid = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
        if (oid == t->last_oid)
                return;
        t->last_oid = oid;
        struct captured_table *table = relcache_get(t->tables, oid);
        if (!table)
                t->described += UNKNOWN_TABLE;
        else if (table->seen != t->serial)
                t->described += table->described;
        if (table)
                table->seen = t->serial;
}

static enum status keep(struct txread *t, const uint8_t *p, size_t n, struct err *e)
{
        uint32_t len = (uint32_t)n;
        if (t->raw.len + n > t->max_bytes) {
                enum status st = encode_kept(t, SIZE_MAX, e);
                t->mode = TX_DIRECT;
                return st == ST_OK ? encode(t, p, n, e) : st;
        }
        buf_put(&t->raw, &len, sizeof len);
        buf_put(&t->raw, p, n);
        estimate_table(t, p, n);
        t->nchanges++;
        return ST_OK;
}

static enum status on_begin(struct txread *t, const uint8_t *p, size_t n, struct err *e)
{
        if (t->mode != TX_NONE)
                return out_of_order(t, 'B', e);
        enum status st = decode(t, p, n, e);
        if (st != ST_OK)
                return st;
        t->mode = lsn_before(t->msg->u.begin.final_lsn, t->start) ? TX_SKIPPED : TX_KEPT;
        t->txn.xid = fullxid_near(t->xid_near, t->msg->u.begin.xid);
        t->txn.commit_lsn = t->msg->u.begin.final_lsn;
        t->txn.end_lsn = (lsn_t){0};
        t->txn.commit_us = t->msg->u.begin.commit_us;
        t->txn_vec = t->vec;
        t->txn_moves = t->progress->vec_moves;
        t->origin = REGION_NONE;
        t->mark = t->flush = false;
        t->described = t->nchanges = 0;
        t->last_oid = 0;
        t->serial++;
        FAILPOINT("capture.begin");
        return ST_OK;
}

static enum status on_origin(struct txread *t, const uint8_t *p, size_t n, struct err *e)
{
        if (t->mode == TX_NONE)
                return out_of_order(t, 'O', e);
        enum status st = decode(t, p, n, e);
        if (st != ST_OK)
                return st;
        t->origin = origin_region(t->msg->u.origin.name, t->origin_prefix, t->regs);
        if (t->origin.i != REGION_NONE.i)
                t->mode = TX_SKIPPED;
        return ST_OK;
}

static enum status publish_kept(struct txread *t, struct err *e)
{
        if (t->nchanges == 0 && !t->mark)
                return ST_OK;
        return encode_kept(t, 2 * t->raw.len + CHANGE_SLACK * t->nchanges + t->described + CHANGE_SLACK, e);
}

static enum status on_commit(struct txread *t, const uint8_t *p, size_t n, int64_t now, struct err *e)
{
        if (t->mode == TX_NONE)
                return out_of_order(t, 'C', e);
        enum status st = decode(t, p, n, e);
        lsn_t commit_lsn = t->msg->u.commit.commit_lsn, end_lsn = t->msg->u.commit.end_lsn;
        if (st == ST_OK && t->mode == TX_KEPT)
                st = publish_kept(t, e); /* decodes into t->msg */
        if (st == ST_OK && t->groups->open) {
                uint64_t before = t->groups->ngroups;
                st = groups_end(t->groups, commit_lsn, end_lsn, e);
                carried(t, before);
        }
        if (st != ST_OK)
                return st;
        if (t->origin.i != REGION_NONE.i && t->origin.i != t->me.i && t->vec.at[t->origin.i].v < (uint64_t)t->txn.commit_us) {
                t->vec.at[t->origin.i].v = (uint64_t)t->txn.commit_us;
                progress_moved(t->progress, now);
        }
        if (t->flush)
                t->progress->due_now = true;
        t->decoded = lsn_max(t->decoded, end_lsn);
        t->mode = TX_NONE;
        return ST_OK;
}

static enum status on_message(struct txread *t, const uint8_t *p, size_t n, struct err *e)
{
        enum status st = decode(t, p, n, e);
        if (st != ST_OK)
                return st;
        const char *prefix = t->msg->u.message.prefix;
        bool transactional = t->msg->u.message.transactional;
        if (strcmp(prefix, "pangea.flush") == 0) {
                if (transactional)
                        t->flush = true;
                else
                        t->progress->due_now = true;
        } else if (strcmp(prefix, "pangea.mark") == 0 && transactional) {
                t->mark = true;
        }
        return ST_OK; /* every other prefix: apply's own ('pangea'), adoption's, an application's */
}

/* A table's layout; inside a transaction it must be read in its place among the changes. */
static enum status on_relation(struct txread *t, const uint8_t *p, size_t n, struct err *e)
{
        if (t->mode == TX_KEPT && t->nchanges > 0)
                return keep(t, p, n, e);
        enum status st = decode(t, p, n, e);
        return st == ST_OK ? relcache_announce(t->tables, t->msg, e) : st;
}

static enum status on_change(struct txread *t, const uint8_t *p, size_t n, struct err *e)
{
        switch (t->mode) {
        case TX_KEPT: return keep(t, p, n, e);
        case TX_DIRECT: return encode(t, p, n, e);
        case TX_SKIPPED: return ST_OK;
        case TX_NONE: break;
        }
        return out_of_order(t, (char)p[0], e);
}

enum status txread_message(struct txread *t, const uint8_t *p, size_t n, int64_t now, struct err *e)
{
        if (n == 0)
                return stop_named(e, "stream_unreadable", t->region, "region %s: an empty message in the slot's stream", t->region);
        switch (p[0]) {
        case PGOUT_INSERT:
        case PGOUT_UPDATE:
        case PGOUT_DELETE:
        case PGOUT_TRUNCATE: return on_change(t, p, n, e);
        case PGOUT_BEGIN: return on_begin(t, p, n, e);
        case PGOUT_COMMIT: return on_commit(t, p, n, now, e);
        case PGOUT_ORIGIN: return on_origin(t, p, n, e);
        case PGOUT_RELATION: return on_relation(t, p, n, e);
        case PGOUT_MESSAGE: return on_message(t, p, n, e);
        case PGOUT_TYPE: return ST_OK;      /* names come from the catalog */
        default: return decode(t, p, n, e); /* says what it is */
        }
}
