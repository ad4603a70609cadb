"""The own log, held against what the others wrote meanwhile (DESIGN 6.5): a write that was in flight when a tombstone came is taken back, and until it
is, status says so and verify waits."""
import os

from harness.apart import publish
from harness.case import test
from harness.wait import until

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text)"
LAX = {"clock": {"max_skew": "1h"}}


def killed_in_flight(c, writes):
    """us deletes keys of which eu has not heard, and at a later time than eu writes them: eu's rows commit while the delete is on its way through
    eu's apply agent, which holds it in front of its commit. Then eu's capture agent is gone."""
    mark = os.path.join(c.folder, "paused")
    c.barrier()
    for r in c:
        r.kill()
    c.us.postgres.set_clock(+20)
    c.us.run()
    capture, apply = c.eu.run("capture"), c.eu.run("apply", failpoint=f"apply.rows=pause@1:{mark}")
    until(lambda: c.eu.origin("us").get("state") == "running", "eu applies")
    c.us.app("INSERT INTO t SELECT g, 'gone' FROM generate_series(1, 3) g; DELETE FROM t")
    until(lambda: os.path.exists(mark), "eu is about to commit the deletes")
    for write in writes:
        publish(c.eu, write)
    capture.kill()
    apply.thaw()


@test(tables=T, own_postgres="clock", topology=LAX, run=False, limit=90)
def what_is_known_needs_no_capture(c):
    """a row whose transaction has been read is taken back though the own log does not move: each such wait once failed the whole batch"""
    c.run()
    killed_in_flight(c, ["INSERT INTO t VALUES (1, 'eu')", "INSERT INTO t VALUES (2, 'eu')"])
    c.expect("SELECT * FROM t", [], ["eu"])
    lost = c.eu.sql("SELECT key->>'id', region, kind, image->>'v' FROM pangea.conflict ORDER BY 1")
    assert lost == [("1", "eu", "update_deleted", "eu"), ("2", "eu", "update_deleted", "eu")], lost
    c.eu.run("capture")
    c.barrier()
    c.converged("SELECT * FROM t")
    c.verify()


@test(tables=T, own_postgres="clock", topology=LAX, run=False, limit=120)
def what_waits_is_told(c):
    """who wrote a row in a savepoint must be read: without capture that waits, by name, and what came before it does not wait with it"""
    c.run()
    killed_in_flight(c, ["INSERT INTO t VALUES (1, 'eu')", "BEGIN; SAVEPOINT a; INSERT INTO t VALUES (2, 'eu'); RELEASE a; COMMIT"])
    c.expect("SELECT id FROM t", [(2,)], ["eu"])

    def told():
        own = c.eu.status("apply").get("own_log", {})
        return (own.get("state") == "waiting" and "own log" in own["why"]) or (False, own)

    until(told, "status tells that the own log waits", 20)
    code, out, _ = c.command("status", check=None)
    assert code == 3 and "eu: its own log, held against what the others wrote: waiting" in out, out
    c.eu.run("capture")
    assert c.verify()["result"] == "identical"  # waits until the own log is done with
    c.expect("SELECT * FROM t", [], ["eu", "us"])
    until(lambda: c.eu.status("apply")["own_log"]["state"] == "running", "and nothing waits any more")


@test(tables=T, topology={"group": {"max_rows": 1}}, run=False, limit=120)
def longer_than_its_queue(c):
    """what is too much for the queue of the own log is read again from Kafka, in order: when each record took a consumer of its own, a region that was
    behind fell behind further"""
    c.eu.run()
    c.us.run("capture")
    connection = c.us.connect()
    connection.cursor().execute("SET synchronous_commit = off")
    connection.cursor().execute("DO $$ BEGIN FOR i IN 1..8000 LOOP INSERT INTO t VALUES (i, repeat(md5(i::text), 64)); COMMIT; END LOOP; END $$")
    connection.close()
    until(lambda: c.us.status("capture").get("transactions", 0) >= 8000 or (False, c.us.status("capture")), "all is in the log", 40)
    c.us.run("apply")

    def done():
        own = c.us.status("apply").get("own_log", {})
        return (own.get("lag_records") is not None and own["lag_records"] < 10 and own["processed_hlc"] > 0) or (False, own)

    until(done, "the own log is worked through", 30)
    c.barrier()
    c.verify()
