"""What an operator looks at: lag, topology, status and explain; the shapes of --json, and that everything fits the terminal."""
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import xml.etree.ElementTree as xml

from harness import shape
from harness.case import test
from harness.daemon import die_with_parent
from harness.servers import ROOT
from harness.wait import until

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text)"
NAMES = ("us", "eu", "ap")


def lag(c, check=None):
    code, out, _ = c.command("lag", "--json", check=check)
    value = json.loads(out)
    shape.check("lag", value)
    assert (code == 3) == value["degraded"] and code in (0, 3), (code, value)
    return {(p["origin"], p["region"]): p for p in value["pairs"]}


@test(tables=T, regions=NAMES, followers=("ap",), limit=90)
def lag_of_every_pair(c):
    """a pair for each leader and each other region; what stands still is never shown as a small number"""
    def all_run():
        pairs = lag(c)
        return all(p["state"] == "running" and p["lag_seconds"] is not None and p["lag_seconds"] < 3 for p in pairs.values()) or (False, pairs)
    until(all_run, "every pair runs", 30)
    assert sorted(lag(c, check=0)) == [("eu", "ap"), ("eu", "us"), ("us", "ap"), ("us", "eu")]
    _, out, _ = c.command("lag", check=0)
    assert re.search(r"^us +[\d.]+ s +[\d.]+ s +-$", out, re.M), out  # columns: ap eu us
    c.tables("ALTER TABLE public.t DROP COLUMN v", [c.eu])
    c.us.app("INSERT INTO t VALUES (1, 'x')")
    until(lambda: lag(c)[("us", "eu")]["error"] == "column_missing" or (False, lag(c)), "us -> eu waits by name", 20)
    pair = lag(c, check=3)[("us", "eu")]
    assert pair["state"] in ("waiting", "stopped") and pair["since"] and "v" in pair["why"], pair
    _, out, _ = c.command("lag", check=3)
    assert re.search(r"^us -> eu: (waiting|stopped): .*public\.t", out, re.M), out
    c.ap.kill()
    until(lambda: lag(c)[("us", "ap")]["state"] == "no daemon" or (False, lag(c)), "ap is silent", 20)
    assert lag(c)[("us", "ap")]["lag_seconds"] is None
    _, out, _ = c.command("lag", check=3, env={"COLUMNS": "40"})
    assert re.search(r"^us -> ap +no daemon$", out, re.M), out
    assert max(map(len, out.split("\n\n")[1].splitlines())) <= 40, out


BACKLOG = 48 << 20  # more than librdkafka and apply read ahead together (20 MB)
ROW = 400_000


@test(tables=T, http=True, limit=120)
def bytes_of_a_backlog(c):
    """a region that stands still with a known backlog: what it is behind, in records and bytes, is the whole of it, and the same wherever one looks"""
    c.barrier()
    c.command("pause", "--region", "eu", "--agent", "apply")
    c.us.app("INSERT INTO t SELECT 0, 'of the table'")
    for first in range(1, BACKLOG // ROW, 2):  # two rows a transaction: a record or so each
        c.us.app("INSERT INTO t SELECT i, repeat(md5(i::text), %s) FROM generate_series(%s, %s) i", ROW // 32, first, first + 1)
    rows = c.us.value("SELECT sum(length(v)) FROM t")
    assert rows > BACKLOG * 0.95, rows

    def seen(what):
        """By `lag`, by status, by the page's document and by the metric: us in eu."""
        _, _, status = c.eu.get("/status")
        page = next(r for r in json.loads(status)["regions"] if r["region"] == "eu")["apply"]["origins"][0]
        _, _, metrics = c.eu.get("/metrics")
        return (lag(c)[("us", "eu")][f"lag_{what}"], c.eu.origin("us")[f"lag_{what}"], page[f"lag_{what}"],
                float(re.search(rf'^pangea_lag_{what}{{.*origin="us".*}} (\S+)$', metrics, re.M).group(1)))

    def whole():
        size, records, origin = seen("bytes"), seen("records"), c.eu.origin("us")
        behind = origin["log_end_offset"] - 1 - origin["offset"]
        right = rows / 2 < min(size) and max(size) < 2 * rows and min(records) > 0.8 * behind and max(records) <= 1.2 * behind
        return right and max(size) < 1.2 * min(size) or (False, (rows, size, behind, records))
    until(whole, "all of the backlog is told, everywhere", 40)
    c.command("resume", "--region", "eu", "--agent", "apply")
    c.barrier(60)
    until(lambda: max(seen("bytes")) < 10_000 or (False, seen("bytes")), "nothing is left", 20)


@test(tables=T)
def watch_goes_on(c):
    """--watch: a value a line, again and again, and it ends quietly when nobody reads any more"""
    for command in ("lag", "status"):
        p = subprocess.Popen([c.pangea, command, "--json", "--watch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=dict(os.environ, PANGEA_TOPOLOGY=c.topology_file), preexec_fn=die_with_parent)
        for _ in range(2):
            assert json.loads(p.stdout.readline())["cluster"] == c.name
        p.stdout.close()
        p.wait(10)
        assert p.stderr.read() == b"" and p.returncode in (0, 3, -signal.SIGPIPE), p.returncode
        p.stderr.close()


ROUTES = {"routes": [{"tables": ["public.*"]}, {"tables": ["public.audit", 'public."q#a"'], "from": ["us"], "to": ["eu"], "where": "v > 1", "columns": ["id", "v"]}],
          "links": [{"log": "us", "at": "eu", "mirror": True}, {"log": "us", "at": "ap", "via": "eu"}]}


@test(init=False, regions=NAMES, followers=("ap",))
def pictures(c):
    """every format shows every region and every way of a log; odd names break no syntax; no connection is needed"""
    c.topology.update(ROUTES)
    for name, r in c.topology["regions"].items():
        r["postgres"]["conninfo"] = f"host=pg.invalid dbname=shop_{name} user=pangea password=c4n4ry"
        r["kafka"]["brokers"] = [f"kafka.{name}.invalid:9092"]
    c.write_topology()
    _, out, _ = c.command("topology", "--json")
    value = json.loads(out)
    shape.check("topology", value)
    ways = {(log["log"], log["read_by"]): log for log in value["logs"]}
    assert sorted(ways) == [("eu", "ap"), ("eu", "us"), ("us", "ap"), ("us", "eu")], ways
    assert ways[("us", "eu")]["mirror"] and ways[("us", "eu")]["in"] == "eu" and ways[("us", "ap")]["in"] == "eu", ways
    texts = [out]
    for form in ("table", "ascii", "mermaid", "dot", "svg"):
        _, out, _ = c.command("topology", "--format", form)
        texts.append(out)
        for name in NAMES:
            assert re.search(rf"\b{name}\b", out), (form, out)
    table, ascii_, mermaid, dot, svg = texts[1:]
    assert "pg.invalid:5432/shop_eu" in table and "where v > 1" in table, table
    assert ascii_.count("|-->") == 4 and ascii_.isascii() and "(mirrored)" in ascii_ and "(read in eu)" in ascii_, ascii_
    assert len(re.findall(r'^    r\d --?\.?->\|"[^"]*"\| r\d$', mermaid, re.M)) == 4 and "q#35;a" in mermaid, mermaid
    assert len(re.findall(r'^    "\w+" -> "\w+" \[label="(?:[^"\\]|\\.)*"\];$', dot, re.M)) == 4, dot
    root = xml.fromstring(svg)
    ns = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f".//{ns}line")) == 4 and len(root.findall(f".//{ns}text[@class='name']")) == 3, svg
    for text in texts:
        assert "c4n4ry" not in text
    _, _, err = c.command("topology", "--format", "svgg", check=2)
    assert "did you mean 'svg'" in err, err
    _, out, err = c.command("topology", env={"COLUMNS": "60"})
    assert max(map(len, out.splitlines()[1:])) <= 60 and "left out" in err, (out, err)


ODD = ['public."<i>&lt;`b`\\N"', 'public."quo""te|]\\ &amp;"']


@test(init=False, regions=("end", "node", "ap"), followers=("ap",))
def graphviz_draws_the_topology(c):
    """`pangea topology --format dot` is drawn by Graphviz itself: every region, every way, with what is written on it, whatever the names are"""
    c.topology["routes"] = [{"tables": ["public.*"]}, {"tables": ODD, "from": ["end"], "to": ["node"], "where": "v > 1"}]
    c.topology["links"] = [{"log": "end", "at": "node", "mirror": True}, {"log": "end", "at": "ap", "via": "node"}]
    for name, r in c.topology["regions"].items():
        r["kafka"]["brokers"] = [f"kafka.{name}.invalid:9092"]
    c.write_topology()

    def drawn(text):
        done = subprocess.run(["dot", "-Tsvg"], input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        if done.returncode or done.stderr:
            return done.stderr.decode()
        ns = "{http://www.w3.org/2000/svg}"
        parts = [g for g in xml.fromstring(done.stdout).iter(ns + "g") if g.get("class") in ("node", "edge")]
        return {g.find(ns + "title").text: [t.text for t in g.iter(ns + "text")] for g in parts}
    got = drawn(c.command("topology", "--format", "dot")[1])
    logs = json.loads(c.command("topology", "--json")[1])["logs"]
    assert {name: text for name, text in got.items() if "->" not in name} == {"end": ["end", "leader"], "node": ["node", "leader"], "ap": ["ap", "follower"]}, got
    assert {name for name in got if "->" in name} == {f"{w['log']}->{w['read_by']}" for w in logs} and len(logs) == 4, (got, logs)
    for w in logs:
        assert w["tables"] in got[f"{w['log']}->{w['read_by']}"][0], (w, got)
    assert 'public.<i>&lt;`b`\\N, public.quo"te|]\\ &amp;' in got["end->node"][0], got
    assert "(mirrored)" in got["end->node"][0] and "(read in node)" in got["end->ap"][0], got
    assert "syntax error" in drawn('digraph "a" { "b" -> '), "what is no dot is not refused"


@test(tables=T)
def shapes(c):
    """what the other commands print with --json is documented too"""
    for args, codes in ((["version"], (0,)), (["validate", c.topology_file], (0,)), (["explain", "role"], (0,)), (["verify", "--timeout", "20"], (0,))):
        code, out, err = c.command(*args, "--json", check=None)
        assert code in codes, (args, code, out, err)
        shape.check(args[0], json.loads(out))


RECORDS = ("CREATE TABLE public.kinds (id int PRIMARY KEY, n numeric, b bytea, v text)",
           "CREATE TABLE public.parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
           "CREATE TABLE public.parts_1 PARTITION OF public.parts FOR VALUES FROM (0) TO (100)",
           "CREATE TABLE public.single (id int PRIMARY KEY, n int, large text)", "ALTER TABLE public.single ALTER large SET STORAGE EXTERNAL")


# one region writes public.single: it keeps its identity, and a large value that an update leaves alone is not sent. A rule: it is announced
OF_ONE = {"routes": [{"tables": ["public.single"], "from": ["us"]}, {"tables": ["public.kinds", "public.parts", "public.barrier"]}],
          "conflicts": {"tables": {"public.kinds": {"resolver": "greatest", "by": "n"}}}}


@test(tables="; ".join(RECORDS), topology=OF_ONE, limit=90)
def records_of_a_log(c):
    """every kind of record, change and value that `event decode` prints is documented, and nothing that is documented never comes"""
    for sql in ("INSERT INTO kinds VALUES (1, 1.5, '\\x00ff', NULL)", "UPDATE kinds SET v = 'x'", "DELETE FROM kinds", "TRUNCATE kinds",
                "INSERT INTO parts VALUES (1, 'x')", "INSERT INTO single VALUES (1, 1, repeat('0123456789', 1000))", "UPDATE single SET n = 2",
                "INSERT INTO kinds (id, v) SELECT 2, string_agg(md5(i::text), '') FROM generate_series(1, 60000) i"):
        c.us.app(sql)
    c.barrier()
    _, out, _ = c.command("event", "decode", "--region", "us", "0", "1000")
    records = [json.loads(line) for line in out.splitlines()]
    assert {shape.record(r) for r in records} == {"epoch", "group", "progress", "marker"}, out[-2000:]
    seen = {name for r in records for name in members(r)}
    want = {name for kind in ("an EPOCH", "a GROUP", "a PROGRESS", "a MARKER") for name in members(shape.required(shape.documented("event decode`, " + kind)))}
    assert want - {"*"} <= seen, (want - seen, "is documented and was in none of", len(records))
    changes = [ch for r in records for ch in r.get("changes", ())]
    assert {ch["op"] for ch in changes} == {"insert", "update", "delete", "truncate"}, changes
    row = next(ch["row"] for ch in changes if ch["op"] == "insert" and ch["table"] == "kinds")
    assert row == {"id": {"hex": "00000001", "text": "1"}, "n": "1.5", "b": {"hex": "00ff", "text": "\\x00ff"}, "v": None}, row
    assert any(v == {"unsent": True} for ch in changes for v in ch.get("row", {}).values()), "no value was unsent"


def members(value):
    """The names of the members of a value and of all in it."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from members(one)
    elif isinstance(value, list):
        for one in value:
            yield from members(one)


@test(tables=T)
def refusals(c):
    """what a command cannot do it says by a name that docs/errors.md has, with that name's exit code"""
    file = os.path.join(c.folder, "not_a_record")
    with open(file, "wb") as f:
        f.write(b"no record")
    with open(os.path.join(ROOT, "docs", "errors.md")) as f:
        exits = {name: int(code) for name, code in re.findall(r"^\| `(\w+)` \| (\d) \|", f.read(), re.M)}
    c.us.kill()
    for args, name, env in REFUSED:
        code, out, err = c.command(*(a.format(file=file) for a in args), check=None, env=env)
        said = re.findall(r"^pangea: (?:[a-z ]+: )?([a-z]+_[a-z_]+): ", err, re.M)
        assert said[-1:] == [name] and code == exits[name] and not out, (args, name, code, out, err)


NO_FILE = {"PANGEA_TOPOLOGY": ""}
REFUSED = (
    ([], "word_missing", None), (["status"], "topology_not_given", NO_FILE), (["validate"], "topology_not_given", NO_FILE),
    (["status", "--topology", "/nowhere.yaml"], "topology_refused", None), (["run"], "region_not_given", None),
    (["init", "--admin", "host=/tmp"], "region_not_given", None), (["run", "--region", "mars"], "unknown_region", None),
    (["pause", "--region", "us", "--agent", "capture", "--origin", "eu"], "option_clash", None),
    (["pause", "--region", "us", "--origin", "us"], "bad_value", None), (["sequences", "--apply", "--dry-run"], "option_clash", None),
    (["sequences", "--mode", "odd"], "bad_value", None), (["topology", "--format", "gif"], "bad_value", None), (["completion"], "word_missing", None),
    (["completion", "csh"], "bad_value", None), (["explain"], "word_missing", None), (["explain", "nothing_like_it"], "unknown_name", None),
    (["deinit", "--region", "us"], "not_confirmed", None), (["conflicts"], "word_missing", None), (["conflicts", "show", "xyz"], "bad_value", None),
    (["conflicts", "show", "00000000"], "unknown_conflict", None), (["conflicts", "resolve", "0000"], "word_missing", None),
    (["conflicts", "resolve", "0000", "--set", "1"], "bad_value", None), (["event"], "word_missing", None),
    (["event", "decode", "/nowhere"], "bad_input", None), (["event", "decode", "{file}"], "record_damaged", None),
    (["event", "decode", "--region", "us", "99999999"], "bad_input", None), (["event", "decode", "--region", "us", "0", "none"], "bad_value", None),
    (["event", "decode", "x", "y"], "bad_value", None))


@test(tables=T)
def status_fits(c):
    """status on a narrow terminal: the least important columns go, no line is longer, and what is left out is said on stderr"""
    until(lambda: c.command("status", check=None)[0] == 0, "all runs", 20)
    until(lambda: not list(shape.differences(shape.required(shape.documented("status")), c.status(), "status")), "every member is there", 20)
    shape.check("status", c.status(), whole=True)
    _, wide, err = c.command("status")
    assert "SINCE ITS START" in wide and "TRANSACTIONS" in wide and not err, (wide, err)
    _, out, err = c.command("status", env={"COLUMNS": "60"})
    assert max(map(len, out.splitlines())) <= 60, out
    assert "TRANSACTIONS" not in out and "LAG" in out and "left out" in err, (out, err)


@test(tables=T + "; CREATE TABLE public.a_table_with_a_name_that_nobody_can_remember (id int PRIMARY KEY)")
def verify_fits(c):
    """verify on a narrow terminal: a long name has a line of its own, the rest stays in its columns"""
    c.us.app("INSERT INTO t VALUES (1, 'x')")
    c.barrier()
    _, wide, _ = c.command("verify")
    _, out, _ = c.command("verify", env={"COLUMNS": "60"})
    assert max(map(len, out.splitlines())) <= 60 < max(map(len, wide.splitlines())), out
    assert re.search(r"^public\.a_table_with_a_name_that_nobody_can_remember\n +0  identical in eu, us$", out, re.M), out
    column = {line.index("identical in") for line in out.splitlines() if "identical in" in line and not line.endswith(")")}
    assert len(column) == 1 and re.search(r"^public\.t +1  identical", out, re.M), out


def on_a_terminal(c, *args, columns=70, env=None):
    """What the command writes to a terminal of that width."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
    environment.update(PANGEA_TOPOLOGY=c.topology_file, TERM="xterm", **(env or {}))
    p = subprocess.Popen([c.pangea, *args], stdin=subprocess.DEVNULL, stdout=there, stderr=there, env=environment, preexec_fn=die_with_parent)
    os.close(there)
    text = b""
    try:
        while part := os.read(here, 65536):
            text += part
    except OSError:  # that is how a terminal ends
        pass
    os.close(here)
    p.wait(20)
    return text.decode().replace("\r\n", "\n")


@test(tables=T, limit=90)
def terminal(c):
    """colours on a terminal, none with NO_COLOR; its width holds; what takes long draws a bar there, which is gone at the end"""
    until(lambda: c.command("status", check=None)[0] == 0, "all runs", 20)
    with_colour, without = on_a_terminal(c, "status"), on_a_terminal(c, "status", env={"NO_COLOR": "1"})
    assert "\033[" in with_colour, with_colour
    assert "running" in without and "\033" not in without, without
    for command in (["status"], ["lag"], ["doctor"]):
        lines = [line for line in on_a_terminal(c, *command, env={"NO_COLOR": "1"}).splitlines() if not re.match(r"  do |\(\d columns? left out", line)]
        assert len(lines) > 2 and max(map(len, lines)) <= 70, (command, lines)
    c.barrier()
    c.command("pause", "--region", "eu", "--agent", "apply")
    c.us.app("INSERT INTO t VALUES (1, 'x')")
    drawn = on_a_terminal(c, "verify", "--timeout", "2")
    assert re.search(r"\rverify: waiting until every region has applied", drawn), repr(drawn)
    assert "\r\033[K" in drawn[drawn.rindex("\rverify: "):], repr(drawn)


@test(init=False)
def explains(c):
    """a name from a message is explained, an unknown one is guessed at, and every command knows what was meant"""
    _, out, _ = c.command("explain", "slot_lost")
    assert "docs/errors.md" in out and "To do:" in out, out
    for args, meant in ((["explain", "slot_lots"], "slot_lost"), (["help", "stauts"], "status"), (["doctr"], "doctor"), (["lag", "--jsno"], "json")):
        code, out, err = c.command(*args, check=2)
        assert f"did you mean '{meant}'" in err and not out, (args, out, err)


@test(tables=T, limit=90)
def long_things_are_told(c):
    """a verify that waits says so every ten seconds, on stderr; --json on stdout stays one value"""
    c.barrier()
    c.command("pause", "--region", "eu", "--agent", "apply")
    c.us.app("INSERT INTO t VALUES (1, 'x')")
    code, out, err = c.command("verify", "--json", "--timeout", "12", check=None)
    assert code in (6, 7), (code, out, err)
    assert re.search(r"^verify: waiting until every region has applied .*: 1[0-2] s$", err, re.M), err
    shape.check("verify", json.loads(out))


@test(tables=T, init=False)
def init_as_json(c):
    """init and deinit with --json: one value with the statements, what was said, and the error with its name"""
    c.tables(T)

    def run(*args, check):
        _, out, _ = c.command(*args, "--json", check=check)
        value = json.loads(out)
        shape.check(args[0], value)
        return value

    entry, = run("init", "--region", "us", check=4)["regions"]
    assert not entry["done"] and entry["error"]["name"] == "missing_grant" and "GRANT EXECUTE" in entry["sql"], entry
    entry, = run("init", "--region", "us", "--dry-run", check=0)["regions"]
    assert entry["done"] and entry["dry_run"] and "CREATE SCHEMA pangea" in entry["sql"] and "CREATE PUBLICATION" in entry["sql"], entry
    assert c.us.value("SELECT to_regnamespace('pangea')") is None
    entry, = run("init", "--region", "us", "--admin", c.us.postgres.conninfo(c.us.database, "postgres"), check=0)["regions"]
    assert entry["done"] and entry["error"] is None and not entry["sql"] and any("slot" in line for line in entry["said"]), entry
    value = run("deinit", "--region", "us", "--dry-run", check=0)
    assert "DROP SCHEMA pangea" in value["sql"] and c.us.value("SELECT to_regnamespace('pangea')") is not None, value
    value = run("deinit", "--region", "us", "--yes", check=0)
    assert value["done"] and c.us.value("SELECT to_regnamespace('pangea')") is None, value
