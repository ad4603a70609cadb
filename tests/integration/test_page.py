"""The page in real Chromium: the states that an operator must see, made by a real cluster; screenshots are left in build/screenshots."""
import json
import os
import shutil
import subprocess

from harness.apart import publish
from harness.book import blocks
from harness.case import test
from harness.daemon import die_with_parent
from harness.servers import ROOT
from harness.wait import SLOW, until

T = "CREATE TABLE public.stock (id int PRIMARY KEY, item text NOT NULL, qty numeric, note text); CREATE TABLE public.orders (id int PRIMARY KEY, v text)"
MODULES = os.path.join(ROOT, ".cache", "page", "node_modules")
SHOTS = os.path.join(ROOT, "build", "screenshots")


MERMAID = os.path.join(ROOT, ".cache", "mermaid", "mermaid.min.js")
ODD = {"routes": [{"tables": ["public.*"]}, {"tables": ['public."<i>#`b`"', 'public."a|b]"'], "from": ["end"], "to": ["eu"], "where": "v > 1"}],
       "links": [{"log": "end", "at": "eu", "mirror": True}, {"log": "end", "at": "ap", "via": "eu"}]}


@test(init=False, regions=("end", "eu", "ap"), followers=("ap",))
def mermaid_draws_the_topology(c):
    """`pangea topology --format mermaid` is drawn by Mermaid itself: every region, every way, with what is written on it, whatever the names are; so are
    the pictures of docs/"""
    plain = c.command("topology", "--format", "mermaid")[1]
    c.topology.update(ODD)
    for name, r in c.topology["regions"].items():
        r["kafka"]["brokers"] = [f"kafka.{name}.invalid:9092"]
    c.write_topology()
    odd = c.command("topology", "--format", "mermaid")[1]
    book = {}
    for name in sorted(os.listdir(os.path.join(ROOT, "docs"))):
        if name.endswith(".md"):
            with open(os.path.join(ROOT, "docs", name)) as f:
                book.update({f"{name}:{b.line}": b.text for b in blocks(f.read()) if b.kind == "mermaid"})
    texts = [plain, odd, "flowchart LR\n    a -->| b", *book.values()]
    job = {"modules": MODULES, "chromium": shutil.which("chromium"), "mermaid": MERMAID, "texts": texts}
    done = subprocess.run(["node", os.path.join(ROOT, "tests", "page", "draw.js"), json.dumps(job)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=60 * SLOW, env=dict(os.environ, HOME=c.folder))
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    plain, odd, wrong, *pictures = json.loads(done.stdout)
    bad = [f"{where}: {p['failed']}" for where, p in zip(book, pictures) if "failed" in p]
    assert len(book) > 1 and not bad, "\n".join(bad)
    assert "Parse error" in wrong["failed"], "what is no Mermaid is not refused"
    for drawn in (plain, odd):
        assert "failed" not in drawn, drawn["failed"]
        assert sorted(drawn["nodes"]) == ["apfollower", "endleader", "euleader"] and drawn["lines"] == 4, drawn
    assert plain["ways"] == ["*.*"] * 4, plain
    assert any('public.<i>#`b`, public.a|b]' in w and "(mirrored)" in w for w in odd["ways"]) and any("(read in eu)" in w for w in odd["ways"]), odd


class Eyes:
    """Chromium, for all looks of one test."""

    def __init__(self, c):
        os.makedirs(SHOTS, exist_ok=True)
        tools = json.dumps({"modules": MODULES, "chromium": shutil.which("chromium")})
        self.log = os.path.join(c.folder, "look.log")
        with open(self.log, "wb") as err:
            self.node = subprocess.Popen(["node", os.path.join(ROOT, "tests", "page", "look.js"), tools], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=err, preexec_fn=die_with_parent, env=dict(os.environ, HOME=c.folder))

    def look(self, region, state, wait, part=None, **how):
        """What is to be read on the page of this region's daemon once `wait` is; with charts=number of regions, also the curves (look.js)."""
        job = {"url": f"http://{region.http}/ui/", "out": os.path.join(SHOTS, state), "wait": wait, "part": part, "limit_ms": int(60000 * SLOW), **how}
        self.node.stdin.write(json.dumps(job).encode() + b"\n")
        self.node.stdin.flush()
        line = self.node.stdout.readline()
        if not line:
            with open(self.log) as f:
                raise AssertionError("nobody looks any more: " + f.read()[-3000:])
        found = json.loads(line)
        assert "failed" not in found, f"{state}: {found['failed'][:4000]}"
        for what in ("errors", "overflow", "violations", "unreachable"):
            assert not found[what], f"{state}: {what}: " + "\n".join(found[what])[:4000]
        return (found["text"], found["charts"]) if "charts" in how else found["text"]

    def close(self):
        self.node.stdin.close()
        try:
            self.node.wait(20 * SLOW)
        except subprocess.TimeoutExpired:
            self.node.kill()
            self.node.wait()


def has(text, *parts):
    for part in parts:
        assert part in text, f"{part!r} is not on the page:\n{text[:6000]}"


def curves(c, cards):
    """What is drawn of each region is what its daemon has measured: every point at its time and its value, no point too many; the lag's highest, in
    seconds, by (origin, region)"""
    highest = {}
    assert sorted(card["region"] for card in cards) == sorted(r.name for r in c), cards
    for card in cards:
        history = json.loads(c.regions[card["region"]].get("/status?page=1")[2])["history"]
        for chart in card["charts"]:
            lag = chart["title"] == "Lag"
            columns = {"from " + o: v for o, v in history["lag_seconds"].items()} if lag else {
                **{"applied from " + o: v for o, v in history["applied_per_second"].items()}, "published": history["published_per_second"]}
            points = {}
            for key in chart["keys"]:
                name = next(n for n in sorted(columns, key=len, reverse=True) if key["name"].startswith(n + " "))
                points[name] = [p for line in chart["lines"] if line["line"] == key["line"] for p in line["points"]]
            assert len(points) == len(chart["keys"]) >= 1 and sum(map(len, points.values())) == sum(len(line["points"]) for line in chart["lines"]), chart
            (left, right, zero), (_, _, middle), (_, _, top) = chart["grid"]
            now = card["now"]
            known = {n: [(t, v) for t, v in zip(history["at"], columns[n]) if v is not None] for n in points}
            # the page asks every five seconds, and the test asked later: there may be samples that it had not seen
            drawn = {n: known[n][:len(p)] for n, p in points.items()}
            late = 15 * SLOW
            assert all(len([t for t, _ in known[n] if t < now - late]) <= len(p) <= len(known[n]) for n, p in points.items()), (card["region"], known, points)
            most = max([2 if lag else 1] + [v for pairs in drawn.values() for _, v in pairs])
            assert abs(middle - (zero + top) / 2) < 0.1, chart["grid"]
            for n, pairs in drawn.items():
                for (t, v), (x, y) in zip(pairs, points[n]):
                    value, at = (zero - y) / (zero - top) * most, now - (right - x) / (right - left) * 900
                    assert abs(value - v) <= 0.01 * most and -2 < at - t < late, (card["region"], chart["title"], n, (t, v), (at, value))
                gaps = {round((x - pairs_x) / (right - left) * 900 - (t - pairs_t), 1) for (t, _), (x, _), (pairs_t, _), (pairs_x, _)
                        in zip(pairs[1:], points[n][1:], pairs, points[n])}
                assert all(abs(g) < 0.6 for g in gaps), (n, gaps)
                if lag:
                    highest[(n.removeprefix("from "), card["region"])] = max((v for _, v in pairs), default=0)
    return highest


@test(http=True, tables=T, regions=("us", "eu", "ap"), followers=("ap",), limit=600)
def states(c):
    """normal, conflicts, lagging, stopped, out of the browser's reach: each is to be seen with what, since when, why and what to do; at 360 px and at 4K, light and dark,
    by keyboard; no console error, nothing serious for axe-core"""
    eyes = Eyes(c)
    try:
        see(c, eyes.look)
    finally:
        eyes.close()


def see(c, look):
    for r in c:
        r.listening()
        until(lambda: r.get("/readyz?max_lag=5s")[0] == 200, f"{r.name} is ready", 60)
    assert c.us.get("/")[1]["Location"] == "ui/" and c.us.get("/ui")[1]["Location"] == "ui/"
    c.us.app("INSERT INTO stock SELECT i, 'item ' || i, i * 1.5, '<b>not bold</b> & \"quoted\"' FROM generate_series(1, 200) i")
    c.eu.app("INSERT INTO orders SELECT i, 'o' FROM generate_series(1, 50) i")
    c.barrier()
    until(lambda: not c.status()["problems"], "nothing is wrong", 30)
    until(lambda: len([1 for x in json.loads(c.ap.get("/status?page=1")[2])["history"]["at"]]) > 1, "some history", 30)
    text, cards = look(c.us, "normal", "all moves", charts=3)
    assert set(curves(c, cards)) == {("us", "eu"), ("us", "ap"), ("eu", "us"), ("eu", "ap")}
    has(text, c.name, "us → eu", "eu → ap", "✓ running", "public.stock", "No version has lost in us.", "pangea_" + c.name + "_us", "follower")
    assert "ap → us" not in text, "a follower sends nothing"

    # conflicts: concurrent writes while nobody applies
    for r in c.leaders:
        assert r.daemon.stop() == 0
    for r in c.leaders:
        r.run("capture", args=["--http", "off"])
    publish(c.us, "UPDATE stock SET qty = 12345678901234567890.125, note = 'counted in us' WHERE id = 7")
    publish(c.eu, "UPDATE stock SET qty = 9, note = 'counted in eu' WHERE id = 7")
    publish(c.us, "UPDATE stock SET item = '<img src=x onerror=alert(1)>' WHERE id = 8")
    publish(c.eu, "DELETE FROM stock WHERE id = 8")
    for r in c.leaders:
        r.kill()
        r.run()
        r.listening()
    c.barrier()
    c.converged("SELECT * FROM stock ORDER BY id")
    loser = until(lambda: next((r for r in c if r.value("SELECT count(*) FROM pangea.conflict WHERE image->>'note' = 'counted in us'") > 0), None), "a loser is recorded", 30)
    until(lambda: not c.status()["problems"] or (False, c.status()["problems"]), "nothing is wrong", 30)
    text = look(loser, "conflicts", "counted in us", "#conflicts")
    has(text, "update origin differs", "counted in eu", "12345678901234567890.125", "last write wins", "won: eu", "pangea conflicts resolve")

    # lagging: somebody in eu holds a lock that apply needs
    def late():
        return json.loads(c.eu.get("/status?page=1")[2])["history"]["lag_seconds"]["us"][-1] or 0
    holder = c.eu.connect("postgres")
    holder.autocommit = False
    holder.cursor().execute("LOCK TABLE stock IN ACCESS EXCLUSIVE MODE")
    c.us.app("UPDATE stock SET qty = qty + 1 WHERE id < 50")
    try:
        until(lambda: c.eu.origin("us")["state"] == "waiting" and late() > 5 or (False, c.eu.origin("us")), "eu lags behind us, in its history too", 60)
        text, cards = look(c.us, "lagging", "us → eu\t‖ waiting", charts=3)  # the legend has the words alone
        has(text, "us → eu", "attention", "lock")
        highest = curves(c, cards)
        assert highest[("us", "eu")] > 5 and highest[("us", "eu")] > highest[("us", "ap")], highest
    finally:
        holder.rollback()
        holder.close()
    until(lambda: not c.status()["problems"] or (False, c.status()["problems"]), "nothing is wrong", 60)

    # stopped: eu's slot is gone
    assert c.eu.daemon.stop() == 0
    c.eu.sql("SELECT pg_drop_replication_slot(%s)", c.eu.slot)
    c.eu.run()
    c.eu.listening()
    until(lambda: c.eu.status("capture").get("error") == "slot_missing" or (False, c.eu.status("capture")), "capture of eu has stopped by name", 30)
    text = look(c.us, "stopped", "slot_missing")
    has(text, "✕ stopped", "slot_missing", "What needs attention", "to mend it", "eu: capture: stopped", "nothing leaves eu")

    # ap's daemon runs, and no browser reaches it
    assert c.ap.daemon.stop() == 0
    c.ap.run(args=["--http", "off"])
    until(lambda: c.ap.status("apply").get("state") == "running" or (False, c.ap.status("apply")), "ap runs", 30)
    text = look(c.us, "unreached", "This browser does not reach the daemon of ap", brief=True, refused=c.ap.http)
    has(text, f"at http://{c.ap.http} since ", "Failed to fetch", "What its database says is shown", "regions.ap.http.url", "eu → ap")
