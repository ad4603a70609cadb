"""A leader that waits for its standbys: what they have not flushed leaves the region neither as a row nor as a position."""
import os
import signal
import threading

from harness.case import test
from harness.wait import same, until

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text)"
TWO = {"own_postgres": "each", "tables": T, "run": False, "limit": 150}
ROWS = "SELECT id, v FROM t ORDER BY id"


def start(c, *names, run=True):
    """us waits for standbys of these names; returns them, with the daemons running."""
    c.topology["regions"]["us"]["postgres"]["wait_for_standbys"] = list(names)
    c.write_topology()
    c.init("us")
    standbys = []
    for name in names:
        standbys.append(c.servers.new_standby(c.us.postgres, name))
        c.own.append(standbys[-1])
    if run:
        c.run()
    return standbys


def waits(c, error, name):
    """us says that it waits for this standby."""
    def look():
        doc = c.us.status("capture")
        ok = doc.get("state") == "waiting" and doc.get("error") == error and f"standby {name} " in doc["why"] and doc["todo"]
        return True if ok else (False, str({k: doc.get(k) for k in ("state", "error", "why")}))
    until(look, f"us waits: {error} {name}", 30)


def published_more(c, records=2):
    """us goes on saying that it lives: whatever it would have published, it has published by now, before these records."""
    first = c.us.status("capture")["log_offset"]
    until(lambda: c.us.status("capture")["log_offset"] >= first + records or (False, c.us.status("capture")["log_offset"]),
          "heartbeats of us", 20)


def behind(c, lsn):
    """What us has said to be decoded ends before this position, in its status and in its slot."""
    assert c.us.value("SELECT (doc->>'decoded_lsn')::pg_lsn <= %s::pg_lsn FROM pangea.status WHERE agent = 'capture'", lsn), "decoded_lsn"
    assert c.us.value("SELECT confirmed_flush_lsn <= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s", lsn, c.us.slot), "slot"


def freeze(standby):
    """The standby stays connected and writes nothing more; returns the process that stands still."""
    session = standby.connect("postgres")
    cursor = session.cursor()
    cursor.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walreceiver'")
    receiver = cursor.fetchone()[0]
    session.close()
    os.kill(receiver, signal.SIGSTOP)
    return receiver


def commit_alone(c, standby, row):
    """A commit in us that its standby cannot have; returns the position before it. What came before it has arrived."""
    c.barrier()
    standby.stop()
    lsn = c.us.value("SELECT pg_current_wal_insert_lsn()")
    c.us.app("INSERT INTO t VALUES (%s, 'alone')", row)
    return lsn


@test(**TWO)
def follows(c):
    """rows must flow as usual, in both directions and in bulk, while the standby follows; without the right to see it init must say so"""
    standby, = start(c, "s-1")
    c.us.app("INSERT INTO t VALUES (1, 'us')")
    c.eu.app("INSERT INTO t VALUES (2, 'eu')")
    c.expect(ROWS, [(1, "us"), (2, "eu")])
    c.us.app("INSERT INTO t SELECT g, repeat('x', 2000) FROM generate_series(10, 5000) g")  # larger than a record
    for i in range(5001, 5200):
        c.us.app("INSERT INTO t VALUES (%s, 'single')", i)
    c.barrier()
    c.verify()
    same(lambda: c.us.status("capture")["state"], "running", "state of us")
    assert c.us.status("capture")["error"] is None
    assert standby.connect(c.us.database).info.dbname == c.us.database
    c.us.sql("REVOKE pg_read_all_stats FROM pangea")
    c.us.app("INSERT INTO t VALUES (3, 'unseen')")
    waits(c, "standby_hidden", "s-1")
    code, out, _ = c.command("init", "--region", "us", check=None)
    assert code == 4 and "GRANT pg_read_all_stats TO pangea;" in out, (code, out)
    c.init("us")
    c.expect("SELECT v FROM t WHERE id = 3", [("unseen",)])


@test(**TWO)
def away(c):
    """a commit that a stopped standby has not must not reach eu before it is back; heartbeats and the other direction go on"""
    standby, = start(c, "s1")
    c.us.app("INSERT INTO t VALUES (1, 'both')")
    c.expect(ROWS, [(1, "both")])
    lsn = commit_alone(c, standby, 2)
    waits(c, "standby_missing", "s1")
    c.eu.app("INSERT INTO t VALUES (3, 'eu')")
    c.expect("SELECT v FROM t WHERE id = 3", [("eu",)])
    published_more(c)
    c.expect(ROWS, [(1, "both"), (3, "eu")], ["eu"])
    behind(c, lsn)
    code, out, _ = c.command("status", check=None)
    assert code == 3 and "standby s1 is not connected" in out, (code, out)
    # a drain leaves what is held to the next session; so does a kill
    assert c.us.daemon.stop() == 0
    c.us.run()
    waits(c, "standby_missing", "s1")
    c.us.kill()
    c.us.run()
    waits(c, "standby_missing", "s1")
    published_more(c)
    c.expect(ROWS, [(1, "both"), (3, "eu")], ["eu"])
    behind(c, lsn)
    standby.start()
    c.expect(ROWS, [(1, "both"), (2, "alone"), (3, "eu")])
    same(lambda: c.us.status("capture")["state"], "running", "state of us")
    c.barrier()
    c.verify()


@test(**TWO)
def nothing_but_wal(c):
    """WAL without a transaction of a table must not move what us says to be decoded past its standby either"""
    standby, = start(c, "s1", run=False)
    c.us.run(agent="capture")  # apply would commit something that is held, and nothing behind that is read
    same(lambda: c.us.status("capture").get("state"), "running", "state of us")
    standby.stop()
    lsn = c.us.value("SELECT pg_current_wal_insert_lsn()")
    c.us.sql("SELECT pg_logical_emit_message(false, 'test', repeat('x', 100000))")
    c.us.sql("CHECKPOINT")
    waits(c, "standby_missing", "s1")
    published_more(c)
    behind(c, lsn)
    standby.start()
    until(lambda: c.us.value("SELECT (doc->>'decoded_lsn')::pg_lsn > %s::pg_lsn + 100000::numeric FROM pangea.status WHERE agent = 'capture'", lsn),
          "decoded_lsn of us moves on", 20)


@test(**TWO)
def frozen(c):
    """a standby that is connected but writes nothing must hold back too, also the large transaction; one of two is enough"""
    one, two = start(c, "s1", "s2")
    c.us.app("INSERT INTO t VALUES (1, 'both')")
    c.expect(ROWS, [(1, "both")])
    receiver = freeze(two)
    try:
        lsn = c.us.value("SELECT pg_current_wal_insert_lsn()")
        c.us.app("INSERT INTO t SELECT g, repeat('y', 1000) FROM generate_series(2, 3000) g")
        c.us.app("INSERT INTO t VALUES (5000, 'behind it')")
        waits(c, "standby_behind", "s2")
        published_more(c)
        c.expect(ROWS, [(1, "both")], ["eu"])
        behind(c, lsn)
    finally:
        os.kill(receiver, signal.SIGCONT)
    c.expect("SELECT count(*), max(id) FROM t", [(3001, 5000)])
    c.barrier()
    c.verify()
    assert one.pid() != two.pid()


@test(**TWO)
def promoted(c):
    """the primary is lost with a commit that its standby has not: eu must have exactly what the promoted standby has"""
    standby, = start(c, "s1")
    for i in range(1, 50):
        c.us.app("INSERT INTO t VALUES (%s, 'both')", i)
    commit_alone(c, standby, 100)
    for i in range(101, 120):
        c.us.app("UPDATE t SET v = 'alone' WHERE id = %s", i - 100)
    waits(c, "standby_missing", "s1")
    published_more(c)
    c.us.postgres.crash()
    standby.start()
    standby.promote()
    session = standby.connect(c.us.database)
    cursor = session.cursor()
    cursor.execute(ROWS)
    rows = cursor.fetchall()
    assert rows == [(i, "both") for i in range(1, 50)], rows
    c.expect(ROWS, rows, ["eu"])
    assert c.eu.value("SELECT count(*) FROM t WHERE v = 'alone'") == 0


@test(**TWO)
def lost_under_load(c):
    """whenever the primary dies under load, eu must not have one transaction that the promoted standby lacks"""
    standby, = start(c, "s1")
    done = []

    def write():
        try:
            session = c.us.connect()
            for i in range(1, 1000000):
                session.cursor().execute("INSERT INTO t VALUES (%s, 'load')", (i,))
                done.append(i)
        except Exception:  # the primary is gone
            return

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    until(lambda: c.eu.value("SELECT count(*) FROM t") > 200, "rows in eu", 30)
    freeze(standby)
    alone = len(done)
    until(lambda: len(done) > alone + 300, "commits that the standby has not", 30)
    c.us.postgres.crash()
    writer.join()
    standby.stop("immediate")  # what lies in its socket is lost with it
    standby.start()
    standby.promote()
    session = standby.connect(c.us.database)
    cursor = session.cursor()
    cursor.execute("SELECT id FROM t")
    have = {i for i, in cursor.fetchall()}
    c.us.kill()

    since = c.eu.value("SELECT now()")

    def settled():
        late = c.eu.sql("SELECT o->>'lag_records' FROM pangea.status, jsonb_array_elements(doc->'origins') o "
                        "WHERE agent = 'apply' AND at > %s + interval '1 s' AND o->>'origin' = 'us'", since)
        return True if late == [("0",)] else (False, str(late))

    until(settled, "eu has applied the log of us", 20)
    extra = {i for i, in c.eu.sql("SELECT id FROM t")} - have
    assert not extra, f"eu has {len(extra)} rows that the promoted standby lacks, such as {min(extra)}"
    assert len(have) >= 200 and len(set(done) - have) >= 100, (len(have), len(done))
