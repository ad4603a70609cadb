"""Links: logs that are mirrored, and read where somebody else has put them."""
import json
import os
import signal
import subprocess

from harness.case import test
from harness.load import Load
from harness.servers import ROOT
from harness.wait import until

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text)"
THREE = ("us", "eu", "ap")
MIRROR = {"log": "us", "at": "eu", "mirror": True}
VIA = {"log": "us", "at": "ap", "via": "eu"}
LINKS = {"links": [MIRROR, VIA]}


def mirror(region, log="us"):
    """What the region says about its mirror of a log."""
    return next((m for m in region.status("apply").get("mirrors", []) if m["log"] == log), {})


def relink(c, links):
    """Other links from the next start on."""
    c.topology["links"] = links
    c.write_topology()


def offset(region, topic, which):
    out = subprocess.run(["kcat", "-Q", "-b", region.kafka.brokers, "-t", f"{topic}:0:{which}"], stdout=subprocess.PIPE, check=True, text=True).stdout
    return int(out.split()[-1])


def begin(region, topic):
    """The first record that a topic in this region's Kafka still has."""
    return offset(region, topic, -2)


def end(region):
    """One past the last record of its log."""
    return offset(region, region.topic, -1)


def delete_records(region, before):
    """As retention would."""
    path = os.path.join(region.cluster.folder, "delete.json")
    with open(path, "w") as f:
        json.dump({"version": 1, "partitions": [{"topic": region.topic, "partition": 0, "offset": before}]}, f)
    libs = os.path.join(ROOT, ".cache", "kafka", "libs", "*")
    subprocess.run(["java", "-cp", libs, "org.apache.kafka.tools.DeleteRecordsCommand", "--bootstrap-server", region.kafka.brokers,
                    "--offset-json-file", path], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def create_topic(region, topic):
    libs = os.path.join(ROOT, ".cache", "kafka", "libs", "*")
    subprocess.run(["java", "-cp", libs, "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", region.kafka.brokers, "--create",
                    "--topic", topic, "--partitions", "1", "--replication-factor", "1"], check=True, stdout=subprocess.DEVNULL)


def copy_log(region, to, topic, count):
    """The first records of its log into another topic, one by one, as MirrorMaker would."""
    for n in range(count):
        path = os.path.join(region.cluster.folder, "record")
        with open(path, "wb") as f:
            subprocess.run(["kcat", "-C", "-q", "-b", region.kafka.brokers, "-t", region.topic, "-p", "0", "-o", str(n), "-c", "1", "-e", "-f", "%s"],
                           stdout=f, check=True)
        subprocess.run(["kcat", "-P", "-b", to.kafka.brokers, "-t", topic, "-p", "0", "-k", region.name, path], check=True)


def insert(region, first, last):
    region.app("INSERT INTO t SELECT g, 'x' FROM generate_series(%s, %s) g", first, last)


@test(tables=T, regions=THREE, own_kafka="each", topology=LINKS, limit=120)
def a_lost_kafka_is_read_elsewhere(c):
    """what is mirrored must arrive though the log's own Kafka is gone, and the rest when it is back"""
    insert(c.us, 1, 100)
    c.expect("SELECT count(*) FROM t", [(100,)])
    until(lambda: mirror(c.eu).get("state") == "running", "the mirror runs")
    assert not mirror(c.ap), "ap mirrors nothing"
    c.ap.kill()
    insert(c.us, 101, 200)
    c.expect("SELECT count(*) FROM t", [(200,)], regions=["us", "eu"])  # so the mirror has it: eu reads it there
    c.us.kafka.kill()
    c.ap.run()
    c.expect("SELECT count(*) FROM t", [(200,)], regions=["ap"])
    until(lambda: mirror(c.eu).get("state") == "waiting" and mirror(c.eu)["why"], "the mirror says that it waits")
    _, out, _ = c.command("status", check=3)
    assert "eu: mirror of us: waiting" in out, out
    c.us.kafka.start()
    insert(c.us, 201, 300)
    c.expect("SELECT count(*) FROM t", [(300,)], limit=40)
    until(lambda: mirror(c.eu).get("state") == "running", "the mirror runs again")
    c.verify()


@test(tables=Load.TABLES, regions=THREE, own_kafka="each", topology=LINKS, limit=240)
def a_killed_mirror_leaves_no_hole(c):
    """a mirror that dies under load, in the middle of what it copies, must leave nothing out; what it copies twice must have no effect"""
    load = Load(c, seed=9).start()
    for round in range(4):
        seen = load.done
        until(lambda: load.done > seen + 60, "load goes on", 30)
        c.eu.kill()
        d = c.eu.run(failpoint=f"mirror.produced=exit@{40 + 30 * round}")
        d.wait(60)
        c.eu.run()
        if round == 1:
            c.ap.kill()
            c.ap.run()
    load.stop()
    c.barrier(60)
    load.check(c)
    c.converged("SELECT * FROM ledger ORDER BY id", 40)
    c.verify()
    twice = [d for r in (c.eu, c.ap) for d in r.daemons if "seq_gap" in d.text() or "offset_gone" in d.text()]
    assert not twice, twice[0].log


@test(tables=T, regions=THREE, own_kafka="each", limit=180)
def other_links(c):
    """a reader whose log is somewhere else from now on must go on behind the last record that it applied, forth and back"""
    insert(c.us, 1, 50)
    c.expect("SELECT count(*) FROM t", [(50,)])
    ways = [[MIRROR], [MIRROR, VIA, {"log": "eu", "at": "us", "mirror": True}], [VIA, MIRROR], []]
    moved = 0
    for n, links in enumerate(ways):
        for r in c:
            r.kill()
        relink(c, links)
        c.init()
        insert(c.us, 1000 * (n + 1), 1000 * (n + 1) + 49)
        c.run()
        c.expect("SELECT count(*) FROM t", [(50 * (n + 2),)], limit=40)
        c.us.app("UPDATE t SET v = %s WHERE id = 1", str(n))
        c.eu.app("UPDATE t SET v = v || 'eu' WHERE id = 2")
        c.barrier()
        moved += sum(len(d.events("apply.repositioned")) for r in c for d in r.daemons[-1:])
    c.verify()
    assert moved >= 3, moved


@test(tables=T, regions=THREE, own_kafka="each", run=False, limit=120)
def a_copy_of_another_name(c):
    """`topic`: a log that somebody else copies into the reader's Kafka is read there, and by others via that"""
    relink(c, [{"log": "us", "at": "eu", "topic": "from.us"}, {"log": "us", "at": "ap", "via": "eu"}])
    c.run()
    insert(c.us, 1, 50)
    until(lambda: c.eu.origin("us").get("error") == "topic_missing", "eu waits for the topic by name")
    until(lambda: c.us.status("capture").get("rows", 0) >= 50, "us has published it")
    create_topic(c.eu, "from.us")
    copy_log(c.us, c.eu, "from.us", end(c.us))
    c.expect("SELECT count(*) FROM t", [(50,)], limit=40)


@test(tables=T, regions=("us", "eu"), own_kafka="each", topology={"links": [MIRROR]}, limit=120)
def a_reload_changes_links(c):
    """SIGHUP must end a mirror and begin one, without a record lost between the two"""
    insert(c.us, 1, 50)
    c.expect("SELECT count(*) FROM t", [(50,)])
    relink(c, [])
    c.eu.daemons[-1].signal(signal.SIGHUP)
    until(lambda: c.eu.status("apply").get("mirrors") == [], "no mirror any more")
    insert(c.us, 51, 100)
    c.expect("SELECT count(*) FROM t", [(100,)])
    relink(c, [MIRROR])
    c.eu.daemons[-1].signal(signal.SIGHUP)
    insert(c.us, 101, 150)
    c.expect("SELECT count(*) FROM t", [(150,)])
    until(lambda: mirror(c.eu).get("state") == "running", "the mirror runs")
    c.verify()


@test(tables=T, regions=("us", "eu"), own_kafka="each", run=False, limit=120)
def a_mirror_without_init(c):
    """a mirror whose topic is missing must wait by name for init, and then go on; an older schema is mended by init, too"""
    relink(c, [MIRROR])
    c.run()
    until(lambda: "pangea init" in (mirror(c.eu).get("why") or ""), "the mirror asks for init")
    insert(c.us, 1, 50)
    c.eu.kill()
    c.eu.sql("DROP TABLE pangea.mirror; UPDATE pangea.meta SET schema_version = 1")  # as version 1 left it
    c.eu.run()
    assert c.eu.daemon.wait() == 2 and "pangea init --region eu" in c.eu.daemon.text()
    _, _, err = c.command("init", "--region", "eu", "--admin", c.eu.postgres.conninfo(c.eu.database, "postgres"))
    assert "version 1 to" in err, err
    c.eu.run()
    c.expect("SELECT count(*) FROM t", [(50,)], limit=40)
    assert c.eu.value("SELECT schema_version FROM pangea.meta") > 1
    until(lambda: (c.eu.value("SELECT source_offset FROM pangea.mirror WHERE log = 'us'") or -1) > 0, "the mirror's place is kept")


@test(tables=T, regions=("us", "eu"), own_kafka="one", run=False, limit=60)
def one_kafka_under_two_names(c):
    """a mirror into the cluster that it reads from would copy its own copies for ever: it must stop by name"""
    c.topology["regions"]["eu"]["kafka"]["brokers"] = [c.eu.kafka.brokers.replace("127.0.0.1", "localhost")]
    relink(c, [MIRROR])
    c.run()
    until(lambda: mirror(c.eu).get("error") == "mirror_of_itself", "the mirror stops")
    assert mirror(c.eu)["state"] == "stopped"
    insert(c.us, 1, 5)
    c.expect("SELECT count(*) FROM t", [(5,)])


def first_seq(c, region, topic):
    """The sequence number of the first record that has one."""
    out = subprocess.run(["kcat", "-C", "-q", "-b", region.kafka.brokers, "-t", topic, "-p", "0", "-o", "beginning", "-c", "20", "-e", "-f", "%R%s"],
                         stdout=subprocess.PIPE, check=True).stdout
    while out:
        size = int.from_bytes(out[:4], "big")
        path = os.path.join(c.folder, "first")
        with open(path, "wb") as f:
            f.write(out[4:4 + size])
        out = out[4 + size:]
        record = json.loads(c.command("event", "decode", path)[1])
        if record.get("seq"):
            return record["seq"]
    return 0


@test(tables=T, regions=("us", "eu"), own_kafka="each", topology={"links": [MIRROR], "log": {"retention": "2s"}}, limit=120)
def retention_goes_on_in_the_mirror(c):
    """what retention deletes in the log goes from its mirror too, and nothing else; readers of the mirror do not stumble over it"""
    insert(c.us, 1, 50)
    c.expect("SELECT count(*) FROM t", [(50,)])
    until(lambda: c.us.app("UPDATE t SET v = v || 'x' WHERE id = 1") or begin(c.us, c.us.topic) > 10, "retention in the log", 40, every=0.2)
    gone = until(lambda: c.us.app("UPDATE t SET v = v || 'x' WHERE id = 1") or begin(c.eu, c.us.topic), "and in its mirror", 40, every=0.2)
    kept = first_seq(c, c.eu, c.us.topic)
    assert gone > 1 and 1 < kept <= first_seq(c, c.us, c.us.topic), (gone, kept)
    c.eu.kill()
    insert(c.us, 51, 100)
    c.eu.run()
    c.barrier()
    c.converged("SELECT * FROM t ORDER BY id")
    assert mirror(c.eu)["state"] in ("running", "starting"), mirror(c.eu)


@test(tables=T, regions=("us", "eu"), own_kafka="each", topology={"links": [MIRROR]}, limit=120)
def retention_before_and_behind_the_mirror(c):
    """what was mirrored before retention took it is no loss; what was not must stop the mirror by name, not become a gap in its topic"""
    insert(c.us, 1, 50)
    c.expect("SELECT count(*) FROM t", [(50,)])
    place = until(lambda: c.eu.value("SELECT max(source_offset) FROM pangea.mirror"), "the mirror's place is kept")
    c.eu.kill()
    assert place > 0
    c.eu.sql("UPDATE pangea.mirror SET source_offset = 0")
    delete_records(c.us, place)
    c.eu.run()
    insert(c.us, 51, 100)
    c.expect("SELECT count(*) FROM t", [(100,)])
    c.eu.kill()
    gone = until(lambda: (lambda e: e > place + 20 and e)(end(c.us)), "heartbeats in the log", 40)
    c.us.kill()
    delete_records(c.us, end(c.us) - 1)
    c.us.run(agent="capture")
    c.eu.run()
    until(lambda: mirror(c.eu).get("error") == "offset_gone", f"the mirror stops (behind {gone})", 30)
    assert mirror(c.eu)["state"] == "stopped", mirror(c.eu)
    assert "records are missing" in mirror(c.eu)["why"], mirror(c.eu)
    _, out, _ = c.command("status", check=3)
    assert "eu: mirror of us: stopped (offset_gone)" in out, out
