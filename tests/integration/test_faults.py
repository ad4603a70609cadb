"""What is killed, frozen, delivered twice: no acknowledged write lost, each effect once, identical at rest."""
import os
import random
import subprocess
import threading
import time

import psycopg2

from harness.case import test
from harness.load import Load
from harness.wait import until

T = Load.TABLES
CAPTURE_POINTS = ("capture.epoch", "capture.begin", "capture.midtx", "capture.produced", "capture.delivered", "capture.feedback")
APPLY_POINTS = ("apply.begin", "apply.midrows", "apply.rows", "apply.commit", "apply.committed")


def settled(c, load, limit=90, more=40):
    """Some more is written, writers end, everything arrives, the journal and the regions agree."""
    if load in c.loads:
        want = load.done + more
        until(lambda: load.done >= want, "the writers go on", 30)
    load.stop()
    c.barrier(limit)
    load.check(c)
    c.verify(limit)


# ---- F4, F12: killed at every step -----------------------------------------------------------------------------------------------------
@test(tables=T, cases=[(f"{p}@{n}", p, n) for p in CAPTURE_POINTS for n in ((1,) if p == "capture.epoch" else (1, 2, 7))], run=False, limit=60)
def capture_killed(c, case):
    """F4: capture killed at this step, the nth time: duplicates in Kafka at most, none in effect"""
    _, point, nth = case
    c.us.kill()
    c.eu.kill()
    load = Load(c, seed=nth, clients=1)
    c.us.run("apply")
    c.eu.run()
    d = c.us.run("capture", failpoint=f"{point}=exit@{nth}")
    load.start()
    code = d.wait(30)
    assert code == -9, f"exit {code}"
    c.us.run("capture")
    settled(c, load)


@test(tables=T, cases=[(f"{p}@{n}", p, n) for p in APPLY_POINTS for n in (1, 2, 7)], run=False, limit=60)
def apply_killed(c, case):
    """F12: apply killed at this step, the nth time: it goes on from the origin's progress"""
    _, point, nth = case
    c.us.kill()
    c.eu.kill()
    load = Load(c, seed=nth, clients=1)
    c.us.run()
    c.eu.run("capture")
    d = c.eu.run("apply", failpoint=f"{point}=exit@{nth}")
    load.start()
    code = d.wait(30)
    assert code == -9, f"exit {code}"
    c.eu.run("apply")
    settled(c, load)


@test(tables=T, limit=150, regions=("us", "eu", "ap"))
def killed_at_random(c):
    """daemons of all regions killed at random moments under load, twenty times"""
    rng = random.Random(4)
    load = Load(c, seed=4).start()
    try:
        for _ in range(20):
            r = rng.choice(list(c))
            want = load.done + rng.randrange(1, 120)
            until(lambda: load.done >= want, "the writers go on", 20)
            r.daemon.kill()
            r.run()
    finally:
        settled(c, load)


# ---- F1: PostgreSQL --------------------------------------------------------------------------------------------------------------------
@test(tables=T, own_postgres="each", limit=240)
def postgres_crashes(c):
    """F1: PostgreSQL crashes under load in either region; daemons live on, nothing is lost"""
    load = Load(c, seed=1).start()
    for r in (c.us, c.eu, c.us):
        want = load.done + 100
        until(lambda: load.done >= want, "the writers go on", 30)
        r.postgres.crash()
        r.postgres.start()
    want = load.done + 100
    until(lambda: load.done >= want, "the writers go on", 30)
    settled(c, load)
    assert all(d.alive() for r in c for d in r.daemons), "a daemon ended: it must outlive its PostgreSQL"
    assert all(len(r.daemons) == 1 for r in c)


@test(tables=T, limit=90)
def backends_killed(c):
    """F1: our own sessions terminated in the middle of their work"""
    load = Load(c, seed=2).start()
    for i in range(10):
        want = load.done + 20
        until(lambda: load.done >= want, "the writers go on", 30)
        for r in c:
            r.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pangea%%' AND random() < %s", 0.6)
    settled(c, load)


# ---- F5, F7: Kafka ---------------------------------------------------------------------------------------------------------------------
@test(tables=T, own_kafka="each", limit=150)
def keepalive_past_undelivered(c):
    """F5: while a record is undelivered the slot's position must not pass it, however much idle WAL there is; then capture is killed"""
    c.us.app("INSERT INTO counter VALUES (0, 0) ON CONFLICT DO NOTHING")
    c.barrier()
    c.us.kafka.freeze()
    try:
        c.us.app("INSERT INTO ledger (id, writer, n) VALUES (-1, 'undelivered', 0)")
        at = c.us.value("SELECT pg_current_wal_insert_lsn()")
        elsewhere = c.us.postgres.connect("postgres")  # WAL that holds nothing for us
        for _ in range(3):
            elsewhere.cursor().execute("CREATE TABLE idle AS SELECT g FROM generate_series(1, 1000) g")
            elsewhere.cursor().execute("DROP TABLE idle")
            elsewhere.cursor().execute("SELECT pg_switch_wal()")
        elsewhere.close()
        until(lambda: c.us.value("SELECT sent_lsn > %s FROM pg_stat_replication WHERE application_name LIKE 'pangea%%' AND pid = (SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s)",
                                 at, c.us.slot), "the walsender has sent beyond the record", 40)
        assert c.us.value("SELECT confirmed_flush_lsn < %s FROM pg_replication_slots WHERE slot_name = %s", at, c.us.slot), "confirmed past an undelivered record"
        c.us.kill()
    finally:
        c.us.kafka.thaw()
    c.us.run()
    c.expect("SELECT writer FROM ledger WHERE id = -1", [("undelivered",)], limit=60)
    c.barrier()


@test(tables=T, own_kafka="one", limit=240)
def kafka_killed(c):
    """F7: the broker killed under load and started again: the producer is rebuilt, the log's tail tells where to go on"""
    load = Load(c, seed=3).start()
    for _ in range(3):
        want = load.done + 100
        until(lambda: load.done >= want, "local commits go on", 30)
        c.us.kafka.kill()
        want = load.done + 50
        until(lambda: load.done >= want, "local commits go on without Kafka", 30)
        c.us.kafka.start()
    settled(c, load, 120)


@test(tables=T, own_kafka="one", limit=240)
def kafka_frozen(c):
    """F7: the broker frozen for 45 seconds under load"""
    load = Load(c, seed=5).start()
    want = load.done + 100
    until(lambda: load.done >= want, "local commits go on", 30)
    c.us.kafka.freeze()
    end = time.monotonic() + 45
    until(lambda: time.monotonic() > end, "the fault's own length", 60, every=0.5)
    c.us.kafka.thaw()
    settled(c, load, 120)


# ---- F6 is test_transactions.py; F20: delivered twice ----------------------------------------------------------------------------------
def record(region, offset, path):
    with open(path, "wb") as f:
        subprocess.run(["kcat", "-C", "-q", "-b", region.kafka.brokers, "-t", region.topic, "-p", "0", "-o", str(offset), "-c", "1", "-e", "-f", "%s"], stdout=f, check=True)


def log_end(region):
    out = subprocess.run(["kcat", "-Q", "-b", region.kafka.brokers, "-t", f"{region.topic}:0:-1"], stdout=subprocess.PIPE, check=True, text=True).stdout
    return int(out.rsplit(" ", 1)[1])


@test(tables="CREATE TABLE public.t (id int PRIMARY KEY, v text)")
def rewound(c):
    """F20: apply that is made to read from offset 0 again changes nothing"""
    c.us.app("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    c.us.app("UPDATE t SET v = 'c' WHERE id = 1")
    c.us.app("DELETE FROM t WHERE id = 2")
    c.barrier()
    c.eu.kill()
    c.eu.sql("UPDATE pangea.position SET kafka_offset = -1; CREATE TABLE public.seen AS SELECT id, v, xmin::text x FROM t")
    c.eu.run()
    c.barrier()
    c.us.app("INSERT INTO t VALUES (3, 'd')")
    c.barrier()
    assert c.eu.sql("SELECT t.xmin::text = s.x FROM t JOIN seen s USING (id)") == [(True,)], "the row was written again"
    c.converged("SELECT * FROM t ORDER BY id")


@test(tables="CREATE TABLE public.t (id int PRIMARY KEY, v int); INSERT INTO public.t VALUES (1, 0)", own_kafka="one", limit=90)
def delivered_twice(c):
    """F20: a whole log written a second time behind itself (what a zombie producer leaves) has no effect"""
    for _ in range(5):
        c.us.app("UPDATE t SET v = v + 1")
    c.barrier()
    for r in c:
        r.kill()
    end = log_end(c.us)
    path = os.path.join(c.folder, "record")
    for offset in range(end):
        record(c.us, offset, path)
        subprocess.run(["kcat", "-P", "-b", c.us.kafka.brokers, "-t", c.us.topic, "-p", "0", "-k", "us", path], check=True)
    assert log_end(c.us) == 2 * end
    c.eu.run()
    c.us.run()
    c.us.app("UPDATE t SET v = v + 1")
    c.barrier(60)
    c.expect("SELECT v FROM t", [(6,)])


# ---- F21: two of them, zombies ---------------------------------------------------------------------------------------------------------
@test(tables=T, limit=120)
def two_daemons(c):
    """F21: a second daemon of the same region: one works, the other waits or ends; nothing is doubled"""
    load = Load(c, seed=6).start()
    second = c.us.run()
    want = load.done + 200
    until(lambda: load.done >= want, "the writers go on", 30)
    c.us.daemons[0].kill()  # whoever is left takes over
    if not second.alive():
        second.wait()
        c.us.run()
    settled(c, load)


@test(tables=T, limit=150)
def zombie_capture(c):
    """F21: a capture frozen while another one takes over, then thawed: what it still has in hand must change nothing"""
    c.us.kill()
    c.us.run("apply")
    zombie = c.us.run("capture")
    load = Load(c, seed=7).start()
    until(lambda: load.done > 100, "some load", 30)
    zombie.freeze()
    c.us.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s AND active", c.us.slot)
    new = c.us.run("capture")
    want = load.done + 100
    until(lambda: load.done >= want, "the writers go on", 30)
    until(lambda: c.us.status("capture").get("pid") == new.pid, "the new one works", 30)
    zombie.thaw()
    want = load.done + 200
    until(lambda: load.done >= want, "the writers go on", 30)
    load.stop()
    zombie.kill()
    settled(c, load)


@test(tables=T, limit=150)
def zombie_apply(c):
    """F21: an apply frozen in the middle of a group while another one takes over, then thawed"""
    c.eu.kill()
    c.eu.run("capture")
    mark = os.path.join(c.folder, "paused")
    zombie = c.eu.run("apply", failpoint=f"apply.rows=pause@5:{mark}")
    load = Load(c, seed=8).start()
    until(lambda: os.path.exists(mark), "the failpoint", 30)
    c.eu.run("apply")  # idle_in_transaction_session_timeout frees the zombie's locks
    want = load.done + 300
    until(lambda: load.done >= want, "the writers go on", 30)
    zombie.thaw()
    want = load.done + 200
    until(lambda: load.done >= want, "the writers go on", 30)
    load.stop()
    zombie.kill()
    settled(c, load)


# ---- what must stop by name ------------------------------------------------------------------------------------------------------------
def stops(c, region, agent, name):
    """The agent stops by this name, in status and with words for what to do."""
    def look():
        doc = region.status(agent)
        return doc.get("error") == name or (False, {k: doc.get(k) for k in ("state", "why", "error")})
    until(look, f"{agent} of {region.name} stops by {name}", 30)
    assert region.status(agent).get("todo"), "a named stop says what to do"


@test(tables=T, limit=90)
def slot_gone(c):
    """F3: the slot dropped while capture is down: what committed meanwhile cannot be published; stop by name, never a silent gap"""
    c.us.kill()
    c.us.app("INSERT INTO counter VALUES (99, 0)")
    c.us.sql("SELECT pg_drop_replication_slot(%s)", c.us.slot)
    d = c.us.run("capture")
    stops(c, c.us, "capture", "slot_missing")
    assert d.wait(30) in (1, 4, 5)


@test(tables=T, limit=90)
def slot_recreated(c):
    """F3: the slot dropped and made anew behind our back: there is a gap, so stop by name"""
    c.us.app("INSERT INTO counter VALUES (98, 0)")
    c.barrier()
    c.us.kill()
    c.us.app("INSERT INTO counter VALUES (99, 0)")
    c.us.sql("SELECT pg_drop_replication_slot(%s); SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", c.us.slot, c.us.slot)
    d = c.us.run("capture")
    until(lambda: c.us.status("capture").get("error") or (False, c.us.status("capture")), "capture stops by name", 30)
    assert d.wait(30) in (1, 4, 5)
    assert c.eu.sql("SELECT id FROM counter WHERE id = 99") == []


@test(tables=T, own_kafka="one", limit=90)
def topic_gone(c):
    """F8: the log deleted and made anew: both sides stop by name"""
    c.us.app("INSERT INTO counter VALUES (98, 0)")
    c.barrier()
    c.us.kill()
    c.eu.kill()
    libs = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), ".cache", "kafka", "libs", "*")
    for args in (["--delete", "--topic", c.us.topic], ["--create", "--topic", c.us.topic, "--partitions", "1", "--replication-factor", "1"]):
        subprocess.run(["java", "-cp", libs, "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", c.us.kafka.brokers, *args], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    c.run()
    until(lambda: c.us.status("capture").get("error") or (False, c.us.status("capture")), "capture stops by name", 30)
    until(lambda: c.eu.origin("us").get("error") or (False, c.eu.origin("us")), "eu's apply of us stops by name", 30)
    for r in c:
        r.daemon.wanted_end = True


@test(tables="CREATE TABLE public.t (id int PRIMARY KEY, v text)", own_kafka="one", limit=90)
def rotten_record(c):
    """F19: a record that was damaged stops that origin by name; nothing of it is applied, nobody crashes"""
    c.us.app("INSERT INTO t VALUES (1, 'a')")
    c.barrier()
    c.us.kill()
    end, path = log_end(c.us), os.path.join(c.folder, "record")
    record(c.us, end - 1, path)
    with open(path, "rb") as f:
        data = bytearray(f.read())
    data[len(data) // 2] ^= 0x40
    with open(path, "wb") as f:
        f.write(data)
    subprocess.run(["kcat", "-P", "-b", c.us.kafka.brokers, "-t", c.us.topic, "-p", "0", "-k", "us", path], check=True)
    until(lambda: c.eu.origin("us").get("error") or (False, c.eu.origin("us")), "eu's apply of us stops by name", 30)
    assert c.eu.sql("SELECT * FROM t") == [(1, "a")]
    c.eu.daemon.wanted_end = True


# ---- locks, errors, the rest of F13, F14, F15 ------------------------------------------------------------------------------------------
@test(tables="CREATE TABLE public.t (id int PRIMARY KEY, v text); INSERT INTO public.t SELECT g, 'x' FROM generate_series(1, 10) g", limit=90)
def a_lock_in_the_way(c):
    """C8, F14: apply never waits long with locks held; it retries until the application lets go, and loses nothing"""
    holder, other = c.eu.connect(), c.eu.connect()
    holder.autocommit = False
    holder.cursor().execute("SELECT * FROM t WHERE id = 5 FOR UPDATE")
    c.us.app("UPDATE t SET v = 'us'")
    until(lambda: c.eu.origin("us").get("retries", 0) > 2 or (False, c.eu.origin("us")), "apply retries", 20)
    start = time.monotonic()
    other.cursor().execute("UPDATE t SET v = 'eu' WHERE id = 1")  # one of the rows that the waiting group writes
    waited = time.monotonic() - start
    holder.rollback()
    assert waited < 2, f"a local statement waited {waited:.1f} s for apply"
    c.barrier()
    c.converged("SELECT * FROM t ORDER BY id")
    assert c.us.sql("SELECT v FROM t WHERE id IN (1, 5) ORDER BY id") == [("eu",), ("us",)]


@test(tables="CREATE TABLE public.t (id int PRIMARY KEY, n int); INSERT INTO public.t SELECT g, 0 FROM generate_series(1, 10) g", limit=120)
def crossing_updates(c):
    """F14, F15: both regions update the same ten rows in crossing orders, with deadlocks and serialization failures; nothing is discarded"""
    stop = threading.Event()
    errors = []

    def write(region, seed):
        rng, connection = random.Random(seed), region.connect()
        cursor = connection.cursor()
        while not stop.is_set():
            ids = rng.sample(range(1, 11), 3)
            try:
                cursor.execute("BEGIN ISOLATION LEVEL SERIALIZABLE" if seed % 2 else "BEGIN")
                for i in ids:
                    cursor.execute("UPDATE t SET n = n + 1 WHERE id = %s", (i,))
                cursor.execute("COMMIT")
            except psycopg2.Error as e:
                if e.pgcode not in ("40001", "40P01", "55P03"):
                    errors.append(str(e))
                    stop.set()
                cursor.execute("ROLLBACK")
            stop.wait(0.02)
        connection.close()

    threads = [threading.Thread(target=write, args=(r, s)) for r in c for s in (1, 2, 3)]
    for t in threads:
        t.start()
    try:
        for _ in range(5):
            c.barrier(60)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not errors, errors
    c.barrier(60)
    c.converged("SELECT * FROM t ORDER BY id", 30)
    c.verify()


@test(tables=T, own_postgres="each", limit=150)
def target_away(c):
    """F13: the target read-only, out of connections, stopped: the group is retried whole, the other direction goes on"""
    c.us.app("INSERT INTO counter VALUES (90, 0)")
    c.barrier()
    c.eu.sql(f"ALTER DATABASE {c.eu.database} SET default_transaction_read_only = on")
    ours = "FROM pg_stat_activity WHERE application_name LIKE 'pangea%' AND datname = current_database() AND backend_type = 'client backend'"
    before = c.eu.value(f"SELECT max(backend_start) {ours}")
    c.eu.sql(f"SELECT pg_terminate_backend(pid) {ours}")
    c.us.app("UPDATE counter SET n = 1 WHERE id = 90")
    until(lambda: c.eu.value(f"SELECT max(backend_start) > %s {ours.replace('%', '%%')}", before), "the daemon has come back", 20)
    assert c.eu.value("SELECT n FROM counter WHERE id = 90") == 0
    c.eu.sql(f"ALTER DATABASE {c.eu.database} RESET default_transaction_read_only")
    c.eu.sql(f"SELECT pg_terminate_backend(pid) {ours}")
    c.expect("SELECT n FROM counter WHERE id = 90", [(1,)], limit=40)
    c.eu.postgres.stop()
    c.us.app("UPDATE counter SET n = 2 WHERE id = 90")
    c.eu.postgres.start()
    c.eu._sql = None
    c.expect("SELECT n FROM counter WHERE id = 90", [(2,)], limit=60)
    c.barrier(60)
    assert all(d.alive() for r in c for d in r.daemons)


@test(tables=T, own_postgres="each", own_kafka="each", regions=("us", "eu", "ap"), limit=200)
def a_dead_region_pins_nothing(c):
    """C10, F11: one region gone: the others go on, and no slot waits for it"""
    c.us.app("INSERT INTO counter VALUES (91, 0)")
    c.barrier(60)
    c.ap.kill()
    c.ap.kafka.kill()
    c.ap.postgres.crash()
    for i in range(20):
        c.us.app("UPDATE counter SET n = n + 1 WHERE id = 91")
        c.eu.app("UPDATE counter SET n = n + 1 WHERE id = 91")
    until(lambda: c.us.sql("SELECT n FROM counter WHERE id = 91") == c.eu.sql("SELECT n FROM counter WHERE id = 91"), "us and eu agree", 30)
    for r in (c.us, c.eu):
        at = r.value("SELECT pg_current_wal_insert_lsn()")
        until(lambda: r.value("SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots WHERE slot_name = %s", at, r.slot), f"{r.name}'s slot moves on", 30)
    c.ap.postgres.start()
    c.ap.kafka.start()
    c.ap._sql = None
    c.ap.run()
    c.barrier(90)
    c.converged("SELECT * FROM counter ORDER BY id", 60)


@test(tables=T)
def drains(c):
    """SIGTERM: what is committed is published and reported, exit 0; a second daemon starts where it ended"""
    load = Load(c, seed=9).start()
    until(lambda: load.done > 100, "some load", 30)
    for r in c:
        assert r.daemon.stop(15) == 0, f"{r.name}: exit {r.daemon.process.returncode}"
    load.stop()
    c.run()
    settled(c, load)


@test(tables=T)
def nothing_published_again(c):
    """I10: what apply writes is not published by the region's own capture"""
    for i in range(20):
        c.us.app("INSERT INTO counter VALUES (%s, 0)", 1000 + i)
    c.barrier()
    path = os.path.join(c.folder, "record")
    for offset in range(log_end(c.eu)):
        record(c.eu, offset, path)
        _, out, _ = c.command("event", "decode", path)
        assert "counter" not in out, f"eu's log holds us's row at offset {offset}: {out[:500]}"
