#include "capture/pgoutput.h"

#include "base/rd.h"

/* A reader plus why it failed, when that is more than "cut". */
struct in {
        struct rd r;
        const char *why;
};

static void refuse(struct in *in, const char *why)
{
        if (!in->r.bad)
                in->why = why;
        in->r.bad = true;
}

static lsn_t take_lsn(struct in *in)
{
        return (lsn_t){rd_u64(&in->r)};
}

static int64_t take_time(struct in *in)
{
        /* unsigned: whatever the bytes say, the sum is defined */
        return (int64_t)(rd_u64(&in->r) + (uint64_t)PG_EPOCH_US);
}

static const char *take_schema(struct in *in)
{
        const char *s = rd_cstr(&in->r);
        return *s ? s : "pg_catalog";
}

/* The hot path: one pass, nothing but bounds checks and stores. */
static struct pgout_row take_row(struct in *in, struct value *values)
{
        struct rd r = in->r;
        uint16_t n = rd_u16(&r);
        if (n > PGOUT_MAX_COLS) {
                refuse(in, "more columns than PostgreSQL allows");
                return (struct pgout_row){0};
        }
        for (uint16_t i = 0; i < n && !r.bad; i++) {
                uint8_t kind = rd_u8(&r);
                struct value v = {.kind = VALUE_NULL};
                if (kind == 't' || kind == 'b') {
                        v.kind = kind == 't' ? VALUE_TEXT : VALUE_BINARY;
                        v.len = rd_u32(&r);
                        v.data = rd_take(&r, v.len);
                } else if (kind == 'u') {
                        v.kind = VALUE_UNSENT;
                } else if (kind != 'n' && !r.bad) {
                        in->why = "a column of unknown kind";
                        r.bad = true;
                }
                values[i] = v;
        }
        in->r = r;
        return (struct pgout_row){.ncols = n, .values = values};
}

static void take_relation(struct in *in, struct pgout_msg *out)
{
        out->u.relation.oid = rd_u32(&in->r);
        out->u.relation.schema = take_schema(in);
        out->u.relation.name = rd_cstr(&in->r);
        char identity = (char)rd_u8(&in->r);
        if (identity != 'd' && identity != 'n' && identity != 'f' && identity != 'i')
                refuse(in, "unknown replica identity");
        out->u.relation.identity = identity;
        uint16_t n = rd_u16(&in->r);
        if (n > PGOUT_MAX_COLS)
                refuse(in, "more columns than PostgreSQL allows");
        out->u.relation.ncols = n;
        out->u.relation.cols = out->col_memory;
        for (uint16_t i = 0; i < n && !in->r.bad; i++) {
                struct pgout_col *c = &out->col_memory[i];
                uint8_t flags = rd_u8(&in->r);
                if (flags > 1)
                        refuse(in, "unknown column flags");
                c->identity = flags == 1;
                c->name = rd_cstr(&in->r);
                c->type_oid = rd_u32(&in->r);
                c->typmod = (int32_t)rd_u32(&in->r);
        }
}

static void take_change(struct in *in, struct pgout_msg *out)
{
        bool old_may = out->kind != PGOUT_INSERT, new_must = out->kind != PGOUT_DELETE;
        out->u.change.oid = rd_u32(&in->r);
        out->u.change.old_kind = PGOUT_OLD_NONE;
        out->u.change.old = out->u.change.row = (struct pgout_row){0};
        uint8_t part = rd_u8(&in->r);
        if (old_may && (part == 'K' || part == 'O')) {
                out->u.change.old_kind = part == 'K' ? PGOUT_OLD_KEY : PGOUT_OLD_FULL;
                out->u.change.old = take_row(in, out->old_values);
                if (!new_must)
                        return;
                part = rd_u8(&in->r);
        }
        if (!new_must || part != 'N')
                refuse(in, "a row of unknown kind");
        else
                out->u.change.row = take_row(in, out->new_values);
}

static void take_truncate(struct in *in, struct pgout_msg *out)
{
        uint32_t n = rd_u32(&in->r);
        uint8_t flags = rd_u8(&in->r);
        if (flags > 3)
                refuse(in, "unknown truncate flags");
        out->u.truncate.cascade = (flags & 1) != 0;
        out->u.truncate.restart_identity = (flags & 2) != 0;
        out->u.truncate.n = n;
        out->u.truncate.oids = rd_take(&in->r, (size_t)n * 4);
}

static void take_message(struct in *in, struct pgout_msg *out)
{
        uint8_t flags = rd_u8(&in->r);
        if (flags > 1)
                refuse(in, "unknown message flags");
        out->u.message.transactional = flags == 1;
        out->u.message.lsn = take_lsn(in);
        out->u.message.prefix = rd_cstr(&in->r);
        out->u.message.len = rd_u32(&in->r);
        out->u.message.content = rd_take(&in->r, out->u.message.len);
}

static void take_commit(struct in *in, struct pgout_msg *out)
{
        if (rd_u8(&in->r) != 0)
                refuse(in, "unknown commit flags");
        out->u.commit.commit_lsn = take_lsn(in);
        out->u.commit.end_lsn = take_lsn(in);
        out->u.commit.commit_us = take_time(in);
}

static void take_body(struct in *in, uint8_t kind, struct pgout_msg *out)
{
        out->kind = (enum pgout_kind)kind;
        switch (kind) {
        case PGOUT_BEGIN:
                out->u.begin.final_lsn = take_lsn(in);
                out->u.begin.commit_us = take_time(in);
                out->u.begin.xid = rd_u32(&in->r);
                break;
        case PGOUT_COMMIT: take_commit(in, out); break;
        case PGOUT_ORIGIN:
                out->u.origin.lsn = take_lsn(in);
                out->u.origin.name = rd_cstr(&in->r);
                break;
        case PGOUT_RELATION: take_relation(in, out); break;
        case PGOUT_TYPE:
                out->u.type.oid = rd_u32(&in->r);
                out->u.type.schema = take_schema(in);
                out->u.type.name = rd_cstr(&in->r);
                break;
        case PGOUT_INSERT:
        case PGOUT_UPDATE:
        case PGOUT_DELETE: take_change(in, out); break;
        case PGOUT_TRUNCATE: take_truncate(in, out); break;
        case PGOUT_MESSAGE: take_message(in, out); break;
        /* bytes from outside, not our enum */
        default: refuse(in, "unknown kind of message");
        }
}

enum status pgoutput_decode(const uint8_t *p, size_t n, struct pgout_msg *out, struct err *e)
{
        struct in in = {.r = rd_init(p, n)};
        uint8_t kind = rd_u8(&in.r);
        if (!in.r.bad)
                take_body(&in, kind, out);
        if (!in.r.bad && in.r.left > 0)
                refuse(&in, "bytes behind its end");
        if (!in.r.bad)
                return ST_OK;
        return err_set(e, ST_DATA, "pgoutput message 0x%02x of %zu bytes, at byte %zu: %s", kind, n, n - in.r.left,
                       in.why ? in.why : "it is cut");
}
