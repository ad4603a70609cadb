"""Commit timestamps tell versions apart; VACUUM FREEZE erases them. A warning before, a named stop and never a wrong row after."""
import json

from harness.case import test
from harness.wait import until

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text)"
BURN = "DO $$ BEGIN FOR i IN 1..{} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"


def outside(region, statement, database=None):
    """As superuser, outside of any transaction block."""
    c = region.postgres.connect(database or region.database)
    try:
        cursor = c.cursor()
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else None
    finally:
        c.close()


def timestamps(region):
    return region.status("apply").get("commit_timestamps", {})


def freeze_all(region, done):
    """VACUUM FREEZE in every database until done(): the horizon is that of the whole server, and catalogs wait for the slot."""
    region.sql("ALTER DATABASE template0 ALLOW_CONNECTIONS true")

    def again():
        outside(region, "CHECKPOINT")
        for name, in region.sql("SELECT datname FROM pg_database"):
            outside(region, "VACUUM (FREEZE)", name)
        return done()

    until(again, f"{region.name}: the timestamps are erased", 60, every=0.5)


def erased(region, key):
    return region.value("SELECT (pg_xact_commit_timestamp_origin(xmin)).timestamp IS NULL FROM t WHERE id = %s", key)


def look(region, good, what):
    """Waits until apply's word about the timestamps is good. The slot lets VACUUM go on only after a checkpoint."""
    def again():
        outside(region, "CHECKPOINT")
        doc = timestamps(region)
        return doc if doc and good(doc) else (False, doc)
    return until(again, f"{region.name}: {what}", 40, every=0.3)


def state(region, want):
    return look(region, lambda doc: doc["state"] == want, f"commit timestamps are {want}")


def problem(c, start):
    found = [p for p in c.status()["problems"] if p.startswith(start)]
    assert found, c.status()["problems"]
    return found[0]


def mend(region, origin, text):
    """What status says to do about the row: write it anew here."""
    o = until(lambda: region.origin(origin) if region.origin(origin).get("error") == "timestamp_gone" else (False, region.origin(origin)),
              f"{region.name}: {origin} stops by name", 40)
    assert "WHERE xmin = " in o["why"], o
    xmin = o["why"].rsplit("'", 2)[1]
    region.app(f"UPDATE t SET v = v WHERE xmin = '{xmin}'")
    assert region.value("SELECT v FROM t WHERE id = 1") == text


def doctor(c):
    """How bad doctor finds it in us."""
    _, out, _ = c.command("doctor", "--region", "us", "--json", check=3)
    return [f["severity"] for f in json.loads(out)["findings"] if f["check"] == "freeze"]


@test(tables=T, own_postgres="each", limit=200)
def a_region_away_for_long(c):
    """status must warn before timestamps go, and name who is waited for; after it a conflict must stop by name, and its mend must converge"""
    c.us.app("INSERT INTO t VALUES (1, 'first'), (2, 'first')")
    c.barrier()
    until(lambda: c.us.status("apply").get("stability", {}).get("all_stable") or (False, c.us.status("apply").get("stability")), "all is stable", 20)
    state(c.us, "safe")
    assert c.us.sql("SELECT has_function_privilege('pangea', 'pg_control_checkpoint()', 'EXECUTE'), rolsuper FROM pg_roles WHERE rolname = 'pangea'") == [(True, False)]
    c.eu.kill()
    c.eu.app("UPDATE t SET v = 'eu, earlier' WHERE id = 1")
    c.us.app("UPDATE t SET v = 'us, later' WHERE id = 1")
    until(lambda: c.us.status("apply")["stability"]["waits_for"] == ["eu"] or (False, c.us.status("apply")["stability"]), "us waits for eu", 20)
    assert not c.us.status("apply")["stability"]["all_stable"]
    # not yet in danger ..
    c.us.sql("ALTER SYSTEM SET vacuum_freeze_min_age = 24000")
    c.us.sql("SELECT pg_reload_conf()")
    outside(c.us, BURN.format(12000))
    doc = look(c.us, lambda doc: doc["unstable_transactions"] > 12000, "it counts")
    assert doc["state"] == "safe", doc
    # .. but beyond half of what VACUUM waits for
    outside(c.us, BURN.format(11000))
    doc = state(c.us, "near")
    assert not erased(c.us, 1), "the warning must come before"
    assert doc["freeze_min_age"] == 24000 and 0 < doc["left"] < 2000 and doc["horizon_xid"] < doc["unstable_xid"], doc
    said = problem(c, "us: commit timestamps are in danger for ")
    assert "because eu has not shown" in said and "To do: let eu catch up" in said, said
    assert doctor(c) == ["warning"]
    freeze_all(c.us, lambda: erased(c.us, 1) or (False, timestamps(c.us)))
    doc = state(c.us, "gone")
    assert doctor(c) == ["error"]
    assert doc["horizon_xid"] > doc["unstable_xid"], doc
    assert "timestamp_gone" in problem(c, "us: commit timestamps are gone for ")
    assert c.us.origin("eu").get("error") is None
    c.eu.run()
    mend(c.us, "eu", "us, later")
    c.barrier(60)
    c.expect("SELECT v FROM t WHERE id = 1", [("us, later",)])
    c.verify()
    state(c.us, "safe")
    until(lambda: not c.status()["problems"] or (False, c.status()["problems"]), "nothing to complain about", 30)


@test(tables=T, own_postgres="each", regions=("us", "eu", "ap"), limit=200)
def a_remote_row_is_not_taken_for_a_local_one(c):
    """without its timestamp nobody knows that eu wrote the row: what has seen all of us's own, but not that, must not overwrite it"""
    c.us.app("INSERT INTO t VALUES (1, 'first')")
    c.barrier()
    c.ap.kill()
    c.ap.app("UPDATE t SET v = 'ap, earlier' WHERE id = 1")
    c.eu.app("UPDATE t SET v = 'eu, later' WHERE id = 1")
    c.expect("SELECT v FROM t WHERE id = 1", [("eu, later",)], regions=("us",))
    freeze_all(c.us, lambda: erased(c.us, 1) or (False, timestamps(c.us)))
    state(c.us, "gone")
    c.ap.run()
    mend(c.us, "ap", "eu, later")
    c.barrier(60)
    c.expect("SELECT v FROM t WHERE id = 1", [("eu, later",)])
    c.verify()
