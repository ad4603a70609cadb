"""Rules that need the siblings, on tables of every kind: types, constraints, partitions, large transactions, second unique keys (C5)."""
from harness.apart import apart
from harness.case import test
from harness.rules import ALONE, RULES, TABLES, nothing_kept, same_everywhere
from harness.wait import until

FORMATS = ("b bool, y bytea, f float8, r float4, ch char(5), num numeric, n2 numeric(10,3), arr int[], ta text[], j jsonb, ts timestamptz, t0 timestamp, d date, i interval, "
           "u uuid, x xml, p point, rng int4range, bt varbit(8), e public.mood, nm name, mo money")
VALUES = [
    "true, '\\x00ff10', 'NaN', 1e-7, 'ab', 1.50, 2.5, '{1,NULL,3}', '{\"a,b\",\"\",NULL}', '{\"a\": [1, 2.50, null]}', '2026-03-01 12:34:56.789+02', '1999-12-31 23:59:59.5', "
    "'infinity', '1 year 2 days 03:04:05.6', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '<a>1</a>', '(1.5,-2)', '[1,5)', '101', 'sad', 'Nm', 12.34",
    "false, '', '-Infinity', 3.4e38, '', 'NaN', -0.001, '{}', '{}', '[]', '-infinity', '0044-03-15 BC', '4713-01-01 BC', '-1 mons', "
    "'00000000-0000-0000-0000-000000000000', '', '(0,0)', 'empty', '', 'happy', '', -0.01",
    ", ".join(["NULL"] * 22),
]


@test(tables=f"CREATE TYPE public.mood AS ENUM ('sad', 'happy'); CREATE TABLE public.ft (id int PRIMARY KEY, n int, {FORMATS}, g int GENERATED ALWAYS AS (n * 2) STORED)",
      topology={"group": ALONE, "conflicts": {"tables": {"public.ft": {"columns": {"n": "delta"}}}}})
def formats(c):
    """rows that are put together from values of the database and of the log are the same everywhere, for every type"""
    names = ", ".join(f.split()[0] for f in FORMATS.split(", "))
    for i, row in enumerate(VALUES):
        c.us.app(f"INSERT INTO ft (id, n, {names}) VALUES ({i}, 0, {row})")
    c.barrier()
    steps = []
    for i, row in enumerate(VALUES):
        other = VALUES[(i + 1) % len(VALUES)]
        steps += [("us", f"UPDATE ft SET n = n + 1, ({names}) = ROW({other}) WHERE id = {i}"), ("eu", f"UPDATE ft SET n = n + 10 WHERE id = {i}")]
        steps += [("us", f"INSERT INTO ft (id, n, {names}) VALUES ({10 + i}, 1, {other})"), ("eu", f"INSERT INTO ft (id, n, {names}) VALUES ({10 + i}, 2, {row})")]
    for order in (("us", "eu"), ("eu", "us")):
        apart(c, steps, order)
        c.converged("SELECT * FROM ft ORDER BY id")
        assert c.us.sql("SELECT DISTINCT n, g FROM ft WHERE id < 10") == [(11, 22)], c.us.sql("SELECT id, n, g FROM ft")
        assert c.us.sql("SELECT DISTINCT n FROM ft WHERE id >= 10") == [(3,)]
        for i, row in enumerate(VALUES):  # eu's are later
            assert c.us.value(f"SELECT (ft.*)::text = (ROW({i}, 11, {row}, 22)::ft)::text FROM ft WHERE id = {i}"), c.us.sql(f"SELECT * FROM ft WHERE id = {i}")
        c.us.app(f"DELETE FROM ft WHERE id >= 10; UPDATE ft SET n = 0")
        c.barrier()
    nothing_kept(c)


@test(tables="CREATE TABLE public.p (id int PRIMARY KEY, a int, b int, note text); CREATE TABLE public.c (id int PRIMARY KEY, p int REFERENCES public.p, n int, CHECK (n < 100)); "
             "CREATE TABLE public.ab (id int PRIMARY KEY, a int, b int, CHECK (a + b < 10))",
      topology={"group": ALONE, "conflicts": {"tables": {"public.p": {"resolver": "greatest", "by": "a"}, "public.c": {"columns": {"n": "delta"}}, "public.ab": {"resolver": "column_merge"}}}}, limit=120)
def constraints(c):
    """a merge that a CHECK refuses makes the origin wait by name, and goes on after a local write; a child of a row that another region deleted stays"""
    c.us.app("INSERT INTO p VALUES (1, 1, 1, 'old'); INSERT INTO c VALUES (1, 1, 90); INSERT INTO ab VALUES (1, 1, 1)")
    c.barrier()
    apart(c, [("us", "INSERT INTO c VALUES (2, 1, 0)"), ("eu", "DELETE FROM c; DELETE FROM p")])
    c.expect("SELECT id, p FROM c", [(2, 1)])
    c.expect("SELECT count(*) FROM p", [(0,)])
    for r in c:
        r.kill()
    c.us.app("UPDATE ab SET a = 7")
    c.eu.app("UPDATE ab SET b = 7")
    for r in c:
        r.run()
    for r, other in ((c.us, "eu"), (c.eu, "us")):
        until(lambda r=r, other=other: r.origin(other).get("error") == "row_refused" or (False, r.origin(other)), f"{other} waits in {r.name}", 30)
        assert "public.ab" in r.origin(other)["why"] and '"id"' in r.origin(other)["why"], r.origin(other)
    c.us.app("UPDATE ab SET a = 2")
    c.eu.app("UPDATE ab SET b = 2")
    c.barrier()
    c.expect("SELECT a, b FROM ab", [(2, 2)])


@test(tables=TABLES + "CREATE TABLE public.filler (id int PRIMARY KEY, t text);", topology=RULES, regions=("us", "eu", "ap"), limit=180)
def large(c):
    """one transaction in many records writes a row at its beginning and at its end: both count, here and where it came from"""
    c.us.app("INSERT INTO dl SELECT i, 100, 0, 'old' FROM generate_series(1, 3) i; INSERT INTO un SELECT i, '{a,b}', '[]', 'old' FROM generate_series(1, 3) i; "
             "INSERT INTO cm SELECT i, 0, 0, 'old' FROM generate_series(1, 3) i; INSERT INTO gt SELECT i, 0, 'old' FROM generate_series(1, 3) i; "
             "INSERT INTO jm SELECT i, '{\"a\": 1}', 'old' FROM generate_series(1, 3) i; INSERT INTO tm SELECT i, 'x', 'old' FROM generate_series(1, 3) i")
    c.barrier()
    big = ("UPDATE dl SET n = n + 1; UPDATE un SET items = items || 'c'::text; UPDATE cm SET a = 1; UPDATE gt SET v = 5; UPDATE jm SET doc = doc || '{\"b\": 1}'; "
           "INSERT INTO filler SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 15000) i; "
           "UPDATE dl SET n = n + 2; UPDATE un SET items = array_remove(items, 'a') || 'd'::text; UPDATE cm SET b = 1; UPDATE gt SET v = 7 WHERE id = 1; UPDATE gt SET v = 3 WHERE id = 2; "
           "UPDATE jm SET doc = doc - 'a'; DELETE FROM gt WHERE id = 3; DELETE FROM dl WHERE id = 3; INSERT INTO dl VALUES (3, 1, 1, 'new')")
    small = "UPDATE dl SET n = n + 10; UPDATE un SET items = items || 'e'::text; UPDATE cm SET c = 'eu'; UPDATE gt SET v = 4, note = 'eu'; UPDATE jm SET doc = doc || '{\"c\": 1}'; UPDATE tm SET body = 'y'"
    apart(c, [("eu", small), ("us", big)], ("us", "eu", "ap"))
    same_everywhere(c)
    c.expect("SELECT id, n FROM dl ORDER BY id", [(1, 113), (2, 113), (3, 1)])
    c.expect("SELECT DISTINCT items FROM un", [(["b", "c", "d", "e"],)])
    c.expect("SELECT DISTINCT a, b, c FROM cm", [(1, 1, "eu")])
    c.expect("SELECT id, v FROM gt ORDER BY id", [(1, 7), (2, 4)])
    c.expect("SELECT DISTINCT doc FROM jm", [({"b": 1, "c": 1},)])
    apart(c, [("us", "DELETE FROM filler; " + big), ("eu", small)], ("eu", "ap", "us"))
    same_everywhere(c)
    c.expect("SELECT count(*) FROM filler", [(15000,)])
    nothing_kept(c)


@test(tables="CREATE TABLE public.pt (id int, part int, n int, note text, PRIMARY KEY (id, part)) PARTITION BY LIST (part); CREATE TABLE public.pt1 PARTITION OF public.pt FOR VALUES IN (1); "
             "CREATE TABLE public.pt2 PARTITION OF public.pt FOR VALUES IN (2)", topology={"group": ALONE, "conflicts": {"tables": {"public.pt": {"columns": {"n": "delta"}}}}}, limit=90)
def partitions(c):
    """rows of a partitioned table merge like others; TRUNCATE of one partition deletes its keys only; a move between partitions is a change of the key"""
    c.us.app("INSERT INTO pt SELECT i, i % 2 + 1, 100, 'old' FROM generate_series(1, 4) i")
    c.barrier()
    apart(c, [("us", "UPDATE pt SET n = n + 1 WHERE id = 1"), ("eu", "UPDATE pt SET n = n + 10 WHERE id = 1"), ("us", "TRUNCATE pt1"), ("eu", "UPDATE pt SET n = n + 10 WHERE id = 2"),
              ("us", "UPDATE pt SET part = 1, n = n + 5 WHERE id = 3"), ("eu", "UPDATE pt SET n = n + 7 WHERE id = 3")])
    c.converged("SELECT * FROM pt ORDER BY 1, 2")
    c.expect("SELECT id, part, n FROM pt ORDER BY 1, 2", [(1, 2, 111), (3, 1, 105)])
    nothing_kept(c)


@test(tables="CREATE TABLE public.ug (id int PRIMARY KEY, u text UNIQUE, v int); CREATE TABLE public.ud (id int PRIMARY KEY, u text UNIQUE, n int)",
      topology={"group": ALONE, "conflicts": {"tables": {"public.ug": {"resolver": "greatest", "by": "v"}, "public.ud": {"columns": {"n": "delta"}}}}}, limit=120)
def second_unique_key(c):
    """two rows of two regions with one value of a second unique key: one waits outside, or (a rule that adds up) the origin waits by name until one of them is changed; deletes and swaps go on"""
    c.us.app("INSERT INTO ug VALUES (10, 'p', 1), (11, 'q', 1); INSERT INTO ud VALUES (10, 'p', 1), (11, 'q', 1)")
    c.barrier()
    for t, v in (("ug", "v"), ("ud", "n")):
        c.us.app(f"UPDATE {t} SET u = NULL WHERE id = 10; UPDATE {t} SET u = 'p' WHERE id = 11; UPDATE {t} SET u = 'q' WHERE id = 10")  # swapped
        c.barrier()  # else the change of eu may be concurrent, and is later: its row would bear the value that went to the other row
        c.eu.app(f"UPDATE {t} SET {v} = {v} + 1 WHERE id = 10")
        c.barrier()
        c.converged(f"SELECT * FROM {t} ORDER BY id")
        apart(c, [("us", f"DELETE FROM {t} WHERE id = 10"), ("us", f"INSERT INTO {t} VALUES (12, 'q', 1)"), ("eu", f"DELETE FROM {t} WHERE id = 10")])
        c.converged(f"SELECT * FROM {t} ORDER BY id")
        c.expect(f"SELECT id, u FROM {t} ORDER BY id", [(11, "p"), (12, "q")])
        for r in c:
            r.kill()
        c.us.app(f"INSERT INTO {t} VALUES (1, 'x', 1)")
        c.eu.app(f"INSERT INTO {t} VALUES (2, 'x', 1)")
        for r in c:
            r.run()
        if t == "ug":
            c.barrier()
            c.expect("SELECT id, u FROM ug WHERE id < 10", [(1, "x")])
            c.us.app("UPDATE ug SET u = 'y' WHERE id = 1")
            c.barrier()
            c.expect("SELECT id, u FROM ug WHERE id < 10 ORDER BY id", [(1, "y"), (2, "x")])
            continue
        for r, other in ((c.us, "eu"), (c.eu, "us")):
            until(lambda r=r, other=other: r.origin(other).get("error") in ("row_refused", "unique_conflict") or (False, r.origin(other)), f"{other} waits in {r.name}", 40)
        c.us.app(f"UPDATE {t} SET u = 'y' WHERE id = 1")
        c.eu.app(f"UPDATE {t} SET u = 'z' WHERE id = 2")
        c.barrier()
        c.expect(f"SELECT id, u FROM {t} WHERE id < 10 ORDER BY id", [(1, "y"), (2, "z")])
    nothing_kept(c)
