"""pangea conflicts: what lost is found, shown and taken back; a decision is a change like any other."""
import json

import psycopg2

from harness import shape
from harness.apart import published
from harness.case import test
from harness.wait import until

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text, n numeric, at timestamptz, w text GENERATED ALWAYS AS (v || '!') STORED)"
ASK = "SELECT id, v, n FROM t ORDER BY id"
NAMES = ("us", "eu", "ap")


def conflicts(c, *args, check=0):
    code, out, err = c.command("conflicts", *args, check=check)
    if "--json" in args:
        value = json.loads(out)
        shape.check("conflicts " + args[0] + (" --waiting" if "--waiting" in args else ""), value)
        return value
    return out


def clash(c, rows=1):
    """Rows that are written in us and then in eu, in one transaction each, while they do not see each other: us loses."""
    c.us.app("INSERT INTO t SELECT i, 'first', 12345678901234567889.50, 'infinity' FROM generate_series(1, %s) i", rows)
    c.converged(ASK)
    for r in c:
        r.kill()
        r.run("capture")
    for r in ("us", "eu"):
        c.regions[r].app("UPDATE t SET v = %s, n = n + 1", r)
        published(c.regions[r])
    for r in c:
        r.run("apply")
    c.barrier()
    c.expect("SELECT DISTINCT v FROM t", [("eu",)])


@test(tables=T, regions=NAMES)
def found_and_shown(c):
    """the union over the regions, once each; filters; both rows side by side"""
    clash(c)
    found = conflicts(c, "list", "--json")["conflicts"]
    assert len(found) == 1, found
    one = found[0]
    assert (one["table"], one["key"], one["lost"]["region"], one["winner"]["region"], one["image"]["v"]) == ("public.t", {"id": "1"}, "us", "eu", "us"), one
    assert one["image"]["n"] == "12345678901234567890.50", one  # no digit is lost
    assert set(one["recorded_in"]) >= {"eu"}, one
    assert one["kind"] == "update_origin_differs" and one["rule"] == "last_write_wins"
    assert one["id"] in conflicts(c, "list")
    for args, want in ((["--tables", "public.*"], 1), (["--tables", "public.x"], 0), (["--kind", "insert_exists"], 0), (["--rule", "last_write_wins"], 1),
                       (["--since", "3600"], 1)):
        assert len(conflicts(c, "list", "--json", *args)["conflicts"]) == want, args
    shown = conflicts(c, "show", one["id"][:6], "--json")
    assert {r: shown["now"][r]["v"] for r in NAMES} == {r: "eu" for r in NAMES}, shown
    c.eu.app("UPDATE t SET v = repeat('long ', 40) WHERE id = 1")
    c.barrier()
    for args in (["list"], ["show", one["id"]], ["stats"]):
        _, wide, _ = c.command("conflicts", *args)
        _, out, err = c.command("conflicts", *args, env={"COLUMNS": "60"})
        table = [line for line in out.splitlines() if not line.startswith(("To undo it", "  what "))]
        assert max(map(len, table)) <= 60 < max(map(len, wide.splitlines())), (args, out)
        assert "public.t" in out and (args[0] == "show" or "left out" in err), (out, err)
    c.eu.app("UPDATE t SET v = 'eu' WHERE id = 1")
    c.barrier()
    text = conflicts(c, "show", one["id"])
    assert '* v' in text and '"us"' in text and '"eu"' in text and f"resolve {one['id']} --take" in text, text
    numbers = conflicts(c, "stats", "--json")["numbers"]
    assert len(numbers) == 1 and numbers[0]["count"]["eu"] == 1, numbers
    assert "update_origin_differs" in conflicts(c, "stats")
    conflicts(c, "show", "000000000000", check=2)
    conflicts(c, "show", "nonsense", check=2)
    conflicts(c, "list", "show", check=2)


@test(tables=T, regions=NAMES)
def taken_back(c):
    """--take, --set, --confirm, --delete: each arrives everywhere, and is later than what was there"""
    clash(c)
    one = conflicts(c, "list", "--json")["conflicts"][0]["id"]
    assert "INSERT INTO" in conflicts(c, "resolve", one, "--take", "--dry-run")
    c.expect("SELECT v FROM t", [("eu",)])
    conflicts(c, "resolve", one, "--take")
    c.expect("SELECT v, n, at, w FROM t", c.eu.sql("SELECT 'us', 12345678901234567890.50::numeric, 'infinity'::timestamptz, 'us!'"))
    conflicts(c, "resolve", one, "--set", '{"v": "ours", "n": 7}')
    c.expect("SELECT v, n FROM t", c.eu.sql("SELECT 'ours', 7::numeric"))
    before = c.us.value("SELECT xmin::text FROM t")
    conflicts(c, "resolve", one, "--confirm", "--region", "eu", "--json")
    until(lambda: c.us.value("SELECT xmin::text FROM t") != before or (False, before), "written once more, and arrived", 20)
    c.expect("SELECT v FROM t", [("ours",)])
    conflicts(c, "resolve", one, "--delete")
    c.expect("SELECT v FROM t", [])
    conflicts(c, "resolve", one, "--set", '{"v": "again"}')
    c.expect("SELECT v, n FROM t", c.eu.sql("SELECT 'again', 12345678901234567890.50::numeric"))
    for bad in (["--set", '{"nothing": 1}'], ["--set", '{"id": 2}'], ["--set", '[]'], [], ["--take", "--confirm"], ["--take", "--region", "mars"]):
        conflicts(c, "resolve", one, *bad, check=2)
    c.converged(ASK)


@test(tables=T)
def a_region_away(c):
    """what cannot be asked is said, the rest is shown"""
    clash(c)
    c.topology["regions"]["us"]["postgres"]["conninfo"] += " port=1"
    c.write_topology()
    code, out, err = c.command("conflicts", "list", check=None)
    assert code == 3 and "region us is not counted" in err and "public.t" in out, (code, out, err)
    assert conflicts(c, "list", "--json", check=3)["unreachable"] == ["us"]


MANUAL = {"conflicts": {"tables": {"public.t": {"resolver": "manual"}}}}


@test(tables=T, regions=NAMES, topology=MANUAL)
def on_read(c):
    """pangea.siblings: the versions while they wait, the row when they do not, only for who may read the table; the queue ends with a decision"""
    clash(c, 3)
    ask = "SELECT region, image->>'v' FROM pangea.siblings('public.t', '{\"id\": 1}')"
    for r in c:
        assert r.app(ask) == [("us", "us"), ("eu", "eu")], (r.name, r.app(ask))
    waiting = conflicts(c, "list", "--waiting", "--json")["waiting"]["siblings"]
    assert sorted(w["key"]["id"] for w in waiting) == ["1", "2", "3"], waiting  # not three times the key of one of them
    for w in waiting:
        assert [(v["region"], v["image"]["id"]) for v in w["versions"]] == [("us", w["key"]["id"]), ("eu", w["key"]["id"])] and w["rule"] == "manual", w
    assert "wait for a decision" in conflicts(c, "list", "--waiting")
    for one in conflicts(c, "list", "--json")["conflicts"]:
        conflicts(c, "resolve", one["id"], "--confirm")
    for r in c:
        until(lambda r=r: r.app(ask) == [(None, "eu")] or (False, r.app(ask)), f"{r.name}: decided", 20)
    until(lambda: conflicts(c, "list", "--waiting", "--json")["waiting"]["siblings"] == [] or (False, "still there"), "nothing waits", 20)
    assert c.eu.app("SELECT * FROM pangea.siblings('public.t', '{\"id\": 4}')") == []
    c.us.sql("CREATE ROLE nobody_at_all LOGIN" if not c.us.value("SELECT count(*) FROM pg_roles WHERE rolname = 'nobody_at_all'") else "SELECT 1")
    session = c.us.connect("nobody_at_all")
    try:
        session.cursor().execute(ask)
        assert False, "a role without rights on the table sees its rows"
    except psycopg2.errors.InsufficientPrivilege:
        pass
    finally:
        session.close()
