"""doctor: what is wrong is found, what is right is not, and what it says to type mends it."""
import contextlib
import json
import os
import re
import shlex
import socket
import struct
import subprocess
import threading

from harness import shape
from harness.case import test
from harness.servers import ROOT

TABLES = """
CREATE TABLE public.orders (id int PRIMARY KEY, v text);
CREATE TABLE public.users (id bigint GENERATED ALWAYS AS IDENTITY (INCREMENT BY {n} START WITH {start}) PRIMARY KEY, mail text);
CREATE TABLE public.audit (id uuid PRIMARY KEY, v int);
CREATE TABLE public.secret (id int PRIMARY KEY, v int)
"""
NAMES = ("us", "eu", "ap")


def tables(c):
    """Healthy: the numbers of users are kept apart."""
    for i, r in enumerate(c):
        c.tables(TABLES.format(n=3, start=i + 1), [r])


def doctor(c, *args, check=None):
    code, out, err = c.command("doctor", "--json", *args, check=check)
    value = json.loads(out)
    shape.check("doctor", value)
    assert (code == 0) == value["healthy"] and code in (0, 3), (code, value)
    assert value["errors"] == len([f for f in value["findings"] if f["severity"] == "error"]), value
    return value


def found(value):
    """What counts, short: (check, object, regions)."""
    return sorted((f["check"], f["object"] or "", ",".join(f["regions"])) for f in value["findings"] if f["severity"] != "note")


def command_of(finding):
    return finding["todo"].split("   -- ")[0].strip()


@test(tables=tables, regions=NAMES, followers=("ap",))
def nothing_wrong(c):
    """a healthy cluster has no error and no warning, with daemons and without, seen by all regions and by one"""
    value = doctor(c, check=0)
    assert value["regions"] == sorted(NAMES) and not found(value), value
    for r in c:
        assert not found(doctor(c, "--region", r.name, check=0))
        r.kill()
    value = doctor(c, check=0)
    assert any(f["check"] == "slot" and "nobody reads the slot" in f["what"] for f in value["findings"]), value
    _, out, _ = c.command("doctor", env={"COLUMNS": "72"})
    assert "healthy" in out and "\033" not in out, out
    prose = [line for line in out.splitlines() if not line.startswith("  do")]
    assert max(map(len, prose)) <= 72, prose


@test(tables=tables, regions=("us", "eu"), init=False)
def before_init(c):
    """before init it says what init will need, and changes nothing; the grants that it names are enough"""
    tables(c)
    value = doctor(c, check=3)
    rights = [f for f in value["findings"] if f["check"] == "rights"]
    assert rights and {f["check"] for f in value["findings"] if f["severity"] != "note"} == {"rights"}, value
    assert any(f["check"] == "prepared" and f["severity"] == "note" for f in value["findings"]), value
    assert c.us.value("SELECT to_regnamespace('pangea')") is None
    for f in rights:
        for region in f["regions"]:
            c.regions[region].sql(command_of(f))
    doctor(c, check=0)
    for r in c:
        c.command("init", "--region", r.name)  # no --admin: the rights are there
    doctor(c, check=0)


# ---- the ten faults ------------------------------------------------------------------------------------------------------------------------
def kafka_configs(words):
    """kafka-configs.sh, as its class."""
    kafka = os.path.join(ROOT, ".cache", "kafka")
    done = subprocess.run(["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto",  # it starts a third faster
                           f"-XX:SharedArchiveFile={kafka}/classes.jsa", "-cp", os.path.join(kafka, "libs", "*"), "kafka.admin.ConfigCommand", *words], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout.decode()


def restart(region):
    region.postgres.stop()
    region.postgres.start()


def break_it(c):
    """Ten faults and some more; ap's are its server's: it was never initialised."""
    c.us.sql("ALTER TABLE public.orders REPLICA IDENTITY NOTHING")                                        # 1
    c.eu.sql("CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
             "CREATE TRIGGER stamp BEFORE INSERT ON public.orders FOR EACH ROW EXECUTE FUNCTION public.f();"
             "ALTER TABLE public.orders ENABLE ALWAYS TRIGGER stamp")                                     # 2
    for r in (c.us, c.eu):
        r.sql("ALTER SEQUENCE public.users_id_seq INCREMENT BY 1")                                        # 3
    c.eu.sql("ALTER TABLE public.secret ENABLE ROW LEVEL SECURITY; ALTER TABLE public.secret FORCE ROW LEVEL SECURITY")  # 4
    c.eu.sql("REVOKE SET ON PARAMETER session_replication_role FROM pangea")                              # 5
    c.eu.sql("ALTER TABLE public.audit DROP COLUMN v")                                                    # 6
    for r in c:
        r.sql("SET ROLE app; ALTER TABLE public.users ADD UNIQUE (mail); RESET ROLE")                     # 7
    c.us.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '32MB'")                                          # 8
    c.us.sql("SELECT pg_reload_conf()")
    kafka_configs(["--bootstrap-server", c.us.kafka.brokers, "--alter", "--entity-type", "topics", "--entity-name", c.us.topic,
                   "--add-config", "retention.ms=86400000,max.message.bytes=5000,compression.type=uncompressed,cleanup.policy=compact"])  # 9, 10, 11, 15
    c.eu.sql("SET ROLE app; CREATE UNLOGGED TABLE public.basket (id int PRIMARY KEY); RESET ROLE;")       # 12, and new in us
    for r in (c.us, c.ap):
        r.sql("SET ROLE app; CREATE TABLE public.basket (id int PRIMARY KEY); RESET ROLE;")
    c.ap.sql("ALTER SYSTEM SET wal_level = replica")                                                      # 13
    c.ap.sql("ALTER SYSTEM SET track_commit_timestamp = off")                                             # 14
    restart(c.ap)


FAMILY = "CREATE TABLE public.parent (id int PRIMARY KEY, v text); CREATE TABLE public.child (id int PRIMARY KEY, p int REFERENCES public.parent)"

FAULTS = [
    ("commit_timestamps", "", "ap"), ("compression", "TOPIC", "us"), ("identity", "public.basket", "us"), ("identity", "public.orders", "us"),
    ("rights", "", "eu"),
    ("row_security", "public.secret", "eu"), ("sequences", "public.users_id_seq", ""), ("shapes", "public.audit", "eu"), ("slot_limit", "", "us"),
    ("topic", "TOPIC", "us"), ("topic", "TOPIC", "us"), ("topic", "TOPIC", "us"), ("triggers", "public.orders", "eu"), ("unique", "public.users", "ap,eu,us"),
    ("unlogged", "public.basket", "eu"), ("wal_level", "", "ap"),
]


def mend(c, f):
    """Types what the finding says."""
    todo = command_of(f)
    if f["check"] == "unique":  # the topology's line: let one region write it
        assert f"tables: [public.users], from: [ap]" in todo, todo
        c.topology["routes"] = [{"tables": ["*.*"]}, {"tables": ["public.users"], "from": ["ap"]}]
        c.write_topology()
    elif todo.startswith("kafka-configs.sh "):
        kafka_configs(shlex.split(todo)[1:])
    elif f["check"] == "sequences":
        lines = f["todo"].splitlines()[1:]
        assert len(lines) == 3, lines
        for line in lines:
            region, _, statement = line.partition(": ")
            c.regions[region].sql(statement)
    for region in f["regions"]:
        r = c.regions[region]
        if todo.startswith("pangea "):
            c.command(*shlex.split(todo)[1:])
        elif todo.endswith("; then restart PostgreSQL"):
            r.sql(todo[:-len("; then restart PostgreSQL")])
            restart(r)
        elif todo.startswith(("ALTER", "GRANT", "SELECT")):
            for statement in todo.split("; "):
                r.sql(statement)


@test(tables=tables, regions=NAMES, own_postgres="each", run=False, init=False, limit=300)
def ten_faults(c):
    """a cluster deliberately broken: every fault is found and nothing else, in the right region; what doctor says to type mends them all"""
    tables(c)
    c.init("us", "eu")
    rights = doctor(c)
    for f in rights["findings"]:
        if f["check"] == "rights":
            mend(c, f)
    assert found(doctor(c)) == [], "healthy before it is broken"
    break_it(c)
    value = doctor(c, check=3)
    want = sorted((check, c.us.topic if obj == "TOPIC" else obj, regions) for check, obj, regions in FAULTS)
    assert found(value) == want, f"\nfound: {found(value)}\nwant:  {want}"
    assert len(value["findings"]) > len(FAULTS) >= 10
    for f in value["findings"]:
        assert f["what"] and f["why"] and f["todo"], f
    for f in sorted(value["findings"], key=lambda f: f["todo"].startswith("pangea ")):  # init ends at an unfit topic
        if f["severity"] != "note":
            mend(c, f)
    # a table that is logged now can be published: one more thing to type
    assert found(doctor(c)) == [("identity", "public.basket", "eu")]
    c.command("init", "--region", "eu")
    left = doctor(c)
    assert found(left) == [], json.dumps(left, indent=1)
    c.init("ap")
    doctor(c, check=0)


@test(tables=FAMILY, own_postgres="clock", run=False, init=False, limit=180)
def more_faults(c):
    """what a server has run out of, a clock that is wrong, a login that may not replicate, one Kafka that is taken for two, daemons of two versions,
    databases that were exchanged: found before and after init, and mended by what is said"""
    c.tables(FAMILY)
    c.us.sql("ALTER SYSTEM SET max_replication_slots = 1")
    c.us.sql("ALTER SYSTEM SET max_wal_senders = 1")
    restart(c.us)
    c.us.sql("SELECT pg_create_physical_replication_slot('other')")
    c.eu.sql("ALTER ROLE pangea NOREPLICATION")
    c.eu.postgres.set_clock(+3600)
    c.topology["links"] = [{"log": "us", "at": "eu", "mirror": True}]
    c.topology["regions"]["eu"]["kafka"]["brokers"] = [c.eu.kafka.brokers.replace("127.0.0.1", "localhost")]
    c.write_topology()
    value = doctor(c, check=3)
    rights = [f for f in value["findings"] if f["check"] == "rights"]
    assert [f for f in found(value) if f[0] != "rights"] == [
        ("clocks", "", ""), ("kafka_clusters", "", ""), ("origins_left", "", "us"), ("senders_left", "", "us"), ("slots_left", "", "us")], found(value)
    assert ("rights", "", "eu") in found(value), found(value)  # the role may not replicate
    said = {f["check"]: f for f in value["findings"]}
    assert "more than clock.max_skew" in said["clocks"]["what"] and said["foreign_keys"]["object"] == "public.child", said
    for check in ("slots_left", "origins_left", "senders_left"):
        mend(c, said[check])
    for f in rights:
        mend(c, f)
    c.eu.postgres.set_clock(0)
    del c.topology["links"]
    c.write_topology()
    assert found(doctor(c)) == [], found(doctor(c))
    c.init()
    doctor(c, check=0)

    kafka_configs(["--bootstrap-server", c.us.kafka.brokers, "--alter", "--entity-type", "topics", "--entity-name", c.us.topic,
                   "--add-config", "min.insync.replicas=2"])
    for r, version in ((c.us, "0.1.0"), (c.eu, "0.0.9")):
        r.sql("INSERT INTO pangea.status (agent, at, doc) VALUES ('capture', now(), jsonb_build_object('version', %s))", version)
    value = doctor(c, check=3)
    assert found(value) == [("daemon_versions", "", ""), ("topic", c.us.topic, "us")], found(value)
    said = {f["check"]: f for f in value["findings"]}
    assert "nothing can be published" in said["topic"]["what"] and "0.0.9" in said["daemon_versions"]["what"], said
    mend(c, said["topic"])
    c.eu.sql("DELETE FROM pangea.status")
    doctor(c, check=0)

    conninfo = [c.topology["regions"][n]["postgres"]["conninfo"] for n in ("us", "eu")]
    for name, other in zip(("eu", "us"), conninfo):
        c.topology["regions"][name]["postgres"]["conninfo"] = other
    c.write_topology()
    assert {r for f in doctor(c, check=3)["findings"] if f["check"] == "prepared" and f["severity"] == "error" for r in f["regions"]} == {"us", "eu"}


def pooler(port):
    """A port of a server behind which ordinary connections are passed on, and no replication connection is: as PgBouncer answers."""
    def pump(a, b):
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                b.sendall(data)
        for s in (a, b):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def serve(client):
        with contextlib.suppress(OSError, struct.error), client:
            while True:
                size, code = struct.unpack("!II", client.recv(8, socket.MSG_WAITALL))
                rest = client.recv(size - 8, socket.MSG_WAITALL)
                if code == 196608:  # not a question for TLS or GSSAPI
                    break
                client.sendall(b"N")
            if b"replication\0" in rest:
                text = b"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: replication\0\0"
                client.sendall(b"E" + struct.pack("!I", len(text) + 4) + text)
                return
            with socket.create_connection(("127.0.0.1", port)) as server:
                server.sendall(struct.pack("!II", size, code) + rest)
                back = threading.Thread(target=pump, args=(server, client), daemon=True)
                back.start()
                pump(client, server)
                back.join()

    def listen():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=listen, daemon=True).start()
    return listener


@test(tables=tables, own_postgres="one", run=False, limit=180)
def a_pooler_and_a_standby(c):
    """a conninfo that leads through a pooler, or to a standby: each is said by its own name, and what is said mends it"""
    right = c.topology["regions"]["us"]["postgres"]["conninfo"]

    def lead_to(conninfo):
        c.topology["regions"]["us"]["postgres"]["conninfo"] = conninfo
        c.write_topology()
    with pooler(c.us.postgres.port) as listener:
        lead_to(right.replace(f"port={c.us.postgres.port}", f"port={listener.getsockname()[1]}"))
        value = doctor(c, check=3)
        assert found(value) == [("replication_login", "", "us")], value
        finding, = (f for f in value["findings"] if f["check"] == "replication_login")
        assert "unsupported startup parameter" in finding["what"] and "lead to the server itself" in finding["todo"], finding
    lead_to(right)
    doctor(c, check=0)
    standby = c.servers.new_standby(c.us.postgres, "copy")
    c.own.append(standby)
    lead_to(right.replace(f"port={c.us.postgres.port}", f"port={standby.port}"))
    value = doctor(c, check=3)
    assert ("standby", "", "us") in found(value) and {f[2] for f in found(value)} <= {"us", ""}, value
    finding, = (f for f in value["findings"] if f["check"] == "standby")
    assert "several hosts, with target_session_attrs=read-write" in finding["todo"], finding
    both = right.replace("host=127.0.0.1", "host=127.0.0.1,127.0.0.1").replace(f"port={c.us.postgres.port}", f"port={standby.port},{c.us.postgres.port}")
    lead_to(both + " target_session_attrs=read-write")
    doctor(c, check=0)


@test(tables=tables, regions=("eu", "us"), own_postgres="first", own_kafka="first", run=False, limit=120)
def servers_away(c):
    """a database and a broker that do not answer are findings by name; the rest is looked at all the same"""
    c.eu.postgres.stop()
    c.eu.kafka.kill()
    value = doctor(c, check=3)
    assert found(value) == [("connection", "", "eu"), ("topic", c.eu.topic, "eu")], value
    assert any(f["check"] == "slot" and "nobody reads the slot" in f["what"] and f["regions"] == ["us"] for f in value["findings"]), value
    c.eu.postgres.start()
    c.eu.kafka.start()
    c.us.sql("SELECT pg_drop_replication_slot(%s)", c.us.slot)
    value = doctor(c, "--region", "us", check=3)
    assert found(value) == [("slot", c.us.slot, "us")], value


RULES = {"conflicts": {"tables": {"public.stock": {"columns": {"n": "delta"}}, "public.names": {"columns": {"v": "delta"}}}}}


@test(tables="CREATE TABLE public.stock (id int PRIMARY KEY, n int NOT NULL); CREATE TABLE public.names (id int PRIMARY KEY, v int NOT NULL)",
      topology=RULES, run=False)
def identity_and_type_against_the_rule(c):
    """a rule that adds up needs whole old rows and numbers: both are held against the table, and mended by what is said"""
    doctor(c, check=0)
    c.us.sql("ALTER TABLE public.stock REPLICA IDENTITY DEFAULT")
    for r in c:
        r.sql("ALTER TABLE public.names ALTER v TYPE text")
    value = doctor(c, check=3)
    assert found(value) == [("identity", "public.names", "eu,us"), ("identity", "public.stock", "us")], found(value)
    what = {f["object"]: f for f in value["findings"]}
    assert "rule" in what["public.names"]["what"] and "REPLICA IDENTITY FULL" in what["public.stock"]["todo"], what
    for r in c:
        r.sql("ALTER TABLE public.names ALTER v TYPE int USING 0")
    c.command(*shlex.split(command_of(what["public.stock"]))[1:])
    doctor(c, check=0)


FILES = "CREATE TABLE public.files (id int PRIMARY KEY, b bytea)"
ROWS = "INSERT INTO files SELECT i, %s FROM generate_series(%s, %s) i"
PLAIN = "repeat(md5(i::text), 60)::bytea"
RANDOM = "(SELECT string_agg(uuid_send(gen_random_uuid()), '') FROM generate_series(1, 100 + i * 0))"


def measured(c):
    """(severity, per cent) of what doctor has measured in us; None when it has not."""
    for f in doctor(c, "--region", "us")["findings"]:
        m = re.match(r"measured: the last \d+ records travel with (\d+) % of their size(.*)", f["what"])
        if m and f["check"] == "compression":
            assert f["object"] == c.us.topic and f["todo"], f
            return f["severity"], int(m.group(1)), m.group(2)
    return None


@test(tables=FILES, run=False, limit=120)
def compression_in_effect(c):
    """a daemon that runs with other settings than the topology says, rows that no compressor makes smaller, a log that holds nothing: what is
    measured is what travels"""
    def write(first, last, what):
        for i in range(first, last + 1, 10):  # a record each; the youngest hundred are looked at
            c.us.app(ROWS % (what, i, i + 9))
        c.barrier()

    settings = json.loads(json.dumps(c.topology))
    settings["regions"]["us"]["kafka"]["properties"] = {"compression.type": "none"}
    c.us.topology_file = os.path.join(c.folder, "other.yaml")
    c.write_yaml(c.us.topology_file, settings)
    c.run()
    c.barrier()
    assert measured(c) is None, "a few heartbeats say nothing"
    write(1, 100, PLAIN)
    severity, takes, more = measured(c)
    assert severity == "warning" and 90 < takes < 115 and re.search(r"makes \d %", more), (severity, takes, more)
    assert c.us.daemon.stop() == 0
    c.us.topology_file = None
    c.us.run()
    write(1001, 2200, PLAIN)
    severity, takes, more = measured(c)
    assert severity == "note" and takes < 20 and not more, (severity, takes, more)
    write(3001, 4200, RANDOM)
    severity, takes, more = measured(c)
    assert severity == "note" and takes > 95 and "no compressor" in more, (severity, takes, more)
    kafka_configs(["--bootstrap-server", c.us.kafka.brokers, "--alter", "--entity-type", "topics", "--entity-name", c.us.topic,
                   "--add-config", "compression.type=uncompressed"])
    write(5001, 6200, PLAIN)
    value = doctor(c, "--region", "us", check=3)
    assert [f[0] for f in found(value)] == ["compression", "compression"], value  # set, and in effect
