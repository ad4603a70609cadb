"""Rules that need the siblings, on real servers: the outcome is that of the set of versions, whatever the order in which they come (C5, C9)."""
import itertools
import os
import random
import shutil
import threading

import psycopg2
import psycopg2.errors

from harness.apart import apart, published
from harness.case import test
from harness.servers import ROOT
from harness.wait import until

TABLES = """
CREATE TABLE public.gt (id int PRIMARY KEY, v int, note text);
CREATE TABLE public.ls (id int PRIMARY KEY, v numeric, note text);
CREATE TABLE public.fw (id int PRIMARY KEY, note text);
CREATE TABLE public.pr (id int PRIMARY KEY, note text);
CREATE TABLE public.gd (id int PRIMARY KEY, v int, note text);
CREATE TABLE public.dl (id int PRIMARY KEY, n int NOT NULL, m numeric(12,2), note text);
CREATE TABLE public.gc (id int PRIMARY KEY, hi int, lo text COLLATE "C", note text);
CREATE TABLE public.un (id int PRIMARY KEY, items text[], tags jsonb, note text);
CREATE TABLE public.cm (id int PRIMARY KEY, a int, b int, c text);
CREATE TABLE public.tm (id int PRIMARY KEY, body text, note text);
CREATE TABLE public.jm (id int PRIMARY KEY, doc jsonb, note text);
CREATE TABLE public.mn (id int PRIMARY KEY, note text);
"""
# one transaction in a group: else it would bear the time of a later one that was waiting with it
ALONE = {"max_rows": 1}
RULES = {"group": ALONE, "conflicts": {"tables": {
    "public.gt": {"resolver": "greatest", "by": "v"},
    "public.ls": {"resolver": "least", "by": "v"},
    "public.fw": {"resolver": "first_write_wins"},
    "public.pr": {"resolver": "region_priority", "order": ["eu", "us"]},
    "public.gd": {"resolver": "greatest", "by": "v", "delete": "delete_wins"},
    "public.dl": {"columns": {"n": "delta", "m": "delta"}},
    "public.gc": {"columns": {"hi": "greatest", "lo": "least"}},
    "public.un": {"columns": {"items": "union", "tags": "union"}},
    "public.cm": {"resolver": "column_merge"},
    "public.tm": {"columns": {"body": "text_merge"}},
    "public.jm": {"columns": {"doc": "json_merge"}},
    "public.mn": {"resolver": "manual"},
}}}
NAMES = [line.split()[2].removeprefix("public.") for line in TABLES.strip().splitlines()]


def same_everywhere(c, tables=NAMES):
    for t in tables:
        c.converged(f"SELECT * FROM {t} ORDER BY id")


def nothing_kept(c, tables=None):
    """At rest everything becomes stable: no siblings (but the queue of manual), no contributions, no tombstones are left."""
    for r in c:
        def look(r=r):
            left = r.sql("SELECT 'sibling', rel, key::text, rule FROM pangea.sibling WHERE rule NOT LIKE 'manual%%' "
                         "UNION ALL SELECT 'column_dot', rel, key::text, col FROM pangea.column_dot "
                         "UNION ALL SELECT 'tombstone', rel, key::text, region FROM pangea.tombstone".replace("%%", "%"))
            return not left or (False, left[:5])
        until(look, f"{r.name} has forgotten what is stable", 30)


# why, table, before, steps in order of time, the rows' columns but the id
TWO = [
    ("the greatest value wins, also when it is earlier", "gt", "VALUES (1, 1, 'old')", [("us", "UPDATE gt SET v = 9, note = 'us' WHERE id = 1"), ("eu", "UPDATE gt SET v = 5, note = 'eu' WHERE id = 1")], (9, "us")),
    ("of two inserts too", "gt", None, [("us", "INSERT INTO gt VALUES (2, 3, 'us')"), ("eu", "INSERT INTO gt VALUES (2, 2, 'eu')")], (3, "us")),
    ("a tie goes to the later", "gt", None, [("us", "INSERT INTO gt VALUES (3, 3, 'us')"), ("eu", "INSERT INTO gt VALUES (3, 3, 'eu')")], (3, "eu")),
    ("a second write of one side replaces its first", "gt", "VALUES (4, 1, 'old')", [("us", "UPDATE gt SET v = 5, note = 'us' WHERE id = 4"), ("eu", "UPDATE gt SET v = 7 WHERE id = 4"), ("eu", "UPDATE gt SET v = 3, note = 'eu' WHERE id = 4")], (5, "us")),
    ("NULL is less than any value", "gt", "VALUES (5, 1, 'old')", [("us", "UPDATE gt SET v = 0, note = 'us' WHERE id = 5"), ("eu", "UPDATE gt SET v = NULL, note = 'eu' WHERE id = 5")], (0, "us")),
    ("a later delete kills", "gt", "VALUES (6, 1, 'old')", [("us", "UPDATE gt SET v = 9 WHERE id = 6"), ("eu", "DELETE FROM gt WHERE id = 6")], None),
    ("a later update survives a delete, whole", "gt", "VALUES (7, 1, 'old')", [("us", "DELETE FROM gt WHERE id = 7"), ("eu", "UPDATE gt SET v = 2 WHERE id = 7")], (2, "old")),
    ("deleted and inserted anew", "gt", "VALUES (8, 1, 'old')", [("us", "DELETE FROM gt WHERE id = 8; INSERT INTO gt VALUES (8, 4, 'new')"), ("eu", "UPDATE gt SET v = 3, note = 'eu' WHERE id = 8")], (4, "new")),
    ("the least value wins", "ls", "VALUES (1, 1, 'old')", [("us", "UPDATE ls SET v = 9.50, note = 'us' WHERE id = 1"), ("eu", "UPDATE ls SET v = 10, note = 'eu' WHERE id = 1")], ("9.50", "us")),
    ("NULL loses under least too", "ls", "VALUES (2, 1, 'old')", [("us", "UPDATE ls SET v = 5, note = 'us' WHERE id = 2"), ("eu", "UPDATE ls SET v = NULL, note = 'eu' WHERE id = 2")], ("5", "us")),
    ("the first write wins", "fw", "VALUES (1, 'old')", [("us", "UPDATE fw SET note = 'us' WHERE id = 1"), ("eu", "UPDATE fw SET note = 'eu' WHERE id = 1")], ("us",)),
    ("the first of two inserts", "fw", None, [("eu", "INSERT INTO fw VALUES (2, 'eu')"), ("us", "INSERT INTO fw VALUES (2, 'us')")], ("eu",)),
    ("the region that is listed first", "pr", "VALUES (1, 'old')", [("eu", "UPDATE pr SET note = 'eu' WHERE id = 1"), ("us", "UPDATE pr SET note = 'us' WHERE id = 1")], ("eu",)),
    ("the same, in the other order of time", "pr", "VALUES (2, 'old')", [("us", "UPDATE pr SET note = 'us' WHERE id = 2"), ("eu", "UPDATE pr SET note = 'eu' WHERE id = 2")], ("eu",)),
    ("delete_wins: an earlier delete kills as well", "gd", "VALUES (1, 1, 'old')", [("us", "DELETE FROM gd WHERE id = 1"), ("eu", "UPDATE gd SET v = 9 WHERE id = 1")], None),
    ("delete_wins: what was inserted after the delete stays", "gd", "VALUES (2, 1, 'old')", [("us", "DELETE FROM gd WHERE id = 2; INSERT INTO gd VALUES (2, 0, 'new')"), ("eu", "UPDATE gd SET v = 9 WHERE id = 2")], (0, "new")),
    ("increments add up, the rest is the later one's", "dl", "VALUES (1, 100, 10.00, 'old')", [("us", "UPDATE dl SET n = n + 5, m = m + 0.25, note = 'us' WHERE id = 1"), ("eu", "UPDATE dl SET n = n - 7, m = m * 2, note = 'eu' WHERE id = 1")], (98, "20.25", "eu")),
    ("several on each side", "dl", "VALUES (2, 100, 0, 'old')", [("us", "UPDATE dl SET n = n + 1 WHERE id = 2"), ("eu", "UPDATE dl SET n = n + 10 WHERE id = 2"), ("us", "UPDATE dl SET n = n + 2 WHERE id = 2"), ("eu", "UPDATE dl SET n = n + 20 WHERE id = 2")], (133, "0.00", "old")),
    ("two inserts add up", "dl", None, [("us", "INSERT INTO dl VALUES (3, 5, 1, 'us')"), ("eu", "INSERT INTO dl VALUES (3, 7, NULL, 'eu')")], (12, "1.00", "eu")),
    ("a delete kills what it has not seen, also what is later", "dl", "VALUES (4, 100, 0, 'old')", [("eu", "DELETE FROM dl WHERE id = 4"), ("us", "UPDATE dl SET n = n + 5 WHERE id = 4")], None),
    ("an increment of a row that was inserted anew", "dl", "VALUES (5, 100, 0, 'old')", [("us", "DELETE FROM dl WHERE id = 5; INSERT INTO dl VALUES (5, 1, 0, 'new'); UPDATE dl SET n = n + 1 WHERE id = 5"), ("eu", "UPDATE dl SET n = n + 50 WHERE id = 5")], (2, "0.00", "new")),
    ("columns by themselves", "gc", "VALUES (1, 1, 'm', 'old')", [("us", "UPDATE gc SET hi = 9, lo = 'k', note = 'us' WHERE id = 1"), ("eu", "UPDATE gc SET hi = 5, lo = 'a', note = 'eu' WHERE id = 1")], (9, "a", "eu")),
    ("adds survive, a remove removes what it has seen", "un", "VALUES (1, '{a,b}', '[1, 2]', 'old')", [("us", "UPDATE un SET items = '{a,b,c}', tags = '[1, 2, 3]' WHERE id = 1"), ("eu", "UPDATE un SET items = '{b,d}', tags = '[2]', note = 'eu' WHERE id = 1")], (["b", "c", "d"], [2, 3], "eu")),
    ("removed on one side, added anew on the other: it stays", "un", "VALUES (2, '{a}', '[]', 'old')", [("us", "UPDATE un SET items = '{}' WHERE id = 2"), ("eu", "UPDATE un SET items = '{}' WHERE id = 2"), ("eu", "UPDATE un SET items = '{a}' WHERE id = 2")], (["a"], [], "old")),
    ("columns that each side changed", "cm", "VALUES (1, 1, 1, 'old')", [("us", "UPDATE cm SET a = 2 WHERE id = 1"), ("eu", "UPDATE cm SET b = 3 WHERE id = 1")], (2, 3, "old")),
    ("one column on both sides: the later", "cm", "VALUES (2, 1, 1, 'old')", [("us", "UPDATE cm SET a = 2, c = 'us' WHERE id = 2"), ("eu", "UPDATE cm SET a = 3, b = 3 WHERE id = 2")], (3, 3, "us")),
    ("lines of a text", "tm", "VALUES (1, E'one\\ntwo\\nthree\\nfour\\n', 'old')", [("us", "UPDATE tm SET body = E'ONE\\ntwo\\nthree\\nfour\\n' WHERE id = 1"), ("eu", "UPDATE tm SET body = E'one\\ntwo\\nthree\\nFOUR\\n' WHERE id = 1")], ("ONE\ntwo\nthree\nFOUR\n", "old")),
    ("lines that overlap: the later", "tm", "VALUES (2, E'one\\n', 'old')", [("us", "UPDATE tm SET body = E'us\\n' WHERE id = 2"), ("eu", "UPDATE tm SET body = E'eu\\n' WHERE id = 2")], ("eu\n", "old")),
    ("fields of an object", "jm", """VALUES (1, '{"a": 1, "b": 1, "c": 1}', 'old')""", [("us", """UPDATE jm SET doc = '{"a": 2, "b": 1}' WHERE id = 1"""), ("eu", """UPDATE jm SET doc = '{"a": 1, "b": 3, "c": 1, "d": 4}' WHERE id = 1""")], ({"a": 2, "b": 3, "d": 4}, "old")),
    ("manual: the later stands", "mn", "VALUES (1, 'old')", [("us", "UPDATE mn SET note = 'us' WHERE id = 1"), ("eu", "UPDATE mn SET note = 'eu' WHERE id = 1")], ("eu",)),
]


def key_of(case):
    """Each case has a row of its own."""
    _, _, before, steps, _ = case
    text = before or steps[0][1].split("VALUES")[1]
    return int(text[text.index("(") + 1:text.index(",")])


def tell(cases, region):
    wrong = []
    for case in cases:
        why, table, _, _, want = case
        have = region.sql(f"SELECT * FROM {table} WHERE id = %s", key_of(case))
        have = tuple(str(x) if hasattr(x, "as_tuple") else x for x in have[0][1:]) if have else None
        if have != want:
            wrong.append(f"{table} {key_of(case)}: {why}: have {have}, want {want}")
    return wrong


def in_time(cases):
    """All cases at once: the first steps of all, then the second ones .."""
    return [s for row in itertools.zip_longest(*[case[3] for case in cases]) for s in row if s]


@test(tables=TABLES, topology=RULES, limit=120)
def two_regions(c):
    """every rule, in both orders of arrival; siblings and contributions are kept while they can be needed, and no longer"""
    for order in (("us", "eu"), ("eu", "us")):
        for t in NAMES:
            c.us.app(f"DELETE FROM {t}")
        c.barrier()
        for case in TWO:
            if case[2]:
                c.us.app(f"INSERT INTO {case[1]} {case[2]}")
        c.barrier()
        nothing_kept(c)
        apart(c, in_time(TWO), order)
        same_everywhere(c)
        wrong = tell(TWO, c.us)
        assert not wrong, f"published as {order}:\n" + "\n".join(wrong)
        assert c.us.value("SELECT count(*) FROM pangea.sibling WHERE rel = 'public.mn'") == 2
        nothing_kept(c)
        # both have seen both now: the next write replaces them all, the queue of manual as well
        c.eu.app("UPDATE mn SET note = 'settled'")
        c.us.app("UPDATE gt SET v = 0, note = 'last'; UPDATE dl SET n = n + 1; UPDATE un SET items = '{}'; UPDATE cm SET a = 0")
        c.barrier()
        same_everywhere(c)
        c.expect("SELECT DISTINCT v, note FROM gt", [(0, "last")])
        c.expect("SELECT DISTINCT items::text FROM un", [("{}",)])
        nothing_kept(c)
        for r in c:
            until(lambda r=r: r.value("SELECT count(*) FROM pangea.sibling") == 0, f"{r.name}: the queue is empty", 20)


# in time order: us, eu, ap
THREE = [
    ("the greatest of three", "gt", "VALUES (1, 1, 'old')", [("us", "UPDATE gt SET v = 5, note = 'us' WHERE id = 1"), ("eu", "UPDATE gt SET v = 9, note = 'eu' WHERE id = 1"), ("ap", "UPDATE gt SET v = 7, note = 'ap' WHERE id = 1")], (9, "eu")),
    ("three inserts", "gt", None, [("us", "INSERT INTO gt VALUES (2, 5, 'us')"), ("eu", "INSERT INTO gt VALUES (2, 9, 'eu')"), ("ap", "INSERT INTO gt VALUES (2, 7, 'ap')")], (9, "eu")),
    ("a delete kills what is earlier, not what is later", "gt", "VALUES (3, 1, 'old')", [("us", "UPDATE gt SET v = 9, note = 'us' WHERE id = 3"), ("eu", "DELETE FROM gt WHERE id = 3"), ("ap", "UPDATE gt SET v = 3, note = 'ap' WHERE id = 3")], (3, "ap")),
    ("the rule over those that a delete left", "gt", "VALUES (4, 1, 'old')", [("us", "DELETE FROM gt WHERE id = 4"), ("eu", "UPDATE gt SET v = 8, note = 'eu' WHERE id = 4"), ("ap", "UPDATE gt SET v = 3, note = 'ap' WHERE id = 4")], (8, "eu")),
    ("a last delete kills all", "gt", "VALUES (5, 1, 'old')", [("us", "UPDATE gt SET v = 8 WHERE id = 5"), ("eu", "UPDATE gt SET v = 9 WHERE id = 5"), ("ap", "DELETE FROM gt WHERE id = 5")], None),
    ("one writes twice, the first of it was the greatest", "gt", "VALUES (6, 1, 'old')", [("us", "UPDATE gt SET v = 9, note = 'us' WHERE id = 6"), ("eu", "UPDATE gt SET v = 5, note = 'eu' WHERE id = 6"), ("ap", "UPDATE gt SET v = 4, note = 'ap' WHERE id = 6"), ("us", "UPDATE gt SET v = 2, note = 'us2' WHERE id = 6")], (5, "eu")),
    ("first of three", "fw", "VALUES (1, 'old')", [("us", "UPDATE fw SET note = 'us' WHERE id = 1"), ("eu", "UPDATE fw SET note = 'eu' WHERE id = 1"), ("ap", "UPDATE fw SET note = 'ap' WHERE id = 1")], ("us",)),
    ("the listed region, of three", "pr", "VALUES (1, 'old')", [("us", "UPDATE pr SET note = 'us' WHERE id = 1"), ("eu", "UPDATE pr SET note = 'eu' WHERE id = 1"), ("ap", "UPDATE pr SET note = 'ap' WHERE id = 1")], ("eu",)),
    ("regions that are not listed: the later", "pr", "VALUES (2, 'old')", [("us", "UPDATE pr SET note = 'us' WHERE id = 2"), ("ap", "UPDATE pr SET note = 'ap' WHERE id = 2")], ("us",)),
    ("three increments", "dl", "VALUES (1, 100, 1.00, 'old')", [("us", "UPDATE dl SET n = n + 1, m = m + 1 WHERE id = 1"), ("eu", "UPDATE dl SET n = n + 10, note = 'eu' WHERE id = 1"), ("ap", "UPDATE dl SET n = n + 100, m = m + 0.5 WHERE id = 1")], (211, "2.50", "old")),
    ("three inserts of one counter", "dl", None, [("us", "INSERT INTO dl VALUES (2, 1, 1, 'us')"), ("eu", "INSERT INTO dl VALUES (2, 10, 10, 'eu')"), ("ap", "INSERT INTO dl VALUES (2, 100, 100, 'ap')")], (111, "111.00", "ap")),
    ("a delete among increments", "dl", "VALUES (3, 100, 1.00, 'old')", [("us", "UPDATE dl SET n = n + 1 WHERE id = 3"), ("eu", "DELETE FROM dl WHERE id = 3"), ("ap", "UPDATE dl SET n = n + 100 WHERE id = 3")], None),
    ("a new life among increments", "dl", "VALUES (4, 100, 0, 'old')", [("us", "UPDATE dl SET n = n + 1 WHERE id = 4"), ("eu", "DELETE FROM dl WHERE id = 4; INSERT INTO dl VALUES (4, 7, 0, 'new')"), ("ap", "UPDATE dl SET n = n + 100 WHERE id = 4")], (7, "0.00", "new")),
    ("adds and removes of three", "un", "VALUES (1, '{a,b}', '[]', 'old')", [("us", "UPDATE un SET items = '{a,b,c}' WHERE id = 1"), ("eu", "UPDATE un SET items = '{b}' WHERE id = 1"), ("ap", "UPDATE un SET items = '{a,b,d}' WHERE id = 1")], (["b", "c", "d"], [], "old")),
    ("two adds of one element against its remove", "un", "VALUES (2, '{}', '[]', 'old')", [("us", "UPDATE un SET items = '{x}' WHERE id = 2"), ("eu", "UPDATE un SET items = '{x}' WHERE id = 2"), ("us", "UPDATE un SET items = '{}' WHERE id = 2"), ("ap", "UPDATE un SET items = '{y}' WHERE id = 2")], (["x", "y"], [], "old")),
    ("three columns", "cm", "VALUES (1, 1, 1, 'old')", [("us", "UPDATE cm SET a = 2 WHERE id = 1"), ("eu", "UPDATE cm SET b = 3 WHERE id = 1"), ("ap", "UPDATE cm SET c = 'ap' WHERE id = 1")], (2, 3, "ap")),
    ("three lines", "tm", "VALUES (1, E'1\\n-\\n2\\n-\\n3\\n', 'old')", [("us", "UPDATE tm SET body = E'one\\n-\\n2\\n-\\n3\\n' WHERE id = 1"), ("eu", "UPDATE tm SET body = E'1\\n-\\ntwo\\n-\\n3\\n' WHERE id = 1"), ("ap", "UPDATE tm SET body = E'1\\n-\\n2\\n-\\nthree\\n' WHERE id = 1")], ("one\n-\ntwo\n-\nthree\n", "old")),
    ("fields of three", "jm", """VALUES (1, '{"a": 1, "b": 1}', 'old')""", [("us", """UPDATE jm SET doc = '{"a": 2, "b": 1}' WHERE id = 1"""), ("eu", """UPDATE jm SET doc = '{"a": 1}' WHERE id = 1"""), ("ap", """UPDATE jm SET doc = '{"a": 3, "b": 1, "c": 1}' WHERE id = 1""")], ({"a": 3, "c": 1}, "old")),
    ("manual: the last of three", "mn", "VALUES (1, 'old')", [("us", "UPDATE mn SET note = 'us' WHERE id = 1"), ("eu", "UPDATE mn SET note = 'eu' WHERE id = 1"), ("ap", "UPDATE mn SET note = 'ap' WHERE id = 1")], ("ap",)),
]


def begin(c, cases):
    for t in NAMES:
        c.us.app(f"DELETE FROM {t}")
    c.barrier()
    for case in cases:
        if case[2]:
            c.us.app(f"INSERT INTO {case[1]} {case[2]}")
    c.barrier()


@test(tables=TABLES, topology=RULES, regions=("us", "eu", "ap"), limit=180)
def three_regions(c):
    """one outcome in every order in which the regions' logs come"""
    for order in itertools.permutations(("us", "eu", "ap")):
        begin(c, THREE)
        apart(c, in_time(THREE), order)
        same_everywhere(c)
        wrong = tell(THREE, c.us)
        assert not wrong, f"published as {order}:\n" + "\n".join(wrong)
    nothing_kept(c)


@test(tables=TABLES, topology=RULES, regions=("us", "eu", "ap"), followers=("ap",), limit=90)
def follower(c):
    """a follower comes to the same rows, and forgets what is stable"""
    for order in (("us", "eu"), ("eu", "us")):
        begin(c, TWO)
        for r in c:
            r.kill()
        for region, statement in in_time(TWO):
            c.regions[region].app(statement)
        c.ap.run()
        for name in order:
            c.regions[name].run()
            published(c.regions[name])
        c.barrier()
        same_everywhere(c)
        wrong = tell(TWO, c.ap)
        assert not wrong, "\n".join(wrong)
    nothing_kept(c)


@test(tables=TABLES, topology=RULES, regions=("us", "eu", "ap"), limit=120)
def away(c):
    """while a region is away the siblings stay, also over restarts and later writes; when it is back all agree, and they go"""
    begin(c, THREE)
    for r in c:
        r.kill()
    for region, statement in in_time(THREE):
        c.regions[region].app(statement)
    for r in (c.us, c.eu):
        r.run()
    c.us.app("INSERT INTO gt VALUES (100, 1, 'end')")
    c.eu.app("INSERT INTO gt VALUES (101, 1, 'end')")
    c.expect("SELECT count(*) FROM gt WHERE id >= 100", [(2,)], ["us", "eu"])
    for r in (c.us, c.eu):
        assert r.value("SELECT count(*) FROM pangea.sibling WHERE rel = 'public.gt'") > 0
        assert r.value("SELECT count(*) FROM pangea.column_dot") > 0
        r.kill()
        r.run()
    c.us.app("UPDATE dl SET n = n + 1000 WHERE id = 1")
    c.eu.app("UPDATE dl SET n = n + 10000 WHERE id = 1")
    c.expect("SELECT n FROM dl WHERE id = 1", [(11111,)], ["us", "eu"])
    c.ap.run()
    c.barrier()
    same_everywhere(c)
    wrong = [w for w in tell(THREE, c.us) if not w.startswith("dl 1:")]
    assert not wrong, "\n".join(wrong)
    c.expect("SELECT n FROM dl WHERE id = 1", [(11211,)])
    nothing_kept(c)


@test(tables=TABLES, topology=RULES, regions=("us", "eu", "ap"), limit=120)
def truncate(c):
    """TRUNCATE is a delete of every key: earlier rows go, later ones stay; under delete_wins all that has not seen it"""
    begin(c, [])
    c.us.app("INSERT INTO gt SELECT i, i, 'old' FROM generate_series(1, 9) i; INSERT INTO dl SELECT i, i, 0, 'old' FROM generate_series(1, 9) i; "
             "INSERT INTO un SELECT i, '{a}', '[]', 'old' FROM generate_series(1, 9) i")
    c.barrier()
    steps = [("us", "UPDATE gt SET v = 99 WHERE id = 1; UPDATE dl SET n = 99 WHERE id = 1; INSERT INTO gt VALUES (10, 1, 'us'); UPDATE un SET items = '{a,b}' WHERE id = 1"),
             ("eu", "TRUNCATE gt, dl, un; INSERT INTO gt VALUES (20, 1, 'eu'), (3, 1, 'eu'); INSERT INTO dl VALUES (3, 1, 0, 'eu'); INSERT INTO un VALUES (3, '{z}', '[]', 'eu')"),
             ("ap", "UPDATE gt SET v = 77 WHERE id = 2; UPDATE dl SET n = 77 WHERE id = 2; INSERT INTO dl VALUES (30, 1, 0, 'ap'); UPDATE un SET items = '{a,c}' WHERE id IN (2, 3)")]
    apart(c, steps, ("ap", "us", "eu"))
    same_everywhere(c)
    c.expect("SELECT id, v, note FROM gt ORDER BY id", [(2, 77, "old"), (3, 1, "eu"), (20, 1, "eu")])
    c.expect("SELECT id, n FROM dl ORDER BY id", [(3, 1)])
    c.expect("SELECT id, items FROM un ORDER BY id", [(3, ["z"])])
    # written and truncated by one transaction, while others write the same keys: only what is later than that stays
    apart(c, [("us", "UPDATE gt SET v = 50, note = 'us'; UPDATE dl SET n = n + 50; UPDATE un SET items = items || 'us'::text; TRUNCATE gt, dl, un"),
              ("eu", "UPDATE gt SET v = 4, note = 'eu' WHERE id = 3; UPDATE dl SET n = n + 4; UPDATE un SET items = items || 'eu'::text")], ("eu", "ap", "us"))
    same_everywhere(c)
    c.expect("SELECT id, v, note FROM gt ORDER BY id", [(3, 4, "eu")])
    c.expect("SELECT count(*) FROM dl", [(0,)])
    c.expect("SELECT count(*) FROM un", [(0,)])
    nothing_kept(c)


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


@test(tables=TABLES, topology={"conflicts": RULES["conflicts"]}, regions=("us", "eu", "ap"), limit=240)
def storm(c):
    """counters, sets and maxima under load in three regions, with agents killed: sums are exact, no element is lost, all agree"""
    c.us.app("INSERT INTO dl SELECT i, 0, 0, 'old' FROM generate_series(1, 4) i; INSERT INTO un SELECT i, '{}', '[]', 'old' FROM generate_series(1, 4) i; "
             "INSERT INTO cm SELECT i, 0, 0, '' FROM generate_series(1, 4) i; INSERT INTO gt SELECT i, 0, 'old' FROM generate_series(1, 4) i")
    c.barrier()
    sums, elements, ending, troubles = {}, {}, threading.Event(), []

    def write(region, seed):
        rng, n = random.Random(seed), 0
        connection = region.connect()
        cursor = connection.cursor()
        while not ending.is_set() and n < 400:
            n += 1
            k, kind, amount = rng.randrange(1, 5), rng.random(), rng.randrange(-50, 100)
            try:
                if kind < 0.4:
                    cursor.execute("UPDATE dl SET n = n + %s, note = %s WHERE id = %s", (amount, region.name, k))
                    sums[region.name, k] = sums.get((region.name, k), 0) + amount
                elif kind < 0.6:
                    element = f"{region.name}-{n % 20}"
                    have = elements.setdefault((region.name, k), set())
                    if element in have:
                        cursor.execute("UPDATE un SET items = array_remove(items, %s) WHERE id = %s", (element, k))
                        have.discard(element)
                    else:
                        cursor.execute("UPDATE un SET items = items || %s::text WHERE id = %s AND NOT %s = ANY (items)", (element, k, element))
                        have.add(element)
                elif kind < 0.75:
                    cursor.execute(f"UPDATE cm SET {rng.choice('ab')} = %s WHERE id = %s", (amount, k))
                elif kind < 0.9:
                    cursor.execute("INSERT INTO gt VALUES (%s, %s, %s) ON CONFLICT (id) DO UPDATE SET v = excluded.v, note = excluded.note", (k, amount, region.name))
                else:
                    cursor.execute("DELETE FROM gt WHERE id = %s", (k,))
            except Exception as e:
                troubles.append(f"{region.name}: {e}")
                return

    writers = [threading.Thread(target=write, args=(r, i)) for i, r in enumerate(c)]
    for w in writers:
        w.start()
    for i, r in enumerate((c.eu, c.us, c.ap, c.eu)):
        before = r.origin("us" if r is not c.us else "eu").get("groups", 0)
        until(lambda r=r: r.origin("us" if r is not c.us else "eu").get("groups", 0) > before + 3 or not any(w.is_alive() for w in writers), f"{r.name} applies", 30)
        r.daemon.kill()
        r.run()
    for w in writers:
        w.join()
    assert not troubles, troubles
    c.barrier(60)
    same_everywhere(c)
    for k in range(1, 5):
        have, want = c.us.value("SELECT n FROM dl WHERE id = %s", k), sum(v for (_, key), v in sums.items() if key == k)
        assert have == want, f"counter {k}: {have}, all increments together: {want}"
        have, want = set(c.us.value("SELECT items FROM un WHERE id = %s", k)), set().union(*[v for (_, key), v in elements.items() if key == k])
        assert have == want, f"set {k}: too much {have - want}, lost {want - have}"
    nothing_kept(c)


SETTLE = """
CREATE TABLE public.so (id int PRIMARY KEY, v int, tags int[], g int GENERATED ALWAYS AS (v + 1) STORED, note text);
CREATE FUNCTION public.settle(versions public.so[], regions text[], hlcs bigint[]) RETURNS public.so LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE r public.so; x public.so;
BEGIN
        r := versions[array_length(versions, 1)];
        r.v := 0;
        r.note := array_to_string(regions, '+');
        IF hlcs[1] >= hlcs[2] THEN RAISE 'not in order'; END IF;
        FOREACH x IN ARRAY versions LOOP
                IF x.v < 0 THEN RAISE 'negative'; END IF;
                r.v := r.v + x.v;
        END LOOP;
        RETURN r;
END $$
"""


@test(tables=SETTLE, topology={"group": ALONE, "conflicts": {"tables": {"public.so": {"resolver": "sql", "function": "public.settle"}}}}, regions=("us", "eu", "ap"), limit=120)
def sql_function(c):
    """an SQL function decides on the set of versions, in canonical order; when it fails the origin waits by name until it is mended"""
    c.us.app("INSERT INTO so (id, v, tags, note) VALUES (1, 1, '{1,2}', 'old'), (2, 1, NULL, 'old')")
    c.barrier()
    for order in (("us", "eu", "ap"), ("ap", "us", "eu")):
        apart(c, [(r, f"UPDATE so SET v = {i} WHERE id = 1") for i, r in ((1, "us"), (10, "eu"), (100, "ap"))], order)
        c.expect("SELECT * FROM so WHERE id = 1", [(1, 111, [1, 2], 112, "us+eu+ap")])
        c.us.app("UPDATE so SET v = 1, note = 'old' WHERE id = 1")
        c.barrier()
    for r in c:
        r.kill()
    c.us.app("UPDATE so SET v = -1 WHERE id = 2")
    c.eu.app("UPDATE so SET v = 5 WHERE id = 2")
    for r in c:
        r.run()
    until(lambda: "negative" in (c.us.origin("eu").get("why") or "") or (False, c.us.origin("eu")), "eu waits in us", 30)
    assert c.us.origin("eu")["error"] == "resolver_failed"
    for r in c:
        r.sql("CREATE OR REPLACE FUNCTION public.settle(versions public.so[], regions text[], hlcs bigint[]) RETURNS public.so LANGUAGE sql IMMUTABLE AS 'SELECT versions[1]'")
    c.barrier()
    c.expect("SELECT v FROM so WHERE id = 2", [(-1,)])
    for r in c:  # volatile: refused by name when the table is looked at anew
        r.sql("ALTER FUNCTION public.settle(public.so[], text[], bigint[]) VOLATILE")
    c.us.kill()
    c.us.run()
    c.eu.app("UPDATE so SET v = 6 WHERE id = 2")
    until(lambda: c.us.origin("eu").get("error") == "rule_refused" or (False, c.us.origin("eu")), "a volatile function is refused", 30)
    assert "IMMUTABLE" in c.us.origin("eu")["why"]
    for r in c:
        r.sql("ALTER FUNCTION public.settle(public.so[], text[], bigint[]) IMMUTABLE")
    c.barrier()
    same_everywhere(c, ["so"])
    nothing_kept(c)


def plugin_folder(c):
    folder = os.path.join(c.folder, "plugins")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "longest.so")
    shutil.copy(os.path.join(ROOT, "build", "longest.so"), path)
    os.chmod(folder, 0o755)
    os.chmod(path, 0o644)
    return folder, path


@test(tables="CREATE TABLE public.notes (id int PRIMARY KEY, body text, n int)", run=False, init=False, limit=120)
def plugin(c):
    """a shared object decides, where it may be loaded; a missing permission, a file that others can write, make the origin wait by name"""
    folder, path = plugin_folder(c)
    c.topology["group"] = ALONE
    c.topology["conflicts"] = {"tables": {"public.notes": {"resolver": "plugin", "path": path}}}
    c.write_topology()
    c.tables("CREATE TABLE public.notes (id int PRIMARY KEY, body text, n int)")
    c.init()
    allowed = ("--allow-plugins", folder)
    for r in c:
        r.run("capture")
    c.us.app("INSERT INTO notes VALUES (1, 'a long text', 1), (2, 'x', 1)")
    published(c.us)
    c.eu.app("INSERT INTO notes VALUES (1, 'short', 2), (2, 'y', 2)")
    published(c.eu)
    c.us.run("apply")
    until(lambda: c.us.origin("eu").get("error") == "rule_refused" or (False, c.us.origin("eu")), "no plug-in without permission", 30)
    assert "--allow-plugins" in c.us.origin("eu")["why"]
    c.us.daemon.kill()
    os.chmod(path, 0o666)
    c.us.run("apply", args=allowed)
    until(lambda: "can be written by others" in (c.us.origin("eu").get("why") or "") or (False, c.us.origin("eu")), "nor one that others can write", 30)
    os.chmod(path, 0o644)
    c.eu.run("apply", args=allowed)
    c.barrier()
    c.expect("SELECT * FROM notes ORDER BY id", [(1, "a long text", 1), (2, "y", 2)])
    nothing_kept(c)


@test(tables=TABLES, topology=RULES, regions=("us", "eu", "ap"), limit=120)
def what_is_kept(c):
    """every version that lost is recorded with all that was in it; the queue of manual is told, and goes when somebody decides"""
    c.us.app("INSERT INTO gt VALUES (1, 1, 'old'); INSERT INTO mn VALUES (1, 'old'), (2, 'old')")
    c.barrier()
    apart(c, [("us", "UPDATE gt SET v = 5, note = 'us'"), ("us", "UPDATE mn SET note = 'us'"), ("eu", "UPDATE gt SET v = 9, note = 'eu'"),
              ("eu", "UPDATE mn SET note = 'eu' WHERE id = 1"), ("ap", "UPDATE gt SET v = 7, note = 'ap'"), ("ap", "UPDATE mn SET note = 'ap' WHERE id = 1")])
    same_everywhere(c)
    for r in c:
        have = {(row[0], row[1]): row[2:] for row in r.sql(
            "SELECT region, image->>'note', kind, rule, (stands->>'v')::int, jsonb_array_length(involved), xids->>'region', winner->>'region' FROM pangea.conflict WHERE rel = 'public.gt'")}
        assert set(have) == {("us", "us"), ("ap", "ap")}, f"{r.name}: {have}"
        for key, (kind, rule, stands, involved, by, winner) in have.items():
            # what it lost to when it was discarded here: ap's may have come before eu's
            assert (kind, rule) == ("update_origin_differs", "greatest") and (stands, winner) in ((9, "eu"), (7, "ap")), f"{r.name}: {key}: {have[key]}"
            assert involved in (2, 3) and by in ("us", "eu", "ap"), have[key]
        until(lambda r=r: r.status("apply").get("siblings", {}).get("manual", []) and r.status("apply")["siblings"]["manual"][0]["rows"] == 1
              or (False, r.status("apply").get("siblings")), f"{r.name} tells its queue", 20)
    _, out, _ = c.command("status", check=None)
    assert "public.mn: 1 rows wait for a decision" in out, out
    nothing_kept(c)
    for r in c:
        assert r.sql("SELECT region FROM pangea.sibling ORDER BY 1") == [("ap",), ("eu",), ("us",)], r.sql("SELECT * FROM pangea.sibling")
    c.eu.app("UPDATE mn SET note = 'decided' WHERE id = 1")
    c.barrier()
    c.expect("SELECT note FROM mn ORDER BY id", [("decided",), ("us",)])
    for r in c:
        until(lambda r=r: r.value("SELECT count(*) FROM pangea.sibling") == 0, f"{r.name}: the queue is empty", 20)
        until(lambda r=r: r.status("apply").get("siblings", {}).get("manual") == [], f"{r.name} says so", 20)


POINTS = ["apply.midrows", "apply.rows", "apply.commit", "apply.committed", "apply.begin"]


@test(tables=TABLES, topology=RULES, regions=("us", "eu", "ap"), cases=[(p, n) for n, p in enumerate(POINTS)], limit=240)
def killed_in_the_middle(c, case):
    """apply ends at any point of its transaction while conflicts are merged, and goes on"""
    point, n = case
    begin(c, THREE)
    for r in c:
        r.kill()
    for region, statement in in_time(THREE):
        c.regions[region].app(statement)
    for r in c:
        r.run("capture")
        published(r)
    c.us.run("apply")
    c.ap.run("apply")
    for nth in (2 + n, 5):
        d = c.eu.run("apply", failpoint=f"{point}=exit@{nth}")
        d.wait(60)
    c.eu.run("apply")
    c.barrier()
    same_everywhere(c)
    wrong = tell(THREE, c.eu)
    assert not wrong, "\n".join(wrong)


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


@test(tables="CREATE TABLE public.dl (id int PRIMARY KEY, n int NOT NULL, m numeric(12,2), note text)", topology={"conflicts": {"tables": {"public.dl": {"columns": {"n": "delta"}}}}}, limit=120)
def hot_row(c):
    """a row that is written here all the time does not keep out what comes from there"""
    c.us.app("INSERT INTO dl VALUES (1, 0, 0, '')")
    c.barrier()
    ending, counts = threading.Event(), {"us": 0, "eu": 0}

    def write(region):
        connection = region.connect()
        cursor = connection.cursor()
        while not ending.is_set():
            cursor.execute("UPDATE dl SET n = n + 1")
            counts[region.name] += 1

    writers = [threading.Thread(target=write, args=(r,)) for r in c]
    for w in writers:
        w.start()
    try:
        for r, other in ((c.us, "eu"), (c.eu, "us")):
            before = r.origin(other).get("groups", 0)
            until(lambda r=r, other=other: r.origin(other).get("groups", 0) > before + 5 or (False, r.origin(other)), f"{r.name} gets on with {other}", 40)
    finally:
        ending.set()
        for w in writers:
            w.join()
    c.barrier(60)
    c.expect("SELECT n FROM dl", [(sum(counts.values()),)])


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


PLAIN = "CREATE TABLE public.gt (id int PRIMARY KEY, v int, note text)"


@test(tables=PLAIN, topology={"group": ALONE}, regions=("us", "eu", "ap"), limit=180)
def learned_at_different_moments(c):
    """a rule that one region has and the others do not know yet: the highest generation in a set settles it, wherever and whenever the set meets"""
    for i, order in enumerate((("us", "eu", "ap"), ("ap", "us", "eu"), ("eu", "ap", "us"))):
        k = i + 1
        c.us.app("INSERT INTO gt VALUES (%s, 1, 'old')", k)
        c.barrier()
        c.converged("SELECT * FROM gt ORDER BY id")
        for r in c:
            r.kill()
        for region, v in (("us", 9), ("eu", 5), ("ap", 7)):
            c.regions[region].app("UPDATE gt SET v = %s, note = %s WHERE id = %s", v, region, k)
        plain = c.topology.get("conflicts")
        for name in order:  # only us has the new rule, and says so before it publishes its write
            if name == "us":
                c.topology["conflicts"] = {"tables": {"public.gt": {"resolver": "greatest" if i % 2 == 0 else "least", "by": "v"}}}
            elif plain is None:
                c.topology.pop("conflicts", None)
            else:
                c.topology["conflicts"] = plain
            c.write_topology()
            c.regions[name].run()
            until(lambda name=name: c.regions[name].status("capture").get("state") == "running", f"{name} runs", 20)
            published(c.regions[name])
        c.barrier()
        c.converged("SELECT * FROM gt ORDER BY id")
        # the first time eu's was last write wins when it was written, and gave way to ap's; then all are under rules with siblings
        c.expect("SELECT v, note FROM gt WHERE id = %d" % k, [(5, "eu") if i == 1 else (9, "us")])
        c.topology["conflicts"] = {"tables": {"public.gt": {"resolver": "greatest" if i % 2 == 0 else "least", "by": "v"}}}
        c.write_topology()
        for r in c:
            r.kill()
            r.run()


WILD = {
    "gt": ("INSERT INTO gt VALUES (%(k)s, %(n)s, %(t)s) ON CONFLICT (id) DO UPDATE SET v = excluded.v", "UPDATE gt SET v = %(n)s, note = %(t)s WHERE id = %(k)s"),
    "ls": ("INSERT INTO ls VALUES (%(k)s, %(n)s, %(t)s) ON CONFLICT (id) DO UPDATE SET v = excluded.v", "UPDATE ls SET v = NULLIF(%(n)s, 3), note = %(t)s WHERE id = %(k)s"),
    "fw": ("INSERT INTO fw VALUES (%(k)s, %(t)s) ON CONFLICT (id) DO UPDATE SET note = excluded.note", "UPDATE fw SET note = %(t)s WHERE id = %(k)s"),
    "pr": ("INSERT INTO pr VALUES (%(k)s, %(t)s) ON CONFLICT (id) DO UPDATE SET note = excluded.note", "UPDATE pr SET note = %(t)s WHERE id = %(k)s"),
    "gd": ("INSERT INTO gd VALUES (%(k)s, %(n)s, %(t)s) ON CONFLICT (id) DO UPDATE SET v = excluded.v", "UPDATE gd SET v = %(n)s, note = %(t)s WHERE id = %(k)s"),
    "dl": ("INSERT INTO dl VALUES (%(k)s, %(n)s, 0, %(t)s) ON CONFLICT (id) DO UPDATE SET n = dl.n + excluded.n", "UPDATE dl SET n = n + %(n)s, m = m - 0.25 WHERE id = %(k)s"),
    "gc": ("INSERT INTO gc VALUES (%(k)s, %(n)s, %(t)s, %(t)s) ON CONFLICT (id) DO UPDATE SET hi = excluded.hi", "UPDATE gc SET hi = %(n)s, lo = %(t)s WHERE id = %(k)s"),
    "un": ("INSERT INTO un VALUES (%(k)s, ARRAY[%(e)s], '[]', %(t)s) ON CONFLICT (id) DO UPDATE SET tags = un.tags || to_jsonb(%(n)s)",
           "UPDATE un SET items = CASE WHEN %(e)s = ANY (items) THEN array_remove(items, %(e)s) ELSE items || %(e)s::text END WHERE id = %(k)s"),
    "cm": ("INSERT INTO cm VALUES (%(k)s, %(n)s, %(n)s, %(t)s) ON CONFLICT (id) DO UPDATE SET a = excluded.a", "UPDATE cm SET b = %(n)s, c = %(t)s WHERE id = %(k)s"),
    "tm": ("INSERT INTO tm VALUES (%(k)s, E'1\\n2\\n3\\n4\\n', %(t)s) ON CONFLICT (id) DO UPDATE SET body = tm.body || %(t)s || E'\\n'",
           "UPDATE tm SET body = replace(body, %(e)s, %(t)s) WHERE id = %(k)s"),
    "jm": ("INSERT INTO jm VALUES (%(k)s, jsonb_build_object(%(e)s, %(n)s), %(t)s) ON CONFLICT (id) DO UPDATE SET doc = jm.doc || excluded.doc", "UPDATE jm SET doc = doc - %(e)s WHERE id = %(k)s"),
    "mn": ("INSERT INTO mn VALUES (%(k)s, %(t)s) ON CONFLICT (id) DO UPDATE SET note = excluded.note", "UPDATE mn SET note = %(t)s WHERE id = %(k)s"),
}


# PANGEA_RULES_SEEDS=100 tries that many, with longer histories
SEEDS = [(f"seed {i}", i) for i in range(1, 1 + int(os.environ.get("PANGEA_RULES_SEEDS", "2")))]


@test(tables=TABLES, topology={"conflicts": RULES["conflicts"]}, regions=("us", "eu", "ap"), cases=SEEDS, limit=360 + 60 * len(SEEDS))
def wild(c, case):
    """inserts, updates, deletes, moves of keys, TRUNCATE of a few hot keys under every rule in all regions at once, with kills: identical at rest"""
    troubles = []

    def write(region, seed):
        rng = random.Random(seed)
        connection = region.connect()
        connection.autocommit = False
        cursor = connection.cursor()
        for i in range(150 if len(SEEDS) < 3 else 500):
            try:
                for _ in range(rng.choice((1, 1, 1, 2, 4))):
                    t, kind = rng.choice(NAMES), rng.random()
                    values = {"k": rng.randrange(4), "n": rng.randrange(10), "t": f"{region.name}{i}", "e": rng.choice("1234xyz")}
                    if kind < 0.4:
                        cursor.execute(WILD[t][0], values)
                    elif kind < 0.8:
                        cursor.execute(WILD[t][1], values)
                    elif kind < 0.93:
                        cursor.execute(f"DELETE FROM {t} WHERE id = %(k)s", values)
                    elif kind < 0.99:
                        cursor.execute(f"UPDATE {t} SET id = %(n)s WHERE id = %(k)s AND NOT EXISTS (SELECT FROM {t} WHERE id = %(n)s)", values)
                    else:
                        cursor.execute(f"TRUNCATE {t}")
                connection.commit()
            except (psycopg2.errors.DeadlockDetected, psycopg2.errors.LockNotAvailable, psycopg2.errors.UniqueViolation):
                connection.rollback()  # another writer or apply was in the way
            except Exception as e:
                troubles.append(f"{region.name}: {e}")
                return

    writers = [threading.Thread(target=write, args=(r, case[1] * 100 + i)) for i, r in enumerate(c)]
    for w in writers:
        w.start()
    rng = random.Random(case[1])
    for _ in range(5):
        r = rng.choice(list(c))
        other = "us" if r is not c.us else "eu"
        before = r.origin(other).get("groups", 0)
        until(lambda: r.origin(other).get("groups", 0) > before + 2 or not any(w.is_alive() for w in writers), f"{r.name} applies", 30)
        r.daemon.kill()
        r.run()
    for w in writers:
        w.join()
    assert not troubles, troubles
    c.barrier(90)
    same_everywhere(c)
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
