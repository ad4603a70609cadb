"""Unique keys and exclusion constraints that rows of several regions violate: who may not be visible waits, the same everywhere (C5, C9)."""
import os
import random
import threading

from harness.apart import publish
from harness.case import test
from harness.wait import until
from test_conflicts import apart

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text UNIQUE)"
ASK = "SELECT * FROM t ORDER BY id"


def waiting(region, table="public.t"):
    return region.sql("SELECT image->>'id', held_by->>'id', constraint_name FROM pangea.suppressed WHERE rel = %s ORDER BY 1", table)


def settled(c, rows, waits, regions=None, limit=20):
    """These rows are visible and these wait (id, id of the holder), in every region."""
    c.expect(ASK, rows, regions, limit)
    for r in c if regions is None else [c.regions[n] for n in regions]:
        def look(r=r):
            have = [(int(i), h and int(h)) for i, h, _ in waiting(r)]
            return have == waits or (False, f"{r.name}: waiting (id, held by) {have}, want {waits}")
        until(look, "who waits", limit)


def both_ways(c, us, eu):
    """us's and eu's statements, concurrently, the one or the other first."""
    return [[("us", us), ("eu", eu)], [("eu", eu), ("us", us)]]


@test(tables=T, cases=[("us first", "us", "eu"), ("eu first", "eu", "us")])
def two_rows(c, case):
    """two rows of two regions with one value: the greater key waits; every way to free the value brings it back"""
    _, first, second = case
    for r in c:
        r.sql("DELETE FROM pangea.conflict")
    values = {"us": "INSERT INTO t VALUES (1, 'same')", "eu": "INSERT INTO t VALUES (2, 'same')"}
    apart(c, (first, values[first]), (second, values[second]))
    settled(c, [(1, "same")], [(2, 1)])
    for r in c:
        got = r.sql("SELECT kind, region, key->>'id', image->>'v', winner->>'constraint', winner->'key'->>'id' FROM pangea.conflict")
        assert got == [("multiple_unique_conflicts", "eu", "2", "same", "t_v_key", "1")], (r.name, got)
    assert waiting(c.eu) == [("2", "1", "t_v_key")], waiting(c.eu)
    c.verify()
    c.us.app("UPDATE t SET v = 'other' WHERE id = 1")
    c.barrier()
    settled(c, [(1, "other"), (2, "same")], [])
    origins = {r.name: r.sql("SELECT o.roname, x.timestamp FROM t, pg_xact_commit_timestamp_origin(t.xmin) x LEFT JOIN pg_replication_origin o "
                             "ON o.roident = x.roident WHERE t.id = 2") for r in c}
    assert all(rows[0][0].endswith("_eu") for rows in origins.values()) and len({rows[0][1] for rows in origins.values()}) == 1, origins
    c.us.app("UPDATE t SET v = v || '!' WHERE id = 2")
    c.barrier()
    settled(c, [(1, "other"), (2, "same!")], [])
    c.verify()
    c.eu.app("DELETE FROM t")
    c.barrier()
    settled(c, [], [])


@test(tables=T)
def deleted_holder(c):
    """the holder is deleted, here or there; a waiting row that is deleted or updated elsewhere never comes back stale"""
    apart(c, ("us", "INSERT INTO t VALUES (1, 'a'), (11, 'b')"), ("eu", "INSERT INTO t VALUES (2, 'a'), (12, 'b')"))
    settled(c, [(1, "a"), (11, "b")], [(12, 11), (2, 1)])
    c.us.app("DELETE FROM t WHERE id = 1")
    c.eu.app("DELETE FROM t WHERE id = 11")
    c.barrier()
    settled(c, [(2, "a"), (12, "b")], [])
    c.verify()


@test(tables=T)
def register_that_waits(c):
    """what comes for a waiting row: a concurrent update, a delete, an insert anew, each from where the row still stands"""
    for r in c:
        r.kill()
        r.run("capture")
    publish(c.us, "INSERT INTO t VALUES (1, 'a'), (11, 'b'), (21, 'c')")
    publish(c.eu, "INSERT INTO t VALUES (2, 'a'), (12, 'b'), (22, 'c')")
    c.us.run("apply")
    c.expect(ASK, [(1, "a"), (11, "b"), (21, "c")], ["us"])
    until(lambda: len(waiting(c.us)) == 3 or (False, waiting(c.us)), "us hides eu's rows", 20)
    publish(c.eu, "UPDATE t SET v = 'free' WHERE id = 2")
    publish(c.eu, "DELETE FROM t WHERE id = 12")
    publish(c.us, "INSERT INTO t VALUES (22, 'anew')")
    c.eu.run("apply")
    c.barrier()
    settled(c, [(1, "a"), (2, "free"), (11, "b"), (21, "c"), (22, "anew")], [])
    c.verify()


@test(tables="CREATE TABLE public.t (id int PRIMARY KEY, u text UNIQUE, w text UNIQUE)", regions=("us", "eu", "ap"), limit=120,
      cases=[(",".join(order), order) for order in (("us", "eu", "ap"), ("ap", "eu", "us"), ("eu", "ap", "us"))])
def chain(c, case):
    """a-b, b-c: the first and the last are visible; resolved when the middle or the first is changed or deleted"""
    _, order = case
    insert = {"us": "INSERT INTO t VALUES (1, 'p', NULL)", "eu": "INSERT INTO t VALUES (2, 'p', 'q')", "ap": "INSERT INTO t VALUES (3, NULL, 'q')"}
    apart(c, *[(name, insert[name]) for name in order])
    settled(c, [(1, "p", None), (3, None, "q")], [(2, 1)])
    c.us.app("UPDATE t SET u = 'r' WHERE id = 1")
    c.barrier()
    settled(c, [(1, "r", None), (2, "p", "q")], [(3, 2)])
    c.verify()
    c.ap.app("DELETE FROM t WHERE id = 2")
    c.barrier()
    settled(c, [(1, "r", None), (3, None, "q")], [])
    c.verify()
    c.us.app("DELETE FROM t")
    c.barrier()
    settled(c, [], [])


@test(tables=T, regions=("us", "eu", "ap"), followers=("ap",), limit=90)
def follower(c):
    """a follower hides and shows as the leaders do"""
    apart_leaders(c, ("us", "INSERT INTO t VALUES (1, 'a'), (5, 'x')"), ("eu", "INSERT INTO t VALUES (2, 'a')"))
    settled(c, [(1, "a"), (5, "x")], [(2, 1)])
    c.verify()
    c.ap.kill()
    c.us.app("UPDATE t SET v = 'b' WHERE id = 1")
    c.ap.run()
    c.barrier()
    settled(c, [(1, "b"), (2, "a"), (5, "x")], [])
    c.verify()


def apart_leaders(c, *steps):
    for r in c:
        r.kill()
    for r in c.leaders:
        r.run("capture")
    for region, statement in steps:
        publish(c.regions[region], statement)
    for r in c.leaders:
        r.run("apply")
    for r in c:
        if r.role == "follower":
            r.run()
    c.barrier()


KINDS = [
    # name, table, us, eu, rows visible, ids that wait
    ("several columns", "(id int PRIMARY KEY, a int, b text, UNIQUE (a, b))", "(1, 1, 'x'), (3, 1, 'y')", "(2, 1, 'x'), (4, 1, NULL)", [1, 3, 4], [2]),
    ("partial", "(id int PRIMARY KEY, a int, live bool); CREATE UNIQUE INDEX t_live ON public.t (a) WHERE live", "(1, 7, true), (3, 8, false)",
     "(2, 7, true), (4, 8, false), (5, 8, true)", [1, 3, 4, 5], [2]),
    ("expression", "(id int PRIMARY KEY, a text); CREATE UNIQUE INDEX t_low ON public.t (lower(a), (id % 2 < 5))", "(1, 'Ab'), (3, 'c')", "(2, 'aB'), (4, 'd')",
     [1, 3, 4], [2]),
    ("nulls not distinct", "(id int PRIMARY KEY, a int, b int, UNIQUE NULLS NOT DISTINCT (a, b))", "(1, 1, NULL)", "(2, 1, NULL), (3, NULL, 1)", [1, 3], [2]),
    ("deferrable", "(id int PRIMARY KEY, a int UNIQUE DEFERRABLE INITIALLY DEFERRED)", "(1, 1), (3, 3)", "(2, 1), (4, 4)", [1, 3, 4], [2]),
    ("exclusion", "(id int PRIMARY KEY, during tstzrange, EXCLUDE USING gist (during WITH &&))", "(1, '[2020-01-01,2020-02-01)'), (5, '[2021-01-01,2021-02-01)')",
     "(2, '[2020-01-15,2020-03-01)'), (4, '[2020-05-01,2020-06-01)')", [1, 4, 5], [2]),
    ("generated", "(id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 2) STORED UNIQUE)", "(1, 1), (3, 3)", "(2, 1), (4, 4)", [1, 3, 4], [2]),
    ("partitioned", "(id int, at date, v text, PRIMARY KEY (id, at), UNIQUE (v, at)) PARTITION BY RANGE (at); CREATE TABLE public.t1 PARTITION OF public.t "
     "FOR VALUES FROM ('2020-01-01') TO ('2021-01-01'); CREATE TABLE public.t2 PARTITION OF public.t DEFAULT", "(1, '2020-05-05', 'a'), (3, '2025-01-01', 'a')",
     "(2, '2020-05-05', 'a'), (4, '2020-05-06', 'a')", [1, 3, 4], [2]),
    ("identity", "(id int PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, v text UNIQUE)", "(1, DEFAULT, 'a')", "(2, DEFAULT, 'a'), (3, DEFAULT, 'b')", [1, 3], [2]),
    ("types", "(id numeric PRIMARY KEY, j jsonb UNIQUE, b bytea, ok bool, c char(4), at timestamptz, arr text[], d float8, iv interval)",
     """(1.50, '{"a": [1, "x"]}', '\\x00ff', true, 'ab', now(), '{a,NULL,"b,c"}', 0.1, '1 day')""",
     """(2.25, '{"a": [1, "x"]}', NULL, false, 'c', NULL, NULL, 'NaN', '-1 mon'), (3, NULL, '', NULL, '', '2000-01-01', '{}', '-0', NULL)""", ["1.50", "3"], ["2.25"]),
    ("odd names", '("id" int PRIMARY KEY, "n" text, "T ""x""" text UNIQUE, "pangea" int)', "(1, 'n', 'v', 1)", "(2, 'n', 'v', 2), (3, 'n', 'w', 3)", [1, 3], [2]),
]


@test(tables="", cases=KINDS, limit=240)
def kinds(c, case):
    """each kind of unique index and exclusion constraint; back as it was when the holder goes"""
    name, table, us, eu, visible, waits = case
    if name != KINDS[0][0]:
        for r in c:
            r.kill()
            r.sql("DROP TABLE IF EXISTS public.t")
    for r in c:
        r.kill()
    c.tables(f"CREATE TABLE public.t {table}")
    c.init()
    for r in c:
        r.sql("DELETE FROM pangea.suppressed")
    c.run()
    c.barrier()
    columns = "(id, a)" if name == "generated" else ""
    ids = "SELECT id::text FROM t ORDER BY t.id"
    apart(c, ("us", f"INSERT INTO t {columns} VALUES {us}"), ("eu", f"INSERT INTO t {columns} VALUES {eu}"))
    want = [(str(i),) for i in visible]
    c.expect(ids, want)
    for r in c:
        until(lambda r=r: [i for i, _, _ in waiting(r)] == [str(i) for i in waits] or (False, waiting(r)), f"{r.name}: who waits", 20)
    c.converged("SELECT * FROM t ORDER BY t.id")
    c.us.app("DELETE FROM t WHERE id = 1" if name != "types" else "DELETE FROM t WHERE id = 1.5")
    c.barrier()
    back = sorted([str(i) for i in visible if str(i) not in ("1", "1.50")] + [str(i) for i in waits], key=float)
    c.expect(ids, [(i,) for i in back])
    c.converged("SELECT * FROM t ORDER BY t.id")
    c.verify()


@test(tables="CREATE TABLE public.t (id int PRIMARY KEY, v text UNIQUE)", limit=120, cases=[
    (f"{point} at {where}", point, where) for point in ("apply.hidden", "apply.visible") for where in ("us", "eu")])
def killed(c, case):
    """apply is killed between hiding and bringing back; another starts and goes on"""
    _, point, where = case
    c.us.app("DELETE FROM t")
    c.barrier()
    apart(c, ("us", "INSERT INTO t VALUES (2, 'a'), (4, 'b')"), ("eu", "INSERT INTO t VALUES (1, 'x'), (3, 'a'), (5, 'b')"))
    settled(c, [(1, "x"), (2, "a"), (4, "b")], [(3, 2), (5, 4)])
    region = c.regions[where]
    region.kill()
    region.run("capture")
    c.us.app("UPDATE t SET v = 'c' WHERE id = 2")
    c.us.app("DELETE FROM t WHERE id = 4")
    region.run("apply", failpoint=point + "=exit")
    assert region.daemon.wait(30) != 0
    region.run("apply")
    c.barrier()
    settled(c, [(1, "x"), (2, "c"), (3, "a"), (5, "b")], [])
    c.verify()


@test(tables=T)
def swaps(c):
    """values that move inside a group against a row that waits for one of them"""
    apart(c, ("us", "INSERT INTO t VALUES (1, 'a'), (2, 'b')"), ("eu", "INSERT INTO t VALUES (3, 'a'), (4, 'b')"))
    settled(c, [(1, "a"), (2, "b")], [(3, 1), (4, 2)])
    c.us.app("BEGIN; UPDATE t SET v = 'x' WHERE id = 1; UPDATE t SET v = 'a' WHERE id = 2; UPDATE t SET v = 'b' WHERE id = 1; COMMIT")
    c.barrier()
    settled(c, [(1, "b"), (2, "a")], [(3, 2), (4, 1)])
    c.eu.app("BEGIN; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (9, 'b'); COMMIT")
    c.barrier()
    settled(c, [(2, "a"), (4, "b")], [(3, 2), (9, 4)])
    c.us.app("TRUNCATE t")
    c.barrier()
    settled(c, [], [])
    c.verify()


@test(tables=T, topology={"routes": [{"tables": ["public.barrier"]}, {"tables": ["public.t"], "from": ["us"]}]})
def one_writer(c):
    """a table that one region writes: a stray row that holds the value stops the origin by name, until it is mended"""
    c.eu.sql("INSERT INTO t VALUES (1, 'same')")
    c.us.app("INSERT INTO t VALUES (2, 'same')")
    until(lambda: c.eu.origin("us").get("error") == "unique_conflict" or (False, c.eu.origin("us")), "eu stops by name", 20)
    assert "public.t" in c.eu.origin("us")["why"], c.eu.origin("us")
    assert not waiting(c.eu)
    c.eu.sql("DELETE FROM t WHERE id = 1")
    c.expect(ASK, [(2, "same")], limit=30)


@test(tables="CREATE TABLE public.t (id int PRIMARY KEY, v text UNIQUE, n int)",
      topology={"conflicts": {"tables": {"public.t": {"columns": {"n": "delta"}}}}})
def other_rules(c):
    """under a rule that adds up a waiting row would be counted twice: both origins stop by name, and go on once a row is changed"""
    for r in c:
        r.kill()
    c.us.app("INSERT INTO t VALUES (1, 'same', 1)")
    c.eu.app("INSERT INTO t VALUES (2, 'same', 2)")
    c.run()
    for r, o in ((c.us, "eu"), (c.eu, "us")):
        until(lambda r=r, o=o: r.origin(o).get("error") == "unique_conflict" or (False, r.origin(o)), f"{r.name} stops by name", 20)
        assert not waiting(r)
    c.us.app("UPDATE t SET v = 'other' WHERE id = 1")
    c.eu.app("UPDATE t SET v = 'mended' WHERE id = 2")
    c.expect(ASK, [(1, "other", 1), (2, "mended", 2)], limit=30)
    c.barrier()
    c.verify()


@test(tables="CREATE TABLE public.t (id int PRIMARY KEY, v text UNIQUE, n int)",
      topology={"conflicts": {"tables": {"public.t": {"resolver": "greatest", "by": "n"}}}}, limit=90)
def siblings_wait(c):
    """a row with siblings waits with them: what comes for it is merged there, and it comes back as the set says"""
    apart(c, ("us", "INSERT INTO t VALUES (1, 'a', 1), (2, 'x', 5)"), ("eu", "INSERT INTO t VALUES (2, 'a', 7)"))
    settled(c, [(1, "a", 1)], [(2, 1)])
    for r in c:
        assert r.sql("SELECT count(*) FROM pangea.sibling WHERE row_xid IS NULL") == [(2,)], (r.name, r.sql("SELECT * FROM pangea.sibling"))
    c.us.app("UPDATE t SET v = 'b' WHERE id = 1")
    c.barrier()
    settled(c, [(1, "b", 1), (2, "a", 7)], [])
    for r in c:
        assert r.sql("SELECT count(*) FROM pangea.sibling s JOIN t ON s.row_xid = t.xmin::text::int8 WHERE t.id = 2") in ([(2,)], [(0,)]), r.name
    c.eu.app("UPDATE t SET n = 2, v = 'c' WHERE id = 2")
    c.barrier()
    settled(c, [(1, "b", 1), (2, "c", 2)], [])
    c.verify()


@test(tables=T)
def shown(c):
    """status says how many wait, since when, for what, and what to do; conflicts list names both rows; nobody calls it degraded"""
    apart(c, ("us", "INSERT INTO t VALUES (1, 'a')"), ("eu", "INSERT INTO t VALUES (2, 'a')"))
    settled(c, [(1, "a")], [(2, 1)])
    for r in c:
        def look(r=r):
            rows = r.status("apply").get("suppressed")
            return (rows and rows[0]["table"] == "public.t" and rows[0]["rows"] == 1 and "--waiting" in rows[0]["todo"]) or (False, rows)
        until(look, "status document", 10)
    code, out, _ = c.command("status", check=0)
    assert "eu: table public.t: 1 rows wait outside it" in out, out
    _, out, _ = c.command("conflicts", "list", "--waiting", "--json")
    assert '"same"' not in out and "public.t" in out, out
    c.us.app("DELETE FROM t WHERE id = 1")
    c.barrier()
    settled(c, [(2, "a")], [])
    until(lambda: c.us.status("apply").get("suppressed") == [] or (False, c.us.status("apply").get("suppressed")), "nobody waits any more", 10)


@test(tables="CREATE TABLE public.t (id int PRIMARY KEY, v text UNIQUE, w text); CREATE UNIQUE INDEX t_w ON public.t (lower(w)) WHERE w <> ''", limit=120)
def many(c):
    """a thousand rows that clash with a large table in one transaction: looked up by its indexes, back in a few transactions"""
    for r in c:
        r.kill()
    c.us.app("INSERT INTO t SELECT i, 'v' || i, 'W' || i FROM generate_series(1, 50000) i")
    c.eu.app("INSERT INTO t SELECT 100000 + i, 'v' || i, 'w' || i FROM generate_series(1, 1000) i")
    c.run()
    c.barrier(60)
    c.expect("SELECT count(*), max(id) FROM t", [(50000, 50000)])
    for r in c:
        until(lambda r=r: len(waiting(r)) == 1000 or (False, len(waiting(r))), f"{r.name}: a thousand wait", 30)
    c.us.app("UPDATE t SET v = 'u' || id, w = '' WHERE id <= 1000")
    c.barrier(60)
    c.expect("SELECT count(*), max(id) FROM t", [(51000, 101000)], limit=60)
    c.expect("SELECT count(*) FROM pangea.suppressed", [(0,)])
    for r in c:
        (back,) = r.sql("SELECT count(DISTINCT xmin::text) FROM t WHERE id > 100000")[0]
        assert back <= 500, f"{r.name}: a thousand rows of one transaction came back in {back}"
    c.verify()


def random_write(region, seed, keys, values, steps):
    rng = random.Random(seed)
    connection = region.connect()
    cursor = connection.cursor()
    for _ in range(steps):
        k, v, w = rng.randrange(keys), rng.choice(values), rng.choice(values)
        kind = rng.random()
        try:
            if kind < 0.4:
                cursor.execute("INSERT INTO t VALUES (%s, %s, %s)", (k, v, w))
            elif kind < 0.65:
                cursor.execute("UPDATE t SET v = %s WHERE id = %s", (v, k))
            elif kind < 0.75:
                cursor.execute("UPDATE t SET w = %s WHERE id = %s", (w, k))
            elif kind < 0.95:
                cursor.execute("DELETE FROM t WHERE id = %s", (k,))
            else:
                cursor.execute("UPDATE t SET id = %s WHERE id = %s", (rng.randrange(keys), k))
        except Exception as e:
            if "duplicate key" not in str(e) and "deadlock" not in str(e):
                raise
    connection.close()


SEEDS = [int(s) for s in os.environ.get("UNIQUE_SEEDS", "1 2 3 4").split()]
FEWER = SEEDS if "UNIQUE_SEEDS" in os.environ else SEEDS[:2]


STORM = {"tables": "CREATE TABLE public.t (id int PRIMARY KEY, v text UNIQUE, w text UNIQUE)", "regions": ("us", "eu", "ap"), "limit": 120 * len(SEEDS)}


def storm(c, seed):
    values = [None, "a", "b", "c", "d", "e"]
    rng = random.Random(seed)
    for r in c:
        r.sql("DELETE FROM pangea.conflict")
    for part in range(3):
        threads = [threading.Thread(target=random_write, args=(r, f"{seed}-{part}-{r.name}-{i}", 10, values, 60)) for r in c for i in (1, 2)]
        victims = [rng.choice(list(c)) for _ in range(rng.randrange(3))]
        for t in threads[:3]:
            t.start()
        for victim in victims:
            victim.kill()
            victim.run()
        for t in threads[3:]:
            t.start()
        for t in threads:
            t.join()
        if rng.random() < 0.3:
            c.barrier(60)
    c.barrier(60)
    try:
        c.converged("SELECT * FROM t ORDER BY id", 30)
        c.converged("SELECT rel, key, image FROM pangea.suppressed ORDER BY 1, 2", 30)
    except Exception:
        for r in c:
            print(r.name, r.sql(ASK), r.sql("SELECT region, hlc, image, held_by FROM pangea.suppressed ORDER BY key"))
        raise
    c.verify()
    for r in c:
        odd = r.sql("""SELECT s.image FROM pangea.suppressed s WHERE rel = 'public.t' AND NOT EXISTS (SELECT FROM t WHERE t.id < (s.image->>'id')::int
                       AND (t.v = s.image->>'v' OR t.w = s.image->>'w'))""")
        assert not odd, f"{r.name}: these wait for nobody: {odd}"
    # how many were hidden depends on how fast the machine is: with few, or none, the regions must agree all the same; `kinds` hides for sure


@test(cases=[(f"seed {s}", s) for s in SEEDS], **STORM)
def random_storm(c, case):
    """ten keys, five values, three regions at once, daemons killed meanwhile: identical at rest, and nobody waits without a holder"""
    storm(c, case[1])


@test(cases=[(f"seed {s}", s) for s in FEWER], topology={"conflicts": {"tables": {"public.t": {"resolver": "first_write_wins"}}}}, **STORM)
def random_storm_first(c, case):
    """the same where the first write wins: what waits is a register with siblings"""
    storm(c, case[1])


@test(cases=[(f"seed {s}", s) for s in FEWER],
      topology={"conflicts": {"tables": {"public.t": {"resolver": "region_priority", "order": ["eu", "us", "ap"]}}}}, **STORM)
def random_storm_priority(c, case):
    """the same under region_priority"""
    storm(c, case[1])
