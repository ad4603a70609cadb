"""Who is compared: Pangea, pg_recvlogical and native logical replication (Debezium: debezium.py). Each function drains once and returns
{seconds, changes, cpu seconds of each process, peak MB of each, ..}; what is measured lies between the two marks (work.py)."""
import os
import subprocess
import time

import proc
from harness.wait import TimedOut, until

LIMIT = 900
LOOK = 0.005  # seconds between two looks: 1 % of a half-second run


def number(path):
    with open(path) as f:
        return int(f.read())


def broker_pid(region):
    return number(os.path.join(region.kafka.folder, "kafka.pid"))


def senders(region, slot):
    """The walsender that serves a slot."""
    pid = region.value("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", slot)
    return [pid] if pid else []


def apply_backends(region):
    """The apply agent's sessions."""
    return [r[0] for r in region.sql("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pangea%'")]


def others(region, *named):
    """What else the server runs (WAL writer, checkpointer, ..), without our own session."""
    mine = region.value("SELECT pg_backend_pid()")
    return [p for p in proc.children(region.postgres.pid()) if p != mine and p not in named]


class Looker:
    """What is asked while a run lasts, over sessions that are there before it begins."""

    def __init__(self, rig):
        self.rig = rig
        self.us, self.eu = rig.us, rig.eu
        self.broker_pid = broker_pid(rig.us)

    def sender(self, slot):
        """The walsender that serves a slot: (pid, state, past mark 1, confirmed past mark 2)."""
        rows = self.us.sql("SELECT s.active_pid, r.state, coalesce(r.sent_lsn >= %s, false), coalesce(s.confirmed_flush_lsn >= %s, false) "
                           "FROM pg_replication_slots s LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid WHERE s.slot_name = %s",
                           self.rig.lsn1, self.rig.lsn2, slot)
        return rows[0] if rows else (None, None, False, False)

    def marked(self, n):
        return self.eu.value(self.rig.work.marked.format(n=n)) > 0

    def come(self):
        return int(self.eu.value(self.rig.work.done) or 0) - self.rig.done0


def result(meter, seconds, changes, **more):
    return dict(seconds=seconds, changes=changes, cpu_seconds=meter.seconds(), peak_mb=meter.peaks(), **more)


# ---- capture -----------------------------------------------------------------------------------------------------------------------------
def watch_capture(look, slot, meter, ended):
    """From when the walsender has passed mark 1 (or streams, where the work is one transaction) until ended() is true."""
    rig, begin, first = look.rig, time.monotonic(), None
    while True:
        pid, state, past, confirmed = look.sender(slot)
        if first is None and state in ("catchup", "streaming") and (past or not rig.tenth):
            first = time.monotonic()
            meter.again()
        else:
            meter.sample()
        if ended(confirmed):
            end = time.monotonic()
            break
        if time.monotonic() - begin > LIMIT:
            raise TimedOut(f"slot {slot}: not drained within {LIMIT} s")
        time.sleep(LOOK)
    if first is None:
        raise TimedOut(f"slot {slot}: drained before it was seen: more rows are needed")
    return result(meter, end - first, rig.changes - rig.tenth)


def pangea_capture(rig, look):
    """Into Kafka, until Kafka has acknowledged all and the slot has been told so."""
    rig.reset_capture()
    us, slot = rig.us, rig.us.slot
    d = us.run("capture")
    meter = proc.Meter(lambda: {"agent": [d.pid], "walsender": senders(rig.us, slot), "broker": [look.broker_pid]})
    r = watch_capture(look, slot, meter, lambda confirmed: confirmed)
    d.stop(30)
    return dict(r, bytes=rig.broker.bytes(us.topic), records=rig.broker.end(us.topic))


def pg_recvlogical(rig, look, host=None):
    """Into a file, over the unix socket; what it wrote is held against what the server says it had to send."""
    us, slot, out = rig.us, "bench_recv", os.path.join(rig.c.folder, "recv.out")
    rig.copy_slot(slot)
    args = ["pg_recvlogical", "-h", host or us.postgres.folder, "-p", str(us.postgres.port), "-U", "postgres", "-d", us.database, "-S", slot, "--start",
            "-f", out, "-o", "proto_version=1", "-o", f"publication_names={us.slot}", "-E", rig.end]
    p = subprocess.Popen(args, stderr=subprocess.PIPE, text=True)
    meter = proc.Meter(lambda: {"agent": [p.pid], "walsender": senders(rig.us, slot)})
    r = watch_capture(look, slot, meter, lambda _: p.poll() is not None)
    size = os.path.getsize(out)
    os.unlink(out)
    want = rig.sent_bytes
    wrong = "" if p.returncode == 0 and size == want else f"exit {p.returncode}, {size} bytes, want {want}: {p.stderr.read()[-300:]}"
    p.stderr.close()
    rig.drop_slot(slot)
    return dict(r, bytes=size, right=not wrong, wrong=wrong)


# ---- apply -------------------------------------------------------------------------------------------------------------------------------
def watch_apply(look, meter, alive):
    """Between the marks, as a reader of the target sees them; what had already come with the first one is counted then."""
    rig, begin, first, had = look.rig, time.monotonic(), None, 0
    if not rig.tenth:
        first = begin
    while True:
        now = time.monotonic()
        if first is None and look.marked(1):
            first = time.monotonic()
            had = look.come()
            meter.again()
        elif look.marked(2):
            end = now
            meter.sample()
            break
        else:
            meter.sample()
        if now - begin > LIMIT:
            raise TimedOut(f"not applied within {LIMIT} s: {look.come()} of {rig.want}")
        problem = alive()
        if problem:
            raise TimedOut(problem)
        time.sleep(LOOK)
    if had >= rig.want:
        raise TimedOut("all was there with the first mark: more rows are needed")
    wrong = rig.wrong()
    return result(meter, end - first, rig.want - had, right=not wrong, wrong=wrong, from_start=end - begin)


def ended(*daemons):
    return "; ".join(f"{d.agent} ended with {d.process.poll()}: {d.text()[-500:]}" for d in daemons if not d.alive())


def pangea_apply(rig, look):
    """The log in Kafka is that of the last pangea_capture."""
    rig.fresh_target()
    rig.c.init("eu")
    d = rig.eu.run("apply")

    def find():
        backends = apply_backends(rig.eu)
        return {"agent": [d.pid], "backend": backends, "server": others(rig.eu, *backends), "broker": [look.broker_pid]}
    r = watch_apply(look, proc.Meter(find), lambda: ended(d))
    r["status"] = {k: v for k, v in rig.eu.origin("us").items() if isinstance(v, int)}
    d.stop(30)
    return r


def pangea_whole(rig, look):
    """Both halves at once: WAL -> Kafka -> table."""
    rig.fresh_target()
    rig.reset_capture()
    rig.c.init("eu")
    into = rig.eu.run("apply")
    until(lambda: apply_backends(rig.eu), "apply has connected", 30)
    out = rig.us.run("capture")

    def find():
        backends, sender = apply_backends(rig.eu), senders(rig.us, rig.us.slot)
        return {"capture": [out.pid], "apply": [into.pid], "backend": backends, "walsender": sender,
                "server": others(rig.eu, *backends) + others(rig.us, *sender), "broker": [look.broker_pid]}
    r = watch_apply(look, proc.Meter(find), lambda: ended(out, into))
    out.stop(30)
    into.stop(30)
    return dict(r, bytes=rig.broker.bytes(rig.us.topic))


def native(rig, look, binary=False):
    """A subscription, over the unix socket: decoding, shipping and applying in one go."""
    rig.fresh_target()
    rig.copy_slot("bench_native")
    us, eu = rig.us, rig.eu
    # one statement: a subscription that is enabled before it knows its tables skips what comes for them meanwhile
    eu.sql(f"CREATE SUBSCRIPTION s CONNECTION 'host={us.postgres.folder} port={us.postgres.port} user=postgres dbname={us.database}' PUBLICATION {us.slot} "
           f"WITH (slot_name = bench_native, create_slot = false, copy_data = false, binary = {str(binary).lower()})")
    try:
        def find():
            worker = [r[0] for r in eu.sql("SELECT pid FROM pg_stat_subscription WHERE relid IS NULL AND pid IS NOT NULL")]
            sender = senders(us, "bench_native")
            return {"apply": worker, "walsender": sender, "server": others(eu, *worker) + others(us, *sender)}
        return watch_apply(look, proc.Meter(find), lambda: "")
    finally:
        eu.sql("ALTER SUBSCRIPTION s DISABLE")
        eu.sql("ALTER SUBSCRIPTION s SET (slot_name = NONE)")
        eu.sql("DROP SUBSCRIPTION s")
        rig.drop_slot("bench_native")
