"""Disks that are full: PostgreSQL's WAL and spill files, Kafka's log. Nothing torn, nothing acknowledged lost, and it goes on when there is room."""
import psycopg2

from harness.case import test
from harness.load import Load, Mixed, settled
from harness.wait import until

T = Load.TABLES + "; CREATE TABLE public.t (id int PRIMARY KEY, v text)"


def said(c, region, agent, what):
    """Somebody who looks sees that this agent does not run, or what it waits for."""
    def look():
        problems = c.status()["problems"]
        return any(region.name in p for p in problems) or (False, problems)
    until(look, f"status says that {region.name} {what}", 40, every=0.3)


@test(tables=T, own_postgres="full", limit=150)
def wal(c):
    """F16: PostgreSQL's WAL: it stops itself; the daemons wait, the other region goes on; nothing acknowledged is lost when there is room again"""
    load = Mixed(c, seed=1, clients=1).start()
    load.goes_on(100)
    c.us.postgres.fill("pg_wal")

    def down():
        try:
            c.us.postgres.connect("postgres").cursor().execute("SELECT pg_switch_wal(), pg_logical_emit_message(true, 'x', 'y')")
            return False
        except psycopg2.Error:
            return True

    until(down, "PostgreSQL has stopped", 60, every=0.1)
    said(c, c.us, "capture", "does not answer")
    load.goes_on(50)  # eu's
    c.us._sql = None
    c.us.postgres.stop("immediate")
    c.us.postgres.fill("")
    c.us.postgres.start()
    settled(c, load, 120)
    assert all(d.alive() for r in c for d in r.daemons) and all(len(r.daemons) == 1 for r in c)


@test(tables=T, own_postgres="full", topology={"group": {"max_rows": 100, "max_bytes": "64kB"}}, limit=150)
def spill(c):
    """F16: the files to which PostgreSQL spills a large transaction while it decodes: capture waits by name, and has all of it when there is room"""
    c.us.sql("ALTER SYSTEM SET logical_decoding_work_mem = '64kB'")
    c.us.sql("SELECT pg_reload_conf()")
    c.us.kill()
    c.us.app("INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 30000) g")
    c.us.app("INSERT INTO t VALUES (0, 'behind it')")
    c.us.postgres.fill("pg_replslot")
    c.us.run()

    def waits():
        doc = c.us.status("capture")
        return (doc.get("state") == "waiting" and "No space left" in (doc.get("why") or "")) or (False, doc)

    until(waits, "capture says that the disk is full", 30)
    c.eu.app("INSERT INTO t VALUES (-1, 'eu')")
    c.expect("SELECT v FROM t WHERE id = -1", [("eu",)], regions=("us",))
    assert c.eu.value("SELECT count(*) FROM t WHERE id >= 0") == 0
    c.us.postgres.fill("")
    c.barrier(60)
    c.expect("SELECT count(*) FROM t", [(30002,)])
    c.verify()


@test(tables=T, own_kafka="full", limit=200)
def kafka(c):
    """F16: a broker's log folder: the broker ends; local commits go on, capture waits by name; all of it arrives when it is started with room"""
    load = Mixed(c, seed=2, clients=1, pause=0.05).start()
    load.goes_on(100)
    c.us.kafka.fill(f"{c.us.topic}-0")

    def waits():
        doc = c.us.status("capture")
        return (doc.get("state") not in (None, "running") and doc.get("why") and doc.get("todo")) or (False, {k: doc.get(k) for k in ("state", "why", "pending_records")})

    load.goes_on(200)  # in both regions
    until(waits, "capture says what it waits for", 90)
    load.goes_on(50)
    c.us.kafka.kill()
    c.us.kafka.fill("")
    c.us.kafka.start()
    settled(c, load, 120)
    assert all(d.alive() for r in c for d in r.daemons) and all(len(r.daemons) == 1 for r in c)
