"""Commands: exit codes, JSON, what is said before init and without a daemon, signals, secrets, rights."""
import json
import os
import signal

import yaml

from harness.case import test
from harness.wait import until

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text)"


@test(init=False)
def run_before_init(c):
    """`run` before `init` says so and ends"""
    d = c.us.run()
    assert d.wait(20) == 2 or d.process.returncode in (1, 4), d.process.returncode
    assert "pangea init" in d.text(), d.text()


@test(tables=T, run=False)
def run_on_another_schema(c):
    """a program on the schema of another version: it must say so at once, and the newer `init` mends the older schema"""
    for change, word in (("+ 1", "use the newer program"), ("- 1", "pangea init --region us")):
        c.us.sql(f"UPDATE pangea.meta SET schema_version = schema_version {change}")
        d = c.us.run()
        assert d.wait(20) == 2 and "schema_version" in d.text() and word in d.text(), d.text()
        if change == "+ 1":
            c.us.sql("UPDATE pangea.meta SET schema_version = schema_version - 1")
    c.init("us")
    c.us.run().wait_log("capture.started")


@test(tables=T)
def init_again(c):
    """init is idempotent, also beside running daemons"""
    c.us.app("INSERT INTO t VALUES (1, 'a')")
    c.init()
    c.init("us")
    c.us.app("INSERT INTO t VALUES (2, 'b')")
    c.expect("SELECT id FROM t ORDER BY id", [(1,), (2,)])


@test(tables=T, run=False)
def json_without_daemons(c):
    """validate, verify and status print one JSON value with --json and say that no daemon runs"""
    for args, codes in ((["validate", c.topology_file, "--json"], (0,)), (["status", "--json"], (0, 3)), (["verify", "--json", "--timeout", "3"], (0, 7, 3))):
        code, out, err = c.command(*args, check=None)
        assert code in codes, (args, code, out, err)
        json.loads(out)
    _, out, err = c.command("verify", "--timeout", "3", check=None)
    assert "daemon" in (out + err).lower(), out + err


@test(tables=T)
def verify_names_what_differs(c):
    """verify exits 6 and names the table and the key; equal multisets of values in other rows must not cancel out"""
    c.us.app("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    c.barrier()
    c.verify()
    c.eu.sql("SET session_replication_role = replica; ALTER TABLE t DISABLE TRIGGER ALL; UPDATE t SET v = CASE v WHEN 'a' THEN 'b' ELSE 'a' END; SET session_replication_role = origin")
    # that was a change of eu's own: it travels, so take the daemons away and change once more, behind their backs
    c.barrier()
    for r in c:
        r.kill()
    c.eu.sql("UPDATE t SET v = v || '?' WHERE id = 2")
    until(lambda: "no daemon" in c.command("status", check=None)[1], "status sees that nobody is there", 20)
    code, out, _ = c.command("verify", "--timeout", "5", check=None)
    assert code == 6, (code, out)
    assert "public.t" in out and "2" in out, out


@test()
def exit_codes(c):
    """2 for usage and configuration"""
    bad = os.path.join(c.folder, "bad.yaml")
    with open(bad, "w") as f:
        f.write("version: 1\nclustr: x\n")
    for args, want in ((["nonsense"], 2), (["run", "--region", "mars"], 2), (["validate", bad], 2), (["validate", "/nowhere"], 2), (["help"], 0), (["version"], 0),
                       (["run", "--no-such-option"], 2), (["help", "init"], 0)):
        c.command(*args, check=want)
    _, out, err = c.command("validate", bad, check=2)
    assert "bad.yaml:2:1" in out + err and "cluster" in out + err, out + err


@test(tables=T, limit=90)
def reload(c):
    """SIGHUP: a valid topology is taken, an invalid one refused and said; neither disturbs what flows"""
    good = dict(c.topology)
    c.barrier()
    c.topology["routes"] = [{"tables": ["public.*"], "from": ["mars"]}]
    c.write_topology()
    c.us.daemon.signal(signal.SIGHUP)
    c.us.daemon.wait_log("mars")
    c.us.app("INSERT INTO t VALUES (1, 'a')")
    c.expect("SELECT id FROM t", [(1,)])
    c.topology = dict(good, group={"max_rows": 10})
    c.write_topology()
    for i in range(20):
        for r in c:
            r.daemon.signal(signal.SIGHUP)
        c.us.app("INSERT INTO t VALUES (%s, 'b')", 10 + i)
        c.barrier()
    c.converged("SELECT * FROM t ORDER BY id")


@test(tables=T)
def terminate_twice(c):
    """the second SIGTERM leaves at once, whatever hangs"""
    c.us.daemon.freeze()
    c.us.daemon.signal(signal.SIGTERM)
    c.us.daemon.signal(signal.SIGTERM)
    c.us.daemon.thaw()
    c.us.daemon.wait(10)


@test(tables=T)
def status_and_rights(c):
    """running is said only on proof; every session is named pangea..; the run-time role is no superuser"""
    for r in c:
        other = "eu" if r.name == "us" else "us"
        until(lambda: r.status("capture").get("state") == "running" or (False, r.status("capture")), f"{r.name} capture runs", 20)
        until(lambda: r.origin(other).get("state") == "running" or (False, r.origin(other)), f"{r.name} applies {other}", 20)
    code, out, err = c.command("status", check=None)
    assert code == 0, (code, out, err)
    users = c.us.sql("SELECT DISTINCT usename, application_name LIKE 'pangea%' FROM pg_stat_activity WHERE datname LIKE %s AND application_name <> 'test' AND backend_type IN ('client backend', 'walsender')"
                     .replace("'pangea%'", "'pangea%%'"), c.name + "%")
    assert users == [("pangea", True)], users
    assert c.us.value("SELECT rolsuper FROM pg_roles WHERE rolname = 'pangea'") is False
    c.eu.kill()
    code, out, _ = until(lambda: (lambda got: got if got[0] == 3 else (False, got[0]))(c.command("status", check=None)), "status sees that eu is gone", 30)
    assert "eu" in out


@test(tables=T)
def deinit(c):
    """deinit leaves nothing behind but the tables"""
    c.us.app("INSERT INTO t VALUES (1, 'a')")
    c.barrier()
    for r in c:
        assert r.daemon.stop() == 0
    c.command("deinit", "--region", "us", "--yes")
    left = c.us.value("SELECT (SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s) + (SELECT count(*) FROM pg_publication) "
                      "+ (SELECT count(*) FROM pg_namespace WHERE nspname = 'pangea') + (SELECT count(*) FROM pg_replication_origin WHERE roname LIKE %s)",
                      c.us.slot, f"pangea\\_{c.name}\\_us\\_%")
    assert left == 0
    assert c.us.sql("SELECT * FROM t") == [(1, "a")]


@test(tables=T, run=False)
def dry_run(c):
    """init --dry-run prints what it would do and does nothing"""
    c.tables("CREATE TABLE public.later (id int PRIMARY KEY, v text)")
    before = c.us.sql("SELECT schemaname, tablename FROM pg_publication_tables ORDER BY 2")
    _, out, _ = c.command("init", "--region", "us", "--dry-run")
    assert "public" in out and "later" in out, out
    assert c.us.sql("SELECT schemaname, tablename FROM pg_publication_tables ORDER BY 2") == before


CANARY = "c4n4ry-d0-n0t-print"


@test(tables=T, init=True, run=False)
def secrets(c):
    """a password is in no output, no log, no argument list"""
    path = os.path.join(c.folder, "password")
    with open(path, "w") as f:
        f.write(CANARY + "\n")
    for r in c.topology["regions"].values():
        r["postgres"]["password_file"] = path
        r["kafka"]["properties"] = {"sasl.password": CANARY, "sasl.username": "u", "sasl.mechanism": "PLAIN"}
    c.write_topology()
    _, printed, _ = c.command("validate", c.topology_file, "--print", check=None)
    assert yaml.safe_load(printed)["cluster"] == c.name
    texts = [printed]
    for args in (["validate", c.topology_file, "--json"], ["status"], ["status", "--json"], ["verify", "--timeout", "2"], ["init", "--region", "us", "--dry-run"]):
        texts += c.command(*args, check=None)[1:]
    c.topology["regions"]["eu"]["kafka"]["properties"]["no.such.property"] = CANARY
    c.write_topology()
    texts += c.command("validate", c.topology_file, check=2)[1:]
    del c.topology["regions"]["eu"]["kafka"]["properties"]["no.such.property"]
    c.write_topology()
    c.run()
    until(lambda: c.us.status("capture").get("pid"), "capture speaks", 20)
    for r in c:
        with open(f"/proc/{r.daemon.pid}/cmdline") as f:
            texts.append(f.read())
        r.daemon.stop()
        texts.append(r.daemon.text())
        texts.append(str(r.sql("SELECT doc FROM pangea.status")))
        texts.append(str(r.sql("SELECT query, application_name FROM pg_stat_activity")))
    for text in texts:
        assert CANARY not in text, text[:2000]
