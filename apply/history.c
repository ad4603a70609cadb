/* history: pangea.conflict has a partition for each day; those older than conflicts.keep are dropped.  DESIGN 7, 10.2. */
#include "apply/applier.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"

static void run(struct applier *a, const char *sql, const char *what)
{
        struct err e;
        if (pg_exec(a->side, sql, NULL, &e) != ST_OK)
                log_event(LOG_WARN, "apply.history", "what=%s\twhy=%s", what, e.msg);
}

void history_turn(struct applier *a)
{
        char sql[2000];
        snprintf(
                sql, sizeof sql,
                "DO $$ DECLARE d date; p record; BEGIN"
                " FOR d IN SELECT current_date + i FROM pg_catalog.generate_series(1, 2) AS i LOOP"
                "  IF pg_catalog.to_regclass('pangea.conflict_' || pg_catalog.to_char(d, 'YYYYMMDD')) IS NULL THEN"
                "   EXECUTE pg_catalog.format('CREATE TABLE pangea.%%I PARTITION OF pangea.conflict FOR VALUES FROM (%%L) TO (%%L)',"
                "    'conflict_' || pg_catalog.to_char(d, 'YYYYMMDD'), d, d + 1);"
                "  END IF; END LOOP;"
                " FOR p IN SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_inherits h ON h.inhrelid = c.oid"
                "  WHERE h.inhparent = 'pangea.conflict'::pg_catalog.regclass AND c.relname ~ '^conflict_[0-9]{8}$'"
                "  AND pg_catalog.to_date(pg_catalog.right(c.relname, 8), 'YYYYMMDD') + 1 < now() - interval '%lld seconds' LOOP"
                "  EXECUTE pg_catalog.format('DROP TABLE pangea.%%I', p.relname); END LOOP;"
                " DELETE FROM pangea.conflict_rest WHERE at < now() - interval '%lld seconds';"
                " END $$",
                (long long)(a->topo->conflict_keep_us / 1000000), (long long)(a->topo->conflict_keep_us / 1000000));
        run(a, sql, "partitions of pangea.conflict");
}
