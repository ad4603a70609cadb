"""Last write wins by (HLC, region); the same outcome everywhere, the losers kept; deleted stays deleted (C5, C6, C7, C9)."""
import random
import threading

from harness.apart import publish, published
from harness.case import test
from harness.wait import until

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text)"
ASK = "SELECT * FROM t ORDER BY id"


def apart(c, *steps):
    """Runs (region, statement) steps in this order while nobody applies, so that every one is concurrent to the others' regions."""
    for r in c:
        r.kill()
        r.run("capture")
    for region, statement in steps:
        publish(c.regions[region], statement)
    for r in c:
        r.run("apply")
    c.barrier()
    c.converged(ASK)


def losers(region):
    return region.sql("SELECT DISTINCT kind, region, image->>'v' FROM pangea.conflict WHERE rel = 'public.t' ORDER BY 1, 2, 3")


def what_stands(region):
    """what the history says that stands instead of each loser, and what does"""
    return region.sql("SELECT DISTINCT kind, region, key->>'id', stands->>'v', (SELECT v FROM t WHERE id = (key->>'id')::int)"
                      " FROM pangea.conflict WHERE rel = 'public.t' ORDER BY 1, 2, 3, 4")


# name, rows before, steps in time order, rows after, (kind, region of the loser, its v) recorded in every region that discarded it
STORIES = [
    ("insert, insert", [], [("us", "INSERT INTO t VALUES (1, 'us')"), ("eu", "INSERT INTO t VALUES (1, 'eu')")], [(1, "eu")],
     ("insert_exists", "us", "us")),
    ("insert, insert, the other way", [], [("eu", "INSERT INTO t VALUES (1, 'eu')"), ("us", "INSERT INTO t VALUES (1, 'us')")], [(1, "us")],
     ("insert_exists", "eu", "eu")),
    ("update, update", [(1, "a")], [("us", "UPDATE t SET v = 'us'"), ("eu", "UPDATE t SET v = 'eu'")], [(1, "eu")],
     ("update_origin_differs", "us", "us")),
    ("update, update, the other way", [(1, "a")], [("eu", "UPDATE t SET v = 'eu'"), ("us", "UPDATE t SET v = 'us'")], [(1, "us")],
     ("update_origin_differs", "eu", "eu")),
    ("update, then delete", [(1, "a")], [("us", "UPDATE t SET v = 'us'"), ("eu", "DELETE FROM t")], [], None),
    ("delete, then update", [(1, "a")], [("us", "DELETE FROM t"), ("eu", "UPDATE t SET v = 'eu'")], [(1, "eu")], None),
    ("delete, delete", [(1, "a")], [("us", "DELETE FROM t"), ("eu", "DELETE FROM t")], [], None),
    ("delete and insert against update", [(1, "a")], [("us", "DELETE FROM t; INSERT INTO t VALUES (1, 'new')"), ("eu", "UPDATE t SET v = 'eu'")],
     [(1, "eu")], ("update_origin_differs", "us", "new")),
    ("update against delete and insert", [(1, "a")], [("eu", "UPDATE t SET v = 'eu'"), ("us", "DELETE FROM t; INSERT INTO t VALUES (1, 'new')")],
     [(1, "new")], None),
    ("key change against update of the old key", [(1, "a")], [("us", "UPDATE t SET id = 2"), ("eu", "UPDATE t SET v = 'eu'")], [(1, "eu"), (2, "a")], None),
    ("two key changes to one key", [(1, "a"), (2, "b")], [("us", "UPDATE t SET id = 3 WHERE id = 1"), ("eu", "UPDATE t SET id = 3 WHERE id = 2")], [(3, "b")], None),
    ("truncate, then update", [(1, "a"), (2, "b")], [("us", "TRUNCATE t"), ("eu", "UPDATE t SET v = 'eu' WHERE id = 1")], [(1, "eu")], None),
    ("update, then truncate", [(1, "a"), (2, "b")], [("eu", "UPDATE t SET v = 'eu' WHERE id = 1"), ("us", "TRUNCATE t")], [], None),
    ("truncate against an insert", [(1, "a")], [("us", "TRUNCATE t"), ("eu", "INSERT INTO t VALUES (9, 'late')")], [(9, "late")], None),
    ("insert, update, delete against an insert", [], [("us", "INSERT INTO t VALUES (1, 'x'); UPDATE t SET v = 'y'; DELETE FROM t"), ("eu", "INSERT INTO t VALUES (1, 'eu')")],
     [(1, "eu")], None),
    ("insert against insert, update, delete", [], [("eu", "INSERT INTO t VALUES (1, 'eu')"), ("us", "INSERT INTO t VALUES (1, 'x'); UPDATE t SET v = 'y'; DELETE FROM t")],
     [], None),
]


@test(tables=T, cases=STORIES)
def two_regions(c, case):
    """concurrent writes of one key: the later one stands everywhere, the loser is kept"""
    _, before, steps, after, loser = case
    c.us.app("DELETE FROM t")
    for row in before:
        c.us.app("INSERT INTO t VALUES (%s, %s)", *row)
    c.barrier()
    for r in c:
        r.sql("DELETE FROM pangea.conflict")
    apart(c, *steps)
    assert c.us.sql(ASK) == after, c.us.sql(ASK)
    if loser:
        found = {r.name: losers(r) for r in c}
        assert any(loser in [tuple(x) for x in rows] for rows in found.values()), f"{loser} is in no region's pangea.conflict: {found}"
    for r in c:
        assert all(said == is_there for *_, said, is_there in what_stands(r)), (r.name, what_stands(r))
    # both have seen both now: the next write is later than all, wherever it is made
    c.eu.app("INSERT INTO t VALUES (1, 'last') ON CONFLICT (id) DO UPDATE SET v = 'last'")
    c.barrier()
    c.converged(ASK)
    assert (1, "last") in c.us.sql(ASK)


@test(tables=T + "; CREATE TABLE public.u (id int PRIMARY KEY, v text)")
def keys_among_new_ones(c):
    """new rows are written as if their keys were absent: a group in which some are there, in two tables, comes whole and once, and so does what follows"""
    rows = "INSERT INTO {} SELECT i, '{}' FROM generate_series({}, {}) i"
    apart(c, ("us", rows.format("t", "us", 1, 300) + "; " + rows.format("u", "us", 1, 300)),
          ("eu", rows.format("t", "eu", 295, 600) + "; " + rows.format("u", "eu", 300, 310) + "; DELETE FROM u WHERE id = 305; INSERT INTO u VALUES (305, 'anew')"))
    c.converged("SELECT * FROM u ORDER BY id")
    assert c.us.sql("SELECT v, min(id), max(id), count(*) FROM t GROUP BY v ORDER BY v") == [("eu", 295, 600, 306), ("us", 1, 294, 294)]
    assert c.us.sql("SELECT v, count(*) FROM u GROUP BY v ORDER BY v") == [("anew", 1), ("eu", 10), ("us", 299)]
    lost = [r.sql("SELECT rel, count(DISTINCT key), count(*) FROM pangea.conflict WHERE kind = 'insert_exists' AND region = 'us' GROUP BY rel ORDER BY rel") for r in c]
    assert [("public.t", 6, 6), ("public.u", 1, 1)] in lost, lost
    for first in (601, 701, 801):
        c.us.app(rows.format("t", "later", first, first + 99))
        c.eu.app(rows.format("u", "later", first, first + 99))
    c.barrier()
    c.converged(ASK)
    c.converged("SELECT * FROM u ORDER BY id")
    assert c.eu.value("SELECT count(*) FROM t WHERE v = 'later'") == c.us.value("SELECT count(*) FROM u WHERE v = 'later'") == 300
    for region, other in ((c.us, "eu"), (c.eu, "us")):
        until(lambda r=region, o=other: r.origin(o).get("state") == "running" or (False, r.origin(o)), f"{region.name} applies what comes from {other}", 20)


@test(tables=T, regions=("us", "eu", "ap"), limit=90)
def three_regions(c):
    """three at once, each order of arrival"""
    for i, order in enumerate((("us", "eu", "ap"), ("ap", "us", "eu"), ("eu", "ap", "us"))):
        apart(c, *[(name, f"INSERT INTO t VALUES ({i}, '{name}')") for name in order])
        assert dict(c.us.sql(ASK))[i] == order[-1]
        apart(c, *[(name, f"DELETE FROM t WHERE id = {i}" if n == 1 else f"UPDATE t SET v = '{name}2' WHERE id = {i}") for n, name in enumerate(order)])
        assert dict(c.us.sql(ASK))[i] == order[-1] + "2"
        apart(c, *[(name, f"DELETE FROM t WHERE id = {i}" if n == 2 else f"UPDATE t SET v = '{name}3' WHERE id = {i}") for n, name in enumerate(order)])
        assert i not in dict(c.us.sql(ASK))


def comes_back(c, region):
    """It publishes what it wrote while it was away before it hears of the others."""
    region.run("capture")
    published(region)
    region.run("apply")
    c.barrier()


@test(tables=T, regions=("us", "eu", "ap"))
def late_update_does_not_resurrect(c):
    """C7: an update that is older than the delete reaches a region after it"""
    c.us.app("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    c.barrier()
    c.ap.kill()
    c.ap.app("UPDATE t SET v = 'old' WHERE id = 1")
    c.us.app("DELETE FROM t WHERE id = 1")
    c.expect("SELECT id FROM t", [(2,)], ["us", "eu"])
    comes_back(c, c.ap)
    c.expect("SELECT id FROM t", [(2,)])
    c.us.app("INSERT INTO t VALUES (1, 'reused')")
    c.barrier()
    c.expect(ASK, [(1, "reused"), (2, "b")])


@test(tables=T, regions=("us", "eu", "ap"))
def late_update_of_a_key_that_is_used_again(c):
    """the loser is kept beside the row that has its key now"""
    c.us.app("INSERT INTO t VALUES (1, 'a')")
    c.barrier()
    c.ap.kill()
    c.ap.app("UPDATE t SET v = 'old'")
    c.us.app("DELETE FROM t")
    c.us.app("INSERT INTO t VALUES (1, 'reused')")
    c.expect(ASK, [(1, "reused")], ["us", "eu"])
    comes_back(c, c.ap)
    c.expect(ASK, [(1, "reused")])
    for r in c:
        found = r.sql("SELECT region, image->>'v', stands->>'v' FROM pangea.conflict WHERE rel = 'public.t'")
        stands = None if r.name == "ap" else "reused"  # ap discarded it when the delete came
        assert ("ap", "old", stands) in found, (r.name, found)


@test(tables=T, limit=150, regions=("us", "eu", "ap"))
def storm(c):
    """hot keys in all regions at once, seeded: inserts, updates, deletes, key changes; identical at rest"""
    def write(region, seed):
        rng = random.Random(seed)
        connection = region.connect()
        cursor = connection.cursor()
        for i in range(300):
            k, text = rng.randrange(10), f"{region.name}{seed}-{i}"
            kind = rng.random()
            try:
                if kind < 0.35:
                    cursor.execute("INSERT INTO t VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET v = excluded.v", (k, text))
                elif kind < 0.7:
                    cursor.execute("UPDATE t SET v = %s WHERE id = %s", (text, k))
                elif kind < 0.9:
                    cursor.execute("DELETE FROM t WHERE id = %s", (k,))
                else:
                    cursor.execute("UPDATE t SET id = %s WHERE id = %s AND NOT EXISTS (SELECT 1 FROM t WHERE id = %s)", (rng.randrange(10), k, k + 1))
            except Exception as e:
                if "duplicate key" not in str(e) and "deadlock" not in str(e):
                    raise
        connection.close()

    threads = [threading.Thread(target=write, args=(r, seed)) for r in c for seed in (1, 2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    c.barrier(60)
    c.converged(ASK, 30)
    c.verify()
    rest = [until(lambda r=r: r.sql("SELECT count(*) FROM pangea.conflict"), "history")[0][0] for r in c]
    assert sum(rest) > 0, "a storm without one recorded loser is no storm"


@test(tables="CREATE TABLE public.t (id int PRIMARY KEY, v text UNIQUE)")
def swapped_unique_values(c):
    """two rows that exchange their unique values in one transaction need no unique violation in the target"""
    c.us.app("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    c.barrier()
    c.us.app("BEGIN; UPDATE t SET v = 'x' WHERE id = 1; UPDATE t SET v = 'a' WHERE id = 2; UPDATE t SET v = 'b' WHERE id = 1; COMMIT")
    c.barrier()
    c.expect(ASK, [(1, "b"), (2, "a")])
    c.us.app("BEGIN; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (3, 'b'); COMMIT")
    c.barrier()
    c.expect(ASK, [(2, "a"), (3, "b")])


@test(tables=T, regions=("us", "eu"), limit=120)
def thousands_of_losers_of_one_dot(c):
    """one large transaction loses against many small ones: each loser once, looked up by its key and not among all of that dot; under the index of
    schema version 5 that init has made of version 4's"""
    rows, step = 4000, 200
    c.us.app(f"INSERT INTO t SELECT i, 'a' FROM generate_series(0, {rows - 1}) i")
    c.barrier()
    for r in c:
        r.kill()
    c.eu.sql("DROP INDEX pangea.conflict_version; CREATE INDEX conflict_dot ON pangea.conflict (rel, region, hlc); UPDATE pangea.meta SET schema_version = 4")
    c.init("eu")
    indexes = c.eu.sql("SELECT DISTINCT x.indexrelid::regclass::text FROM pg_index x WHERE x.indrelid = 'pangea.conflict'::regclass")
    assert indexes == [("pangea.conflict_version",)], indexes
    apart(c, ("eu", "UPDATE t SET v = 'eu'"), *[("us", f"UPDATE t SET v = 'us' WHERE id >= {i} AND id < {i + step}") for i in range(0, rows, step)])
    assert c.us.sql("SELECT DISTINCT v FROM t") == [("us",)]
    for r in c:
        assert r.sql("SELECT count(*), count(DISTINCT key), min(region), max(region) FROM pangea.conflict") == [(rows, rows, "eu", "eu")], r.name
    # what the index scans returned until all were recorded; with the dot alone it was rows * rows / step / 2 of them
    ask = ("SELECT (SELECT sum(n_tup_ins)::int FROM pg_stat_user_tables WHERE relname ~ '^conflict_'), (SELECT sum(idx_tup_read)::int FROM pg_stat_user_indexes"
           " WHERE relname ~ '^conflict_')")
    seen = until(lambda: [x for x in c.eu.sql(ask) if x[0] == rows], "PostgreSQL has counted the records", 30)
    assert seen[0][1] <= 2 * rows, seen


@test(tables=T + "; CREATE TABLE public.g (id int PRIMARY KEY, v text COLLATE \"C\")", regions=("us", "eu"), limit=120,
      topology={"conflicts": {"tables": {"public.g": {"resolver": "greatest", "by": "v"}}}})
def a_batch_of_every_kind(c):
    """one transaction of updates, deletes and inserts that meets plain rows, conflicting ones, absent ones and rows deleted there, again and again: the
    statements then say which rows they wrote; nothing may be taken for written that was not"""
    for turn in range(4):
        for r in c:
            if turn == 0:
                r.app("TRUNCATE t; TRUNCATE g")
        c.barrier()
        c.us.app("; ".join(f"DELETE FROM {t}; INSERT INTO {t} SELECT i, 'a' FROM generate_series(0, 59) i" for t in ("t", "g")))
        c.barrier()
        c.converged(ASK)
        c.converged("SELECT * FROM g ORDER BY id")
        steps = []
        for t in ("t", "g"):  # id % 6: 0 updated there, 1 deleted there, else untouched; above 59: not there, or inserted there
            steps.append(("eu", f"UPDATE {t} SET v = 'eu' WHERE id % 6 = 0; DELETE FROM {t} WHERE id % 6 = 1; INSERT INTO {t} VALUES (60, 'eu')"))
        for t in ("t", "g"):
            steps.append(("us", f"BEGIN; UPDATE {t} SET v = 'us' WHERE id < 36; DELETE FROM {t} WHERE id >= 36; INSERT INTO {t} SELECT i, 'us' FROM generate_series(60, 62) i; COMMIT"))
        apart(c, *steps)
        c.converged("SELECT * FROM g ORDER BY id")
        want = [(i, "us") for i in range(36)] + [(i, "us") for i in range(60, 63)]
        assert c.eu.sql(ASK) == want, (turn, c.eu.sql(ASK))
        got = c.eu.sql("SELECT * FROM g ORDER BY id")
        assert {x for x in got if x[0] % 6 not in (0, 1) or x[0] > 60} == {x for x in want if x[0] % 6 not in (0, 1) or x[0] > 60}, (turn, got)
        assert {x for x in got if x[0] < 36 and x[0] % 6 == 0} == {(i, "us") for i in range(0, 36, 6)}, (turn, got)
        c.verify()
