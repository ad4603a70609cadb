#include "capture/rules.h"

#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "topology/rules_said.h"

#define PATIENCE_US (30 * 1000000)

/* What the own log said last, the highest generation that any log said, and who else has these rules already. */
static const char KNOWN_SQL[] =
        "SELECT (SELECT r.generation FROM pangea.rules r WHERE r.region = $1 ORDER BY r.from_hlc DESC LIMIT 1),"
        " (SELECT r.doc::text FROM pangea.rules r WHERE r.region = $1 ORDER BY r.from_hlc DESC LIMIT 1),"
        " (SELECT coalesce(max(r.generation), 0) FROM pangea.rules r),"
        " (SELECT max(r.generation) FROM pangea.rules r WHERE r.doc = $2::jsonb)";

struct known {
        bool said; /* the own log has a MARKER */
        uint32_t own, highest, shared;
        char *doc; /* what it said; arena */
};

static enum status read_known(struct session *s, const char *doc, struct arena *arena, struct known *k, struct err *e)
{
        struct pgres *res = NULL;
        struct pg_param p[] = {PG_TEXT(s->region->name), PG_TEXT(doc)};
        enum status st = pg_query(s->side, KNOWN_SQL, 2, p, false, &res, e);
        if (st == ST_OK) {
                k->said = !pgres_null(res, 0, 0);
                k->own = (uint32_t)pgres_i64(res, 0, 0);
                k->doc = k->said ? arena_strdup(arena, pgres_text(res, 0, 1)) : NULL;
                k->highest = (uint32_t)pgres_i64(res, 0, 2);
                k->shared = pgres_null(res, 0, 3) ? 0 : (uint32_t)pgres_i64(res, 0, 3);
        }
        pgres_free(res);
        return st;
}

static enum status publish(struct session *s, uint32_t generation, const char *doc, struct err *e)
{
        struct buf text, record;
        buf_init(&text, 1u << 20);
        buf_init(&record, 1u << 20);
        buf_printf(&text, "{\"generation\": %u, \"from_hlc\": %" PRIu64 ", \"rules\": %s}", generation, s->groups.hlc.v, doc);
        struct record_marker m = {.what = "rules", .text = buf_cstr(&text)};
        struct record_head h = outlet_head(&s->outlet, RECORD_MARKER);
        koffset_t before = s->outlet.offset;
        int64_t until = clock_mono_us() + PATIENCE_US;
        enum status st = wire_encode_marker(&record, &h, &m, &s->regs, e);
        if (st == ST_OK)
                st = outlet_put(&s->outlet, &h, &record, (lsn_t){0}, e);
        while (st == ST_OK && s->outlet.offset.v == before.v) {
                st = outlet_poll(&s->outlet, 50, e);
                if (st == ST_OK)
                        st = session_idle(s, e);
                if (st == ST_OK && s->outlet.offset.v == before.v && clock_mono_us() > until)
                        st = err_set(e, ST_RETRY, "region %s: Kafka at %s does not acknowledge the MARKER record", s->region->name,
                                     s->region->kafka.brokers);
        }
        buf_release(&text);
        buf_release(&record);
        return st;
}

static enum status check_change(const struct session *s, const struct known *k, struct arena *arena, struct err *e)
{
        struct rulebook before = {.standard = {.row = RULE_LAST_WRITE_WINS}};
        if (k->said) {
                enum status st = rulebook_parse(k->doc, strlen(k->doc), arena, &before, e);
                if (st != ST_OK)
                        return st;
        }
        const char *table = k->said || s->groups.hlc.v ? rulebook_hard_change(&before, &s->topo->rules, arena) : NULL;
        if (!table || s->control->accept_rules)
                return ST_OK;
        return err_named(
                e, ST_CONFIG, "rules_need_quiet",
                "region %s: the rule of %s changes from or to one that adds up (delta, union, json_merge, column_merge) or under which deletes win, and "
                "versions under the old rule may be on their way. Stop writing to it in every region, wait until `pangea status` "
                "says that everything is stable, then start every region once with `pangea run --accept-rules`",
                s->region->name, table);
}

static enum status change(struct session *s, const struct known *k, const char *doc, struct arena *arena, struct err *e)
{
        uint32_t generation = k->shared > k->own ? k->shared : k->highest + 1;
        enum status st = check_change(s, k, arena, e);
        s->outlet.head.generation = generation;
        if (st == ST_OK)
                st = publish(s, generation, doc, e);
        FAILPOINT("capture.rules");
        if (st == ST_OK)
                st = rules_said_note(s->side, s->region->name, s->groups.hlc.v, generation, doc, e);
        if (st == ST_OK)
                log_event(LOG_INFO, "capture.rules", "generation=%u\tbefore=%u\trules=%s", generation, k->own, doc);
        return st;
}

enum status session_rules(struct session *s, struct err *e)
{
        struct arena arena;
        struct buf doc, before;
        struct known k = {.said = false};
        struct rulebook old;
        arena_init(&arena);
        buf_init(&doc, 1u << 20);
        buf_init(&before, 1u << 20);
        rulebook_json(&s->topo->rules, &doc);
        enum status st = read_known(s, buf_cstr(&doc), &arena, &k, e);
        if (st == ST_OK && k.said)
                st = rulebook_parse(k.doc, strlen(k.doc), &arena, &old, e);
        if (st == ST_OK && k.said)
                rulebook_json(&old, &before); /* jsonb has an order of its own */
        bool same = k.said ? doc.len == before.len && memcmp(doc.data, before.data, doc.len) == 0 : rulebook_plain(&s->topo->rules);
        s->outlet.head.generation = k.own;
        if (st == ST_OK && !same)
                st = change(s, &k, buf_cstr(&doc), &arena, e);
        buf_release(&doc);
        buf_release(&before);
        arena_release(&arena);
        return st;
}
