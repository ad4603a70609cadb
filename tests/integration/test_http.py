"""HTTP: health, readiness, metrics, status, conflicts; who may ask; what is never said."""
import concurrent.futures
import json
import os
import re
import select
import socket
import subprocess
import time

from harness.apart import publish
from harness.case import test
from harness.servers import ROOT
from harness.wait import SLOW, until

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text)"
PROMTOOL = os.path.join(ROOT, ".cache", "prometheus", "usr", "bin", "promtool")


def shape(value):
    """A JSON value with types instead of numbers and texts."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shape(v) for v in value]
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def answer(region, path, code=200, **kw):
    got = region.get(path, **kw)
    assert got[0] == code, (path, got[0], got[2][:2000])
    return json.loads(got[2]) if "json" in got[1]["Content-Type"] else got[2]


def ready(region, query=""):
    code, _, body = region.get("/readyz" + query)
    return code == 200 or (False, body)


@test(http=True, tables=T)
def paths(c):
    """every path answers what it should; /status is what `pangea status --json` prints"""
    for r in c:
        r.listening()
        until(lambda: ready(r), f"{r.name} is ready", 30)
    assert answer(c.us, "/healthz")["ok"] is True
    both = [(shape(c.status()), shape(answer(c.us, "/status")))]
    until(lambda: (lambda a, b: a == b or (False, (a, b)))(shape(c.status()), shape(answer(c.us, "/status"))), "the same value from command and HTTP", 10)
    assert {r["region"] for r in answer(c.us, "/status")["regions"]} == {"us", "eu"}, both
    page = answer(c.us, "/status?page=1")
    assert page["here"] == "us" and page["topology"]["cluster"] == c.name and page["history"]["step_seconds"] == 5, page
    _, printed, _ = c.command("validate", c.topology_file, "--print")
    assert answer(c.us, "/topology") == printed
    assert answer(c.us, "/conflicts") == {"region": "us", "rows_shown": True, "conflicts": []}
    assert "/metrics" in answer(c.us, "/nowhere", 404)["error"]
    assert answer(c.us, "/readyz?max_lag=1x", 400) and answer(c.us, "/conflicts?limit=0", 400) and answer(c.us, "/conflicts?region=mars", 404)
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        code, headers, _ = c.us.get("/metrics", method)
        assert code == 405 and headers["Allow"] == "GET, HEAD", (method, code, headers)
    code, headers, body = c.us.get("/metrics", "HEAD")
    assert code == 200 and body == "" and int(headers["Content-Length"]) > 1000, (code, headers)


@test(http=True, tables=T)
def who_may_ask(c):
    """a foreign page, a foreign name for loopback, a huge head, too many connections"""
    c.us.listening()
    host = {"Host": "evil.example"}
    assert c.us.get("/status", headers=host)[0] == 403
    for good in ("localhost:1", "127.0.0.1", "[::1]:8300"):
        assert c.us.get("/healthz", headers={"Host": good})[0] == 200, good
    for origin, allowed in ((f"http://{c.eu.http}", True), (f"http://{c.us.http}", True), ("http://evil.example", False), (f"https://{c.eu.http}", False)):
        for path in ("/status", "/metrics", "/conflicts"):
            headers = c.us.get(path, headers={"Origin": origin})[1]
            assert headers.get("Access-Control-Allow-Origin") == (origin if allowed else None), (path, origin, headers)
    assert "Access-Control-Allow-Origin" not in c.us.get("/topology", headers={"Origin": f"http://{c.eu.http}"})[1]
    address = (c.us.http.split(":")[0], int(c.us.http.split(":")[1]))
    with socket.create_connection(address, 10) as s:
        s.settimeout(10)
        try:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"y" * 100000 + b"\r\n\r\n")
            said = s.recv(100)
        except OSError:
            said = b""
        assert b" 200 " not in said, said
    held = []
    try:
        for _ in range(100):  # more than it takes: the rest is refused or waits, the daemon goes on
            held.append(socket.create_connection(address, 10))
        c.us.app("INSERT INTO t VALUES (1, 'a')")
        c.expect("SELECT id FROM t", [(1,)])
    finally:
        for s in held:
            s.close()
    c.us.listening()


@test(http=True, tables=T, limit=90)
def who_says_nothing(c):
    """connections that say nothing, or half a head: no more than 64 are served, and none for longer than 10 s; replication goes on"""
    c.us.listening()
    address = (c.us.http.split(":")[0], int(c.us.http.split(":")[1]))

    def asked(s):
        """The answer's first line; "" when it ended the connection, None when it said nothing within the time of the socket."""
        try:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return s.recv(100).split(b"\r\n")[0].decode()
        except socket.timeout:
            return None
        except OSError:
            return ""

    silent = [socket.create_connection(address, 10) for _ in range(64)]
    try:
        for s in silent[::2]:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost:")
        begun = time.monotonic()
        with socket.create_connection(address, 10) as one_more:
            one_more.settimeout(2)
            assert not asked(one_more), "one more than 64 was served"
        c.us.app("INSERT INTO t VALUES (1, 'a')")
        c.expect("SELECT id FROM t", [(1,)])
        for s in silent:
            s.settimeout(30 * SLOW)
            while s.recv(1000):  # an answer that says why, then the end
                pass
        took = time.monotonic() - begun
        assert 5 < took < 20 * SLOW, f"they were let go after {took:.1f} s"
    finally:
        for s in silent:
            s.close()
    c.us.listening()
    with socket.create_connection(address, 10) as s:
        assert asked(s).endswith("200 OK")


@test(http=True, tables=T, limit=120)
def who_never_ends(c):
    """64 clients that send a byte twice a second: they are gone after 15 s, and a good client that tries again is answered then"""
    c.us.listening()
    address = (c.us.http.split(":")[0], int(c.us.http.split(":")[1]))
    heads = (b"GET /healthz HTTP/1.1\r\nX-Slow: ", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
    slow = [socket.create_connection(address, 10) for _ in range(64)]
    begun, answered = time.monotonic(), None
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        try:
            for i, s in enumerate(slow):
                s.sendall(heads[i % 2])
            good = pool.submit(c.us.listening, 40)  # whoever comes when all places are taken is sent away
            left = set(slow)

            def all_gone():
                nonlocal answered
                for s in list(left):
                    try:
                        s.sendall(b"x")
                        if select.select([s], [], [], 0)[0] and not s.recv(1000):
                            left.discard(s)
                    except OSError:
                        left.discard(s)
                if good.done() and answered is None:
                    answered = time.monotonic() - begun
                return (answered is not None and not left) or (False, f"{len(left)} are left, the good one: {answered}")
            until(all_gone, "the slow ones are gone and the good one has its answer", 40, every=0.5)
            good.result()
            assert 10 < answered < 20 * SLOW, answered
        finally:
            for s in slow:
                s.close()
    assert c.us.daemon.events("http.too_slow"), "it is not in the log"


def labels(text):
    return set(re.findall(r"^\| `(pangea_\w+)` \|", text, re.M))


@test(http=True, tables=T, limit=90)
def metrics(c):
    """promtool accepts /metrics; every metric of docs/metrics.md is shown once there was something of it; the numbers are right"""
    for r in c:
        r.listening()
        until(lambda: ready(r), f"{r.name} is ready", 30)
    with open(os.path.join(ROOT, "docs", "metrics.md")) as f:
        documented = labels(f.read())
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=c.us.get("/metrics")[2].encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0 and not done.stdout.strip(), done.stdout.decode()
    # no mirror here, no bound on the slot, nothing discarded yet
    later = {"pangea_mirror_state", "pangea_mirror_source_offset", "pangea_slot_room_bytes", "pangea_slot_full_seconds", "pangea_conflicts_total",
             "pangea_agent_sessions_ended_total"}

    c.eu.app("INSERT INTO t VALUES (1000, 'x')")  # so that us has applied something

    def shown():
        names = {re.sub("_(bucket|sum|count)$", "", n) if "_to_apply_" in n else n for n in c.us.metrics()}
        assert names <= documented, names - documented
        return names >= documented - later or (False, documented - later - names)
    until(shown, "every metric is shown", 20)

    before = {op: c.eu.metric("pangea_apply_rows_total", origin="us", operation=op) for op in ("insert", "update", "delete", "truncate")}
    groups = c.eu.metric("pangea_apply_groups_total", origin="us")
    for text in ("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 10) i", "UPDATE t SET v = 'y' WHERE id < 4", "DELETE FROM t WHERE id < 3", "TRUNCATE t"):
        publish(c.us, text)

    def counted():
        got = {op: c.eu.metric("pangea_apply_rows_total", origin="us", operation=op) - n for op, n in before.items()}
        return got == {"insert": 10, "update": 3, "delete": 2, "truncate": 1} or (False, got)
    until(counted, "rows by operation", 20)
    m = c.eu.metrics()
    key = next(k for k in m["pangea_apply_transactions_total"] if ("origin", "us") in k)
    assert m["pangea_apply_groups_total"][key] - groups >= 1
    assert m["pangea_commit_to_apply_seconds_count"][key] == m["pangea_apply_transactions_total"][key], m
    assert 0 <= m["pangea_lag_seconds"][key] < 20 and m["pangea_lag_records"][key] < 50
    assert c.us.metric("pangea_slot_active", slot=c.us.slot) == 1 and c.us.metric("pangea_slot_retained_bytes") > 0
    assert c.us.metric("pangea_agent_state", agent="capture", state="running") == 1
    assert c.us.metric("pangea_capture_lag_seconds") < 20 and abs(c.us.metric("pangea_clock_ahead_seconds", origin="eu")) < 20


@test(http=True, tables=T, run=False, limit=90)
def conflicts(c):
    """a loser is counted once, shown beside what stands, and the statement that is shown brings it back everywhere"""
    for r in c:
        r.run()
    publish(c.us, "INSERT INTO t VALUES (1, 'old')")
    c.expect("SELECT v FROM t", [("old",)])
    for r in c:
        r.kill()
    for r in c:
        r.run("capture", args=["--http", "off"])
    publish(c.us, "UPDATE t SET v = 'us, it''s'")
    publish(c.eu, "UPDATE t SET v = 'eu'")
    for r in c:
        r.run("apply")
    c.expect("SELECT v FROM t", [("eu",)])
    r = next(r for r in c if r.value("SELECT count(*) FROM pangea.conflict") > 0)
    r.listening()
    until(lambda: r.metric("pangea_conflicts_total", table="public.t", kind="update_origin_differs", rule="last_write_wins") == 1 or
          (False, r.metrics().get("pangea_conflicts_total")), "the conflict is counted", 20)
    [one] = answer(r, "/conflicts")["conflicts"]
    assert one["table"] == "public.t" and one["key"] == {"id": "1"} and one["region"] == "us" and one["kind"] == "update_origin_differs", one
    assert one["loser"] == {"id": "1", "v": "us, it's"} and one["stands"] == {"id": "1", "v": "eu"} and one["winner"]["region"] == "eu", one
    assert answer(c.us, f"/conflicts?region={r.name}&table=public.t&limit=1")["conflicts"] == [one]
    assert answer(r, "/conflicts?table=public.u")["conflicts"] == []
    c.eu.app(one["undo"])
    c.expect("SELECT v FROM t", [("us, it's",)])
    _, listed, _ = c.command("conflicts", "list", "--json")
    assert one["id"] in listed, listed
    c.eu.app("UPDATE t SET v = 'later'")
    c.expect("SELECT v FROM t", [("later",)])
    program, *args = one["command"].split()
    c.command(*args)
    c.expect("SELECT v FROM t", [("us, it's",)])


@test(http=True, tables=T, run=False, init=True)
def rows_are_kept_back(c):
    """with http.rows: false /conflicts tells what happened, not what stood in the rows"""
    for r in c.topology["regions"].values():
        r["http"]["rows"] = False
    c.write_topology()
    for r in c:
        r.run("capture", args=["--http", "off"])
    for r in c:
        r.app("INSERT INTO t VALUES (1, %s)", f"secret of {r.name}")
    for r in c:
        r.run("apply")
    until(lambda: sum(r.value("SELECT count(*) FROM pangea.conflict") for r in c) > 0, "a conflict", 20)
    for r in c:
        r.listening()
        text = r.get("/conflicts")[2]
        assert "secret" not in text and '"rows_shown": false' in text, text


@test(http=True, tables=T, own_postgres="first", own_kafka="first", limit=150)
def readiness(c):
    """/readyz names what is away, /healthz stays well, both come back"""
    for r in c:
        r.listening()
        until(lambda: ready(r, "?max_lag=30s"), f"{r.name} is ready", 30)

    def failing(region, check, query=""):
        code, _, body = region.get("/readyz" + query)
        bad = [x for x in json.loads(body)["checks"] if not x["ok"]]
        return (code == 503 and any(x["check"] == check and x["why"] for x in bad)) or (False, body)
    c.us.kafka.freeze()
    try:
        until(lambda: failing(c.us, "kafka"), "us misses its Kafka", 40)
        assert answer(c.us, "/healthz")["ok"] is True
        until(lambda: failing(c.eu, "origin us", "?max_lag=1s"), "eu lags behind us", 20)
        assert ready(c.eu, "?max_lag=1h") is True
    finally:
        c.us.kafka.thaw()
    until(lambda: ready(c.us, "?max_lag=30s"), "us is ready again", 40)
    c.us.postgres.crash()
    try:
        until(lambda: failing(c.us, "postgres"), "us misses its PostgreSQL", 20)
        assert answer(c.us, "/healthz")["ok"] is True
        [us] = [r for r in answer(c.eu, "/status")["regions"] if r["region"] == "us"]
        assert us["reachable"] is False and us["error"], us
    finally:
        c.us.postgres.start()
    until(lambda: ready(c.us, "?max_lag=30s"), "us is ready again", 40)


@test(http=True, tables=T, own_postgres="one", limit=90)
def a_server_that_hangs(c):
    """a PostgreSQL that is frozen holds up neither /status nor the end of the daemon's HTTP"""
    import signal
    for r in c:
        r.listening()
        answer(r, "/status")
    pids = [int(p) for p, in c.us.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'pangea status'")]
    assert pids, "the watch has sessions"
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: "no answer for" in json.dumps(answer(c.us, "/status")), "the silence is told", 20)
        c.us.daemon.stop(15)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@test(http=True, tables=T, run=False)
def listening(c):
    """a port that is taken is no reason not to replicate; it listens when the port is free; SIGHUP moves it"""
    import signal
    host, port = c.us.http.split(":")
    with socket.socket() as taken:
        taken.bind((host, int(port)))
        taken.listen()
        c.run()
        c.us.daemon.wait_log("http.not_listening")
        c.us.app("INSERT INTO t VALUES (1, 'a')")
        c.expect("SELECT id FROM t", [(1,)])
    c.us.listening()
    from harness.cluster import free_port
    old, c.us.http = c.us.http, f"127.0.0.1:{free_port()}"
    c.topology["regions"]["us"]["http"]["listen"] = c.us.http
    c.write_topology()
    c.us.daemon.signal(signal.SIGHUP)
    c.us.listening()
    with socket.socket() as s:
        assert s.connect_ex((old.split(":")[0], int(old.split(":")[1]))) != 0, "the old port is closed"
    assert len(c.us.daemon.events("http.not_listening")) == 1


CANARY = "c4n4ry-d0-n0t-print"


@test(http=True, tables=T, run=False)
def no_secret(c):
    """a password is in no answer"""
    path = os.path.join(c.folder, "password")
    with open(path, "w") as f:
        f.write(CANARY + "\n")
    for r in c.topology["regions"].values():
        r["postgres"]["password_file"] = path
        r["kafka"]["properties"] = {"sasl.password": CANARY, "sasl.username": "u", "sasl.mechanism": "PLAIN"}
    c.write_topology()
    c.run()
    c.us.listening()
    until(lambda: ready(c.us), "ready", 30)
    for p in ("/healthz", "/readyz", "/metrics", "/status", "/status?page=1", "/topology", "/topology?json=1", "/conflicts"):
        code, headers, body = c.us.get(p)
        assert code == 200 and CANARY not in body + str(headers), p
