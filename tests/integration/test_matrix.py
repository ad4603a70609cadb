"""Every kind of conflict under every rule, in two and in three regions, in every order of arrival: the regions agree, and they agree with every other
order.  The outcome itself is asked in test_rules and test_conflicts, of single cases, and by the simulation's oracle, of all.
docs/conflict-matrix.md is printed from here (UPDATE=1 rewrites it)."""
import copy
import itertools
import os

from harness.apart import published
from harness.case import test
from harness.servers import ROOT
from harness.wait import until

RULES = {
    "last_write_wins": None,
    "first_write_wins": {"resolver": "first_write_wins"},
    "region_priority": {"resolver": "region_priority", "order": ["ap", "us"]},
    "greatest": {"resolver": "greatest", "by": "n"},
    "least": {"resolver": "least", "by": "n"},
    "manual": {"resolver": "manual"},
    "sql": {"resolver": "sql", "function": "public.settle_sql"},
    "columns: last_write_wins, greatest, least": {"columns": {"v": "last_write_wins", "n": "greatest", "m": "least"}},
    "column_merge": {"resolver": "column_merge"},
    "delta": {"columns": {"n": "delta"}},
    "union": {"columns": {"tags": "union"}},
    "json_merge": {"columns": {"j": "json_merge"}},
    "text_merge": {"columns": {"t": "text_merge"}},
}
TABLE = {rule: "m_" + rule.split(":")[0] for rule in RULES}
ROW = "v text, n int NOT NULL DEFAULT 0, m int DEFAULT 0, tags text[] DEFAULT '{}', j jsonb DEFAULT '{}', t text DEFAULT E'one\\ntwo\\nthree\\n', big text"
# K, K + 1 .. stand for keys of the cell's own; {t} for the table, {p} for its partitioned one, {x} for one that is truncated, {c} for children
BASE = "INSERT INTO {t} (id, v, n, m, tags, j) VALUES (K, 'old', 10, 10, '{{a,b}}', '{{\"a\": 1, \"b\": 1}}')"
US = "UPDATE {t} SET v = 'us', n = n + 5, m = m - 5, tags = tags || '{{us}}'::text[], j = j || '{{\"us\": 1}}', t = E'US\\ntwo\\nthree\\n' WHERE id = K"
EU = "UPDATE {t} SET v = 'eu', n = n + 3, m = m - 3, tags = '{{b,eu}}', j = j - 'a', t = E'one\\ntwo\\nEU\\n' WHERE id = K"
AP = "UPDATE {t} SET n = n - 1, tags = '{{a}}', j = j || '{{\"a\": 2}}', t = E'one\\nAP\\nthree\\n' WHERE id = K"
NEW = "INSERT INTO {t} (id, v, n) VALUES (K, '%s', %d)"
# kind: (before, what each region does)
KINDS = {
    "insert, insert": (None, {"us": [NEW % ("us", 4)], "eu": [NEW % ("eu", 3)], "ap": [NEW % ("ap", 5)]}),
    "update, update": (BASE, {"us": [US], "eu": [EU], "ap": [AP]}),
    "update, delete": (BASE, {"us": [US], "eu": ["DELETE FROM {t} WHERE id = K"], "ap": [AP]}),
    "delete, update": (BASE, {"us": ["DELETE FROM {t} WHERE id = K"], "eu": [EU], "ap": [AP]}),
    "delete, delete": (BASE, {r: ["DELETE FROM {t} WHERE id = K"] for r in ("us", "eu", "ap")}),
    "insert after a concurrent delete": (BASE, {"us": ["DELETE FROM {t} WHERE id = K"], "eu": ["DELETE FROM {t} WHERE id = K", NEW % ("anew", 1)], "ap": [AP]}),
    "key reuse": (BASE, {"us": ["DELETE FROM {t} WHERE id = K; " + NEW % ("anew", 2)], "eu": [EU], "ap": ["DELETE FROM {t} WHERE id = K"]}),
    "key change, update": (BASE, {"us": ["UPDATE {t} SET id = K + 1 WHERE id = K"], "eu": [EU], "ap": [AP]}),
    "key change, delete": (BASE, {"us": ["UPDATE {t} SET id = K + 1 WHERE id = K"], "eu": ["DELETE FROM {t} WHERE id = K"], "ap": [AP]}),
    "key change, insert of the new key": (BASE, {"us": ["UPDATE {t} SET id = K + 1 WHERE id = K"], "eu": [(NEW % ("eu", 3)).replace("(K", "(K + 1")], "ap": [AP]}),
    "TRUNCATE, update": (BASE.replace("{t}", "{x}"), {"us": ["TRUNCATE {x}"], "eu": [EU.replace("{t}", "{x}")], "ap": [AP.replace("{t}", "{x}")]}),
    "TRUNCATE, insert": (None, {"us": ["TRUNCATE {x}"], "eu": [(NEW % ("eu", 3)).replace("{t}", "{x}")], "ap": [(NEW % ("ap", 3)).replace("{t}", "{x}")]}),
    "TRUNCATE, delete": (BASE.replace("{t}", "{x}"), {"us": ["TRUNCATE {x}"], "eu": ["DELETE FROM {x} WHERE id = K"], "ap": [AP.replace("{t}", "{x}")]}),
    "unchanged TOAST": (BASE + "; UPDATE {t} SET big = repeat(md5('x'), 400) WHERE id = K", {"us": ["UPDATE {t} SET n = 20 WHERE id = K"], "eu": ["UPDATE {t} SET v = 'eu' WHERE id = K"],
                        "ap": ["UPDATE {t} SET big = repeat(md5('y'), 400) WHERE id = K"]}),
    "rows of one transaction": (BASE + "; " + BASE.replace("K", "(K + 1)"), {"us": [US + "; " + US.replace("K", "(K + 1)")], "eu": [EU.replace("K", "(K + 1)") + "; " + EU], "ap": [AP]}),
    "tables of one transaction": (BASE + "; " + BASE.replace("{t}", "{p}"), {"us": [US + "; " + US.replace("{t}", "{p}")], "eu": [EU.replace("{t}", "{p}") + "; " + EU], "ap": [AP]}),
    "a row that moves between partitions": (BASE.replace("{t}", "{p}"), {"us": ["UPDATE {p} SET part = 2, v = 'moved' WHERE id = K"], "eu": [EU.replace("{t}", "{p}")], "ap": [AP.replace("{t}", "{p}")]}),
    "children of a row that is deleted": (BASE, {"us": ["DELETE FROM {t} WHERE id = K"], "eu": ["INSERT INTO {c} VALUES (K, K)"], "ap": [AP]}),
    "again, while it is in conflict": (BASE, {"us": [US, US], "eu": [EU, EU], "ap": [AP, AP]}),
}
ACCUMULATES = ("column_merge", "delta", "union", "json_merge")
UNIQUE = ("two unique keys", "chains of unique conflicts", "exclusion constraints")
STEP = 10


def sql_of(rule):
    t = TABLE[rule]
    part = f"CREATE TABLE public.{t}_p (id int, {ROW}, part int NOT NULL DEFAULT 1, PRIMARY KEY (id, part)) PARTITION BY LIST (part)"
    return "; ".join([f"CREATE TABLE public.{t} (id int PRIMARY KEY, {ROW})", f"ALTER TABLE public.{t} ALTER big SET STORAGE EXTERNAL", f"CREATE TABLE public.{t}_x (id int PRIMARY KEY, {ROW})",
                      part.replace("PRIMARY KEY (id, part)", "PRIMARY KEY (id, part)"), f"CREATE TABLE public.{t}_p1 PARTITION OF public.{t}_p FOR VALUES IN (1)",
                      f"CREATE TABLE public.{t}_p2 PARTITION OF public.{t}_p FOR VALUES IN (2)", f"CREATE TABLE public.{t}_c (id int PRIMARY KEY, parent int REFERENCES public.{t})"])


SETTLE = """; CREATE FUNCTION public.{f}(v public.{t}[], regions text[], hlcs bigint[]) RETURNS public.{t} LANGUAGE sql IMMUTABLE
AS 'SELECT x FROM unnest(v) x ORDER BY x.n DESC, x.v LIMIT 1'"""
SQL = "; ".join(sql_of(r) for r in RULES) + "".join(SETTLE.format(f="settle_sql" + s, t="m_sql" + s) for s in ("", "_x", "_p"))


def rule_of(rule, suffix):
    return {**copy.deepcopy(RULES[rule]), **({"function": "public.settle_sql" + suffix} if rule == "sql" else {})}


def topology(*regions):
    rules = {f"public.{TABLE[r]}{s}": rule_of(r, s) for r in RULES if RULES[r] for s in ("", "_x", "_p")}
    for rule in rules.values():
        if "order" in rule:
            rule["order"] = [r for r in rule["order"] if r in regions]
    return {"group": {"max_rows": 1}, "conflicts": {"tables": rules}}


def fill(text, rule, key):
    t = TABLE[rule]
    return text.format(t=t, x=t + "_x", p=t + "_p", c=t + "_c").replace("K", str(key)) if text else text


def cells():
    return [(rule, kind, STEP * (i + 1)) for rule in RULES for i, kind in enumerate(KINDS)]


def one_order(c, order, base):
    """All cells at once: what is there before, then each region's writes (us first in time, then eu, then ap), published in this order."""
    first = next(iter(c))
    at = {(rule, kind): base + key for rule, kind, key in cells()}
    before = "; ".join(fill(KINDS[kind][0], rule, at[rule, kind]) for rule, kind, _ in cells() if KINDS[kind][0])
    first.app(before)
    c.barrier(60)
    for r in c:
        r.kill()
    for name in ("us", "eu", "ap"):
        if name not in c.regions or c.regions[name].role != "leader":
            continue
        session = c.regions[name].connect()
        session.autocommit = True
        cursor = session.cursor()
        for rule, kind, _ in cells():
            for statement in KINDS[kind][1].get(name, ()):
                cursor.execute(fill(statement, rule, at[rule, kind]))
        session.close()
    for r in c:
        r.run("apply")
    for name in order:
        c.regions[name].run("capture")
        published(c.regions[name])
    c.barrier(120)
    for t in TABLE.values():
        for s in ("", "_x", "_p", "_c"):
            c.converged(f"SELECT * FROM {t}{s} ORDER BY id{', part' if s == '_p' else ''}", 60)
    rows = {}
    for rule, kind, _ in cells():
        key = at[rule, kind]
        rows[rule, kind] = [tuple((row[0] - key, *map(str, row[1:]))) for s in ("", "_p") for row in
                            first.sql(f"SELECT * FROM {TABLE[rule]}{s} WHERE id >= {key} AND id < {key + STEP} ORDER BY 1, 2, 3")]
        rows[rule, kind] += [tuple((row[0] - key, *map(str, row[1:]))) for row in first.sql(f"SELECT * FROM {TABLE[rule]}_x WHERE id >= {key} AND id < {key + STEP} ORDER BY 1, 2, 3")]
    # the next order begins with nothing in conflict
    for r in c:
        until(lambda r=r: r.value("SELECT count(*) FROM pangea.tombstone") == 0 or (False, "tombstones are left"), f"{r.name}: all is stable", 60)
    return rows


def every_order(c, orders):
    seen = {}
    for i, order in enumerate(orders):
        for cell, rows in one_order(c, order, 1000 * (i + 1)).items():
            seen.setdefault(cell, []).append((order, rows))
    wrong = [f"{cell}: {got}" for cell, got in seen.items() if any(rows != got[0][1] for _, rows in got)]
    assert not wrong, f"{len(wrong)} of {len(seen)} cells depend on the order of arrival: " + "; ".join(wrong[:3])


@test(tables=SQL, topology=topology("us", "eu"), limit=240)
def two_regions(c):
    """the outcome of a cell depends on who arrives first"""
    every_order(c, list(itertools.permutations(("us", "eu"))))


@test(tables=SQL, topology=topology("us", "eu", "ap"), regions=("us", "eu", "ap"), limit=420)
def three_regions(c):
    """the outcome of a cell depends on the order of three"""
    orders = list(itertools.permutations(("us", "eu", "ap")))
    every_order(c, orders if os.environ.get("ALL_ORDERS") else orders[::2])


@test(tables=SQL, topology=topology("us", "eu", "ap"), regions=("us", "eu", "ap"), followers=("ap",), limit=240)
def two_regions_and_a_follower(c):
    """a follower settles otherwise than its leaders"""
    every_order(c, [("us", "eu"), ("eu", "us")])


# ---- docs/conflict-matrix.md ---------------------------------------------------------------------------------------------------------------------
def table():
    lines = ["# Kinds of conflict x rules", "",
             "Printed from `tests/integration/test_matrix.py`, which runs every cell that says `matrix` on real servers: in two regions, in three, and in two with a follower, in every",
             "order of arrival (three regions: three of the six orders in `make check`, all with `ALL_ORDERS=1`); daemons are restarted in between. `sim`: also by `tests/simulation`, against the true",
             "causal history, in 2 to 5 regions with crashes. `rules`, `conflicts`, `unique`: single cases with their outcome written down (`tests/integration/test_rules*.py` and so on).", "",
             "| kind | " + " | ".join(f"`{r}`" for r in RULES) + " |", "|---|" + "---|" * len(RULES)]
    for kind in KINDS:
        lines.append(f"| {kind} | " + " | ".join(cell(kind, r) for r in RULES) + " |")
    for kind in UNIQUE:
        lines.append(f"| {kind} | " + " | ".join("stops by name (1)" if r in ACCUMULATES else "unique, sim" if r in ("last_write_wins", "greatest", "first_write_wins") else "unique" for r in RULES) + " |")
    lines.append("| a CHECK that a merge violates | " + " | ".join("rules (2)" if r in ACCUMULATES else "cannot be (3)" for r in RULES) + " |")
    lines.append("| a row that a route's `where` lets in or out | " + " | ".join("cannot be (4)" for _ in RULES) + " |")
    lines += ["",
              "1. A waiting row would be counted twice when its key is inserted anew, so the origin stops by name (`unique_conflict`) until one of the rows is changed; `validate` warns.",
              "2. The origin waits by name until somebody writes the row anew.", "3. The outcome is a row that was committed somewhere: it meets every CHECK.",
              "4. A filter is for tables with one writing leader, so there is no conflict; `tests/integration/test_way.py` and `test_tables.py` have the filter itself.", ""]
    return "\n".join(lines)


def cell(kind, rule):
    more = "conflicts" if rule == "last_write_wins" else "rules"
    simulated = "" if rule == "sql" and "TRUNCATE" in kind else ", sim"
    return f"matrix, {more}{simulated}" if kind in ("insert, insert", "update, update", "update, delete", "delete, update", "insert after a concurrent delete") else f"matrix{simulated}"


@test(init=False)
def page(c):
    """docs/conflict-matrix.md says something else than the test does"""
    path = os.path.join(ROOT, "docs", "conflict-matrix.md")
    if os.environ.get("UPDATE"):
        with open(path, "w") as f:
            f.write(table())
    with open(path) as f:
        assert f.read() == table(), "docs/conflict-matrix.md is not what test_matrix.py prints: UPDATE=1 rewrites it"
