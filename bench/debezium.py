"""Debezium beside Pangea: its PostgreSQL source into Kafka, its JDBC sink into the target, both in one Kafka Connect (standalone, with the flags
of its own start script). The JVM lives for the whole run, so that it is warm from the second block on.

default: what the shipped worker file gives, JSON with the schema in every message. tuned: without schemas, large batches, lz4: its best as a
source, which the sink cannot read. flat: rows alone (ExtractNewRecordState) with schemas, tuned: the best found for both together."""
import json
import os
import subprocess
import time
import urllib.error
import urllib.request

from harness.daemon import die_with_parent
from harness.servers import ROOT, call
from harness.wait import TimedOut, until
import proc
import variants

CACHE = os.environ.get("PANGEA_DEBEZIUM") or os.path.join(os.environ.get("PANGEA_CACHE") or os.path.join(ROOT, ".cache"), "debezium")
JVM = ("-Xms256m", "-Xmx2g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent")
JSON = "org.apache.kafka.connect.json.JsonConverter"
PLAIN = {"key.converter": JSON, "key.converter.schemas.enable": "false", "value.converter": JSON, "value.converter.schemas.enable": "false"}
TUNED = {"max.batch.size": "20480", "max.queue.size": "81920", "poll.interval.ms": "5", "producer.override.linger.ms": "20",
         "producer.override.batch.size": "1048576", "producer.override.buffer.memory": "134217728", "producer.override.compression.type": "lz4"}
SOURCES = {"debezium": {}, "debezium_tuned": {**PLAIN, **TUNED},
           "debezium_flat": {**TUNED, "transforms": "unwrap", "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState"}}
FETCH = {"consumer.override.max.poll.records": "5000", "consumer.override.max.partition.fetch.bytes": "33554432",
         "consumer.override.fetch.max.bytes": "67108864", "consumer.override.receive.buffer.bytes": "4194304"}
SINKS = {"debezium": {}, "debezium_flat": {**FETCH, "batch.size": "5000", "use.reduction.buffer": "true",
                                           "dialect.postgres.unnest.insert.enabled": "true"}}


class Connect:
    def __init__(self, servers, rig):
        call(os.path.join(ROOT, "scripts", "debezium.sh"), CACHE)
        with open(os.path.join(CACHE, "COMPLETE")) as f:
            self.versions = f.read().strip()
        self.rig, self.folder = rig, os.path.join(rig.c.folder, "connect")
        os.makedirs(self.folder)
        self.rest = f"http://127.0.0.1:{servers.free_port()}"
        self.write("worker.properties", {
            "bootstrap.servers": rig.us.kafka.brokers, "listeners": self.rest, "plugin.path": os.path.join(CACHE, "plugins"), "key.converter": JSON,
            "value.converter": JSON, "offset.storage.file.filename": os.path.join(self.folder, "offsets"), "offset.flush.interval.ms": "10000"})
        self.write("log4j2.properties", {"status": "error", "appender.c.type": "Console", "appender.c.name": "C", "appender.c.layout.type": "PatternLayout",
                                         "rootLogger.level": "INFO", "rootLogger.appenderRef.c.ref": "C"})
        self.log = os.path.join(self.folder, "connect.log")
        with open(self.log, "w") as out:
            self.process = subprocess.Popen(["java", *JVM, f"-Dlog4j2.configurationFile={self.folder}/log4j2.properties", "-cp", f"{CACHE}/libs/*",
                                             "org.apache.kafka.connect.cli.ConnectStandalone", f"{self.folder}/worker.properties"],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder, preexec_fn=die_with_parent)
        self.made = 0
        until(self.answers, f"Kafka Connect answers ({self.log})", 180)

    def write(self, name, values):
        with open(os.path.join(self.folder, name), "w") as f:
            f.write("".join(f"{k}={v}\n" for k, v in values.items()))

    def answers(self):
        if self.process.poll() is not None:
            with open(self.log) as f:
                raise RuntimeError(f"Kafka Connect ended: {f.read()[-1500:]}")
        try:
            return self.ask("GET", "/connectors") is not None
        except OSError as e:
            return False, str(e)

    def ask(self, method, path, body=None):
        request = urllib.request.Request(self.rest + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as f:
            return json.loads(f.read() or b"null")

    def add(self, config):
        """Its name is new each time: Connect remembers the offsets of old ones."""
        self.made += 1
        name = f"c{self.made}"
        try:
            self.ask("POST", "/connectors", {"name": name, "config": config})
        except urllib.error.HTTPError as e:
            raise RuntimeError(e.read().decode()[:1500]) from None
        return name

    def failed(self, name):
        try:
            tasks = self.ask("GET", f"/connectors/{name}/status").get("tasks", [])
        except OSError:
            return ""
        return next((t["trace"][:1200] for t in tasks if t["state"] == "FAILED"), "")

    def remove(self, name):
        self.ask("DELETE", f"/connectors/{name}")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Watchman:
    """Asks Connect for failures once in two seconds: each answer costs it CPU."""

    def __init__(self, connect, name):
        self.connect, self.name, self.next = connect, name, time.monotonic() + 5

    def __call__(self):
        if time.monotonic() < self.next:
            return ""
        self.next = time.monotonic() + 2
        return self.connect.failed(self.name)


def topics(rig, variant):
    return [f"{variant}.public.{t}" for t in rig.work.names]


def capture(connect, variant):
    """A drain by the source connector, until the topics hold a message for each change."""
    def drain(rig, look):
        slot, names = f"bench_{variant}", topics(rig, variant)
        rig.copy_slot(slot)
        for t in names:
            rig.broker.delete(t)
        p = rig.us.postgres
        name = connect.add({
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector", "database.hostname": "127.0.0.1", "database.port": str(p.port),
            "database.user": "postgres", "database.password": "x", "database.dbname": rig.us.database, "plugin.name": "pgoutput",
            "publication.name": rig.us.slot, "publication.autocreate.mode": "disabled", "slot.name": slot, "topic.prefix": variant, "tasks.max": "1",
            "table.include.list": ",".join(f"public.{t}" for t in rig.work.names), "snapshot.mode": "no_data",
            "topic.creation.default.partitions": "1", "topic.creation.default.replication.factor": "1", **SOURCES[variant]})
        try:
            meter = proc.Meter(lambda: {"agent": [connect.process.pid], "walsender": variants.senders(rig.us, slot), "broker": [look.broker_pid]})
            return dict(watch(rig, names, meter, Watchman(connect, name)), bytes=rig.broker.bytes(*names), **compared(rig, variant, names))
        finally:
            connect.remove(name)
            rig.drop_slot(slot)
    return drain


def compared(rig, variant, names):
    """What a sink can read counts when the table it makes of it is right; of the others the messages are counted."""
    if variant in SINKS and not rig.work.clients:
        return {}
    count = sum(rig.broker.end(t) for t in names)
    return {"right": count == rig.messages, "wrong": "" if count == rig.messages else f"{count} messages, want {rig.messages}"}


def watch(rig, names, meter, problem):
    begin, first, had = time.monotonic(), None, 0
    while True:
        now, count = time.monotonic(), sum(rig.broker.end(t) for t in names)
        if first is None and count >= max(1, rig.tenth):
            first, had = now, count
            meter.again()
        else:
            meter.sample()
        if count >= rig.messages:
            break
        if now - begin > variants.LIMIT or problem():
            raise TimedOut(f"{count} of {rig.messages} messages: {problem() or connect_tail(rig)}")
        time.sleep(0.02)
    return variants.result(meter, now - first, count - had)


def connect_tail(rig):
    with open(os.path.join(rig.c.folder, "connect", "connect.log"), errors="replace") as f:
        return f.read()[-800:]


def apply(connect, variant):
    """A drain by the JDBC sink, of the topic that the last capture of this variant made."""
    def drain(rig, look):
        rig.fresh_target()
        p, (topic,) = rig.eu.postgres, topics(rig, variant)
        name = connect.add({
            "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector", "tasks.max": "1", "topics": topic, "connection.username": "postgres",
            "connection.password": "x", "insert.mode": "upsert", "primary.key.mode": "record_key", "collection.name.format": "t", "schema.evolution": "none",
            "connection.url": f"jdbc:postgresql://127.0.0.1:{p.port}/{rig.eu.database}?options=-c%20synchronous_commit=off", **SINKS[variant]})

        def find():
            mine = rig.eu.value("SELECT pg_backend_pid()")
            backends = [r[0] for r in rig.eu.sql("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s", mine)]
            return {"agent": [connect.process.pid], "backend": backends, "server": variants.others(rig.eu, *backends), "broker": [look.broker_pid]}
        try:
            return variants.watch_apply(look, proc.Meter(find), Watchman(connect, name))
        finally:
            connect.remove(name)
    return drain
