"""Daemons killed, doubled, frozen; logs read twice, damaged, gone: no acknowledged write lost, each effect once, identical at rest."""
import os
import random
import subprocess
import threading
import time

import psycopg2

from harness.case import test
from harness.load import Load, Mixed, settled
from harness.seeds import rng, seeded
from harness.wait import until

T = Load.TABLES
PAUSES = ("capture.begin", "capture.midtx", "capture.produced", "capture.delivered", "capture.feedback")


# ---- daemons (F4 and F12, step by step: test_failpoints.py) -----------------------------------------------------------------------------
@test(tables=T, limit=150, regions=("us", "eu", "ap"), cases=seeded(4, 5))
def killed_at_random(c, case):
    """daemons of all regions killed at random moments under load, twenty times"""
    r = rng("killed_at_random", case[1])
    load = Mixed(c, seed=case[1]).start()
    for _ in range(20):
        region = r.choice(list(c))
        load.goes_on(r.randrange(1, 120))
        region.daemon.kill()
        region.run()
    settled(c, load)


# ---- F20: delivered twice -- (F6: test_transactions.py) ----------------------------------------------------------------------------------
def record(region, offset, path):
    with open(path, "wb") as f:
        subprocess.run(["kcat", "-C", "-q", "-b", region.kafka.brokers, "-t", region.topic, "-p", "0", "-o", str(offset), "-c", "1", "-e", "-f", "%s"], stdout=f, check=True)


def log_end(region):
    out = subprocess.run(["kcat", "-Q", "-b", region.kafka.brokers, "-t", f"{region.topic}:0:-1"], stdout=subprocess.PIPE, check=True, text=True).stdout
    return int(out.rsplit(" ", 1)[1])


def some(c, what, seed, n):
    """A random load of n transactions and a little more, all of it arrived."""
    load = Mixed(c, seed=f"{what}/{seed}").start()
    until(lambda: load.done >= n, "some load", 30)
    load.stop()
    c.barrier()
    return load


@test(tables=T, cases=seeded(1, 2))
def rewound(c, case):
    """F20: apply that is made to read from offset 0 again changes nothing"""
    c.ready()
    r = rng("rewound", case[1])
    load = some(c, "rewound", case[1], r.randrange(10, 100))
    eu = r.choice(list(c))
    eu.kill()
    rows = "SELECT 'ledger' t, id::text, xmin::text FROM ledger UNION ALL SELECT 'counter', id::text, xmin::text FROM counter UNION ALL SELECT 'hot', id::text, xmin::text FROM hot ORDER BY 1, 2"
    before = eu.sql(rows)
    eu.sql("UPDATE pangea.position SET kafka_offset = -1")
    eu.run()
    c.barrier()
    assert eu.sql(rows) == before, "a row was written again"
    load.check(c)
    c.verify()


@test(tables=T, own_kafka="one", limit=120, cases=seeded(1, 2))
def delivered_twice(c, case):
    """F20: a whole log written a second time behind itself (what a zombie producer leaves) has no effect"""
    c.ready()
    us, eu = rng("delivered_twice", case[1]).sample(list(c), 2)
    load = some(c, "delivered_twice", case[1], 15)
    for r in c:
        r.kill()
    end = log_end(us)
    path = os.path.join(c.folder, "record")
    for offset in range(end):
        record(us, offset, path)
        subprocess.run(["kcat", "-P", "-b", us.kafka.brokers, "-t", us.topic, "-p", "0", "-k", us.name, path], check=True)
    assert log_end(us) == 2 * end
    eu.run()
    us.run()
    c.barrier(60)
    load.check(c)
    c.verify()


# ---- F21: two of them, zombies ---------------------------------------------------------------------------------------------------------
@test(tables=T, limit=120, cases=seeded(1, 2))
def two_daemons(c, case):
    """F21: a second daemon of the same region: one works, the other waits or ends; nothing is doubled"""
    c.ready()
    r = rng("two_daemons", case[1])
    us = r.choice(list(c))
    load = Mixed(c, seed=case[1]).start()
    first = us.daemon
    second = us.run(r.choice((None, "capture", "apply")))
    load.goes_on(r.randrange(50, 250))
    first.kill()  # whoever is left takes over
    if not second.alive():
        second.wait()
    if second.agent:
        us.run("apply" if second.agent == "capture" else "capture")
        if not second.alive():
            us.run(second.agent)
    elif not second.alive():
        us.run()
    settled(c, load)
    us.kill()


@test(tables=T, limit=150, cases=seeded(1, 2))
def zombie_capture(c, case):
    """F21: a capture frozen at some step while another one takes over, then thawed: what it still has in hand must change nothing"""
    c.ready()
    r = rng("zombie_capture", case[1])
    us = r.choice(list(c))
    us.kill()
    us.run("apply")
    mark = os.path.join(c.folder, f"paused-{case[1]}")
    zombie = us.run("capture", failpoint=f"{r.choice(PAUSES)}=pause@{r.randrange(3, 30)}:{mark}")
    load = Mixed(c, seed=case[1]).start()
    until(lambda: os.path.exists(mark), "the failpoint", 40)
    load.goes_on(50)
    us.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s AND active", us.slot)
    new = us.run("capture")
    load.goes_on(100)
    until(lambda: us.status("capture").get("pid") == new.pid, "the new one works", 30)
    zombie.thaw()
    load.goes_on(200)
    load.stop()
    zombie.kill()
    settled(c, load)
    us.kill()


@test(tables=T, limit=150, cases=seeded(1, 2))
def zombie_apply(c, case):
    """F21: an apply frozen in the middle of a group while another one takes over, then thawed"""
    c.ready()
    r = rng("zombie_apply", case[1])
    eu = r.choice(list(c))
    eu.kill()
    eu.run("capture")
    mark = os.path.join(c.folder, f"paused-{case[1]}")
    zombie = eu.run("apply", failpoint=f"{r.choice(('apply.begin', 'apply.midrows', 'apply.rows', 'apply.commit'))}=pause@{r.randrange(1, 30)}:{mark}")
    load = Mixed(c, seed=case[1]).start()
    until(lambda: os.path.exists(mark), "the failpoint", 30)
    eu.run("apply")  # idle_in_transaction_session_timeout frees the zombie's locks
    load.goes_on(300)
    zombie.thaw()
    load.goes_on(200)
    load.stop()
    zombie.kill()
    settled(c, load)
    eu.kill()


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


@test(tables=T, own_postgres="each", limit=90)
def slot_invalidated(c):
    """F3: max_slot_wal_keep_size passed while capture is down: doctor warns before; after it a named stop, never a silent gap"""
    c.us.app("INSERT INTO counter VALUES (97, 0)")
    c.barrier()
    c.us.kill()
    c.us.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '48MB'")
    c.us.sql("SELECT pg_reload_conf()")
    c.us.app("INSERT INTO counter VALUES (98, 0)")

    def segment():
        c.us.sql("CREATE TABLE public.filler AS SELECT 1 AS x; DROP TABLE public.filler")
        c.us.sql("SELECT pg_switch_wal()")
        c.us.sql("CHECKPOINT")
        return c.us.value("SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s", c.us.slot)

    segment()
    assert segment() != "lost"
    _, out, err = c.command("doctor", check=None)
    assert c.us.slot in out + err and "max_slot_wal_keep_size" in out + err, out + err
    until(lambda: segment() == "lost", "the slot is invalidated", 30, every=0.1)
    d = c.us.run("capture")
    stops(c, c.us, "capture", "slot_lost")
    assert d.wait(30) in (1, 4, 5)
    assert c.eu.sql("SELECT id FROM counter WHERE id = 98") == []


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
