"""Rules that need the siblings, on real servers: the outcome is that of the set of versions, whatever the order in which they come (C5, C9)."""
import itertools

from harness.apart import apart, published
from harness.case import test
from harness.rules import ALONE, NAMES, RULES, TABLES, nothing_kept, same_everywhere
from harness.wait import until

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
