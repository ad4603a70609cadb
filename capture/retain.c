#include "capture/retain.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"

/* Records before it are processed and stable: each leader's vector covers them. */
static const char OWN_SQL[] = "SELECT kafka_offset FROM pangea.position WHERE origin = $1 AND kafka_offset >= 0";

/* The position was committed without waiting for the disk. What is deleted here does not come back, so PostgreSQL must not be able to fall
 * behind it any more: a commit that waits flushes all that were before it. */
static const char FLUSH_SQL[] = "SELECT pg_catalog.set_config('synchronous_commit', 'local', true),"
                                " pg_catalog.pg_logical_emit_message(true, 'pangea', '')";

enum status retain_log(struct pg *c, const struct topology *topo, region_id me, struct err *e)
{
        char topic[256], client[128];
        const struct region *r = &topo->regions[me.i];
        struct pgres *res = NULL;
        enum status st = pg_query(c, OWN_SQL, 1, &PG_TEXT(r->name), false, &res, e);
        if (st != ST_OK)
                return err_wrap(e, "log.retention");
        koffset_t stable = {pgres_rows(res) > 0 ? pgres_i64(res, 0, 0) : -1}, old = {-1};
        pgres_free(res);
        if (stable.v <= 0) {
                log_event(LOG_DEBUG, "capture.retention", "applied=none");
                return ST_OK;
        }
        struct kafka_conf conf = r->kafka;
        snprintf(client, sizeof client, "pangea-%s-%s-retention", topo->cluster, r->name);
        conf.client_id = client;
        topology_topic(topo, me, topic, sizeof topic);
        st = kafka_offset_at(&conf, topic, clock_wall_us() - topo->log_retention_us, &old, e);
        if (st != ST_OK)
                return err_wrap(e, "log.retention");
        koffset_t before = {old.v < stable.v ? old.v : stable.v};
        log_event(LOG_DEBUG, "capture.retention", "topic=%s\told=%lld\tapplied=%lld", topic, (long long)old.v, (long long)stable.v);
        if (before.v <= 0)
                return ST_OK;
        st = pg_exec(c, FLUSH_SQL, NULL, e);
        if (st == ST_OK)
                st = kafka_delete_records(&conf, topic, before, e);
        if (st != ST_OK)
                return err_wrap(e, "log.retention");
        log_event(LOG_DEBUG, "capture.retained", "topic=%s\tfrom=%lld", topic, (long long)before.v);
        return ST_OK;
}
