"""pause and resume: what is paused does nothing, wherever and whenever it starts, says so, and loses nothing."""
import json
import os
import random
import threading

from harness import shape
from harness.case import test
from harness.load import Load
from harness.wait import until

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text)"
NAMES = ("us", "eu", "ap")


def hold(c, verb, *args, check=0):
    """pangea pause, pangea resume: what is paused afterwards, {(agent, origin): entry}."""
    _, out, err = c.command(verb, *args, "--json", check=check)
    value = json.loads(out)
    shape.check("pause", value)
    return {(p["agent"], p["origin"]): p for p in value["paused"]}, err


def ids(region):
    return [row[0] for row in region.sql("SELECT id FROM t ORDER BY id")]


def stays(region, rows, other):
    """These rows, and no others, while the heartbeats of `other` show that time passes."""
    seen = region.value("SELECT now()")
    until(lambda: other.value("SELECT at > %s::timestamptz + interval '2 s' FROM pangea.status WHERE agent = 'apply'", seen), "two seconds of heartbeats", 20)
    assert ids(region) == rows, ids(region)


@test(tables=T, limit=120)
def region_stands_still(c):
    """a paused region publishes nothing and applies nothing, also after its daemon was killed or started anew; then all of it comes, once"""
    c.us.app("INSERT INTO t VALUES (1, 'before')")
    c.barrier()
    paused, err = hold(c, "pause", "--region", "us", "--reason", "upgrade; of the disk")
    assert sorted(paused, key=str) == [("apply", None), ("capture", None)] and all(p["obeyed"] for p in paused.values()), paused
    assert "keeps all WAL" in err and c.us.slot in err and "pangea resume --region us" in err, err
    c.us.app("INSERT INTO t VALUES (2, 'in us')")
    c.eu.app("INSERT INTO t VALUES (3, 'in eu')")
    stays(c.eu, [1, 3], c.eu)
    for end in ("kill", "stop"):
        getattr(c.us.daemon, end)()
        c.us.run()
        until(lambda: c.us.status("capture").get("pid") == c.us.daemon.pid == c.us.status("apply").get("pid") or (False, c.us.status("apply")),
              "the new daemon speaks", 20)
        until(lambda: c.us.status("capture")["state"] == c.us.status("apply")["state"] == "paused" or (False, c.us.status("capture")["state"]),
              "it is paused", 20)
        stays(c.eu, [1, 3], c.eu)
        assert ids(c.us) == [1, 2]
    problems = [p for p in c.status()["problems"] if p.startswith("us:")]
    assert len(problems) == 2 and all("upgrade; of the disk" in p and p.endswith("pangea resume --region us") for p in problems), problems
    _, out, _ = c.command("doctor", "--region", "us", "--json", check=None)
    slot = [f for f in json.loads(out)["findings"] if f["check"] == "slot"]
    assert slot and "capture is paused" in slot[0]["what"] and slot[0]["todo"] == "pangea resume --region us", slot
    doc = c.us.status("capture")
    assert doc["error"] == "paused" and doc["since"] <= c.us.value("SELECT to_char(now() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS')"), doc
    assert doc["todo"] == "pangea resume --region us", doc
    again, _ = hold(c, "pause", "--region", "us")
    assert again[("apply", None)]["since"] == paused[("apply", None)]["since"], "since when it is: not moved by a second pause"
    assert again[("apply", None)]["reason"] == "upgrade; of the disk", again
    assert hold(c, "resume", "--region", "us")[0] == {}
    c.expect("SELECT id FROM t ORDER BY id", [(1,), (2,), (3,)])
    c.barrier()
    assert c.us.value("SELECT count(*) FROM pangea.conflict") == 0
    until(lambda: c.command("status", check=None)[0] == 0 or (False, c.status()["problems"]), "all runs", 20)


@test(tables=T, regions=NAMES, limit=120)
def one_origin_waits(c):
    """one origin paused in one region: the others go on there, what needs it waits, other regions do not notice"""
    c.barrier()
    paused, _ = hold(c, "pause", "--region", "ap", "--origin", "us")
    assert list(paused) == [("apply", "us")] and paused[("apply", "us")]["obeyed"], paused
    c.us.app("INSERT INTO t VALUES (1, 'us')")
    c.expect("SELECT id FROM t", [(1,)], regions=["us", "eu"])
    c.ap.app("INSERT INTO t VALUES (5, 'ap')")
    c.expect("SELECT id FROM t ORDER BY id", [(1,), (5,)], regions=["us", "eu"])
    _, out, _ = c.command("lag", "--json", check=3)
    pair = [p for p in json.loads(out)["pairs"] if p["origin"] == "us" and p["region"] == "ap"][0]
    assert pair["state"] == "paused" and pair["error"] == "paused", pair
    c.eu.app("INSERT INTO t VALUES (2, 'eu, has seen 1')")
    until(lambda: "us" in (c.ap.origin("eu").get("waits_for") or "") or (False, c.ap.origin("eu")), "eu's change waits for us's", 20)
    assert ids(c.ap) == [5]
    c.ap.daemon.kill()
    c.ap.run()
    until(lambda: c.ap.status("apply").get("pid") == c.ap.daemon.pid and c.ap.origin("us").get("state") == "paused" or (False, c.ap.origin("us")),
          "the new daemon is paused", 20)
    assert ids(c.ap) == [5]
    assert hold(c, "resume", "--region", "ap", "--origin", "us")[0] == {}
    c.expect("SELECT id FROM t ORDER BY id", [(1,), (2,), (5,)])


@test(tables=T, run=False, limit=90)
def paused_before_it_runs(c):
    """paused while no daemon runs: it is kept, said, and obeyed from the first moment; only one agent, and resumed alone"""
    paused, _ = hold(c, "pause", "--region", "us", "--agent", "capture")
    assert list(paused) == [("capture", None)] and paused[("capture", None)]["obeyed"] is None, paused
    _, out, _ = c.command("pause", "--region", "us")
    assert "no daemon runs: it will obey when it starts" in out, out
    hold(c, "resume", "--region", "us", "--agent", "apply")
    c.us.app("INSERT INTO t VALUES (1, 'us')")
    c.run()
    until(lambda: c.us.status("capture").get("state") == "paused" or (False, c.us.status("capture")), "capture is paused", 20)
    c.eu.app("INSERT INTO t VALUES (2, 'eu')")
    c.expect("SELECT id FROM t ORDER BY id", [(1,), (2,)], regions=["us"])
    assert ids(c.eu) == [2]
    assert c.us.value("SELECT epoch FROM pangea.capture") == 0, "nothing was taken"
    assert hold(c, "resume", "--region", "us")[0] == {}
    c.expect("SELECT id FROM t ORDER BY id", [(1,), (2,)])


@test(tables=T, run=False, limit=90)
def paused_while_it_starts(c):
    """capture has just seen that it is not paused and has published nothing: pause knows that it lives, and waits until it obeys"""
    c.eu.run()
    mark = os.path.join(c.folder, "starts")
    us = c.us.run("capture", failpoint=f"capture.epoch=pause@1:{mark}")
    until(lambda: os.path.exists(mark), "it starts", 30)
    assert c.us.status("capture")["pid"] == us.pid, c.us.status("capture")
    answer = []
    pausing = threading.Thread(target=lambda: answer.append(hold(c, "pause", "--region", "us", "--agent", "capture")))
    pausing.start()
    until(lambda: c.us.value("SELECT count(*) FROM pangea.pause") == 1, "the pause is written", 20)
    us.thaw()
    pausing.join()
    assert [p["obeyed"] for p in answer[0][0].values()] == [True], answer
    c.us.app("INSERT INTO t VALUES (1, 'us')")
    stays(c.eu, [], c.eu)
    hold(c, "resume", "--region", "us")
    c.expect("SELECT id FROM t", [(1,)])


@test(tables=T, own_postgres="each", limit=120)
def servers_restart_meanwhile(c):
    """a fast shutdown does not wait for a paused capture, and it is still paused afterwards"""
    hold(c, "pause", "--region", "us")
    c.us.app("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 2000) i")
    c.us.postgres.stop()
    c.us.postgres.start()
    at = c.us.value("SELECT now()")
    # its first words may still be of the server that was away
    until(lambda: c.us.value("SELECT at > %s AND doc->>'state' = 'paused' FROM pangea.status WHERE agent = 'capture'", at) or (False, c.us.status("capture")),
          "capture speaks again, of its pause", 30)
    assert c.eu.value("SELECT count(*) FROM t") == 0
    hold(c, "resume", "--region", "us")
    c.barrier()
    assert c.eu.value("SELECT count(*) FROM t") == 2000


@test(tables=Load.TABLES, limit=200)
def again_and_again_under_load(c):
    """regions, agents and origins are paused and resumed at random under load, a daemon killed now and then: nothing is lost or doubled"""
    load = Load(c, seed=7, clients=1).start()
    rng = random.Random(7)
    for turn in range(12):
        region = rng.choice(["us", "eu"])
        other = "eu" if region == "us" else "us"
        what = rng.choice([(), ("--agent", "capture"), ("--agent", "apply"), ("--origin", other)])
        hold(c, "pause", "--region", region, *what)
        want = load.done + rng.randrange(5, 60)
        until(lambda: load.done >= want, "the writers go on", 30)
        if turn % 4 == 3:
            c.regions[region].daemon.kill()
            c.regions[region].run()
        assert hold(c, "resume", "--region", region)[0] == {}
        want = load.done + rng.randrange(5, 60)
        until(lambda: load.done >= want, "the writers go on", 30)
    load.stop()
    c.barrier(60)
    load.check(c)
    for table in ("ledger", "counter", "hot"):
        c.converged(f"SELECT * FROM {table} ORDER BY id")


@test(tables=T, regions=("us", "ap"), followers=("ap",))
def what_is_refused(c):
    """--dry-run changes nothing; what makes no sense is refused with the reason; an older schema is said, and mended by init"""
    _, out, _ = c.command("pause", "--region", "us", "--dry-run", "--reason", "it's late")
    assert "INSERT INTO pangea.pause" in out and "'it''s late'" in out and c.us.value("SELECT count(*) FROM pangea.pause") == 0, out
    for args, word in ((["--region", "us", "--origin", "us"], "another leader"), (["--region", "us", "--origin", "ap"], "another leader"),
                       (["--region", "ap", "--agent", "capture"], "no capture"), (["--region", "us", "--origin", "mars"], "no region 'mars'"), ([], "which region")):
        _, _, err = c.command("pause", *args, check=2)
        assert word in err, (args, err)
    c.us.sql("DROP TABLE pangea.pause; UPDATE pangea.meta SET schema_version = 3")
    _, _, err = c.command("pause", "--region", "us", check=2)
    assert "pangea init --region us" in err, err
    c.us.daemon.kill()
    c.us.run()
    assert c.us.daemon.wait() == 2 and "pangea init --region us" in c.us.daemon.text()
    c.us.app("INSERT INTO t VALUES (1, 'with an older schema')")
    c.init("us")
    c.us.run()
    c.expect("SELECT id FROM t", [(1,)])
    paused, _ = hold(c, "pause", "--region", "us")
    assert all(p["obeyed"] for p in paused.values()) and len(paused) == 2, paused
    hold(c, "resume", "--region", "us")
