"""The servers of a comparison, and how each run finds them: the same WAL behind a copy of the same slot, the same empty target.

us is the source, eu the target, each a PostgreSQL of its own; one Kafka. All variants have the same durability: fsync is on; the target commits
with synchronous_commit=off (what native replication does by itself); Kafka acknowledges what is in its page cache; no file is synced more often
than its writer does by itself. No checkpoint and no autovacuum falls into a run. Rows of the source have the replica identity that `pangea init`
gives them, for all variants."""
import io
import os
import time

from common import Cluster
from broker import Broker
from harness.wait import until
import work as works

SETTINGS = {"fsync": "on", "shared_buffers": "1GB", "max_wal_size": "16GB", "checkpoint_timeout": "1h", "autovacuum": "off", "jit": "off",
            "wal_retrieve_retry_interval": "100ms", "max_wal_senders": "20"}
BASE = "bench_base"  # the slot that everybody drains a copy of


def leave(region):
    """Closes our own session: its database is dropped, or its server restarted."""
    if region._sql is not None and not region._sql.closed:
        region._sql.close()


def settle(cluster):
    """SETTINGS in each server."""
    for r in {r.postgres: r for r in cluster}.values():
        for name, value in SETTINGS.items():
            r.sql(f"ALTER SYSTEM SET {name} = '{value}'")
    for r in cluster:
        leave(r)
    for p in {r.postgres for r in cluster}:
        p.stop()
        p.start()


class Rig:
    def __init__(self, servers, folder, build):
        os.environ.setdefault("KAFKA_HEAP", "1g")
        self.c = Cluster(servers, "bench", folder, build, regions=("us", "eu"), own_postgres="each", own_kafka="one")
        self.us, self.eu = self.c.us, self.c.eu
        self.broker = Broker(self.us.kafka)
        settle(self.c)

    def close(self):
        self.broker.forget()
        self.c.close()

    def drop(self, region):
        leave(region)
        self.c.drop_region(region)

    # ---- the source ----
    def prepare(self, work, rows, base):
        """Tables in both, `pangea init` in the source, the slot, then the changes."""
        us = self.us
        for d in us.daemons:
            d.kill()
        self.work, self.base = work, base
        self.changes = work.changes(rows) if work.per else rows
        self.c.topology["routes"] = work.routes or [{"tables": ["public.*"]}]
        self.c.write_topology()
        self.drop(us)
        self.c.create_database(us, "")
        works.make_tables(us, work, base)
        self.template()
        self.broker.delete(us.topic)
        self.c.init("us")
        self.drop_slot(BASE)
        us.sql("SELECT pg_copy_logical_replication_slot(%s, %s)", us.slot, BASE)
        start = us.value("SELECT pg_current_wal_insert_lsn()")
        begin = time.monotonic()
        tenth = work.warm if not work.per else self.changes // 10 // work.per * work.per
        works.some(us, work, 0, tenth, base)
        works.mark(us, work, 1)
        self.lsn1 = us.value("SELECT pg_current_wal_insert_lsn()")
        works.some(us, work, tenth, self.changes, base)
        works.mark(us, work, 2)
        self.lsn2 = us.value("SELECT pg_current_wal_insert_lsn()")
        us.sql("SELECT pg_logical_emit_message(true, 'end', '')")
        self.end = us.value("SELECT pg_current_wal_insert_lsn()")
        us.sql("CHECKPOINT")
        self.tenth, self.made = tenth, time.monotonic() - begin
        self.done0 = int(self.template_value or 0)
        self.want = int(us.value(work.done)) - self.done0
        self.hash = self.tables(us)
        self.wal = int(us.value("SELECT %s::pg_lsn - %s::pg_lsn", self.end, start))
        self.truth()

    def truth(self):
        """What the server itself says is behind the slot: messages of pgoutput, and their bytes with the newline that pg_recvlogical adds."""
        kinds = {kind: (n, int(size)) for kind, n, size in self.us.sql(
            "SELECT chr(get_byte(data, 0)), count(*), sum(length(data) + 1) FROM pg_logical_slot_peek_binary_changes(%s, %s, NULL, 'proto_version', '1', "
            "'publication_names', %s) GROUP BY 1", BASE, self.end, self.us.slot)}
        self.messages = sum(kinds.get(k, (0, 0))[0] for k in "IUD")
        self.commits = kinds.get("C", (0, 0))[0]
        self.sent_bytes = sum(bytes for _, bytes in kinds.values())

    def drop_slot(self, name):
        def gone():
            rows = self.us.sql("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", name)
            if not rows:
                return True
            if rows[0][0]:
                self.us.sql("SELECT pg_terminate_backend(%s)", rows[0][0])
                return False, "active"
            try:
                self.us.sql("SELECT pg_drop_replication_slot(%s)", name)
            except Exception as e:  # became active again
                return False, str(e)
        until(gone, f"slot {name} dropped", 20)

    def copy_slot(self, name):
        self.drop_slot(name)
        self.us.sql("SELECT pg_copy_logical_replication_slot(%s, %s)", BASE, name)

    def reset_capture(self):
        """As if Pangea had never published: no topic, no epoch, the slot at the beginning of the work."""
        us = self.us
        self.copy_slot(us.slot)
        self.broker.delete(us.topic)
        us.sql("UPDATE pangea.capture SET epoch = 0, epoch_offset = NULL; DELETE FROM pangea.status")
        self.c.init("us")

    # ---- the target ----
    def template(self):
        """The database that every target is a copy of."""
        eu = self.eu
        self.drop(eu)
        name, eu.database = eu.database, "bench_template"
        try:
            c = eu.postgres.connect("postgres")
            c.cursor().execute("DROP DATABASE IF EXISTS bench_template")
            c.close()
            self.c.create_database(eu, "")
            works.make_tables(eu, self.work, self.base)
            self.same_fill()
            self.template_value = eu.value(self.work.done)
            leave(eu)
        finally:
            eu.database = name
        self.empty_target()

    def same_fill(self):
        """now() differs between two fills: the target's rows are those of the source."""
        for t in self.work.names if self.base else ():
            self.eu.sql(f"TRUNCATE {t}")
            data = self.us.copy(f"SELECT * FROM {t}", binary=True)
            self.eu.session().cursor().copy_expert(f"COPY {t} FROM STDIN (FORMAT binary)", io.BytesIO(data))
        self.eu.sql("VACUUM (FREEZE, ANALYZE)")

    def empty_target(self):
        c = self.eu.postgres.connect("postgres")
        c.cursor().execute(f"CREATE DATABASE {self.eu.database} OWNER app TEMPLATE bench_template STRATEGY file_copy")
        c.close()

    def fresh_target(self):
        """A new copy of the template."""
        for d in self.eu.daemons:
            d.kill()
        self.drop(self.eu)
        self.empty_target()
        self.eu.sql("CHECKPOINT")

    # ---- whether it is right ----
    def tables(self, region):
        """{table: (rows, sum of 64-bit hashes of all rows)}: does not depend on their order."""
        out = {}
        for t in self.work.names:
            out[t] = region.sql(f"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM public.{t} t")[0]
        return out

    def wrong(self):
        """What differs in the target; an empty text when nothing does."""
        mine = self.tables(self.eu)
        return "; ".join(f"{t}: {mine[t]}, want {self.hash[t]}" for t in mine if mine[t] != self.hash[t])
