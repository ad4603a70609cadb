"""PostgreSQL and Kafka killed, restarted and frozen under load: daemons outlive them, nothing acknowledged is lost, each effect once."""
import os
import signal
import time

import psycopg2

from harness.case import test
from harness.load import Load, Mixed, settled
from harness.seeds import rng, seeded
from harness.wait import until

T = Load.TABLES


# ---- F1: PostgreSQL --------------------------------------------------------------------------------------------------------------------
@test(tables=T, own_postgres="each", limit=240, cases=seeded(1, 2))
def postgres_crashes(c, case):
    """F1: PostgreSQL crashes under load in either region, now and then twice in a row; daemons live on, nothing is lost"""
    r = rng("postgres_crashes", case[1])
    load = Mixed(c, seed=case[1]).start()
    for _ in range(r.randrange(2, 4)):
        load.goes_on(r.randrange(20, 150))
        region = r.choice(list(c))
        for _ in range(r.choice((1, 1, 2))):
            if r.random() < 0.6:
                region.postgres.crash()
                region.postgres.start()
            else:
                kill_a_backend(region, r)
        region._sql = None
    load.goes_on(100)
    settled(c, load)
    assert all(d.alive() for r in c for d in r.daemons), "a daemon ended: it must outlive its PostgreSQL"
    assert all(len(r.daemons) == 1 for r in c)


def kill_a_backend(region, r):
    """kill -9 of one: the postmaster ends them all and recovers."""
    def ask(text):
        try:
            session = psycopg2.connect(region.postgres.conninfo("postgres", "postgres"), options="-c client_min_messages=error")
            cursor = session.cursor()
            cursor.execute(text)
            rows = cursor.fetchall()
            session.close()
            return rows
        except psycopg2.Error:
            return []

    def hit():
        pids = ask("SELECT pid FROM pg_stat_activity WHERE backend_type = ANY (ARRAY['client backend', 'walsender', 'checkpointer']) AND pid <> pg_backend_pid()")
        try:
            os.kill(r.choice(pids)[0], signal.SIGKILL)
            return True
        except (IndexError, ProcessLookupError):  # it ended by itself meanwhile
            return False

    until(hit, f"{region.name}: a backend is there", 30)
    # the one that answers has begun after the recovery
    until(lambda: ask("SELECT 1 WHERE NOT pg_is_in_recovery()"), f"{region.name}: PostgreSQL is back", 60)


@test(tables=T, limit=90, cases=seeded(1, 2))
def backends_killed(c, case):
    """F1: our own sessions terminated in the middle of their work"""
    r = rng("backends_killed", case[1])
    load = Mixed(c, seed=case[1]).start()
    share = r.choice((0.3, 0.6, 1.0))
    for _ in range(10):
        load.goes_on(r.randrange(1, 40))
        for region in r.sample(list(c), r.choice((1, 2))):
            region.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pangea%%' AND random() < %s", share)
    settled(c, load)


# ---- F5, F7: Kafka ---------------------------------------------------------------------------------------------------------------------
@test(tables=T, own_kafka="each", limit=150, cases=seeded(1, 2))
def keepalive_past_undelivered(c, case):
    """F5: while a record is undelivered the slot's position must not pass it, however much idle WAL there is; then capture is killed"""
    r = rng("keepalive", case[1])
    c.ready()
    us = r.choice(list(c))
    us.app("INSERT INTO counter VALUES (0, 0) ON CONFLICT DO NOTHING")
    c.barrier()
    us.kafka.freeze()
    try:
        rows = r.choice((1, 1, 500, 5000))
        us.app("INSERT INTO ledger (id, writer, n) SELECT -g, 'undelivered', %s FROM generate_series(1, %s) g ON CONFLICT (id) DO UPDATE SET n = excluded.n", case[1], rows)
        at = us.value("SELECT pg_current_wal_insert_lsn()")
        idle_wal(us, r)
        until(lambda: us.value("SELECT sent_lsn > %s FROM pg_stat_replication WHERE application_name LIKE 'pangea%%' AND pid = (SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s)",
                               at, us.slot), "the walsender has sent beyond the record", 40)
        assert us.value("SELECT confirmed_flush_lsn < %s FROM pg_replication_slots WHERE slot_name = %s", at, us.slot), "confirmed past an undelivered record"
        early = r.random() < 0.5
        if early:
            us.kill()
    finally:
        us.kafka.thaw()
    us.kill()
    us.run()
    c.expect(f"SELECT count(*) FROM ledger WHERE id < 0 AND n = {case[1]}", [(rows,)], limit=60)
    c.barrier()


def idle_wal(region, r):
    """WAL that holds nothing for us."""
    elsewhere = region.postgres.connect("postgres")
    cursor = elsewhere.cursor()
    for _ in range(3):
        cursor.execute("CREATE TABLE idle AS SELECT g FROM generate_series(1, 1000) g")
        cursor.execute("DROP TABLE idle")
        cursor.execute(r.choice(("SELECT pg_switch_wal()", "CHECKPOINT", "SELECT pg_logical_emit_message(false, 'somebody', repeat('x', 5000))")))
    elsewhere.close()


@test(tables=T, own_kafka="one", limit=240, cases=seeded(1, 2))
def kafka_killed(c, case):
    """F7: the broker killed or restarted under load: the producer is rebuilt, the log's tail tells where to go on"""
    r = rng("kafka_killed", case[1])
    load = Mixed(c, seed=case[1]).start()
    for _ in range(r.choice((1, 2))):
        load.goes_on(r.randrange(50, 150))
        if r.random() < 0.7:
            c.us.kafka.kill()
        else:
            c.us.kafka.stop()
        load.goes_on(r.randrange(1, 100))  # local commits go on without Kafka
        c.us.kafka.start()
    settled(c, load, 120)


@test(tables=T, own_kafka="one", limit=240, cases=seeded(1))
def kafka_frozen(c, case):
    """F7: the broker frozen for 45 seconds under load"""
    load = Mixed(c, seed=case[1]).start()
    load.goes_on(rng("kafka_frozen", case[1]).randrange(1, 200))
    c.us.kafka.freeze()
    end = time.monotonic() + 45
    until(lambda: time.monotonic() > end, "the fault's own length", 60, every=0.5)
    c.us.kafka.thaw()
    settled(c, load, 120)
